"""Snapshots, repos and environments become tests; what can not be found out is an error by name."""

from __future__ import annotations

import re

import pytest

from tests.conftest import Suite
from tests.sandbox import Sandbox
from tests.story import PAYMENTS


def live(arguments: str, *more: str) -> str:
    marks = "\n".join(
        f"@pytest.mark.kosli({one})\ndef test_{number}(): pass"
        for number, one in enumerate((arguments, *more))
    )
    return f"import pytest\n{marks}\n"


def paths(sandbox: Sandbox) -> list[str]:
    return [request.path.removeprefix("/api/v2/") for request in sandbox.requests]


def idents(result: pytest.RunResult) -> set[str]:
    return {
        line.partition("::test_0[")[2].partition("]")[0]
        for line in result.outlines
        if re.search(r"::test_0\[.*(PASSED|FAILED|ERROR)|(PASSED|FAILED|ERROR).*::test_0\[", line)
    }


def test_each_artifact_that_runs_is_a_test_and_what_exited_is_left_out(
    both: Suite, pytester: pytest.Pytester, online: Sandbox
) -> None:
    pytester.makepyfile(live('snapshot="prod"'))
    result = both("-v")
    result.assert_outcomes(passed=3, failed=8)
    assert "e6bac8b" not in result.stdout.str(), "ledger 0.9.0 has exited"
    assert paths(online).count("snapshots/acme/prod/-1") == 1
    assert len([path for path in paths(online) if path.startswith("asserts/")]) == 10


@pytest.mark.parametrize("expression", ["prod#41", "prod~1"])
def test_an_older_snapshot_is_judged_by_the_environment_as_it_is_now(
    alone: Suite, pytester: pytest.Pytester, expression: str
) -> None:
    pytester.makepyfile(live(f"snapshot={expression!r}"))
    result = alone("-v")
    result.stdout.fnmatch_lines(["*test_0?ledger-e6bac8b-prod? PASSED*"])
    result.stdout.fnmatch_lines(["against environment prod"])


@pytest.mark.parametrize("expression", ["prod#", "prod#x", "#42", "prod@{", "a b"])
def test_what_is_no_expression_is_an_error_by_name(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester, expression: str
) -> None:
    pytester.makepyfile(live(f"snapshot={expression!r}"))
    alone().assert_outcomes(errors=1)
    assert online.requests == []


def test_an_environment_beside_a_snapshot_is_what_it_is_judged_against(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(live('snapshot="staging", environment="prod"'))
    alone().assert_outcomes(passed=2, failed=1)
    asked = [request for request in online.requests if "/asserts/" in request.path]
    assert {request.query for request in asked} == {(("environment_name", "prod"),)}


def test_a_variable_left_over_does_not_redirect_a_snapshot_on_the_command_line(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOSLI_ENVIRONMENT", "prod")
    pytester.makepyfile(live(""))
    alone("--kosli-snapshot=staging").assert_outcomes(passed=3)
    asked = [request for request in online.requests if "/asserts/" in request.path]
    assert {request.query for request in asked} == {(("environment_name", "staging"),)}


def test_live_artifacts_of_a_repo_are_judged_where_they_run(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(live('repo="acme/payments"'))
    result = both("-v")
    assert idents(result) >= {"payments-e49d561-prod", "payments-e49d561-staging"}
    assert result.ret == 0


def test_an_environment_beside_a_repo_keeps_what_runs_there(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(live('repo="acme/web", environment="staging"'))
    result = alone("-v")
    assert idents(result) == {"web-0722a81-staging"}
    assert result.ret == 0


def test_a_provider_goes_with_the_question(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(live('repo="acme/web", provider="github"', 'repo="acme/web"'))
    alone("--kosli-provider=gitlab")
    asked = [request.query for request in online.requests if "live-artifacts" in request.path]
    assert asked == [(("provider", "github"),), (("provider", "gitlab"),)]


def test_a_dangling_live_artifact_is_one_error(both: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(live('repo="acme/ledger"'))
    result = both()
    result.assert_outcomes(passed=1, errors=1)
    assert "without a fingerprint" in result.stdout.str()


def test_a_logical_environment_is_found_through_those_it_groups(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(live('snapshot="everywhere", without=["*agent*", "*cron*"]'))
    result = both("-v")
    assert {"payments-e49d561-prod", "payments-e49d561-staging", "web-0722a81-staging"} <= idents(
        result
    )
    result.stdout.fnmatch_lines(["2 artifacts left out by without: *"])


def test_a_logical_environment_has_no_numbered_snapshots(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(live('snapshot="everywhere#3"'))
    result = alone()
    result.assert_outcomes(errors=1)
    assert "logical_snapshot" in result.stdout.str()


def test_what_an_environment_can_not_say_is_an_error_and_collection_goes_on(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        live('snapshot="dr"', 'snapshot="nope"', 'repo="acme/nope"', 'repo="acme/attic"')
        + "def test_other(): pass"
    )
    result = both()
    result.assert_outcomes(errors=4, passed=1)
    assert result.ret == 1
    told = result.stdout.str()
    assert "empty parameter set" not in told
    assert "no_artifacts" in told
    assert "unknown_environment" in told


def test_an_outage_while_collecting_is_an_error_by_name(
    both: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    online.fault("snapshots/*", status=503)
    pytester.makepyfile(live('snapshot="prod"') + "def test_other(): pass")
    result = both()
    result.assert_outcomes(errors=1, passed=1)
    assert result.ret == 1


def test_all_discovery_together_has_one_short_deadline(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    online.fault("environments/*", delay=3.0)
    pytester.makepyfile(live(*(f'snapshot="env{number}"' for number in range(20))))
    result = alone("--kosli-timeout=1")
    result.assert_outcomes(errors=20)
    assert len(online.requests) <= 2


def test_at_least_demands_that_many(both: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(live('snapshot="staging", at_least=4', 'snapshot="staging", at_least=3'))
    result = both()
    result.assert_outcomes(errors=1, passed=6)
    told = result.stdout.str()
    assert "3 artifacts: at least 4 must be checked" in told
    assert "Look at what runs there, or lower at_least if fewer is right." in told


def test_without_is_counted_and_listed(both: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(live('snapshot="staging", without="*mailer*"'))
    result = both()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["1 artifact left out by without: invoice-mailer"])


def test_without_everything_is_an_error(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(live('snapshot="staging", without="*"'))
    result = alone()
    result.assert_outcomes(errors=1)
    told = " ".join(result.stdout.str().replace("\nE  ", "").split())
    assert "3 more left out by without" in told
    assert "and at what without (--kosli-without) leaves out: a check of no artifact" in told
    assert "at_least" not in told


def test_the_settings_leave_out_of_a_marks_snapshot_as_well(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(live('snapshot="staging"', 'snapshot="staging", without="nothing"'))
    alone("--kosli-without=*mailer*").assert_outcomes(passed=2 + 3)


def test_a_snapshot_that_nobody_reports_any_more_is_an_error(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(live('snapshot="beta"'))
    result = alone("--kosli-max-snapshot-age=1h")
    result.assert_outcomes(errors=1)
    assert "stale_snapshot" in result.stdout.str()
    pytester.makepyfile(live('snapshot="staging"'))
    alone("--kosli-max-snapshot-age=1h").assert_outcomes(passed=3)
    alone("--kosli-max-snapshot-age=4m").assert_outcomes(errors=1)


@pytest.mark.parametrize("date", [1780455600000, 1e20, -1e300])
@pytest.mark.parametrize(("expression", "path", "key"), [
    ("staging", "environments/acme/staging", "last_reported_at"),
    ("staging#7", "snapshots/acme/staging/7", "timestamp"),
])  # fmt: skip
def test_a_date_out_of_all_bounds_is_an_error_by_name(
    alone: Suite,
    pytester: pytest.Pytester,
    online: Sandbox,
    expression: str,
    path: str,
    key: str,
    date: float,
) -> None:
    def lie(document: dict[str, object]) -> None:
        document[key] = date

    online.fault(path, lie=lie)
    pytester.makepyfile(live(f"snapshot={expression!r}"))
    result = alone("--kosli-max-snapshot-age=1d")
    result.assert_outcomes(errors=1)
    told = " ".join(result.stdout.str().replace("\nE ", "\n").split())
    assert "stale_snapshot" in told
    assert "which is no date" in told


def test_an_artifact_that_two_fingerprints_are_told_of_is_an_error(
    alone: Suite, pytester: pytest.Pytester, online: Sandbox
) -> None:
    def lie(document: dict[str, dict[str, list[dict[str, object]]]]) -> None:
        built = document["_embedded"]["artifacts"]
        built.append({**built[0], "fingerprint": "b" * 64})

    online.fault("repos/acme/live-artifacts/*", lie=lie)
    pytester.makepyfile(live('repo="acme/payments"'))
    result = alone()
    result.assert_outcomes(errors=1)
    assert "tells two things of the id" in " ".join(result.stdout.str().split())


@pytest.mark.parametrize("why", ["no token", "dry run", "collect only"])
def test_where_kosli_is_not_asked_one_item_stands_for_all(
    both: Suite,
    online: Sandbox,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
) -> None:
    pytester.makepyfile(test_it=live('snapshot="prod"', f'"sha256:{PAYMENTS}", environment="prod"'))
    if why == "no token":
        monkeypatch.delenv("KOSLI_API_TOKEN")
        result = both()
        result.assert_outcomes(errors=2)
        assert "KOSLI_API_TOKEN" in result.stdout.str()
    elif why == "dry run":
        both("--kosli-dry-run").assert_outcomes(skipped=2)
    else:
        listed = both("--collect-only", "-q", "--kosli-snapshot=prod").stdout.str()
        assert "test_it.py::test_0\n" in listed
        assert "test_it.py::test_1\n" in listed
    assert online.requests == []


def test_an_unexpanded_id_can_be_run_later(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=live('snapshot="staging"'))
    alone("test_it.py::test_0").assert_outcomes(passed=3)


def test_an_artifact_that_a_snapshot_calls_compliant_gets_advice(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(live('snapshot="prod"'))
    result = alone("-k", "agent")
    result.assert_outcomes(failed=1, deselected=10)
    assert 'without="agent*"' in result.stdout.str()
