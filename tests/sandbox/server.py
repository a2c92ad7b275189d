"""The sandbox as a fixture: an API on a loopback port, in a thread of the test process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from tests.sandbox.app import State, create_app
from tests.sandbox.attestations import Attested
from tests.sandbox.faults import Fault, Front, Lie, Log, Recorded
from tests.sandbox.world import World, build, read


class Sandbox:
    """Kosli's API on loopback, between ``with`` and the end of its block.

    ``data`` is the name of a bundled dataset (``acme``, ``cyber_dojo``), the path of a YAML file,
    or such a file's content; ``port`` 0 takes a free one; ``delay`` seconds pass before each reply.
    Raises DataError for data that makes no world.
    """

    def __init__(
        self, data: str | Path | Mapping[str, Any] = "acme", *, port: int = 0, delay: float = 0.0
    ) -> None:
        plain = data if isinstance(data, Mapping) else read(data)
        self._plain = _copied(plain)
        self._state = State(build(self._plain))
        self._log = Log()
        self._port = port
        front = Front(create_app(self._state), self._log, delay)
        self._server = _Server(front)
        self._thread = threading.Thread(target=self._server.run, name="sandbox", daemon=True)
        self.url = ""

    @property
    def org(self) -> str:
        """Return the organisation that the data is about."""
        return self.data.org

    @property
    def token(self) -> str:
        """Return the one API key that is valid here."""
        return self.data.token

    @property
    def key(self) -> str:
        """Return the one key that is valid for CodeAlive here; empty where the data has none."""
        return self.data.codealive.key if self.data.codealive else ""

    @property
    def data(self) -> World:
        """Return the world as it is now."""
        return self._state.world

    @property
    def requests(self) -> list[Recorded]:
        """Return the requests so far, in the order they came."""
        return self._log.requests

    @property
    def attested(self) -> list[Attested]:
        """Return what was attested so far."""
        return list(self._state.attested)

    def reset(self) -> None:
        """Forget requests and faults; the world stays as it is."""
        self._log.reset()
        self._state.attested.clear()

    def set(self, *where: str | int, to: object) -> None:
        """Change the world: put ``to`` where keys and indexes lead to in the data file.

        ``set("environments", "prod", "policies", to=[])`` detaches prod's policies. Raises
        DataError, and changes nothing, when the world would not hold together.
        """
        changed = _copied(self._plain)
        place: Any = changed
        for step in where[:-1]:
            place = place[step]
        place[where[-1]] = to
        self._state.world = build(changed)
        self._plain = changed

    def fault(
        self,
        path: str = "*",
        *,
        times: int | None = None,
        status: int | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        cut: int | None = None,
        drip: float = 0.0,
        content_type: str | None = None,
        lie: Lie | None = None,
    ) -> None:
        """Spoil the replies to requests whose path below ``/api/v2/``, as sent, matches a glob.

        The first fault that matches plays, ``times`` times (None: always). ``status`` or ``body``
        (bytes and str as they are, anything else as JSON) stand for a server that never asked the
        API; without them, or with ``lie``, which edits the JSON object in place or returns another,
        the real reply is what gets spoiled. ``headers`` are set on top. ``delay`` waits before the
        first byte and ``drip`` after each byte of the body (seconds); ``cut`` closes the connection
        after that many bytes of the body.
        """
        self._log.add(
            Fault(path, times, status, body, headers or {}, delay, cut, drip, content_type, lie)
        )

    def __enter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", self._port), backlog=2048)
        # asyncio's own attempt passes by sockets of this kind: Nagle would cost 40 ms a reply.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server.listener = listener
        self._thread.start()
        self._server.up.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._thread.join()


def _copied(value: Any) -> Any:
    """Copy plain data. What YAML anchors share comes apart, which deepcopy would keep together."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


class _Server(uvicorn.Server):
    """Uvicorn without its ticking: it stops at once, whatever its clients are waiting for."""

    listener: socket.socket

    def __init__(self, app: Front) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="auto",
                loop="asyncio",
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="critical",
                access_log=False,
                date_header=False,
                server_header=False,
                timeout_keep_alive=600,
                backlog=2048,
            )
        )
        self.up = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Event

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets or [self.listener])

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self.up.set()
        await self._end.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self.servers:
            await server.wait_closed()
