"""Whether what was hashed is still the same; read again only where a look at it says otherwise."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pytest_kosli.fingerprint import AnyPath, Fingerprint, directory, file, local
from pytest_kosli.fingerprint.reference import Reference
from pytest_kosli.model import NoVerdict


class Watch:
    """A file or folder that was hashed, and what it looked like then.

    ``reference``, ``exclude`` and ``base`` are those that ``found`` was hashed with.
    """

    def __init__(
        self, reference: Reference, exclude: Sequence[str], base: AnyPath, found: Fingerprint
    ) -> None:
        self._reference = reference
        self._exclude = tuple(exclude)
        self._base = os.fspath(base)
        self._found = found
        self._changed = False

    def check(self) -> None:
        """Raise NoVerdict ``file_changed`` for what is not what was hashed; from then on always."""
        self._changed = self._changed or not self._is_same()
        if self._changed:
            path = os.path.join(self._base, self._reference.value)
            raise file.changed_since(os.fsencode(path))

    def _is_same(self) -> bool:
        return self._stamp() == self._found.stamp or self._hashes_so()

    def _stamp(self) -> str | None:
        value = self._reference.value
        if self._reference.kind == "file":
            now = file.stamp_now(os.fsencode(os.path.join(self._base, value)))
            return now.decode() if now else None
        left_out = list(map(os.fsencode, self._found.left_out))
        return directory.stamp_now(value, left_out, self._base)

    def _hashes_so(self) -> bool:
        """Return whether it has its fingerprint still: its mode may be new, or what is left out."""
        try:
            again = local(self._reference, exclude=self._exclude, base=self._base)
        except NoVerdict:
            return False
        same = again is not None and again.sha256 == self._found.sha256
        self._found = again or self._found
        return same
