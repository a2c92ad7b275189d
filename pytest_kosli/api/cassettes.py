"""Replies in VCR cassettes, one file for each request: the only room that knows vcr.

vcrpy writes them, and could play them. To play one here is to read it with distrust and to compare
the whole request; nothing is patched, and no HTTP library is loaded.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets as random
import stat
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, quote_plus, urlsplit

import msgspec
import yaml

from pytest_kosli.api.host import BASE_PATH, address, check_host
from pytest_kosli.api.traffic import Clock
from pytest_kosli.model import NoVerdict, Reply, Request
from pytest_kosli.shape import convert
from pytest_kosli.text import clean

PLACEHOLDER = "<KOSLI_API_TOKEN>"
RECORDED = "Kosli-Recorded-At"
ATTEMPTS = "Kosli-Attempts"

_KEPT_HEADERS = ("Content-Type", "Date")

_LARGEST = 128 * 1024 * 1024
_DEEPEST = 16
_SHORTEST_SECRET = 4
AGAIN = "Record it again, with a token and a network: pytest --kosli-record"
_Text = TypeVar("_Text", str, bytes)

_Parser: Any
_Dumper: Any
try:
    _Parser, _Dumper = yaml.cyaml.CParser, yaml.CSafeDumper  # type: ignore[attr-defined]
except AttributeError:  # PyYAML without libyaml
    _Parser, _Dumper = yaml.SafeLoader, yaml.SafeDumper


class Cassettes:
    """The cassettes below ``folder``, of requests whose segments stand behind ``base_path``."""

    def __init__(self, folder: Path, base_path: str = BASE_PATH) -> None:
        self.folder = folder
        self._base_path = base_path

    def play(self, request: Request, host: str | None) -> Reply:
        """Return the recorded reply to exactly ``request`` at ``host`` (None: any one host).

        Raises NoVerdict ``cassette_missing``, ``cassette_damaged``, or ``cassette_mismatch`` when
        the file holds the reply to another question.
        """
        path = self._path(request)
        try:
            stored = _load(path)
            there = host or _host_in(stored.request.uri, self._base_path)
            url = address(there, self._base_path, request)
            _compare(path, (request.method, url, request.body), stored.request)
            return _reply(stored.response)
        except _DamageError as damage:
            raise _damaged(path, damage) from None

    def record(self, request: Request, reply: Reply, host: str, secrets: Iterable[str]) -> None:
        """Write the reply to ``request`` at ``host``, in place of an older one, or not at all.

        No form of a secret reaches the file: a placeholder stands for it. Raises NoVerdict
        ``cassette_unwritable``.
        """
        from http.client import responses

        # Not before something is recorded: vcrpy loads every HTTP library that there is.
        from vcr.request import Request as Asked
        from vcr.serialize import serialize

        path = self._path(request)
        hide = _Hider(secrets)
        url = hide(address(host, self._base_path, request))
        when = (reply.received_at or Clock.utc()).isoformat(timespec="seconds")
        kept = {name: value for name, value in reply.headers if name in _KEPT_HEADERS}
        kept |= {"Content-Type": reply.content_type, RECORDED: when}
        if reply.attempts > 1:
            kept[ATTEMPTS] = str(reply.attempts)
        response = {
            "status": {"code": reply.status, "message": responses.get(reply.status, "")},
            "headers": {name: [hide(value)] for name, value in kept.items()},
            "body": {"string": hide(reply.body)},
        }
        asked = Asked(request.method, url, hide(request.body) or None, headers={})
        text = serialize({"requests": [asked], "responses": [response]}, _Yaml)
        try:
            self._keep_inside(path)
            _write(path, text)
        except OSError as error:
            raise NoVerdict(
                "cassette_unwritable",
                f"the cassette {path} can not be written: {error.strerror}",
                "Make the folder writable, or name another one with --kosli-cassettes.",
            ) from None

    def host(self) -> str:
        """Return the host that the cassettes of the folder name.

        The first that is found says it for all: playing one of another host is then a
        ``cassette_mismatch``. Raises NoVerdict ``cassette_missing`` when there are none. VCR
        cassettes of other recorders are left alone.
        """
        for host in self._hosts():
            return host
        raise NoVerdict(
            "cassette_missing", f"there are no cassettes of Kosli's in {self.folder}", AGAIN
        )

    def recordings(self, org: str) -> Iterator[tuple[str, Reply]]:
        """Yield the host and the reply of every cassette of an organisation.

        Raises NoVerdict ``cassette_damaged`` at the first that can not be used.
        """
        for path in sorted((self.folder / org).rglob("*.yaml")):
            try:
                stored = _load(path)
                yield _host_in(stored.request.uri, self._base_path), _reply(stored.response)
            except _DamageError as damage:
                raise _damaged(path, damage) from None

    def _hosts(self) -> Iterator[str]:
        for path in sorted(self.folder.rglob("*.yaml")):
            with contextlib.suppress(_DamageError, NoVerdict):
                text = _read(path)
                if RECORDED in text and (found := _URI.search(text)):
                    yield _host_in(found["uri"], self._base_path)

    def _path(self, request: Request) -> Path:
        parts = request.cassette.split("/")
        if any(part in ("", ".", "..") or _UNFIT.search(part) for part in parts):
            raise NoVerdict("bad_name", f"{request.cassette!a} can not be the path of a cassette")
        return self.folder.joinpath(*parts[:-1], parts[-1] + ".yaml")

    def _keep_inside(self, path: Path) -> None:
        """Refuse to write through a symbolic link that leads out of the folder."""
        if not path.parent.resolve().is_relative_to(self.folder.resolve()):
            raise OSError(0, "its path leads out of the folder")
        path.parent.mkdir(parents=True, exist_ok=True)


_URI = re.compile(r"^ +uri: (?P<uri>https?://\S+)$", re.MULTILINE)
_RESOLVER: Any = yaml.resolver.Resolver()
_TEXT = "tag:yaml.org,2002:str"
_SCALARS: dict[str, Callable[[str], object]] = {
    _TEXT: str,
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:null": lambda text: None,
    "tag:yaml.org,2002:binary": base64.b64decode,
}
_UNFIT = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')


class _DamageError(Exception):
    """What is wrong with a cassette, in words."""


def _damaged(path: Path, damage: _DamageError) -> NoVerdict:
    return NoVerdict("cassette_damaged", f"the cassette {path} can not be used: {damage}", AGAIN)


class _Hider:
    """Puts the placeholder where a secret stands: as it is, URL-encoded, in JSON or in base64."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret.strip())}
        # The longest first, so that no form is left half.
        either = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        self._text = re.compile(either or r"(?!)")
        self._bytes = re.compile(self._text.pattern.encode())

    def __call__(self, text: _Text) -> _Text:
        if isinstance(text, str):
            return self._text.sub(PLACEHOLDER, text)
        return self._bytes.sub(PLACEHOLDER.encode(), text)


def _forms(secret: str) -> Iterator[str]:
    if len(secret) < _SHORTEST_SECRET:  # A word that short would be replaced all over the reply.
        return
    yield secret
    quoted = json.dumps(secret)[1:-1]
    yield quoted
    yield quoted.replace("/", "\\/")
    for encoded in (quote(secret, safe=""), quote_plus(secret)):
        yield encoded
        yield re.sub("%..", lambda found: found[0].lower(), encoded)
    for before in range(3):  # Wherever the secret stands in what was encoded.
        coded = base64.b64encode(bytes(before) + secret.encode())
        whole = coded[-(-before * 8 // 6) : (before + len(secret.encode())) * 8 // 6].decode()
        yield whole
        yield whole.translate(str.maketrans("+/", "-_"))


class _Yaml:
    """vcrpy's serializer to YAML, long lines left whole so that a diff shows what changed."""

    @staticmethod
    def serialize(data: dict[str, Any]) -> str:
        body = data["interactions"][0]["response"]["body"]["string"]
        # Letters of all languages as they are, but nothing that turns text around in a review.
        plain = isinstance(body, str) and body.isprintable()
        text: str = yaml.dump(data, Dumper=_Dumper, width=_LARGEST, allow_unicode=plain)
        return text


def _write(path: Path, text: str) -> None:
    """Write a whole file or none."""
    draft = path.with_name(f".{random.token_hex(8)}.tmp")
    try:
        draft.write_bytes(text.encode())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


_Headers = Annotated[
    dict[str, Annotated[list[str], msgspec.Meta(min_length=1, max_length=8)]],
    msgspec.Meta(max_length=64),
]


class _Asked(msgspec.Struct):
    method: str
    uri: str
    body: Any
    headers: _Headers


class _Status(msgspec.Struct):
    code: Annotated[int, msgspec.Meta(ge=100, le=999)]
    message: str


class _Body(msgspec.Struct):
    string: Any


class _Response(msgspec.Struct):
    status: _Status
    headers: _Headers
    body: _Body


class _Interaction(msgspec.Struct):
    request: _Asked
    response: _Response


class _File(msgspec.Struct):
    interactions: Annotated[list[_Interaction], msgspec.Meta(min_length=1, max_length=1)]


def _load(path: Path) -> _Interaction:
    """Return the one recorded exchange of a file, and refuse all that is not one."""
    text = _read(path)
    try:
        only = convert(_built(text), _File).interactions[0]
        asked, answered = only.request, only.response.body
        asked.body = b"" if asked.body is None else _bytes(asked.body, "request")
        answered.string = _bytes(answered.string, "reply")
    except _DamageError:
        raise
    except Exception as error:  # Of YAML or msgspec, whatever a file provokes.
        raise _DamageError(_first_line(error)) from None
    return only


def _bytes(body: object, whose: str) -> bytes:
    if not isinstance(body, str | bytes):
        raise _DamageError(f"the body of the {whose} is not text")
    return body.encode() if isinstance(body, str) else body


def _built(text: str) -> Any:
    """Return what a YAML text of texts, numbers, lists and mappings says, and refuse all else.

    Built from the stream of events: no tag makes an object of anything, no alias makes it grow,
    and libyaml's composer, whose stack a deep text overflows, has no part in it.
    """
    parts: list[Any] = []
    around: list[list[Any]] = []
    for event in iter(_Parser(text).get_event, None):
        kind = type(event)
        if kind is yaml.ScalarEvent:
            parts.append(_scalar(event))
        elif kind in _STARTS:
            if len(around) >= _DEEPEST:
                raise _DamageError("it is nested too deeply")
            around.append(parts)
            parts = []
        elif kind in _ENDS:
            whole = _ENDS[kind](parts)
            parts = around.pop()
            parts.append(whole)
        elif kind is yaml.AliasEvent:
            raise _DamageError("it uses YAML aliases")
    if len(parts) != 1:
        raise _DamageError(f"it holds {len(parts)} YAML documents")
    return parts[0]


def _scalar(event: yaml.ScalarEvent) -> object:
    tag = event.tag or (_plain_tag(event.value) if event.implicit[0] else _TEXT)
    if tag not in _SCALARS:
        raise _DamageError(f"it holds a value of type {tag.rpartition(':')[2]}")
    return _SCALARS[tag](event.value)


@lru_cache(maxsize=64)  # all cassettes have the same few words
def _plain_tag(text: str) -> str:
    """Return what YAML takes a scalar for that has neither quotes nor a tag."""
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))
    return tag


def _mapping(parts: list[Any]) -> dict[str, Any]:
    keys = parts[::2]
    if {*map(type, keys)} - {str} or len(set(keys)) != len(keys):
        raise _DamageError("a key stands there twice, or is not text")
    return dict(zip(keys, parts[1::2], strict=True))


_STARTS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_ENDS: dict[type, Callable[[list[Any]], object]] = {
    yaml.MappingEndEvent: _mapping,
    yaml.SequenceEndEvent: list,
}


def _read(path: Path) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _DamageError("it is not a file")
        if found.st_size > _LARGEST:
            raise _DamageError(f"it is larger than {_LARGEST // 1024 // 1024} MiB")
        return path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError):
        raise NoVerdict(
            "cassette_missing", f"there is no cassette {path} for this question", AGAIN
        ) from None
    except OSError as error:
        raise _DamageError(error.strerror or type(error).__name__) from None
    except UnicodeDecodeError:
        raise _DamageError("it is not UTF-8") from None


def _host_in(uri: str, base_path: str) -> str:
    host, found, _ = uri.partition(base_path + "/")
    try:
        if found:
            return check_host(host)
    except ValueError:
        pass
    raise _DamageError("it names no host that could be asked")


def _compare(path: Path, asked: tuple[str, str, bytes], stored: _Asked) -> None:
    """Refuse the reply to any other request, exactly: order and empty values count as well."""
    recorded = stored.method, stored.uri, stored.body
    if recorded == asked:
        return
    try:
        ours, theirs = _parts(*asked), _parts(*recorded)
    except ValueError as error:
        raise _DamageError(_first_line(error)) from None
    differences = [
        f"{name}: {clean(value)} != {clean(theirs[name])}"
        for name, value in ours.items()
        if value != theirs[name]
    ]
    raise NoVerdict(
        "cassette_mismatch",
        f"the cassette {path} answers another question than the one asked: "
        + ("; ".join(differences) or "its address is spelled otherwise"),
        AGAIN,
    )


def _parts(method: str, url: str, body: bytes) -> dict[str, object]:
    parts = urlsplit(url)
    return {
        "method": method,
        "scheme": parts.scheme,
        "host": parts.hostname,
        "port": parts.port,
        "path": parts.path,
        "query": parts.query,
        "body": body,
    }


def _reply(response: _Response) -> Reply:
    headers = {name.lower(): values[0] for name, values in response.headers.items()}
    try:
        received_at = datetime.fromisoformat(headers[RECORDED.lower()])
        attempts = int(headers.get(ATTEMPTS.lower(), "1"))
    except (KeyError, ValueError):
        raise _DamageError("it does not say when it was recorded, or how often was asked") from None
    if received_at.tzinfo is None or attempts < 1:
        raise _DamageError(f"its {RECORDED} has no time zone, or its {ATTEMPTS} is not positive")
    return Reply(
        status=response.status.code,
        body=response.body.string,
        content_type=headers.get("content-type", ""),
        headers=tuple(
            (name, headers[name.lower()]) for name in _KEPT_HEADERS if name.lower() in headers
        ),
        attempts=attempts,
        received_at=received_at.astimezone(UTC),
        replayed=True,
    )


def _first_line(error: Exception) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0]
    return "".join(mark if mark.isprintable() else " " for mark in text)[:200]
