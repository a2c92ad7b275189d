"""``assert_no_drift``: what was intended against what Kosli says runs, from tests and fixtures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Suite
from tests.sandbox import Sandbox
from tests.story import LEDGER, MAILER, PAYMENTS, REPORTS, WEB

STAGING = [
    f"ghcr.io/acme/payments:1.4.0@sha256:{PAYMENTS}",
    f"ghcr.io/acme/web:2.3.1@sha256:{WEB}",
    f"invoice-mailer=sha256:{MAILER}",
]
OLD = f"ghcr.io/acme/payments:1.5.0@sha256:{'0' * 64}"
CALL = "def test_it(assert_no_drift):\n    assert_no_drift({})\n"
FINE = f"'staging', artifacts={STAGING}"
DRIFTED = f"'staging', artifacts={[*STAGING[1:], OLD]}"


DEPLOY = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop}}
spec:
  template:
    spec:
      initContainers:
      - {{name: migrate, image: "ghcr.io/acme/migrate:1"}}
      containers:
      - {{name: pay, image: "ghcr.io/acme/payments:1.4.0@sha256:{PAYMENTS}"}}
      - {{name: web, image: "ghcr.io/acme/web:2.3.1@sha256:{WEB}"}}
"""


def paths(sandbox: Sandbox) -> list[str]:
    return [request.path.removeprefix("/api/v2/") for request in sandbox.requests]


# What is so, and what is not.


def test_what_runs_as_intended_gives_a_typed_answer(
    both: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest
        from pytest_kosli.drift import Drift

        def test_references(assert_no_drift):
            drift = assert_no_drift("staging", artifacts={STAGING})
            assert isinstance(drift, Drift) and not drift.drifted
            assert [one.short for one in drift.as_intended] == ["payments", "web", "invoice-mailer"]
            assert {{one.environment for one in drift.as_intended}} == {{"staging"}}

        def test_what_other_calls_return(assert_no_drift, assert_compliant, kosli_client):
            verdicts = assert_compliant({STAGING[:1]}, environment="prod")
            web, mailer = kosli_client.snapshot("staging").artifacts[1:]
            given = (one for one in [verdicts[0], "{STAGING[1]}", mailer])
            assert_no_drift("staging", artifacts=given)

        @pytest.mark.kosli("{STAGING[0]}", environment="prod")
        def test_marked(assert_no_drift, kosli_artifact):
            without = ["web", "invoice-*"]
            drift = assert_no_drift("staging", artifacts=kosli_artifact, without=without)
            assert len(drift.left_out) == 2
            assert_no_drift("staging", artifacts=[kosli_artifact.verdict.artifact], without=without)
    """)
    both().assert_outcomes(passed=3)
    assert paths(online).count("snapshots/acme/staging/-1") == 5


def test_a_drift_is_a_failure_that_shows_the_three_lists(
    both: Suite, pytester: pytest.Pytester
) -> None:
    intended = [STAGING[1], OLD, f"ghcr.io/acme/reports:0.3.0@sha256:{REPORTS}"]
    pytester.makepyfile(CALL.format(f"'staging', artifacts={intended}"))
    result = both()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E   drift in staging: 1 extra, 1 missing, 1 other version",
            "E     runs, but was not intended:",
            "E       - invoice-mailer 59a0d8e, from snapshot staging#7",
            "E     was intended, but does not run:",
            "E       - ghcr.io/acme/reports:0.3.0 2d974fa, from call",
            "E     runs in another version:",
            "E       - acme/payments",
            "E         intended ghcr.io/acme/payments:1.5.0 0000000, from call",
            "E         running ghcr.io/acme/payments:1.4.0 e49d561, from snapshot staging#7",
            "*errors/#drifted",
            "drifted        snapshot staging  1 extra, 1 missing, 1 other version",
            "1 comparison: 1 drifted",
        ]
    )
    assert "pytest_kosli/" not in result.stdout.str(), "no traceback of ours"


def test_a_drift_is_a_failure_in_every_phase_and_no_xfail_excuses_it(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.fixture(scope="session")
        def deployed(assert_no_drift):
            assert_no_drift({DRIFTED})

        @pytest.fixture
        def cleaned(assert_no_drift):
            yield
            assert_no_drift({DRIFTED})

        @pytest.mark.xfail
        def test_call(assert_no_drift):
            assert_no_drift({DRIFTED})

        @pytest.mark.xfail
        def test_setup(deployed): pass

        @pytest.mark.xfail
        def test_error(assert_no_drift):
            assert_no_drift("nope", artifacts={STAGING})

        def test_teardown(cleaned): pass
    """)
    alone().assert_outcomes(failed=3, errors=1, passed=1)


# What could not be found out is never green, and no failure either.

UNKNOWN = {
    "an environment that nobody reported": "'dr', artifacts={}",
    "an environment that is not there": "'nope', artifacts={}",
    "a snapshot that is not there": "'staging#99', artifacts={}",
    "no snapshot": "None, artifacts={}",
    "an empty snapshot expression": "'', artifacts={}",
    "a number for a snapshot": "7, artifacts={}",
    "what is no expression": "'staging#', artifacts={}",
    "everything left out": "'staging', artifacts={}, without='*'",
    "a pattern that is none": "'staging', artifacts={}, without=7",
    "an empty pattern": "'staging', artifacts={}, without=['']",
    "an empty list": "'staging', artifacts=[]",
    "an exhausted generator": "'staging', artifacts=(one for one in [])",
    "an empty list beside a manifest": "'staging', artifacts=[], manifest='deploy.yaml'",
    "an empty text": "'staging', artifacts=' '",
    "a number": "'staging', artifacts=[7]",
    "no reference": "'staging', artifacts='sha256:12'",
    "no digest": "'staging', artifacts=Artifact('E' * 64, 'payments')",
    "no manifest": "'staging', manifest=[]",
    "an empty path": "'staging', manifest=''",
    "a manifest that is a number": "'staging', manifest=7",
    "a manifest that is not there": "'staging', manifest='missing.yaml'",
    "a manifest that is not there beside artifacts": "'staging', artifacts={}, manifest='no.yaml'",
    "nothing intended": "'staging'",
}


def test_what_can_not_be_found_out_is_an_error(alone: Suite, pytester: pytest.Pytester) -> None:
    calls = [text.format(STAGING) for text in UNKNOWN.values()]
    tests = [f"def test_{number}(check): check({call})" for number, call in enumerate(calls)]
    pytester.makepyfile(
        "import pytest\nfrom pytest_kosli.model import Artifact\n"
        "@pytest.fixture\ndef check(assert_no_drift): return assert_no_drift\n" + "\n".join(tests)
    )
    result = alone("-rA")
    result.assert_outcomes(errors=len(calls))
    assert "pytest_kosli/" not in result.stdout.str(), "no traceback of ours"


def nothing(snapshot: dict[str, Any]) -> None:
    snapshot["artifacts"] = []


def all_gone(snapshot: dict[str, Any]) -> None:
    for artifact in snapshot["artifacts"]:
        artifact["annotation"] = {"type": "exited", "was": 1, "now": 0}


def no_digest(snapshot: dict[str, Any]) -> None:
    snapshot["artifacts"][0]["fingerprint"] = PAYMENTS.upper()


LIES: dict[str, dict[str, Any]] = {
    "nothing runs": {"lie": nothing},
    "all of it has exited": {"lie": all_gone},
    "what runs has no digest": {"lie": no_digest},
    "the answer is none": {"lie": lambda snapshot: {}},
    "the answer is no JSON": {"body": "<html>all is well</html>"},
    "there is no answer": {"status": 503},
    "who asks may not know": {"status": 403},
    "the answer breaks off": {"cut": 40},
}


@pytest.mark.parametrize("fault", LIES.values(), ids=LIES)
def test_a_snapshot_that_tells_nothing_is_an_error(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester, fault: dict[str, Any]
) -> None:
    online.fault("snapshots/*", **fault)
    pytester.makepyfile(CALL.format(FINE))
    alone().assert_outcomes(errors=1)


def test_an_artifact_that_the_server_renames_is_still_told_apart_and_made_harmless(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    def lie(snapshot: dict[str, Any]) -> None:
        snapshot["artifacts"][2] |= {"fingerprint": LEDGER, "name": "\x1b[31m\n::error::web"}

    online.fault("snapshots/*", lie=lie)
    pytester.makepyfile(CALL.format(FINE))
    result = alone()
    result.assert_outcomes(failed=1)
    assert "\x1b[31m" not in result.stdout.str()
    assert not any(line.lstrip("E ").startswith("::") for line in result.outlines)


def test_a_snapshot_that_nobody_reports_any_more_is_an_error(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(CALL.format(FINE))
    result = alone("--kosli-max-snapshot-age=4m")
    result.assert_outcomes(errors=1)
    assert "stale_snapshot" in result.stdout.str()


# When it is asked, and when not.


def test_a_snapshot_is_asked_for_again_by_each_call(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    online.fault("snapshots/*", times=1, lie=lambda snapshot: snapshot["artifacts"].pop() and None)
    pytester.makepyfile(f"""
        import pytest

        def test_deploys(assert_no_drift):
            with pytest.raises(AssertionError, match="1 missing") as caught:
                assert_no_drift({FINE})
            assert [one.name for one in caught.value.drift.missing] == ["invoice-mailer"]
            assert_no_drift({FINE})
    """)
    alone().assert_outcomes(passed=1)


def test_older_and_logical_snapshots_can_be_named(alone: Suite, pytester: pytest.Pytester) -> None:
    old = [f"ghcr.io/acme/payments@sha256:{PAYMENTS}", f"sha256:{LEDGER}"]
    pytester.makepyfile(f"""
        def test_old(assert_no_drift):
            assert_no_drift("prod#41", artifacts={old}, without=["agent"])

        def test_logical(assert_no_drift):
            assert_no_drift("everywhere", artifacts={STAGING})
    """)
    result = alone()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E   drift in prod#41: 2 extra, 1 missing",
            "*acme/payments:1.3.9 87a8856, from snapshot prod#41;*",
            "E   drift in everywhere: 8 extra",
        ]
    )


def test_a_dry_run_is_skipped_and_says_so(
    both: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(CALL.format(DRIFTED))
    result = both("--kosli-dry-run")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["DRY RUN: Kosli was not asked, nothing was compared"])
    assert online.requests == []


def test_without_a_token_it_is_an_error(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KOSLI_API_TOKEN")
    pytester.makepyfile(CALL.format(FINE))
    result = alone()
    result.assert_outcomes(errors=1)
    assert "no_token" in result.stdout.str()


def test_a_missing_organisation_is_an_error_of_the_test(
    alone: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KOSLI_ORG")
    pytester.makepyfile(CALL.format(FINE))
    result = alone()
    result.assert_outcomes(errors=1)
    assert "no organisation is named" in result.stdout.str()


def test_it_is_recorded_and_replayed(
    both: Suite, online: Sandbox, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(CALL.format(FINE) + "def test_no(assert_no_drift):\n"
                        f"    assert_no_drift({DRIFTED})\n")  # fmt: skip
    both("--kosli-record").assert_outcomes(passed=1, failed=1)
    online.reset()
    monkeypatch.delenv("KOSLI_API_TOKEN")
    result = both("--kosli-offline")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["REPLAY of what ran when it was recorded, 20*"])
    assert online.requests == []
    (pytester.path / "cassettes" / "acme" / "snapshots" / "staging.latest.yaml").unlink()
    both("--kosli-offline").assert_outcomes(errors=2)


# Where it takes what is intended from.


def test_without_a_name_what_flags_name_is_intended_and_still_needs_its_verdict(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(test_it=CALL.format("'staging'"))
    flags = [f"--kosli-artifact={one}" for one in STAGING]
    result = alone(*flags)
    result.assert_outcomes(passed=1, errors=1)
    assert "flag_not_taken_up" in result.stdout.str()
    gate = ("--pyargs", "pytest_kosli.gate", "test_it.py", "--kosli-environment=staging")
    alone(*gate, *flags).assert_outcomes(passed=4)
    alone(*gate, *flags[1:]).assert_outcomes(passed=2, failed=1)


def test_the_ini_file_may_say_what_is_intended(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nkosli_without = invoice-*\nkosli_artifact =\n  "
                     + "\n  ".join(STAGING[:2]))  # fmt: skip
    pytester.makepyfile(
        CALL.format("'staging'")
        + "def test_own(assert_no_drift):\n    assert_no_drift('staging', without='nothing')\n"
    )
    result = alone()
    result.assert_outcomes(passed=1, failed=1)
    assert "drift in staging: 1 extra" in result.stdout.str()


def test_neither_name_nor_flag_is_an_error(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(CALL.format("'staging'"))
    result = alone("--kosli-snapshot=staging", "--pyargs", "pytest_kosli.gate", ".")
    result.assert_outcomes(passed=3, errors=1)
    assert "nothing_to_compare" in result.stdout.str()


def test_what_manifests_deploy_is_intended(
    both: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.path.joinpath("deploy.yaml").write_text(DEPLOY, "utf-8")
    pytester.path.joinpath("more.txt").write_text(f"invoice-mailer@sha256:{MAILER}\n", "utf-8")
    without = "without='migrate'"
    pytester.makepyfile(f"""
        from pathlib import Path

        def test_all(assert_no_drift):
            both = ["deploy.yaml", Path("more.txt")]
            drift = assert_no_drift("staging", manifest=both, {without})
            assert len(drift.as_intended) == 3
            assert drift.left_out == ("ghcr.io/acme/migrate:1",)

        def test_beside_artifacts(assert_no_drift):
            assert_no_drift("staging", artifacts="{STAGING[2]}", manifest="deploy.yaml", {without})

        def test_one_file(assert_no_drift):
            assert_no_drift("staging", manifest="deploy.yaml", {without})

        def test_written_by_the_test(assert_no_drift, tmp_path):
            old, new = "1.4.0@sha256:{PAYMENTS}", "1.5.0@sha256:{"0" * 64}"
            path = tmp_path / "other.yaml"
            path.write_text(Path("deploy.yaml").read_text().replace(old, new))
            assert_no_drift("staging", manifest=path, without=["migrate", "invoice-*"])
    """)
    result = both("-v")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "E   drift in staging: 1 extra",
            "E   drift in staging: 1 other version",
            "E         intended ghcr.io/acme/payments:1.5.0 0000000, from manifest",
            "E           */other.yaml:*",
        ]
    )


def test_an_image_without_a_digest_is_an_error_where_no_registry_is_asked(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.path.joinpath("deploy.yaml").write_text(DEPLOY, "utf-8")
    pytester.makepyfile(CALL.format("'staging', manifest='deploy.yaml'"))
    result = alone("--kosli-require-digests")
    result.assert_outcomes(errors=1)
    assert "digest_required" in result.stdout.str()
    assert online.requests == []


def test_a_manifest_flag_says_what_is_intended(alone: Suite, pytester: pytest.Pytester) -> None:
    images = [*STAGING[:2], f"invoice-mailer@sha256:{MAILER}"]
    pytester.path.joinpath("images.txt").write_text("\n".join(images), "utf-8")
    pytester.makepyfile(test_it=CALL.format("'staging'"))
    gate = ("--pyargs", "pytest_kosli.gate", "test_it.py", "--kosli-environment=staging")
    alone(*gate, "--kosli-manifest=images.txt").assert_outcomes(passed=4)


# How it stands beside everything else.


def test_a_drift_that_a_test_keeps_to_itself_is_told_loudly(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        test_it=f"""
        import pytest

        def test_raises(assert_no_drift):
            with pytest.raises(AssertionError):
                assert_no_drift({DRIFTED})

        def test_except(assert_no_drift):
            try:
                assert_no_drift("dr", artifacts={STAGING})
            except Exception:
                pass
    """
    )
    result = both("-q")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines_random(
        [
            "snapshot staging is not as asserted, but test_it.py::test_raises passed",
            "snapshot dr has no verdict, but test_it.py::test_except passed",
        ]
    )


def test_it_is_no_verdict_on_an_artifact(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(CALL.format(FINE))
    alone("--kosli-require=1").assert_outcomes(passed=1)
    result = alone("--kosli-require=1", "--kosli-report=report.json")
    assert result.ret == 1
    told = json.loads((pytester.path / "report.json").read_text("utf-8"))
    assert told["checks"] == []
    (drift,) = told["drifts"]
    assert (drift["outcome"], drift["snapshot"], drift["test"]["outcome"]) == (
        "NO_DRIFT",
        "staging",
        "passed",
    )
    assert [one["fingerprint"] for one in drift["as_intended"]] == [PAYMENTS, WEB, MAILER]
    assert told["complete"]


def test_the_tests_that_take_it_are_selected_with_the_others(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(CALL.format(FINE) + "def test_other(): pass\n")
    alone("-m", "kosli").assert_outcomes(passed=1, deselected=1)
