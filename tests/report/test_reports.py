"""Reports of whole runs: written by one process, before and after everything that can go wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TOKEN, Suite
from tests.report.test_evidence import validate
from tests.sandbox import Sandbox
from tests.story import CRON, LEDGER, MAILER, PAYMENTS, WEB

ROOT = Path(__file__).parent.parent.parent
PASSING = f"""
    import pytest

    @pytest.mark.kosli("payments=sha256:{PAYMENTS}", environment="prod")
    def test_payments():
        pass
"""
BLOCKED = f"""
    import pytest

    @pytest.mark.kosli("web=sha256:{WEB}", environment="prod")
    def test_web():
        pass
"""
REPORTS = [f"--kosli-report=out/release.{suffix}" for suffix in ("json", "md", "html")]


def read(path: Path) -> Any:
    data = json.loads(path.read_text("utf-8"))
    validate(data)
    return data


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# What is in them.


def test_a_missing_folder_is_made_and_every_report_is_written(
    each: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(PASSING)
    assert each(*REPORTS).ret == 0
    folder = pytester.path / "out"
    assert names(folder) == ["release.html", "release.json", "release.md"]
    data = read(folder / "release.json")
    assert (data["mode"], data["complete"], data["problems"]) == ("live", True, [])
    assert (data["run"]["exit_code"], data["run"]["org"]) == (0, "acme")
    (check,) = data["checks"]
    assert check["answer"]["status"] == 200
    assert check["answer"]["sha256"]
    assert [test["outcome"] for test in check["tests"]] == ["passed"]
    assert data["tests"] == {"selected": 1, "ended": 1, "deselected": [], "unchecked": []}
    assert "1 of 1 check compliant" in (folder / "release.html").read_text("utf-8")
    assert "1 check, 1 compliant" in (folder / "release.md").read_text("utf-8")


def test_the_exit_code_is_the_same_with_and_without_reports(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(BLOCKED)
    assert alone(*REPORTS).ret == alone().ret == 1
    data = read(pytester.path / "out" / "release.json")
    assert (data["run"]["exit_code"], data["complete"]) == (1, True)
    assert data["checks"][0]["reasons"][0]["code"] == "missing_attestation"


def test_an_ini_file_may_name_reports_beside_it(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PASSING)
    pytester.makeini("[pytest]\nkosli_report = reports/a.json\n  b.md")
    (pytester.path / "elsewhere").mkdir()
    os.chdir(pytester.path / "elsewhere")
    assert alone("..", "-c", "../tox.ini").ret == 0
    assert read(pytester.path / "reports" / "a.json")["complete"]
    assert (pytester.path / "b.md").exists()


def test_what_is_skipped_deselected_or_left_out_is_listed(
    each: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        PASSING
        + f"""
    @pytest.mark.skip
    @pytest.mark.kosli(snapshot="staging")
    def test_skipped():
        pass

    @pytest.mark.kosli(snapshot="staging", without="*mailer*")
    def test_staging():
        pass

    @pytest.mark.kosli("sha256:{WEB}", environment="prod")
    def test_other():
        pass
    """
    )
    each("--kosli-report=a.json", "-k", "not other")
    data = read(pytester.path / "a.json")
    assert data["complete"]
    assert [name.partition("[")[0] for name in data["tests"]["deselected"]] == [
        f"{Path(str(data['checks'][0]['tests'][0]['file']))}::test_other"
    ]
    unchecked = data["tests"]["unchecked"]
    assert {test["outcome"] for test in unchecked} == {"skipped"}
    assert all("test_skipped" in test["id"] for test in unchecked)
    assert any("mailer" in name for name in data["left_out"])


def test_a_replay_and_a_dry_run_are_told_apart_from_live(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(PASSING)
    alone("--kosli-record", "--kosli-report=a.json")
    assert read(pytester.path / "a.json")["mode"] == "record"
    alone("--kosli-offline", "--kosli-report=a.json")
    data = read(pytester.path / "a.json")
    assert (data["mode"], data["checks"][0]["answer"]["replayed"]) == ("offline", True)
    alone("--kosli-dry-run", "--kosli-report=a.json")
    data = read(pytester.path / "a.json")
    assert (data["mode"], data["totals"]["not_checked"]) == ("dry-run", 1)


def test_settings_and_their_origins_are_told_but_no_secret(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(PASSING)
    alone("--kosli-report=a.json", "--kosli-timeout=7")
    settings = {one["name"]: one for one in read(pytester.path / "a.json")["run"]["settings"]}
    assert settings["api_token"] == {
        "name": "api_token",
        "value": "set",
        "origin": "KOSLI_API_TOKEN",
    }
    assert (settings["timeout"]["value"], settings["timeout"]["origin"]) == (
        "7s",
        "--kosli-timeout",
    )
    assert settings["org"]["origin"] == "KOSLI_ORG"


def test_a_server_that_repeats_the_token_does_not_bring_it_into_a_report(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(PASSING)
    online.fault("asserts/*", status=400, body={"message": f"what is {TOKEN}?"})
    result = alone(*REPORTS, "--junit-xml=out/release.xml", "-vv")
    written = [path.read_text("utf-8") for path in (pytester.path / "out").iterdir()]
    assert len(written) == 4
    for text in (*written, result.stdout.str()):
        assert "what is ***?" in text
        assert TOKEN not in text


# When something goes wrong.


ENDS = {
    "ctrl-c": ("raise KeyboardInterrupt", "the run was interrupted"),
    "exit": ("pytest.exit('enough')", "the run was interrupted"),
}


@pytest.mark.parametrize(("body", "why"), ENDS.values(), ids=ENDS)
def test_an_interrupted_run_is_written_and_marked_incomplete(
    alone: Suite, pytester: pytest.Pytester, body: str, why: str
) -> None:
    pytester.makepyfile(PASSING + f"\n    def test_stop():\n        {body}\n")
    result = pytester.runpytest_subprocess(*alone.arguments, "--kosli-report=a.json")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    data = read(pytester.path / "a.json")
    assert not data["complete"]
    assert data["incomplete"][0] == why
    assert data["totals"]["compliant"] == 1, "what was learned before is kept"


def test_a_run_that_stops_at_its_first_failure_is_incomplete(
    each: Suite, pytester: pytest.Pytester
) -> None:
    more = "".join(f"\n    def test_{number}():\n        pass\n" for number in range(50))
    pytester.makepyfile(BLOCKED + more)
    assert each("-x", "--kosli-report=a.json").ret != 0
    data = read(pytester.path / "a.json")
    assert not data["complete"]
    assert "51 tests did not run to the end" in data["incomplete"][-1]


def test_a_killed_run_leaves_a_report_that_says_so(alone: Suite, pytester: pytest.Pytester) -> None:
    (pytester.path / "a.json").write_text("yesterday's evidence")
    kill = "\n    def test_kill():\n        import os; os._exit(9)\n"
    pytester.makepyfile(PASSING + kill)
    pytester.runpytest_subprocess(*alone.arguments, "--kosli-report=a.json")
    data = read(pytester.path / "a.json")
    assert data["incomplete"] == ["the run has not ended"]
    assert data["checks"] == []


def test_a_crashed_worker_makes_the_evidence_incomplete(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    kill = "\n    def test_kill():\n        import os; os._exit(9)\n"
    pytester.makepyfile(PASSING + kill)
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n2", "--kosli-report=a.json")
    assert read(pytester.path / "a.json")["incomplete"] == ["1 of 2 tests did not run to the end"]


def test_a_file_that_can_not_be_collected_makes_the_evidence_incomplete(
    each: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(PASSING)
    pytester.makepyfile(test_broken="import nothing_of_this_name")
    each("--continue-on-collection-errors", "--kosli-report=a.json")
    assert "1 file or folder could not be collected" in read(pytester.path / "a.json")["incomplete"]


def test_an_internal_error_makes_the_evidence_incomplete(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(PASSING)
    pytester.makeconftest(
        "import pytest\n"
        "@pytest.hookimpl(trylast=True)\n"
        "def pytest_runtest_teardown(item): ...\n"
        "def pytest_runtest_logfinish(nodeid): raise ValueError('boom')\n"
    )
    result = pytester.runpytest_subprocess(*alone.arguments, "--kosli-report=a.json")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    assert "pytest had an internal error" in read(pytester.path / "a.json")["incomplete"]


def test_a_usage_error_after_collection_is_told_in_the_report(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(PASSING.replace(', environment="prod"', ""))
    assert alone("--kosli-report=a.json").ret == pytest.ExitCode.USAGE_ERROR
    assert read(pytester.path / "a.json")["incomplete"][0].startswith("usage error: ")


def test_only_collecting_writes_nothing(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PASSING)
    alone("--collect-only", *REPORTS)
    assert not (pytester.path / "out").exists()


# Destinations that can not be meant.


BAD = {
    "unknown suffix": (["--kosli-report=release.pdf"], "'release.pdf' is neither the word github"),
    "no suffix": (["--kosli-report=release"], "neither the word github nor a file that ends in"),
    "twice": (["--kosli-report=a.json", "--kosli-report=a.json"], "one value is given twice"),
    "twice, spelt apart": (
        ["--kosli-report=a.json", "--kosli-report=out/../a.json"],
        "out/../a.json is named twice",
    ),
    "a folder": (["--kosli-report=folder.json"], "folder.json is a folder"),
    "below a file": (["--kosli-report=file/a.json"], "file/a.json can not be written: "),
    "github elsewhere": (["--kosli-report=github"], "GITHUB_STEP_SUMMARY is not set"),
    "empty": (["--kosli-report="], "a value is empty"),
}


@pytest.mark.parametrize(("arguments", "told"), BAD.values(), ids=BAD)
def test_a_bad_destination_is_a_usage_error_before_any_request(
    each: Suite, online: Sandbox, pytester: pytest.Pytester, arguments: list[str], told: str
) -> None:
    (pytester.path / "folder.json").mkdir()
    (pytester.path / "file").touch()
    pytester.makepyfile(
        PASSING + '\n    @pytest.mark.kosli(snapshot="prod")\n    def test_b(): ...'
    )
    result = pytester.runpytest_subprocess(*each.arguments, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--kosli-report: *{told}*".replace("[", "[[]")])
    assert online.requests == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ours_is_a_usage_error(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(PASSING)
    (pytester.path / "out").mkdir(mode=0o500)
    assert alone(*REPORTS).ret == pytest.ExitCode.USAGE_ERROR


def test_pages_without_jinja_are_a_usage_error_that_says_what_to_install(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(PASSING)
    pytester.makeconftest("import sys; sys.modules['jinja2'] = None")
    result = pytester.runpytest_subprocess(*alone.arguments, "--kosli-report=a.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pip install 'pytest-kosli[[]html]'*"])


@pytest.mark.parametrize("marked", [PASSING, BLOCKED], ids=["green", "red"])
def test_a_report_that_can_not_be_written_at_the_end_fails_the_run_and_the_others_are_there(
    each: Suite, pytester: pytest.Pytester, marked: str
) -> None:
    spoil = """
    def test_spoil():
        import pathlib
        path = pathlib.Path("out/release.md")
        path.unlink()
        (path / "in the way").mkdir(parents=True)
    """
    pytester.makepyfile(marked + spoil)
    result = each(*REPORTS)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["the report out/release.md is missing: *"])
    assert read(pytester.path / "out" / "release.json")["complete"]
    assert "checks" in (pytester.path / "out" / "release.html").read_text("utf-8")
    assert len(names(pytester.path / "out")) == 3, "no draft is left behind"


def test_a_renderer_that_breaks_fails_the_run_and_the_others_are_there(
    alone: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        PASSING
        + """
    def test_spoil():
        import jinja2
        jinja2.Environment.get_template = None
    """
    )
    result = pytester.runpytest_subprocess(*alone.arguments, *REPORTS)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["the report out/release.html is missing: TypeError: *"])
    assert read(pytester.path / "out" / "release.json")["complete"]
    page = (pytester.path / "out" / "release.html").read_text("utf-8")
    assert "INCOMPLETE: the run has not ended" in page


# GitHub.


def test_a_github_job_gets_a_summary_and_annotations(
    each: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = pytester.path / "summary.md"
    summary.write_text("what another step said")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path.parent))
    pytester.makepyfile(test_it=BLOCKED)
    result = each("--kosli-report=github", "-q")
    text = summary.read_text("utf-8")
    assert text.startswith("what another step said\n\n## Kosli: 1 check, 1 non-compliant\n")
    folder = pytester.path.name
    result.stdout.fnmatch_lines(
        [f"::error file={folder}/test_it.py,line=3,title=web 0722a81%3A non-compliant::*"]
    )


JOBS = {
    "github": (
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "acme/web",
            "GITHUB_RUN_ID": "7",
            "GITHUB_RUN_ATTEMPT": "2",
            "GITHUB_SHA": "abc",
        },
        ("GitHub Actions", "https://github.com/acme/web/actions/runs/7/attempts/2", "abc"),
    ),
    "gitlab": (
        {"GITLAB_CI": "true", "CI_JOB_URL": "https://gitlab.example/j/1", "CI_COMMIT_SHA": "abc"},
        ("GitLab CI", "https://gitlab.example/j/1", "abc"),
    ),
    "jenkins": (
        {"JENKINS_URL": "https://ci.example/", "BUILD_URL": "https://ci.example/job/1/"},
        ("Jenkins", "https://ci.example/job/1/", ""),
    ),
    "azure": (
        {
            "TF_BUILD": "True",
            "SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/",
            "SYSTEM_TEAMPROJECT": "The Shop",
            "BUILD_BUILDID": "9",
            "BUILD_SOURCEVERSION": "abc",
        },
        (
            "Azure Pipelines",
            "https://dev.azure.com/acme/The%20Shop/_build/results?buildId=9",
            "abc",
        ),
    ),
    "a link that is none": (
        {"GITLAB_CI": "true", "CI_JOB_URL": "javascript:alert(1)"},
        ("GitLab CI", "", ""),
    ),
    "a link with a password": (
        {"GITLAB_CI": "true", "CI_JOB_URL": "https://me:secret@gitlab.example/"},
        ("GitLab CI", "", ""),
    ),
}


@pytest.mark.parametrize(("variables", "told"), JOBS.values(), ids=JOBS)
def test_the_job_of_a_ci_service_is_named_and_linked(
    alone: Suite,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    told: tuple[str, str, str],
) -> None:
    for sign in ("GITLAB_CI", "JENKINS_URL", "TF_BUILD"):
        monkeypatch.delenv(sign, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    pytester.makepyfile(PASSING)
    alone("--kosli-report=a.json")
    job = read(pytester.path / "a.json")["run"]["ci"]
    assert (job["name"], job["url"], job["commit"]) == told


# JUnit.


def cases(path: Path) -> dict[str, tuple[dict[str, str], list[str]]]:
    """Return by test its properties and the elements that say how it ended."""
    found = {}
    for case in ET.parse(path).iter("testcase"):
        properties = {one.get("name", ""): one.get("value", "") for one in case.iter("property")}
        ended = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[case.get("name", "").partition("[")[0]] = (properties, ended)
    return found


def test_junit_has_the_properties_of_every_kind_of_test(
    each: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        PASSING
        + f"""
    @pytest.mark.kosli("web=sha256:{WEB}", environment="prod")
    def test_refused():
        pass

    @pytest.mark.kosli("payments=sha256:{PAYMENTS}", environment="nope")
    def test_error():
        pass

    @pytest.mark.skip
    @pytest.mark.kosli("payments=sha256:{PAYMENTS}", environment="prod")
    def test_skipped():
        pass

    @pytest.mark.kosli("ledger=sha256:{LEDGER}", environment="prod")
    def test_listed(request):
        request.node.user_properties.append(("mine", "kept"))

    def test_several(assert_compliant):
        names = ["sha256:{MAILER}", "sha256:{CRON}"]
        assert_compliant(names, environment="staging")

    def test_plain():
        pass
    """
    )
    each("--junit-xml=out.xml")
    found = cases(pytester.path / "out.xml")
    outcomes = {name: (one.get("kosli.outcome"), ended) for name, (one, ended) in found.items()}
    assert outcomes == {
        "test_payments": ("COMPLIANT", []),
        "test_refused": ("NON_COMPLIANT", ["failure"]),
        "test_error": ("NO_VERDICT", ["error"]),
        "test_skipped": ("NOT_CHECKED", ["skipped"]),
        "test_listed": ("ALLOW_LISTED", []),
        "test_several": ("UNKNOWN_ARTIFACT", ["failure"]),
        "test_plain": (None, []),
    }
    refused = found["test_refused"][0]
    assert (refused["kosli.artifact"], refused["kosli.fingerprint"]) == ("web", WEB)
    assert (refused["kosli.scope"], refused["kosli.mode"]) == ("environment prod", "live")
    assert refused["kosli.url"].startswith("https://")
    assert "INC-42" in found["test_listed"][0]["kosli.allow_listed"]
    assert found["test_listed"][0]["mine"] == "kept"
    several = json.loads(found["test_several"][0]["kosli.checks"])
    assert [one["outcome"] for one in several] == ["UNKNOWN_ARTIFACT", "COMPLIANT"]
    assert found["test_plain"] == ({}, [])


def test_the_first_line_of_a_junit_message_is_the_verdict(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(BLOCKED)
    alone("--junit-xml=out.xml")
    (failure,) = ET.parse(pytester.path / "out.xml").iter("failure")
    first = (failure.get("message") or "").splitlines()[0]
    assert first == "web 0722a81 is not compliant: snyk-scan missing"


# The examples.


def example(name: str, folder: Path, *arguments: str) -> Path:
    reports = [f"--kosli-report={folder / name}.{suffix}" for suffix in ("json", "md", "html")]
    command = [sys.executable, "-m", "pytest", f"examples/{name}", "-q", "-p", "no:cacheprovider"]
    command += ["--kosli-offline", f"--junit-xml={folder / name}.xml", *reports, *arguments]
    subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False)
    return folder


TIMES = ("started_at", "ended_at", "received_at")


def steady(value: Any) -> Any:
    """Return evidence without what differs between two runs of the same tests."""
    if isinstance(value, dict):
        return {
            key: steady(item)
            for key, item in value.items()
            if key not in (*TIMES, "versions", "settings")
        }
    return [steady(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module", params=["release", "blocked"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An example's reports, of one process and of two workers."""
    name: str = request.param
    one = example(name, tmp_path_factory.mktemp("one"), "-p", "no:xdist")
    two = example(name, tmp_path_factory.mktemp("two"), "-n2")
    return name, one, two


def test_the_evidence_of_the_examples_is_valid_and_does_not_depend_on_workers(both: Any) -> None:
    name, one, two = both
    data = read(one / f"{name}.json")
    assert steady(data) == steady(read(two / f"{name}.json"))
    assert data["complete"]
    assert data["mode"] == "offline"


def test_every_report_of_an_example_tells_the_same_facts(both: Any) -> None:
    name, *folders = both
    for folder in folders:
        data = read(folder / f"{name}.json")
        junit = [
            json.loads(properties["kosli.checks"])
            for case in ET.parse(folder / f"{name}.xml").iter("testcase")
            if (
                properties := {
                    one.get("name"): one.get("value", "") for one in case.iter("property")
                }
            )
        ]
        told = {(one.get("fingerprint", ""), one["outcome"]) for each in junit for one in each}
        checks = data["checks"]
        assert told == {(one["artifact"]["fingerprint"] or "", one["outcome"]) for one in checks}
        for suffix in ("md", "html"):
            text = (folder / f"{name}.{suffix}").read_text("utf-8")
            assert text.count("<details") >= len(checks)
            assert "REPLAY of cassettes recorded" in text
            for check in checks:
                assert check["artifact"]["label"] in text
                assert (check["artifact"]["fingerprint"] or "") in text
                assert all(reason["code"] in text for reason in check["reasons"])
