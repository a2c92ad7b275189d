"""Types of ours, met by many threads at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pytest_kosli.shape import convert, decode

PROGRAM = """
import sys, threading
from tests.test_shape import Outer
from pytest_kosli.shape import {name}

sys.setswitchinterval(1e-6)
start = threading.Barrier(8)

def read():
    start.wait()
    assert {name}({value}, Outer).inner[0].names == ["a"]

threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


class Innermost(msgspec.Struct):
    number: int


class Inner(msgspec.Struct):
    names: list[str]
    deeper: dict[str, Innermost] | None = None


class Outer(msgspec.Struct):
    inner: list[Inner]
    outer: Inner | None = None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("convert", {"inner": [{"names": ["a"], "deeper": {"x": {"number": 1}}}]}),
        ("decode", b'{"inner": [{"names": ["a"], "deeper": {"x": {"number": 1}}}]}'),
    ],
)
def test_many_threads_may_meet_a_type_at_once(name: str, value: object) -> None:
    # A process of its own: without care it is Python itself that crashes.
    program = PROGRAM.format(name=name, value=repr(value))
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_does_not_fit_is_an_error_and_the_next_one_is_heard() -> None:
    with pytest.raises(msgspec.ValidationError):
        convert({}, Outer)
    with pytest.raises(msgspec.MsgspecError):
        decode(b"{", Outer)
    assert convert({"inner": []}, Outer) == decode(b'{"inner": []}', Outer)
