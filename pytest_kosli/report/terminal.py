"""The summary at the end of a run: one row an artifact, refused first, then what must be said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pytest_kosli.model import Outcome
from pytest_kosli.report.facts import NO_VERDICT, NOT_CHECKED, WORDS, Facts
from pytest_kosli.report.record import Record
from pytest_kosli.report.rows import BOLD, GREEN, RED, YELLOW, Line, recordings
from pytest_kosli.text import clean, count, cut, span, when

if TYPE_CHECKING:
    import pytest

MANY = 20
COLOURS = {
    Outcome.COMPLIANT.value: GREEN,
    Outcome.ALLOW_LISTED.value: YELLOW,
    NOT_CHECKED: YELLOW,
}


def write(
    reporter: pytest.TerminalReporter,
    header: Sequence[str],
    record: Record,
    problems: Sequence[str],
    verbosity: int,
    width: int,
) -> None:
    """Print the summary, below a header that is still owed; nothing where there is nothing to say.

    That is where nothing was checked and nothing is wrong.
    """
    told = list(lines(record, problems, verbosity, width))
    if told:
        reporter.write_sep("=", "kosli")
        for text in header:
            reporter.write_line(text)
        for text, markup in told:
            reporter.write_line(text, **markup)


def lines(record: Record, problems: Sequence[str], verbosity: int, width: int) -> Iterator[Line]:
    """Yield the lines of the summary; the table only where the run is not quiet."""
    facts = record.facts
    if facts:
        yield from _notices(facts)
    if verbosity >= 0:
        yield from _table(facts, width)
    if verbosity >= -1 and facts:
        yield from _details(record, facts)
        yield _counts(facts)
    if record.sources:
        from pytest_kosli.report import sources

        yield from sources.lines(record.sources, verbosity, width)
    if record.drifts:
        from pytest_kosli.report import drift

        yield from drift.lines([fact for _, fact in record.drifts], verbosity, width)
    for sentence in record.swallowed:
        yield sentence, RED | BOLD
    for problem in problems:
        yield clean(problem, 1000), RED | BOLD


def _notices(facts: list[Facts]) -> Iterator[Line]:
    dates = recordings(facts)
    if any(fact["outcome"] == NOT_CHECKED for fact in facts):
        yield "DRY RUN: Kosli was not asked, nothing was checked", YELLOW | BOLD
    if dates:
        recorded = span(*(datetime.fromisoformat(date) for date in (dates[0], dates[-1])))
        yield f"REPLAY of cassettes recorded {recorded}: Kosli was not asked now", YELLOW | BOLD


def _table(facts: list[Facts], width: int) -> Iterator[Line]:
    scopes = {fact["scope"] for fact in facts}
    shared = scopes.pop() if len(scopes) == 1 else ""
    if shared:
        yield f"against {clean(shared)}", {}
    rows = [
        (
            WORDS[fact["outcome"]],
            clean(fact["label"], 32),
            "" if shared else clean(fact["scope"], 28),
            clean(_why(fact)),
        )
        for fact in facts
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for fact, row in zip(facts, rows, strict=True):
        columns = [text.ljust(wide) for text, wide in zip(row, widths, strict=False) if wide]
        text = "  ".join([*columns, row[3]]).rstrip()
        yield cut(text, width), _colour(fact)


def _why(fact: Facts) -> str:
    """Return the reason in a row that names artifact and scope already."""
    if fact["outcome"] == Outcome.COMPLIANT.value:
        return ""
    if fact["outcome"] != NO_VERDICT:
        return str(fact["reason"])
    said = fact["reason"].removeprefix(f"{fact['label']} against {fact['scope']}: ")
    return f"{fact['code']}: {said}"


def _colour(fact: Facts) -> dict[str, bool]:
    return RED if fact["refused"] else COLOURS.get(fact["outcome"], RED)


def _details(record: Record, facts: list[Facts]) -> Iterator[Line]:
    for fact in facts:
        if listed := fact.get("allow_listing"):
            moment = when(datetime.fromisoformat(listed["at"])) if listed["at"] else "undated"
            why = clean(listed["why"]) or "no reason given"
            yield f"{clean(fact['label'])} was allow-listed by {clean(listed['by'])}", YELLOW
            yield f"  {moment}: {why}", YELLOW
    if record.left_out:
        names = _some({name.partition("@sha256:")[0] for name in record.left_out})
        yield f"{count(len(record.left_out), 'artifact')} left out by without: {names}", YELLOW
    if record.without_image:
        names = _some(record.without_image)
        yield f"{count(len(record.without_image), 'object')} without an image: {names}", {}
    if late := [fact["waited"] for fact in facts if fact.get("waited")]:
        yield _waited(late, len(facts)), YELLOW
    for note in dict.fromkeys(fact["note"] for fact in facts if fact.get("note")):
        yield clean(note), YELLOW


def _some(names: set[str]) -> str:
    shown = ", ".join(clean(name, 60) for name in sorted(names)[:MANY])
    more = len(names) - MANY
    return f"{shown} and {more} more" if more > 0 else shown


def _waited(late: list[Facts], checks: int) -> str:
    """Return how long the run waited, for how much, and what that has cost."""
    seconds = max(one["seconds"] for one in late)
    again = count(sum(one["asked"] - 1 for one in late), "time")
    unheard = sum(one["unheard"] > 0 for one in late)
    silent = f", in the end without a reply for {unheard}" if unheard else ""
    of = f"{len(late)} of {count(checks, 'check')}"
    return f"waited {seconds:.0f} s for {of}, asked {again} more{silent}"


def _counts(facts: list[Facts]) -> Line:
    numbers = Counter(fact["outcome"] for fact in facts)
    told = ", ".join(f"{number} {WORDS[word]}" for word, number in numbers.items())
    fine = set(numbers) <= {Outcome.COMPLIANT.value}
    return f"{count(len(facts), 'check')}: {told}", (GREEN if fine else {}) | BOLD
