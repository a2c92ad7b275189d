"""A loopback server that can lie at the wire level, and a proxy; both count what they see."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Self


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float


@dataclass(frozen=True)
class Answer:
    """How the server answers: honestly unless told otherwise.

    ``drip``: seconds between the bytes of the body (``drip_all``: of the head, too). ``cut``: bytes
    of the body after which the connection is closed. ``reset``: RST instead of an answer, or after
    ``cut`` bytes. ``length``: what Content-Length claims (None: the truth; -1: no such header).
    ``raw``: these bytes and nothing else.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    delay: float = 0.0
    drip: float = 0.0
    drip_all: bool = False
    cut: int | None = None
    reset: bool = False
    length: int | None = None
    gzip: bool = False
    chunked: bool = False
    keep_alive: bool = True
    raw: bytes | None = None

    def head(self, body: bytes) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Whatever"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.gzip:
            lines.append("Content-Encoding: gzip")
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif self.length != -1:
            lines.append(f"Content-Length: {len(body) if self.length is None else self.length}")
        lines.append("Connection: " + ("keep-alive" if self.keep_alive else "close"))
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def wire(self) -> bytes:
        body = gzip.compress(self.body) if self.gzip else self.body
        return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if self.chunked and body else body


class Loopback:
    """The threads, sockets and counts that server and proxy share."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.closing = threading.Event()
        self.connections = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def talk(self, connection: socket.socket, number: int) -> None:
        raise NotImplementedError

    def keep(self, connection: socket.socket) -> socket.socket:
        with self._lock:
            self._open.add(connection)
        return connection

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self.keep(connection)
            self._start(self._serve, connection, self.connections)

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                stack.callback(connection.close)
                self.keep(connection)
            self.talk(connection, number)


class Faulty(Loopback):
    """Gives its answers in turn, the last one ever after; a function makes one for a request."""

    def __init__(
        self, *answers: Answer | Callable[[Seen], Answer], tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(tls)
        self._answers = answers or (Answer(),)
        self.requests: list[Seen] = []

    def talk(self, connection: socket.socket, number: int) -> None:
        with connection.makefile("rb") as reader:
            while (seen := _request(reader, number)) is not None:
                with self._lock:
                    turn = len(self.requests)
                    self.requests.append(seen)
                answer = self._answers[min(turn, len(self._answers) - 1)]
                if not self._give(
                    connection, answer if isinstance(answer, Answer) else answer(seen)
                ):
                    return

    def _give(self, connection: socket.socket, answer: Answer) -> bool:
        """Send the answer; return whether the connection stays open."""
        self.closing.wait(answer.delay)
        if answer.raw is not None:
            connection.sendall(answer.raw)
            return False
        if answer.reset and answer.cut is None:
            _reset(connection)
            return False
        body = answer.wire()
        head = answer.head(body)
        body = body if answer.cut is None else body[: answer.cut]
        if answer.drip_all:
            head, body = b"", head + body
        if answer.drip:
            connection.sendall(head)
            for index in range(len(body)):
                if self.closing.wait(answer.drip):
                    return False
                connection.sendall(body[index : index + 1])
        else:
            connection.sendall(head + body)
        if answer.reset:
            time.sleep(0.05)
            _reset(connection)
        return answer.keep_alive and answer.cut is None


class Proxy(Loopback):
    """A forward proxy that knows CONNECT; ``refuse`` is a status line to give instead."""

    def __init__(self, refuse: str = "") -> None:
        super().__init__()
        self._refuse = refuse
        self.requests: list[Seen] = []

    def talk(self, connection: socket.socket, number: int) -> None:
        with connection.makefile("rb") as reader:
            seen = _request(reader, number)
        if seen is None:
            return
        self.requests.append(seen)
        if self._refuse or seen.method != "CONNECT":
            connection.sendall(f"HTTP/1.1 {self._refuse or '405 No'}\r\n\r\n".encode())
            return
        name, _, port = seen.target.rpartition(":")
        with socket.create_connection((name, int(port))) as other:
            self.keep(other)
            connection.sendall(b"HTTP/1.1 200 Yes\r\n\r\n")
            back = threading.Thread(target=_pump, args=(other, connection), daemon=True)
            back.start()
            _pump(connection, other)
            back.join(5)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _request(reader: BinaryIO, number: int) -> Seen | None:
    lines: list[str] = []
    for line in reader:
        if not line.strip():
            break
        lines.append(line.decode("latin-1").rstrip("\r\n"))
    if not lines:
        return None
    method, target, _ = lines[0].split(" ", 2)
    headers = {
        name: value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
    }
    body = reader.read(int(headers.get("Content-Length", 0)))
    return Seen(method, target, headers, body, number, time.monotonic())


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(connection.detach())
