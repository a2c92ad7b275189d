"""What a person types becomes an Artifact: resolved once a run, and checked not to have changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from pytest_kosli.fingerprint import Fingerprint, local
from pytest_kosli.fingerprint.image import whole
from pytest_kosli.fingerprint.reference import BadReferenceError, Reference, parse
from pytest_kosli.fingerprint.watch import Watch
from pytest_kosli.memo import Memo, Plain, ProcessMemo
from pytest_kosli.model import Artifact, NoVerdict, Origin, sealed, unsealed
from pytest_kosli.text import clean

Claim = Callable[[str], str]
LookUp = Callable[[Reference, Claim], Fingerprint]
Custom = Callable[[str], "Fingerprint | None"]

_PINNED = (
    "an image for several platforms has a digest for its index and one for each platform: attest "
    "the one that is asked about",
)

_BEFORE_ANY_TEST = ("marker", "flag", "ini")
_NOT_BUILT = (
    "Marks and settings are read before any test runs: if a test builds this file, let it call "
    "assert_compliant with it."
)


def look_up(
    reference: Reference,
    claim: Claim = str,
    *,
    timeout: float = 30.0,
    max_api_retries: int = 3,
) -> Fingerprint:
    """Return the fingerprint of an ``oci:`` or ``docker:`` image, asked of registry or engine now.

    ``timeout`` is in seconds for one reply. Raises NoVerdict where there is no digest to be had.
    """
    if reference.kind == "oci":
        return _in_registry(reference, claim, timeout, max_api_retries)
    return _in_engine(reference, timeout)


def _in_registry(
    reference: Reference, claim: Claim, timeout: float, max_api_retries: int
) -> Fingerprint:
    from pytest_kosli.api.registry import hints, resolve

    image = whole(reference.value)
    found = resolve(image, timeout=timeout, max_api_retries=max_api_retries, claim=claim)
    what = "index" if found.platforms else "manifest"
    how = f"the {what} digest that {image.registry} has for {image.repository}:{image.tag}"
    return Fingerprint(found.sha256, reference.name, how, (), hints(found))


def _in_engine(reference: Reference, timeout: float) -> Fingerprint:
    from pytest_kosli.api.engine import resolve

    digest, *others = resolve(reference.value, timeout=timeout)
    how = f"the repository digest that the container engine has for {reference.value}"
    hints = tuple(f"the engine knows the image as {other} too" for other in others)
    return Fingerprint(digest, reference.name, how, (), hints)


class FingerprintOf(Protocol):
    """What the fixture ``kosli_fingerprint`` is: from a reference to its fingerprint."""

    def __call__(self, reference: str, *, exclude: Sequence[str] = ()) -> str:
        """Return 64 lower-case hexadecimal digits, or raise NoVerdict."""


def _no_custom(reference: str) -> None:
    """Know no kinds of references beside ours."""


class References:
    """Resolve references with one Memo; ``bases`` is where each origin's relative paths start.

    Without a base they start in what is the current folder then. ``look_up`` finds what only
    registry or engine can tell, ``custom`` is asked about kinds of references that are not ours.
    """

    def __init__(
        self,
        memo: Memo,
        bases: dict[str, Path],
        look_up: LookUp = look_up,
        custom: Custom = _no_custom,
    ) -> None:
        self._memo = memo
        self._bases = bases
        self._look_up = look_up
        self._ask_custom = custom
        self._watched: dict[str, Watch] = {}

    def artifact(self, text: str, origin: str, exclude: Sequence[str] = ()) -> Artifact:
        """Return the artifact that a reference names; ``origin`` says who wrote it.

        ``exclude`` are patterns of paths to leave out of a folder. The first look at a tag counts
        for the run; a test's own call looks again, and a tag that has moved is an error. Raises
        NoVerdict for a text that names none, and for what can not be resolved.
        """
        base = self._bases.get(origin) or _here()
        try:
            reference = parse(text, base=base)
        except BadReferenceError as error:
            found = self._custom(error, origin)
            return _artifact(error.name or text, Origin(origin, text), found)
        hashed = ""
        if reference.kind in ("file", "dir"):
            hashed, found = self._hashed(reference, base, exclude)
        elif given := local(reference, exclude=exclude):
            found = _plain(given) | {"how": "", "hints": _PINNED if "@" in reference.value else ()}
            if origin == "manifest":
                self._check_tag(reference, found)
        else:
            found = self._image(reference, origin)
        return _artifact(_name(reference), Origin(origin, text, hashed=hashed), found)

    def verify(self, artifact: Artifact) -> None:
        """Raise NoVerdict when the file or folder that an artifact was hashed from has changed."""
        if watch := self._watched.get(artifact.origin.hashed):
            watch.check()

    def _hashed(
        self, reference: Reference, base: Path, exclude: Sequence[str]
    ) -> tuple[str, Plain]:
        """Return what a file or folder is known by from now on, and its fingerprint."""
        # As it was written: a folder's patterns see that, and where link/.. is the disk knows.
        spelled = (base, reference.value) if reference.kind == "dir" else (base / reference.value,)
        key = f"{reference.kind} {(*map(str, spelled), *exclude)}"
        fresh: list[Fingerprint] = []

        def hashed() -> Plain:
            found = local(reference, exclude=exclude, base=base)
            assert found is not None  # noqa: S101 - only images have no local fingerprint
            fresh.append(found)
            return _plain(found)

        found = self._memo.once(key, hashed)
        if key not in self._watched:
            self._watched[key] = Watch(reference, exclude, base, _fingerprint(found))
        if not fresh:
            self._watched[key].check()
        return key, found

    def _image(self, reference: Reference, origin: str) -> Plain:
        tag = str(whole(reference.value))
        looked: list[Plain] = []

        def look() -> Plain:
            looked.append(sealed(lambda: _plain(self._look_up(reference, self._claim))))
            return looked[0]

        found = self._memo.once(f"{reference.kind} {tag}", look)
        if origin == "call" and not looked:
            found = look()  # A test asks what the tag is now, and may have pushed it itself.
        self._note_tag(tag, unsealed(found))
        return found

    def _check_tag(self, reference: Reference, given: Plain) -> None:
        """Refuse a digest beside a tag that means another image in this run."""
        if ":" in reference.value.partition("@")[0].rpartition("/")[2]:
            how = {"how": "the digest that a manifest gives it"}
            self._note_tag(str(whole(reference.value)), given | how)

    def _note_tag(self, tag: str, found: Plain) -> None:
        first = self._memo.once(f"tag {tag}", lambda: found)
        if first["sha256"] != found["sha256"]:
            raise _moved(tag, first, found)

    def _claim(self, registry: str) -> str:
        """Return the one registry that the run sends the credentials in variables to."""
        claimed = self._memo.once("registry credentials", lambda: {"registry": registry})
        return str(claimed["registry"])

    def _custom(self, error: BadReferenceError, origin: str) -> Plain:
        """Return what a hook makes of a reference that is not ours, or raise that it is none."""
        if error.custom:
            found = self._memo.once(
                f"hook {error.reference}", lambda: sealed(lambda: self._asked(error.reference))
            )
            if unsealed(found)["sha256"]:
                return found
        may_be_built = error.reference and not error.custom and origin in _BEFORE_ANY_TEST
        todo = _NOT_BUILT if may_be_built else ""
        raise NoVerdict("bad_reference", clean(error, 1000), todo) from None

    def _asked(self, reference: str) -> Plain:
        return _plain(self._ask_custom(reference) or Fingerprint("", "", ""))


def fingerprint(reference: str, *, exclude: Sequence[str] = ()) -> str:
    """Return the fingerprint of what a reference names: 64 lower-case hexadecimal digits.

    For scripts, without pytest: paths start in the current folder, registry and engine are asked
    each time. ``exclude`` are patterns of paths to leave out of a folder. Raises NoVerdict.
    """
    return References(ProcessMemo(), {}).artifact(reference, "call", exclude).fingerprint


def _artifact(name: str, origin: Origin, found: Plain) -> Artifact:
    resolved, excluded, hints = found["how"], tuple(found["excluded"]), tuple(found["hints"])
    origin = replace(origin, resolved=resolved, excluded=excluded, hints=hints)
    return Artifact(found["sha256"], name, origin)


def _plain(found: Fingerprint) -> Plain:
    return {
        "sha256": found.sha256,
        "how": found.how,
        "excluded": list(found.excluded),
        "hints": list(found.hints),
        "stamp": found.stamp,
        "left_out": list(found.left_out),
    }


def _fingerprint(plain: Plain) -> Fingerprint:
    """Return what a Watch needs of what ``_plain`` described."""
    stamp, left_out = plain["stamp"], tuple(plain["left_out"])
    return Fingerprint(plain["sha256"], "", plain["how"], stamp=stamp, left_out=left_out)


def _here() -> Path:
    """Return the current folder; one that was removed leads to nothing."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path()


def _name(reference: Reference) -> str:
    """Return the given name; of an image without one, the whole text, which is how it is known."""
    return (
        reference.value if "@" in reference.value and "=" not in reference.text else reference.name
    )


def _moved(tag: str, first: Plain, found: Plain) -> NoVerdict:
    return NoVerdict(
        "tag_moved",
        f"{tag} is not one image in this run: {first['sha256']} is {first['how']}, and "
        f"{found['sha256']} is {found['how']}",
        "Push and pull before the run, or name the image by its digest: IMAGE@sha256:...",
    )
