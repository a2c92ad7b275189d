"""What ``assert_source`` makes of fetched text: whose index it is, what must hold, and why not.

The text is a branch as CodeAlive has indexed it, not a commit, and every message says so. Pure.
"""

from __future__ import annotations

import enum
import hashlib
import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn
from urllib.parse import urlsplit

from pytest_kosli.model import DOCS, KosliError, NoVerdict
from pytest_kosli.text import clean, count

AROUND = 2
"""Lines shown before and after a line that matches."""

MATCHES = 3
EXCERPT = 40
FILES = 20
COLUMNS = 90
HEADLINE = 60
WIDTH = 76

Pattern = str | re.Pattern[str]
_KEY = re.compile(r"ca_\d{10,16}_[A-Za-z0-9_-]{43}")
_UNKNOWN_BRANCHES = ("", "HEAD", "**REDACTED**")


class Unasked(enum.Enum):
    """What stands for an argument that was not given: an empty one would be a weaker check."""

    UNASKED = "not asked"


UNASKED = Unasked.UNASKED


class Pin(enum.Enum):
    """What ties the text that was read to what an artifact was built from.

    That nothing does would be true as well, so it has no truth value.
    """

    COMMIT = "commit"
    BRANCH = "branch"
    NONE = "none"

    def __bool__(self) -> NoReturn:
        raise TypeError("a Pin has no truth value: write `source.pin is Pin.COMMIT`")


@dataclass(frozen=True, slots=True)
class DataSource:
    """One index of CodeAlive's: a branch of a repository, or a workspace, which has neither."""

    name: str
    id: str = ""
    type: str = ""
    url: str = ""
    branch: str = ""
    repository_ids: tuple[str, ...] = ()
    state: str = ""

    @property
    def label(self) -> str:
        """Return the name and the branch: ``payments (main)``."""
        return f"{self.name} ({self.branch or 'branch unknown'})"


@dataclass(frozen=True, slots=True)
class Source:
    """A file or symbol as CodeAlive has it; one that is not ``found`` has no ``content``.

    ``start_line`` counts from 1; ``byte_size`` is what CodeAlive calls its size, and only a hint.
    ``branch`` and ``commit`` are what was indexed, where that is known; ``pin`` is how it compares
    with an artifact's. It has no truth value.
    """

    identifier: str
    found: bool
    content: str | None = None
    start_line: int = 1
    byte_size: int | None = None
    data_source: str = ""
    data_source_id: str = ""
    branch: str = ""
    commit: str = ""
    pin: Pin = Pin.NONE
    replayed: bool = False
    received_at: datetime | None = None

    def __bool__(self) -> NoReturn:
        raise TypeError("a Source has no truth value: look at source.found, or use assert_source")

    @property
    def repo(self) -> str:
        """Return the part before the path: ``acme/payments``."""
        return self.identifier.split("::", 2)[0]

    @property
    def path(self) -> str:
        """Return the file's path in its repository."""
        return "".join(self.identifier.split("::", 2)[1:2])

    @property
    def symbol(self) -> str:
        """Return the symbol inside of the file; empty for the whole file."""
        return "".join(self.identifier.split("::", 2)[2:])

    @property
    def place(self) -> str:
        """Return path and symbol, as people name them."""
        return f"{self.path}::{self.symbol}" if self.symbol else self.path

    @property
    def sha256(self) -> str:
        """Return the SHA256 of the content in UTF-8, 64 digits; empty without content."""
        return "" if self.content is None else hashlib.sha256(self.content.encode()).hexdigest()

    @property
    def text(self) -> str | None:
        """Return the content with plain line ends, or None where there is nothing to judge.

        No content is one thing with an empty file only where CodeAlive says that it has 0 bytes.
        """
        if not self.content:
            return "" if self.content == "" and self.byte_size == 0 else None
        return _plain(self.content.removeprefix("\ufeff"))

    @property
    def is_cut(self) -> bool:
        """Return whether something is missing that other line ends do not explain to the byte.

        Those are a carriage return in every line, the end of the last one, and a byte order mark.
        """
        if self.content is None or self.byte_size is None:
            return False
        last = 0 if self.content.endswith("\n") else 1
        returns = self.content.count("\n") - self.content.count("\r\n")
        ends = {0, last, returns, returns + 2 * last}
        marked = self.content.startswith("\ufeff") or self.start_line > 1
        missing = self.byte_size - len(self.content.encode())
        return missing > 0 and not {missing, missing if marked else missing - 3} & ends


@dataclass(frozen=True, slots=True)
class Built:
    """The repository that a check is about and, for an artifact, what that was built from.

    An empty text is an unknown; ``image`` says that the artifact is known to be no single file.
    """

    repo: str
    url: str = ""
    branch: str = ""
    commit: str = ""
    commit_url: str = ""
    artifact: str = ""
    fingerprint: str = ""
    image: bool = False

    @property
    def known_branch(self) -> str:
        """Return the branch; empty where a build of no branch, or of a hidden one, was reported."""
        branch = self.branch.removeprefix("refs/heads/")
        return "" if branch in _UNKNOWN_BRANCHES else branch

    def identifier(self, path: str) -> str:
        """Return CodeAlive's identifier of a path, a path and symbol, or of an identifier."""
        return path if path.startswith(f"{self.repo}::") else f"{self.repo}::{path}"


@dataclass(frozen=True, slots=True)
class Text:
    """A text or pattern that is looked for, and how messages show it."""

    pattern: re.Pattern[str]
    shown: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must hold of every file of a call; with none of it, the files must be there."""

    contains: tuple[Text, ...] = ()
    lacks: tuple[Text, ...] = ()
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Where to look. ``send`` names the data source to CodeAlive, where one must be named.

    ``accepted`` says that the caller named it, and so takes whatever branch it is of.
    """

    data_source: DataSource | None = None
    send: str = ""
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that does not hold: a sentence, and the lines that show it."""

    told: str
    excerpt: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A source and all that does not hold of it."""

    source: Source
    failures: tuple[Failure, ...] = ()


class SourceMismatch(AssertionError, KosliError):
    """The source is not what was asserted of it, or not the source of the artifact."""

    __module__ = "pytest_kosli"

    def __init__(self, message: str, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(message)
        self.findings = findings


# What is wanted.


def wanted(
    built: Built,
    paths: Sequence[str],
    contains: Pattern | Iterable[Pattern] | Unasked,
    lacks: Pattern | Iterable[Pattern] | Unasked,
    sha256: str | Unasked,
) -> Wanted:
    """Return what a call wants; raises NoVerdict ``bad_source_check`` for what proves nothing."""
    if not paths:
        raise _bad_check("no path was named, and nothing is no evidence", "Name the files.")
    for path in paths:
        if not isinstance(path, str) or not path.strip(":/ ") or not path.isprintable():
            raise _bad_check(f"{path!a} is no path in a repository", "Name files, e.g. src/app.py.")
    digits = "" if sha256 is UNASKED else _digest(built, paths, sha256)
    return Wanted(_texts("contains", contains), _texts("lacks", lacks), digits)


def _texts(name: str, given: Pattern | Iterable[Pattern] | Unasked) -> tuple[Text, ...]:
    if given is UNASKED:
        return ()
    texts = [given] if isinstance(given, str | re.Pattern | None) else list(given)
    if not texts:
        raise _bad_check(f"{name}= is empty, which would be a weaker check", "Fill it or drop it.")
    return tuple(_text(name, text) for text in texts)


def _text(name: str, given: Pattern) -> Text:
    if isinstance(given, str):
        text = Text(re.compile(re.escape(_plain(given))), repr(given))
    elif isinstance(given, re.Pattern) and isinstance(given.pattern, str):
        text = Text(given, f"the pattern {given.pattern!r}")
    else:
        raise _bad_check(f"{name}={given!a} is neither a text nor a pattern of text", "Use a str.")
    if text.pattern.search(""):
        raise _bad_check(
            f"{name}={text.shown} is found in every text, an empty one too", "Name what it must be."
        )
    return text


def _digest(built: Built, paths: Sequence[str], sha256: str) -> str:
    digits = str(sha256).removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise _bad_check(f"sha256={sha256!a} is none", "Give 64 lower-case hexadecimal digits.")
    if len(paths) > 1:
        raise _bad_check("sha256 goes with one path", "Call assert_source once for each file.")
    if Source(built.identifier(paths[0]), found=False).symbol:
        raise _bad_check(f"{paths[0]} is a part of a file", "sha256 is about whole files only.")
    if built.image and digits == built.fingerprint:
        raise _bad_check(
            f"{built.artifact} is no single file, so its fingerprint is the sha256 of none",
            "Only an artifact of type file has a fingerprint that a file can be compared with.",
        )
    return digits


def _bad_check(why: str, todo: str) -> NoVerdict:
    return NoVerdict("bad_source_check", f"assert_source: {clean(why)}", todo)


# Where to look.


def choose(
    built: Built, known: Sequence[DataSource], named: str = "", configured: str = ""
) -> Choice:
    """Return the data source that tells of a repository, or of what an artifact was built from.

    One that the caller ``named`` is taken; else the one of the artifact's repository and branch;
    else the one that the settings have ``configured`` for the repository; else the only one that
    may be it. Raises NoVerdict ``ambiguous_data_source`` when there are several, SourceMismatch
    when there are only indexes of another branch, or of a namesake on another host.
    """
    if named:
        return Choice(find(known, named), named, accepted=True)
    branch = built.known_branch
    same = [one for one in known if _is_index_of(one, built)]
    exact = [one for one in same if branch and one.branch == branch]
    if len(exact) == 1:
        return Choice(exact[0], _sent(exact[0], known) if len(same) > 1 else "")
    if configured:
        return Choice(find(known, configured), configured)
    left = exact or [one for one in same if not (branch and one.branch)]
    if len(left) > 1:
        raise ambiguous(built.repo, left)
    if left:
        return Choice(left[0], _sent(left[0], known) if len(same) > 1 else "")
    if same:
        raise _mismatch(built, f"on {_branches(same)}", f"from {branch}", same[0])
    namesakes = [one for one in known if _place(one.url)[1] == _place(built.repo)[1]]
    if built.url and namesakes:
        hosts = ", ".join(dict.fromkeys(_place(one.url)[0] for one in namesakes))
        raise _mismatch(built, f"of {hosts}", f"from {_place(built.url)[0]}", namesakes[0])
    return Choice()


def find(known: Sequence[DataSource], named: str) -> DataSource:
    """Return the one data source of that id or name; one of which no more is known, if none is."""
    found = [one for one in known if one.id == named] or [one for one in known if one.name == named]
    return found[0] if len(found) == 1 else DataSource(named)


def is_from(source: Source, chosen: DataSource) -> bool:
    """Return whether nothing that CodeAlive said of a source names another index than the chosen.

    One that was named without being known has its name or its id in the place of the name.
    """
    told = (source.data_source, source.data_source_id)
    if chosen.id:
        return told[0] in ("", chosen.name, chosen.id) and told[1] in ("", chosen.id)
    return not any(told) or chosen.name in told


def other_index(about: str, answered: str, asked: str) -> NoVerdict:
    """Return the NoVerdict for an answer from another data source than the one that was chosen."""
    return NoVerdict(
        "mismatch",
        f"{about}: CodeAlive answered from data source {clean(answered)}, not {clean(asked)}",
        "Check the host; an answer about something else is no answer.",
        status=200,
    )


def ambiguous(repo: str, candidates: Sequence[DataSource]) -> NoVerdict:
    """Return the NoVerdict that lists data sources of which one must be named."""
    listed = ", ".join(one.label if one.branch else one.name for one in candidates)
    first = candidates[-1].name
    return NoVerdict(
        "ambiguous_data_source",
        f"{clean(repo)} is indexed in {count(len(candidates), 'data source')}: {clean(listed)}",
        f'Add data_source="{clean(first)}", say, or a line under codealive_data_sources.',
    )


def pin(built: Built, choice: Choice, source: Source) -> Pin:
    """Return what ties a source to an artifact; raises SourceMismatch for another branch."""
    length = min(len(source.commit), len(built.commit))
    if length >= 7 and source.commit[:length] == built.commit[:length]:
        return Pin.COMMIT
    branch = built.known_branch
    if not branch or not source.branch:
        return Pin.NONE
    if branch == source.branch:
        return Pin.BRANCH
    if choice.accepted:
        return Pin.NONE
    index = choice.data_source or DataSource(source.data_source or built.repo)
    raise _mismatch(built, f"on {source.branch}", f"from {branch}", index)


def _mismatch(built: Built, indexed: str, origin: str, index: DataSource) -> SourceMismatch:
    lines = [_cut(f"{built.repo}: CodeAlive's index is not of what was built")]
    told = (
        f"CodeAlive indexes {built.repo} {indexed}, but {built.artifact} was built {origin}: its "
        "source can not be judged from that index."
    )
    cure = f'Index what it was built from, or accept this one with data_source="{index.name}".'
    for text in (told, cure):
        lines += textwrap.wrap(clean(text, 600), WIDTH, break_on_hyphens=False)
    return SourceMismatch("\n".join([*lines, f"{DOCS}#source-mismatch"]))


def _is_index_of(one: DataSource, built: Built) -> bool:
    if not one.url:
        return False
    if built.url:
        return _place(one.url) == _place(built.url)
    return _place(one.url)[1] == _place(built.repo)[1]


def _place(address: str) -> tuple[str, str]:
    """Return host and path of a repository, whichever way its address is spelt."""
    text = re.sub(r"^[\w.-]+@([^:/]+):", r"ssh://\1/", address.strip().lower())
    try:
        parts = urlsplit(text)
        return parts.hostname or "", parts.path.strip("/").removesuffix(".git")
    except ValueError:
        return "", text


def _sent(one: DataSource, known: Sequence[DataSource]) -> str:
    """Return the name that CodeAlive knows a data source by: the id where names are not unique."""
    return one.name if sum(other.name == one.name for other in known) == 1 else one.id or one.name


def _branches(known: Sequence[DataSource]) -> str:
    return ", ".join(dict.fromkeys(f"branch {one.branch}" for one in known))


# What holds.


def judge(source: Source, want: Wanted, built: Built, *, strict: bool = False) -> Finding:
    """Return all that does not hold of a source; ``strict`` demands a pin."""
    return Finding(source, tuple(_failures(source, want, built, strict)))


def _failures(source: Source, want: Wanted, built: Built, strict: bool) -> Iterator[Failure]:
    if not source.found:
        yield Failure(
            "was not found, or this CODEALIVE_API_KEY may not read it. This does not prove that "
            "the file is absent, so neither contains nor lacks can hold. Asked for "
            f"{source.identifier}: check spelling and case, and that the path is indexed"
        )
        return
    if strict and source.pin is Pin.NONE:
        yield Failure(
            "nothing ties what is indexed to what was built (pin none), and codealive_strict_pin "
            "demands that"
        )
    text = source.text
    if text is None:
        if want != Wanted():
            yield Failure("was found, but CodeAlive sent no text of it to judge")
        return
    for one in want.contains:
        if not one.pattern.search(text):
            yield Failure(f"must contain {one.shown}")
    for one in want.lacks:
        excerpt, lines = _excerpt(text, one.pattern, source.start_line)
        if lines:
            yield Failure(f"must not contain {one.shown}", excerpt, lines)
    if want.lacks and source.is_cut:
        yield Failure(
            f"CodeAlive calls it {source.byte_size} bytes and sent {_size(source)}: what was not "
            "sent may hold what must not be there"
        )
    if want.sha256 and want.sha256 != source.sha256:
        yield Failure(_other_digest(source, want.sha256, built))


def _other_digest(source: Source, expected: str, built: Built) -> str:
    told = f"has the sha256 {source.sha256[:12]}…, not {expected[:12]}…"
    if source.byte_size is not None and source.byte_size != _size(source):
        told += (
            f"; CodeAlive calls it {source.byte_size} bytes and sent {_size(source)}, so it may "
            "have been encoded anew (byte order mark, line ends), and this proves no tampering"
        )
    if expected == built.fingerprint:
        told += (
            "; that is the artifact's fingerprint, which is the sha256 of a file only where the "
            "artifact is a file, not an image or a directory"
        )
    return told


def _size(source: Source) -> int:
    return len((source.content or "").encode())


def _excerpt(
    text: str, pattern: re.Pattern[str], start_line: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the lines around the first matches as people read them, and the matches' numbers."""
    found = list(itertools.islice(pattern.finditer(text), MATCHES))
    rows = text.split("\n")
    column = {text.count("\n", 0, match.start()): _column(text, match.start()) for match in found}
    shown = sorted(
        {
            row
            for hit in column
            for row in range(max(0, hit - AROUND), min(len(rows), hit + AROUND + 1))
        }
    )
    width = len(str(start_line + shown[-1])) if shown else 0
    told: list[str] = []
    for before, row in zip([None, *shown], shown, strict=False):
        if before is not None and row > before + 1:
            told.append("  ...")
        mark = ">" if row in column else " "
        line = _window(rows[row], column.get(row, 0))
        told.append(f"{mark} {start_line + row:>{width}} | {line}".rstrip())
    return tuple(told), tuple(start_line + row for row in column)


def _column(text: str, position: int) -> int:
    return position - (text.rfind("\n", 0, position) + 1)


def _window(line: str, column: int) -> str:
    """Return a line as one may print it: short, around a column, without secrets or controls."""
    start = max(0, column - COLUMNS // 2) if len(line) > COLUMNS else 0
    masked = _KEY.sub("ca_(hidden)", line)
    kept = masked if start == 0 or masked != line else "…" + line[start:]
    return clean(kept.expandtabs(4), COLUMNS)


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


# What is told.


def explain(findings: Sequence[Finding], built: Built, choice: Choice) -> list[str]:
    """Return the text about all files of a call: what does not hold, what does, and whose it is."""
    failing = [finding for finding in findings if finding.failures]
    holding = [finding.source for finding in findings if not finding.failures]
    many = count(len(findings), "file")
    verb = "does" if len(failing) == 1 else "do"
    lines = [_cut(f"assert_source: {len(failing)} of {many} of {built.repo} {verb} not hold")]
    room = EXCERPT
    for finding in failing[:FILES]:
        lines.append(f"  {clean(finding.source.place, WIDTH)}")
        for failure in finding.failures:
            lines += _wrapped(failure.told, "    ")
            lines += [f"    {line}" for line in failure.excerpt[:room]]
            room -= min(room, len(failure.excerpt))
    if len(failing) > FILES:
        lines.append(f"  and {count(len(failing) - FILES, 'more file', 'more files')}")
    if holding:
        lines += _wrapped(f"holds: {', '.join(source.place for source in holding)}", "  ")
    return [*lines, *_rows(findings[0].source, built, choice), f"docs      {DOCS}#source-mismatch"]


def _rows(source: Source, built: Built, choice: Choice) -> Iterator[str]:
    if built.artifact:
        commit = f", commit {built.commit[:7]}" if built.commit else ""
        branch = f" ({built.known_branch})" if built.known_branch else ""
        yield from _wrapped(f"{built.artifact}{commit}{branch}", "artifact  ")
    yield from _wrapped(_described(source, choice), "source    ")
    yield f"pin       {source.pin.value}"
    if built.commit_url:
        yield f"commit    {clean(built.commit_url)}"


def _described(source: Source, choice: Choice) -> str:
    """Return where a text comes from, and that it is a branch as indexed."""
    name = source.data_source or (choice.data_source.name if choice.data_source else "")
    index = f'data source "{name}"' if name else "data source unknown"
    branch = f"branch {source.branch}" if source.branch else "branch unknown"
    when = f"at {source.commit[:12]}" if source.commit else "(it does not say at which commit)"
    return f"CodeAlive {index}, {branch}, as indexed {when}"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        clean(_KEY.sub("ca_(hidden)", text), 600),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _cut(line: str) -> str:
    return clean(line, HEADLINE)
