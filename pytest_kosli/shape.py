"""Plain data of others into types of ours, one thread at a time; and one thing or several.

msgspec looks a type over when it first meets it, and Python crashes when two threads do so at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import UnionType
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_ONE = threading.Lock()


def convert(value: object, kind: type[T]) -> T:
    """Return plain data as ``kind``; raises msgspec's ValidationError where it does not fit."""
    with _ONE:
        return msgspec.convert(value, kind)


def decode(body: bytes, kind: type[T]) -> T:
    """Return JSON as ``kind``; raises msgspec's errors for what is not JSON, or does not fit."""
    with _ONE:
        return msgspec.json.decode(body, type=kind)


def several(given: object, one: type | UnionType | tuple[type, ...] = str) -> list[Any]:
    """Return all that was given: a thing of the kind ``one`` is one, and so is what is no list."""
    if isinstance(given, Iterable) and not isinstance(given, one):
        return list(given)
    return [given]
