"""The same artifacts asked about in four ways, side by side: by us, by a Python loop, by the CLI.

Run by hand: ``python -m benchmarks.peers --cli PATH``. It prints a table for the README: seconds of
whole commands, start-up included, and how many times as long the others take.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.session import MARKED, WIDTH, run, sandbox, suite

LOOP = """\
import os, sys
import requests
session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ["KOSLI_API_TOKEN"]
base = os.environ["KOSLI_HOST"] + "/api/v2/asserts/bench/fingerprint/"
for fingerprint in sys.stdin.read().split():
    reply = session.get(base + fingerprint, params={"environment_name": "prod"}, timeout=30)
    assert reply.json()["compliant"] is True
"""
ASSERT = "{cli} assert artifact --org bench --environment prod --fingerprint"
HEAD = (
    "artifacts",
    "a reply",
    "least",
    "pytest-kosli",
    "requests loop",
    "CLI, 8 at once",
    "CLI loop",
)


def seconds(command: list[str], environ: dict[str, str], names: str, folder: Path) -> float:
    """Return how long a command takes that reads fingerprints; it must succeed."""
    began = time.perf_counter()
    subprocess.run(
        command, env=environ, cwd=folder, input=names, text=True, check=True, capture_output=True
    )
    return time.perf_counter() - began


def row(folder: Path, cli: str, number: int, delay: float) -> tuple[str, ...]:
    """Return one line of the table."""
    names = "\n".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(number)) + "\n"
    marked = suite(folder, f"n{number}-{delay}", MARKED.format(number=number))
    with sandbox(folder, number, delay) as environ:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        environ["HOME"] = str(home)
        asks = ASSERT.format(cli=cli)

        def shell(text: str) -> Callable[[], float]:
            return lambda: seconds(["sh", "-euc", text], environ, names, folder)

        ways: tuple[Callable[[], float], ...] = (
            lambda: run(marked, environ, "-p", "no:xdist").wall,
            lambda: seconds([sys.executable, "-c", LOOP], environ, names, folder),
            shell(f"xargs -P8 -n1 {asks}"),
            shell(f"while read -r name; do {asks} $name </dev/null; done"),
        )
        ours, *others = [way() for way in ways]
    least = math.ceil(number / WIDTH) * delay
    times = (f"{other:.1f} s ({other / ours:.1f} x)" for other in others)
    return str(number), f"{delay * 1000:.0f} ms", f"{least:.1f} s", f"{ours:.1f} s", *times


def main() -> None:
    """Print the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cli", required=True, help="path of the Kosli CLI")
    parser.add_argument("--numbers", nargs="*", type=int, default=[1, 20, 200, 1000])
    parser.add_argument("--delays", nargs="*", type=float, default=[0.0, 0.05])
    given = parser.parse_args()
    for cells in (HEAD, ("---:",) * len(HEAD)):
        print(f"| {' | '.join(cells)} |")
    with tempfile.TemporaryDirectory() as name:
        for number in given.numbers:
            for delay in given.delays:
                print(f"| {' | '.join(row(Path(name), given.cli, number, delay))} |", flush=True)


if __name__ == "__main__":
    main()
