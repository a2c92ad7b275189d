from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from tests.conftest import Runner
from tests.sandbox import Sandbox


def needs(distribution: str) -> pytest.MarkDecorator:
    """Skip a test where a plugin is not installed, by the plugin's name."""
    try:
        missing = not version(distribution)
    except PackageNotFoundError:
        missing = True
    return pytest.mark.skipif(missing, reason=f"{distribution} is not installed")


class Beside:
    """Runs the files that pytester holds with us and the plugins named, and with no others.

    Plugins go by the name of their entry point.
    """

    def __init__(self, pytester: pytest.Pytester, workers: tuple[str, ...] = ()) -> None:
        self.workers = workers
        self.run: Runner = pytester.runpytest_inprocess

    def __call__(self, plugins: str, *arguments: str) -> pytest.RunResult:
        named = [part for name in ("kosli", *plugins.split()) for part in ("-p", name)]
        return self.run(*named, "-p", "no:cacheprovider", *self.workers, *arguments)


@pytest.fixture
def beside(pytester: pytest.Pytester, online: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Beside:
    """A run with neighbours, in one process."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return Beside(pytester)


@pytest.fixture(params=[(), ("-p", "xdist", "-n2")], ids=["alone", "n2"])
def all_beside(request: pytest.FixtureRequest, beside: Beside) -> Beside:
    """A run with neighbours, in one process and in two workers."""
    beside.workers = request.param
    return beside
