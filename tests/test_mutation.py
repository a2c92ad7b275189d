from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.mutation import ROOMS, ROOT, mutants

LIMITS = """
class Limits:
    low = 0 if __debug__ else 1

    def within(self, number):
        if number > 9 or number < 0:
            raise ValueError(number)
        self.note(number)
        return [one for one in (number or 0, 7) if one != 7]

    def note(self, number):
        while number == 5:
            number = 6
        return number > 1
"""
TESTS = """
import pytest
from limits import Limits

def test_too_large():
    with pytest.raises(ValueError):
        Limits().within(10)

def test_within():
    assert Limits().within(4) == [4]
    assert Limits().within(5) == [5]
"""
CAUGHT = "test_limits.py::test_too_large"
RUN = """
from pathlib import Path
from tests.mutation import hunt, mutants

path = Path("limits.py").absolute()
found = list(mutants(path))
for mutant, fate in zip(found, hunt(path, ["test_limits.py"], found), strict=True):
    print(f"{mutant.where}: {mutant.what}: {fate}")
"""


def test_each_check_of_a_function_is_taken_out_once(tmp_path: Path) -> None:
    path = tmp_path / "limits.py"
    path.write_text(LIMITS)
    assert [(one.where, one.line, one.what) for one in mutants(path)] == [
        ("Limits.within", 6, "number > 9 or number < 0 -> False"),
        ("Limits.within", 6, "number > 9 or number < 0 -> number > 9"),
        ("Limits.within", 6, "number > 9 or number < 0 -> number < 0"),
        ("Limits.within", 8, "self.note(number) -> pass"),
        ("Limits.within", 9, "one != 7 -> True"),
        ("Limits.note", 12, "number == 5 -> False"),
        ("Limits.note", 14, "number > 1 -> not number > 1"),
    ]


def test_what_a_test_notices_is_caught_and_the_rest_survives(tmp_path: Path) -> None:
    (tmp_path / "limits.py").write_text(LIMITS)
    (tmp_path / "test_limits.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("Limits")]
    assert lines == [
        f"Limits.within: number > 9 or number < 0 -> False: {CAUGHT}",
        "Limits.within: number > 9 or number < 0 -> number > 9: ",
        f"Limits.within: number > 9 or number < 0 -> number < 0: {CAUGHT}",
        "Limits.within: self.note(number) -> pass: ",
        "Limits.within: one != 7 -> True: test_limits.py::test_within",
        "Limits.note: number == 5 -> False: ",
        "Limits.note: number > 1 -> not number > 1: ",
    ]
    assert (tmp_path / "limits.py").read_text() == LIMITS


def test_every_room_that_distrusts_is_hunted() -> None:
    house = ROOT / "pytest_kosli"
    api = {f"api/{path.name}" for path in (house / "api").glob("[!_]*.py")}
    assert {"judge.py", "answers.py"} | api == set(ROOMS)
    named = {
        test.partition("::")[0] for tiers in ROOMS.values() for tests in tiers for test in tests
    }
    assert [test for test in named if not (ROOT / test).exists()] == []
