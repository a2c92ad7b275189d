"""The evidence document: what it holds of each check, its order, and its schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from pytest_kosli.model import NotChecked, NoVerdict, Origin, Outcome, Scope, Verdict
from pytest_kosli.report.evidence import Evidence, make_schema, schema_text, to_json
from pytest_kosli.report.html import html
from pytest_kosli.report.markdown import markdown
from pytest_kosli.report.record import Record
from tests.report.records import (
    NOW,
    artifact,
    document,
    drift,
    facts,
    hear,
    hostile,
    record_of,
    source,
    verdict,
)

REFUSED = verdict(Outcome.NON_COMPLIANT, 2)
EVERY_OUTCOME: list[Verdict | NoVerdict | NotChecked] = [
    verdict(),
    REFUSED,
    verdict(Outcome.ALLOW_LISTED, 3),
    verdict(Outcome.UNKNOWN_ARTIFACT, 4),
    NoVerdict("http_503", "no answer", "try again", 503, ("one", "two"), 4),
    NotChecked("dry run (KOSLI_DRY_RUN): Kosli was not asked"),
]


def plain(evidence: Evidence) -> Any:
    return json.loads(to_json(evidence))


def validate(data: Any) -> None:
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(data)


def test_the_schema_in_the_package_is_the_one_that_the_types_make() -> None:
    assert schema_text() == make_schema()


@pytest.mark.parametrize("mode", ["live", "record", "offline", "dry-run"])
def test_every_outcome_is_valid_and_counted(mode: str) -> None:
    data = plain(document(record_of(*EVERY_OUTCOME), mode))
    validate(data)
    assert data["totals"] == {
        "artifacts": 6,
        "checks": 6,
        "refused": 2,
        "compliant": 1,
        "allow_listed": 1,
        "non_compliant": 1,
        "unknown_artifact": 1,
        "no_verdict": 1,
        "not_checked": 1,
    }


def test_an_empty_record_is_valid_too() -> None:
    data = plain(document(Record()))
    validate(data)
    assert data["checks"] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.update(version=2),
        lambda data: data.update(mode="fake"),
        lambda data: data.update(extra=1),
        lambda data: data["checks"][0].update(outcome="FINE"),
        lambda data: data["checks"][0]["artifact"].update(fingerprint="abc"),
        lambda data: data["checks"][0].pop("answer"),
        lambda data: data["run"].pop("settings"),
    ],
)
def test_the_schema_refuses_what_is_no_evidence(spoil: Any) -> None:
    data = plain(document(record_of(verdict())))
    spoil(data)
    with pytest.raises(jsonschema.ValidationError):
        validate(data)


def test_a_check_holds_everything_that_was_asked_and_answered() -> None:
    origin = Origin("flag", "app=dir:dist", "hashed from dir:dist", ("*.log",))
    found = replace(artifact(2), origin=origin, environment="staging")
    record = Record()
    hear(record, "test_a.py::test_b", facts(replace(REFUSED, artifact=found)), outcome="failed")
    (check,) = plain(document(record))["checks"]
    assert check == {
        "outcome": "NON_COMPLIANT",
        "refused": True,
        "reason": "snyk-scan missing",
        "artifact": {
            "label": "app2 0000000",
            "fingerprint": f"{2:064x}",
            "origins": [
                {
                    "name": "ghcr.io/acme/app2:1.0",
                    "source": "flag",
                    "detail": "app=dir:dist",
                    "resolved": "hashed from dir:dist",
                    "excluded": ["*.log"],
                    "runs_in": "staging",
                    "snapshot_says_compliant": None,
                }
            ],
        },
        "question": {
            "host": "https://app.kosli.com",
            "org": "acme",
            "environment": "prod",
            "policies": [],
            "flow": None,
            "text": "environment prod",
        },
        "reasons": [
            {
                "code": "missing_attestation",
                "text": "snyk-scan (snyk-scan) is missing",
                **dict.fromkeys(
                    ["policy", "rule", "attestation", "attestation_type", "flow", "trail"],
                    "snyk-scan",
                ),
                "detail": "snyk-scan",
            }
        ],
        "policies": [{"name": "snyk-scan", "version": 2, "status": "snyk-scan"}],
        "flows": [{"name": "snyk-scan", "trail": "snyk-scan"}],
        "allow_listing": None,
        "link": "https://app.kosli.com/acme/artifacts/2",
        "note": "",
        "todo": "",
        "errors": [],
        "answer": {
            "status": 200,
            "attempts": 1,
            "received_at": "2026-11-20T10:00:00Z",
            "evaluated_at": "2026-11-20T10:00:00Z",
            "replayed": False,
            "sha256": "c" * 64,
            "waited": None,
        },
        "tests": [
            {
                "id": "test_a.py::test_b",
                "file": "test_a.py",
                "line": 7,
                "outcome": "failed",
                "by": "mark",
            }
        ],
    }


def test_without_a_verdict_a_check_says_why_and_how_often_it_was_asked() -> None:
    (check,) = plain(document(record_of(EVERY_OUTCOME[4])))["checks"]
    assert check["reasons"] == [{"code": "http_503", "text": "no answer"}]
    assert (check["todo"], check["errors"]) == ("try again", ["one", "two"])
    assert (check["answer"]["status"], check["answer"]["attempts"]) == (503, 4)
    assert check["answer"]["sha256"] is None


def test_one_question_is_one_check_whatever_its_artifact_was_called() -> None:
    record = Record()
    hear(record, "test_b", facts(verdict(name="web:2")))
    hear(record, "test_a", facts(verdict(name="web:1")), facts(verdict(scope=Scope(flow="*"))))
    checks = plain(document(record))["checks"]
    assert len(checks) == 2
    (prod,) = [check for check in checks if check["question"]["environment"]]
    assert [origin["name"] for origin in prod["artifact"]["origins"]] == ["web:1", "web:2"]
    assert [test["id"] for test in prod["tests"]] == ["test_a", "test_b"]


def test_of_two_results_about_one_question_the_worse_is_told() -> None:
    changed = NoVerdict("file_changed", "it changed")
    results: list[Verdict | NoVerdict] = [verdict(), changed]
    for order in (results, results[::-1]):
        record = Record()
        for number, result in enumerate(order):
            hear(record, f"test_{number}", facts(result, artifact()))
        (check,) = plain(document(record))["checks"]
        assert check["outcome"] == "NO_VERDICT"
        assert [fact["outcome"] for fact in record.facts] == ["NO_VERDICT"]


def test_two_problems_under_one_name_are_two_checks() -> None:
    record = Record()
    for number, code in enumerate(["bad_mark", "no_artifacts"]):
        problem = NoVerdict(code, code)
        hear(record, f"test_{number}", facts(problem, name="test_it", scope=Scope()))
    assert len(document(record).checks) == 2


def test_the_order_does_not_depend_on_who_came_first() -> None:
    def told(order: list[int]) -> Any:
        record = Record()
        for number in order:
            hear(record, f"test_{number}", facts(EVERY_OUTCOME[number], artifact(number + 1)))
        return plain(document(record))

    assert told([0, 1, 2, 3, 4, 5]) == told([5, 2, 0, 4, 1, 3])
    outcomes = [check["outcome"] for check in told([0, 1, 2, 3, 4, 5])["checks"]]
    assert outcomes[:2] == ["NON_COMPLIANT", "UNKNOWN_ARTIFACT"]
    assert outcomes[-1] == "COMPLIANT"


def test_a_marked_test_without_a_check_is_listed() -> None:
    record = Record()
    record.hear("test_a", "setup", "skipped", None, marked=True, xfailed=False)
    data = plain(document(record))
    (unchecked,) = data["tests"]["unchecked"]
    assert (unchecked["id"], unchecked["outcome"]) == ("test_a", "skipped")
    validate(data)


def test_a_refusal_that_a_test_swallowed_is_a_problem_of_the_run() -> None:
    record = Record()
    hear(record, "test_a", facts(REFUSED, by="call"))
    told = document(record, problems=["first"]).problems
    assert told == ["first", "app2 0000000 is non-compliant, but test_a passed"]


def test_a_replay_keeps_the_date_of_its_recording() -> None:
    (check,) = document(record_of(verdict(replayed=True)), "offline").checks
    assert check.answer.replayed
    assert check.answer.received_at == NOW


def test_source_checks_are_in_every_report_and_never_among_the_checks() -> None:
    record = Record()
    for nodeid in ("test_b", "test_a"):
        hear(record, nodeid, source("deploy.yaml lacks a limit"), outcome="failed")
    evidence = document(record)
    validate(plain(evidence))
    (told,) = evidence.sources
    assert (told.outcome, [test.id for test in told.tests]) == (
        "DOES_NOT_HOLD",
        ["test_a", "test_b"],
    )
    assert evidence.checks == []
    for report in (html(evidence), markdown(evidence)):
        assert "1 source check" in report
        assert "deploy.yaml lacks a limit" in report
        assert "does not hold" in report


def test_comparisons_are_in_every_report_and_never_among_the_checks() -> None:
    record = Record()
    hear(record, "test_b", drift("payments:1.4"), outcome="failed")
    hear(record, "test_a", drift("web:2", "NO_DRIFT"))
    evidence = document(record)
    validate(plain(evidence))
    assert [(one.snapshot, one.outcome, one.test.id) for one in evidence.drifts] == [
        ("payments:1.4", "DRIFTED", "test_b"),
        ("web:2", "NO_DRIFT", "test_a"),
    ]
    assert evidence.drifts[0].missing[0].fingerprint == "d" * 64
    assert (evidence.checks, evidence.left_out) == ([], ["payments:1.4", "web:2"])
    for report in (html(evidence), markdown(evidence)):
        assert "2 comparisons" in report
        assert "was intended, but does not run" in report
        assert "payments:1.4" in report


def test_hostile_text_is_kept_to_the_letter_and_in_ascii() -> None:
    text = to_json(hostile())
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    data = json.loads(text)
    validate(data)
    assert "safe\u202egnp.exe" in data["left_out"]
    assert "\x1b[31mred\x1b[0m\x7f" in data["left_out"]


@pytest.mark.parametrize(
    ("phases", "ended"),
    [
        ([("setup", "passed"), ("call", "passed"), ("teardown", "passed")], "passed"),
        ([("setup", "failed"), ("teardown", "passed")], "error"),
        ([("setup", "skipped"), ("teardown", "passed")], "skipped"),
        ([("setup", "passed"), ("call", "failed"), ("teardown", "passed")], "failed"),
        ([("setup", "passed"), ("call", "passed"), ("teardown", "failed")], "error"),
        ([("setup", "passed")], "unfinished"),
        ([("setup", "passed"), ("call", "rerun")], "unfinished"),
    ],
)
def test_how_a_test_ended_is_the_worst_of_its_phases(
    phases: list[tuple[str, str]], ended: str
) -> None:
    record = Record()
    for when, outcome in phases:
        record.hear("test_a", when, outcome, None, marked=True, xfailed=False)
    assert record.items["test_a"].ended == ended
