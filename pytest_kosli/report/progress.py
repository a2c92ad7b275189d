"""A live line on a terminal while it asks or waits; nothing where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

EVERY = 0.1
"""Seconds between two looks of the line: more would only slow the run down."""


def on(config: pytest.Config) -> Callable[[int, int, int], None]:
    """Return what shows how many questions are done, of how many, and how many got no reply."""
    line = _line(config)
    return Progress(line).tell if line else lambda done, total, unanswered: None


def waiting(config: pytest.Config) -> Callable[[int, int, float], None]:
    """Return what shows how many answers are waited for, of how many, and the seconds left."""
    line = _line(config)

    def tell(late: int, total: int, left: float) -> None:
        if line:
            line(f"kosli: waiting for {late} of {total}, {left:.0f} s left" if late else "")

    return tell


class Progress:
    """How far a number of questions is, on one line, erased when all is done."""

    def __init__(
        self, line: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._line = line
        self._clock = clock
        self._began = clock()
        self._shown = 0.0

    def tell(self, done: int, total: int, unanswered: int) -> None:
        """Show how far it is, and the seconds that are left at this speed."""
        now = self._clock()
        if done == total:
            self._line("")
        elif now - self._shown >= EVERY:
            self._shown = now
            left = (now - self._began) / done * (total - done)
            lost = f", {unanswered} without a reply" if unanswered else ""
            self._line(f"kosli: {done} of {total} asked{lost}, {left:.0f} s left")


def _line(config: pytest.Config) -> Callable[[str], None] | None:
    """Return what writes a line over the one before it; None where there is no terminal."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not reporter.isatty or config.get_verbosity() < 0:
        return None
    capture = config.pluginmanager.get_plugin("capturemanager")

    def write(text: str) -> None:
        # While pytest collects, what is written would be captured.
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.rewrite(text, erase=True)

    return write
