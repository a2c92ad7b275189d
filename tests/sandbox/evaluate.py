"""Is this artifact compliant? Flow templates and policies, evaluated from the data each time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tests.sandbox.expression import Context, parse
from tests.sandbox.world import (
    Artifact,
    Attestation,
    AttestationRule,
    Policy,
    Refused,
    Report,
    Rule,
    World,
    kosli_id,
)

Reply = dict[str, Any]
"""A JSON object, or a part of one."""

SITE = "https://app.kosli.com"


# ----------------------------------------------------------------------------- flow templates


def compliance_status(world: World, artifact: Artifact, report: Report) -> Reply:
    """Return the ``compliance_status`` of an artifact on one trail."""
    flow = world.flows[report.flow]
    template = flow.template or {}
    given = _attestations(world, report)
    statuses = [_expected(name, type_, given.get(name)) for name, type_ in template.items()]
    statuses += [
        _given(name, attestation, unexpected=True)
        for name, attestation in given.items()
        if name not in template
    ]
    verdicts = [status["is_compliant"] for status in statuses]
    status = "COMPLIANT"
    if False in verdicts:
        status = "NON-COMPLIANT"
    elif None in verdicts:
        status = "INCOMPLETE"
    return {
        "artifact_fingerprint": artifact.fingerprint,
        "status": status,
        "is_compliant": status == "COMPLIANT",
        "attestations_statuses": statuses,
        "evaluated_at": report.at,
        "unexpected": flow.template is None,
    }


def _attestations(world: World, report: Report) -> dict[str, Attestation]:
    trail = world.flows[report.flow].trails[report.trail]
    return {**trail.attestations, **report.attestations}


def _expected(name: str, type_: str, given: Attestation | None) -> Reply:
    if given is not None:
        return _given(name, given, unexpected=False)
    return {
        "attestation_name": name,
        "attestation_type": _type_in_replies(type_),
        "status": "MISSING",
        "is_compliant": None,
        "unexpected": False,
    }


def _given(name: str, attestation: Attestation, *, unexpected: bool) -> Reply:
    return {
        "attestation_name": name,
        "attestation_type": _type_in_replies(attestation.type),
        "status": "COMPLETE",
        "is_compliant": attestation.compliant,
        "unexpected": unexpected,
    }


def _type_in_replies(type_: str) -> str:
    return "system:decision" if type_ == "decision" else type_


def artifact_url(world: World, artifact: Artifact, report: Report) -> str:
    """Return the page of an artifact on one trail."""
    page = f"{SITE}/{world.org}/flows/{report.flow}/artifacts/{artifact.fingerprint}"
    return f"{page}?artifact_id={artifact.report_id(report)}"


# ----------------------------------------------------------------------------------- policies


class _Side(NamedTuple):
    """An artifact as one report shows it, or as it stands without any (``report`` is None)."""

    report: Report | None
    status: Reply
    given: dict[str, Attestation]
    names: Context


class Trial:
    """An artifact before the policies: its reports, and what it is ``called`` where it runs."""

    def __init__(
        self, world: World, artifact: Artifact, reports: Sequence[Report], called: str
    ) -> None:
        self.world = world
        self.artifact = artifact
        names = {"artifact.name": called, "artifact.fingerprint": artifact.fingerprint}
        self._sides = [self._side(report, names) for report in reports]
        self._sides = self._sides or [_Side(None, {}, {}, names)]

    def _side(self, report: Report, names: Context) -> _Side:
        tags = self.world.flows[report.flow].tags
        names = {**names, "flow": report.flow, "flow.name": report.flow}
        names |= {f"flow.tags.{tag}": value for tag, value in tags.items()}
        status = compliance_status(self.world, self.artifact, report)
        return _Side(report, status, _attestations(self.world, report), names)

    def flows(self) -> list[Reply]:
        """Return the entries of ``flows``: the artifact on each of its trails."""
        return [
            {
                "flow": side.report.flow,
                "trail": side.report.trail,
                "compliant": side.status["is_compliant"],
                "compliance_status": side.status,
                "html_url": artifact_url(self.world, self.artifact, side.report),
            }
            for side in self._sides
            if side.report is not None
        ]

    def policy(self, key: str) -> Reply:
        """Return what a policy says, shaped as in ``policy_evaluations``."""
        policy = self.world.policy(key)
        rules = [
            self._provenance(policy.provenance),
            self._trail_compliance(policy.trail_compliance),
            *(self._attestation(rule) for rule in policy.attestations),
        ]
        broken = any(not rule["ignored"] and not rule["satisfied"] for rule in rules)
        return {
            "policy_name": policy_name(key),
            "policy_version": policy.version,
            "status": "NON-COMPLIANT" if broken else "COMPLIANT",
            "rule_evaluations": rules,
        }

    def _provenance(self, rule: Rule) -> Reply:
        def resolve(side: _Side) -> Reply:
            found = "rule_satisfied" if side.report else "no_provenance"
            return _resolution("rule_not_applicable" if _waived(rule, side) else found, side)

        return _evaluation("provenance", definition(rule, "if"), map(resolve, self._sides))

    def _trail_compliance(self, rule: Rule) -> Reply:
        def resolve(side: _Side) -> Reply:
            found = "missing_provenance"
            if side.report is not None:
                compliant = side.status["is_compliant"]
                found = "rule_satisfied" if compliant else "non_compliant_in_trail"
            found = "rule_not_applicable" if _waived(rule, side) else found
            return _resolution(found, side, artifact_status=side.status.get("status"))

        return _evaluation("trail-compliance", definition(rule, "if"), map(resolve, self._sides))

    def _attestation(self, rule: AttestationRule) -> Reply:
        control = {"for_control": rule.for_control} if rule.for_control else {}

        def resolve(side: _Side) -> Reply:
            return _resolution(_attested(rule, side), side, **control)

        meaning = attestation_definition(rule, "if")
        return _evaluation("attestation", meaning, map(resolve, self._sides))


def policy_name(key: str) -> str:
    """Return what the policy under that key is called: ``scan@1`` is a past ``scan``."""
    return key.partition("@")[0]


def _waived(rule: Rule, side: _Side) -> bool:
    return not rule.required or any(parse(text)(side.names) for text in rule.exceptions)


def _attested(rule: AttestationRule, side: _Side) -> str:
    if rule.condition is not None and not parse(rule.condition)(side.names):
        return "rule_not_applicable"
    if side.report is None:
        return "missing_provenance"
    found = [
        attestation
        for name, attestation in side.given.items()
        if rule.name in ("*", name)
        and rule.type in ("*", attestation.type)
        and rule.for_control in (None, attestation.control)
    ]
    if not found:
        return "missing_attestation"
    if rule.must_be_compliant and not all(attestation.compliant for attestation in found):
        return "non_compliant_attestation"
    return "rule_satisfied"


def _resolution(
    type_: str, side: _Side, *, artifact_status: str | None = None, **more: str
) -> Reply:
    if side.report is None:
        return {"type": type_, "context": None}
    context = {
        "flow_name": side.report.flow,
        "trail_name": side.report.trail,
        "artifact_status": artifact_status,
        **more,
    }
    return {"type": type_, "context": context}


def _evaluation(type_: str, meaning: Reply, resolutions: Iterable[Reply]) -> Reply:
    listed = list(resolutions)
    found = {resolution["type"] for resolution in listed}
    ignored = found == {"rule_not_applicable"}
    return {
        "rule": {"type": type_, "definition": meaning},
        "satisfied": None if ignored else found <= {"rule_not_applicable", "rule_satisfied"},
        "ignored": ignored,
        "resolutions": listed,
    }


def definition(rule: Rule, condition: str) -> Reply:
    """Return a rule in Kosli's words; ``condition`` is its key for one, ``if`` in a decision."""
    exceptions = [{condition: {"text": text}} for text in rule.exceptions]
    return {"required": rule.required, "exceptions": exceptions}


def attestation_definition(rule: AttestationRule, condition: str) -> Reply:
    """Return an attestation rule in Kosli's words; ``condition`` as in ``definition``."""
    return {
        condition: None if rule.condition is None else {"text": rule.condition},
        "name": rule.name,
        "type": rule.type,
        "must_be_compliant": rule.must_be_compliant,
        "for_control": rule.for_control,
    }


def policy_dump(policy: Policy) -> Reply:
    """Return a policy as ``applied_policies`` of a snapshot quotes it."""
    return {
        "schema_version": "1",
        "artifacts": {
            "provenance": definition(policy.provenance, "if_condition"),
            "trail_compliance": definition(policy.trail_compliance, "if_condition"),
            "attestations": [
                attestation_definition(rule, "if_condition") for rule in policy.attestations
            ],
        },
    }


# --------------------------------------------------------------------------------- assertions


def assertion(
    world: World,
    fingerprint: str,
    *,
    environment: str | None,
    policies: Sequence[str],
    flow: str | None,
) -> Reply:
    """Return the reply of the assert endpoint; raise Refused for whatever is unknown."""
    if environment is not None:
        world.environment(environment)
    for name in policies:
        world.policy(name)
    artifact, reports = provenance(world, fingerprint, flow)
    trial = Trial(world, artifact, reports, artifact.name)
    flows = trial.flows()
    reply = {"fingerprint": fingerprint, **flows[0], "flows": flows}
    if environment is None and not policies:
        return reply | {"scope": "flow", "compliant": all(entry["compliant"] for entry in flows)}
    keys = policies if environment is None else world.environments[environment].policies
    evaluations = [trial.policy(key) for key in keys]
    listing = allow_listing(world, environment, artifact) if environment else None
    return reply | {
        "scope": "environment" if environment else "policy",
        "compliant": listing is not None or all_compliant(evaluations),
        "environment": environment,
        "policy_evaluations": evaluations,
        "allow_listing": listing,
    }


def provenance(
    world: World, fingerprint: str, flow: str | None
) -> tuple[Artifact, Sequence[Report]]:
    """Return an artifact and its reports, those in one flow if given; raise Refused for none."""
    if flow is not None:
        world.flow(flow)
    artifact = world.by_fingerprint.get(fingerprint)
    if artifact is not None:
        reports = [report for report in artifact.reports if flow in (None, report.flow)]
        if reports:
            return artifact, reports
    raise Refused(404, _unknown_artifact(world, fingerprint, flow))


def _unknown_artifact(world: World, fingerprint: str, flow: str | None) -> str:
    if flow is None:
        return "Artifact not found"
    return (
        f"Artifact with fingerprint '{fingerprint}' does not exist in flow '{flow}' "
        f"belonging to organization '{world.org}'"
    )


def all_compliant(evaluations: Iterable[Reply]) -> bool:
    """Return whether every policy evaluated is satisfied."""
    return all(evaluation["status"] == "COMPLIANT" for evaluation in evaluations)


def allow_listing(world: World, environment: str, artifact: Artifact) -> Reply | None:
    """Return who let an artifact into an environment, None when nobody did."""
    for listing in world.environments[environment].allow_listings:
        if world.artifacts[listing.artifact] is artifact:
            return {
                "allowlist_id": kosli_id("allow-listing", environment, artifact.fingerprint),
                "allowed_by_user_id": listing.by,
                "timestamp": listing.at,
                "description": listing.reason,
            }
    return None


def in_environment(
    world: World, name: str, artifact: Artifact, called: str, policies: Sequence[str] | None = None
) -> tuple[bool | None, list[Reply]]:
    """Return an artifact's compliance where it runs (None: no policies) and the decisions."""
    trial = Trial(world, artifact, artifact.reports, called)
    keys = world.environments[name].policies if policies is None else policies
    decisions = [trial.policy(key) for key in keys]
    if not decisions:
        return None, []
    allowed = allow_listing(world, name, artifact) is not None
    return allowed or all_compliant(decisions), decisions
