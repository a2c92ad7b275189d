"""What a verdict, a missing one and a dry run make of a test, in every phase and kind of test."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_kosli.plugin import FIXTURES
from tests.conftest import Suite
from tests.sandbox import Sandbox
from tests.story import CRON, LEDGER, PAYMENTS, REPORTS, WEB

REFUSED = {"web": WEB, "cron": CRON}


def marked(fingerprint: str, scope: str = 'environment="prod"') -> str:
    """A test that leaves a trace when its body or its fixture runs."""
    return f"""
        import pathlib, pytest

        @pytest.fixture
        def deploy():
            pathlib.Path("deployed").touch()

        @pytest.mark.kosli("sha256:{fingerprint}", {scope})
        def test_release(deploy):
            pathlib.Path("ran").touch()
    """


def traces(pytester: pytest.Pytester) -> set[str]:
    return {name for name in ("deployed", "ran") if (pytester.path / name).exists()}


def test_the_body_runs_for_a_compliant_artifact(each: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(marked(PAYMENTS))
    result = each()
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    assert traces(pytester) == {"deployed", "ran"}


@pytest.mark.parametrize("fingerprint", REFUSED.values(), ids=REFUSED)
def test_a_refused_artifact_fails_its_test_and_nothing_is_set_up(
    each: Suite, pytester: pytest.Pytester, fingerprint: str
) -> None:
    pytester.makepyfile(marked(fingerprint))
    result = each()
    result.assert_outcomes(failed=1)
    assert result.ret == 1
    assert traces(pytester) == set()


def test_an_allow_listed_artifact_passes_unless_a_flag_says_otherwise(
    each: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(marked(LEDGER))
    result = each()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["d4d1d5d was allow-listed by *", "*INC-42*"])

    strict = each("--kosli-allow-listed=fail")
    strict.assert_outcomes(failed=1)
    strict.stdout.fnmatch_lines(["E * is only allow-listed: *"])


def test_no_session_fixture_runs_on_behalf_of_a_refused_test(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pathlib, pytest

        @pytest.fixture(scope="session", autouse=True)
        def deploy():
            pathlib.Path("deployed").touch()

        @pytest.mark.kosli("sha256:{WEB}", environment="prod")
        class TestRelease:
            @classmethod
            def setup_class(cls):
                pathlib.Path("ran").touch()

            def test_it(self):
                pass
    """)
    alone().assert_outcomes(failed=1)
    assert traces(pytester) == set()


def without_policies(answer: dict[str, Any]) -> None:
    answer["policy_evaluations"] = []


def about_another(answer: dict[str, Any]) -> None:
    answer["fingerprint"] = "0" * 64


FAULTS: dict[str, Callable[[Sandbox], None]] = {
    "outage": lambda sandbox: sandbox.fault("asserts/*", status=503),
    "cut": lambda sandbox: sandbox.fault("asserts/*", cut=10),
    "401": lambda sandbox: sandbox.fault("asserts/*", status=401),
    "403": lambda sandbox: sandbox.fault("asserts/*", status=403),
    "a page": lambda sandbox: sandbox.fault("asserts/*", body="<html>", content_type="text/html"),
    "half a document": lambda sandbox: sandbox.fault("asserts/*", body='{"compliant": true'),
    "a bare true": lambda sandbox: sandbox.fault("asserts/*", body={"compliant": True}),
    "another artifact": lambda sandbox: sandbox.fault("asserts/*", lie=about_another),
    "no policies": lambda sandbox: sandbox.fault("asserts/*", lie=without_policies),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_without_a_verdict_a_test_is_an_error_and_nothing_is_set_up(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester, fault: Callable[[Sandbox], None]
) -> None:
    fault(online)
    pytester.makepyfile(marked(PAYMENTS))
    result = alone()
    result.assert_outcomes(errors=1)
    assert result.ret == 1
    assert traces(pytester) == set()
    result.stdout.fnmatch_lines(["E   e49d561: no verdict (*)"])


@pytest.mark.parametrize(
    "scope",
    ['environment="nope"', 'policy="nope"', 'flow="nope"', 'environment="beta"'],
    ids=["environment", "policy", "flow", "no policies"],
)
def test_a_scope_that_kosli_can_not_judge_by_is_an_error(
    each: Suite, pytester: pytest.Pytester, scope: str
) -> None:
    fingerprint = REPORTS if "beta" in scope else PAYMENTS
    pytester.makepyfile(marked(fingerprint, scope))
    result = each()
    result.assert_outcomes(errors=1)
    assert traces(pytester) == set()


def test_an_unknown_flow_is_not_called_an_unknown_artifact(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(marked(PAYMENTS, 'flow="web-ci"'))
    result = alone()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*is unknown to Kosli*"])


def dry_flag(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    return ("--kosli-dry-run",)


def dry_variable(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setenv("KOSLI_DRY_RUN", "true")
    return ()


def dry_token(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setenv("KOSLI_API_TOKEN", "DRY_RUN")
    return ()


@pytest.mark.parametrize("how", [dry_flag, dry_variable, dry_token])
def test_a_dry_run_skips_every_check_and_sends_nothing(
    each: Suite,
    online: Sandbox,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[[pytest.MonkeyPatch], tuple[str, ...]],
) -> None:
    pytester.makepyfile(
        marked(WEB)
        + f"""
        @pytest.mark.kosli(snapshot="prod")
        def test_all():
            pass

        def test_call(assert_compliant):
            assert_compliant("sha256:{WEB}", environment="prod")

        @pytest.fixture(scope="session")
        def gate(assert_compliant):
            return assert_compliant(["sha256:{WEB}"], environment="prod")

        def test_one(gate): pass
        def test_two(gate): pass

        def test_client(kosli_client):
            kosli_client.environment("prod")
        """
    )
    result = each(*how(monkeypatch))
    result.assert_outcomes(skipped=6)
    assert result.ret == 0
    assert traces(pytester) == set()
    assert online.requests == []
    result.stdout.fnmatch_lines(["*DRY RUN: Kosli was not asked, nothing was checked*"])


PHASES = {
    "body": """
        def test_it(assert_compliant):
            assert_compliant(WHAT, environment="prod")
    """,
    "function fixture": """
        import pytest

        @pytest.fixture
        def gate(assert_compliant):
            assert_compliant(WHAT, environment="prod")

        def test_it(gate):
            pass
    """,
    "session fixture": """
        import pytest

        @pytest.fixture(scope="session")
        def gate(assert_compliant):
            assert_compliant(WHAT, environment="prod")

        def test_it(gate):
            pass
    """,
    "marker": """
        import pytest

        @pytest.mark.kosli(WHAT, environment="prod")
        def test_it():
            pass
    """,
    "class": """
        import pytest

        @pytest.mark.kosli(WHAT, environment="prod")
        class TestIt:
            def test_it(self):
                pass
    """,
    "unittest method": """
        import pytest, unittest

        @pytest.mark.kosli(WHAT, environment="prod")
        class TestIt(unittest.TestCase):
            def test_it(self):
                raise RuntimeError("the body ran")
    """,
    "unittest body": """
        import pytest, unittest

        class TestIt(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def take(self, assert_compliant):
                self.assert_compliant = assert_compliant

            def test_it(self):
                self.assert_compliant(WHAT, environment="prod")
    """,
    "parametrised": """
        import pytest

        @pytest.mark.parametrize("region", ["eu"])
        @pytest.mark.kosli(WHAT, environment="prod")
        def test_it(region):
            pass
    """,
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    ("what", "expected"),
    [(f"sha256:{WEB}", {"failed": 1}), ("sha256:12", {"errors": 1})],
    ids=["refused", "no verdict"],
)
def test_the_exception_decides_in_every_phase(
    alone: Suite, pytester: pytest.Pytester, phase: str, what: str, expected: dict[str, int]
) -> None:
    pytester.makepyfile(PHASES[phase].replace("WHAT", repr(what)))
    result = alone()
    result.assert_outcomes(**expected)
    result.stdout.no_fnmatch_line("*pytest_kosli/*.py:*")


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (f"sha256:{WEB}", {"passed": 1, "failed": 1}),
        ("sha256:12", {"passed": 1, "errors": 1}),
    ],
    ids=["refused", "no verdict"],
)
def test_the_exception_decides_in_a_teardown(
    each: Suite, pytester: pytest.Pytester, what: str, expected: dict[str, int]
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.fixture
        def gate(assert_compliant):
            yield
            assert_compliant({what!r}, environment="prod")

        def test_it(gate):
            pass
    """)
    result = each("--kosli-require=0")
    result.assert_outcomes(**expected)
    assert result.ret == 1


def test_an_exception_of_the_library_alone_decides_as_well(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        from pytest_kosli.api.kosli import KosliClient

        def test_it():
            KosliClient("acme", host={online.url!r}, max_api_retries=0).environment("nope")
    """)
    alone().assert_outcomes(errors=1)


def test_a_doctest_that_is_marked_late_is_judged(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(f"""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.kosli("sha256:{WEB}", environment="prod"))
    """)
    pytester.makepyfile(
        release='''
        """
        >>> 1 + 1
        2
        """
        '''
    )
    alone("--doctest-modules", "release.py").assert_outcomes(failed=1)


@pytest.mark.parametrize("goes_on", [(), ("--doctest-continue-on-failure",)])
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (f"sha256:{WEB}", {"failed": 1}),
        ("file:not-there", {"errors": 1}),
    ],
)
def test_what_an_example_in_a_doctest_raises_decides_as_well(
    alone: Suite,
    pytester: pytest.Pytester,
    what: str,
    expected: dict[str, int],
    goes_on: tuple[str, ...],
) -> None:
    pytester.makepyfile(
        release=f'''
        """
        >>> verdict = getfixture("assert_compliant")("{what}", environment="prod")
        """
        '''
    )
    result = alone("--doctest-modules", "release.py", *goes_on)
    result.assert_outcomes(**expected)
    result.stdout.no_fnmatch_line("*UnexpectedException*")
    result.stdout.no_fnmatch_line("*MultipleDoctestFailures*")


EXCUSES = {
    "xfail": "xfail",
    "strict": "xfail(strict=True)",
    "raises": "xfail(raises=AssertionError)",
    "raises anything": "xfail(raises=Exception)",
    "not run": "xfail(run=False)",
}


@pytest.mark.parametrize("excuse", EXCUSES.values(), ids=EXCUSES)
def test_no_xfail_excuses_a_refused_or_missing_verdict(
    alone: Suite, pytester: pytest.Pytester, excuse: str
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.{excuse}
        @pytest.mark.kosli("sha256:{WEB}", environment="prod")
        def test_refused(): pass

        @pytest.mark.{excuse}
        @pytest.mark.kosli("sha256:{WEB}", environment="nope")
        def test_unknown(): pass
    """)
    result = alone()
    result.assert_outcomes(failed=1, errors=1)
    assert result.ret == 1


@pytest.mark.parametrize("excuse", list(EXCUSES.values())[:4], ids=list(EXCUSES)[:4])
def test_no_xfail_excuses_a_refusing_call(
    alone: Suite, pytester: pytest.Pytester, excuse: str
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.{excuse}
        def test_refused(assert_compliant):
            assert_compliant("sha256:{WEB}", environment="prod")
    """)
    result = alone()
    result.assert_outcomes(failed=1)
    assert result.ret == 1


def in_disguise(call: str) -> str:
    return f"""
        import asyncio, pytest, unittest

        @pytest.mark.xfail
        def test_group(assert_compliant):
            async def side_by_side():
                async with asyncio.TaskGroup() as group:
                    group.create_task(asyncio.to_thread(lambda: {call}))
            asyncio.run(side_by_side())

        @pytest.mark.xfail
        def test_cause(assert_compliant):
            try:
                {call}
            except Exception as error:
                raise RuntimeError("no release") from error

        @pytest.mark.xfail
        def test_context(assert_compliant):
            try:
                {call}
            finally:
                raise ExceptionGroup("cleaning up", [ValueError()])

        @pytest.fixture
        def late(assert_compliant):
            yield
            {call}

        @pytest.fixture
        def later():
            yield
            raise ValueError("cleaning up")

        @pytest.mark.xfail
        def test_teardowns(late, later): pass

        class TestIt(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def take(self, assert_compliant):
                self.assert_compliant = assert_compliant

            @unittest.expectedFailure
            def test_kept_by_unittest(self):
                self.{call}
    """


@pytest.mark.parametrize(
    ("scope", "letter"), [("prod", "failed"), ("nope", "errors")], ids=["refused", "no verdict"]
)
def test_no_xfail_excuses_it_in_the_disguise_of_another_exception(
    each: Suite, pytester: pytest.Pytester, scope: str, letter: str
) -> None:
    call = f'assert_compliant("sha256:{WEB}", environment="{scope}")'
    pytester.makepyfile(in_disguise(call))
    result = each()
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 5
    assert outcomes[letter] >= 4
    assert "xfailed" not in outcomes
    assert result.ret == 1


@pytest.mark.parametrize(
    ("scope", "arguments", "expected"),
    [
        ("prod", [], {"failed": 1}),
        ("nope", [], {"errors": 1}),
        ("prod", ["--kosli-dry-run"], {"skipped": 1}),
    ],
    ids=["refused", "no verdict", "dry run"],
)
def test_a_group_of_ours_is_what_the_worst_of_them_is(
    alone: Suite,
    pytester: pytest.Pytester,
    scope: str,
    arguments: list[str],
    expected: dict[str, int],
) -> None:
    pytester.makepyfile(f"""
        import pytest

        def test_it(assert_compliant):
            raised = []
            for environment in ("nope", "{scope}"):
                try:
                    assert_compliant("sha256:{WEB}", environment=environment)
                except BaseException as error:
                    raised.append(error)
            raise BaseExceptionGroup("one", [raised[0], BaseExceptionGroup("more", raised[1:])])
    """)
    alone(*arguments).assert_outcomes(**expected)


def test_a_group_with_an_exception_of_theirs_is_theirs(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        def test_it(assert_compliant):
            try:
                assert_compliant("sha256:{WEB}", environment="prod")
            except Exception as error:
                raise ExceptionGroup("both", [error, ValueError("theirs")])
    """)
    alone("--kosli-dry-run").assert_outcomes(failed=1)
    result = alone()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError: theirs*"])


def test_a_test_that_keeps_a_refusal_to_itself_is_named_however_it_ends(
    each: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import contextlib, pytest

        def keep(assert_compliant):
            with contextlib.suppress(AssertionError):
                assert_compliant("sha256:{WEB}", environment="prod")

        def test_skip(assert_compliant):
            keep(assert_compliant)
            pytest.skip("no")

        @pytest.mark.xfail
        def test_xpass(assert_compliant):
            keep(assert_compliant)
    """)
    result = each()
    result.assert_outcomes(skipped=1, xpassed=1)
    result.stdout.fnmatch_lines_random(
        [
            "0722a81 is non-compliant, but *::test_skip was skipped",
            "0722a81 is non-compliant, but *::test_xpass xpassed",
        ]
    )


def test_no_plugin_excuses_it_by_an_xfail_of_its_own(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest("""
        import pytest

        @pytest.hookimpl(wrapper=True, trylast=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if call.when == "call":
                report.outcome, report.wasxfail = "skipped", "soft"
            return report
    """)
    pytester.makepyfile(f"""
        import contextlib

        def test_it(assert_compliant):
            with contextlib.suppress(AssertionError):
                assert_compliant("sha256:{WEB}", environment="prod")
    """)
    result = both()
    result.assert_outcomes(failed=1)
    assert result.ret == 1


def test_an_xfail_excuses_a_test_that_has_caught_a_refusal_and_fails_by_itself(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest
        from pytest_kosli import NotCompliant

        @pytest.mark.xfail
        def test_it(assert_compliant):
            with pytest.raises(NotCompliant):
                assert_compliant("sha256:{WEB}", environment="prod")
            assert False
    """)
    result = alone()
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["0722a81 is non-compliant, but *::test_it xfailed"])


@pytest.mark.parametrize("word", ["rerun", "known"])
@pytest.mark.parametrize(
    "asks",
    [
        f'@pytest.mark.kosli("sha256:{WEB}", environment="prod")\ndef test_it(): pass',
        f'def test_it(assert_compliant): assert_compliant("sha256:{WEB}", environment="prod")',
    ],
    ids=["mark", "call"],
)
def test_no_outcome_of_a_plugin_takes_the_place_of_a_refusal(
    both: Suite, pytester: pytest.Pytester, word: str, asks: str
) -> None:
    pytester.makeconftest(f"""
        import pytest

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if report.failed:
                report.outcome = "{word}"
            return report
    """)
    pytester.makepyfile(f"import pytest\n{asks}\n")
    result = both()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*::test_it* failed (*0722a81*), but no report tells of it"])


def test_an_xfail_still_excuses_the_test_itself(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.xfail
        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_it():
            assert False

        @pytest.mark.xfail(run=False)
        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_not_run():
            assert False
    """)
    alone().assert_outcomes(xfailed=2)


def test_a_skip_comes_before_a_verdict(each: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
        import pytest

        MARK = pytest.mark.kosli("sha256:{WEB}", environment="prod")

        @pytest.mark.skip(reason="not today")
        @MARK
        def test_skip(): pass

        @pytest.mark.skipif(True, reason="never")
        @MARK
        def test_skipif(): pass
    """)
    pytester.makepyfile(
        test_needs=f"""
        import pytest

        pytest.importorskip("no_such_module")

        @pytest.mark.kosli("sha256:{WEB}", environment="prod")
        def test_it(): pass
        """
    )
    result = each()
    result.assert_outcomes(skipped=3)
    assert result.ret == 0


def test_a_conftest_may_skip_before_us(each: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_setup(item):
            pytest.skip("not on this machine")
    """)
    pytester.makepyfile(marked(WEB))
    each().assert_outcomes(skipped=1)


def test_an_xfail_before_us_does_not_excuse_a_missing_verdict(
    each: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest("""
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_setup(item):
            pytest.xfail("known")
    """)
    pytester.makepyfile(marked(WEB))
    result = each()
    result.assert_outcomes(xfailed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*::test_release* xfailed, but its verdict did not arrive"])


def test_a_refusal_in_a_teardown_has_its_properties_in_junit(
    each: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.fixture
        def late(assert_compliant):
            yield
            assert_compliant("sha256:{WEB}", environment="prod")

        def test_it(late): pass
    """)
    each("--junit-xml=out.xml")
    told = {
        one.attrib["name"]: one.attrib["value"]
        for one in ET.parse(pytester.path / "out.xml").iter("property")
    }
    assert told["kosli.outcome"] == "NON_COMPLIANT"


def test_a_run_without_pytests_terminal_comes_to_the_same(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{WEB}", environment="prod")
        def test_refused(): ...

        def test_call(assert_compliant):
            assert_compliant("sha256:12", environment="prod")
    """)
    result = alone("-p", "no:terminal", "--junit-xml=out.xml", "--kosli-report=evidence.json")
    assert result.ret == 1
    assert junit(pytester.path / "out.xml") == {"test_refused": ["failure"], "test_call": ["error"]}
    assert WEB in (pytester.path / "evidence.json").read_text()


def test_junit_tells_failure_from_error_from_skip(each: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_compliant(): pass

        @pytest.mark.kosli("sha256:{WEB}", environment="prod")
        def test_refused(): pass

        @pytest.mark.kosli("sha256:{WEB}", environment="nope")
        def test_unknown(): pass

        def test_call(assert_compliant):
            assert_compliant("sha256:12", environment="prod")

        @pytest.fixture
        def late(assert_compliant):
            yield
            assert_compliant("sha256:{WEB}", environment="prod")

        def test_teardown(late): pass
    """)
    each("--junit-xml=out.xml")
    assert junit(pytester.path / "out.xml") == {
        "test_compliant": [],
        "test_refused": ["failure"],
        "test_unknown": ["error"],
        "test_call": ["error"],
        "test_teardown": ["failure"],
    }
    each("--junit-xml=dry.xml", "--kosli-dry-run")
    told = junit(pytester.path / "dry.xml")
    assert told["test_refused"] == told["test_call"] == ["skipped"]


def junit(path: Path) -> dict[str, list[str]]:
    cases = ET.parse(path).getroot().iter("testcase")
    return {
        case.attrib["name"].split("[")[0]: [
            child.tag for child in case if child.tag != "properties"
        ]
        for case in cases
    }


MARK_AND_CALL = f"""
    import pytest

    @pytest.mark.kosli("sha256:{WEB}", environment="prod")
    def test_mark(): pass

    def test_call(assert_compliant):
        assert_compliant("sha256:{WEB}", environment="prod")
"""


@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native", "no"])
def test_a_refusal_reads_well_in_every_traceback_style(
    alone: Suite, pytester: pytest.Pytester, style: str
) -> None:
    pytester.makepyfile(MARK_AND_CALL)
    result = alone(f"--tb={style}")
    result.assert_outcomes(failed=2)
    told = result.stdout.str()
    assert "pytest_kosli/" not in told
    assert ("0722a81 is not compliant: snyk-scan missing" in told) == (style != "no")


@pytest.mark.parametrize("style", ["auto", "short"])
def test_a_refusal_has_the_colour_of_a_failure_wherever_it_was_asked(
    alone: Suite, pytester: pytest.Pytester, style: str
) -> None:
    pytester.makepyfile(MARK_AND_CALL)
    told = alone("--color=yes", f"--tb={style}").stdout.str().splitlines()
    coloured = [line for line in told if "E   0722a81 is not compliant" in line]
    assert len(coloured) == 2
    assert coloured[0] == coloured[1]
    assert coloured[0].startswith("\x1b[1m\x1b[31mE ")


BODIES = {
    "client": 'kosli_client.environment("nope")',
    "client, refused here": "kosli_client.snapshot(None)",
    "compliant": 'assert_compliant("sha256:12", environment="prod")',
    "drift": 'assert_no_drift("nope", artifacts="sha256:12")',
    "fingerprint": 'kosli_fingerprint("file:not-there")',
    "source": 'assert_source("acme/web", "a.py")',
    "codealive, through threads": 'codealive_client.fetch("acme/web::a.py")',
}


@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_only_lines_of_the_test_are_shown_whatever_it_calls(
    alone: Suite, pytester: pytest.Pytester, body: str, style: str
) -> None:
    fixtures = ", ".join(
        name for name in sorted(FIXTURES) if f"{name}(" in body or f"{name}." in body
    )
    pytester.makepyfile(f"""
        def asked({fixtures}):
            return {body}

        def test_it({fixtures}):
            asked({fixtures})
    """)
    result = alone(f"--tb={style}")
    result.assert_outcomes(errors=1)
    told = result.stdout.str()
    assert "pytest_kosli/" not in told
    assert "concurrent" not in told
    assert "no verdict (" in told
    if style in ("auto", "long", "short"):
        assert told.index(f"asked({fixtures})") < told.index(f"return {body}")


def test_the_full_trace_shows_all_of_it(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(kosli_client): kosli_client.environment(None)")
    assert "pytest_kosli/api/kosli.py" in alone("--full-trace").stdout.str()
