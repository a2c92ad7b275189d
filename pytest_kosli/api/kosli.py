"""Kosli's endpoints as methods: names are checked, requests built, replies read. No pytest here."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import msgspec

from pytest_kosli import answers
from pytest_kosli.answers import (
    ArtifactDetails,
    Embedded,
    EmbeddedArtifact,
    EmbeddedEnvironment,
    Environment,
    LiveArtifacts,
    Snapshot,
)
from pytest_kosli.api.host import Client, Exchange, Token
from pytest_kosli.judge import check_age, judge
from pytest_kosli.model import (
    REPLY_LIMIT,
    Artifact,
    NoVerdict,
    Question,
    Reply,
    Request,
    Scope,
    Verdict,
)
from pytest_kosli.names import DEFAULT_HOST, FIRST, NAME, OTHER, PROVIDERS
from pytest_kosli.shape import several
from pytest_kosli.text import clean

if TYPE_CHECKING:
    from pytest_kosli.api.http import Http

WHOLE_ENVIRONMENT = 64 * 1024 * 1024
"""Bytes: a snapshot tells every policy of every artifact, 10 to 20 kB for each that runs."""

FINGERPRINT = re.compile(r"[a-f0-9]{64}")
EXPRESSION = re.compile(
    # As short a name as will do: names may hold ~, and prod~1 is the snapshot before prod's newest.
    rf"(?P<environment>{FIRST}{OTHER}*?)"
    r"(?:#(?P<index>\d+)|(?P<behind>~\d+)|(?P<at>@\{[^{}]+\}))?"
)

T = TypeVar("T")
E = TypeVar("E", EmbeddedArtifact, EmbeddedEnvironment)


@dataclass(frozen=True, slots=True)
class LiveArtifact:
    """One artifact of a repo that runs now, and where.

    ``fingerprint`` and ``environment`` are None when Kosli names an id that it does not explain.
    ``compliance`` is Kosli's word for that environment, and no verdict.
    """

    name: str
    fingerprint: str | None
    environment: str | None
    snapshot_index: int
    started_at: datetime | None
    compliance: str | None = None
    commit_sha: str | None = None
    commit_url: str | None = None


class KosliClient(Client):
    """Ask Kosli about artifacts and environments of one organisation; works without pytest.

    ``api_token`` defaults to the variable KOSLI_API_TOKEN, read when a request is sent; ``timeout``
    is in seconds for one attempt. ``max_age`` and ``allow_list_max_age``, in seconds, refuse older
    verdicts and allow-listings. ``exchange`` replaces the network: a function from Request to
    Reply. Connections are kept until ``close``, or to the end of a ``with`` block. Every method
    raises NoVerdict when there is no well-formed answer to what was asked.
    """

    def __init__(
        self,
        org: str,
        *,
        api_token: str | None = None,
        host: str = DEFAULT_HOST,
        timeout: float = 30.0,
        max_api_retries: int = 3,
        http_proxy: str | None = None,
        require_policies: bool = True,
        max_age: float | None = None,
        allow_list_max_age: float | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self.org = _name("organisation", org)
        self.host = host
        self.require_policies = require_policies
        self._ages = {"max_age": max_age, "allow_list_max_age": allow_list_max_age}
        if exchange is None:
            exchange = self._network = _network(
                host, api_token, timeout, max_api_retries, http_proxy
            )
        self._exchange = exchange

    def __repr__(self) -> str:
        return f"<KosliClient of {self.org} at {self.host}>"

    def assert_artifact(
        self,
        artifact: Artifact | str,
        *,
        environment: str | None = None,
        policy: str | Iterable[str] | None = None,
        flow: str | None = None,
    ) -> Verdict:
        """Return the Verdict on an artifact (or a fingerprint) in a scope.

        Endpoint: ``GET /asserts/{org}/fingerprint/{fingerprint}``. Name an environment, or
        policies, or a flow (``"*"`` for every flow that holds it). A refusing verdict is returned.
        """
        if not isinstance(artifact, Artifact):
            fingerprint = _fingerprint(artifact)
            artifact = Artifact(fingerprint, f"sha256:{fingerprint[:7]}")
        return self.verdict(self.question(artifact, scope_of(environment, policy, flow)), artifact)

    def verdict(self, question: Question, artifact: Artifact) -> Verdict:
        """Return the Verdict on a question, under this artifact's name."""
        return self.judge(question, self.ask(question), artifact)

    def question(self, artifact: Artifact, scope: Scope) -> Question:
        """Return the question whether an artifact is compliant in a scope."""
        if not scope:
            raise NoVerdict(
                "no_scope",
                f"{clean(artifact.label)}: nothing says what it is to be judged against",
                'Name environment="...", policy="..." or flow="*".',
            )
        if scope.environment and scope.policies:
            raise NoVerdict(
                "two_scopes",
                f"{clean(artifact.label)}: an environment and policies are named at once",
                "Name one of them: Kosli judges against an environment's policies or named ones.",
            )
        return Question(self.host, self.org, _fingerprint(artifact.fingerprint), _named(scope))

    def ask(self, question: Question) -> Reply:
        """Return Kosli's raw reply to a question."""
        return self._exchange(assert_request(question))

    def judge(self, question: Question, reply: Reply, artifact: Artifact) -> Verdict:
        """Return the Verdict that a raw reply gives on a question."""
        verdict = self._judge(question, reply, artifact)
        check_age(verdict, **self._ages, now=self._now())
        return verdict

    def _judge(self, question: Question, reply: Reply, artifact: Artifact) -> Verdict:
        """Judge; where no policy is required, an environment without any goes by flow templates.

        Then the environment is looked up, so that only a bare one does.
        """
        try:
            return judge(question, reply, artifact, require_policies=self.require_policies)
        except NoVerdict as error:
            environment = question.scope.environment
            if self.require_policies or environment is None or error.code != "mismatch":
                raise
            attached = self.environment(environment).policies
        return judge(question, reply, artifact, require_policies=False, attached=attached)

    @staticmethod
    def _now(clock: Callable[[tzinfo], datetime] = datetime.now) -> datetime:
        return clock(UTC)

    def artifact(self, fingerprint: str, flow: str, *, trail: str | None = None) -> ArtifactDetails:
        """Return what a flow knows of an artifact: commit, repository, build, state.

        Endpoint: ``GET /artifacts/{org}/{flow}/fingerprint/{fingerprint}``.
        """
        fingerprint, flow = _fingerprint(fingerprint), _name("flow", flow)
        query = (("trail", _name("trail", trail)),) if trail else ()
        about = f"artifact {fingerprint[:7]} in flow {flow}"
        details = self._get(
            ("artifacts", self.org, flow, "fingerprint", fingerprint),
            ArtifactDetails,
            about,
            query=query,
            cassette=f"artifacts/{flow}/{fingerprint[:12]}{_suffix(query)}",
        )
        if details.fingerprint != fingerprint or details.flow_name != flow:
            raise _other(about, f"{details.fingerprint[:7]} in flow {details.flow_name}")
        return details

    def live_artifacts(self, repo: str, *, provider: str | None = None) -> list[LiveArtifact]:
        """Return what runs of a repository (``owner/name``), in every environment.

        Endpoint: ``GET /repos/{org}/live-artifacts/{repo}``. ``provider`` (one of PROVIDERS) tells
        repositories of one name apart; without it Kosli takes the newest.
        """
        if provider is not None and provider not in PROVIDERS:
            raise NoVerdict(
                "bad_name",
                f"provider {clean(provider)!r} is none of {', '.join(PROVIDERS)}",
                "Name the provider that hosts the repository.",
            )
        if not isinstance(repo, str) or not repo.isprintable():
            raise NoVerdict(
                "bad_name",
                f"{clean(repo)!r} can not be the name of a repository",
                "Name it as Kosli shows it: owner/name.",
            )
        query = (("provider", provider),) if provider else ()
        about = f"live artifacts of repo {clean(repo)}"
        found = self._get(
            ("repos", self.org, "live-artifacts", repo),
            LiveArtifacts,
            about,
            query=query,
            cassette=f"live-artifacts/{quote(repo, safe='')}{_suffix(query)}",
            limit=WHOLE_ENVIRONMENT,
        )
        return _joined(found, about)

    def snapshot(self, expression: str) -> Snapshot:
        """Return what an environment ran at a snapshot, without what had exited.

        Endpoint: ``GET /snapshots/{org}/{environment}/{expression}``; ``expression`` is one of
        Kosli's: ``prod``, ``prod#42``, ``prod~1``, ``prod@{2.hours.ago}``.
        """
        environment, which = parse_expression(expression)
        about = f"snapshot {clean(expression)}"
        snapshot = self._get(
            ("snapshots", self.org, environment, which),
            Snapshot,
            about,
            cassette=f"snapshots/{environment}.{'latest' if which == '-1' else quote(which)}",
            limit=WHOLE_ENVIRONMENT,
        )
        if which.isdigit() and snapshot.index != int(which):
            raise _other(about, f"snapshot {snapshot.index}")
        if which == "-1" and snapshot.is_latest is False:
            raise _other(about, f"snapshot {snapshot.index}, which is not the latest")
        running = [artifact for artifact in snapshot.artifacts if not artifact.exited]
        for artifact in running:
            _fingerprint(artifact.fingerprint)
        return msgspec.structs.replace(snapshot, artifacts=running)

    def environment(self, name: str) -> Environment:
        """Return an environment: its type, policies, and when it was last reported.

        Endpoint: ``GET /environments/{org}/{environment}``.
        """
        name = _name("environment", name)
        about = f"environment {name}"
        found = self._get(
            ("environments", self.org, name), Environment, about, cassette=f"environments/{name}"
        )
        if found.name != name:
            raise _other(about, f"environment {found.name}")
        if found.org not in (None, self.org):
            raise _other(about, f"environment {name} of organisation {found.org}")
        return found

    def _get(
        self,
        segments: tuple[str, ...],
        kind: type[T],
        about: str,
        *,
        cassette: str,
        query: tuple[tuple[str, str], ...] = (),
        limit: int = REPLY_LIMIT,
    ) -> T:
        reply = self._exchange(Request(segments, query, f"{self.org}/{cassette}", limit=limit))
        if reply.status != 200:
            raise answers.refusal(reply, about)
        return answers.read(reply, kind, about)


def scope_of(
    environment: str | None = None,
    policy: str | Iterable[str] | None = None,
    flow: str | None = None,
) -> Scope:
    """Return a Scope from what a person passes: one policy or several.

    Raises NoVerdict for what is no name, and for an empty one: it would quietly be a weaker
    question.
    """
    policies = [] if policy is None else several(policy) or [""]
    named = [("policy", name) for name in policies]
    named += [("environment", environment)] if environment is not None else []
    named += [("flow", flow)] if flow is not None else []
    for what, name in named:
        if not isinstance(name, str) or not name.strip():
            raise _bad_name(what, name)
    return Scope(environment, tuple(policies), flow)


@lru_cache(maxsize=2_048)
def assert_request(question: Question) -> Request:
    """Return the request for a question; keys in the order in which the Kosli CLI sends them."""
    scope = question.scope
    query = []
    if scope.environment:
        query.append(("environment_name", scope.environment))
    if scope.flow_name:
        query.append(("flow_name", scope.flow_name))
    query += [("policy_name", policy) for policy in scope.policies]
    named = (("environment", scope.environment), ("flow", scope.flow_name))
    parts = [(key, value) for key, value in named if value]
    parts += [("policy", ",".join(scope.policies))] if scope.policies else []
    return Request(
        ("asserts", question.org, "fingerprint", question.fingerprint),
        tuple(query),
        f"{question.org}/asserts/{question.fingerprint[:12]}{_suffix(parts) or '.every-flow'}",
    )


def parse_expression(expression: str) -> tuple[str, str]:
    """Return the environment and the path segment of one of Kosli's snapshot expressions."""
    printable = isinstance(expression, str) and expression.isprintable()
    found = EXPRESSION.fullmatch(expression) if printable else None
    if found is None:
        raise NoVerdict(
            "bad_name",
            f"{clean(expression)!r} is no snapshot expression",
            "Write prod, prod#42, prod~1 or prod@{2.hours.ago}.",
        )
    return found["environment"], found["index"] or found["behind"] or found["at"] or "-1"


def _network(
    host: str, api_token: str | None, timeout: float, max_api_retries: int, proxy: str | None
) -> Http:
    from pytest_kosli import __version__
    from pytest_kosli.api.http import Http

    def token() -> str:
        text = os.environ.get("KOSLI_API_TOKEN", "") if api_token is None else api_token
        if not text.strip():
            raise NoVerdict(
                "no_token",
                "there is no API token for Kosli",
                "Set KOSLI_API_TOKEN, or give KosliClient an api_token (a service account with "
                "the role reader is enough).",
            )
        return text

    return Http(
        host,
        Token(token),
        timeout=timeout,
        max_api_retries=max_api_retries,
        proxy=proxy,
        user_agent=f"pytest-kosli/{__version__}",
    )


def _joined(found: LiveArtifacts, about: str) -> list[LiveArtifact]:
    embedded = found.embedded or Embedded([], [])
    artifacts = _by_id(embedded.artifacts, about)
    environments = _by_id(embedded.environments, about)
    live = []
    for entry in found.live_artifacts:
        artifact = artifacts.get(entry.artifact_id)
        environment = environments.get(entry.environment_id)
        live.append(
            LiveArtifact(
                name=entry.artifact_name,
                fingerprint=_fingerprint(artifact.fingerprint) if artifact else None,
                environment=_name("environment", environment.name) if environment else None,
                snapshot_index=entry.snapshot_index,
                started_at=answers.moment(entry.started_at),
                compliance=entry.compliance,
                commit_sha=artifact.commit_sha if artifact else None,
                commit_url=artifact.commit_url if artifact else None,
            )
        )
    return live


def _by_id(entries: Iterable[E], about: str) -> dict[str, E]:
    """Return what ids stand for; raises NoVerdict ``malformed`` for one that stands for two."""
    found: dict[str, E] = {}
    for entry in entries:
        if found.setdefault(entry.id, entry) != entry:
            raise answers.malformed(about, f"it tells two things of the id {clean(entry.id)!r}")
    return found


def _suffix(query: Iterable[tuple[str, str]]) -> str:
    """Return the part of a cassette's name that tells questions about one thing apart."""
    text = "".join(f".{key}={quote(value, safe=',')}" for key, value in query)
    return text if len(text) <= 120 else f".{sha256(text.encode()).hexdigest()[:16]}"


def _named(scope: Scope) -> Scope:
    if scope.environment:
        _name("environment", scope.environment)
    for policy in scope.policies:
        _name("policy", policy)
    if scope.flow_name:
        _name("flow", scope.flow_name)
    return scope


def _name(what: str, name: str) -> str:
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise _bad_name(what, name)
    return name


def _bad_name(what: str, name: object) -> NoVerdict:
    return NoVerdict(
        "bad_name",
        f"{clean(name)!r} can not be the name of a Kosli {what}",
        "Names begin with a letter or digit and go on with letters, digits and . - _ ~",
    )


def _fingerprint(text: str) -> str:
    digits = text.removeprefix("sha256:") if isinstance(text, str) else ""
    if not FINGERPRINT.fullmatch(digits):
        raise NoVerdict(
            "bad_fingerprint",
            f"{clean(text, 100)!r} is no SHA256 fingerprint",
            "A fingerprint is 64 lower-case hexadecimal digits.",
        )
    return digits


def _other(about: str, answered: str) -> NoVerdict:
    return NoVerdict(
        "mismatch",
        f"{about}: Kosli answered about {clean(answered)}",
        "Check the host; an answer about something else is no answer.",
        status=200,
    )
