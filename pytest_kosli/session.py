"""What one run knows of Kosli, and what it does at each of pytest's hooks."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from pytest_kosli import marker, outcome, xdist
from pytest_kosli.discovery import Check
from pytest_kosli.enforce import Enforcer, take_facts
from pytest_kosli.fixtures import NAMES, KosliArtifact
from pytest_kosli.gate import Flags
from pytest_kosli.marker import DERIVED, Parametrised, Plan
from pytest_kosli.model import KosliError, NoVerdict
from pytest_kosli.report import terminal
from pytest_kosli.report.record import Record
from pytest_kosli.run import Run
from pytest_kosli.settings import header

GATED: pytest.StashKey[bool] = pytest.StashKey()
TAKEN: pytest.StashKey[list[str]] = pytest.StashKey()


class Session:
    """One per process; the controller's or the only one keeps the record and reports."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.run = Run(config)
        self.enforcer = Enforcer(self.run)
        self.record = Record()
        self.problems: list[str] = []
        self._usage: pytest.UsageError | None = None

    # Collection.

    def header(self) -> list[str]:
        """Return the settings in force, and more of them at ``-v``."""
        return header(self.run.settings, self.config.get_verbosity())

    def expand(self, metafunc: pytest.Metafunc) -> None:
        """Make one test for each artifact; marks that can not be read are told at its set-up."""
        try:
            plan = marker.plan_of(metafunc.definition)
        except NoVerdict:
            return
        checks = self.expanded(plan) if plan else None
        if plan and checks is not None:
            metafunc.fixturenames.append(marker.ARGUMENT)
            own = [Parametrised(check, plan) for check in checks]
            metafunc.parametrize(marker.ARGUMENT, own, ids=marker.ids(checks))

    def expanded(self, plan: Plan) -> tuple[Check, ...] | None:
        """Return the checks of a plan, or None where Kosli is not asked during collection."""
        if self.config.getoption("collectonly"):
            return None
        try:
            if not self.run.asks:
                return None
            checks = self.run.found(plan).checks
        except pytest.UsageError as error:
            self._usage = self._usage or error
            return None
        self._demand_scopes(checks)
        return checks

    def derive(self, items: list[pytest.Item]) -> None:
        """Mark the tests that take a fixture of ours by name, so that ``-m kosli`` selects them."""
        for item in items:
            if NAMES.intersection(getattr(item, "fixturenames", ())) and _takes_ours(item):
                item.add_marker(pytest.mark.kosli.with_args(DERIVED))

    def collected(self, session: pytest.Session) -> None:
        """End a run that can not be meant; guard what flags name and no selected test takes up."""
        if self.config.getoption("collectonly"):
            return
        marked = [item for item in session.items if marker.is_marked(item)]
        if marked and self._usage is None:
            self._usage = self._unreadable()
        if self._usage is not None and not xdist.is_worker(self.config):
            raise self._usage
        if self._usage is None and not self.run.settings.dry_run:
            left = self._take(marked)
            if left:
                session.items.append(Flags.from_parent(session, name="kosli-flags", left=left))

    def _unreadable(self) -> pytest.UsageError | None:
        try:
            settings = self.run.settings
            if not settings.dry_run:
                _ = self.run.ledger
        except pytest.UsageError as error:
            return error
        return None

    def _demand_scopes(self, checks: tuple[Check, ...]) -> None:
        for check in checks:
            if check.artifact and not check.scope:
                self._usage = self._usage or pytest.UsageError(
                    f"{check.artifact.label}: nothing says what it is to be judged against; name "
                    'environment=, policy= or flow="*" in the mark, or --kosli-environment, '
                    "--kosli-policy or --kosli-flow"
                )

    def _take(self, marked: list[pytest.Item]) -> list[str]:
        """Note on each test which flags it takes up; return those flags that none does."""
        flagged = {name: _keys(found.checks) for name, found in self.run.flagged().items()}
        if not flagged:
            return []
        met: set[str] = set()
        for item in marked:
            keys = _keys(self.run.readable(item))
            item.stash[TAKEN] = [name for name, wanted in flagged.items() if wanted & keys]
            met |= keys
        return [
            f"{name}{f' ({missing})' if (missing := _named(wanted - met)) else ''}"
            for name, wanted in flagged.items()
            if wanted - met
        ]

    # Running.

    def prefetch(self, session: pytest.Session) -> None:
        """Ask every question of the selected tests before the first of them is set up."""
        if self.config.getoption("collectonly") or session.testsfailed:
            return
        try:
            if self.run.asks:
                questions = self.run.questions(session.items)
                self.run.ledger.prefetch(questions, self.run.settings.concurrency)
        except (KosliError, pytest.UsageError):
            return  # every test that needs an answer says it again, as its error

    def set_up(self, item: pytest.Item) -> None:
        """Judge a marked test before anything of it is set up; a skip mark counts first."""
        if not marker.is_marked(item):
            return
        item.stash[GATED] = True
        skipping = self.config.pluginmanager.get_plugin("skipping")
        if skipping is not None:
            skipping.pytest_runtest_setup(item)
        self.enforcer.gate(item)

    def check_artifact(self, item: pytest.Item) -> None:
        """Refuse a ``kosli_artifact`` that is not ours: the test would look at something else."""
        given = getattr(item, "funcargs", {}).get("kosli_artifact")
        if given is not None and not isinstance(given, KosliArtifact):
            raise NoVerdict(
                "own_artifact",
                f"{item.nodeid} has a kosli_artifact of its own, by a fixture or a parameter",
                "Name it otherwise: this name is the artifact that was judged.",
            )

    def settle(
        self, item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport
    ) -> None:
        """Give a report the outcome that belongs to it, and the facts that go with it."""
        outcome.settle(item, call, report)
        marked = marker.is_marked(item)
        if marked and call.when == "teardown" and GATED not in item.stash:
            outcome.fail(item, report, _not_gated(item))
        facts = take_facts(item)
        if marked or facts:
            report.kosli = {  # type: ignore[attr-defined]
                "checks": facts,
                "marked": marked and call.when != "teardown",
                "taken": item.stash.get(TAKEN, []) if facts else [],
                "left_out": list(self._left_out(item)) if facts and marked else [],
            }

    def _left_out(self, item: pytest.Item) -> tuple[str, ...]:
        try:
            return self.run.left_out(item)
        except NoVerdict:
            return ()

    # The end, in the only process or the controller.

    def hear(self, report: pytest.TestReport) -> None:
        """Take a report into the record."""
        payload = getattr(report, "kosli", None)
        xfailed = hasattr(report, "wasxfail")
        self.record.hear(report.nodeid, report.when or "", report.outcome, payload, xfailed=xfailed)

    def finish(self, session: pytest.Session) -> None:
        """Fail a run that is green by its tests but not by its record."""
        if self.config.getoption("collectonly") or self._usage is not None:
            return
        settings = self.run.settings
        flagged = [
            f"--kosli-{kind} {text}"
            for kind in ("artifact", "snapshot", "repo")
            for text in settings.from_flag(kind)
        ]
        self.problems = self.record.problems(settings.require, flagged, dry_run=settings.dry_run)
        if self.problems and session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.record.usage and session.exitstatus == pytest.ExitCode.TESTS_FAILED:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def summary(self, reporter: pytest.TerminalReporter) -> None:
        """Print what was checked, refused first."""
        if self._usage is not None or self.config.getoption("collectonly"):
            return
        terminal.write(
            reporter,
            self.record,
            self.problems,
            self.run.settings.mode,
            self.config.get_verbosity(),
            reporter._tw.fullwidth,
        )


def _takes_ours(item: pytest.Item) -> bool:
    function = getattr(item, "obj", None)
    return callable(function) and not NAMES.isdisjoint(inspect.signature(function).parameters)


def _keys(checks: tuple[Check, ...]) -> set[str]:
    return {check.artifact.fingerprint if check.artifact else check.name for check in checks}


def _named(keys: set[str]) -> str:
    return ", ".join(sorted(key[:12] for key in keys))


def _not_gated(item: pytest.Item) -> NoVerdict:
    return NoVerdict(
        "not_gated",
        f"{item.nodeid} ran, but no verdict was asked for",
        "A hook of a conftest file or plugin kept pytest-kosli's set-up from running.",
    )
