"""The Kosli CLI's own file: found, read in three formats, and never quoted."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_kosli import configfile

PLAIN_KEY = "Zk3-q1vT_8sYp0WmXb5nR7uHcL2eJd9fGa4iKoNt6QE"
IN_FORMATS = {
    ".kosli.yml": "ORG: acme\nmax-api-retries: 5\n",
    ".kosli.yaml": "Org: acme\nMAX-API-RETRIES: 5\n",
    ".kosli.json": '{"Org": "acme",\n\t"max-api-retries": 5}',
    ".kosli.toml": 'org = "acme"\nMax-Api-Retries = 5\n',
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(folder))
    return folder


def load_text(home: Path, text: str, name: str = ".kosli.yml") -> configfile.ConfigFile:
    (home / name).write_text(text, encoding="utf-8")
    return configfile.load({})


@pytest.mark.parametrize("name", IN_FORMATS)
def test_each_format_is_read_with_dashed_keys_in_any_case(home: Path, name: str) -> None:
    file = load_text(home, IN_FORMATS[name], name)
    assert file.get("org") == ["acme"]
    assert file.get("max-api-retries") == ["5"]
    assert file.label == f"~/{name}"


def test_a_missing_file_sets_nothing() -> None:
    assert configfile.load({}).get("org") is None
    assert configfile.load({configfile.VARIABLE: "no/such/file.yml"}).get("org") is None


def test_an_account_without_a_home_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert configfile.load({}).values == {}


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_a_file_without_content_sets_nothing(home: Path, text: str) -> None:
    assert load_text(home, text).values == {}


def test_the_variable_names_another_file_and_an_empty_one_names_none(
    home: Path, tmp_path: Path
) -> None:
    other = tmp_path / "ci.toml"
    other.write_text('org = "other"')
    (home / ".kosli.yml").write_text("org: mine")
    file = configfile.load({configfile.VARIABLE: str(other)})
    assert (file.get("org"), file.label) == (["other"], str(other))
    assert configfile.load({configfile.VARIABLE: ""}).get("org") == ["mine"]


def test_like_the_cli_a_name_finds_its_sibling_in_another_format(tmp_path: Path) -> None:
    (tmp_path / "ci.json").write_text('{"org": "acme"}')
    file = configfile.load({configfile.VARIABLE: str(tmp_path / "ci.yml")})
    assert file.get("org") == ["acme"]
    assert file.label == str(tmp_path / "ci.json")


def test_the_file_that_was_named_wins_over_its_siblings(tmp_path: Path) -> None:
    (tmp_path / "ci.json").write_text('{"org": "sibling"}')
    (tmp_path / "ci.yml").write_text("org: named")
    file = configfile.load({configfile.VARIABLE: str(tmp_path / "ci.yml")})
    assert file.get("org") == ["named"]


def test_keys_with_underscores_are_not_read(home: Path) -> None:
    assert load_text(home, "api_token: x\nmax_api_retries: 9").get("max-api-retries") is None


def test_yaml_text_stays_as_typed_and_null_is_unset(home: Path) -> None:
    file = load_text(home, "org: no\nenvironment: 0123\nhost: null\npolicy:\nhttp-proxy: ''")
    assert file.get("org") == ["no"]
    assert file.get("environment") == ["0123"]
    assert file.get("host") is None
    assert file.get("policy") is None
    assert file.get("http-proxy") == [""]


def test_a_list_is_a_list_and_a_table_is_no_value(home: Path) -> None:
    file = load_text(home, "policy: [a, b]\norg: {a: b}\nunknown: {c: [d]}")
    assert file.get("policy") == ["a", "b"]
    with pytest.raises(ValueError, match="neither a plain value nor a list"):
        file.get("org")


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (".kosli.yml", "org: acme\napi-token: [hunter2", "(line 2)"),
        (".kosli.yml", "org: acme\napi-token: *hunter2", "(line 2)"),
        (".kosli.yml", "api-token: hunter2 \x00", ""),
        (".kosli.json", '{"org": "acme",\n"api-token": hunter2}', "(line 2)"),
        (".kosli.toml", 'org = "acme"\napi-token = hunter2', "(line 2)"),
        (".kosli.yml", "hunter2", "not a list of settings"),
        (".kosli.json", '["hunter2"]', "not a list of settings"),
        (".kosli.json", "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_does_not_parse_is_refused_without_quoting_it(
    home: Path, name: str, text: str, line: str
) -> None:
    with pytest.raises(ValueError, match=r"\.kosli\.\w+: can not be parsed") as caught:
        load_text(home, text, name)
    assert line in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_bytes_that_are_no_text_are_refused(home: Path) -> None:
    (home / ".kosli.yml").write_bytes(b"org: \xff\xfe")
    with pytest.raises(ValueError, match="can not be parsed"):
        configfile.load({})


def test_a_key_in_two_spellings_is_refused(home: Path) -> None:
    with pytest.raises(ValueError, match="ORG is there twice"):
        load_text(home, "org: a\nORG: b")


def test_yaml_can_not_run_code(home: Path) -> None:
    file = load_text(home, "org: !!python/object/apply:os.mkdir [ran]")
    assert file.get("org") == ["ran"]
    assert not Path("ran").exists()


@pytest.mark.skipif(os.name == "nt", reason="no file modes")
def test_a_file_that_may_not_be_read_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path, encoding: str) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    (home / ".kosli.yml").write_text("org: acme")
    monkeypatch.setattr(Path, "read_text", forbidden)
    with pytest.raises(ValueError, match="can not be read: Permission denied"):
        configfile.load({})


def test_the_values_are_in_no_repr(home: Path) -> None:
    assert "hunter2" not in repr(load_text(home, "api-token: hunter2"))


@given(vector=st.binary(min_size=16, max_size=16), text=st.binary(min_size=1, max_size=90))
def test_ciphertext_is_always_recognised(vector: bytes, text: bytes) -> None:
    assert configfile.is_encrypted(base64.b64encode(vector + text).decode())


def test_ciphertext_as_the_cli_writes_it_is_recognised(home: Path) -> None:
    wrapped = base64.encodebytes(bytes(range(197, 256))).decode()
    assert "\n" in wrapped.strip()
    body = "".join(f"    {line}\n" for line in wrapped.splitlines())
    texts = load_text(home, f"api-token: !!binary |\n{body}").get("api-token")
    assert texts is not None
    assert configfile.is_encrypted(texts[0])


@pytest.mark.parametrize(
    "key",
    [
        PLAIN_KEY,
        "short",
        "DRY_RUN",
        "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6ImNkNzg4OTg5In0.e8i_lA_QrEhFncb05Xw6E",
        "not-base64-but-a-multiple-of-4__",
        "kéy",
    ],
)
def test_plain_keys_are_not_taken_for_encrypted(key: str) -> None:
    assert not configfile.is_encrypted(key)


def test_what_can_not_be_told_apart_is_taken_for_encrypted() -> None:
    assert configfile.is_encrypted("0123456789abcdef0123456789abcdef01234567")
