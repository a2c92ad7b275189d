from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from pytest_kosli.api.http import Http, Token
from pytest_kosli.api.kosli import KosliClient
from pytest_kosli.ledger import Ledger, opened, sealed
from pytest_kosli.memo import ProcessMemo, SharedMemo
from pytest_kosli.model import Artifact, NoVerdict, Outcome, Question, Reply, Request, Scope
from tests.answers import OURS, THEIRS, answer
from tests.sandbox import Sandbox

PROD = Scope("prod")


class Fake:
    """An exchange that answers for whatever fingerprint is asked, and counts."""

    def __init__(self, hurdle: Callable[[str, int], None] = lambda fingerprint, nth: None) -> None:
        self.asked: Counter[str] = Counter()
        self._hurdle = hurdle
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Reply:
        fingerprint = request.segments[3]
        with self._lock:
            self.asked[fingerprint] += 1
            nth = self.asked[fingerprint]
        self._hurdle(fingerprint, nth)
        body = json.dumps(answer()).replace(OURS, fingerprint)
        return Reply(200, body.encode(), "application/json")


def ledger_of(exchange: Callable[[Request], Reply], memo: ProcessMemo | None = None) -> Ledger:
    return Ledger(
        lambda memoised: KosliClient("acme", exchange=memoised), exchange, memo or ProcessMemo()
    )


def networked(sandbox: Sandbox) -> tuple[Ledger, Http]:
    http = Http(sandbox.url, Token.of(sandbox.token), user_agent="test")
    ledger = Ledger(
        lambda exchange: KosliClient("acme", host=sandbox.url, exchange=exchange),
        http,
        ProcessMemo(),
        lambda: http,
    )
    return ledger, http


def questions(number: int) -> list[Question]:
    return [
        Question("https://app.kosli.com", "acme", f"{index:064x}", PROD) for index in range(number)
    ]


def test_each_question_is_asked_once_however_many_ask() -> None:
    fake = Fake(lambda fingerprint, nth: time.sleep(0.01))
    ledger = ledger_of(fake)
    asked = questions(20)
    ledger.prefetch(asked * 3, 8, 10)
    threads = [
        threading.Thread(target=ledger.verdict, args=(one, Artifact(one.fingerprint, "x")))
        for one in asked * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(fake.asked.values()) == {1}
    assert len(fake.asked) == 20


def test_two_names_of_one_digest_are_one_question_with_two_names() -> None:
    fake = Fake()
    ledger = ledger_of(fake)
    (one,) = questions(1)
    names = [ledger.verdict(one, Artifact(one.fingerprint, name)).artifact.name for name in "ab"]
    assert names == ["a", "b"]
    assert sum(fake.asked.values()) == 1


def test_two_questions_that_are_one_request_are_asked_once_and_keep_their_own_words() -> None:
    fake = Fake()
    ledger = ledger_of(fake)
    (one,) = questions(1)
    other = replace(one, scope=replace(one.scope, flow="*"))
    ledger.prefetch([one, other], 2, 10)
    artifact = Artifact(one.fingerprint, "x")
    assert [ledger.verdict(each, artifact).question for each in (one, other)] == [one, other]
    assert sum(fake.asked.values()) == 1


def test_a_missing_verdict_carries_the_name_that_asked() -> None:
    def down(fingerprint: str, nth: int) -> None:
        raise NoVerdict("unreachable", "no line")

    ledger = ledger_of(Fake(down))
    (one,) = questions(1)
    for name in "ab":
        with pytest.raises(NoVerdict) as caught:
            ledger.verdict(one, Artifact(one.fingerprint, name))
        assert caught.value.artifact is not None
        assert caught.value.artifact.name == name


def test_what_got_no_reply_is_asked_in_one_second_round() -> None:
    def stumble(fingerprint: str, nth: int) -> None:
        if int(fingerprint, 16) % 3 == 0 and nth == 1:
            raise NoVerdict("timeout", "too slow")

    fake = Fake(stumble)
    ledger = ledger_of(fake)
    asked = questions(9)
    ledger.prefetch(asked, 4, 10)
    assert {int(key, 16): value for key, value in fake.asked.items()} == {
        number: 2 if number % 3 == 0 else 1 for number in range(9)
    }
    for one in asked:
        verdict = ledger.verdict(one, Artifact(one.fingerprint, "x"))
        assert verdict.outcome is Outcome.COMPLIANT


def test_after_the_second_round_a_missing_verdict_is_final() -> None:
    state = {"up": False}

    def down(fingerprint: str, nth: int) -> None:
        if not state["up"]:
            raise NoVerdict("timeout", "too slow")

    fake = Fake(down)
    ledger = ledger_of(fake)
    asked = questions(3)
    ledger.prefetch(asked, 4, 10)
    state["up"] = True
    for one in asked:
        with pytest.raises(NoVerdict, match="too slow"):
            ledger.verdict(one, Artifact(one.fingerprint, "x"))
    assert set(fake.asked.values()) == {2}


def test_the_caller_hears_how_far_it_is() -> None:
    def stumble(fingerprint: str, nth: int) -> None:
        if int(fingerprint, 16) == 2 and nth == 1:
            raise NoVerdict("timeout", "too slow")

    heard: list[tuple[int, int, int]] = []
    ledger_of(Fake(stumble)).prefetch(questions(5), 1, 10, lambda *told: heard.append(told))
    assert [done for done, _, _ in heard] == [1, 2, 3, 4, 5]
    assert {total for _, total, _ in heard} == {5}
    assert heard[-1] == (5, 5, 1)


def test_an_answer_about_another_question_is_matched_to_none() -> None:
    """Replies that are swapped, as by a cross-wired pool, are two missing verdicts."""

    def crossed(request: Request) -> Reply:
        other = {OURS: THEIRS, THEIRS: OURS}[request.segments[3]]
        return Reply(200, json.dumps(answer()).replace(OURS, other).encode(), "application/json")

    ledger = ledger_of(crossed)
    for fingerprint in (OURS, THEIRS):
        with pytest.raises(NoVerdict, match="another question"):
            ledger.verdict(
                Question("https://app.kosli.com", "acme", fingerprint, PROD),
                Artifact(fingerprint, "x"),
            )


def test_an_unexpected_error_in_a_thread_is_not_swallowed() -> None:
    def bug(fingerprint: str, nth: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger_of(Fake(bug)).prefetch(questions(3), 2, 10)


def test_an_interrupt_ends_what_is_under_way_within_a_second(sandbox: Sandbox) -> None:
    sandbox.fault("asserts/*", delay=30)
    ledger, http = networked(sandbox)

    def interrupt() -> None:
        time.sleep(0.3)
        raise KeyboardInterrupt

    began = time.monotonic()
    jobs: list[Callable[[], object]] = [
        lambda one=one: ledger.verdict(one, Artifact(one.fingerprint, "x"))  # type: ignore[misc]
        for one in questions(4)
    ]
    with pytest.raises(KeyboardInterrupt):
        ledger.side_by_side([*jobs, interrupt], 8)
    assert time.monotonic() - began < 1.5
    http.close()


def test_a_budget_ends_a_silent_server(sandbox: Sandbox) -> None:
    sandbox.fault("asserts/*", delay=30)
    ledger, http = networked(sandbox)
    began = time.monotonic()
    ledger.prefetch(questions(40), 16, 0.5)
    assert time.monotonic() - began < 2
    with pytest.raises(NoVerdict) as caught:
        ledger.verdict(questions(1)[0], Artifact("0" * 64, "x"))
    assert caught.value.code == "budget_spent"
    http.close()


def test_a_reply_and_a_missing_one_survive_as_plain_data() -> None:
    reply = Reply(404, b"\x00\xff", "text/html", (("Date", "today"),), 3, None, True)
    assert opened(json.loads(json.dumps(sealed(lambda _: reply, Request(("a",)))))) == reply

    def down(request: Request) -> Reply:
        raise NoVerdict("busy", "later", "wait", 429, ("one", "two"), 4)

    with pytest.raises(NoVerdict) as caught:
        opened(json.loads(json.dumps(sealed(down, Request(("a",))))))
    assert (
        caught.value.plain() == NoVerdict("busy", "later", "wait", 429, ("one", "two"), 4).plain()
    )


def test_processes_share_what_one_of_them_asked(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    fake = Fake()
    asked = questions(30)
    ledgers = [
        Ledger(lambda memoised: KosliClient("acme", exchange=memoised), fake, SharedMemo(folder))
        for _ in range(4)
    ]
    threads = [threading.Thread(target=one.prefetch, args=(asked, 4, 10)) for one in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fake.asked) == 30
    assert set(fake.asked.values()) == {1}
