from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from tests.sandbox import Sandbox

pytest_plugins = "pytester"

TOKEN = "acme-sandbox-token"

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("kosli", deadline=None)
settings.load_profile("kosli")

# pytester forgets what a run in this process has imported, but packages remember their modules: a
# module that is met first in such a run would exist twice.
for room in ("session", "api.cassettes", "api.http"):
    importlib.import_module(f"pytest_kosli.{room}")


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
        theirs = name.startswith(("KOSLI_", "CODEALIVE_", "GITHUB_")) or "proxy" in name.lower()
        # With CI or BUILD_NUMBER set, pytest itself cuts its lines elsewhere.
        if (theirs and name != "KOSLI_CLI") or name in ("CI", "BUILD_NUMBER"):
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


WAYS = {"alone": ("-p", "no:xdist"), "n0": ("-n0",), "n2": ("-n2",)}


@pytest.fixture(params=WAYS)
def everywhere(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Run a scenario without xdist, with it switched off, and with two workers."""
    return WAYS[request.param]


@pytest.fixture(params=["alone", "n2"])
def both_ways(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Run a scenario in one process and with two workers, where -n0 would tell nothing new."""
    return WAYS[request.param]


NEIGHBOURS = ("-p", "no:hypothesispytest", "-p", "no:anyio")


class Suite:
    """Runs the files that pytester holds, in one of the ways of ``everywhere``."""

    def __init__(self, pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
        self.pytester = pytester
        # Neighbours that are slow to load; they have tests of their own.
        self.arguments = (*NEIGHBOURS, "-p", "no:cacheprovider", *arguments)

    def __call__(self, *arguments: str) -> pytest.RunResult:
        return self.pytester.runpytest_inprocess(*self.arguments, *arguments)


@pytest.fixture
def alone(pytester: pytest.Pytester, online: Sandbox) -> Suite:
    """A run in one process, without xdist."""
    return Suite(pytester, ("-p", "no:xdist"))


@pytest.fixture
def both(pytester: pytest.Pytester, online: Sandbox, both_ways: tuple[str, ...]) -> Suite:
    """A run in one process, and one with two workers."""
    return Suite(pytester, both_ways)


@pytest.fixture
def each(pytester: pytest.Pytester, online: Sandbox, everywhere: tuple[str, ...]) -> Suite:
    """A run in every way: one process without xdist, with it, and two workers."""
    return Suite(pytester, everywhere)
