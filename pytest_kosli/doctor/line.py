"""What the doctor says of one thing: how it was found, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from pytest_kosli.model import NoVerdict


class State(enum.Enum):
    """How a thing was found."""

    OK = "ok"
    MEND = "to mend"
    UNSEEN = "not looked at"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a run relies on, how it was found, and what to do if it is to be mended."""

    state: State
    about: str
    said: str
    todo: str = ""
    docs: str = ""


class NotLookedAt(Exception):
    """Why a thing was not looked at, where that alone is nothing to mend."""


def to_mend(about: str, error: NoVerdict) -> Line:
    """Return the line about what an error is in the way of."""
    said = "; ".join((error.message, *error.errors))
    return Line(State.MEND, about, said, error.todo, error.docs)
