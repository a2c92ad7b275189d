"""pytest's hooks in the order in which a run meets them; each delegates.

Nothing heavy is imported before the first Kosli mark, fixture or flag.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_kosli import hookspecs, options, xdist
from pytest_kosli.fixtures import (
    CURRENT,
    NAMES,
    assert_compliant,
    assert_no_drift,
    kosli_artifact,
    kosli_client,
    kosli_fingerprint,
)
from pytest_kosli.source_fixtures import _kosli_sources, assert_source, codealive_client

if TYPE_CHECKING:  # pytest looks at every name in here, in each run, whether it may be a fixture
    from collections.abc import Generator, Sequence
    from typing import Any, Literal

    from pytest_kosli.session import Session

__all__ = [
    "_kosli_sources",
    "assert_compliant",
    "assert_no_drift",
    "assert_source",
    "codealive_client",
    "kosli_artifact",
    "kosli_client",
    "kosli_fingerprint",
]

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


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the hooks that others may implement."""
    pluginmanager.add_hookspecs(hookspecs)
    pluginmanager.register(Promise(), "kosli-promise")


class Promise:
    """Keeps what ``--kosli-require`` promises where pytest only looks at tests, or at itself."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> Generator[None, Any, Any]:
        """Refuse to end well without a look at the record: addopts may say ``--collect-only``."""
        code = yield
        met = _met(config)
        runs = not (config.getoption("kosli_doctor") or xdist.is_worker(config))
        if runs and not code and not (met and met.looked) and _asks_for_verdicts(config):
            raise pytest.UsageError(
                "--kosli-require: no test was run, so there is no verdict to count; leave out what "
                "kept pytest from running them (--collect-only, --help and the like, also in the "
                "ini file's addopts)"
            )
        return code


def _asks_for_verdicts(config: pytest.Config) -> bool:
    """Return whether whoever runs pytest asks for verdicts: an ini file's addopts may look only.

    Read from what was typed, since pytest reads no flag behind ``--help``.
    """
    typed = [*config.invocation_params.args, *os.environ.get("PYTEST_ADDOPTS", "").split()]
    return "--kosli-require" in {str(argument).partition("=")[0] for argument in typed}


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> pytest.ExitCode | None:
    """Look at the set-up instead of running tests, where that is what was asked for."""
    if not config.getoption("kosli_doctor") or config.getoption("help"):
        return None
    from pytest_kosli import doctor

    return doctor.run(config)


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark; read the settings at once where a flag says that they matter."""
    config.addinivalue_line("markers", MARK)
    config.stash[options.ENVIRON] = dict(os.environ)
    listener = Witness(config) if xdist.is_worker(config) else Listener(config)
    config.pluginmanager.register(listener, "kosli-listener")
    if xdist.is_controller(config):
        config.pluginmanager.register(xdist.Controller(), "kosli-xdist")
    named = (config.getini(key) for key in ("kosli_require", "kosli_report"))
    piped = "-" in (config.getini("kosli_manifest") or ())
    if options.flags_given(config) or piped or any(value is not None for value in named):
        session_of(config).begin()


class Maker:
    """Makes the report of an exception of ours, so that the wrappers of other plugins see it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> pytest.TestReport | None:
        """Return a report that says already what the exception stands for."""
        if not _is_ours(call.excinfo):
            return None
        from pytest_kosli import outcome

        self._config.option.runxfail = True  # until our wrapper around this hook sets it back
        return outcome.report_of(item, call)


class Witness(Maker):
    """Sees, in a worker, that a failure of ours is passed on; elsewhere the Listener hears it."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note that a report was passed on."""
        if met := _met(self._config):
            met.told(report)


class Listener(Maker):
    """Hears every report once: in the only process, or in the controller for its workers."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(
        self, report: pytest.TestReport
    ) -> Generator[None, object, object]:
        """Take a report into the record; one that has to do with us is reason to begin one.

        Reporters wait for a set-up first and a teardown last, so where one was told as a call,
        another report takes its place.
        """
        moved = getattr(report, xdist.MOVED, None)
        if moved == "setup":
            self._fill(report, moved)
        ours = hasattr(report, "kosli") or xdist.TRACE in report.keywords
        met = session_of(self._config) if ours else _met(self._config)
        if met:
            met.hear(report)
        told = yield
        if moved == "teardown":
            self._fill(report, moved)
        return told

    def _fill(self, report: pytest.TestReport, phase: Literal["setup", "teardown"]) -> None:
        from pytest_kosli import outcome

        self._config.hook.pytest_runtest_logreport(report=outcome.passed(report, phase))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note that a test came to its end."""
        if met := _met(self._config):
            met.record.ended.add(nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what could not be collected: there may be checks in it that nobody knows of."""
        if report.failed and (met := _met(self._config)):
            met.record.uncollected.add(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Note which tests the workers are going to run."""
        if met := _met(self._config):
            met.selected = set(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker leaves when it ends."""
        told = xdist.told_by(node)
        if met := session_of(self._config) if told else None:
            met.take_over(told)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Make sure that every report can be written, before any worker starts to ask."""
    met = _met(session.config)
    if met and not xdist.is_worker(session.config):
        met.begin_reports()


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Note the marked tests that will not run."""
    if items and (met := _met(items[0].config)):
        met.left_unselected(items)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Show the settings in force, where something given for the whole run says they matter."""
    session = _met(config)
    return session.header() if session else []


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    """Collect the ready-made gate with a collector of our own."""
    if module_path != GATE:
        return None
    from pytest_kosli.gate import Gate

    return Gate.from_parent(parent, path=module_path, nodeid="pytest_kosli.gate")


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
    unheard = _unheard_marks(session)
    if unheard or any(item.get_closest_marker("kosli") for item in session.items):
        session_of(session.config)
    if met := _met(session.config):
        met.collected(session, unheard)


def _unheard_marks(session: pytest.Session) -> list[str]:
    """Return the files whose ``pytestmark`` names our mark where pytest reads none."""
    named = session.config.pluginmanager.list_name_plugin()
    modules: list[Any] = [plugin for name, plugin in named if name.endswith("conftest.py")]
    modules += [sys.modules[name] for name in _packages(session.items) if name in sys.modules]
    return sorted(str(one.__file__) for one in modules if _is_marked(one))


def _packages(items: Sequence[pytest.Item]) -> set[str]:
    """Return the names of the packages that tests stand in, those around them as well."""
    inner = {getattr(getattr(item, "module", None), "__name__", None) for item in items}
    parts = [name.split(".") for name in inner if isinstance(name, str)]
    return {".".join(one[:depth]) for one in parts for depth in range(1, len(one))}


def _is_marked(module: Any) -> bool:
    marks = vars(module).get("pytestmark", ())
    each = marks if isinstance(marks, (list, tuple)) else [marks]
    ours = (pytest.Mark, pytest.MarkDecorator)
    return any(isinstance(mark, ours) and mark.name == "kosli" for mark in each)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Show the settings in force where tests alone made them matter."""
    session = _met(config)
    return session.late_header() if session else []


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Ask every question of the selected tests before the first of them is set up."""
    if met := _met(session.config):
        met.prefetch(session)
        met.tell()
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Judge a marked test before anything of it is set up."""
    item.config.stash[CURRENT] = item
    if met := _met(item.config):
        met.recall(item)
    if item.get_closest_marker("kosli"):
        session_of(item.config).set_up(item)
    if met := _met(item.config):
        met.let_run(item)


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
    runxfail = item.config.getoption("runxfail", False)
    try:
        report = yield
    finally:
        item.config.option.runxfail = runxfail
    # Somebody may use the library alone; only then is an exception of ours the first we hear.
    met = session_of(item.config) if _is_ours(call.excinfo) else _met(item.config)
    if met:
        met.settle(item, call, report)
        if call.when == "teardown":
            met.tell()
    return report


def _is_ours(excinfo: pytest.ExceptionInfo[BaseException] | None) -> bool:
    model = sys.modules.get("pytest_kosli.model")
    return excinfo is not None and model is not None and excinfo.errisinstance(model.KosliError)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run whose record is not green."""
    met = _met(session.config)
    if met and xdist.is_worker(session.config):
        met.leave()
    elif met:
        met.finish(session)
        met.end_reports(session)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what was checked."""
    met = _met(config)
    if met and not xdist.is_worker(config):
        met.summary(terminalreporter)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the connections to Kosli."""
    if met := _met(config):
        met.run.close()
