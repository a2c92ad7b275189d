"""The table of lies: whatever a server or its surroundings do, green is possible in one way.

One suite asks about one artifact a row; the sandbox answers each as its row says. It runs without
xdist, with it switched off, and with two workers. Each row names the lessons that it comes from.
"""

from __future__ import annotations

import gzip
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytest

from tests.answers import (
    IGNORED,
    LISTING,
    MISSING,
    OURS,
    THEIRS,
    answer,
    attestation,
    flow,
    policy,
    resolution,
    rule,
    status,
)
from tests.sandbox import Sandbox

Json = dict[str, Any]
FAILED, ERROR, PASSED = "failure", "error", "passed"


@dataclass(frozen=True)
class Row:
    """What the server does about one artifact, how the test must end, and a part of its text."""

    name: str
    outcome: str
    words: str
    body: object = None
    lessons: str = ""
    scope: str = 'environment="prod"'
    fault: Json = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        return sha256(self.name.encode()).hexdigest()

    def about_ours(self, body: object) -> object:
        """Return a body that speaks of this row's artifact where the template speaks of ours."""
        if isinstance(body, bytes):
            return body.replace(OURS.encode(), self.fingerprint.encode())
        return json.loads(json.dumps(body).replace(OURS, self.fingerprint))


def twice(body: Json, key: str, value: object) -> bytes:
    """Return JSON in which one key stands twice."""
    return json.dumps(body).encode()[:-1] + f', "{key}": {json.dumps(value)}}}'.encode()


POLICIES = 'policy=["provenance", "scans"]'
FLOWS = 'flow="*"'
GONE = {"message": f"Artifact with fingerprint '{OURS}' does not exist"}
ELSEWHERE = {"message": f"Artifact with fingerprint '{THEIRS}' does not exist"}
NO_ENVIRONMENT = {"message": "Environment named 'prod' does not exist for organization 'acme'"}
NO_POLICY = {"message": "Policy 'scans' does not exist in organization 'acme'"}
INVALID = {"message": "Input payload validation failed", "errors": {"query.flow_name": "no"}}
LOGIN = "<!DOCTYPE html><title>Sign in</title>"
HOSTILE = "\x1b[2K\x1b[1A\x1b[32mCOMPLIANT\u202e<b>&::error::"

ROWS = [
    # The one way to green, in each scope, and the shapes in which it really comes.
    Row("compliant", PASSED, "", answer()),
    Row("compliant by policies", PASSED, "", answer("policy"), scope=POLICIES),
    Row("compliant by flows", PASSED, "", answer("flow"), scope=FLOWS),
    Row("flows an object", PASSED, "", answer("flow", flows=flow()), "K1", FLOWS),
    Row("flows null", PASSED, "", answer("flow", flows=None), "K1", FLOWS),
    Row("an ignored rule without satisfied", PASSED, "", answer(policy_evaluations=[
        policy("p", True, {"rule": {"type": "provenance"}, "ignored": True})]), "K6"),
    Row("allow-listed", PASSED, "", answer(allow_listing=LISTING, policy_evaluations=[
        policy("p", False, MISSING)]), "L22"),
    # A verdict, and it refuses.
    Row("not compliant", FAILED, "is not compliant", answer(compliant=False)),
    Row("not compliant by policies", FAILED, "is not compliant",
        answer("policy", compliant=False), scope=POLICIES),
    Row("not compliant by flows", FAILED, "is not compliant", answer("flow", compliant=False),
        scope=FLOWS),
    Row("not compliant, though its first flow is", FAILED, "is not compliant", answer(
        "flow", False, compliance_status=status(), flows=[flow(), flow("p", False)]), "K2", FLOWS),
    Row("not compliant and no reason", FAILED, "gives no reason",
        answer(compliant=False, policy_evaluations=[])),
    Row("not compliant by an unknown resolution", FAILED, "brand_new", answer(
        compliant=False, policy_evaluations=[policy("p", False, rule(
            False, {"type": "brand_new", "context": None}))]), "K7"),
    Row("hostile names", FAILED, "\\x1b[2K", answer(
        compliant=False, policy_evaluations=[policy(HOSTILE, False)]), "L35"),
    Row("unknown", FAILED, "is unknown to Kosli", GONE, "K11", fault={"status": 404}),
    Row("unknown in few words", FAILED, "is unknown to Kosli", {"message": "Artifact not found"},
        "K11", fault={"status": 404}),
    # An answer, but not to this question.
    Row("another fingerprint", ERROR, "another question", answer(fingerprint=THEIRS), "L7"),
    Row("another fingerprint inside", ERROR, "another question", answer(
        compliance_status=status() | {"artifact_fingerprint": THEIRS}), "L7"),
    Row("another fingerprint in a flow", ERROR, "another question", answer(
        flows=[flow(state=status() | {"artifact_fingerprint": THEIRS})]), "L7"),
    Row("scope flow for environment", ERROR, "we asked about scope environment", answer("flow"),
        "L8 K4"),
    Row("scope policy for environment", ERROR, "we asked about scope", answer("policy"), "L8"),
    Row("scope environment for flow", ERROR, "we asked about scope", answer(), "L8", FLOWS),
    Row("scope environment for policy", ERROR, "we asked about scope", answer(), "L8", POLICIES),
    Row("scope flow for policy", ERROR, "we asked about scope", answer("flow"), "L8", POLICIES),
    Row("another environment", ERROR, "we asked about environment", answer(environment="dev"),
        "L8"),
    Row("one policy of two", ERROR, "we asked about policies", answer(
        "policy", policy_evaluations=[policy()]), "L8", POLICIES),
    Row("the same policy twice", ERROR, "we asked about policies", answer(
        "policy", policy_evaluations=[policy(), policy()]), "L8 L11", POLICIES),
    Row("another flow", ERROR, "we asked about flow", answer("flow"), "L8",
        'flow="somewhere-else"'),
    Row("no flow, where one was asked about", ERROR, "the answer is about none", answer(
        flow=None, flows=[]), "L8", 'environment="prod", flow="web-ci"'),
    Row("another flow at the top", ERROR, "we asked about flow", answer(flows=[]), "L8",
        'environment="prod", flow="somewhere-else"'),
    Row("unknown, but about another", ERROR, "another question", ELSEWHERE, "L7 K11",
        fault={"status": 404}),
    # Nothing behind it.
    Row("no policies", ERROR, "evaluated no policy", answer(policy_evaluations=[]), "L1 K4"),
    Row("null policies", ERROR, "evaluated no policy", answer(policy_evaluations=None), "L1"),
    Row("no flows", ERROR, "names no flow", answer("flow", flows=[]), "L1", FLOWS),
    Row("a policy twice", ERROR, "lists a policy twice", answer(
        policy_evaluations=[policy(), policy()]), "L11"),
    Row("a policy that contradicts", ERROR, "NON-COMPLIANT below it", answer(
        policy_evaluations=[policy("p", False)]), "L10"),
    Row("a rule that contradicts", ERROR, "is not satisfied below it", answer(
        policy_evaluations=[policy("p", True, MISSING, IGNORED)]), "L10"),
    Row("a flow that contradicts", ERROR, "is not compliant below it", answer(
        "flow", flows=[flow(), flow("p", False)]), "L10", FLOWS),
    Row("a flow whose state has another word", ERROR, "is not compliant below it", answer(
        "flow", flows=[flow(state=status() | {"status": "INCOMPLETE"})]), "L10", FLOWS),
    Row("a flow with a failed attestation", ERROR, "is not compliant below it", answer(
        "flow", flows=[flow(state=status(True, attestation("scan", False)))]), "L10", FLOWS),
    Row("a state that contradicts", ERROR, "the state at its top is not compliant", answer(
        "flow", compliance_status=status(False)), "L10", FLOWS),
    Row("a flow that is not listed", ERROR, "at its top is none of those that it lists", answer(
        flow="elsewhere"), "L10"),
    Row("a satisfied rule that tells of a failure", ERROR, "is not satisfied below it", answer(
        policy_evaluations=[policy("p", True, rule(True, resolution("missing_attestation")))]),
        "L10"),
    Row("an allow-listing by nobody", ERROR, "can not be relied on", answer(
        allow_listing={"description": "trust me"}), "L21 L22"),
    Row("an allow-listing out of place", ERROR, "has no place in scope flow", answer(
        "flow", allow_listing=LISTING), "L21", FLOWS),
    # Not an answer at all.
    Row("only a word", ERROR, "can not be relied on", {"compliant": True}, "L4"),
    Row("compliant missing", ERROR, "can not be relied on", {
        key: value for key, value in answer().items() if key != "compliant"}, "L4"),
    Row("compliant a text", ERROR, "can not be relied on", answer() | {"compliant": "true"}, "L12"),
    Row("compliant a number", ERROR, "can not be relied on", answer() | {"compliant": 1}, "L12"),
    Row("compliant null", ERROR, "can not be relied on", answer() | {"compliant": None}, "L4"),
    Row("compliant twice", ERROR, "stands there twice", twice(
        answer(compliant=False), "compliant", True), "L12"),
    Row("scope missing", ERROR, "can not be relied on", {
        key: value for key, value in answer().items() if key != "scope"}, "L4"),
    Row("trailing data", ERROR, "can not be relied on", json.dumps(answer()).encode() + b"{}",
        "L12"),
    Row("NaN", ERROR, "NaN is not JSON", json.dumps(answer() | {"x": float("nan")}).encode(),
        "L12"),
    Row("too deep", ERROR, "nested too deeply", json.dumps(answer()).encode()[:-1]
        + b', "x":' + b"[" * 500 + b"]" * 500 + b"}", "L29"),
    Row("too large", ERROR, "larger than 4 MiB", answer() | {"x": "x" * (4 * 1024 * 1024)}, "L29"),
    Row("a gzip bomb", ERROR, "larger than 4 MiB", gzip.compress(b" " * (8 * 1024 * 1024)), "L29",
        fault={"headers": {"Content-Encoding": "gzip"}}),
    Row("UTF-16", ERROR, "can not be relied on", json.dumps(answer()).encode("utf-16"), "L12"),
    Row("latin-1 charset", ERROR, "charset is latin-1", answer(), "L12",
        fault={"content_type": "application/json; charset=latin-1"}),
    Row("an array", ERROR, "can not be relied on", [answer()], "L4"),
    Row("null", ERROR, "can not be relied on", b"null", "L4"),
    Row("empty", ERROR, "can not be relied on", b"", "L4"),
    Row("half", ERROR, "can not be relied on", json.dumps(answer()).encode()[:-20], "L4"),
    Row("cut", ERROR, "no verdict (broken_reply)", answer(), "L4", fault={"cut": 30}),
    Row("a login page", ERROR, "content type is text/html", LOGIN, "L4 P421",
        fault={"content_type": "text/html"}),
    Row("a login page that says JSON", ERROR, "can not be relied on", LOGIN, "L4",
        fault={"content_type": "application/json"}),
    # Another status, whatever the body claims.
    *(Row(f"{code} with a good body", ERROR, f"Kosli answered {code}", answer(), "L4",
          fault={"status": code}) for code in (201, 202, 203, 206, 400, 401, 403, 418, 501)),
    Row("204", ERROR, "Kosli answered 204", b"", "L4", fault={"status": 204}),
    *(Row(f"{code} to the same path", ERROR, "redirects are refused", answer(), "L26", fault={
        "status": code, "headers": {"Location": "/api/v2/elsewhere"}})
      for code in (301, 302, 303, 307, 308)),
    *(Row(f"{code} for ever", ERROR, f"Kosli answered {code}", {"message": "later"}, "",
          fault={"status": code}) for code in (409, 429, 500, 502, 503, 504)),
    Row("429 for an hour", ERROR, "Kosli answered 429", {"message": "later"}, "L30", fault={
        "status": 429, "headers": {"Retry-After": "3600"}}),
    Row("400 with errors", ERROR, "query.flow_name: no", INVALID, "K12", fault={"status": 400}),
    Row("400 with a list of errors", ERROR, "name: bad", {"message": "no", "errors": [
        {"name": "bad"}]}, "K12", fault={"status": 400}),
    Row("403 in one word", ERROR, "Denied", b'"Denied"', "K12", fault={"status": 403}),
    Row("404 of the environment", ERROR, "kosli list environments", NO_ENVIRONMENT, "K11",
        fault={"status": 404}),
    Row("404 of a policy", ERROR, "kosli list policies", NO_POLICY, "K11", POLICIES,
        fault={"status": 404}),
    Row("404 of nothing in particular", ERROR, "Kosli answered 404", {"message": "Not Found"},
        "K11", fault={"status": 404}),
    Row("404 as a page", ERROR, "an HTML page", LOGIN, "K11", fault={
        "status": 404, "content_type": "text/html"}),
    Row("404 of an empty object", ERROR, "without a message", {}, "K11", fault={"status": 404}),
    Row("404 empty", ERROR, "with an empty body", b"", "K11", fault={"status": 404}),
    # Time.
    Row("silent", ERROR, "no verdict (timeout)", answer(), "L30", fault={"delay": 60}),
    Row("dripping", ERROR, "no verdict (timeout)", answer(), "L30", fault={"drip": 1}),
]  # fmt: skip

NOT_HERE = {
    "L2": "the verdict's truth value raises: test_judge.py; a mutation run is described in docs/",
    "L3": "an error in a hook of ours fails the run: test_weather.py",
    "L5": "exit codes do not depend on reports: tests/report",
    "L6": "runs with nothing to check: test_discovery.py and test_flags.py",
    "L9": "typos in the mark and in settings: test_marker.py and test_options.py",
    "L13": "prefixes and look-alikes of fingerprints: test_client.py and tests/fingerprint",
    "L14": "a tag that moves: tests/api/test_registry.py",
    "L15": "a file that changes: tests/fingerprint",
    "L16": "old and future dates: test_discovery.py",
    "L17": "the digest of nothing: tests/fingerprint",
    "L18": "colliding folders are Kosli's rule; the vectors keep them: tests/fingerprint",
    "L19": "an ignore file that hides itself: tests/fingerprint",
    "L20": "two implementations: tests/parity",
    "L23": "the off switch: test_outcomes.py",
    "L24": "lax values: test_options.py",
    "L25": "no default is open: test_options.py holds every default",
    "L27": "ambient credentials: tests/api/test_http.py",
    "L28": "secrets in what we write: test_secrets.py",
    "L31": "names that change a path: tests/api/test_http.py and test_client.py",
    "L32": "nothing from an answer is fetched: tests/api/test_http.py",
    "L33": "cassettes are input: tests/api/test_cassettes.py",
    "L34": "offline means no socket: tests/api/test_cassettes.py",
    "L36": "nothing is skipped in silence: test_discovery.py",
}


def test_every_lesson_has_a_row_or_a_reason() -> None:
    named = {lesson for row in ROWS for lesson in row.lessons.split() if lesson[0] == "L"}
    assert named | set(NOT_HERE) == {f"L{number}" for number in range(1, 37)}
    assert not named & set(NOT_HERE)


def test_names_are_different() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def spoiled(row: Row) -> dict[str, Any]:
    return {"body": row.about_ours(row.body), "status": 200} | row.fault


@pytest.fixture
def lying(online: Sandbox) -> Sandbox:
    for row in ROWS:
        online.fault(
            f"asserts/acme/fingerprint/{row.fingerprint}",
            **spoiled(row),
        )
    return online


SUITE = """\
import pytest

@pytest.fixture
def deploy(request):
    print("DEPLOYED", request.node.name)
"""
TEST = """
@pytest.mark.kosli("a{number}=sha256:{fingerprint}", {scope})
def test_{number}(deploy): ...
"""


@pytest.fixture
def told(
    pytester: pytest.Pytester, lying: Sandbox, everywhere: tuple[str, ...]
) -> Callable[[], dict[str, tuple[str, str, bool]]]:
    """Run the suite of all rows; return outcome, text, and whether a fixture ran, by row."""

    def run() -> dict[str, tuple[str, str, bool]]:
        tests = [
            TEST.format(number=number, fingerprint=row.fingerprint, scope=row.scope)
            for number, row in enumerate(ROWS)
        ]
        pytester.makepyfile(SUITE + "".join(tests))
        result = pytester.runpytest(
            "-p", "no:cacheprovider", "--junit-xml=out.xml", "-ojunit_logging=system-out",
            "-ojunit_log_passing_tests=true", "--kosli-timeout=2", *everywhere,
        )  # fmt: skip
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        found = {}
        for case in ET.parse(pytester.path / "out.xml").iter("testcase"):
            row = ROWS[int(case.attrib["name"].split("[")[0].removeprefix("test_"))]
            bad = [child for child in case if child.tag in (FAILED, ERROR, "skipped")]
            assert len(bad) <= 1
            text = (bad[0].attrib["message"] + "\n" + (bad[0].text or "")) if bad else ""
            ran = any("DEPLOYED" in (child.text or "") for child in case)
            found[row.name] = (bad[0].tag if bad else PASSED, text, ran)
        return found

    return run


def test_no_lie_is_green(told: Callable[[], dict[str, tuple[str, str, bool]]]) -> None:
    found = told()
    wrong = []
    for row in ROWS:
        outcome, text, ran = found[row.name]
        flat = " ".join(text.replace("\nE ", "\n").split())
        if outcome != row.outcome:
            wrong.append(f"{row.name}: {outcome}, not {row.outcome}: {text[:400]}")
        elif row.words not in flat:
            wrong.append(f"{row.name}: {row.words!r} is not in {flat[:600]}")
        elif ran is not (row.outcome == PASSED):
            wrong.append(f"{row.name}: the fixture {'ran' if ran else 'did not run'}")
        elif "Traceback" in text or "\x1b" in text:
            wrong.append(f"{row.name}: {text}")
    assert not wrong, "\n".join(wrong)
