"""KosliClient against the sandbox and against answers made up here; no pytest in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from pytest_kosli.api.kosli import KosliClient, assert_request, parse_expression, scope_of
from pytest_kosli.model import Artifact, NoVerdict, Outcome, Question, Reply, Request, Scope
from tests.answers import LISTING, OURS, THEIRS, answer
from tests.sandbox import Sandbox

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


@pytest.fixture
def client(sandbox: Sandbox) -> KosliClient:
    return KosliClient("acme", api_token=sandbox.token, host=sandbox.url, max_api_retries=0)


class Canned:
    """An exchange that says what it was told to, and keeps what it was asked."""

    def __init__(self, *bodies: object, status: int = 200) -> None:
        self.bodies = list(bodies)
        self.status = status
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Reply:
        self.asked.append(request)
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        return Reply(self.status, json.dumps(body).encode(), "application/json", received_at=NOW)


def canned(*bodies: object, status: int = 200, **options: Any) -> tuple[KosliClient, Canned]:
    exchange = Canned(*bodies, status=status)
    return KosliClient("acme", exchange=exchange, **options), exchange


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(NoVerdict) as caught:
        call()
    return caught.value.code


# The assert endpoint.


@pytest.mark.parametrize(
    ("name", "scope", "outcome"),
    [
        ("payments", {"environment": "prod"}, Outcome.COMPLIANT),
        ("payments", {"policy": "provenance"}, Outcome.COMPLIANT),
        ("payments", {"policy": ["vulnerability-scan", "provenance"]}, Outcome.COMPLIANT),
        ("payments", {"flow": "*"}, Outcome.COMPLIANT),
        ("payments", {"flow": "payments-ci"}, Outcome.COMPLIANT),
        ("ledger-hotfix", {"environment": "prod"}, Outcome.ALLOW_LISTED),
        ("web", {"environment": "prod"}, Outcome.NON_COMPLIANT),
        ("gateway", {"flow": "*"}, Outcome.NON_COMPLIANT),
        ("legacy-cron", {"environment": "prod"}, Outcome.UNKNOWN_ARTIFACT),
        ("payments", {"flow": "web-ci"}, Outcome.UNKNOWN_ARTIFACT),
    ],
)
def test_assert_artifact_returns_a_verdict(
    client: KosliClient, sandbox: Sandbox, name: str, scope: dict[str, Any], outcome: Outcome
) -> None:
    fingerprint = sandbox.data.artifacts[name].fingerprint
    assert client.assert_artifact(fingerprint, **scope).outcome is outcome


def test_a_prefix_that_docker_writes_is_taken_off(client: KosliClient, sandbox: Sandbox) -> None:
    fingerprint = sandbox.data.artifacts["payments"].fingerprint
    verdict = client.assert_artifact(f"sha256:{fingerprint}", environment="prod")
    assert verdict.question.fingerprint == fingerprint


def test_an_artifact_keeps_its_name(client: KosliClient, sandbox: Sandbox) -> None:
    artifact = Artifact(sandbox.data.artifacts["payments"].fingerprint, "the-shop")
    assert client.assert_artifact(artifact, environment="prod").artifact is artifact


@pytest.mark.parametrize(
    "fingerprint",
    ["", "abc", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "sha512:" + "a" * 64,
     "sha256:sha256:" + OURS, "٣" * 64, OURS + "\n", "../" + "a" * 61],
)  # fmt: skip
def test_what_is_no_fingerprint_is_never_asked(fingerprint: str) -> None:
    client, exchange = canned(answer())
    code = code_of(lambda: client.assert_artifact(fingerprint, environment="prod"))
    assert code == "bad_fingerprint"
    assert not exchange.asked


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ({}, "no_scope"),
        ({"environment": ""}, "bad_name"),
        ({"environment": " "}, "bad_name"),
        ({"policy": ""}, "bad_name"),
        ({"policy": []}, "bad_name"),
        ({"flow": ""}, "bad_name"),
        ({"environment": "prod", "policy": "p"}, "two_scopes"),
        ({"environment": "prod/../dev"}, "bad_name"),
        ({"environment": "prod\r\nX: y"}, "bad_name"),
        ({"environment": "pröd"}, "bad_name"),
        ({"policy": ["ok", "a b"]}, "bad_name"),
        ({"flow": "a%2fb"}, "bad_name"),
        ({"flow": "**"}, "bad_name"),
    ],
)
def test_a_scope_that_can_not_be_meant_is_never_asked(scope: dict[str, Any], code: str) -> None:
    client, exchange = canned(answer())
    assert code_of(lambda: client.assert_artifact(OURS, **scope)) == code
    assert not exchange.asked


@pytest.mark.parametrize("org", ["", "a/b", "..", "a b", "../other", None, 7])
def test_an_organisation_is_a_name(org: Any) -> None:
    assert code_of(lambda: KosliClient(org, exchange=Canned(answer()))) == "bad_name"


def test_a_question_goes_over_the_wire_as_the_cli_sends_it() -> None:
    question = Question("h", "acme", OURS, Scope("prod", flow="web-ci"))
    request = assert_request(question)
    assert request.segments == ("asserts", "acme", "fingerprint", OURS)
    assert request.query == (("environment_name", "prod"), ("flow_name", "web-ci"))


def test_every_flow_is_asked_for_without_a_flow() -> None:
    assert assert_request(Question("h", "acme", OURS, Scope(flow="*"))).query == ()


def test_policies_are_one_set_whatever_their_order() -> None:
    one, other = (
        Question("h", "acme", OURS, scope_of(policy=names)) for names in (["b", "a"], ["a", "b"])
    )
    assert one == other
    assert assert_request(one).query == (("policy_name", "a"), ("policy_name", "b"))


def test_a_cassette_is_named_so_that_a_person_can_guess_it() -> None:
    names = {
        Scope("prod"): "acme/asserts/3f1b9c2d4e5f.environment=prod",
        Scope("prod", flow="web"): "acme/asserts/3f1b9c2d4e5f.environment=prod.flow=web",
        Scope(policies=("a", "b")): "acme/asserts/3f1b9c2d4e5f.policy=a,b",
        Scope(flow="web"): "acme/asserts/3f1b9c2d4e5f.flow=web",
        Scope(flow="*"): "acme/asserts/3f1b9c2d4e5f.every-flow",
    }
    for scope, name in names.items():
        assert assert_request(Question("h", "acme", OURS, scope)).cassette == name


def test_very_many_policies_still_make_a_name_that_a_disk_takes() -> None:
    many = tuple(f"policy-number-{number}" for number in range(50))
    name = assert_request(Question("h", "acme", OURS, Scope(policies=many))).cassette
    assert len(name.rpartition("/")[2]) < 64


def test_where_no_policy_is_required_only_a_bare_environment_may_be_judged_by_its_flows() -> None:
    bare = {"name": "prod", "policies": []}
    client, exchange = canned(answer("flow"), bare, require_policies=False)
    verdict = client.assert_artifact(OURS, environment="prod")
    assert verdict.note.startswith("judged by flow templates")
    assert [request.segments[0] for request in exchange.asked] == ["asserts", "environments"]
    client, _ = canned(answer("flow"), {"name": "prod", "policies": ["p"]}, require_policies=False)
    assert code_of(lambda: client.assert_artifact(OURS, environment="prod")) == "mismatch"
    client, _ = canned(answer("flow"), {"name": "dev", "policies": []}, require_policies=False)
    assert code_of(lambda: client.assert_artifact(OURS, environment="prod")) == "mismatch"
    client, _ = canned(answer("flow"), {"name": "prod"}, require_policies=False)
    assert code_of(lambda: client.assert_artifact(OURS, environment="prod")) == "mismatch"


@pytest.mark.parametrize(
    ("body", "scope", "options", "code"),
    [
        (answer("flow"), {"environment": "prod"}, {}, "mismatch"),
        (answer("flow"), {"policy": "p"}, {"require_policies": False}, "mismatch"),
        ([], {"environment": "prod"}, {"require_policies": False}, "malformed"),
    ],
)
def test_nothing_else_makes_an_answer_be_judged_by_flows(
    body: object, scope: dict[str, Any], options: dict[str, Any], code: str
) -> None:
    client, exchange = canned(body, {"name": "prod", "policies": []}, **options)
    assert code_of(lambda: client.assert_artifact(OURS, **scope)) == code
    assert [request.segments[0] for request in exchange.asked] == ["asserts"]


@pytest.mark.parametrize(
    ("options", "changes"),
    [({"max_age": 60}, {}), ({"allow_list_max_age": 60}, {"allow_listing": LISTING})],
)
def test_what_is_older_than_allowed_is_no_verdict(
    options: dict[str, Any], changes: dict[str, Any]
) -> None:
    client, _ = canned(answer(**changes), **options)
    assert code_of(lambda: client.assert_artifact(OURS, environment="prod")) == "too_old"


def test_an_allow_listing_does_not_look_anything_up() -> None:
    client, exchange = canned(answer(allow_listing=LISTING))
    assert client.assert_artifact(OURS, environment="prod").outcome is Outcome.ALLOW_LISTED
    assert len(exchange.asked) == 1


# The artifact endpoint.


def test_artifact_tells_commit_repository_and_build(client: KosliClient, sandbox: Sandbox) -> None:
    fingerprint = sandbox.data.artifacts["payments"].fingerprint
    details = client.artifact(fingerprint, "payments-ci")
    assert details.git_commit == "7416f878ee51e0c21551923b133bf5c31dad206a"
    assert details.repo_info is not None
    assert details.repo_info.name == "acme/payments"
    assert details.build_url == "https://github.com/acme/payments/actions/runs/140"


DETAILS = {
    "id": "1",
    "fingerprint": OURS,
    "filename": "app",
    "created_at": "2026-06-01",
    "last_modified_at": 1776922324.9,
    "evidence": {},
    "flow_name": "web-ci",
    "commit_lead_times": {},
    "build_lead_times": {},
}


def test_artifact_takes_null_for_all_that_may_be_null() -> None:
    nulls = dict.fromkeys(
        ["trail_name", "git_commit", "git_commit_info", "repo_info", "commit_url", "state",
         "running", "exited", "history", "annotations", "html_url", "deployments"]
    )  # fmt: skip
    client, _ = canned(DETAILS | nulls)
    assert client.artifact(OURS, "web-ci").git_commit_info is None


def test_artifact_sends_the_trail() -> None:
    client, exchange = canned(DETAILS)
    client.artifact(OURS, "web-ci", trail="v1")
    assert exchange.asked[0].query == (("trail", "v1"),)
    assert exchange.asked[0].cassette == "acme/artifacts/web-ci/3f1b9c2d4e5f.trail=v1"


@pytest.mark.parametrize("lie", [{"fingerprint": THEIRS}, {"flow_name": "api-ci"}])
def test_artifact_refuses_an_answer_about_another(lie: dict[str, str]) -> None:
    client, _ = canned(DETAILS | lie)
    assert code_of(lambda: client.artifact(OURS, "web-ci")) == "mismatch"


# Live artifacts.


def test_live_artifacts_are_joined_with_what_their_ids_stand_for(
    client: KosliClient, sandbox: Sandbox
) -> None:
    live = client.live_artifacts("acme/payments")
    where = {entry.environment for entry in live}
    assert where == {"prod", "staging"}
    assert {entry.fingerprint for entry in live} == {sandbox.data.artifacts["payments"].fingerprint}
    assert sandbox.requests[0].path.endswith("/repos/acme/live-artifacts/acme%2Fpayments")


def test_a_dangling_live_artifact_is_kept_without_its_fingerprint(client: KosliClient) -> None:
    (dangling,) = [
        entry for entry in client.live_artifacts("acme/ledger") if entry.environment == "beta"
    ] or [entry for entry in client.live_artifacts("acme/ledger") if entry.fingerprint is None]
    assert dangling.fingerprint is None


def test_nothing_embedded_leaves_every_entry_dangling() -> None:
    entry = {
        "environment_id": "e",
        "artifact_id": "a",
        "artifact_name": "app",
        "snapshot_index": 1,
        "started_at": 1.5,
    }
    client, _ = canned({"live_artifacts": [entry], "_embedded": None})
    (live,) = client.live_artifacts("acme/web")
    assert (live.fingerprint, live.environment, live.compliance) == (None, None, None)


LIVE = {
    "environment_id": "e",
    "artifact_id": "a",
    "artifact_name": "app",
    "snapshot_index": 1,
    "started_at": 1.5,
}
BUILT = {"id": "a", "fingerprint": OURS}
WHERE = {"id": "e", "name": "prod", "type": "K8S"}


@pytest.mark.parametrize(
    ("artifacts", "environments", "what"),
    [
        ([BUILT, BUILT | {"fingerprint": THEIRS}], [WHERE], "'a'"),
        ([BUILT | {"fingerprint": THEIRS}, BUILT], [WHERE], "'a'"),
        ([BUILT], [WHERE, WHERE | {"name": "dev"}], "'e'"),
    ],
)
def test_an_id_that_stands_for_two_things_stands_for_none(
    artifacts: list[object], environments: list[object], what: str
) -> None:
    embedded = {"artifacts": artifacts, "environments": environments}
    client, _ = canned({"live_artifacts": [LIVE], "_embedded": embedded})
    with pytest.raises(NoVerdict, match=f"tells two things of the id {what}") as caught:
        client.live_artifacts("acme/web")
    assert caught.value.code == "malformed"
    assert "repo acme/web" in caught.value.message


def test_what_is_told_twice_alike_is_told() -> None:
    embedded = {"artifacts": [BUILT, BUILT], "environments": [WHERE, WHERE]}
    client, _ = canned({"live_artifacts": [LIVE], "_embedded": embedded})
    (live,) = client.live_artifacts("acme/web")
    assert (live.fingerprint, live.environment) == (OURS, "prod")


def test_a_live_artifact_keeps_its_commit() -> None:
    entry = {
        "environment_id": "e",
        "artifact_id": "a",
        "artifact_name": "app",
        "snapshot_index": 1,
        "started_at": 1.5,
    }
    built = {"id": "a", "fingerprint": OURS, "commit_sha": "7416f87", "commit_url": "https://x"}
    embedded = {"artifacts": [built], "environments": []}
    client, _ = canned({"live_artifacts": [entry], "_embedded": embedded})
    (live,) = client.live_artifacts("acme/web")
    assert (live.commit_sha, live.commit_url, live.environment) == ("7416f87", "https://x", None)


def test_a_provider_tells_repositories_of_one_name_apart(client: KosliClient) -> None:
    assert client.live_artifacts("acme/web", provider="github")
    client, exchange = canned({"live_artifacts": []})
    client.live_artifacts("acme/web", provider="github")
    client.live_artifacts("acme/web")
    assert [request.query for request in exchange.asked] == [(("provider", "github"),), ()]
    assert code_of(lambda: client.live_artifacts("acme/web", provider="sourceforge")) == "bad_name"


@pytest.mark.parametrize("repo", ["", "..", "a\nb", "a\0b"])
def test_a_repo_that_is_no_name_is_refused(client: KosliClient, repo: str) -> None:
    assert code_of(lambda: client.live_artifacts(repo)) == "bad_name"


# Snapshots and environments.


@pytest.mark.parametrize(
    ("expression", "environment", "which"),
    [
        ("prod", "prod", "-1"),
        ("prod#42", "prod", "42"),
        ("prod~1", "prod", "~1"),
        ("prod@{2.hours.ago}", "prod", "@{2.hours.ago}"),
        ("prod@{2026-10-02T12:00:00}", "prod", "@{2026-10-02T12:00:00}"),
        ("a~b", "a~b", "-1"),
        ("a~b~3", "a~b", "~3"),
        ("v1.2", "v1.2", "-1"),
    ],
)
def test_expressions(expression: str, environment: str, which: str) -> None:
    assert parse_expression(expression) == (environment, which)


@pytest.mark.parametrize("text", ["", "#1", "prod#", "prod#x", "prod@{}", "pr od", "prod/1", "~1"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    assert code_of(lambda: parse_expression(text)) == "bad_name"


def test_a_snapshot_leaves_out_what_exited(client: KosliClient) -> None:
    names = {artifact.name.split("@")[0] for artifact in client.snapshot("prod").artifacts}
    assert "ghcr.io/acme/payments:1.4.0" in names
    assert "ghcr.io/acme/payments:1.3.9" not in names


@pytest.mark.parametrize(
    ("annotation", "runs"),
    [
        (None, True),
        ({"type": "changed", "was": 2, "now": 1}, True),
        ({"type": "exited"}, False),
        ({"type": "exited", "now": 0}, False),
        ({"type": "exited", "now": 1}, True),
        ({"type": "changed", "now": 0}, False),
    ],
)
def test_what_has_exited_says_so_or_has_no_instance(
    annotation: dict[str, object] | None, runs: bool
) -> None:
    entry = {"name": "app", "fingerprint": OURS, "annotation": annotation}
    client, _ = canned({"index": 1, "artifacts": [entry], "timestamp": 1.0})
    assert bool(client.snapshot("prod").artifacts) is runs


def test_an_older_snapshot_holds_what_ran_then(client: KosliClient) -> None:
    names = {artifact.name.split("@")[0] for artifact in client.snapshot("prod#41").artifacts}
    assert "ghcr.io/acme/payments:1.3.9" in names
    assert client.snapshot("prod~1").index == 41


def test_another_snapshot_than_the_one_asked_for_is_refused() -> None:
    client, _ = canned({"index": 41, "artifacts": [], "timestamp": 1.0})
    assert code_of(lambda: client.snapshot("prod#42")) == "mismatch"


@pytest.mark.parametrize(("expression", "fine"), [("prod", False), ("prod~1", True)])
def test_the_newest_snapshot_is_none_that_says_it_is_not(expression: str, fine: bool) -> None:
    client, _ = canned({"index": 41, "artifacts": [], "timestamp": 1.0, "is_latest": False})
    if fine:
        assert client.snapshot(expression).index == 41
        return
    with pytest.raises(NoVerdict, match="snapshot 41, which is not the latest") as caught:
        client.snapshot(expression)
    assert caught.value.code == "mismatch"


def test_each_snapshot_has_a_cassette_of_its_own() -> None:
    client, exchange = canned({"index": 42, "artifacts": [], "timestamp": 1.0})
    for expression in ("prod", "prod#42", "prod~1"):
        client.snapshot(expression)
    names = [request.cassette for request in exchange.asked]
    assert names == [f"acme/snapshots/prod.{which}" for which in ("latest", "42", "~1")]


def test_a_snapshot_with_a_digest_that_is_none_is_refused() -> None:
    entry = {"name": "app", "fingerprint": "abc"}
    client, _ = canned({"index": 1, "artifacts": [entry], "timestamp": 1.0})
    assert code_of(lambda: client.snapshot("prod")) == "bad_fingerprint"


def test_the_moment_of_a_reply_is_ours_whatever_the_answer_says() -> None:
    client, _ = canned({"name": "prod", "received_at": "1999-01-01T00:00:00Z"})
    assert client.environment("prod").received_at == NOW


def test_an_environment_tells_its_policies(client: KosliClient) -> None:
    assert client.environment("beta").policies == []
    assert "provenance" in (client.environment("prod").policies or [])
    assert client.environment("everywhere").included_environments == ["prod", "staging"]


def test_an_answer_about_another_environment_is_refused() -> None:
    client, _ = canned({"name": "dev", "policies": []})
    assert code_of(lambda: client.environment("prod")) == "mismatch"


def test_an_answer_about_the_environment_of_another_organisation_is_refused() -> None:
    client, _ = canned({"name": "prod", "org": "other"})
    assert code_of(lambda: client.environment("prod")) == "mismatch"
    client, _ = canned({"name": "prod", "org": "acme"})
    assert client.environment("prod").org == "acme"


@pytest.mark.parametrize("body", [[], "prod", None, {}])
def test_an_answer_that_is_no_environment_is_refused(body: object) -> None:
    client, _ = canned(body)
    assert code_of(lambda: client.environment("prod")) == "malformed"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda client: client.environment("nowhere"), "unknown_environment"),
        (lambda client: client.snapshot("nowhere"), "unknown_environment"),
        (lambda client: client.snapshot("prod#99"), "unknown_snapshot"),
        (lambda client: client.snapshot("dr"), "empty_environment"),
        (lambda client: client.live_artifacts("acme/none"), "unknown_repo"),
        (lambda client: client.assert_artifact(OURS, environment="nowhere"), "unknown_environment"),
        (lambda client: client.assert_artifact(OURS, policy="none"), "unknown_policy"),
    ],
)
def test_what_kosli_does_not_have_is_said_by_its_kind(
    client: KosliClient, call: Callable[[KosliClient], object], code: str
) -> None:
    assert code_of(lambda: call(client)) == code


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"status": 401, "body": {"message": "no"}}, "unauthorized"),
        ({"status": 403, "body": "Denied"}, "forbidden"),
        ({"status": 302, "headers": {"Location": "/login"}}, "redirected"),
        ({"status": 500, "body": "oops"}, "server_error"),
        ({"content_type": "text/html", "body": "<title>Sign in</title>"}, "malformed"),
        ({"cut": 20}, "broken_reply"),
    ],
)
def test_a_fault_of_the_server_is_no_verdict(
    client: KosliClient, sandbox: Sandbox, fault: dict[str, Any], code: str
) -> None:
    sandbox.fault("*", **fault)
    fingerprint = sandbox.data.artifacts["payments"].fingerprint
    assert code_of(lambda: client.assert_artifact(fingerprint, environment="prod")) == code


def test_a_wrong_key_is_unauthorized(sandbox: Sandbox) -> None:
    client = KosliClient("acme", api_token="wrong", host=sandbox.url, max_api_retries=0)
    assert code_of(lambda: client.environment("prod")) == "unauthorized"


def test_the_key_comes_from_the_environment_when_a_request_is_sent(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = KosliClient("acme", host=sandbox.url, max_api_retries=0)
    monkeypatch.setenv("KOSLI_API_TOKEN", sandbox.token)
    assert client.environment("prod").name == "prod"


@pytest.mark.parametrize("given", [None, "", " \n"])
def test_a_key_that_is_missing_or_empty_is_called_missing(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.setenv("KOSLI_API_TOKEN", " ")
    client = KosliClient("acme", api_token=given, host=sandbox.url)
    with pytest.raises(NoVerdict) as caught:
        client.environment("prod")
    assert (caught.value.code, caught.value.attempts) == ("no_token", 0)
    assert "give KosliClient an api_token" in caught.value.todo
    assert not sandbox.requests


# The client itself.


def test_a_client_shows_whom_it_asks_and_no_secret() -> None:
    client = KosliClient("acme", api_token="s3cr3t", host="https://app.us.kosli.com")
    assert repr(client) == "<KosliClient of acme at https://app.us.kosli.com>"


def test_a_client_closes_its_connections_at_the_end_of_a_block(sandbox: Sandbox) -> None:
    with KosliClient("acme", api_token=sandbox.token, host=sandbox.url) as client:
        assert client.environment("prod").name == "prod"
    with pytest.raises(NoVerdict, match="closed already"):
        client.environment("prod")


def test_closing_leaves_an_exchange_that_was_given_alone() -> None:
    client, _ = canned({"name": "prod"})
    with client:
        pass
    client.close()
    assert client.environment("prod").name == "prod"


# What is passed by mistake.


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        (lambda client: client.assert_artifact(None, environment="p"), "bad_fingerprint", "'None'"),
        (lambda client: client.assert_artifact(5, environment="p"), "bad_fingerprint", "'5'"),
        (lambda client: client.artifact(None, "web-ci"), "bad_fingerprint", "'None'"),
        (lambda client: client.artifact(OURS, None), "bad_name", "'None'"),
        (lambda client: client.artifact(OURS, "web-ci", trail=5), "bad_name", "'5'"),
        (lambda client: client.live_artifacts(None), "bad_name", "'None' can not be"),
        (lambda client: client.live_artifacts("a/\ud800"), "bad_name", "a repository"),
        (lambda client: client.live_artifacts("a/b", provider=["github"]), "bad_name", "github"),
        (lambda client: client.snapshot(None), "bad_name", "'None' is no snapshot"),
        (lambda client: client.snapshot("prod@{\ud800}"), "bad_name", "is no snapshot"),
        (lambda client: client.environment(None), "bad_name", "'None'"),
        (lambda client: client.assert_artifact(OURS, environment=5), "bad_name", "environment"),
        (lambda client: client.assert_artifact(OURS, flow=["*"]), "bad_name", "flow"),
        (lambda client: client.assert_artifact(OURS, policy=5), "bad_name", "'5' can not be"),
        (lambda client: client.assert_artifact(OURS, policy=[5]), "bad_name", "'5' can not be"),
        (lambda client: client.assert_artifact(OURS, policy=["a", None]), "bad_name", "'None'"),
        (lambda client: client.assert_artifact(OURS, policy=["a", ""]), "bad_name", "policy"),
        (lambda client: client.assert_artifact(OURS, policy=b"a"), "bad_name", "policy"),
    ],
)
def test_what_is_of_a_wrong_type_is_no_verdict_and_never_asked(
    call: Callable[[Any], object], code: str, said: str
) -> None:
    client, exchange = canned(answer())
    with pytest.raises(NoVerdict, match=said) as caught:
        call(client)
    assert caught.value.code == code
    assert not exchange.asked
