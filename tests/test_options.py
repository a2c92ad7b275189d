"""The settings: every row from every place, the one precedence rule, and each usage error."""

from __future__ import annotations

import inspect
import itertools
import pickle
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args, get_type_hints

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_kosli import names, options, values
from pytest_kosli.api.host import Token
from pytest_kosli.options import ROWS, Level, Row
from pytest_kosli.settings import REGIONS, Settings, header, read
from tests import reference

TOKEN = "Zk3-q1vT_8sYp0WmXb5nR7uHcL2eJd9fGa4iKoNt6QE"
CIPHERTEXT = "xcbHyMnKy8zNzs/Q0dLT1NXW19jZ2tvc3d7f4OHi4+Tl5ufo6err7O3u7/Dx8vP09fb3+Pn6+/z9/v8="
ROW = {row.name: row for row in ROWS}
NAMED_LEVELS = (Level.FLAG, Level.ENVIRONMENT, Level.INI, Level.CONFIG_FILE)

# A text and its value for every row; the first is never the default.
SAMPLES: dict[str, list[tuple[str, Any]]] = {
    "api_token": [(TOKEN, TOKEN), ("t-2", "t-2"), ("t-3", "t-3"), ("t-4", "t-4")],
    "host": [(f"https://kosli.example/{n}", f"https://kosli.example/{n}") for n in "abcd"],
    "http_proxy": [(f"http://proxy{n}.example:3128",) * 2 for n in "abcd"],
    "org": [("acme",) * 2, ("cyber-dojo",) * 2, ("o.1",) * 2, ("o~2",) * 2],
    "environment": [(f"prod-{n}",) * 2 for n in "abcd"],
    "policy": [("a", ("a",)), ("b, c,b", ("b", "c")), ("c", ("c",)), ("d", ("d",))],
    "flow": [("web-ci", "web-ci"), ("*", "*")],
    "artifact": [("app=sha256:" + "a" * 64, ("app=sha256:" + "a" * 64,)), ("a,b", ("a,b",))],
    "snapshot": [("prod#42", ("prod#42",)), ("prod@{2.hours.ago}", ("prod@{2.hours.ago}",))],
    "repo": [("acme/payments", ("acme/payments",)), ("acme/web", ("acme/web",))],
    "manifest": [("deploy.yaml", ("deploy.yaml",)), ("-", ("-",))],
    "require_digests": [("", True), ("true", True)],
    "without": [("datadog*", ("datadog*",)), ("envoy", ("envoy",))],
    "provider": [("azure-devops", "azure-devops"), ("github", "github")],
    "max_api_retries": [("0", 0), ("1", 1), ("2", 2), ("4", 4)],
    "timeout": [("0.5", 0.5), ("8s", 8.0), ("1m", 60.0)],
    "concurrency": [("1", 1), ("64", 64), ("4", 4)],
    "allow_listed": [("fail", "fail"), ("pass", "pass")],
    "require_policies": [("false", False), ("T", True)],
    "max_snapshot_age": [("15m", 900.0), ("1.5h", 5400.0)],
    "max_age": [("30d", 2592000.0), ("60", 60.0)],
    "allow_list_max_age": [("14d", 1209600.0), ("1h", 3600.0)],
    "offline": [("", True)],
    "cassettes": [("recorded", "recorded"), ("taped", "taped")],
    "record": [("", True)],
    "dry_run": [("", True), ("true", True)],
    "require": [("3", 3), ("0", 0)],
    "all_or_nothing": [("", True), ("true", True)],
    "exit_codes": [("", True), ("1", True)],
    "wait": [("90", 90.0), ("5m", 300.0), ("0", 0.0), ("0s", 0.0), ("0m", 0.0)],
    "report": [("a.json", ("a.json",)), ("github", ("github",))],
    "doctor": [("", True)],
}
ALLOWED = [(row, level) for row in ROWS for level in row.levels]
FORBIDDEN = [(row, level) for row in ROWS for level in NAMED_LEVELS if level not in row.levels]


class Registered:
    """The part of the plugin that these tests need."""

    @staticmethod
    def pytest_addoption(parser: pytest.Parser) -> None:
        options.register(parser)


CONFTEST = """
import pytest
from pytest_kosli import names, options, values
from pytest_kosli.settings import read

settings = pytest.StashKey()

def pytest_addoption(parser):
    options.register(parser)

def pytest_configure(config):
    config.stash[settings] = read(config)

@pytest.fixture
def kosli_settings(pytestconfig):
    return pytestconfig.stash[settings]
"""


def live_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(folder))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the home folder or the variables of who runs it."""
    folder = tmp_path / "home"
    folder.mkdir()
    live_in(folder, monkeypatch)
    for variable in ("KOSLI_CONFIG_FILE", "KOSLI_FLOW", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(variable, raising=False)
    for row in ROWS:
        monkeypatch.delenv(row.variable, raising=False)
    return folder


class Given:
    """What a run is started with: fill in, then ``read`` or ``run``."""

    def __init__(self, pytester: pytest.Pytester, home: Path, monkeypatch: pytest.MonkeyPatch):
        self.pytester, self.home, self.monkeypatch = pytester, home, monkeypatch
        self.args: list[str] = []
        self.environ: dict[str, str] = {}
        self.ini: list[str] = []
        self.file: list[str] = []

    def say(self, level: Level, row: Row, text: str) -> None:
        if level is Level.FLAG:
            self.args.append(row.flag if row.switch and not text else f"{row.flag}={text}")
        elif level is Level.ENVIRONMENT:
            self.environ[row.variable] = text or "true"
        elif level is Level.INI:
            self.ini.append(f"{row.dest} = {text or 'true'}")
        else:
            self.file.append(f"{row.key}: {text or 'true'}")

    def _write(self) -> list[str]:
        self.pytester.makeini("\n".join(["[pytest]", *self.ini]))
        (self.home / ".kosli.yml").write_text("\n".join(self.file), encoding="utf-8")
        return ["-p", "no:kosli", "-p", "no:cacheprovider", *self.args]

    def config(self) -> pytest.Config:
        args = self._write()
        self.pytester.plugins = [Registered()]
        return self.pytester.parseconfig(*args)

    def read(self) -> Settings:
        return read(self.config(), self.environ)

    def run(self, *more: str) -> pytest.RunResult:
        args = self._write()
        for variable, value in self.environ.items():
            self.monkeypatch.setenv(variable, value)
        self.pytester.makeconftest(CONFTEST)
        return self.pytester.runpytest(*args, *more)


@pytest.fixture
def start(pytester: pytest.Pytester, home: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    live_in(home, monkeypatch)  # pytester has moved it into its own folder
    return Given(pytester, home, monkeypatch)


def value_of(settings: Settings, row: Row) -> object:
    value = getattr(settings, row.name)
    if isinstance(value, Token):
        return value.reveal()
    return value.name if isinstance(value, Path) else value


def id_of(value: object) -> str:
    return value.name if isinstance(value, Row | Level) else str(value)


def origin_of(row: Row, level: Level) -> str:
    return {
        Level.FLAG: row.flag,
        Level.ENVIRONMENT: row.variable,
        Level.INI: f"tox.ini: {row.dest}",
        Level.CONFIG_FILE: f"~/.kosli.yml: {row.key}",
    }[level]


# The table.


def test_settings_are_the_rows_of_the_table() -> None:
    names = [field.name for field in fields(Settings)]
    assert names == [*ROW, "origins", "notes"]
    assert set(SAMPLES) == set(ROW)


def test_the_names_of_a_setting_follow_the_kosli_cli() -> None:
    row = ROW["max_api_retries"]
    assert (row.flag, row.variable, row.dest, row.key) == (
        "--kosli-max-api-retries",
        "KOSLI_MAX_API_RETRIES",
        "kosli_max_api_retries",
        "max-api-retries",
    )


def test_who_may_set_what_is_the_design_and_nothing_else() -> None:
    places = {row.name: "".join(level.name[0] for level in row.levels) for row in ROWS}
    assert places == {
        "api_token": "EC",
        "host": "FEC",
        "http_proxy": "FEC",
        "org": "FEIC",
        "environment": "FEIC",
        "policy": "FEIC",
        "flow": "FI",
        "artifact": "FI",
        "snapshot": "FI",
        "repo": "FI",
        "manifest": "FI",
        "require_digests": "FI",
        "without": "FI",
        "provider": "FI",
        "max_api_retries": "FEIC",
        "timeout": "FEI",
        "concurrency": "FEI",
        "allow_listed": "FI",
        "require_policies": "FI",
        "max_snapshot_age": "FI",
        "max_age": "FI",
        "allow_list_max_age": "FI",
        "offline": "F",
        "cassettes": "FI",
        "record": "F",
        "dry_run": "FE",
        "require": "FI",
        "all_or_nothing": "FI",
        "exit_codes": "FI",
        "wait": "FI",
        "report": "FI",
        "doctor": "F",
    }


def test_without_anything_said_the_defaults_hold_and_none_is_open(start: Given) -> None:
    settings = start.read()
    assert {where.level for where in settings.origins.values()} == {Level.DEFAULT}
    assert settings == Settings(
        api_token=None,
        host="https://app.kosli.com",
        http_proxy=None,
        org=None,
        environment=None,
        policy=(),
        flow=None,
        artifact=(),
        snapshot=(),
        repo=(),
        manifest=(),
        require_digests=False,
        without=(),
        provider=None,
        max_api_retries=3,
        timeout=30.0,
        concurrency=16,
        allow_listed="pass",
        require_policies=True,
        max_snapshot_age=None,
        max_age=None,
        allow_list_max_age=None,
        offline=False,
        cassettes=start.pytester.path / "cassettes",
        record=False,
        dry_run=False,
        require=None,
        all_or_nothing=False,
        exit_codes=False,
        wait=0.0,
        report=(),
        doctor=False,
        origins=settings.origins,
        notes=(),
    )
    assert not settings.scope


# Every row, every place.


@pytest.mark.parametrize(("row", "level"), ALLOWED, ids=id_of)
def test_a_setting_is_read_where_it_may_be_given(start: Given, row: Row, level: Level) -> None:
    text, value = SAMPLES[row.name][0]
    start.say(level, row, text)
    settings = start.read()
    assert value_of(settings, row) == value
    assert settings.origins[row.name].level is level
    assert str(settings.origins[row.name]) == origin_of(row, level)
    others = [where.level for name, where in settings.origins.items() if name != row.name]
    assert set(others) == {Level.DEFAULT}


@pytest.mark.parametrize(("row", "level"), FORBIDDEN, ids=id_of)
def test_a_setting_has_no_effect_where_it_may_not_be_given(
    start: Given, row: Row, level: Level
) -> None:
    start.say(level, row, SAMPLES[row.name][0][0] or "true")
    if level in (Level.FLAG, Level.INI):
        with pytest.raises(pytest.UsageError, match="is refused") as caught:
            start.read()
        assert str(caught.value).startswith(f"{origin_of(row, level)}: ")
        assert row.elsewhere in str(caught.value)
    else:
        settings = start.read()
        assert {where.level for where in settings.origins.values()} == {Level.DEFAULT}


def test_a_token_in_a_flag_or_an_ini_file_is_refused_and_not_shown(start: Given) -> None:
    for level in (Level.FLAG, Level.INI):
        start.args, start.ini = [], []
        start.say(level, ROW["api_token"], TOKEN)
        result = start.run()
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: *api*token: is refused*; use KOSLI_API_TOKEN"])
        assert TOKEN not in result.stdout.str() + result.stderr.str()


def test_what_is_refused_in_an_ini_file_is_refused_also_below_a_flag(start: Given) -> None:
    start.say(Level.INI, ROW["org"], "acme")
    start.say(Level.FLAG, ROW["record"], "")
    start.say(Level.INI, ROW["record"], "true")
    with pytest.raises(pytest.UsageError, match=r"tox\.ini: kosli_record: is refused there"):
        start.read()


@pytest.mark.parametrize("name", ["artifact", "snapshot", "repo", "without", "policy"])
def test_a_repeated_setting_keeps_all_values_in_order_once(start: Given, name: str) -> None:
    row = ROW[name]
    for text in ("b", "a", "b"):
        start.say(Level.FLAG, row, text)
    assert getattr(start.read(), name) == ("b", "a")
    start.args = []
    start.ini = [f"{row.dest} =", "    b", "    a"]
    assert getattr(start.read(), name) == ("b", "a")


def test_only_what_a_flag_named_counts_as_named_by_a_flag(start: Given) -> None:
    start.say(Level.FLAG, ROW["artifact"], "a")
    start.say(Level.INI, ROW["artifact"], "ignored")
    start.say(Level.INI, ROW["repo"], "acme/web")
    settings = start.read()
    assert settings.from_flag("artifact") == ("a",)
    assert settings.repo == ("acme/web",)
    assert settings.from_flag("repo") == settings.from_flag("snapshot") == ()


def test_cassettes_are_relative_to_the_ini_file_and_as_a_flag_to_the_current_folder(
    start: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = start.pytester.mkdir("below")
    monkeypatch.chdir(below)
    start.say(Level.INI, ROW["cassettes"], "taped")
    assert start.read().cassettes == start.pytester.path / "taped"
    start.say(Level.FLAG, ROW["cassettes"], "here")
    assert start.read().cassettes == below / "here"


def test_an_override_on_the_command_line_is_called_so(start: Given) -> None:
    start.say(Level.INI, ROW["org"], "acme")
    start.args = ["-o", "kosli_org=other"]
    settings = start.read()
    assert (settings.org, str(settings.origins["org"])) == ("other", "-o: kosli_org")


def test_scope_and_mode_are_read_off_the_settings(start: Given) -> None:
    start.say(Level.FLAG, ROW["policy"], "b,a")
    start.say(Level.FLAG, ROW["flow"], "web-ci")
    settings = start.read()
    assert str(settings.scope) == "policies a, b, flow web-ci"
    assert settings.mode == "live"
    for name, mode in (("record", "record"), ("dry_run", "dry run")):
        start.say(Level.FLAG, ROW[name], "")
        assert start.read().mode == mode


# Native TOML.


@pytest.mark.skipif(pytest.version_tuple < (9, 2), reason="types of native TOML need pytest 9.2")
def test_native_toml_gives_numbers_booleans_and_lists(start: Given) -> None:
    config = start.config()
    assert config.inipath
    config.inipath.unlink()
    start.pytester.makepyprojecttoml(
        """
        [tool.pytest]
        kosli_org = "acme"
        kosli_timeout = 8
        kosli_concurrency = 4
        kosli_require_policies = false
        kosli_require = "3"
        kosli_max_snapshot_age = 90.5
        kosli_without = ["datadog*", "envoy"]
        kosli_policy = ["a,b", "c"]
        """
    )
    settings = read(start.pytester.parseconfig("-p", "no:kosli"), {})
    assert (settings.org, settings.timeout, settings.concurrency) == ("acme", 8.0, 4)
    assert (settings.require_policies, settings.require) == (False, 3)
    assert settings.max_snapshot_age == 90.5
    assert settings.without == ("datadog*", "envoy")
    assert settings.policy == ("a", "b", "c")
    assert str(settings.origins["timeout"]) == "pyproject.toml: kosli_timeout"


@pytest.mark.parametrize(
    "table", ["[tool.pytest.ini_options]", pytest.param("[tool.pytest]", id="native")]
)
def test_text_in_toml_is_read_as_in_an_ini_file(start: Given, table: str) -> None:
    start.pytester.makepyprojecttoml(
        f'{table}\nkosli_timeout = "8"\nkosli_require_policies = "false"\n'
        'kosli_without = ["datadog*"]'
    )
    if table == "[tool.pytest]" and pytest.version_tuple < (9, 0):
        pytest.skip("no native TOML")
    start.pytester.plugins = [Registered()]
    settings = read(start.pytester.parseconfig("-p", "no:kosli"), {})
    assert (settings.timeout, settings.require_policies) == (8.0, False)
    assert settings.without == ("datadog*",)


@pytest.mark.skipif(pytest.version_tuple < (9, 0), reason="no native TOML")
@pytest.mark.parametrize(
    "line",
    [
        'kosli_policy = "a,b"',
        "kosli_org = ['a', 'b']",
        "kosli_timeout = nan",
        "kosli_timeout = true",
        "kosli_require_policies = 2",
        "kosli_host = ['https://evil.example']",
    ],
)
def test_a_wrong_type_in_native_toml_is_our_usage_error(start: Given, line: str) -> None:
    start.pytester.makepyprojecttoml(f"[tool.pytest]\n{line}")
    start.pytester.plugins = [Registered()]
    config = start.pytester.parseconfig("-p", "no:kosli")
    with pytest.raises(pytest.UsageError, match=rf"pyproject\.toml: {line.split()[0]}: "):
        read(config, {})


# Precedence.


class Double(SimpleNamespace):
    """A pytest.Config of plain data: hypothesis wants many, and quickly."""

    def getoption(self, name: str) -> object:
        return self.flags.get(name)

    def getini(self, name: str) -> object:
        return self.ini.get(name, [] if name == "addopts" else None)


def read_plain(given: Mapping[tuple[Level, str], str], file: Path) -> Settings:
    """Read settings from {(level, setting): text}."""
    at: dict[Level, dict[str, str]] = {level: {} for level in NAMED_LEVELS}
    for (level, name), text in given.items():
        at[level][name] = text
    many = {row.dest for row in ROWS if row.many}

    def plugin_values(texts: Mapping[str, str]) -> dict[str, object]:
        return {
            f"kosli_{name}": [text] if f"kosli_{name}" in many else text
            for name, text in texts.items()
        }

    config = Double(
        flags=plugin_values(at[Level.FLAG]),
        ini=plugin_values(at[Level.INI]),
        inipath=Path("pytest.ini"),
        rootpath=Path(),
        invocation_params=SimpleNamespace(dir=Path()),
    )
    environ = {ROW[name].variable: text for name, text in at[Level.ENVIRONMENT].items()}
    content = {ROW[name].key: text for name, text in at[Level.CONFIG_FILE].items()}
    file.write_text(yaml.safe_dump(content) if content else "", encoding="utf-8")
    environ["KOSLI_CONFIG_FILE"] = str(file)
    return read(cast(pytest.Config, config), environ)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("precedence") / "kosli.yml"


@pytest.mark.parametrize("row", [row for row in ROWS if len(row.levels) > 1], ids=id_of)
def test_the_highest_place_that_names_a_setting_wins(row: Row, file: Path) -> None:
    texts = dict(zip(row.levels, SAMPLES[row.name], strict=False))
    if row.name == "host":
        texts[Level.CONFIG_FILE] = ("https://app.us.kosli.com",) * 2
    for count in range(1, len(texts) + 1):
        for levels in itertools.combinations(texts, count):
            winner = min(levels)
            given = {(level, row.name): texts[level][0] or "true" for level in levels}
            settings = read_plain(given, file)
            assert value_of(settings, row) == texts[winner][1]
            assert settings.origins[row.name].level is winner


@pytest.mark.parametrize("row", ROWS, ids=id_of)
def test_a_setting_is_of_the_type_that_its_field_says(row: Row, file: Path) -> None:
    kind = get_type_hints(Settings)[row.name]
    given: list[dict[tuple[Level, str], str]] = [{}]
    given += [{(row.levels[0], row.name): text or "true"} for text, _ in SAMPLES[row.name]]
    for texts in given:
        value = getattr(read_plain(texts, file), row.name)
        assert msgspec.convert(value, kind) == value


def test_each_word_of_a_type_can_be_given() -> None:
    row = ROW["allow_listed"]
    words = get_args(get_type_hints(Settings)[row.name])
    assert [row.parse(word) for word in words] == row.metavar.split("|")


scopes = st.dictionaries(
    st.sampled_from(NAMED_LEVELS), st.sets(st.sampled_from(["environment", "policy"]), min_size=1)
)


@given(scopes)
def test_environment_and_policy_are_one_setting(file: Path, said: dict[Level, set[str]]) -> None:
    given = {(level, name): f"{name}-{level}" for level, names in said.items() for name in names}
    highest = min(said, default=None)
    # The highest place of each is compared, so a contradiction further down is never in force.
    if highest is not None and len(said[highest]) == 2:
        with pytest.raises(pytest.UsageError, match="give one of the two"):
            read_plain(given, file)
        return
    settings = read_plain(given, file)
    if highest is None:
        assert not settings.scope
        return
    (name,) = said[highest]
    won = f"{name}-{highest}"
    assert settings.environment == (won if name == "environment" else None)
    assert settings.policy == ((won,) if name == "policy" else ())
    lost = "policy" if name == "environment" else "environment"
    assert settings.origins[lost].level is Level.DEFAULT


@given(
    st.dictionaries(
        st.tuples(
            st.sampled_from(NAMED_LEVELS), st.sampled_from(["org", "timeout", "concurrency"])
        ),
        st.text(max_size=12),
    )
)
def test_whatever_is_given_ends_in_settings_or_one_named_usage_error(
    file: Path, given: dict[tuple[Level, str], str]
) -> None:
    try:
        settings = read_plain(given, file)
    except pytest.UsageError as error:
        sentence = str(error)
    else:
        assert 0 < settings.timeout <= 86_400
        assert 1 <= settings.concurrency <= 64
        return
    assert any(f"{name}: " in sentence.lower() for name in ("org", "timeout", "concurrency"))
    assert sentence.isprintable()


# Values that are refused, each by name and place.

BAD_VALUES = [
    ("org", "a/b", "'a/b' is not a name that Kosli allows"),
    ("org", "..", "'..' is not a name"),
    ("org", "${ORG}", "is not a name"),
    ("environment", "prod#4", "'prod#4' is not a name"),
    ("environment", "-prod", "is not a name"),
    ("policy", "a,,b", "a value is empty"),
    ("policy", "a,b/c", "'b/c' is not a name"),
    ("max_api_retries", "-1", "'-1' is not a whole number of 0 or more"),
    ("max_api_retries", "1.5", "is not a whole number"),
    ("max_api_retries", "٣", "is not a whole number"),
    ("timeout", "abc", "'abc' is not a duration: seconds such as 90, or 90s, 15m, 2h, 1d"),
    ("timeout", "0", "'0' is not a duration above 0"),
    ("timeout", "-5", "'-5' is not a duration: "),
    ("timeout", "nan", "'nan' is not a duration: "),
    ("timeout", "inf", "'inf' is not a duration: "),
    ("timeout", "86401", "'86401' is longer than 1d"),
    ("timeout", "25h", "'25h' is longer than 1d"),
    ("concurrency", "0", "'0' is not a whole number from 1 to 64"),
    ("concurrency", "65", "is not a whole number from 1 to 64"),
    ("flow", "web ci", "is not a name"),
    ("provider", "GitHub", "'GitHub' is not one of github, gitlab"),
    ("allow_listed", "warn", "'warn' is not one of pass, fail"),
    ("require_policies", "yes", "'yes' is not a boolean; write true or false"),
    ("require_policies", "on", "'on' is not a boolean"),
    ("require_policies", "tRue", "'tRue' is not a boolean"),
    ("max_snapshot_age", "0m", "'0m' is not a duration above 0"),
    ("max_snapshot_age", "1h30m", "is not a duration: seconds such as 90, or 90s, 15m, 2h, 1d"),
    ("max_snapshot_age", "-1d", "is not a duration: "),
    ("wait", "-1", "'-1' is not a duration: seconds such as 90, or 90s, 15m, 2h, 1d"),
    ("require", "-1", "is not a whole number of 0 or more"),
    ("artifact", "a\x1b[2Kb", r"'a\\x1b\[2Kb' contains characters that can not be printed"),
]


@pytest.mark.parametrize(("name", "text", "sentence"), BAD_VALUES)
def test_a_bad_value_is_refused_with_its_name_and_place(
    file: Path, name: str, text: str, sentence: str
) -> None:
    row = ROW[name]
    for level in row.levels:
        if level is Level.CONFIG_FILE:
            place = f"{file}: {row.key}"
        else:
            place = origin_of(row, level).replace("tox.ini", "pytest.ini")
        with pytest.raises(pytest.UsageError) as caught:
            read_plain({(level, name): text}, file)
        assert str(caught.value).startswith(f"{place}: ")
        assert sentence.replace("\\[", "[").replace("\\\\", "\\") in str(caught.value)


SHOWN = [row for row in (*ROWS, *options.CODEALIVE) if row.default not in (None, ())]


@pytest.mark.parametrize("row", SHOWN, ids=id_of)
def test_a_default_can_be_given_as_it_is_shown(row: Row) -> None:
    text = values.shown(row.default)
    assert f"`{text}`" in reference.settings([row])[1]
    assert values.shown(row.parse(text)) == text


@given(st.decimals("0.001", 9_999, places=3), st.sampled_from(["", *"smhd"]))
def test_a_time_can_be_given_as_it_is_shown(number: Decimal, unit: str) -> None:
    parse = cast(Callable[[str], float], ROW["wait"].parse)
    value = parse(f"{number}{unit}")
    assert parse(values.shown(value)) == pytest.approx(value, rel=1e-12)


def test_every_setting_that_is_a_time_says_so() -> None:
    kinds = get_type_hints(Settings)
    times = [row for row in ROWS if kinds[row.name] in (float, float | None)]
    assert {row.metavar for row in times} == {"DURATION"}
    assert {row.parse("1m") for row in times} == {row.parse("60") for row in times} == {60.0}


def test_the_table_is_of_one_mind_with_the_rooms_that_a_start_does_not_load() -> None:
    rows = (*ROWS, *options.CODEALIVE)
    readers = {name for name, one in vars(values).items() if inspect.isfunction(one)}
    shows = {"shown", "in_units", "check_host", "check_proxy"}
    assert {row.kind for row in rows} == {one for one in readers - shows if one[0] != "_"}
    assert ROW["host"].default == names.DEFAULT_HOST
    assert ROW["provider"].help.endswith(f": {', '.join(names.PROVIDERS)}")


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
@pytest.mark.parametrize("opposite", [False, True])
def test_booleans_are_those_of_the_kosli_cli(file: Path, text: str, opposite: bool) -> None:
    no = {"1": "0", "t": "f", "T": "F", "TRUE": "FALSE", "true": "false", "True": "False"}
    word = no[text] if opposite else text
    settings = read_plain({(Level.ENVIRONMENT, "dry_run"): word}, file)
    assert settings.dry_run is not opposite


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "2", "tRUE", " ", "${UNSET}"])
def test_an_unknown_boolean_in_the_environment_is_refused(file: Path, word: str) -> None:
    with pytest.raises(pytest.UsageError, match=r"^KOSLI_DRY_RUN: "):
        read_plain({(Level.ENVIRONMENT, "dry_run"): word}, file)


@pytest.mark.parametrize("row", [row for row in ROWS if Level.ENVIRONMENT in row.levels], ids=id_of)
def test_an_empty_variable_is_unset_but_an_empty_scope_is_refused(start: Given, row: Row) -> None:
    start.environ[row.variable] = ""
    if row.name in ("environment", "policy"):
        for blank in ("", "  ", "\t"):
            start.environ[row.variable] = blank
            with pytest.raises(pytest.UsageError, match=f"^{row.variable}: is set and empty"):
                start.read()
    else:
        assert start.read().origins[row.name].level is Level.DEFAULT


def test_an_empty_scope_variable_is_refused_also_below_a_flag(start: Given) -> None:
    start.say(Level.FLAG, ROW["environment"], "prod")
    start.environ["KOSLI_POLICY"] = ""
    with pytest.raises(pytest.UsageError, match=r"^KOSLI_POLICY: is set and empty"):
        start.read()


TAKE_A_VALUE = [row for row in ROWS if Level.INI in row.levels and not row.switch]


@pytest.mark.parametrize("row", TAKE_A_VALUE, ids=id_of)
@pytest.mark.parametrize("level", [Level.FLAG, Level.INI], ids=id_of)
def test_an_empty_flag_or_ini_value_is_refused(start: Given, row: Row, level: Level) -> None:
    if level is Level.FLAG:
        start.args = [f"{row.flag}="]
    else:
        start.ini = [f"{row.dest} ="]
    with pytest.raises(pytest.UsageError, match="a value is empty"):
        start.read()


# The token, the host and the proxy.


@pytest.mark.parametrize("token", ["two words", "a,b", "a\nb", "a\x7f", "kéy", "tok\x00en", "   "])
def test_what_is_no_token_is_refused_and_not_shown(file: Path, token: str) -> None:
    with pytest.raises(pytest.UsageError, match=r"^KOSLI_API_TOKEN: ") as caught:
        read_plain({(Level.ENVIRONMENT, "api_token"): token}, file)
    assert token not in str(caught.value) or not token.strip()


def test_a_token_is_seen_nowhere_and_read_late(start: Given) -> None:
    start.environ["KOSLI_API_TOKEN"] = f"{TOKEN}\n"
    settings = start.read()
    token = settings.api_token
    assert token is not None
    for text in (repr(settings), str(token), f"{token:>50}", f"{token!r}"):
        assert TOKEN not in text
    assert TOKEN not in "\n".join(header(settings, 2))
    with pytest.raises(TypeError):
        pickle.dumps(token)
    assert token.reveal() == TOKEN
    start.environ["KOSLI_API_TOKEN"] = "rotated"
    assert token.reveal() == "rotated"
    del start.environ["KOSLI_API_TOKEN"]
    assert token.reveal() == ""


def test_an_encrypted_token_is_refused_where_it_would_be_sent(start: Given) -> None:
    for text in (CIPHERTEXT, f"!!binary {CIPHERTEXT}"):
        start.file = [f"api-token: {text}"]
        with pytest.raises(pytest.UsageError, match=r"looks encrypted.*KOSLI_API_TOKEN") as caught:
            start.read()
        assert CIPHERTEXT not in str(caught.value)


@pytest.mark.parametrize("name", ["offline", "dry_run"])
def test_an_encrypted_token_does_not_stop_a_run_that_sends_none(start: Given, name: str) -> None:
    start.file = [f"api-token: {CIPHERTEXT}"]
    start.say(Level.FLAG, ROW[name], "")
    settings = start.read()
    assert settings.api_token is None
    assert settings.origins["api_token"].level is Level.DEFAULT


def test_a_token_from_the_environment_makes_an_encrypted_one_harmless(start: Given) -> None:
    start.file = [f"api-token: {CIPHERTEXT}"]
    start.environ["KOSLI_API_TOKEN"] = TOKEN
    token = start.read().api_token
    assert token is not None
    assert token.reveal() == TOKEN


@pytest.mark.parametrize("level", [Level.ENVIRONMENT, Level.CONFIG_FILE], ids=id_of)
def test_the_token_dry_run_is_a_dry_run(file: Path, level: Level) -> None:
    settings = read_plain({(level, "api_token"): "DRY_RUN"}, file)
    assert settings.dry_run
    assert settings.mode == "dry run"
    assert settings.origins["dry_run"].level is level
    assert str(settings.origins["dry_run"]).endswith("=DRY_RUN")


def test_the_token_dry_run_wins_over_a_false_variable(file: Path) -> None:
    given = {
        (Level.ENVIRONMENT, "api_token"): "DRY_RUN",
        (Level.ENVIRONMENT, "dry_run"): "false",
    }
    assert read_plain(given, file).dry_run


def test_a_token_of_the_environment_goes_to_a_host_of_the_file_only_in_kosli_regions(
    file: Path,
) -> None:
    token = {(Level.ENVIRONMENT, "api_token"): TOKEN}
    for region in REGIONS:
        assert read_plain({**token, (Level.CONFIG_FILE, "host"): region}, file).host == region
    for foreign in ("https://app.kosli.com.evil.example", "https://kosli.corp.example"):
        with pytest.raises(pytest.UsageError, match="is not a region of Kosli's"):
            read_plain({**token, (Level.CONFIG_FILE, "host"): foreign}, file)
        for level in (Level.FLAG, Level.ENVIRONMENT):
            assert read_plain({**token, (level, "host"): foreign}, file).host == foreign
        own = {(Level.CONFIG_FILE, "api_token"): TOKEN, (Level.CONFIG_FILE, "host"): foreign}
        assert read_plain(own, file).host == foreign
        offline = {**token, (Level.CONFIG_FILE, "host"): foreign, (Level.FLAG, "offline"): "true"}
        assert read_plain(offline, file).host == foreign


@pytest.mark.parametrize(
    "host",
    [
        "app.kosli.com",
        "https://app.kosli.com,https://app.us.kosli.com",
        "http://app.kosli.com",
        "https://app.kosli.com@evil.example",
        "https://user:hunter2@app.kosli.com",
        "https://app.kosli.com?x=1",
        "ftp://app.kosli.com",
        "https://",
    ],
)
def test_a_host_that_is_none_is_refused_and_no_password_shown(file: Path, host: str) -> None:
    for level in ROW["host"].levels:
        with pytest.raises(pytest.UsageError) as caught:
            read_plain({(level, "host"): host}, file)
        assert "host" in str(caught.value).partition(": ")[0].lower() or level is Level.CONFIG_FILE
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy",
    [
        "proxy.example:3128",
        "socks5://proxy.example",
        "http://",
        "http://proxy.example:99999",
        "http://user:hun/ter2@proxy.example",
        "http://proxy.example/path",
        "http://pro xy.example",
    ],
)
def test_a_proxy_that_is_none_is_refused_and_not_shown(file: Path, proxy: str) -> None:
    with pytest.raises(pytest.UsageError) as caught:
        read_plain({(Level.ENVIRONMENT, "http_proxy"): proxy}, file)
    assert str(caught.value).startswith("KOSLI_HTTP_PROXY: the proxy ")
    assert not any(part in str(caught.value) for part in ("hun", "ter2", "example"))


def test_a_password_of_a_proxy_is_refused_in_a_flag_and_never_shown(file: Path) -> None:
    proxy = "http://user:hunter2@proxy.example:3128"
    with pytest.raises(pytest.UsageError, match="--kosli-http-proxy: holds a password") as caught:
        read_plain({(Level.FLAG, "http_proxy"): proxy}, file)
    assert "hunter2" not in str(caught.value)
    for level in (Level.ENVIRONMENT, Level.CONFIG_FILE):
        settings = read_plain({(level, "http_proxy"): proxy}, file)
        assert settings.http_proxy == proxy
        seen = "\n".join(header(settings, 1))
        assert "http://proxy.example:3128" in seen
        assert "hunter2" not in seen + repr(settings)
    user = "http://user@proxy.example:3128"
    assert read_plain({(Level.FLAG, "http_proxy"): user}, file).http_proxy == user


# Through pytest: exit code 4 and a sentence.

Prepare = Callable[[Given], object]


def host_in_a_file_of_addopts(start: Given) -> None:
    (start.pytester.path / "more.txt").write_text("--kosli-host=https://evil.example")
    start.ini.append("addopts = @more.txt")


def token_for_a_host_of_the_file(start: Given) -> None:
    start.file.append("host: https://kosli.corp.example")
    start.environ["KOSLI_API_TOKEN"] = TOKEN


USAGE_ERRORS: dict[str, tuple[Prepare, str]] = {
    "unknown boolean": (
        lambda g: g.say(Level.ENVIRONMENT, ROW["dry_run"], "yes"),
        "ERROR: KOSLI_DRY_RUN: 'yes' is not a boolean; write true or false",
    ),
    "unknown boolean in an ini file": (
        lambda g: g.say(Level.INI, ROW["require_policies"], "on"),
        "ERROR: tox.ini: kosli_require_policies: 'on' is not a boolean; write true or false",
    ),
    "empty environment": (
        lambda g: g.environ.update(KOSLI_ENVIRONMENT=""),
        "ERROR: KOSLI_ENVIRONMENT: is set and empty, which would be a weaker check*",
    ),
    "blank policy": (
        lambda g: g.environ.update(KOSLI_POLICY="  "),
        "ERROR: KOSLI_POLICY: is set and empty, which would be a weaker check*",
    ),
    "host without scheme": (
        lambda g: g.say(Level.FLAG, ROW["host"], "app.kosli.com"),
        "ERROR: --kosli-host: *",
    ),
    "a list of hosts": (
        lambda g: g.environ.update(KOSLI_HOST="https://a.example,https://b.example"),
        "ERROR: KOSLI_HOST: the host must be a single one, not a list",
    ),
    "environment and policy on one level": (
        lambda g: g.args.extend(["--kosli-environment", "prod", "--kosli-policy", "p"]),
        "ERROR: --kosli-environment and --kosli-policy: *; give one of the two",
    ),
    "a negative number": (
        lambda g: g.args.extend(["--kosli-max-api-retries", "-1"]),
        "ERROR: --kosli-max-api-retries: '-1' is not a whole number of 0 or more",
    ),
    "a negative timeout": (
        lambda g: g.environ.update(KOSLI_TIMEOUT="-3"),
        "ERROR: KOSLI_TIMEOUT: '-3' is not a duration: seconds such as 90*",
    ),
    "a token in an ini file": (
        lambda g: g.say(Level.INI, ROW["api_token"], TOKEN),
        "ERROR: tox.ini: kosli_api_token: is refused there*; use KOSLI_API_TOKEN",
    ),
    "a host in an ini file": (
        lambda g: g.say(Level.INI, ROW["host"], "https://evil.example"),
        "ERROR: tox.ini: kosli_host: is refused there*; use --kosli-host or KOSLI_HOST",
    ),
    "a proxy in an ini file": (
        lambda g: g.say(Level.INI, ROW["http_proxy"], "http://evil.example"),
        "ERROR: tox.ini: kosli_http_proxy: is refused there*",
    ),
    "a token in addopts": (
        lambda g: g.ini.append(f"addopts = --kosli-api-token={TOKEN}"),
        "ERROR: --kosli-api-token: is refused*; use KOSLI_API_TOKEN",
    ),
    "a host in addopts": (
        lambda g: g.ini.append("addopts = -q --kosli-host=https://evil.example"),
        "ERROR: tox.ini: addopts: --kosli-host is refused there*",
    ),
    "a host in addopts as two words": (
        lambda g: g.ini.append("addopts = --kosli-host https://evil.example -q"),
        "ERROR: tox.ini: addopts: --kosli-host is refused there*",
    ),
    "a proxy in addopts": (
        lambda g: g.ini.append("addopts = --kosli-http-proxy=http://evil.example"),
        "ERROR: tox.ini: addopts: --kosli-http-proxy is refused there*",
    ),
    "record in addopts": (
        lambda g: g.ini.append("addopts = --kosli-record"),
        "ERROR: tox.ini: addopts: --kosli-record is refused there*",
    ),
    "a dry run in addopts": (
        lambda g: g.ini.append("addopts = --kosli-dry-run"),
        "ERROR: tox.ini: addopts: --kosli-dry-run is refused there*KOSLI_DRY_RUN*",
    ),
    "a doctor in addopts": (
        lambda g: g.ini.append("addopts = --kosli-doctor"),
        "ERROR: tox.ini: addopts: --kosli-doctor is refused there*",
    ),
    "a host in a file that addopts names": (
        host_in_a_file_of_addopts,
        "ERROR: tox.ini: addopts: --kosli-host is refused there*",
    ),
    "offline with record": (
        lambda g: g.args.extend(["--kosli-offline", "--kosli-record"]),
        "ERROR: --kosli-offline and --kosli-record: give one of the two",
    ),
    "a password in a proxy flag": (
        lambda g: g.args.append("--kosli-http-proxy=http://u:hunter2@proxy.example"),
        "ERROR: --kosli-http-proxy: holds a password*",
    ),
    "an encrypted token": (
        lambda g: g.file.append(f"api-token: !!binary {CIPHERTEXT}"),
        "ERROR: ~/.kosli.yml: api-token: looks encrypted by the Kosli CLI*set KOSLI_API_TOKEN",
    ),
    "a configuration file that does not parse": (
        lambda g: g.file.append("org: [acme"),
        "ERROR: ~/.kosli.yml: can not be parsed (line 1)",
    ),
    "a token for a host of the configuration file": (
        token_for_a_host_of_the_file,
        "ERROR: ~/.kosli.yml: host: https://kosli.corp.example is not a region of Kosli's*",
    ),
}


@pytest.mark.parametrize("case", USAGE_ERRORS)
def test_a_usage_error_ends_the_run_with_exit_code_4(start: Given, case: str) -> None:
    prepare, line = USAGE_ERRORS[case]
    prepare(start)
    result = start.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])
    shown = result.stdout.str() + result.stderr.str()
    assert not any(word in shown for word in ("Traceback", "INTERNALERROR", TOKEN, "hunter2"))


def test_flags_in_pytest_addopts_are_the_callers_and_allowed(start: Given) -> None:
    start.monkeypatch.setenv("PYTEST_ADDOPTS", "--kosli-host=https://kosli.example --kosli-dry-run")
    settings = start.read()
    assert (settings.host, settings.dry_run) == ("https://kosli.example", True)


def test_other_flags_in_addopts_are_allowed(start: Given) -> None:
    start.ini = ["addopts = --kosli-org acme --kosli-require 3 --color=no"]
    settings = start.read()
    assert (settings.org, settings.require) == ("acme", 3)


def test_a_run_without_a_kosli_flag_is_known_cheaply(start: Given) -> None:
    start.environ["KOSLI_ORG"] = "acme"
    start.say(Level.INI, ROW["org"], "acme")
    assert not options.flags_given(start.config())


@pytest.mark.parametrize("row", [row for row in ROWS if row.name != "api_token"], ids=id_of)
def test_any_flag_is_noticed_before_it_is_read(start: Given, row: Row) -> None:
    start.say(Level.FLAG, row, "" if row.switch else "anything at all")
    assert options.flags_given(start.config())


@pytest.mark.parametrize(
    "flag", ["--kosli-hos=x", "--kosli-api", "--kosli-offlin", "--kosli-flows=a"]
)
def test_a_mistyped_flag_is_a_usage_error(start: Given, flag: str) -> None:
    start.args = [flag]
    assert start.run().ret == pytest.ExitCode.USAGE_ERROR


def test_help_lists_every_flag_but_not_the_refused_one(start: Given) -> None:
    text = start.run("--help").stdout.str()
    for row in ROWS:
        assert (f"  {row.flag}" in text) == (Level.FLAG in row.levels)
        assert row.dest in text


def test_help_says_of_each_flag_what_it_does_and_whether_it_is_repeatable(start: Given) -> None:
    flags = start.run("--help").stdout.str().partition("configuration options")[0]
    for row in (row for row in ROWS if Level.FLAG in row.levels):
        found = re.search(rf"^  {row.flag}[=\s](.*?)(?=^(?:  )?\S)", flags, re.M | re.S)
        assert found, row.flag
        said = row.help + ("; repeatable" if row.many else "")
        assert "".join(found[1].split()).endswith("".join(said.split()))


def test_strict_configuration_knows_every_ini_key(start: Given) -> None:
    start.ini = ["addopts = --strict-config"]
    for row in ROWS:
        if Level.INI in row.levels and row.name != "policy":
            start.say(Level.INI, row, SAMPLES[row.name][0][0])
    assert start.run().ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_xdist_workers_read_the_same_settings(start: Given) -> None:
    pytest.importorskip("xdist")
    start.say(Level.FLAG, ROW["artifact"], "a")
    start.say(Level.FLAG, ROW["cassettes"], "taped")
    start.say(Level.ENVIRONMENT, ROW["org"], "acme")
    start.say(Level.ENVIRONMENT, ROW["api_token"], TOKEN)
    start.say(Level.INI, ROW["timeout"], "8")
    start.say(Level.CONFIG_FILE, ROW["environment"], "prod")
    start.pytester.makepyfile(
        f"""
        from pathlib import Path

        def test_settings(kosli_settings, worker_id):
            assert worker_id == "gw0"
            assert kosli_settings.from_flag("artifact") == ("a",)
            assert kosli_settings.cassettes == Path({str(start.pytester.path / "taped")!r})
            assert kosli_settings.org == "acme"
            assert kosli_settings.api_token.reveal() == {TOKEN!r}
            assert kosli_settings.timeout == 8
            assert kosli_settings.environment == "prod"
        """
    )
    start.run("-n", "1").assert_outcomes(passed=1)


# What people see.


def test_the_header_is_one_line_with_origins(start: Given) -> None:
    start.say(Level.ENVIRONMENT, ROW["org"], "acme")
    start.say(Level.FLAG, ROW["environment"], "prod")
    start.say(Level.INI, ROW["flow"], "web-ci")
    assert header(start.read(), 0) == [
        "kosli: live, https://app.kosli.com (default), org acme (KOSLI_ORG), "
        "environment prod (--kosli-environment), flow web-ci (tox.ini: kosli_flow)"
    ]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ([], "kosli: live, https://app.kosli.com (default), no org"),
        (
            ["--kosli-record"],
            "kosli: record (--kosli-record), https://app.kosli.com (default), no org",
        ),
        (["--kosli-offline"], "kosli: offline (--kosli-offline), the cassettes' host, no org"),
        (
            ["--kosli-offline", "--kosli-host=https://app.us.kosli.com"],
            "kosli: offline (--kosli-offline), https://app.us.kosli.com (--kosli-host), no org",
        ),
        (
            ["--kosli-dry-run", "--kosli-offline"],
            "kosli: dry run (--kosli-dry-run), nothing is checked, "
            "https://app.kosli.com (default), no org",
        ),
    ],
)
def test_the_header_says_the_mode(start: Given, args: Sequence[str], line: str) -> None:
    start.args = list(args)
    assert header(start.read(), 0) == [line]


def test_a_verbose_header_shows_every_setting_and_its_origin(start: Given) -> None:
    start.environ.update(KOSLI_API_TOKEN=TOKEN, KOSLI_FLOW="left-over")
    start.say(Level.INI, ROW["timeout"], "8")
    settings = start.read()
    assert settings.flow is None
    lines = header(settings, 1)
    for row in ROWS:
        assert sum(line.startswith(f"kosli:   {row.name} ") for line in lines) == 1
    assert "kosli:   api_token set (KOSLI_API_TOKEN)" in lines
    assert "kosli:   timeout 8s (tox.ini: kosli_timeout)" in lines
    assert "kosli:   require_policies true (default)" in lines
    assert lines[-1].startswith("kosli:   KOSLI_FLOW is set and not used")


def test_the_markdown_table_has_a_line_for_every_row() -> None:
    head, rule, *lines = reference.table(reference.settings()).splitlines()
    assert head.startswith("| setting | flag |")
    assert set(rule) == set("| -")
    assert len(lines) == len(ROWS)
    by_name = {line.split(" | ")[0].removeprefix("| "): line for line in lines}
    assert by_name["host"] == (
        "| host | `--kosli-host` | `KOSLI_HOST` | no | `host` | `https://app.kosli.com` "
        "| Kosli's address |"
    )
    assert by_name["api_token"].startswith(
        "| api_token | no | `KOSLI_API_TOKEN` | no | `api-token` "
    )
    assert by_name["cassettes"].startswith(
        "| cassettes | `--kosli-cassettes` | no | `kosli_cassettes` | no | `cassettes` |"
    )


# Weight.


def test_settings_load_nothing_heavy_and_yaml_only_for_a_file(
    start: Given, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = start.pytester.makepyfile(
        run="""
        import sys
        import pytest
        from pytest_kosli import options

        HEAVY = {"requests", "urllib3", "vcr", "yaml", "pytest_kosli.api.http"}
        UNUSED = {"pytest_kosli.model", "pytest_kosli.settings", "pytest_kosli.configfile"}
        UNUSED |= {"msgspec"}

        class Plugin:
            def pytest_addoption(self, parser):
                options.register(parser)

            def pytest_configure(self, config):
                assert not options.flags_given(config)
                assert not (HEAVY | UNUSED) & set(sys.modules)
                from pytest_kosli.settings import header, read

                header(read(config, {"KOSLI_HOST": "https://app.us.kosli.com"}), 1)
                print("loaded:", sorted(HEAVY & set(sys.modules)))

        pytest.main(["-p", "no:kosli", "-p", "no:cacheprovider", "--collect-only"], [Plugin()])
        """
    )
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(options.__file__).parent.parent))
    result = start.pytester.run(sys.executable, script)
    result.stdout.fnmatch_lines(["loaded: []"])
    (home / ".kosli.yml").write_text("org: acme")
    result = start.pytester.run(sys.executable, script)
    result.stdout.fnmatch_lines(["loaded: ['yaml']"])
