"""Our hooks among those of others: what a conftest file or another plugin does not undo."""

from __future__ import annotations

from types import ModuleType

import pytest

from pytest_kosli import plugin
from tests.conftest import Suite
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
    instead = plugin.Instead()
    assert set(dir(instead)) == {name for name in vars(plugin.Instead) if name[:7] == "pytest_"}


@pytest.mark.parametrize("at", [".", "below"])
@pytest.mark.parametrize(
    "how", ["", "@pytest.hookimpl(tryfirst=True)", "@pytest.hookimpl(trylast=True)"]
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
