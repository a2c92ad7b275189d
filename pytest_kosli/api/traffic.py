"""What all requests of one client share: lanes, pauses, budgets, outages, and their deadlines."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from pytest_kosli.model import NoVerdict, Reply

PAUSE_CAP = 30.0
"""Seconds: the longest pause before a retry, whatever a server asks for."""

OUTAGE_AFTER = 5
"""Connection-level failures in a row, no reply between, that make an outage."""

_LINGER = 2.0


class Clock:
    """The real clocks. Attributes of a class: tools that freeze time swap those of modules."""

    now = staticmethod(time.perf_counter)
    _wall = staticmethod(time.time)
    _moment = staticmethod(datetime.fromtimestamp)

    @classmethod
    def utc(cls) -> datetime:
        """Return the present moment, in UTC."""
        return cls._moment(cls._wall(), UTC)


class Call:
    """One Request on its way: what it may cost, what it has cost, and the socket that it is on."""

    def __init__(
        self, traffic: Traffic, where: str, timeout: float, retries: int, backoff: float
    ) -> None:
        self.traffic = traffic
        self.where = where
        self.timeout = timeout
        self.retries = retries
        self.backoff = backoff
        self.final: Callable[[Reply], bool] = lambda reply: False
        self.target = ""
        self.attempts = 0
        self.limit = 0
        self.heard = False
        self.until = math.inf
        self.stopped_by: NoVerdict | None = None
        self.line: socket.socket | None = None
        self.running = False
        self._total: float | None = None

    def begin(self, line: socket.socket | None = None) -> None:
        """Start an attempt, unless it is under way; ``line`` is the socket of an open connection.

        Waits for the common pause to end. Raises NoVerdict when no request may be sent any more.
        """
        if not self.running:
            self.traffic.start(self)
            self.attempts += 1
        if line is not None:
            self.hold(line)

    def hold(self, line: socket.socket) -> None:
        """Name the socket to shut down at the deadline; raises OSError if that has passed."""
        with self.traffic.lock:
            self.line = line
            if self.stopped_by:
                raise ConnectionAbortedError("stopped at the deadline")

    def end(self) -> NoVerdict | None:
        """End the attempt; return why it was stopped from outside, if it was."""
        self.traffic.finish(self)
        return self.stopped_by

    def left(self) -> float:
        """Return the seconds that this attempt still has."""
        return max(self.until - Clock.now(), 0.0)

    def affords(self, wait: float) -> bool:
        """Return whether there is time for another attempt after ``wait`` seconds."""
        total = math.inf if self._total is None else self._total
        return Clock.now() + wait < min(total, self.traffic.end_of_budget())

    def arm(self) -> None:
        """Set the deadlines of a new attempt: its own, and that of the whole request."""
        now = Clock.now()
        if self._total is None:
            self._total = now + self.timeout * (self.retries + 1) + PAUSE_CAP * self.retries
        self.until = min(now + self.timeout, self._total)
        self.stopped_by, self.line, self.heard = None, None, False


class Traffic:
    """The rules of the road for the threads of one client, under one lock."""

    def __init__(self, lanes: int) -> None:
        # Reentrant, because Ctrl-C may find its own thread in here.
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._alarm = threading.Condition(self.lock)
        self._free = lanes
        self._paused_until = 0.0
        self._budgets: list[float] = []
        self._running: set[Call] = set()
        self._failures = 0
        self._gave_up = False
        self._ended: NoVerdict | None = None
        self._watchdog: threading.Thread | None = None
        self._wakes_at = 0.0

    @contextlib.contextmanager
    def lane(self) -> Iterator[None]:
        """Wait for one of the lanes, and hold it."""
        with self.lock:
            while not self._free:
                self._changed.wait(None if not self._budgets else self._left_of_budget())
                self._check()
            self._free -= 1
        try:
            yield
        finally:
            with self.lock:
                self._free += 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def budget(self, seconds: float) -> Iterator[None]:
        """Stop everything that is sent, by any thread, ``seconds`` from now, until the exit."""
        until = Clock.now() + seconds
        with self.lock:
            self._budgets.append(until)
            self._wake()
        try:
            yield
        finally:
            with self.lock:
                self._budgets.remove(until)

    def end_of_budget(self) -> float:
        """Return when the tightest budget in force ends."""
        with self.lock:
            return min(self._budgets, default=math.inf)

    def pause(self, seconds: float) -> None:
        """Let no request of any thread start for so many seconds."""
        with self.lock:
            self._paused_until = max(self._paused_until, Clock.now() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait; raises NoVerdict as soon as there is nothing to wait for any more."""
        until = Clock.now() + seconds
        self._wait(lambda: until)

    def start(self, call: Call) -> None:
        """Let an attempt begin, after the common pause, under the watchdog's eyes."""
        with self.lock:
            self._wait(lambda: self._paused_until)
            call.arm()
            call.running = True
            self._running.add(call)
            if not (self._watchdog and self._watchdog.is_alive()):
                self._watchdog = threading.Thread(
                    target=self._watch, name="pytest-kosli-deadlines", daemon=True
                )
                self._watchdog.start()
            elif call.until < self._wakes_at:
                self._alarm.notify()

    def finish(self, call: Call) -> None:
        """Take an attempt out of the watchdog's care."""
        with self.lock:
            call.running, call.line = False, None
            self._running.discard(call)

    def heard(self) -> None:
        """Note a complete reply, of whatever status: there is a server."""
        with self.lock:
            self._failures, self._gave_up = 0, False

    def unheard(self, why: NoVerdict, *, gave_up: bool) -> None:
        """Note an attempt without a reply.

        Five in a row are an outage once a request among them has used up its retries: then a blip
        that hits all lanes in one moment is survived, and a dead server costs one request's time.
        """
        with self.lock:
            self._failures += 1
            self._gave_up |= gave_up
            if self._gave_up and self._failures >= OUTAGE_AFTER:
                self._end(
                    NoVerdict(
                        "outage",
                        f"{why.message}; {self._failures} attempts in a row had no reply, "
                        "so no more were made",
                        why.todo,
                    )
                )

    def stop(self, why: NoVerdict) -> None:
        """Shut down every socket in use, and let every later request raise ``why``."""
        with self.lock:
            self._end(why)
            for call in self._running:
                self._shut(call, why)

    def close(self) -> None:
        """Stop, and wait for the watchdog to end."""
        self.stop(NoVerdict("interrupted", "the connection to the server is closed already"))
        watchdog = self._watchdog
        if watchdog is not None:
            watchdog.join()

    def _end(self, why: NoVerdict) -> None:
        if self._ended is None or self._ended.code == "outage":
            self._ended = why
        self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        self._alarm.notify_all()

    def _check(self) -> None:
        if self._ended is not None:
            raise NoVerdict(self._ended.code, self._ended.message, self._ended.todo)
        if self._left_of_budget() <= 0:
            raise _spent()

    def _left_of_budget(self) -> float:
        return self.end_of_budget() - Clock.now()

    def _wait(self, until: Callable[[], float]) -> None:
        with self.lock:
            self._check()
            while (left := until() - Clock.now()) > 0:
                self._changed.wait(min(left, self._left_of_budget()))
                self._check()

    def _watch(self) -> None:
        with self.lock:
            idle = False
            while (self._running or not idle) and not self._is_interrupted():
                now = Clock.now()
                spent = self.end_of_budget()
                for call in self._running:
                    if min(call.until, spent) <= now:
                        self._shut(call, _spent() if spent <= now else _late(call.timeout))
                ends = [call.until for call in self._running if not call.stopped_by]
                idle = not ends
                self._wakes_at = now + _LINGER if idle else min(*ends, spent)
                self._alarm.wait(self._wakes_at - now)
            self._watchdog = None

    def _is_interrupted(self) -> bool:
        return self._ended is not None and self._ended.code == "interrupted"

    def _shut(self, call: Call, why: NoVerdict) -> None:
        if call.stopped_by is None:
            call.stopped_by = why
            if call.line is not None:
                with contextlib.suppress(OSError):
                    call.line.shutdown(socket.SHUT_RDWR)


def _spent() -> NoVerdict:
    return NoVerdict(
        "budget_spent",
        "the time set aside for these requests was over before the server had answered them",
        "Raise --kosli-timeout, or ask for less.",
    )


def _late(seconds: float) -> NoVerdict:
    return NoVerdict(
        "timeout",
        f"no whole reply within {seconds:g} s",
        "Try again; if the server is slow but sound, raise --kosli-timeout.",
    )
