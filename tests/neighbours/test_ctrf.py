"""A CTRF report has the outcome, the reason and the link, and times that can be."""

from __future__ import annotations

import json

import pytest

from tests.neighbours.conftest import Beside, needs
from tests.neighbours.suite import EVERY, OUTCOMES, PASSED, REFUSED, SUITE, UNKNOWN, name
from tests.story import WEB

pytestmark = needs("pytest-json-ctrf")

MINUTE = 60_000


def test_status_message_and_times(all_beside: Beside, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    all_beside("ctrf", "--ctrf=out.json").assert_outcomes(**OUTCOMES)
    report = json.loads((pytester.path / "out.json").read_text("utf-8"))["results"]
    found = {name(test["name"]): test for test in report["tests"]}
    assert set(found) == EVERY
    assert {one for one in found if found[one]["status"] == "passed"} == PASSED
    assert {one for one in found if found[one]["status"] == "failed"} == REFUSED | UNKNOWN
    assert report["summary"]["flaky"] == 0
    for test in found.values():
        assert report["summary"]["start"] - MINUTE < test["start"] <= test["stop"]
        assert 0 <= test["duration"] < MINUTE
    for one in REFUSED:
        assert found[one]["message"].startswith("web 0722a81 is not compliant: snyk-scan missing")
        assert f"/artifacts/{WEB}?" in found[one]["message"]
        assert found[one]["retries"] == 0
    assert "no verdict (unknown_environment)" in found["test_unknown"]["message"]
    assert found["test_compliant"]["parameters"] == {
        "_kosli_check": "payments e49d561 against environment prod"
    }


def test_a_dry_run_is_skipped(beside: Beside, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    beside("ctrf", "--ctrf=out.json", "--kosli-dry-run", "-k", "not teardown and not plain")
    report = json.loads((pytester.path / "out.json").read_text("utf-8"))["results"]
    assert {test["status"] for test in report["tests"]} == {"skipped"}
    assert all("dry run" in test["message"] for test in report["tests"])


@needs("pytest-rerunfailures")
def test_a_refused_rerun_is_neither_passed_nor_flaky(
    beside: Beside, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(SUITE)
    beside("ctrf rerunfailures", "--ctrf=out.json", "--reruns=1", "-k", "test_refused")
    report = json.loads((pytester.path / "out.json").read_text("utf-8"))["results"]
    assert {test["status"] for test in report["tests"]} == {"failed"}
    assert {test["retries"] for test in report["tests"]} == {1}
    assert report["summary"]["flaky"] == 0
    attempts = [attempt for test in report["tests"] for attempt in test["retryAttempts"]]
    assert {attempt["status"] for attempt in attempts} == {"failed"}
    assert all(0 <= attempt["duration"] < MINUTE for attempt in attempts)
