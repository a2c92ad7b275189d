"""Every question is asked once a run: side by side before the first test, remembered after that.

What is late is asked again, together, as long as the run is willing to wait.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol

from msgspec import structs

from pytest_kosli import model
from pytest_kosli.api.host import Exchange
from pytest_kosli.api.kosli import KosliClient, assert_request
from pytest_kosli.judge import is_late
from pytest_kosli.memo import Memo, Plain
from pytest_kosli.model import Artifact, NoVerdict, Question, Reply, Request, Verdict, Waited
from pytest_kosli.waiting import Late, Replies, look_again, moments

Tell = Callable[[int, int, int], None]
Left = Callable[[int, int, float], None]


def nobody(done: int, total: int, more: float) -> None:
    """Tell nobody how far it is."""


class Line(Protocol):
    """What the network lets the ledger say about all that is under way: until when, and stop."""

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """Return a limit on everything that is sent while it is entered."""

    def cancel(self) -> None:
        """End everything that is under way, at once."""


class Ledger:
    """Ask questions through a client's exchange, once each, and keep every verdict of the run.

    ``line`` is the network behind the exchange; None where there is none. ``heard`` is told each
    verdict once a run: in the process that was the first to ask for it, when it is judged there.
    """

    def __init__(
        self,
        client: Callable[[Exchange], KosliClient],
        exchange: Exchange,
        memo: Memo,
        line: Callable[[], Line | None] = lambda: None,
        heard: Callable[[Verdict], object] = lambda verdict: None,
    ) -> None:
        self._send = exchange
        self._memo = memo
        self._line = line
        self._heard = heard
        self._first_here: set[Request] = set()
        self._judged: dict[tuple[Question, bool], Verdict | NoVerdict] = {}
        self._later: dict[str, Plain] = {}
        self._waited: set[Question] = set()
        self.client = client(self.exchange)

    def exchange(self, request: Request) -> Reply:
        """Return the run's one reply to a request, or raise the run's one NoVerdict about it."""
        name = key(request)
        later = self._later.get(name)
        return opened(later or self._memo.once(name, lambda: sealed(self._ask, request)))

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """Return a limit in seconds on everything that is sent while it is entered."""
        line = self._line()
        return line.deadline(seconds) if line else nullcontext()

    def prefetch(
        self, questions: Iterable[Question], concurrency: int, seconds: float, tell: Tell = nobody
    ) -> None:
        """Ask the questions side by side; what got no reply is asked in one second round.

        ``seconds`` limits both rounds together; ``tell`` hears how many are done, of how many, and
        how many got no reply so far.
        """
        asked = list(dict.fromkeys(questions))
        if not asked:
            return
        with self._memo.exclusive("prefetch"), self.within(seconds):
            silent: list[Question] = []
            self.side_by_side([partial(self._first, one, silent) for one in asked], concurrency,
                              lambda done: tell(done, len(asked), len(silent)))  # fmt: skip
            again = [partial(self.exchange, assert_request(one)) for one in silent]
            self.side_by_side(again, concurrency)

    def outwait(
        self,
        questions: Iterable[Question],
        concurrency: int,
        seconds: float,
        limit: float,
        tell: Left = nobody,
    ) -> None:
        """Ask again about what is late, side by side, until it is settled or the time is up.

        A reply takes the place of the one before it; silence takes the place of none. A question is
        waited for once a run, by one process, and all go on with its last reply. ``limit`` seconds
        more are for the requests that are under way when the time is up; ``tell`` hears how many
        of how many are late, and how many seconds are left.
        """
        new = [one for one in dict.fromkeys(questions) if one not in self._waited]
        late = {assert_request(one): one for one in new if self._is_late(one)}

        def ask() -> Plain:
            replies = {request: self.exchange(request) for request in late}
            asked = Late(replies, lambda request, reply: self._says_late(late[request], reply))
            times = moments(seconds, lambda left: tell(len(asked.waiting), len(new), left))
            with self.within(seconds + limit):
                last = asked.again(
                    self._send, partial(self.side_by_side, concurrency=concurrency), times
                )
            tell(0, len(new), 0.0)
            return _by_key(last)

        if late:
            self._later |= self._memo.once(repr(("late", sorted(map(key, late)))), ask)
        self._waited.update(new)

    def look_again(
        self,
        name: str,
        look: Callable[[Exchange], bool],
        seconds: float,
        limit: float,
        tell: Left = nobody,
    ) -> None:
        """Let ``look`` ask afresh until it returns that it has found enough, or the time is up.

        One process looks, and all go on with the replies to the last look that got any. ``name``
        says what is looked for; ``limit`` is as above.
        """

        def ask() -> Plain:
            times = moments(seconds, lambda left: tell(1, 1, left))
            with self.within(seconds + limit):
                replies = look_again(self._send, look, times)
            tell(0, 1, 0.0)
            return _by_key(replies)

        self._later |= self._memo.once(name, ask)

    def side_by_side(
        self,
        jobs: Sequence[Callable[[], object]],
        concurrency: int,
        tell: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Run jobs in threads until all are done; a NoVerdict of one is left to whoever asks next.

        An interrupt ends those that are under way, and is raised at once.
        """
        width = min(concurrency, len(jobs))
        if width < 2:  # nothing to gain from a thread
            for done, job in enumerate(jobs, start=1):
                _quietly(job)
                tell(done)
            return
        pool = ThreadPoolExecutor(width, "kosli")
        try:
            # Held by nobody else, so that each is gone when it is done.
            under_way = as_completed([pool.submit(_quietly, job) for job in jobs])
            for done, future in enumerate(under_way, start=1):
                future.result()
                tell(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            if line := self._line():
                line.cancel()
            raise
        finally:
            pool.shutdown()

    def verdict(self, question: Question, artifact: Artifact) -> Verdict:
        """Return the verdict on a question, under this artifact's name.

        Raises the run's final NoVerdict where there is none.
        """
        now = self._now(question)
        found = self._judged.get(now)
        if found is None:
            found = self._judged[now] = self._judge(question, artifact)
        if isinstance(found, NoVerdict):
            raise replace(found, artifact=artifact) from None
        verdict = structs.replace(found, artifact=artifact)
        if self._is_news(question):
            self._heard(verdict)
        return verdict

    def _first(self, question: Question, silent: list[Question]) -> None:
        """Ask a question, and remember the reply only if there is one.

        From a network it is judged while others are still waited for; if that gives no verdict, it
        is judged again under the artifact's name.
        """
        request = assert_request(question)
        try:
            plain = self._memo.once(key(request), lambda: _asked(self._ask, request))
        except NoVerdict:
            silent.append(question)
            return
        if self._line():
            with suppress(NoVerdict):
                self._judged[question, False] = self._nameless(question, opened(plain))

    def _now(self, question: Question) -> tuple[Question, bool]:
        """Return what a verdict is kept under: its question, and whether on a later reply."""
        return question, bool(self._later) and key(assert_request(question)) in self._later

    def _is_news(self, question: Question) -> bool:
        """Return whether this process was the first to send the question's request, once."""
        if not self._first_here:
            return False
        try:
            self._first_here.remove(assert_request(question))
        except KeyError:
            return False
        return True

    def _ask(self, request: Request) -> Reply:
        """Send what no process of the run has sent before, and note that this one was the first."""
        self._first_here.add(request)
        return self._send(request)

    def _judge(self, question: Question, artifact: Artifact) -> Verdict | NoVerdict:
        waited = None
        try:
            reply = self.exchange(assert_request(question))
            waited = reply.waited
            return self.client.judge(question, reply, artifact)
        except NoVerdict as error:
            return replace(error, waited=waited)

    def _is_late(self, question: Question) -> bool:
        try:
            return self._says_late(question, self.exchange(assert_request(question)))
        except NoVerdict:
            return False

    def _says_late(self, question: Question, reply: Reply) -> bool:
        try:
            return is_late(self._nameless(question, reply))
        except NoVerdict:
            return False

    def _nameless(self, question: Question, reply: Reply) -> Verdict:
        artifact = Artifact(question.fingerprint, question.fingerprint[:7])
        return self.client.judge(question, reply, artifact)


def _quietly(job: Callable[[], object]) -> None:
    with suppress(NoVerdict):
        job()


def _by_key(replies: Replies) -> Plain:
    return {key(request): _plain(reply) for request, reply in replies.items()}


def key(request: Request) -> str:
    """Return what makes a request the same as another."""
    return repr((request.method, request.segments, request.query, request.body))


def sealed(exchange: Exchange, request: Request) -> Plain:
    """Return the reply to a request, or the NoVerdict about it, as plain data."""
    return model.sealed(partial(_asked, exchange, request))


def _asked(exchange: Exchange, request: Request) -> Plain:
    return _plain(exchange(request))


def _plain(reply: Reply) -> Plain:
    return {
        "status": reply.status,
        "body": (reply.body if reply.replayed else _compressed(reply.body)).decode("latin-1"),
        "content_type": reply.content_type,
        "headers": reply.headers,
        "attempts": reply.attempts,
        "received_at": reply.received_at.isoformat() if reply.received_at else None,
        "replayed": reply.replayed,
        "waited": reply.waited and structs.asdict(reply.waited),
    }


def _compressed(body: bytes) -> bytes:
    # Thousands are kept while others are waited for; a replay waits for none. Most are of 2 KiB:
    # to set up zlib's usual window and tables takes longer than its work.
    packer = zlib.compressobj(level=1, wbits=12, memLevel=4)
    return packer.compress(body) + packer.flush()


def opened(plain: Plain) -> Reply:
    """Return the reply that ``sealed`` described, or raise its NoVerdict."""
    model.unsealed(plain)
    received, body = plain["received_at"], plain["body"].encode("latin-1")
    return Reply(
        status=plain["status"],
        body=body if plain["replayed"] else zlib.decompress(body),
        content_type=plain["content_type"],
        headers=tuple((name, value) for name, value in plain["headers"]),
        attempts=plain["attempts"],
        received_at=datetime.fromisoformat(received) if received else None,
        replayed=plain["replayed"],
        waited=Waited(**plain["waited"]) if plain["waited"] else None,
    )
