"""pytest-html shows each check's outcome and a link to it, and no refused test is missing there."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.neighbours.conftest import Beside, needs
from tests.neighbours.suite import EVERY, OUTCOMES, PASSED, REFUSED, SUITE, UNKNOWN, name
from tests.sandbox import Sandbox
from tests.story import PAYMENTS, WEB

pytestmark = needs("pytest-html")

Row = dict[str, Any]


def rows(path: Path) -> list[Row]:
    """Return the rows of the report's table, as its script finds them."""
    found = re.search(r'data-jsonblob="(.*?)"></div>', path.read_text("utf-8"), re.DOTALL)
    assert found
    tests = json.loads(html.unescape(found[1]))["tests"]
    return [{"name": name(nodeid), **row} for nodeid, told in tests.items() for row in told]


def links(row: Row) -> str:
    cell: str = row["resultsTableRow"][-1]
    return cell


def test_outcome_and_link_stand_in_each_row(all_beside: Beside, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = all_beside("metadata html", "--html=out.html")
    result.assert_outcomes(**OUTCOMES)
    found = rows(pytester.path / "out.html")
    assert {row["name"] for row in found} == EVERY
    results = {(row["name"], row["result"]) for row in found}
    assert results == {
        *((one, "Passed") for one in PASSED | {"test_refused_in_teardown"}),
        *((one, "Failed") for one in REFUSED),
        *((one, "Error") for one in UNKNOWN),
    }
    for row in found:
        if row["name"] in REFUSED:
            assert links(row).count("<a ") == 1
            assert f"/artifacts/{WEB}?" in links(row)
            assert ">web 0722a81: non-compliant</a>" in links(row)
        if row["name"] == "test_compliant":
            assert f"/artifacts/{PAYMENTS}?" in links(row)
            assert ">payments e49d561: compliant</a>" in links(row)
        if row["name"] in UNKNOWN | {"test_plain"}:
            assert "<a " not in links(row)
        if row["result"] == "Failed":
            assert "web 0722a81 is not compliant: snyk-scan missing" in row["log"]


def test_a_dry_run_is_skipped_there_too(beside: Beside, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    beside("metadata html", "--html=out.html", "--kosli-dry-run", "-k", "test_refused and not late")
    assert {row["result"] for row in rows(pytester.path / "out.html")} == {"Skipped", "Passed"}


@needs("pytest-rerunfailures")
def test_a_rerun_shows_its_link_once_and_the_rows_of_any_rerun(
    beside: Beside, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(SUITE + "\ndef test_broken(): assert False\n")
    beside(
        "metadata html rerunfailures", "--html=out.html", "--reruns=1",
        "-k", "refused_in_call or broken",
    )  # fmt: skip
    found = rows(pytester.path / "out.html")
    refused = [row for row in found if row["name"] == "test_refused_in_call"]
    broken = [row for row in found if row["name"] == "test_broken"]
    assert [row["result"] for row in refused] == [row["result"] for row in broken]
    assert refused[-1]["result"] == "Failed"
    assert {links(row).count("<a ") for row in refused} == {1}


@pytest.mark.parametrize(
    "page",
    [
        "javascript:alert(1)",
        'https://x.example/"><script>alert(1)</script>',
        "https://a:b@x.example/",
    ],
)
def test_a_page_that_is_no_web_address_is_no_link(
    beside: Beside, online: Sandbox, pytester: pytest.Pytester, page: str
) -> None:
    online.fault("asserts/*", lie=lambda told: told.update(html_url=page))
    pytester.makepyfile(SUITE)
    beside("metadata html", "--html=out.html", "-k", "test_compliant")
    (row,) = rows(pytester.path / "out.html")
    assert row["result"] == "Passed"
    assert "<a " not in links(row)
    assert "<script>" not in links(row)


def test_a_name_is_text_and_no_markup(beside: Beside, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
        def test_it(assert_compliant):
            assert_compliant("<img src>=sha256:{PAYMENTS}", environment="prod")
    """)
    beside("metadata html", "--html=out.html")
    (row,) = rows(pytester.path / "out.html")
    assert "<img" not in links(row)
    assert "&lt;img" in links(row)
