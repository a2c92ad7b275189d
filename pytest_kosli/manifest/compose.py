"""Compose files: the image of every service, whatever its profile."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_kosli.manifest.images import image
from pytest_kosli.manifest.tree import Mapping, Scalar, Sequence
from pytest_kosli.manifest.types import Document, Image, Place, Problem
from pytest_kosli.text import clean

_WHOLE = "Let Docker write all of it: docker compose config | pytest ... --kosli-manifest -"
_PUSH = "Push what is built, and name it beside build: image: REGISTRY/REPOSITORY:TAG."


def is_compose(root: Mapping) -> bool:
    """Return whether a document is a compose file."""
    return "services" in root.entries and not {"kind", "apiVersion"} & set(root.entries)


def images(number: int, root: Mapping) -> Iterator[Image | Problem]:
    """Yield the image of each service, and the images that its volumes are made of."""
    document = Document(number, root.line)
    if "include" in root.entries:
        line = root.entries["include"].line
        yield Problem(
            Place(document, "include", line), "services of other files are included", _WHOLE
        )
    services = root.entries["services"]
    if not isinstance(services, Mapping):
        if not (isinstance(services, Scalar) and services.is_null):
            place = Place(document, "services", services.line)
            yield Problem(place, "this is no mapping of services", _WHOLE)
        return
    for name, service in services.entries.items():
        path = f"services.{clean(name, 100)}"
        if isinstance(service, Mapping):
            yield from _service(document, path, service)
        else:
            yield Problem(Place(document, path, service.line), "this is no service", _WHOLE)


def _service(document: Document, path: str, service: Mapping) -> Iterator[Image | Problem]:
    given = service.entries.get("image")
    place = Place(document, path, given.line if given else service.line)
    if given is None and "build" in service.entries:
        yield Problem(place, "the service is built here, and names no image", _PUSH)
    elif given is None:
        yield Problem(place, "the service names no image", _WHOLE)
    else:
        yield image(given, place)
    volumes = service.entries.get("volumes")
    for index, volume in enumerate(volumes.items if isinstance(volumes, Sequence) else ()):
        if isinstance(volume, Mapping) and volume.text("type") == "image":
            where = Place(document, f"{path}.volumes[{index}]", volume.line)
            yield image(volume.entries.get("source"), where)
