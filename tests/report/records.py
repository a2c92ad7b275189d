"""Records and evidence to render, built from verdicts as a run makes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pytest_kosli.model import (
    AllowListing,
    Artifact,
    NotChecked,
    NoVerdict,
    Origin,
    Outcome,
    Policy,
    Question,
    Reason,
    Scope,
    Verdict,
)
from pytest_kosli.report.evidence import Evidence, Run, Setting, evidence
from pytest_kosli.report.facts import Facts, facts_of
from pytest_kosli.report.record import Record

PROD = Scope(environment="prod")
NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)

HOSTILE = [
    "\x1b[31mred\x1b[0m\x7f",
    "safe\u202egnp.exe",
    "zero\u200bwidth",
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "</details></ul></code><b>bold</b>",
    "[click](https://evil.example/) https://evil.example/ www.evil.example @acme #1",
    "a | b \\| c || d",
    "`code` ``` *bold* _it_ ~~gone~~ $x$",
    "::error file=x::stolen",
    "##[error]stolen",
    "100%0A::error::stolen",
    "first\n\n# second\n::stop-commands::x\r\n\tlast",
    "&lt;b&gt; &amp; &#60;",
    "{{ 7*7 }} {% raw %}",
    "]]></testcase>",
    "'\"",
]


def artifact(number: int = 1, name: str = "", source: str = "marker") -> Artifact:
    name = name or f"ghcr.io/acme/app{number}:1.0"
    return Artifact(f"{number:064x}", name, Origin(source, name, resolved="read from its name"))


def verdict(
    outcome: Outcome = Outcome.COMPLIANT,
    number: int = 1,
    scope: Scope = PROD,
    name: str = "",
    text: str = "snyk-scan",
    **fields: Any,
) -> Verdict:
    """A verdict in which ``text`` stands wherever Kosli's or other people's words do."""
    refuses = outcome not in (Outcome.COMPLIANT, Outcome.ALLOW_LISTED)
    missing = Reason("missing_attestation", text, text, "", text, text, text, text, text)
    plain: dict[str, Any] = {
        "reasons": (missing,) if refuses else (),
        "policies": (Policy(text, 2, text),),
        "flows": ((text, text),),
        "link": f"https://app.kosli.com/acme/artifacts/{number}",
        "received_at": NOW,
        "evaluated_at": NOW,
        "reply_sha256": "c" * 64,
        "allow_listing": AllowListing(text, NOW, text, text)
        if outcome is Outcome.ALLOW_LISTED
        else None,
    }
    about = artifact(number, name)
    question = Question("https://app.kosli.com", "acme", about.fingerprint, scope)
    return Verdict(outcome, question, about, **plain | fields)


def facts(
    result: Verdict | NoVerdict | NotChecked,
    about: Artifact | None = None,
    *,
    name: str = "",
    scope: Scope = PROD,
    by: str = "mark",
) -> Facts:
    refused = isinstance(result, Verdict) and result.outcome not in (
        Outcome.COMPLIANT,
        Outcome.ALLOW_LISTED,
    )
    if isinstance(result, Verdict):
        about, scope = result.artifact, result.question.scope
    return facts_of(name, about, scope, result, refused, by)


def hear(record: Record, nodeid: str, *checks: Facts, outcome: str = "passed") -> None:
    """Let a record hear of a test: its checks at set-up, and how its call ended."""
    payload: Facts = {"checks": list(checks), "flags": {}, "left_out": []}
    payload |= {"file": nodeid.split("::")[0], "line": 7}
    record.hear(nodeid, "setup", "passed", payload, marked=True, xfailed=False)
    record.hear(nodeid, "call", outcome, None, marked=True, xfailed=False)
    record.ended.add(nodeid)


def record_of(*results: Verdict | NoVerdict | NotChecked) -> Record:
    """A record of one test for each result."""
    record = Record()
    for number, result in enumerate(results):
        one = facts(result, artifact(number + 1))
        fine = one["outcome"] in ("COMPLIANT", "ALLOW_LISTED")
        hear(record, f"test_it.py::test_{number}", one, outcome="passed" if fine else "failed")
    return record


def run(**fields: Any) -> Run:
    plain: dict[str, Any] = {
        "started_at": NOW,
        "ended_at": NOW,
        "exit_code": 0,
        "host": "https://app.kosli.com",
        "org": "acme",
        "versions": {"pytest-kosli": "1.0"},
        "ci": None,
        "settings": [Setting(name="org", value="acme", origin="KOSLI_ORG")],
    }
    return Run(**plain | fields)


def document(record: Record, mode: Any = "live", **fields: Any) -> Evidence:
    return evidence(mode, run(), record, **{"selected": len(record.ended)} | fields)


def hostile() -> Evidence:
    """Evidence in which every text that is not ours means harm."""
    record = Record()
    for number, text in enumerate(HOSTILE):
        link = f"javascript:alert({number})" if number % 2 else f"https://evil.example/{text}"
        checks = [
            facts(
                verdict(
                    outcome, number * 2 + shift + 1, Scope(text, (), text), text, text, link=link
                )
            )
            for shift, outcome in enumerate((Outcome.NON_COMPLIANT, Outcome.ALLOW_LISTED))
        ]
        checks.append(facts(NoVerdict("http_500", text, text, errors=(text,)), name=text))
        checks += [source(text), drift(text)]
        hear(record, f"test_it.py::test[{text}]", *checks, outcome="failed")
    record.left_out.update(HOSTILE)
    return document(record, problems=HOSTILE, deselected=HOSTILE, incomplete=HOSTILE)


def drift(text: str, outcome: str = "DRIFTED") -> Facts:
    """The facts of a comparison, with ``text`` wherever other people's words stand."""
    one = {"name": text, "fingerprint": "d" * 64, "origin": text}
    other = {"name": text, "intended": [one], "running": [one]}
    plain: Facts = {name: [one] for name in ("unintended", "missing", "as_intended")}
    plain |= {**dict.fromkeys(("name", "label", "reason"), text), "other_version": [other]}
    plain |= {"kind": "drift", "by": "call", "outcome": outcome, "refused": outcome == "DRIFTED"}
    return plain | {"code": "drifted", "left_out": [text], "replayed": False, "received_at": ""}


def source(text: str, outcome: str = "DOES_NOT_HOLD") -> Facts:
    """The facts of a source check, with ``text`` wherever other people's words stand."""
    words = ("name", "label", "reason", "data_source", "branch", "commit", "artifact", "pin")
    plain: Facts = {**dict.fromkeys(words, text), "kind": "source", "by": "call", "note": ""}
    plain |= {"outcome": outcome, "refused": True, "failures": [text], "code": "source_mismatch"}
    return plain | {"replayed": False, "received_at": "", "fingerprint": "", "sha256": ""}
