"""The fixtures about source; CodeAlive's rooms are loaded, and its key read, when one is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_kosli.api.codealive import CodeAliveClient
    from pytest_kosli.assert_source import AssertSource, SourceRun


@pytest.fixture(scope="session")
def _kosli_sources(pytestconfig: pytest.Config) -> Iterator[SourceRun]:
    from pytest_kosli.assert_source import SourceRun
    from pytest_kosli.plugin import session_of

    sources = SourceRun(session_of(pytestconfig).run)
    yield sources
    sources.close()


@pytest.fixture(scope="session")
def codealive_client(_kosli_sources: SourceRun) -> CodeAliveClient:
    """Return the run's CodeAliveClient: indexed source by name; each request is sent once a run."""
    return _kosli_sources.client


@pytest.fixture(scope="session")
def assert_source(_kosli_sources: SourceRun) -> AssertSource:
    """Return a function that asserts what named files hold, for a fixture of any scope."""
    from pytest_kosli.assert_source import AssertSource

    return AssertSource(_kosli_sources)
