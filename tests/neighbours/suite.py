"""One test for each way in which a check can end, as a neighbour meets them."""

from __future__ import annotations

from tests.story import PAYMENTS, WEB

SUITE = f"""
import pytest

@pytest.mark.kosli("payments=sha256:{PAYMENTS}", environment="prod")
def test_compliant(): pass

@pytest.mark.kosli("web=sha256:{WEB}", environment="prod")
def test_refused(): pass

@pytest.mark.kosli("web=sha256:{WEB}", environment="nope")
def test_unknown(): pass

def test_refused_in_call(assert_compliant):
    assert_compliant("web=sha256:{WEB}", environment="prod")

def test_unknown_in_call(assert_compliant):
    assert_compliant("sha256:12", environment="prod")

@pytest.fixture
def late(assert_compliant):
    yield
    assert_compliant("web=sha256:{WEB}", environment="prod")

def test_refused_in_teardown(late): pass

@pytest.mark.xfail
def test_refused_and_xfail(assert_compliant):
    assert_compliant("web=sha256:{WEB}", environment="prod")

def test_plain(): pass
"""

PASSED = {"test_compliant", "test_plain"}
REFUSED = {
    "test_refused",
    "test_refused_in_call",
    "test_refused_in_teardown",
    "test_refused_and_xfail",
}
UNKNOWN = {"test_unknown", "test_unknown_in_call"}
EVERY = PASSED | REFUSED | UNKNOWN
OUTCOMES = {"passed": 3, "failed": 4, "errors": 2}
"""What pytest counts; a test that is refused in its teardown has passed before."""


def name(nodeid: str) -> str:
    """Return the name of a test's function."""
    return nodeid.rpartition("::")[2].partition("[")[0]
