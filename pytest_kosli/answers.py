"""Bytes of a reply become a typed answer, strictly, or a NoVerdict that says what is wrong.

Tolerant where Kosli really varies (nulls, absent keys, unknown keys and words), strict where a
verdict hangs on it. No network and no judgement here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from pytest_kosli.model import NoVerdict, Reply
from pytest_kosli.shape import convert
from pytest_kosli.text import clean

MAX_DEPTH = 64

T = TypeVar("T")


class Attestation(msgspec.Struct, frozen=True):
    """The state of one attestation on a trail; ``is_compliant`` is None while it is missing."""

    attestation_name: str | None = None
    attestation_type: str | None = None
    status: str | None = None
    is_compliant: bool | None = None


class ComplianceStatus(msgspec.Struct, frozen=True):
    """How an artifact stands on one trail."""

    status: str | None = None
    is_compliant: bool | None = None
    artifact_fingerprint: str | None = None
    attestations_statuses: list[Attestation] | None = None
    evaluated_at: float | None = None


class FlowAnswer(msgspec.Struct, frozen=True):
    """How an artifact stands in one flow."""

    flow: str
    compliant: bool
    trail: str | None = None
    compliance_status: ComplianceStatus | None = None
    html_url: str | None = None


class Rule(msgspec.Struct, frozen=True):
    """A rule of a policy; ``definition`` holds what its type of rule has."""

    type: str | None = None
    definition: dict[str, Any] | None = None


class Resolution(msgspec.Struct, frozen=True):
    """How a rule came out for one flow and trail; both words are open-ended."""

    type: str | None = None
    context: dict[str, Any] | None = None


class RuleEvaluation(msgspec.Struct, frozen=True):
    """A rule and how it came out; ``satisfied`` is None or absent when the rule is ignored."""

    rule: Rule
    satisfied: bool | None = None
    ignored: bool | None = None
    resolutions: list[Resolution] | None = None


class PolicyEvaluation(msgspec.Struct, frozen=True):
    """A policy and how it came out."""

    policy_name: str
    status: str
    policy_version: int | None = None
    rule_evaluations: list[RuleEvaluation] | None = None


class AllowListed(msgspec.Struct, frozen=True):
    """An allow-listing: without its id, who and when, it is none."""

    allowlist_id: Annotated[str, msgspec.Meta(min_length=1)]
    allowed_by_user_id: Annotated[str, msgspec.Meta(min_length=1)]
    timestamp: float
    description: str | None = None


class AssertAnswer(msgspec.Struct, frozen=True):
    """The reply of ``GET /asserts/{org}/fingerprint/{fingerprint}``."""

    fingerprint: str
    compliant: bool
    scope: str
    flow: str | None = None
    trail: str | None = None
    html_url: str | None = None
    compliance_status: ComplianceStatus | None = None
    flows: list[FlowAnswer] | FlowAnswer | None = None
    environment: str | None = None
    policy_evaluations: list[PolicyEvaluation] | None = None
    allow_listing: AllowListed | None = None

    @property
    def every_flow(self) -> list[FlowAnswer]:
        """Return the flows; the one named at the top where an older reply lists none."""
        if isinstance(self.flows, FlowAnswer):
            return [self.flows]
        if self.flows is not None:
            return self.flows
        if self.flow is None:
            return []
        return [
            FlowAnswer(self.flow, self.compliant, self.trail, self.compliance_status, self.html_url)
        ]


class GitCommit(msgspec.Struct, frozen=True):
    """The commit an artifact was built from."""

    sha1: str | None = None
    message: str | None = None
    author: str | None = None
    branch: str | None = None
    timestamp: float | str | None = None
    url: str | None = None


class RepoInfo(msgspec.Struct, frozen=True):
    """The repository an artifact was built from; ``name`` is ``owner/repo`` on most hosts."""

    name: str | None = None
    url: str | None = None
    id: str | None = None
    description: str | None = None
    provider: str | None = None


class ArtifactDetails(msgspec.Struct, frozen=True):
    """The reply of ``GET /artifacts/{org}/{flow}/fingerprint/{fingerprint}``.

    Only what identifies the artifact is sure to be there; all else may be None.
    """

    fingerprint: str
    flow_name: str
    id: str | None = None
    filename: str | None = None
    created_at: float | str | None = None
    last_modified_at: float | str | None = None
    trail_name: str | None = None
    template_reference_name: str | None = None
    git_commit: str | None = None
    git_commit_info: GitCommit | None = None
    repo_info: RepoInfo | None = None
    commit_url: str | None = None
    build_url: str | None = None
    repo_url: str | None = None
    html_url: str | None = None
    annotations: dict[str, Any] | None = None
    state: str | None = None
    state_info: str | None = None
    running: list[Any] | None = None
    exited: list[Any] | None = None
    history: list[Any] | None = None


class LiveEntry(msgspec.Struct, frozen=True):
    """One running artifact, by the ids of ``_embedded``."""

    environment_id: str
    artifact_id: str
    artifact_name: str
    snapshot_index: int
    started_at: float
    compliance: str | None = None


class EmbeddedArtifact(msgspec.Struct, frozen=True):
    """The fingerprint and commit behind an artifact id."""

    id: str
    fingerprint: str
    commit_sha: str | None = None
    commit_url: str | None = None


class EmbeddedEnvironment(msgspec.Struct, frozen=True):
    """The name and type behind an environment id."""

    id: str
    name: str
    type: str


class Embedded(msgspec.Struct, frozen=True):
    """What the ids of a live-artifacts reply stand for."""

    artifacts: list[EmbeddedArtifact]
    environments: list[EmbeddedEnvironment]


class LiveArtifacts(msgspec.Struct, frozen=True):
    """The reply of ``GET /repos/{org}/live-artifacts/{repo}``."""

    live_artifacts: list[LiveEntry]
    embedded: Embedded | None = msgspec.field(name="_embedded", default=None)


class Annotation(msgspec.Struct, frozen=True):
    """What happened to an artifact in a snapshot, and how many instances run now."""

    type: str | None = None
    was: int | None = None
    now: int | None = None


class SnapshotArtifact(msgspec.Struct, frozen=True):
    """One entry of a snapshot."""

    name: str
    fingerprint: str
    compliant: bool | None = None
    annotation: Annotation | None = None
    flow_name: str | None = None

    @property
    def exited(self) -> bool:
        """Return whether it no longer runs: snapshots keep what disappeared in them.

        The number of instances goes before the word: what still has one is to be judged.
        """
        if self.annotation is None:
            return False
        if self.annotation.now is None:
            return self.annotation.type == "exited"
        return self.annotation.now == 0


class Snapshot(msgspec.Struct, frozen=True):
    """The reply of ``GET /snapshots/{org}/{environment}/{expression}``.

    ``timestamp`` is seconds since the epoch; ``received_at`` is when the reply was heard.
    """

    index: int
    artifacts: list[SnapshotArtifact]
    timestamp: float
    type: str | None = None
    is_latest: bool | None = None
    compliant: bool | None = None
    html_url: str | None = None
    received_at: datetime | None = None


class Environment(msgspec.Struct, frozen=True):
    """The reply of ``GET /environments/{org}/{environment}``.

    ``policies`` are the names attached now; ``last_reported_at`` is seconds since the epoch;
    ``received_at`` is not Kosli's but when the reply was heard.
    """

    name: str
    type: str | None = None
    org: str | None = None
    description: str | None = None
    last_reported_at: float | None = None
    last_changed_at: float | None = None
    state: bool | None = None
    policies: list[str] | None = None
    included_environments: list[str] | None = None
    received_at: datetime | None = None


def read(reply: Reply, kind: type[T], about: str) -> T:
    """Return the answer that a 200 reply holds.

    Raises NoVerdict: ``malformed`` when the bytes are not strictly JSON, or not this answer.
    """
    value = load(reply, about).value
    if isinstance(value, dict):
        value["received_at"] = reply.received_at
    return typed(value, kind, about)


class Document(NamedTuple):
    """A JSON value, and every value in it, however deep, whose key says it is a fingerprint."""

    value: Any
    fingerprints: list[object]


def load(reply: Reply, about: str, whose: str = "Kosli") -> Document:
    """Return the JSON of a reply: UTF-8, no key twice, no NaN, no trailing data."""
    media = reply.content_type.split(";")[0].strip().lower()
    charset = re.search(r"charset=\"?([\w-]+)", reply.content_type, re.IGNORECASE)
    if media != "application/json":
        raise malformed(
            about, f"the content type is {clean(media) or 'missing'}, not JSON", reply, whose
        )
    if charset and charset[1].lower() not in ("utf-8", "utf8"):
        raise malformed(about, f"the charset is {clean(charset[1])}, not UTF-8", reply, whose)
    fingerprints: list[object] = []

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = _each_key_once(pairs)
        for key in found:
            if key.endswith("fingerprint"):
                fingerprints.append(found[key])
        return found

    try:
        text = reply.body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=object_of, parse_constant=_no_constant)
        _check_depth(text, value)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise malformed(about, "it is nested too deeply", reply, whose) from None
    except ValueError as error:
        raise malformed(about, clean(error), reply, whose) from None
    return Document(value, fingerprints)


def typed(value: object, kind: type[T], about: str, whose: str = "Kosli") -> T:
    """Return a JSON value as ``kind``; the NoVerdict names the path of what does not fit."""
    try:
        return convert(value, kind)
    except msgspec.ValidationError as error:
        raise malformed(about, clean(error), whose=whose) from None


def malformed(about: str, why: str, reply: Reply | None = None, whose: str = "Kosli") -> NoVerdict:
    """Return the NoVerdict for a reply that can not be relied on."""
    return NoVerdict(
        "malformed",
        f"{about}: {whose}'s reply can not be relied on: {why}",
        f"Something between here and {whose} may have answered instead (a proxy, a login page). "
        f"Check the host, and {whose}'s status page.",
        status=reply.status if reply else None,
        attempts=reply.attempts if reply else 0,
    )


def moment(seconds: float | None) -> datetime | None:
    """Return seconds since the epoch as UTC, or None for what is no date."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def error_text(reply: Reply) -> tuple[str, tuple[str, ...]]:
    """Return the message and the errors of a reply that is no answer, whatever its shape."""
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return _plain_text(reply), ()
    if isinstance(value, str):
        return clean(value), ()
    if not isinstance(value, dict):
        return clean(json.dumps(value)), ()
    message = next((value[k] for k in ("message", "detail", "error") if value.get(k)), "")
    return clean(message), tuple(_error_lines(value.get("errors")))


def _error_lines(errors: object) -> Iterator[str]:
    if isinstance(errors, dict):
        for key, text in list(errors.items())[:20]:
            yield f"{clean(key)}: {clean(text)}"
    elif isinstance(errors, list):
        for entry in errors[:20]:
            yield from _error_lines(entry) if isinstance(entry, dict) else [clean(entry)]


def _plain_text(reply: Reply) -> str:
    text = reply.body[:4096].decode("utf-8", "replace").strip()
    if text[:1] == "<":
        title = re.search(r"<(title|h1)[^>]*>(.*?)</", text, re.IGNORECASE | re.DOTALL)
        return f"an HTML page ({clean(title[2].strip(), 80)})" if title else "an HTML page"
    return clean(text)


LIST = "Check the name: `kosli list {}` shows those of this organisation."
UNKNOWN = (
    (
        "unknown_environment",
        r"Environment named '.*?' does not exist",
        LIST.format("environments"),
    ),
    ("unknown_policy", r"Policy '.*?' does not exist", LIST.format("policies")),
    ("unknown_flow", r"Flow named '.*?' does not exist", LIST.format("flows")),
    ("unknown_repo", r"Repo(?: '.*?')? not found", LIST.format("repos")),
    ("unknown_trail", r"Trail with name '.*?' does not exist", "Check the name of the trail."),
    (
        "empty_environment",
        r"len\(snapshots\) == 0",
        "Nothing was ever reported to this environment: look at its reporter (`kosli snapshot`).",
    ),
    (
        "unknown_snapshot",
        r"Snapshot '.*?' resolves to",
        "Check the number: `kosli list snapshots ENVIRONMENT` shows those that there are.",
    ),
)

TODO = {
    "bad_request": "Check the names of environment, policies and flow against Kosli's.",
    "unauthorized": "Set KOSLI_API_TOKEN to a valid API key of this organisation.",
    "forbidden": "Use an API key of this organisation; the role reader is enough.",
    "not_found": "Check the organisation's name, and that the host is the region that holds it.",
    "busy": "Run it again later, or raise --kosli-max-api-retries.",
    "server_error": "Look at Kosli's status page, then run it again.",
    "redirected": "Set --kosli-host to the address that answers itself; "
    "redirects are refused because they could carry a verdict from elsewhere.",
    "unexpected_status": "Check the host: this is not how Kosli's API answers.",
}


def refusal(reply: Reply, about: str) -> NoVerdict:
    """Return the NoVerdict for a reply with any other status than 200."""
    message, errors = error_text(reply)
    code = _code(reply.status)
    todo = TODO[code]
    for word, pattern, cure in UNKNOWN if code in ("not_found", "bad_request") else ():
        if re.search(pattern, message):
            code, todo = word, cure
            break
    said = f": {message}" if message else silence(reply)
    return NoVerdict(
        code,
        f"{about}: Kosli answered {reply.status}{said}",
        todo,
        status=reply.status,
        errors=errors,
        attempts=reply.attempts,
    )


def silence(reply: Reply) -> str:
    """Return how to say that a reply has no message, at the end of a sentence."""
    return " without a message" if reply.body.strip() else " with an empty body"


def _code(status: int) -> str:
    exact = {400: "bad_request", 422: "bad_request", 401: "unauthorized", 403: "forbidden"}
    exact |= {404: "not_found", 409: "busy", 429: "busy"}
    if status in exact:
        return exact[status]
    if 300 <= status < 400:
        return "redirected"
    return "server_error" if status >= 500 else "unexpected_status"


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands there twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check_depth(text: str, value: object) -> None:
    if text.count("{") + text.count("[") <= MAX_DEPTH:  # each level has a bracket of its own
        return
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
    if any(isinstance(one, (dict, list)) for one in level):
        raise RecursionError


def _inside(outer: object) -> Iterable[object]:
    if isinstance(outer, dict):
        return outer.values()
    return outer if isinstance(outer, list) else ()
