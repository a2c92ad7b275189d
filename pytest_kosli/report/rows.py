"""What the parts of the summary share: colours, and rows that fit the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_kosli.report.facts import NOT_CHECKED, Facts
from pytest_kosli.text import clean, cut

Line = tuple[str, dict[str, bool]]
RED, YELLOW, GREEN, BOLD = {"red": True}, {"yellow": True}, {"green": True}, {"bold": True}
SHOWN = 20


def rows(facts: Sequence[Facts], words: Mapping[str, str], fine: str, width: int) -> Iterator[Line]:
    """Yield a row for each of the first facts: what came of it, what it is about, and why.

    ``words`` are those of the outcomes, ``fine`` the one that is green.
    """
    colours = {fine: GREEN, NOT_CHECKED: YELLOW}
    labels = [clean(fact["label"], 60) for fact in facts[:SHOWN]]
    wide = max(map(len, labels), default=0)
    for fact, label in zip(facts, labels, strict=False):
        text = f"{words[fact['outcome']]:<13}  {label:<{wide}}  {clean(fact['reason'])}"
        yield cut(text.rstrip(), width), colours.get(fact["outcome"], RED)


def recordings(facts: Sequence[Facts]) -> list[str]:
    """Return when what was replayed had been recorded, as ISO texts, the first one first."""
    return sorted(fact["received_at"] for fact in facts if fact["replayed"])
