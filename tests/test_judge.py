from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_kosli.judge import check_age, is_late, judge
from pytest_kosli.model import AllowListing, NoVerdict, Outcome, Reason, Reply, Scope, Verdict
from tests.answers import (
    ARTIFACT,
    IGNORED,
    LISTING,
    MISSING,
    NAMED,
    OURS,
    POLICIES,
    PROD,
    SATISFIED,
    TEMPLATES,
    THEIRS,
    WEB,
    answer,
    attestation,
    flow,
    policy,
    question,
    reply,
    resolution,
    rule,
    status,
)

Json = dict[str, Any]
FAILING = (
    "missing_attestation",
    "non_compliant_attestation",
    "non_compliant_in_trail",
    "no_provenance",
    "missing_provenance",
)


def judged(body: object, scope: Scope = PROD, **options: Any) -> Verdict:
    return judge(question(scope), reply(body), ARTIFACT, **options)


def refused(given: Reply, scope: Scope = PROD, **options: Any) -> NoVerdict:
    with pytest.raises(NoVerdict) as caught:
        judge(question(scope), given, ARTIFACT, **options)
    return caught.value


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("compliant", [True, False])
def test_an_answer_to_the_question_is_a_verdict(kind: str, compliant: bool) -> None:
    verdict = judged(answer(kind, compliant), NAMED[kind])
    assert verdict.outcome is (Outcome.COMPLIANT if compliant else Outcome.NON_COMPLIANT)
    assert bool(verdict.reasons) is not compliant


def test_a_verdict_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match="no truth value"):
        bool(judged(answer()))


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_has_no_truth_value_either(outcome: Outcome) -> None:
    with pytest.raises(TypeError, match=r"write `verdict\.outcome is Outcome\.COMPLIANT`"):
        bool(outcome)


def test_a_verdict_keeps_what_was_evaluated() -> None:
    verdict = judged(answer())
    assert [(p.name, p.version, p.status) for p in verdict.policies] == [
        ("provenance", 3, "COMPLIANT")
    ]
    assert verdict.flows == (("web-ci", "v1"),)
    assert verdict.link.endswith(OURS)
    assert verdict.evaluated_at is not None
    assert verdict.evaluated_at.isoformat() == "2026-08-19T02:49:58.500000+00:00"
    assert len(verdict.reply_sha256) == 64


@pytest.mark.parametrize("date", [None, 1e308])
def test_a_verdict_may_have_no_date(date: object) -> None:
    verdict = judged(answer(compliance_status=status() | {"evaluated_at": date}))
    assert verdict.evaluated_at is None


# The reasons.


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (
            [rule(False, resolution("missing_attestation"), name="scan")],
            [Reason("missing_attestation", "provenance", "attestation", "", "scan", "snyk")],
        ),
        (
            [
                rule(
                    False,
                    resolution("non_compliant_attestation", for_control="C-1"),
                    type="decision",
                )
            ],
            [
                Reason(
                    "non_compliant_attestation", "provenance", "attestation", "C-1", "*", "decision"
                )
            ],
        ),
        (
            [rule(None, resolution("missing_attestation"), name="scan", for_control="C-2")],
            [Reason("missing_attestation", "provenance", "attestation", "C-2", "scan", "snyk")],
        ),
        (
            [rule(False)],
            [Reason("rule_not_satisfied", "provenance", "attestation", "", "*", "snyk")],
        ),
    ],
)
def test_each_failing_rule_is_a_reason(rules: list[Json], expected: list[Reason]) -> None:
    verdict = judged(
        answer(compliant=False, policy_evaluations=[policy("provenance", False, *rules)])
    )
    found = [Reason(r.code, r.policy, r.rule, r.control, r.attestation, r.attestation_type)
             for r in verdict.reasons]  # fmt: skip
    assert found == expected


def test_each_failing_resolution_names_its_flow_and_trail() -> None:
    failing = rule(
        False,
        resolution("rule_satisfied"),
        resolution("non_compliant_in_trail", flow_name="promotion", trail_name="p-42"),
        resolution("missing_attestation", flow_name="scans", trail_name="s-1"),
    )
    verdict = judged(answer(compliant=False, policy_evaluations=[policy("p", False, failing)]))
    assert [(r.code, r.flow, r.trail) for r in verdict.reasons] == [
        ("non_compliant_in_trail", "promotion", "p-42"),
        ("missing_attestation", "scans", "s-1"),
    ]


def test_a_resolution_of_an_unknown_type_is_told_with_all_its_context() -> None:
    failing = rule(False, resolution("brand_new", odd_key=1))
    verdict = judged(answer(compliant=False, policy_evaluations=[policy("p", False, failing)]))
    (reason,) = verdict.reasons
    assert reason.code == "unknown_resolution"
    assert "brand_new" in reason.detail
    assert "'odd_key': 1" in reason.detail


def test_a_resolution_without_context_is_a_reason() -> None:
    failing = rule(False, {"type": "no_provenance", "context": None})
    verdict = judged(answer(compliant=False, policy_evaluations=[policy("p", False, failing)]))
    assert [r.code for r in verdict.reasons] == ["no_provenance"]


def test_a_policy_that_names_no_failing_rule_is_a_reason() -> None:
    verdict = judged(
        answer(compliant=False, policy_evaluations=[policy("p", False, SATISFIED, IGNORED)])
    )
    assert [(r.code, r.policy) for r in verdict.reasons] == [("policy_not_compliant", "p")]


def test_a_policy_that_is_compliant_is_no_reason() -> None:
    verdict = judged(answer(compliant=False, policy_evaluations=[policy("p", False), policy("q")]))
    assert [r.policy for r in verdict.reasons] == ["p"]


def test_what_an_artifact_is_on_its_trail_is_told() -> None:
    failing = rule(False, resolution("non_compliant_in_trail", artifact_status="INCOMPLETE"))
    verdict = judged(answer(compliant=False, policy_evaluations=[policy("p", False, failing)]))
    assert [(r.code, r.detail) for r in verdict.reasons] == [
        ("non_compliant_in_trail", "INCOMPLETE")
    ]


def test_a_known_resolution_needs_no_detail() -> None:
    verdict = judged(answer(compliant=False))
    assert [(r.code, r.detail) for r in verdict.reasons] == [("missing_attestation", "")]


def test_in_environment_scope_a_failing_flow_is_no_reason() -> None:
    verdict = judged(answer(compliant=False, flows=[flow(compliant=False)]))
    assert [r.code for r in verdict.reasons] == ["missing_attestation"]


@pytest.mark.parametrize("state", [{"status": "MISSING", "is_compliant": False},
                                   {"status": "COMPLETE", "is_compliant": None}])  # fmt: skip
def test_an_attestation_is_missing_by_its_word_or_for_want_of_a_result(state: Json) -> None:
    bad = status(False, attestation("scan") | state)
    verdict = judged(answer("flow", False, flows=[flow("web-ci", False, bad)]), TEMPLATES)
    assert [r.code for r in verdict.reasons] == ["missing_attestation"]


def test_flow_scope_tells_missing_and_failed_attestations_of_every_failing_flow() -> None:
    bad = status(False, attestation("scan", False), attestation("unit", None), attestation("pr"))
    body = answer(
        "flow", False, flows=[flow("web-ci"), flow("promotion", False, bad)],
        compliance_status=status(True),
    )  # fmt: skip
    verdict = judged(body, TEMPLATES)
    assert [(r.code, r.attestation, r.flow) for r in verdict.reasons] == [
        ("non_compliant_attestation", "scan", "promotion"),
        ("missing_attestation", "unit", "promotion"),
    ]


def test_a_flow_that_fails_without_a_failing_attestation_is_a_reason() -> None:
    verdict = judged(answer("flow", False), TEMPLATES)
    assert [(r.code, r.flow) for r in verdict.reasons] == [("flow_not_compliant", "web-ci")]
    stateless = flow(compliant=False) | {"compliance_status": None}
    (reason,) = judged(answer("flow", False, flows=[stateless]), TEMPLATES).reasons
    assert (reason.code, reason.detail) == ("flow_not_compliant", "")


def test_no_reason_at_all_is_said() -> None:
    verdict = judged(answer(compliant=False, policy_evaluations=[]))
    assert [r.code for r in verdict.reasons] == ["unexplained"]


# Not compliant is not compliant, whatever stands around it.


@pytest.mark.parametrize(
    "changes",
    [
        {"policy_evaluations": [policy()]},
        {"policy_evaluations": None},
        {"policy_evaluations": [policy(), policy()]},
        {"allow_listing": LISTING},
        {"compliance_status": status(True)},
    ],
)
def test_compliant_false_is_non_compliant(changes: Json) -> None:
    assert judged(answer(compliant=False, **changes)).outcome is Outcome.NON_COMPLIANT


def test_in_environment_scope_a_failing_flow_is_normal() -> None:
    body = answer(compliance_status=status(False), flows=[flow(compliant=False)])
    assert judged(body).outcome is Outcome.COMPLIANT


# Allow-listed.


def test_allow_listed_whatever_the_policies_say() -> None:
    verdict = judged(
        answer(allow_listing=LISTING, policy_evaluations=[policy("p", False, MISSING)])
    )
    assert verdict.outcome is Outcome.ALLOW_LISTED
    assert verdict.allow_listing is not None
    assert verdict.allow_listing.by.startswith("29f67c3c")
    assert verdict.allow_listing.why == "hotfix INC-42"
    assert [r.code for r in verdict.reasons] == ["missing_attestation"]


@pytest.mark.parametrize("missing", ["allowlist_id", "allowed_by_user_id", "timestamp"])
def test_an_allow_listing_without_id_who_or_when_is_none(missing: str) -> None:
    listing = {key: value for key, value in LISTING.items() if key != missing}
    error = refused(reply(answer(allow_listing=listing)))
    assert error.code == "malformed"
    assert missing in error.message


@pytest.mark.parametrize("empty", ["allowlist_id", "allowed_by_user_id"])
def test_an_allow_listing_by_nobody_is_none(empty: str) -> None:
    error = refused(reply(answer(allow_listing=LISTING | {empty: ""})))
    assert error.code == "malformed"
    assert empty in error.message


@pytest.mark.parametrize("kind", ["flow", "policy"])
def test_an_allow_listing_has_its_place_in_environment_scope_only(kind: str) -> None:
    error = refused(reply(answer(kind, allow_listing=LISTING)), NAMED[kind])
    assert error.code == "contradiction"


# Another question's answer.

LIES: list[tuple[str, Scope, Json, str]] = [
    ("another fingerprint", PROD, answer(fingerprint=THEIRS), "fingerprint"),
    ("upper case", PROD, answer(fingerprint=OURS.upper()), "fingerprint"),
    ("prefixed", PROD, answer(fingerprint=f"sha256:{OURS}"), "fingerprint"),
    (
        "another fingerprint in the status",
        PROD,
        answer(compliance_status=status() | {"artifact_fingerprint": THEIRS}),
        "fingerprint",
    ),
    (
        "another fingerprint in a flow",
        PROD,
        answer(flows=[flow(state=status() | {"artifact_fingerprint": THEIRS})]),
        "fingerprint",
    ),
    (
        "another fingerprint where we read none",
        PROD,
        answer(policy_evaluations=[policy() | {"target_fingerprint": THEIRS}]),
        "fingerprint",
    ),
    ("a fingerprint that is a number", PROD, answer(compliance_status={
        "artifact_fingerprint": 7}), "malformed"),
    ("scope flow for environment", PROD, answer("flow"), "scope"),
    ("scope policy for environment", PROD, answer("policy"), "scope"),
    ("scope environment for flow", TEMPLATES, answer("environment"), "scope"),
    ("scope environment for policy", POLICIES, answer("environment"), "scope"),
    ("scope flow for policy", POLICIES, answer("flow"), "scope"),
    ("an unknown scope", PROD, answer(scope="galaxy"), "scope"),
    ("another environment", PROD, answer(environment="dev"), "environment"),
    ("no environment", PROD, answer(environment=None), "environment"),
    ("an environment in flow scope", TEMPLATES, answer("flow", environment="prod"), "environment"),
    ("one policy of two", POLICIES, answer("policy", policy_evaluations=[policy()]), "policies"),
    ("another policy", POLICIES, answer("policy", policy_evaluations=[policy(), policy("x")]),
     "policies"),
    ("one policy too many", POLICIES, answer("policy", policy_evaluations=[
        policy(), policy("scans"), policy("x")]), "policies"),
    ("a policy twice", POLICIES, answer("policy", policy_evaluations=[
        policy(), policy("scans"), policy("scans")]), "policies"),
    ("another flow", WEB, answer("flow", flow="api-ci", flows=[flow("api-ci")]), "flow"),
    ("another flow beside ours", WEB, answer("flow", flows=[flow(), flow("api-ci")]), "flow"),
    ("another flow at the top", WEB, answer("flow", flow="api-ci"), "flow"),
    ("our flow missing in environment scope", Scope("prod", flow="api-ci"), answer(), "flow"),
    ("another flow at the top and none below", Scope("prod", flow="api-ci"), answer(flows=[]),
     "flow"),
    ("another flow at the top, by policies", Scope(policies=("provenance", "scans"), flow="api-ci"),
     answer("policy", flows=None), "flow"),
    ("another flow, allow-listed", Scope("prod", flow="api-ci"), answer(allow_listing=LISTING),
     "flow"),
]  # fmt: skip


@pytest.mark.parametrize("compliant", [True, False])
@pytest.mark.parametrize(("scope", "body", "word"), [lie[1:] for lie in LIES],
                         ids=[lie[0] for lie in LIES])  # fmt: skip
def test_an_answer_to_another_question_is_no_verdict(
    scope: Scope, body: Json, word: str, compliant: bool
) -> None:
    error = refused(reply(body | {"compliant": compliant}), scope)
    assert error.code == ("malformed" if word == "malformed" else "mismatch")
    if word != "malformed":
        assert f"we asked about {word}" in error.message
    assert ("--kosli-require-policies=false" in error.todo) is (word == "scope")


# Nothing evaluated, and contradictions.

NOTHING: list[tuple[str, Scope, Json, str]] = [
    ("no policies", PROD, answer(policy_evaluations=[]), "no_policies"),
    ("null policies", PROD, answer(policy_evaluations=None), "no_policies"),
    ("no policies, allow-listed", PROD, answer(policy_evaluations=[], allow_listing=LISTING),
     "no_policies"),
    ("no policies in policy scope", POLICIES, answer("policy", policy_evaluations=[]),
     "no_policies"),
    ("no flows", TEMPLATES, answer("flow", flows=[]), "no_flows"),
    ("no flows and none at the top", TEMPLATES, answer("flow", flows=None, flow=None), "no_flows"),
    ("a policy that is not compliant", PROD, answer(policy_evaluations=[policy("p", False)]),
     "contradiction"),
    ("a policy with another word", PROD, answer(policy_evaluations=[
        policy() | {"status": "UNKNOWN"}]), "contradiction"),
    ("a policy twice", PROD, answer(policy_evaluations=[policy(), policy()]), "contradiction"),
    ("a rule that is not satisfied", PROD, answer(policy_evaluations=[
        policy("p", True, SATISFIED, MISSING)]), "contradiction"),
    ("a rule that nobody judged", PROD, answer(policy_evaluations=[
        policy("p", True, rule(None))]), "contradiction"),
    ("a flow that is not compliant", TEMPLATES, answer("flow", flows=[
        flow(), flow("promotion", False)]), "contradiction"),
    ("a flow that is not compliant though its state is", TEMPLATES, answer("flow", flows=[
        flow(compliant=False, state=status(True))]), "contradiction"),
    ("a flow whose state is not compliant", TEMPLATES, answer("flow", flows=[
        flow(state=status(False))]), "contradiction"),
    ("a flow whose state is missing", TEMPLATES, answer("flow", flows=[
        flow(state=status(None))]), "contradiction"),
    ("the one flow at the top", TEMPLATES, answer("flow", flows=None,
     compliance_status=status(False)), "contradiction"),
    *((f"a flow that is {word}", TEMPLATES, answer("flow", flows=[
        flow(state=status() | {"status": word})]), "contradiction")
      for word in ("NON-COMPLIANT", "INCOMPLETE", "MISSING", "compliant")),
    *((f"a flow that is compliant in word, and {fact} in fact", TEMPLATES, answer("flow", flows=[
        flow(state=status() | {"is_compliant": fact})]), "contradiction")
      for fact in (False, None)),
    ("a flow with an attestation that failed", TEMPLATES, answer("flow", flows=[
        flow(state=status(True, attestation("unit"), attestation("scan", False)))]),
     "contradiction"),
    ("a flow with an attestation that is missing", TEMPLATES, answer("flow", flows=[
        flow(state=status(True, attestation("scan", None)))]), "contradiction"),
    ("a state at the top that is not compliant", TEMPLATES, answer(
        "flow", compliance_status=status(False)), "contradiction"),
    ("a state at the top with another word", TEMPLATES, answer(
        "flow", compliance_status=status() | {"status": "INCOMPLETE"}), "contradiction"),
    ("another flow at the top", TEMPLATES, answer("flow", flow="api-ci"), "contradiction"),
    ("another trail at the top", TEMPLATES, answer("flow", trail="v2"), "contradiction"),
    ("another flow at the top, by policies", PROD, answer(flow="api-ci"), "contradiction"),
    ("another flow at the top, allow-listed", PROD, answer(
        flow="api-ci", allow_listing=LISTING), "contradiction"),
    ("a rule that is ignored and not satisfied", PROD, answer(policy_evaluations=[
        policy("p", True, SATISFIED, rule(False, ignored=True))]), "contradiction"),
    *((f"a rule that is satisfied in spite of {word}", PROD, answer(policy_evaluations=[
        policy("p", True, rule(True, resolution("rule_satisfied"), resolution(word)))]),
       "contradiction") for word in FAILING),
    ("a rule that is ignored in spite of a failure", PROD, answer(policy_evaluations=[
        policy("p", True, rule(None, resolution("missing_attestation"), ignored=True))]),
     "contradiction"),
    ("a rule that is satisfied by a trail that is not compliant", PROD, answer(
        policy_evaluations=[policy("p", True, rule(
            True, resolution("rule_satisfied", artifact_status="NON-COMPLIANT")))]),
     "contradiction"),
]  # fmt: skip


@pytest.mark.parametrize(("scope", "body", "code"), [row[1:] for row in NOTHING],
                         ids=[row[0] for row in NOTHING])  # fmt: skip
def test_compliant_with_nothing_behind_it_is_no_verdict(
    scope: Scope, body: Json, code: str
) -> None:
    error = refused(reply(body), scope)
    assert error.code == code
    assert error.todo
    assert "Kosli says compliant" in error.message


def test_require_policies_false_accepts_an_environment_without_policies() -> None:
    verdict = judged(answer(policy_evaluations=[]), require_policies=False)
    assert verdict.outcome is Outcome.COMPLIANT


def test_require_policies_false_does_not_excuse_a_named_policy_that_nobody_evaluated() -> None:
    given = reply(answer("policy", policy_evaluations=[]))
    assert refused(given, POLICIES, require_policies=False).code == "no_policies"


def test_require_policies_false_accepts_flow_templates_only_of_a_bare_environment() -> None:
    body = answer("flow")
    assert refused(reply(body), require_policies=False).code == "mismatch"
    assert refused(reply(body), require_policies=False, attached=["scans"]).code == "mismatch"
    assert refused(reply(body), attached=[]).code == "mismatch"
    verdict = judged(body, require_policies=False, attached=[])
    assert verdict.outcome is Outcome.COMPLIANT
    assert verdict.note == "judged by flow templates: environment prod has no policies"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"scope": "policy"}, "scope"),
        ({"scope": "galaxy"}, "scope"),
        ({"environment": "dev"}, "environment"),
        ({"fingerprint": THEIRS}, "fingerprint"),
    ],
)
def test_what_answers_for_a_bare_environment_is_its_own_flow_templates_only(
    changes: Json, word: str
) -> None:
    error = refused(reply(answer("flow") | changes), require_policies=False, attached=[])
    assert error.code == "mismatch"
    assert f"we asked about {word}" in error.message
    assert ("--kosli-require-policies=false" in error.todo) is (word == "scope")


@pytest.mark.parametrize("kind", NAMED)
def test_no_other_verdict_is_said_to_be_by_flow_templates(kind: str) -> None:
    assert judged(answer(kind), NAMED[kind]).note == ""


def test_in_environment_scope_other_flows_may_stand_beside_ours() -> None:
    body = answer(flows=[flow(), flow("promotion")])
    assert judged(body, Scope("prod", flow="web-ci")).outcome is Outcome.COMPLIANT
    assert judged(answer(flows=[]), Scope("prod", flow="web-ci")).outcome is Outcome.COMPLIANT


def test_a_flow_is_named_in_the_list_or_at_the_top() -> None:
    assert judged(answer("flow", flow=None), WEB).outcome is Outcome.COMPLIANT


@pytest.mark.parametrize("scope", [WEB, Scope("prod", flow="web-ci"), Scope(
    policies=("provenance", "scans"), flow="web-ci")])  # fmt: skip
@pytest.mark.parametrize("flows", [[], None])
def test_an_answer_that_names_no_flow_is_not_about_ours(scope: Scope, flows: object) -> None:
    given = answer(scope.kind, flow=None, flows=flows)
    error = refused(reply(given), scope)
    assert error.code == "mismatch"
    assert "we asked about flow web-ci, the answer is about none" in error.message
    refusal = answer(scope.kind, False, flow=None, flows=flows)
    assert judged(refusal, scope).outcome is Outcome.NON_COMPLIANT


def test_what_is_allow_listed_need_be_in_no_flow() -> None:
    given = answer(flow=None, flows=[], allow_listing=LISTING)
    assert judged(given, Scope("prod", flow="web-ci")).outcome is Outcome.ALLOW_LISTED


# Shapes that occur.


@pytest.mark.parametrize(
    "body",
    [
        answer("flow", flows=flow()),
        answer("flow", flows=None),
        {key: value for key, value in answer("flow").items() if key != "flows"},
        answer("flow", flows=[flow(), flow("promotion")]),
        answer("flow", compliance_status=None),
        answer("flow", html_url=None, trail=None),
        answer("flow") | {"a_new_key": {"nested": [1, 2]}},
        answer("flow", flows=[flow() | {"compliance_status": None}]),
        answer("flow", flows=[flow("promotion"), flow() | {"trail": "v0"}, flow()]),
        answer("flow", flows=[flow(state=status() | {"status": ""})]),
        answer("flow", flows=[flow(state=status() | {"status": None})]),
        answer("flow", flows=[flow(state=status(True, attestation("x") | {"status": None}))]),
        answer("flow", flows=[flow(state=status(True, attestation("x") | {"is_compliant": None}))]),
        answer("flow", flows=[flow(state=status() | {"attestations_statuses": None})]),
    ],
)
def test_what_kosli_really_varies_is_accepted(body: Json) -> None:
    assert judged(body, TEMPLATES).outcome is Outcome.COMPLIANT


@pytest.mark.parametrize(
    "resolutions",
    [
        [],
        [resolution("rule_satisfied", artifact_status="COMPLIANT")],
        [resolution("rule_not_applicable", artifact_status="NON-COMPLIANT")],
        [resolution("rule_satisfied"), resolution("legacy_flow")],
        [resolution("brand_new")],
        [{"type": None, "context": None}],
    ],
)
def test_what_a_satisfied_rule_may_tell_is_accepted(resolutions: list[Json]) -> None:
    body = answer(policy_evaluations=[policy("p", True, rule(True, *resolutions))])
    assert judged(body).outcome is Outcome.COMPLIANT


def test_an_ignored_rule_without_satisfied_is_accepted() -> None:
    ignored = {"rule": {"type": "provenance"}, "ignored": True}
    body = answer(policy_evaluations=[policy("p", True, SATISFIED, ignored)])
    assert judged(body).outcome is Outcome.COMPLIANT


MALFORMED: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("half", json.dumps(answer()).encode()[:-9]),
    ("html", b"<!doctype html><title>Sign in</title>"),
    ("null", b"null"),
    ("array", b"[]"),
    ("text", b'"compliant"'),
    ("empty object", b"{}"),
    ("only the verdict", b'{"compliant": true}'),
    ("compliant is a text", json.dumps(answer() | {"compliant": "true"}).encode()),
    ("compliant is a number", json.dumps(answer() | {"compliant": 1}).encode()),
    ("compliant is null", json.dumps(answer() | {"compliant": None}).encode()),
    ("a key twice", json.dumps(answer()).encode()[:-1] + b', "compliant": true}'),
    ("a key twice, deep inside", json.dumps(answer()).replace(
        '"policy_version": 3', '"policy_version": 3, "status": "COMPLIANT"').encode()),
    ("trailing data", json.dumps(answer()).encode() + b"{}"),
    ("NaN", json.dumps(answer() | {"x": float("nan")}).encode()),
    ("Infinity", json.dumps(answer() | {"x": float("inf")}).encode()),
    ("not UTF-8", json.dumps(answer()).encode() + b"\xff"),
    ("UTF-16", json.dumps(answer()).encode("utf-16")),
    ("a byte order mark", b"\xef\xbb\xbf" + json.dumps(answer()).encode()),
    ("half a character", json.dumps(answer() | {"trail": "\ud800"}).encode()),
    ("too deep", json.dumps(answer()).encode()[:-1] + b', "x":' + b"[" * 99 + b"]" * 99 + b"}"),
    ("far too deep", b'{"x":' + b"[" * 99999 + b"]" * 99999 + b"}"),
    ("policies are an object", json.dumps(answer() | {"policy_evaluations": {}}).encode()),
]  # fmt: skip


@pytest.mark.parametrize("raw", [row[1] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_a_reply_that_is_not_strictly_the_answer_is_no_verdict(raw: bytes) -> None:
    assert refused(reply(raw)).code == "malformed"


def test_a_key_that_stands_there_twice_is_named() -> None:
    raw = json.dumps(answer()).encode()[:-1] + b', "compliant": true}'
    assert "the key 'compliant' stands there twice" in refused(reply(raw)).message


@pytest.mark.parametrize(
    "content_type",
    ["", "text/html", "text/plain", "application/json; charset=latin-1", "application/jsonp"],
)
def test_another_content_type_is_no_verdict(content_type: str) -> None:
    error = refused(replace(reply(answer(), content_type=content_type), attempts=2))
    assert (error.code, error.status, error.attempts) == ("malformed", 200, 2)


# Other statuses.


@pytest.mark.parametrize(
    ("code", "status_"),
    [
        ("unexpected_status", 201),
        ("unexpected_status", 202),
        ("unexpected_status", 204),
        ("redirected", 302),
        ("redirected", 308),
        ("bad_request", 400),
        ("unauthorized", 401),
        ("forbidden", 403),
        ("busy", 409),
        ("busy", 429),
        ("server_error", 500),
        ("server_error", 503),
        ("unexpected_status", 418),
    ],
)
def test_no_other_status_is_a_verdict_whatever_its_body(code: str, status_: int) -> None:
    error = refused(reply(answer(), status=status_))
    assert error.code == code
    assert error.status == status_
    assert error.todo


@pytest.mark.parametrize(
    ("body", "message", "errors"),
    [
        ({"message": "no", "errors": {"query.flow_name": "bad"}}, "no", ("query.flow_name: bad",)),
        ({"message": "no", "errors": [{"name": "bad"}, "worse"]}, "no", ("name: bad", "worse")),
        ("Denied", "Denied", ()),
        ({"error": "random"}, "random", ()),
        ([1], "[1]", ()),
        (b"resource locked", "resource locked", ()),
        (b"<html><title>403 Forbidden</title>", "an HTML page (403 Forbidden)", ()),
        (b"<html>Forbidden", "an HTML page", ()),
        (b"", "an empty body", ()),
        (b"\x1b[2Jgone", "\\x1b[2Jgone", ()),
    ],
)
def test_error_bodies_of_every_shape_are_told(
    body: object, message: str, errors: tuple[str, ...]
) -> None:
    error = refused(reply(body, status=400))
    assert error.message.endswith(message)
    assert error.errors == errors


@pytest.mark.parametrize(("status_", "code"), [(401, "unauthorized"), (503, "server_error")])
def test_what_is_unknown_is_said_by_a_404_or_a_400_only(status_: int, code: str) -> None:
    body = {"message": "Environment named 'prod' does not exist for organization 'acme'"}
    assert refused(reply(body, status=400)).code == "unknown_environment"
    assert refused(reply(body, status=status_)).code == code


def gone(text: object, status_: int = 404) -> Reply:
    return reply({"message": text}, status=status_)


@pytest.mark.parametrize(
    "text",
    [
        "Artifact not found",
        f"Artifact with fingerprint '{OURS}' does not exist",
        f"Artifact with fingerprint '{OURS}' does not exist in flow 'web-ci' "
        "belonging to organization 'acme'",
    ],
)
@pytest.mark.parametrize("scope", [PROD, WEB])
def test_a_404_about_this_artifact_is_unknown_artifact(text: str, scope: Scope) -> None:
    verdict = judge(question(scope), gone(text), ARTIFACT)
    assert verdict.outcome is Outcome.UNKNOWN_ARTIFACT
    assert verdict.reasons[0].flow == ("web-ci" if scope is WEB else "")


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("mismatch", {"message": f"Artifact with fingerprint '{THEIRS}' does not exist"}),
        ("mismatch", {"message": f"Artifact with fingerprint '{OURS}' does not exist in flow "
                      "'api-ci' belonging to organization 'acme'"}),
        ("mismatch", {"message": f"Artifact with fingerprint '{OURS}' does not exist in flow "
                      "'web-ci' belonging to organization 'other'"}),
        ("unknown_environment", {"message": "Environment named 'prod' does not exist for "
                                 "organization 'acme'"}),
        ("unknown_policy", {"message": "Policy 'scans' does not exist in organization 'acme'"}),
        ("unknown_flow", {"message": "Flow named 'web-ci' does not exist for organization 'a'"}),
        ("not_found", {"message": "Not Found"}),
        ("not_found", {"message": ["Artifact not found"]}),
        ("not_found", {"message": "Artifact not found, try again"}),
        ("not_found", {"detail": "Artifact not found"}),
        ("not_found", ["Artifact not found"]),
        ("not_found", "Artifact not found"),
        ("not_found", b""),
        ("not_found", b"<html><title>404</title>"),
    ],
)  # fmt: skip
def test_any_other_404_is_no_verdict(code: str, body: object) -> None:
    assert refused(reply(body, status=404), WEB).code == code


def test_a_404_that_is_not_json_is_no_verdict() -> None:
    given = reply({"message": "Artifact not found"}, status=404, content_type="text/html")
    assert refused(given).code == "not_found"


def test_a_refusal_that_gives_no_reason_is_not_waited_for() -> None:
    verdict = judged(answer(compliant=False))
    assert is_late(verdict)
    assert not is_late(replace(verdict, reasons=()))


def test_a_word_that_is_only_shown_makes_nobody_wait() -> None:
    new = rule(False, {"type": "INCOMPLETE", "context": None})
    verdict = judged(answer(compliant=False, policy_evaluations=[policy("p", False, new)]))
    assert [(r.code, r.detail) for r in verdict.reasons] == [("unknown_resolution", "INCOMPLETE")]
    assert not is_late(verdict)


# Age.

NOW = datetime(2026, 8, 20, 12, tzinfo=UTC)
DAY = 86400.0


def aged(evaluated: datetime | None, **changes: Any) -> Verdict:
    return replace(judged(answer()), evaluated_at=evaluated, received_at=NOW, **changes)


@pytest.mark.parametrize(
    ("evaluated", "why"),
    [
        (NOW, ""),
        (NOW - timedelta(days=1), ""),
        (NOW - timedelta(days=1, seconds=1), "more than 1d ago"),
        (NOW + timedelta(seconds=30), ""),
        (NOW + timedelta(minutes=2), "in the future"),
        (None, "has no date"),
    ],
)
def test_a_verdict_has_an_age(evaluated: datetime | None, why: str) -> None:
    verdict = aged(evaluated)
    check_age(verdict, max_age=None, allow_list_max_age=DAY, now=NOW)
    if not why:
        check_age(verdict, max_age=DAY, allow_list_max_age=None, now=NOW)
        return
    with pytest.raises(NoVerdict, match=why) as caught:
        check_age(verdict, max_age=DAY, allow_list_max_age=None, now=NOW)
    assert caught.value.code == "too_old"
    assert caught.value.todo == "Have Kosli evaluate it again, or raise --kosli-max-age."


def test_the_date_of_a_reply_that_has_none_is_now() -> None:
    verdict = replace(aged(NOW), received_at=None)
    check_age(verdict, max_age=DAY, allow_list_max_age=None, now=NOW)
    with pytest.raises(NoVerdict, match="the verdict is of"):
        check_age(
            verdict, max_age=DAY, allow_list_max_age=None, now=NOW + timedelta(days=1, seconds=1)
        )


def test_what_was_heard_live_does_not_age_within_a_run() -> None:
    check_age(aged(NOW), max_age=DAY, allow_list_max_age=None, now=NOW + timedelta(days=2))


def test_an_unknown_artifact_is_refused_whatever_its_age() -> None:
    verdict = judge(question(), gone("Artifact not found"), ARTIFACT)
    check_age(verdict, max_age=DAY, allow_list_max_age=DAY, now=NOW)
    assert verdict.outcome is Outcome.UNKNOWN_ARTIFACT


@pytest.mark.parametrize(("days", "fine"), [(0, True), (1, True), (2, False), (-1, False)])
def test_a_replay_is_as_old_as_its_recording(days: int, fine: bool) -> None:
    verdict = aged(NOW, replayed=True)
    now = NOW + timedelta(days=days)
    if fine:
        check_age(verdict, max_age=DAY, allow_list_max_age=None, now=now)
        return
    with pytest.raises(NoVerdict, match="the recording is of") as caught:
        check_age(verdict, max_age=DAY, allow_list_max_age=None, now=now)
    assert caught.value.todo == "Record it again, or raise --kosli-max-age."


@pytest.mark.parametrize(
    ("at", "why"),
    [(NOW, ""), (NOW - timedelta(days=2), "more than"), (NOW + timedelta(days=1), "future"),
     (None, "no date")],
)  # fmt: skip
def test_an_allow_listing_has_an_age(at: datetime | None, why: str) -> None:
    verdict = aged(NOW, outcome=Outcome.ALLOW_LISTED, allow_listing=AllowListing("u", at, "x"))
    check_age(verdict, max_age=None, allow_list_max_age=None, now=NOW)
    if not why:
        check_age(verdict, max_age=None, allow_list_max_age=DAY, now=NOW)
        return
    with pytest.raises(NoVerdict, match=f"the allow-listing .*{why}") as caught:
        check_age(verdict, max_age=None, allow_list_max_age=DAY, now=NOW)
    assert caught.value.todo == "Allow it again in Kosli, or raise --kosli-allow-list-max-age."
