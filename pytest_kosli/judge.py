"""Question and reply in, Verdict or NoVerdict out: all distrust of answers lives in this room."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from pytest_kosli import answers
from pytest_kosli.answers import (
    AssertAnswer,
    ComplianceStatus,
    Document,
    FlowAnswer,
    PolicyEvaluation,
    Resolution,
    RuleEvaluation,
)
from pytest_kosli.model import (
    AllowListing,
    Artifact,
    NoVerdict,
    Outcome,
    Policy,
    Question,
    Reason,
    Reply,
    Verdict,
)
from pytest_kosli.text import clean, duration, when

CLOCK_SKEW = 60
"""Seconds that two honest clocks may be apart."""

COMPLIANT = "COMPLIANT"
ATTACH_ONE = (
    "Attach a policy to the environment (`kosli attach-policy`), or set "
    "--kosli-require-policies=false if none is meant to be there."
)
BY_TEMPLATES = "judged by flow templates: environment {} has no policies"
UNKNOWN_ARTIFACT = re.compile(
    r"Artifact with fingerprint '(?P<fingerprint>[^']*)' does not exist"
    r"(?: in flow '(?P<flow>[^']*)')?"
    r"(?: belonging to organization '(?P<org>[^']*)')?\.?"
)


def judge(
    question: Question,
    reply: Reply,
    artifact: Artifact,
    *,
    require_policies: bool = True,
    attached: Sequence[str] | None = None,
) -> Verdict:
    """Return the verdict that a reply of the assert endpoint gives on exactly this question.

    ``attached`` are the policies of the environment, where somebody looked them up: without any,
    and with ``require_policies`` off, Kosli may fall back to the flow templates.

    Raises NoVerdict: for every status but 200 and a 404 about this very artifact; ``malformed``,
    ``mismatch``, ``no_policies``, ``no_flows`` or ``contradiction`` for answers that prove nothing.
    """
    about = f"{clean(artifact.label)} against {question.scope}"
    if reply.status == 404:
        return _unknown(question, reply, artifact, about)
    if reply.status != 200:
        raise answers.refusal(reply, about)
    document = answers.load(reply, about)
    answer = answers.typed(document.value, AssertAnswer, about)
    fell_back = not require_policies and attached is not None and not attached
    _check_fingerprints(question, document, about)
    _check_echoes(question, answer, about, fell_back=fell_back)
    verdict = _verdict(question, reply, artifact, answer)
    if not answer.compliant:
        return verdict
    _check_evaluated(question, answer, about, require_policies=require_policies)
    _check_consistent(answer, about)
    return verdict


RENEW = {
    "the recording": "Record it again, or raise --kosli-max-age.",
    "the verdict": "Have Kosli evaluate it again, or raise --kosli-max-age.",
    "the allow-listing": "Allow it again in Kosli, or raise --kosli-allow-list-max-age.",
}


def check_age(
    verdict: Verdict,
    *,
    max_age: float | None,
    allow_list_max_age: float | None,
    now: datetime,
) -> None:
    """Raise NoVerdict for a verdict or allow-listing older than so many seconds, or of no date.

    A replay is as old as its recording; what it says was true then, so its dates are held against
    that day. A date in the future proves that a clock is wrong, and nothing else.
    """
    heard = verdict.received_at or now
    about = f"{clean(verdict.artifact.label)} against {verdict.question.scope}"
    dates: list[tuple[str, datetime | None, datetime, float | None]] = []
    if verdict.replayed:
        dates.append(("the recording", heard, now, max_age))
    if verdict.outcome is not Outcome.UNKNOWN_ARTIFACT:
        dates.append(("the verdict", verdict.evaluated_at, heard, max_age))
    if listed := verdict.allow_listing:
        dates.append(("the allow-listing", listed.at, heard, allow_list_max_age))
    for what, date, against, limit in dates:
        if limit is not None and (why := _too_old(date, against, limit)):
            raise NoVerdict("too_old", f"{about}: {what} {why}", RENEW[what], status=verdict.status)


def is_late(verdict: Verdict) -> bool:
    """Return whether a refusal may be early: nothing has failed, something is not there yet.

    That is an artifact that is unknown, and one that is refused for nothing but attestations that
    are missing, or a policy, flow or trail that is incomplete.
    """
    refused = verdict.outcome in (Outcome.NON_COMPLIANT, Outcome.UNKNOWN_ARTIFACT)
    return refused and bool(verdict.reasons) and all(map(_may_come, verdict.reasons))


LATE = {"unknown_artifact", "missing_attestation", "no_provenance", "missing_provenance"}
STATES = {"policy_not_compliant", "flow_not_compliant", "non_compliant_in_trail"}
UNFINISHED = {"INCOMPLETE", "MISSING"}


def _may_come(reason: Reason) -> bool:
    return reason.code in LATE or (reason.code in STATES and reason.detail in UNFINISHED)


def _too_old(date: datetime | None, against: datetime, limit: float) -> str:
    if date is None:
        return "has no date"
    age = (against - date).total_seconds()
    if age < -CLOCK_SKEW:
        return f"is of {when(date)}, which is in the future"
    return f"is of {when(date)}, more than {duration(limit)} ago" if age > limit else ""


def _unknown(question: Question, reply: Reply, artifact: Artifact, about: str) -> Verdict:
    """Believe a 404 only when its text says that it is this artifact that is unknown."""
    refusal = answers.refusal(reply, about)
    try:
        body = answers.load(reply, about).value
    except NoVerdict:
        raise refusal from None
    message = body.get("message") if isinstance(body, dict) else None
    if message != "Artifact not found":
        said = UNKNOWN_ARTIFACT.fullmatch(message) if isinstance(message, str) else None
        if said is None:
            raise refusal
        expected = {"fingerprint": question.fingerprint, "org": question.org}
        if question.scope.flow_name:
            expected["flow"] = question.scope.flow_name
        for what, name in expected.items():
            if said[what] not in (None, name):
                raise _mismatch(about, what, name, said[what])
    where = question.scope.flow_name or ""
    reason = Reason("unknown_artifact", detail=f"organisation {question.org}", flow=where)
    return _told(question, reply, artifact, Outcome.UNKNOWN_ARTIFACT, reasons=(reason,))


def _check_fingerprints(question: Question, document: Document, about: str) -> None:
    """Refuse an answer that names another artifact, on top or anywhere below."""
    for other in document.fingerprints:
        if other not in (None, question.fingerprint):
            raise _mismatch(about, "fingerprint", question.fingerprint, other)


def _check_echoes(question: Question, answer: AssertAnswer, about: str, *, fell_back: bool) -> None:
    scope = question.scope
    judged_by_flow = fell_back and answer.scope == "flow"
    if answer.scope != scope.kind and not judged_by_flow:
        raise _mismatch(about, "scope", scope.kind, answer.scope)
    if answer.environment != scope.environment and not (judged_by_flow and not answer.environment):
        raise _mismatch(about, "environment", scope.environment, answer.environment)
    if scope.kind == "policy":
        _check_policy_set(question, answer, about)
    if scope.flow_name:
        _check_flow(scope.flow_name, answer, about)


def _check_policy_set(question: Question, answer: AssertAnswer, about: str) -> None:
    named = sorted(policy.policy_name for policy in answer.policy_evaluations or ())
    if named and named != list(question.scope.policies):
        raise _mismatch(about, "policies", ", ".join(question.scope.policies), ", ".join(named))


def _check_flow(flow: str, answer: AssertAnswer, about: str) -> None:
    """Refuse an answer that is not about the flow; by policies, others may stand beside it.

    One that names no flow at all may refuse an artifact, or tell that it is allow-listed: nobody
    need have reported it anywhere.
    """
    named = {found.flow for found in answer.every_flow}
    if answer.flow is not None:
        named.add(answer.flow)
    if not named and (not answer.compliant or answer.allow_listing):
        return
    if flow not in named or (answer.scope == "flow" and named != {flow}):
        raise _mismatch(about, "flow", flow, ", ".join(sorted(named - {flow})))


def _check_evaluated(
    question: Question, answer: AssertAnswer, about: str, *, require_policies: bool
) -> None:
    if answer.scope == "flow":
        if not answer.every_flow:
            raise NoVerdict(
                "no_flows",
                f"{about}: Kosli says compliant but names no flow that it judged",
                "Ask against an environment or named policies instead.",
                status=200,
            )
    elif not answer.policy_evaluations and (require_policies or question.scope.policies):
        raise NoVerdict(
            "no_policies",
            f"{about}: Kosli says compliant but evaluated no policy",
            ATTACH_ONE,
            status=200,
        )


def _check_consistent(answer: AssertAnswer, about: str) -> None:
    """Refuse an answer that says compliant on top and otherwise below: it proves nothing."""
    names = [policy.policy_name for policy in answer.policy_evaluations or ()]
    if len(names) != len(set(names)):
        raise _contradiction(about, "it lists a policy twice")
    if not _lists_its_top(answer):
        name = clean(answer.flow)
        raise _contradiction(about, f"flow {name} at its top is none of those that it lists")
    if answer.allow_listing is not None:
        if answer.scope != "environment":
            raise _contradiction(about, f"an allow-listing has no place in scope {answer.scope}")
        return
    for policy in answer.policy_evaluations or ():
        if policy.status != COMPLIANT:
            name, status = clean(policy.policy_name), clean(policy.status)
            raise _contradiction(about, f"policy {name} is {status} below it")
        if any(_denies(rule) for rule in policy.rule_evaluations or ()):
            name = clean(policy.policy_name)
            raise _contradiction(about, f"a rule of policy {name} is not satisfied below it")
    if answer.scope == "flow":
        for flow in answer.every_flow:
            if not _flow_holds(flow):
                raise _contradiction(about, f"flow {clean(flow.flow)} is not compliant below it")
        if not _state_holds(answer.compliance_status):
            raise _contradiction(about, "the state at its top is not compliant")


def _lists_its_top(answer: AssertAnswer) -> bool:
    """Return whether the flow and trail at the top, the first of all, are among all."""
    listed = answer.every_flow
    return (
        not listed
        or answer.flow is None
        or any(one.flow == answer.flow and answer.trail in (None, one.trail) for one in listed)
    )


def _fails(rule: RuleEvaluation) -> bool:
    return rule.ignored is not True and rule.satisfied is not True


def _denies(rule: RuleEvaluation) -> bool:
    """Return whether a rule fails, or tells of a failure though it is satisfied or ignored."""
    return _fails(rule) or rule.satisfied is False or any(map(_is_failure, rule.resolutions or ()))


def _is_failure(found: Resolution) -> bool:
    """Return whether a resolution fails its rule, or satisfies it by a trail that is not good."""
    if found.type == "rule_satisfied":
        return (found.context or {}).get("artifact_status") not in (None, "", COMPLIANT)
    return found.type in FAILING


def _flow_holds(flow: FlowAnswer) -> bool:
    return flow.compliant and _state_holds(flow.compliance_status)


def _state_holds(state: ComplianceStatus | None) -> bool:
    """Return whether nothing in a state, where one is told, speaks against it."""
    if state is None:
        return True
    failing = any(
        one.is_compliant is False or one.status == "MISSING"
        for one in state.attestations_statuses or ()
    )
    return state.is_compliant is True and state.status in (None, "", COMPLIANT) and not failing


def _verdict(question: Question, reply: Reply, artifact: Artifact, answer: AssertAnswer) -> Verdict:
    outcome = Outcome.NON_COMPLIANT
    if answer.compliant:
        outcome = Outcome.ALLOW_LISTED if answer.allow_listing else Outcome.COMPLIANT
    reasons = tuple(_reasons(answer))
    if outcome is Outcome.NON_COMPLIANT and not reasons:
        reasons = (Reason("unexplained"),)
    status = answer.compliance_status
    fell_back = question.scope.kind != "flow" and answer.scope == "flow"
    return _told(
        question,
        reply,
        artifact,
        outcome,
        reasons=reasons,
        policies=tuple(
            Policy(p.policy_name, p.policy_version, p.status)
            for p in answer.policy_evaluations or ()
        ),
        allow_listing=_allow_listing(answer),
        flows=tuple((flow.flow, flow.trail or "") for flow in answer.every_flow),
        link=answer.html_url or "",
        note=BY_TEMPLATES.format(question.scope.environment) if fell_back else "",
        evaluated_at=answers.moment(status.evaluated_at) if status else None,
    )


def _told(
    question: Question, reply: Reply, artifact: Artifact, outcome: Outcome, **facts: Any
) -> Verdict:
    return Verdict(
        outcome,
        question,
        artifact,
        **facts,
        replayed=reply.replayed,
        received_at=reply.received_at,
        status=reply.status,
        attempts=reply.attempts,
        reply_sha256=hashlib.sha256(reply.body).hexdigest(),
        waited=reply.waited,
    )


def _allow_listing(answer: AssertAnswer) -> AllowListing | None:
    listed = answer.allow_listing
    if listed is None:
        return None
    return AllowListing(
        by=listed.allowed_by_user_id,
        at=answers.moment(listed.timestamp),
        why=listed.description or "",
        id=listed.allowlist_id,
    )


def _reasons(answer: AssertAnswer) -> Iterator[Reason]:
    for policy in answer.policy_evaluations or ():
        yield from _policy_reasons(policy)
    if answer.scope == "flow":
        for flow in answer.every_flow:
            yield from _flow_reasons(flow)


def _policy_reasons(policy: PolicyEvaluation) -> Iterator[Reason]:
    failing = [rule for rule in policy.rule_evaluations or () if _fails(rule)]
    for rule in failing:
        yield from _rule_reasons(policy.policy_name, rule)
    if not failing and policy.status != COMPLIANT:
        yield Reason("policy_not_compliant", policy=policy.policy_name, detail=policy.status)


PASSING = {"rule_satisfied", "rule_not_applicable"}
FAILING = {
    "missing_attestation",
    "non_compliant_attestation",
    "non_compliant_in_trail",
    "no_provenance",
    "missing_provenance",
}
KNOWN = FAILING | {"legacy_flow"}


def _rule_reasons(policy: str, rule: RuleEvaluation) -> Iterator[Reason]:
    definition = rule.rule.definition or {}
    known: dict[str, str] = {
        "policy": policy,
        "rule": rule.rule.type or "",
        "attestation": _text(definition.get("name")),
        "attestation_type": _text(definition.get("type")),
    }
    failing = [found for found in rule.resolutions or () if found.type not in PASSING]
    for found in failing:
        context = found.context or {}
        type_ = found.type or ""
        yield Reason(
            type_ if type_ in KNOWN else "unknown_resolution",
            **known,
            control=_text(context.get("for_control") or definition.get("for_control")),
            flow=_text(context.get("flow_name")),
            trail=_text(context.get("trail_name")),
            detail=_detail(type_, context),
        )
    if not failing:
        control = _text(definition.get("for_control"))
        yield Reason("rule_not_satisfied", **known, control=control)


def _detail(type_: str, context: dict[str, Any]) -> str:
    if type_ == "non_compliant_in_trail":
        return _text(context.get("artifact_status"))
    return "" if type_ in KNOWN else f"{type_ or 'no type'} {context or ''}".strip()


def _flow_reasons(flow: FlowAnswer) -> Iterator[Reason]:
    if _flow_holds(flow):
        return
    status = flow.compliance_status
    failing = [
        found
        for found in (status.attestations_statuses if status else None) or ()
        if found.is_compliant is not True
    ]
    where = {"flow": flow.flow, "trail": flow.trail or ""}
    for found in failing:
        missing = found.status == "MISSING" or found.is_compliant is None
        yield Reason(
            "missing_attestation" if missing else "non_compliant_attestation",
            attestation=found.attestation_name or "",
            attestation_type=found.attestation_type or "",
            **where,
        )
    if not failing:
        yield Reason("flow_not_compliant", detail=(status and status.status) or "", **where)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _mismatch(about: str, what: str, asked: object, answered: object) -> NoVerdict:
    return NoVerdict(
        "mismatch",
        f"{about}: Kosli answered another question: we asked about {what} "
        f"{clean(asked or 'none')}, the answer is about {clean(answered or 'none')}",
        "Check the host; a verdict on something else is no verdict on this."
        if what != "scope"
        else "Kosli ignores an environment that has no policies: attach one, or set "
        "--kosli-require-policies=false to accept its flow templates.",
        status=200,
    )


def _contradiction(about: str, why: str) -> NoVerdict:
    return NoVerdict(
        "contradiction",
        f"{about}: Kosli says compliant, but {why}",
        "An answer that contradicts itself proves nothing. Look at the artifact's page in Kosli, "
        "and tell Kosli's support.",
        status=200,
    )
