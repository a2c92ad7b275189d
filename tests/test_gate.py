"""The ready-made suite: ``pytest --pyargs pytest_kosli.gate``."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.conftest import Suite
from tests.sandbox import Sandbox
from tests.story import PAYMENTS, WEB

GATE = ("--pyargs", "pytest_kosli.gate")


def test_each_artifact_that_flags_name_is_a_test(each: Suite) -> None:
    result = each(*GATE, "--kosli-snapshot=staging", "-v")
    result.assert_outcomes(passed=3)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*pytest_kosli.gate::compliant?payments-e49d561-staging?*"])


def test_sources_may_be_mixed(each: Suite) -> None:
    result = each(
        *GATE,
        "--kosli-snapshot=staging",
        "--kosli-repo=acme/ledger",
        f"--kosli-artifact=landing=sha256:{WEB}",
        "--kosli-environment=prod",
    )
    # On one level with the snapshot, the environment is what everything is judged against.
    result.assert_outcomes(passed=3, failed=2)


def test_no_naming_rule_of_a_project_hides_it(each: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeini(
        "[pytest]\npython_functions = nothing_*\npython_classes = *\npython_files = nothing.py\n"
    )
    result = each(*GATE, f"--kosli-artifact=sha256:{WEB}", "--kosli-environment=prod")
    result.assert_outcomes(failed=1)


def test_without_a_flag_it_says_what_it_needs(each: Suite) -> None:
    result = each(*GATE)
    result.assert_outcomes(errors=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["E   nothing says which artifacts to check*"])


def test_an_unexpanded_id_can_be_run_later(
    alone: Suite, online: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = alone(*GATE, "--kosli-snapshot=staging", "--collect-only", "-q")
    assert online.requests == []
    assert "pytest_kosli.gate::compliant" in listed.outlines
    for ident, passed in (("compliant", 3), ("compliant[payments-e49d561-staging]", 1)):
        result = alone("--pyargs", f"pytest_kosli.gate::{ident}", "--kosli-snapshot=staging")
        result.assert_outcomes(passed=passed, errors=passed == 1)


def test_without_a_token_every_check_is_one_error(
    each: Suite, online: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KOSLI_API_TOKEN")
    result = each(*GATE, "--kosli-snapshot=staging")
    assert result.ret == 1
    assert "KOSLI_API_TOKEN" in result.stdout.str()
    assert online.requests == []


def test_a_dry_run_skips_it(each: Suite, online: Sandbox) -> None:
    result = each(*GATE, "--kosli-snapshot=staging", "--kosli-dry-run")
    result.assert_outcomes(skipped=1)
    assert result.ret == 0
    assert online.requests == []


def test_junit_names_each_artifact(alone: Suite, pytester: pytest.Pytester) -> None:
    named = [f"--kosli-artifact=payments=sha256:{PAYMENTS}", f"--kosli-artifact=web=sha256:{WEB}"]
    alone(*GATE, *named, "--kosli-environment=prod", "--junit-xml=out.xml")
    cases = ET.parse(pytester.path / "out.xml").getroot().iter("testcase")
    assert {case.attrib["name"]: case.find("failure") is not None for case in cases} == {
        "compliant[payments-e49d561]": False,
        "compliant[web-0722a81]": True,
    }


def test_a_part_of_it_is_not_enough(each: Suite) -> None:
    result = each(*GATE, "--kosli-snapshot=staging", "-k", "payments")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["E   --kosli-snapshot staging: no test that was selected asks about*"]
    )
