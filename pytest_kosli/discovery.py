"""What a mark, the command line or a test names becomes Artifacts, each with what it is judged by.

What can not be found out becomes a Check with a problem, so that it ends as an error by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from msgspec import Struct, structs

from pytest_kosli import answers
from pytest_kosli.answers import Environment
from pytest_kosli.api.kosli import EXPRESSION, KosliClient, LiveArtifact, parse_expression
from pytest_kosli.judge import CLOCK_SKEW
from pytest_kosli.model import Artifact, NoVerdict, Origin, Scope
from pytest_kosli.text import clean, count, duration, when

NOTHING = Scope()
ARTIFACTS = "pytest_kosli_artifacts"


class Given(Struct, frozen=True):
    """What one plugin contributed by its hook: references and Artifacts, or what is wrong with it.

    ``beside`` judges what names its own environment, where that is overruled.
    """

    by: str
    named: tuple[str | Artifact, ...] = ()
    beside: Scope = NOTHING
    problem: NoVerdict | None = None

    def __str__(self) -> str:
        return f"{ARTIFACTS} of {self.by}"


class Sources(Struct, frozen=True):
    """Where artifacts come from, as one mark or the settings name them.

    ``manifests`` are paths of files that deploy, relative to where ``origin`` was written, or ``-``
    for standard input. ``judged_by`` is the scope named at the same level or a higher one, which
    may be empty.
    """

    references: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    repos: tuple[str, ...] = ()
    provider: str | None = None
    without: tuple[str, ...] = ()
    at_least: int = 1
    origin: str = "marker"
    judged_by: Scope = NOTHING
    manifests: tuple[str, ...] = ()
    given: tuple[Given, ...] = ()

    @property
    def named(self) -> bool:
        """Return whether they name anything to look for."""
        named = self.references or self.snapshots or self.repos or self.manifests
        return bool(named or self.given)

    @property
    def grow(self) -> bool:
        """Return whether they may lead to more in a while: a newest snapshot, or a repository."""
        return bool(self.repos) or any(map(_is_newest, self.snapshots))

    def __str__(self) -> str:
        parts = [
            *self.references,
            *(f"snapshot {name}" for name in self.snapshots),
            *(f"repo {name}" for name in self.repos),
            *(f"manifest {path}" for path in self.manifests),
            *map(str, self.given),
        ]
        return ", ".join(parts) or "nothing"


class Check(Struct, frozen=True):
    """An artifact and its scope, or the problem that stands in their place under ``name``.

    ``left_out`` is of one that ``without`` left out before anybody looked for its fingerprint.
    """

    name: str
    artifact: Artifact | None = None
    scope: Scope = NOTHING
    problem: NoVerdict | None = None
    left_out: bool = False

    @property
    def environment(self) -> str:
        """Return where discovery saw the artifact run, for its id."""
        return (self.artifact.environment if self.artifact else None) or ""


class Found(Struct, frozen=True):
    """What sources led to, and the names that ``without`` left out."""

    checks: tuple[Check, ...]
    left_out: tuple[str, ...] = ()


NOT_YET = {"no_artifacts", "empty_environment", "stale_snapshot"}


def is_late(found: Found, groups: Iterable[Sources]) -> bool:
    """Return whether Kosli may not have been told yet what runs: too little of it, or too old."""
    problems = {check.problem.code for check in found.checks if check.problem}
    return not problems.isdisjoint(NOT_YET) and any(group.grow for group in groups)


def _no_manifest(path: str, group: Sources) -> Iterable[Check]:
    """Fail for who names manifests to a Discovery that was made without."""
    raise LookupError(path)


class Discovery:
    """Turn Sources into Checks; ``resolve`` makes an Artifact of a reference.

    ``manifest`` makes Checks of what a file deploys.
    """

    def __init__(
        self,
        client: Callable[[], KosliClient],
        resolve: Callable[[str, str], Artifact],
        max_snapshot_age: float | None = None,
        manifest: Callable[[str, Sources], Iterable[Check]] = _no_manifest,
    ) -> None:
        self._client = client
        self._resolve = resolve
        self._manifest = manifest
        self._max_age = max_snapshot_age

    def find(self, groups: Iterable[Sources], at_least: int = 1) -> Found:
        """Return the checks that groups of sources lead to; too few are a problem of their own."""
        groups = tuple(groups)
        checks: list[Check] = []
        left_out: list[str] = []
        for group in groups:
            for check in self._each(group):
                named = check.artifact and check.artifact.is_named(group.without)
                if check.left_out or named:
                    left_out.append(check.name)
                else:
                    checks.append(check)
        checks = _once_each(checks)
        if not any(check.problem for check in checks):
            checks += _too_few(groups, checks, left_out, at_least)
        return Found(tuple(checks), tuple(dict.fromkeys(left_out)))

    def _each(self, group: Sources) -> Iterator[Check]:
        for reference in group.references:
            yield from self._guarded(reference, self._reference, group)
        for expression in group.snapshots:
            yield from self._guarded(expression, self._snapshot, group)
        for repo in group.repos:
            yield from self._guarded(repo, self._repo, group)
        for path in group.manifests:
            yield from self._guarded(path, self._manifest, group)
        for given in group.given:
            yield from self._given(given, group)

    def _given(self, given: Given, group: Sources) -> Iterator[Check]:
        """Yield what a plugin contributed; each origin and each problem names the plugin."""
        if given.problem:
            yield Check(str(given), problem=given.problem)
        for named in given.named:
            if isinstance(named, Artifact):
                there = named.environment
                scope = beside(given.beside, there) if there else group.judged_by
                yield Check(named.name, named, scope)
            else:
                for check in self._guarded(named, self._reference, group):
                    yield _by(given, check)

    def _guarded(
        self, name: str, find: Callable[[str, Sources], Iterable[Check]], group: Sources
    ) -> Iterator[Check]:
        try:
            yield from list(find(name, group))
        except NoVerdict as error:
            yield Check(name, problem=error)

    def _reference(self, reference: str, group: Sources) -> Iterator[Check]:
        artifact = self._resolve(reference, group.origin)
        yield Check(artifact.name, artifact, group.judged_by)

    def _snapshot(self, expression: str, group: Sources) -> Iterator[Check]:
        name, which = parse_expression(expression)
        environment = self._client().environment(name)
        if environment.type != "logical":
            yield from self._running(expression, environment, group)
            return
        if which != "-1":
            raise NoVerdict(
                "logical_snapshot",
                f"{name} is a logical environment: it has no snapshot {clean(expression)}",
                "Name the environments it groups, each with its own snapshot.",
            )
        for included in environment.included_environments or ():
            yield from self._guarded(included, self._included, group)

    def _included(self, name: str, group: Sources) -> Iterator[Check]:
        yield from self._running(name, self._client().environment(name), group)

    def _running(
        self, expression: str, environment: Environment, group: Sources
    ) -> Iterator[Check]:
        snapshot = self._client().snapshot(expression)
        latest = parse_expression(expression)[1] == "-1"
        reported = environment.last_reported_at if latest else snapshot.timestamp
        self._check_age(f"snapshot {clean(expression)}", reported, snapshot.received_at)
        for entry in snapshot.artifacts:
            origin = Origin(
                "snapshot", f"{environment.name}#{snapshot.index}", reported=entry.compliant
            )
            artifact = Artifact(entry.fingerprint, entry.name, origin, environment.name)
            yield Check(entry.name, artifact, beside(group.judged_by, environment.name))

    def _repo(self, repo: str, group: Sources) -> Iterator[Check]:
        for entry in self._client().live_artifacts(repo, provider=group.provider):
            kept = group.judged_by.environment
            if entry.environment and kept and entry.environment != kept:
                continue
            yield _live(repo, entry, group)

    def _check_age(
        self,
        about: str,
        reported: float | None,
        received: datetime | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if self._max_age is not None:
            now = received.timestamp() if received else clock()
            check_fresh(about, reported, now, self._max_age)


def check_fresh(about: str, reported: float | None, now: float, limit: float) -> None:
    """Raise NoVerdict ``stale_snapshot`` for what was reported longer ago, never, or in the future.

    Moments are seconds since the epoch, ``limit`` is in seconds.
    """
    if reported is None or not -CLOCK_SKEW <= now - reported <= limit:
        moment = answers.moment(reported)
        told = when(moment)
        if reported is not None and moment is None:
            told = f"{clean(f'{reported:.0f}', 20)}, which is no date in seconds"
        raise NoVerdict(
            "stale_snapshot",
            f"{about} was last reported at {told}: not within the last {duration(limit)}",
            "Look at what reports this environment to Kosli, or raise --kosli-max-snapshot-age.",
        )


def _is_newest(expression: str) -> bool:
    found = EXPRESSION.fullmatch(expression)
    return found is not None and not any(found.group("index", "behind", "at"))


def _live(repo: str, entry: LiveArtifact, group: Sources) -> Check:
    if entry.fingerprint is None or entry.environment is None:
        what = "a fingerprint" if entry.fingerprint is None else "the environment it runs in"
        problem = NoVerdict(
            "dangling_artifact",
            f"{clean(entry.name)} runs, says Kosli, but without {what}",
            f"Look at the live artifacts of repo {clean(repo)} in Kosli, then run this again.",
        )
        return Check(entry.name, problem=problem)
    origin = Origin("repo", repo)
    artifact = Artifact(entry.fingerprint, entry.name, origin, entry.environment)
    return Check(entry.name, artifact, beside(group.judged_by, entry.environment))


def _by(given: Given, check: Check) -> Check:
    if artifact := check.artifact:
        origin = structs.replace(artifact.origin, detail=given.by)
        return structs.replace(check, artifact=structs.replace(artifact, origin=origin))
    assert check.problem is not None  # noqa: S101 - a check without an artifact has one
    told = f"the hook {given}: {check.problem.message}"
    return structs.replace(check, problem=replace(check.problem, message=told))


def beside(named: Scope, environment: str) -> Scope:
    """Return the scope named beside a snapshot or repo, or else where the artifact runs."""
    if named.environment or named.policies:
        return named
    return structs.replace(named, environment=environment)


def _once_each(checks: Iterable[Check]) -> list[Check]:
    """Return checks without repetition; an image of several manifests tells all its places."""
    found: dict[object, Check] = {}
    for check in checks:
        artifact = check.artifact
        key: object = check
        if artifact and artifact.origin.source == "manifest":
            key = artifact.name, artifact.fingerprint, check.scope
        found[key] = _together(found[key], check) if key in found else check
    return list(found.values())


def _together(one: Check, other: Check) -> Check:
    if one == other or one.artifact is None or other.artifact is None:
        return one
    origin = one.artifact.origin
    both = structs.replace(origin, detail=f"{origin.detail}; {other.artifact.origin.detail}")
    return structs.replace(one, artifact=structs.replace(one.artifact, origin=both))


def _too_few(
    groups: tuple[Sources, ...], checks: list[Check], left_out: list[str], at_least: int
) -> Iterator[Check]:
    found = len({check.artifact.fingerprint for check in checks if check.artifact})
    if found >= at_least:
        return
    looked = "; ".join(str(group) for group in groups if group.named)
    if not looked:
        message = "nothing says which artifacts to check"
        todo = (
            "Name them in the mark (a reference, snapshot= or repo=) or on the command line "
            "(--kosli-artifact, --kosli-snapshot, --kosli-repo, --kosli-manifest)."
        )
    else:
        left = f", and {len(left_out)} more left out by without" if left_out else ""
        message = (
            f"{clean(looked)} gave {count(found, 'artifact')}{left}: "
            f"at least {at_least} must be checked"
        )
        look = "Look at what runs there"
        look += " and at what without (--kosli-without) leaves out" if left_out else ""
        fewer = ", or lower at_least if fewer is right."
        todo = look + (fewer if at_least > 1 else ": a check of no artifact proves nothing.")
    yield Check(looked or "artifacts", problem=NoVerdict("no_artifacts", message, todo))
