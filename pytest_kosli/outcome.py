"""The exception decides: an assertion of ours is FAILED, NoVerdict ERROR, NotChecked SKIPPED."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any, Literal

import pytest

from pytest_kosli import xdist
from pytest_kosli.explain import no_verdict
from pytest_kosli.model import KosliError, NotChecked, NoVerdict

PLUGIN = Path(__file__).with_name("plugin.py")
"""What is raised by a hook of ours has no line of the test to show."""


def settle(
    item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport
) -> KosliError | None:
    """Give a report the outcome that an exception of ours stands for, in whatever phase.

    No xfail mark excuses it: a missing or refusing verdict is not what a test may expect to fail.
    Returns the exception, None where there is none of ours.
    """
    error = tell(item, call, report)
    if error is None:
        return None
    if hasattr(report, "wasxfail"):
        del report.wasxfail
    if isinstance(error, AssertionError):
        report.when = "call"
    elif isinstance(error, NoVerdict) and call.when != "teardown":
        report.when = "setup"
    if report.when != call.when:
        setattr(report, xdist.MOVED, call.when)
    return error


def tell(
    item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport
) -> KosliError | None:
    """Give a report our outcome and our text, and leave it in its phase."""
    error = _ours(call.excinfo.value) if call.excinfo else None
    if call.excinfo is None or error is None:
        return None
    if isinstance(error, NotChecked):
        _skip(item, report, str(error))
        return error
    report.outcome = "failed"
    lines = no_verdict(error) if isinstance(error, NoVerdict) else str(error).splitlines()
    in_test = call.when == "call" and call.excinfo.traceback[0].path != PLUGIN
    _tell(item, call.excinfo, report, lines, in_test=in_test)
    return error


def _ours(raised: BaseException) -> KosliError | None:
    """Return the exception of ours in what ended a phase: doctest wraps what an example raises."""
    for one in (raised, *getattr(raised, "failures", ())):
        inner = getattr(one, "exc_info", (None, one))[1]
        if isinstance(inner, KosliError):
            return inner
    return None


def fail(item: pytest.Item, report: pytest.TestReport, error: NoVerdict) -> None:
    """Turn a report into an error that no exception raised."""
    report.outcome = "failed"
    report.when = "teardown"
    report.longrepr = "\n".join(no_verdict(error))


def passed(report: pytest.TestReport, when: Literal["setup", "teardown"]) -> pytest.TestReport:
    """Return the report of a phase that passed, beside the one that was moved out of that phase."""
    told = copy.copy(report)
    told.when, told.outcome, told.longrepr = when, "passed", None
    told.start = told.stop = report.start if when == "setup" else report.stop
    told.duration = 0.0
    for name in ("kosli", xdist.MOVED, "extras"):
        vars(told).pop(name, None)
    return told


def _skip(item: pytest.Item, report: pytest.TestReport, why: str) -> None:
    path, line, _ = item.reportinfo()
    report.outcome = "skipped"
    report.longrepr = (str(path), (line or 0) + 1, f"Skipped: {why}")


def _tell(
    item: pytest.Item,
    excinfo: pytest.ExceptionInfo[BaseException],
    report: pytest.TestReport,
    lines: list[str],
    *,
    in_test: bool,
) -> None:
    """Show our text alone, or under the line of the test that asked, but never our own frames."""
    native = item.config.getoption("tbstyle") == "native"
    whole = in_test and not native and _own_lines(report)
    if not whole:
        report.longrepr = excinfo.getrepr(style="value")
    longrepr: Any = report.longrepr
    entry = longrepr.reprtraceback.reprentries[-1]
    shown = itertools.takewhile(lambda line: not line.startswith("E "), entry.lines)
    kept = list(shown) if whole else []
    entry.lines[:] = [*kept, *(f"E   {line}".rstrip() for line in lines)]
    crash = longrepr.reprcrash
    if crash is not None:
        crash.message = "\n".join(lines)
        if not in_test:
            path, line, _ = item.reportinfo()
            crash.path, crash.lineno = str(path), (line or 0) + 1


def _own_lines(report: pytest.TestReport) -> bool:
    entries = getattr(getattr(report.longrepr, "reprtraceback", None), "reprentries", [])
    return bool(entries) and hasattr(entries[-1], "lines")
