"""Each check's outcome and its link to Kosli, for the reports of other plugins that have a place.

Nothing of theirs is imported before one of their reports is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest

from pytest_kosli.report.facts import WORDS, Facts, urgency
from pytest_kosli.text import clean, web_link

ALLURE = "kosli"
"""The type of our links and labels, so that no ``--allure-link-pattern`` of others fits them."""


class _Link(NamedTuple):
    name: str
    url: str


def tell(config: pytest.Config, report: pytest.TestReport, checks: list[Facts]) -> None:
    """Put the checks of a test on its last report for pytest-html, and into its Allure result."""
    told = sorted(checks, key=urgency)
    if told and config.getoption("htmlpath", None):
        _tell_html(report, told)
    if told and config.getoption("allure_report_dir", None):
        _tell_allure(told)


def _tell_html(report: pytest.TestReport, checks: Sequence[Facts]) -> None:
    from html import escape

    from pytest_html import extras

    links = [extras.url(escape(link.url), escape(link.name)) for link in _links(checks)]
    report.extras = [*getattr(report, "extras", []), *links]  # type: ignore[attr-defined]


def _tell_allure(checks: Sequence[Facts]) -> None:
    import allure

    for outcome in dict.fromkeys(fact["outcome"] for fact in checks):
        allure.dynamic.label(ALLURE, outcome)
    for link in _links(checks):
        allure.dynamic.link(link.url, link_type=ALLURE, name=link.name)


def _links(checks: Sequence[Facts]) -> Iterator[_Link]:
    """Yield a link for each check that Kosli has a page about, each once."""
    links = (
        _Link(f"{clean(fact['label'])}: {WORDS[fact['outcome']]}", web_link(fact.get("link", "")))
        for fact in checks
    )
    yield from dict.fromkeys(link for link in links if link.url)
