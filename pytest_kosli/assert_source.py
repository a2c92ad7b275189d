"""The run's one way to CodeAlive, and ``assert_source``; loaded when a fixture of these is used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import pytest

from pytest_kosli.answers import ArtifactDetails
from pytest_kosli.api.cassettes import Cassettes
from pytest_kosli.api.codealive import BASE_PATH, KEY, URL, CodeAliveClient, host_in, network
from pytest_kosli.api.host import Exchange
from pytest_kosli.api.http import Http
from pytest_kosli.enforce import note, usage_error
from pytest_kosli.handles import KosliArtifact
from pytest_kosli.ledger import key, opened, sealed
from pytest_kosli.model import Artifact, NotChecked, NoVerdict, Reply, Request, Verdict
from pytest_kosli.report.facts import NO_VERDICT, NOT_CHECKED, Facts
from pytest_kosli.report.rows import SHOWN
from pytest_kosli.report.sources import DOES_NOT_HOLD, HOLDS, KIND
from pytest_kosli.run import Run
from pytest_kosli.settings import CodeAliveSettings, read_codealive
from pytest_kosli.source import (
    UNASKED,
    Built,
    Choice,
    DataSource,
    Failure,
    Finding,
    Pattern,
    Pin,
    Source,
    SourceMismatch,
    Unasked,
    Wanted,
    choose,
    explain,
    is_from,
    judge,
    other_index,
    pin,
    wanted,
)
from pytest_kosli.text import clean

FOLDER = "codealive"
"""Below the folder of all cassettes."""

MANY = 50
"""Requests of one fetch, from which on its progress is told."""

NOTE = "some source is tied to no artifact's branch: see codealive_strict_pin"


Where = str | Verdict | KosliArtifact | ArtifactDetails


class SourceRun:
    """What a process knows of CodeAlive: how it is asked, each request once a run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.client = CodeAliveClient(exchange=self._once, tell=self._tell)

    @cached_property
    def settings(self) -> CodeAliveSettings:
        """Return the ini keys; raises ``pytest.UsageError`` for what can not be meant."""
        return read_codealive(self.run.config)

    def demand_live(self) -> None:
        """Raise NotChecked in a dry run."""
        self.run.demand_live("CodeAlive")

    def close(self) -> None:
        """Close the connections, where any were made."""
        if "_network" in self.__dict__:
            self._network.close()

    def _once(self, request: Request) -> Reply:
        self.demand_live()
        asked = f"codealive {key(request)}"
        return opened(self.run.memo.once(asked, lambda: sealed(self._exchange, request)))

    @property
    def _exchange(self) -> Exchange:
        settings = self.run.settings
        if settings.offline:
            return lambda request: self._cassettes.play(request, self._recorded_host)
        return self._record if settings.record else self._network

    @cached_property
    def _cassettes(self) -> Cassettes:
        return Cassettes(self.run.settings.cassettes / FOLDER, BASE_PATH)

    @cached_property
    def _recorded_host(self) -> str:
        if self.run.environ.get(URL):
            return host_in(self.run.environ)
        try:
            return self._cassettes.host()
        except NoVerdict as error:
            todo = error.todo.replace("--kosli-host", URL)
            raise replace(error, todo=todo) from None

    @cached_property
    def _network(self) -> Http:
        settings = self.run.settings
        return network(
            self.run.environ, timeout=settings.timeout, max_api_retries=settings.max_api_retries
        )

    def _record(self, request: Request) -> Reply:
        reply = self._network(request)
        secrets = [self.run.environ.get(KEY, "").strip()]
        self._cassettes.record(request, reply, self._network.host, secrets)
        self.run.recorded.add(f"{FOLDER}/{request.cassette}")
        return reply

    def _tell(self, done: int, total: int, unanswered: int) -> None:
        """Show how far a long fetch is, past what captures the output of the test that asks."""
        plugins = self.run.config.pluginmanager
        reporter = plugins.get_plugin("terminalreporter")
        capture = plugins.get_plugin("capturemanager")
        if total >= MANY and done % (MANY // 5) == 0 and reporter and capture:
            with capture.global_and_fixture_disabled():
                reporter.ensure_newline()
                reporter.write_line(f"codealive: {done} of {total} requests answered")


class AssertSource:
    """``assert_source(where, *paths)``: the Sources, or an exception that tells all files."""

    def __init__(self, sources: SourceRun) -> None:
        self._sources = sources

    def __call__(
        self,
        where: Where,
        *paths: str,
        contains: Pattern | Iterable[Pattern] | Unasked = UNASKED,
        lacks: Pattern | Iterable[Pattern] | Unasked = UNASKED,
        sha256: str | Unasked = UNASKED,
        data_source: str | None = None,
    ) -> list[Source]:
        """Return the Sources at ``paths``, once all of them hold what is asked.

        ``where`` is what ``assert_compliant``, ``kosli_artifact`` or ``kosli_client.artifact``
        gave, or ``"owner/repo"``. A path may end in ``::Symbol``. Every text or pattern of
        ``contains`` must be in every file, none of ``lacks`` in any; ``sha256`` is that of one
        whole file; with none of these the files must be there. Raises SourceMismatch when that
        does not hold or the index is of another branch (unless ``data_source`` names it),
        NoVerdict without an answer or for an empty wish, NotChecked in a dry run.
        """
        __tracebackhide__ = True
        try:
            self._sources.demand_live()
            built = self._built(where)
            want = wanted(built, paths, contains, lacks, sha256)
            return self._check(built, paths, want, data_source)
        except (pytest.UsageError, NoVerdict, NotChecked) as problem:
            error = usage_error(problem) if isinstance(problem, pytest.UsageError) else problem
            self._note([_unread(_words(where), paths, error)])
            raise error.with_traceback(None) from None
        except SourceMismatch as error:
            raise error.with_traceback(None) from None

    def _check(
        self, built: Built, paths: Sequence[str], want: Wanted, data_source: str | None
    ) -> list[Source]:
        settings, client = self._sources.settings, self._sources.client
        if data_source is not None and not data_source.strip():
            raise NoVerdict(
                "bad_name", f"data_source={data_source!r} is no name", "Fill it or drop it."
            )
        identifiers = {path: built.identifier(path) for path in paths}
        configured = settings.data_sources.get(built.repo, "")
        choice = Choice()
        try:
            choice = choose(built, client.data_sources(), data_source or "", configured)
            found = client.fetch(identifiers.values(), data_source=choice.send or None)
            placed = [_placed(found[one], choice, built) for one in identifiers.values()]
        except SourceMismatch as error:
            failed = Failure(str(error).splitlines()[0])
            unread = [Source(one, found=False) for one in identifiers.values()]
            self._note_all([Finding(one, (failed,)) for one in unread], built, want, choice)
            raise
        findings = [judge(one, want, built, strict=settings.strict_pin) for one in placed]
        self._note_all(findings, built, want, choice)
        if any(finding.failures for finding in findings):
            text = "\n".join(explain(findings, built, choice))
            raise SourceMismatch(text, tuple(findings))
        by_path = dict(zip(identifiers, placed, strict=True))
        return [by_path[path] for path in paths]

    def _note_all(
        self, findings: Sequence[Finding], built: Built, want: Wanted, choice: Choice
    ) -> None:
        self._note([_facts(finding, built, want, choice) for finding in findings])

    def _note(self, facts: Iterable[Facts]) -> None:
        for one in facts:
            note(self._sources.run.config, one)

    def _built(self, where: Where) -> Built:
        if isinstance(where, str):
            if not where.strip(":/ ") or "::" in where or not where.isprintable():
                raise _bad_where(f"{where!a} is no repository")
            return Built(where.strip("/"))
        if isinstance(where, ArtifactDetails):
            return _from_details([where], [where.filename or ""])
        verdict = where.verdict if isinstance(where, KosliArtifact) else where
        if not isinstance(verdict, Verdict):
            flow = "an Artifact does not say which flow holds it"
            raise _bad_where(flow if isinstance(where, Artifact) else f"{where!r} is no artifact")
        artifact = verdict.artifact
        ledger = self._sources.run.ledger
        flows = dict.fromkeys(flow for flow, _ in verdict.flows)
        details = [ledger.client.artifact(artifact.fingerprint, flow) for flow in flows]
        return _from_details(details, [artifact.name, artifact.origin.detail], artifact)


def _placed(found: Source, choice: Choice, built: Built) -> Source:
    """Return a source with what is known of its index, and with what ties it to the artifact.

    Raises NoVerdict for one that is from another index than the chosen, or from several.
    """
    index = choice.data_source or DataSource("")
    if choice.data_source and not is_from(found, index):
        other = f"{found.data_source} {found.data_source_id}".strip()
        raise other_index(clean(found.identifier, 120), other, index.name)
    known = replace(
        found,
        data_source=index.name or found.data_source,
        data_source_id=found.data_source_id or index.id,
        branch=found.branch or index.branch,
    )
    return replace(known, pin=pin(built, choice, known))


def _from_details(
    details: Sequence[ArtifactDetails], names: Sequence[str], artifact: Artifact | None = None
) -> Built:
    """Return what an artifact was built from, as far as all flows that hold it agree.

    Raises NoVerdict where they name no repository, or several: a guess could look in the wrong one.
    """
    repos = {
        (one.repo_info.name, one.repo_info.url): one
        for one in details
        if one.repo_info and one.repo_info.name
    }
    label = _label(details[0]) if details else artifact.label if artifact else ""
    if not repos:
        raise NoVerdict(
            "no_repository",
            f"{clean(label)}: Kosli does not know which repository it was built from",
            'Give assert_source the repository by name, "owner/repo".',
            artifact=artifact,
        )
    if len(repos) > 1:
        named = ", ".join(f"{one.flow_name} ({name})" for (name, _), one in repos.items())
        raise NoVerdict(
            "which_repository",
            f"{clean(label)}: the flows that hold it are of several repositories: {clean(named)}",
            "Narrow the question with flow=, or give assert_source what "
            "kosli_client.artifact(fingerprint, flow) returns.",
            artifact=artifact,
        )
    (name, url), first = repos.popitem()
    return Built(
        repo=name,
        url=url or first.repo_url or "",
        branch=_agreed([one.git_commit_info.branch for one in details if one.git_commit_info]),
        commit=_agreed([one.git_commit for one in details]),
        commit_url=first.commit_url or "",
        artifact=clean(label, 60),
        fingerprint=first.fingerprint,
        image=any(_is_no_file(known) for known in (*names, first.filename or "")),
    )


def _agreed(values: Sequence[str | None]) -> str:
    known = {value for value in values if value}
    return known.pop() if len(known) == 1 else ""


def _is_no_file(name: str) -> bool:
    """Return whether a name or reference is that of an image or a directory."""
    return "@sha256:" in name or bool(re.match(r"(oci|docker|dir):|[^/]+/.+:[\w.-]+$", name))


def _label(details: ArtifactDetails) -> str:
    return Artifact(details.fingerprint, details.filename or details.fingerprint[:7]).label


def _words(where: object) -> str:
    if isinstance(where, KosliArtifact):
        where = where.verdict
    if isinstance(where, Verdict):
        return where.artifact.label
    return _label(where) if isinstance(where, ArtifactDetails) else str(where)


def _bad_where(why: str) -> NoVerdict:
    return NoVerdict(
        "bad_source_check",
        f"assert_source: {clean(why)}",
        "Give it what assert_compliant, kosli_artifact or kosli_client.artifact(fingerprint, flow) "
        'gave, or "owner/repo".',
    )


def _facts(finding: Finding, built: Built, want: Wanted, choice: Choice) -> Facts:
    """Return what a report carries about one file: texts, numbers, booleans and lists, no source.

    ``pin`` is ``commit``, ``branch`` or ``none``; ``sha256`` is that of the text that was judged.
    """
    one = finding.source
    loose = one.found and one.pin is Pin.NONE
    return {
        "kind": KIND,
        "by": "call",
        "outcome": DOES_NOT_HOLD if finding.failures else HOLDS,
        "name": one.identifier,
        "label": one.identifier,
        "data_source": one.data_source,
        "branch": one.branch,
        "commit": one.commit,
        "pin": one.pin.value,
        "sha256": one.sha256,
        "artifact": built.artifact,
        "fingerprint": built.fingerprint,
        "contains": [text.shown for text in want.contains],
        "lacks": [text.shown for text in want.lacks],
        "expected_sha256": want.sha256,
        "failures": [clean(failure.told, 600) for failure in finding.failures],
        "reason": clean(finding.failures[0].told) if finding.failures else "",
        "refused": bool(finding.failures),
        "replayed": one.replayed,
        "received_at": one.received_at.isoformat() if one.received_at else "",
        "note": NOTE if loose and not choice.accepted else "",
        "code": "source_mismatch" if finding.failures else "",
    }


def _unread(name: str, paths: Sequence[object], error: NoVerdict | NotChecked) -> Facts:
    """Return what a report carries about a call that got no answer."""
    told = ", ".join(str(path) for path in paths[:SHOWN])
    skipped = isinstance(error, NotChecked)
    return {
        "kind": KIND,
        "by": "call",
        "outcome": NOT_CHECKED if skipped else NO_VERDICT,
        "name": clean(f"{name}: {told}" if told else name),
        "label": clean(f"{name}: {told}" if told else name),
        "code": "dry_run" if isinstance(error, NotChecked) else error.code,
        "reason": "dry run" if isinstance(error, NotChecked) else error.message,
        "refused": False,
        "replayed": False,
        "received_at": "",
        "note": "",
    }
