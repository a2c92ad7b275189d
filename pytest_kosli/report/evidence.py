"""The evidence of a run: a typed document with a version, and the JSON Schema that describes it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pytest_kosli.report.facts import Facts, urgency
from pytest_kosli.report.record import SOURCE, Ended, Item, Record, check_key, source_key
from pytest_kosli.shape import convert

SCHEMA = "https://pytest-kosli.readthedocs.io/en/stable/evidence.v1.schema.json"
TITLE = "What pytest-kosli checked in one run"

Moment = Annotated[datetime, Meta(tz=True)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=0)]
Mode = Literal["live", "record", "offline", "dry-run"]
OutcomeName = Literal[
    "COMPLIANT", "ALLOW_LISTED", "NON_COMPLIANT", "UNKNOWN_ARTIFACT", "NO_VERDICT", "NOT_CHECKED"
]


class Node(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A part of the document; it takes no field that the schema does not name."""


class Origin(Node):
    """How the run learned of an artifact, and how a reference became its fingerprint."""

    name: str
    source: str
    detail: str
    resolved: str
    excluded: list[str]
    runs_in: str | None
    snapshot_says_compliant: bool | None


class Artifact(Node):
    """What was asked about; without a fingerprint where none could be found out."""

    label: str
    fingerprint: Digest | None
    origins: list[Origin]


class Question(Node):
    """What the artifact was judged against."""

    host: str | None
    org: str | None
    environment: str | None
    policies: list[str]
    flow: str | None
    text: str


class Reason(Node, omit_defaults=True):
    """One thing that stands in the way: a stable code, a sentence, and Kosli's own words."""

    code: str
    text: str
    policy: str = ""
    rule: str = ""
    control: str = ""
    attestation: str = ""
    attestation_type: str = ""
    flow: str = ""
    trail: str = ""
    detail: str = ""


class Policy(Node):
    """A policy that Kosli evaluated."""

    name: str
    version: int | None
    status: str


class Flow(Node):
    """A flow that holds the artifact, and the trail that it was reported to."""

    name: str
    trail: str


class AllowListing(Node):
    """Who let the artifact in, when, and why."""

    by: str
    at: Moment | None
    why: str
    id: str


class Waited(Node):
    """How long the answer was waited for, and how often it was asked; in the end without a reply.

    Of the ``asked`` times the last ``unheard`` got none, so the outcome rests on an earlier answer.
    """

    seconds: Annotated[float, Meta(ge=0)]
    asked: Count
    unheard: Count


class Answer(Node):
    """The reply that the outcome rests on; ``replayed`` is from a cassette, recorded then.

    ``waited`` is null where nobody waited for it.
    """

    status: int | None
    attempts: Count
    received_at: Moment | None
    evaluated_at: Moment | None
    replayed: bool
    sha256: Digest | None
    waited: Waited | None


class Test(Node):
    """A test that a check decided, and how it ended; ``by`` is a mark, or a call in the test."""

    __test__ = False

    id: str
    file: str
    line: Count | None
    outcome: Ended
    by: Literal["mark", "call"] | None = None


class Check(Node):
    """One artifact and one scope: what became of it and why, and the tests it decided."""

    outcome: OutcomeName
    refused: bool
    reason: str
    artifact: Artifact
    question: Question
    reasons: list[Reason]
    policies: list[Policy]
    flows: list[Flow]
    allow_listing: AllowListing | None
    link: str | None
    note: str
    todo: str
    errors: list[str]
    answer: Answer
    tests: list[Test]


class Source(Node):
    """One assertion on indexed source, and the tests it decided; no verdict of Kosli's.

    ``pin`` says what ties the text to the artifact: ``commit``, ``branch`` or ``none``.
    """

    outcome: Literal["HOLDS", "DOES_NOT_HOLD", "NO_VERDICT", "NOT_CHECKED"]
    refused: bool
    identifier: str
    code: str
    reason: str
    failures: list[str]
    data_source: str
    branch: str
    commit: str
    pin: str
    sha256: str
    artifact: str
    fingerprint: str
    replayed: bool
    received_at: Moment | None
    tests: list[Test]


class Deployed(Node):
    """One artifact of a comparison, and where the run learned of it."""

    name: str
    fingerprint: Digest
    origin: str


class OtherVersion(Node):
    """An image of which nothing that runs is what was intended."""

    name: str
    intended: list[Deployed]
    running: list[Deployed]


class Drift(Node):
    """One comparison of what was intended with what ran in a snapshot; no verdict of Kosli's."""

    outcome: Literal["NO_DRIFT", "DRIFTED", "NO_VERDICT", "NOT_CHECKED"]
    refused: bool
    snapshot: str
    code: str
    reason: str
    unintended: list[Deployed]
    missing: list[Deployed]
    other_version: list[OtherVersion]
    as_intended: list[Deployed]
    left_out: list[str]
    replayed: bool
    received_at: Moment | None
    test: Test


class Setting(Node):
    """A setting in force and where it came from; of a secret only whether it is set."""

    name: str
    value: str
    origin: str


class Job(Node):
    """The job of a CI service that ran this."""

    name: str
    url: str
    commit: str


class Run(Node):
    """What ran, when, for whom, and with which settings; ``ended_at`` is null until the end."""

    started_at: Moment
    ended_at: Moment | None
    exit_code: int | None
    host: str
    org: str | None
    versions: dict[str, str]
    ci: Job | None
    settings: list[Setting]


class Totals(Node):
    """How many artifacts and checks there were, and the checks by outcome."""

    artifacts: Count
    checks: Count
    refused: Count
    compliant: Count
    allow_listed: Count
    non_compliant: Count
    unknown_artifact: Count
    no_verdict: Count
    not_checked: Count


class Selection(Node):
    """What of the tests ran; ``unchecked`` demand a verdict and have none, as skipped ones do."""

    selected: Count | None
    ended: Count
    deselected: list[str]
    unchecked: list[Test]


class Evidence(Node):
    """What pytest-kosli checked in one run, and what Kosli said.

    ``incomplete`` says why the document may not tell everything; it is empty when ``complete`` is
    true. ``problems`` are of the run as a whole, whatever became of its checks.
    """

    schema: Annotated[str, Meta(pattern="^{}$".format(SCHEMA.replace(".", "[.]")))]
    version: Literal[1]
    mode: Mode
    complete: bool
    incomplete: list[str]
    problems: list[str]
    run: Run
    totals: Totals
    checks: list[Check]
    sources: list[Source]
    drifts: list[Drift]
    left_out: list[str]
    without_image: list[str]
    tests: Selection


def evidence(
    mode: Mode,
    run: Run,
    record: Record,
    *,
    problems: Sequence[str] = (),
    incomplete: Sequence[str] = (),
    selected: int | None = None,
    deselected: Iterable[str] = (),
) -> Evidence:
    """Return the document about a record; equal records give equal checks, in the same order."""
    checks = [_check(found, run) for found in _grouped(record)]
    return Evidence(
        schema=SCHEMA,
        version=1,
        mode=mode,
        complete=not incomplete,
        incomplete=list(incomplete),
        problems=[*problems, *sorted(record.swallowed)],
        run=run,
        totals=_totals(checks),
        checks=checks,
        sources=_sources(record),
        drifts=[_drift(fact, _test(one, record.items[one], "call")) for one, fact in record.drifts],
        left_out=sorted(record.left_out),
        without_image=sorted(record.without_image),
        tests=Selection(
            selected=selected,
            ended=len(record.ended),
            deselected=sorted(deselected),
            unchecked=[
                _test(nodeid, item, None)
                for nodeid, item in sorted(record.items.items())
                if item.marked and not item.facts
            ],
        ),
    )


def to_json(document: Evidence) -> str:
    """Return the document as JSON in ASCII: no text in it can play with who prints it."""
    text = json.dumps(msgspec.to_builtins(document), indent=2) + "\n"
    return text.replace("\x7f", "\\u007f")


def schema_text() -> str:
    """Return the JSON Schema that ships in the package."""
    return files("pytest_kosli.report").joinpath("evidence.schema.json").read_text("utf-8")


def make_schema() -> str:
    """Return the JSON Schema as the types of this module say it."""
    made: dict[str, Any] = msgspec.json.schema(Evidence)
    for part in made["$defs"].values():
        part["description"] = " ".join(part["description"].split())
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA}
    return json.dumps({**head, "title": TITLE, **made}, indent=2) + "\n"


Found = list[tuple[str, Item, Facts]]


def _grouped(record: Record) -> list[Found]:
    """Return what was noted about each artifact and scope, the worst first, in a fixed order."""
    groups: dict[tuple[str, ...], Found] = {}
    for nodeid, item in sorted(record.items.items()):
        for fact in item.facts:
            groups.setdefault(check_key(fact), []).append((nodeid, item, fact))
    for found in groups.values():
        found.sort(key=lambda one: urgency(one[2]))
    return sorted(groups.values(), key=lambda found: urgency(found[0][2]))


def _check(found: Found, run: Run) -> Check:
    fact = found[0][2]
    plain = {
        "outcome": fact["outcome"],
        "refused": fact["refused"],
        "reason": fact["reason"],
        "reasons": fact["reasons"],
        "policies": fact.get("policies", []),
        "flows": fact.get("flows", []),
        "allow_listing": _with_nulls(fact.get("allow_listing"), "at"),
        "link": fact.get("link") or None,
        "note": fact.get("note", ""),
        "todo": fact.get("todo", ""),
        "errors": fact.get("errors", []),
        "artifact": {
            "label": fact["label"],
            "fingerprint": fact["fingerprint"] or None,
            "origins": _origins(found),
        },
        "question": {
            "host": fact.get("host") or run.host,
            "org": fact.get("org") or run.org,
            **fact["question"],
            "text": fact["scope"],
        },
        "answer": {
            "status": fact.get("status"),
            "attempts": fact.get("attempts", 0),
            "received_at": fact.get("received_at") or None,
            "evaluated_at": fact.get("evaluated_at") or None,
            "replayed": fact["replayed"],
            "sha256": fact.get("reply_sha256") or None,
            "waited": fact.get("waited"),
        },
        "tests": _tests(found),
    }
    return convert(plain, Check)


def _tests(found: Found) -> list[Test]:
    tests = {nodeid: _test(nodeid, item, fact["by"]) for nodeid, item, fact in found}
    return [tests[nodeid] for nodeid in sorted(tests)]


def _sources(record: Record) -> list[Source]:
    """Return the source checks in the record's order, each with every test that made it."""
    by: dict[str, Found] = {}
    for nodeid, item in record.items.items():
        for fact in item.of_kind(SOURCE):
            by.setdefault(source_key(fact), []).append((nodeid, item, fact))
    return [_source(fact, by[source_key(fact)]) for fact in record.sources]


def _source(fact: Facts, found: Found) -> Source:
    texts = "code", "reason", "data_source", "branch", "commit", "pin", "sha256", "artifact"
    plain = {
        **{name: fact.get(name) or "" for name in (*texts, "fingerprint")},
        "outcome": fact["outcome"],
        "refused": fact["refused"],
        "identifier": fact["name"],
        "failures": fact.get("failures", []),
        "replayed": fact["replayed"],
        "received_at": fact["received_at"] or None,
        "tests": _tests(found),
    }
    return convert(plain, Source)


def _drift(fact: Facts, test: Test) -> Drift:
    plain = {name: fact[name] for name in Drift.__struct_fields__ if name in fact}
    moment = fact["received_at"] or None
    return convert({**plain, "snapshot": fact["name"], "received_at": moment, "test": test}, Drift)


def _with_nulls(plain: Facts | None, *keys: str) -> Facts | None:
    return plain and {**plain, **{key: plain[key] or None for key in keys}}


def _origins(found: Found) -> list[Facts]:
    """Return each way in which the run learned of the artifact, once."""
    told: list[Facts] = []
    for _, _, fact in found:
        if origin := fact["origin"]:
            plain = {
                "name": fact["name"],
                "source": origin["source"],
                "detail": origin["detail"],
                "resolved": origin["resolved"],
                "excluded": origin["excluded"],
                "runs_in": fact["environment"] or None,
                "snapshot_says_compliant": origin["reported"],
            }
            if plain not in told:
                told.append(plain)
    return told


def _test(nodeid: str, item: Item, by: Literal["mark", "call"] | None) -> Test:
    file, line = item.where
    return Test(id=nodeid, file=file, line=line, outcome=item.ended, by=by)


def _totals(checks: Sequence[Check]) -> Totals:
    numbers = Counter(check.outcome for check in checks)
    known = {check.artifact.fingerprint for check in checks} - {None}
    return Totals(
        artifacts=len(known),
        checks=len(checks),
        refused=sum(check.refused for check in checks),
        compliant=numbers["COMPLIANT"],
        allow_listed=numbers["ALLOW_LISTED"],
        non_compliant=numbers["NON_COMPLIANT"],
        unknown_artifact=numbers["UNKNOWN_ARTIFACT"],
        no_verdict=numbers["NO_VERDICT"],
        not_checked=numbers["NOT_CHECKED"],
    )
