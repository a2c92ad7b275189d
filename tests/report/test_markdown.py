"""Markdown: what a job summary shows, read by a real Markdown parser."""

from __future__ import annotations

from markdown_it import MarkdownIt

from pytest_kosli.model import NoVerdict, Outcome
from pytest_kosli.report.evidence import Evidence
from pytest_kosli.report.markdown import LIMIT, markdown
from pytest_kosli.report.record import Record
from pytest_kosli.text import clean
from tests.report.reading import Reading
from tests.report.records import HOSTILE, document, hostile, record_of, verdict

OURS = {"h2", "blockquote", "strong", "p", "code", "details", "summary", "ul", "li", "a"}


def shown(evidence: Evidence) -> Reading:
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    return Reading(parser.render(markdown(evidence)))


def test_the_heading_counts_the_checks_and_the_worst_come_first() -> None:
    record = record_of(verdict(), verdict(Outcome.NON_COMPLIANT, 2))
    text = markdown(document(record))
    assert text.startswith("## Kosli: 2 checks, 1 non-compliant, 1 compliant\n")
    assert text.index("app2") < text.index("app1")


def test_a_refusal_shows_its_reasons_policies_and_link() -> None:
    page = shown(document(record_of(verdict(Outcome.NON_COMPLIANT))))
    assert "snyk-scan (snyk-scan) is missing, flow snyk-scan, trail snyk-scan" in page.text
    assert "(missing_attestation)" in page.text
    assert "policy: snyk-scan v2" in page.text
    assert page.links == ["https://app.kosli.com/acme/artifacts/1"]


def test_replay_dry_run_incomplete_and_problems_stand_on_top() -> None:
    replayed = document(record_of(verdict(replayed=True)), "offline")
    assert "REPLAY of cassettes recorded 2026-11-20 10:00 UTC" in shown(replayed).text
    assert "DRY RUN: Kosli was not asked" in shown(document(Record(), "dry-run")).text
    broken = document(Record(), incomplete=["interrupted"], problems=["--kosli-require 1: 0"])
    text = shown(broken).text
    assert text.index("INCOMPLETE: interrupted") < text.index("--kosli-require 1: 0")
    assert "NOTHING WAS CHECKED" in text
    assert "REPLAY" not in shown(document(record_of(verdict()))).text


def test_hostile_text_stays_text() -> None:
    page = shown(hostile())
    assert {tag for tag, _ in page.tags} <= OURS
    assert all(set(attrs) <= {"href"} for _, attrs in page.tags)
    assert all(link.startswith("https://evil.example/") for link in page.links)
    assert len(page.links) < len(HOSTILE) * 2, "no link that is not http(s) is a link"
    for text in HOSTILE:
        assert clean(text) in page.text
    assert page.text.replace("\n", "").isprintable()


def test_no_line_is_a_command_to_a_ci_service() -> None:
    for line in markdown(hostile()).splitlines():
        assert not line.lstrip().startswith(("::", "##["))


def test_more_checks_than_fit_are_counted() -> None:
    many = [verdict(Outcome.NON_COMPLIANT, number, text="x" * 290) for number in range(1, 1200)]
    text = markdown(document(record_of(*many)))
    assert LIMIT // 2 < len(text.encode()) <= LIMIT + 200
    shown_checks = text.count("<details>")
    assert f"and {1199 - shown_checks} more checks: too long for this page" in text


def test_a_missing_verdict_is_told_with_its_code() -> None:
    text = shown(document(record_of(NoVerdict("http_503", "no answer")))).text
    assert "no verdict: no answer" in text
    assert "(http_503)" in text
