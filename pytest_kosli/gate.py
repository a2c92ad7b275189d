"""A ready-made suite, ``pytest --pyargs pytest_kosli.gate``: one test per artifact that flags name.

Its tests come from a collector of ours, so that no naming rule of a project hides them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from pytest_kosli import marker
from pytest_kosli.marker import Parametrised, Plan
from pytest_kosli.model import NoVerdict

NAME = "compliant"
"""Of the item for all artifacts, and in front of the brackets where each has its own."""

Refuse = Callable[[str, NoVerdict], NoReturn]


class CheckItem(pytest.Item):
    """One check; all of it happens before its set-up, as for every marked test."""

    def __init__(self, parametrised: Parametrised | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parametrised = parametrised
        self.add_marker(pytest.mark.kosli)

    def runtest(self) -> None:
        """Do nothing: an item whose artifact is refused does not come this far."""

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Return where the item stands, for reports."""
        return self.path, None, f"kosli {self.name}"


class Gate(pytest.File):
    """Collect one item for each artifact that the command line names."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield an item per artifact, or one for all of them where none can be asked for."""
        from pytest_kosli.plugin import session_of

        session = session_of(self.config)
        checks = session.expanded(Plan())
        if checks is None:
            yield CheckItem.from_parent(self, name=NAME)
            return
        for check, ident in zip(checks, marker.ids(checks), strict=True):
            own = Parametrised(check, Plan())
            yield CheckItem.from_parent(self, name=f"{NAME}[{ident}]", parametrised=own)


class Guard(pytest.Item):
    """The item that fails for what a flag names and no selected test asks about."""

    def __init__(self, refuse: Refuse, left: NoVerdict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._refuse = refuse
        self.left = left

    def setup(self) -> None:
        """Raise the NoVerdict that names every such flag."""
        self._refuse(self.name, self.left)

    def runtest(self) -> None:
        """Do nothing: the set-up has failed."""

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Return where the item stands, for reports."""
        return self.config.rootpath, None, self.name
