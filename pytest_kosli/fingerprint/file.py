"""The SHA256 of a regular file, and the sentences for all else that a path may turn out to be."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from pytest_kosli.model import NoVerdict

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # opening a pipe must not wait for its other end
    | getattr(os, "O_BINARY", 0)
)
_IN_ONE_READ = 1 << 20
_TICK = 0.02
"""Seconds: the clock for files stands still no longer, and writes within a tick look alike."""
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_BUILT_LATER = (
    "Check the spelling and the folder you run in. If a test of this run builds it, "
    "ask with assert_compliant(...) once it is there."
)


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file that was read: its lower-case hex SHA256, its bytes, and its stamp from before."""

    sha256: str
    size: int
    stamp: bytes


def digest(path: bytes) -> Hashed:
    """Return the SHA256 of a regular file.

    Symlinks are followed. Raises NoVerdict for anything that is not a readable regular file, and
    for one that changes, or is replaced, while it is read.
    """
    try:
        fd = os.open(path, _FLAGS)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise wrong_kind(before.st_mode, path)
            _let_tick(before)
            hexdigest = _hash(fd, before.st_size)
        finally:
            os.close(fd)
    except OSError as error:
        raise refusal(error, path) from None
    seen = stamp(before)
    if seen != stamp_now(path):
        raise changed(path)
    return Hashed(hexdigest, before.st_size, seen)


def _let_tick(
    status: os.stat_result,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until whatever is written next gets another time than what was written last."""
    now = clock()
    if abs(now - status.st_mtime) < _TICK or abs(now - status.st_ctime) < _TICK:
        sleep(_TICK)


def _hash(fd: int, size: int) -> str:
    if size <= _IN_ONE_READ:
        data = os.read(fd, size + 1)
        if len(data) == size:
            return hashlib.sha256(data).hexdigest()
        os.lseek(fd, 0, os.SEEK_SET)
    with io.FileIO(fd, closefd=False) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stamp(status: os.stat_result) -> bytes:
    """Return what changes when a file or folder is written or replaced."""
    return b"%d %d %d %d %d" % (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def stamp_now(path: bytes) -> bytes | None:
    """Return the stamp of what a path leads to now, or None when that is gone."""
    try:
        return stamp(os.stat(path))
    except OSError:
        return None


def changed(path: bytes) -> NoVerdict:
    """Return the error for a file or folder that changed while it was read."""
    return _changed(f"{printable(path)} changed while its fingerprint was taken")


def changed_since(path: bytes) -> NoVerdict:
    """Return the error for a file or folder that changed after it was read."""
    return _changed(f"{printable(path)} has changed since its fingerprint was taken")


def _changed(message: str) -> NoVerdict:
    return NoVerdict(
        "file_changed", message, "Ask after everything that writes to it has finished."
    )


def wrong_kind(mode: int, path: bytes) -> NoVerdict:
    """Return the error for a folder, pipe, socket or device where a file belongs."""
    shown = printable(path)
    if stat.S_ISDIR(mode):
        return NoVerdict(
            "not_a_file", f"{shown} is a folder, not a file", f"Name it as dir:{shown}"
        )
    kind = _KINDS.get(stat.S_IFMT(mode), "a special file")
    return NoVerdict(
        "special_file",
        f"{shown} is {kind}: only regular files have a fingerprint",
        "Name a regular file, or leave this one out with exclude=.",
    )


def refusal(error: OSError, path: bytes) -> NoVerdict:
    """Return the error for a path that the operating system does not let us read."""
    shown = printable(path)
    if error.errno == errno.ELOOP:
        return NoVerdict(
            "broken_symlink", f"{shown} is a symlink that leads in a circle", "Repair the link."
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.path.islink(path):
            target = printable(os.readlink(path))
            return NoVerdict(
                "broken_symlink",
                f"{shown} is a symlink to {target}, which does not exist",
                "Repair or remove the link, or leave it out with exclude=.",
            )
        return NoVerdict("no_such_path", f"{shown} does not exist", _BUILT_LATER)
    if error.errno == errno.ENXIO:
        return wrong_kind(stat.S_IFSOCK, path)
    return NoVerdict(
        "unreadable",
        f"{shown} can not be read: {error.strerror or error}",
        f"Let the user who runs the tests ({_user()}) read it.",
    )


def printable(path: bytes | str) -> str:
    """Return a path as text that any terminal and report can show; odd bytes come out escaped."""
    text = path if isinstance(path, str) else os.fsdecode(path)
    raw = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in raw
    )
    return shown if shown == shown.strip() else f"'{shown}'"


def _user() -> str:
    return f"uid {os.geteuid()}" if hasattr(os, "geteuid") else "this account"
