"""What a person types to name an artifact, taken apart; nothing is hashed or asked here."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

from pytest_kosli.fingerprint.file import printable

FORMS = (
    "Accepted are file:PATH, dir:PATH, oci:IMAGE, docker:IMAGE, sha256:DIGEST, "
    "IMAGE@sha256:DIGEST, an existing path, and NAME= before any of these."
)
_DIGITS = 64
_NO_HEX = re.compile(r"[^0-9A-Fa-f]")
_LIKE_A_DIGEST = re.compile(r"[0-9A-Fa-f]{32,}")
_ALGORITHM = re.compile(r"(?:sha|md|blake)[0-9][0-9a-z-]*", re.IGNORECASE)
_CUSTOM = re.compile(r"[A-Za-z][A-Za-z0-9+_-]*:.+", re.DOTALL)
_HOST = r"(?:localhost|\[[0-9A-Fa-f:]+\]|[A-Za-z0-9-]+(?=[.:])(?:\.[A-Za-z0-9-]+)*)(?::[0-9]{1,5})?"
_WORD = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"(?:{_HOST}/)?{_WORD}(?:/{_WORD})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class BadReferenceError(ValueError):
    """A text that names no artifact; its message is one cause and what would be accepted.

    ``custom`` is true when the text is ``kind:...`` of a kind that is not ours, so that somebody's
    hook may know it. ``reference`` is the text where it may be that, or a path that is not there
    yet; ``name`` is what stood before ``=``.
    """

    def __init__(
        self, message: str, *, custom: bool = False, reference: str = "", name: str = ""
    ) -> None:
        super().__init__(message)
        self.custom = custom
        self.reference = reference
        self.name = name


@dataclass(frozen=True, slots=True)
class Reference:
    """An artifact as it was typed.

    ``kind`` is ``sha256``, ``file``, ``dir``, ``oci`` or ``docker``; ``value`` is the digest, the
    path or the image without that prefix; ``name`` was given by ``NAME=`` or is derived; ``text``
    is all of it as typed; ``digest`` is the fingerprint where the text holds it: nobody is asked.
    """

    kind: str
    value: str
    name: str
    text: str
    digest: str | None = None


def parse(text: str | os.PathLike[str], *, base: str | os.PathLike[str] = "") -> Reference:
    """Return the parts of a reference.

    A known prefix decides; then a digest; then a path that exists in ``base`` (the current folder
    by default); then ``NAME=REFERENCE``. What could be read in two ways is refused, never guessed.
    A path object is always a path. Raises BadReferenceError, a ValueError.
    """
    start = os.fspath(base)
    if not isinstance(text, str):
        path = os.fspath(text)
        return _local(_path_kind(path, start), path, path, start)
    if not text.strip():
        what = f"is only white space: {text!r}" if text else "is empty"
        raise BadReferenceError(f"the reference {what}. {FORMS}")
    return _named(text, start) or _plain(text, start)


def _named(text: str, base: str) -> Reference | None:
    """Return what ``NAME=REFERENCE`` says, or None where the text has to be read as a whole."""
    name, equals, rest = text.partition("=")
    if not equals or text.partition(":")[0] in _READERS:
        return None
    exists = _exists(text, base)
    try:
        _check_name(name, rest)
        reference = _plain(rest, base)
        _check_path_for(name, rest, reference)
    except BadReferenceError as error:
        if exists:
            return None
        raise BadReferenceError(
            f"in {printable(text)}: {error}",
            custom=error.custom,
            reference=error.reference,
            name=name,
        ) from None
    if exists:
        raise BadReferenceError(
            f"{printable(text)} is an existing path, and {printable(rest)} is a reference too: "
            f"write file:{printable(text)} or dir:{printable(text)} for the path, or rename it."
        )
    return replace(reference, name=name, text=text)


def _check_name(name: str, rest: str) -> None:
    if not name or name != name.strip() or not name.isprintable():
        raise BadReferenceError(
            f"the name before = is {name!r}: it may not be empty, have white space at an end, or "
            "hold control characters. Write NAME=REFERENCE."
        )
    if not rest.strip():
        raise BadReferenceError(f"no reference follows the =. {FORMS}")


def _check_path_for(name: str, rest: str, reference: Reference) -> None:
    """Refuse ``dist/a=b.whl``: a path that does not exist must not turn into another that does."""
    if reference.value == rest and reference.digest is None and re.search(r"[/\\]", name):
        shown = printable(rest)
        raise BadReferenceError(
            f"this may be a path, or a name for {shown}: write file: before all of it for the "
            f"path, or {name}={reference.kind}:{shown} for the name."
        )


def _plain(text: str, base: str) -> Reference:
    prefix, colon, value = text.partition(":")
    if colon and prefix in _READERS:
        return _READERS[prefix](prefix, value, text, base)
    like_a_digest = _LIKE_A_DIGEST.fullmatch(text)
    if _exists(text, base):
        if like_a_digest and len(text) == _DIGITS:
            raise BadReferenceError(
                f"{text} is an existing path and may be a digest too: write file:{text}, "
                f"dir:{text} or sha256:{text}."
            )
        return _local(_path_kind(text, base), text, text, base)
    if like_a_digest:
        return _sha256("sha256", text, text, base)
    if _ALGORITHM.fullmatch(text.partition("@")[2].partition(":")[0]):
        return _image("oci", text, text, base)
    if colon and _ALGORITHM.fullmatch(prefix):
        raise BadReferenceError(
            f"{printable(prefix)} digests are not fingerprints, Kosli knows artifacts by SHA256: "
            "write sha256: and 64 lower-case hex digits."
        )
    raise BadReferenceError(
        f"{printable(text)} is neither a digest nor a path that exists in "
        f"{printable(os.path.abspath(base))}.{_hint(text)} {FORMS}",
        custom=_CUSTOM.fullmatch(text) is not None,
        reference=text,
    )


def _hint(text: str) -> str:
    if text != text.strip():
        return " It has white space at an end."
    if "@" in text:
        return " What follows the @ of an image has to be sha256:DIGEST."
    name, tag = _untagged(text)
    if _REPOSITORY.fullmatch(name) and (tag or "/" in name):
        return f" For an image in a registry write oci:{text}."
    return ""


def _sha256(kind: str, value: str, text: str, base: str) -> Reference:
    digest = _digest(value, text)
    return Reference(kind, digest, digest[:7], text, digest)


def _local(kind: str, value: str, text: str, base: str) -> Reference:
    if not value.strip():
        raise BadReferenceError(f"no path follows {kind}: in {text!r}. Write {kind}:PATH.")
    if "\0" in value:
        raise BadReferenceError(f"the path in {printable(text)} holds a NUL character.")
    whole = os.path.abspath(os.path.join(base, value))
    return Reference(kind, value, printable(os.path.basename(whole) or whole), text)


def _image(kind: str, value: str, text: str, base: str) -> Reference:
    tagged, at, pin = value.partition("@")
    name, tag = _untagged(tagged)
    cause = _image_fault(kind, tagged, name, tag)
    if cause:
        raise BadReferenceError(
            f"{printable(text)} names no image: {cause}. "
            f"Write {kind}:REGISTRY/REPOSITORY:TAG, or IMAGE@sha256:DIGEST."
        )
    return Reference(kind, value, name, text, _pin(pin, text) if at else None)


def _image_fault(kind: str, tagged: str, name: str, tag: str | None) -> str:
    """Return what is wrong with an image's name and tag, or nothing."""
    if not tagged.strip():
        return "there is nothing where the image belongs"
    if "".join(tagged.split()) != tagged or not tagged.isprintable():
        return "white space and control characters have no place in it"
    if "//" in tagged:
        return "there is no // in an image, and no https: before it"
    if kind == "oci" and name == "sha256":
        return "this is a digest; without oci: it is a reference of its own"
    if not _REPOSITORY.fullmatch(name):
        lower = _REPOSITORY.fullmatch(name.lower())
        return "a repository is lower-case" if lower else f"{printable(name)} is no repository"
    if tag is not None and not _TAG.fullmatch(tag):
        return f"{printable(tag)!r} is no tag"
    return ""


def _pin(pin: str, text: str) -> str:
    algorithm, colon, digest = pin.partition(":")
    if not colon or algorithm != "sha256":
        raise BadReferenceError(
            f"{printable(text)} has {printable(pin) or 'nothing'} after @, and Kosli knows "
            "artifacts by SHA256: write IMAGE@sha256: and 64 lower-case hex digits."
        )
    return _digest(digest, text)


def _digest(digits: str, text: str) -> str:
    """Return the digits when they are a fingerprint; else say which of the usual slips it is."""
    found = _NO_HEX.search(digits)
    odd = found[0] if found else ""
    if not digits:
        cause = "has no digits"
    elif odd.isspace():
        cause = "holds white space"
    elif odd:
        cause = f"holds {odd!a}, which is no hex digit"
    elif len(digits) != _DIGITS:
        cause = f"has {len(digits)} digits"
    elif digits != digits.lower():
        cause = "has upper-case digits"
    else:
        return digits
    raise BadReferenceError(
        f"the digest in {printable(text)} {cause}: a fingerprint is 64 lower-case hex digits."
    )


def _untagged(image: str) -> tuple[str, str | None]:
    folder, slash, last = image.rpartition("/")
    last, colon, tag = last.partition(":")
    return folder + slash + last, tag if colon else None


def _exists(path: str, base: str) -> bool:
    return "\0" not in path and os.path.lexists(os.path.join(base, path))


def _path_kind(path: str, base: str) -> str:
    return "dir" if os.path.isdir(os.path.join(base, path)) else "file"


_READERS = {"sha256": _sha256, "file": _local, "dir": _local, "oci": _image, "docker": _image}
