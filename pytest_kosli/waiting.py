"""Waiting for what is late: it is asked again after growing pauses, and when the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from msgspec.structs import replace

from pytest_kosli.api.host import Exchange
from pytest_kosli.model import NoVerdict, Reply, Request, Waited

Replies = dict[Request, Reply]

FIRST, LONGEST = 1.0, 15.0
"""Seconds of the first pause, which is doubled for each further one, and of the longest."""

LOOK = 1.0
"""Seconds between two looks at the clock during a pause."""

HOPELESS = {"outage", "interrupted"}
"""After these nothing is sent any more."""

# Bound here, so that a clock frozen in somebody's test holds nothing up.
CLOCK, SLEEP = time.perf_counter, time.sleep


def moments(
    seconds: float,
    tell: Callable[[float], None],
    clock: Callable[[], float] = CLOCK,
    sleep: Callable[[float], None] = SLEEP,
) -> Iterator[float]:
    """Yield at each moment to ask again how many seconds have passed; the last one is the end.

    What is done at a moment may take its time; none begins when the time is up. ``tell`` hears
    about once a second how many seconds are left.
    """
    began = now = clock()
    end, pause = began + seconds, FIRST
    while now < end:
        until = min(now + pause, end)
        while now < until:
            tell(end - now)
            sleep(min(LOOK, until - now))
            now = clock()
        yield now - began
        now, pause = clock(), min(pause * 2, LONGEST)


class Late:
    """Requests whose answers are late: their last replies, and how often each was sent.

    A reply takes the place of the one before it, whatever it says. Silence takes the place of none.
    """

    def __init__(self, replies: Replies, is_late: Callable[[Request, Reply], bool]) -> None:
        self.replies = dict(replies)
        self.waiting = list(replies)
        self._is_late = is_late
        self._waited = dict.fromkeys(replies, Waited())
        self._hopeless = False

    def again(
        self,
        send: Exchange,
        side_by_side: Callable[[Sequence[Callable[[], object]]], object],
        moments: Iterable[float],
    ) -> Replies:
        """Send what is late again at each moment, until nothing is; return all last replies."""
        for passed in moments:
            side_by_side([partial(self._ask, send, one, passed) for one in self.waiting])
            self.waiting = [one for one in self.waiting if self._is_late(one, self.replies[one])]
            if not self.waiting or self._hopeless:
                break
        return {
            request: replace(reply, waited=self._waited[request])
            for request, reply in self.replies.items()
        }

    def _ask(self, send: Exchange, request: Request, passed: float) -> None:
        before = self._waited[request]
        try:
            self.replies[request] = send(request)
            unheard = 0
        except NoVerdict as error:
            self._hopeless |= error.code in HOPELESS
            unheard = before.unheard + 1
        self._waited[request] = Waited(passed, before.asked + 1, unheard)


def look_again(
    send: Exchange, look: Callable[[Exchange], bool], moments: Iterable[float]
) -> Replies:
    """Let ``look`` ask afresh at each moment until it returns that it has found enough.

    Returns the replies to the last look that got one to each of its requests.
    """
    replies: Replies = {}
    for _ in moments:
        seen = _Look(send)
        enough = look(seen)
        if seen.unheard is None:
            replies = seen.replies
            if enough:
                break
        elif seen.unheard.code in HOPELESS:
            break
    return replies


class _Look:
    """An exchange that sends each request once, and keeps the replies and the last silence."""

    def __init__(self, send: Exchange) -> None:
        self._send = send
        self.replies: Replies = {}
        self.unheard: NoVerdict | None = None

    def __call__(self, request: Request) -> Reply:
        if request not in self.replies:
            try:
                self.replies[request] = self._send(request)
            except NoVerdict as error:
                self.unheard = error
                raise
        return self.replies[request]
