"""The page: what it holds, and how it behaves in a real Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kosli.model import Outcome
from pytest_kosli.report.evidence import Evidence
from pytest_kosli.report.html import html
from pytest_kosli.report.record import Record
from tests.report.reading import Reading
from tests.report.records import HOSTILE, document, hostile, record_of, verdict

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


# Without a browser.


def test_nothing_is_loaded_from_elsewhere_and_the_policy_says_so() -> None:
    page = Reading(html(document(record_of(verdict()))))
    assert page.links == ["#checks", "https://app.kosli.com/acme/artifacts/1"]
    policy = next(attrs for _, attrs in page.tags if "http-equiv" in attrs)
    assert policy["http-equiv"] == "Content-Security-Policy"
    content = policy["content"] or ""
    assert content.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in content
    assert all("style" not in attrs and "onclick" not in attrs for _, attrs in page.tags)


def test_links_that_leave_the_page_tell_nobody_where_they_come_from() -> None:
    page = Reading(html(document(record_of(verdict()))))
    outward = [attrs for tag, attrs in page.tags if tag == "a" and "target" in attrs]
    assert [attrs["rel"] for attrs in outward] == ["noopener noreferrer"]


def test_there_are_landmarks_a_live_count_and_headers_of_every_table() -> None:
    page = Reading(html(document(record_of(verdict(Outcome.NON_COMPLIANT)))))
    tags = [tag for tag, _ in page.tags]
    assert {"header", "main", "footer", "h1", "h2"} <= set(tags)
    assert [attrs["aria-live"] for tag, attrs in page.tags if tag == "output"] == ["polite"]
    assert tags.count("table") == tags.count("caption") == tags.count("thead")
    headers = [attrs for tag, attrs in page.tags if tag == "th"]
    assert all(attrs.get("scope") in ("col", "row") for attrs in headers)
    assert ("html", {"lang": "en"}) in page.tags


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (document(record_of(verdict(replayed=True)), "offline"), "REPLAY"),
        (document(Record(), "dry-run"), "DRY RUN"),
        (document(Record(), incomplete=["it stopped"]), "INCOMPLETE"),
    ],
    ids=["replay", "dry run", "incomplete"],
)
def test_what_is_no_live_evidence_says_so_in_title_banner_and_print(
    evidence: Evidence, words: str
) -> None:
    text = html(evidence)
    assert f"<title>{words}: " in text
    assert f'<p class="stamp">{words}: not evidence of a live check</p>' in text
    assert f'@top-center {{ font: bold 10pt sans-serif; content: "{words}: not evidence' in text
    assert "stamp" not in [attrs.get("class") for _, attrs in Reading(html(LIVE)).tags]


LIVE = document(record_of(verdict()))


def test_every_fact_of_a_refusal_is_on_the_page() -> None:
    text = Reading(html(document(record_of(verdict(Outcome.NON_COMPLIANT))))).text
    for fact in (
        "ghcr.io/acme/app1:1.0",
        f"{1:064x}",
        "environment prod",
        "snyk-scan missing",
        "missing_attestation",
        "HTTP 200, 1 attempt",
        "c" * 64,
        "test_it.py::test_0",
        "KOSLI_ORG",
    ):
        assert fact in text


def test_hostile_text_makes_no_element_and_no_link() -> None:
    page = Reading(html(hostile()))
    names = {tag for tag, _ in page.tags}
    assert not names & {"img", "iframe", "object", "svg"}
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert {link.split("/")[2] for link in page.links if ":" in link} == {"evil.example"}
    assert not any(link.startswith("javascript") for link in page.links)
    assert page.text.replace("\n", "").isprintable()


# In a browser.


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not here")
    if CHROMIUM is None:
        pytest.skip("chromium is not here: Debian's package of that name")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Opened:
    """A page in a browser, and what it complained about or tried to load."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri())

    @property
    def names(self) -> list[str]:
        """Return the artifacts of the checks that can be seen."""
        return [one.inner_text() for one in self.page.locator(".name:visible").all()]

    @property
    def count(self) -> str:
        return self.page.locator("#count").inner_text()

    def choose(self, outcome: str) -> None:
        self.page.locator(f"fieldset label:has(input[value='{outcome}'])").click()


@pytest.fixture
def opened(chromium: Browser, tmp_path: Path) -> Iterator[Any]:
    context = chromium.new_context()

    def open_it(evidence: Evidence) -> Opened:
        path = tmp_path / "page.html"
        path.write_text(html(evidence), encoding="utf-8")
        return Opened(context.new_page(), path)

    yield open_it
    context.close()


MIXED = document(
    record_of(
        verdict(name="web:1"),
        verdict(Outcome.NON_COMPLIANT, 2, name="orders:2", text="unit-tests"),
        verdict(Outcome.ALLOW_LISTED, 3, name="ledger:3"),
        verdict(number=4, name="mailer:4"),
    )
)


def test_the_filter_shows_one_outcome_and_counts(opened: Any) -> None:
    shown = opened(MIXED)
    assert shown.names == ["orders 0000000", "ledger 0000000", "mailer 0000000", "web 0000000"]
    assert shown.count == "4 checks"
    shown.choose("COMPLIANT")
    assert shown.names == ["mailer 0000000", "web 0000000"]
    assert shown.count == "2 of 4 checks"
    shown.choose("")
    assert shown.count == "4 checks"


def test_the_search_finds_names_digests_and_attestations(opened: Any) -> None:
    shown = opened(MIXED)
    for words, found in {
        "mail": ["mailer 0000000"],
        "UNIT-tests  orders": ["orders 0000000"],
        f"{3:064x}": ["ledger 0000000"],
        "nowhere": [],
    }.items():
        shown.page.get_by_role("searchbox").fill(words)
        assert shown.names == found
        assert shown.count == f"{len(found)} of 4 checks"


def test_filter_and_search_work_together_and_by_keyboard(opened: Any) -> None:
    shown = opened(MIXED)
    shown.page.get_by_role("searchbox").fill("e")
    shown.page.get_by_role("radio", name="4 all").focus()
    shown.page.keyboard.press("ArrowRight")
    assert shown.names == ["orders 0000000"]


def test_a_few_failures_stand_open_and_the_rest_opens_on_a_click(opened: Any) -> None:
    shown = opened(MIXED)
    page = shown.page
    assert page.locator(".check details[open]").count() == 1
    assert page.get_by_role("cell", name="missing_attestation").is_visible()
    page.locator("summary", has_text="mailer").click()
    assert page.locator(".check details[open]").count() == 2


def test_the_page_runs_without_a_complaint_and_asks_for_nothing(opened: Any) -> None:
    shown = opened(MIXED)
    shown.choose("COMPLIANT")
    assert shown.complaints == []
    assert len(shown.requests) == 1


def test_hostile_names_stay_text_in_the_browser(opened: Any) -> None:
    shown = opened(hostile())
    assert shown.complaints == []
    assert len(shown.requests) == 1
    page = shown.page
    assert page.title().startswith("INCOMPLETE: ")
    assert page.locator("img, b:not(fieldset b), iframe").count() == 0
    text = page.locator("main").text_content()
    assert "<img src=x onerror=alert(1)>" in text
    assert "{{ 7*7 }}" in text
    assert page.locator(".check").count() == len(HOSTILE) * 3


def test_the_policy_stops_what_would_slip_in(opened: Any) -> None:
    shown = opened(MIXED)
    shown.page.evaluate(
        "document.body.append(Object.assign(new Image(), { src: 'https://evil.example/x' }))"
    )
    shown.page.wait_for_timeout(100)
    assert any("Content Security Policy" in complaint for complaint in shown.complaints)


def test_paper_shows_every_check_unfolded(opened: Any, tmp_path: Path) -> None:
    shown = opened(document(record_of(verdict(replayed=True)), "offline"))
    page = shown.page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator("form").is_hidden()
    assert page.get_by_text("REPLAY of cassettes").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_text_is_readable_and_fits_the_width(opened: Any, scheme: str, width: int) -> None:
    page = opened(hostile()).page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert min(page.evaluate(CONTRASTS)) >= 4.5


CONTRASTS = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).map((part) => part / 255)
      .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return light(colour);
    }
    return 1;
  };
  const all = ".badge, .stamp, .notices p, .quiet, .scope, a, h1, dt, fieldset b";
  return [...document.querySelectorAll(all)]
    .filter((element) => element.checkVisibility())
    .map((element) => [light(getComputedStyle(element).color), behind(element)])
    .map((pair) => (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05));
}"""


USED = """() => {
  const search = document.querySelector("input[type=search]");
  search.value = "app999";
  search.dispatchEvent(new Event("input", { bubbles: true }));
}"""


def test_the_page_of_a_thousand_artifacts_is_filtered(chromium: Browser, tmp_path: Path) -> None:
    outcomes = [Outcome.COMPLIANT, Outcome.NON_COMPLIANT, Outcome.ALLOW_LISTED]
    many = [verdict(outcomes[number % 3], number) for number in range(1, 1001)]
    path = tmp_path / "page.html"
    path.write_text(html(document(record_of(*many))), encoding="utf-8")
    page = chromium.new_page()
    page.goto(path.as_uri())
    page.evaluate(USED)
    page.locator("#count", has_text="1 of 1000 checks").wait_for()
    page.close()
