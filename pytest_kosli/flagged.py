"""Whatever a flag names gets a verdict or the run fails: who asks about what, and what is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytest_kosli.discovery import Check, Found
from pytest_kosli.model import NoVerdict, Scope
from pytest_kosli.text import count

Key = tuple[str, Scope]
MANY = 5


class Flagged:
    """What each flag leads to; ``found`` is by the flag as typed, ``--kosli-snapshot prod``."""

    def __init__(self, found: Mapping[str, Found]) -> None:
        self._wanted = {
            flag: {_key(check): check for check in them.checks} for flag, them in found.items()
        }
        self._met: dict[str, set[Key]] = {flag: set() for flag in found}

    def take(
        self, checks: Iterable[Check], *, own_sources: bool, left_out: Sequence[str] = ()
    ) -> dict[str, list[str]]:
        """Note what a test asks about; return, by flag, what of it the flag has named.

        A test that names its own artifacts takes up only what it judges as the flag would; one that
        stands for the command line may judge by a scope of its own. What such a test leaves out of
        a snapshot or repo is listed in the summary, and so is accounted for.
        """
        asked = {_key(check) for check in checks}
        subjects = set() if own_sources else {subject for subject, _ in asked}
        taken: dict[str, list[str]] = {}
        for flag, wanted in self._wanted.items():
            for key, check in wanted.items():
                if key in asked or key[0] in subjects:
                    self._met[flag].add(key)
                    taken.setdefault(flag, []).append(_words(check))
                elif check.name in left_out and not flag.startswith("--kosli-artifact "):
                    self._met[flag].add(key)
        return taken

    def left(self) -> NoVerdict | None:
        """Return the NoVerdict that names what no test asks about, if there is anything."""
        told = [
            f"{flag}: {_listed(left)}"
            for flag, wanted in self._wanted.items()
            if (left := [check for key, check in wanted.items() if key not in self._met[flag]])
        ]
        if not told:
            return None
        return NoVerdict(
            "flag_not_taken_up",
            "; ".join(told),
            "Mark a test with @pytest.mark.kosli, and look at -k, -m and --lf; or run "
            "`pytest --pyargs pytest_kosli.gate` with these flags.",
        )


def _key(check: Check) -> Key:
    return check.artifact.fingerprint if check.artifact else check.name, check.scope


def _words(check: Check) -> str:
    if check.artifact is None:
        return check.name
    return f"{check.artifact.label} against {check.scope}" if check.scope else check.artifact.label


def _listed(left: list[Check]) -> str:
    if len(left) == 1 and left[0].problem:
        return left[0].problem.message
    shown = ", ".join(_words(check) for check in left[:MANY])
    more = f" and {count(len(left) - MANY, 'other')}" if len(left) > MANY else ""
    return f"no test that was selected asks about {shown}{more}"
