"""What a test's checks become in JUnit: flat properties, which every reader of the XML can show."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from pytest_kosli.report.facts import NOT_CHECKED, Facts, urgency
from pytest_kosli.text import clean

Properties = list[tuple[str, str]]
PREFIX = "kosli."


def properties(checks: Sequence[Facts], mode: str) -> Properties:
    """Return the properties of a test: of its worst check, and ``kosli.checks`` with all as JSON.

    A test that demands a verdict and has none, as a skipped one, is said to be not checked.
    """
    told = sorted(checks, key=urgency)
    if not told:
        return [("kosli.outcome", NOT_CHECKED), ("kosli.mode", mode)]
    every = [_flat(fact) for fact in told]
    # A thousand tests share these names.
    flat = ((sys.intern(f"{PREFIX}{key}"), value) for key, value in every[0].items())
    return [*flat, ("kosli.mode", mode), ("kosli.checks", msgspec.json.encode(every).decode())]


def _flat(fact: Facts) -> dict[str, str]:
    listed = fact.get("allow_listing")
    told = {
        "outcome": fact["outcome"],
        "artifact": fact["name"],
        "fingerprint": fact["fingerprint"],
        "scope": fact["scope"],
        "reason": fact["reason"],
        "reason_codes": " ".join(dict.fromkeys(one["code"] for one in fact["reasons"])),
        "url": fact.get("link", ""),
        "allow_listed": f"by {listed['by']} {listed['at']}: {listed['why']}" if listed else "",
        "replayed": "true" if fact["replayed"] else "",
    }
    return {key: clean(value) for key, value in told.items() if value}
