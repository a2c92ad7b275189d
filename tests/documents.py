"""Reads the documents, and runs what they tell a reader to run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"


@dataclass(frozen=True)
class Block:
    """A fenced block, its language, and the comment that stands right before it."""

    language: str
    text: str
    comment: str


def blocks(text: str) -> Iterator[Block]:
    fence = r"^(?:<!-- (?P<comment>[^\n]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$"
    for found in re.finditer(fence, text, re.MULTILINE | re.DOTALL):
        yield Block(found["language"], found["text"], found["comment"] or "")


def prose(path: Path) -> str:
    return re.sub(r"^```\w+\n.*?^```$", "", path.read_text("utf-8"), flags=re.M | re.S)


def headings(path: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)


def slug(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sections(path: Path) -> dict[str, str]:
    """Return the text under each second-level heading."""
    parts = re.split(r"^## (.+)$", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a reader at home in ``folder``, with few plugins to load."""
    bin_ = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([bin_, os.environ["PATH"]]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "-p kosli -p xdist -p no:cacheprovider",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "80",
        "NO_COLOR": "1",
        "HOME": str(folder),
    }


def write(name: str, text: str, folder: Path) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def run(command: str | list[str], folder: Path, environ: dict[str, str]) -> tuple[int, str]:
    """Return the exit status of a command, and all that it printed."""
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout
