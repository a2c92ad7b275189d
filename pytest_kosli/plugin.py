"""The hooks of every run, which find out whether it has to do with Kosli; each delegates.

pytest reads this room and those that it imports in every run on the machine, and looks behind every
name in here: what can wait for the first Kosli mark, fixture or flag has its room elsewhere.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_kosli import hookspecs, options

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any, Literal

    from pytest_kosli.api.codealive import CodeAliveClient
    from pytest_kosli.api.kosli import KosliClient
    from pytest_kosli.assert_no_drift import AssertNoDrift
    from pytest_kosli.assert_source import AssertSource, SourceRun
    from pytest_kosli.handles import AssertCompliant, KosliArtifact
    from pytest_kosli.references import FingerprintOf
    from pytest_kosli.session import Session

MARK = (
    "kosli(*references, snapshot=None, repo=None, provider=None, without=(), environment=None, "
    "policy=None, flow=None, at_least=1): run the test only for artifacts that Kosli calls "
    "compliant, one test for each."
)
GATE = Path(__file__).with_name("gate.py")
SESSION: pytest.StashKey[Session] = pytest.StashKey()
CURRENT: pytest.StashKey[pytest.Item] = pytest.StashKey()
"""The item that runs now: calls inside shared fixtures are noted on it."""

MOVED = "kosli_moved"
"""What a report that is told in another phase than it belongs to says of it: the phase's name."""

TRACE = "pytest-kosli demands a verdict"
"""The keyword by which the controller knows a report that must carry facts of ours."""

OUTPUT = "kosli"
"""The part of a worker's output that holds what it leaves its controller."""

FIXTURES = frozenset(
    {
        "assert_compliant",
        "assert_no_drift",
        "assert_source",
        "codealive_client",
        "kosli_artifact",
        "kosli_client",
        "kosli_fingerprint",
    }
)
"""The fixtures for tests: ``-m kosli`` selects those that take one by name."""


def __dir__() -> list[str]:
    """Return the hooks and fixtures alone, since pytest looks for a fixture behind every name."""
    hooks = [name for name in globals() if name.startswith("pytest_")]
    return [*hooks, *FIXTURES, "_kosli_sources"]


def session_of(config: pytest.Config) -> Session:
    """Return what this run knows of Kosli, made when first asked for."""
    if SESSION not in config.stash:
        from pytest_kosli.involved import begin

        config.stash[SESSION] = begin(config)
    return config.stash[SESSION]


def met_in(config: pytest.Config) -> Session | None:
    """Return it only where this run has met anything of Kosli's."""
    return config.stash.get(SESSION, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the flags and ini keys of the settings table."""
    options.register(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the hooks that others may implement."""
    pluginmanager.add_hookspecs(hookspecs)
    pluginmanager.register(Doctor())


class Quiet:
    """A plugin in which pytest looks at hooks alone."""

    def __dir__(self) -> list[str]:
        """Return the names of the hooks."""
        return [name for name in dir(type(self)) if name.startswith("pytest_")]


class Doctor(Quiet):
    """Looks at the set-up instead of running tests, where that is what was asked for."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> pytest.ExitCode | None:
        """Return the exit code of the look, or leave the run to pytest."""
        if not config.getoption("kosli_doctor") or config.getoption("help"):
            return None
        from pytest_kosli import doctor

        return doctor.run(config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """Keep what ``--kosli-require`` promises where pytest looked only at tests, or at itself."""
    code = yield
    typed = f"{config.invocation_params.args} {os.environ.get('PYTEST_ADDOPTS')}"
    named = "--kosli-require" in typed or config.getoption("kosli_require") is not None
    if named and not code:
        from pytest_kosli.involved import keep_promise

        keep_promise(config, met_in(config))
    return code


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark; read the settings at once where a flag says that they matter."""
    config.addinivalue_line("markers", MARK)
    config.stash[options.ENVIRON] = dict(os.environ)
    worker = hasattr(config, "workerinput")
    # Without a name, so that no -p can block it.
    config.pluginmanager.register(Maker(config) if worker else Listener(config))
    if config.getoption("dist", "no") != "no" and not worker:
        from pytest_kosli.xdist import Controller

        config.pluginmanager.register(Controller())
    named = (config.getini(key) for key in ("kosli_require", "kosli_report"))
    piped = "-" in (config.getini("kosli_manifest") or ())
    if options.flags_given(config) or piped or any(value is not None for value in named):
        session_of(config).read_early()


class Maker(Quiet):
    """Makes the report of an exception of ours, so that the wrappers of other plugins see it.

    Registered after the first conftest files, whose hooks would otherwise come before.
    """

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


class Listener(Maker):
    """Hears what is told: in the only process, or in the controller of workers.

    Also where nothing of ours was met yet, since tests may have run in a process of their own.
    """

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(
        self, report: pytest.TestReport
    ) -> Generator[None, object, object]:
        """Take a report into the record; one that has to do with us is reason to begin one.

        Reporters wait for a set-up first and a teardown last, so where one was told as a call,
        another report takes its place.
        """
        moved = getattr(report, MOVED, None)
        if moved == "setup":
            self._fill(report, moved)
        ours = hasattr(report, "kosli") or TRACE in report.keywords
        if met := session_of(self._config) if ours else met_in(self._config):
            met.hear(report)
        told = yield
        if moved == "teardown":
            self._fill(report, moved)
        return told

    def _fill(self, report: pytest.TestReport, phase: Literal["setup", "teardown"]) -> None:
        from pytest_kosli import outcome

        self._config.hook.pytest_runtest_logreport(report=outcome.passed(report, phase))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker leaves when it ends."""
        if told := getattr(node, "workeroutput", {}).get(OUTPUT):
            session_of(self._config).take_over(told)


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
    if any(not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())) for item in items):
        session_of(config).derive(items)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """End a run that can not be meant; add a guard for flags that no selected test takes up."""
    unheard = _unheard_marks(session)
    if unheard or any(item.get_closest_marker("kosli") for item in session.items):
        session_of(session.config)
    if met := met_in(session.config):
        met.collected(session, unheard)


def _unheard_marks(session: pytest.Session) -> list[str]:
    """Return the files whose ``pytestmark`` names our mark where pytest reads none."""
    named = session.config.pluginmanager.list_name_plugin()
    modules: set[Any] = {plugin for name, plugin in named if name.endswith("conftest.py")}
    names = {getattr(getattr(item, "module", None), "__name__", "") for item in session.items}
    for package in map(str, names):
        while package := package.rpartition(".")[0]:
            modules.add(sys.modules.get(package))
    return sorted(str(module.__file__) for module in modules if module and _is_marked(module))


def _is_marked(module: Any) -> bool:
    marks = vars(module).get("pytestmark", ())
    each = marks if isinstance(marks, (list, tuple)) else [marks]
    ours = (pytest.Mark, pytest.MarkDecorator)
    return any(isinstance(mark, ours) and mark.name == "kosli" for mark in each)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Judge a marked test before anything of it is set up."""
    item.config.stash[CURRENT] = item
    if item.get_closest_marker("kosli"):
        session_of(item.config)
    if met := met_in(item.config):
        met.set_up(item)


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
    # Somebody may use the library alone, or mark a test while it runs.
    late = call.when == "teardown" and item.get_closest_marker("kosli")
    ours = late or _is_ours(call.excinfo)
    if met := session_of(item.config) if ours else met_in(item.config):
        met.settle(item, call, report)
        if call.when == "teardown":
            met.tell()
    return report


def _is_ours(excinfo: pytest.ExceptionInfo[BaseException] | None) -> bool:
    model = sys.modules.get("pytest_kosli.model")
    return excinfo is not None and model is not None and excinfo.errisinstance(model.KosliError)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Fail a run whose record is not green: before others act on its exit code, and after them."""
    if met := met_in(session.config):
        met.look(session)
    try:
        result = yield
    except BaseException as error:
        if met := met_in(session.config):
            met.end(session, error)
        raise
    if met := met_in(session.config):
        met.end(session)
    return result


# The fixtures. What each is made of is loaded when a test asks for it.


@pytest.fixture(scope="session")
def kosli_client(pytestconfig: pytest.Config) -> KosliClient:
    """Return the run's KosliClient: typed answers of Kosli's endpoints, a Verdict or an exception.

    A question to the assert endpoint is asked once a run; all other calls ask Kosli afresh.
    """
    return session_of(pytestconfig).client()


@pytest.fixture
def kosli_artifact(request: pytest.FixtureRequest) -> KosliArtifact:
    """Return the artifact that this marked test runs for, with its verdict and details."""
    return session_of(request.config).artifact_of(request.node)


@pytest.fixture(scope="session")
def assert_compliant(pytestconfig: pytest.Config) -> AssertCompliant:
    """Return a function that asserts that artifacts are compliant, for a fixture of any scope."""
    from pytest_kosli.handles import AssertCompliant

    session = session_of(pytestconfig)
    return AssertCompliant(session.run, session.enforcer)


@pytest.fixture(scope="session")
def assert_no_drift(pytestconfig: pytest.Config) -> AssertNoDrift:
    """Return a function that asserts that exactly what was intended runs in a snapshot."""
    from pytest_kosli.assert_no_drift import AssertNoDrift

    return AssertNoDrift(session_of(pytestconfig).run)


@pytest.fixture(scope="session")
def kosli_fingerprint(pytestconfig: pytest.Config) -> FingerprintOf:
    """Return a function from a reference to its fingerprint, the one that Kosli is asked about."""
    return session_of(pytestconfig).fingerprint


@pytest.fixture(scope="session")
def _kosli_sources(pytestconfig: pytest.Config) -> Iterator[SourceRun]:
    from pytest_kosli.assert_source import SourceRun

    sources = SourceRun(session_of(pytestconfig).run)
    yield sources
    sources.close()


@pytest.fixture(scope="session")
def codealive_client(_kosli_sources: SourceRun) -> CodeAliveClient:
    """Return the run's CodeAliveClient: indexed source by name; each request is sent once a run."""
    return _kosli_sources.client


@pytest.fixture(scope="session")
def assert_source(_kosli_sources: SourceRun) -> AssertSource:
    """Return a function that asserts what named files hold, for a fixture of any scope."""
    from pytest_kosli.assert_source import AssertSource

    return AssertSource(_kosli_sources)
