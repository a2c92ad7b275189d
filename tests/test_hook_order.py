"""Our hooks among those of others: what a conftest file or another plugin does not undo."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from pytest_kosli import plugin
from tests.conftest import Suite
from tests.sandbox import Sandbox
from tests.story import PAYMENTS, WEB

MARKED = f"""
import pytest

@pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
def test_it(): ...
"""
GREEN = """
import pytest

{how}
def pytest_sessionfinish(session):
    session.exitstatus = 0
"""
SILENT = """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport():
    report = yield
    vars(report).pop("kosli", None)
    return report
"""


def hooks(module: ModuleType) -> set[str]:
    return {name for name in vars(module) if name.startswith("pytest_")}


def test_what_pytest_looks_at_in_the_plugin_is_each_hook_and_each_fixture_and_nothing_else() -> (
    None
):
    seen = dir(plugin)
    assert len(seen) == len(set(seen))
    assert set(seen) == hooks(plugin) | plugin.FIXTURES | {"_kosli_sources"}
    assert set(dir(plugin.Doctor())) == {"pytest_cmdline_main"}


@pytest.mark.parametrize(
    ("how", "at"),
    [
        ("", "."),
        ("@pytest.hookimpl(tryfirst=True)", "."),
        ("@pytest.hookimpl(trylast=True)", "."),
        ("@pytest.hookimpl(trylast=True)", "below"),
    ],
)
@pytest.mark.parametrize(("more", "argument"), [("", "--kosli-require=2"), (SILENT, "-q")])
def test_nobody_makes_a_run_green_that_is_not(
    both: Suite, pytester: pytest.Pytester, how: str, at: str, more: str, argument: str
) -> None:
    folder = pytester.mkdir("below")
    (pytester.path / at / "conftest.py").write_text(GREEN.format(how=how) + more)
    (folder / "test_it.py").write_text(MARKED)
    result = both(argument)
    result.assert_outcomes(passed=1)
    assert result.ret == 1


def test_we_are_done_before_reporters_and_after_what_others_tear_down(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    """With -x a fixture may be torn down as late as at the end of the session."""
    pytester.makepyfile(f"""
        import pytest

        @pytest.fixture(scope="session")
        def late(assert_compliant):
            yield
            assert_compliant("sha256:{WEB}", environment="prod")

        def test_it(late): assert False
        def test_other(late): ...
    """)
    result = alone("-x", "--kosli-report=evidence.json")
    assert result.ret == 1
    assert WEB in (pytester.path / "evidence.json").read_text()


@pytest.mark.parametrize("where", [("-p", "no:xdist"), ("-n2",)], ids=["alone", "n2"])
def test_reports_are_written_though_somebody_fails_at_the_end(
    pytester: pytest.Pytester, online: Sandbox, where: tuple[str, ...]
) -> None:
    pytester.makeconftest("""
        def pytest_sessionfinish(session):
            if not hasattr(session.config, "workerinput"):
                raise ZeroDivisionError
    """)
    pytester.makepyfile(MARKED)
    result = pytester.runpytest_subprocess("--kosli-report=evidence.json", *where)
    assert result.ret != 0
    assert PAYMENTS in (pytester.path / "evidence.json").read_text()


def test_what_a_worker_learned_arrives_though_somebody_fails_at_its_end(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    pytester.makeconftest("""
        def pytest_kosli_verdict():
            raise ZeroDivisionError

        def pytest_sessionfinish(session):
            if hasattr(session.config, "workerinput"):
                raise ZeroDivisionError
    """)
    pytester.makepyfile(MARKED)
    result = pytester.runpytest_subprocess("-n2")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*pytest_kosli_verdict*ZeroDivisionError*"])
    assert result.ret == 1


def test_what_refuses_is_not_turned_into_something_else_by_a_conftest_file(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest("""
        import pytest

        def pytest_runtest_makereport(item, call):
            if call.excinfo:
                call.excinfo = None
    """)
    pytester.makepyfile(MARKED.replace(PAYMENTS, WEB))
    result = both()
    result.assert_outcomes(failed=1)
    assert result.ret == 1


HELD = """
import pytest
from _pytest.runner import runtestprotocol

HELD = []

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    HELD.append(item)
    return True

def pytest_sessionfinish():
    for item in HELD:
        runtestprotocol(item, nextitem=None)
"""


def test_what_is_first_met_in_the_last_hook_counts(alone: Suite, pytester: pytest.Pytester) -> None:
    """As plugins do it that run some tests again, or at the end."""
    pytester.makeconftest(HELD)
    pytester.makepyfile(f"""
        def test_it(request):
            request.getfixturevalue("assert_compliant")("sha256:{WEB}", environment="prod")
    """)
    result = alone()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["non-compliant *", "*failed by what Kosli said*"])


@pytest.mark.parametrize("how", ["", "@pytest.hookimpl(trylast=True)"])
@pytest.mark.parametrize("argument", ["--kosli-require=2", f"--kosli-artifact=sha256:{WEB}"])
def test_no_exit_at_the_end_makes_a_run_green_that_is_not(
    both: Suite, pytester: pytest.Pytester, how: str, argument: str
) -> None:
    pytester.makeconftest(f"""
        import pytest

        {how}
        def pytest_sessionfinish():
            pytest.exit("nothing more to do", returncode=0)
    """)
    pytester.makepyfile(MARKED)
    assert both("--kosli-environment=prod", argument).ret == 1


@pytest.mark.parametrize("how", ["", "@pytest.hookimpl(tryfirst=True)"])
def test_who_acts_on_a_green_run_sees_what_it_is(
    alone: Suite, pytester: pytest.Pytester, how: str
) -> None:
    pytester.makeconftest(f"""
        import pytest

        {how}
        def pytest_sessionfinish(session):
            if session.exitstatus == 0:
                print("promoted")
    """)
    pytester.makepyfile(MARKED)
    result = alone("--kosli-require=2", "-s")
    assert result.ret == 1
    result.stdout.no_fnmatch_line("*promoted*")
    assert result.stdout.str().count("--kosli-require=2") <= 1


def test_workers_that_a_plugin_starts_are_heard(pytester: pytest.Pytester, online: Sandbox) -> None:
    pytester.makepyfile(
        spread="""
        def pytest_configure(config):
            if not hasattr(config, "workerinput"):
                config.option.dist, config.option.tx = "load", ["popen"] * 2
    """
    )
    pytester.makeconftest(f"import pytest\n{SILENT}")
    pytester.makepyfile(MARKED)
    pytester.syspathinsert()
    result = pytester.runpytest_subprocess("-p", "spread")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*passed, but its verdict did not arrive*"])


CHILD = """
import os, pickle
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    end, into = os.pipe()
    if not os.fork():
        made = [report._to_json() for report in runtestprotocol(item, log=False)]
        os.write(into, pickle.dumps(made))
        os._exit(0)
    os.wait()
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for made in pickle.loads(os.read(end, 1 << 16)):
        item.ihook.pytest_runtest_logreport(report=pytest.TestReport._from_json(made))
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_process_that_met_nothing_hears_what_its_child_reports(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    pytester.makeconftest(CHILD)
    pytester.makepyfile(f"""
        def test_it(request):
            request.getfixturevalue("assert_compliant")("sha256:{WEB}", environment="prod")
    """)
    result = pytester.runpytest_subprocess("-p", "no:xdist")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["non-compliant *", "1 check: 1 non-compliant"])


@pytest.mark.parametrize("where", ["fixture", "hook"])
def test_a_mark_that_comes_while_a_test_runs_is_not_passed_over(
    both: Suite, pytester: pytest.Pytester, where: str
) -> None:
    pytester.makepyfile(f"""
        import pytest

        MARK = pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")

        @pytest.fixture
        def late_mark(request):
            request.applymarker(MARK)

        def test_it({"late_mark" if where == "fixture" else ""}): ...
    """)
    if where == "hook":
        pytester.makeconftest("""
            import pytest

            @pytest.hookimpl(trylast=True)
            def pytest_runtest_setup(item):
                item.add_marker(item.module.MARK)
        """)
    result = both()
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*no verdict (not_gated)*"])


def test_a_deployment_around_the_run_comes_before_the_questions(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest("""
        from pathlib import Path

        import pytest

        def note(word):
            with Path(__file__).with_name("told").open("a") as file:
                print(word, file=file)

        @pytest.hookimpl(wrapper=True)
        def pytest_runtestloop():
            note("deployed")
            return (yield)

        def pytest_kosli_verdict(verdict):
            note("asked")
    """)
    pytester.makepyfile(MARKED)
    alone().assert_outcomes(passed=1)
    assert (pytester.path / "told").read_text().split() == ["deployed", "asked"]


def test_the_summary_stands_behind_what_others_print(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest("""
        def pytest_terminal_summary(terminalreporter):
            terminalreporter.section("others")
    """)
    pytester.makepyfile(MARKED)
    both("--durations=1").stdout.fnmatch_lines(["*= others =*", "*= kosli =*", "*1 passed*"])


def test_no_p_takes_a_part_of_us_away(both: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        def pytest_sessionfinish(session):
            for name, plugin in session.config.pluginmanager.list_name_plugin():
                room = getattr(plugin, "__module__", None) or getattr(plugin, "__name__", "")
                if room.startswith("pytest_kosli"):
                    assert name in ("kosli", "pytest_kosli.plugin", str(id(plugin)))
    """)
    pytester.makepyfile(MARKED)
    result = both("--kosli-require=1")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
