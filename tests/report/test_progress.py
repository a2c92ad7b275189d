"""The line on a terminal while it asks or waits: there for whoever watches, and for nobody else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence

import pytest

from pytest_kosli.report.progress import EVERY, Progress
from tests.answers import answer
from tests.changing import (
    COMPLIANT,
    EARLY,
    GREEN,
    INSTANCES,
    RED,
    SILENCE,
    STAGING,
    Row,
    after,
    play,
    suite,
)
from tests.conftest import NEIGHBOURS
from tests.sandbox import Sandbox

SLOW = {"body": answer(), "delay": 0.4}
ROWS = [
    Row("lost", (SILENCE,), RED),
    Row("late", (EARLY, EARLY, COMPLIANT), GREEN),
    Row("slow one", (SLOW,), GREEN),
    Row("slow two", (SLOW,), GREEN),
]


# What it says.


def told(*calls: tuple[float, int, int, int]) -> list[str]:
    """Return what is written when it is told, at those seconds, how far it is."""
    now, written = [100.0], list[str]()
    progress = Progress(written.append, lambda: now[0])
    for moment, *counts in calls:
        now[0] = 100.0 + moment
        progress.tell(*counts)
    return written


def test_it_says_how_many_are_done_and_how_long_the_rest_will_take() -> None:
    assert told((2, 4, 20, 0), (10, 10, 20, 0)) == [
        "kosli: 4 of 20 asked, 8 s left",
        "kosli: 10 of 20 asked, 10 s left",
    ]


def test_it_counts_what_got_no_reply() -> None:
    assert told((1, 1, 2, 1)) == ["kosli: 1 of 2 asked, 1 without a reply, 1 s left"]


def test_it_is_erased_when_all_is_done() -> None:
    assert told((1, 1, 2, 0), (1.01, 2, 2, 0))[-1] == ""


def test_it_is_not_written_more_often_than_somebody_can_read() -> None:
    many = [(number / 1000, number, 1001, 0) for number in range(1, 1001)]
    assert 1 < len(told(*many)) <= 1 / EVERY + 1


# Who sees it.


def run_on_a_terminal(*arguments: str) -> str:
    """Return all that a run writes to a terminal of 80 columns."""
    pty = pytest.importorskip("pty", reason="there is no such terminal here")
    terminal, end = pty.openpty()
    environ = os.environ | {"NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *NEIGHBOURS, *arguments]
    run = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, env=environ)
    os.close(end)
    written = b""
    try:
        while part := os.read(terminal, 4096):
            written += part
    except OSError:  # how a terminal says that nobody is at its other end any more
        pass
    os.close(terminal)
    run.wait(timeout=60)
    return written.decode()


ONE_AT_A_TIME = ("-p", "no:xdist", "-okosli_concurrency=1", "--kosli-wait=20")


def shown(output: str) -> list[str]:
    """Return each state of the line, in order."""
    return [line.rstrip() for line in re.findall(r"\r(kosli: [^\r\n]*)", output)]


def in_order(lines: Sequence[str], *patterns: str) -> bool:
    rest = iter(lines)
    return all(any(re.fullmatch(pattern, line) for line in rest) for pattern in patterns)


def test_it_is_there_on_a_terminal_while_it_asks_and_while_it_waits(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    play(online, ROWS)
    pytester.makepyfile(suite(ROWS))
    output = run_on_a_terminal(*ONE_AT_A_TIME)
    assert in_order(
        shown(output),
        r"kosli: [12] of 4 asked, 1 without a reply, \d+ s left",
        r"kosli: 3 of 4 asked, 1 without a reply, \d+ s left",
        r"kosli: waiting for 1 of 4, 20 s left",
        r"kosli: waiting for 1 of 4, 1\d s left",
    ), output
    last = output.rpartition("kosli: waiting")[2]
    assert re.match(r"[^\r\n]*\r +\r?", last), "it is erased, not left in the way of the tests"
    assert "3 passed" in output


def test_it_is_there_while_a_snapshot_is_waited_for(
    pytester: pytest.Pytester, online: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox("acme") as own:
        monkeypatch.setenv("KOSLI_HOST", own.url)
        own.set(*INSTANCES, to=[])
        one = [{"artifact": "payments", "started": [1.0]}]
        after(own, 1, STAGING, lambda: own.set(*INSTANCES, to=one))
        gate = ("--pyargs", "pytest_kosli.gate", "--kosli-snapshot=staging")
        output = run_on_a_terminal(*gate, *ONE_AT_A_TIME)
    assert in_order(shown(output), r"kosli: waiting for 1 of 1, 20 s left"), output
    assert "1 passed" in output


def test_a_quiet_run_has_none(pytester: pytest.Pytester, online: Sandbox) -> None:
    play(online, ROWS)
    pytester.makepyfile(suite(ROWS))
    output = run_on_a_terminal("-q", *ONE_AT_A_TIME)
    assert shown(output) == []
    assert "3 passed" in output


def test_what_is_no_terminal_has_none(pytester: pytest.Pytester, online: Sandbox) -> None:
    play(online, ROWS)
    pytester.makepyfile(suite(ROWS))
    result = pytester.runpytest_subprocess(*NEIGHBOURS, *ONE_AT_A_TIME)
    result.assert_outcomes(passed=3, errors=1)
    for word in ("of 4 asked", "waiting for", "\r"):
        assert word not in result.stdout.str()
