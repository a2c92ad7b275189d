"""The published shapes of Kosli's replies, and each place where real replies depart from them.

``ASSERT``, ``ARTIFACT`` and ``LIVE_ARTIFACTS`` say what Kosli's API pages say, and no more; the
others, for which there is no page, say what real replies look like.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]

FINGERPRINT: Schema = {"type": "string", "pattern": "^[a-f0-9]{64}$"}
FLOW: Schema = {"type": "string", "pattern": r"^[a-zA-Z0-9][a-zA-Z0-9\.\-_~]*$"}
TRAIL: Schema = {"type": "string", "pattern": r"^[a-zA-Z0-9][a-zA-Z0-9\-_.~]*$"}
ID: Schema = {
    "type": "string",
    "pattern": "^[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{8}$",
}
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
ANYTHING: Schema = {}


def _object(required: str = "", /, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def _whole(**properties: Schema) -> Schema:
    return _object(" ".join(properties), **properties)


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


# ----------------------------------------------------------------------------- published pages

_COMPLIANCE_STATUS = _object(
    "unexpected",
    unexpected=BOOLEAN,
    artifact_fingerprint=TEXT,
    status=TEXT,
    is_compliant=BOOLEAN,
    attestations_statuses=_list(
        _object(
            "attestation_name unexpected",
            attestation_name=TEXT,
            unexpected=BOOLEAN,
            attestation_type=TEXT,
            status=TEXT,
            is_compliant=BOOLEAN,
        )
    ),
    evaluated_at=NUMBER,
)

ASSERT: Schema = {
    **_object(
        "fingerprint flow trail compliant compliance_status html_url scope",
        fingerprint=FINGERPRINT,
        flow=FLOW,
        trail=TRAIL,
        compliant=BOOLEAN,
        compliance_status=_COMPLIANCE_STATUS,
        html_url=TEXT,
        scope={"enum": ["flow", "environment", "policy"]},
        flows=_whole(
            flow=FLOW,
            trail=TRAIL,
            compliant=BOOLEAN,
            compliance_status=_COMPLIANCE_STATUS,
            html_url=TEXT,
        ),
        environment=_or_null(TEXT),
        policy_evaluations=_or_null(
            _list(
                _object(
                    "policy_version status policy_name",
                    policy_version=INTEGER,
                    status={"enum": ["COMPLIANT", "NON-COMPLIANT"]},
                    policy_name=TEXT,
                    rule_evaluations={"type": "array"},
                )
            )
        ),
        allow_listing=_whole(
            allowlist_id=TEXT, allowed_by_user_id=TEXT, timestamp=NUMBER, description=TEXT
        ),
    ),
    # "only present when scope is 'environment'"
    "if": {"properties": {"scope": {"not": {"const": "environment"}}}},
    "then": {"properties": {"policy_evaluations": {"type": "null"}}},
}

ARTIFACT: Schema = _object(
    (
        "id fingerprint filename created_at last_modified_at evidence flow_name "
        "commit_lead_times build_lead_times"
    ),
    id=TEXT,
    fingerprint=FINGERPRINT,
    filename=TEXT,
    created_at=TEXT,
    last_modified_at=TEXT,
    evidence={"type": "object"},
    flow_name=FLOW,
    commit_lead_times={"type": "object"},
    build_lead_times={"type": "object"},
    trail_name=_or_null(TRAIL),
    template_reference_name=_or_null({"type": "string", "pattern": r"^[a-zA-Z0-9\-_]+$"}),
    git_commit=_or_null({"type": "string", "pattern": "^[a-f0-9]{40}$"}),
    git_commit_info=_object(
        sha1=TEXT,
        message=TEXT,
        author=TEXT,
        author_username=TEXT,
        branch=TEXT,
        timestamp=NUMBER,
        url=TEXT,
        parents=_list(TEXT),
    ),
    repo_info=_object(
        name=TEXT,
        url=TEXT,
        id=TEXT,
        description=TEXT,
        provider={"enum": ["github", "gitlab", "bitbucket", "azure-devops", "circleci"]},
    ),
    commit_url=_or_null(TEXT),
    build_url=_or_null(TEXT),
    repo_url=_or_null(TEXT),
    html_url=_or_null(TEXT),
    api_url=_or_null(TEXT),
    user_data=ANYTHING,
    external_urls={"type": "object"},
    annotations={"type": "object"},
    state={"enum": ["COMPLIANT", "NON-COMPLIANT", "INCOMPLETE", None]},
    deployments=_list(INTEGER),
    template=_or_null(_list(TEXT)),
    state_info=_or_null(TEXT),
    approvals=_or_null(_list(INTEGER)),
    running=_or_null(_list(ANYTHING)),
    exited=_or_null(_list(ANYTHING)),
    history=_or_null(_list(ANYTHING)),
)

_LINKS: Schema = {"type": ["object", "null"]}

LIVE_ARTIFACTS: Schema = _object(
    "live_artifacts",
    _links=_LINKS,
    _embedded=_or_null(
        _whole(
            artifacts=_list(
                _object(
                    "id fingerprint",
                    id=TEXT,
                    fingerprint=FINGERPRINT,
                    commit_sha=_or_null({"type": "string", "pattern": "^[a-f0-9]{40}$"}),
                    commit_url=_or_null(TEXT),
                    _links=_LINKS,
                )
            ),
            environments=_list(
                _object("id name type", id=TEXT, name=TEXT, type=TEXT, _links=_LINKS)
            ),
        )
    ),
    live_artifacts=_list(
        _object(
            "environment_id artifact_id artifact_name snapshot_index started_at",
            environment_id=TEXT,
            artifact_id=TEXT,
            artifact_name=TEXT,
            snapshot_index=INTEGER,
            compliance=_or_null(TEXT),
            started_at=NUMBER,
            _links=_LINKS,
        )
    ),
)


@dataclass(frozen=True)
class Departure:
    """A place where replies are not what their page says: ``at`` has ``*`` for list indexes."""

    name: str
    schema: str
    at: str


DEPARTURES = (
    Departure("flows is an array, not one object", "assert", "flows"),
    Departure("policy_evaluations come in policy scope too", "assert", "policy_evaluations"),
    Departure("allow_listing is null where nobody is allow-listed", "assert", "allow_listing"),
    Departure(
        "is_compliant of a missing attestation is null",
        "assert",
        "compliance_status.attestations_statuses.*.is_compliant",
    ),
    Departure("created_at is a number", "artifact", "created_at"),
    Departure("last_modified_at is a number", "artifact", "last_modified_at"),
    Departure("author_username may be null", "artifact", "git_commit_info.author_username"),
    Departure("a repo's description may be null", "artifact", "repo_info.description"),
)

# ------------------------------------------------------------- what real replies look like

_CONDITION = _or_null(_whole(text=TEXT))
_RULE_TYPES = ["provenance", "trail-compliance", "attestation"]
_RESOLUTIONS = [
    "rule_satisfied",
    "rule_not_applicable",
    "missing_attestation",
    "non_compliant_attestation",
    "non_compliant_in_trail",
    "no_provenance",
    "missing_provenance",
]

POLICY_EVALUATION: Schema = _whole(
    policy_name=TEXT,
    policy_version=INTEGER,
    status={"enum": ["COMPLIANT", "NON-COMPLIANT"]},
    rule_evaluations=_list(
        _whole(
            rule=_whole(
                type={"enum": _RULE_TYPES},
                definition={
                    "oneOf": [
                        _whole(
                            required=BOOLEAN,
                            exceptions=_list({**_whole(**{"if": _CONDITION})}),
                        ),
                        _whole(
                            **{"if": _CONDITION},
                            name=TEXT,
                            type=TEXT,
                            must_be_compliant=BOOLEAN,
                            for_control=_or_null(TEXT),
                        ),
                    ]
                },
            ),
            satisfied=_or_null(BOOLEAN),
            ignored=BOOLEAN,
            resolutions=_list(
                _whole(
                    type={"enum": _RESOLUTIONS},
                    context=_or_null(
                        _object(
                            "flow_name trail_name artifact_status",
                            flow_name=FLOW,
                            trail_name=TRAIL,
                            artifact_status=_or_null(TEXT),
                            for_control=TEXT,
                        )
                    ),
                )
            ),
        )
    ),
)

SNAPSHOT: Schema = _whole(
    index=INTEGER,
    is_latest=BOOLEAN,
    next_snapshot_timestamp=_or_null(NUMBER),
    artifact_compliance_count=_whole(**{"true": INTEGER, "false": INTEGER, "null": INTEGER}),
    timestamp=NUMBER,
    type=TEXT,
    compliant=BOOLEAN,
    html_url=TEXT,
    artifacts=_list(
        _whole(
            name=TEXT,
            compliant=_or_null(BOOLEAN),
            deployments=_list(ANYTHING),
            policy_decisions=_list(POLICY_EVALUATION),
            reasons_for_incompliance=_list(TEXT),
            fingerprint=FINGERPRINT,
            creationTimestamp={**_list(INTEGER), "minItems": 1},
            pods={"type": ["object", "null"]},
            annotation=_whole(type=TEXT, was=INTEGER, now=INTEGER),
            flow_name=TEXT,
            git_commit=TEXT,
            commit_url=TEXT,
            html_url=TEXT,
            flow_html_url=TEXT,
            flows=_list(
                _whole(
                    flow_name=FLOW,
                    trail_name=TRAIL,
                    template_reference_name=_or_null(TEXT),
                    git_commit=TEXT,
                    commit_url=TEXT,
                    git_commit_info={"type": "object"},
                    html_url=TEXT,
                    flow_html_url=TEXT,
                    artifact_compliance_in_flow=BOOLEAN,
                    flow_reasons_for_non_compliance=_list(TEXT),
                )
            ),
            ecs_context={"type": ["object", "null"]},
        )
    ),
    applied_policies=_list(
        _whole(
            id=ID,
            name=TEXT,
            version=INTEGER,
            policy_dump={"type": "object"},
            failing_artifacts=_list(FINGERPRINT),
        )
    ),
)

ENVIRONMENT: Schema = _whole(
    org=TEXT,
    name=TEXT,
    type=TEXT,
    description=TEXT,
    last_modified_at=NUMBER,
    last_reported_at=_or_null(NUMBER),
    last_changed_at=NUMBER,
    state=_or_null(BOOLEAN),
    include_scaling=BOOLEAN,
    tags={"type": "object"},
    policies=_or_null(_list(TEXT)),
    included_environments=_or_null(_list(TEXT)),
)

ENVIRONMENTS: Schema = _list(ENVIRONMENT)

ENVIRONMENTS_PAGE: Schema = _whole(
    page=INTEGER,
    per_page=INTEGER,
    total_pages=INTEGER,
    total_count=INTEGER,
    environments=ENVIRONMENTS,
)

ERROR: Schema = _object(
    "message",
    message=TEXT,
    errors={"type": "object", "additionalProperties": TEXT},
)
