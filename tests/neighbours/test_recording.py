"""A cassette or a block of pytest-recording can neither answer our question nor keep our token."""

from __future__ import annotations

import json

import pytest

from tests.conftest import TOKEN
from tests.neighbours.conftest import Beside, needs
from tests.sandbox import Sandbox
from tests.story import PAYMENTS, WEB

pytestmark = needs("pytest-recording")

CALL = f"""
import pytest

@pytest.mark.vcr
def test_it(assert_compliant):
    assert_compliant("web=sha256:{WEB}", environment="prod")
"""


def lie(online: Sandbox, pytester: pytest.Pytester) -> None:
    """Lay a cassette beside the test that answers any question about the artifact with a yes."""
    yes = {"fingerprint": WEB, "compliant": True, "scope": "environment", "environment": "prod"}
    uri = f"{online.url}/api/v2/asserts/acme/fingerprint/{WEB}?environment=prod"
    tape = f"""\
version: 1
interactions:
- request: {{body: null, headers: {{}}, method: GET, uri: "{uri}"}}
  response:
    body: {{string: {json.dumps(json.dumps(yes))}}}
    headers: {{Content-Type: [application/json]}}
    status: {{code: 200, message: OK}}
"""
    folder = pytester.path / "cassettes" / "test_tape"
    folder.mkdir(parents=True)
    (folder / "test_it.yaml").write_text(tape)


def test_a_cassette_that_says_yes_is_not_heard(
    beside: Beside, online: Sandbox, pytester: pytest.Pytester
) -> None:
    lie(online, pytester)
    pytester.makepyfile(test_tape=CALL)
    result = beside("recording", "--record-mode=none")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E   web 0722a81 is not compliant: snyk-scan missing"])
    assert any("/asserts/" in request.path for request in online.requests)


def test_nothing_of_ours_is_recorded(beside: Beside, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_tape=CALL)
    beside("recording", "--record-mode=all").assert_outcomes(failed=1)
    kept = [path.read_text() for path in pytester.path.rglob("*.yaml")]
    assert not any(TOKEN in text or "/asserts/" in text for text in kept)


def test_a_blocked_network_keeps_no_marked_test_from_its_verdict(
    all_beside: Beside, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_marked(): pass
    """)
    all_beside("recording", "--block-network").assert_outcomes(passed=1)


def test_a_call_in_a_blocked_network_gets_no_verdict(
    beside: Beside, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(test_tape=CALL)
    result = beside("recording", "--block-network")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E   web 0722a81: no verdict (intercepted)"])
