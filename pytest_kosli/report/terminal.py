"""The summary at the end of a run: one row an artifact, refused first, then what must be said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pytest_kosli.model import Outcome
from pytest_kosli.report.record import NO_VERDICT, NOT_CHECKED, Facts, Record
from pytest_kosli.text import clean, count, when

if TYPE_CHECKING:
    import pytest

Line = tuple[str, dict[str, bool]]

WORDS = {outcome.value: outcome.label for outcome in Outcome}
WORDS |= {NO_VERDICT: "no verdict", NOT_CHECKED: "not checked"}
RED, YELLOW, GREEN, BOLD = {"red": True}, {"yellow": True}, {"green": True}, {"bold": True}
COLOURS = {
    Outcome.COMPLIANT.value: GREEN,
    Outcome.ALLOW_LISTED.value: YELLOW,
    NOT_CHECKED: YELLOW,
}


def write(
    reporter: pytest.TerminalReporter,
    record: Record,
    problems: Sequence[str],
    mode: str,
    verbosity: int,
    width: int,
) -> None:
    """Print the summary; nothing where nothing was checked and nothing is wrong."""
    told = list(lines(record, problems, mode, verbosity, width))
    if told:
        reporter.write_sep("=", "kosli")
        for text, markup in told:
            reporter.write_line(text, **markup)


def lines(
    record: Record, problems: Sequence[str], mode: str, verbosity: int, width: int
) -> Iterator[Line]:
    """Yield the lines of the summary; the table only where the run is not quiet."""
    facts = record.facts
    if facts:
        yield from _notices(facts, mode)
    if verbosity >= 0:
        yield from _table(facts, width)
    if verbosity >= -1 and facts:
        yield from _details(record, facts)
        yield _counts(facts)
    for nodeid, fact in record.swallowed:
        word = WORDS[fact["outcome"]]
        yield f"{clean(fact['label'])} is {word}, but {clean(nodeid)} passed", RED | BOLD
    for problem in problems:
        yield clean(problem, 1000), RED | BOLD


def _notices(facts: list[Facts], mode: str) -> Iterator[Line]:
    dates = sorted(fact["received_at"] for fact in facts if fact["replayed"])
    if mode == "dry run":
        yield "DRY RUN: Kosli was not asked, nothing was checked", YELLOW | BOLD
    if dates:
        first, last = (when(datetime.fromisoformat(date)) for date in (dates[0], dates[-1]))
        recorded = first if first == last else f"from {first} to {last}"
        yield f"REPLAY of cassettes recorded {recorded}: Kosli was not asked now", YELLOW | BOLD


def _table(facts: list[Facts], width: int) -> Iterator[Line]:
    scopes = {fact["scope"] for fact in facts if fact["scope"]}
    if len(scopes) == 1:
        yield f"against {clean(scopes.pop())}", {}
    rows = [
        (
            WORDS[fact["outcome"]],
            clean(fact["label"], 40),
            clean(fact["scope"], 40) if scopes else "",
            clean(fact["reason"] if fact["outcome"] != Outcome.COMPLIANT.value else ""),
        )
        for fact in facts
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for fact, row in zip(facts, rows, strict=True):
        columns = [text.ljust(wide) for text, wide in zip(row, widths, strict=False) if wide]
        text = "  ".join([*columns, row[3]]).rstrip()
        yield text if len(text) <= width else text[: width - 1] + "…", _colour(fact)


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
        names = ", ".join(clean(name, 60) for name in sorted(record.left_out))
        yield f"{count(len(record.left_out), 'artifact')} left out by without: {names}", YELLOW
    for note in dict.fromkeys(fact["note"] for fact in facts if fact.get("note")):
        yield clean(note), YELLOW


def _counts(facts: list[Facts]) -> Line:
    numbers = Counter(fact["outcome"] for fact in facts)
    told = ", ".join(f"{number} {WORDS[word]}" for word, number in numbers.items())
    fine = set(numbers) <= {Outcome.COMPLIANT.value}
    return f"{count(len(facts), 'check')}: {told}", (GREEN if fine else {}) | BOLD
