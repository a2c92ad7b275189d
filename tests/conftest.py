from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.sandbox import Sandbox

pytest_plugins = "pytester"

TOKEN = "acme-sandbox-token"


@pytest.fixture(scope="session")
def acme() -> Iterator[Sandbox]:
    with Sandbox("acme") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(acme: Sandbox) -> Iterator[Sandbox]:
    """The acme world, with nothing asked and nothing wrong; tests that change it make their own."""
    acme.reset()
    yield acme
    acme.reset()


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory) -> None:
    """No setting of whoever runs these tests reaches them."""
    for name in list(os.environ):
        if name.startswith(("KOSLI_", "CODEALIVE_", "GITHUB_")) or "proxy" in name.lower():
            if name != "KOSLI_CLI":
                monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))


Runner = Callable[..., pytest.RunResult]


@pytest.fixture
def online(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The environment of a job that may ask the sandbox."""
    monkeypatch.setenv("KOSLI_API_TOKEN", TOKEN)
    monkeypatch.setenv("KOSLI_HOST", sandbox.url)
    monkeypatch.setenv("KOSLI_ORG", "acme")
    monkeypatch.setenv("KOSLI_MAX_API_RETRIES", "0")
    return sandbox


@pytest.fixture(params=[(), ("-n0",), ("-n2",)], ids=["alone", "n0", "n2"])
def everywhere(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Run a scenario without xdist, with it switched off, and with two workers."""
    arguments: tuple[str, ...] = request.param
    return ("-p", "no:xdist") if not arguments else arguments
