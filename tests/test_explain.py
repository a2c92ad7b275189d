from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_kosli.explain import explain, explain_all, headline, no_verdict, sentence
from pytest_kosli.model import (
    AllowListing,
    NoVerdict,
    Origin,
    Outcome,
    Policy,
    Question,
    Reason,
    Verdict,
    Waited,
)
from tests.answers import ARTIFACT, OURS, PROD

QUESTION = Question("https://app.kosli.com", "acme", OURS, PROD)
MISSING = Reason(
    "missing_attestation", "scans", "attestation", "", "snyk-scan", "snyk", "web-ci", "v1"
)
REFUSED = Verdict(
    Outcome.NON_COMPLIANT,
    QUESTION,
    ARTIFACT,
    (MISSING,),
    (Policy("scans", 2, "NON-COMPLIANT"),),
    link="https://app.kosli.com/acme/x",
)


def test_the_first_line_says_artifact_outcome_and_main_reason() -> None:
    assert headline(REFUSED) == "payments 3f1b9c2 is not compliant: snyk-scan missing"


def test_a_refusal_is_told_policy_by_policy_with_flow_and_trail() -> None:
    assert explain(REFUSED, "from 85cac88 on main by A Developer") == [
        "payments 3f1b9c2 is not compliant: snyk-scan missing",
        "  against  environment prod of acme",
        "  name     ghcr.io/acme/payments:1.4.0",
        f"  sha256   {OURS}",
        "  policy   scans v2: NON-COMPLIANT",
        "    - snyk-scan (snyk) is missing",
        "      flow web-ci, trail v1",
        "  built    from 85cac88 on main by A Developer",
        "  link     https://app.kosli.com/acme/x",
        "  next     report what is missing to its trail, then run this again",
        "  docs     https://pytest-kosli.readthedocs.io/en/stable/errors/#non-compliant",
    ]


CODES = {
    "missing_attestation": "snyk-scan (snyk) is missing",
    "non_compliant_attestation": "snyk-scan (snyk) is not compliant",
    "non_compliant_in_trail": "the artifact is not compliant in its trail",
    "no_provenance": "no flow holds the artifact: it has no provenance",
    "missing_provenance": "no flow holds the artifact: its provenance is missing",
    "legacy_flow": "it was reported to a legacy flow, which policies can not judge",
    "unknown_resolution": "Kosli says brand_new {'a': 1}",
    "rule_not_satisfied": "rule attestation (snyk-scan (snyk)) is not satisfied",
    "policy_not_compliant": "the policy is brand_new {'a': 1}, no failing rule was named",
    "flow_not_compliant": "the flow is brand_new {'a': 1}",
    "unknown_artifact": "brand_new {'a': 1} knows no artifact with this fingerprint",
    "unexplained": "Kosli says not compliant and gives no reason",
}


@pytest.mark.parametrize("code", CODES)
def test_every_reason_has_its_sentence(code: str) -> None:
    reason = replace(MISSING, code=code, detail="brand_new {'a': 1}")
    assert sentence(reason) == CODES[code]


def test_a_control_is_named() -> None:
    reason = replace(MISSING, control="SDLC-2", attestation="*", attestation_type="decision")
    assert sentence(reason) == "decision on control SDLC-2 is missing"
    assert headline(replace(REFUSED, reasons=(reason,))).endswith(": SDLC-2 missing")


def test_one_rule_in_three_flows_is_three_reasons() -> None:
    reasons = tuple(replace(MISSING, flow=flow) for flow in ("a", "b", "c"))
    text = "\n".join(explain(replace(REFUSED, reasons=reasons)))
    assert all(f"flow {flow}, trail v1" in text for flow in "abc")


def test_a_hundred_reasons_are_cut_and_the_cut_is_said() -> None:
    reasons = tuple(replace(MISSING, trail=f"t{number}") for number in range(100))
    lines = explain(replace(REFUSED, reasons=reasons))
    assert "    - and 88 more, see the link" in lines
    assert len(lines) < 45


def test_an_allow_listing_tells_who_when_and_why() -> None:
    moment = datetime(2026, 6, 3, 2, 58, tzinfo=UTC)
    listing = AllowListing("29f67c3c", moment, "hotfix INC-42")
    verdict = replace(REFUSED, outcome=Outcome.ALLOW_LISTED, allow_listing=listing)
    lines = explain(verdict)
    assert lines[0] == "payments 3f1b9c2 is only allow-listed: hotfix INC-42"
    assert "  allowed  by 29f67c3c, 2026-06-03 02:58 UTC: hotfix INC-42" in lines


def test_a_replay_says_when_it_was_recorded() -> None:
    moment = datetime(2026, 11, 20, 10, tzinfo=UTC)
    lines = explain(replace(REFUSED, replayed=True, received_at=moment))
    assert "  replay   recorded 2026-11-20 10:00 UTC, not asked now" in lines


def test_what_a_snapshot_exempted_is_explained() -> None:
    artifact = replace(
        ARTIFACT, name="datadog/agent:7", origin=Origin("snapshot", "prod#42", reported=True)
    )
    verdict = Verdict(Outcome.UNKNOWN_ARTIFACT, QUESTION, artifact, (Reason("unknown_artifact"),))
    text = " ".join(" ".join(explain(verdict)).split())
    assert "the snapshot itself calls it compliant" in text
    assert "with without=\"agent*\" or --kosli-without 'agent*'" in text


def test_hints_of_a_fingerprint_are_passed_on() -> None:
    origin = Origin("flag", "dist", "the CLI's folder fingerprint", ("x.pyc",), ("ignore file",))
    verdict = Verdict(
        Outcome.UNKNOWN_ARTIFACT, QUESTION, replace(ARTIFACT, origin=origin), (Reason("x"),)
    )
    text = " ".join(" ".join(explain(verdict)).split())
    assert "from flag dist, the CLI's folder fingerprint, without x.pyc" in text
    assert "ignore file" in text


def test_several_are_told_together() -> None:
    other = replace(REFUSED, artifact=replace(ARTIFACT, name="web"))
    lines = explain_all([REFUSED, other], {QUESTION: "from 85cac88"})
    assert lines[0] == "2 artifacts are refused"
    assert sum("is not compliant" in line for line in lines) == 2
    assert sum("built" in line for line in lines) == 2


def test_a_missing_verdict_names_artifact_code_cause_cure_and_docs() -> None:
    error = NoVerdict("busy", "Kosli answered 429", "Run it later.", artifact=ARTIFACT)
    assert no_verdict(error) == [
        "payments 3f1b9c2: no verdict (busy)",
        "Kosli answered 429",
        "Run it later.",
        "https://pytest-kosli.readthedocs.io/en/stable/errors/#busy",
    ]


def test_a_missing_verdict_says_how_many_attempts_were_made_where_there_were_several() -> None:
    error = NoVerdict("timeout", "no whole reply within 2 s", "Try again.", attempts=4)
    told = no_verdict(error)
    assert told[3] == "after 4 attempts"
    assert "attempts" not in " ".join(no_verdict(dataclasses.replace(error, attempts=1)))
    waited = no_verdict(dataclasses.replace(error, waited=Waited(12.0, 5, 2)))
    assert waited[3] == "waited 12 s, asked 5 times, the last 2 without a reply"
    assert len(waited) == len(told)


HOSTILE = st.text(min_size=1, max_size=120) | st.sampled_from(
    ["\x1b[2K\x1b[1A\x1b[32mCOMPLIANT", "::error::x", "a\nb", "\u202eevil", "\ud800", "<b>", "%s"]
)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_text_of_others_adds_a_line_or_a_control_character(
    name: str, trail: str, why: str
) -> None:
    artifact = replace(ARTIFACT, name=name)
    reason = replace(MISSING, trail=trail, policy=why, attestation=name, control=why, detail=why)
    listing = AllowListing(name, None, why)
    plain = len(explain(replace(REFUSED, reasons=(MISSING,), allow_listing=listing, note="x")))
    for code in CODES:
        verdict = replace(
            REFUSED,
            artifact=artifact,
            reasons=(replace(reason, code=code),),
            policies=(Policy(why, 1, why),),
            allow_listing=listing,
            note=why,
            link=why,
        )
        lines = explain(verdict, built_by=why)
        assert all(line.isprintable() for line in lines)
        assert len(lines[0]) <= 60
        assert not any(line.lstrip().startswith("::") for line in lines[:1])
        assert len(lines) < plain + 30
