"""Every question is asked once a run: side by side before the first test, remembered after that."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from pytest_kosli.api.host import Exchange
from pytest_kosli.api.kosli import KosliClient, assert_request
from pytest_kosli.model import Artifact, NoVerdict, Question, Reply, Request, Verdict

Plain = dict[str, Any]


class Memo(Protocol):
    """What a run remembers, by key, in plain data."""

    def once(self, key: str, make: Callable[[], Plain]) -> Plain:
        """Return what ``make`` returned for this key, calling it once however many ask.

        What ``make`` raises is raised to the one caller and not remembered.
        """

    def exclusive(self, name: str) -> AbstractContextManager[object]:
        """Return a lock that one process of the run holds at a time."""


class ProcessMemo:
    """A Memo for one process: a dictionary, and a lock a key for single flight."""

    def __init__(self) -> None:
        self._known: dict[str, Plain] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def once(self, key: str, make: Callable[[], Plain]) -> Plain:
        """Return what is known of a key, or make it while others wait."""
        if (known := self._known.get(key)) is not None:
            return known
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._known:
                self._known[key] = make()
            return self._known[key]

    def exclusive(self, name: str) -> AbstractContextManager[object]:
        """Return nothing to wait for: there is one process."""
        return nullcontext()


class Ledger:
    """Ask questions through a client's exchange, once each, and keep every verdict of the run."""

    def __init__(self, client: Callable[[Exchange], KosliClient], exchange: Exchange, memo: Memo):
        self._send = exchange
        self._memo = memo
        self._judged = ProcessMemo()
        self.client = client(self.exchange)

    def exchange(self, request: Request) -> Reply:
        """Return the run's one reply to a request, or raise the run's one NoVerdict about it."""
        return opened(self._memo.once(key(request), lambda: sealed(self._send, request)))

    def prefetch(
        self,
        questions: Iterable[Question],
        concurrency: int,
        tell: Callable[[int, int, int], None] = lambda done, total, failed: None,
    ) -> None:
        """Ask the questions side by side; what got no reply is asked in one second round.

        ``tell`` hears how many are done, of how many, and how many got no reply so far.
        """
        asked = list(dict.fromkeys(questions))
        if not asked:
            return
        with self._memo.exclusive("prefetch"):
            silent = self._round(asked, concurrency, tell)
            if silent:
                self._round(silent, concurrency, tell, final=True)

    def verdict(self, question: Question, artifact: Artifact) -> Verdict:
        """Return the verdict on a question, under this artifact's name.

        Raises the run's final NoVerdict where there is none.
        """
        found = self._judged.once(repr(question), lambda: self._judge(question, artifact))
        if isinstance(error := found.get("no_verdict"), NoVerdict):
            raise replace(error, artifact=artifact) from None
        verdict: Verdict = found["verdict"]
        return verdict.about(artifact)

    def _judge(self, question: Question, artifact: Artifact) -> Plain:
        try:
            reply = self.exchange(assert_request(question))
            return {"verdict": self.client.judge(question, reply, artifact)}
        except NoVerdict as error:
            return {"no_verdict": error}

    def _round(
        self,
        questions: list[Question],
        concurrency: int,
        tell: Callable[[int, int, int], None],
        *,
        final: bool = False,
    ) -> list[Question]:
        """Ask each question and return those that got no reply; ``final`` remembers that."""
        make = sealed if final else _raising
        silent: list[Question] = []

        def ask(question: Question) -> None:
            request = assert_request(question)
            try:
                self._memo.once(key(request), lambda: make(self._send, request))
            except NoVerdict:
                silent.append(question)

        with ThreadPoolExecutor(min(concurrency, len(questions)), "kosli") as pool:
            for done, _ in enumerate(pool.map(ask, questions), start=1):
                tell(done, len(questions), len(silent))
        return silent


def key(request: Request) -> str:
    """Return what makes a request the same as another."""
    return repr((request.method, request.segments, request.query, request.body))


def sealed(exchange: Exchange, request: Request) -> Plain:
    """Return the reply to a request, or the NoVerdict about it, as plain data."""
    try:
        return _raising(exchange, request)
    except NoVerdict as error:
        return {"no_verdict": error.plain()}


def _raising(exchange: Exchange, request: Request) -> Plain:
    reply = exchange(request)
    return {
        "status": reply.status,
        "body": base64.b64encode(reply.body).decode("ascii"),
        "content_type": reply.content_type,
        "headers": [list(pair) for pair in reply.headers],
        "attempts": reply.attempts,
        "received_at": reply.received_at.isoformat() if reply.received_at else None,
        "replayed": reply.replayed,
    }


def opened(plain: Plain) -> Reply:
    """Return the reply that ``sealed`` described, or raise its NoVerdict."""
    if "no_verdict" in plain:
        raise NoVerdict.from_plain(plain["no_verdict"])
    received = plain["received_at"]
    return Reply(
        status=plain["status"],
        body=base64.b64decode(plain["body"]),
        content_type=plain["content_type"],
        headers=tuple((name, value) for name, value in plain["headers"]),
        attempts=plain["attempts"],
        received_at=datetime.fromisoformat(received) if received else None,
        replayed=plain["replayed"],
    )
