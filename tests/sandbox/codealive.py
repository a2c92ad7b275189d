"""CodeAlive's routes: the indexed text of named files, a search to find names, the data sources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

LIMIT = 20


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Model):
    """A symbol of a file: the line that it starts in, counted from 1, and its text."""

    start: int
    text: str


class DataSource(_Model):
    """A branch of a repository as indexed, by path and by ``path::symbol``; or a workspace."""

    id: str
    repo: str = ""
    url: str | None = None
    branch: str | None = None
    state: Literal["Ready", "Processing"] = "Ready"
    repositories: list[str] | None = None
    files: dict[str, str] = {}
    symbols: dict[str, Part] = {}

    def entry(self, identifier: str) -> dict[str, Any] | None:
        """Return what the index holds under an identifier, None for nothing."""
        repo, _, place = identifier.removesuffix("::").partition("::")
        if repo != self.repo:
            return None
        if place in self.files:
            text, start = self.files[place], 1
        elif place in self.symbols:
            text, start = self.symbols[place].text, self.symbols[place].start
        else:
            return None
        return {
            "identifier": identifier,
            "found": True,
            "content": text,
            "contentByteSize": len(text.encode()),
            "startLine": start,
        }

    def hits(self, name: str, words: list[str]) -> Iterator[dict[str, Any]]:
        """Yield what holds any of the words, the symbols first."""
        places = {**{place: part.text for place, part in self.symbols.items()}, **self.files}
        for place, text in places.items():
            if any(word in text.lower() for word in words):
                symbol = place in self.symbols
                start = self.symbols[place].start if symbol else 0
                yield {
                    "kind": "Symbol" if symbol else "File",
                    "identifier": f"{self.repo}::{place}",
                    "dataSource": {"id": self.id, "name": name, "type": "repository"},
                    "location": {
                        "path": place.split("::")[0],
                        "range": {"start": {"line": start}, "end": {"line": start}},
                    },
                    "score": 0.9 if symbol else 0.5,
                    "description": "Text that a machine wrote about it",
                    "contentByteSize": len(text.encode()),
                }


class Index(_Model):
    """All that one key may read, by the names of its data sources."""

    key: str
    data_sources: dict[str, DataSource]

    def named(self, name: str) -> dict[str, DataSource]:
        """Return the data source of that name or id; nothing for an unknown one."""
        return {key: one for key, one in self.data_sources.items() if name in (key, one.id)}


router = APIRouter(prefix="/api", redirect_slashes=False)


class Fetch(_Model):
    """The body of a fetch; CodeAlive knows no other fields."""

    identifiers: Annotated[list[str], Field(min_length=1, max_length=LIMIT)]
    data_source: Annotated[str | None, Field(alias="dataSource", min_length=1)] = None


@router.post("/search/artifacts")
async def fetch(request: Request, body: Annotated[dict[str, Any], Body()]) -> Response:
    """Return the text behind identifiers; what is not there, or not ours, is not found."""
    if refused := _refused(request):
        return refused
    try:
        asked = Fetch.model_validate(body)
    except ValueError:
        what = f"Identifiers array is required and must contain at most {LIMIT} items"
        return _json({"message": what}, 400)
    index = _index(request)
    places = index.named(asked.data_source) if asked.data_source else index.data_sources
    if not places:
        return _json({"message": "One or more data sources could not be found"}, 404)
    if asked.data_source and any(one.state != "Ready" for one in places.values()):
        return _problem(422, "Unprocessable", f"{asked.data_source} is still being indexed")
    found = []
    for identifier in asked.identifiers:
        known = {name: entry for name, one in places.items() if (entry := one.entry(identifier))}
        if len(known) > 1:
            names = ", ".join(f"Name='{name}' Id='{places[name].id}'" for name in known)
            what = f"Identifier matches {len(known)} data sources: {names}"
            return _problem(409, "Conflict", what)
        missing = {"identifier": identifier, "found": False, "content": None}
        found.append(next(iter(known.values()), missing))
    return _json({"artifacts": found})


@router.get("/search")
async def search(
    request: Request,
    query: Annotated[str, Query(alias="Query", min_length=1)],
    names: Annotated[list[str], Query(alias="Names")],
) -> Response:
    """Return what holds any word of the query in the data sources of those names."""
    if refused := _refused(request):
        return refused
    words = query.lower().split()
    sources = {name: one for key in names for name, one in _index(request).named(key).items()}
    return _json(
        {"results": [hit for name, one in sources.items() for hit in one.hits(name, words)]}
    )


@router.get("/datasources/ready")
async def data_sources(request: Request) -> Response:
    """List the data sources that are ready: a bare array."""
    if refused := _refused(request):
        return refused
    listed = []
    for name, one in _index(request).data_sources.items():
        if one.state == "Ready":
            entry: dict[str, Any] = {"id": one.id, "name": name, "state": one.state}
            if one.repositories is None:
                entry |= {"type": "Repository", "url": one.url, "branch": one.branch}
            else:
                entry |= {"type": "Workspace", "repositoryIds": one.repositories}
            listed.append(entry)
    return _json(listed)


def _index(request: Request) -> Index:
    index: Index = request.app.state.sandbox.world.codealive
    return index


def _refused(request: Request) -> Response | None:
    index = request.app.state.sandbox.world.codealive
    known = index is not None and f"Bearer {index.key}"
    if request.headers.get("authorization") != known:
        return _json({"message": "Invalid or missing API key"}, 401)
    return None


def _problem(status: int, title: str, detail: str) -> Response:
    kind = "https://app.codealive.ai/errors/" + title.lower()
    body = {"type": kind, "title": title, "status": status, "detail": detail}
    return _json({**body, "requestId": f"req-{status}"}, status, "application/problem+json")


def _json(content: object, status: int = 200, kind: str = "application/json") -> Response:
    return Response(msgspec.json.encode(content), status, media_type=kind)
