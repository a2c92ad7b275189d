"""What who comes from the Kosli CLI is told is tried, with the CLI where it is here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Suite
from tests.documents import DOCS, blocks, environment, run, sections, write
from tests.sandbox import Sandbox
from tests.story import CRON, LEDGER, PAYMENTS, REPORTS, WEB

CLI = os.environ.get("KOSLI_CLI") or shutil.which("kosli")
TOLD = sections(DOCS / "from-kosli-assert.md")

SHOWN = [block for block in blocks("".join(TOLD.values())) if block.comment == "run: exit 0"]

needs_cli = pytest.mark.skipif(
    not CLI, reason="the Kosli CLI is not here: name it in KOSLI_CLI or put it on the PATH"
)


@needs_cli
def test_the_commands_that_are_set_side_by_side_give_the_same(
    online: Sandbox, tmp_path: Path
) -> None:
    write("tools/kosli", f'#!/bin/sh\nexec "{CLI}" "$@"\n', tmp_path)
    (tmp_path / "tools" / "kosli").chmod(0o755)
    environ = environment(tmp_path)
    environ["PATH"] = f"{tmp_path / 'tools'}:{environ['PATH']}"
    lines = [line for block in SHOWN for line in block.text.splitlines()]
    assert {line.split()[0] for line in lines} == {"kosli", "pytest"}
    for line in lines:
        code, output = run(line, tmp_path, environ)
        assert code == 0, output


def table(heading: str) -> list[list[str]]:
    """Return the rows of a table, without its head."""
    lines = [line for line in TOLD[heading].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@dataclass(frozen=True)
class Case:
    """What happens in a row of the table: who is judged, by what, and what is wrong."""

    fingerprint: str = PAYMENTS
    scope: tuple[str, ...] = ("environment=prod",)
    environ: dict[str, str] = field(default_factory=dict)
    fault: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


def lie(edit: Callable[[Any], Any]) -> dict[str, Any]:
    return {"lie": edit}


DRY: dict[str, str] = {"KOSLI_DRY_RUN": "true"}
CASES = {
    "compliant": Case(),
    "allow-listed": Case(LEDGER),
    "not compliant": Case(WEB),
    "unknown to Kosli": Case(CRON),
    "a misspelt environment": Case(scope=("environment=prd",)),
    "a wrong token": Case(environ={"KOSLI_API_TOKEN": "yesterdays"}),
    "an outage": Case(fault={"status": 503}),
    "a reply that can not be read": Case(fault=lie(lambda answer: answer.pop("scope") and None)),
    "an answer about another artifact": Case(
        fault=lie(lambda answer: answer.update(fingerprint=WEB))
    ),
    "an environment without policies": Case(REPORTS, ("environment=beta",)),
    "a refusal, in a dry run": Case(WEB, environ=DRY),
    "a refusal, in a dry run, with `--kosli-require 1`": Case(
        WEB, environ=DRY, flags=("--kosli-require=1",)
    ),
    "environment and policy at once": Case(scope=("environment=prod", "policy=provenance")),
}
ROWS = {row[0]: row[1:] for row in table("Exit statuses")}


def test_each_row_is_tried() -> None:
    assert list(ROWS) == list(CASES)


@pytest.fixture
def prepared(
    request: pytest.FixtureRequest, online: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> Case:
    case = CASES[request.param]
    for name, value in case.environ.items():
        monkeypatch.setenv(name, value)
    if case.fault:
        online.fault("asserts/*", **case.fault)
    return case


each_row = pytest.mark.parametrize(("prepared", "row"), ROWS.items(), indirect=["prepared"])


@each_row
def test_our_exit_statuses_are_those_of_the_table(
    prepared: Case, row: list[str], alone: Suite
) -> None:
    names = (f"--kosli-{scope}" for scope in prepared.scope)
    command = ["--pyargs", "pytest_kosli.gate", f"--kosli-artifact=sha256:{prepared.fingerprint}"]
    result = alone(*command, *names, *prepared.flags, "--kosli-exit-codes")
    assert result.ret == int(row[2]), result.stdout.str()
    expected = {10: 1, 11: 1}.get(result.ret, result.ret)
    assert int(re.split(r"\W", row[1])[0]) == expected
    output = result.stdout.str()
    for word, told in {"FAILED": "1 failed", "ERROR": "1 error", "SKIPPED": "1 skipped"}.items():
        assert (word in row[1]) is (told in output)
    code = re.search(r"\[(.+?)\]\(errors", row[1])
    told = f"no verdict ({code[1].replace('-', '_')})" if code else "no verdict ("
    assert (told in output) is bool(code)


@needs_cli
@each_row
def test_the_clis_exit_statuses_are_those_of_the_table(
    prepared: Case, row: list[str], tmp_path: Path
) -> None:
    command = [str(CLI), "assert", "artifact", "--fingerprint", prepared.fingerprint]
    command += [f"--{scope}" for scope in prepared.scope]
    done = subprocess.run(command, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True)
    assert done.returncode == int(re.split(r"\W", row[0])[0]), done.stderr


@needs_cli
def test_every_flag_of_the_cli_is_in_the_table(tmp_path: Path) -> None:
    told = subprocess.run(
        [str(CLI), "assert", "artifact", "--help"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    theirs = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+) ", told, re.MULTILINE))
    assert len(theirs) > 15
    named = " ".join(row[0] for row in table("Flag by flag"))
    assert set(re.findall(r"--[a-z-]+", named)) == theirs
