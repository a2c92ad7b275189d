"""What must not be overlooked in a report, in words that every report shares."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_kosli.report.evidence import Evidence
from pytest_kosli.report.facts import ORDER, WORDS
from pytest_kosli.text import clean, count, span


def headline(evidence: Evidence) -> str:
    """Return the checks by outcome, the worst first: ``7 checks, 1 non-compliant, 6 compliant``."""
    totals = evidence.totals
    numbers = ((getattr(totals, outcome.lower()), WORDS[outcome]) for outcome in ORDER)
    return ", ".join(
        [count(totals.checks, "check"), *(f"{number} {word}" for number, word in numbers if number)]
    )


def verdict(evidence: Evidence) -> str:
    """Return the one thing to know first: how many of the checks are compliant."""
    totals = evidence.totals
    if not totals.checks:
        return "Nothing was checked"
    listed = f", {totals.allow_listed} allow-listed" if totals.allow_listed else ""
    return f"{totals.compliant} of {count(totals.checks, 'check')} compliant{listed}"


def stamp(evidence: Evidence) -> str:
    """Return what makes this no evidence of a live check, in capitals; nothing for a live one."""
    words = {
        "INCOMPLETE": not evidence.complete,
        "DRY RUN": evidence.mode == "dry-run",
        "REPLAY": evidence.mode == "offline",
    }
    return ", ".join(word for word, holds in words.items() if holds)


def notices(evidence: Evidence) -> list[str]:
    """Return one sentence for each thing that keeps this from being evidence of a live check."""
    return list(_notices(evidence))


def _notices(evidence: Evidence) -> Iterator[str]:
    if not evidence.complete:
        yield f"INCOMPLETE: {'; '.join(evidence.incomplete)}"
    if evidence.mode == "dry-run":
        yield "DRY RUN: Kosli was not asked, nothing was checked"
    replayed = [check.answer.received_at for check in evidence.checks if check.answer.replayed]
    dates = sorted(date for date in replayed if date)
    if dates:
        recorded = span(dates[0], dates[-1])
        yield f"REPLAY of cassettes recorded {recorded}: Kosli was not asked now"
    elif evidence.mode == "offline":
        yield "REPLAY: Kosli was not asked now"
    if not evidence.checks and evidence.mode != "dry-run":
        yield "NOTHING WAS CHECKED"
    yield from (clean(problem, 1000) for problem in evidence.problems)
