"""Annotations: one line each, and nothing in it can be a second command."""

from __future__ import annotations

from pytest_kosli.model import NoVerdict, Outcome
from pytest_kosli.report.github import MANY, errors
from pytest_kosli.report.record import Record
from tests.report.records import document, facts, hear, hostile, record_of, verdict

REFUSED = verdict(Outcome.NON_COMPLIANT)


def test_a_refusal_stands_beside_its_test() -> None:
    assert errors(document(record_of(REFUSED)), "") == [
        "::error file=test_it.py,line=7,title=app1 0000000%3A non-compliant::"
        "snyk-scan missing against environment prod https://app.kosli.com/acme/artifacts/1"
    ]


def test_paths_start_at_the_repository() -> None:
    (line,) = errors(document(record_of(REFUSED)), "services/web")
    assert line.startswith("::error file=services/web/test_it.py,line=7,")


def test_a_test_from_outside_of_the_repository_has_no_place_in_it() -> None:
    record = Record()
    hear(record, "../../gate.py::compliant", facts(REFUSED), outcome="failed")
    (line,) = errors(document(record), "")
    assert line.startswith("::error title=")


def test_only_failures_and_problems_are_told() -> None:
    fine = [verdict(), verdict(Outcome.ALLOW_LISTED, 2)]
    assert errors(document(record_of(*fine)), "") == []
    lines = errors(document(record_of(*fine), problems=["50% missing"]), "")
    assert lines == ["::error title=kosli::50%25 missing"]
    (line,) = errors(document(record_of(NoVerdict("http_503", "no answer"))), "")
    assert "title=app1 0000000%3A no verdict::no answer" in line


def test_more_than_github_shows_are_counted() -> None:
    many = [verdict(Outcome.NON_COMPLIANT, number) for number in range(1, 31)]
    lines = errors(document(record_of(*many)), "")
    assert len(lines) == MANY
    assert "and 21 other failures: see the job summary" in lines[-1]


def test_hostile_text_neither_ends_a_line_nor_begins_a_property() -> None:
    for line in errors(hostile(), ""):
        assert line.isprintable()
        head, _, _ = line.removeprefix("::error ").partition("::")
        properties = [part.partition("=")[0] for part in head.split(",")]
        assert properties in (["file", "line", "title"], ["title"])
