"""A plain list: one image a line, with comments."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from pytest_kosli.manifest.images import image
from pytest_kosli.manifest.tree import Scalar
from pytest_kosli.manifest.types import Document, Image, Place, Problem

_COMMENT = re.compile(r"(^|\s)#.*", re.DOTALL)
_FIRST = re.compile(r"[A-Za-z0-9$<]\S*(?<!:)")


def is_list(text: str) -> bool:
    """Return whether the first line that says anything is one image, and no YAML or JSON."""
    _, first = next(_lines(text), (0, ""))
    return _FIRST.fullmatch(first) is not None


def images(text: str) -> Iterator[Image | Problem]:
    """Yield the image of each line."""
    for number, line in _lines(text):
        yield image(Scalar(line, number, plain=False), Place(Document(1, number)))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, without comments, by number."""
    for number, whole in enumerate(io.StringIO(text), start=1):
        if line := _COMMENT.sub("", whole).strip():
            yield number, line
