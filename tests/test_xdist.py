"""One process asks and all know; verdicts are there before the first set-up and survive a crash."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from tests.conftest import NEIGHBOURS, Suite
from tests.sandbox import Sandbox
from tests.story import PAYMENTS, WEB

LIVE = """
    import pytest

    @pytest.mark.kosli(snapshot="prod")
    def test_prod(kosli_artifact): pass

    @pytest.mark.kosli(snapshot="staging")
    @pytest.mark.parametrize("time", range(3))
    def test_staging(time): pass

    @pytest.mark.kosli(repo="acme/payments")
    def test_repo(): pass
"""


@pytest.mark.parametrize("workers", ["alone", "-n0", "-n2", "-n4"])
def test_each_question_is_one_request(
    pytester: pytest.Pytester, online: Sandbox, workers: str
) -> None:
    pytester.makepyfile(LIVE)
    where = ("-p", "no:xdist") if workers == "alone" else (workers,)
    Suite(pytester, where)()
    asked = Counter((request.path, request.query) for request in online.requests)
    assert set(asked.values()) == {1}
    assert len([path for path, _ in asked if "/asserts/" in path]) == 13
    assert {path for path, _ in asked if "/asserts/" not in path and "/artifacts/" not in path} == {
        "/api/v2/environments/acme/prod",
        "/api/v2/environments/acme/staging",
        "/api/v2/snapshots/acme/prod/-1",
        "/api/v2/snapshots/acme/staging/-1",
        "/api/v2/repos/acme/live-artifacts/acme%2Fpayments",
    }


@pytest.mark.parametrize("workers", ["alone", "-n2"])
def test_an_outage_is_one_outage_for_all(
    pytester: pytest.Pytester, online: Sandbox, workers: str
) -> None:
    online.fault("asserts/*", cut=3)
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.parametrize("time", range(4))
        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_it(time): pass
    """)
    where = ("-p", "no:xdist") if workers == "alone" else (workers,)
    Suite(pytester, where)().assert_outcomes(errors=4)
    assert len(online.requests) == 2, "the first round and the second"


SHADE = {
    "the server goes": """
        @pytest.fixture(autouse=True, scope="session")
        def shade():
            import os, urllib.request
            os.environ["KOSLI_HOST"] = "http://127.0.0.1:9"
            os.environ["KOSLI_API_TOKEN"] = "another"
            yield
    """,
    "requests is mocked": """
        @pytest.fixture(autouse=True, scope="session")
        def shade():
            import requests
            with pytest.MonkeyPatch.context() as patch:
                def send(*args, **kwargs):
                    raise RuntimeError("the network is mocked")
                patch.setattr(requests.adapters.HTTPAdapter, "send", send)
                patch.setattr(requests.Session, "request", send)
                yield
    """,
    "sockets are blocked": """
        @pytest.fixture(autouse=True, scope="session")
        def shade():
            import socket
            with pytest.MonkeyPatch.context() as patch:
                def connect(*args, **kwargs):
                    raise RuntimeError("no sockets")
                patch.setattr(socket, "create_connection", connect)
                patch.setattr(socket, "getaddrinfo", connect)
                yield
    """,
}


@pytest.mark.parametrize("shade", SHADE.values(), ids=SHADE)
def test_nothing_that_a_test_sets_up_colours_a_verdict(
    each: Suite, pytester: pytest.Pytester, shade: str
) -> None:
    from textwrap import dedent

    pytester.makepyfile(
        f"import pytest\n{dedent(shade)}\n"
        "def test_first(): pass\n\n"
        f"@pytest.mark.kosli('sha256:{PAYMENTS}', environment='prod')\n"
        "def test_compliant(): pass\n\n"
        f"@pytest.mark.kosli('sha256:{WEB}', environment='prod')\n"
        "def test_refused(): pass\n"
    )
    result = each()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E   0722a81 is not compliant: snyk-scan missing"])


def test_the_questions_are_asked_before_the_first_set_up(
    each: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pathlib, pytest, time

        def test_first():
            pathlib.Path("began").write_text(str(time.time()))

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_second(): pass
    """)
    each("-p", "no:randomly").assert_outcomes(passed=2)
    assert online.requests[0].received < float((pytester.path / "began").read_text())


def test_the_questions_are_asked_first_also_after_an_error_in_collection(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        test_a=f"""
        import pathlib, pytest, time

        def test_first():
            pathlib.Path("began").write_text(str(time.time()))

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_second(): pass
        """,
        test_bad="import no_such_module",
    )
    alone("--continue-on-collection-errors").assert_outcomes(passed=2, errors=1)
    assert online.requests[0].received < float((pytester.path / "began").read_text())


def test_one_question_that_can_not_be_asked_holds_up_no_other(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pathlib, pytest, time

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="no such name")
        def test_first():
            pass

        def test_clock():
            pathlib.Path("began").write_text(str(time.time()))

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_second(): pass
    """)
    alone().assert_outcomes(passed=2, errors=1)
    assert online.requests[0].received < float((pytester.path / "began").read_text())


def test_a_worker_that_crashes_takes_no_verdict_with_it(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    pytester.makepyfile("""
        import os, pytest

        @pytest.mark.kosli(snapshot="staging")
        def test_it(kosli_artifact):
            if "web" in kosli_artifact.name:
                os._exit(3)
    """)
    result = Suite(pytester, ("-n2",))("--kosli-require=3")
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["compliant * web 0722a81"])
    result.stdout.fnmatch_lines(["--kosli-require 3: only 2 got *"])


def test_two_runs_in_one_process_share_nothing(pytester: pytest.Pytester, online: Sandbox) -> None:
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_it(): pass
        """,
        twice="""
        import pytest

        first = pytest.main(["-p", "no:xdist", "-q", "test_it.py"])
        second = pytest.main(["-p", "no:xdist", "-q", "test_it.py", "--kosli-require=2"])
        print("codes", int(first), int(second))
        """,
    )
    result = pytester.runpython(pytester.path / "twice.py")
    result.stdout.fnmatch_lines(["codes 0 1"])
    assert len(online.requests) == 2


@pytest.mark.parametrize("stop", ["-x", "--maxfail=1"])
def test_a_refusal_stops_a_run_that_stops_at_failures(
    alone: Suite, pytester: pytest.Pytester, stop: str
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{WEB}", environment="prod")
        def test_first(): pass

        def test_second(): pass
    """)
    result = alone(stop)
    result.assert_outcomes(failed=1)
    assert result.ret == 1


def test_a_dry_run_stops_nothing(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{WEB}", environment="prod")
        def test_first(): pass

        def test_second(): pass
    """)
    alone("-x", "--kosli-dry-run").assert_outcomes(skipped=1, passed=1)


def test_a_report_that_lost_its_record_fails_the_run(
    each: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest("""
        import pytest

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if hasattr(report, "kosli"):
                del report.kosli
            return report
    """)
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_it(): pass
        """
    )
    result = each()
    result.assert_outcomes(passed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["test_it.py::test_it* passed, but its verdict did not arrive"])


def test_a_folder_or_keyword_of_our_name_is_nothing_to_us(
    each: Suite, pytester: pytest.Pytester
) -> None:
    folder = pytester.mkpydir("kosli")
    (folder / "test_kosli.py").write_text("def test_kosli(): pass\n")
    result = each()
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.no_fnmatch_line("=* kosli =*")


def test_an_interrupted_run_is_an_interrupted_run(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_first():
            raise KeyboardInterrupt

        @pytest.mark.kosli("sha256:{WEB}", environment="prod")
        def test_second(): pass
    """)
    result = pytester.runpytest_subprocess(*NEIGHBOURS, "-p", "no:xdist", "--kosli-require=2")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["--kosli-require 2: only 0 got *"])


def test_no_thread_and_no_connection_is_left_behind(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(LIVE)
    before = set(threading.enumerate())
    alone()
    assert set(threading.enumerate()) <= before


def test_no_folder_is_left_behind(
    pytester: pytest.Pytester, online: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = pytester.mkdir("shared")
    monkeypatch.setenv("TMPDIR", str(shared))
    pytester.makepyfile(LIVE)
    result = pytester.runpytest_subprocess(*NEIGHBOURS, "-p", "no:cacheprovider", "-n2")
    assert result.ret == 1
    assert [path.name for path in shared.iterdir() if "kosli" in path.name] == []
