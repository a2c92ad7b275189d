"""What stands in front of the API: it records each request and plays the faults a test ordered."""

from __future__ import annotations

import asyncio
import fnmatch
import http
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Lie = Callable[[dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as it came: ``path`` still encoded, without its query; ``received`` in seconds."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    received: float


@dataclass(slots=True)
class Fault:
    """What to do to the replies to some requests; ``Sandbox.fault`` explains each field."""

    path: str = "*"
    times: int | None = None
    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    drip: float = 0.0
    content_type: str | None = None
    lie: Lie | None = None

    def __post_init__(self) -> None:
        if self.lie is not None and self.body is not None:
            raise ValueError("a fault has a body of its own or edits the real one, not both")


class Log:
    """The requests so far and the faults still to come, shared by two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Recorded] = []
        self._faults: list[Fault] = []

    @property
    def requests(self) -> list[Recorded]:
        """Return the requests so far, in the order they came."""
        with self._lock:
            return list(self._requests)

    def reset(self) -> None:
        """Forget requests and faults."""
        with self._lock:
            self._requests.clear()
            self._faults.clear()

    def add(self, fault: Fault) -> None:
        """Let a fault wait for its requests, behind those that wait already."""
        with self._lock:
            self._faults.append(fault)

    def take(self, request: Recorded) -> Fault | None:
        """Record a request; return the first fault that waits for it."""
        below = request.path.removeprefix("/api/v2/")
        with self._lock:
            self._requests.append(request)
            for fault in self._faults:
                if fault.times != 0 and fnmatch.fnmatchcase(below, fault.path):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None


class Front:
    """The ASGI application that the server runs: delay, record, then a fault or the API."""

    def __init__(self, app: ASGIApp, log: Log, delay: float) -> None:
        self.app = app
        self.log = log
        self.delay = delay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        fault = self.log.take(_recorded(scope))
        if fault is None:
            await self._answer(scope, receive, send)
            return
        if pause := self.delay + fault.delay:
            await asyncio.sleep(pause)
        await self._play(fault, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold the reply back until its delay is over, counted from when the request came."""
        due = time.monotonic() + self.delay
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)

        await self.app(scope, receive, hold)
        if self.delay:
            await asyncio.sleep(due - time.monotonic())
        for message in held:
            await send(message)

    async def _play(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.body is None and (fault.status is None or fault.lie):
            status, headers, body = await _captured(self.app, scope, receive)
        else:
            status, headers, body = fault.status or 200, {}, _synthetic(fault)
        if fault.lie is not None:
            truth = msgspec.json.decode(body)
            lied = fault.lie(truth)
            body = msgspec.json.encode(truth if lied is None else lied)
        headers["content-length"] = str(len(body))
        headers.setdefault("content-type", "application/json")
        if fault.content_type is not None:
            headers["content-type"] = fault.content_type
        headers.update((name.lower(), value) for name, value in fault.headers.items())
        await _send(send, fault, fault.status or status, headers, body)


def _recorded(scope: Scope) -> Recorded:
    query = urllib.parse.parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return Recorded(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        query=tuple(query),
        headers={
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        },
        received=time.time(),
    )


def _synthetic(fault: Fault) -> bytes:
    if isinstance(fault.body, bytes):
        return fault.body
    if isinstance(fault.body, str):
        return fault.body.encode()
    if fault.body is not None:
        return msgspec.json.encode(fault.body)
    status = http.HTTPStatus(fault.status or 200)
    bodiless = status in (http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_MODIFIED)
    return b"" if bodiless else msgspec.json.encode({"message": status.phrase})


async def _captured(
    app: ASGIApp, scope: Scope, receive: Receive
) -> tuple[int, MutableMapping[str, str], bytes]:
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    start, *rest = messages
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, b"".join(part.get("body", b"") for part in rest)


async def _send(
    send: Send, fault: Fault, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    sent = body if fault.cut is None else body[: fault.cut]
    if fault.drip:
        for position in range(len(sent)):
            part = {"body": sent[position : position + 1], "more_body": True}
            await send({"type": "http.response.body", **part})
            await asyncio.sleep(fault.drip)
        sent = b""
    # A reply that is never completed makes the server close the connection: that is the cut.
    await send({"type": "http.response.body", "body": sent, "more_body": fault.cut is not None})
