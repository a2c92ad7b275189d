"""What controller and workers share: a private folder of raw replies, under locks.

The controller makes the folder before the first worker starts and hands its path over; whichever
worker needs a reply first asks for it, all others read it and judge it themselves.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kosli.plugin import OUTPUT

if TYPE_CHECKING:
    from pytest_kosli.memo import Memo, Plain

INPUT = "kosli_folder"
REMOTE = "remote"
KNOWN: pytest.StashKey[dict[str, Plain]] = pytest.StashKey()
"""What a run knows before its first test is collected, by the key that a Memo is asked for."""


class Controller:
    """The hooks of the controller: make the folder, hand it over, clear it away."""

    def __init__(self) -> None:
        self._folder: str | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker that is about to start the path of the shared folder."""
        from pytest_kosli.memo import SharedMemo

        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="pytest-kosli-")
            tell_known(node.config, SharedMemo(Path(self._folder)))
        node.workerinput[INPUT] = self._folder if node.gateway.spec.popen else REMOTE

    def pytest_unconfigure(self) -> None:
        """Remove the folder, whatever became of the workers."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def tell_known(config: pytest.Config, memo: Memo) -> None:
    """Tell a Memo what the run knows already."""
    for key, plain in config.stash.get(KNOWN, {}).items():
        memo.once(key, partial(dict, plain))


def is_controller(config: pytest.Config) -> bool:
    """Return whether this process hands its tests to workers."""
    return not is_worker(config) and getattr(config.option, "dist", "no") != "no"


def is_worker(config: pytest.Config) -> bool:
    """Return whether this process is a worker."""
    return hasattr(config, "workerinput")


def tell_controller(config: pytest.Config, what: str, told: list[str]) -> None:
    """Leave texts in a worker, for when it ends: they take the place of earlier ones."""
    config.workeroutput.setdefault(OUTPUT, {})[what] = told  # type: ignore[attr-defined]


def shared_folder(config: pytest.Config) -> Path | None:
    """Return the folder that the controller made, in a worker; None in a run of one process.

    Raises NoVerdict in a worker on another machine, where there is no such folder.
    """
    folder = getattr(config, "workerinput", {}).get(INPUT)
    if folder == REMOTE:
        from pytest_kosli.model import NoVerdict

        raise NoVerdict(
            "remote_worker",
            "this test runs on another machine, which can not share what was asked",
            "Run tests that ask Kosli with local workers (-n), or without xdist.",
        )
    return Path(folder) if folder else None
