"""Bad weather: every verdict is right all the same, and nothing is asked more than need be."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_kosli import xdist
from pytest_kosli.model import NoVerdict
from tests.answers import OURS, answer
from tests.sandbox import Sandbox

NUMBER = 24
REFUSED = 5  # every fifth artifact is not compliant, so that a swapped answer would show
SUITE = f"""\
from hashlib import sha256
import pytest

ARTIFACTS = [f"a{{n}}=sha256:{{sha256(str(n).encode()).hexdigest()}}" for n in range({NUMBER})]

@pytest.mark.kosli(*ARTIFACTS, environment="prod")
def test_it(): ...
"""


def fingerprint(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()


def body(number: int) -> bytes:
    told = answer(compliant=bool(number % REFUSED))
    return json.dumps(told).replace(OURS, fingerprint(number)).encode()


Weather = Callable[[Sandbox, int], dict[str, Any]]


def slow_for_one(sandbox: Sandbox, number: int) -> dict[str, Any]:
    return {"delay": 1.0 if number == 3 else 0.0}


def any_order(sandbox: Sandbox, number: int) -> dict[str, Any]:
    return {"delay": (NUMBER - number) * 0.02}


def cut_once(sandbox: Sandbox, number: int) -> dict[str, Any]:
    if number % 10 == 0:
        sandbox.fault(f"asserts/acme/fingerprint/{fingerprint(number)}", times=1, cut=10,
                      body=body(number))  # fmt: skip
    return {}


def busy_for_a_while(sandbox: Sandbox, number: int) -> dict[str, Any]:
    if number < 4:
        sandbox.fault(
            f"asserts/acme/fingerprint/{fingerprint(number)}", times=1, status=429,
            headers={"Retry-After": "1"}, body={"message": "later"},
        )  # fmt: skip
    return {}


@pytest.mark.parametrize("weather", [slow_for_one, any_order, cut_once, busy_for_a_while])
def test_every_verdict_is_right_and_asked_for_no_more_than_need_be(
    pytester: pytest.Pytester,
    online: Sandbox,
    everywhere: tuple[str, ...],
    weather: Weather,
) -> None:
    for number in range(NUMBER):
        path = f"asserts/acme/fingerprint/{fingerprint(number)}"
        spoiled = weather(online, number)
        online.fault(path, body=body(number), **spoiled)
    pytester.makepyfile(SUITE)
    pytester.runpytest(
        "-p", "no:cacheprovider", "--junit-xml=out.xml", "--kosli-max-api-retries=2", *everywhere
    )
    assert outcomes(pytester.path / "out.xml") == {
        number: "passed" if number % REFUSED else "failure" for number in range(NUMBER)
    }
    asked = Counter(
        request.path.rpartition("/")[2]
        for request in online.requests
        if "/asserts/" in request.path
    )
    extra = 3 if weather is cut_once else 4 if weather is busy_for_a_while else 0
    assert sum(asked.values()) == NUMBER + extra
    assert max(asked.values()) == (2 if extra else 1)


def test_a_server_that_drips_for_one_artifact_costs_that_one_its_verdict(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    for number in range(NUMBER):
        path = f"asserts/acme/fingerprint/{fingerprint(number)}"
        online.fault(path, body=body(number), drip=1.0 if number == 3 else 0.0)
    pytester.makepyfile(SUITE)
    pytester.runpytest(
        "-p", "no:cacheprovider", "--junit-xml=out.xml", "--kosli-timeout=1", "-p", "no:xdist"
    )
    found = outcomes(pytester.path / "out.xml")
    assert found.pop(3) == "error"
    assert all(found[number] == ("passed" if number % REFUSED else "failure") for number in found)


def test_a_server_that_dies_in_the_middle_ends_the_run_soon(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    for number in range(NUMBER):
        path = f"asserts/acme/fingerprint/{fingerprint(number)}"
        online.fault(path, body=body(number), cut=None if number < 8 else 0)
    pytester.makepyfile(SUITE)
    result = pytester.runpytest(
        "-p", "no:cacheprovider", "--junit-xml=out.xml", "-p", "no:xdist",
        "-okosli_concurrency=4",
    )  # fmt: skip
    found = outcomes(pytester.path / "out.xml")
    assert all(found[number] == "error" for number in range(12, NUMBER))
    assert result.duration < 20
    result.stdout.fnmatch_lines(["*no verdict*"])


def test_what_is_recorded_with_workers_is_what_is_recorded_without(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    for number in range(NUMBER):
        online.fault(f"asserts/acme/fingerprint/{fingerprint(number)}", body=body(number))
    pytester.makepyfile(SUITE)
    tapes = {}
    for name, arguments in {"one": ["-p", "no:xdist"], "two": ["-n2"]}.items():
        pytester.runpytest(
            "-p", "no:cacheprovider", "--kosli-record", f"--kosli-cassettes={name}", *arguments
        )
        tapes[name] = dict(recorded(pytester.path / name))
    assert len(tapes["one"]) >= NUMBER
    assert tapes["one"] == tapes["two"]


def recorded(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each cassette and what it says, but for the moment of recording."""
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_text("utf-8")
            dateless = re.sub(r"\w+, \d+ \w+ \d+ [\d:]+ GMT|\d{4}-\d\d-\d\dT[\d:+]+", "then", text)
            yield str(path.relative_to(folder)), dateless


def outcomes(report: Path) -> dict[int, str]:
    """Return how the test of each artifact ended."""
    found = {}
    for case in ET.parse(report).iter("testcase"):
        name = re.search(r"\[a(\d+)-", case.attrib["name"])
        bad = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        assert name
        found[int(name[1])] = bad[0] if bad else "passed"
    return found


def test_a_worker_on_another_machine_is_refused() -> None:
    for popen, remote in ((True, False), (False, True)):
        node = SimpleNamespace(
            workerinput={},
            gateway=SimpleNamespace(spec=SimpleNamespace(popen=popen)),
            config=SimpleNamespace(stash={}),
        )
        controller = xdist.Controller()
        controller.pytest_configure_node(node)
        worker: Any = SimpleNamespace(workerinput=node.workerinput)
        if remote:
            with pytest.raises(NoVerdict, match="another machine"):
                xdist.shared_folder(worker)
        else:
            assert xdist.shared_folder(worker)
        controller.pytest_unconfigure()


HOOKS = ["expand", "collected", "prefetch", "set_up", "settle", "hear", "finish", "summary"]


@pytest.mark.parametrize(
    ("hook", "where"),
    [*((hook, ("-p", "no:xdist")) for hook in HOOKS), ("prefetch", ("-n2",)), ("hear", ("-n2",))],
)
def test_an_error_of_our_own_fails_the_run(
    pytester: pytest.Pytester, online: Sandbox, hook: str, where: tuple[str, ...]
) -> None:
    online.fault(f"asserts/acme/fingerprint/{fingerprint(1)}", body=body(1))
    pytester.makeconftest(f"""
        from pytest_kosli.session import Session

        def broken(self, *args, **kwargs):
            raise ZeroDivisionError("a bug of ours")

        Session.{hook} = broken
    """)
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{fingerprint(1)}", environment="prod")
        def test_it(): ...
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *where)
    assert result.ret != 0


def test_an_old_verdict_is_refused_where_a_limit_says_so(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    online.fault(f"asserts/acme/fingerprint/{fingerprint(1)}", body=body(1))
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{fingerprint(1)}", environment="prod")
        def test_it(): ...
    """)
    for limit, passed, errors in (("1000d", 1, 0), ("1d", 0, 1)):
        result = pytester.runpytest("-p", "no:cacheprovider", f"--kosli-max-age={limit}")
        result.assert_outcomes(passed=passed, errors=errors)
    result.stdout.fnmatch_lines(["*no verdict (too_old)*"])
