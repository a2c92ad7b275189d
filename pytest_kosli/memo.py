"""What a run remembers, by key, in plain data: for one process, or for all that share a folder."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

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
                self._locks.pop(key)
            return self._known[key]

    def exclusive(self, name: str) -> AbstractContextManager[object]:
        """Return nothing to wait for: there is one process."""
        return nullcontext()


class SharedMemo:
    """A Memo over a folder: a file a key, written whole, under a lock that can not be left over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._here = ProcessMemo()

    def once(self, key: str, make: Callable[[], Plain]) -> Plain:
        """Return what any process of the run knows of a key, or make it while others wait."""
        return self._here.once(key, lambda: self._across(key, make))

    def exclusive(self, name: str) -> AbstractContextManager[object]:
        """Return a lock that one process of the run holds at a time."""
        from filelock import FileLock

        return FileLock(self._folder / f"{name}.lock")

    def _across(self, key: str, make: Callable[[], Plain]) -> Plain:
        name = sha256(key.encode()).hexdigest()
        path = self._folder / f"{name}.json"
        if not path.exists():
            with self.exclusive(name):
                if not path.exists():
                    draft = path.with_suffix(".draft")
                    draft.write_text(json.dumps(make()), encoding="utf-8")
                    os.replace(draft, path)
        plain: Plain = json.loads(path.read_text(encoding="utf-8"))
        return plain
