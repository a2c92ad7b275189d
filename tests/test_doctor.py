"""``pytest --kosli-doctor``: each broken set-up has the line that names it, and is never ok."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_kosli import doctor
from pytest_kosli.answers import Environment
from pytest_kosli.doctor import findings
from pytest_kosli.doctor.line import Line, NotLookedAt, State
from pytest_kosli.model import NoVerdict, Reply
from tests.conftest import NEIGHBOURS, TOKEN
from tests.report.test_reports import BAD as BAD_REPORTS
from tests.sandbox import Sandbox
from tests.story import PAYMENTS, WEB
from tests.test_secrets import CANARY, PASSWORD, forms

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
COLUMNS = 100
DEAD_PROXY = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Told:
    """What one run of the doctor printed: its exit status, and each line by what it is about."""

    ret: int
    text: str
    lines: dict[str, tuple[str, str]]

    def state(self, about: str) -> str:
        return self.lines[about][0]

    def said(self, about: str) -> str:
        return self.lines[about][1]

    def to_mend(self) -> list[str]:
        return [about for about, (state, _) in self.lines.items() if state == State.MEND.value]


def read(result: pytest.RunResult) -> Told:
    lines: dict[str, tuple[str, str]] = {}
    about = ""
    printed = result.outlines
    states = "|".join(state.value for state in State)
    for text in printed:
        if found := re.match(rf"({states}) +(\S+(?: \S+)*) {{2,}}(.*)", text):
            about = found[2]
            assert about not in lines, f"{about} is told twice"
            lines[about] = (found[1], found[3])
        elif text.startswith(" "):
            lines[about] = (lines[about][0], f"{lines[about][1]} {text.strip()}")
    return Told(int(result.ret), "\n".join(printed), lines)


class Visit:
    """Runs the doctor in the folder that pytester holds."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester = pytester
        self.setenv = monkeypatch.setenv
        self.delenv = monkeypatch.delenv
        self.arguments = (*NEIGHBOURS, "-p", "no:cacheprovider")

    def __call__(self, *arguments: str) -> Told:
        result = self.pytester.runpytest_inprocess(*self.arguments, "--kosli-doctor", *arguments)
        assert "Traceback" not in result.stdout.str() + result.stderr.str()
        return read(result)


@pytest.fixture
def visit(pytester: pytest.Pytester, online: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Visit:
    """The doctor, in a job that is set up well; the sandbox has a clock, as Kosli has."""
    return Visit(pytester, monkeypatch)


def date(sandbox: Sandbox, *, ahead: timedelta = timedelta()) -> None:
    """Let the replies that the clock is read from carry a Date."""
    said = {"Date": format_datetime(datetime.now(UTC) + ahead, usegmt=True)}
    sandbox.fault("/ready", headers=said)
    sandbox.fault("environments/acme", headers=said)


# Broken set-ups.


@dataclass(frozen=True)
class Broken:
    """A set-up with one thing wrong, and the line that has to say so."""

    about: str
    says: str
    code: str
    arguments: tuple[str, ...] = ()
    environ: Mapping[str, str | None] = field(default_factory=dict)
    fault: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    ini: str = ""
    stops: tuple[str, ...] = ()


def lie(**changes: object) -> Callable[[dict[str, Any]], None]:
    def change(answer: dict[str, Any]) -> None:
        answer.update(changes)

    return change


PROD = ("--kosli-environment=prod",)
PINNED = f"payments=sha256:{PAYMENTS}"
SNAPSHOT = ("--kosli-snapshot=prod",)
HTTPS = {"KOSLI_HOST": "https://localhost:9"}
ASKED = ("connection", "token", "organisation", "clock", "environment prod", "policies of prod")
OFFLINE = ("--kosli-offline", "--kosli-cassettes=taped")
PAGE = "<html><head><title>Log in</title></head></html>"

BROKEN = {
    "no token": Broken(
        "api_token",
        "there is no API token for Kosli",
        "no-token",
        PROD,
        {"KOSLI_API_TOKEN": None},
        stops=ASKED[1:3] + ASKED[4:],
    ),
    "a wrong token": Broken(
        "token",
        "Kosli answered 401: Invalid API key Set KOSLI_API_TOKEN",
        "unauthorized",
        PROD,
        {"KOSLI_API_TOKEN": "of-somebody-else"},
        stops=("organisation", *ASKED[4:]),
    ),
    "an encrypted token": Broken(
        "api_token",
        "looks encrypted by the Kosli CLI",
        "usage-error",
        PROD,
        {"KOSLI_API_TOKEN": None},
        files={
            ".kosli.yml": "api-token: xcbHyMnKy8zNzs/Q0dLT1NXW19jZ2tvc3d7f4OHi4+Tl5ufo6err7O3u\n"
        },
        stops=ASKED[1:3] + ASKED[4:],
    ),
    "a token without rights": Broken(
        "organisation",
        "Kosli answered 403: You don't have permission",
        "forbidden",
        PROD,
        fault={
            "path": "environments/acme",
            "status": 403,
            "body": {"message": "You don't have permission to access this resource"},
        },
        stops=ASKED[4:],
    ),
    "an organisation of somebody else": Broken(
        "organisation",
        "organisation acne: Kosli answered 403: Access denied",
        "forbidden",
        ("--kosli-org=acne", *PROD),
        stops=ASKED[4:],
    ),
    "an unknown organisation": Broken(
        "organisation",
        "Kosli answered 404: Organization 'acme' does not exist Check the organisation's name",
        "not-found",
        PROD,
        fault={
            "path": "environments/acme",
            "status": 404,
            "body": {"message": "Organization 'acme' does not exist"},
        },
        stops=ASKED[4:],
    ),
    "no organisation": Broken(
        "org",
        "no organisation is named: set --kosli-org",
        "usage-error",
        PROD,
        {"KOSLI_ORG": None},
        stops=ASKED[1:3] + ASKED[4:],
    ),
    "an organisation that is answered for another": Broken(
        "organisation",
        "it is about other",
        "malformed",
        PROD,
        fault={"path": "environments/acme", "body": [{"org": "other", "name": "prod"}]},
        stops=ASKED[4:],
    ),
    "an organisation without a list": Broken(
        "organisation",
        "it is no list of environments",
        "malformed",
        PROD,
        fault={"path": "environments/acme", "body": {"compliant": True}},
        stops=ASKED[4:],
    ),
    "an unknown environment": Broken(
        "environment prd",
        "Environment named 'prd' does not exist",
        "unknown-environment",
        ("--kosli-snapshot=prd",),
        stops=("policies of prd", "reports of prd", "snapshot prd"),
    ),
    "an environment that is answered for another": Broken(
        "environment prod",
        "Kosli answered about environment staging",
        "mismatch",
        PROD,
        fault={"path": "environments/acme/prod", "lie": lie(name="staging")},
        stops=("policies of prod", "reports of prod"),
    ),
    "an environment without policies": Broken(
        "policies of prod",
        "has no policy attached: nothing would be checked Attach a policy",
        "no-policies",
        PROD,
        fault={"path": "environments/acme/prod", "lie": lie(policies=[])},
    ),
    "an environment that was never reported": Broken(
        "reports of dr",
        "nothing was ever reported to it Look at its reporter",
        "empty-environment",
        ("--kosli-environment=dr",),
    ),
    "an environment that was reported long ago": Broken(
        "reports of prod",
        "was last reported at 2026-06-04 10:00 UTC: not within the last 1d",
        "stale-snapshot",
        PROD,
        fault={"path": "environments/acme/prod", "lie": lie(last_reported_at=1780567200.0)},
    ),
    "an environment that was reported longer ago than allowed": Broken(
        "reports of staging",
        "not within the last 90s",
        "stale-snapshot",
        ("--kosli-environment=staging", "--kosli-max-snapshot-age=90"),
    ),
    "a snapshot that there is not": Broken(
        "snapshot prod#99",
        "resolves to 'prod#99'",
        "unknown-snapshot",
        ("--kosli-snapshot=prod#99",),
    ),
    "a snapshot that is none": Broken(
        "snapshot prod##",
        "is no snapshot expression",
        "bad-name",
        ("--kosli-snapshot=prod##",),
    ),
    "an unknown repository": Broken(
        "repo acme/nothing", "Repo not found", "unknown-repo", ("--kosli-repo=acme/nothing",)
    ),
    "a host that refuses connections": Broken(
        "connection",
        "http://127.0.0.1:9 can not be reached: Connection refused",
        "unreachable",
        PROD,
        {"KOSLI_HOST": "http://127.0.0.1:9"},
        stops=ASKED[1:],
    ),
    "a host that hangs": Broken(
        "connection",
        "reply within 0.3 s Try again",
        "timeout",
        ("--kosli-timeout=0.3", *PROD),
        fault={"path": "/ready", "delay": 5.0},
        stops=ASKED[1:],
    ),
    "a host that answers with a page": Broken(
        "connection",
        "it says an HTML page (Log in), not OK",
        "malformed",
        PROD,
        fault={"path": "/ready", "body": PAGE, "content_type": "text/html"},
        stops=ASKED[1:],
    ),
    "a host that is not Kosli's": Broken(
        "connection",
        "Kosli answered 404: Not Found Check the host: this is not how Kosli's API answers",
        "not-found",
        PROD,
        fault={"path": "/ready", "status": 404},
        stops=ASKED[1:],
    ),
    "a host that sends elsewhere": Broken(
        "connection",
        "Kosli answered 302",
        "redirected",
        PROD,
        fault={"path": "/ready", "status": 302, "headers": {"Location": "https://a.example/"}},
        stops=ASKED[1:],
    ),
    "Kosli is down": Broken(
        "connection",
        "Kosli answered 503: Service Unavailable Look at Kosli's status page",
        "server-error",
        PROD,
        fault={"path": "/ready", "status": 503},
        stops=ASKED[1:],
    ),
    "Kosli answers with a page behind the door": Broken(
        "organisation",
        "the content type is text/html, not JSON",
        "malformed",
        PROD,
        fault={"path": "environments/acme", "body": PAGE, "content_type": "text/html"},
        stops=ASKED[4:],
    ),
    "a host on http that is not loopback": Broken(
        "host",
        "KOSLI_HOST: the host 'http://kosli.example' must begin with https://",
        "usage-error",
        PROD,
        {"KOSLI_HOST": "http://kosli.example"},
        stops=ASKED,
    ),
    "a host of the repository": Broken(
        "host",
        "tox.ini: addopts: --kosli-host is refused there",
        "usage-error",
        PROD,
        {"KOSLI_HOST": None},
        ini="addopts = --kosli-host=https://evil.example",
        stops=ASKED,
    ),
    "a doctor in the repository": Broken(
        "doctor",
        "tox.ini: addopts: --kosli-doctor is refused there",
        "usage-error",
        PROD,
        ini="addopts = --kosli-doctor",
    ),
    "a token for a host of the file": Broken(
        "host",
        "is not a region of Kosli's, so the token of KOSLI_API_TOKEN is not sent there",
        "usage-error",
        PROD,
        {"KOSLI_HOST": None},
        files={".kosli.yml": "host: https://kosli.corp.example\n"},
        stops=ASKED,
    ),
    "a proxy that is not there": Broken(
        "connection",
        "https://localhost:9 through the proxy 127.0.0.1:9 can not be reached",
        "unreachable",
        PROD,
        HTTPS | {"KOSLI_HTTP_PROXY": DEAD_PROXY},
        stops=ASKED[1:],
    ),
    "a proxy that is none": Broken(
        "http_proxy",
        "KOSLI_HTTP_PROXY: the proxy must begin with http://",
        "usage-error",
        PROD,
        HTTPS | {"KOSLI_HTTP_PROXY": "ftp://proxy.example"},
        stops=("proxy", *ASKED),
    ),
    "a proxy of the system that is none": Broken(
        "proxy",
        "the proxy must not have a path",
        "bad-proxy",
        PROD,
        {"KOSLI_HOST": "https://kosli.example", "HTTPS_PROXY": "http://proxy.example/path"},
        stops=ASKED,
    ),
    "a CA bundle that is not there": Broken(
        "certificates",
        "the CA bundle none.pem can not be used: No such file or directory"
        " Correct REQUESTS_CA_BUNDLE.",
        "tls",
        PROD,
        HTTPS | {"REQUESTS_CA_BUNDLE": "none.pem"},
        stops=ASKED,
    ),
    "a clock that is wrong": Broken(
        "clock",
        "the clock of this machine is 3 hours behind Kosli's",
        "clock-skew",
        PROD,
        fault={"ahead": timedelta(hours=3, minutes=1)},
    ),
    "two scopes at one place": Broken(
        "environment, policy",
        "--kosli-environment and --kosli-policy: ",
        "usage-error",
        (*PROD, "--kosli-policy=provenance"),
        stops=("environments",),
    ),
    "an empty environment variable": Broken(
        "environment",
        "KOSLI_ENVIRONMENT: is set and empty",
        "usage-error",
        SNAPSHOT,
        {"KOSLI_ENVIRONMENT": ""},
    ),
    "a boolean that is none": Broken(
        "dry_run",
        "KOSLI_DRY_RUN: 'maybe' is not a boolean",
        "usage-error",
        PROD,
        {"KOSLI_DRY_RUN": "maybe"},
        stops=("mode", *ASKED),
    ),
    "offline and record": Broken(
        "offline, record",
        "--kosli-offline and --kosli-record: give one of the two",
        "usage-error",
        ("--kosli-offline", "--kosli-record", *PROD),
        stops=("mode", "recordings", *ASKED),
    ),
    "a configuration file that can not be read": Broken(
        "config file",
        "~/.kosli.yml: can not be parsed (line 1)",
        "usage-error",
        PROD,
        {"KOSLI_ORG": None},
        files={".kosli.yml": "org: [acme"},
        stops=ASKED[1:3] + ASKED[4:],
    ),
    "a configuration file that is not there": Broken(
        "config file",
        "KOSLI_CONFIG_FILE: there is no file nope.yml",
        "usage-error",
        PROD,
        {"KOSLI_CONFIG_FILE": "nope.yml"},
    ),
    "an artifact that is not there": Broken(
        "artifact file:nope",
        "nope does not exist",
        "no-such-path",
        ("--kosli-artifact=file:nope", *PROD),
    ),
    "an artifact that is none": Broken(
        "artifact flie:nope",
        "is neither a digest nor a path that exists",
        "bad-reference",
        ("--kosli-artifact=flie:nope", *PROD),
    ),
    "a manifest that is not there": Broken(
        "manifest nope.yaml",
        "the manifest nope.yaml can not be read: No such file or directory",
        "manifest-unreadable",
        ("--kosli-manifest=nope.yaml", *PROD),
    ),
    "a manifest that is not rendered, and an image that has to be looked up": Broken(
        "manifest deploy.yaml",
        "the image is a template that nobody has filled in",
        "manifest-not-rendered",
        ("--kosli-manifest=deploy.yaml", *PROD),
        files={"deploy.yaml": "services: {web: {image: 'acme/web:{{ tag }}'}, b: {image: 'b:1'}}"},
    ),
    "an image without the digest that is required": Broken(
        "manifest images.txt",
        "acme/web:2 has no digest",
        "digest-required",
        ("--kosli-manifest=images.txt", "--kosli-require-digests", *PROD),
        files={"images.txt": "acme/web:2\n"},
    ),
    "nothing in the manifest that is not left out": Broken(
        "manifest images.txt",
        "gave 0 artifacts, and 1 more left out by without",
        "no-artifacts",
        ("--kosli-manifest=images.txt", "--kosli-without=acme/*", *PROD),
        files={"images.txt": "acme/web:2\n"},
    ),
    "no scope for the gate": Broken(
        "scope",
        "nothing says what artifacts are to be judged against; name --kosli-environment",
        "usage-error",
        ("--pyargs", "pytest_kosli.gate", f"--kosli-artifact={PINNED}"),
    ),
    "a dry run that has to be live": Broken(
        "require",
        "--kosli-require: 3 is never reached: no verdict of a dry run is live",
        "usage-error",
        ("--kosli-dry-run", "--kosli-require=3"),
        stops=("connection",),
    ),
    "no cassettes": Broken(
        "recordings",
        "there are no cassettes of acme in",
        "cassette-missing",
        (*OFFLINE, *SNAPSHOT),
        stops=("snapshot prod",),
    ),
}


def arrange(broken: Broken, visit: Visit, sandbox: Sandbox) -> None:
    for name, value in broken.environ.items():
        if value is None:
            visit.delenv(name)
        else:
            visit.setenv(name, value)
    for name, text in broken.files.items():
        file = visit.pytester.path / name
        file.write_text(text, "utf-8")
        file.chmod(0o600)
    visit.setenv("HOME", str(visit.pytester.path))
    visit.pytester.makeini(f"[pytest]\n{broken.ini}\n")
    if "path" in broken.fault:
        sandbox.fault(**broken.fault)
    date(sandbox, ahead=broken.fault.get("ahead", timedelta()))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_set_up_is_named(visit: Visit, online: Sandbox, name: str) -> None:
    broken = BROKEN[name]
    arrange(broken, visit, online)
    told = visit(*broken.arguments)
    assert told.ret == pytest.ExitCode.USAGE_ERROR
    assert told.to_mend() == [broken.about], told.text
    assert broken.says in told.said(broken.about)
    assert told.said(broken.about).endswith(f"/errors/#{broken.code}")
    for about in broken.stops:
        assert told.state(about) == State.UNSEEN.value, about
    assert online.requests == [] or "connection" not in broken.stops
    assert told.state("versions") == told.state("config file") or "config" in broken.about
    assert all(len(line) <= COLUMNS for line in told.text.splitlines())
    assert "1 to mend" in told.text.splitlines()[-1]


def test_what_stops_a_line_is_said_there(visit: Visit) -> None:
    visit.delenv("KOSLI_API_TOKEN")
    told = visit(*PROD)
    assert told.said("token") == told.said("environment prod") == "no token (api_token)"


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions")
@pytest.mark.parametrize(
    ("mode", "text", "what"),
    [
        (0o644, f"api-token: {TOKEN}", "read the secret in it"),
        (0o640, "http-proxy: http://me:secret@proxy.example", "read the secret in it"),
        (0o620, "org: acme", "change it"),
    ],
)
def test_a_configuration_file_that_others_reach_is_named(
    visit: Visit, mode: int, text: str, what: str
) -> None:
    file = visit.pytester.path / ".kosli.yml"
    file.write_text(text)
    file.chmod(mode)
    visit.setenv("HOME", str(visit.pytester.path))
    told = visit()
    assert told.ret == pytest.ExitCode.USAGE_ERROR
    assert told.to_mend() == ["config file"]
    assert f"has the mode {mode:04o}: others than its owner may {what}" in told.said("config file")
    assert "chmod 600 ~/.kosli.yml" in told.said("config file")


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions")
def test_a_configuration_file_without_a_secret_may_be_read_by_all(visit: Visit) -> None:
    file = visit.pytester.path / ".kosli.yml"
    file.write_text("org: acme\n")
    file.chmod(0o644)
    visit.setenv("HOME", str(visit.pytester.path))
    assert visit().state("config file") == State.OK.value


def test_all_that_is_wrong_is_told_at_once(visit: Visit) -> None:
    visit.setenv("KOSLI_POLICY", " ")
    visit.setenv("KOSLI_CONCURRENCY", "many")
    told = visit("--kosli-timeout=-1", "--kosli-snapshot=beta")
    assert told.to_mend() == [
        "policy",
        "timeout",
        "concurrency",
        "policies of beta",
        "reports of beta",
    ]
    assert told.state("snapshot beta") == State.OK.value
    assert "5 to mend" in told.text.splitlines()[-1]


def test_a_file_that_can_not_be_read_hides_nothing_that_other_places_settle(visit: Visit) -> None:
    (visit.pytester.path / ".kosli.yml").write_text("org: [acme")
    visit.setenv("HOME", str(visit.pytester.path))
    told = visit(*PROD)
    assert told.to_mend() == ["config file"]
    assert {told.state(about) for about in ASKED if about != "clock"} == {State.OK.value}


def test_a_setting_that_is_wrong_stops_only_what_it_decides(visit: Visit) -> None:
    told = visit(*SNAPSHOT, "--kosli-max-snapshot-age=soon")
    assert told.to_mend() == ["max_snapshot_age"]
    assert told.said("reports of prod") == "usage error (max_snapshot_age)"
    assert told.said("snapshot prod") == "usage error (max_snapshot_age)"
    assert told.state("policies of prod") == State.OK.value


def test_an_environment_that_is_named_twice_is_told_once(visit: Visit) -> None:
    told = visit("--kosli-snapshot=everywhere", "--kosli-snapshot=staging", *PROD)
    assert told.text.count("environment prod  ") == told.text.count("environment staging  ") == 1


# Reports.


def everything_in(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Return the files and folders that are there, when each was changed, and what is in it."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mtime_ns if path.is_file() else 0,
            path.read_bytes() if path.is_file() else None,
        )
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(("arguments", "said"), BAD_REPORTS.values(), ids=BAD_REPORTS)
def test_a_report_that_can_not_be_written_is_named(
    visit: Visit, arguments: list[str], said: str
) -> None:
    (visit.pytester.path / "folder.json").mkdir()
    (visit.pytester.path / "file").touch()
    before = everything_in(visit.pytester.path)
    told = visit("--kosli-report=fine.json", *arguments)
    assert told.ret == pytest.ExitCode.USAGE_ERROR
    (about,) = told.to_mend()
    assert about.startswith("report")
    assert "--kosli-report: " in told.said(about)
    assert said in told.said(about)
    assert told.said(about).endswith("/errors/#usage-error")
    assert everything_in(visit.pytester.path) == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder that nobody can write to")
def test_a_report_in_a_folder_where_nothing_can_be_written_is_named(visit: Visit) -> None:
    told = visit("--kosli-report=/proc/x.json", "--kosli-report=/proc/below/x.json")
    assert told.to_mend() == ["report /proc/x.json", "report /proc/below/x.json"]
    assert "/proc/x.json can not be written: " in told.said("report /proc/x.json")


def test_reports_that_can_be_written_are_not(visit: Visit) -> None:
    folder = visit.pytester.path
    (folder / "old.json").write_text("the last release")
    (folder / "summary.md").write_text("what another step said")
    visit.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    before = everything_in(folder)
    names = ("old.json", "new.md", "a/b/new.html", "github")
    told = visit(*(f"--kosli-report={name}" for name in names), "--kosli-dry-run")
    assert [told.state(f"report {name}") for name in names] == [State.OK.value] * 4
    assert f"{folder}/a/b/new.html" in told.said("report a/b/new.html").replace(" ", "")
    assert everything_in(folder) == before
    visit.setenv("GITHUB_STEP_SUMMARY", str(folder / "none.md"))
    assert visit("--kosli-report=github").state("report github") == State.OK.value
    assert everything_in(folder) == before


def test_each_report_is_looked_at_by_itself(visit: Visit) -> None:
    names = ("github", "a.json", "./a.json", "b.json")
    told = visit(*(f"--kosli-report={name}" for name in names))
    assert told.to_mend() == ["report github", "report ./a.json"]
    assert told.state("report a.json") == told.state("report b.json") == State.OK.value


def test_a_report_of_the_ini_file_is_looked_for_beside_it(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit.pytester.makeini("[pytest]\nkosli_report = out.json/release.json")
    (visit.pytester.path / "out.json").touch()
    monkeypatch.chdir(visit.pytester.mkdir("below"))
    told = visit()
    assert told.to_mend() == ["report out.json/release.json"]
    assert "tox.ini: kosli_report: " in told.said("report out.json/release.json")


# All is well.

ALL_WELL = (
    *PROD,
    "--kosli-snapshot=everywhere",
    "--kosli-repo=acme/payments",
    "--kosli-without=datadog/*",
)


def test_where_all_is_well_every_line_is_ok(visit: Visit, online: Sandbox) -> None:
    date(online)
    told = visit(*ALL_WELL)
    assert told.ret == 0
    assert {state for state, _ in told.lines.values()} == {State.OK.value}, told.text
    assert told.said("org") == "acme (KOSLI_ORG)"
    assert told.said("api_token") == "set (KOSLI_API_TOKEN)"
    assert told.said("environment") == "prod (--kosli-environment)"
    assert told.said("policies of prod").startswith("4: provenance, ")
    assert told.said("reports of staging").endswith("5 minutes ago")
    assert told.said("environment everywhere") == "exists, logical, groups prod, staging"
    assert told.said("snapshot everywhere").endswith("1 left out by without")
    assert told.said("repo acme/payments") == "2 artifacts"
    assert told.text.splitlines()[-1] == f"{len(told.lines)} ok"


def test_versions_are_told(visit: Visit) -> None:
    said = visit().said("versions")
    for name in ("pytest-kosli", "Python", "requests", "vcrpy", "msgspec", "pytest-xdist"):
        assert re.search(rf"\b{name} \d", said), name
    assert f"pytest {pytest.__version__}" in said


def test_nobody_is_asked_for_a_verdict_and_the_host_is_known_before_it_gets_the_token(
    visit: Visit, online: Sandbox
) -> None:
    visit(*ALL_WELL)
    first, second, third, *others = online.requests
    assert first.path == "/ready"
    assert "authorization" not in first.headers
    assert (second.path, third.path) == ("/api/v2/environments/acme",) * 2
    assert "authorization" in second.headers
    assert "authorization" not in third.headers
    paths = [request.path for request in others]
    assert not [path for path in paths if "asserts" in path]
    assert len(set(paths)) == len(paths), "something is asked twice"


@pytest.mark.parametrize("name", ["a host that answers with a page", "a host that is not Kosli's"])
def test_who_does_not_answer_as_kosli_gets_no_token(
    visit: Visit, online: Sandbox, name: str
) -> None:
    arrange(BROKEN[name], visit, online)
    visit(*PROD)
    assert [request.path for request in online.requests] == ["/ready"]
    assert "authorization" not in online.requests[0].headers


@pytest.mark.parametrize("token", [TOKEN, "of-somebody-else"])
def test_a_public_organisation_says_nothing_of_the_token(
    pytester: pytest.Pytester, online: Sandbox, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    with Sandbox("acme") as sandbox:
        sandbox.set("public", to=True)
        monkeypatch.setenv("KOSLI_HOST", sandbox.url)
        monkeypatch.setenv("KOSLI_API_TOKEN", token)
        told = Visit(pytester, monkeypatch)(*PROD)
    assert told.lines["token"] == (
        State.UNSEEN.value,
        "acme is public: Kosli answers without a token as well",
    )
    assert told.state("organisation") == told.state("environment prod") == State.OK.value


def test_names_that_only_a_question_about_an_artifact_can_tell_are_not_looked_at(
    visit: Visit,
) -> None:
    told = visit("--kosli-policy=provenance,nope", "--kosli-flow=web-ci")
    for about in ("policy provenance", "policy nope", "flow web-ci"):
        assert told.state(about) == State.UNSEEN.value
    assert told.ret == 0
    assert "flow *" not in visit("--kosli-flow=*").lines


def test_an_environment_that_needs_no_policies_may_have_none(visit: Visit, online: Sandbox) -> None:
    online.fault("environments/acme/prod", lie=lie(policies=[]))
    told = visit(*PROD, "--kosli-require-policies=false")
    assert told.lines["policies of prod"][0] == State.OK.value
    assert told.said("policies of prod").startswith("none, so flow templates count")


def test_a_flow_variable_that_is_left_over_is_told(visit: Visit) -> None:
    visit.setenv("KOSLI_FLOW", "web-ci")
    assert visit().said("note").startswith("KOSLI_FLOW is set and not used")


def test_settings_at_their_default_are_shown_at_v(visit: Visit) -> None:
    assert "timeout" not in visit().lines
    assert visit("-v").said("timeout") == "30s (default)"


def test_of_a_repository_what_runs_where_it_is_judged_is_counted(visit: Visit) -> None:
    assert visit("--kosli-repo=acme/payments").said("repo acme/payments") == "3 artifacts"
    assert visit("--kosli-repo=acme/payments", *PROD).said("repo acme/payments") == "2 artifacts"
    told = visit("--kosli-repo=acme/payments", "--kosli-environment=dr")
    assert "acme/payments gave 0 artifacts" in told.said("repo acme/payments")
    assert "repo acme/payments" in told.to_mend()


# Environments: those that judge need policies.


def test_an_environment_that_judges_nothing_is_not_looked_at(visit: Visit, online: Sandbox) -> None:
    (visit.pytester.path / ".kosli.yml").write_text("environment: beta\n")
    visit.setenv("HOME", str(visit.pytester.path))
    told = visit("--kosli-snapshot=staging")
    assert told.ret == 0, told.text
    assert told.lines["environment beta"] == (
        State.UNSEEN.value,
        "nothing that a setting names is judged by it; what marks name may be",
    )
    assert told.state("policies of staging") == State.OK.value
    assert not [request for request in online.requests if request.path.endswith("/beta")]


@pytest.mark.parametrize(
    "arguments", [(), ("--kosli-snapshot=staging", f"--kosli-artifact={PINNED}")]
)
def test_an_environment_further_down_judges_artifacts_and_what_marks_name(
    visit: Visit, arguments: tuple[str, ...]
) -> None:
    (visit.pytester.path / ".kosli.yml").write_text("environment: beta\n")
    visit.setenv("HOME", str(visit.pytester.path))
    assert visit(*arguments).to_mend() == ["policies of beta", "reports of beta"]


@pytest.mark.parametrize("scope", ["--kosli-environment=prod", "--kosli-policy=provenance"])
def test_an_environment_whose_artifacts_others_judge_needs_no_policies(
    visit: Visit, online: Sandbox, scope: str
) -> None:
    online.fault("environments/acme/staging", lie=lie(policies=[]))
    told = visit("--kosli-snapshot=staging", scope)
    assert told.ret == 0, told.text
    assert told.state("reports of staging") == State.OK.value
    assert "policies of staging" not in told.lines
    assert visit("--kosli-snapshot=staging").to_mend() == ["policies of staging"]


def test_environments_where_a_repository_runs_judge_it(visit: Visit, online: Sandbox) -> None:
    online.fault("environments/acme/staging", lie=lie(policies=[], last_reported_at=1.0))
    told = visit("--kosli-repo=acme/payments")
    assert told.to_mend() == ["policies of staging"], told.text
    assert told.state("policies of prod") == State.OK.value
    assert "reports of prod" not in told.lines
    assert "environment staging" not in visit("--kosli-repo=acme/payments", *PROD).lines


def test_an_environment_may_judge_what_is_named_elsewhere(visit: Visit, online: Sandbox) -> None:
    online.fault("environments/acme/staging", lie=lie(policies=[]))
    visit.pytester.makeini("[pytest]\nkosli_environment = prod\nkosli_snapshot = staging")
    assert "policies of staging" not in visit().lines
    assert visit("--kosli-repo=acme/payments").to_mend() == ["policies of staging"]


def test_environments_that_group_each_other_are_told_once(visit: Visit, online: Sandbox) -> None:
    online.fault("environments/acme/everywhere", lie=lie(included_environments=["everywhere"]))
    told = visit("--kosli-environment=everywhere")
    assert told.said("environment everywhere") == "exists, logical, groups everywhere"


# Artifacts and manifests.


def test_artifacts_are_looked_for_where_they_were_named(
    visit: Visit, online: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    (visit.pytester.path / "deploy.txt").write_text(f"acme/web@sha256:{WEB}\nacme/mailer:1\n")
    visit.pytester.makeini("[pytest]\nkosli_manifest = deploy.txt\nkosli_without = *mailer*")
    below = visit.pytester.mkdir("below")
    (below / "built").mkdir()
    (below / "built" / "app").write_text("app")
    monkeypatch.chdir(below)
    names = ("file:built/app", "dir:built", PINNED)
    told = visit(*(f"--kosli-artifact={name}" for name in names), *PROD)
    assert told.ret == 0, told.text
    labels = [said for about, (_, said) in told.lines.items() if about.startswith("artifact ")]
    assert [label.split()[0] for label in labels] == ["app", "built", "payments"]
    assert labels[-1] == f"payments {PAYMENTS[:7]}"
    assert told.lines["manifest deploy.txt"] == ("ok", "1 artifact, 1 left out by without")
    assert told.lines["scope"] == ("ok", "environment prod")
    assert not [request.path for request in online.requests if "asserts" in request.path]


@pytest.mark.parametrize(
    ("reference", "whom"),
    [
        ("oci:ghcr.io/acme/web:2", "its registry is asked about ghcr.io/acme/web:2"),
        ("docker:acme/web:2", "the container engine is asked about acme/web:2"),
        ("ours:web", "the hook pytest_kosli_fingerprint of conftest.py is asked about ours:web"),
    ],
)
def test_an_artifact_that_others_know_is_not_looked_at(
    visit: Visit, reference: str, whom: str
) -> None:
    visit.pytester.makeconftest("def pytest_kosli_fingerprint(reference): raise SystemExit")
    told = visit(f"--kosli-artifact={reference}", *PROD)
    assert told.ret == 0, told.text
    state, said = told.lines[f"artifact {reference}"]
    assert state == State.UNSEEN.value
    assert f"1 artifact, 1 not looked at: {whom} by the run alone" in said


def test_images_that_a_registry_knows_are_counted_and_not_looked_at(visit: Visit) -> None:
    text = f"acme/web@sha256:{WEB}\nlocalhost:9/acme/a:1\nlocalhost:9/acme/b:1\n"
    (visit.pytester.path / "images.txt").write_text(text)
    told = visit("--kosli-manifest=images.txt", *PROD)
    state, said = told.lines["manifest images.txt"]
    assert state == State.UNSEEN.value
    assert said.startswith("3 artifacts, 2 not looked at: its registry is asked about localhost:9")


def test_all_that_is_wrong_in_a_manifest_is_told(visit: Visit) -> None:
    (visit.pytester.path / "images.txt").write_text("acme/web:2\nacme/mailer:3\n")
    told = visit("--kosli-manifest=images.txt", "--kosli-require-digests", *PROD)
    for image in ("acme/web:2", "acme/mailer:3"):
        assert f"{image} has no digest" in told.said("manifest images.txt")


def test_offline_an_image_that_has_to_be_asked_about_is_to_be_mended(visit: Visit) -> None:
    tape(visit)
    told = visit(*OFFLINE, "--kosli-artifact=oci:localhost:9/a:1", *PROD)
    assert told.to_mend() == ["artifact oci:localhost:9/a:1"]
    assert told.said("artifact oci:localhost:9/a:1").endswith("#offline-image")


def test_a_replay_never_meets_a_requirement(visit: Visit) -> None:
    tape(visit)
    told = visit(*STAGED, "--kosli-require=3")
    assert told.to_mend() == ["require"]
    assert "3 is never reached: no verdict of a replay is live" in told.said("require")
    assert visit(*STAGED, "--kosli-require=0").ret == 0
    assert visit(*SNAPSHOT, "--kosli-require=3").ret == 0


def test_a_dry_run_looks_for_no_artifact(visit: Visit) -> None:
    told = visit("--kosli-artifact=file:nope", "--kosli-manifest=nope.yaml", "--kosli-dry-run")
    for about in ("artifact file:nope", "manifest nope.yaml", "scope"):
        assert told.lines[about] == (State.UNSEEN.value, "dry run (--kosli-dry-run)")


def test_a_manifest_on_standard_input_is_read(visit: Visit) -> None:
    result = visit.pytester.run(
        *(sys.executable, "-m", "pytest", *visit.arguments),
        *("--kosli-doctor", "--kosli-manifest=-", *PROD),
        stdin=f"acme/web@sha256:{WEB}\nacme/mailer@sha256:{PAYMENTS}\n".encode(),
    )
    assert read(result).lines["manifest -"] == ("ok", "2 artifacts")


def test_a_scope_that_marks_may_name_is_not_looked_at(visit: Visit) -> None:
    told = visit(f"--kosli-artifact={PINNED}")
    assert told.ret == 0
    assert told.lines["scope"] == (
        State.UNSEEN.value,
        "no setting names one, so the marks of tests have to",
    )
    assert "scope" not in visit(*SNAPSHOT).lines


# Without a network.


def test_a_dry_run_sends_nothing_and_says_so(visit: Visit, online: Sandbox) -> None:
    told = visit("--kosli-dry-run", *PROD, *SNAPSHOT)
    assert told.ret == 0
    assert told.said("mode") == "dry run (--kosli-dry-run): nothing is sent"
    for about in (*ASKED, "certificates", "proxy", "snapshot prod"):
        assert told.lines[about] == (State.UNSEEN.value, "dry run (--kosli-dry-run)")
    assert online.requests == []


def test_the_token_dry_run_sends_nothing(visit: Visit, online: Sandbox) -> None:
    visit.setenv("KOSLI_API_TOKEN", "DRY_RUN")
    told = visit(*PROD)
    assert told.ret == 0
    assert told.said("token") == "dry run (KOSLI_API_TOKEN=DRY_RUN)"
    assert online.requests == []


def tape(visit: Visit) -> Path:
    """Record what a run with a snapshot asks."""
    result = visit.pytester.runpytest_inprocess(
        *visit.arguments,
        *("--pyargs", "pytest_kosli.gate", "--kosli-snapshot=staging"),
        *("--kosli-record", "--kosli-cassettes=taped"),
    )
    assert result.parseoutcomes()["passed"] == 3
    return visit.pytester.path / "taped"


STAGED = (*OFFLINE, "--kosli-snapshot=staging")


def test_offline_the_cassettes_are_looked_at_and_nobody_is_asked(
    visit: Visit, online: Sandbox
) -> None:
    tape(visit)
    for name in ("KOSLI_HOST", "KOSLI_API_TOKEN"):
        visit.delenv(name)
    online.reset()
    told = visit(*STAGED)
    assert told.ret == 0, told.text
    said = told.said("recordings").replace(" ", "")
    assert f"5ofacmein{visit.pytester.path}/taped,from{online.url}" in said
    assert told.said("snapshot staging") == "3 artifacts"
    assert told.said("api_token") == "none, and none is needed"
    assert told.said("host") == "the one that the cassettes name"
    assert told.lines["token"] == (State.UNSEEN.value, "offline (--kosli-offline)")
    assert online.requests == []


def test_cassettes_that_can_not_be_played_are_named(visit: Visit) -> None:
    folder = tape(visit)
    visit.delenv("KOSLI_HOST")
    visit.setenv("KOSLI_HOST", "https://kosli.example")
    told = visit(*STAGED)
    assert told.to_mend() == ["recordings"]
    assert "not of https://kosli.example" in told.said("recordings")
    assert told.said("snapshot staging") == "cassette mismatch (recordings)"
    visit.delenv("KOSLI_HOST")
    broken = sorted((folder / "acme").rglob("*.yaml"))[-1]
    broken.write_text(broken.read_text()[:200])
    told = visit(*STAGED)
    assert told.to_mend() == ["recordings"]
    assert told.said("recordings").endswith("#cassette-damaged")
    assert broken.name in told.said("recordings").replace(" ", "")


# What it prints, and what it does not.


def test_no_test_is_collected_and_no_worker_started(
    pytester: pytest.Pytester,
    online: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    everywhere: tuple[str, ...],
) -> None:
    pytester.makepyfile("open('collected', 'w'); raise SystemExit")
    visit = Visit(pytester, monkeypatch)
    told = visit(*everywhere, "-vvv", *PROD)
    assert told.ret == 0
    assert not (pytester.path / "collected").exists()
    assert "created:" not in told.text
    assert "session starts" not in told.text
    assert told.text.startswith("ok             versions")


def test_who_asks_for_help_gets_help(visit: Visit, online: Sandbox) -> None:
    result = visit.pytester.runpytest_inprocess(*visit.arguments, "--kosli-doctor", "--help")
    assert "--kosli-doctor" in result.stdout.str()
    assert online.requests == []


def test_two_visits_print_the_same_but_for_clocks(visit: Visit) -> None:
    arguments = (*ALL_WELL, "--kosli-snapshot=beta", "--kosli-policy=nope", "--kosli-flow=a")

    def printed() -> bytes:
        result = visit.pytester.runpytest_subprocess(*visit.arguments, "--kosli-doctor", *arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        text = result.stdout.str() + result.stderr.str()
        return re.sub(r"\d\d:\d\d UTC|\d+ (second|minute)s? ago", "CLOCK", text).encode()

    assert printed() == printed()


@pytest.mark.parametrize(
    ("argument", "environ", "coloured"),
    [
        ("--color=yes", {}, True),
        ("--color=no", {}, False),
        ("--color=auto", {"FORCE_COLOR": "1"}, True),
        ("--color=auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ("--color=auto", {"CI": "true"}, False),
    ],
)
def test_colours_are_those_of_pytest(
    visit: Visit, argument: str, environ: dict[str, str], coloured: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "PY_COLORS"):
        visit.delenv(name, raising=False)
    for name, value in environ.items():
        visit.setenv(name, value)
    result = visit.pytester.runpytest_inprocess(*visit.arguments, "--kosli-doctor", argument)
    assert ("\x1b[" in result.stdout.str()) == coloured


@pytest.mark.parametrize("how", ["told back", "refused", "through a proxy", "in the flag"])
def test_no_secret_is_printed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    visit = Visit(pytester, monkeypatch)
    with Sandbox("acme") as sandbox:
        sandbox.set("token", to=CANARY)
        visit.setenv("KOSLI_API_TOKEN", CANARY)
        visit.setenv("KOSLI_ORG", "acme")
        visit.setenv("KOSLI_HOST", sandbox.url)
        arguments = ["-vvv", *PROD, "--kosli-record", "--kosli-timeout=2"]
        if how == "told back":
            sandbox.fault("environments/acme/prod", lie=lie(type=f"K8S {CANARY}"))
        if how == "refused":
            sandbox.fault("environments/acme", status=401, body={"message": f"bad {CANARY}"})
        if how == "through a proxy":
            visit.setenv("KOSLI_HOST", "https://localhost:9")
            visit.setenv("KOSLI_HTTP_PROXY", f"http://me:{PASSWORD}@127.0.0.1:9")
        if how == "in the flag":
            arguments.append(f"--kosli-http-proxy=http://me:{PASSWORD}@127.0.0.1:9")
            arguments.append(f"--kosli-api-token={CANARY}")
        result = pytester.runpytest_inprocess(*visit.arguments, "--kosli-doctor", *arguments)
        if how in ("told back", "refused"):
            assert any("authorization" in request.headers for request in sandbox.requests)
    assert result.ret == (0 if how == "told back" else pytest.ExitCode.USAGE_ERROR)
    written = (result.stdout.str() + result.stderr.str()).encode()
    assert b"versions" in written
    assert not (pytester.path / "cassettes").exists()
    for secret in (CANARY, PASSWORD):
        assert [form for form in forms(secret) if form in written] == []


def test_what_a_server_says_can_not_play_with_the_terminal(visit: Visit, online: Sandbox) -> None:
    evil = "\x1b[2J\nok             token\x07" + "\u202e"
    online.fault("environments/acme/prod", lie=lie(type=evil, policies=[evil]))
    told = visit(*PROD)
    assert told.said("token") == "Kosli takes it"
    assert not set(told.text) & {"\x1b", "\x07", "\u202e"}


lines = st.builds(
    Line, st.sampled_from(State), st.text(), st.text(), st.text(), st.sampled_from(["", "#x"])
)


@given(lines)
@example(Line(State.OK, "0" * 14 + "\x1f" * 4 + "\U00011af9" * 6, "", ""))
def test_whatever_is_said_fits_100_columns_and_begins_with_its_state(line: Line) -> None:
    first, *others = doctor.text_of(line)
    assert first.startswith(f"{line.state.value} ")
    assert all(text.startswith(" ") for text in others)
    assert all(len(text) <= COLUMNS and text.isprintable() for text in (first, *others))


# The pure parts, and servers that lie.


def reply(status: int = 200, body: str = "OK", date: str | None = None) -> Reply:
    headers = () if date is None else (("Date", date),)
    return Reply(status, body.encode(), "application/json", headers, received_at=NOW)


@pytest.mark.parametrize("body", ["OK", '"OK"', "OK\n"])
def test_ok_is_taken_in_each_of_its_shapes(body: str) -> None:
    findings.check_ready(reply(body=body), "https://app.kosli.com")


@pytest.mark.parametrize("body", ["", "KO", "OK?", "{}", '{"message": "no"}', "null", "<p>OK</p>"])
def test_anything_but_ok_is_not_kosli(body: str) -> None:
    with pytest.raises(NoVerdict) as caught:
        findings.check_ready(reply(body=body), "https://app.kosli.com")
    assert caught.value.code == "malformed"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_token_is_taken_where_nobody_is_let_in_without(status: int) -> None:
    assert findings.check_token(reply(status), "acme") == "Kosli takes it"


@pytest.mark.parametrize("status", [200, 204, 302, 409, 429, 500, 503])
def test_a_token_is_not_taken_on_any_other_reply(status: int) -> None:
    with pytest.raises(NotLookedAt):
        findings.check_token(reply(status), "acme")


@pytest.mark.parametrize("body", ["[]", '[{"org": "acme"}, null, {}]', '{"environments": []}'])
def test_both_shapes_of_a_list_of_environments_show_the_organisation(body: str) -> None:
    assert findings.check_organisation(reply(body=body), "acme").startswith("acme exists")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        '"OK"',
        "7",
        '{"environments": {}}',
        '[{"org": ["acme"]}]',
        '[{"org": null}]',
    ],
)
def test_an_organisation_is_not_believed_without_a_list_of_its_own(body: str) -> None:
    with pytest.raises(NoVerdict) as caught:
        findings.check_organisation(reply(body=body), "acme")
    assert caught.value.code == "malformed"


def dated(seconds: float) -> Reply:
    return reply(date=format_datetime(NOW + timedelta(seconds=seconds), usegmt=True))


@pytest.mark.parametrize("seconds", [-60, 0, 60])
def test_a_minute_between_clocks_is_fine(seconds: float) -> None:
    assert findings.check_clock(dated(seconds)) == "within 1 minute of Kosli's"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(61, "1 minute behind"), (-61, "1 minute ahead of"), (-90_000, "1 day ahead of")],
)
def test_more_than_a_minute_between_clocks_is_not(seconds: float, words: str) -> None:
    with pytest.raises(NoVerdict, match=f"is {words} Kosli's"):
        findings.check_clock(dated(seconds))


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_without_a_date_the_clock_is_not_looked_at(date: str | None) -> None:
    with pytest.raises(NotLookedAt):
        findings.check_clock(reply(date=date))


def environment(**fields: Any) -> Environment:
    return Environment("prod", received_at=NOW, **fields)


@given(st.integers(-(10**7), 10**7), st.none() | st.integers(1, 10**6))
def test_a_report_is_recent_or_it_is_to_be_mended(age: int, limit: int | None) -> None:
    found = environment(last_reported_at=NOW.timestamp() - age)
    if -60 <= age <= (limit or 86_400):
        assert findings.check_reports(found, limit).startswith("the last 2026-")
    else:
        with pytest.raises(NoVerdict, match="was last reported at"):
            findings.check_reports(found, limit)


def test_a_report_without_a_date_never_was() -> None:
    with pytest.raises(NoVerdict) as caught:
        findings.check_reports(environment(last_reported_at=None), None)
    assert caught.value.code == "empty_environment"


@pytest.mark.parametrize(
    ("date", "told"),
    [(1780455600000, "1780455600000"), (-1e20, "-100000000000000000…"), (float("inf"), "inf")],
)
def test_a_report_with_a_date_that_is_none_is_not_recent(date: float, told: str) -> None:
    with pytest.raises(NoVerdict, match=f"last reported at {told}, which is no date") as caught:
        findings.check_reports(environment(last_reported_at=date), None)
    assert caught.value.code == "stale_snapshot"


def test_policies_that_are_not_told_are_not_looked_at() -> None:
    with pytest.raises(NotLookedAt):
        findings.check_policies(environment(policies=None), True)


HOST = "https://app.kosli.com"


def test_recordings_are_told_by_number_host_and_age() -> None:
    found = [(HOST, NOW - timedelta(days=3)), (HOST, NOW - timedelta(hours=1))]
    told = findings.check_recordings(found, "acme in taped", HOST, None, NOW)
    assert (
        told
        == f"2 of acme in taped, from {HOST}, 2026-11-19 to 2026-11-22 UTC, the first 3 days ago"
    )


@pytest.mark.parametrize(
    ("found", "max_age", "code"),
    [
        ([], None, "cassette_missing"),
        ([("https://other.example", NOW)], None, "cassette_mismatch"),
        ([(HOST, NOW), ("https://other.example", NOW)], None, "cassette_mismatch"),
        ([(HOST, NOW), (HOST, NOW - timedelta(seconds=61))], 60.0, "too_old"),
    ],
)
def test_recordings_that_can_not_be_played_are_to_be_mended(
    found: list[tuple[str, datetime]], max_age: float | None, code: str
) -> None:
    with pytest.raises(NoVerdict) as caught:
        findings.check_recordings(found, "acme in taped", HOST, max_age, NOW)
    assert caught.value.code == code
