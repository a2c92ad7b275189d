"""Names of images: which registry and repository one means, and which of an engine's digests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_kosli.model import NoVerdict
from pytest_kosli.text import clean

HUB = "docker.io"
_ALIASES = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_REPO_DIGEST = re.compile(r"(?P<name>[^@]+)@sha256:(?P<digest>[0-9a-f]{64})")
_NONE = "<none>@<none>"


@dataclass(frozen=True, slots=True)
class Image:
    """An image under its whole name, so that two spellings of one name are equal."""

    registry: str
    repository: str
    tag: str

    @property
    def name(self) -> str:
        """Return registry and repository: ``docker.io/library/alpine``."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}"


def normal_registry(host: str) -> str:
    """Return a registry's one name: lower case, and ``docker.io`` for all of Docker Hub's."""
    host = host.lower()
    return HUB if host in _ALIASES else host


def whole(text: str) -> Image:
    """Return what an image's name means where it leaves out registry, ``library/`` or tag.

    ``text`` is the image of a parsed reference; a digest in it does not matter here.
    """
    name = text.partition("@")[0]
    first, slash, rest = name.partition("/")
    if not slash or not (first == "localhost" or re.search("[.:]", first)):
        first, rest = HUB, name
    registry = normal_registry(first)
    repository, _, tag = rest.partition(":")
    if registry == HUB and "/" not in repository:
        repository = f"library/{repository}"
    return Image(registry, repository, tag or "latest")


def repo_digests(image: str, found: Sequence[str], image_id: str) -> tuple[str, ...]:
    """Return the digests that an engine's image has under a name, the one that counts first.

    ``found`` is its RepoDigests and ``image_id`` its Id. The choice is the Kosli CLI's, but names
    are compared as wholes: a single digest counts whatever its name is, among several the one of
    the repository that was asked for, or the first for an image asked for by its id. Raises
    NoVerdict ``no_repo_digest`` without any, ``ambiguous_repo_digest`` when none of several fits,
    ``engine_nonsense`` for what is no digest.
    """
    named = [_parsed(image, entry) for entry in found if entry != _NONE]
    if not named:
        raise NoVerdict(
            "no_repo_digest",
            f"the image {clean(image)} has no repository digest: it was built here, and neither "
            "pushed to a registry nor pulled from one",
            "Push it first: its fingerprint is the digest that the registry gives it.",
        )
    digests = tuple(dict.fromkeys(digest for _, digest in named))
    if len(digests) == 1:
        return digests
    asked = whole(image).name
    ours = [digest for name, digest in named if name == asked]
    if not ours and not _is_id(image, image_id):
        raise NoVerdict(
            "ambiguous_repo_digest",
            f"the image {clean(image)} has {len(digests)} repository digests, none under that "
            f"name: {clean(', '.join(found))}",
            "Name it by one of these repositories, or give the digest: IMAGE@sha256:...",
        )
    return tuple(dict.fromkeys((*ours, *digests)))


def _parsed(image: str, entry: str) -> tuple[str, str]:
    parts = _REPO_DIGEST.fullmatch(entry)
    if parts is None:
        raise NoVerdict(
            "engine_nonsense",
            f"the container engine gives {clean(image)} the repository digest {clean(entry)!r}, "
            "which is none",
            "Look at what answers on DOCKER_HOST.",
        )
    return whole(parts["name"]).name, parts["digest"]


def _is_id(image: str, image_id: str) -> bool:
    digits = image.removeprefix("sha256:")
    return bool(re.fullmatch("[0-9a-f]+", digits)) and image_id.removeprefix("sha256:").startswith(
        digits
    )
