"""The summary of source checks: facts of their own kind, beside the verdicts on artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from pytest_kosli.report.facts import NO_VERDICT, NOT_CHECKED, Facts
from pytest_kosli.report.rows import GREEN, YELLOW, Line, recordings, rows
from pytest_kosli.text import count, when

KIND = "source"
HOLDS = "HOLDS"
DOES_NOT_HOLD = "DOES_NOT_HOLD"
WORDS = {
    DOES_NOT_HOLD: "does not hold",
    NO_VERDICT: "no verdict",
    NOT_CHECKED: "not checked",
    HOLDS: "holds",
}


def lines(facts: Sequence[Facts], verbosity: int, width: int) -> Iterator[Line]:
    """Yield the part of the summary that is about source; nothing without source checks."""
    if not facts:
        return
    yield from _notices(facts)
    shown = facts if verbosity > 0 else [fact for fact in facts if fact["outcome"] != HOLDS]
    if verbosity >= 0:
        yield from rows(shown, WORDS, HOLDS, width)
    if verbosity >= -1:
        for note in dict.fromkeys(fact["note"] for fact in facts if fact["note"]):
            yield f"note: {note}", YELLOW
        yield _counts(facts)


def _notices(facts: Sequence[Facts]) -> Iterator[Line]:
    dates = recordings(facts)
    if any(fact["outcome"] == NOT_CHECKED for fact in facts):
        yield "DRY RUN: CodeAlive was not asked, no source was checked", YELLOW
    if dates:
        recorded = when(datetime.fromisoformat(dates[0]))
        yield f"REPLAY of source recorded {recorded}: CodeAlive was not asked now", YELLOW


def _counts(facts: Sequence[Facts]) -> Line:
    numbers = Counter(fact["outcome"] for fact in facts)
    told = ", ".join(
        f"{numbers[word]} {_verb(word, numbers[word])}" for word in WORDS if word in numbers
    )
    pins = Counter(fact["pin"] for fact in facts if fact["outcome"] == HOLDS)
    tied = [f"{pins[pin]} pinned to a {pin}" for pin in ("commit", "branch") if pins[pin]]
    text = "; ".join([f"{count(len(facts), 'source check')}: {told}", *tied])
    return text, GREEN if set(numbers) == {HOLDS} else {}


def _verb(outcome: str, number: int) -> str:
    word = WORDS[outcome]
    return word if number == 1 else word.replace("does", "do").replace("holds", "hold")
