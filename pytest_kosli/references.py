"""What a person types becomes an Artifact: resolved once a run, and checked not to have changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kosli import fingerprint
from pytest_kosli.fingerprint.file import changed, stamp_now
from pytest_kosli.fingerprint.reference import BadReferenceError, Reference, parse
from pytest_kosli.model import Artifact, NoVerdict, Origin
from pytest_kosli.text import clean

if TYPE_CHECKING:
    from pytest_kosli.ledger import Memo, Plain


class References:
    """Resolve references with one Memo; ``bases`` is where each origin's relative paths start."""

    def __init__(self, memo: Memo, bases: dict[str, Path]) -> None:
        self._memo = memo
        self._bases = bases
        self._stamps: dict[str, tuple[bytes, object]] = {}

    def artifact(self, text: str, origin: str) -> Artifact:
        """Return the artifact that a reference names; ``origin`` says who wrote it.

        Raises NoVerdict for a text that names none, and for what can not be hashed.
        """
        base = self._bases.get(origin, Path())
        try:
            reference = parse(text, base=base)
        except BadReferenceError as error:
            raise NoVerdict("bad_reference", clean(error, 1000)) from None
        if reference.digest:
            return Artifact(reference.digest, _name(reference), Origin(origin, text))
        if reference.kind not in ("file", "dir"):
            raise NoVerdict(
                "not_yet",
                f"{clean(text)}: {reference.kind}: references are not resolved yet",
                "Give the image with its digest: IMAGE@sha256:...",
            )
        path = os.path.abspath(base / reference.value)
        found = self._memo.once(f"{reference.kind} {path}", lambda: _hashed(reference, base, path))
        self._stamps.setdefault(found["sha256"], (os.fsencode(path), found["stamp"]))
        artifact = Artifact(
            found["sha256"],
            reference.name,
            Origin(
                origin,
                text,
                resolved=found["how"],
                excluded=tuple(found["excluded"]),
                hints=tuple(found["hints"]),
            ),
        )
        self.verify(artifact)
        return artifact

    def verify(self, artifact: Artifact) -> None:
        """Raise NoVerdict when the file that an artifact was hashed from has changed since."""
        path, stamp = self._stamps.get(artifact.fingerprint, (b"", None))
        if stamp is not None and stamp != list(stamp_now(path) or ()):
            raise changed(path)


def _hashed(reference: Reference, base: Path, path: str) -> Plain:
    found = fingerprint.local(reference, base=base)
    assert found is not None  # noqa: S101 - only images have no local fingerprint
    stamp = stamp_now(os.fsencode(path)) if reference.kind == "file" else None
    return {
        "sha256": found.sha256,
        "how": found.how,
        "excluded": list(found.excluded),
        "hints": list(found.hints),
        "stamp": list(stamp) if stamp else None,
    }


def _name(reference: Reference) -> str:
    """Return the given name; of an image without one, the whole text, which is how it is known."""
    return (
        reference.value if "@" in reference.value and "=" not in reference.text else reference.name
    )
