"""Plugins that reorder, repeat, time or paint tests change no verdict and no exit code."""

from __future__ import annotations

import pytest

from tests.neighbours.conftest import Beside, needs
from tests.neighbours.suite import OUTCOMES, SUITE
from tests.sandbox import Sandbox
from tests.story import PAYMENTS, WEB


def asked(sandbox: Sandbox) -> int:
    return sum("/asserts/" in request.path for request in sandbox.requests)


@needs("pytest-randomly")
@pytest.mark.parametrize("seed", ["1", "2"])
def test_no_order_and_no_seed_changes_a_verdict(
    all_beside: Beside, online: Sandbox, pytester: pytest.Pytester, seed: str
) -> None:
    pytester.makepyfile(SUITE)
    result = all_beside("randomly", f"--randomly-seed={seed}")
    result.assert_outcomes(**OUTCOMES)
    assert result.ret == 1
    assert asked(online) == 3, "each question once"
    result.stdout.fnmatch_lines(["4 checks: 1 non-compliant, 2 no verdict, 1 compliant"])


@needs("pytest-randomly")
def test_the_gate_and_the_guard_can_be_shuffled(beside: Beside) -> None:
    result = beside(
        "randomly", "--pyargs", "pytest_kosli.gate", "--kosli-snapshot=staging",
        "--kosli-snapshot=nope",
    )  # fmt: skip
    result.assert_outcomes(passed=3, errors=1)
    assert result.ret == 1


@needs("pytest-repeat")
def test_a_repeated_test_asks_once(
    beside: Beside, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(SUITE)
    result = beside("pytest_repeat", "--count=2")
    result.assert_outcomes(**{word: 2 * number for word, number in OUTCOMES.items()})
    assert asked(online) == 3


@needs("pytest-sugar")
@pytest.mark.parametrize("painted", [(), ("--force-sugar",)], ids=["plain", "painted"])
def test_header_summary_and_exit_code_stand_under_sugar(
    all_beside: Beside, online: Sandbox, pytester: pytest.Pytester, painted: tuple[str, ...]
) -> None:
    pytester.makepyfile(SUITE)
    result = all_beside("sugar", "--color=no", f"--kosli-host={online.url}", *painted)
    assert result.ret == 1
    told = result.stdout.str()
    assert told.count("kosli: live, ") == 1
    result.stdout.fnmatch_lines(
        [
            "kosli: live, http://127.0.0.1:*",
            "*= kosli =*",
            "non-compliant  web 0722a81 *snyk-scan missing",
            "compliant      payments e49d561 *",
            "4 checks: 1 non-compliant, 2 no verdict, 1 compliant",
        ]
    )
    if painted:
        result.stdout.fnmatch_lines(["Results *", "*3 passed", "*4 failed", "*2 error*"])


@needs("pytest-sugar")
def test_a_green_run_is_green_under_sugar(beside: Beside, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = beside("sugar", "--force-sugar", "-k", "test_compliant", "--kosli-require=1")
    assert result.ret == 0


@needs("pytest-timeout")
def test_a_timeout_is_a_failure_and_what_was_asked_before_stands(
    beside: Beside, online: Sandbox, pytester: pytest.Pytester
) -> None:
    online.fault(f"asserts/acme/fingerprint/{WEB}", delay=5)
    online.fault(f"asserts/acme/fingerprint/{PAYMENTS}", delay=1.5)
    pytester.makepyfile(f"""
        import pytest

        def test_slow(assert_compliant):
            assert_compliant("sha256:{WEB}", environment="prod")

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_prefetched(): pass
    """)
    result = beside("timeout", "--timeout=1")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Timeout (>1.0s) from pytest-timeout.*"])


ATTEMPT = """
import pathlib, pytest

def attempt():
    counter = pathlib.Path("attempts")
    number = len(counter.read_text()) + 1 if counter.exists() else 1
    counter.write_text("x" * number)
    return number
"""


@needs("flaky")
def test_flaky_turns_no_refusal_into_a_pass(
    all_beside: Beside, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""{ATTEMPT}
@pytest.mark.flaky(max_runs=3)
@pytest.mark.kosli("sha256:{WEB}", environment="prod")
def test_marked(): pass

@pytest.mark.flaky(max_runs=3)
def test_shy(assert_compliant):
    if attempt() == 1:
        assert_compliant("sha256:{WEB}", environment="prod")

@pytest.mark.flaky(max_runs=3)
def test_no_verdict(assert_compliant):
    assert_compliant("sha256:12", environment="prod")
""")
    result = all_beside("flaky")
    result.assert_outcomes(failed=2, errors=1)
    assert result.ret == 1
    assert asked(online) == 1


@needs("flaky")
def test_a_refusal_that_flaky_drops_fails_the_run(
    all_beside: Beside, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
import pytest

@pytest.fixture
def late(assert_compliant):
    yield
    assert_compliant("sha256:{WEB}", environment="prod")

@pytest.mark.flaky(max_runs=3)
def test_it(late): pass
""")
    result = all_beside("flaky")
    assert result.ret == 1
    told = "*::test_it failed (0722a81 is not compliant*), but no report tells of it"
    result.stdout.fnmatch_lines([told])


@needs("flaky")
def test_flaky_lets_a_body_pass_at_its_second_run(
    beside: Beside, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""{ATTEMPT}
@pytest.mark.flaky
@pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
def test_it(): assert attempt() == 2
""")
    result = beside("flaky", "--kosli-require=1")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    assert asked(online) == 1
