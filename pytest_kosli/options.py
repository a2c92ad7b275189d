"""The table of settings: it makes the flags, the ini keys and the docs.

``settings.Settings`` has a field for each row, of the type that the row's text is read as.

Loaded by every pytest run on the machine, so it imports nothing that pytest has not.
"""

from __future__ import annotations

import argparse
import enum
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_kosli.names import DEFAULT_HOST, NAME, PROVIDERS

ENVIRON: pytest.StashKey[Mapping[str, str]] = pytest.StashKey()
"""The environment that a run began with: what a test does to it must not decide who is asked."""


class Level(enum.IntEnum):
    """The places a setting may come from; the first that names it wins."""

    FLAG = 1
    ENVIRONMENT = 2
    INI = 3
    CONFIG_FILE = 4
    DEFAULT = 5


# Parsers: text in, value out; ValueError with the end of the sentence "--kosli-timeout: ...".


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} contains characters that can not be printed")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        raise ValueError(
            f"{text!r} is not a name that Kosli allows: a letter or digit, then letters, digits "
            "and . - _ ~"
        )
    return text


def _flow(text: str) -> str:
    from pytest_kosli.model import ANY_FLOW

    return text if text == ANY_FLOW else _name(text)


def _token(text: str) -> str:
    if not re.fullmatch(r"[!-+\--~]+", text):
        raise ValueError("is not one API token: those have no spaces, commas or special characters")
    return text


def _host(text: str) -> str:
    from pytest_kosli.api.host import check_host

    return check_host(text)


def _proxy(text: str) -> str:
    from pytest_kosli.api.host import check_proxy

    return check_proxy(text)


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


def _boolean(text: str) -> bool:
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ValueError(f"{text!r} is not a boolean; write true or false")


def _integer(least: int, most: int = 999_999_999) -> Callable[[str], int]:
    limits = f"of {least} or more" if most == 999_999_999 else f"from {least} to {most}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"{text!r} is not a whole number {limits}")
        return int(text)

    return parse


def _report(text: str) -> str:
    from pytest_kosli.report import GITHUB, SUFFIXES

    if text != GITHUB and Path(text).suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{text!r} is neither the word {GITHUB} nor a file that ends in .json, .md or .html"
        )
    return _text(text)


def _data_source(text: str) -> tuple[str, str]:
    repo, _, name = (part.strip() for part in text.partition("="))
    if not repo or not name:
        raise ValueError(f"{text!r} is not OWNER/REPO = NAME")
    return repo, name


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def _duration(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", text)
    if not found:
        raise ValueError(f"{text!r} is not a duration: seconds such as 90, or 90s, 15m, 2h, 1d")
    return float(found[1]) * _UNITS[found[2]]


def _above_0(text: str) -> float:
    if not (seconds := _duration(text)):
        raise ValueError(f"{text!r} is not a duration above 0")
    return seconds


def _up_to_1d(text: str) -> float:
    if (seconds := _above_0(text)) > _UNITS["d"]:
        raise ValueError(f"{text!r} is longer than 1d")
    return seconds


# The table.


class Row(NamedTuple):
    """One setting: what it is called, who may give it, and how its text is read.

    A setting of ``many`` values is a tuple; with ``csv`` one text may hold several, with
    ``once`` none may be given twice. A ``switch`` is a flag without a value. ``addopts`` is false
    where an ini file's addopts must not say it.
    """

    name: str
    parse: Callable[[str], object]
    default: object
    levels: tuple[Level, ...]
    metavar: str
    help: str
    many: bool = False
    csv: bool = False
    once: bool = False
    switch: bool = False
    addopts: bool = True
    prefix: str = "kosli"

    @property
    def flag(self) -> str:
        """Return the flag: ``--kosli-max-api-retries``."""
        return f"--kosli-{self.key}"

    @property
    def dest(self) -> str:
        """Return the name in pytest's options, and the ini key: ``kosli_max_api_retries``."""
        return f"{self.prefix}_{self.name}"

    @property
    def variable(self) -> str:
        """Return the environment variable: ``KOSLI_MAX_API_RETRIES``."""
        return f"KOSLI_{self.name.upper()}"

    @property
    def key(self) -> str:
        """Return the Kosli CLI's name, used in its configuration file: ``max-api-retries``."""
        return self.name.replace("_", "-")

    @property
    def usage(self) -> str:
        """Return what is said of the flag: what the setting is, and whether it may be repeated."""
        return f"{self.help}; repeatable" if self.many else self.help

    @property
    def elsewhere(self) -> str:
        """Return the places that are not the repository's: what to use instead of an ini file."""
        places = {Level.FLAG: self.flag, Level.ENVIRONMENT: self.variable}
        return " or ".join(place for level, place in places.items() if level in self.levels)


_FLAG, _ENV, _INI, _FILE = Level.FLAG, Level.ENVIRONMENT, Level.INI, Level.CONFIG_FILE
_HERE = (_FLAG, _INI)
_ALL = (_FLAG, _ENV, _INI, _FILE)

# fmt: off
ROWS = (
    Row("api_token", _token, None, (_ENV, _FILE), "TOKEN",
        "Kosli API key; a reader's is enough"),
    Row("host", _host, DEFAULT_HOST, (_FLAG, _ENV, _FILE), "URL",
        "Kosli's address", addopts=False),
    Row("http_proxy", _proxy, None, (_FLAG, _ENV, _FILE), "URL",
        "proxy for requests to Kosli; without it HTTPS_PROXY and NO_PROXY count", addopts=False),
    Row("org", _name, None, _ALL, "NAME",
        "Kosli organisation"),
    Row("environment", _name, None, _ALL, "NAME",
        "environment whose policies artifacts are judged against; excludes policy"),
    Row("policy", _name, (), _ALL, "NAME[,NAME...]",
        "policies that artifacts are judged against; excludes environment", many=True, csv=True),
    Row("flow", _flow, None, _HERE, "NAME",
        "look in this flow only; * for the templates of every flow that holds the artifact"),
    Row("artifact", _text, (), _HERE, "[NAME=]REFERENCE",
        "artifact to check", many=True),
    Row("snapshot", _text, (), _HERE, "EXPRESSION",
        "check all that runs in an environment: prod, prod#42, prod~1, prod@{2.hours.ago}",
        many=True),
    Row("repo", _text, (), _HERE, "OWNER/NAME",
        "check the live artifacts of a repository", many=True),
    Row("manifest", _text, (), _HERE, "PATH",
        "check every image in a file that deploys: Kubernetes, compose, a list; - for standard "
        "input", many=True),
    Row("require_digests", _boolean, False, _HERE, "",
        "refuse an image of a manifest that has no digest, instead of asking its registry",
        switch=True),
    Row("without", _text, (), _HERE, "PATTERN",
        "leave out artifacts whose name matches", many=True),
    Row("provider", _one_of(*PROVIDERS), None, _HERE, "NAME",
        f"where the repository lives: {', '.join(PROVIDERS)}"),
    Row("max_api_retries", _integer(0), 3, _ALL, "N",
        "how often a request is repeated after its first attempt"),
    Row("timeout", _up_to_1d, 30.0, (_FLAG, _ENV, _INI), "DURATION",
        "time limit of one request: seconds, or 1m; at most 1d"),
    Row("concurrency", _integer(1, 64), 16, (_FLAG, _ENV, _INI), "N",
        "how many requests are under way at once, 1 to 64"),
    Row("allow_listed", _one_of("pass", "fail"), "pass", _HERE, "pass|fail",
        "what becomes of a test whose artifact is allow-listed"),
    Row("require_policies", _boolean, True, _HERE, "true|false",
        "false also accepts an environment without policies, judged by flow templates"),
    Row("max_snapshot_age", _above_0, None, _HERE, "DURATION",
        "refuse a snapshot that is older: seconds, or 15m, 2h, 1d"),
    Row("max_age", _above_0, None, _HERE, "DURATION",
        "refuse a verdict that was evaluated, or recorded, longer ago"),
    Row("allow_list_max_age", _above_0, None, _HERE, "DURATION",
        "refuse an allow-listing that is older; in Kosli it never expires"),
    Row("offline", _boolean, False, (_FLAG,), "",
        "answer from cassettes and never open a socket", switch=True, addopts=False),
    Row("cassettes", _text, Path("cassettes"), _HERE, "FOLDER",
        "where cassettes are; relative to the ini file, as a flag to the current folder"),
    Row("record", _boolean, False, (_FLAG,), "",
        "ask Kosli and write cassettes", switch=True, addopts=False),
    Row("dry_run", _boolean, False, (_FLAG, _ENV), "",
        "send no request and skip every check", switch=True, addopts=False),
    Row("require", _integer(0), None, _HERE, "N",
        "fail the run unless N artifacts got a live, passing verdict"),
    Row("all_or_nothing", _boolean, False, _HERE, "",
        "run no test at all when any artifact is refused or has no verdict", switch=True),
    Row("exit_codes", _boolean, False, _HERE, "",
        "exit with 10 when an artifact is refused, with 11 when one has no verdict", switch=True),
    Row("wait", _duration, 0.0, _HERE, "DURATION",
        "how long to ask again about what is unknown or incomplete, or not yet in a snapshot: "
        "seconds, or 5m"),
    Row("report", _report, (), _HERE, "PATH",
        "write a report: a .json, .md or .html file, or github for its job summary",
        many=True, once=True),
    Row("doctor", _boolean, False, (_FLAG,), "",
        "run no test: say whether everything is set up, and what to do", switch=True,
        addopts=False),
)

CODEALIVE = (
    Row("data_sources", _data_source, (), (_INI,), "OWNER/REPO = NAME",
        "data source of a repository, where its address and branch do not settle it", many=True,
        prefix="codealive"),
    Row("strict_pin", _boolean, False, (_INI,), "true|false",
        "true refuses source that is tied to no commit or branch of the artifact",
        prefix="codealive"),
)
"""What assert_source goes by: in the ini file alone, and read only when it is used."""
# fmt: on


def register(parser: pytest.Parser) -> None:
    """Add every flag and ini key to pytest's own.

    All names are registered at both places, also where a setting is refused: pytest would only warn
    of an unknown ini key, and would print an unknown ``--kosli-api-token`` with its value.
    """
    group = parser.getgroup("kosli", "Kosli: are the artifacts compliant?")
    # Native TOML has numbers and booleans; from 9.2 on pytest takes a union for them.
    scalar: Any = str | int | float | bool
    if pytest.version_tuple < (9, 2):
        scalar = "string"
    for row in ROWS:
        usage = row.usage if Level.FLAG in row.levels else argparse.SUPPRESS
        if row.switch:
            group.addoption(row.flag, dest=row.dest, action="store_true", default=None, help=usage)
        else:
            action = "append" if row.many else "store"
            group.addoption(
                row.flag,
                dest=row.dest,
                action=action,
                default=None,
                metavar=row.metavar,
                help=usage,
            )
    for row in (*ROWS, *CODEALIVE):
        told = row.help if Level.INI in row.levels else f"refused here; use {row.elsewhere}"
        kind: Any = "linelist" if row.many else scalar
        parser.addini(row.dest, told, type=kind, default=None)


def flags_given(config: pytest.Config) -> bool:
    """Return whether any ``--kosli-*`` flag is there; looks at nothing else."""
    return any(config.getoption(row.dest) is not None for row in ROWS)


def shown(value: object) -> str:
    """Return how people read a setting's value; the credentials of an address are left out."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        from pytest_kosli.text import duration

        return duration(value)
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    if isinstance(value, str) and "://" in value:
        scheme, _, rest = value.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"
    return "none" if value is None else str(value)


def markdown_table(rows: Sequence[Row] = ROWS) -> str:
    """Return the table for the documentation, one line a setting."""
    head = ("setting", "flag", "variable", "ini key", "`~/.kosli.yml`", "default", "what it is")
    lines = [head, ("---",) * len(head)]
    for row in rows:
        names = (row.flag, row.variable, row.dest, row.key)
        places = (
            f"`{name}`" if level in row.levels else "no"
            for level, name in zip(Level, names, strict=False)
        )
        default = f"`{shown(row.default)}`" if row.default not in (None, ()) else "none"
        lines.append((row.name, *places, default, row.usage.replace("|", "\\|")))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
