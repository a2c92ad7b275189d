"""The end of a run: refused first, one line an artifact, then what must be said."""

from __future__ import annotations

import json

import pytest

from pytest_kosli.model import Artifact, NoVerdict, Origin, Scope
from pytest_kosli.report import terminal
from pytest_kosli.report.facts import facts_of
from pytest_kosli.report.record import Record
from tests.conftest import Suite
from tests.sandbox import Sandbox
from tests.story import LEDGER, PAYMENTS, WEB

PROD = "import pytest\n@pytest.mark.kosli(snapshot='prod')\ndef test_it(): pass\n"


def section(result: pytest.RunResult) -> list[str]:
    lines = result.outlines
    start = next(n for n, line in enumerate(lines) if line.startswith("=") and " kosli " in line)
    end = next(
        n for n, line in enumerate(lines[start + 1 :], start + 1) if line[:2] in ("==", "9 ")
    )
    return lines[start + 1 : end]


def test_one_line_an_artifact_refused_first(each: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROD)
    lines = [line for line in section(each()) if not line.startswith("kosli:")]
    assert lines[0] == "against environment prod"
    table = lines[1:11]
    assert [line.split("  ")[0] for line in table] == (
        ["non-compliant"] * 6 + ["unknown artifact"] * 2 + ["allow-listed", "compliant"]
    )
    assert all(len(line) <= 80 for line in table)
    assert "web 0722a81" in "".join(table)
    assert lines[11].startswith("ledger d4d1d5d was allow-listed by 29f67c3c")
    assert lines[12] == (
        "  2026-06-03 02:58 UTC: INC-42: stop the double posting, scan follows by noon"
    )
    assert (
        lines[13] == "10 checks: 6 non-compliant, 2 unknown artifact, 1 allow-listed, 1 compliant"
    )


def test_a_quiet_run_has_no_table_and_a_quieter_one_nothing(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.kosli('sha256:{PAYMENTS}', environment='prod')\n"
        "def test_it(): pass\n"
    )
    quiet = alone("-q").stdout.str()
    assert "1 check: 1 compliant" in quiet
    assert "against environment" not in quiet
    assert "kosli" not in alone("-qq").stdout.str()


@pytest.mark.parametrize("how", ["mark", "ini", "flag"])
def test_the_header_stands_there_once(each: Suite, pytester: pytest.Pytester, how: str) -> None:
    if how == "ini":
        pytester.makeini("[pytest]\nkosli_require = 0\n")
    mark = "" if how == "ini" else f"@pytest.mark.kosli('sha256:{PAYMENTS}', environment='prod')"
    pytester.makepyfile(f"import pytest\n{mark}\ndef test_it(): pass\n")
    result = each(*(["--kosli-require=1"] if how == "flag" else []))
    assert result.ret == 0
    assert [line[:11] for line in result.outlines if line.startswith("kosli:")] == ["kosli: live"]


def test_a_row_without_a_verdict_says_what_went_wrong(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.kosli('web=sha256:{WEB}', environment='nowhere')\n"
        "def test_it(): pass\n"
    )
    row = "no verdict  web 0722a81  unknown_environment: Kosli answered 404: Environment n"
    assert any(line.startswith(row) for line in section(alone()))


def test_one_scope_stands_above_the_rows_only_if_it_is_that_of_all(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.kosli('sha256:{PAYMENTS}', environment='prod')\n"
        "def test_it(): pass\n"
        "def test_empty(assert_compliant): assert_compliant([])\n"
    )
    told = section(alone())
    assert not any(line.startswith("against") for line in told)
    assert "compliant   e49d561                           environment prod" in told


def test_what_is_left_out_is_named_without_its_digest(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(PROD)
    told = section(alone("--kosli-without=*agent*"))
    assert "1 artifact left out by without: datadog/agent:7.55.1" in told


def test_a_wide_terminal_cuts_less(
    alone: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.kosli('hotfix-{'x' * 20}=sha256:{LEDGER}', "
        "environment='prod')\ndef test_it(): pass\n"
    )
    monkeypatch.setenv("COLUMNS", "200")
    alone().stdout.fnmatch_lines(["allow-listed *INC-42*scan follows by noon"])
    monkeypatch.setenv("COLUMNS", "60")
    assert any(line.endswith("…") and len(line) == 60 for line in alone().outlines)


def test_a_replay_says_so_with_its_date(each: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.kosli('sha256:{PAYMENTS}', environment='prod')\n"
        "def test_it(): pass\n"
    )
    assert each("--kosli-record").ret == 0
    result = each("--kosli-offline", "-q")
    result.stdout.fnmatch_lines(["REPLAY of cassettes recorded 20* UTC: Kosli was not asked now"])


def test_a_recording_says_what_it_wrote_and_where(each: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.kosli('sha256:{PAYMENTS}', 'sha256:{LEDGER}', "
        "environment='prod')\ndef test_it(): pass\n"
    )
    folder = pytester.path / "cassettes"
    assert f"recorded 2 cassettes below {folder}" in each("--kosli-record").outlines
    assert len(list(folder.rglob("*.yaml"))) == 2


def test_a_dry_run_says_so_in_header_and_summary(each: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROD)
    result = each("--kosli-dry-run")
    result.stdout.fnmatch_lines(
        ["kosli: dry run (--kosli-dry-run), nothing is checked*", "DRY RUN: Kosli was not asked*"]
    )


def test_a_run_without_kosli_prints_nothing(each: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = each()
    assert "kosli:" not in result.stdout.str()
    result.stdout.no_fnmatch_line("=* kosli =*")


HOSTILE = "evil\x1b[2J\r\n\u202egood"


def test_checks_of_no_artifact_are_counted_by_their_tests_as_the_report_counts_them(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    empty = "def test_empty(assert_compliant): assert_compliant([])\n"
    bad = "import pytest\n@pytest.mark.kosli(nonsense=1)\ndef test_release(): pass\n"
    pytester.makepyfile(test_one=empty + bad, test_two=empty + bad)
    result = alone("--kosli-environment=prod", "--kosli-report=r.json")
    result.assert_outcomes(errors=4)
    assert "4 checks: 4 no verdict" in section(result)
    report = json.loads((pytester.path / "r.json").read_text())
    assert report["totals"]["checks"] == 4
    assert sorted(check["artifact"]["label"] for check in report["checks"]) == [
        "assert_compliant of test_one.py::test_empty",
        "assert_compliant of test_two.py::test_empty",
        "test_one.py::test_release",
        "test_two.py::test_release",
    ]


def test_checks_that_share_a_name_and_not_a_cause_are_two(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.kosli(snapshot="dr", environment="prod")
        def test_snapshot(): pass

        @pytest.mark.kosli(repo="dr", environment="prod")
        def test_repo(): pass
    """)
    result = alone("--kosli-report=r.json")
    assert "2 checks: 2 no verdict" in section(result)
    assert json.loads((pytester.path / "r.json").read_text())["totals"]["checks"] == 2


def test_hostile_names_are_escaped() -> None:
    artifact = Artifact("a" * 64, HOSTILE, Origin("snapshot"), "prod")
    error = NoVerdict("mismatch", f"about {HOSTILE}")
    fact = facts_of(HOSTILE, artifact, Scope("prod"), error, False, "call")
    record = Record()
    payload = {"checks": [fact], "flags": {}, "left_out": [HOSTILE], "file": "", "line": 0}
    for when in ("setup", "call"):
        record.hear(f"test_a.py::{HOSTILE}", when, "passed", payload, marked=False, xfailed=False)
    told = [text for text, _ in terminal.lines(record, [HOSTILE], 0, 80)]
    assert told
    for line in told:
        assert line.isprintable(), line
    assert any("but test_a.py" in line for line in told)


def test_a_hostile_environment_is_escaped_in_a_whole_run(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.mark.kosli('sha256:12\\x1b[2J', environment='prod')\n"
        "def test_it(): pass\n"
    )
    result = alone("--color=no")
    result.assert_outcomes(errors=1)
    assert "\x1b" not in result.stdout.str()
