"""How the text of a setting is read, a function for each kind of them, and how a value is shown.

A function raises ValueError with the end of a sentence that begins with the setting's name.
"""

from __future__ import annotations

import re
from pathlib import Path

from pytest_kosli.api.host import check_host, check_proxy
from pytest_kosli.model import ANY_FLOW
from pytest_kosli.names import NAME, PROVIDERS
from pytest_kosli.report import GITHUB, SUFFIXES
from pytest_kosli.text import duration as in_units

host, proxy = check_host, check_proxy

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def printable(text: str) -> str:
    """Read any text that can be printed."""
    if not text.isprintable():
        raise ValueError(f"{text!r} contains characters that can not be printed")
    return text


def name(text: str) -> str:
    """Read a name of Kosli's."""
    if not re.fullmatch(NAME, text):
        raise ValueError(
            f"{text!r} is not a name that Kosli allows: a letter or digit, then letters, digits "
            "and . - _ ~"
        )
    return text


def flow(text: str) -> str:
    """Read the name of a flow, or the sign for every one of them."""
    return text if text == ANY_FLOW else name(text)


def token(text: str) -> str:
    """Read an API token; what is wrong with one is told without it."""
    if not re.fullmatch(r"[!-+\--~]+", text):
        raise ValueError("is not one API token: those have no spaces, commas or special characters")
    return text


def provider(text: str) -> str:
    """Read where a repository lives."""
    return _one_of(PROVIDERS, text)


def pass_or_fail(text: str) -> str:
    """Read one of two words."""
    return _one_of(("pass", "fail"), text)


def _one_of(choices: tuple[str, ...], text: str) -> str:
    if text not in choices:
        raise ValueError(f"{text!r} is not one of {', '.join(choices)}")
    return text


def boolean(text: str) -> bool:
    """Read a boolean, in the spellings that the Kosli CLI takes."""
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ValueError(f"{text!r} is not a boolean; write true or false")


def count(text: str) -> int:
    """Read a whole number."""
    return _integer(text, 0, 999_999_999, "of 0 or more")


def width(text: str) -> int:
    """Read how much may go on at once."""
    return _integer(text, 1, 64, "from 1 to 64")


def _integer(text: str, least: int, most: int, limits: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise ValueError(f"{text!r} is not a whole number {limits}")
    return int(text)


def report(text: str) -> str:
    """Read where a report goes."""
    if text != GITHUB and Path(text).suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{text!r} is neither the word {GITHUB} nor a file that ends in .json, .md or .html"
        )
    return printable(text)


def data_source(text: str) -> tuple[str, str]:
    """Read the data source of a repository."""
    repo, _, name = (part.strip() for part in text.partition("="))
    if not repo or not name:
        raise ValueError(f"{text!r} is not OWNER/REPO = NAME")
    return repo, name


def duration(text: str) -> float:
    """Read a time, in seconds."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", text)
    if not found:
        raise ValueError(f"{text!r} is not a duration: seconds such as 90, or 90s, 15m, 2h, 1d")
    return float(found[1]) * _UNITS[found[2]]


def above_0(text: str) -> float:
    """Read a time that is not nothing, in seconds."""
    if not (seconds := duration(text)):
        raise ValueError(f"{text!r} is not a duration above 0")
    return seconds


def up_to_1d(text: str) -> float:
    """Read a time limit, in seconds."""
    if (seconds := above_0(text)) > _UNITS["d"]:
        raise ValueError(f"{text!r} is longer than 1d")
    return seconds


def shown(value: object) -> str:
    """Return how people read a setting's value; the credentials of an address are left out."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return in_units(value)
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if isinstance(value, str) and "://" in value:
        scheme, _, rest = value.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"
    return "none" if value is None else str(value)
