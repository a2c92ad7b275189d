"""Learn from a test suite whether deployed artifacts are compliant according to Kosli."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

__version__ = "0.1.0"


def fingerprint(reference: str, *, exclude: Sequence[str] = ()) -> str:
    """Return the fingerprint of what a reference names: 64 lower-case hexadecimal digits.

    For scripts, without pytest: ``fingerprint("dir:build")``. Paths start in the current folder;
    ``exclude`` are patterns of paths to leave out of a folder. Raises ``model.NoVerdict``.
    """
    from pytest_kosli.references import fingerprint

    return fingerprint(reference, exclude=exclude)


class _Package(ModuleType):
    """The package, whose function ``fingerprint`` shares its name with a room of the house."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "fingerprint":  # What Python sets when somebody imports from that room.
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
