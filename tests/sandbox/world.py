"""What a data file holds: the flows, artifacts, policies and environments of one organisation."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator

from tests.sandbox.codealive import Index
from tests.sandbox.expression import parse

DATA = Path(__file__).parent / "data"
NAME_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9\.\-_~]*$"
FINGERPRINT_PATTERN = r"^[a-f0-9]{64}$"
ID_PATTERN = r"^[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{8}$"

Provider = Literal["github", "gitlab", "bitbucket", "azure-devops", "circleci"]
_FORGES = {
    "github": "https://github.com",
    "gitlab": "https://gitlab.com",
    "bitbucket": "https://bitbucket.org",
    "azure-devops": "https://dev.azure.com",
    "circleci": "https://app.circleci.com",
}


class DataError(ValueError):
    """The data file can not be the world of a sandbox; the text lists every problem."""


class Refused(Exception):
    """A request that Kosli answers with an error: its HTTP status and its sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def kosli_id(*parts: str) -> str:
    """Return an id in Kosli's form (8-4-4-4-8 hex digits), the same for the same parts."""
    digits = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:28]))


def _timestamp(value: object) -> object:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return value


def _expression(text: str) -> str:
    parse(text)
    return text


Moment = Annotated[float, BeforeValidator(_timestamp)]
Expression = Annotated[str, AfterValidator(_expression)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
KosliId = Annotated[str, Field(pattern=ID_PATTERN)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Repo(_Model):
    """A repository. ``name`` is only given where two providers hold one of that name."""

    name: str = ""
    provider: Provider = "github"
    created: Moment = 0.0


class Attestation(_Model):
    """Evidence on a trail or on an artifact; ``control`` belongs to those of type ``decision``."""

    type: str
    compliant: bool = True
    control: str | None = None


class Trail(_Model):
    """One run of a flow. Its own attestations count for each of its artifacts."""

    commit: Annotated[str, Field(pattern=r"^[a-f0-9]{40}$")]
    at: Moment
    message: str = ""
    branch: str = "main"
    build_url: str = ""
    attestations: dict[str, Attestation] = {}


class Flow(_Model):
    """A flow; ``template`` maps each attestation that it expects to its type, None: no template."""

    repo: str
    tags: dict[str, str] = {}
    template: dict[str, str] | None = None
    trails: dict[Name, Trail] = {}


class Report(_Model):
    """An artifact as reported to a trail, with the attestations made for it there."""

    flow: str
    trail: str
    at: Moment
    attestations: dict[str, Attestation] = {}
    id: KosliId | None = None
    template_name: str | None = None


class Artifact(_Model):
    """A fingerprint, its name, and the trails that hold it; none: it has no provenance."""

    name: str
    fingerprint: Annotated[str, Field(pattern=FINGERPRINT_PATTERN)]
    reports: list[Report] = []

    @model_validator(mode="after")
    def _digest_in_the_name_is_the_fingerprint(self) -> Self:
        _, found, digest = self.name.partition("@sha256:")
        if found and digest != self.fingerprint:
            raise ValueError("the digest in its name is not its fingerprint")
        return self

    def report_id(self, report: Report) -> str:
        """Return the id of the artifact on that trail, as links name it."""
        return report.id or kosli_id(self.fingerprint, report.flow, report.trail)


class Rule(_Model):
    """A policy's word on provenance or trail compliance."""

    required: bool = False
    exceptions: list[Expression] = []


class AttestationRule(_Model):
    """A policy's demand for an attestation, on each flow for which the condition holds."""

    name: str = "*"
    type: str
    must_be_compliant: bool = True
    for_control: str | None = None
    condition: Annotated[Expression | None, Field(alias="if")] = None

    @model_validator(mode="after")
    def _says_what_it_wants(self) -> Self:
        if self.name == self.type == "*":
            raise ValueError("name and type can not both be '*'")
        return self


class Policy(_Model):
    """One version of a policy. ``name@version`` as its key keeps a version of the past."""

    version: int = 1
    id: KosliId | None = None
    provenance: Rule = Rule()
    trail_compliance: Rule = Rule()
    attestations: list[AttestationRule] = []


class AllowListing(_Model):
    """Who let an artifact into an environment, when and why."""

    artifact: str
    by: KosliId
    at: Moment
    reason: str


class Instance(_Model):
    """An artifact in a snapshot: when each of its instances started, and how many there were.

    ``name`` is what the environment calls it, by default the artifact's own. ``dangling`` makes
    live-artifacts name it without embedding it.
    """

    artifact: str
    started: Annotated[list[Moment], Field(min_length=1)]
    was: int | None = None
    exited: bool = False
    name: str | None = None
    annotation: str | None = None
    dangling: bool = False

    @property
    def now(self) -> int:
        """Return how many instances run."""
        return 0 if self.exited else len(self.started)


class Snapshot(_Model):
    """What ran in an environment from ``at`` on; ``policies`` where others were attached then."""

    index: Annotated[int, Field(ge=1)]
    at: Moment
    artifacts: list[Instance] = []
    policies: list[str] | None = None


class Environment(_Model):
    """An environment; ``reported_ago`` (seconds) is for a reporter that is still alive."""

    type: Literal[
        "K8S", "ECS", "S3", "lambda", "server", "docker", "azure-apps", "cloud-run", "logical"
    ]
    description: str = ""
    tags: dict[str, str] = {}
    policies: list[str] = []
    modified: Moment
    reported: Moment | None = None
    reported_ago: float | None = None
    included: list[str] | None = None
    snapshots: list[Snapshot] = []
    allow_listings: list[AllowListing] = []

    @model_validator(mode="after")
    def _is_of_one_piece(self) -> Self:
        indexes = [snapshot.index for snapshot in self.snapshots]
        if indexes != sorted(set(indexes)):
            raise ValueError("its snapshots are not in the order of their indexes")
        if self.reported is not None and self.reported_ago is not None:
            raise ValueError("give reported or reported_ago, not both")
        if (self.included is not None) != (self.type == "logical"):
            raise ValueError("a logical environment, and no other, has included environments")
        if self.included is not None and (self.snapshots or self.policies):
            raise ValueError("a logical environment has neither snapshots nor policies")
        return self

    @property
    def latest(self) -> Snapshot | None:
        """Return the newest snapshot, None when nothing was ever reported."""
        return self.snapshots[-1] if self.snapshots else None

    def last_reported(self, now: float) -> float | None:
        """Return when the reporter was last heard (seconds), None for never."""
        return self.reported if self.reported_ago is None else now - self.reported_ago


class World(_Model):
    """Everything that Kosli knows about one organisation."""

    org: Name
    token: str
    public: bool = False
    controls: dict[str, str] = {}
    repos: dict[str, Repo]
    flows: dict[Name, Flow]
    policies: dict[str, Policy] = {}
    artifacts: dict[str, Artifact]
    environments: dict[Name, Environment]
    codealive: Index | None = None

    @model_validator(mode="after")
    def _names_only_what_exists(self) -> Self:
        problems = list(_dangling(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @functools.cached_property
    def by_fingerprint(self) -> dict[str, Artifact]:
        """Return the artifacts by fingerprint."""
        return {artifact.fingerprint: artifact for artifact in self.artifacts.values()}

    def repo_name(self, key: str) -> str:
        """Return what a repository is called, e.g. ``acme/payments``."""
        return self.repos[key].name or key

    def repo_url(self, key: str) -> str:
        """Return a repository's address at its provider."""
        return f"{_FORGES[self.repos[key].provider]}/{self.repo_name(key)}"

    def find_repo(self, name: str, provider: str | None) -> str:
        """Return the key of the newest repository of that name; raise Refused for none."""
        found = [
            key
            for key, repo in self.repos.items()
            if self.repo_name(key) == name and provider in (None, repo.provider)
        ]
        if not found:
            raise Refused(404, "Repo not found")
        return max(found, key=lambda key: self.repos[key].created)

    def flow(self, name: str) -> Flow:
        """Return a flow by name; raise Refused for an unknown one."""
        if name not in self.flows:
            text = f"Flow named '{name}' does not exist for organization '{self.org}'"
            raise Refused(404, text)
        return self.flows[name]

    def policy(self, name: str) -> Policy:
        """Return a policy by name; raise Refused for an unknown one."""
        if name not in self.policies:
            raise Refused(404, f"Policy '{name}' does not exist in organization '{self.org}'")
        return self.policies[name]

    def environment(self, name: str) -> Environment:
        """Return an environment by name; raise Refused for an unknown one."""
        if name not in self.environments:
            text = f"Environment named '{name}' does not exist for organization '{self.org}'"
            raise Refused(404, text)
        return self.environments[name]


def _dangling(world: World) -> Iterator[str]:
    for name, flow in world.flows.items():
        if flow.repo not in world.repos:
            yield f"flow {name}: no repo {flow.repo}"
        for trail in flow.trails.values():
            yield from _unknown_controls(world, f"flow {name}", trail.attestations)
    if len(world.by_fingerprint) != len(world.artifacts):
        yield "artifacts: a fingerprint occurs twice"
    for name, artifact in world.artifacts.items():
        for report in artifact.reports:
            owner = f"artifact {name}"
            if report.flow not in world.flows:
                yield f"{owner}: no flow {report.flow}"
            elif report.trail not in world.flows[report.flow].trails:
                yield f"{owner}: no trail {report.trail} in flow {report.flow}"
            yield from _unknown_controls(world, owner, report.attestations)
    for name, policy in world.policies.items():
        for rule in policy.attestations:
            if rule.for_control and rule.for_control not in world.controls:
                yield f"policy {name}: no control {rule.for_control}"
    for name, environment in world.environments.items():
        yield from _dangling_in(world, f"environment {name}", environment)


def _unknown_controls(
    world: World, owner: str, attestations: Mapping[str, Attestation]
) -> Iterator[str]:
    for name, attestation in attestations.items():
        if attestation.control and attestation.control not in world.controls:
            yield f"{owner}: attestation {name}: no control {attestation.control}"
        if attestation.control and attestation.type != "decision":
            yield f"{owner}: attestation {name}: only a decision is about a control"


def _dangling_in(world: World, owner: str, environment: Environment) -> Iterator[str]:
    policies = [*environment.policies]
    artifacts = [listing.artifact for listing in environment.allow_listings]
    for snapshot in environment.snapshots:
        policies += snapshot.policies or []
        artifacts += [instance.artifact for instance in snapshot.artifacts]
    yield from (f"{owner}: no policy {name}" for name in policies if name not in world.policies)
    yield from (f"{owner}: no artifact {name}" for name in artifacts if name not in world.artifacts)
    yield from (
        f"{owner}: no environment {name}"
        for name in environment.included or []
        if name not in world.environments
    )


def read(data: str | Path) -> dict[str, Any]:
    """Return the plain data of a bundled dataset (by name) or of a YAML file (by path)."""
    bundled = DATA / f"{str(data).replace('-', '_')}.yaml"
    path = bundled if bundled.is_file() else Path(data)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        names = ", ".join(sorted(file.stem for file in DATA.glob("*.yaml")))
        raise DataError(f"{data}: neither a dataset ({names}) nor a file: {problem}") from None
    try:
        loaded = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as problem:
        raise DataError(f"{path}: {problem}") from None
    if not isinstance(loaded, dict):
        raise DataError(f"{path}: not a mapping")
    loaded.pop("shared", None)
    return loaded


def build(data: Mapping[str, Any]) -> World:
    """Return the world that plain data describes; raise DataError with every problem in it."""
    try:
        return World.model_validate(data)
    except ValidationError as problem:
        lines = (
            f"{'.'.join(str(part) for part in error['loc']) or 'data'}: {error['msg']}"
            for error in problem.errors()
        )
        raise DataError("\n".join(lines)) from None
