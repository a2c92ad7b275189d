"""The record of a run, made of the plain facts that travel on pytest's reports. Pure data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pytest_kosli.explain import main_reason
from pytest_kosli.model import Artifact, NotChecked, NoVerdict, Outcome, Scope, Verdict

Facts = dict[str, Any]

NO_VERDICT = "NO_VERDICT"
NOT_CHECKED = "NOT_CHECKED"
PASSING = (Outcome.COMPLIANT.value, Outcome.ALLOW_LISTED.value)


def facts_of(
    name: str,
    artifact: Artifact | None,
    scope: Scope,
    result: Verdict | NoVerdict | NotChecked,
    refused: bool,
    by: str,
) -> Facts:
    """Return what a report carries about one check: texts, numbers, booleans, lists and None.

    ``by`` is ``mark`` or ``call``; ``refused`` says that the settings turn the verdict down.
    """
    facts: Facts = {
        "name": artifact.name if artifact else name,
        "label": artifact.label if artifact else name,
        "fingerprint": artifact.fingerprint if artifact else "",
        "environment": (artifact.environment if artifact else None) or "",
        "scope": str(scope) if scope else "",
        "source": artifact.origin.source if artifact else "",
        "by": by,
        "refused": refused,
        "replayed": False,
    }
    if isinstance(result, Verdict):
        return facts | _verdict_facts(result)
    if isinstance(result, NotChecked):
        return facts | {"outcome": NOT_CHECKED, "code": "dry_run", "reason": "dry run"}
    return facts | {"outcome": NO_VERDICT, "code": result.code, "reason": result.message}


def _verdict_facts(verdict: Verdict) -> Facts:
    listed = verdict.allow_listing
    return {
        "outcome": verdict.outcome.value,
        "code": verdict.reasons[0].code if verdict.reasons else "",
        "reason": main_reason(verdict),
        "link": verdict.link,
        "note": verdict.note,
        "replayed": verdict.replayed,
        "received_at": verdict.received_at.isoformat() if verdict.received_at else "",
        "allow_listing": listed
        and {
            "by": listed.by,
            "at": listed.at.isoformat() if listed.at else "",
            "why": listed.why,
        },
    }


@dataclass(slots=True)
class Item:
    """What one test learned, and how it ended."""

    facts: list[Facts] = field(default_factory=list)
    marked: bool = False
    passed: bool = False
    failed: bool = False

    @property
    def green(self) -> bool:
        """Return whether the test itself passed, in every phase."""
        return self.passed and not self.failed


@dataclass(slots=True)
class Record:
    """Everything the run learned; the controller's, under xdist."""

    items: dict[str, Item] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    usage: list[str] = field(default_factory=list)

    def hear(
        self, nodeid: str, when: str, outcome: str, payload: Facts | None, *, xfailed: bool
    ) -> None:
        """Take in a report: its phase, its outcome, and what we put on it (None without)."""
        if payload is None and nodeid not in self.items:
            return
        item = self.items.setdefault(nodeid, Item())
        if when == "setup":
            item.passed = item.failed = False
        item.failed = item.failed or outcome == "failed"
        if when == "call":
            item.passed = outcome == "passed" and not xfailed
        if payload is not None:
            item.facts += payload["checks"]
            item.marked = item.marked or payload["marked"]
            self.left_out.update(payload["left_out"])
            self.taken.update(payload["taken"])
            self.usage += [fact["reason"] for fact in payload["checks"] if _is_usage(fact)]

    @property
    def facts(self) -> list[Facts]:
        """Return the latest facts of each artifact and scope, the refused ones first."""
        latest: dict[tuple[str, str], Facts] = {}
        for item in self.items.values():
            for fact in item.facts:
                latest[fact["fingerprint"] or fact["name"], fact["scope"]] = fact
        return sorted(latest.values(), key=_urgency)

    @property
    def passing(self) -> set[str]:
        """Return the fingerprints with a live passing verdict on a test that passed."""
        return {
            fact["fingerprint"]
            for item in self.items.values()
            if item.green
            for fact in item.facts
            if fact["outcome"] in PASSING and not fact["refused"] and not fact["replayed"]
        }

    @property
    def swallowed(self) -> list[tuple[str, Facts]]:
        """Return refusals and missing verdicts that a passing test kept to itself."""
        return [
            (nodeid, fact)
            for nodeid, item in self.items.items()
            if item.green
            for fact in item.facts
            if fact["refused"] or fact["outcome"] == NO_VERDICT
        ]

    def problems(self, require: int | None, flagged: Iterable[str], *, dry_run: bool) -> list[str]:
        """Return what is wrong with the run as a whole, whatever its tests say."""
        told = [
            f"{nodeid} passed, but its verdict did not arrive"
            for nodeid, item in self.items.items()
            if item.marked and item.green and not item.facts
        ]
        if dry_run:
            return told
        told += [
            f"{name} got no verdict: no test that asks about it was run"
            for name in flagged
            if name not in self.taken
        ]
        if require is not None and len(self.passing) < require:
            told.append(
                f"--kosli-require {require}: only {len(self.passing)} got a live, passing verdict "
                "in a test that passed"
            )
        return told


def _is_usage(fact: Facts) -> bool:
    return fact["by"] == "mark" and fact["code"] in ("usage_error", "no_scope")


ORDER = (
    Outcome.NON_COMPLIANT.value,
    Outcome.UNKNOWN_ARTIFACT.value,
    NO_VERDICT,
    Outcome.ALLOW_LISTED.value,
    NOT_CHECKED,
    Outcome.COMPLIANT.value,
)


def _urgency(fact: Facts) -> tuple[bool, int, str, str]:
    return not fact["refused"], ORDER.index(fact["outcome"]), fact["label"], fact["scope"]
