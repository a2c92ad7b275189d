"""The reports of one run: made ready before its first request, written at its end, come what may.

Only the controller has them, or the only process.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import cast

import pytest

from pytest_kosli import __version__
from pytest_kosli.api.host import Token
from pytest_kosli.options import ROWS
from pytest_kosli.report import ci
from pytest_kosli.report.evidence import Evidence, Job, Mode, Run, Setting, evidence
from pytest_kosli.report.files import Destination, destinations
from pytest_kosli.report.github import errors
from pytest_kosli.report.record import Record
from pytest_kosli.settings import Settings, folder
from pytest_kosli.text import count
from pytest_kosli.values import shown

BROKEN_OFF = {
    pytest.ExitCode.INTERRUPTED: "the run was interrupted",
    pytest.ExitCode.INTERNAL_ERROR: "pytest had an internal error",
}


class Reporting:
    """The destinations that ``--kosli-report`` names, and what goes there."""

    def __init__(self, config: pytest.Config, settings: Settings, host: Callable[[], str]) -> None:
        self._config = config
        self._settings = settings
        self._mode = cast(Mode, settings.mode.replace(" ", "-"))
        self._host = host
        self._began = datetime.now(UTC)
        self._evidence: Evidence | None = None
        self._destinations = self._find()

    def _find(self) -> list[Destination]:
        """Return where the reports go; each one says from now on that the run has not ended.

        Raises ``pytest.UsageError`` for what can not be written.
        """
        origin = self._settings.origins["report"]
        try:
            there = folder(self._config, origin.level)
            found = destinations(self._settings.report, there, os.environ)
            document = evidence(
                self._mode, self._run(None), Record(), incomplete=["the run has not ended"]
            )
            for destination in found:
                destination.begin(document)
        except ValueError as error:
            raise pytest.UsageError(f"{origin}: {error}") from None
        return found

    def write(
        self,
        record: Record,
        selected: Iterable[str] | None,
        deselected: Iterable[str],
        problems: Sequence[str],
        stopped: str,
        exitstatus: int,
    ) -> list[str]:
        """Write every report; return a sentence for each that is missing.

        ``selected`` are the ids of all tests that were to run, None where nobody knows;
        ``stopped`` says why the run was ended before its tests, if it was.
        """
        tests = None if selected is None else set(selected)
        self._evidence = evidence(
            self._mode,
            self._run(exitstatus),
            record,
            problems=problems,
            incomplete=list(_missing(record, tests, stopped, exitstatus)),
            selected=None if tests is None else len(tests),
            deselected=deselected,
        )
        return [
            f"the report {one.name} is missing: {why}"
            for one in self._destinations
            if (why := _written(one, self._evidence))
        ]

    def annotations(self) -> list[str]:
        """Return the lines that GitHub reads as annotations, where the job summary is asked for."""
        if self._evidence is None or not any(one.appends for one in self._destinations):
            return []
        root = os.path.relpath(
            self._config.rootpath, os.environ.get("GITHUB_WORKSPACE") or self._config.rootpath
        )
        return errors(self._evidence, "" if root == "." else root)

    def _run(self, exitstatus: int | None) -> Run:
        settings = self._settings
        job = ci.job(os.environ)
        return Run(
            started_at=self._began,
            ended_at=None if exitstatus is None else datetime.now(UTC),
            exit_code=None if exitstatus is None else int(exitstatus),
            host=self._host(),
            org=settings.org,
            versions=_versions(self._config),
            ci=Job(**job) if job else None,
            settings=[_setting(settings, row.name) for row in ROWS],
        )


def _missing(
    record: Record, selected: set[str] | None, stopped: str, exitstatus: int
) -> Iterable[str]:
    """Yield why the record may not tell everything."""
    if stopped:
        yield stopped
    if exitstatus in BROKEN_OFF:
        yield BROKEN_OFF[pytest.ExitCode(exitstatus)]
    if record.uncollected:
        yield (
            f"{count(len(record.uncollected), 'file or folder', 'files or folders')} could not "
            "be collected"
        )
    if selected is None:
        yield "no worker said which tests there are"
    elif left := selected - record.ended:
        yield f"{len(left)} of {count(len(selected), 'test')} did not run to the end"


def _written(destination: Destination, document: Evidence) -> str:
    """Write a report; return what kept it from being written, which must not keep the others."""
    try:
        destination.write(document)
    except OSError as error:
        return error.strerror or type(error).__name__
    except Exception as error:  # a template or a reader of theirs may break in any way
        return f"{type(error).__name__}: {error}"
    return ""


def _versions(config: pytest.Config) -> dict[str, str]:
    versions = {
        "pytest-kosli": __version__,
        "pytest": pytest.__version__,
        "python": platform.python_version(),
    }
    if config.pluginmanager.hasplugin("xdist"):
        versions["pytest-xdist"] = version("pytest-xdist")
    return versions


def _setting(settings: Settings, name: str) -> Setting:
    value = getattr(settings, name)
    text = "set" if isinstance(value, Token) else shown(value)
    return Setting(name=name, value=text, origin=str(settings.origins[name]))
