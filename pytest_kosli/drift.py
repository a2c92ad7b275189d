"""What is meant to run against what runs: their Drift, the text about it, and its exception.

Whether there is a drift is decided by fingerprints alone; names only sort it into three lists.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from pytest_kosli.explain import HEADLINE, WIDTH, origin
from pytest_kosli.fingerprint.image import whole
from pytest_kosli.model import DOCS, Artifact, KosliError, NoVerdict
from pytest_kosli.text import clean, count, cut

MANY = 50
"""Entries of a list that the text shows."""


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """An image of which nothing that runs is what was intended; ``name`` is its repository."""

    name: str
    intended: tuple[Artifact, ...]
    running: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """How what runs in a snapshot differs from what was intended.

    ``unintended`` runs, ``missing`` does not, ``other_version`` runs as something else of the same
    name; ``as_intended`` is what runs and was meant to; ``left_out`` are the names that patterns
    left out of either side. It has no truth value: ``drift.drifted`` is the test.
    """

    snapshot: str
    unintended: tuple[Artifact, ...]
    missing: tuple[Artifact, ...]
    other_version: tuple[OtherVersion, ...]
    as_intended: tuple[Artifact, ...]
    left_out: tuple[str, ...] = ()

    @property
    def drifted(self) -> bool:
        """Return whether anything differs."""
        return bool(self.unintended or self.missing or self.other_version)

    @property
    def counted(self) -> str:
        """Return what differs in a few words: ``2 extra, 1 missing, 1 other version``."""
        numbers = (
            (len(self.unintended), "extra", "extra"),
            (len(self.missing), "missing", "missing"),
            (len(self.other_version), "other version", "other versions"),
        )
        return ", ".join(count(*number) for number in numbers if number[0]) or "none"

    def __bool__(self) -> NoReturn:
        raise TypeError("a Drift has no truth value: look at drift.drifted")


class Drifted(AssertionError, KosliError):
    """What runs is not what was intended. Carries the Drift."""

    __module__ = "pytest_kosli"

    def __init__(self, drift: Drift) -> None:
        super().__init__("\n".join(explain(drift)))
        self.drift = drift


def compare(
    intended: Iterable[Artifact],
    running: Iterable[Artifact],
    *,
    snapshot: str,
    left_out: Collection[str] = (),
) -> Drift:
    """Return the Drift between two sets of artifacts; replicas of one count as one.

    ``snapshot`` is where the second set runs, in words; ``left_out`` are the names of what is in
    neither set on purpose. Raises NoVerdict where a set is empty: nothing would agree with nothing.
    """
    intended, running = _distinct(intended), _distinct(running)
    if not intended:
        raise _nothing("no artifact was intended", left_out)
    if not running:
        raise _nothing(f"no artifact runs in snapshot {clean(snapshot)}", left_out)
    meant, runs = ({one.fingerprint for one in side} for side in (intended, running))
    lost = [one for one in intended if one.fingerprint not in runs]
    extra = [one for one in running if one.fingerprint not in meant]
    shared = {repository(one) for one in lost} & {repository(one) for one in extra}
    return Drift(
        snapshot,
        unintended=tuple(one for one in extra if repository(one) not in shared),
        missing=tuple(one for one in lost if repository(one) not in shared),
        other_version=tuple(
            OtherVersion(name, _named(name, lost), _named(name, extra)) for name in sorted(shared)
        ),
        as_intended=tuple(one for one in running if one.fingerprint in meant),
        left_out=tuple(sorted(left_out)),
    )


def repository(artifact: Artifact) -> str:
    """Return what an artifact is a version of: its name without registry, tag and digest."""
    return whole(artifact.name).repository.removeprefix("library/")


def explain(drift: Drift) -> list[str]:
    """Return the text about a drift: one line of at most 60 columns, then the three lists."""
    return [_headline(drift), *_lists(drift), *_foot(drift)]


def _distinct(artifacts: Iterable[Artifact]) -> list[Artifact]:
    """Return artifacts by name, each once for each place that it runs in."""
    found: dict[tuple[str, str, str], Artifact] = {}
    for one in sorted(artifacts, key=lambda one: (repository(one), one.name)):
        found.setdefault((repository(one), one.fingerprint, one.environment or ""), one)
    return [found[key] for key in sorted(found)]


def _named(name: str, artifacts: Iterable[Artifact]) -> tuple[Artifact, ...]:
    return tuple(one for one in artifacts if repository(one) == name)


def _nothing(side: str, left_out: Collection[str]) -> NoVerdict:
    left = f", and {count(len(left_out), 'name')} left out by without" if left_out else ""
    return NoVerdict(
        "nothing_to_compare",
        f"{side}{left}: an empty side proves nothing",
        "Look at what was to name it, and at what reports the environment to Kosli.",
    )


def _headline(drift: Drift) -> str:
    told = f": {drift.counted}"
    room = HEADLINE - len("drift in ") - len(told)
    line = f"drift in {clean(drift.snapshot, max(room, 1))}{told}"
    return cut(line, HEADLINE)


def _lists(drift: Drift) -> Iterator[str]:
    beside = {repository(one): one.fingerprint[:7] for one in drift.as_intended}
    yield from _list(
        "runs, but was not intended",
        [
            [_entry(one) + (f"; {right} runs as intended" if right else "")]
            for one in drift.unintended
            for right in [beside.get(repository(one))]
        ],
    )
    yield from _list("was intended, but does not run", [[_entry(one)] for one in drift.missing])
    yield from _list("runs in another version", [_versions(one) for one in drift.other_version])


def _versions(other: OtherVersion) -> list[str]:
    return [
        clean(other.name),
        *(f"intended {_entry(one)}" for one in other.intended),
        *(f"running {_entry(one)}" for one in other.running),
        *(clean(hint, 1000) for hint in _hints(other)),
    ]


def _hints(other: OtherVersion) -> dict[str, None]:
    """Return what was heard of an intended image that names what runs: a platform of its index."""
    hints = (hint for one in other.intended for hint in one.origin.hints)
    return dict.fromkeys(
        hint for hint in hints if any(one.fingerprint in hint for one in other.running)
    )


def _entry(artifact: Artifact) -> str:
    """Return name, seven digits and origin of an artifact."""
    name = clean(artifact.name.partition("@")[0] or artifact.name)
    digits = artifact.fingerprint[:7]
    told = clean(origin(artifact) or artifact.origin.source)
    return f"{name if name == digits else f'{name} {digits}'}, from {told}"


def _list(what: str, entries: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"  {what}: {'' if entries else 'none'}".rstrip()
    for first, *rest in entries[:MANY]:
        yield from _wrapped(first, "    - ")
        for line in rest:
            yield from _wrapped(line, "      ", 8)
    if len(entries) > MANY:
        yield f"    - and {len(entries) - MANY} more"


def _foot(drift: Drift) -> Iterator[str]:
    yield f"  as intended  {count(len(drift.as_intended), 'artifact')}"
    if drift.left_out:
        names = ", ".join(clean(name, 60) for name in drift.left_out[:MANY])
        yield from _wrapped(f"{len(drift.left_out)} by without: {names}", "  left out  ")
    yield from _wrapped(_next(drift), "  next  ")
    yield f"  docs  {DOCS}#drifted"


def _next(drift: Drift) -> str:
    if drift.missing or drift.other_version:
        return "deploy what was intended, or correct what names it, then run this again"
    return "stop what was not intended, name it, or leave it out by name with without="


def _wrapped(text: str, begin: str, indent: int = 0) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=begin,
        subsequent_indent=" " * (indent or len(begin)),
        break_long_words=False,
        break_on_hyphens=False,
    )
