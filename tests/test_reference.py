"""The reference has everything public: what it does not get from code is compared with it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

import pytest

import pytest_kosli
from pytest_kosli import hookspecs, marker, options, plugin
from pytest_kosli.api.kosli import KosliClient
from tests import reference
from tests.documents import README, sections

TEXT = reference.REFERENCE.read_text("utf-8")
SECTIONS = sections(reference.REFERENCE)


def named(section: str) -> list[str]:
    """Return the name at the beginning of each row of a section's tables."""
    return re.findall(r"^\| `([*\w-]+)", SECTIONS[section], re.MULTILINE)


def test_the_tables_are_those_that_the_code_makes() -> None:
    assert reference.reference(TEXT) == TEXT, "run python -m tests.reference, and read the diff"


def test_a_table_without_its_place_is_noticed() -> None:
    with pytest.raises(AssertionError, match="no place for generated: types"):
        reference.reference(TEXT.replace("<!-- generated: types -->", ""))


def test_every_argument_of_the_mark_is_there_in_its_order() -> None:
    arguments = re.findall(r"^\| `\*?(\w+)=?` \|", SECTIONS["The mark"], re.MULTILINE)
    assert arguments == list(inspect.signature(marker.kosli).parameters)


def test_every_fixture_is_there() -> None:
    assert set(named("Fixtures")) == plugin.FIXTURES


def missing(names: Iterable[str], text: str) -> list[str]:
    return sorted(name for name in names if not re.search(rf"\b{name}\b", text))


def test_every_public_method_of_the_client_is_there() -> None:
    public = {name for name in vars(KosliClient) if not name.startswith("_")}
    assert public <= set(named("The client"))


def test_everything_that_the_package_exports_is_there() -> None:
    assert missing(pytest_kosli.__all__, TEXT) == []


def test_every_exception_is_there() -> None:
    assert {kind.__name__ for kind in reference.raised()} <= set(named("Exceptions"))
    assert {"NotCompliant", "NoVerdict", "NotChecked", "SourceMismatch"} <= set(named("Exceptions"))


def test_every_hook_is_there() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("pytest_kosli_")}
    assert missing(hooks, SECTIONS["Hooks"]) == []
    assert hooks


def test_every_flag_is_there_and_every_setting_in_the_readme() -> None:
    flags = {row.flag for row in options.ROWS if options.Level.FLAG in row.levels}
    assert set(re.findall(r"^\| `(--kosli-[\w-]+)", SECTIONS["Settings"], re.M)) == flags
    readme = README.read_text("utf-8")
    assert [row.name for row in options.ROWS if f"| {row.name} |" not in readme] == []
