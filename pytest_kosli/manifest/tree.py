"""YAML and JSON as a tree that knows its lines, built from the stream of events.

Strangers write these texts: no composer whose stack a deep one overflows has a part in it, aliases
are counted as often as they are used, and of two equal keys none quietly wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from pytest_kosli.text import clean

DEEPEST = 100
LONGEST_KEY = 1024
STEPS = 1_000_000
"""Parts of a manifest that are read or looked at, an alias as all that it stands for."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = yaml.resolver.Resolver()
_TEXT, _NULL, _MERGE = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "merge"))


class Malformed(Exception):
    """What is wrong with a text, and in which line, from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class TooLarge(Exception):
    """Which limit a text goes beyond."""


class Steps:
    """How much is still read of one manifest."""

    def __init__(self, limit: int = STEPS) -> None:
        self._left = self._limit = limit

    def take(self, number: int = 1) -> None:
        """Count steps; raises TooLarge where there are none left."""
        self._left -= number
        if self._left < 0:
            raise TooLarge(f"{self._limit} keys, values and what aliases repeat of them")


@dataclass(slots=True)
class Scalar:
    """A value that holds no others; ``tag`` is the one that was written, if any."""

    text: str
    line: int
    tag: str | None = None
    plain: bool = True

    @property
    def type(self) -> str:
        """Return the tag that YAML gives it."""
        resolved: str = _RESOLVER.resolve(yaml.ScalarNode, self.text, (self.plain, not self.plain))
        return self.tag or resolved

    @property
    def is_text(self) -> bool:
        """Return whether it is a text, and no number, date, boolean or nothing."""
        return self.type == _TEXT

    @property
    def is_null(self) -> bool:
        """Return whether it is nothing."""
        return self.type == _NULL


@dataclass(slots=True)
class Sequence:
    """A list."""

    items: list[Node]
    line: int


@dataclass(slots=True)
class Mapping:
    """Keys and values, with what merge keys bring in."""

    entries: dict[str, Node]
    line: int

    def text(self, key: str) -> str:
        """Return the text under a key, or nothing where there is none."""
        value = self.entries.get(key)
        return value.text if isinstance(value, Scalar) and value.is_text else ""


Node = Scalar | Sequence | Mapping


def documents(text: str, steps: Steps) -> Iterator[Node | None]:
    """Yield the root of each document, None for an empty one.

    Raises Malformed for what is not YAML, or YAML that could be read in two ways, and TooLarge.
    """
    try:
        yield from _built(text, steps)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise Malformed(error.problem or "it is not YAML", mark.line + 1 if mark else 1) from None
    except yaml.reader.ReaderError as error:
        raise _no_text(text, error.position, error.reason) from None
    except UnicodeEncodeError as error:  # half of a character
        raise _no_text(text, error.start, error.reason) from None


def _no_text(text: str, position: int, why: str) -> Malformed:
    line = text.count("\n", 0, position) + 1
    return Malformed(f"a character that no text has: {clean(why)}", line)


def _built(text: str, steps: Steps) -> Iterator[Node | None]:
    builder = _Builder(steps)
    for event in yaml.parse(text, Loader=_LOADER):
        steps.take()
        match event:
            case yaml.ScalarEvent():
                builder.scalar(event)
            case yaml.CollectionStartEvent():
                builder.begin(event)
            case yaml.CollectionEndEvent():
                builder.end()
            case yaml.AliasEvent():
                builder.alias(event)
            case yaml.DocumentStartEvent():
                builder = _Builder(steps)
            case yaml.DocumentEndEvent():
                yield builder.root


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    line: int
    anchor: str | None
    mapping: bool
    parts: list[Node]


class _Builder:
    """One document, event by event."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._roots: list[Node] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}

    @property
    def root(self) -> Node | None:
        """Return the document, or None where it is empty."""
        (node,) = self._roots
        return None if isinstance(node, Scalar) and node.is_null else node

    def scalar(self, event: yaml.ScalarEvent) -> None:
        self._add(Scalar(event.value, _line(event), event.tag, event.implicit[0]), event.anchor)

    def begin(self, event: yaml.CollectionStartEvent) -> None:
        if len(self._open) >= DEEPEST:
            raise TooLarge(f"{DEEPEST} levels, one inside the other")
        if event.anchor:
            self._anchors[event.anchor] = None
        mapping = isinstance(event, yaml.MappingStartEvent)
        self._open.append(_Open(_line(event), event.anchor, mapping, []))

    def end(self) -> None:
        ended = self._open.pop()
        made = _mapping(ended, self._steps) if ended.mapping else Sequence(ended.parts, ended.line)
        self._add(made, ended.anchor)

    def alias(self, event: yaml.AliasEvent) -> None:
        name = event.anchor or ""
        node = self._anchors.get(name)
        if node is None:
            what = "holds itself" if name in self._anchors else "stands for nothing"
            raise Malformed(f"the alias *{clean(name, 40)} {what}", _line(event))
        self._add(node, None)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        (self._open[-1].parts if self._open else self._roots).append(node)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _mapping(ended: _Open, steps: Steps) -> Mapping:
    own: dict[str, Node] = {}
    merged: list[Node] | None = None
    for key, value in zip(ended.parts[::2], ended.parts[1::2], strict=True):
        if not isinstance(key, Scalar) or key.tag not in (None, _TEXT, _MERGE):
            raise Malformed("a key is not text", key.line)
        if len(key.text) > LONGEST_KEY:
            raise Malformed(f"a key is longer than {LONGEST_KEY} characters", key.line)
        merges = key.text == "<<" and key.type == _MERGE
        if key.text in own or (merges and merged is not None):
            raise Malformed(f"the key {clean(key.text, 60)} stands there twice", key.line)
        if merges:
            merged = value.items if isinstance(value, Sequence) else [value]
        else:
            own[key.text] = value
    return Mapping(_merged(merged or [], steps) | own, ended.line)


def _merged(nodes: list[Node], steps: Steps) -> dict[str, Node]:
    """Return what merge keys bring in; of several the first counts."""
    found: dict[str, Node] = {}
    for node in reversed(nodes):
        if not isinstance(node, Mapping):
            raise Malformed("a merge key << names something that is no mapping", node.line)
        steps.take(len(node.entries))
        found |= node.entries
    return found
