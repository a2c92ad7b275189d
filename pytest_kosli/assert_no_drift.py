"""Drift, as tests ask for it: what was intended and what runs are looked up now, and compared."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_kosli import marker
from pytest_kosli.answers import SnapshotArtifact
from pytest_kosli.discovery import Found, Given, Sources
from pytest_kosli.drift import Drift, Drifted, compare
from pytest_kosli.enforce import note, usage_error
from pytest_kosli.explain import origin
from pytest_kosli.handles import KosliArtifact
from pytest_kosli.model import Artifact, NotChecked, NoVerdict, Reply, Verdict
from pytest_kosli.report.drift import DRIFTED, KIND, NO_DRIFT
from pytest_kosli.report.facts import NO_VERDICT, NOT_CHECKED, Facts, moment
from pytest_kosli.run import Run
from pytest_kosli.shape import several
from pytest_kosli.text import clean, count

Intended = str | Artifact | KosliArtifact | Verdict | SnapshotArtifact
Path = str | os.PathLike[str]


class AssertNoDrift:
    """``assert_no_drift(snapshot)``: a Drift without any difference, or an exception."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(
        self,
        snapshot: str,
        *,
        artifacts: Intended | Iterable[Intended] | None = None,
        manifest: Path | Iterable[Path] | None = None,
        without: str | Sequence[str] = (),
    ) -> Drift:
        """Return the Drift of a snapshot in which exactly what was intended runs.

        ``snapshot`` is one of Kosli's expressions (``prod``, ``prod#42``), asked of Kosli now.
        ``artifacts`` are references, Artifacts or Verdicts, ``manifest`` files that deploy; without
        both it is what the settings name. ``without`` are patterns of names that neither side
        counts. Raises Drifted where anything differs; NoVerdict where a side is empty or can not be
        found out; NotChecked in a dry run. Endpoints: ``GET /environments/{org}/{environment}``,
        ``GET /snapshots/{org}/{environment}/{expression}``.
        """
        __tracebackhide__ = True
        replies: list[Reply] = []
        try:
            self._run.demand_live()
            asked = self._asked(snapshot, without)
            wanted = self._wanted(artifacts, manifest)
            intended = self._run.look([replace(one, without=asked.without) for one in wanted])
            meant = _of(intended)  # Kosli is not asked where this is not known.
            running = self._run.look([asked], replies.append)
            left_out = {*intended.left_out, *running.left_out}
            drift = compare(meant, _of(running), snapshot=snapshot, left_out=left_out)
        except (pytest.UsageError, NoVerdict, NotChecked) as problem:
            error = usage_error(problem) if isinstance(problem, pytest.UsageError) else problem
            note(self._run.config, _unknown(snapshot, error))
            raise error.with_traceback(None) from None
        note(self._run.config, _facts(drift, replies))
        if drift.drifted:
            raise Drifted(drift)
        return drift

    def _asked(self, snapshot: str, without: str | Sequence[str]) -> Sources:
        """Return the snapshot and what to leave out, by the rules of the mark."""
        try:
            asked = marker.kosli(snapshot=snapshot, without=without).sources
        except ValueError as error:
            raise _bad_call(str(error)) from None
        if asked is None or not asked.snapshots:
            raise _bad_call("no snapshot is named")
        return replace(asked, without=asked.without or self._run.settings.without)

    def _wanted(
        self,
        artifacts: Intended | Iterable[Intended] | None,
        manifest: Path | Iterable[Path] | None,
    ) -> list[Sources]:
        """Return what says what is meant to run: the call or the settings, never both."""
        if artifacts is None and manifest is None:
            return self._named_in_settings()
        given = [] if artifacts is None else _several("artifacts", artifacts, Intended)
        named = [] if manifest is None else _several("manifest", manifest, (str, os.PathLike))
        known = tuple(self._known(one) for one in given if not isinstance(one, str))
        return [
            Sources(
                tuple(one for one in given if isinstance(one, str)),
                manifests=tuple(map(os.fspath, named)),
                given=(Given("call", known),),
                origin="call",
            )
        ]

    def _named_in_settings(self) -> list[Sources]:
        wanted = self._run.about_to_run()
        if not any(group.named for group in wanted):
            raise NoVerdict(
                "nothing_to_compare",
                "nothing says what is meant to run",
                "Give assert_no_drift artifacts= or manifest=, or the run --kosli-artifact or "
                "--kosli-manifest.",
            )
        return wanted

    def _known(self, given: Artifact | KosliArtifact | Verdict | SnapshotArtifact) -> Artifact:
        """Return an artifact that somebody found out before; its file may have changed since."""
        if isinstance(given, SnapshotArtifact):
            given = Artifact(given.fingerprint, given.name)
        if isinstance(given, KosliArtifact):
            given = given.verdict
        artifact = given.artifact if isinstance(given, Verdict) else given
        self._run.references.artifact(f"sha256:{artifact.fingerprint}", "call")
        self._run.references.verify(artifact)
        return artifact


def _several(what: str, given: object, kinds: UnionType | tuple[type, ...]) -> list[Any]:
    named = several(given, kinds)
    for each in named:
        if not isinstance(each, kinds) or (isinstance(each, str) and not each.strip()):
            raise _bad_call(f"{what}: {each!r} names nothing")
    if not named:
        raise _bad_call(f"{what} is an empty list")
    return named


def _of(found: Found) -> list[Artifact]:
    """Return the artifacts that were found; raise what kept any of them from being found."""
    for check in found.checks:
        if check.problem:
            raise check.problem
    return [check.artifact for check in found.checks if check.artifact]


def _bad_call(why: str) -> NoVerdict:
    return NoVerdict(
        "bad_call",
        f"assert_no_drift: {why}",
        "Call assert_no_drift(snapshot, artifacts=..., manifest=..., without=...).",
    )


def _facts(drift: Drift, replies: Sequence[Reply]) -> Facts:
    """Return what a report carries about a comparison: texts, booleans and lists."""
    left_out = f", {len(drift.left_out)} left out" if drift.left_out else ""
    fine = f"{count(len(drift.as_intended), 'artifact')} as intended{left_out}"
    received = [reply.received_at for reply in replies if reply.received_at]
    return _about(drift.snapshot) | {
        "outcome": DRIFTED if drift.drifted else NO_DRIFT,
        "code": "drifted" if drift.drifted else "",
        "reason": drift.counted if drift.drifted else fine,
        "refused": drift.drifted,
        "replayed": any(reply.replayed for reply in replies),
        "received_at": moment(min(received, default=None)),
        "unintended": [_plain(one) for one in drift.unintended],
        "missing": [_plain(one) for one in drift.missing],
        "other_version": [
            {
                "name": other.name,
                "intended": [_plain(one) for one in other.intended],
                "running": [_plain(one) for one in other.running],
            }
            for other in drift.other_version
        ],
        "as_intended": [_plain(one) for one in drift.as_intended],
        "left_out": list(drift.left_out),
    }


def _unknown(snapshot: object, error: NoVerdict | NotChecked) -> Facts:
    """Return what a report carries about a comparison that could not be made."""
    dry = isinstance(error, NotChecked)
    return _about(snapshot) | {
        "outcome": NOT_CHECKED if dry else NO_VERDICT,
        "code": "dry_run" if isinstance(error, NotChecked) else error.code,
        "reason": "dry run" if isinstance(error, NotChecked) else error.message,
    }


def _about(snapshot: object) -> Facts:
    lists = ("unintended", "missing", "other_version", "as_intended", "left_out")
    return {
        "kind": KIND,
        "by": "call",
        "name": str(snapshot),
        "label": f"snapshot {clean(snapshot)}".rstrip(),
        "refused": False,
        "replayed": False,
        "received_at": "",
        **{name: [] for name in lists},
    }


def _plain(artifact: Artifact) -> Facts:
    return {
        "name": artifact.name,
        "fingerprint": artifact.fingerprint,
        "origin": origin(artifact) or artifact.origin.source,
    }
