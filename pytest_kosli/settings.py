"""Settings: what is in force in this run, where each value came from, and the header's lines."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NoReturn

import pytest

from pytest_kosli import configfile
from pytest_kosli.api.host import Token
from pytest_kosli.model import NoVerdict, Scope
from pytest_kosli.names import DEFAULT_HOST
from pytest_kosli.options import CODEALIVE, ROWS, Level, Row
from pytest_kosli.values import shown

REGIONS = (DEFAULT_HOST, "https://app.us.kosli.com")
SCOPES = ("environment", "policy")
DRY_RUN_TOKEN = "DRY_RUN"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Where:
    """The place a value came from, and its name there: ``--kosli-org``, ``tox.ini: kosli_org``."""

    level: Level
    text: str

    def __str__(self) -> str:
        return self.text


_DEFAULT = Where(Level.DEFAULT, "default")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting in force, by the names of the table, and where each came from.

    Durations are seconds, ``cassettes`` is absolute, ``notes`` are remarks for a verbose header.
    """

    api_token: Token | None
    host: str
    http_proxy: str | None = field(repr=False)
    org: str | None
    environment: str | None
    policy: tuple[str, ...]
    flow: str | None
    artifact: tuple[str, ...]
    snapshot: tuple[str, ...]
    repo: tuple[str, ...]
    manifest: tuple[str, ...]
    require_digests: bool
    without: tuple[str, ...]
    provider: str | None
    max_api_retries: int
    timeout: float
    concurrency: int
    allow_listed: Literal["pass", "fail"]
    require_policies: bool
    max_snapshot_age: float | None
    max_age: float | None
    allow_list_max_age: float | None
    offline: bool
    cassettes: Path
    record: bool
    dry_run: bool
    require: int | None
    all_or_nothing: bool
    exit_codes: bool
    wait: float
    report: tuple[str, ...]
    doctor: bool
    origins: Mapping[str, Where]
    notes: tuple[str, ...]

    @property
    def scope(self) -> Scope:
        """Return what artifacts are judged against where no marker or call says it, if anything."""
        return Scope(self.environment, self.policy, self.flow)

    def judged_by(self, kind: str) -> Scope:
        """Return what the artifacts of one setting are judged against where no mark says it.

        For a snapshot or repo that is only a scope named at least as high up: a snapshot on the
        command line names its environment there, so a variable left over in the job must not
        quietly send its artifacts before other policies. A ``hook`` counts as a flag.
        """
        named = self.origins["environment" if self.environment else "policy"]
        level = Level.FLAG if kind == "hook" else self.origins[kind].level
        if kind in ("artifact", "manifest") or named.level <= level:
            return self.scope
        return Scope(flow=self.flow)

    @property
    def mode(self) -> str:
        """Return ``dry run``, ``offline``, ``record`` or ``live``."""
        if self.dry_run:
            return "dry run"
        return "offline" if self.offline else "record" if self.record else "live"

    @property
    def waits(self) -> float:
        """Return the seconds that are waited for what is late: none where Kosli is not asked."""
        return self.wait if self.mode in ("live", "record") else 0.0

    def from_flag(self, name: str) -> tuple[str, ...]:
        """Return the values of a repeatable setting if the command line gave them, else nothing."""
        values: tuple[str, ...] = getattr(self, name)
        return values if self.origins[name].level is Level.FLAG else ()


@dataclass(frozen=True, slots=True)
class CodeAliveSettings:
    """What assert_source goes by; ``data_sources`` is by repository, ``owner/repo``."""

    data_sources: Mapping[str, str]
    strict_pin: bool


def read_codealive(config: pytest.Config) -> CodeAliveSettings:
    """Return the ini keys about source; raises ``pytest.UsageError`` as ``read`` does."""
    sources = _Sources(config, {}, configfile.ConfigFile(""))
    values = {row.name: _value(row, sources._ini(row)) for row in CODEALIVE}
    chosen = dict(values["data_sources"])
    if len(chosen) < len(values["data_sources"]):
        raise pytest.UsageError("codealive_data_sources: a repository is named twice")
    return CodeAliveSettings(MappingProxyType(chosen), values["strict_pin"])


@dataclass(frozen=True, slots=True)
class Wrong:
    """A usage error, what it is about, and the settings whose value it leaves unknown."""

    about: str
    error: pytest.UsageError
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """The settings in force and every usage error in them.

    A setting that an error leaves unknown is at its default in ``settings``, or as it was given:
    nothing may rely on it. ``file`` is None when the configuration file can not be read.
    """

    settings: Settings
    wrong: tuple[Wrong, ...]
    file: configfile.ConfigFile | None


def read(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings in force; raises ``pytest.UsageError`` that names setting and place."""
    found = survey(config, environ)
    if found.wrong:
        raise found.wrong[0].error from None
    return found.settings


def survey(config: pytest.Config, environ: Mapping[str, str] = os.environ) -> Survey:
    """Return what the four places say, and all that is wrong with it."""
    refused = list(_in_addopts(config))
    file, unreadable = _load(environ)
    sources = _Sources(config, environ, file or configfile.ConfigFile(""))
    found: dict[str, _Given | None] = dict.fromkeys(row.name for row in ROWS)
    unfound = _Wrongs()
    for row in ROWS:
        with unfound.about(row.name):
            found[row.name] = sources.find(row)
    missing = {name for name, given in found.items() if given is None}
    empty, unread = _empty_scopes(environ, missing), _unread(unreadable, missing)
    wrong = _Wrongs([*refused, *empty, *unread, *unfound])
    with wrong.about(*SCOPES):
        _choose_scope(found)
    values, origins = _values(found, wrong)
    values["cassettes"] = folder(config, origins["cassettes"].level) / values["cassettes"]
    with wrong.about("api_token"):
        _hold_token(sources, values, origins)
    settings = Settings(**values, origins=MappingProxyType(origins), notes=_notes(environ))
    return Survey(settings, (*wrong, *_not_together(settings)), file)


class _Wrongs(list[Wrong]):
    """Usage errors, gathered one by one."""

    @contextlib.contextmanager
    def about(self, *names: str) -> Iterator[None]:
        """Note the usage error that the ``with`` block ends with, if any, as about settings."""
        try:
            yield
        except pytest.UsageError as error:
            self.append(Wrong(", ".join(names), error, names))


def _in_addopts(config: pytest.Config) -> Iterator[Wrong]:
    """Parse the ini file's addopts as pytest does, so that flags in an ``@file`` count as well."""
    parser = _Addopts(add_help=False, allow_abbrev=False, fromfile_prefix_chars="@")
    guarded = [row for row in ROWS if not row.addopts]
    for row in guarded:
        parser.add_argument(row.flag, dest=row.dest, nargs="?", const=True)
    try:
        given, _ = parser.parse_known_args(config.getini("addopts"))
    except pytest.UsageError as error:
        yield Wrong("addopts", error, tuple(row.name for row in guarded))
        return
    for row in guarded:
        if getattr(given, row.dest) is not None:
            refused = pytest.UsageError(
                f"{_ini_name(config, 'addopts')}: addopts: {row.flag} "
                f"{_refusal(row, Level.INI)} outside of it"
            )
            yield Wrong(row.name, refused, (row.name,))


class _Addopts(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise pytest.UsageError(f"addopts: {message}")


def _ini_name(config: pytest.Config, key: str) -> str:
    overridden = any(
        text.partition("=")[0].strip() == key for text in config.getoption("override_ini") or ()
    )
    return "-o" if overridden or config.inipath is None else config.inipath.name


def _empty_scopes(environ: Mapping[str, str], missing: Collection[str]) -> Iterator[Wrong]:
    for name in SCOPES:
        variable = f"KOSLI_{name.upper()}"
        if variable in environ and not environ[variable].strip():
            error = pytest.UsageError(
                f"{variable}: is set and empty, which would be a weaker check; unset it or fill it"
            )
            yield Wrong(name, error, (name,) if name in missing else ())


def _load(environ: Mapping[str, str]) -> tuple[configfile.ConfigFile | None, str]:
    """Return the configuration file, or why it can not be read."""
    try:
        return configfile.load(environ), ""
    except ValueError as error:
        return None, str(error)


def _unread(why: str, missing: Collection[str]) -> Iterator[Wrong]:
    """A file that can not be read may say what no other place does.

    A proxy in it would only be another way to the same host, so that is not counted.
    """
    if why:
        rows = [row.name for row in ROWS if Level.CONFIG_FILE in row.levels]
        names = tuple(name for name in rows if name in missing and name != "http_proxy")
        yield Wrong("config file", pytest.UsageError(why), names)


_Given = tuple[Where, list[str]]


@dataclass(frozen=True, slots=True)
class _Sources:
    """The four places, asked for one row at a time."""

    config: pytest.Config
    environ: Mapping[str, str]
    file: configfile.ConfigFile

    def find(self, row: Row) -> _Given | None:
        flag, ini = self._flag(row), self._ini(row)
        for given in (flag, ini):
            if given and given[0].level not in row.levels:
                raise pytest.UsageError(f"{given[0]}: {_refusal(row, given[0].level)}")
        return flag or self._variable(row) or ini or self._entry(row)

    def _flag(self, row: Row) -> _Given | None:
        value = self.config.getoption(row.dest)
        return None if value is None else (Where(Level.FLAG, row.flag), _texts(value))

    def _variable(self, row: Row) -> _Given | None:
        value = self.environ.get(row.variable) if Level.ENVIRONMENT in row.levels else None
        if row.name in SCOPES and not (value or "").strip():
            return None  # a blank one has an error of its own
        return (Where(Level.ENVIRONMENT, row.variable), [value]) if value else None

    def _ini(self, row: Row) -> _Given | None:
        where = Where(Level.INI, f"{_ini_name(self.config, row.dest)}: {row.dest}")
        try:
            value = self.config.getini(row.dest)
        except (pytest.UsageError, TypeError, ValueError) as error:
            if Level.INI in row.levels:
                raise pytest.UsageError(f"{where}: {error}") from None
            value = ""
        return None if value is None else (where, _texts(value))

    def _entry(self, row: Row) -> _Given | None:
        if Level.CONFIG_FILE not in row.levels:
            return None
        where = Where(Level.CONFIG_FILE, f"{self.file.label}: {row.key}")
        try:
            texts = self.file.get(row.key)
        except ValueError as error:
            raise pytest.UsageError(f"{where}: {error}") from None
        return None if texts is None else (where, texts)


def _texts(value: object) -> list[str]:
    return [str(item) for item in (value if isinstance(value, list) else [value])]


def _refusal(row: Row, level: Level) -> str:
    if level is Level.FLAG:
        return f"is refused, because process lists show it; use {row.elsewhere}"
    return f"is refused there, where a pull request can change it; use {row.elsewhere}"


def _choose_scope(found: dict[str, _Given | None]) -> None:
    """Keep one of environment and policy: together they are one setting."""
    environment, policy = found["environment"], found["policy"]
    if environment is None or policy is None:
        return
    if environment[0].level == policy[0].level:
        raise pytest.UsageError(
            f"{environment[0]} and {policy[0]}: artifacts are judged against an environment's "
            "policies or against named ones; give one of the two"
        )
    found["policy" if environment[0].level < policy[0].level else "environment"] = None


def _values(
    found: Mapping[str, _Given | None], wrong: _Wrongs
) -> tuple[dict[str, Any], dict[str, Where]]:
    """Return the value of each setting and where it came from; defaults for what is wrong."""
    unknown = {name for one in wrong for name in one.names}
    values: dict[str, Any] = {}
    origins: dict[str, Where] = {}
    for row in ROWS:
        given = None if row.name in unknown else found[row.name]
        values[row.name], origins[row.name] = row.default, _DEFAULT
        with wrong.about(row.name):
            values[row.name] = _value(row, given)
            origins[row.name] = given[0] if given else _DEFAULT
    return values, origins


def _value(row: Row, given: _Given | None) -> Any:
    if given is None:
        return row.default
    where, texts = given
    if row.csv:
        texts = [part for text in texts for part in text.split(",")]
    texts = [text.strip() for text in texts]
    try:
        if not texts or not all(texts):
            raise ValueError("a value is empty")
        if len(texts) > 1 and not row.many:
            raise ValueError(f"takes one value, not {len(texts)}")
        values = [row.parse(text) for text in texts]
        if row.once and len(set(values)) < len(values):
            raise ValueError("one value is given twice")
    except ValueError as error:
        raise pytest.UsageError(f"{where}: {error}") from None
    return tuple(dict.fromkeys(values)) if row.many else values[0]


def folder(config: pytest.Config, level: Level) -> Path:
    """Return what a relative path is relative to, as people expect it of a shell and of a file."""
    if level is Level.FLAG:
        return config.invocation_params.dir
    return config.inipath.parent if config.inipath else config.rootpath


def _hold_token(sources: _Sources, values: dict[str, Any], origins: dict[str, Where]) -> None:
    """Put the token away, and do what a token can say: stand down, or that it is no token."""
    token, where = values["api_token"], origins["api_token"]
    if token is None:
        return
    if token == DRY_RUN_TOKEN:
        values["dry_run"], origins["dry_run"] = True, Where(where.level, f"{where}={token}")
    if where.level is Level.ENVIRONMENT:
        environ = sources.environ
        values["api_token"] = Token(lambda: environ.get("KOSLI_API_TOKEN", ""))
    elif not configfile.is_encrypted(token):
        values["api_token"] = Token.of(token)
    else:
        values["api_token"], origins["api_token"] = None, _DEFAULT
        if not (values["offline"] or values["dry_run"]):
            raise pytest.UsageError(
                f"{where}: looks encrypted by the Kosli CLI (kosli config), and only the CLI can "
                "read it; set KOSLI_API_TOKEN"
            )


def _notes(environ: Mapping[str, str]) -> tuple[str, ...]:
    if environ.get("KOSLI_FLOW"):
        return ("KOSLI_FLOW is set and not used; --kosli-flow narrows the checks to one flow",)
    return ()


def _not_together(settings: Settings) -> Iterator[Wrong]:
    """Yield what is fine for each setting alone, and not for all of them together."""
    at = settings.origins
    if settings.offline and settings.record:
        error = pytest.UsageError(f"{at['offline']} and {at['record']}: give one of the two")
        yield Wrong("offline, record", error, ("offline", "record"))
    credentials = (settings.http_proxy or "").partition("//")[2].rpartition("@")[0]
    if ":" in credentials and at["http_proxy"].level is Level.FLAG:
        error = pytest.UsageError(
            f"{at['http_proxy']}: holds a password, and process lists show it; use KOSLI_HTTP_PROXY"
        )
        yield Wrong("http_proxy", error, ("http_proxy",))
    if (
        settings.mode in ("live", "record")
        and settings.host not in REGIONS
        and at["host"].level is Level.CONFIG_FILE
        and at["api_token"].level is Level.ENVIRONMENT
    ):
        error = pytest.UsageError(
            f"{at['host']}: {settings.host} is not a region of Kosli's, so the token of "
            f"{at['api_token']} is not sent there; confirm the host with --kosli-host or KOSLI_HOST"
        )
        yield Wrong("host", error, ("host",))


def no_token() -> NoVerdict:
    """Return the error of whatever needs to ask Kosli, and has no token to ask with."""
    return NoVerdict(
        "no_token",
        f"there is no API token for Kosli{_late('KOSLI_API_TOKEN')}",
        "Set KOSLI_API_TOKEN (a service account with the role reader is enough), or run "
        "with --kosli-offline from cassettes.",
    )


def no_organisation() -> pytest.UsageError:
    """Return the error of whatever needs to ask, and does not know about whom."""
    return pytest.UsageError(
        "no organisation is named: set --kosli-org, KOSLI_ORG, or kosli_org in the ini file"
        f"{_late('KOSLI_ORG')}"
    )


def _late(variable: str) -> str:
    """Return, of a variable that is missed, that it is there only since the run has begun."""
    here = os.environ.get(variable)
    return f"; {variable} was set when the run had begun, which is too late" if here else ""


def header(settings: Settings, verbosity: int) -> list[str]:
    """Return the lines of the report header: one, or at ``-v`` every setting and its origin."""
    at = settings.origins
    mode = settings.mode
    cause = {"dry run": "dry_run", "offline": "offline", "record": "record"}.get(mode)
    parts = [f"{mode} ({at[cause]})" if cause else mode]
    if settings.dry_run:
        parts.append("nothing is checked")
    if mode == "offline" and at["host"].level is Level.DEFAULT:
        parts.append("the cassettes' host")
    else:
        parts.append(f"{settings.host} ({at['host']})")
    parts.append(f"org {settings.org} ({at['org']})" if settings.org else "no org")
    for name in ("environment", "policy", "flow"):
        if value := getattr(settings, name):
            parts.append(f"{name} {shown(value)} ({at[name]})")
    if settings.wait:
        told = f"waits up to {shown(settings.wait)}" if settings.waits else "nothing to wait for"
        parts.append(f"{told} ({at['wait']})")
    lines = ["kosli: " + ", ".join(parts)]
    if verbosity > 0:
        for row in ROWS:
            value = getattr(settings, row.name)
            text = "set" if isinstance(value, Token) else shown(value)
            lines.append(f"kosli:   {row.name} {text} ({at[row.name]})")
        lines += [f"kosli:   {note}" for note in settings.notes]
    return lines
