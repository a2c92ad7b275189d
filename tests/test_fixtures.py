"""``assert_compliant``, ``kosli_artifact`` and ``kosli_client``, from tests and their fixtures."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Suite
from tests.sandbox import Sandbox
from tests.story import CRON, LEDGER, PAYMENTS, WEB

PASS = "def test_it(assert_compliant):\n    verdict = assert_compliant({})\n    {}"


def call(arguments: str, then: str = "pass") -> str:
    return PASS.format(arguments, then)


def test_one_artifact_gives_one_verdict_and_a_list_a_list(
    each: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest
        from pytest_kosli.model import Artifact, Outcome

        @pytest.mark.parametrize("artifact", [
            "sha256:{PAYMENTS}", "payments=sha256:{PAYMENTS}",
            "ghcr.io/acme/payments@sha256:{PAYMENTS}", Artifact("{PAYMENTS}", "payments"),
        ], ids=str)
        def test_one(assert_compliant, artifact):
            verdict = assert_compliant(artifact, environment="prod")
            assert verdict.outcome is Outcome.COMPLIANT
            with pytest.raises(TypeError):
                bool(verdict)

        def test_several(assert_compliant):
            given = (one for one in ["sha256:{PAYMENTS}", "sha256:{LEDGER}"])
            verdicts = assert_compliant(given, environment="prod")
            assert [verdict.outcome.name for verdict in verdicts] == ["COMPLIANT", "ALLOW_LISTED"]

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_marked(assert_compliant, kosli_artifact):
            assert_compliant(kosli_artifact, environment="staging")
    """)
    each().assert_outcomes(passed=6)


def test_all_that_is_refused_is_told_together(each: Suite, pytester: pytest.Pytester) -> None:
    digests = [f"sha256:{one}" for one in (PAYMENTS, WEB, CRON)]
    pytester.makepyfile(call(f"{digests}, environment='prod'"))
    result = each()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E   2 artifacts are refused", "E   0722a81 is not compliant*", "E   406064b is unknown*"]
    )


def test_a_refusal_is_told_before_a_missing_verdict(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(call(f"['sha256:12', 'sha256:{WEB}'], environment='prod'"))
    result = alone()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["2 checks: *1 no verdict*"])


NOTHING = {
    "an empty list": "[], environment='prod'",
    "an exhausted generator": "(one for one in []), environment='prod'",
    "an empty text": "'', environment='prod'",
    "an empty environment": f"'sha256:{PAYMENTS}', environment=''",
    "an empty policy": f"'sha256:{PAYMENTS}', policy=''",
    "no policies": f"'sha256:{PAYMENTS}', policy=[]",
    "an empty flow": f"'sha256:{PAYMENTS}', flow=' '",
    "two scopes": f"'sha256:{PAYMENTS}', environment='prod', policy='tested'",
    "no scope": f"'sha256:{PAYMENTS}'",
    "a number": "7, environment='prod'",
    "None": "None, environment='prod'",
    "a list of numbers": "[7], environment='prod'",
    "a false verdict": "[None], environment='prod'",
    "a number for an environment": f"'sha256:{PAYMENTS}', environment=7",
    "a number for a policy": f"'sha256:{PAYMENTS}', policy=7",
}


@pytest.mark.parametrize("arguments", NOTHING.values(), ids=NOTHING)
def test_a_call_that_asks_about_nothing_is_never_green(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester, arguments: str
) -> None:
    pytester.makepyfile(call(arguments))
    result = alone()
    result.assert_outcomes(errors=1)
    assert online.requests == []
    assert "pytest_kosli/" not in result.stdout.str(), "no traceback of ours"


def test_a_call_is_judged_by_what_the_settings_name(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(call(f"'sha256:{WEB}'"))
    alone("--kosli-environment=staging").assert_outcomes(passed=1)
    alone("--kosli-environment=prod").assert_outcomes(failed=1)


SWALLOWED = f"""
    import pytest

    def test_raises(assert_compliant):
        with pytest.raises(AssertionError):
            assert_compliant("sha256:{WEB}", environment="prod")

    def test_except(assert_compliant):
        try:
            assert_compliant("sha256:{PAYMENTS}", environment="nope")
        except Exception:
            pass
"""


def yes_to_all() -> Sandbox:
    """A Kosli that calls everything compliant, such as somebody may have for tests of their own."""
    server = Sandbox("acme")

    def lie(answer: dict[str, Any]) -> None:
        answer["compliant"] = True
        for policy in answer["policy_evaluations"]:
            policy |= {"status": "COMPLIANT", "rule_evaluations": []}

    server.fault("asserts/*", lie=lie)
    return server


def test_no_test_decides_who_is_asked_for_the_others(
    both: Suite, pytester: pytest.Pytester
) -> None:
    with yes_to_all() as fake:
        pytester.makepyfile(
            test_a=f"""
                import os
                os.environ["KOSLI_HOST"] = "{fake.url}"
                def test_unit(): pass
            """,
            test_b=f"""
                import pytest
                @pytest.mark.kosli("sha256:{WEB}", environment="prod")
                def test_release(): pass
            """,
        )
        result = both()
        result.assert_outcomes(passed=1, failed=1)
        assert not fake.requests


def test_no_monkeypatch_outlives_its_test(alone: Suite, pytester: pytest.Pytester) -> None:
    with yes_to_all() as fake:
        pytester.makepyfile(f"""
            def test_ours(monkeypatch, request):
                monkeypatch.setenv("KOSLI_HOST", "{fake.url}")
                request.getfixturevalue("assert_compliant")("sha256:{PAYMENTS}", environment="prod")

            def test_release(assert_compliant):
                assert_compliant("sha256:{WEB}", environment="prod")
        """)
        alone().assert_outcomes(passed=1, failed=1)
        assert not fake.requests


@pytest.mark.parametrize("missing", ["KOSLI_ORG", "KOSLI_API_TOKEN"])
def test_a_variable_that_comes_too_late_is_named(
    both: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    value = "acme" if missing == "KOSLI_ORG" else "acme-sandbox-token"
    monkeypatch.delenv(missing)
    pytester.makepyfile(f"""
        import os, pytest
        os.environ["{missing}"] = "{value}"

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_it(): pass
    """)
    result = both()
    assert result.ret != 0
    told = "".join(result.outlines + result.errlines).replace("\nE  ", "")
    assert f"{missing} was set when the run had begun" in told.replace("E   ", " ")


def test_a_swallowed_verdict_is_told_loudly(each: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SWALLOWED)
    result = each("-q")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines_random(
        [
            "0722a81 is non-compliant, but test_it.py::test_raises passed",
            "e49d561 has no verdict, but test_it.py::test_except passed",
        ]
    )


def test_a_call_in_a_session_fixture_belongs_to_the_test_that_set_it_up(
    each: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.fixture(scope="session")
        def gate(assert_compliant):
            with pytest.raises(AssertionError):
                assert_compliant("sha256:{WEB}", environment="prod")

        def test_first(): pass
        def test_second(gate): pass
        def test_third(gate): pass
    """
    )
    result = each(*(("--dist=loadfile",) if "-n2" in each.arguments else ()))
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["0722a81 is non-compliant, but test_it.py::test_second passed"])
    result.stdout.no_fnmatch_line("*test_third passed")


def test_a_refused_session_fixture_fails_every_test_that_needs_it(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.fixture(scope="session")
        def gate(assert_compliant):
            assert_compliant("sha256:{WEB}", environment="prod")

        def test_first(gate): pass
        def test_second(gate): pass
    """)
    alone().assert_outcomes(failed=2)


def test_a_question_is_asked_once_by_mark_and_call_together(
    each: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("one=sha256:{PAYMENTS}", environment="prod")
        def test_mark(): pass

        @pytest.mark.kosli("two=sha256:{PAYMENTS}", environment="prod")
        def test_other_name(): pass

        def test_call(assert_compliant):
            assert_compliant("sha256:{PAYMENTS}", environment="prod")

        def test_client(kosli_client):
            verdict = kosli_client.assert_artifact("{PAYMENTS}", environment="prod")
            assert verdict.outcome.label == "compliant"
    """)
    each().assert_outcomes(passed=4)
    assert len(online.requests) == 1


def test_the_artifact_is_what_was_judged(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli(snapshot="staging", without=["*web*", "*mailer*"])
        def test_it(kosli_artifact):
            assert kosli_artifact.fingerprint == "{PAYMENTS}"
            assert kosli_artifact.pinned == "ghcr.io/acme/payments@sha256:{PAYMENTS}"
            assert kosli_artifact.environment == "staging"
            assert kosli_artifact.name.startswith("ghcr.io/acme/payments:1.4.0")
            assert kosli_artifact.verdict.outcome.name == "COMPLIANT"

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_details(kosli_artifact):
            details = kosli_artifact.details
            assert details is kosli_artifact.details
            assert details.git_commit == "7416f878ee51e0c21551923b133bf5c31dad206a"
    """)
    alone().assert_outcomes(passed=2)
    asked = [one for one in online.requests if "/artifacts/" in one.path]
    assert len(asked) == 1, "the artifact endpoint is asked when touched"


@pytest.mark.parametrize("count", ["none", "several"])
def test_a_test_without_exactly_one_artifact_has_no_kosli_artifact(
    alone: Suite, pytester: pytest.Pytester, count: str
) -> None:
    late = f'"sha256:{PAYMENTS}", "sha256:{LEDGER}", environment="prod"'
    pytester.makeconftest(f"""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                {"pass" if count == "none" else f"item.add_marker(pytest.mark.kosli({late}))"}
    """)
    pytester.makepyfile("def test_it(kosli_artifact): pass")
    result = alone()
    result.assert_outcomes(errors=1)
    assert f"the test has {0 if count == 'none' else 2}" in result.stdout.str()


def test_a_bad_setting_is_an_error_of_the_test_that_takes_the_client(
    alone: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KOSLI_ORG")
    pytester.makepyfile("""
        def test_client(kosli_client): pass

        def test_call(assert_compliant):
            assert_compliant("sha256:12", environment="prod")
    """)
    result = alone()
    result.assert_outcomes(errors=2)
    assert "no organisation is named" in result.stdout.str()
    assert "pytest_kosli/" not in result.stdout.str(), "no traceback of ours"


def test_the_client_answers_with_types(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        def test_it(kosli_client):
            assert kosli_client.environment("prod").type == "K8S"
            assert kosli_client.snapshot("prod").index == 42
            assert {one.environment for one in kosli_client.live_artifacts("acme/payments")} >= {
                "prod", "staging"
            }
            with kosli_client:
                assert repr(kosli_client).startswith("<KosliClient of acme at http")
            assert kosli_client.environment("prod").type == "K8S", "the run's is still open"
    """)
    alone().assert_outcomes(passed=1)
