"""pytest's hooks in a run that has to do with Kosli, from when it is met; each delegates."""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from pytest_kosli import xdist
from pytest_kosli.session import Session


def begin(config: pytest.Config) -> Session:
    """Return what the run knows of Kosli from now on, with the hooks that belong to the process."""
    session = Session(config)
    kind = Worker if xdist.is_worker(config) else Reporter
    # Without a name, so that no -p can block it.
    config.pluginmanager.register(kind(session))
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


class Reporter(Involved):
    """The hooks of the only process, or of the controller: what is noted, and shown."""

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

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note that a test came to its end."""
        self._session.record.ended.add(nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what could not be collected: there may be checks in it that nobody knows of."""
        if report.failed:
            self._session.record.uncollected.add(report.nodeid)

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
    typed = [*map(str, config.invocation_params.args)]
    typed += shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    files = [Path(one[1:]) for one in typed if one.startswith("@") and Path(one[1:]).is_file()]
    typed += [line for file in files for line in file.read_text("utf-8").splitlines()]
    asked = "--kosli-require" in {one.partition("=")[0] for one in typed}
    runs = not (config.getoption("kosli_doctor") or xdist.is_worker(config))
    if asked and runs and not (met and met.looked):
        raise pytest.UsageError(
            "--kosli-require: no test was run, so there is no verdict to count; leave out what "
            "kept pytest from running them (--collect-only, --help and the like, also in the "
            "ini file's addopts)"
        )
