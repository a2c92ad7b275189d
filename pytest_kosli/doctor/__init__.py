"""Is everything set up? One line for each thing that a run relies on; nothing is judged here.

A line is *ok*, *to mend* with what to do about it, or *not looked at* with the reason.
"""

from __future__ import annotations

import textwrap

import pytest

from pytest_kosli.doctor.line import Line, State
from pytest_kosli.doctor.visit import examine
from pytest_kosli.settings import survey
from pytest_kosli.text import clean

WIDTH = 100
STATE_WIDTH = 15
TEXT_BEGINS = 38

COLOURS = {State.OK: "green", State.MEND: "red", State.UNSEEN: "yellow"}


def run(config: pytest.Config) -> pytest.ExitCode:
    """Print each line as soon as it is known; return USAGE_ERROR if anything is to be mended."""
    reporter = pytest.TerminalReporter(config)
    found = dict.fromkeys(State, 0)
    for line in examine(config, survey(config), every=config.get_verbosity() > 0):
        found[line.state] += 1
        first, *others = text_of(line)
        reporter.write(first[:STATE_WIDTH], **{COLOURS[line.state]: True})
        for rest in (first[STATE_WIDTH:], *others):
            reporter.write_line(rest)
    told = ", ".join(f"{number} {state.value}" for state, number in found.items() if number)
    reporter.write_line(told, bold=True)
    return pytest.ExitCode.USAGE_ERROR if found[State.MEND] else pytest.ExitCode.OK


def text_of(line: Line) -> list[str]:
    """Return a line as text of at most 100 columns, with what to do and where to read below it."""
    about = clean(clean(line.about), 50)  # what was escaped is longer than it was
    head = f"{line.state.value:<{STATE_WIDTH}}{about:<{TEXT_BEGINS - STATE_WIDTH - 2}}  "
    below = " " * STATE_WIDTH
    lines = _wrapped(line.said, head, " " * TEXT_BEGINS) or [head]
    lines += _wrapped(line.todo, below, below)
    return [*lines, below + line.docs] if line.docs else lines


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        clean(text, 1000),
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
    )
