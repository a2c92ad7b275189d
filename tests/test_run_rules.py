"""Rules about the run as a whole: all or nothing, exit codes, and what a dry run proves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sandbox import Sandbox
from tests.story import PAYMENTS, WEB

Run = Callable[..., pytest.RunResult]

SUITE = """\
import pytest

@pytest.fixture
def deploy():
    with open("deployed", "a") as file:
        file.write("x")

def test_unmarked(deploy): ...

@pytest.mark.kosli({fine!r}, environment="prod")
def test_fine(deploy): ...

{more}
"""
REFUSED = """\
@pytest.mark.kosli({reference!r}, environment="prod")
def test_refused(deploy): ...
"""
MISSING = """\
@pytest.mark.kosli({reference!r}, environment="nowhere")
def test_missing(deploy): ...
"""
MISREAD = """\
@pytest.mark.kosli(enviroment="prod")
def test_misread(deploy): ...
"""
CALLED = """\
def test_called(assert_compliant):
    assert_compliant({reference!r}, environment="prod")
"""


@pytest.fixture
def run(pytester: pytest.Pytester, online: Sandbox, everywhere: tuple[str, ...]) -> Run:
    def run(more: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(SUITE.format(fine=f"payments=sha256:{PAYMENTS}", more=more))
        return pytester.runpytest("-p", "no:cacheprovider", *everywhere, *arguments)

    return run


ENDED = """
def test_stop():
    pytest.exit("all done", returncode=0)
"""


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (REFUSED.format(reference=f"web=sha256:{WEB}") + ENDED, "1 test failed by what Kosli said"),
        (ENDED + REFUSED.format(reference=f"web=sha256:{WEB}"), "1 test did not run to the end"),
    ],
    ids=["after", "before"],
)
def test_no_test_ends_the_run_well_over_a_refusal(
    pytester: pytest.Pytester, online: Sandbox, more: str, told: str
) -> None:
    pytester.makepyfile(SUITE.format(fine=f"payments=sha256:{PAYMENTS}", more=more))
    result = pytester.runpytest("-p", "no:cacheprovider", "-p", "no:xdist")
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"the run was ended with exit status 0, but *{told}"])


@pytest.mark.parametrize(
    ("scope", "told"),
    [("prod", "is non-compliant"), ("nowhere", "has no verdict")],
    ids=["refused", "no verdict"],
)
def test_no_test_ends_the_run_well_with_a_refusal_in_its_hands(
    pytester: pytest.Pytester, online: Sandbox, scope: str, told: str
) -> None:
    pytester.makepyfile(f"""
        import pytest

        def test_it(assert_compliant):
            try:
                assert_compliant("sha256:{WEB}", environment="{scope}")
            finally:
                pytest.exit("all done", returncode=0)
    """)
    result = pytester.runpytest("-p", "no:cacheprovider", "-p", "no:xdist")
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"*::test_it failed (0722a81 {told}), but no report tells of it"])


def test_a_test_that_takes_a_fixture_of_ours_does_not_stay_behind_either(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    pytester.makepyfile(f"""
        import pytest

        def test_first():
            pytest.exit("all done", returncode=0)

        def test_it(assert_compliant):
            assert_compliant("sha256:{WEB}", environment="prod")
    """)
    assert pytester.runpytest("-p", "no:cacheprovider", "-p", "no:xdist").ret == 1


def test_a_plugin_may_run_the_tests_in_a_way_of_its_own(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    pytester.makeconftest("""
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            runtestprotocol(item, nextitem=nextitem)
            return True
    """)
    pytester.makepyfile(SUITE.format(fine=f"payments=sha256:{PAYMENTS}", more=""))
    assert pytester.runpytest("-p", "no:cacheprovider", "-p", "no:xdist").ret == 0


def test_a_run_that_is_ended_well_when_all_is_done_is_green(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    pytester.makepyfile(SUITE.format(fine=f"payments=sha256:{PAYMENTS}", more=ENDED))
    assert pytester.runpytest("-p", "no:cacheprovider", "-p", "no:xdist").ret == 0


MORE = {
    "refused": REFUSED.format(reference=f"web=sha256:{WEB}"),
    "missing": MISSING.format(reference=f"web=sha256:{WEB}"),
    "misread": MISREAD,
}


@pytest.mark.parametrize("why", MORE)
def test_one_refusal_keeps_every_test_from_being_set_up(
    run: Run, pytester: pytest.Pytester, why: str
) -> None:
    result = run(MORE[why], "--kosli-all-or-nothing")
    result.assert_outcomes(failed=1 if why == "refused" else 0, errors=2 if why == "refused" else 3)
    assert not (pytester.path / "deployed").exists()
    result.stdout.fnmatch_lines(["*no verdict (all_or_nothing)*", "*no test of this run is*"])


def test_all_is_run_when_all_is_fine(run: Run, pytester: pytest.Pytester) -> None:
    result = run("", "--kosli-all-or-nothing")
    result.assert_outcomes(passed=2)
    assert (pytester.path / "deployed").read_text() == "xx"


def test_without_it_one_refusal_stops_its_own_test_only(
    run: Run, pytester: pytest.Pytester
) -> None:
    result = run(MORE["refused"])
    result.assert_outcomes(passed=2, failed=1)
    assert (pytester.path / "deployed").read_text() == "xx"


def test_a_flag_that_nothing_takes_up_counts_too(run: Run, pytester: pytest.Pytester) -> None:
    arguments = ["--kosli-artifact", f"web=sha256:{WEB}", "--kosli-environment", "prod"]
    result = run("", "--kosli-all-or-nothing", *arguments)
    result.assert_outcomes(errors=3)
    assert not (pytester.path / "deployed").exists()


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("", 0),
        (MORE["refused"], 10),
        (MORE["missing"], 11),
        (MORE["misread"], 11),
        (MORE["refused"] + MORE["missing"], 10),
        (CALLED.format(reference=f"web=sha256:{WEB}"), 10),
        ("def test_other(): assert 0", 1),
        ("def test_other(): assert 0\n" + MORE["missing"], 11),
    ],
)
def test_exit_codes_tell_a_refusal_from_a_missing_verdict(run: Run, more: str, code: int) -> None:
    assert run(more, "--kosli-exit-codes").ret == code
    assert run(more).ret == min(code, 1)


def test_exit_codes_do_not_depend_on_reports(run: Run) -> None:
    for arguments in ([], ["--junit-xml=out.xml"], ["--kosli-report=out.json"], ["-q", "-q"]):
        result = run(MORE["refused"], "--kosli-exit-codes", *arguments)
        assert result.ret == 10


def test_pytests_own_codes_stay(run: Run) -> None:
    assert run("", "--kosli-exit-codes", "-k", "nothing").ret == 5
    assert run("import nothing_like_this", "--kosli-exit-codes").ret in (1, 2)


def test_a_dry_run_never_meets_a_requirement(run: Run) -> None:
    result = run("", "--kosli-dry-run", "--kosli-require", "1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*--kosli-require 1: only 0 got a live, passing verdict*"])


def test_who_built_what_is_refused_is_looked_up_before_the_first_test(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    pytester.makepyfile(SUITE.format(fine=f"payments=sha256:{PAYMENTS}", more=MORE["refused"]))
    pytester.makeconftest("def pytest_runtest_setup(item):\n    print('SETUP')")
    pytester.runpytest("-p", "no:cacheprovider", "-p", "no:xdist")
    asked = [request.path.split("/")[3] for request in online.requests]
    assert sorted(asked) == ["artifacts", "asserts", "asserts"]
