"""Does the sandbox answer as Kosli does, and spoil its answers only when it is told to?"""

from __future__ import annotations

import concurrent.futures
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.sandbox import DataError, Sandbox, schemas
from tests.sandbox.expression import parse
from tests.sandbox.world import DATA, read

ROOT = Path(__file__).parent.parent
DATASETS = ("acme", "cyber_dojo")


@dataclass
class Answer:
    """What came back: its status, its headers, its body, and that body as JSON."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])


def ask(
    sandbox: Sandbox, path: str, token: str | None = "", scheme: str = "Bearer", timeout: float = 10
) -> Answer:
    """Ask for a path below /api/v2/; the token is the sandbox's own unless one is given or None."""
    token = sandbox.token if token == "" else token
    headers = {} if token is None else {"Authorization": f"{scheme} {token}"}
    target = path if path.startswith("/") else f"/api/v2/{path}"
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=timeout)
    try:
        connection.request("GET", target, headers=headers)
        reply = connection.getresponse()
        names = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(reply.status, names, reply.read())
    finally:
        connection.close()


def fingerprint(sandbox: Sandbox, name: str) -> str:
    return sandbox.data.artifacts[name].fingerprint


def assertion(sandbox: Sandbox, name: str, query: str = "") -> Answer:
    path = f"asserts/{sandbox.org}/fingerprint/{fingerprint(sandbox, name)}"
    return ask(sandbox, f"{path}?{query}" if query else path)


@pytest.fixture(scope="module", params=DATASETS)
def each(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(request.param) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def _shared() -> Iterator[Sandbox]:
    with Sandbox("acme") as sandbox:
        yield sandbox


@pytest.fixture
def acme(_shared: Sandbox) -> Sandbox:
    _shared.reset()
    return _shared


@pytest.fixture
def own() -> Iterator[Sandbox]:
    """A sandbox whose world this test may change."""
    with Sandbox("acme") as sandbox:
        yield sandbox


# ------------------------------------------------------------------ the shapes of the replies


def scopes(sandbox: Sandbox) -> list[str]:
    environments = [f"environment_name={name}" for name in sandbox.data.environments]
    policies = [name for name in sandbox.data.policies if "@" not in name]
    each_policy = "&".join(f"policy_name={name}" for name in policies)
    return ["", each_policy, *environments]


def replies(sandbox: Sandbox) -> Iterator[tuple[str, Any]]:
    """Ask each question that the published pages are about."""
    for name, artifact in sandbox.data.artifacts.items():
        for report in artifact.reports:
            path = f"artifacts/{sandbox.org}/{report.flow}/fingerprint/{artifact.fingerprint}"
            yield "artifact", ask(sandbox, f"{path}?trail={report.trail}").json
        for query in scopes(sandbox) if artifact.reports else ():
            yield "assert", assertion(sandbox, name, query).json
    for key in sandbox.data.repos:
        repo = urllib.parse.quote(sandbox.data.repo_name(key), safe="")
        yield "live", ask(sandbox, f"repos/{sandbox.org}/live-artifacts/{repo}").json


PUBLISHED = {
    "assert": schemas.ASSERT,
    "artifact": schemas.ARTIFACT,
    "live": schemas.LIVE_ARTIFACTS,
}


def departures(schema: str, reply: Any) -> Iterator[str]:
    """Name each departure of a reply from its published schema; an unknown one as it is."""
    known = {(one.schema, one.at): one.name for one in schemas.DEPARTURES}
    for error in jsonschema.Draft202012Validator(PUBLISHED[schema]).iter_errors(reply):
        at = ".".join("*" if isinstance(step, int) else step for step in error.absolute_path)
        yield known.get((schema, at), f"unknown: {schema}: {at}: {error.message}")


def test_replies_depart_from_the_published_schemas_only_where_real_ones_do() -> None:
    found: set[str] = set()
    for data in DATASETS:
        with Sandbox(data) as sandbox:
            for schema, reply in replies(sandbox):
                found.update(departures(schema, reply))
    assert found == {one.name for one in schemas.DEPARTURES}


def test_a_departure_that_is_not_on_the_list_is_noticed(acme: Sandbox) -> None:
    reply = assertion(acme, "payments").json | {"compliant": "yes", "extra": 1}
    assert {name for name in departures("assert", reply) if name.startswith("unknown")} == {
        "unknown: assert: compliant: 'yes' is not of type 'boolean'",
        "unknown: assert: : Additional properties are not allowed ('extra' was unexpected)",
    }


def test_a_live_artifact_has_no_fingerprint_of_its_own_whatever_the_page_says(
    acme: Sandbox,
) -> None:
    reply = ask(acme, "repos/acme/live-artifacts/acme%2Fpayments").json
    for entry in reply["live_artifacts"]:
        assert not entry.keys() & {"fingerprint", "commit_sha", "environment_name"}
        (artifact,) = (
            one for one in reply["_embedded"]["artifacts"] if one["id"] == entry["artifact_id"]
        )
        assert artifact["fingerprint"] == fingerprint(acme, "payments")


def test_policy_evaluations_have_the_inner_shape_of_real_policy_decisions(each: Sandbox) -> None:
    validator = jsonschema.Draft202012Validator(schemas.POLICY_EVALUATION)
    environment = next(iter(each.data.environments))
    seen = 0
    for name, artifact in each.data.artifacts.items():
        if artifact.reports:
            reply = assertion(each, name, f"environment_name={environment}").json
            for evaluation in reply["policy_evaluations"]:
                validator.validate(evaluation)
                seen += 1
    assert seen > 20


def test_snapshots_and_environments_have_the_shape_of_real_ones(each: Sandbox) -> None:
    for name, environment in each.data.environments.items():
        reply = ask(each, f"environments/{each.org}/{name}")
        jsonschema.validate(reply.json, schemas.ENVIRONMENT)
        for snapshot in environment.snapshots:
            reply = ask(each, f"snapshots/{each.org}/{name}/{snapshot.index}")
            jsonschema.validate(reply.json, schemas.SNAPSHOT)
    listed = ask(each, f"environments/{each.org}").json
    jsonschema.validate(listed, schemas.ENVIRONMENTS)
    assert [one["name"] for one in listed] == list(each.data.environments)


def test_environments_come_in_an_envelope_when_a_page_is_asked_for(acme: Sandbox) -> None:
    reply = ask(acme, "environments/acme?page=2&per_page=2").json
    jsonschema.validate(reply, schemas.ENVIRONMENTS_PAGE)
    assert [one["name"] for one in reply["environments"]] == ["beta", "dr"]
    assert (reply["total_pages"], reply["total_count"]) == (3, 5)


# ----------------------------------------------------------------------------- the acme story


def failures(evaluations: list[dict[str, Any]]) -> set[tuple[str, str]]:
    fine = {"rule_satisfied", "rule_not_applicable"}
    return {
        (evaluation["policy_name"], resolution["type"])
        for evaluation in evaluations
        if evaluation["status"] == "NON-COMPLIANT"
        for rule in evaluation["rule_evaluations"]
        if rule["satisfied"] is False
        for resolution in rule["resolutions"]
        if resolution["type"] not in fine
    }


IN_PROD: dict[str, set[tuple[str, str]]] = {
    "payments": set(),
    "web": {("vulnerability-scan", "missing_attestation")},
    "orders": {("release-approval", "missing_attestation")},
    "invoices": {
        ("release-approval", "non_compliant_attestation"),
        ("trail-compliance", "non_compliant_in_trail"),
    },
    "catalog": {
        ("vulnerability-scan", "non_compliant_attestation"),
        ("trail-compliance", "non_compliant_in_trail"),
    },
    "search": {("trail-compliance", "non_compliant_in_trail")},
    "gateway": {("trail-compliance", "non_compliant_in_trail")},
}


@pytest.mark.parametrize(("name", "expected"), IN_PROD.items())
def test_prod_judges_each_artifact_by_its_policies(
    acme: Sandbox, name: str, expected: set[tuple[str, str]]
) -> None:
    reply = assertion(acme, name, "environment_name=prod").json
    assert (reply["scope"], reply["environment"]) == ("environment", "prod")
    assert reply["compliant"] is not bool(expected)
    assert failures(reply["policy_evaluations"]) == expected
    assert reply["allow_listing"] is None


def test_a_missing_decision_names_its_control_and_where_it_was_looked_for(acme: Sandbox) -> None:
    evaluations = assertion(acme, "orders", "environment_name=prod").json["policy_evaluations"]
    (rule,) = (
        rule
        for evaluation in evaluations
        for rule in evaluation["rule_evaluations"]
        if rule["satisfied"] is False
    )
    assert rule["rule"]["definition"]["for_control"] == "ACME-CTRL-0007"
    assert rule["resolutions"] == [
        {
            "type": "missing_attestation",
            "context": {
                "flow_name": "orders-ci",
                "trail_name": "orders-3.0.0",
                "artifact_status": None,
                "for_control": "ACME-CTRL-0007",
            },
        }
    ]


def test_an_allow_listed_artifact_is_compliant_though_a_policy_says_no(acme: Sandbox) -> None:
    reply = assertion(acme, "ledger-hotfix", "environment_name=prod").json
    assert reply["compliant"] is True
    assert failures(reply["policy_evaluations"]) == {("vulnerability-scan", "missing_attestation")}
    assert reply["allow_listing"]["description"].startswith("INC-42")
    elsewhere = assertion(acme, "ledger-hotfix", "policy_name=vulnerability-scan").json
    assert (elsewhere["compliant"], elsewhere["allow_listing"]) == (False, None)


def test_policies_answer_in_the_order_asked_attached_or_not(acme: Sandbox) -> None:
    query = "policy_name=tested&policy_name=provenance"
    reply = assertion(acme, "payments", query).json
    assert (reply["scope"], reply["environment"]) == ("policy", None)
    names = [evaluation["policy_name"] for evaluation in reply["policy_evaluations"]]
    assert names == ["tested", "provenance"]


def test_an_environment_without_policies_calls_everything_compliant(acme: Sandbox) -> None:
    reply = assertion(acme, "search", "environment_name=beta").json
    assert (reply["compliant"], reply["policy_evaluations"]) == (True, [])
    assert ask(acme, "environments/acme/beta").json["policies"] == []


def test_a_missing_attestation_makes_a_flow_incomplete(acme: Sandbox) -> None:
    reply = assertion(acme, "reports").json
    status = reply["compliance_status"]
    assert (reply["scope"], reply["compliant"], status["status"]) == ("flow", False, "INCOMPLETE")
    assert status["attestations_statuses"][0] == {
        "attestation_name": "unit-test",
        "attestation_type": "junit",
        "status": "MISSING",
        "is_compliant": None,
        "unexpected": False,
    }


def test_the_top_of_a_reply_describes_the_first_flow_and_the_verdict_all_of_them(
    acme: Sandbox,
) -> None:
    reply = assertion(acme, "gateway").json
    assert reply["compliant"] is False
    assert reply["compliance_status"]["status"] == "COMPLIANT"
    assert [(one["flow"], one["compliant"]) for one in reply["flows"]] == [
        ("gateway-ci", True),
        ("releases", False),
    ]
    assert reply["flows"][1]["compliance_status"]["unexpected"] is True


def test_a_flow_name_narrows_every_scope(acme: Sandbox) -> None:
    for scope in ("", "environment_name=prod&", "policy_name=trail-compliance&"):
        reply = assertion(acme, "gateway", f"{scope}flow_name=gateway-ci").json
        assert reply["compliant"] is True
        assert [one["flow"] for one in reply["flows"]] == ["gateway-ci"]


def test_what_runs_without_provenance_is_unknown_to_asserts(acme: Sandbox) -> None:
    for name in ("legacy-cron", "datadog"):
        answer = assertion(acme, name, "environment_name=prod")
        assert (answer.status, answer.message) == (404, "Artifact not found")


def prod_now(sandbox: Sandbox) -> dict[str, Any]:
    return {
        entry["name"]: entry for entry in ask(sandbox, "snapshots/acme/prod/-1").json["artifacts"]
    }


def test_a_snapshot_says_of_each_artifact_what_an_assert_would_say(acme: Sandbox) -> None:
    for entry in prod_now(acme).values():
        path = f"asserts/acme/fingerprint/{entry['fingerprint']}?environment_name=prod"
        if entry["flows"]:
            reply = ask(acme, path).json
            assert entry["compliant"] is reply["compliant"]
            assert entry["policy_decisions"] == reply["policy_evaluations"]
            assert entry["flow_name"] == reply["flow"]


def test_an_exception_exempts_what_has_no_provenance(acme: Sandbox) -> None:
    running = prod_now(acme)
    datadog = running[acme.data.artifacts["datadog"].name]
    assert (datadog["compliant"], datadog["flows"], datadog["flow_name"]) == (True, [], "")
    assert failures(datadog["policy_decisions"]) == set()
    cron = running[acme.data.artifacts["legacy-cron"].name]
    assert cron["compliant"] is False
    assert failures(cron["policy_decisions"]) == {
        ("provenance", "no_provenance"),
        ("trail-compliance", "missing_provenance"),
    }


def test_a_snapshot_keeps_what_exited_and_does_not_count_it(acme: Sandbox) -> None:
    reply = ask(acme, "snapshots/acme/prod/-1").json
    exited = [entry for entry in reply["artifacts"] if entry["annotation"]["type"] == "exited"]
    assert [entry["annotation"]["now"] for entry in exited] == [0, 0]
    assert all(entry["compliant"] for entry in exited)
    assert reply["artifact_compliance_count"] == {"true": 4, "false": 7, "null": 0}
    assert len(reply["artifacts"]) == 11 + len(exited)


def test_one_digest_may_run_under_two_names(acme: Sandbox) -> None:
    names = [
        name
        for name, entry in prod_now(acme).items()
        if entry["fingerprint"] == fingerprint(acme, "payments") and entry["annotation"]["now"]
    ]
    assert len(names) == 2


def test_without_policies_a_snapshot_knows_no_compliance_and_says_false(acme: Sandbox) -> None:
    reply = ask(acme, "snapshots/acme/beta/-1").json
    assert reply["compliant"] is False
    assert {entry["compliant"] for entry in reply["artifacts"]} == {None}
    assert reply["artifact_compliance_count"]["null"] == 2
    assert ask(acme, "environments/acme/beta").json["state"] is None


def test_a_snapshot_lists_its_policies_and_whom_they_refuse(acme: Sandbox) -> None:
    applied = ask(acme, "snapshots/acme/prod/-1").json["applied_policies"]
    failing = {policy["name"]: policy["failing_artifacts"] for policy in applied}
    assert failing["release-approval"] == [fingerprint(acme, n) for n in ("orders", "invoices")]
    exceptions = applied[0]["policy_dump"]["artifacts"]["provenance"]["exceptions"]
    assert exceptions == [{"if_condition": {"text": 'matches(artifact.name, "^datadog/agent:")'}}]


def test_a_logical_environment_names_what_it_includes(acme: Sandbox) -> None:
    reply = ask(acme, "environments/acme/everywhere").json
    assert reply["included_environments"] == ["prod", "staging"]
    assert (reply["policies"], reply["last_reported_at"], reply["state"]) == (None, None, False)
    assert ask(acme, "snapshots/acme/everywhere/-1").status == 400


def test_an_environment_says_when_it_was_last_reported(acme: Sandbox) -> None:
    def reported(name: str) -> Any:
        return ask(acme, f"environments/acme/{name}").json["last_reported_at"]

    assert time.time() - reported("prod") == pytest.approx(60, abs=5)
    assert time.time() - reported("beta") > 24 * 3600
    assert reported("dr") is None


def test_live_artifacts_join_environments_and_artifacts_by_id(acme: Sandbox) -> None:
    reply = ask(acme, "repos/acme/live-artifacts/acme%2Fweb").json
    embedded = reply["_embedded"]
    environments = {one["id"]: one["name"] for one in embedded["environments"]}
    assert [
        (environments[one["environment_id"]], one["compliance"]) for one in reply["live_artifacts"]
    ] == [("prod", "NON-COMPLIANT"), ("staging", "COMPLIANT")]
    assert [one["fingerprint"] for one in embedded["artifacts"]] == [fingerprint(acme, "web")]


def test_a_live_artifact_may_dangle(acme: Sandbox) -> None:
    reply = ask(acme, "repos/acme/live-artifacts/acme%2Fledger").json
    known = {one["id"] for one in reply["_embedded"]["artifacts"]}
    assert [one["artifact_id"] in known for one in reply["live_artifacts"]] == [True, False]
    assert reply["live_artifacts"][1]["compliance"] is None


def test_of_two_repositories_of_one_name_the_newest_is_meant_or_the_providers_one(
    acme: Sandbox,
) -> None:
    path = "repos/acme/live-artifacts/acme%2Fweb"
    assert ask(acme, path).json == ask(acme, f"{path}?provider=github").json
    assert ask(acme, f"{path}?provider=gitlab").json["live_artifacts"] == []


def test_nothing_that_runs_is_an_empty_list(acme: Sandbox) -> None:
    reply = ask(acme, "repos/acme/live-artifacts/acme%2Fattic").json
    assert (reply["live_artifacts"], reply["_embedded"]) == ([], None)


def test_the_slash_of_a_repository_has_to_be_encoded_once(acme: Sandbox) -> None:
    assert ask(acme, "repos/acme/live-artifacts/acme/web").message == "Not Found"
    assert ask(acme, "repos/acme/live-artifacts/acme%252Fweb").message == "Repo not found"


def test_an_artifact_is_described_per_flow_and_trail(acme: Sandbox) -> None:
    path = f"fingerprint/{fingerprint(acme, 'payments')}"
    built = ask(acme, f"artifacts/acme/payments-ci/{path}").json
    assert (built["annotations"], built["state"]) == ({"type": "build"}, "COMPLIANT")
    assert built["running"] == [
        {"environment_name": "prod", "snapshot_index": 42},
        {"environment_name": "staging", "snapshot_index": 7},
    ]
    released = ask(acme, f"artifacts/acme/releases/{path}?trail=release-77").json
    assert (released["trail_name"], released["template"]) == ("release-77", None)
    same = ask(acme, f"artifacts/acme/releases/{path}?attestation_id={released['id']}").json
    assert same == released


def test_an_artifact_may_be_asked_for_by_prefix_and_by_commit(acme: Sandbox) -> None:
    digits = fingerprint(acme, "payments-1.3.9")
    by_prefix = ask(acme, f"artifacts/acme/payments-ci/fingerprint/{digits[:5]}").json
    assert by_prefix["fingerprint"] == digits
    assert by_prefix["exited"] == [{"environment_name": "prod", "snapshot_index": 42}]
    path = f"artifacts/acme/payments-ci/commit_sha/{by_prefix['git_commit']}"
    assert ask(acme, path).json == [by_prefix]


# --------------------------------------------------------------------- cyber-dojo, as recorded

# What Kosli said of aws-prod #5253, rule by rule; a letter for each of the artifact's four flows:
# s satisfied, n not applicable. Five policies, two or three rules each.
RECORDED = {
    "runner": "nnnn nnnn snnn ssss nnnn snnn nnnn nnnn nnns nnnn nnnn nnsn nnnn nnss",
    "spooler": "nnnn nnnn nnnn ssss nnnn nnnn nnnn nnnn nnsn nnnn nnnn nsnn nnnn nssn",
    "exercises-start-points": (
        "nnnn nnnn snnn ssss nnnn snnn nnnn nnnn nnns nnnn nnnn nsnn nnnn nsns"
    ),
}


@pytest.mark.parametrize(("name", "recorded"), RECORDED.items())
def test_the_evaluator_comes_to_the_resolutions_that_kosli_recorded(
    name: str, recorded: str
) -> None:
    letters = {"rule_satisfied": "s", "rule_not_applicable": "n"}
    with Sandbox("cyber_dojo") as sandbox:
        snapshot = ask(sandbox, "snapshots/cyber-dojo/aws-prod/5253").json
        (entry,) = (
            one for one in snapshot["artifacts"] if one["fingerprint"] == fingerprint(sandbox, name)
        )
    rules = [
        rule for decision in entry["policy_decisions"] for rule in decision["rule_evaluations"]
    ]
    words = ["".join(letters[one["type"]] for one in rule["resolutions"]) for rule in rules]
    assert " ".join(words) == recorded
    assert [(rule["satisfied"], rule["ignored"]) for rule in rules] == [
        (True, False) if "s" in word else (None, True) for word in words
    ]


def test_all_that_runs_in_cyber_dojos_aws_prod_is_compliant() -> None:
    with Sandbox("cyber_dojo") as sandbox:
        snapshot = ask(sandbox, "snapshots/cyber-dojo/aws-prod/-1").json
        assert snapshot["artifact_compliance_count"] == {"true": 11, "false": 0, "null": 0}
        for name in sandbox.data.artifacts:
            assert assertion(sandbox, name).json["compliant"] is True
        older = ask(sandbox, "snapshots/cyber-dojo/aws-prod/4357").json
        kinds = [(one["annotation"]["type"], one["compliant"]) for one in older["artifacts"]]
        assert ("exited", True) in kinds
        assert older["compliant"] is True


# ---------------------------------------------------------------------------------------- data


def test_fingerprints_are_the_sha256_of_the_text_beside_them() -> None:
    text = (DATA / "acme.yaml").read_text(encoding="utf-8")
    pairs = re.findall(r'fingerprint: ([0-9a-f]{64})  # "(.+)"', text)
    files = read("acme")["codealive"]["data_sources"]["policies"]["files"].values()
    policies = re.findall(r"fingerprint: ([0-9a-f]{64})  # of the file's bytes", text)
    assert policies == [hashlib.sha256(file.encode()).hexdigest() for file in files]
    assert len(pairs) + len(policies) == len(read("acme")["artifacts"])
    for digest, source in pairs:
        assert hashlib.sha256(source.encode()).hexdigest() == digest


@pytest.mark.parametrize("data", DATASETS)
def test_a_dataset_holds_no_mail_address(data: str) -> None:
    text = (DATA / f"{data}.yaml").read_text(encoding="utf-8")
    assert not re.search(r"[\w.]+@(?!sha256:)[\w-]+\.\w+", text)


@pytest.mark.parametrize(
    ("where", "to", "problem"),
    [
        (("environments", "prod", "policies"), ["nope"], "environment prod: no policy nope"),
        (("flows", "web-ci", "repo"), "acme/nope", "flow web-ci: no repo acme/nope"),
        (("artifacts", "web", "fingerprint"), "a" * 64, "the digest in its name is not"),
        (("artifacts", "web", "reports", 0, "trail"), "nope", "no trail nope in flow web-ci"),
        (("policies", "tested", "attestations", 0, "if"), "flow.name = 1", "is not understood"),
        (("environments", "prod", "kind"), "K8S", "environments.prod.kind: Extra inputs"),
        (
            ("policies", "tested", "attestations", 0, "for_control"),
            "ACME-CTRL-9999",
            "policy tested: no control ACME-CTRL-9999",
        ),
    ],
)
def test_data_that_does_not_hold_together_is_refused_by_name(
    acme: Sandbox, where: tuple[str | int, ...], to: object, problem: str
) -> None:
    before = acme.data
    with pytest.raises(DataError, match=re.escape(problem)):
        acme.set(*where, to=to)
    assert acme.data is before


def test_data_may_be_a_file_or_a_mapping(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    shutil.copy(DATA / "acme.yaml", file)
    for data in (file, str(file), read("acme")):
        with Sandbox(data) as sandbox:
            assert sandbox.org == "acme"
    assert Sandbox("cyber-dojo").org == "cyber-dojo"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "neither a dataset (acme, cyber_dojo) nor a file"),
        ("a: [", "while parsing"),
        ("[]", "not a mapping"),
        ("org: x", "token: Field required"),
    ],
)
def test_a_file_that_is_no_world_is_refused_with_the_reason(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(problem)):
        Sandbox(file)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('flow.name == "build"', True),
        ("flow.name == 'build' and flow.tags.kind == 'x'", False),
        ("flow.tags.kind == 'x' or flow.name == 'build'", True),
        ('flow.tags.env != "prod"', True),
        ('exists(flow.tags.env) and flow.tags.env != "prod"', False),
        ("not exists(flow)", False),
        ("exists(flow) and not (flow.tags.risk-level == 'low' or exists(flow.tags.a.b))", True),
        ('matches(artifact.name, "^datadog:.*")', True),
        ('matches(flow.tags.nope, ".")', False),
        ('"and" == "and"', True),
    ],
)
def test_a_condition_holds_or_not(text: str, verdict: bool) -> None:
    context = {"flow": "build", "flow.name": "build", "flow.tags.risk-level": "high"}
    assert parse(text)({**context, "artifact.name": "datadog:7"}) is verdict


@pytest.mark.parametrize(
    "text",
    [
        "",
        "and",
        "flow.name",
        "flow.name ==",
        "flow.name = 'a'",
        "flow.name == 'a' 'b'",
        "exists(flow",
        "(flow == 'a'",
        "matches(flow)",
        "matches(flow, flow)",
        "os.name == 'x'",
    ],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a policy expression"):
        parse(text)


# ----------------------------------------------------------------------------------- who asks


def test_no_key_and_a_wrong_key_are_401(acme: Sandbox) -> None:
    for token, scheme in ((None, ""), ("wrong", "Bearer"), ("DRY_RUN", "Bearer")):
        answer = ask(acme, "environments/acme", token, scheme)
        assert answer.status == 401
        jsonschema.validate(answer.json, schemas.ERROR)
    assert ask(acme, "environments/acme", acme.token, "Basic").status == 401


def test_another_organisation_is_403_and_its_key_counts_first(acme: Sandbox) -> None:
    answer = ask(acme, "environments/other")
    assert (answer.status, answer.message) == (403, "Access denied to /api/v2/environments/other")
    assert ask(acme, "environments/other", "wrong").status == 401


def test_a_public_organisation_answers_without_a_valid_key() -> None:
    with Sandbox("cyber_dojo") as sandbox:
        for token in (None, "wrong"):
            assert ask(sandbox, "environments/cyber-dojo/aws-prod", token).status == 200
        assert ask(sandbox, "environments/other", None).status == 401


def test_the_health_page_asks_nobody(acme: Sandbox) -> None:
    answer = ask(acme, "/ready", None)
    assert (answer.status, answer.body) == (200, b"OK")


# -------------------------------------------------------------------------------------- errors

GHOST = "0" * 64


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        (f"asserts/acme/fingerprint/{GHOST}", 404, "Artifact not found"),
        (
            f"asserts/acme/fingerprint/{GHOST}?flow_name=web-ci",
            404,
            f"Artifact with fingerprint '{GHOST}' does not exist in flow 'web-ci' "
            "belonging to organization 'acme'",
        ),
        (
            f"asserts/acme/fingerprint/{GHOST}?flow_name=nope",
            404,
            "Flow named 'nope' does not exist for organization 'acme'",
        ),
        (
            f"asserts/acme/fingerprint/{GHOST}?environment_name=nope",
            404,
            "Environment named 'nope' does not exist for organization 'acme'",
        ),
        (
            f"asserts/acme/fingerprint/{GHOST}?policy_name=provenance&policy_name=nope",
            404,
            "Policy 'nope' does not exist in organization 'acme'",
        ),
        (
            f"asserts/acme/fingerprint/{GHOST}?policy_name=provenance&environment_name=prod",
            400,
            "Give environment_name or policy_name, not both",
        ),
        (
            f"artifacts/acme/nope/fingerprint/{GHOST}",
            404,
            "Flow named 'nope' does not exist for organization 'acme'",
        ),
        (
            f"artifacts/acme/web-ci/fingerprint/{GHOST}?trail=nope",
            404,
            "Trail with name 'nope' does not exist for Organization 'acme' and Flow 'web-ci'",
        ),
        ("repos/acme/live-artifacts/acme%2Fnope", 404, "Repo not found"),
        (
            "environments/acme/nope",
            404,
            "Environment named 'nope' does not exist for organization 'acme'",
        ),
        ("snapshots/acme/prod/nope", 400, "Bad snappish 'prodnope'"),
        ("nope", 404, "Not Found"),
        ("environments/acme/", 404, "Not Found"),
        ("/nope", 404, "Not Found"),
    ],
)
def test_errors_have_kosli_s_status_and_sentence(
    acme: Sandbox, path: str, status: int, message: str
) -> None:
    answer = ask(acme, path)
    jsonschema.validate(answer.json, schemas.ERROR)
    assert (answer.status, answer.message) == (status, message)


def test_an_artifact_that_is_not_on_the_trail_asked_for_is_404(acme: Sandbox) -> None:
    path = f"artifacts/acme/releases/fingerprint/{fingerprint(acme, 'payments')}?trail=release-78"
    answer = ask(acme, path)
    assert answer.status == 404
    assert 'does not exist in trail "release-78" of flow "releases"' in answer.message


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("asserts/acme/fingerprint/ABC", "path.fingerprint"),
        (f"asserts/acme/fingerprint/{GHOST}?flow_name=bad%20name", "query.flow_name"),
        (f"asserts/acme/fingerprint/{GHOST}?policy_name=a&policy_name=", "query.policy_name.1"),
        ("artifacts/acme/bad%20name/fingerprint/abcdef", "path.flow_name"),
        ("artifacts/acme/web-ci/fingerprint/abc", "path.fingerprint"),
        ("artifacts/acme/web-ci/fingerprint/abcdef?attestation_id=7", "query.attestation_id"),
        ("repos/acme/live-artifacts/x?provider=svn", "query.provider"),
        ("environments/acme?page=0", "query.page"),
    ],
)
def test_what_does_not_fit_its_pattern_is_400_with_a_map(
    acme: Sandbox, path: str, field: str
) -> None:
    answer = ask(acme, path)
    jsonschema.validate(answer.json, schemas.ERROR)
    assert (answer.status, answer.message) == (400, "Input payload validation failed")
    assert list(answer.json["errors"]) == [field]
    assert "[input: " in answer.json["errors"][field]


# ---------------------------------------------------------------------------------- snapshots


@pytest.mark.parametrize(
    ("expression", "index"),
    [
        ("-1", 42),
        ("-2", 41),
        ("42", 42),
        ("~0", 42),
        ("~1", 41),
        ("%2341", 41),
        ("@%7Bnow%7D", 42),
        ("@{1.hours.ago}", 42),
        ("@%7B2026-06-03T02:59:59%7D", 41),
        ("@%7B2026-06-03T03:00:00%7D", 42),
    ],
)
def test_an_expression_means_a_snapshot(acme: Sandbox, expression: str, index: int) -> None:
    reply = ask(acme, f"snapshots/acme/prod/{expression}").json
    assert (reply["index"], reply["is_latest"]) == (index, index == 42)


@pytest.mark.parametrize(
    ("name", "expression", "sentence"),
    [
        ("prod", "43", "Snapshot 'prod#43' resolves to 'prod#43'. len(snapshots) == 42"),
        ("prod", "~9", "Snapshot 'prod~9' resolves to 'prod#33'. len(snapshots) == 42"),
        ("dr", "-1", "Snapshot 'dr#-1' resolves to 'dr#0'. len(snapshots) == 0"),
        ("prod", "@%7B900.months.ago%7D", "resolves to 'prod#0'. len(snapshots) == 42"),
    ],
)
def test_a_snapshot_that_is_not_there_is_404(
    acme: Sandbox, name: str, expression: str, sentence: str
) -> None:
    answer = ask(acme, f"snapshots/acme/{name}/{expression}")
    assert answer.status == 404
    assert sentence in answer.message
    assert answer.message.endswith("Indexes are 1-based")


# ----------------------------------------------------------------- requests and changes of mind


def test_requests_are_recorded_as_they_came(acme: Sandbox) -> None:
    before = time.time()
    ask(acme, "repos/acme/live-artifacts/acme%2Fweb?provider=github&x=a+b&x=")
    (request,) = acme.requests
    assert (request.method, request.path) == ("GET", "/api/v2/repos/acme/live-artifacts/acme%2Fweb")
    assert request.query == (("provider", "github"), ("x", "a b"), ("x", ""))
    assert request.headers["authorization"] == f"Bearer {acme.token}"
    assert before <= request.received <= time.time()
    acme.reset()
    assert acme.requests == []


def test_an_attestation_may_come_later(own: Sandbox) -> None:
    assert assertion(own, "web", "environment_name=prod").json["compliant"] is False
    where = ("artifacts", "web", "reports", 0, "attestations", "snyk-scan")
    own.set(*where, to={"type": "snyk"})
    assert assertion(own, "web", "environment_name=prod").json["compliant"] is True


def test_a_change_reaches_nothing_that_the_data_file_wrote_once_for_several(own: Sandbox) -> None:
    where = ("artifacts", "payments", "reports", 0, "attestations", "snyk-scan", "compliant")
    own.set(*where, to=False)
    verdicts = [assertion(own, name, "environment_name=prod") for name in ("payments", "ledger")]
    assert [one.json["compliant"] for one in verdicts] == [False, True]


def test_policies_may_be_detached(own: Sandbox) -> None:
    own.set("environments", "prod", "policies", to=[])
    reply = assertion(own, "search", "environment_name=prod").json
    assert (reply["compliant"], reply["policy_evaluations"]) == (True, [])
    assert own.data.environments["prod"].policies == []


def test_a_change_stays_in_its_own_sandbox(own: Sandbox, acme: Sandbox) -> None:
    own.set("org", to="other")
    assert (own.org, acme.org) == ("other", "acme")


# -------------------------------------------------------------------------------------- faults


def test_a_status_alone_stands_for_a_server_that_never_asked(acme: Sandbox) -> None:
    acme.fault("asserts/*", status=503, headers={"Retry-After": "7"})
    answer = ask(acme, "asserts/nobody/here", None)
    assert (answer.status, answer.json) == (503, {"message": "Service Unavailable"})
    assert answer.headers["retry-after"] == "7"
    assert ask(acme, "environments/acme").status == 200


def test_a_body_is_bytes_text_or_json(acme: Sandbox) -> None:
    acme.fault(times=1, body=b"\xff", content_type="application/octet-stream")
    acme.fault(times=1, body="<html>", content_type="text/html", status=502)
    acme.fault(times=1, body=["Denied"])
    answers = [ask(acme, "environments/acme") for _ in range(4)]
    assert [(one.status, one.body) for one in answers[:3]] == [
        (200, b"\xff"),
        (502, b"<html>"),
        (200, b'["Denied"]'),
    ]
    kinds = [one.headers["content-type"] for one in answers[:3]]
    assert kinds == ["application/octet-stream", "text/html", "application/json"]
    assert len(answers[3].json) == 5


def test_the_first_fault_that_matches_plays_as_often_as_it_was_told(acme: Sandbox) -> None:
    acme.fault("environments/*/prod", times=2, status=500)
    acme.fault("environments/*", times=1, status=429)
    statuses = [ask(acme, "environments/acme/prod").status for _ in range(4)]
    assert statuses == [500, 500, 429, 200]


def test_reset_forgets_faults(acme: Sandbox) -> None:
    acme.fault(status=500)
    acme.reset()
    assert ask(acme, "environments/acme").status == 200


def test_a_redirect_is_a_status_and_a_header(acme: Sandbox) -> None:
    acme.fault(status=302, headers={"Location": "/login"})
    answer = ask(acme, "environments/acme")
    assert (answer.status, answer.headers["location"]) == (302, "/login")


def test_no_content_has_none(acme: Sandbox) -> None:
    acme.fault(status=204)
    assert ask(acme, "environments/acme").body == b""


def test_a_lie_edits_the_real_reply_in_place_or_replaces_it(acme: Sandbox) -> None:
    acme.fault("asserts/*", times=1, lie=lambda reply: reply.update(compliant=True))
    acme.fault("asserts/*", times=1, lie=lambda reply: {"compliant": reply["compliant"]})
    path = "environment_name=prod"
    first, second, third = (assertion(acme, "web", path).json for _ in range(3))
    assert first == {**third, "compliant": True}
    assert second == {"compliant": False}
    assert third["compliant"] is False


def test_a_lie_may_come_with_a_status_but_not_with_a_body(acme: Sandbox) -> None:
    acme.fault(lie=lambda reply: {"was": reply["org"]}, status=201)
    answer = ask(acme, "environments/acme/prod")
    assert (answer.status, answer.json) == (201, {"was": "acme"})
    with pytest.raises(ValueError, match="not both"):
        acme.fault(lie=lambda reply: None, body="x")


def test_a_spoilt_real_reply_still_asks_who_you_are(acme: Sandbox) -> None:
    acme.fault(headers={"X-Spoilt": "yes"})
    answer = ask(acme, "environments/acme/prod", "wrong")
    assert (answer.status, answer.headers["x-spoilt"]) == (401, "yes")


def test_a_cut_reply_ends_before_its_length(acme: Sandbox) -> None:
    acme.fault(cut=10)
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(acme, "environments/acme/prod")
    assert len(caught.value.partial) == 10
    assert caught.value.expected is not None


def test_a_delayed_reply_comes_late_and_holds_up_nobody_else(acme: Sandbox) -> None:
    acme.fault("*/prod", delay=0.5)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        start = time.monotonic()
        late = [pool.submit(ask, acme, "environments/acme/prod") for _ in range(3)]
        assert ask(acme, "environments/acme/beta").status == 200
        assert not any(one.done() for one in late)
        assert [one.result().status for one in late] == [200, 200, 200]
        assert time.monotonic() - start >= 0.5


def test_a_dripping_body_outlives_a_timeout_for_each_byte(acme: Sandbox) -> None:
    acme.fault(body=b"123456", drip=0.05)
    start = time.monotonic()
    assert ask(acme, "environments/acme", timeout=0.2).body == b"123456"
    assert time.monotonic() - start >= 5 * 0.05


# ---------------------------------------------------------------------------------- the server


def test_it_starts_and_stops_at_once_and_leaves_nothing_behind() -> None:
    threads = threading.active_count()
    fastest = 60.0
    for _ in range(3):
        start = time.monotonic()
        with Sandbox("acme") as sandbox:
            assert ask(sandbox, "/ready").status == 200
        fastest = min(fastest, time.monotonic() - start)
        assert threading.active_count() == threads
    assert fastest < 0.3
    with pytest.raises(ConnectionRefusedError):
        ask(sandbox, "/ready")


def test_it_does_not_wait_for_clients_that_are_still_waiting() -> None:
    with socket.socket() as client:
        with Sandbox("acme") as sandbox:
            sandbox.fault(delay=60)
            host, port = sandbox.url.removeprefix("http://").split(":")
            client.connect((host, int(port)))
            client.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
            while not sandbox.requests:
                time.sleep(0.01)
            start = time.monotonic()
        assert time.monotonic() - start < 5
        assert client.recv(1) == b""


def test_hundreds_of_connections_are_kept_alive_side_by_side(acme: Sandbox) -> None:
    address = acme.url.removeprefix("http://")
    connections = [http.client.HTTPConnection(address, timeout=10) for _ in range(300)]
    try:
        for _ in range(2):
            for connection in connections:
                connection.request("GET", "/ready")
            assert {connection.getresponse().read() for connection in connections} == {b"OK"}
    finally:
        for connection in connections:
            connection.close()


def test_a_reply_is_not_held_up_by_the_network_stack(acme: Sandbox) -> None:
    connection = http.client.HTTPConnection(acme.url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", "/ready")
        connection.getresponse().read()
        fastest = 1.0
        for _ in range(5):
            start = time.monotonic()
            connection.request("GET", "/ready")
            connection.getresponse().read()
            fastest = min(fastest, time.monotonic() - start)
    finally:
        connection.close()
    assert fastest < 0.03


def serve(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.sandbox", *options]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_command_prints_its_address_and_serves_until_it_is_killed() -> None:
    with serve("--data", "cyber_dojo", "--port", "0", "--delay", "0.2") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", line)
        connection = http.client.HTTPConnection(line.strip().removeprefix("http://"), timeout=10)
        start = time.monotonic()
        connection.request("GET", "/api/v2/environments/cyber-dojo/aws-prod")
        assert connection.getresponse().status == 200
        assert time.monotonic() - start >= 0.2
        connection.close()
        process.terminate()
        assert process.wait(timeout=10) != 0
        output, told = process.communicate()
        assert (output, {line.split()[0] for line in told.splitlines()}) == ("", {"export"})


def test_the_command_says_what_a_shell_has_to_export_to_ask_it() -> None:
    with serve("--data", "acme") as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.terminate()
        _, told = process.communicate(timeout=10)
    assert told.splitlines() == [
        f"export KOSLI_HOST={url}",
        "export KOSLI_API_TOKEN=acme-sandbox-token",
        "export KOSLI_ORG=acme",
        f"export CODEALIVE_BASE_URL={url}",
        "export CODEALIVE_API_KEY=acme-codealive-key",
    ]


def test_the_command_refuses_unknown_data() -> None:
    with serve("--data", "nope") as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "nope: neither a dataset (acme, cyber_dojo) nor a file" in errors


# ----------------------------------------------------------------------- Kosli's own CLI as judge


@pytest.fixture(scope="session")
def kosli_cli() -> str:
    found = os.environ.get("KOSLI_CLI") or shutil.which("kosli")
    if not found:
        pytest.skip("no Kosli CLI: set KOSLI_CLI to its binary, or put kosli on the PATH")
    return found


@dataclass
class Cli:
    """Kosli's CLI, talking to a sandbox and to nobody else."""

    binary: str
    home: Path
    sandbox: Sandbox

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        target = ["--host", self.sandbox.url, "--org", self.sandbox.org]
        command = [self.binary, *arguments, *target, "--api-token", self.sandbox.token]
        environment = {"HOME": str(self.home), "KOSLI_NO_UPDATE_CHECK": "1"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert "panic" not in done.stdout + done.stderr
        return done


@pytest.fixture
def cli(kosli_cli: str, tmp_path: Path, each: Sandbox) -> Cli:
    return Cli(kosli_cli, tmp_path, each)


def test_the_cli_asserts_every_artifact_and_comes_to_the_same_verdict(cli: Cli) -> None:
    sandbox = cli.sandbox
    environment = next(iter(sandbox.data.environments))

    def check(name: str, query: str, *flags: str) -> None:
        answer = assertion(sandbox, name, query)
        done = cli("assert", "artifact", "--fingerprint", fingerprint(sandbox, name), *flags)
        if answer.status == 404:
            assert done.returncode == 1
            assert answer.message in done.stderr
        else:
            assert done.returncode == (0 if answer.json["compliant"] else 1)
            first = "COMPLIANT" if answer.json["compliant"] else "Error: NON-COMPLIANT"
            assert done.stdout.splitlines()[0] == first

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = []
        for name in sandbox.data.artifacts:
            jobs.append(pool.submit(check, name, ""))
            query = f"environment_name={environment}"
            jobs.append(pool.submit(check, name, query, "--environment", environment))
        policy = next(iter(sandbox.data.policies))
        jobs.append(pool.submit(check, name, f"policy_name={policy}", "--policy", policy))
        for job in jobs:
            job.result()


def test_the_cli_reads_every_snapshot_and_what_is_in_it(cli: Cli) -> None:
    for name, environment in cli.sandbox.data.environments.items():
        for expression in (name, f"{name}~0", f"{name}@{{now}}"):
            done = cli("get", "snapshot", expression)
            assert done.returncode == (0 if environment.snapshots else 1)
        for snapshot in environment.snapshots:
            path = f"snapshots/{cli.sandbox.org}/{name}/{snapshot.index}"
            compliant = ask(cli.sandbox, path).json["compliant"]
            done = cli("assert", "snapshot", f"{name}#{snapshot.index}")
            assert done.returncode == (0 if compliant else 1)


def test_the_cli_describes_an_artifact(cli: Cli) -> None:
    artifact = next(iter(cli.sandbox.data.artifacts.values()))
    report = artifact.reports[0]
    commit = cli.sandbox.data.flows[report.flow].trails[report.trail].commit
    for expression in (f"{report.flow}@{artifact.fingerprint}", f"{report.flow}:{commit}"):
        done = cli("get", "artifact", expression)
        assert done.returncode == 0
        assert artifact.name in done.stdout


def test_the_cli_finds_the_service_up(cli: Cli) -> None:
    assert cli("assert", "status").returncode == 0
