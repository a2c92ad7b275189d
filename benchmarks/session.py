"""Whole pytest runs, side by side in one go: asking, replaying, sharing, and not being used at all.

Run by hand: ``python benchmarks/session.py``. It prints ratios, which hold where seconds do not.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
WIDTH = 16
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")

WORLD = """\
org: bench
token: bench-token
repos: {{bench/app: {{}}}}
flows:
  build:
    repo: bench/app
    tags: {{kind: build}}
    template: {{unit-test: junit}}
    trails:
      release: {{commit: {commit}, at: 2026-06-01T09:00:00Z, message: m}}
policies:
  provenance: {{version: 1, provenance: {{required: true}}}}
artifacts: {artifacts}
environments:
  prod: {{type: K8S, policies: [provenance], modified: 2026-06-01T09:00:00Z, reported_ago: 60}}
"""
MARKED = """\
import hashlib
import pytest

ARTIFACTS = [f"sha256:{{hashlib.sha256(str(n).encode()).hexdigest()}}" for n in range({number})]

@pytest.mark.kosli(*ARTIFACTS, environment="prod")
def test_it(): ...
"""
BARE = """\
import pytest

@pytest.mark.parametrize("number", range({number}))
def test_it(number): ...
"""
ONE = "def test_it(): ...\n"


def world(number: int) -> str:
    """Return a sandbox data file of so many compliant artifacts."""
    artifacts = {}
    for index in range(number):
        fingerprint = hashlib.sha256(str(index).encode()).hexdigest()
        report = {
            "flow": "build",
            "trail": "release",
            "at": "2026-06-01T09:05:00Z",
            "attestations": {"unit-test": {"type": "junit"}},
        }
        artifacts[f"app-{index}"] = {
            "name": f"app-{index}",
            "fingerprint": fingerprint,
            "reports": [report],
        }
    return WORLD.format(commit="a" * 40, artifacts=json.dumps(artifacts))


@contextlib.contextmanager
def sandbox(folder: Path, number: int, delay: float) -> Iterator[dict[str, str]]:
    """Run the sandbox as a process of its own; yield the environment of a job that asks it."""
    data = folder / f"world-{number}.yaml"
    data.write_text(world(number), encoding="utf-8")
    command = [sys.executable, "-m", "tests.sandbox", "--data", str(data), "--port", "0"]
    with subprocess.Popen(
        [*command, "--delay", str(delay)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        environ = {name: value for name, value in os.environ.items() if name[:5] != "KOSLI"}
        yield environ | {
            "KOSLI_HOST": url,
            "KOSLI_ORG": "bench",
            "KOSLI_API_TOKEN": "bench-token",
            "PYTHONPATH": str(ROOT),
        }
        process.terminate()


@dataclass(frozen=True)
class Run:
    """One whole run of a command: wall and CPU seconds, and the peak of its memory in MiB."""

    wall: float
    cpu: float
    mebibytes: float


def run(
    folder: Path, environ: dict[str, str], *arguments: str, python: str = sys.executable
) -> Run:
    """Run pytest in a folder and measure it; it must succeed."""
    command = [python, *PYTEST, *arguments]
    # Without it pytest would rewrite every plugin anew at each start, ours and all others.
    environ = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(output.decode()[-4000:])
    wall = time.perf_counter() - began
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def rounds(times: int, *sides: Callable[[], Run]) -> list[Run]:
    """Return the best of each side, run in turn: what else the machine does only ever adds."""
    results: list[list[Run]] = [[] for _ in sides]
    for _ in range(times):
        for side, found in zip(sides, results, strict=True):
            found.append(side())
    return [
        Run(
            min(one.wall for one in found),
            min(one.cpu for one in found),
            max(one.mebibytes for one in found),
        )
        for found in results
    ]


def suite(folder: Path, name: str, text: str) -> Path:
    """Return a folder that holds one test file."""
    made = folder / name
    made.mkdir()
    (made / "test_it.py").write_text(text, encoding="utf-8")
    return made


def live(folder: Path, number: int, delay: float, times: int) -> None:
    """Ask about so many artifacts over a slow line, beside bare tests of the same number."""
    marked = suite(folder, "live", MARKED.format(number=number))
    bare = suite(folder, "bare", BARE.format(number=number))
    with sandbox(folder, number, delay) as environ:
        asked, plain = rounds(
            times,
            lambda: run(marked, environ, "-p", "no:xdist"),
            lambda: run(bare, environ, "-p", "no:xdist"),
        )
    floor = math.ceil(number / WIDTH) * delay + plain.wall
    print(
        f"live: {number} artifacts, {delay * 1000:.0f} ms a reply: {asked.wall:.2f} s, "
        f"{asked.wall / floor:.2f} x the floor of {floor:.2f} s (goal 1.25), "
        f"peak {asked.mebibytes:.0f} MiB"
    )


def offline(folder: Path, number: int, times: int) -> None:
    """Replay so many questions, beside bare tests of the same number."""
    marked = suite(folder, "offline", MARKED.format(number=number))
    bare = suite(folder, "bare-offline", BARE.format(number=number))
    with sandbox(folder, number, 0.0) as environ:
        run(marked, environ, "-p", "no:xdist", "--kosli-record")
    # pytest looks at every file below its root, on both sides.
    shutil.copytree(marked / "cassettes", bare / "cassettes")
    replayed, plain = rounds(
        times,
        lambda: run(marked, environ, "-p", "no:xdist", "--kosli-offline"),
        lambda: run(bare, environ, "-p", "no:xdist"),
    )
    each = (replayed.wall - plain.wall) / number * 1000
    ratio = replayed.wall / plain.wall
    print(
        f"offline: {number} questions: {each:.2f} ms each beyond pytest (goal 1.00), "
        f"{ratio:.2f} x bare pytest"
    )


def shared(folder: Path, number: int) -> None:
    """Count the requests of runs with workers: one for each question."""
    sys.path.insert(0, str(ROOT))
    from tests.sandbox import Sandbox

    marked = suite(folder, "shared", MARKED.format(number=number))
    data = folder / "shared.yaml"
    data.write_text(world(number), encoding="utf-8")
    for arguments in ([], ["-n0"], ["-n2"], ["-n4"], ["-n4", "--dist", "worksteal"]):
        with Sandbox(data) as server:
            environ = {**os.environ, "KOSLI_HOST": server.url, "KOSLI_ORG": "bench"}
            run(marked, environ | {"KOSLI_API_TOKEN": "bench-token"}, *arguments)
            print(f"requests for {number} questions {' '.join(arguments)}: {len(server.requests)}")


def unused(folder: Path, times: int) -> None:
    """Start pytest with the plugin installed and not used, beside pytest without it.

    In an environment as users have it, with nobody else's plugins: pytest reads what is installed
    otherwise than a source tree, and whatever else starts only adds to what can not be measured.
    """
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", str(ROOT)], check=True)
    one, off = suite(folder, "unused", ONE), ("-p", "no:kosli")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with_it, without = rounds(
        times,
        lambda: run(one, environ, python=python),
        lambda: run(one, environ, *off, python=python),
    )
    print(
        f"not used: {(with_it.cpu - without.cpu) * 1000:+.1f} ms CPU on a start of "
        f"{without.cpu * 1000:.0f} ms (goal +5)"
    )
    if shutil.which("valgrind"):
        bare = instructions(one, python, *off)
        more = instructions(one, python) - bare
        print(f"not used: {more / 1e6:+.1f} M instructions, {more / bare:+.1%}")


def instructions(folder: Path, python: str, *arguments: str) -> int:
    """Return how many instructions a run takes: the same on a busy machine as on a quiet one."""
    command = [python, *PYTEST, *arguments]
    count = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    environ = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0"}
    subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, check=True)
    done = subprocess.run(
        [*count, *command], cwd=folder, env=environ, capture_output=True, text=True, check=True
    )
    found = re.search(r"I +refs: +([0-9,]+)", done.stderr)
    assert found, done.stderr
    return int(found[1].replace(",", ""))


def main() -> None:
    """Measure what the options name, all of it by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["unused", "live", "offline", "shared"])
    parser.add_argument("--number", type=int, default=1000, help="artifacts (default 1000)")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds a reply (default 0.05)")
    parser.add_argument("--times", type=int, default=5, help="rounds; the best counts")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "unused" in given.what:
            unused(folder, given.times * 7)
        if "live" in given.what:
            live(folder, given.number, given.delay, given.times)
        if "offline" in given.what:
            offline(folder, given.number, given.times)
        if "shared" in given.what:
            shared(folder, min(given.number, 100))


if __name__ == "__main__":
    main()
