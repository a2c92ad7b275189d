"""Fingerprints beside the Kosli CLI's, in one run: seconds, ratios and peak memory.

Run by hand: ``python -m benchmarks.fingerprint --cli PATH``. Our seconds are those of the call, in
a process that is there anyway; the CLI's are those of its process. The median round counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

OURS = """
import sys, time
from pytest_kosli.fingerprint import of_directory, of_file
start = time.perf_counter()
if sys.argv[1] == "file":
    found = of_file(sys.argv[2])
else:
    found = of_directory(sys.argv[2], exclude=sys.argv[3:])
print(found.sha256, time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Run:
    """One measurement: the fingerprint, the seconds it took, and the process's peak in MiB."""

    sha256: str
    seconds: float
    mebibytes: float


def process(command: list[str], environment: dict[str, str]) -> tuple[str, float, float]:
    """Return what a process prints, its seconds, and its peak memory in MiB."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        text = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command[0]} failed")
    return text.strip(), time.perf_counter() - start, usage.ru_maxrss / 1024


def ours(kind: str, path: Path, exclude: list[str]) -> Run:
    """Measure a call of ours in a fresh interpreter."""
    command = [sys.executable, "-c", OURS, kind, str(path), *exclude]
    text, _, peak = process(command, {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    sha256, seconds = text.split()
    return Run(sha256, float(seconds), peak)


def theirs(cli: str, kind: str, path: Path, exclude: list[str], scratch: Path) -> Run:
    """Measure the Kosli CLI, with an empty home and its temporary files in the scratch folder."""
    command = [cli, "fingerprint", str(path), f"--artifact-type={kind}"]
    command += [f"--exclude={pattern}" for pattern in exclude]
    return Run(*process(command, {"HOME": str(scratch), "TMPDIR": str(scratch)}))


def median(rounds: int, measure: Callable[[], Run]) -> Run:
    """Return the run with the median time."""
    runs = [measure() for _ in range(rounds)]
    middle = statistics.median_low(run.seconds for run in runs)
    return next(run for run in runs if run.seconds == middle)


def compare(title: str, our: Run, their: Run) -> None:
    """Print both runs side by side, and insist on one fingerprint."""
    if our.sha256 != their.sha256:
        raise SystemExit(f"{title}: {our.sha256} here, {their.sha256} from the CLI")
    print(
        f"{title:<44} {our.seconds:8.3f} s {our.mebibytes:7.0f} MiB   "
        f"{their.seconds:8.3f} s {their.mebibytes:7.0f} MiB   "
        f"{their.seconds / our.seconds:6.1f} x faster"
    )


def plant(root: Path, files: int, folders: int, size: int) -> None:
    """Make a tree of small files, spread evenly."""
    content = os.urandom(size)
    for number in range(folders):
        folder = root / f"folder-{number:05}"
        folder.mkdir(parents=True)
        for file in range(number, files, folders):
            (folder / f"file-{file:07}.bin").write_bytes(file.to_bytes(8, "big") + content[8:])


def main() -> None:
    """Make the trees, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cli", default=os.environ.get("KOSLI_CLI") or shutil.which("kosli"))
    parser.add_argument("--files", type=int, default=20_000, help="in the folder")
    parser.add_argument("--folders", type=int, default=200, help="below the folder")
    parser.add_argument("--size", type=int, default=1024, help="bytes of each file in the folder")
    parser.add_argument("--gib", type=float, default=1.0, help="size of the single file; 0: none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--scratch", type=Path, help="where to make all that (default: the system's)"
    )
    options = parser.parse_args()
    if not options.cli:
        parser.error("the Kosli CLI is not here: name it with --cli")
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        measure(options, Path(scratch))


def measure(options: argparse.Namespace, scratch: Path) -> None:
    """Measure a folder, the same with excludes, and one large file."""
    print(f"{'':<44} {'pytest-kosli':>22}   {'Kosli CLI':>22}")
    tree = scratch / "tree"
    plant(tree, options.files, options.folders, options.size)
    label = f"folder, {options.files:,} files of {options.size:,} bytes"
    patterns: tuple[list[str], ...] = ([], ["**/file-*1.bin", "folder-00001"])
    for exclude in patterns:
        compare(
            label + (", excludes" if exclude else ""),
            median(options.rounds, partial(ours, "dir", tree, exclude)),
            median(options.rounds, partial(theirs, options.cli, "dir", tree, exclude, scratch)),
        )
    shutil.rmtree(tree)
    if options.gib:
        large = scratch / "large"
        with large.open("wb") as stream:
            for _ in range(int(options.gib * 1024)):
                stream.write(os.urandom(1 << 20))
        compare(
            f"file, {options.gib:g} GiB",
            median(options.rounds, partial(ours, "file", large, [])),
            median(options.rounds, partial(theirs, options.cli, "file", large, [], scratch)),
        )


if __name__ == "__main__":
    main()
