"""What a file that deploys says: every image in it with its place, and what else is in the file.

Kubernetes objects in YAML or JSON, compose files, and plain lists of images. Pure: text in,
Manifest out, in bounded time and memory whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_kosli.manifest import compose, kubernetes, plain
from pytest_kosli.manifest.tree import Malformed, Mapping, Node, Steps, TooLarge, documents
from pytest_kosli.manifest.types import Document, Image, Manifest, Part, Place, Problem
from pytest_kosli.model import NoVerdict
from pytest_kosli.text import clean, count

__all__ = ["LARGEST", "Document", "Image", "Manifest", "Place", "Problem", "read"]

LARGEST = 16 * 1024 * 1024
"""Characters of a manifest, and bytes of a file that holds one."""

DOCUMENTS = 10_000
PLACES = 10_000

_TEMPLATE = re.compile(r"\{\{.*")
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*+)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.I)


def read(text: str, name: str) -> Manifest:
    """Return what a manifest holds; ``name`` is what messages call it.

    What is wrong with one image is a Problem at its place. Raises NoVerdict for the whole: a text
    that can not be read (``manifest_malformed``), an unrendered template
    (``manifest_not_rendered``), more than a manifest should hold (``manifest_too_large``), and
    one in which there is no image at all (``manifest_without_images``).
    """
    text = text.removeprefix("\ufeff")
    try:
        parts = list(_counted(_parts(text)))
    except TooLarge as error:
        raise NoVerdict(
            "manifest_too_large",
            f"{name} holds more than is read of a manifest: {error}",
            "Split it, and name each part with a --kosli-manifest of its own.",
        ) from None
    except Malformed as error:
        raise _unreadable(text, name, error) from None
    images = tuple(part for part in parts if isinstance(part, Image))
    problems = tuple(part for part in parts if isinstance(part, Problem))
    others = tuple(part for part in parts if isinstance(part, Document))
    if not images and not problems:
        raise _without_images(name, others)
    return Manifest(name, images, problems, others)


def _parts(text: str) -> Iterator[Part]:
    if len(text) > LARGEST:
        raise TooLarge(f"{LARGEST // 1024 // 1024} MiB")
    if plain.is_list(text):
        yield from plain.images(text)
        return
    if text.lstrip()[:1] in ("{", "["):
        # JSON writes what lies beyond 16 bits as a pair of escapes, which YAML does not know.
        text = _SURROGATES.sub(_joined, text)
    steps = Steps()
    for number, root in enumerate(documents(text, steps), start=1):
        if number > DOCUMENTS:
            raise TooLarge(f"{DOCUMENTS} documents")
        if root is not None:
            yield from _document(number, root, steps)


def _joined(pair: re.Match[str]) -> str:
    high, low = int(pair[2], 16), int(pair[3], 16)
    return pair[1] + chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def _document(number: int, root: Node, steps: Steps) -> Iterator[Part]:
    if not isinstance(root, Mapping):
        told = "this is neither an object nor a compose file"
        todo = "A list of images has one image a line, and nothing else."
        yield Problem(Place(Document(number, root.line)), told, todo)
    elif compose.is_compose(root):
        yield from compose.images(number, root)
    else:
        yield from kubernetes.images(number, root, steps)


def _counted(parts: Iterator[Part]) -> Iterator[Part]:
    for number, part in enumerate(parts, start=1):
        if number > PLACES:
            raise TooLarge(f"{PLACES} images and other objects")
        yield part


def _unreadable(text: str, name: str, error: Malformed) -> NoVerdict:
    above = text.splitlines()[: error.line]
    found = ((number, _TEMPLATE.search(line)) for number, line in enumerate(above, start=1))
    templates = [(number, template[0]) for number, template in found if template]
    if templates:
        number, template = templates[-1]
        return NoVerdict(
            "manifest_not_rendered",
            f"{name} can not be read: line {error.line}: {error}; line {number} holds a template "
            f"that nobody has filled in: {clean(template, 80)}",
            "Render it first: helm template CHART | pytest ... --kosli-manifest -",
        )
    return NoVerdict(
        "manifest_malformed",
        f"{name} is no manifest that can be read: line {error.line}: {error}",
        "Name a file as it is deployed: Kubernetes YAML or JSON, a compose file, or a list of "
        "images, one a line.",
    )


def _without_images(name: str, others: tuple[Document, ...]) -> NoVerdict:
    if not others:
        what = "it is empty"
    else:
        shown = ", ".join(str(other) for other in others[:5])
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        what = f"it has {count(len(others), 'document')}: {shown}{more}"
    return NoVerdict(
        "manifest_without_images",
        f"there is no image in {name}; {what}",
        "Look at what writes it: nothing to check is never a passed check.",
    )
