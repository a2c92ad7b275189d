"""The summary of drift: facts of their own kind, beside the verdicts on artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from pytest_kosli.report.facts import NO_VERDICT, NOT_CHECKED, Facts
from pytest_kosli.text import clean, count, when

KIND = "drift"
NO_DRIFT = "NO_DRIFT"
DRIFTED = "DRIFTED"
WORDS = {
    DRIFTED: "drifted",
    NO_VERDICT: "no verdict",
    NOT_CHECKED: "not checked",
    NO_DRIFT: "no drift",
}
SHOWN = 20
RED, YELLOW, GREEN = {"red": True}, {"yellow": True}, {"green": True}
COLOURS = {NO_DRIFT: GREEN, NOT_CHECKED: YELLOW}
Line = tuple[str, dict[str, bool]]


def lines(facts: Sequence[Facts], verbosity: int, width: int) -> Iterator[Line]:
    """Yield the part of the summary that is about drift; nothing where nothing was compared."""
    if not facts:
        return
    yield from _notices(facts)
    for fact in facts[:SHOWN] if verbosity >= 0 else ():
        text = f"{WORDS[fact['outcome']]:<13}  {clean(fact['label'], 60)}  {clean(fact['reason'])}"
        line = text.rstrip()
        colour = COLOURS.get(fact["outcome"], RED)
        yield line if len(line) <= width else line[: width - 1] + "…", colour
    if verbosity >= -1:
        numbers = Counter(fact["outcome"] for fact in facts)
        told = ", ".join(f"{number} {WORDS[word]}" for word, number in numbers.items())
        yield f"{count(len(facts), 'comparison')}: {told}", _all_fine(numbers)


def _notices(facts: Sequence[Facts]) -> Iterator[Line]:
    dates = sorted(fact["received_at"] for fact in facts if fact["replayed"])
    if any(fact["outcome"] == NOT_CHECKED for fact in facts):
        yield "DRY RUN: Kosli was not asked, nothing was compared", YELLOW
    if dates:
        recorded = when(datetime.fromisoformat(dates[0]))
        yield f"REPLAY of what ran when it was recorded, {recorded}: not what runs now", YELLOW


def _all_fine(numbers: Counter[str]) -> dict[str, bool]:
    return GREEN if set(numbers) == {NO_DRIFT} else {}
