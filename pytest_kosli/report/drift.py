"""The summary of drift: facts of their own kind, beside the verdicts on artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from pytest_kosli.report.facts import NO_VERDICT, NOT_CHECKED, Facts
from pytest_kosli.report.rows import GREEN, YELLOW, Line, recordings, rows
from pytest_kosli.text import count, when

KIND = "drift"
NO_DRIFT = "NO_DRIFT"
DRIFTED = "DRIFTED"
WORDS = {
    DRIFTED: "drifted",
    NO_VERDICT: "no verdict",
    NOT_CHECKED: "not checked",
    NO_DRIFT: "no drift",
}


def lines(facts: Sequence[Facts], verbosity: int, width: int) -> Iterator[Line]:
    """Yield the part of the summary that is about drift; nothing where nothing was compared."""
    if not facts:
        return
    yield from _notices(facts)
    if verbosity >= 0:
        yield from rows(facts, WORDS, NO_DRIFT, width)
    if verbosity >= -1:
        numbers = Counter(fact["outcome"] for fact in facts)
        told = ", ".join(f"{number} {WORDS[word]}" for word, number in numbers.items())
        yield f"{count(len(facts), 'comparison')}: {told}", _all_fine(numbers)


def _notices(facts: Sequence[Facts]) -> Iterator[Line]:
    dates = recordings(facts)
    if any(fact["outcome"] == NOT_CHECKED for fact in facts):
        yield "DRY RUN: Kosli was not asked, nothing was compared", YELLOW
    if dates:
        recorded = when(datetime.fromisoformat(dates[0]))
        yield f"REPLAY of what ran when it was recorded, {recorded}: not what runs now", YELLOW


def _all_fine(numbers: Counter[str]) -> dict[str, bool]:
    return GREEN if set(numbers) == {NO_DRIFT} else {}
