"""One check as the plain facts that travel on pytest's reports and outlive the process."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from msgspec import structs

from pytest_kosli.explain import main_reason, sentence
from pytest_kosli.model import (
    Artifact,
    NotChecked,
    NoVerdict,
    Origin,
    Outcome,
    Scope,
    Verdict,
)

Facts = dict[str, Any]

NO_VERDICT = "NO_VERDICT"
NOT_CHECKED = "NOT_CHECKED"
PASSING = (Outcome.COMPLIANT.value, Outcome.ALLOW_LISTED.value)
ORDER = (
    Outcome.NON_COMPLIANT.value,
    Outcome.UNKNOWN_ARTIFACT.value,
    NO_VERDICT,
    Outcome.ALLOW_LISTED.value,
    NOT_CHECKED,
    Outcome.COMPLIANT.value,
)
"""Every outcome of a check, the one that most needs a look first."""

WORDS = {outcome.value: outcome.label for outcome in Outcome}
WORDS |= {NO_VERDICT: "no verdict", NOT_CHECKED: "not checked"}


def facts_of(
    name: str,
    artifact: Artifact | None,
    scope: Scope,
    result: Verdict | NoVerdict | NotChecked,
    refused: bool,
    by: str,
) -> Facts:
    """Return what a report carries about one check: texts, numbers, booleans, lists and None.

    ``by`` is ``mark`` or ``call``; ``refused`` says that the settings turn the verdict down.
    Moments are ISO texts in UTC, empty where there is none.
    """
    facts: Facts = {
        "name": artifact.name if artifact else name,
        "label": artifact.label if artifact else name,
        "fingerprint": artifact.fingerprint if artifact else "",
        "environment": (artifact.environment if artifact else None) or "",
        **_asked(scope),
        "source": artifact.origin.source if artifact else "",
        "origin": _origin(artifact.origin) if artifact else None,
        "by": by,
        "refused": refused,
        "replayed": False,
    }
    if isinstance(result, Verdict):
        return facts | _verdict(result)
    if isinstance(result, NotChecked):
        dry = {"outcome": NOT_CHECKED, "code": "dry_run", "reason": "dry run"}
        return facts | dry | {"reasons": [{"code": "dry_run", "text": str(result)}]}
    return facts | _no_verdict(result)


# The checks of a run share few scopes and origins, so their facts share these.
@lru_cache(maxsize=64)
def _asked(scope: Scope) -> Facts:
    return {
        "scope": str(scope) if scope else "",
        "question": {
            "environment": scope.environment,
            "policies": list(scope.policies),
            "flow": scope.flow,
        },
    }


@lru_cache(maxsize=64)
def _origin(origin: Origin) -> Facts:
    return {
        "source": origin.source,
        "detail": origin.detail,
        "resolved": origin.resolved,
        "excluded": list(origin.excluded),
        "reported": origin.reported,
    }


def _verdict(verdict: Verdict) -> Facts:
    listed, question = verdict.allow_listing, verdict.question
    return {
        "outcome": verdict.outcome.value,
        "code": verdict.reasons[0].code if verdict.reasons else "",
        "reason": main_reason(verdict),
        "reasons": [
            structs.asdict(reason) | {"text": sentence(reason)} for reason in verdict.reasons
        ],
        "policies": [structs.asdict(policy) for policy in verdict.policies],
        "flows": [{"name": name, "trail": trail} for name, trail in verdict.flows],
        "allow_listing": listed and structs.asdict(listed) | {"at": moment(listed.at)},
        "host": question.host,
        "org": question.org,
        "link": verdict.link,
        "note": verdict.note,
        "replayed": verdict.replayed,
        "received_at": moment(verdict.received_at),
        "evaluated_at": moment(verdict.evaluated_at),
        "status": verdict.status,
        "attempts": verdict.attempts,
        "reply_sha256": verdict.reply_sha256,
        "waited": verdict.waited and structs.asdict(verdict.waited),
    }


def _no_verdict(error: NoVerdict) -> Facts:
    return {
        "outcome": NO_VERDICT,
        "code": error.code,
        "reason": error.message,
        "reasons": [{"code": error.code, "text": error.message}],
        "todo": error.todo,
        "errors": list(error.errors),
        "status": error.status,
        "attempts": error.attempts,
        "waited": error.waited and structs.asdict(error.waited),
    }


def urgency(facts: Facts) -> tuple[bool, int, str, str]:
    """Return what sorts facts so that the one that most needs a look comes first."""
    place = ORDER.index(facts["outcome"])
    return not facts["refused"], place, facts["label"], facts["scope"]


def moment(time: datetime | None) -> str:
    """Return a moment as an ISO text in UTC, empty for None."""
    return time.astimezone(UTC).isoformat() if time else ""
