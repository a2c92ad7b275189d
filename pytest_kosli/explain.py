"""A Verdict becomes the lines that a person reads: what happened, to which artifact, what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from pytest_kosli.model import DOCS, Artifact, NoVerdict, Outcome, Question, Reason, Verdict
from pytest_kosli.text import clean, cut, waited, when

HEADLINE = 60
WIDTH = 76
MANY = 12

HEADLINES = {
    Outcome.COMPLIANT: "is compliant",
    Outcome.ALLOW_LISTED: "is only allow-listed",
    Outcome.NON_COMPLIANT: "is not compliant",
    Outcome.UNKNOWN_ARTIFACT: "is unknown to Kosli",
}


def headline(verdict: Verdict) -> str:
    """Return artifact, outcome and main reason in at most 60 columns."""
    label, told = clean(verdict.artifact.label), HEADLINES[verdict.outcome]
    room = HEADLINE - len(told) - 1
    if len(label) > room:
        label = f"{cut(label, room - 8)} {verdict.artifact.fingerprint[:7]}"
    line = f"{label} {told}"
    if verdict.reasons and verdict.outcome is not Outcome.UNKNOWN_ARTIFACT:
        line += f": {main_reason(verdict)}"
    return line if len(line) <= HEADLINE else line[: HEADLINE - 1].rstrip(" :") + "…"


def main_reason(verdict: Verdict) -> str:
    """Return the first reason in a few words: ``snyk-scan missing``."""
    if verdict.outcome is Outcome.ALLOW_LISTED and verdict.allow_listing:
        return clean(verdict.allow_listing.why or "no reason given", 80)
    return _brief(verdict.reasons[0]) if verdict.reasons else ""


def explain(verdict: Verdict, built_by: str = "") -> list[str]:
    """Return the whole text about a verdict; ``built_by`` is what the artifact endpoint added."""
    return [headline(verdict), *_facts(verdict, built_by), *_next(verdict)]


def explain_all(verdicts: Sequence[Verdict], built: Mapping[Question, str]) -> list[str]:
    """Return one text about refused artifacts, told together; ``built`` is who built each."""
    texts = [explain(verdict, built.get(verdict.question, "")) for verdict in verdicts]
    if len(texts) == 1:
        return texts[0]
    lines = [f"{len(texts)} artifacts are refused"]
    for text in texts:
        lines += ["", *text]
    return lines


def no_verdict(error: NoVerdict) -> list[str]:
    """Return the text about a missing verdict; the first line names the artifact and the code."""
    subject = clean(error.artifact.label, 36) + ": " if error.artifact else ""
    lines = [f"{subject}no verdict ({error.code})"]
    for paragraph in (error.message, *error.errors, error.todo):
        lines += textwrap.wrap(clean(paragraph, 1000), WIDTH, break_on_hyphens=False)
    if late := error.waited:
        lines.append(f"waited {waited(late.seconds, late.asked, late.unheard)}")
    elif error.attempts > 1:
        lines.append(f"after {error.attempts} attempts")
    return [*lines, error.docs]


def _facts(verdict: Verdict, built_by: str) -> Iterator[str]:
    artifact = verdict.artifact
    yield from _row("against", f"{verdict.question.scope} of {verdict.question.org}")
    yield from _row("name", artifact.name.removesuffix(f"@sha256:{artifact.fingerprint}"))
    yield from _row("sha256", artifact.fingerprint)
    yield from _row("from", origin(verdict.artifact))
    if verdict.replayed:
        yield from _row("replay", f"recorded {when(verdict.received_at)}, not asked now")
    if late := verdict.waited:
        yield from _row("waited", waited(late.seconds, late.asked, late.unheard))
    yield from _row("note", verdict.note)
    if listed := verdict.allow_listing:
        why = listed.why or "no reason given"
        yield from _row("allowed", f"by {listed.by}, {when(listed.at)}: {why}")
    yield from _reasons(verdict)
    yield from _row("built", built_by)
    yield from _row("link", verdict.link)


def _row(label: str, text: str) -> Iterator[str]:
    """Yield a labelled text, wrapped; nothing for no text."""
    if text:
        yield from textwrap.wrap(
            clean(text, 1000),
            WIDTH,
            initial_indent=f"  {label:<9}",
            subsequent_indent=" " * 11,
            break_long_words=False,
            break_on_hyphens=False,
        )


def origin(artifact: Artifact) -> str:
    """Return where we learned of an artifact; nothing where its name and digest say all of it."""
    found = artifact.origin
    detail = "" if found.detail.endswith(artifact.fingerprint) else found.detail
    told = ", ".join(part for part in (detail, found.resolved) if part)
    left_out = f", without {', '.join(found.excluded[:MANY])}" if found.excluded else ""
    return f"{found.source} {told}{left_out}" if told else ""


def _reasons(verdict: Verdict) -> Iterator[str]:
    policies = {policy.name: policy for policy in verdict.policies}
    for name, reasons in groupby(verdict.reasons, key=lambda reason: reason.policy):
        if policy := policies.get(name):
            version = f" v{policy.version}" if policy.version is not None else ""
            yield from _row("policy", f"{name}{version}: {policy.status}")
        told = list(dict.fromkeys(reasons))
        for reason in told[:MANY]:
            yield f"    - {sentence(reason)}"
            if where := place(reason):
                yield f"      {where}"
        if len(told) > MANY:
            yield f"    - and {len(told) - MANY} more, see the link"


def place(reason: Reason) -> str:
    """Return the flow and trail that a reason comes from."""
    named = (("flow", reason.flow), ("trail", reason.trail))
    return ", ".join(f"{word} {clean(name)}" for word, name in named if name)


def _next(verdict: Verdict) -> Iterator[str]:
    yield from _row("next", _todo(verdict))
    yield from _row("docs", f"{DOCS}#{verdict.outcome.value.lower().replace('_', '-')}")


def _todo(verdict: Verdict) -> str:
    if verdict.outcome is Outcome.UNKNOWN_ARTIFACT:
        if verdict.artifact.origin.reported:
            name = clean(verdict.artifact.short)
            return (
                "the snapshot itself calls it compliant, though Kosli knows no provenance: leave "
                f"it out by name, with without=\"{name}*\" or --kosli-without '{name}*'"
            )
        hints = "".join(f"; {hint}" for hint in verdict.artifact.origin.hints)
        return f"attest the artifact in the flow that builds it, or fix the reference{hints}"
    if verdict.outcome is Outcome.ALLOW_LISTED:
        return "make it compliant, or set --kosli-allow-listed=pass"
    codes = {reason.code for reason in verdict.reasons}
    if codes & {"missing_attestation", "missing_provenance", "no_provenance"}:
        return "report what is missing to its trail, then run this again"
    return "open the link, fix what failed and report it again"


def _brief(reason: Reason) -> str:
    thing = clean(reason.control or _thing(reason).split(" (")[0], 40)
    return {
        "missing_attestation": f"{thing} missing",
        "non_compliant_attestation": f"{thing} failed",
        "non_compliant_in_trail": f"its trail {_state(reason)}",
        "no_provenance": "no provenance",
        "missing_provenance": "no provenance",
        "legacy_flow": "its flow is of a legacy kind",
        "unknown_resolution": clean(reason.detail.split(" ")[0], 40),
        "rule_not_satisfied": f"rule {clean(reason.rule, 30)} not satisfied",
        "policy_not_compliant": f"policy {clean(reason.policy, 30)}",
        "flow_not_compliant": f"flow {clean(reason.flow, 30)}",
        "unknown_artifact": "no such fingerprint",
    }.get(reason.code, "Kosli gave no reason")


def sentence(reason: Reason) -> str:
    """Return one reason in full."""
    thing = _thing(reason)
    return {
        "missing_attestation": f"{thing} is missing",
        "non_compliant_attestation": f"{thing} is not compliant",
        "non_compliant_in_trail": f"the artifact {_state(reason, 'is not compliant')} in its trail",
        "no_provenance": "no flow holds the artifact: it has no provenance",
        "missing_provenance": "no flow holds the artifact: its provenance is missing",
        "legacy_flow": "it was reported to a legacy flow, which policies can not judge",
        "unknown_resolution": f"Kosli says {clean(reason.detail)}",
        "rule_not_satisfied": f"rule {clean(reason.rule)} ({thing}) is not satisfied",
        "policy_not_compliant": f"the policy is {clean(reason.detail)}, no failing rule was named",
        "flow_not_compliant": f"the flow is {clean(reason.detail) or 'not compliant'}",
        "unknown_artifact": f"{clean(reason.detail)} knows no artifact with this fingerprint",
    }.get(reason.code, "Kosli says not compliant and gives no reason")


def _state(reason: Reason, failed: str = "failed") -> str:
    return "is incomplete" if reason.detail == "INCOMPLETE" else failed


def _thing(reason: Reason) -> str:
    """Name what a rule asks for: an attestation by name or type, or a control's decision."""
    name = "" if reason.attestation == "*" else clean(reason.attestation, 80)
    type_ = "" if reason.attestation_type == "*" else clean(reason.attestation_type, 80)
    if reason.control:
        what = f"decision on control {clean(reason.control, 80)}"
        return f"{what} ({name})" if name else what
    if name:
        return f"{name} ({type_})" if type_ else name
    return f"{type_} attestation" if type_ else "attestation"
