"""Writes the tables that come from code into the documents: ``python -m tests.reference``."""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

import pytest_kosli
from pytest_kosli import options
from pytest_kosli.api.codealive import CodeAliveClient
from pytest_kosli.api.kosli import KosliClient
from pytest_kosli.model import KosliError
from pytest_kosli.values import shown
from tests.documents import DOCS, README

REFERENCE = DOCS / "reference.md"
PACKAGE = Path(pytest_kosli.__file__).parent

ROOMS = [
    importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    for path in sorted(PACKAGE.rglob("*.py"))
]

Rows = list[tuple[str, ...]]


def summary(docstring: str | None) -> str:
    """Return the first paragraph of a docstring as Markdown on one line."""
    assert docstring
    text = " ".join(inspect.cleandoc(docstring).partition("\n\n")[0].split())
    return text.removeprefix("Return ").rstrip(".").replace("``", "`").replace("|", "\\|")


def code(texts: list[str]) -> str:
    return ", ".join(f"`{text}`" for text in texts)


def call(name: str, function: Callable[..., object]) -> str:
    """Return how a function is called, without its types."""
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]
    return f"`{name}{inspect.Signature(parameters)}`"


# The tables.


def settings(of: Sequence[options.Row] = options.ROWS) -> Rows:
    rows: Rows = [
        ("setting", "flag", "variable", "ini key", "`~/.kosli.yml`", "default", "what it is")
    ]
    for row in of:
        names = (row.flag, row.variable, row.dest, row.key)
        places = (
            f"`{name}`" if level in row.levels else "no"
            for level, name in zip(options.Level, names, strict=False)
        )
        default = f"`{shown(row.default)}`" if row.default not in (None, ()) else "none"
        rows.append((row.name, *places, default, row.usage.replace("|", "\\|")))
    return rows


def flags() -> Rows:
    rows: Rows = [("flag", "what it does")]
    for row in options.ROWS:
        if options.Level.FLAG in row.levels:
            flag = f"{row.flag} {row.metavar}".strip()
            rows.append((code([flag.replace("|", "\\|")]), row.usage.replace("|", "\\|")))
    return rows


def fixtures() -> Rows:
    rows: Rows = [("fixture", "scope", "what it gives")]
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                made = [ast.unparse(each) for each in node.decorator_list]
                for text in (text for text in made if text.startswith("pytest.fixture")):
                    scope = re.search(r"scope='(\w+)'", text)
                    told = summary(ast.get_docstring(node))
                    rows.append((code([node.name]), scope[1] if scope else "function", told))
    return rows


def methods(client: type) -> Rows:
    rows: Rows = [("method", "what it returns or does", "endpoint")]
    for name, method in inspect.getmembers(client, inspect.isfunction):
        if not name.startswith("_"):
            endpoint = re.search(r"Endpoint: (``.*?``)", method.__doc__ or "", re.DOTALL)
            path = endpoint[1].replace("``", "`") if endpoint else ""
            rows.append((call(name, method), summary(method.__doc__), path))
    return rows


def types() -> Rows:
    rows: Rows = [("type", "what it is", "what it has")]
    return rows + [
        (code([kind.__name__]), summary(kind.__doc__), code(attributes(kind)))
        for kind in sorted(public(), key=lambda kind: kind.__name__)
        if not issubclass(kind, Exception)
    ]


def exceptions() -> Rows:
    rows: Rows = [("exception", "is a", "what it means", "what it carries")]
    kinds: list[type] = [KosliError, *raised()]
    for kind in kinds:
        bases = [base.__name__ for base in kind.__bases__]
        told = summary(kind.__doc__)
        rows.append((code([kind.__name__]), code(bases), told, code(attributes(kind))))
    return rows


TABLES: dict[str, Callable[[], Rows]] = {
    "flags": flags,
    "fixtures": fixtures,
    "kosli_client": lambda: methods(KosliClient),
    "codealive_client": lambda: methods(CodeAliveClient),
    "types": types,
    "exceptions": exceptions,
}


# What a user meets.


def raised() -> list[type[KosliError]]:
    return sorted(KosliError.__subclasses__(), key=lambda kind: kind.__name__)


def public() -> set[type]:
    """Return the classes that the package exports, and those that their parts are made of."""
    exported = [getattr(pytest_kosli, name) for name in pytest_kosli.__all__]
    found: set[type] = set()
    ahead: list[object] = [*exported, *raised(), CodeAliveClient]
    while ahead:
        kind = ahead.pop()
        ahead += typing.get_args(kind)
        if inspect.isclass(kind) and is_ours(kind) and kind not in found:
            found.add(kind)
            ahead += mentioned(kind)
    return found - {KosliClient, CodeAliveClient}


def is_ours(kind: type) -> bool:
    return kind.__module__.startswith("pytest_kosli") and not kind.__name__.startswith("_")


def mentioned(kind: type) -> Iterator[object]:
    """Yield the types of a class's fields, and of what its public methods and properties return."""
    yield from (of for name, of in hints(kind).items() if not name.startswith("_"))
    if issubclass(kind, Exception) and inspect.isfunction(kind.__init__):
        yield from hints(kind.__init__).values()
    for name, member in vars(kind).items():
        if not name.startswith("_"):
            function = getattr(member, "fget", None) or getattr(member, "func", None) or member
            if inspect.isfunction(function):
                yield hints(function).get("return")


def hints(about: Any) -> dict[str, Any]:
    """Return resolved annotations, those that are there for type checkers alone too."""
    words = [room for room in ROOMS if ".report" not in room.__name__]  # That has its own Reason.
    names = {name: value for room in words for name, value in vars(room).items()}
    return typing.get_type_hints(about, {**names, **vars(sys.modules[about.__module__])})


def attributes(kind: type) -> list[str]:
    """Return the fields and properties of a class, or the members of an enumeration."""
    if issubclass(kind, enum.Enum):
        names = [*kind.__members__]
    elif issubclass(kind, msgspec.Struct):
        names = [field.name for field in msgspec.structs.fields(kind)]
    elif dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    else:
        own = "__init__" in vars(kind)
        set_there = re.findall(r"self\.(\w+) = ", inspect.getsource(kind.__init__)) if own else []
        names = [name for name in set_there if not name.startswith("_")]
    looked_up = [
        name
        for name, value in vars(kind).items()
        if isinstance(value, (property, functools.cached_property))
    ]
    return names + looked_up


# The document.


def table(rows: Rows) -> str:
    head, *rest = rows
    lines = [head, ("---",) * len(head), *rest]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def put(text: str, begin: str, made: str, end: str) -> str:
    """Return a text with something else between two comments."""
    head, found, rest = text.partition(f"<!-- {begin} -->\n")
    _, closed, tail = rest.partition(f"<!-- {end} -->")
    assert closed, f"there is no place for {begin}"
    return head + found + made + closed + tail


def reference(text: str) -> str:
    """Return the reference with every table as the code says it now."""
    for name, rows in TABLES.items():
        text = put(text, f"generated: {name}", table(rows()), "/generated")
    return text


def readme(text: str) -> str:
    """Return the README with the table of settings as the code says it now."""
    return put(text, "settings", table(settings()), "/settings")


if __name__ == "__main__":
    for path, written in {REFERENCE: reference, README: readme}.items():
        path.write_text(written(path.read_text("utf-8")), "utf-8")
