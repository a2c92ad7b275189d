"""The replies about artifacts, environments, snapshots and live artifacts."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.sandbox.evaluate import (
    SITE,
    Reply,
    artifact_url,
    compliance_status,
    in_environment,
    policy_dump,
    policy_name,
    provenance,
)
from tests.sandbox.world import (
    Artifact,
    Environment,
    Instance,
    Refused,
    Report,
    Snapshot,
    World,
    kosli_id,
)

# ---------------------------------------------------------------------------------- artifacts


def artifact(
    world: World, flow: str, prefix: str, trail: str | None, attestation_id: str | None
) -> Reply:
    """Return the artifact of a flow whose fingerprint starts with ``prefix``."""
    world.flow(flow)
    if trail is not None and trail not in world.flows[flow].trails:
        where = f"Organization '{world.org}' and Flow '{flow}'"
        raise Refused(404, f"Trail with name '{trail}' does not exist for {where}")
    full = next((known for known in world.by_fingerprint if known.startswith(prefix)), prefix)
    found, reports = provenance(world, full, flow)
    for report in reversed(reports):
        if trail in (None, report.trail) and attestation_id in (None, found.report_id(report)):
            return _artifact(world, found, report)
    text = f'Artifact with fingerprint {full} does not exist in trail "{trail}" of flow "{flow}"'
    raise Refused(404, f'{text} belonging to organization "{world.org}"')


def artifacts_of_commit(world: World, flow: str, commit: str) -> list[Reply]:
    """Return the artifacts that a flow built from a commit; raise Refused for none."""
    trails = world.flow(flow).trails
    found = [
        _artifact(world, artifact, report)
        for artifact in world.artifacts.values()
        for report in artifact.reports
        if report.flow == flow and trails[report.trail].commit == commit
    ]
    if not found:
        raise Refused(404, f"Artifact with commit '{commit}' does not exist in flow '{flow}'")
    return found


def _artifact(world: World, artifact: Artifact, report: Report) -> Reply:
    flow = world.flows[report.flow]
    trail = flow.trails[report.trail]
    repo_url = world.repo_url(flow.repo)
    status = compliance_status(world, artifact, report)
    own_path = f"artifacts/{world.org}/{report.flow}/fingerprint/{artifact.fingerprint}"
    running, exited = _whereabouts(world, artifact)
    return {
        "id": artifact.report_id(report),
        "fingerprint": artifact.fingerprint,
        "filename": artifact.name,
        "created_at": report.at,
        "last_modified_at": report.at,
        "evidence": {},
        "flow_name": report.flow,
        "commit_lead_times": {},
        "build_lead_times": {},
        "trail_name": report.trail,
        "template_reference_name": report.template_name,
        "git_commit": trail.commit,
        "git_commit_info": {
            **_git_commit_info(world, report),
            "author_username": None,
            "parents": [],
        },
        "repo_info": {
            "name": world.repo_name(flow.repo),
            "url": repo_url,
            "id": kosli_id("repo", flow.repo),
            "description": None,
            "provider": world.repos[flow.repo].provider,
        },
        "commit_url": _commit_url(world, report),
        "build_url": trail.build_url,
        "repo_url": repo_url,
        "html_url": artifact_url(world, artifact, report),
        "api_url": f"{SITE}/api/v2/{own_path}",
        "user_data": None,
        "external_urls": {},
        "annotations": {"type": flow.tags["kind"]} if "kind" in flow.tags else {},
        "state": status["status"],
        "template": None if flow.template is None else list(flow.template),
        "state_info": _STATE_INFO[status["status"]],
        "running": running,
        "exited": exited,
        "history": [{"event": "Artifact created", "timestamp": report.at}],
    }


_STATE_INFO = {
    "COMPLIANT": "All required evidence is compliant",
    "NON-COMPLIANT": "Some evidence is not compliant",
    "INCOMPLETE": "Some required evidence is missing",
}


def _commit_url(world: World, report: Report) -> str:
    flow = world.flows[report.flow]
    return f"{world.repo_url(flow.repo)}/commit/{flow.trails[report.trail].commit}"


def _git_commit_info(world: World, report: Report) -> Reply:
    trail = world.flows[report.flow].trails[report.trail]
    return {
        "sha1": trail.commit,
        "message": trail.message,
        "author": "a developer",
        "branch": trail.branch,
        "timestamp": trail.at,
        "url": _commit_url(world, report),
    }


def _whereabouts(world: World, artifact: Artifact) -> tuple[list[Reply], list[Reply]]:
    running: list[Reply] = []
    exited: list[Reply] = []
    for name, environment in world.environments.items():
        seen = [
            (snapshot, instance)
            for snapshot in environment.snapshots
            for instance in snapshot.artifacts
            if world.artifacts[instance.artifact] is artifact
        ]
        if not seen:
            continue
        snapshot, instance = seen[-1]
        here = {"environment_name": name, "snapshot_index": snapshot.index}
        (running if snapshot is environment.latest and instance.now else exited).append(here)
    return running, exited


# ------------------------------------------------------------------------------- environments


def environment(world: World, name: str, now: float) -> Reply:
    """Return an environment, its policies, its state and when it was last heard of."""
    found = world.environment(name)
    changed = found.latest.at if found.latest else found.modified
    reported = found.last_reported(now)
    return {
        "org": world.org,
        "name": name,
        "type": found.type,
        "description": found.description,
        "last_modified_at": max(found.modified, reported or 0.0),
        "last_reported_at": reported,
        "last_changed_at": changed,
        "state": _state(world, name, found),
        "include_scaling": False,
        "tags": found.tags,
        "policies": None if found.included is not None else found.policies,
        "included_environments": found.included,
    }


def _state(world: World, name: str, found: Environment) -> bool | None:
    if found.included is not None:
        states = [_state(world, one, world.environments[one]) for one in found.included]
        return None if None in states else all(states)
    if found.latest is None or not found.policies:
        return None
    return all(_compliances(world, name, found.latest, found.policies))


def _compliances(
    world: World, name: str, at: Snapshot, policies: Sequence[str]
) -> Iterator[bool | None]:
    for instance in at.artifacts:
        if instance.now:
            found = world.artifacts[instance.artifact]
            called = instance.name or found.name
            yield in_environment(world, name, found, called, policies)[0]


# ---------------------------------------------------------------------------------- snapshots


def snapshot(world: World, name: str, expression: str, now: float) -> Reply:
    """Return the snapshot that an expression means: -1, 42, ~2, #42, @{now}, @{2.hours.ago}."""
    found = world.environment(name)
    if found.included is not None:
        raise Refused(400, f"Environment '{name}' is logical: the sandbox has no snapshots of it")
    at = _resolve(world, name, found, expression, now)
    policies = found.policies if at.policies is None else at.policies
    later = [other.at for other in found.snapshots if other.index > at.index]
    artifacts = [_in_snapshot(world, name, found, instance, policies) for instance in at.artifacts]
    running = [entry["compliant"] for entry in artifacts if entry["annotation"]["now"]]
    return {
        "index": at.index,
        "is_latest": not later,
        "next_snapshot_timestamp": later[0] if later else None,
        "artifact_compliance_count": {
            "true": running.count(True),
            "false": running.count(False),
            "null": running.count(None),
        },
        "timestamp": at.at,
        "type": found.type,
        # Kosli turns "unknown", for want of policies, into false here.
        "compliant": bool(policies) and all(running),
        "html_url": f"{SITE}/{world.org}/environments/{name}/snapshots/{at.index}",
        "artifacts": artifacts,
        "applied_policies": [_applied(world, key, artifacts) for key in policies],
    }


def _applied(world: World, key: str, artifacts: Sequence[Reply]) -> Reply:
    name, policy = policy_name(key), world.policies[key]
    failing = [
        entry["fingerprint"]
        for entry in artifacts
        for decision in entry["policy_decisions"]
        if decision["policy_name"] == name and decision["status"] != "COMPLIANT"
    ]
    return {
        "id": policy.id or kosli_id("policy", name),
        "name": name,
        "version": policy.version,
        "policy_dump": policy_dump(policy),
        "failing_artifacts": failing,
    }


def _in_snapshot(
    world: World, name: str, where: Environment, instance: Instance, policies: Sequence[str]
) -> Reply:
    found = world.artifacts[instance.artifact]
    called = instance.name or found.name
    compliant, decisions = in_environment(world, name, found, called, policies)
    flows = [_flow_in_snapshot(world, found, report) for report in found.reports]
    first = flows[0] if flows else {}
    broken = [one["policy_name"] for one in decisions if one["status"] != "COMPLIANT"]
    return {
        "name": called,
        "compliant": compliant,
        "deployments": [],
        "policy_decisions": decisions,
        "reasons_for_incompliance": [] if compliant else [f"policy {one}" for one in broken],
        "fingerprint": found.fingerprint,
        "creationTimestamp": [int(moment) for moment in instance.started],
        "pods": _pods(called, instance) if where.type == "K8S" else None,
        "annotation": _annotation(instance, compliant),
        "flow_name": first.get("flow_name", ""),
        "git_commit": first.get("git_commit", ""),
        "commit_url": first.get("commit_url", ""),
        "html_url": first.get("html_url", ""),
        "flow_html_url": first.get("flow_html_url", ""),
        "flows": flows,
        "ecs_context": _ECS if where.type == "ECS" else None,
    }


_ECS = {"task_arn": None, "cluster_name": None, "service_name": None}


def _annotation(instance: Instance, compliant: bool | None) -> Reply:
    was = len(instance.started) if instance.was is None else instance.was
    if instance.exited:
        type_ = "exited"
    elif was == 0:
        type_ = "started-compliant" if compliant else "started-non-compliant"
    else:
        type_ = "unchanged" if was == instance.now else "scaled"
    return {"type": instance.annotation or type_, "was": was, "now": instance.now}


def _pods(called: str, instance: Instance) -> Reply:
    short = re.split(r"[:@]", called.rpartition("/")[2])[0]
    return {
        f"{short}-{number}": {"namespace": "default", "creationTimestamp": int(moment)}
        for number, moment in enumerate(instance.started)
    }


def _flow_in_snapshot(world: World, found: Artifact, report: Report) -> Reply:
    status = compliance_status(world, found, report)
    reasons = [
        f"{one['attestation_name']} is {'missing' if one['is_compliant'] is None else 'bad'}"
        for one in status["attestations_statuses"]
        if not one["is_compliant"]
    ]
    return {
        "flow_name": report.flow,
        "trail_name": report.trail,
        "template_reference_name": report.template_name,
        "git_commit": world.flows[report.flow].trails[report.trail].commit,
        "commit_url": _commit_url(world, report),
        "git_commit_info": _git_commit_info(world, report),
        "html_url": artifact_url(world, found, report),
        "flow_html_url": f"{SITE}/{world.org}/flows/{report.flow}",
        "artifact_compliance_in_flow": status["is_compliant"],
        "flow_reasons_for_non_compliance": reasons,
    }


def _resolve(world: World, name: str, found: Environment, expression: str, now: float) -> Snapshot:
    newest = found.latest.index if found.latest else 0
    number = re.fullmatch(r"(#|~|-)?(\d+)", expression)
    if number is None:
        index = _index_at(found, _moment(name, expression, now))
    else:
        sign, digits = number.group(1), int(number.group(2))
        behind = digits - 1 if sign == "-" else digits
        index = newest - behind if sign in ("-", "~") else digits
    for one in found.snapshots:
        if one.index == index:
            return one
    asked = expression if expression.startswith(("~", "@")) else f"#{expression.lstrip('#')}"
    raise Refused(
        404,
        f"Org: '{world.org}'. Snapshot '{name}{asked}' resolves to '{name}#{index}'. "
        f"len(snapshots) == {newest}. Indexes are 1-based",
    )


def _index_at(found: Environment, moment: float) -> int:
    return max((one.index for one in found.snapshots if one.at <= moment), default=0)


def _moment(name: str, expression: str, now: float) -> float:
    bad = Refused(400, f"Bad snappish '{name}{expression}'")
    inner = re.fullmatch(r"@\{(.+)\}", expression)
    if inner is None:
        raise bad
    text = inner.group(1)
    if text == "now":
        return now
    ago = re.fullmatch(r"(\d+)\.(hour|day|week|month)s\.ago", text)
    if ago is not None:
        return _ago(now, int(ago.group(1)), ago.group(2))
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise bad from None


def _ago(now: float, count: int, unit: str) -> float:
    if unit != "month":
        return now - timedelta(**{f"{unit}s": count}).total_seconds()
    then = time.gmtime(now)
    months = then.tm_year * 12 + then.tm_mon - 1 - count
    year, month = divmod(months, 12)
    day = min(then.tm_mday, calendar.monthrange(year, month + 1)[1])
    return calendar.timegm((year, month + 1, day, then.tm_hour, then.tm_min, then.tm_sec))


# ------------------------------------------------------------------------------ live artifacts


def live_artifacts(world: World, repo_name: str, provider: str | None) -> Reply:
    """Return what runs now of a repository, over all environments, and what that refers to."""
    repo = world.find_repo(repo_name, provider)
    environments: dict[str, Reply] = {}
    artifacts: dict[str, Reply] = {}
    live: list[dict[str, Any]] = []
    for name, where, at, instance in _running(world):
        found = world.artifacts[instance.artifact]
        if not found.reports or world.flows[found.reports[0].flow].repo != repo:
            continue
        entry = _live(world, name, at, instance, found)
        live.append(entry)
        environments[entry["environment_id"]] = _embedded_environment(world, name, where)
        if not instance.dangling:
            artifacts[entry["artifact_id"]] = _embedded_artifact(world, found)
    quoted = world.repo_name(repo).replace("/", "%2F")
    embedded = {"environments": [*environments.values()], "artifacts": [*artifacts.values()]}
    return {
        "_links": {"self": {"href": f"{SITE}/api/v2/repos/{world.org}/live-artifacts/{quoted}"}},
        "_embedded": embedded if live else None,
        "live_artifacts": live,
    }


def _running(world: World) -> Iterator[tuple[str, Environment, Snapshot, Instance]]:
    for name, where in world.environments.items():
        if where.latest is not None:
            for instance in where.latest.artifacts:
                if instance.now:
                    yield name, where, where.latest, instance


def _live(world: World, name: str, at: Snapshot, instance: Instance, found: Artifact) -> Reply:
    called = instance.name or found.name
    compliant, _ = in_environment(world, name, found, called)
    words = {True: "COMPLIANT", False: "NON-COMPLIANT", None: None}
    return {
        "environment_id": _environment_id(name),
        "artifact_id": found.report_id(found.reports[0]),
        "artifact_name": called,
        "snapshot_index": at.index,
        "compliance": words[compliant],
        "started_at": instance.started[0],
        "_links": None,
    }


def _environment_id(name: str) -> str:
    return kosli_id("environment", name)


def _embedded_environment(world: World, name: str, where: Environment) -> Reply:
    href = f"{SITE}/api/v2/environments/{world.org}/{name}"
    return {
        "id": _environment_id(name),
        "name": name,
        "type": where.type,
        "_links": {"self": {"href": href}},
    }


def _embedded_artifact(world: World, found: Artifact) -> Reply:
    report = found.reports[0]
    return {
        "id": found.report_id(report),
        "fingerprint": found.fingerprint,
        "commit_sha": world.flows[report.flow].trails[report.trail].commit,
        "commit_url": _commit_url(world, report),
        "_links": {},
    }
