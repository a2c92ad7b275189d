"""CodeAlive's endpoints as methods: the indexed source of a repository. No pytest here.

Only named files are fit for a verdict: a search is ranked and cut, and finding nothing proves
nothing.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from pytest_kosli import answers
from pytest_kosli.api.host import Client, Exchange, Token, check_host
from pytest_kosli.model import NoVerdict, Reply, Request
from pytest_kosli.shape import several
from pytest_kosli.source import DataSource, Source, ambiguous, other_index
from pytest_kosli.text import clean

if TYPE_CHECKING:
    from pytest_kosli.api.http import Http

KEY, URL = "CODEALIVE_API_KEY", "CODEALIVE_BASE_URL"
DEFAULT_HOST = "https://app.codealive.ai"
BASE_PATH = "/api"
BATCH = 20
"""Identifiers in one request, the documented limit."""

LANES = 5
"""Requests under way at once: what the smallest plan allows."""

RETRIES = 2
PATIENCE = 30.0
"""Seconds: a rate limit that lasts longer is not waited for."""

MODES = ("auto", "fast", "fastcomplex", "deep")
DETAILS = ("short", "full")
_CANDIDATE = re.compile(r"Name='([^']*)'\s+Id='([^']*)'")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

Tell = Callable[[int, int, int], None]


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    identifier: str
    found: bool | None = None
    content: str | None = None
    content_byte_size: int | None = None
    start_line: int | None = None


class _Indexing(msgspec.Struct, frozen=True):
    commit: str | None = None
    branch: str | None = None


class _Indexed(msgspec.Struct, frozen=True):
    id: str | None = None
    name: str | None = None
    indexing: _Indexing | None = None


class _Fetched(msgspec.Struct, frozen=True, rename="camel"):
    artifacts: list[_Entry]
    data_sources: list[_Indexed] | None = None


class _Listed(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    id: str | None = None
    type: str | None = None
    url: str | None = None
    branch: str | None = None
    repository_ids: list[str] | None = None
    state: str | None = None
    readiness: str | None = None


class _Position(msgspec.Struct, frozen=True):
    line: int | None = None


class _Range(msgspec.Struct, frozen=True):
    start: _Position | None = None
    end: _Position | None = None


class _Location(msgspec.Struct, frozen=True):
    path: str | None = None
    range: _Range | None = None


class _Found(msgspec.Struct, frozen=True, rename="camel"):
    kind: str | None = None
    identifier: str | None = None
    location: _Location | None = None
    score: float | None = None
    description: str | None = None
    content_byte_size: int | None = None
    data_source: _Indexed | str | None = None


class _Results(msgspec.Struct, frozen=True):
    results: list[_Found]


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search; without an ``identifier`` it can not be fetched.

    ``description`` is generated text: good for choosing what to fetch, never for an assertion.
    """

    identifier: str
    kind: str = ""
    path: str = ""
    start_line: int | None = None
    end_line: int | None = None
    score: float | None = None
    description: str = ""
    byte_size: int | None = None
    data_source: str = ""


class CodeAliveClient(Client):
    """Read the source that CodeAlive has indexed; works without pytest.

    ``api_key`` and ``base_url`` default to the variables CODEALIVE_API_KEY and CODEALIVE_BASE_URL,
    read when the first request is sent; ``timeout`` is in seconds for one attempt. ``exchange``
    replaces the network: a function from Request to Reply. ``tell`` hears how many requests of a
    fetch are done, of how many. Connections are kept until ``close``, or to the end of a ``with``
    block. Every method raises NoVerdict when there is no well-formed answer.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = 30.0,
        exchange: Exchange | None = None,
        tell: Tell = lambda done, total, unanswered: None,
    ) -> None:
        self._tell = tell
        given = {name: text for name, text in ((KEY, api_key), (URL, base_url)) if text is not None}
        opening = threading.Lock()

        def send(request: Request) -> Reply:
            with opening:
                if self._network is None:
                    self._network = network({**os.environ, **given}, timeout=timeout)
            return self._network(request)

        self._exchange = exchange or send

    def fetch(
        self, identifiers: str | Iterable[str], *, data_source: str | None = None
    ) -> dict[str, Source]:
        """Return a Source for every identifier that was asked, found or not, in the order asked.

        Endpoint: ``POST /api/search/artifacts``, 20 identifiers a request, requests side by side.
        ``data_source`` (name or id) says which one is meant where several hold an identifier.
        """
        asked = several(identifiers)
        if not asked:
            raise NoVerdict(
                "no_identifiers",
                "fetch was given no identifier at all",
                "An empty list proves nothing: look at what was to fill it.",
            )
        for identifier in asked:
            _check("identifier", identifier)
            _check("identifier", _bare(identifier))
        if data_source is not None:
            _check("data source", data_source)
        # The same files make the same requests, whatever the order: so one cassette answers them.
        distinct = sorted({_bare(identifier) for identifier in asked})
        batches = [distinct[start : start + BATCH] for start in range(0, len(distinct), BATCH)]
        try:
            found = self._side_by_side(batches, data_source)
        except NoVerdict as error:
            raise self._advised(error) from None
        return {
            identifier: replace(found[_bare(identifier)], identifier=identifier)
            for identifier in asked
        }

    def search(
        self,
        query: str,
        *,
        names: str | Iterable[str],
        mode: str = "auto",
        detail: str = "short",
    ) -> list[Hit]:
        """Return what a search finds in the data sources of those names, the best first.

        Endpoint: ``GET /api/search``. ``mode`` is one of MODES, ``detail`` of DETAILS. To find
        identifiers with, once, and never to base a verdict on: no hit does not mean no such code.
        """
        sources = several(names)
        if not sources:
            raise _bad("names", "", "Name the data sources to search: CodeAlive asks for that.")
        for what, text in (("query", query), *(("name", name) for name in sources)):
            _check(what, text)
        for what, word, words in (("mode", mode, MODES), ("detail", detail, DETAILS)):
            if word not in words:
                raise _bad(what, word, f"It is one of {', '.join(words)}.")
        asked = (
            ("Query", query),
            *(("Names", name) for name in sources),
            ("Mode", mode),
            ("IncludeContent", "false"),
            ("DescriptionDetail", detail.capitalize()),
        )
        request = Request(("search",), asked, f"search/{_slug(query, repr(asked))}")
        results = self._ask(request, _Results, f"search for {clean(query, 60)!r}").results
        return [_hit(result) for result in results]

    def data_sources(self) -> list[DataSource]:
        """Return the data sources that are ready and that this key may read.

        Endpoint: ``GET /api/datasources/ready``. The branch stands nowhere else.
        """
        request = Request(("datasources", "ready"), cassette="data-sources")
        listed = self._ask(request, list[_Listed], "data sources")
        ids = [one.id for one in listed if one.id]
        if len(ids) != len(set(ids)):
            why = "two data sources have one id"
            raise answers.malformed("data sources", why, whose="CodeAlive")
        return [
            DataSource(
                name=one.name,
                id=one.id or "",
                type=one.type or "",
                url=one.url or "",
                branch=one.branch or "",
                repository_ids=tuple(one.repository_ids or ()),
                state=one.state or one.readiness or "",
            )
            for one in listed
        ]

    def _side_by_side(
        self, batches: Sequence[Sequence[str]], data_source: str | None
    ) -> dict[str, Source]:
        """Fetch all batches; the first that fails ends it, so that no limit is run into twice."""
        found: dict[str, Source] = {}
        failures: list[BaseException] = []

        def fetch(batch: Sequence[str]) -> dict[str, Source]:
            if failures:
                raise failures[0]
            try:
                return self._fetch(batch, data_source)
            except BaseException as error:
                failures.append(error)  # before this lane takes up another batch
                raise

        with ThreadPoolExecutor(min(LANES, len(batches)), "codealive") as pool:
            asked = [pool.submit(fetch, batch) for batch in batches]
            try:
                for done, future in enumerate(as_completed(asked), start=1):
                    found |= future.result()
                    self._tell(done, len(batches), 0)
            except BaseException as error:
                failures.append(error)  # an interrupt comes to this thread alone
                self._tell(len(batches), len(batches), 0)
                raise
        return found

    def _fetch(self, identifiers: Sequence[str], data_source: str | None) -> dict[str, Source]:
        """Send the one request that a fetch is made of, and read its answer.

        All that would change with CodeAlive's next API is in here.
        """
        body: dict[str, object] = {"identifiers": list(identifiers)}
        if data_source:
            body["dataSource"] = data_source
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        about = clean(identifiers[0], 120)
        about += f" and {len(identifiers) - 1} more" if len(identifiers) > 1 else ""
        request = Request(
            ("search", "artifacts"),
            cassette=f"fetch/{_slug(identifiers[0], text)}",
            method="POST",
            body=text.encode(),
        )
        reply = self._reply(request, about)
        answer = _read(reply, _Fetched, about)
        entries = _each_once(answer.artifacts, identifiers, about)
        index = _index_of(answer.data_sources or [], data_source, about)
        return {
            identifier: _source(identifier, entries.get(identifier), index, data_source, reply)
            for identifier in identifiers
        }

    def _ask(self, request: Request, kind: type[Any], about: str) -> Any:
        return _read(self._reply(request, about), kind, about)

    def _reply(self, request: Request, about: str) -> Reply:
        reply = self._exchange(request)
        if reply.status != 200:
            raise refusal(reply, about)
        return reply

    def _advised(self, error: NoVerdict) -> NoVerdict:
        """Return the error with the names there are, where the one that was asked is not."""
        if error.code != "unknown_data_source":
            return error
        with suppress(NoVerdict):
            known = ", ".join(one.label for one in self.data_sources())
            return replace(error, errors=(*error.errors, f"there are: {clean(known, 600)}"))
        return error


# The way there.


def host_of(base_url: str) -> str:
    """Return the host of CODEALIVE_BASE_URL, which may end in ``/api``; a path prefix is kept.

    Raises NoVerdict ``bad_codealive_url``.
    """
    text = re.sub(rf"(?<!/){BASE_PATH}$", "", base_url.strip().rstrip("/"))
    try:
        host = check_host(text)
    except ValueError as error:
        raise NoVerdict(
            "bad_codealive_url", f"{URL}: {error}", f"Set it to {DEFAULT_HOST}, or unset it."
        ) from None
    if (urlsplit(host).hostname or "") == "mcp.codealive.ai":
        raise NoVerdict(
            "bad_codealive_url",
            f"{URL} points at the MCP server (mcp.codealive.ai), which does not answer this API",
            f"Set it to {DEFAULT_HOST}, or unset it.",
        )
    return host


def host_in(environ: Mapping[str, str]) -> str:
    """Return the host that the environment names, else CodeAlive's own."""
    return host_of(environ.get(URL) or DEFAULT_HOST)


def network(
    environ: Mapping[str, str], *, timeout: float = 30.0, max_api_retries: int = RETRIES
) -> Http:
    """Return the connections to CodeAlive; raises NoVerdict ``no_codealive_key`` without a key."""
    from pytest_kosli import __version__
    from pytest_kosli.api.http import Http

    key = environ.get(KEY, "").strip()
    if not key:
        raise NoVerdict(
            "no_codealive_key",
            f"there is no API key for CodeAlive: {KEY} is not set, so no source can be read",
            f"Make a key in CodeAlive and set {KEY} (and {URL}, where you host CodeAlive "
            "yourself), or run with --kosli-offline from cassettes.",
        )
    return Http(
        host_in(environ),
        Token.of(key),
        timeout=timeout,
        max_api_retries=min(max_api_retries, RETRIES),
        concurrency=LANES,
        base_path=BASE_PATH,
        accept="application/json, application/problem+json",
        user_agent=f"pytest-kosli/{__version__}",
        final=is_final,
    )


def is_final(reply: Reply) -> bool:
    """Return whether asking again would change nothing, though the status looks as if it might."""
    if reply.status == 409 or _problem(reply).get("retryable") is False:
        return True
    ends = limit_ends(reply)
    return ends is not None and (ends - (reply.received_at or ends)).total_seconds() > PATIENCE


def limit_ends(reply: Reply) -> datetime | None:
    """Return when a rate limit is over (UTC), where a 429 says it in a way that can be read."""
    headers = {name.lower(): value.strip() for name, value in reply.headers}
    if reply.status != 429 or reply.received_at is None:
        return None
    with suppress(KeyError, ValueError, OverflowError, OSError):
        if (after := headers.get("retry-after", "")).isdecimal():
            return datetime.fromtimestamp(reply.received_at.timestamp() + float(after), UTC)
        return datetime.fromtimestamp(float(headers["x-ratelimit-reset"]), UTC)
    return None


# What comes back.


def _read(reply: Reply, kind: type[Any], about: str) -> Any:
    return answers.typed(answers.load(reply, about, "CodeAlive").value, kind, about, "CodeAlive")


def _each_once(entries: Sequence[_Entry], asked: Sequence[str], about: str) -> dict[str, _Entry]:
    """Return the entries by identifier; raises NoVerdict for one twice, or of something else."""
    found: dict[str, _Entry] = {}
    for entry in entries:
        name = _bare(entry.identifier)
        if name not in asked:
            raise NoVerdict(
                "mismatch",
                f"{about}: CodeAlive answered about {clean(entry.identifier, 120)}, which was not "
                "asked",
                "Check the host; an answer about something else is no answer.",
                status=200,
            )
        if name in found:
            why = f"it tells of {clean(entry.identifier, 120)} twice"
            raise answers.malformed(about, why, whose="CodeAlive")
        found[name] = entry
    return found


def _index_of(indexes: Sequence[_Indexed], named: str | None, about: str) -> _Indexed:
    """Return the index that an answer says it comes from; an empty one where it does not.

    Several have but their names: nobody knows from which of them a file is.
    """
    words = {one: one.name or one.id or "another one" for one in indexes}
    for one, word in words.items():
        if named and named not in (one.id, one.name):
            raise other_index(about, word, named)
    if len(words) > 1:
        return _Indexed(name=", ".join(words.values()))
    return next(iter(words), _Indexed())


def _source(
    identifier: str, entry: _Entry | None, index: _Indexed, named: str | None, reply: Reply
) -> Source:
    entry = entry or _Entry(identifier, found=False)
    found = entry.content is not None if entry.found is None else entry.found
    indexing = index.indexing or _Indexing()
    return Source(
        identifier=identifier,
        found=found,
        content=entry.content if found else None,
        start_line=max(1, entry.start_line or 1),
        byte_size=entry.content_byte_size if found else None,
        data_source=index.name or named or "",
        data_source_id=index.id or "",
        branch=indexing.branch or "",
        commit=indexing.commit or "",
        replayed=reply.replayed,
        received_at=reply.received_at,
    )


def _hit(result: _Found) -> Hit:
    location = result.location or _Location()
    range_ = location.range or _Range()
    source = result.data_source
    return Hit(
        identifier=result.identifier or "",
        kind=result.kind or "",
        path=location.path or "",
        start_line=range_.start.line if range_.start else None,
        end_line=range_.end.line if range_.end else None,
        score=result.score,
        description=result.description or "",
        byte_size=result.content_byte_size,
        data_source=source if isinstance(source, str) else (source.name or "") if source else "",
    )


# What is wrong.

CODES = {
    400: ("codealive_bad_request", "This looks like a bug of pytest-kosli's: please report it."),
    401: ("codealive_unauthorized", f"Set {KEY} to a valid key; this one is unknown or expired."),
    403: ("codealive_forbidden", f"Use a {KEY} that may read this repository."),
    404: ("unknown_data_source", "Check the name of the data source, its spelling and case."),
    422: ("codealive_not_ready", "It is still being indexed: run this again when it is ready."),
    429: ("codealive_rate_limit", "Run it again later, or ask for fewer files at once."),
}


def refusal(reply: Reply, about: str) -> NoVerdict:
    """Return the NoVerdict for a reply with any other status than 200."""
    problem = _problem(reply)
    said = _said(problem) or answers.error_text(reply)[0]
    candidates = [DataSource(name, id) for name, id in _CANDIDATE.findall(said)]
    if reply.status == 409 and candidates:
        error = ambiguous(about, candidates)
        code, todo = error.code, error.todo
    else:
        code, todo = _code(reply.status)
    facts = [f"{name}: {clean(value)}" for name, value in _details(problem)]
    if (ends := limit_ends(reply)) is not None:
        limit = dict(reply.headers).get("X-RateLimit-Limit", "")
        facts.append(f"limit {clean(limit, 40) or 'used up'}, until {ends:%Y-%m-%d %H:%M UTC}")
    told = f": {clean(said)}" if said else answers.silence(reply)
    return NoVerdict(
        code,
        f"{about}: CodeAlive answered {reply.status}{told}",
        todo,
        status=reply.status,
        errors=tuple(facts),
        attempts=reply.attempts,
    )


def _code(status: int) -> tuple[str, str]:
    if status in CODES:
        return CODES[status]
    if status == 409:
        return "ambiguous_data_source", "Name the data source that is meant with data_source=."
    if 300 <= status < 400:
        return "redirected", f"Set {URL} to the address that answers itself."
    if status >= 500:
        return "codealive_error", "Look at CodeAlive's status, then run it again."
    return "unexpected_status", f"Check {URL}: this is not how CodeAlive's API answers."


def _problem(reply: Reply) -> dict[str, Any]:
    """Return the fields of an error, from whichever of CodeAlive's shapes; empty for plain text."""
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    inner = value.get("error")
    return {**value, **inner} if isinstance(inner, dict) else value


def _said(problem: Mapping[str, Any]) -> str:
    texts = (problem.get(name) for name in ("detail", "message", "title", "error"))
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")


def _details(problem: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    errors = problem.get("errors") or problem.get("validationErrors")
    if isinstance(errors, dict):
        for name, told in list(errors.items())[:20]:
            yield clean(name, 60), ", ".join(map(str, told)) if isinstance(told, list) else told
    elif isinstance(errors, list):
        yield from (("error", told) for told in errors[:20])
    if problem.get("requestId"):
        yield "requestId", problem["requestId"]


def _bare(identifier: str) -> str:
    """Return an identifier without the empty symbol that CodeAlive may put after a file's path."""
    return identifier.removesuffix("::")


def _check(what: str, text: object) -> None:
    if not isinstance(text, str) or not text.strip() or _UNPRINTABLE.search(text):
        raise _bad(what, text, "Give it as CodeAlive shows it.")


def _bad(what: str, text: object, todo: str) -> NoVerdict:
    return NoVerdict("bad_name", f"{clean(text)!r} can not be a CodeAlive {what}", todo)


def _slug(name: str, whole: str) -> str:
    """Return the name of a cassette: what it begins with, and a digest of all that was asked."""
    repo, _, rest = name.partition("::")
    shown = "/".join(quote(part, safe="")[:80] for part in (repo, rest) if part)
    return f"{shown}.{sha256(whole.encode()).hexdigest()[:8]}"
