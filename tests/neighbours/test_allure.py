"""Allure's results say failed, broken or skipped as pytest does, and link to Kosli."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.neighbours.conftest import Beside, needs
from tests.neighbours.suite import EVERY, OUTCOMES, PASSED, REFUSED, SUITE, UNKNOWN, name
from tests.story import WEB

pytestmark = needs("allure-pytest")


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what Allure says of each test; there is one result each."""
    read = [json.loads(path.read_text("utf-8")) for path in folder.glob("*-result.json")]
    found = {name(result["fullName"].replace("#", "::")): result for result in read}
    assert len(found) == len(read)
    return found


def labels(result: dict[str, Any]) -> list[str]:
    return [label["value"] for label in result["labels"] if label["name"] == "kosli"]


def test_status_link_and_label(all_beside: Beside, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    all_beside("allure_pytest", "--alluredir=allure").assert_outcomes(**OUTCOMES)
    found = results(pytester.path / "allure")
    assert set(found) == EVERY
    assert {one for one in found if found[one]["status"] == "passed"} == PASSED
    assert {one for one in found if found[one]["status"] == "failed"} == REFUSED
    assert {one for one in found if found[one]["status"] == "broken"} == UNKNOWN
    for one in REFUSED:
        (link,) = found[one]["links"]
        assert link["type"] == "kosli"
        assert f"/artifacts/{WEB}?" in link["url"]
        assert link["name"] == "web 0722a81: non-compliant"
        assert labels(found[one]) == ["NON_COMPLIANT"]
        assert "snyk-scan missing" in found[one]["statusDetails"]["message"]
        assert "pytest_kosli/" not in found[one]["statusDetails"]["trace"]
    assert labels(found["test_compliant"]) == ["COMPLIANT"]
    assert [one["name"] for one in found["test_compliant"]["links"]] == [
        "payments e49d561: compliant"
    ]
    assert [one["value"] for one in found["test_compliant"]["parameters"]] == [
        "payments e49d561 against environment prod"
    ]
    assert all(labels(found[one]) == ["NO_VERDICT"] for one in UNKNOWN)
    assert "links" not in found["test_plain"]
    assert labels(found["test_plain"]) == []


def test_a_dry_run_is_skipped(beside: Beside, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    beside("allure_pytest", "--alluredir=allure", "--kosli-dry-run", "-k", "not teardown")
    found = results(pytester.path / "allure")
    assert {one for one in found if found[one]["status"] != "skipped"} == {"test_plain"}
    assert labels(found["test_refused"]) == ["NOT_CHECKED"]


@needs("pytest-rerunfailures")
def test_each_attempt_has_its_link(beside: Beside, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    beside("allure_pytest rerunfailures", "--alluredir=allure", "--reruns=1", "-k", "in_call")
    read = [
        json.loads(path.read_text("utf-8"))
        for path in (pytester.path / "allure").glob("*-result.json")
    ]
    told = sorted((name(one["fullName"].replace("#", "::")), one["status"]) for one in read)
    assert told == [
        ("test_refused_in_call", "failed"),
        ("test_refused_in_call", "failed"),
        ("test_unknown_in_call", "broken"),
        ("test_unknown_in_call", "broken"),
    ]
    assert [len(one.get("links", [])) for one in read if one["status"] == "failed"] == [1, 1]


def test_links_of_others_keep_their_pattern_and_ours_keep_their_address(
    beside: Beside, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(SUITE)
    beside(
        "allure_pytest", "--alluredir=allure", "--allure-link-pattern=link:https://x.example/{}",
        "-k", "test_compliant",
    )  # fmt: skip
    (link,) = results(pytester.path / "allure")["test_compliant"]["links"]
    assert link["url"].startswith("https://app.kosli.com/acme/flows/payments-ci/")
