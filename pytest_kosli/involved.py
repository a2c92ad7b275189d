"""pytest's hooks in a run that has to do with Kosli, from when it is met; each delegates."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence

import pytest

from pytest_kosli import xdist
from pytest_kosli.listener import listen
from pytest_kosli.session import Session


def begin(config: pytest.Config) -> Session:
    """Return what the run knows of Kosli from now on, with the hooks that belong to the process."""
    session = Session(config)
    worker = xdist.is_worker(config)
    # Without a name, so that no -p can block it.
    config.pluginmanager.register(Worker(session) if worker else Reporter(session))
    if not worker:
        listen(config)
    return session


class Involved:
    """The hooks of every process."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Note the marked tests that will not run."""
        self._session.left_unselected(items)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Ask every question of the selected tests before the first of them is set up."""
        self._session.prefetch(session)
        self._session.tell()
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Refuse a test that put something else in the place of the judged artifact."""
        self._session.check_artifact(item)

    def pytest_unconfigure(self) -> None:
        """Close the connections to Kosli."""
        self._session.run.close()


class Worker(Involved):
    """The hooks of a worker."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note that a report was passed on."""
        self._session.told(report)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """Tell the controller what reports do not tell."""
        try:
            return (yield)
        finally:
            self._session.leave()


class Reporter(Involved):
    """The hooks of the only process, or of the controller: what is shown, and how a run ends."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Make sure that every report can be written, before any worker starts to ask."""
        self._session.begin_reports()

    def pytest_report_header(self) -> list[str]:
        """Show the settings in force, where something given for the whole run says they matter."""
        return self._session.header()

    def pytest_report_collectionfinish(self) -> list[str]:
        """Show the settings in force where tests alone made them matter."""
        return self._session.late_header()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Fail a run whose record is not green, after what others do here with its exit code."""
        try:
            return (yield)
        finally:
            self._session.finish(session)
            self._session.end_reports(session)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what was checked."""
        self._session.summary(terminalreporter)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Note which tests the workers are going to run."""
        self._session.selected = set(ids)


def keep_promise(config: pytest.Config, met: Session | None) -> None:
    """Raise a usage error where ``--kosli-require`` was typed and nobody looked at the record.

    What was typed counts, since pytest reads no flag behind ``--help``; addopts may look only.
    """
    typed = [*config.invocation_params.args, *os.environ.get("PYTEST_ADDOPTS", "").split()]
    asked = "--kosli-require" in {str(argument).partition("=")[0] for argument in typed}
    runs = not (config.getoption("kosli_doctor") or xdist.is_worker(config))
    if asked and runs and not (met and met.looked):
        raise pytest.UsageError(
            "--kosli-require: no test was run, so there is no verdict to count; leave out what "
            "kept pytest from running them (--collect-only, --help and the like, also in the "
            "ini file's addopts)"
        )
