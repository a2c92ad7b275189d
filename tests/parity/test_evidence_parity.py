"""The Kosli CLI attests what we write, and the rules of docs/evidence.md judge it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_kosli.model import NoVerdict, Outcome
from pytest_kosli.report.record import Record
from tests.conftest import Suite
from tests.report.records import document, drift, hear, record_of, verdict
from tests.report.test_evidence import plain
from tests.sandbox import Sandbox
from tests.story import LEDGER, PAYMENTS, WEB

ROOT = Path(__file__).parent.parent.parent
CLI = os.environ.get("KOSLI_CLI") or shutil.which("kosli")
JQ = shutil.which("jq")

needs_cli = pytest.mark.skipif(
    not CLI, reason="the Kosli CLI is not here: name it in KOSLI_CLI or put it on the PATH"
)
needs_jq = pytest.mark.skipif(not JQ, reason="jq is not here: Debian's package of that name")

SUITE = f"""
    import pytest

    @pytest.mark.kosli("payments=sha256:{PAYMENTS}", environment="prod")
    def test_compliant():
        pass

    @pytest.mark.kosli("ledger=sha256:{LEDGER}", environment="prod")
    def test_listed():
        pass

    @pytest.mark.kosli("web=sha256:{WEB}", environment="prod")
    def test_refused():
        pass

    @pytest.mark.kosli("payments=sha256:{PAYMENTS}", environment="nope")
    def test_error():
        pass

    @pytest.mark.skip
    @pytest.mark.kosli("payments=sha256:{PAYMENTS}", environment="prod")
    def test_skipped():
        pass
"""


def command(name: str) -> str:
    """Return a command of docs/evidence.md, to the letter."""
    text = (ROOT / "docs" / "evidence.md").read_text("utf-8")
    found = re.search(rf"<!-- command: {name} -->\n```sh\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


def run_documented(name: str, sandbox: Sandbox, folder: Path) -> None:
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for tool, target in {"kosli": str(CLI), "python": sys.executable}.items():
        (tools / tool).write_text(f'#!/bin/sh\nexec "{target}" "$@"\n')
        (tools / tool).chmod(0o755)
    environ = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "KOSLI_HOST": sandbox.url,
        "KOSLI_ORG": sandbox.org,
        "KOSLI_API_TOKEN": sandbox.token,
        "RELEASE_FLOW": "releases",
        "RELEASE_TRAIL": "release-4.2",
    }
    subprocess.run(["bash", "-euc", command(name)], env=environ, cwd=folder, timeout=60, check=True)


@needs_cli
def test_junit_arrives_with_its_numbers_and_its_properties(
    each: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(SUITE)
    each("--junit-xml=reports/gate.xml")
    run_documented("junit", online, pytester.path)
    (arrived,) = online.attested
    assert arrived.path == "releases/trail/release-4.2/junit"
    (suite,) = arrived.data["junit_results"]
    numbers = {key: suite[key] for key in ("total", "failures", "errors", "skipped")}
    assert numbers == {"total": 5, "failures": 1, "errors": 1, "skipped": 1}
    assert suite["timestamp"]
    sent = ET.fromstring(arrived.files["gate.xml"])
    outcomes = [
        one.get("value") for one in sent.iter("property") if one.get("name") == "kosli.outcome"
    ]
    assert sorted(map(str, outcomes)) == [
        "ALLOW_LISTED",
        "COMPLIANT",
        "NON_COMPLIANT",
        "NOT_CHECKED",
        "NO_VERDICT",
    ]


@needs_cli
def test_the_documented_commands_bring_schema_rules_and_evidence_to_kosli(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(SUITE)
    alone("--kosli-report=release.json")
    run_documented("type", online, pytester.path)
    run_documented("evidence", online, pytester.path)
    kind, evidence = online.attested
    assert kind.data["name"] == evidence.data["type_name"] == "release-evidence"
    assert kind.data["evaluator"] == {"content_type": "jq", "rules": rules()}
    schema = json.loads(kind.files["evidence.schema.json"])
    written = json.loads((pytester.path / "release.json").read_text("utf-8"))
    assert evidence.data["attestation_data"] == written
    jsonschema.Draft202012Validator(schema).validate(written)


# The rules.


def rules() -> list[str]:
    return re.findall(r"--jq '(.*?)' \\\n", command("type"))


def judged(data: Any) -> list[bool]:
    """Return what each rule makes of evidence, as Kosli does: anything but true is no."""
    told = []
    for rule in rules():
        asked, text = [str(JQ), "-c", rule], json.dumps(data)
        done = subprocess.run(asked, input=text, capture_output=True, text=True, check=True)
        told.append(done.stdout.strip() == "true")
    return told


def good() -> Any:
    return plain(document(record_of(verdict(), verdict(number=2))))


@needs_jq
def test_a_live_complete_and_compliant_run_is_let_through() -> None:
    assert len(rules()) == 9
    assert all(judged(good()))


def skipped() -> Any:
    record = record_of(verdict())
    record.hear("test_skipped", "setup", "skipped", None, marked=True, xfailed=False)
    return plain(document(record))


def drifted() -> Any:
    record = record_of(verdict())
    hear(record, "test_drift", drift("staging"), outcome="failed")
    return plain(document(record))


def nothing() -> Any:
    return plain(document(Record()))


REFUSED: dict[str, Callable[[], Any]] = {
    "replay": lambda: plain(document(record_of(verdict(replayed=True)), "offline")),
    "record": lambda: plain(document(record_of(verdict()), "record")),
    "dry run": lambda: plain(document(Record(), "dry-run")),
    "nothing checked": nothing,
    "non-compliant": lambda: plain(document(record_of(verdict(Outcome.NON_COMPLIANT)))),
    "unknown": lambda: plain(document(record_of(verdict(Outcome.UNKNOWN_ARTIFACT)))),
    "allow-listed": lambda: plain(document(record_of(verdict(), verdict(Outcome.ALLOW_LISTED, 2)))),
    "no verdict": lambda: plain(document(record_of(verdict(), NoVerdict("http_503", "none")))),
    "incomplete": lambda: plain(document(record_of(verdict()), incomplete=["interrupted"])),
    "problem": lambda: plain(document(record_of(verdict()), problems=["--kosli-require 2"])),
    "skipped": skipped,
    "drifted": drifted,
}


@needs_jq
@pytest.mark.parametrize("made", REFUSED.values(), ids=REFUSED)
def test_everything_else_is_stopped_by_at_least_one_rule(made: Callable[[], Any]) -> None:
    assert not all(judged(made()))
