"""The evidence as Markdown that fits a job summary.

Other people's text stands in HTML blocks only, escaped: no Markdown is read there, so neither a
pipe nor a backtick nor a link in a name can become anything but text.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from pytest_kosli.report.drift import WORDS as DRIFT_WORDS
from pytest_kosli.report.evidence import Check, Deployed, Drift, Evidence, Reason
from pytest_kosli.report.facts import WORDS
from pytest_kosli.report.notices import headline, notices
from pytest_kosli.report.sources import WORDS as SOURCE_WORDS
from pytest_kosli.text import clean, count, waited, web_link, when

LIMIT = 900_000
"""Bytes: a job summary of GitHub's holds 1 MiB a step and shows nothing of a larger one."""

MANY = 12
LONGEST = 200
SIGNS = {
    "COMPLIANT": "✅",
    "ALLOW_LISTED": "⚠️",
    "NON_COMPLIANT": "❌",
    "UNKNOWN_ARTIFACT": "❌",
    "NO_VERDICT": "🚫",
    "NOT_CHECKED": "⏭️",
}


def markdown(evidence: Evidence, limit: int = LIMIT) -> str:
    """Return the report; of more checks than fit ``limit`` bytes it says how many are not shown."""
    head = "\n".join([*_head(evidence), ""])
    foot = "\n".join([*_foot(evidence), ""])
    room = limit - len(head.encode()) - len(foot.encode())
    shown: list[str] = []
    for number, check in enumerate(evidence.checks):
        block = "\n".join(_check(check))
        room -= len(block.encode()) + 1
        if room < 0:
            left = count(len(evidence.checks) - number, "more check")
            shown.append(f"\nand {left}: too long for this page, see the other reports\n")
            break
        shown.append(block)
    return "\n".join([head, *shown, foot])


def _head(evidence: Evidence) -> Iterator[str]:
    yield f"## Kosli: {headline(evidence)}"
    yield ""
    for notice in notices(evidence):
        yield "<blockquote><strong>"
        yield f"⚠️ {text(notice)}"
        yield "</strong></blockquote>"
        yield ""
    yield from _run(evidence)
    yield ""


def _run(evidence: Evidence) -> Iterator[str]:
    run = evidence.run
    yield "<p>"
    told = [f"organisation {code(run.org)}"] if run.org else []
    told.append(f"host {code(run.host)}")
    told.append(f"{evidence.mode} run of {text(when(run.started_at))}")
    if run.ci:
        told.append(link(run.ci.url, run.ci.name) or text(run.ci.name))
    yield ", ".join(told)
    yield "</p>"


def _check(check: Check) -> Iterator[str]:
    summary = f"{SIGNS[check.outcome]} {code(check.artifact.label)} {WORDS[check.outcome]}"
    if check.outcome != "COMPLIANT" and check.reason:
        summary += f": {text(check.reason)}"
    yield f"<details><summary>{summary}</summary><ul>"
    for label, value in _rows(check):
        yield f"<li>{label}: {value}</li>"
    yield from _items(check.reasons)
    yield "</ul></details>"


def _rows(check: Check) -> Iterator[tuple[str, str]]:
    if check.question.text:
        yield "against", text(check.question.text)
    for origin in check.artifact.origins[:MANY]:
        runs = f", runs in {code(origin.runs_in)}" if origin.runs_in else ""
        yield "artifact", code(origin.name) + runs
    if check.artifact.fingerprint:
        yield "sha256", code(check.artifact.fingerprint)
    for policy in check.policies[:MANY]:
        version = f" v{policy.version}" if policy.version is not None else ""
        yield "policy", f"{code(policy.name)}{version}: {text(policy.status)}"
    if listed := check.allow_listing:
        why = text(listed.why or "no reason given")
        yield "allow-listed", f"by {code(listed.by)}, {text(when(listed.at))}: {why}"
    if check.answer.replayed:
        yield "replay", f"recorded {text(when(check.answer.received_at))}, not asked now"
    if check.answer.waited:
        late = check.answer.waited
        yield "waited", text(waited(late.seconds, late.asked, late.unheard))
    if check.note:
        yield "note", text(check.note)
    if shown := link(check.link or "", "in Kosli"):
        yield "link", shown


def _items(reasons: list[Reason]) -> Iterator[str]:
    for reason in reasons[:MANY]:
        where = "".join(
            f", {word} {code(name)}"
            for word, name in (("flow", reason.flow), ("trail", reason.trail))
            if name
        )
        yield f"<li>{text(reason.text)}{where} ({code(reason.code)})</li>"
    if len(reasons) > MANY:
        yield f"<li>and {len(reasons) - MANY} more</li>"


def _foot(evidence: Evidence) -> Iterator[str]:
    if evidence.sources:
        yield ""
        yield f"<details><summary>{count(len(evidence.sources), 'source check')}</summary><ul>"
        for source in evidence.sources[:LONGEST]:
            why = f": {text(source.reason)}" if source.reason else ""
            yield f"<li>{code(source.identifier)} {SOURCE_WORDS[source.outcome]}{why}</li>"
        if len(evidence.sources) > LONGEST:
            yield f"<li>and {len(evidence.sources) - LONGEST} more</li>"
        yield "</ul></details>"
    if evidence.drifts:
        yield ""
        yield f"<details><summary>{count(len(evidence.drifts), 'comparison')}</summary><ul>"
        for drift in evidence.drifts[:LONGEST]:
            yield f"<li>{code(drift.snapshot)} {DRIFT_WORDS[drift.outcome]}: {text(drift.reason)}"
            yield from _differences(drift) if drift.refused else ()
            yield "</li>"
        if len(evidence.drifts) > LONGEST:
            yield f"<li>and {len(evidence.drifts) - LONGEST} more</li>"
        yield "</ul></details>"
    lists = {
        "left out by without": evidence.left_out,
        "without an image": evidence.without_image,
        "deselected": evidence.tests.deselected,
        "not checked": [test.id for test in evidence.tests.unchecked],
    }
    for what, names in lists.items():
        if names:
            more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
            yield ""
            yield "<p>"
            yield f"{len(names)} {what}: {', '.join(code(name) for name in names[:MANY])}{more}"
            yield "</p>"


def _differences(drift: Drift) -> Iterator[str]:
    yield "<ul>"
    yield from _named("runs, but was not intended", drift.unintended)
    yield from _named("was intended, but does not run", drift.missing)
    for other in drift.other_version[:MANY]:
        yield from _named(f"{code(other.name)} was intended as", other.intended)
        yield from _named(f"{code(other.name)} runs as", other.running)
    yield "</ul>"


def _named(what: str, those: list[Deployed]) -> Iterator[str]:
    if those:
        more = f" and {len(those) - MANY} more" if len(those) > MANY else ""
        listed = ", ".join(code(f"{one.name} {one.fingerprint[:7]}") for one in those[:MANY])
        yield f"<li>{what}: {listed}{more}</li>"


def text(value: str) -> str:
    """Return somebody's text as it is to be read, on one line."""
    return escape(clean(value))


def code(value: str) -> str:
    """Return somebody's name in the letters of code, where nothing is taken for a mention."""
    return f"<code>{text(value)}</code>"


def link(url: str, words: str) -> str:
    """Return a link to a plain web address; nothing for any other."""
    return f'<a href="{escape(url)}">{text(words)}</a>' if web_link(url) else ""
