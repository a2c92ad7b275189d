"""Kubernetes objects: containers wherever they stand, in kinds that are known and in others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_kosli.manifest.images import image
from pytest_kosli.manifest.tree import DEEPEST, Mapping, Node, Scalar, Sequence, Steps, TooLarge
from pytest_kosli.manifest.types import Document, Image, Part, Place, Problem
from pytest_kosli.text import clean

CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
RUNNING: dict[str, tuple[str, ...]] = {
    "Pod": ("v1",),
    "PodTemplate": ("v1",),
    "ReplicationController": ("v1",),
    "Deployment": ("apps/", "extensions/"),
    "DaemonSet": ("apps/", "extensions/"),
    "ReplicaSet": ("apps/", "extensions/"),
    "StatefulSet": ("apps/",),
    "Job": ("batch/",),
    "CronJob": ("batch/",),
}
"""Kinds that run nothing but containers, and at least one, each with its API groups.

Only there it is Kubernetes's own: in another group somebody gave the name to something else.
"""

INERT: dict[str, tuple[str, ...]] = {
    "ConfigMap": ("v1",),
    "Secret": ("v1",),
    "CustomResourceDefinition": ("apiextensions.k8s.io/",),
}
"""Kinds that hold texts and schemas, whatever their keys are, each with its API groups."""

LABELS = frozenset({"metadata", "labels", "annotations", "selector", "matchLabels", "nodeSelector"})
"""Keys of mappings from free names to texts, so that an ``image`` there is none."""

DISKS = frozenset({"rbd"})
"""Keys beside which ``image`` is a disk's."""

_LOOK = "Look at what writes it: what runs has containers, and each of them an image."
_Step = str | int


def images(number: int, root: Mapping, steps: Steps) -> Iterator[Part]:
    """Yield the images of an object or of a list of them, and each object that has none."""
    yield from _Objects(number, steps).of(root, "", "", ())


class _Objects:
    """The objects of one document."""

    def __init__(self, number: int, steps: Steps) -> None:
        self._number = number
        self._steps = steps

    def of(self, root: Mapping, kind: str, api: str, path: tuple[_Step, ...]) -> Iterator[Part]:
        """Yield the parts of an object; ``kind`` and ``api`` are what a list says of it."""
        own, version = root.text("kind"), root.text("apiVersion")
        if own or version:  # of one alone kubectl makes another kind than it says
            kind, api = own or kind, version if own else ""
        metadata = root.entries.get("metadata")
        names = metadata if isinstance(metadata, Mapping) else Mapping({}, 0)
        name = names.text("name") or names.text("generateName")
        document = Document(self._number, root.line, clean(kind, 100), clean(name, 253))
        items, rest = _split(root, kind)
        yield from self._items(items, kind.removesuffix("List"), api, document, (*path, "items"))
        walk = _Walk(document, path, self._steps, kind, api)
        found = list(walk.parts(rest, []))
        yield from found
        if found or items:
            return
        if walk.runs:
            yield Problem(Place(document, _written(path)), "there is no container", _LOOK)
        else:
            yield document

    def _items(
        self, items: list[Node], kind: str, api: str, document: Document, path: tuple[_Step, ...]
    ) -> Iterator[Part]:
        if len(path) > DEEPEST:
            raise TooLarge("lists inside lists")
        for index, item in enumerate(items):
            self._steps.take()
            here = (*path, index)
            if isinstance(item, Mapping):
                yield from self.of(item, kind, api, here)
            else:
                place = Place(document, _written(here), item.line)
                yield Problem(place, "this is no object", _LOOK)


def _split(root: Mapping, kind: str) -> tuple[list[Node], Mapping]:
    """Return the objects that an object lists, and the rest of it.

    kubectl goes by the key alone, whatever the kind is.
    """
    found = root.entries.get("items")
    items = found.items if isinstance(found, Sequence) else []
    if kind.endswith("List") or any(isinstance(item, Mapping) for item in items):
        rest = {key: value for key, value in root.entries.items() if key != "items"}
        return items, Mapping(rest, root.line)
    return [], root


class _Walk:
    """One object, looked through for images.

    ``runs`` says that it has to have containers: in a kind of that name without an API too.
    """

    def __init__(
        self, document: Document, path: tuple[_Step, ...], steps: Steps, kind: str, api: str
    ) -> None:
        self._document = document
        self._path = path
        self._steps = steps
        self._known = _is_of(RUNNING, kind, api)
        self._inert = _is_of(INERT, kind, api)
        self.runs = self._known or (kind in RUNNING and not api)

    def parts(self, node: Node, path: list[_Step]) -> Iterator[Image | Problem]:
        """Yield the images below a node, and what stands where one belongs."""
        self._steps.take()
        if len(path) > DEEPEST:
            raise TooLarge(f"{DEEPEST} levels, one inside the other")
        if self._inert or isinstance(node, Scalar):
            return
        inner: Iterable[tuple[_Step, Node]] = (
            node.entries.items() if isinstance(node, Mapping) else enumerate(node.items)
        )
        labels = LABELS.intersection(path[-1:])
        for step, value in inner:
            free = labels and isinstance(value, Scalar)
            if not free and not (step == "status" and not path):
                path.append(step)
                yield from self._part(step, value, path)
                path.pop()

    def _part(self, step: _Step, value: Node, path: list[_Step]) -> Iterator[Image | Problem]:
        if step in CONTAINERS and self._holds_containers(value):
            yield from self._containers(value, path)
        elif step == "image" and isinstance(value, Mapping) and "reference" in value.entries:
            yield self._image(value.entries["reference"], path)  # a volume that is an image
        elif step == "image" and self._names_image(value, path):
            yield self._image(value, path[:-1])
        else:
            yield from self.parts(value, path)

    def _names_image(self, value: Node, path: list[_Step]) -> bool:
        """Return whether the text of an ``image`` key is one: kinds that we know have none such.

        A tag may make a text of it, for whoever knows the tag.
        """
        if self._known or not isinstance(value, Scalar) or DISKS.intersection(path[-2:-1]):
            return False
        return bool(value.text) and (value.is_text or value.tag is not None)

    def _holds_containers(self, value: Node) -> bool:
        """Return whether a list is one of containers: in a kind that is not known, some say so."""
        if self.runs or not isinstance(value, Sequence):
            return self.runs
        return any(isinstance(item, Mapping) and "image" in item.entries for item in value.items)

    def _containers(self, value: Node, path: list[_Step]) -> Iterator[Image | Problem]:
        if isinstance(value, Scalar) and value.is_null:
            return
        if not isinstance(value, Sequence):
            yield Problem(self._place(path, value.line), "this is no list of containers", _LOOK)
            return
        for index, item in enumerate(value.items):
            path.append(index)
            if isinstance(item, Mapping):
                yield self._image(item.entries.get("image"), path, item.line)
                rest = {key: one for key, one in item.entries.items() if key != "image"}
                yield from self.parts(Mapping(rest, item.line), path)
            else:
                yield Problem(self._place(path, item.line), "this is no container", _LOOK)
            path.pop()

    def _image(self, node: Node | None, path: list[_Step], line: int = 0) -> Image | Problem:
        return image(node, self._place(path, node.line if node else line))

    def _place(self, path: list[_Step], line: int) -> Place:
        return Place(self._document, _written((*self._path, *path)), line)


def _is_of(kinds: dict[str, tuple[str, ...]], kind: str, api: str) -> bool:
    """Return whether a kind is one of these, of their API group; of a version alone ``v1``."""
    return (api[: api.rfind("/") + 1] or api) in kinds.get(kind, ())


def _written(path: tuple[_Step, ...]) -> str:
    """Return a path as people write it: ``spec.template.spec.containers[0]``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return clean("".join(steps).removeprefix("."), 300)
