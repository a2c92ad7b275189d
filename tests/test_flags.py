"""What a flag names gets a verdict or the run fails by name; ``--kosli-require``; exit codes."""

from __future__ import annotations

import pytest

from tests.conftest import Suite
from tests.sandbox import Sandbox
from tests.story import LEDGER, MAILER, PAYMENTS, WEB

STAGING = ("--kosli-snapshot=staging",)
MARKED = """
    import pytest

    @pytest.mark.kosli
    def test_release():
        pass

    def test_other():
        pass
"""


def flag(fingerprint: str, *, scope: str = "environment=staging") -> tuple[str, ...]:
    return (f"--kosli-artifact=sha256:{fingerprint}", f"--kosli-{scope}")


def test_a_bare_mark_asks_about_what_the_command_line_names(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(MARKED)
    result = both(*STAGING)
    result.assert_outcomes(passed=4)
    assert result.ret == 0


@pytest.mark.parametrize(
    "selection",
    [("-k", "other"), ("-m", "not kosli"), ("--deselect", "test_it.py::test_release")],
    ids=["k", "m", "deselect"],
)
def test_a_flag_fails_the_run_when_its_tests_are_deselected(
    both: Suite, pytester: pytest.Pytester, selection: tuple[str, ...]
) -> None:
    pytester.makepyfile(test_it=MARKED)
    result = both(*flag(PAYMENTS), *selection)
    result.assert_outcomes(passed=1, errors=1, deselected=1 if "-n2" not in both.arguments else 0)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*no verdict (flag_not_taken_up)*",
            f"--kosli-artifact sha256:{PAYMENTS} got no verdict: no test that asks about it*",
        ]
    )


def test_a_flag_fails_the_run_when_only_a_part_of_it_is_selected(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(MARKED)
    result = both(*STAGING, "-k", "payments")
    result.assert_outcomes(passed=1, errors=1, deselected=3 if "-n2" not in both.arguments else 0)
    result.stdout.fnmatch_lines(
        ["*--kosli-snapshot staging: no test that was selected asks about web 0722a81*"]
    )


def test_a_flag_fails_a_run_without_any_marked_test(both: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = both(*STAGING)
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == 1


def test_a_flag_fails_a_run_without_any_test(alone: Suite, pytester: pytest.Pytester) -> None:
    result = alone(*STAGING)
    result.assert_outcomes(errors=1)
    assert result.ret == 1


def test_a_flag_fails_the_run_when_its_tests_were_not_among_the_last_failed(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    pytester.makepyfile(test_it=MARKED, test_bad="def test_bad(): assert False")
    first = pytester.runpytest_inprocess("-p", "no:xdist", *flag(PAYMENTS))
    first.assert_outcomes(passed=2, failed=1)
    again = pytester.runpytest_inprocess("-p", "no:xdist", "--lf", *flag(PAYMENTS))
    again.assert_outcomes(failed=1, errors=1)
    again.stdout.fnmatch_lines([f"*{PAYMENTS} got no verdict*"])


def test_a_flag_fails_the_run_when_its_test_is_skipped(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.skip
        @pytest.mark.kosli
        def test_release(): pass
    """)
    result = both(*flag(PAYMENTS))
    result.assert_outcomes(skipped=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"--kosli-artifact sha256:{PAYMENTS} got no verdict: *e49d561*"])


def test_a_flag_fails_the_run_when_one_of_its_tests_is_skipped(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest("""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                if "web" in item.name:
                    item.add_marker(pytest.mark.skip)
    """)
    pytester.makepyfile(MARKED)
    result = both(*STAGING)
    result.assert_outcomes(passed=3, skipped=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["--kosli-snapshot staging got no verdict: no test was run for web 0722a81 against *"]
    )


def test_a_test_of_the_same_artifact_in_another_scope_takes_no_flag_up(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{WEB}", environment="staging")
        def test_rehearsal(): pass
    """)
    result = alone(*flag(WEB, scope="environment=prod"))
    result.assert_outcomes(passed=1, errors=1)
    alone(*flag(WEB)).assert_outcomes(passed=1)


def test_a_bare_marks_own_scope_wins_over_the_flags(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.kosli(environment="staging")
        def test_rehearsal(): pass
    """)
    alone(*flag(WEB, scope="environment=prod")).assert_outcomes(passed=1)


def test_what_a_mark_leaves_out_of_a_snapshot_is_accounted_for(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.kosli(without="*mailer")
        def test_release(): pass
    """)
    result = alone(*STAGING)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["1 artifact left out by without: invoice-mailer"])
    named = alone(f"--kosli-artifact=a-mailer=sha256:{MAILER}", "--kosli-environment=staging")
    assert named.ret == 1


def test_a_flag_that_leads_to_nothing_says_why(both: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = both("--kosli-snapshot=nope")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["E   --kosli-snapshot nope: environment nope: Kosli answered 404*"]
    )


def test_an_ini_row_demands_no_marked_test(both: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nkosli_snapshot = staging\n")
    pytester.makepyfile("def test_it(): pass")
    assert both().ret == 0


REQUIRED = f"""
    import pytest

    @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
    def test_payments(): pass

    @pytest.mark.kosli("sha256:{PAYMENTS}", environment="staging")
    def test_payments_again(): pass

    @pytest.mark.kosli("sha256:{LEDGER}", environment="prod")
    def test_ledger(): pass
"""


def test_require_counts_distinct_artifacts_that_passed(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(REQUIRED)
    assert both("--kosli-require=2").ret == 0
    short = both("--kosli-require=3")
    short.assert_outcomes(passed=3)
    assert short.ret == 1
    short.stdout.fnmatch_lines(["--kosli-require 3: only 2 got a live, passing verdict *"])


def test_require_from_the_ini_file_holds_without_any_kosli_test(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeini("[pytest]\nkosli_require = 1\n")
    pytester.makepyfile("def test_it(): pass")
    assert both().ret == 1


def test_require_counts_a_call_as_well(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.fixture(scope="session")
        def gate(assert_compliant):
            return assert_compliant(["sha256:{PAYMENTS}", "sha256:{LEDGER}"], environment="prod")

        def test_it(gate): pass
    """)
    assert alone("--kosli-require=2").ret == 0
    assert alone("--kosli-require=3").ret == 1


NOT_COUNTED = {
    "skipped": "@pytest.mark.skip\n",
    "xfailed": "@pytest.mark.xfail\n",
    "xpassed": "@pytest.mark.xfail\n",
    "failed": "",
}


@pytest.mark.parametrize("how", NOT_COUNTED)
def test_require_does_not_count_what_did_not_pass(
    alone: Suite, pytester: pytest.Pytester, how: str
) -> None:
    pytester.makepyfile(
        f"import pytest\n{NOT_COUNTED[how]}"
        f'@pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")\n'
        f"def test_it(): assert {how == 'xpassed'}\n"
    )
    result = alone("--kosli-require=1")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["--kosli-require 1: only 0 got *"])


def test_require_does_not_count_a_swallowed_or_deselected_verdict(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        test_it=REQUIRED
        + f"""
    def test_swallow(assert_compliant):
        with pytest.raises(AssertionError):
            assert_compliant("sha256:{WEB}", environment="prod")
    """
    )
    result = both("--kosli-require=2", "-k", "swallow or again")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["--kosli-require 2: only 1 got *"])


def test_require_does_not_count_a_replay(
    pytester: pytest.Pytester, alone: Suite, online: Sandbox
) -> None:
    pytester.makepyfile(REQUIRED)
    assert alone("--kosli-record").ret == 0
    result = alone("--kosli-offline", "--kosli-require=1")
    result.assert_outcomes(passed=3)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["REPLAY of cassettes recorded *", "--kosli-require 1: only 0 *"])


@pytest.mark.parametrize(
    "looks", ["--collect-only", "--co -q", "--markers", "--fixtures", "--help", "--cache-show"]
)
def test_no_addopts_keep_a_run_from_what_require_promises(
    pytester: pytest.Pytester, online: Sandbox, looks: str
) -> None:
    pytester.makepyfile(REQUIRED)
    pytester.makeini(f"[pytest]\naddopts = {looks}\n")
    result = pytester.runpytest_inprocess("-p", "no:xdist", "--kosli-require=1")
    assert result.ret in (1, 4)
    assert "--kosli-require" in result.outlines[-2] + result.stderr.str()


@pytest.mark.parametrize("typed", ["in a file", "quoted"])
def test_require_promises_the_same_however_it_is_typed(
    pytester: pytest.Pytester, online: Sandbox, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    pytester.makepyfile(REQUIRED)
    (pytester.path / "typed.txt").write_text("--kosli-require=1\n-q\n")
    if typed == "quoted":
        monkeypatch.setenv("PYTEST_ADDOPTS", '"--kosli-require=1"')
    given = ["@typed.txt"] if typed == "in a file" else []
    result = pytester.runpytest_inprocess("-p", "no:xdist", "--collect-only", *given)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--kosli-require: no test was run*"])


def test_a_look_at_the_tests_goes_with_require_in_addopts(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeini("[pytest]\naddopts = --kosli-require=1\n")
    pytester.makepyfile(REQUIRED)
    assert alone("--collect-only").ret == 0


@pytest.mark.parametrize("looks", ["--collect-only", "--fixtures", "--fixtures-per-test"])
def test_a_look_at_the_tests_goes_with_require_in_the_ini_file(
    alone: Suite, pytester: pytest.Pytester, looks: str
) -> None:
    pytester.makeini("[pytest]\nkosli_require = 1\n")
    pytester.makepyfile(REQUIRED)
    assert alone(looks).ret == 0


def test_the_doctor_goes_with_require(alone: Suite, pytester: pytest.Pytester) -> None:
    assert alone("--kosli-doctor", "--kosli-require=1").ret == 0


def test_a_flag_that_pytest_does_not_know_is_a_usage_error_without_us(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile("def test_it(): pass")
    assert pytester.runpytest_inprocess("-p", "no:kosli", "--kosli-require=1").ret == 4


def no_org(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KOSLI_ORG")


def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSLI_ENVIRONMENT", "")


@pytest.mark.parametrize("breaking", [no_org, empty_environment])
@pytest.mark.parametrize(
    "source",
    [f'"sha256:{PAYMENTS}", environment="prod"', 'snapshot="staging"'],
    ids=["ref", "snap"],
)
def test_a_bad_setting_is_a_usage_error(
    both: Suite,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    breaking: object,
    source: str,
) -> None:
    breaking(monkeypatch)  # type: ignore[operator]
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli({source})
        def test_it(): pass
    """)
    result = both()
    assert result.ret == 4
    told = result.stdout.str() + result.stderr.str()
    assert "organisation" in told or "KOSLI_ENVIRONMENT" in told
    assert "INTERNALERROR" not in told


def test_a_bad_setting_is_a_usage_error_where_only_flags_matter(
    both: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_org(monkeypatch)
    pytester.makepyfile("def test_it(): pass")
    result = both(*STAGING)
    assert result.ret == 4
    assert "INTERNALERROR" not in result.stdout.str()


def test_no_scope_at_all_is_a_usage_error(both: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}")
        def test_it(): pass
    """)
    result = both()
    assert result.ret == 4
    assert "to be judged against" in result.stdout.str() + result.stderr.str()


def test_a_deselected_test_without_a_scope_ends_no_run(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}")
        def test_it(): pass

        def test_other(): pass
    """)
    assert alone("-k", "other").ret == 0


def test_the_header_comes_with_flags_and_after_collection_with_marks(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(MARKED)
    with_flag = alone(*STAGING).stdout.str()
    assert with_flag.index("kosli: live") < with_flag.index("collected 4 items")
    assert with_flag.count("kosli: live") == 1
    pytester.makeini("[pytest]\nkosli_snapshot = staging\n")
    with_mark = alone().stdout.str()
    assert with_mark.index("kosli: live") > with_mark.index("collected 4 items")
    alone("-q").stdout.no_fnmatch_line("kosli: live*")
    alone("--no-header").stdout.no_fnmatch_line("kosli: live*")
    alone("--collect-only").stdout.no_fnmatch_line("kosli: live*")
