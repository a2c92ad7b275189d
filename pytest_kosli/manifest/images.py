"""The value of an ``image`` key: an image, or why it is none."""

from __future__ import annotations

import re

from pytest_kosli.manifest.tree import Mapping, Node, Scalar
from pytest_kosli.manifest.types import Image, Place, Problem
from pytest_kosli.text import clean

_TEMPLATE = re.compile(r"\{\{|\}\}|<%|%>")
_UNFIT = re.compile(r"[\s=]|[^\x21-\x7e]")
LONGEST = 1024

_WRITE = "Write REGISTRY/REPOSITORY:TAG@sha256:DIGEST there, as one text."
_RENDER = "Render it first: helm template CHART | pytest ... --kosli-manifest -"
_FILL = (
    "Fill it in first, with envsubst or docker compose config, and pipe what it writes into "
    "pytest ... --kosli-manifest -"
)


def image(node: Node | None, place: Place) -> Image | Problem:
    """Return the image that a value names, or the problem at its place."""
    if node is None or (isinstance(node, Scalar) and (node.is_null or not node.text)):
        return Problem(place, "there is no image", "Name one, or take the container out.")
    told = _told(node)
    if not isinstance(node, Scalar) or not node.is_text:
        return Problem(place, f"the image is not text: {told}", _WRITE)
    if _TEMPLATE.search(node.text):
        what = f"the image is a template that nobody has filled in: {told}"
        return Problem(place, what, _RENDER, unrendered=True)
    if "$" in node.text:
        what = f"the image holds a variable that nobody has filled in: {told}"
        return Problem(place, what, _FILL, unrendered=True)
    if _UNFIT.search(node.text) or len(node.text) > LONGEST:
        return Problem(place, f"this can be no image: {told}", _WRITE)
    return Image(node.text, place)


def _told(node: Node) -> str:
    if isinstance(node, Scalar):
        return clean(node.text, 80)
    return "a mapping" if isinstance(node, Mapping) else "a list"
