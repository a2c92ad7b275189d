"""Tests that run in processes of their own share the run's answers and tell what they learned."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from tests.neighbours.conftest import Beside, needs
from tests.neighbours.suite import OUTCOMES, SUITE
from tests.sandbox import Sandbox
from tests.story import PAYMENTS, WEB

forked = needs("pytest-forked")


@pytest.fixture
def boxed(beside: Beside, pytester: pytest.Pytester) -> Beside:
    """A run with pytest-forked, where it can run any test with this pytest."""
    beside.run = pytester.runpytest_subprocess
    probe = pytester.makepyfile(test_probe="def test_it(): pass")
    if pytester.runpytest_subprocess("-p", "pytest_forked", "--forked", probe).ret != 0:
        pytest.skip(f"pytest-forked fails every test with pytest {pytest.__version__}")
    return beside


@forked
@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n2")], ids=["alone", "n2"])
def test_every_verdict_is_told(
    boxed: Beside, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    boxed.workers = workers
    pytester.makepyfile(test_suite=SUITE)
    result = boxed(
        "pytest_forked", "--forked", "--kosli-require=1", "--kosli-report=evidence.json",
        "test_suite.py",
    )  # fmt: skip
    result.assert_outcomes(**OUTCOMES)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["4 checks: 1 non-compliant, 2 no verdict, 1 compliant"])
    assert "--kosli-require" not in result.stdout.str().partition("4 checks")[2]


@forked
def test_what_one_test_asks_another_knows(
    boxed: Beside, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        test_suite=f"""
        import pytest

        @pytest.mark.parametrize("time", range(3))
        def test_it(time, assert_compliant):
            assert_compliant("sha256:{PAYMENTS}", environment="prod")

        @pytest.mark.forked
        @pytest.mark.kosli("sha256:{WEB}", environment="staging")
        def test_marked(): pass
        """
    )
    boxed("pytest_forked", "--forked", "test_suite.py").assert_outcomes(passed=4)
    asked = Counter((one.path, one.query) for one in online.requests if "/asserts/" in one.path)
    assert sorted(asked.values()) == [1, 1]


@forked
def test_a_test_that_dies_under_xfail_does_not_excuse_its_missing_verdict(
    boxed: Beside, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        test_suite=f"""
        import pytest

        @pytest.mark.xfail
        @pytest.mark.kosli("sha256:{WEB}", environment="prod")
        def test_it(): pass
        """
    )
    pytester.makeconftest("""
        import os, pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_setup(item):
            os._exit(7)
    """)
    result = boxed("pytest_forked", "--forked", "test_suite.py", "-W", "ignore::RuntimeWarning")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*::test_it* xfailed, but its verdict did not arrive"])


@forked
def test_what_only_a_childs_test_body_asks_is_told(
    boxed: Beside, pytester: pytest.Pytester
) -> None:
    """Nothing of Kosli's is met in the process that hears the report."""
    pytester.makepyfile(
        test_suite=f"""
        def test_it(request):
            request.getfixturevalue("assert_compliant")("sha256:{PAYMENTS}", environment="prod")
        """
    )
    result = boxed("pytest_forked", "--forked", "test_suite.py")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 check: 1 compliant"])


FORK = """
import os, sys
from pytest_kosli.api.http import Http
from pytest_kosli.model import Request

http = Http(sys.argv[1], None, max_api_retries=0, user_agent="test")
http(Request(("parent",)))
child = os.fork()
if not child:
    http(Request(("child",)))
    os._exit(0)
_, status = os.waitpid(child, 0)
http(Request(("parent",)))
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Ports(BaseHTTPRequestHandler):
    """Notes from which port each request came; a port is a connection."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        self.seen.append(self.client_address[1])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None: ...


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_process_does_not_write_into_its_parents_connection() -> None:
    # Over TLS, the next one to use it could not go on with what both believe to be theirs.
    with ThreadingHTTPServer(("127.0.0.1", 0), Ports) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FORK, url], timeout=60, check=False
        )
        server.shutdown()
    assert done.returncode == 0
    first, childs, second = Ports.seen
    assert first == second != childs
