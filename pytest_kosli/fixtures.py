"""The fixtures: a client, the marked test's artifact, and an assertion for everything else.

Every pytest run on the machine loads this, so what the fixtures are made of comes when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_kosli.api.kosli import KosliClient
    from pytest_kosli.assert_no_drift import AssertNoDrift
    from pytest_kosli.handles import AssertCompliant, KosliArtifact
    from pytest_kosli.references import FingerprintOf

CURRENT: pytest.StashKey[pytest.Item] = pytest.StashKey()
"""The item that runs now: calls inside shared fixtures are noted on it."""

NAMES = frozenset(
    {
        "assert_compliant",
        "assert_no_drift",
        "assert_source",
        "codealive_client",
        "kosli_artifact",
        "kosli_client",
        "kosli_fingerprint",
    }
)
"""All fixtures, those about source too: ``-m kosli`` selects the tests that take one."""


@pytest.fixture(scope="session")
def kosli_client(pytestconfig: pytest.Config) -> KosliClient:
    """Return the run's KosliClient: typed answers of Kosli's endpoints, a Verdict or an exception.

    A question to the assert endpoint is asked once a run; all other calls ask Kosli afresh.
    """
    from pytest_kosli.plugin import session_of

    return session_of(pytestconfig).client()


@pytest.fixture
def kosli_artifact(request: pytest.FixtureRequest) -> KosliArtifact:
    """Return the artifact that this marked test runs for, with its verdict and details."""
    from pytest_kosli.plugin import session_of

    return session_of(request.config).artifact_of(request.node)


@pytest.fixture(scope="session")
def assert_compliant(pytestconfig: pytest.Config) -> AssertCompliant:
    """Return a function that asserts that artifacts are compliant, for a fixture of any scope."""
    from pytest_kosli.handles import AssertCompliant
    from pytest_kosli.plugin import session_of

    session = session_of(pytestconfig)
    return AssertCompliant(session.run, session.enforcer)


@pytest.fixture(scope="session")
def assert_no_drift(pytestconfig: pytest.Config) -> AssertNoDrift:
    """Return a function that asserts that exactly what was intended runs in a snapshot."""
    from pytest_kosli.assert_no_drift import AssertNoDrift
    from pytest_kosli.plugin import session_of

    return AssertNoDrift(session_of(pytestconfig).run)


@pytest.fixture(scope="session")
def kosli_fingerprint(pytestconfig: pytest.Config) -> FingerprintOf:
    """Return a function from a reference to its fingerprint, the one that Kosli is asked about."""
    from pytest_kosli.plugin import session_of

    return session_of(pytestconfig).fingerprint
