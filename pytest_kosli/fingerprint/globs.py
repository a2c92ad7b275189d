"""Which paths an exclude pattern names, by the rules of the Kosli CLI.

Those are Go's ``filepath.Match`` and ``filepath.Glob`` plus the ``**`` of yargevad/filepathx, which
read a pattern as bytes and look at the disk; their oddities are part of every fingerprint.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

META = re.compile(rb"[*?\[\\]")
_SLASH = ord("/")
_NOT_A_RUNE = 0xFFFD


class BadPatternError(ValueError):
    """A pattern that Go's ``filepath.Match`` calls a syntax error."""


@dataclass(frozen=True, slots=True)
class _Class:
    """What stands in brackets: ranges of code points, perhaps negated."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool

    def holds(self, rune: int) -> bool:
        return any(low <= rune <= high for low, high in self.ranges) is not self.negated


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The pattern up to the next star. An item is literal bytes, a class, or None for ``?``.

    A fault counts only when matching gets as far as this chunk.
    """

    star: bool
    items: tuple[bytes | _Class | None, ...] = ()
    fault: str = ""


def match(pattern: bytes, name: bytes) -> bool:
    """Return whether Go's ``filepath.Match`` would match; raise BadPatternError where it would."""
    chunks = _compile(pattern)
    at = 0
    for chunk in chunks:
        found = _find(chunk, name, at, last=chunk is chunks[-1])
        if found is None:
            return False
        at = found
    return at == len(name)


def _find(chunk: _Chunk, name: bytes, at: int, *, last: bool) -> int | None:
    """Return where the chunk's first match at or, after a star, behind ``at`` ends."""
    if chunk.fault:
        raise BadPatternError(chunk.fault)
    slash = name.find(b"/", at)
    stop = len(name) if slash < 0 else slash
    if not chunk.items:
        return None if slash >= 0 else len(name)
    head = chunk.items[0]
    while True:
        end = _end(chunk.items, name, at)
        if end is not None and (not last or end == len(name)):
            return end
        at += 1
        if chunk.star and isinstance(head, bytes):
            at = name.find(head, at)
        if not chunk.star or not 0 <= at <= stop:
            return None


def _end(items: tuple[bytes | _Class | None, ...], name: bytes, at: int) -> int | None:
    for item in items:
        if isinstance(item, bytes):
            if not name.startswith(item, at):
                return None
            at += len(item)
            continue
        if at >= len(name):
            return None
        rune, width = _rune(name, at)
        if name[at] == _SLASH if item is None else not item.holds(rune):
            return None
        at += width
    return at


def _rune(text: bytes, at: int) -> tuple[int, int]:
    """Return the code point at ``at`` and its length; a byte that is not UTF-8 stands alone."""
    first = text[at]
    if first < 0x80:
        return first, 1
    width = 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2
    try:
        return ord(text[at : at + width].decode()), width
    except UnicodeDecodeError:
        return _NOT_A_RUNE, 1


@lru_cache(maxsize=256)
def _compile(pattern: bytes) -> tuple[_Chunk, ...]:
    chunks: list[_Chunk] = []
    at = 0
    while at < len(pattern):
        start = at
        while pattern[at : at + 1] == b"*":
            at += 1
        star = at > start
        try:
            items, at = _items(pattern, at)
        except BadPatternError as error:
            return (*chunks, _Chunk(star, fault=str(error)))
        chunks.append(_Chunk(star, items))
    return tuple(chunks)


def _items(pattern: bytes, at: int) -> tuple[tuple[bytes | _Class | None, ...], int]:
    items: list[bytes | _Class | None] = []
    literal = bytearray()
    while at < len(pattern) and pattern[at] != ord("*"):
        byte = pattern[at]
        at += 1
        if byte in (ord("?"), ord("[")):
            if literal:
                items.append(bytes(literal))
                literal.clear()
            item, at = (None, at) if byte == ord("?") else _class(pattern, at)
            items.append(item)
            continue
        if byte == ord("\\"):
            if at == len(pattern):
                raise BadPatternError("it ends in a backslash that escapes nothing")
            byte = pattern[at]
            at += 1
        literal.append(byte)
    if literal:
        items.append(bytes(literal))
    return tuple(items), at


def _class(pattern: bytes, at: int) -> tuple[_Class, int]:
    negated = pattern[at : at + 1] == b"^"
    at += negated
    ranges: list[tuple[int, int]] = []
    while not ranges or pattern[at] != ord("]"):
        low, at = _bound(pattern, at)
        high = low
        if pattern[at] == ord("-"):
            high, at = _bound(pattern, at + 1)
        ranges.append((low, high))
    return _Class(tuple(ranges), negated), at + 1


def _bound(pattern: bytes, at: int) -> tuple[int, int]:
    if pattern[at : at + 1] in (b"-", b"]"):
        raise BadPatternError("a - or ] in brackets needs a backslash before it")
    at += pattern[at : at + 1] == b"\\"
    if at >= len(pattern):
        raise BadPatternError("a [ is not closed")
    rune, width = _rune(pattern, at)
    if rune == _NOT_A_RUNE and width == 1:
        raise BadPatternError("what stands in brackets is not UTF-8")
    if at + width >= len(pattern):
        raise BadPatternError("a [ is not closed")
    return rune, at + width


def _check(pattern: bytes) -> None:
    """Refuse a path pattern as Go's ``filepath.Glob`` does, which also tries what precedes a slash.

    So ``[a/b]`` is malformed; what follows the first star is looked at only when names get there.
    """
    for segment in pattern.lstrip(b"*").split(b"/"):
        _, end = _items(segment, 0)
        if end < len(segment):
            return


def clean(path: bytes) -> bytes:
    """Return the path as Go's ``filepath.Clean`` spells it."""
    return posixpath.normpath(b"/" + path.lstrip(b"/") if path.startswith(b"/") else path)


def covered(path: bytes, by: set[bytes]) -> bool:
    """Return whether the path or a folder above it is in the set."""
    while path not in by:
        path = path[: max(path.rfind(b"/"), 0)]
        if not path:
            return False
    return True


class Finder:
    """Finds what patterns name below one folder.

    ``root`` is the folder as it was typed: the CLI glues it in front of every pattern, so its
    spelling counts. ``base`` is where a relative root starts. What lies outside the root, or behind
    a symlink in it, is not walked: the CLI may read it, but can never leave it out.
    """

    def __init__(self, root: bytes, base: bytes = b"") -> None:
        self._base = base
        self._root = clean(root)
        self._prefix = _below(self._root)
        self._listed: tuple[bytes, list[bytes]] = (b"", [])

    def find(self, pattern: bytes) -> set[bytes]:
        """Return the paths, relative to the root, that a pattern takes out of a fingerprint.

        A folder in the set stands for all it holds. Raises BadPatternError, and OSError for a
        folder that ``**`` should enter and can not.
        """
        found: set[bytes] = set()
        if b"\0" in pattern:
            return found
        for path in self._expand(clean(self._root + b"/" + pattern)):
            relative = self._relative(path)
            if relative and not covered(relative, found):
                found.add(relative)
        return found

    def _expand(self, pattern: bytes) -> Iterator[bytes]:
        first, *pieces = pattern.split(b"**")
        if not pieces:
            yield from self._glob(pattern)
            return
        paths = self._walks(iter([(b"", True)]), first)
        for piece in pieces[:-1]:
            paths = self._walks(paths, piece)
        for hit in self._hits(paths, pieces[-1]):
            if clean(hit) == hit:
                yield hit
            else:  # "d//logs" is no path of the tree, but "d/logs/x" below it is
                yield from (path for path, _ in self._walk(hit, deep=False))

    def _walks(
        self, paths: Iterator[tuple[bytes, bool]], piece: bytes
    ) -> Iterator[tuple[bytes, bool]]:
        """Yield what ``piece`` names behind each of the paths, and everything below that."""
        walked: set[bytes] = set()
        for hit in self._hits(paths, piece):
            yield hit, True
            top = clean(hit)
            if not covered(top, walked):
                yield from self._walk(hit, deep=True)
                walked.add(top)

    def _hits(self, paths: Iterator[tuple[bytes, bool]], piece: bytes) -> Iterator[bytes]:
        for path, is_folder in paths:
            if is_folder or not piece.startswith(b"/") or META.search(path):
                yield from self._glob(path + piece)

    def _walk(self, top: bytes, *, deep: bool) -> Iterator[tuple[bytes, bool]]:
        """Yield what lies below ``top``, each with whether it is a folder."""
        folders = [top] if self._enterable(top) else []
        while folders:
            folder = folders.pop()
            prefix = _below(clean(folder))
            with os.scandir(self._real(folder)) as entries:
                listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            for name, is_folder in listed:
                path = prefix + name
                if self._concerns(path):
                    yield path, is_folder
                    if deep and is_folder:
                        folders.append(path)

    def _glob(self, pattern: bytes) -> list[bytes]:
        """Return what Go's ``filepath.Glob`` returns: a literal as written, all else cleaned."""
        special = META.search(pattern)
        if not special:
            return [pattern] if pattern and os.path.lexists(self._real(pattern)) else []
        _check(pattern)
        cut = pattern.rfind(b"/", 0, special.start())
        found = [pattern[:cut] if cut > 0 else b"." if cut else b"/"]
        for part in pattern[cut + 1 :].split(b"/"):
            found = [path for folder in found for path in self._matches(folder, part)]
        return found

    def _matches(self, folder: bytes, part: bytes) -> Iterator[bytes]:
        names = self._names(folder)
        if names:
            match(part, b"")
        prefix = _below(clean(folder))
        literal = _literal_prefix(part)
        for at in range(bisect_left(names, literal), len(names)):
            if not names[at].startswith(literal):
                break
            if match(part, names[at]):
                yield prefix + names[at]

    def _names(self, folder: bytes) -> list[bytes]:
        if self._listed[0] != folder:
            names: list[bytes] = []
            if not self._is_link(folder):
                with suppress(OSError):
                    names = sorted(os.listdir(self._real(folder)))
            self._listed = (folder, names)
        return self._listed[1]

    def _enterable(self, top: bytes) -> bool:
        return (
            self._concerns(clean(top))
            and not self._is_link(top)
            and stat.S_ISDIR(os.lstat(self._real(top)).st_mode)
        )

    def _concerns(self, path: bytes) -> bool:
        """Return whether a clean path is below the root, the root, or above it."""
        return self._relative(path) is not None or self._prefix.startswith(_below(path))

    def _relative(self, path: bytes) -> bytes | None:
        """Return the part of a clean path that is below the root."""
        if not path.startswith(self._prefix):
            return None
        rest = path[len(self._prefix) :]
        return None if rest in (b".", b"..") or rest.startswith(b"../") else rest

    def _is_link(self, path: bytes) -> bool:
        """Return whether a path below the root is a symlink; the root itself may be one."""
        path = clean(path)
        return self._relative(path) is not None and os.path.islink(self._real(path))

    def _real(self, path: bytes) -> bytes:
        return os.path.join(self._base, path)


def _below(folder: bytes) -> bytes:
    """Return what stands before the names in a clean folder path."""
    return b"" if folder == b"." else folder if folder == b"/" else folder + b"/"


def _literal_prefix(part: bytes) -> bytes:
    special = META.search(part)
    return part[: special.start()] if special else part
