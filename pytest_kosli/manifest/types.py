"""The words of a manifest: Image, Place, Document, Problem."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_kosli.text import clean


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a manifest; ``number`` of its document and ``line`` count from 1."""

    number: int
    line: int
    kind: str = ""
    name: str = ""

    def __str__(self) -> str:
        told = "/".join(clean(part, 100) for part in (self.kind, self.name) if part)
        return told or f"document {self.number}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: in which object, by which path from its root, in which line."""

    document: Document
    path: str = ""
    line: int = 0

    def __str__(self) -> str:
        document = self.document
        named = bool(document.kind or document.name or document.number > 1)
        parts = ([str(document)] if named else []) + ([self.path] if self.path else [])
        line = f"line {self.line or document.line}"
        return f"{' '.join(parts)}, {line}" if parts else line


@dataclass(frozen=True, slots=True)
class Image:
    """An image as it is written at a place."""

    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no image at a place where one belongs, and what to do about it.

    ``unrendered`` says that a template or a variable stands there that nobody has filled in.
    """

    place: Place
    told: str
    todo: str
    unrendered: bool = False


Part = Image | Problem | Document


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of a manifest: ``others`` are the objects in which there is no image."""

    name: str
    images: tuple[Image, ...]
    problems: tuple[Problem, ...]
    others: tuple[Document, ...]
