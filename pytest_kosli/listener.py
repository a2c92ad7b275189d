"""Hears every report once: in the only process, or in the controller for its workers."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

import pytest

from pytest_kosli import xdist
from pytest_kosli.plugin import met_in, session_of


def listen(config: pytest.Config) -> None:
    """Hear every report from now on."""
    plugins = config.pluginmanager
    if not any(isinstance(plugin, Listener) for plugin in plugins.get_plugins()):
        plugins.register(Listener(config))


class Listener:
    """The hooks that fill the record."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

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
        met = session_of(self._config) if ours else met_in(self._config)
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
        if met := met_in(self._config):
            met.record.ended.add(nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what could not be collected: there may be checks in it that nobody knows of."""
        if report.failed and (met := met_in(self._config)):
            met.record.uncollected.add(report.nodeid)
