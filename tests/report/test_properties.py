"""JUnit's properties of a test: flat, of its worst check, and all of them as JSON."""

from __future__ import annotations

import json

from pytest_kosli.model import NotChecked, NoVerdict, Outcome
from pytest_kosli.report.properties import properties
from tests.report.records import HOSTILE, artifact, facts, verdict

REFUSED = facts(verdict(Outcome.NON_COMPLIANT))


def test_a_check_is_told_flat() -> None:
    told = dict(properties([REFUSED], "live"))
    every = told.pop("kosli.checks")
    assert told == {
        "kosli.outcome": "NON_COMPLIANT",
        "kosli.artifact": "ghcr.io/acme/app1:1.0",
        "kosli.fingerprint": f"{1:064x}",
        "kosli.scope": "environment prod",
        "kosli.reason": "snyk-scan missing",
        "kosli.reason_codes": "missing_attestation",
        "kosli.url": "https://app.kosli.com/acme/artifacts/1",
        "kosli.mode": "live",
    }
    assert json.loads(every)[0]["fingerprint"] == f"{1:064x}"


def test_of_several_the_worst_is_flat_and_all_are_json() -> None:
    told = dict(properties([facts(verdict(number=2)), REFUSED], "live"))
    assert told["kosli.outcome"] == "NON_COMPLIANT"
    outcomes = [check["outcome"] for check in json.loads(told["kosli.checks"])]
    assert outcomes == ["NON_COMPLIANT", "COMPLIANT"]


def test_an_allow_listing_says_by_whom_when_and_why() -> None:
    told = dict(properties([facts(verdict(Outcome.ALLOW_LISTED))], "live"))
    assert told["kosli.allow_listed"] == "by snyk-scan 2026-11-20T10:00:00+00:00: snyk-scan"


def test_a_replay_says_so() -> None:
    told = dict(properties([facts(verdict(replayed=True))], "offline"))
    assert (told["kosli.replayed"], told["kosli.mode"]) == ("true", "offline")


def test_no_verdict_and_dry_run_have_codes() -> None:
    for result, outcome, code in (
        (NoVerdict("http_503", "no answer"), "NO_VERDICT", "http_503"),
        (NotChecked("dry run"), "NOT_CHECKED", "dry_run"),
    ):
        told = dict(properties([facts(result, artifact())], "live"))
        assert (told["kosli.outcome"], told["kosli.reason_codes"]) == (outcome, code)


def test_a_skipped_test_is_said_to_be_not_checked() -> None:
    assert properties([], "live") == [("kosli.outcome", "NOT_CHECKED"), ("kosli.mode", "live")]


def test_hostile_text_is_on_one_printable_line() -> None:
    for text in HOSTILE:
        told = properties([facts(verdict(Outcome.ALLOW_LISTED, name=text, text=text))], "live")
        assert all(value.isprintable() for _, value in told)
