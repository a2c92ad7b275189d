"""The table of settings: it makes the flags, the ini keys and the docs.

``settings.Settings`` has a field for each row, of the type that the row's text is read as.
Every pytest run on the machine loads this, and reads it byte by byte; so it imports nothing that
pytest has not, and how texts are read is in ``values``.
"""

from __future__ import annotations

import argparse
import enum
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    Kind = Literal[
        "above_0", "boolean", "count", "data_source", "duration", "flow", "host", "name",
        "pass_or_fail", "printable", "provider", "proxy", "report", "token", "up_to_1d", "width",
    ]  # fmt: skip

ENVIRON: pytest.StashKey[Mapping[str, str]] = pytest.StashKey()
"""The environment that a run began with: what a test does to it must not decide who is asked."""


class Level(enum.IntEnum):
    """The places a setting may come from; the first that names it wins."""

    FLAG = 1
    ENVIRONMENT = 2
    INI = 3
    CONFIG_FILE = 4
    DEFAULT = 5


class Row:
    """One setting: what it is called, who may give it, and how its text is read.

    ``kind`` is a function of ``values``. A setting of ``many`` values is a tuple; with ``csv`` one
    text may hold several, with ``once`` none may be given twice. A ``switch`` is a flag without a
    value. ``addopts`` is false where an ini file's addopts must not say it.

    It has a name at each place: ``flag`` (``--kosli-max-age``), ``variable`` (``KOSLI_MAX_AGE``),
    ``dest`` in pytest's options and ini keys (``kosli_max_age``) and ``key``, which is the Kosli
    CLI's, also in its configuration file (``max-age``). ``usage`` is what is said of the flag.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        default: object,
        levels: tuple[Level, ...],
        metavar: str,
        help: str,
        *,
        many: bool = False,
        csv: bool = False,
        once: bool = False,
        switch: bool = False,
        addopts: bool = True,
        prefix: str = "kosli",
    ) -> None:
        self.name, self.kind, self.default, self.levels = name, kind, default, levels
        self.metavar, self.help, self.many, self.csv = metavar, help, many, csv
        self.once, self.switch, self.addopts = once, switch, addopts
        self.key = name.replace("_", "-")
        self.flag = f"--kosli-{self.key}"
        self.dest = f"{prefix}_{name}"
        self.variable = f"KOSLI_{name.upper()}"
        self.usage = f"{help}; repeatable" if many else help

    def parse(self, text: str) -> Any:
        """Return the value of a text, or raise ValueError with what is wrong with it."""
        from pytest_kosli import values

        return getattr(values, self.kind)(text)

    @property
    def elsewhere(self) -> str:
        """Return the places that are not the repository's: what to use instead of an ini file."""
        flag = [self.flag] * (Level.FLAG in self.levels)
        variable = [self.variable] * (Level.ENVIRONMENT in self.levels)
        return " or ".join(flag + variable)


_FLAG, _ENV, _INI, _FILE = Level.FLAG, Level.ENVIRONMENT, Level.INI, Level.CONFIG_FILE
_HERE = (_FLAG, _INI)
_ALL = (_FLAG, _ENV, _INI, _FILE)

# fmt: off
ROWS = (
    Row("api_token", "token", None, (_ENV, _FILE), "TOKEN",
        "Kosli API key; a reader's is enough"),
    Row("host", "host", "https://app.kosli.com", (_FLAG, _ENV, _FILE), "URL",
        "Kosli's address", addopts=False),
    Row("http_proxy", "proxy", None, (_FLAG, _ENV, _FILE), "URL",
        "proxy for requests to Kosli; without it HTTPS_PROXY and NO_PROXY count", addopts=False),
    Row("org", "name", None, _ALL, "NAME",
        "Kosli organisation"),
    Row("environment", "name", None, _ALL, "NAME",
        "environment whose policies artifacts are judged against; excludes policy"),
    Row("policy", "name", (), _ALL, "NAME[,NAME...]",
        "policies that artifacts are judged against; excludes environment", many=True, csv=True),
    Row("flow", "flow", None, _HERE, "NAME",
        "look in this flow only; * for the templates of every flow that holds the artifact"),
    Row("artifact", "printable", (), _HERE, "[NAME=]REFERENCE",
        "artifact to check", many=True),
    Row("snapshot", "printable", (), _HERE, "EXPRESSION",
        "check all that runs in an environment: prod, prod#42, prod~1, prod@{2.hours.ago}",
        many=True),
    Row("repo", "printable", (), _HERE, "OWNER/NAME",
        "check the live artifacts of a repository", many=True),
    Row("manifest", "printable", (), _HERE, "PATH",
        "check every image in a file that deploys: Kubernetes, compose, a list; - for standard "
        "input", many=True),
    Row("require_digests", "boolean", False, _HERE, "",
        "refuse an image of a manifest that has no digest, instead of asking its registry",
        switch=True),
    Row("without", "printable", (), _HERE, "PATTERN",
        "leave out artifacts whose name matches", many=True),
    Row("provider", "provider", None, _HERE, "NAME",
        "where the repository lives: github, gitlab, bitbucket, azure-devops, circleci"),
    Row("max_api_retries", "count", 3, _ALL, "N",
        "how often a request is repeated after its first attempt"),
    Row("timeout", "up_to_1d", 30.0, (_FLAG, _ENV, _INI), "DURATION",
        "time limit of one request: seconds, or 1m; at most 1d"),
    Row("concurrency", "width", 16, (_FLAG, _ENV, _INI), "N",
        "how many requests are under way at once, 1 to 64"),
    Row("allow_listed", "pass_or_fail", "pass", _HERE, "pass|fail",
        "what becomes of a test whose artifact is allow-listed"),
    Row("require_policies", "boolean", True, _HERE, "true|false",
        "false also accepts an environment without policies, judged by flow templates"),
    Row("max_snapshot_age", "above_0", None, _HERE, "DURATION",
        "refuse a snapshot that is older: seconds, or 15m, 2h, 1d"),
    Row("max_age", "above_0", None, _HERE, "DURATION",
        "refuse a verdict that was evaluated, or recorded, longer ago"),
    Row("allow_list_max_age", "above_0", None, _HERE, "DURATION",
        "refuse an allow-listing that is older; in Kosli it never expires"),
    Row("offline", "boolean", False, (_FLAG,), "",
        "answer from cassettes and never open a socket", switch=True, addopts=False),
    Row("cassettes", "printable", Path("cassettes"), _HERE, "FOLDER",
        "where cassettes are; relative to the ini file, as a flag to the current folder"),
    Row("record", "boolean", False, (_FLAG,), "",
        "ask Kosli and write cassettes", switch=True, addopts=False),
    Row("dry_run", "boolean", False, (_FLAG, _ENV), "",
        "send no request and skip every check", switch=True, addopts=False),
    Row("require", "count", None, _HERE, "N",
        "fail the run unless N artifacts got a live, passing verdict"),
    Row("all_or_nothing", "boolean", False, _HERE, "",
        "run no test at all when any artifact is refused or has no verdict", switch=True),
    Row("exit_codes", "boolean", False, _HERE, "",
        "exit with 10 when an artifact is refused, with 11 when one has no verdict", switch=True),
    Row("wait", "duration", 0.0, _HERE, "DURATION",
        "how long to ask again about what is unknown or incomplete, or not yet in a snapshot: "
        "seconds, or 5m"),
    Row("report", "report", (), _HERE, "PATH",
        "write a report: a .json, .md or .html file, or github for its job summary",
        many=True, once=True),
    Row("doctor", "boolean", False, (_FLAG,), "",
        "run no test: say whether everything is set up, and what to do", switch=True,
        addopts=False),
)

CODEALIVE = (
    Row("data_sources", "data_source", (), (_INI,), "OWNER/REPO = NAME",
        "data source of a repository, where its address and branch do not settle it", many=True,
        prefix="codealive"),
    Row("strict_pin", "boolean", False, (_INI,), "true|false",
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
    return any(getattr(config.option, row.dest) is not None for row in ROWS)
