"""What one run knows of Kosli, and what it does at each of pytest's hooks."""

from __future__ import annotations

import contextlib
import inspect
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kosli import marker, neighbours, outcome, xdist
from pytest_kosli.api.kosli import KosliClient
from pytest_kosli.discovery import Check
from pytest_kosli.enforce import VERDICTS, Enforcer, note, take_facts, usage_error
from pytest_kosli.explain import headline, no_verdict
from pytest_kosli.flagged import Flagged
from pytest_kosli.gate import Guard
from pytest_kosli.handles import KosliArtifact
from pytest_kosli.marker import DERIVED, NAME, Parametrised, Plan
from pytest_kosli.model import KosliError, NotCompliant, NoVerdict, Verdict
from pytest_kosli.plugin import CURRENT, FIXTURES, TRACE
from pytest_kosli.report import progress, terminal
from pytest_kosli.report.facts import NO_VERDICT, Facts
from pytest_kosli.report.properties import PREFIX, properties
from pytest_kosli.report.record import Record, against
from pytest_kosli.run import KINDS, Run
from pytest_kosli.settings import header
from pytest_kosli.text import clean, count

if TYPE_CHECKING:
    from pytest_kosli.reporting import Reporting

GATED: pytest.StashKey[tuple[pytest.Mark, ...]] = pytest.StashKey()
"""The marks that an item was judged by, or excused from by a skip."""

FLAGS: pytest.StashKey[dict[str, list[str]]] = pytest.StashKey()
"""What flags name and an item asks about: by flag, the artifacts and their scopes in words."""

TOLD: pytest.StashKey[list[Facts]] = pytest.StashKey()
"""What an item's checks came to so far, for its properties."""

MARKED, DESELECTED, OWED = "marked", "deselected", "owed"
RECORDED, FAILED = "recorded", "failed"
"""What a worker leaves its controller: tests, plugins that owe a verdict, cassettes, failures."""

LOOKS = ("collectonly", "showfixtures", "show_fixtures_per_test")
"""pytest's options to look at tests instead of running them."""

ENDED: pytest.StashKey[tuple[KosliError, list[Facts]]] = pytest.StashKey()
"""What Kosli's word ended an item with, and the facts that go with it."""


class Session:
    """One per process; the controller's or the only one keeps the record and reports."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.run = Run(config)
        self.enforcer = Enforcer(self.run)
        self.record = Record()
        self.problems: list[str] = []
        self._stopped = ""
        self._nothing: NoVerdict | None = None
        self._reporting: Reporting | None = None
        self.selected: set[str] | None = None
        self.deselected: set[str] = set()
        self.marked: set[str] = set()
        self.owed: set[str] = set()
        self._failed: list[str] = []
        self._untold: dict[str, str] = {}
        self.looked = False
        self._judged: tuple[int, int] | None = None
        self._headed = False

    def read_early(self) -> None:
        """Read the settings, and standard input where they name it: later it gives nothing."""
        settings = self.run.settings
        reads = not (settings.dry_run or self._only_collects or xdist.is_worker(self.config))
        if reads and "-" in settings.manifest:
            from pytest_kosli.deployment import KEY, standard_input

            self.config.stash[xdist.KNOWN] = {KEY: standard_input(self.config)}

    # Collection.

    def header(self) -> list[str]:
        """Return the settings in force, and more of them at ``-v``."""
        self._headed = True
        return header(self.run.settings, self.config.get_verbosity())

    def late_header(self) -> list[str]:
        """Return the same later, where the header came too early to know of us."""
        quiet = self.config.get_verbosity() < 0 or self.config.getoption("no_header")
        return [] if self._headed or quiet or self._only_collects else self.header()

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
        if self._only_collects:
            return None
        try:
            if not self.run.asks:
                return None
            return self.run.found(plan, progress.waiting(self.config)).checks
        except pytest.UsageError:
            return None  # told when collection is over, if the test is selected

    def derive(self, items: list[pytest.Item]) -> None:
        """Mark the tests that take a fixture of ours by name, so that ``-m kosli`` selects them."""
        for item in items:
            if FIXTURES.intersection(getattr(item, "fixturenames", ())) and _takes_ours(item):
                item.add_marker(pytest.mark.kosli.with_args(DERIVED))

    def collected(self, session: pytest.Session, unheard: Sequence[str]) -> None:
        """End a run that can not be meant; guard what flags name and no selected test takes up.

        ``unheard`` are the files with a mark of ours that pytest does not read.
        """
        if self._only_collects:
            return
        marked = [item for item in session.items if marker.demands(item)]
        self.marked = {item.nodeid for item in session.items if item.get_closest_marker(NAME)}
        for item in marked:
            item.keywords[TRACE] = True
        usage = self._not_meant(marked, unheard)
        if usage is not None and not xdist.is_worker(self.config):
            self._stopped = f"usage error: {usage}"
            raise usage
        left = usage_error(usage) if usage else self._not_taken_up(marked)
        if left is not None and not (usage and marked):
            session.items.append(
                Guard.from_parent(
                    session, name="kosli flags", refuse=self.enforcer.refuse, left=left
                )
            )

    def _not_meant(
        self, marked: list[pytest.Item], unheard: Sequence[str]
    ) -> pytest.UsageError | None:
        """Return the usage error in the settings, the marks or, of tests that run, the scope.

        A worker can not raise it: its text would be lost, so there the tests tell it.
        """
        if unheard:
            return pytest.UsageError(
                f"{', '.join(unheard)}: pytest reads no pytestmark in a conftest.py or "
                "__init__.py, so this one judges no test; move it into the test modules, or name "
                "the artifacts with --kosli-artifact or kosli_artifact in the ini file"
            )
        try:
            settings = self.run.settings
            if settings.dry_run:
                return None
            if marked or any(settings.from_flag(kind) for kind in KINDS):
                with contextlib.suppress(NoVerdict):  # told by each test that needs an answer
                    _ = self.run.ledger
        except pytest.UsageError as error:
            return error
        for item in marked:
            for check in self.run.readable(item):
                if check.artifact and not check.scope:
                    return pytest.UsageError(
                        f"{item.nodeid}: nothing says what {check.artifact.label} is to be judged "
                        'against; name environment=, policy= or flow="*" in the mark, or '
                        "--kosli-environment, --kosli-policy or --kosli-flow"
                    )
        return None

    def _not_taken_up(self, marked: list[pytest.Item]) -> NoVerdict | None:
        """Note on each test what of the flags it takes up; return a NoVerdict about the rest."""
        if self.run.settings.dry_run:
            return None
        named = self.run.flagged()
        if marked:
            owed = self.run.contributed()
            self._owe(list(owed))
            named |= owed
        flagged = Flagged(named)
        for item in marked if named else ():
            item.stash[FLAGS] = flagged.take(
                self.run.readable(item),
                own_sources=self.run.names_sources(item),
                left_out=self._left_out(item),
            )
        return flagged.left()

    def _owe(self, names: list[str]) -> None:
        """Note whose artifacts must get a verdict, in a worker for its controller."""
        self.owed.update(names)
        if names and xdist.is_worker(self.config):
            xdist.tell_controller(self.config, OWED, names)

    @property
    def _only_collects(self) -> bool:
        return any(self.config.getoption(name) for name in LOOKS)

    # Running.

    def prefetch(self, session: pytest.Session) -> None:
        """Ask every question of the selected tests before the first of them is set up."""
        goes_on = self.config.getoption("continue_on_collection_errors")
        if self._only_collects or (session.testsfailed and not goes_on):
            return
        try:
            if self.run.asks:
                questions = self.run.questions(session.items)
                self.run.ledger.prefetch(
                    questions,
                    self.run.width,
                    self.run.patience(len(questions)),
                    progress.on(self.config),
                )
                self.run.outwait(questions, progress.waiting(self.config))
                self._look_ahead(session.items)
        except (KosliError, pytest.UsageError):
            return  # every test that needs an answer says it again, as its error

    def tell(self) -> None:
        """Tell plugins the verdicts that this process was the first to ask for."""
        self.run.herald.tell()

    def _look_ahead(self, items: list[pytest.Item]) -> None:
        """Look up who built what will be refused, and whether that stops the whole run."""
        marked = [item for item in items if marker.demands(item)]
        against = list(self.enforcer.foresee(marked))
        against += [item.left for item in items if isinstance(item, Guard)]
        self.run.ledger.side_by_side(
            [partial(self.enforcer.built_by, one) for one in against if isinstance(one, Verdict)],
            self.run.width,
        )
        if against and self.run.settings.all_or_nothing:
            first = against[0]
            told = headline(first) if isinstance(first, Verdict) else no_verdict(first)[0]
            more = f", and {count(len(against) - 1, 'more')}" if len(against) > 1 else ""
            self._nothing = NoVerdict(
                "all_or_nothing",
                f"no test of this run is set up: {told}{more}",
                "Mend what is refused, or run without --kosli-all-or-nothing.",
            )

    def set_up(self, item: pytest.Item) -> None:
        """Let a test run only if nothing stands against it, before anything of it is set up."""
        self._recall(item)
        self._judge(item)
        self._let_run(item)

    def _recall(self, item: pytest.Item) -> None:
        """Refuse a rerun: what Kosli said is final for the run, so there is nothing new to learn.

        The first attempt's exception is raised again, so that no skip and no test that asks only
        sometimes can take its place.
        """
        if ended := item.stash.get(ENDED, None):
            item.stash[GATED] = marker.demands(item)
            error, facts = ended
            for fact in facts:
                note(self.config, fact)
            raise error.with_traceback(None)

    def _judge(self, item: pytest.Item) -> None:
        """Judge a marked test; a skip mark counts first."""
        marks = marker.demands(item)
        if not marks:
            return
        item.keywords[TRACE] = True
        item.stash[GATED] = marks
        skipping = self.config.pluginmanager.get_plugin("skipping")
        if skipping is not None:
            # xfail(run=False) raises here as well, but no xfail mark comes before a verdict.
            with contextlib.suppress(pytest.xfail.Exception):
                skipping.pytest_runtest_setup(item)
        self.enforcer.gate(item)

    def _let_run(self, item: pytest.Item) -> None:
        """Refuse any test, marked or not, of a run in which one refusal counts for all."""
        if self._nothing is not None:
            item.stash[GATED] = marker.demands(item)
            raise self._nothing

    def check_artifact(self, item: pytest.Item) -> None:
        """Refuse a ``kosli_artifact`` that is not ours: the test would look at something else."""
        given = getattr(item, "funcargs", {})
        if "kosli_artifact" in given and not isinstance(given["kosli_artifact"], KosliArtifact):
            raise NoVerdict(
                "own_artifact",
                f"{item.nodeid} has a kosli_artifact of its own, by a fixture or a parameter",
                "Name it otherwise: this name is the artifact that was judged.",
            )

    def artifact_of(self, item: pytest.Item) -> KosliArtifact:
        """Return the one artifact that a test was judged on; NoVerdict where there is not one."""
        verdicts = item.stash.get(VERDICTS, [])
        if len(verdicts) != 1:
            raise NoVerdict(
                "which_artifact",
                f"kosli_artifact of {item.nodeid}: the test has {len(verdicts)} artifacts",
                "It goes with @pytest.mark.kosli on a test function that pytest can parametrise.",
            )
        return KosliArtifact(verdicts[0], self.run.client)

    def client(self) -> KosliClient:
        """Return the client for tests; NotChecked in a dry run, NoVerdict for bad settings."""
        try:
            self.run.demand_live()
            return self.run.client
        except pytest.UsageError as error:
            raise usage_error(error) from None

    def fingerprint(self, reference: str, *, exclude: Sequence[str] = ()) -> str:
        """Return the fingerprint of what a reference names, 64 lower-case hexadecimal digits.

        ``exclude`` are patterns of paths to leave out of a folder. Raises NoVerdict where there is
        none, NotChecked in a dry run where a registry or an engine would have to be asked.
        """
        __tracebackhide__ = True
        try:
            return self.run.references.artifact(reference, "call", exclude).fingerprint
        except pytest.UsageError as error:
            raise usage_error(error) from None
        except KosliError as error:
            raise error.with_traceback(None) from None

    def settle(
        self, item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport
    ) -> None:
        """Give a report the outcome that belongs to it, and the facts that go with it."""
        facts = take_facts(item)
        error = outcome.settle(item, call, report, facts)
        if call.when == "setup":
            item.stash[TOLD] = []  # a rerun begins anew
        marks = marker.demands(item)
        if call.when == "setup" and not report.passed:
            item.stash[GATED] = marks  # it does not run, whoever stopped it
        if marks and call.when == "teardown" and item.stash.get(GATED, ()) != marks:
            outcome.fail(item, report, _not_gated(item))
        if (last := _last_word(error, facts)) is not None:
            item.stash.setdefault(ENDED, (last, facts))
        if call.when == "setup":
            self._untold.pop(item.nodeid, None)  # an attempt before this one, which is final
        if report.failed and error is not None:
            self._untold[item.nodeid] = str(error).splitlines()[0]
        if marks or facts:
            self._tell_junit(item, call, report, facts, marked=bool(marks))
            self._tell_record(item, call, report, facts)
        if call.when == "teardown":
            neighbours.tell(self.config, report, item.stash.get(TOLD, []))
            _forget(item, TOLD, VERDICTS)

    def _tell_record(
        self,
        item: pytest.Item,
        call: pytest.CallInfo[Any],
        report: pytest.TestReport,
        facts: list[Facts],
    ) -> None:
        """Put on a report what the record goes by; after set-up only if there is something."""
        told = {
            "checks": facts,
            "flags": item.stash.get(FLAGS, {}) if call.when == "setup" else {},
            "left_out": list(self._left_out(item)) if facts else [],
            "without_image": self.run.passed_over(),
        }
        if call.when == "setup" or report.failed or any(told.values()):
            file, line, _ = report.location
            where = {"file": file, "line": None if line is None else line + 1}
            report.kosli = where | {  # type: ignore[attr-defined]
                key: value for key, value in told.items() if value
            }

    def _tell_junit(
        self,
        item: pytest.Item,
        call: pytest.CallInfo[Any],
        report: pytest.TestReport,
        facts: list[Facts],
        *,
        marked: bool,
    ) -> None:
        """Put what the test asked so far into its properties, which JUnit and others show."""
        new = [fact for fact in facts if "kind" not in fact]
        if call.when != "setup" and not new:
            return
        told = item.stash[TOLD] = item.stash.get(TOLD, []) + new
        if not told and not marked:
            return
        others = [own for own in item.user_properties if not own[0].startswith(PREFIX)]
        item.user_properties[:] = [*others, *properties(told, self._mode)]
        report.user_properties = list(item.user_properties)

    @property
    def _mode(self) -> str:
        try:
            return self.run.settings.mode.replace(" ", "-")
        except pytest.UsageError:
            return "unknown"

    def _left_out(self, item: pytest.Item) -> tuple[str, ...]:
        try:
            return self.run.left_out(item)
        except NoVerdict:
            return ()

    def told(self, report: pytest.TestReport) -> None:
        """Note, where the tests run, that a failure was passed on: plugins may keep a report."""
        if report.failed:
            self._untold.pop(report.nodeid, None)

    @property
    def kept(self) -> list[str]:
        """Return a sentence for each failure that no report tells of."""
        return [
            f"{clean(nodeid)} failed ({clean(why)}), but no report tells of it"
            for nodeid, why in self._untold.items()
        ]

    def _end(self) -> None:
        """Note what a test has learned that ``pytest.exit`` ended without a report."""
        item = self.config.stash.get(CURRENT, None)
        for fact in take_facts(item) if item else ():
            if item and against(fact):
                self._untold[item.nodeid] = f"{fact['label']} {against(fact)}"

    def leave(self) -> None:
        """Tell the controller, at the end of a worker, what reports do not tell."""
        self._end()
        xdist.tell_controller(self.config, MARKED, sorted(self.marked))
        xdist.tell_controller(self.config, RECORDED, sorted(self.run.recorded))
        if failed := [*self.run.herald.problems, *self.kept]:
            xdist.tell_controller(self.config, FAILED, failed)

    # The end, in the only process or the controller.

    def hear(self, report: pytest.TestReport) -> None:
        """Take a report into the record."""
        self.told(report)
        self.record.hear(
            report.nodeid,
            report.when or "",
            report.outcome,
            getattr(report, "kosli", None),
            marked=TRACE in report.keywords,
            xfailed=hasattr(report, "wasxfail"),
        )

    def look(self, session: pytest.Session) -> None:
        """Fail a run that is not green, before other plugins act on its exit code."""
        if not xdist.is_worker(self.config):
            self.finish(session)

    def end(self, session: pytest.Session, error: BaseException | None = None) -> None:
        """Look again after them, with the exit code that a ``pytest.exit`` of theirs asks for."""
        if xdist.is_worker(self.config):
            self.leave()
            return
        left = error if isinstance(error, pytest.exit.Exception) else None
        if left and left.returncode is not None:
            session.exitstatus = left.returncode
        self.finish(session)
        self.end_reports(session)
        if left:
            left.returncode = int(session.exitstatus)

    def finish(self, session: pytest.Session) -> None:
        """Fail a run that is green by its tests but not by its record."""
        if self._stopped or self._only_collects:
            return
        if self._judged and session.exitstatus == self._judged[1]:
            session.exitstatus = self._judged[0]  # as it was before we looked the first time
        before = session.exitstatus
        self._judge_run(session)
        self._judged = before, session.exitstatus

    def _judge_run(self, session: pytest.Session) -> None:
        self._end()
        try:
            settings = self.run.settings
        except pytest.UsageError as error:
            self.problems = [str(error)]
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            return
        flagged = [f"--kosli-{kind} {text}" for kind in KINDS for text in settings.from_flag(kind)]
        flagged += sorted(self.owed)
        self.problems = self.record.problems(settings.require, flagged, dry_run=settings.dry_run)
        self.problems += [*self._failed, *self.run.herald.problems, *self.kept]
        if session.exitstatus == pytest.ExitCode.OK:
            self.problems += self.record.unmet(self.marked)
        self.looked = True
        if self.problems:
            _fail(session)
        if session.exitstatus == pytest.ExitCode.TESTS_FAILED:
            if self.record.usage:
                session.exitstatus = pytest.ExitCode.USAGE_ERROR
            elif settings.exit_codes:
                session.exitstatus = self.record.exit_code or session.exitstatus

    def begin_reports(self) -> None:
        """Make sure that every report can be written; a usage error comes before any request."""
        settings = self.run.settings
        if settings.report and not self._only_collects:
            from pytest_kosli.reporting import Reporting

            self._reporting = Reporting(self.config, settings, self._host)

    def _host(self) -> str:
        try:
            return self.run.host
        except NoVerdict:  # offline, and no cassette names one
            return self.run.settings.host

    def end_reports(self, session: pytest.Session) -> None:
        """Write the reports; one that is missing fails the run."""
        if self._reporting is None:
            return
        selected = self.selected
        if not xdist.is_controller(self.config):
            selected = {item.nodeid for item in session.items}
        missing = self._reporting.write(
            self.record,
            selected,
            self.deselected,
            self.problems,
            self._stopped,
            int(session.exitstatus),
        )
        self.problems += missing
        if missing:
            _fail(session)

    def take_over(self, told: dict[str, list[str]]) -> None:
        """Take over, in the controller, what a worker left when it ended."""
        self.marked.update(told.get(MARKED, ()))
        self.run.recorded.update(told.get(RECORDED, ()))
        self.deselected.update(told.get(DESELECTED, ()))
        self.owed.update(told.get(OWED, ()))
        self._failed += told.get(FAILED, ())

    def left_unselected(self, items: Sequence[pytest.Item]) -> None:
        """Note the marked tests that a selection leaves out, in a worker for its controller."""
        self.deselected |= {item.nodeid for item in items if marker.demands(item)}
        if xdist.is_worker(self.config):
            xdist.tell_controller(self.config, DESELECTED, sorted(self.deselected))

    def summary(self, reporter: pytest.TerminalReporter) -> None:
        """Print what was checked, refused first."""
        if self._stopped or self._only_collects:
            return
        terminal.write(
            reporter,
            self.late_header(),
            self.record,
            self.problems,
            self.config.get_verbosity(),
            shutil.get_terminal_size().columns,
        )
        if self.run.recorded and self.config.get_verbosity() >= 0:
            told = count(len(self.run.recorded), "cassette")
            reporter.write_line(f"recorded {told} below {self.run.settings.cassettes}")
        for line in self._reporting.annotations() if self._reporting else ():
            reporter.write_line(line)


def _fail(session: pytest.Session) -> None:
    """Fail a run that pytest would end as green, or as one without tests."""
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _forget(item: pytest.Item, *keys: pytest.StashKey[Any]) -> None:
    """Drop what only a running test needs: ten thousand would keep it until the run ends."""
    for key in keys:
        if key in item.stash:
            del item.stash[key]


def _takes_ours(item: pytest.Item) -> bool:
    function = getattr(item, "obj", None)
    try:
        return callable(function) and not FIXTURES.isdisjoint(
            inspect.signature(function).parameters
        )
    except (TypeError, ValueError):
        return False  # nothing that Python can look into


def _last_word(error: KosliError | None, facts: list[Facts]) -> KosliError | None:
    """Return the exception anew, without its frames, if it rests on what is asked once a run."""
    if isinstance(error, NotCompliant):
        return NotCompliant(str(error), error.verdicts)
    missing = any(fact["outcome"] == NO_VERDICT and "kind" not in fact for fact in facts)
    return replace(error) if isinstance(error, NoVerdict) and missing else None


def _not_gated(item: pytest.Item) -> NoVerdict:
    return NoVerdict(
        "not_gated",
        f"{item.nodeid} ran, but no verdict was asked for",
        "Its mark came while it ran, or a hook of a conftest file or plugin kept pytest-kosli's "
        "set-up from running.",
    )
