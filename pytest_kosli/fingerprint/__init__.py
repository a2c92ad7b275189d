"""What an artifact's fingerprint is: of a file, of a folder, or as a reference itself gives it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pytest_kosli.fingerprint import directory, file
from pytest_kosli.fingerprint.reference import Reference
from pytest_kosli.model import NoVerdict

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A fingerprint and how it came about.

    ``sha256`` is 64 lower-case hex digits; ``how`` says in words what was hashed; ``excluded`` are
    the paths of a folder that were left out, relative and printable, folders with a slash at the
    end; ``hints`` are facts that explain why Kosli may know the artifact by another fingerprint.
    ``stamp`` and ``left_out`` are what a Watch needs to find out whether it has changed.
    """

    sha256: str
    name: str
    how: str
    excluded: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    stamp: str = field(default="", compare=False, repr=False)
    left_out: tuple[str, ...] = field(default=(), compare=False, repr=False)


def of_file(path: AnyPath, *, base: AnyPath = "") -> Fingerprint:
    """Return the fingerprint of a regular file; symlinks are followed.

    ``base`` is where a relative path starts, the current folder by default. Raises NoVerdict for
    anything but a readable file, and for one that changes while it is read.
    """
    spelled, start = _spelled(path), os.fspath(base)
    found = file.digest(os.fsencode(os.path.join(start, spelled)))
    hints = () if found.size else ("the file is empty: every empty file has this fingerprint",)
    how = f"SHA256 of the file (bytes: {found.size:,})"
    stamp = found.stamp.decode()
    return Fingerprint(found.sha256, _name(spelled, start), how, (), hints, stamp)


def of_directory(path: AnyPath, *, exclude: Sequence[str] = (), base: AnyPath = "") -> Fingerprint:
    """Return the fingerprint of a folder, the same as the Kosli CLI v2.43.1 gives it.

    ``exclude`` are the CLI's ``--exclude`` patterns, each an item (a comma is part of it); the
    folder's own ``.kosli_ignore`` counts too. The spelling of ``path`` matters to patterns as it
    does for the CLI. ``base`` is where a relative path starts, the current folder by default.
    Raises NoVerdict for what can not be read, what the CLI refuses or hangs on, and where it would
    hash nothing.
    """
    if isinstance(exclude, str):
        raise TypeError(f"exclude is a list of patterns: exclude=[{exclude!r}]")
    spelled, start = _spelled(path), os.fspath(base)
    tree = directory.digest(spelled, exclude, start)
    how = f"the Kosli CLI's fingerprint of a folder (files: {tree.files:,})"
    return Fingerprint(
        tree.sha256,
        _name(spelled, start),
        how,
        tuple(map(file.printable, tree.excluded)),
        tree.hints,
        tree.stamp,
        tuple(map(os.fsdecode, tree.excluded)),
    )


def local(
    reference: Reference, *, exclude: Sequence[str] = (), base: AnyPath = ""
) -> Fingerprint | None:
    """Return the fingerprint that a reference leads to without asking a registry or an engine.

    None for an image that only those can tell. Raises NoVerdict as ``of_file`` and ``of_directory``
    do, and for ``exclude`` with anything but a folder.
    """
    if exclude and reference.kind != "dir":
        raise NoVerdict(
            "exclude_without_directory",
            f"exclude= is for folders, and {file.printable(reference.text)} is none",
            "Remove exclude=, or name the folder as dir:PATH.",
        )
    if reference.digest:
        return Fingerprint(reference.digest, reference.name, "given as a digest")
    if reference.kind == "file":
        found = of_file(reference.value, base=base)
    elif reference.kind == "dir":
        found = of_directory(reference.value, exclude=exclude, base=base)
    else:
        return None
    return replace(found, name=reference.name)


def _spelled(path: AnyPath) -> str:
    text = os.fspath(path)
    if not text or "\0" in text:
        raise NoVerdict(
            "no_such_path",
            "the path is empty" if not text else f"{file.printable(text)} holds a NUL character",
            "Name a file or a folder.",
        )
    return text


def _name(path: str, base: str) -> str:
    whole = os.path.abspath(os.path.join(base, path))
    return file.printable(os.path.basename(whole) or whole)
