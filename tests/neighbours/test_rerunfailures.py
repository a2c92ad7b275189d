"""A rerun never turns a refusal into a pass: what Kosli said is final for the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.neighbours.conftest import Beside, needs
from tests.sandbox import Sandbox
from tests.story import PAYMENTS, WEB

pytestmark = needs("pytest-rerunfailures")

ATTEMPT = """
import pathlib, pytest

def attempt():
    counter = pathlib.Path("attempts")
    number = len(counter.read_text()) + 1 if counter.exists() else 1
    counter.write_text("x" * number)
    return number
"""


def attempts(pytester: pytest.Pytester) -> int:
    counter = pytester.path / "attempts"
    return len(counter.read_text()) if counter.exists() else 0


def asked(sandbox: Sandbox) -> int:
    return sum("/asserts/" in request.path for request in sandbox.requests)


def counted(result: pytest.RunResult) -> dict[str, int]:
    return {key: number for key, number in result.parseoutcomes().items() if "warning" not in key}


@pytest.mark.parametrize("by", ["flag", "mark"])
def test_a_refused_test_is_refused_at_each_rerun_and_asked_about_once(
    all_beside: Beside, online: Sandbox, pytester: pytest.Pytester, by: str
) -> None:
    flaky = "@pytest.mark.flaky(reruns=2)" if by == "mark" else ""
    pytester.makepyfile(f"""{ATTEMPT}
{flaky}
@pytest.mark.kosli("sha256:{WEB}", environment="prod")
def test_it(): attempt()
""")
    result = all_beside("rerunfailures", *(("--reruns=2",) if by == "flag" else ()))
    assert counted(result) == {"failed": 1, "rerun": 2}
    assert result.ret == 1
    assert attempts(pytester) == 0
    assert asked(online) == 1
    result.stdout.fnmatch_lines(["1 check: 1 non-compliant"])


@pytest.mark.parametrize(
    "raised", ["RuntimeError() from error", "ExceptionGroup('', [error, ValueError()])"]
)
def test_a_refusal_behind_another_exception_is_final_as_well(
    all_beside: Beside, online: Sandbox, pytester: pytest.Pytester, raised: str
) -> None:
    pytester.makepyfile(f"""{ATTEMPT}
def test_it(assert_compliant):
    if attempt() == 1:
        try:
            assert_compliant("sha256:{WEB}", environment="prod")
        except AssertionError as error:
            raise {raised}
""")
    result = all_beside("rerunfailures", "--reruns=2")
    assert counted(result) == {"failed": 1, "rerun": 2}
    assert result.ret == 1
    assert attempts(pytester) == 1


def test_kosli_changing_its_mind_is_no_new_answer_within_the_run(
    beside: Beside, online: Sandbox, pytester: pytest.Pytester
) -> None:
    online.fault("asserts/*", times=1, lie=lambda told: told.update(compliant=False))
    pytester.makepyfile(f"""
import pytest

@pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
def test_it(): pass
""")
    result = beside("rerunfailures", "--reruns=2")
    assert counted(result) == {"failed": 1, "rerun": 2}
    assert asked(online) == 1


def test_an_outage_that_ends_between_two_reruns_leaves_no_verdict(
    all_beside: Beside, online: Sandbox, pytester: pytest.Pytester
) -> None:
    online.fault("asserts/*", times=2, cut=3)
    pytester.makepyfile(f"""{ATTEMPT}
@pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
def test_it(): attempt()
""")
    result = all_beside("rerunfailures", "--reruns=2", "--kosli-require=0")
    assert counted(result) == {"errors": 1, "rerun": 2}
    assert result.ret == 1
    assert attempts(pytester) == 0
    assert asked(online) == 2, "the first round and the second"


SHY = {
    "asks no more": "pass",
    "skips": "pytest.skip('not today')",
    "expects to fail": "pytest.xfail('not today')",
}


@pytest.mark.parametrize("then", SHY.values(), ids=SHY)
@pytest.mark.parametrize(
    ("what", "expected"),
    [(f"sha256:{WEB}", {"failed": 1, "rerun": 2}), ("sha256:12", {"errors": 1, "rerun": 2})],
    ids=["refused", "no verdict"],
)
def test_a_test_that_asks_only_once_is_not_excused_by_its_rerun(
    beside: Beside, pytester: pytest.Pytester, what: str, expected: dict[str, int], then: str
) -> None:
    pytester.makepyfile(f"""{ATTEMPT}
def test_it(assert_compliant):
    if attempt() == 1:
        assert_compliant("{what}", environment="prod")
    {then}
""")
    result = beside("rerunfailures", "--reruns=2", "--kosli-report=evidence.json")
    assert counted(result) == expected
    assert result.ret == 1
    assert attempts(pytester) == 1, "nothing of it is set up again"
    (check,) = json.loads(Path(pytester.path / "evidence.json").read_text())["checks"]
    ended = "failed" if "failed" in expected else "error"
    assert [(test["outcome"], test["by"]) for test in check["tests"]] == [(ended, "call")]


def test_a_skip_that_comes_with_the_rerun_is_no_way_out(
    beside: Beside, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
import pytest

@pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
def test_it(request, assert_compliant):
    request.node.add_marker(pytest.mark.skip(reason="too late"))
    assert_compliant("sha256:{WEB}", environment="prod")
""")
    assert counted(beside("rerunfailures", "--reruns=1")) == {"failed": 1, "rerun": 1}


def test_a_refusal_in_a_teardown_or_under_xfail_stays(
    beside: Beside, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""{ATTEMPT}
@pytest.fixture
def late(assert_compliant):
    yield
    if attempt() == 1:
        assert_compliant("sha256:{WEB}", environment="prod")

def test_teardown(late): pass

@pytest.mark.xfail
@pytest.mark.kosli("sha256:{WEB}", environment="prod")
def test_xfail(): pass
""")
    result = beside("rerunfailures", "--reruns=1")
    assert counted(result) == {"passed": 1, "failed": 2, "rerun": 2}


def test_a_body_that_passes_at_its_rerun_passes_and_counts_once(
    all_beside: Beside, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""{ATTEMPT}
@pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
def test_it(): assert attempt() == 2
""")
    result = all_beside(
        "rerunfailures", "--reruns=2", "--kosli-require=1", "--kosli-report=evidence.json"
    )
    assert counted(result) == {"passed": 1, "rerun": 1}
    assert result.ret == 0
    assert asked(online) == 1
    evidence = json.loads((pytester.path / "evidence.json").read_text())
    assert evidence["complete"]
    assert [[test["outcome"] for test in check["tests"]] for check in evidence["checks"]] == [
        ["passed"]
    ]


def test_a_body_that_never_passes_does_not_meet_a_requirement(
    beside: Beside, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
import pytest

@pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
def test_it(): assert False
""")
    result = beside("rerunfailures", "--reruns=1", "--kosli-require=1")
    assert counted(result) == {"failed": 1, "rerun": 1}
    result.stdout.fnmatch_lines(["--kosli-require 1: only 0 got a live, passing verdict *"])


def test_a_test_that_expects_a_refusal_may_be_rerun(
    beside: Beside, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""{ATTEMPT}
def test_it(assert_compliant):
    with pytest.raises(AssertionError):
        assert_compliant("sha256:{WEB}", environment="prod")
    assert attempt() == 2
""")
    assert counted(beside("rerunfailures", "--reruns=1")) == {"passed": 1, "rerun": 1}


def test_what_is_asked_afresh_each_time_may_be_had_at_a_rerun(
    beside: Beside, online: Sandbox, pytester: pytest.Pytester
) -> None:
    online.fault("environments/*", times=1, status=503)
    pytester.makepyfile("""
def test_it(kosli_client):
    assert kosli_client.environment("prod").name == "prod"
""")
    assert counted(beside("rerunfailures", "--reruns=1")) == {"passed": 1, "rerun": 1}


def test_a_dry_run_is_skipped_and_not_rerun_and_shared_fixtures_end(
    beside: Beside, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
import pathlib, pytest

@pytest.fixture(scope="session")
def shared():
    yield
    pathlib.Path("ended").touch()

def test_it(shared, assert_compliant):
    assert_compliant("sha256:{WEB}", environment="prod")
""")
    result = beside("rerunfailures", "--reruns=2", "--kosli-dry-run")
    assert counted(result) == {"skipped": 1}
    assert (pytester.path / "ended").exists()


def test_an_unmarked_neighbour_is_rerun_as_ever(beside: Beside, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""{ATTEMPT}
@pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
def test_compliant(): pass

def test_plain(): assert attempt() == 3
""")
    result = beside("rerunfailures", "--reruns=2")
    assert counted(result) == {"passed": 2, "rerun": 2}
    assert result.ret == 0
