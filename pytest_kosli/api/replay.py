"""What a run reads out of a reply: the part of it that must be the same in its recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from pytest_kosli.api.kosli import KosliClient
from pytest_kosli.judge import judge
from pytest_kosli.model import Artifact, NoVerdict, Question, Reply, Request, Scope


def substance(request: Request, reply: Reply) -> object:
    """Return what results hang on in a reply to a request of KosliClient's.

    Two replies of equal substance lead to the same artifacts and the same verdicts. Texts that are
    only shown have no part in it: people, commit messages, descriptions, addresses of pages.
    """
    try:
        client = KosliClient(request.segments[1], exchange=lambda request: reply)
        return _READ[request.segments[0]](client, request)
    except NoVerdict as error:
        return error.code, error.status


def _verdicts(client: KosliClient, request: Request) -> object:
    question = _question(request)
    reply = client.ask(question)
    ways: list[dict[str, Any]] = [{}, {"require_policies": False, "attached": ()}]
    return [_judged(question, reply, way) for way in ways]


def _judged(question: Question, reply: Reply, way: dict[str, Any]) -> object:
    try:
        verdict = judge(question, reply, Artifact(question.fingerprint, "artifact"), **way)
    except NoVerdict as error:
        return error.code, error.status
    return (
        verdict.outcome,
        [reason.code for reason in verdict.reasons],
        verdict.policies,
        verdict.flows,
        verdict.evaluated_at,
        verdict.allow_listing and verdict.allow_listing.at,
    )


def _question(request: Request) -> Question:
    """Return the question behind a request to the assert endpoint."""
    _, org, _, fingerprint = request.segments
    query = dict(request.query)
    policies = tuple(value for name, value in request.query if name == "policy_name")
    scope = Scope(query.get("environment_name"), policies, query.get("flow_name"))
    return Question("", org, fingerprint, scope)


def _details(client: KosliClient, request: Request) -> object:
    _, _, flow, _, fingerprint = request.segments
    found = client.artifact(fingerprint, flow, trail=dict(request.query).get("trail"))
    commit, repo = found.git_commit_info, found.repo_info
    return (
        found.filename,
        found.git_commit,
        commit and (commit.sha1, commit.branch),
        repo and (repo.name, repo.url),
        found.repo_url,
    )


def _live(client: KosliClient, request: Request) -> object:
    found = client.live_artifacts(request.segments[3], provider=dict(request.query).get("provider"))
    return [replace(one, commit_url=None) for one in found]


def _snapshot(client: KosliClient, request: Request) -> object:
    _, _, environment, which = request.segments
    at = f"#{which}" if which.isdigit() else which.removeprefix("-1")
    found = client.snapshot(environment + at)
    return msgspec.structs.replace(found, html_url=None)


def _environment(client: KosliClient, request: Request) -> object:
    found = client.environment(request.segments[2])
    return msgspec.structs.replace(found, description=None)


_READ: dict[str, Callable[[KosliClient, Request], object]] = {
    "asserts": _verdicts,
    "artifacts": _details,
    "repos": _live,
    "snapshots": _snapshot,
    "environments": _environment,
}
