"""Kosli's routes on FastAPI: who may ask, what is asked, and errors in Kosli's own shapes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import StringConstraints
from starlette.exceptions import HTTPException

from tests.sandbox import attestations, codealive, documents
from tests.sandbox.evaluate import assertion
from tests.sandbox.world import (
    FINGERPRINT_PATTERN,
    ID_PATTERN,
    NAME_PATTERN,
    Provider,
    Refused,
    World,
)


@dataclass
class State:
    """The world as it is now; a test may put another in its place between two requests."""

    world: World
    attested: list[attestations.Attested] = field(default_factory=list)


def create_app(state: State) -> FastAPI:
    """Return the application that answers for the world in ``state``."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.state.sandbox = state
    app.include_router(router)
    app.include_router(codealive.router)
    app.add_api_route("/ready", ready)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, failed)
    app.add_exception_handler(RequestValidationError, invalid)
    return app


# Handlers and dependencies are coroutines: FastAPI would put plain functions on threads.


async def authorized(request: Request, org: str) -> World:
    """Return the world that the request may see, i.e. its own organisation's or a public one."""
    world: World = request.app.state.sandbox.world
    if world.public and org == world.org:
        return world
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refused(401, "Missing API key")
    if token != world.token:
        raise Refused(401, "Invalid API key")
    if org != world.org:
        raise Refused(403, f"Access denied to {request.url.path}")
    return world


Named = StringConstraints(pattern=NAME_PATTERN)
Authorized = Annotated[World, Depends(authorized)]
FlowName = Annotated[str, Path(pattern=NAME_PATTERN)]
Name = Annotated[str | None, Query(pattern=NAME_PATTERN)]
Names = Annotated[list[Annotated[str, Named]] | None, Query()]
Page = Annotated[int | None, Query(ge=1)]

router = APIRouter(prefix="/api/v2", redirect_slashes=False)


@router.get("/asserts/{org}/fingerprint/{fingerprint}")
async def assert_artifact(
    world: Authorized,
    fingerprint: Annotated[str, Path(pattern=FINGERPRINT_PATTERN)],
    environment_name: Name = None,
    policy_name: Names = None,
    flow_name: Name = None,
) -> Response:
    """Judge an artifact by an environment, by policies, or by its flows' templates."""
    if environment_name and policy_name:
        raise Refused(400, "Give environment_name or policy_name, not both")
    return _json(
        assertion(
            world,
            fingerprint,
            environment=environment_name,
            policies=policy_name or (),
            flow=flow_name,
        )
    )


@router.get("/artifacts/{org}/{flow_name}/fingerprint/{fingerprint}")
async def get_artifact(
    world: Authorized,
    flow_name: FlowName,
    # Since June 2026 Kosli takes the first five digits here, or more.
    fingerprint: Annotated[str, Path(pattern=r"^[a-f0-9]{5,64}$")],
    trail: str | None = None,
    attestation_id: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
) -> Response:
    """Describe an artifact of a flow."""
    return _json(documents.artifact(world, flow_name, fingerprint, trail, attestation_id))


@router.get("/artifacts/{org}/{flow_name}/commit_sha/{commit_sha}")
async def get_artifacts_of_commit(
    world: Authorized, flow_name: FlowName, commit_sha: str
) -> Response:
    """Describe the artifacts that a flow built from a commit."""
    return _json(documents.artifacts_of_commit(world, flow_name, commit_sha))


@router.get("/repos/{org}/live-artifacts/{repo_name:path}")
async def get_live_artifacts(
    request: Request, world: Authorized, repo_name: str, provider: Provider | None = None
) -> Response:
    """List what runs now of a repository, whose slash has to come as %2F."""
    if request.scope["raw_path"].count(b"/") != len(("api", "v2", "repos", "o", "live", "name")):
        raise HTTPException(404)
    return _json(documents.live_artifacts(world, repo_name, provider))


@router.get("/snapshots/{org}/{env_name}/{expression}")
async def get_snapshot(world: Authorized, env_name: str, expression: str) -> Response:
    """Describe a snapshot of an environment."""
    return _json(documents.snapshot(world, env_name, expression, time.time()))


@router.get("/environments/{org}/{env_name}")
async def get_environment(world: Authorized, env_name: str) -> Response:
    """Describe an environment."""
    return _json(documents.environment(world, env_name, time.time()))


@router.get("/environments/{org}")
async def list_environments(
    world: Authorized, page: Page = None, per_page: Page = None
) -> Response:
    """List the environments: all of them, or an envelope around a page of them."""
    now = time.time()
    every = [documents.environment(world, name, now) for name in world.environments]
    if page is None and per_page is None:
        return _json(every)
    number, size = page or 1, per_page or 15
    return _json(
        {
            "page": number,
            "per_page": size,
            "total_pages": -(-len(every) // size),
            "total_count": len(every),
            "environments": every[(number - 1) * size : number * size],
        }
    )


@router.post("/attestations/{org}/{rest:path}")
@router.post("/custom-attestation-types/{org}")
async def attest(request: Request, world: Authorized, rest: str = "") -> Response:
    """Take what the Kosli CLI attests, and judge nothing of it."""
    content_type = request.headers.get("content-type", "")
    arrived = attestations.read(rest, content_type, await request.body())
    request.app.state.sandbox.attested.append(arrived)
    return _json("OK", 201)


async def ready() -> Response:
    """Say that the service is up; below no organisation, so nobody has to log in."""
    return Response("OK", media_type="text/plain")


async def refused(request: Request, problem: Exception) -> Response:
    """Answer with Kosli's own sentence."""
    assert isinstance(problem, Refused)
    return _json({"message": problem.message}, problem.status)


async def failed(request: Request, problem: Exception) -> Response:
    """Answer for an address that no route knows."""
    assert isinstance(problem, HTTPException)
    return _json({"message": problem.detail}, problem.status_code)


async def invalid(request: Request, problem: Exception) -> Response:
    """Answer 400 where FastAPI would say 422, with a map of what is wrong."""
    assert isinstance(problem, RequestValidationError)
    errors = {
        ".".join(str(part) for part in error["loc"]): f"{error['msg']} [input: {error['input']}]"
        for error in problem.errors()
    }
    return _json({"message": "Input payload validation failed", "errors": errors}, 400)


def _json(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
