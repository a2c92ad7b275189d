"""Where reports go: every destination is checked before the first request, and written whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_kosli.report import GITHUB
from pytest_kosli.report.evidence import Evidence, to_json
from pytest_kosli.report.markdown import markdown


@dataclass(frozen=True, slots=True)
class Destination:
    """One report: its name as typed, its file, and what makes its text."""

    name: str
    path: Path
    render: Callable[[Evidence], str]

    @property
    def appends(self) -> bool:
        """Return whether the file belongs to somebody else, so that only the end is ours."""
        return self.name == GITHUB

    def begin(self, unfinished: Evidence) -> None:
        """Make the folder and write what stays there should the run never end.

        Raises ValueError that says what is in the way; of GitHub's file nothing is written yet.
        """
        with self._told():
            self._refuse_what_is_there()
            if self.appends:
                self.path.open("a", encoding="utf-8").close()
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.write(unfinished)

    def try_out(self) -> None:
        """Raise ValueError where ``begin`` would, and leave everything as it was."""
        with self._told(), ExitStack() as undo:
            self._refuse_what_is_there()
            if self.appends:
                if not self.path.exists():
                    undo.callback(self.path.unlink, missing_ok=True)
                self.path.open("a", encoding="utf-8").close()
                return
            for folder in reversed(self.path.parents):
                if not folder.exists():
                    folder.mkdir()
                    undo.callback(_remove, folder)
            undo.enter_context(self._draft()).touch(exist_ok=False)

    def _refuse_what_is_there(self) -> None:
        if self.path.is_dir():
            raise ValueError(f"{self.name} is a folder; name a file in it")
        if not self.appends and self.path.exists() and not os.access(self.path, os.W_OK):
            raise ValueError(f"{self.name} can not be written: it is read-only")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Make a sentence of what the system refuses."""
        try:
            yield
        except OSError as error:
            raise ValueError(f"{self.name} can not be written: {error.strerror}") from None

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        """Yield the path of a file beside the report; what is left there goes away."""
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.draft")
        try:
            yield draft
        finally:
            draft.unlink(missing_ok=True)

    def write(self, evidence: Evidence) -> None:
        """Write the report; a reader finds the old file or the whole new one. Raises OSError."""
        text = self.render(evidence)
        if self.appends:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"\n\n{text}")  # what stands there may not end its line
            return
        with self._draft() as draft:
            with draft.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)


def _remove(folder: Path) -> None:
    """Remove a folder that we have made, unless others have put something there since."""
    with suppress(OSError):
        folder.rmdir()


def destinations(
    names: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> list[Destination]:
    """Return where the reports go; relative paths start at ``folder``.

    Raises ValueError for a file that is named twice, for ``github`` outside of a GitHub job, and
    for a page without the package that makes it.
    """
    made: list[Destination] = []
    for name in names:
        destination = Destination(name, _path(name, folder, environ), _renderer(name))
        if any(other.path == destination.path for other in made):
            raise ValueError(f"{name} is named twice")
        made.append(destination)
    return made


def _path(name: str, folder: Path, environ: Mapping[str, str]) -> Path:
    if name != GITHUB:
        return (folder / name).resolve()
    summary = environ.get("GITHUB_STEP_SUMMARY")
    if not summary:
        raise ValueError(f"{GITHUB}: GITHUB_STEP_SUMMARY is not set, so this is no job of GitHub's")
    return Path(summary).resolve()


def _renderer(name: str) -> Callable[[Evidence], str]:
    suffix = Path(name).suffix.lower()
    if suffix == ".json":
        return to_json
    if suffix != ".html":
        return markdown
    try:
        from pytest_kosli.report.html import html
    except ImportError:
        raise ValueError(
            f"{name}: pages need Jinja; install it with pip install 'pytest-kosli[html]'"
        ) from None
    return html
