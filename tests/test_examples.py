"""The examples are run as a user runs them, from the cassettes in this repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(example: str, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", f"examples/{example}", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout


def test_release_is_green_and_says_that_it_is_a_replay(everywhere: tuple[str, ...]) -> None:
    code, output = run("release", "--kosli-offline", *everywhere)
    assert code == 0, output
    assert "7 passed" in output
    assert "REPLAY of cassettes recorded 20" in output
    assert "1 allow-listed, 5 compliant" in output
    assert "ledger d4d1d5d was allow-listed by 29f67c3c" in output


def test_blocked_fails_for_verdicts_and_errs_without(everywhere: tuple[str, ...]) -> None:
    code, output = run("blocked", "--kosli-offline", *everywhere)
    assert code == 1, output
    assert "5 failed, 6 errors" in output
    assert "nothing of a refused test is set up" not in output
    assert "Traceback" not in output


def test_blocked_fits_eighty_columns_but_for_links() -> None:
    _, output = run("blocked", "--kosli-offline", "--no-header")
    ours, _ = output.split("short test summary info")
    told = [line for line in ours.splitlines() if line.startswith("E ")]
    assert len(told) > 50
    assert [line for line in told if len(line) > 80 and "http" not in line] == []
    _, summary = ours.rsplit(" kosli ", 1)
    assert [line for line in summary.splitlines() if len(line) > 80] == []


def test_a_replay_loads_no_http_library() -> None:
    code = (
        "import sys, pytest\n"
        "ended = pytest.main(['examples/release', '-q', '--kosli-offline', '-p', 'kosli'])\n"
        "assert ended == 0\n"
        "print({'requests', 'urllib3', 'vcr'} & set(sys.modules) or 'none')\n"
    )
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=alone, capture_output=True, text=True
    )
    assert told.stdout.splitlines()[-1] == "none", told.stdout + told.stderr


@pytest.mark.parametrize("example", ["release", "blocked"])
def test_a_dry_run_skips_all_that_would_be_checked(
    example: str, everywhere: tuple[str, ...]
) -> None:
    code, output = run(example, "--kosli-dry-run", *everywhere)
    assert code == 0, output
    assert " passed" not in output
    assert " failed" not in output
    assert "DRY RUN: Kosli was not asked" in output


def test_a_release_from_cassettes_is_never_evidence_of_a_live_check() -> None:
    code, output = run("release", "--kosli-offline", "--kosli-require", "1")
    assert code == 1
    assert "--kosli-require 1: only 0 got a live, passing verdict" in output


def test_source_is_green_and_says_what_ties_it_to_the_artifacts(
    everywhere: tuple[str, ...],
) -> None:
    code, output = run("source", "--kosli-offline", *everywhere)
    assert code == 0, output
    assert "3 passed" in output
    assert "REPLAY of source recorded 20" in output
    assert "4 source checks: 4 hold; 2 pinned to a branch" in output
