"""A live line on a terminal while questions are asked; nothing where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

EVERY = 0.1
"""Seconds between two looks of the line: more would only slow the run down."""


def on(config: pytest.Config) -> Callable[[int, int, int], None]:
    """Return what shows how many questions are done, of how many, and how many got no reply."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not reporter.isatty or config.get_verbosity() < 0:
        return lambda done, total, unanswered: None
    return Progress(reporter).tell


class Progress:
    """One line, written over itself, erased when all is done."""

    def __init__(
        self, reporter: pytest.TerminalReporter, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reporter = reporter
        self._clock = clock
        self._began = clock()
        self._shown = 0.0

    def tell(self, done: int, total: int, unanswered: int) -> None:
        """Show how far it is, and the seconds that are left at this speed."""
        now = self._clock()
        if done == total:
            self._reporter.rewrite("", erase=True)
        elif now - self._shown >= EVERY:
            self._shown = now
            left = (now - self._began) / done * (total - done)
            lost = f", {unanswered} without a reply" if unanswered else ""
            self._reporter.rewrite(
                f"kosli: {done} of {total} asked{lost}, {left:.0f} s left", erase=True
            )
