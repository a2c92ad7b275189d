"""The fingerprint of a folder, byte for byte as the Kosli CLI v2.43.1 computes it.

It is the SHA256 of one long text of hex digests: depth first, each folder's entries in byte order,
of every name and then of every file's content. Folders add their name alone; a symlink to a folder
adds its name and its target's spelling; a symlink to a file counts as the file.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_kosli.fingerprint import file
from pytest_kosli.fingerprint.file import printable
from pytest_kosli.fingerprint.globs import META, BadPatternError, Finder
from pytest_kosli.model import NoVerdict

IGNORE_FILE = ".kosli_ignore"
_LINE_LIMIT = 65_536
_SHOWN = 5
_GO_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "starts with a byte order mark, so its first line names nothing",
    codecs.BOM_UTF16_LE: "is UTF-16, so none of its lines names anything",
    codecs.BOM_UTF16_BE: "is UTF-16, so none of its lines names anything",
}


@dataclass(frozen=True, slots=True)
class Tree:
    """What was found: the hex SHA256, the number of files in it, what was left out, and hints.

    ``excluded`` are relative paths, folders with a slash at the end; ``stamp`` is what
    ``stamp_now`` returns for them as long as nothing changes.
    """

    sha256: str
    files: int
    excluded: tuple[bytes, ...]
    hints: tuple[str, ...]
    stamp: str


@dataclass(frozen=True, slots=True)
class _Ignore:
    """The folder's own list of what to leave out: the name it was found under, and its bytes."""

    name: bytes = b""
    content: bytes = b""

    def rules(self, path: bytes) -> list[bytes]:
        lines = self.content.split(b"\n")
        if any(len(line) >= _LINE_LIMIT for line in lines):
            raise NoVerdict(
                "bad_ignore_file",
                f"{printable(path)} has a line of {_LINE_LIMIT:,} bytes or more, "
                "which the Kosli CLI refuses",
                "Break the line up, or remove it.",
            )
        texts = (line.split(b"#", 1)[0].decode("utf-8", "surrogateescape") for line in lines)
        stripped = (text.strip(_GO_SPACE).encode("utf-8", "surrogateescape") for text in texts)
        return [rule for rule in stripped if rule]


class _Folder:
    """A folder that is being walked: its real path, its path below the root, and its entries."""

    def __init__(self, path: bytes, relative: bytes) -> None:
        self.path = path
        self.prefix = os.path.join(path, b"")
        self.relative = relative
        self.kinds: dict[bytes, int] = {}
        try:
            self.stamp = file.stamp(os.stat(path))
            with os.scandir(path) as entries:
                names = [self._note(entry) for entry in entries]
        except OSError as error:
            raise file.refusal(error, path) from None
        names.sort()
        self.names = iter(names)

    def _note(self, entry: os.DirEntry[bytes]) -> bytes:
        """Return the entry's name, and remember its kind unless it is a regular file."""
        name = entry.name
        if entry.is_file(follow_symlinks=False):
            return name
        if entry.is_dir(follow_symlinks=False):
            self.kinds[name] = stat.S_IFDIR
        else:
            self.kinds[name] = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
        return name


def digest(root: str, exclude: Sequence[str] = (), base: str = "") -> Tree:
    """Return the fingerprint of the folder ``root``, spelled as for the CLI, and facts about it.

    ``base`` is where a relative ``root`` starts. Raises NoVerdict for what can not be read, what
    the CLI refuses, what it hangs on, and where it would hash nothing at all.
    """
    spelled = os.fsencode(root)
    path = os.path.join(os.fsencode(base), spelled)
    before = _checked_root(path)
    rules_before = _rules_stamp(path)
    finder = Finder(spelled, os.fsencode(base))
    flags = [os.fsencode(pattern) for pattern in exclude]
    by_flag = {pattern: _find(finder, pattern, path, "exclude=") for pattern in flags}
    ignore = _ignore_file(path)
    rules = ignore.rules(os.path.join(path, ignore.name))
    by_rule = {rule: _find(finder, rule, path, IGNORE_FILE) for rule in rules}

    flagged, listed = set[bytes]().union(*by_flag.values()), set[bytes]().union(*by_rule.values())
    left_out = flagged | (listed - {ignore.name})
    walk = _Hash(path, left_out, ignore)
    if file.stamp_now(path) != before:  # since before the ignore file was looked for
        raise file.changed(path)
    excluded = list(map(printable, walk.excluded))
    if not walk.entries:
        raise _nothing(path, excluded)
    hints = [
        *_about_ignore_file(ignore, flagged, listed),
        *_about_patterns(spelled, {**by_flag, **by_rule}),
        *_about_excluded(excluded),
        *_about_root(path),
    ]
    stamp = _stamped(walk, rules_before)
    return Tree(walk.sha256, walk.files, tuple(walk.excluded), tuple(hints), stamp)


def stamp_now(root: str, excluded: Collection[bytes], base: str = "") -> str | None:
    """Return the stamp of all that counts in a folder, or None where it can not be hashed.

    It costs a look at each file, and reads none. While it stays the same, so does the fingerprint.
    """
    path = os.path.join(os.fsencode(base), os.fsencode(root))
    try:
        _checked_root(path)
        rules = _rules_stamp(path)
        return _stamped(_Walk(path, {one.rstrip(b"/") for one in excluded}), rules)
    except NoVerdict:
        return None


def _rules_stamp(path: bytes) -> bytes:
    """Return the stamp of the ignore file, which counts even where it is left out itself."""
    return file.stamp_now(os.path.join(path, os.fsencode(IGNORE_FILE))) or b""


def _stamped(walk: _Walk, rules: bytes) -> str:
    return f"{walk.seen} {rules.decode()}"


class _Walk:
    """One pass over a tree, which holds no more than the names of the folders it stands in.

    It reads no file. ``seen`` stands for names and stamps of all that counts, and for the names of
    what is left out: together they decide what the patterns leave out.
    """

    def __init__(self, root: bytes, left_out: set[bytes]) -> None:
        self.entries = 0
        self.excluded: list[bytes] = []
        self._left_out = left_out
        self._seen = hashlib.sha256()
        self._folders = [_Folder(root, b"")]
        while self._folders:
            self._step(self._folders[-1])
        self.seen = self._seen.hexdigest()

    def _step(self, folder: _Folder) -> None:
        kinds, left_out = folder.kinds, self._left_out
        for name in folder.names:
            relative = folder.relative + name
            kind = kinds.get(name, stat.S_IFREG)
            if relative in left_out:
                self.excluded.append(relative + b"/" * stat.S_ISDIR(kind))
                self._note(name, b"%d" % kind)
                continue
            self.entries += 1
            path = folder.prefix + name
            if kind == stat.S_IFREG:
                self._note(name, self._file(name, relative, path))
            elif kind == stat.S_IFDIR:
                self._folder(name)
                self._note(name, b"folder")
                self._folders.append(_Folder(path, relative + b"/"))
                return
            elif kind == stat.S_IFLNK:
                self._link(name, relative, path)
            else:
                raise file.wrong_kind(kind, path)
        if file.stamp_now(folder.path) != folder.stamp:
            raise file.changed(folder.path)
        self._note(b"", b"end")
        self._folders.pop()

    def _link(self, name: bytes, relative: bytes, path: bytes) -> None:
        try:
            to_folder = stat.S_ISDIR(os.stat(path).st_mode)
            target = os.readlink(path)
        except OSError as error:
            raise file.refusal(error, path) from None
        if to_folder:
            self._folder(name, target)
            self._note(name, b"link " + target)
        else:
            self._note(name, self._file(name, relative, path))

    def _note(self, name: bytes, what: bytes) -> None:
        self._seen.update(b"%b\0%b\0" % (name, what))

    def _file(self, name: bytes, relative: bytes, path: bytes) -> bytes:
        """Take in a file, and return its stamp."""
        return file.stamp_now(path) or b""

    def _folder(self, *names: bytes) -> None:
        """Take in the name of a folder, and where it leads when it is a link."""


class _Hash(_Walk):
    """The pass that makes the fingerprint."""

    def __init__(self, root: bytes, left_out: set[bytes], ignore: _Ignore) -> None:
        self.files = 0
        self._ignore = ignore
        self._text = hashlib.sha256()
        super().__init__(root, left_out)
        self.sha256 = self._text.hexdigest()

    def _folder(self, *names: bytes) -> None:
        for name in names:
            self._text.update(hashlib.sha256(name).hexdigest().encode())

    def _file(self, name: bytes, relative: bytes, path: bytes) -> bytes:
        try:
            found = file.digest(path)
        except NoVerdict as error:
            if error.code == "no_such_path":
                raise file.changed(path) from None
            raise
        if relative == self._ignore.name:
            self._check_ignore_file(found.sha256, path)
        self._text.update((hashlib.sha256(name).hexdigest() + found.sha256).encode())
        self.files += 1
        return found.stamp

    def _check_ignore_file(self, content: str, path: bytes) -> None:
        """Refuse an ignore file that was rewritten after its rules were read."""
        if content != hashlib.sha256(self._ignore.content).hexdigest():
            raise file.changed(path)


def _checked_root(path: bytes) -> bytes:
    try:
        status = os.stat(path)
        is_link = stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError as error:
        raise file.refusal(error, path) from None
    shown = printable(path)
    if not stat.S_ISDIR(status.st_mode):
        raise NoVerdict(
            "not_a_directory", f"{shown} is not a folder", f"Name a file as file:{shown}"
        )
    if is_link:
        raise NoVerdict(
            "symlinked_root",
            f"{shown} is a symlink, and the Kosli CLI does not follow it: it attests the hash of "
            "nothing for any such path",
            f"End the path with a slash (dir:{shown}/), here and in the attestation.",
        )
    return file.stamp(status)


def _ignore_file(root: bytes) -> _Ignore:
    """Return the ignore file as the listing spells it: its case may differ on some disks."""
    plain = os.fsencode(IGNORE_FILE)
    try:
        os.lstat(os.path.join(root, plain))
        with os.scandir(root) as entries:
            names = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return _Ignore()
    except OSError as error:
        raise file.refusal(error, root) from None
    same = sorted(name for name in names if os.fsdecode(name).casefold() == IGNORE_FILE)
    if not same:
        return _Ignore()
    name = plain if plain in same else same[0]
    return _Ignore(name, _content(os.path.join(root, name)))


def _content(path: bytes) -> bytes:
    """Return an ignore file's bytes; as for the CLI, none behind a link to a folder or nothing."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return Path(os.fsdecode(path)).read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise file.refusal(error, path) from None
    if stat.S_ISDIR(mode):
        return b""
    raise file.wrong_kind(mode, path)


def _find(finder: Finder, pattern: bytes, root: bytes, source: str) -> set[bytes]:
    shown = printable(pattern)
    if not pattern:
        raise NoVerdict(
            "bad_glob", f"a pattern of {source} is empty", "Remove it, or name what to leave out."
        )
    try:
        return finder.find(pattern)
    except BadPatternError as error:
        raise NoVerdict(
            "bad_glob",
            f"the pattern {shown} of {source} can not be used for {printable(root)}: {error}",
            "Patterns follow Go's filepath.Match: * ? [a-z] [^a-z], and \\ before a character "
            "that is meant as it stands. Names of files that ** meets are read as patterns too.",
        ) from None
    except OSError as error:
        raise file.refusal(error, error.filename or root) from None


def _nothing(path: bytes, excluded: list[str]) -> NoVerdict:
    shown = printable(path)
    if excluded:
        return NoVerdict(
            "everything_excluded",
            f"everything in {shown} is excluded, so its fingerprint would be the hash of nothing",
            f"Narrow the patterns; they leave out {_some(excluded)}.",
        )
    return NoVerdict(
        "empty_directory",
        f"{shown} is empty, so its fingerprint would be the hash of nothing",
        "Check that the build wrote into it.",
    )


def _about_ignore_file(ignore: _Ignore, flagged: set[bytes], listed: set[bytes]) -> Iterator[str]:
    if ignore.name in flagged:
        yield (
            f"{IGNORE_FILE} is left out by exclude=, but its rules still apply: the folder itself "
            "says what is not looked at"
        )
    elif ignore.name in listed:
        yield (
            f"{IGNORE_FILE} lists itself: since Kosli CLI 2.43.1 it stays in the fingerprint all "
            "the same, older versions left it out and attested another one for this folder"
        )
    for mark, consequence in _BYTE_ORDER_MARKS.items():
        if ignore.content.startswith(mark):
            yield f"{IGNORE_FILE} {consequence}; save it as UTF-8 without a mark"


def _about_patterns(root: bytes, found: dict[bytes, set[bytes]]) -> Iterator[str]:
    idle = [printable(pattern) for pattern, paths in found.items() if not paths]
    if idle:
        yield f"these patterns leave nothing out: {_some(idle)}"
        if META.search(root):
            yield (
                f"the path {printable(root)} holds one of * ? [ \\, which the Kosli CLI reads as "
                "part of every pattern"
            )


def _about_excluded(excluded: Sequence[str]) -> Iterator[str]:
    if excluded:
        yield (
            f"{len(excluded):,} left out by patterns ({_some(excluded)}): "
            "the attestation must have left out the same"
        )


def _about_root(path: bytes) -> Iterator[str]:
    bare = path.rstrip(b"/")
    if bare != path and os.path.islink(bare):
        yield (
            f"{printable(bare)} is a symlink: the Kosli CLI attests the hash of nothing for it "
            "unless its path ends with a slash"
        )


def _some(items: Iterable[str]) -> str:
    """Return the first few of them as one phrase."""
    shown = list(items)
    rest = len(shown) - _SHOWN
    return ", ".join(shown[:_SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")
