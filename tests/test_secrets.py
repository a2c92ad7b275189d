"""No form of a secret is in anything that a run writes, however loud and however broken it is."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterator

import pytest

from tests.answers import answer
from tests.sandbox import Sandbox

CANARY = "c4n4ry/t0k3n+with=odd~signs%"
PASSWORD = "pr0xy-p4ssw0rd"

SUITE = """\
import logging, warnings
import pytest

REFERENCES = {references!r}

@pytest.mark.kosli(*REFERENCES, environment="prod")
def test_marked(kosli_artifact, kosli_client):
    assert kosli_artifact.name == kosli_client

def test_called(assert_compliant, kosli_client):
    settings = vars(kosli_client)
    assert_compliant(REFERENCES, environment="prod")

@pytest.mark.kosli(snapshot="prod")
def test_discovered(request):
    state = request.config.stash
    everything = [vars(value) for value in state._storage.values() if hasattr(value, "__dict__")]
    warnings.warn(repr(everything))
    logging.getLogger("mine").warning("%r", everything)
    assert everything == request.config
"""
FAULTS = [
    {"status": 401, "body": {"message": "no"}},
    {"status": 500, "body": "oops"},
    {"cut": 30},
    {"delay": 20},
    {"status": 302, "headers": {"Location": "https://elsewhere.example/"}},
    {"body": b"{"},
    {"body": answer(compliant=False)},
]


def forms(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    yield raw
    yield urllib.parse.quote(secret, safe="").encode()
    yield urllib.parse.quote_plus(secret).encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).rstrip(b"=")
        yield encode(b"Bearer " + raw).rstrip(b"=")
    yield raw.hex().encode()


@pytest.mark.parametrize("how", ["live", "recorded", "unreachable", "through a proxy"])
def test_no_secret_is_written_anywhere(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    both_ways: tuple[str, ...],
    how: str,
) -> None:
    with Sandbox("acme") as sandbox:
        sandbox.set("token", to=CANARY)
        monkeypatch.setenv("KOSLI_API_TOKEN", CANARY)
        monkeypatch.setenv("KOSLI_ORG", "acme")
        monkeypatch.setenv("KOSLI_HOST", sandbox.url)
        if how == "unreachable":
            monkeypatch.setenv("KOSLI_HOST", "http://127.0.0.1:9")
        if how == "through a proxy":
            monkeypatch.setenv("KOSLI_HOST", "https://localhost:9")
            monkeypatch.setenv("KOSLI_HTTP_PROXY", f"http://me:{PASSWORD}@127.0.0.1:9")
        references = [f"a{number}=sha256:{number:064x}" for number in range(len(FAULTS))]
        for number, fault in enumerate(FAULTS):
            sandbox.fault(f"asserts/acme/fingerprint/{number:064x}", **fault)  # type: ignore[arg-type]
        pytester.makepyfile(SUITE.format(references=references))
        loud = ["-vvv", "--showlocals", "--tb=long", "--full-trace", "-rA", "--log-level=DEBUG"]
        options = ["--junit-xml=out.xml", "--log-file=log.txt", "--log-file-level=DEBUG"]
        options += [f"--kosli-report=out.{suffix}" for suffix in ("json", "md", "html")]
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
        options += ["--kosli-report=github"]
        options += ["--kosli-timeout=1", "--kosli-max-api-retries=1", "-p", "no:cacheprovider"]
        if how == "recorded":
            options += ["--kosli-record", "--kosli-cassettes=tapes"]
        result = pytester.runpytest_subprocess(*loud, *options, *both_ways)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "test_marked" in result.stdout.str()
    assert "::error" in result.stdout.str()
    if how == "recorded":
        assert list(pytester.path.glob("tapes/acme/asserts/*.yaml"))
    if how in ("live", "recorded"):
        assert any("authorization" in request.headers for request in sandbox.requests)
    written = {path.name: path.read_bytes() for path in pytester.path.rglob("*") if path.is_file()}
    assert {"out.json", "out.md", "out.html", "summary.md", "out.xml", "log.txt"} <= set(written)
    assert_no_secret(written, result)


@pytest.mark.parametrize("status", [200, 401, 500])
def test_the_doctor_shows_no_secret(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    with Sandbox("acme") as sandbox:
        sandbox.set("token", to=CANARY)
        if status != 200:
            echo = f"no {CANARY}".encode()
            sandbox.fault("environments/*", times=99, status=status, body=echo)
        monkeypatch.setenv("KOSLI_API_TOKEN", CANARY)
        monkeypatch.setenv("KOSLI_ORG", "acme")
        monkeypatch.setenv("KOSLI_HOST", sandbox.url)
        monkeypatch.setenv("KOSLI_HTTP_PROXY", f"http://me:{PASSWORD}@127.0.0.1:9")
        loud = ["-vvv", "--log-level=DEBUG", "--log-file=log.txt", "--kosli-max-api-retries=0"]
        result = pytester.runpytest_subprocess(
            *loud, "--kosli-doctor", "--kosli-environment=prod", "--kosli-snapshot=prod"
        )
        assert any("authorization" in request.headers for request in sandbox.requests)
    assert "versions" in result.stdout.str()
    files = (path for path in pytester.path.rglob("*") if path.is_file())
    assert_no_secret({path.name: path.read_bytes() for path in files}, result)


def assert_no_secret(written: dict[str, bytes], result: pytest.RunResult) -> None:
    written |= {"stdout": result.stdout.str().encode(), "stderr": result.stderr.str().encode()}
    for secret in (CANARY, PASSWORD):
        for form in forms(secret):
            assert [name for name, text in written.items() if form in text] == []
