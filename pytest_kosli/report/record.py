"""The record of a run, made of the plain facts that travel on pytest's reports. Pure data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

from pytest_kosli.report.facts import NO_VERDICT, PASSING, WORDS, Facts, urgency
from pytest_kosli.text import clean, count

SOURCE, DRIFT = "source", "drift"
"""The kinds of facts that are no verdict on an artifact."""

ASKED = ("name", "artifact", "data_source", "contains", "lacks", "expected_sha256")
"""What makes a source check the same as another."""

Ended = Literal["unfinished", "passed", "xpassed", "xfailed", "skipped", "failed", "error"]
WEIGHT: tuple[Ended, ...] = get_args(Ended)
"""How a test may end; of two phases the word that stands further on counts."""


@dataclass(slots=True)
class Item:
    """What one test learned, and how it ended."""

    every: list[Facts] = field(default_factory=list)
    flags: dict[str, list[str]] = field(default_factory=dict)
    marked: bool = False
    passed: bool = False
    failed: bool = False
    ended: Ended = "unfinished"
    where: tuple[str, int | None] = ("", None)

    @property
    def facts(self) -> list[Facts]:
        """Return the facts about artifacts."""
        return [fact for fact in self.every if fact.get("kind") not in (SOURCE, DRIFT)]

    def of_kind(self, kind: str) -> list[Facts]:
        """Return the facts of another kind."""
        return [fact for fact in self.every if fact.get("kind") == kind]

    @property
    def green(self) -> bool:
        """Return whether the test itself passed, in every phase."""
        return self.passed and not self.failed


@dataclass(slots=True)
class Record:
    """Everything the run learned; the controller's, under xdist."""

    items: dict[str, Item] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    without_image: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    uncollected: set[str] = field(default_factory=set)
    usage: list[str] = field(default_factory=list)

    def hear(
        self,
        nodeid: str,
        when: str,
        outcome: str,
        payload: Facts | None,
        *,
        marked: bool,
        xfailed: bool,
    ) -> None:
        """Take in a report: its phase, its outcome, and what we put on it (None without).

        ``marked`` says that it must carry facts of ours, sooner or later.
        """
        if when == "teardown":
            self.ended.add(nodeid)
        if payload is None and not marked and nodeid not in self.items:
            return
        item = self.items.setdefault(nodeid, Item())
        if when == "setup":
            item.passed = item.failed = False
            item.ended = "unfinished"
        item.marked = item.marked or marked
        item.failed = item.failed or outcome == "failed"
        if when == "call":
            item.passed = outcome == "passed" and not xfailed
        item.ended = _ended(item.ended, when, outcome, xfailed=xfailed)
        if payload is not None:
            item.where = payload["file"], payload["line"]
            checks = payload.get("checks", ())
            item.every += checks
            for fact in checks:
                self.left_out.update(fact.get("left_out", ()))
            item.flags.update(payload.get("flags", {}))
            self.left_out.update(payload.get("left_out", ()))
            self.without_image.update(payload.get("without_image", ()))
            self.usage += [fact["reason"] for fact in checks if _is_usage(fact)]

    @property
    def facts(self) -> list[Facts]:
        """Return the worst facts of each artifact and scope, the refused ones first."""
        every = sorted((fact for item in self.items.values() for fact in item.facts), key=urgency)
        worst: dict[tuple[str, ...], Facts] = {}
        for fact in every:
            worst.setdefault(check_key(fact), fact)
        return list(worst.values())

    @property
    def sources(self) -> list[Facts]:
        """Return the facts of source checks, the refused ones first; none is about an artifact."""
        every = [fact for item in self.items.values() for fact in item.of_kind(SOURCE)]
        latest = {source_key(fact): fact for fact in every}
        return sorted(latest.values(), key=lambda fact: (not fact["refused"], fact["label"]))

    @property
    def drifts(self) -> list[tuple[str, Facts]]:
        """Return every comparison with a snapshot and its test, what drifted first."""
        every = [
            (nodeid, fact) for nodeid, item in self.items.items() for fact in item.of_kind(DRIFT)
        ]
        return sorted(every, key=lambda one: (not one[1]["refused"], one[1]["label"], one[0]))

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
    def exit_code(self) -> int:
        """Return 10 when an artifact is refused, 11 when one has no verdict and none is, else 0."""
        if any(fact["refused"] for fact in self.facts):
            return 10
        return 11 if any(fact["outcome"] == NO_VERDICT for fact in self.facts) else 0

    @property
    def swallowed(self) -> list[str]:
        """Return a sentence for each refusal or missing verdict that its test kept to itself."""
        return [
            f"{clean(fact['label'])} {against(fact)}, but {clean(nodeid)} {_ending(item.ended)}"
            for nodeid, item in self.items.items()
            if item.ended != "unfinished" and not item.failed
            for fact in item.every
            if against(fact)
        ]

    def problems(self, require: int | None, flagged: Iterable[str], *, dry_run: bool) -> list[str]:
        """Return what is wrong with the run as a whole, whatever its tests say."""
        told = [
            f"{nodeid} {item.ended}, but its verdict did not arrive"
            for nodeid, item in self.items.items()
            if item.marked and (item.green or item.ended == "xfailed") and not item.facts
        ]
        if not dry_run:
            owed = ((name, why) for name in flagged for why in self._owed(name))
            told += [f"{name} got no verdict: {why}" for name, why in owed]
        if require is not None and len(self.passing) < require:
            told.append(
                f"--kosli-require {require}: only {len(self.passing)} got a live, passing verdict "
                "in a test that passed, so the run fails"
            )
        return told

    def unmet(self, marked: set[str]) -> list[str]:
        """Return what stands against a run that ends with status 0, as ``pytest.exit`` lets it.

        ``marked`` are the ids of all tests that may have asked for a verdict.
        """
        failed = sum(item.failed and any(map(against, item.every)) for item in self.items.values())
        left = len(marked - self.ended)
        told = [f"{count(failed, 'test')} failed by what Kosli said"] if failed else []
        told += [f"{count(left, 'test')} did not run to the end"] if left else []
        return [f"the run was ended with exit status 0, but {' and '.join(told)}"] if told else []

    def _owed(self, flag: str) -> Iterator[str]:
        """Yield why something that a flag names has no verdict."""
        asking = [item for item in self.items.values() if flag in item.flags]
        if not asking:
            yield "no test that asks about it was run"
        judged = {name for item in asking if item.facts for name in item.flags[flag]}
        missing = {name for item in asking for name in item.flags[flag]} - judged
        if missing:
            yield f"no test was run for {', '.join(sorted(missing))}"


def check_key(fact: Facts) -> tuple[str, ...]:
    """Return what a check has in common with its like: what has no fingerprint goes by its name."""
    if fact["fingerprint"]:
        return fact["fingerprint"], fact["scope"]
    return fact["name"], fact["code"], fact["scope"]


def source_key(fact: Facts) -> str:
    """Return what a source check has in common with its like."""
    return repr([fact.get(key) for key in ASKED])


def against(fact: Facts) -> str:
    """Return what stands against an artifact, in words; nothing where nothing does."""
    if fact["outcome"] == NO_VERDICT:
        return "has no verdict"
    return f"is {WORDS.get(fact['outcome'], 'not as asserted')}" if fact["refused"] else ""


def _ending(ended: Ended) -> str:
    return "was skipped" if ended == "skipped" else ended


def _ended(so_far: Ended, when: str, outcome: str, *, xfailed: bool) -> Ended:
    """Return how a test ended, after one more phase: an error outweighs a failure, that a pass."""
    word: Ended
    if outcome == "failed":
        word = "failed" if when == "call" else "error"
    elif outcome == "skipped":
        word = "xfailed" if xfailed else "skipped"
    elif outcome == "passed" and when == "call":
        word = "xpassed" if xfailed else "passed"
    else:
        word = so_far
    return max(so_far, word, key=WEIGHT.index)


def _is_usage(fact: Facts) -> bool:
    return fact["by"] == "mark" and fact["code"] in ("usage_error", "no_scope")
