"""Learn from a test suite whether deployed artifacts are compliant according to Kosli."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_kosli.api.codealive import CodeAliveClient
    from pytest_kosli.api.kosli import KosliClient
    from pytest_kosli.assert_no_drift import AssertNoDrift
    from pytest_kosli.assert_source import AssertSource
    from pytest_kosli.drift import Drifted
    from pytest_kosli.handles import AssertCompliant, KosliArtifact
    from pytest_kosli.model import (
        Artifact,
        Interaction,
        KosliError,
        NotChecked,
        NotCompliant,
        NoVerdict,
        Outcome,
        Question,
        Reason,
        Request,
        Scope,
        Verdict,
    )
    from pytest_kosli.source import SourceMismatch

__version__ = "0.1.0"
__all__ = [
    "Artifact",
    "AssertCompliant",
    "AssertNoDrift",
    "AssertSource",
    "CodeAliveClient",
    "Drifted",
    "Interaction",
    "KosliArtifact",
    "KosliClient",
    "KosliError",
    "NoVerdict",
    "NotChecked",
    "NotCompliant",
    "Outcome",
    "Question",
    "Reason",
    "Request",
    "Scope",
    "SourceMismatch",
    "Verdict",
    "fingerprint",
]

_ROOMS = {
    "AssertCompliant": "handles",
    "AssertNoDrift": "assert_no_drift",
    "AssertSource": "assert_source",
    "CodeAliveClient": "api.codealive",
    "Drifted": "drift",
    "KosliArtifact": "handles",
    "KosliClient": "api.kosli",
    "SourceMismatch": "source",
}
"""Where a name comes from that is not a word of the model; it is imported when it is used."""


if not TYPE_CHECKING:  # Type checkers would believe in every other name as well.

    def __getattr__(name: str) -> object:
        """Return a name of ``__all__``, from the room that has it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        room = importlib.import_module(f"{__name__}.{_ROOMS.get(name, 'model')}")
        return getattr(room, name)


def fingerprint(reference: str, *, exclude: Sequence[str] = ()) -> str:
    """Return the fingerprint of what a reference names: 64 lower-case hexadecimal digits.

    For scripts, without pytest: ``fingerprint("dir:build")``. Paths start in the current folder;
    ``exclude`` are patterns of paths to leave out of a folder. Raises ``model.NoVerdict``.
    """
    from pytest_kosli.references import fingerprint

    return fingerprint(reference, exclude=exclude)


class _Package(ModuleType):
    """The package, whose function ``fingerprint`` shares its name with a room of the house."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "fingerprint":  # What Python sets when somebody imports from that room.
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
