"""pytest's hooks in the order in which a run meets them; each delegates.

Nothing heavy is imported before the first Kosli mark, fixture or flag.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kosli import options, xdist
from pytest_kosli.fixtures import CURRENT, NAMES, assert_compliant, kosli_artifact, kosli_client

if TYPE_CHECKING:
    from pytest_kosli.session import Session

__all__ = ["assert_compliant", "kosli_artifact", "kosli_client"]

MARK = (
    "kosli(*references, snapshot=None, repo=None, provider=None, without=(), environment=None, "
    "policy=None, flow=None, at_least=1): run the test only for artifacts that Kosli calls "
    "compliant, one test for each."
)
GATE = Path(__file__).with_name("gate.py")
SESSION: pytest.StashKey[Session] = pytest.StashKey()


def session_of(config: pytest.Config) -> Session:
    """Return what this run knows of Kosli, made when first asked for."""
    if SESSION not in config.stash:
        from pytest_kosli.session import Session

        config.stash[SESSION] = Session(config)
    return config.stash[SESSION]


def _met(config: pytest.Config) -> Session | None:
    """Return it only where this run has met anything of Kosli's."""
    return config.stash.get(SESSION, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the flags and ini keys of the settings table."""
    options.register(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark; read the settings at once where a flag says that they matter."""
    config.addinivalue_line("markers", MARK)
    if not xdist.is_worker(config):
        config.pluginmanager.register(Listener(config), "kosli-listener")
    if xdist.is_controller(config):
        config.pluginmanager.register(xdist.Controller(), "kosli-xdist")
    if options.flags_given(config):
        _ = session_of(config).run.settings


class Listener:
    """Hears every report once: in the only process, or in the controller for its workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a report into the record; one that carries facts of ours is reason to begin one."""
        met = session_of(self._config) if hasattr(report, "kosli") else _met(self._config)
        if met:
            met.hear(report)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Show the settings in force, where a flag says that they matter."""
    session = _met(config)
    return session.header() if session else []


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    """Collect the ready-made gate with a collector of our own."""
    if module_path != GATE:
        return None
    from pytest_kosli.gate import Gate

    return Gate.from_parent(parent, path=module_path)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each artifact of a marked test."""
    if metafunc.definition.get_closest_marker("kosli"):
        session_of(metafunc.config).expand(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that use a fixture of ours, before ``-m`` selects."""
    if any(not NAMES.isdisjoint(getattr(item, "fixturenames", ())) for item in items):
        session_of(config).derive(items)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """End a run that can not be meant; add a guard for flags that no selected test takes up."""
    if any(item.get_closest_marker("kosli") for item in session.items):
        session_of(session.config)
    if met := _met(session.config):
        met.collected(session)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Show the settings in force where marks alone made them matter."""
    session = _met(config)
    return session.header() if session and not options.flags_given(config) else []


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Ask every question of the selected tests before the first of them is set up."""
    if met := _met(session.config):
        met.prefetch(session)
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Judge a marked test before anything of it is set up."""
    item.config.stash[CURRENT] = item
    if item.get_closest_marker("kosli"):
        session_of(item.config).set_up(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Refuse a test that put something else in the place of the judged artifact."""
    if met := _met(item.config):
        met.check_artifact(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the exception decide: FAILED, ERROR or SKIPPED, whatever phase and mark."""
    report = yield
    if met := _met(item.config):
        met.settle(item, call, report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run whose record is not green."""
    met = _met(session.config)
    if met and not xdist.is_worker(session.config):
        met.finish(session)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what was checked."""
    met = _met(config)
    if met and not xdist.is_worker(config):
        met.summary(terminalreporter)
