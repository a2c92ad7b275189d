"""Failures as annotations of a GitHub job: workflow commands that stand beside the test's line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pytest_kosli.report.evidence import Check, Evidence
from pytest_kosli.report.facts import NO_VERDICT, WORDS
from pytest_kosli.text import clean, count

MANY = 10
"""GitHub shows this many errors of a step and drops the others without a word."""


def errors(evidence: Evidence, root: str) -> list[str]:
    """Return a line for each check that failed and each problem of the run.

    ``root`` leads from the repository to the folder that the tests' paths start from.
    """
    told = list(_told(evidence, root))
    if len(told) <= MANY:
        return told
    left = count(len(told) - MANY + 1, "other failure")
    return [*islice(told, MANY - 1), _command(f"and {left}: see the job summary", title="kosli")]


def _told(evidence: Evidence, root: str) -> Iterator[str]:
    for check in evidence.checks:
        if check.refused or check.outcome == NO_VERDICT:
            title = f"{check.artifact.label}: {WORDS[check.outcome]}"
            yield _command(_message(check), **_place(check, root), title=title)
    for problem in evidence.problems:
        yield _command(problem, title="kosli")


def _message(check: Check) -> str:
    against = f"against {check.question.text}" if check.question.text else ""
    return " ".join(part for part in (check.reason, against, check.link or "") if part)


def _place(check: Check, root: str) -> dict[str, str]:
    test = check.tests[0]
    file = f"{root}/{test.file}" if root else test.file
    if file.startswith(("/", "..")):
        return {}  # outside of the repository, where GitHub has no line to show
    return {"file": file} | ({"line": str(test.line)} if test.line else {})


def _command(message: str, **properties: str) -> str:
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::error {told}::{_data(message)}"


def _data(text: str) -> str:
    return clean(text, 1000).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
