"""What of a reply a recording must keep, for every kind of question."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pytest_kosli.answers import Snapshot
from pytest_kosli.api.kosli import assert_request
from pytest_kosli.api.replay import substance
from pytest_kosli.model import Outcome, Request, Scope
from tests.answers import OURS, POLICIES, PROD, TEMPLATES, WEB, answer, question, reply

SCOPES = {
    "an environment": (PROD, "environment"),
    "an environment and a flow": (Scope("prod", flow="web-ci"), "environment"),
    "two policies": (POLICIES, "policy"),
    "policies and a flow": (Scope(policies=POLICIES.policies, flow="web-ci"), "policy"),
    "every flow": (TEMPLATES, "flow"),
    "one flow": (WEB, "flow"),
}
SNAPSHOT: dict[str, Any] = {
    "index": 7,
    "timestamp": 1787107798.5,
    "artifacts": [{"name": "web:1", "fingerprint": OURS, "compliant": True}],
}
DETAILS = {"fingerprint": OURS, "flow_name": "web-ci", "git_commit": "abc1234"}


def judged(scope: Scope, kind: str) -> Any:
    verdicts: Any = substance(assert_request(question(scope)), reply(answer(kind)))
    return verdicts[0][0]


@pytest.mark.parametrize("name", SCOPES)
def test_a_reply_is_judged_on_the_very_question_that_was_asked(name: str) -> None:
    scope, kind = SCOPES[name]
    assert judged(scope, kind) is Outcome.COMPLIANT
    for other in {"environment", "policy", "flow"} - {kind}:
        assert judged(scope, other) == "mismatch"
    if scope.flow_name:
        assert judged(Scope(scope.environment, scope.policies, "api-ci"), kind) == "mismatch"


@pytest.mark.parametrize("which", ["-1", "7", "~1", "@{2.hours.ago}"])
def test_a_snapshot_is_read_however_it_was_asked_for(which: str) -> None:
    request = Request(("snapshots", "acme", "prod", which))
    snapshot = SNAPSHOT | {"is_latest": which == "-1"}
    found = substance(request, reply(snapshot))
    assert isinstance(found, Snapshot)
    assert [one.fingerprint for one in found.artifacts] == [OURS]
    other: Any = substance(request, reply(snapshot | {"index": 8}))
    assert other == (("mismatch", 200) if which == "7" else msgspec.structs.replace(found, index=8))


def test_an_artifact_of_which_little_is_known_has_substance_too() -> None:
    request = Request(("artifacts", "acme", "web-ci", "fingerprint", OURS))
    bare = substance(request, reply(DETAILS))
    assert bare == (None, "abc1234", None, None, None)
    repo = {"name": "acme/web", "url": "https://git.example/acme/web"}
    known = substance(request, reply(DETAILS | {"repo_info": repo}))
    assert known == (None, "abc1234", None, ("acme/web", "https://git.example/acme/web"), None)
    told = repo | {"description": "ask jo", "provider": "github"}
    assert substance(request, reply(DETAILS | {"repo_info": told})) == known
