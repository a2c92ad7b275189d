"""What files that deploy name becomes Checks: each file read once a run, each image resolved once.

The reading itself is ``manifest``'s; here are the files, standard input, and the registry's part.
"""

from __future__ import annotations

import codecs
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from msgspec import structs

from pytest_kosli.discovery import Check, Sources
from pytest_kosli.manifest import LARGEST, Manifest, Place, Problem, read
from pytest_kosli.memo import Memo, Plain
from pytest_kosli.model import Artifact, NoVerdict, sealed, unsealed
from pytest_kosli.text import clean

STANDARD_INPUT = "-"
KEY = "manifest -"
"""What a Memo calls the text on standard input, which only the run's first process can read."""

SHOWN = 20
_ENCODINGS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

Jobs = Sequence[Callable[[], object]]


class Deployment:
    """Manifests of a run, with one Memo; ``bases`` is where each origin's relative paths start.

    ``resolve`` makes an Artifact of a reference, ``side_by_side`` runs jobs at once, and
    ``require_digests`` refuses an image that a registry would have to be asked about.
    """

    def __init__(
        self,
        memo: Memo,
        bases: dict[str, Path],
        resolve: Callable[[str, str], Artifact],
        side_by_side: Callable[[Jobs], object],
        *,
        require_digests: bool = False,
    ) -> None:
        self._memo = memo
        self._bases = bases
        self._resolve = resolve
        self._side_by_side = side_by_side
        self._require_digests = require_digests
        self._read: dict[str, Manifest] = {}
        self._passed_over: list[str] = []

    def checks(self, path: str, group: Sources) -> Iterator[Check]:
        """Yield a check for each image of a manifest, and for each place that should have one.

        An image that ``without`` leaves out is not resolved. Raises NoVerdict for a manifest that
        can not be read, or in which there is no image.
        """
        manifest = self._manifest(path, group.origin)
        for problem in manifest.problems:
            yield Check(f"{manifest.name}: {problem.place}", problem=_problem(manifest, problem))
        found: dict[str, list[Place]] = {}
        for image in manifest.images:
            found.setdefault(image.text, []).append(image.place)
        kept = {text for text in found if not Artifact("", text).is_named(group.without)}
        self._look_ahead(sorted(kept))
        for text, places in found.items():
            if text in kept:
                yield self._check(text, _where(manifest, places), group)
            else:
                yield Check(text, left_out=True)

    def passed_over(self) -> list[str]:
        """Return the objects without an image in what was read since the last call."""
        found, self._passed_over = self._passed_over, []
        return found

    def _check(self, text: str, where: str, group: Sources) -> Check:
        try:
            artifact = self._artifact(text)
        except NoVerdict as error:
            return Check(text, problem=replace(error, message=f"{where}: {error.message}"))
        origin = structs.replace(artifact.origin, detail=where)
        return Check(text, Artifact(artifact.fingerprint, text, origin), group.judged_by)

    def _artifact(self, text: str) -> Artifact:
        if self._require_digests and "@" not in text:
            raise NoVerdict(
                "digest_required",
                f"{text} has no digest, and --kosli-require-digests asks for one",
                "Write IMAGE@sha256:DIGEST: a tag may be another image when it is deployed.",
            )
        return self._resolve(f"oci:{text}", "manifest")

    def _look_ahead(self, texts: Iterable[str]) -> None:
        """Ask registries side by side; who asks next hears what they said, errors too."""
        asked = [text for text in texts if "@" not in text]
        if len(asked) > 1 and not self._require_digests:
            self._side_by_side([partial(self._artifact, text) for text in asked])

    def _manifest(self, path: str, origin: str) -> Manifest:
        """Return what was read first in this run; a test's own call reads a file again."""
        name = "standard input" if path == STANDARD_INPUT else path
        whole = self._bases.get(origin, Path()) / path
        if origin == "call" and path != STANDARD_INPUT:
            return self._noted(read(_text_of(whole, name), name))
        key = KEY if path == STANDARD_INPUT else f"manifest {whole}"
        if key not in self._read:
            make = _not_read if path == STANDARD_INPUT else partial(_text_of, whole, name)
            given = self._memo.once(key, lambda: sealed(lambda: {"text": make()}))
            self._read[key] = self._noted(read(unsealed(given)["text"], name))
        return self._read[key]

    def _noted(self, manifest: Manifest) -> Manifest:
        self._passed_over += [f"{manifest.name}: {other}" for other in manifest.others]
        return manifest


def standard_input(config: pytest.Config) -> Plain:
    """Return what is on standard input, or the NoVerdict about it, as a Memo keeps it.

    To be called while pytest is configured: later it gives its input to nobody.
    """

    def whole() -> Plain:
        with _released(config):
            return {"text": _decoded(_piped(), "standard input")}

    return sealed(whole)


@contextmanager
def _released(config: pytest.Config) -> Iterator[None]:
    """Have pytest give back standard input for a while."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield
        return
    capture.suspend_global_capture(in_=True)
    try:
        yield
    finally:
        capture.resume_global_capture()
        capture.suspend_global_capture()


def _piped() -> bytes:
    try:
        if sys.stdin is None or sys.stdin.isatty():
            raise _unreadable("standard input", "nothing is piped into it")
        return sys.stdin.buffer.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise _unreadable("standard input", str(error)) from None


def _not_read() -> str:
    raise _unreadable("standard input", "it is read for --kosli-manifest - alone, as a run begins")


def _text_of(path: Path, name: str) -> str:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _unreadable(name, "it is a folder")
        if not stat.S_ISREG(mode):
            raise _unreadable(name, "it is not a file")
        with path.open("rb") as file:
            return _decoded(file.read(LARGEST + 1), name)
    except (OSError, ValueError) as error:
        raise _unreadable(name, getattr(error, "strerror", None) or str(error)) from None


def _decoded(whole: bytes, name: str) -> str:
    if len(whole) > LARGEST:
        raise NoVerdict(
            "manifest_too_large",
            f"{name} is larger than {LARGEST // 1024 // 1024} MiB",
            "Split it, and name each part with a --kosli-manifest of its own.",
        )
    try:
        return whole.decode(_ENCODINGS.get(whole[:2], "utf-8-sig"))
    except UnicodeDecodeError:
        raise _unreadable(name, "it is not UTF-8") from None


def _unreadable(name: str, why: str) -> NoVerdict:
    return NoVerdict(
        "manifest_unreadable",
        f"the manifest {clean(name)} can not be read: {clean(why)}",
        "Name the file itself, or pipe what deploys into pytest ... --kosli-manifest -",
    )


def _problem(manifest: Manifest, problem: Problem) -> NoVerdict:
    message = f"{manifest.name}: {problem.place}: {problem.told}"
    if problem.unrendered:
        return NoVerdict("manifest_not_rendered", message, problem.todo)
    return NoVerdict("manifest_image", message, problem.todo)


def _where(manifest: Manifest, places: Sequence[Place]) -> str:
    """Return the places of an image: ``deploy.yaml: Pod/web spec.containers[0], line 9``."""
    told = "; ".join(str(place) for place in places[:SHOWN])
    more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    return f"{manifest.name}: {told}{more}"
