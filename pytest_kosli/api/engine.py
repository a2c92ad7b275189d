"""The digests that a container engine knows an image by, asked through the Docker SDK."""

from __future__ import annotations

import math
from typing import Any

from pytest_kosli.fingerprint.image import repo_digests
from pytest_kosli.model import NoVerdict
from pytest_kosli.text import clean

_STATUS = "Look at what answers on DOCKER_HOST: it is not a container engine."


def resolve(image: str, *, timeout: float = 30.0) -> tuple[str, ...]:
    """Return the repository digests of an engine's image, 64 hex each; the first one counts.

    The engine is the one that ``DOCKER_HOST`` and its companions name, or the local one. Endpoint:
    ``GET /images/{image}/json``, after the SDK's ``GET /version``. ``timeout`` is in seconds for
    each. Raises NoVerdict for an engine that is not there, an image that it has not, or one that no
    registry has given a digest.
    """
    found = _inspect(image, timeout)
    digests = found.get("RepoDigests") or []
    image_id = found.get("Id")
    if not isinstance(image_id, str) or not _are_texts(digests):
        raise NoVerdict(
            "engine_nonsense",
            f"what the container engine says of {clean(image)} has no Id, or no list RepoDigests",
            _STATUS,
        )
    return repo_digests(image, digests, image_id)


def _inspect(image: str, timeout: float) -> dict[str, Any]:
    try:
        import docker
        from docker.utils import kwargs_from_env
    except ImportError:
        raise NoVerdict(
            "no_docker_sdk",
            f"docker:{clean(image)} has to be asked of a container engine, and the Docker SDK for "
            "Python is not installed",
            'Install it: pip install "pytest-kosli[docker]". Or name the image in its registry: '
            "oci:IMAGE.",
        ) from None
    try:
        client = docker.APIClient(version="auto", timeout=math.ceil(timeout), **kwargs_from_env())
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise NoVerdict(
            "engine_unreachable",
            f"the container engine does not answer: {_said(error)}",
            "Start it, or name it in DOCKER_HOST. Or name the image in its registry: oci:IMAGE.",
        ) from None
    try:
        found: object = client.inspect_image(image)  # type: ignore[no-untyped-call]
    except docker.errors.NotFound:
        raise NoVerdict(
            "unknown_image",
            f"the container engine has no image {clean(image)}",
            "Check name and tag, or pull it first.",
            status=404,
        ) from None
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise NoVerdict(
            "engine_error",
            f"the container engine does not say what {clean(image)} is: {_said(error)}",
            "Look at the engine's log, then run this again.",
        ) from None
    finally:
        client.close()
    return found if isinstance(found, dict) else {}


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _said(error: BaseException) -> str:
    return clean(error) or type(error).__name__
