"""Replies of the assert endpoint, built piece by piece, to be bent by a test."""

from __future__ import annotations

import json
from typing import Any

from pytest_kosli.model import Artifact, Question, Reply, Scope

HOST = "https://app.kosli.com"
ORG = "acme"
OURS = "3f1b9c2d4e5f" + "0" * 52
THEIRS = "b" * 64
ARTIFACT = Artifact(OURS, "ghcr.io/acme/payments:1.4.0")
PROD = Scope(environment="prod")
POLICIES = Scope(policies=("provenance", "scans"))
TEMPLATES = Scope(flow="*")
WEB = Scope(flow="web-ci")
NAMED = {"environment": PROD, "policy": POLICIES, "flow": TEMPLATES}

Json = dict[str, Any]


def question(scope: Scope = PROD, fingerprint: str = OURS) -> Question:
    return Question(HOST, ORG, fingerprint, scope)


def reply(
    body: object, status: int = 200, content_type: str = "application/json; charset=utf-8"
) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, raw, content_type)


def status(compliant: bool | None = True, *attestations: Json) -> Json:
    word = {True: "COMPLIANT", False: "NON-COMPLIANT", None: "MISSING"}[compliant]
    return {
        "status": word,
        "is_compliant": compliant,
        "artifact_fingerprint": OURS,
        "attestations_statuses": list(attestations),
        "evaluated_at": 1787107798.5,
        "unexpected": False,
    }


def attestation(name: str, compliant: bool | None = True, type_: str = "junit") -> Json:
    return {
        "attestation_name": name,
        "attestation_type": type_,
        "status": "MISSING" if compliant is None else "COMPLETE",
        "is_compliant": compliant,
        "unexpected": False,
    }


def flow(name: str = "web-ci", compliant: bool = True, state: Json | None = None) -> Json:
    return {
        "flow": name,
        "trail": "v1",
        "compliant": compliant,
        "compliance_status": state or status(compliant),
        "html_url": f"https://app.kosli.com/acme/flows/{name}/artifacts/{OURS}",
    }


def resolution(type_: str, **context: object) -> Json:
    found = {"flow_name": "web-ci", "trail_name": "v1", "artifact_status": None}
    return {"type": type_, "context": found | context}


def rule(
    satisfied: bool | None, *resolutions: Json, ignored: bool = False, **definition: object
) -> Json:
    given = {"name": "*", "type": "snyk", "must_be_compliant": True, "for_control": None}
    return {
        "rule": {"type": "attestation", "definition": given | definition},
        "satisfied": satisfied,
        "ignored": ignored,
        "resolutions": list(resolutions),
    }


SATISFIED = rule(True, resolution("rule_satisfied"))
IGNORED = rule(None, resolution("rule_not_applicable"), ignored=True)
MISSING = rule(False, resolution("missing_attestation"), name="scan")


def policy(name: str = "provenance", compliant: bool = True, *rules: Json) -> Json:
    return {
        "policy_name": name,
        "policy_version": 3,
        "status": "COMPLIANT" if compliant else "NON-COMPLIANT",
        "rule_evaluations": list(rules) or [SATISFIED if compliant else MISSING, IGNORED],
    }


LISTING = {
    "allowlist_id": "0b0c4d5a-cc1f-4725-8f97-af256289",
    "allowed_by_user_id": "29f67c3c-1c1f-43f8-97e6-165a4080",
    "timestamp": 1787107798.5,
    "description": "hotfix INC-42",
}


def answer(kind: str = "environment", compliant: bool = True, **changes: object) -> Json:
    """Return a whole answer that agrees with itself, for the scope that NAMED has for ``kind``."""
    policies = {
        "environment": [policy("provenance", compliant)],
        "policy": [policy("provenance", compliant), policy("scans")],
        "flow": None,
    }[kind]
    state = compliant or kind != "flow"
    found = {
        "fingerprint": OURS,
        "flow": "web-ci",
        "trail": "v1",
        "compliant": compliant,
        "compliance_status": status(state),
        "html_url": f"https://app.kosli.com/acme/flows/web-ci/artifacts/{OURS}",
        "scope": kind,
        "flows": [flow(compliant=state)],
        "environment": "prod" if kind == "environment" else None,
        "policy_evaluations": policies,
        "allow_listing": None,
    }
    return found | changes
