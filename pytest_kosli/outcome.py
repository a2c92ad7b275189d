"""The exception decides: an assertion of ours is FAILED, NoVerdict ERROR, NotChecked SKIPPED."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import pytest

from pytest_kosli.explain import no_verdict
from pytest_kosli.model import KosliError, NotChecked, NotCompliant, NoVerdict
from pytest_kosli.plugin import MOVED
from pytest_kosli.report.facts import NO_VERDICT, Facts

RUNNERS = {"_pytest", "pluggy"}
OURS = __name__.partition(".")[0]
HOOKS = Path(__file__).with_name("involved.py")
"""What is raised by a hook of ours has no line of the test to show."""


def settle(
    item: pytest.Item,
    call: pytest.CallInfo[Any],
    report: pytest.TestReport,
    facts: Sequence[Facts],
) -> KosliError | None:
    """Give a report the outcome that an exception of ours stands for, in whatever phase.

    No xfail excuses it: a missing or refusing verdict is not what a test may expect to fail.
    ``facts`` are what the phase noted. Returns what of ours stands behind the report, if anything.
    """
    error = tell(item, call, report) or _excused(call, report, facts)
    if error is None:
        return next(_behind(call.excinfo.value), None) if call.excinfo else None
    if hasattr(report, "wasxfail"):
        del report.wasxfail
    if isinstance(error, AssertionError):
        report.when = "call"
    elif isinstance(error, NoVerdict) and call.when != "teardown":
        report.when = "setup"
    if report.when != call.when:
        setattr(report, MOVED, call.when)
    return error


def report_of(item: pytest.Item, call: pytest.CallInfo[Any]) -> pytest.TestReport:
    """Return the report of an exception of ours, with the lines of the test and none of ours."""
    if call.excinfo and not item.config.getoption("fulltrace", False):
        _end_before_us(call.excinfo)
    report = pytest.TestReport.from_item_and_call(item, call)
    tell(item, call, report)
    return report


def _end_before_us(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """End a traceback where what pytest runs calls us, whomever we call in turn."""
    links = list(_links(excinfo.tb))
    rooms = [str(link.tb_frame.f_globals.get("__name__")).partition(".")[0] for link in links]
    begin = max((at for at, room in enumerate(rooms, start=1) if room in RUNNERS), default=0)
    if OURS in rooms[begin:] and (end := rooms.index(OURS, begin)) > begin:
        links[end - 1].tb_next = None
        excinfo.traceback = excinfo.traceback[:end]


def _links(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


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
    if isinstance(call.excinfo.value, BaseExceptionGroup):
        report.longrepr = "\n".join(_lines(error))  # pytest has Python's own text for a group alone
        return error
    in_test = call.when == "call" and call.excinfo.traceback[0].path != HOOKS
    _tell(item, call.excinfo, report, _lines(error), in_test=in_test)
    return error


def _excused(
    call: pytest.CallInfo[Any], report: pytest.TestReport, facts: Sequence[Facts]
) -> KosliError | None:
    """Fail a report that an xfail excuses, where it is ours that another exception hides.

    unittest's expectedFailure and plugins keep the exception to themselves; then the facts tell of
    it. A test that has caught it, and fails by an exception of its own, is excused as any other.
    """
    if not (report.skipped and hasattr(report, "wasxfail")):
        return None
    raised = call.excinfo.value if call.excinfo else None
    hidden = (one for one in _behind(raised) if not isinstance(one, NotChecked))
    error = next(hidden, None)
    if error is None and (raised is None or isinstance(raised, pytest.xfail.Exception)):
        error = next(filter(None, map(_told_by, facts)), None)
    if error is not None:
        report.outcome = "failed"
        report.longrepr = "\n".join(_lines(error))
    return error


def _told_by(fact: Facts) -> KosliError | None:
    """Return what a fact was noted about; None for one that stands against nothing."""
    if fact["refused"]:
        about = f"{fact['label']} against {fact['scope']}" if fact.get("scope") else fact["label"]
        return NotCompliant(f"{about} is refused, and no xfail excuses it: {fact['reason']}", ())
    if fact["outcome"] == NO_VERDICT:
        return NoVerdict(fact["code"], fact["reason"], fact.get("todo", ""))
    return None


def _behind(raised: BaseException | None) -> Iterator[KosliError]:
    """Yield the exceptions of ours in one, in its groups and in its causes."""
    left, met = [raised], set[int]()
    while left:
        one = left.pop(0)
        if one is None or id(one) in met:
            continue
        met.add(id(one))
        if isinstance(one, KosliError):
            yield one
        left += [*getattr(one, "exceptions", ()), one.__cause__, one.__context__]


def _ours(raised: BaseException) -> KosliError | None:
    """Return the exception of ours that ended a phase; of a group of nothing else, the worst.

    Doctest wraps what an example raises.
    """
    if isinstance(raised, BaseExceptionGroup):
        inner = [_ours(one) for one in raised.exceptions]
        return max(filter(None, inner), key=_weight) if all(inner) else None
    for one in (raised, *getattr(raised, "failures", ())):
        inner = getattr(one, "exc_info", (None, one))[1]
        if isinstance(inner, KosliError):
            return inner
    return None


def _weight(error: KosliError) -> int:
    return 2 * isinstance(error, AssertionError) + isinstance(error, NoVerdict)


def _lines(error: KosliError) -> list[str]:
    return no_verdict(error) if isinstance(error, NoVerdict) else str(error).splitlines()


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
    for name in ("kosli", MOVED, "extras"):
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
    native = item.config.getoption("tbstyle", "auto") == "native"
    whole = in_test and not native and _own_lines(report)
    if not whole:
        report.longrepr = excinfo.getrepr(style="value")
    longrepr: Any = report.longrepr
    entry = longrepr.reprtraceback.reprentries[-1]
    if not whole:
        entry.style = "short"  # In the style "value" a failure has no colour.
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
