"""Waiting: what is late is asked again until it is settled; nothing else, and never for long."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_kosli import discovery
from pytest_kosli.discovery import Check, Found, Sources
from pytest_kosli.explain import main_reason
from pytest_kosli.judge import is_late, judge
from pytest_kosli.model import NoVerdict, Outcome, Reply, Request, Waited
from pytest_kosli.waiting import LONGEST, Late, look_again, moments
from tests.answers import (
    ARTIFACT,
    IGNORED,
    LISTING,
    MISSING,
    NAMED,
    THEIRS,
    answer,
    attestation,
    policy,
    question,
    reply,
    resolution,
    rule,
)
from tests.changing import (
    BAD,
    COMPLIANT,
    EARLY,
    ERROR,
    FAILED_SCAN,
    GONE,
    GREEN,
    INSTANCES,
    NO_POLICIES,
    RED,
    SILENCE,
    STAGING,
    UNKNOWN,
    Row,
    after,
    in_flow,
    in_trail,
    play,
    refused,
    suite,
)
from tests.conftest import NEIGHBOURS, Suite
from tests.sandbox import Sandbox
from tests.story import PAYMENTS, WEB

Json = dict[str, Any]

# What is worth waiting for.

LATE: dict[str, tuple[str, Json]] = {
    "an attestation is missing": ("environment", refused(MISSING)),
    "two are missing": ("environment", refused(MISSING, MISSING)),
    "no flow holds it": ("environment", refused(rule(False, resolution("no_provenance")))),
    "its provenance is missing": (
        "environment",
        refused(rule(False, resolution("missing_provenance"))),
    ),
    "its trail is incomplete": ("environment", refused(in_trail("INCOMPLETE"))),
    "a policy is incomplete": ("environment", refused(IGNORED, word="INCOMPLETE")),
    "a flow is incomplete": ("flow", in_flow("INCOMPLETE")),
    "a flow waits for an attestation": ("flow", in_flow("INCOMPLETE", attestation("scan", None))),
    "it is not yet on the trail": ("flow", in_flow("MISSING")),
}
FINAL: dict[str, tuple[str, Json]] = {
    "it is compliant": ("environment", answer()),
    "an attestation has failed": ("environment", refused(FAILED_SCAN)),
    "one has failed and one is missing": ("environment", refused(MISSING, FAILED_SCAN)),
    "its trail is not compliant": ("environment", refused(in_trail("NON-COMPLIANT"))),
    "its trail says nothing": ("environment", refused(in_trail(None))),
    "a policy is not compliant": ("environment", refused(IGNORED)),
    "a flow is not compliant": ("flow", in_flow("NON-COMPLIANT")),
    "a flow's attestation has failed": (
        "flow",
        in_flow("NON-COMPLIANT", attestation("scan", False), attestation("sbom", None)),
    ),
    "its flow is of a legacy kind": (
        "environment",
        refused(rule(False, resolution("legacy_flow"))),
    ),
    "nobody knows why": ("environment", answer(compliant=False, policy_evaluations=[])),
    "the reason is new": ("environment", refused(rule(False, resolution("INCOMPLETE")))),
    "a rule without a resolution": ("environment", refused(rule(False))),
    "it is allow-listed": (
        "environment",
        answer(allow_listing=LISTING, policy_evaluations=[policy("p", False, MISSING)]),
    ),
}


@pytest.mark.parametrize("name", LATE)
def test_what_is_missing_or_incomplete_is_late(name: str) -> None:
    kind, body = LATE[name]
    verdict = judge(question(NAMED[kind]), reply(body), ARTIFACT)
    assert verdict.outcome is Outcome.NON_COMPLIANT
    assert is_late(verdict)


@pytest.mark.parametrize("name", FINAL)
def test_what_has_failed_or_is_settled_is_not_late(name: str) -> None:
    kind, body = FINAL[name]
    assert not is_late(judge(question(NAMED[kind]), reply(body), ARTIFACT))


def test_a_refusal_for_no_reason_is_not_late() -> None:
    verdict = judge(question(), reply(GONE, 404), ARTIFACT)
    assert not is_late(replace(verdict, reasons=()))


def test_an_incomplete_trail_is_not_said_to_have_failed() -> None:
    for state, words in (("INCOMPLETE", "is incomplete"), ("NON-COMPLIANT", "failed")):
        verdict = judge(question(), reply(refused(in_trail(state))), ARTIFACT)
        assert main_reason(verdict) == f"its trail {words}"


def test_what_is_unknown_is_late() -> None:
    assert is_late(judge(question(), reply(GONE, 404), ARTIFACT))


@pytest.mark.parametrize(
    ("code", "sources", "late"),
    [
        ("no_artifacts", Sources(snapshots=("prod",)), True),
        ("no_artifacts", Sources(repos=("acme/web",)), True),
        ("no_artifacts", Sources(references=("x",)), False),
        ("no_artifacts", Sources(), False),
        ("no_artifacts", Sources(snapshots=("prod#42",)), False),
        ("no_artifacts", Sources(snapshots=("prod~1", "prod@{now}", "no such")), False),
        ("empty_environment", Sources(snapshots=("prod",)), True),
        ("stale_snapshot", Sources(snapshots=("prod",)), True),
        ("stale_snapshot", Sources(snapshots=("prod~1",)), False),
        ("unknown_environment", Sources(snapshots=("prod",)), False),
        ("unauthorized", Sources(snapshots=("prod",)), False),
        (None, Sources(snapshots=("prod",)), False),
    ],
)
def test_what_runs_is_late_when_kosli_may_not_have_been_told(
    code: str | None, sources: Sources, late: bool
) -> None:
    check = Check("x", problem=NoVerdict(code, "") if code else None)
    assert discovery.is_late(Found((check,)), [Sources(references=("y",)), sources]) is late


# When it is asked again.


class Clock:
    """A clock that moves when somebody sleeps, or works."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def moments_of(seconds: float, work: float = 0.0) -> tuple[list[float], list[float], Clock]:
    """Return when it is asked again, what is told, and the clock, when each round takes so long."""
    clock, told = Clock(), list[float]()
    found = []
    for passed in moments(seconds, told.append, lambda: clock.now, clock.sleep):
        found.append(passed)
        clock.now += work
    return found, told, clock


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, []),
        (0.5, [0.5]),
        (1, [1]),
        (2, [1, 2]),
        (7.5, [1, 3, 7, 7.5]),
        (90, [1, 3, 7, 15, 30, 45, 60, 75, 90]),
    ],
)
def test_the_pauses_grow_and_the_last_moment_is_the_end(
    seconds: float, expected: list[float]
) -> None:
    found, told, clock = moments_of(seconds)
    assert found == expected
    assert all(nap <= 1 for nap in clock.naps), "Ctrl-C and the line on the terminal need that"
    assert told == sorted(told, reverse=True)
    assert all(0 < left <= seconds for left in told)


def test_no_round_begins_when_the_time_is_up() -> None:
    found, _, _ = moments_of(10, work=6)
    assert found == [1, 9]
    assert moments_of(10, work=60)[0] == [1]


@given(st.floats(0.1, 3600), st.floats(0, 40))
def test_no_time_is_overstepped_and_the_number_of_rounds_is_bounded(
    seconds: float, work: float
) -> None:
    found, _, _ = moments_of(seconds, work)
    assert all(passed <= seconds + 1e-6 for passed in found)
    assert len(found) <= 5 + seconds / LONGEST
    if not work:
        assert found[-1] == pytest.approx(seconds)


# What is made of the replies.


def one(name: str) -> Request:
    return Request(("asserts", name))


def said(word: str) -> Reply:
    return Reply(200, word.encode())


class Script:
    """An exchange that says what it is told to, request by request; None is silence."""

    def __init__(self, **words: Sequence[str | NoVerdict]) -> None:
        self.rest = {one(name): iter(said) for name, said in words.items()}
        self.asked: Counter[str] = Counter()

    def __call__(self, request: Request) -> Reply:
        self.asked[request.segments[1]] += 1
        word = next(self.rest[request])
        if isinstance(word, NoVerdict):
            raise word
        return said(word)


def wait(script: Script, moments: Sequence[float]) -> dict[str, tuple[str, Waited | None]]:
    late = Late(
        {request: said("late") for request in script.rest}, lambda _, reply: reply.body == b"late"
    )

    def side_by_side(jobs: Sequence[Callable[[], object]]) -> None:
        for job in jobs:
            job()

    last = late.again(script, side_by_side, moments)
    return {
        request.segments[1]: (reply.body.decode(), reply.waited) for request, reply in last.items()
    }


SILENT = NoVerdict("timeout", "no line")
OUTAGE = NoVerdict("outage", "nothing is sent any more")


def test_a_reply_takes_the_place_of_the_one_before_and_then_it_is_not_asked_again() -> None:
    script = Script(a=["late", "fine"], b=["bad"], c=["late"] * 3)
    assert wait(script, [1, 3, 7]) == {
        "a": ("fine", Waited(3, 3)),
        "b": ("bad", Waited(1, 2)),
        "c": ("late", Waited(7, 4)),
    }
    assert script.asked == {"a": 2, "b": 1, "c": 3}


def test_silence_takes_the_place_of_no_reply_and_is_told() -> None:
    script = Script(a=[SILENT, SILENT], b=[SILENT, "fine"], c=["late", SILENT])
    assert wait(script, [1, 3]) == {
        "a": ("late", Waited(3, 3, unheard=2)),
        "b": ("fine", Waited(3, 3)),
        "c": ("late", Waited(3, 3, unheard=1)),
    }


def test_nobody_waits_when_nothing_is_sent_any_more() -> None:
    assert wait(Script(a=[OUTAGE]), [1, 3, 7]) == {"a": ("late", Waited(1, 2, unheard=1))}


def test_a_look_keeps_the_replies_of_its_last_time_that_is_whole() -> None:
    script = Script(a=["1", "2", "3", "4"], b=["1", "2", SILENT, "4"])
    found: list[str] = []

    def look(exchange: Callable[[Request], Reply], enough: str) -> bool:
        try:
            found.append("".join(exchange(one(name)).body.decode() for name in "aba"))
        except NoVerdict:
            return True  # silence is never enough
        return found[-1] == enough

    last = look_again(script, lambda exchange: look(exchange, "222"), [1, 3, 7])
    assert found == ["111", "222"]
    assert last == {one("a"): said("2"), one("b"): said("2")}
    assert script.asked == {"a": 2, "b": 2}, "one request is sent once a look"

    last = look_again(script, lambda exchange: look(exchange, "never"), [1, 3])
    assert found[2:] == ["444"]
    assert last == {one("a"): said("4"), one("b"): said("4")}


def test_a_look_ends_when_nothing_is_sent_any_more() -> None:
    script = Script(a=[OUTAGE])

    def look(exchange: Callable[[Request], Reply]) -> bool:
        with pytest.raises(NoVerdict):
            exchange(one("a"))
        return False

    assert look_again(script, look, [1, 3, 7]) == {}


# The law: a server that changes its mind, asked by a run that waits two seconds.

ROWS = [
    # Green, and only because the last word is.
    Row("late attestation", (EARLY, COMPLIANT), GREEN, asked=2),
    Row("very late attestation", (EARLY, EARLY, COMPLIANT), GREEN),
    Row("late artifact", (UNKNOWN, EARLY, COMPLIANT), GREEN),
    Row("late flow", ({"body": in_flow("INCOMPLETE")}, {"body": answer("flow")}), GREEN, asked=2,
        scope='flow="*"'),
    Row("late allow-listing", (EARLY, {"body": answer(allow_listing=LISTING)}), GREEN, asked=2),
    Row("silence between", (EARLY, SILENCE, COMPLIANT), GREEN),
    # A verdict that refuses, at once or in the end.
    Row("failed, then compliant", (BAD, COMPLIANT), RED, "scan failed", 1),
    Row("no reason, then compliant", ({"body": answer(compliant=False, policy_evaluations=[])},
        COMPLIANT), RED, "gave no reason", 1),
    Row("late and failed", (EARLY, BAD, COMPLIANT), RED, "scan failed", 2),
    Row("unknown and failed", (UNKNOWN, BAD, COMPLIANT), RED, "scan failed", 2),
    Row("never complete", (EARLY,), RED, "scan missing"),
    Row("never known", (UNKNOWN,), RED, "is unknown to Kosli"),
    Row("too late", (EARLY, EARLY, EARLY, COMPLIANT), RED, "scan missing"),
    Row("silence in the end", (EARLY, EARLY, SILENCE), RED, "the last without a reply"),
    # No verdict: final, whenever it comes.
    Row("unreadable at once", ({"body": "<html>"}, COMPLIANT), ERROR, "malformed", 1),
    Row("no such environment", ({"status": 404, "body": {"message": "Environment named 'prod' does "
        "not exist for organization 'acme'"}}, COMPLIANT), ERROR, "unknown_environment", 1),
    Row("down at once", ({"status": 503, "body": "no"}, COMPLIANT), ERROR, "server_error", 1),
    Row("late, then about another", (EARLY, {"body": answer(fingerprint=THEIRS)}, COMPLIANT),
        ERROR, "mismatch", 2),
    Row("late, then in another environment", (EARLY, {"body": answer(environment="dev")},
        COMPLIANT), ERROR, "mismatch", 2),
    Row("late, then without policies", (EARLY, NO_POLICIES, COMPLIANT), ERROR, "no_policies", 2),
    Row("late, then against itself", (EARLY, {"body": answer(policy_evaluations=[
        policy("p", False)])}, COMPLIANT), ERROR, "contradiction", 2),
    Row("late, then unreadable", (EARLY, {"body": "<html>"}, COMPLIANT), ERROR, "malformed", 2),
    Row("late, then a 401", (EARLY, {"status": 401, "body": {"message": "no"}}, COMPLIANT), ERROR,
        "unauthorized", 2),
    Row("late, then a 503", (EARLY, {"status": 503, "body": "no"}, COMPLIANT), ERROR,
        "server_error", 2),
    Row("unknown, then another one is", (UNKNOWN, {"status": 404, "body": {"message":
        f"Artifact with fingerprint '{THEIRS}' does not exist"}}, COMPLIANT), ERROR, "mismatch", 2),
]  # fmt: skip


def questions_to(sandbox: Sandbox) -> Counter[str]:
    """Return how often each fingerprint was asked about."""
    return Counter(
        request.path.rpartition("/")[2]
        for request in sandbox.requests
        if "/asserts/" in request.path
    )


def outcomes(report: Any) -> dict[int, tuple[str, str]]:
    """Return how each test ended, and its text."""
    found = {}
    for case in ET.parse(report).iter("testcase"):
        bad = [child for child in case if child.tag in ("failure", "error")]
        number = int(re.match(r"test_(\d+)", case.attrib["name"])[1])  # type: ignore[index]
        found[number] = (bad[0].tag, bad[0].text or "") if bad else ("passed", "")
    return found


def test_only_a_last_word_that_is_compliant_is_green(
    pytester: pytest.Pytester, online: Sandbox, everywhere: tuple[str, ...]
) -> None:
    play(online, ROWS)
    pytester.makepyfile(suite(ROWS))
    result = Suite(pytester, everywhere)("--kosli-wait=2", "--junit-xml=out.xml")
    times = [request.received for request in online.requests if "/asserts/" in request.path]
    assert max(times) - min(times) < 2 * len(ROWS) / 2, "all of them wait together"
    found = outcomes(pytester.path / "out.xml")
    asked = questions_to(online)
    for number, row in enumerate(ROWS):
        outcome, text = found[number]
        assert (row.name, outcome) == (row.name, row.outcome), text
        assert row.words in text
        if row.asked > 1 and row.outcome != GREEN:
            assert re.search(rf"waited +\d+ s, asked {row.asked} times", text), text
        # What got no reply at all is asked in a second round right after, as ever.
        assert (row.name, asked[row.fingerprint]) == (row.name, row.asked)
    told = (
        f"waited 2 s for * of {len(ROWS)} checks, asked * times more, in the end without a reply*"
    )
    result.stdout.fnmatch_lines([told])


def test_without_waiting_the_first_word_is_the_last(alone: Suite, online: Sandbox) -> None:
    rows = [row for row in ROWS if row.asked > 1]
    play(online, rows)
    alone.pytester.makepyfile(suite(rows))
    alone().assert_outcomes(failed=len(rows))
    assert set(questions_to(online).values()) == {1}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, online: Sandbox) -> Iterator[Sandbox]:
    """A world that a test may change."""
    with Sandbox("acme") as sandbox:
        monkeypatch.setenv("KOSLI_HOST", sandbox.url)
        yield sandbox


SCAN = ("artifacts", "web", "reports", 0, "attestations", "snyk-scan")
MARKED = f"""
    import pytest

    @pytest.mark.kosli("web=sha256:{WEB}", environment="prod")
    def test_web(): ...

    @pytest.mark.kosli("payments=sha256:{PAYMENTS}", environment="prod")
    def test_payments(): ...
"""


def test_a_late_attestation_turns_a_waiting_run_green_and_only_then(
    each: Suite, own: Sandbox
) -> None:
    each.pytester.makepyfile(MARKED)
    after(own, 3, f"asserts/*{WEB}", lambda: own.set(*SCAN, to={"type": "snyk"}))
    result = each("--kosli-wait=1")
    result.assert_outcomes(passed=1, failed=1)
    assert questions_to(own) == {WEB: 2, PAYMENTS: 1}
    result.stdout.fnmatch_lines(["E     waited   1 s, asked 2 times"])
    result = each("--kosli-wait=5m")
    result.assert_outcomes(passed=2)
    assert questions_to(own) == {WEB: 4, PAYMENTS: 2}
    result.stdout.fnmatch_lines(["waited 1 s for 1 of 2 checks, asked 1 time more"])


def test_an_attestation_that_comes_and_has_failed_ends_the_waiting(
    alone: Suite, own: Sandbox
) -> None:
    alone.pytester.makepyfile(MARKED)
    failed = {"type": "snyk", "compliant": False}
    after(own, 1, f"asserts/*{WEB}", lambda: own.set(*SCAN, to=failed))
    result = alone("--kosli-wait=5m")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E   web 0722a81 is not compliant: snyk-scan failed"])
    assert questions_to(own)[WEB] == 2


def test_a_call_in_a_test_waits_as_well_and_a_list_together(each: Suite, online: Sandbox) -> None:
    rows = [
        Row("call one", (EARLY, COMPLIANT), GREEN),
        Row("call two", (UNKNOWN, EARLY, COMPLIANT), GREEN),
    ]
    lost = Row("call three", (EARLY,), RED)
    play(online, [*rows, lost])
    references = [f"sha256:{row.fingerprint}" for row in rows]
    each.pytester.makepyfile(f"""
        import pytest

        @pytest.fixture(scope="session")
        def deployed(assert_compliant):
            return assert_compliant({references}, environment="prod")

        @pytest.mark.parametrize("time", range(4))
        def test_it(deployed, time):
            assert len(deployed) == 2

        def test_again(deployed, assert_compliant):
            with pytest.raises(AssertionError, match="scan missing"):
                for _ in range(3):
                    try:
                        assert_compliant("sha256:{lost.fingerprint}", environment="prod")
                    except AssertionError as error:
                        last = error
                raise last
    """)
    result = each("--kosli-wait=2")
    result.assert_outcomes(passed=5)
    assert questions_to(online) == {
        rows[0].fingerprint: 2, rows[1].fingerprint: 3, lost.fingerprint: 3
    }, "each question is waited for once a run, whoever asks"  # fmt: skip


def test_plugins_hear_the_last_verdict_alone(alone: Suite, online: Sandbox) -> None:
    rows = [Row("heard", (EARLY, COMPLIANT), GREEN)]
    play(online, rows)
    alone.pytester.makepyfile(suite(rows))
    alone.pytester.makeconftest("""
        def pytest_kosli_verdict(config, verdict):
            print("HEARD", verdict.outcome.name, verdict.waited.asked)
    """)
    result = alone("--kosli-wait=1", "-s")
    assert re.findall(r"HEARD .*", result.stdout.str()) == ["HEARD COMPLIANT 2"]


def test_the_command_line_takes_back_what_the_ini_file_says(alone: Suite, online: Sandbox) -> None:
    rows = [Row("in no hurry", (EARLY,), RED)]
    play(online, rows)
    alone.pytester.makepyfile(suite(rows))
    alone.pytester.makeini("[pytest]\nkosli_wait = 1\n")
    for arguments, asked in (((), 2), (("--kosli-wait=0",), 1)):
        online.reset()
        play(online, rows)
        alone(*arguments).assert_outcomes(failed=1)
        assert set(questions_to(online).values()) == {asked}


def test_a_patched_clock_in_a_test_holds_no_waiting_up(alone: Suite, online: Sandbox) -> None:
    row = Row("patched", (EARLY, COMPLIANT), GREEN)
    play(online, [row])
    alone.pytester.makepyfile(f"""
        import time

        def test_it(assert_compliant, monkeypatch):
            monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
            monkeypatch.setattr(time, "monotonic", lambda: 0.0)
            monkeypatch.setattr(time, "sleep", lambda seconds: 1 / 0)
            assert_compliant("sha256:{row.fingerprint}", environment="prod")
    """)
    alone("--kosli-wait=1").assert_outcomes(passed=1)


def test_all_or_nothing_decides_after_waiting(alone: Suite, online: Sandbox) -> None:
    rows = [Row("first", (EARLY, COMPLIANT), GREEN), Row("second", (COMPLIANT,), GREEN)]
    play(online, rows)
    alone.pytester.makepyfile(suite(rows))
    alone("--kosli-wait=1", "--kosli-all-or-nothing").assert_outcomes(passed=2)
    online.reset()
    play(online, [Row("first", (EARLY,), RED), rows[1]])
    alone("--kosli-wait=1", "--kosli-all-or-nothing").assert_outcomes(failed=1, errors=1)


# The end of the time.


def test_a_server_that_hangs_costs_one_request_more_and_no_verdict_that_was_had(
    alone: Suite, online: Sandbox
) -> None:
    row = Row("hangs", (EARLY, {"body": answer(), "delay": 30}), RED)
    play(online, [row])
    alone.pytester.makepyfile(suite([row]))
    began = time.monotonic()
    result = alone("--kosli-wait=1", "--kosli-timeout=1.5", "--kosli-max-api-retries=3")
    assert time.monotonic() - began < 5
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E     waited   1 s, asked 2 times, the last without a reply"])


def test_the_time_for_all_first_answers_does_not_cut_the_waiting_short(
    alone: Suite, online: Sandbox
) -> None:
    row = Row("patient", (EARLY, EARLY, COMPLIANT), GREEN)
    play(online, [row])
    alone.pytester.makepyfile(suite([row]))
    # Two seconds and a tenth are all that the first round may take.
    result = alone("--kosli-wait=3", "--kosli-timeout=0.1", "--kosli-max-api-retries=0")
    result.assert_outcomes(passed=1)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_ctrl_c_ends_the_waiting_within_a_second(
    pytester: pytest.Pytester, online: Sandbox
) -> None:
    row = Row("for ever", (EARLY,), RED)
    play(online, [row])
    pytester.makepyfile(suite([row]))
    pytester.makeconftest("""
        import pathlib, pytest, time

        @pytest.hookimpl(tryfirst=True)
        def pytest_keyboard_interrupt():
            pathlib.Path("ended").write_text(str(time.time()))
    """)
    # Without a terminal: what pytest makes of the traceback takes longer than a second.
    arguments = ["-p", "no:terminal", "-p", "no:xdist", *NEIGHBOURS, "--kosli-wait=10m"]
    # Who starts these tests in the background has them ignore the signal.
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, "-m", "pytest", *arguments]
    run = subprocess.Popen(command, preexec_fn=heeds)
    while questions_to(online)[row.fingerprint] < 3:
        assert run.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)  # in the middle of a pause of four seconds
    pressed = time.time()
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=60) == 2
    assert float((pytester.path / "ended").read_text()) - pressed < 1
    assert questions_to(online)[row.fingerprint] == 3


# What runs is not reported yet.

RUNNING = """
    import pytest

    @pytest.mark.kosli(snapshot="staging", at_least=3)
    def test_three(): ...

    @pytest.mark.kosli
    def test_flagged(): ...
"""


def test_a_snapshot_that_is_late_is_asked_again_and_all_workers_see_the_same(
    each: Suite, own: Sandbox
) -> None:
    every = own.data.model_dump(by_alias=True)["environments"]["staging"]["snapshots"][0][
        "artifacts"
    ]
    own.set(*INSTANCES, to=every[:1])
    after(own, 1, STAGING, lambda: own.set(*INSTANCES, to=every))
    each.pytester.makepyfile(RUNNING)
    each("--kosli-snapshot=staging", "--kosli-wait=20").assert_outcomes(passed=6)
    asked = Counter(request.path for request in own.requests)
    assert asked[f"/api/v2/{STAGING}"] == 2
    assert set(questions_to(own).values()) == {1}


def test_a_snapshot_that_stays_too_small_is_an_error_in_the_end(alone: Suite, own: Sandbox) -> None:
    own.set(*INSTANCES, to=[])
    alone.pytester.makepyfile(RUNNING)
    alone("--kosli-snapshot=staging", "--kosli-wait=1").assert_outcomes(errors=2)
    asked = Counter(request.path for request in own.requests)
    assert asked[f"/api/v2/{STAGING}"] == 2, "the waiting time is one for all that runs"


def test_an_environment_that_is_reported_for_the_first_time_is_waited_for(
    alone: Suite, own: Sandbox
) -> None:
    first = {
        "index": 1,
        "at": 1780000000.0,
        "artifacts": [{"artifact": "payments", "started": [1.0]}],
    }
    after(
        own,
        1,
        "snapshots/acme/dr/-1",
        lambda: own.set(*("environments", "dr", "snapshots"), to=[first]),
    )
    result = alone("--pyargs", "pytest_kosli.gate", "--kosli-snapshot=dr", "--kosli-wait=20")
    result.assert_outcomes(passed=1)


def test_a_report_that_is_too_old_is_waited_for(alone: Suite, own: Sandbox) -> None:
    reported = ("environments", "staging", "reported_ago")
    after(own, 1, "environments/acme/staging", lambda: own.set(*reported, to=1))
    gate = ("--pyargs", "pytest_kosli.gate", "--kosli-snapshot=staging")
    alone(*gate, "--kosli-max-snapshot-age=2m", "--kosli-wait=20").assert_outcomes(passed=3)


@pytest.mark.parametrize("snapshot", ["nowhere", "staging#99", "staging#7"])
def test_what_a_flag_has_wrong_is_not_waited_for(alone: Suite, own: Sandbox, snapshot: str) -> None:
    own.set(*INSTANCES, to=[])
    began = time.monotonic()
    gate = ("--pyargs", "pytest_kosli.gate", f"--kosli-snapshot={snapshot}")
    alone(*gate, "--kosli-wait=5m").assert_outcomes(errors=1)
    assert time.monotonic() - began < 60


def test_silence_while_a_snapshot_is_waited_for_is_asked_away(alone: Suite, own: Sandbox) -> None:
    own.set(*INSTANCES, to=[])
    empty = own.data
    assert not empty.environments["staging"].snapshots[0].artifacts
    own.fault(STAGING, times=1)
    own.fault(STAGING, times=1, cut=3)
    after(
        own,
        1,
        STAGING,
        lambda: own.set(*INSTANCES, to=[{"artifact": "payments", "started": [1.0]}]),
    )
    gate = ("--pyargs", "pytest_kosli.gate", "--kosli-snapshot=staging")
    alone(*gate, "--kosli-wait=20").assert_outcomes(passed=1)


# Where nobody is asked, nothing is waited for.


def test_a_dry_run_and_a_replay_wait_for_nothing_and_say_so(alone: Suite, own: Sandbox) -> None:
    alone.pytester.makepyfile(MARKED)
    after(own, 2, f"asserts/*{WEB}", lambda: own.set(*SCAN, to={"type": "snyk"}))
    recorded = alone("--kosli-record", "--kosli-wait=1")
    recorded.assert_outcomes(passed=1, failed=1)
    recorded.stdout.fnmatch_lines(["kosli: record *, waits up to 1s (--kosli-wait)"])
    alone("--kosli-record", "--kosli-wait=1").assert_outcomes(passed=2)
    own.reset()
    for mode, passed, skipped in (("--kosli-offline", 2, 0), ("--kosli-dry-run", 0, 2)):
        began = time.monotonic()
        result = alone(mode, "--kosli-wait=5m")
        result.assert_outcomes(passed=passed, skipped=skipped)
        result.stdout.fnmatch_lines(["kosli: *, nothing to wait for (--kosli-wait)"])
        assert time.monotonic() - began < 60
    assert own.requests == []


def test_the_last_reply_is_what_is_recorded(alone: Suite, own: Sandbox) -> None:
    alone.pytester.makepyfile(MARKED)
    after(own, 1, f"asserts/*{WEB}", lambda: own.set(*SCAN, to={"type": "snyk"}))
    alone("--kosli-record", "--kosli-wait=5m").assert_outcomes(passed=2)
    result = alone("--kosli-offline")
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("waited *")


def test_collecting_waits_for_nothing(alone: Suite, own: Sandbox) -> None:
    own.set(*INSTANCES, to=[])
    alone.pytester.makepyfile(RUNNING)
    alone("--collect-only", "--kosli-snapshot=staging", "--kosli-wait=5m")
    assert own.requests == []


# The record.


def test_every_report_says_how_long_was_waited(alone: Suite, online: Sandbox) -> None:
    rows = [
        Row("soon", (EARLY, COMPLIANT), GREEN),
        Row("never", (EARLY, SILENCE), RED),
        Row("other", (EARLY, NO_POLICIES), ERROR),
        Row("at once", (COMPLIANT,), GREEN),
    ]
    play(online, rows)
    alone.pytester.makepyfile(suite(rows))
    reports = [f"--kosli-report=out.{suffix}" for suffix in ("json", "md", "html")]
    alone("--kosli-wait=1", *reports).assert_outcomes(passed=2, failed=1, errors=1)
    written = {
        suffix: (alone.pytester.path / f"out.{suffix}").read_text("utf-8")
        for suffix in ("json", "md", "html")
    }
    waited = {
        check["artifact"]["fingerprint"]: check["answer"]["waited"]
        for check in json.loads(written["json"])["checks"]
    }
    numbers = [waited[row.fingerprint] for row in rows]
    assert [told and (told["asked"], told["unheard"]) for told in numbers] == [
        (2, 0), (2, 1), (2, 0), None
    ]  # fmt: skip
    assert all(1 <= told["seconds"] < 10 for told in numbers if told)
    for suffix in ("md", "html"):
        text = re.sub(r"<[^>]*>", " ", written[suffix])
        assert len(re.findall(r"waited\W+\d s, asked 2 times", text)) == 3
        assert "asked 2 times, the last without a reply" in text
