"""What goes over the wire, what comes back, and what happens when the server lies about it."""

from __future__ import annotations

import contextlib
import copy
import email.utils
import gzip
import http.client
import logging
import pickle
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
import requests
import vcr
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from urllib3 import HTTPResponse
from urllib3.connectionpool import HTTPConnectionPool

from pytest_kosli.api.host import address, check_host, check_proxy, origin
from pytest_kosli.api.http import RETRIED, Http, Patience, Token
from pytest_kosli.api.traffic import Call, Traffic
from pytest_kosli.model import REPLY_LIMIT, NoVerdict, Reply, Request
from tests.api.faulty import Answer, Faulty, Loopback, Proxy, Seen

SECRET = "canary-token-1234567890"
FINGERPRINT = "a" * 64
ASK = Request(("asserts", "acme", "fingerprint", FINGERPRINT), (("environment_name", "prod"),))
MakeClient = Callable[..., Http]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def client() -> Iterator[MakeClient]:
    """Make clients with short deadlines, and close them."""
    with contextlib.ExitStack() as stack:

        def make(host: str, **options: Any) -> Http:
            settings: dict[str, Any] = {
                "timeout": 5.0,
                "max_api_retries": 0,
                "backoff": 0.02,
                "user_agent": "pytest-kosli/1",
                "token": Token.of(SECRET),
                **options,
            }
            http = Http(host, settings.pop("token"), **settings)
            stack.callback(http.close)
            return http

        yield make


def refusal(http: Http, request: Request = ASK) -> NoVerdict:
    with pytest.raises(NoVerdict) as caught:
        http(request)
    return caught.value


# What is sent


def test_a_request_carries_the_bearer_and_nothing_that_was_not_asked_for(
    client: MakeClient,
) -> None:
    with Faulty() as server:
        reply = client(server.url)(ASK)
        (seen,) = server.requests
    assert (reply.status, reply.body, reply.attempts, reply.replayed) == (200, b"{}", 1, False)
    assert seen.method == "GET"
    assert seen.target == f"/api/v2/asserts/acme/fingerprint/{FINGERPRINT}?environment_name=prod"
    assert seen.headers == {
        "Host": f"127.0.0.1:{server.port}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": "pytest-kosli/1",
        "Authorization": f"Bearer {SECRET}",
    }


def test_a_reply_says_when_the_server_was_heard_and_keeps_few_headers(client: MakeClient) -> None:
    headers = (("Content-Type", "text/plain"), ("Date", "now"), ("Set-Cookie", "a=b"))
    with Faulty(Answer(headers=headers)) as server:
        reply = client(server.url)(ASK)
    assert reply.content_type == "text/plain"
    assert reply.headers == (("Content-Type", "text/plain"), ("Date", "now"))
    assert reply.received_at is not None
    assert abs(reply.received_at.timestamp() - time.time()) < 60


def test_cookies_are_not_sent_back(client: MakeClient) -> None:
    with Faulty(Answer(headers=(("Set-Cookie", "id=1; Path=/"),))) as server:
        http = client(server.url)
        http(ASK)
        http(ASK)
        assert "Cookie" not in server.requests[1].headers


def test_without_a_token_no_authorization_is_sent(client: MakeClient) -> None:
    with Faulty() as server:
        client(server.url, token=None)(ASK)
        assert "Authorization" not in server.requests[0].headers


def test_a_netrc_does_not_replace_the_bearer(
    client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Faulty() as server:
        client(server.url)(ASK)
        assert server.requests[0].headers["Authorization"] == f"Bearer {SECRET}"


def test_a_token_is_read_for_every_request(client: MakeClient) -> None:
    tokens = iter(["first", " second\n"])
    with Faulty() as server:
        http = client(server.url, token=Token(lambda: next(tokens)))
        http(ASK)
        http(ASK)
        sent = [seen.headers["Authorization"] for seen in server.requests]
    assert sent == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    "text", ["", "  ", "two words", "caf\xe9-token", "a\r\nX-Evil: 1", "a\x00b"]
)
def test_a_token_that_is_none_is_not_sent_and_not_shown(client: MakeClient, text: str) -> None:
    with Faulty() as server:
        error = refusal(client(server.url, token=Token.of(text)))
        assert not server.requests
    assert (error.code, error.attempts) == ("bad_token", 0)
    assert not text.strip() or text.strip() not in str(error)


def test_a_token_that_can_not_be_read_is_a_bad_token(client: MakeClient) -> None:
    def read() -> str:
        raise KeyError(SECRET)

    with Faulty() as server:
        error = refusal(client(server.url, token=Token(read)))
    assert error.code == "bad_token"
    assert SECRET not in str(error)


def test_who_reads_a_token_may_say_why_there_is_none(client: MakeClient) -> None:
    def read() -> str:
        raise NoVerdict("no_token", "there is no API token for Kosli")

    with Faulty() as server:
        error = refusal(client(server.url, token=Token(read)))
        assert not server.requests
    assert (error.code, error.message) == ("no_token", "there is no API token for Kosli")


def test_a_token_hides_itself() -> None:
    token = Token.of(SECRET)
    shown = [repr(token), str(token), f"{token}", f"{token:>40}", f"{token!r}", repr(vars(Token))]
    assert not any(SECRET in text for text in shown)
    assert token.reveal() == SECRET
    assert copy.deepcopy(token) is copy.copy(token) is token
    with pytest.raises(TypeError, match="never leaves"):
        pickle.dumps(token)


def test_a_post_sends_its_json_and_is_retried_like_a_get(client: MakeClient) -> None:
    ask = Request(("search", "artifacts"), method="POST", body=b'{"names": ["a"]}')
    with Faulty(Answer(503), Answer()) as server:
        reply = client(server.url, base_path="/api", max_api_retries=1)(ask)
        first, second = server.requests
    assert (reply.status, reply.attempts) == (200, 2)
    assert (first.method, first.target, first.body) == ("POST", "/api/search/artifacts", ask.body)
    assert first.headers["Content-Type"] == "application/json"
    assert second.body == first.body


def test_a_path_prefix_of_the_host_is_kept(client: MakeClient) -> None:
    with Faulty() as server:
        client(server.url + "/kosli/")(Request(("ready",)))
        assert server.requests[0].target == "/kosli/api/v2/ready"


def test_names_are_encoded_whole_and_the_query_keeps_its_order(client: MakeClient) -> None:
    ask = Request(("a/b", "c d", "\xe9?#%2e~"), (("z", "1 2/&="), ("a", ""), ("z", "\u2713")))
    with Faulty() as server:
        client(server.url)(ask)
        target = server.requests[0].target
    assert target == "/api/v2/a%2Fb/c%20d/%C3%A9%3F%23%252e~?z=1+2%2F%26%3D&a=&z=%E2%9C%93"


@pytest.mark.parametrize("name", ["", ".", "..", "a\x00", "a\r\nHost: evil", "\x7f", "\udc80"])
def test_names_that_could_change_the_address_are_never_sent(client: MakeClient, name: str) -> None:
    with Faulty() as server:
        http = client(server.url)
        assert refusal(http, Request(("asserts", name))).code == "bad_name"
        if name not in ("", ".", ".."):
            assert refusal(http, Request(("asserts",), (("flow", name),))).code == "bad_name"
        assert not server.requests


@given(st.lists(st.text(), min_size=1), st.lists(st.tuples(st.text(), st.text())))
def test_an_address_means_what_was_asked_or_is_refused(
    segments: list[str], query: list[tuple[str, str]]
) -> None:
    try:
        url = address("https://h.example/p", "/api/v2", Request(tuple(segments), tuple(query)))
    except NoVerdict:
        return
    prepared = requests.Request("GET", url).prepare()
    assert prepared.url == url
    path = url.removeprefix("https://h.example/p/api/v2/").partition("?")[0]
    assert path.count("/") == len(segments) - 1
    assert url.isascii()
    assert url.isprintable()


# What comes back


@pytest.mark.parametrize(
    "status", [200, 201, 202, 204, 301, 307, 400, 401, 403, 404, 413, 422, 501]
)
def test_every_status_is_a_reply_and_most_are_final(client: MakeClient, status: int) -> None:
    body = b"" if status == 204 else b'{"message": "so"}'
    with Faulty(Answer(status, body, (("Retry-After", "9"),))) as server:
        reply = client(server.url, max_api_retries=3)(ASK)
        assert len(server.requests) == 1
    assert (reply.status, reply.body, reply.attempts) == (status, body, 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(client: MakeClient, status: int) -> None:
    with Faulty() as canary:
        with Faulty(Answer(status, headers=(("Location", canary.url + "/x"),))) as server:
            reply = client(server.url, max_api_retries=2)(ASK)
            assert len(server.requests) == 1
        assert canary.connections == 0
    assert reply.status == status
    assert ("Location", canary.url + "/x") in reply.headers


@pytest.mark.parametrize("answer", [Answer(gzip=True), Answer(gzip=True, chunked=True)])
def test_gzip_is_undone(client: MakeClient, answer: Answer) -> None:
    with Faulty(answer) as server:
        assert client(server.url)(ASK).body == b"{}"


CAP = REPLY_LIMIT
BIG = b"a" * (CAP + 1)
GZIP = (("Content-Encoding", "gzip"),)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=BIG),
        Answer(body=BIG, chunked=True),
        Answer(body=BIG, length=-1, keep_alive=False),
        Answer(body=BIG, gzip=True),
        Answer(body=BIG, gzip=True, chunked=True),
        Answer(404, body=BIG),
    ],
)
def test_more_than_the_cap_is_too_large(client: MakeClient, answer: Answer) -> None:
    with Faulty(answer) as server:
        error = refusal(client(server.url, max_api_retries=3))
    assert (error.code, error.status, error.attempts) == ("too_large", answer.status, 1)


def test_a_request_may_raise_the_cap(client: MakeClient) -> None:
    with Faulty(Answer(body=BIG), Answer(body=b"a" * (CAP * 2 + 1))) as server:
        http = client(server.url)
        assert len(http(replace(ASK, limit=CAP * 2)).body) == CAP + 1
        assert refusal(http, replace(ASK, limit=CAP * 2)).code == "too_large"


def test_the_cap_itself_is_fine(client: MakeClient) -> None:
    with Faulty(Answer(body=b"a" * CAP, gzip=True), Answer(body=b"a" * CAP)) as server:
        http = client(server.url)
        assert len(http(ASK).body) == len(http(ASK).body) == CAP


@pytest.mark.parametrize(
    "answer",
    [
        Answer(headers=(("Content-Encoding", "br"),)),
        Answer(headers=(("Content-Encoding", "gzip, gzip, gzip, gzip, gzip, gzip, gzip"),)),
        Answer(headers=GZIP),
        Answer(cut=20, gzip=True, length=-1, body=b'{"compliant": true}', keep_alive=False),
        Answer(cut=1),
        Answer(cut=0),
        Answer(cut=1, reset=True),
        Answer(cut=3, chunked=True),
        Answer(headers=GZIP, body=gzip.compress(b"{}") + b"more"),
        Answer(headers=GZIP, body=gzip.compress(b"{}")[:-4]),
        Answer(raw=b"SSH-2.0-OpenSSH_9.6\r\n"),
        Answer(raw=b"HTTP/1.1 two hundred\r\n\r\n"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}"),
        Answer(raw=b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ],
)
def test_a_reply_that_can_not_be_whole_is_no_reply(client: MakeClient, answer: Answer) -> None:
    with Faulty(answer) as server:
        error = refusal(client(server.url))
    assert (error.code, error.attempts) == ("broken_reply", 1)


def test_a_broken_reply_is_asked_for_again(client: MakeClient) -> None:
    with Faulty(Answer(cut=1), Answer()) as server:
        assert client(server.url, max_api_retries=1)(ASK).attempts == 2


def test_a_late_answer_is_not_taken_for_the_next_question(client: MakeClient) -> None:
    class Late(Loopback):
        def talk(self, connection: socket.socket, number: int) -> None:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" if number == 1 else b"")
            self.closing.wait(0.2)
            body = b"A" if number == 1 else b"B"
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + body)

    with Late() as server:
        http = client(f"http://127.0.0.1:{server.port}")
        assert http(ASK).status == 103
        assert http(ASK).body == b"B"


def test_answers_never_swap_between_threads(client: MakeClient) -> None:
    def echo(seen: Seen) -> Answer:
        return Answer(body=seen.target.encode(), delay=(hash(seen.target) % 5) / 1000)

    asks = [Request(("asserts", str(number))) for number in range(200)]
    with Faulty(echo) as server, ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(client(server.url), asks))
        assert server.connections <= 16
    assert [reply.body.decode() for reply in replies] == [
        f"/api/v2/asserts/{number}" for number in range(200)
    ]


def test_one_connection_serves_many_requests_and_none_is_opened_early(client: MakeClient) -> None:
    with Faulty() as server:
        http = client(server.url)
        time.sleep(0.02)
        assert server.connections == 0
        for _ in range(5):
            http(ASK)
        assert server.connections == 1


def test_no_more_than_the_allowed_number_is_in_flight(client: MakeClient) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def count(seen: Seen) -> Answer:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        return Answer()

    with Faulty(count) as server, ThreadPoolExecutor(12) as pool:
        list(pool.map(client(server.url, concurrency=3), [ASK] * 24))
    assert most <= 3


# Retries and pauses


@pytest.mark.parametrize("status", sorted(RETRIED))
def test_a_passing_trouble_is_retried_and_counted(client: MakeClient, status: int) -> None:
    with Faulty(Answer(status), Answer(status), Answer()) as server:
        reply = client(server.url, max_api_retries=2)(ASK)
        assert len(server.requests) == 3
    assert (reply.status, reply.attempts) == (200, 3)


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (2, 3)])
def test_the_last_reply_comes_back_with_its_words(
    client: MakeClient, retries: int, attempts: int
) -> None:
    with Faulty(Answer(500, b'{"message": "no"}')) as server:
        reply = client(server.url, max_api_retries=retries)(ASK)
        assert len(server.requests) == attempts
    assert (reply.status, reply.body, reply.attempts) == (500, b'{"message": "no"}', attempts)


@pytest.mark.parametrize("first", [Answer(reset=True), Answer(raw=b""), Answer(delay=0.4)])
def test_failed_connections_are_retried(client: MakeClient, first: Answer) -> None:
    with Faulty(first, Answer()) as server:
        reply = client(server.url, max_api_retries=1, timeout=0.2)(ASK)
    assert (reply.status, reply.attempts) == (200, 2)


def patience(attempt: int) -> Patience:
    one = Patience.of(Call(Traffic(1), "host", timeout=30, retries=20, backoff=1.0))
    for _ in range(attempt):
        one = one.increment("GET", "/", response=HTTPResponse(status=500))
    return one


def test_waits_double_up_to_half_a_minute() -> None:
    assert [patience(attempt).wait for attempt in (1, 2, 3, 6, 20)] == [1, 2, 4, 30, 30]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("3600", 30),
        ("9" * 5000, 1),
        ("soon", 1),
        ("-5", 1),
        ("", 1),
        ("Fri, 31 Dec 99999 23:59:59 GMT", 1),
        ("Fri, 01 Jan 2016 00:00:00 GMT", 0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 30),
    ],
)
def test_retry_after_is_honoured_within_reason(header: str, seconds: float) -> None:
    response = HTTPResponse(status=429, headers={"Retry-After": header})
    assert patience(1).wait_after(response) == seconds


@pytest.mark.parametrize("dated", [False, True])
def test_the_server_says_how_long_to_wait(client: MakeClient, dated: bool) -> None:
    def busy(seen: Seen) -> Answer:
        later = email.utils.formatdate(time.time() + 2, usegmt=True)
        return Answer(429, headers=(("Retry-After", later if dated else "1"),))

    with Faulty(busy, Answer()) as server:
        assert client(server.url, max_api_retries=1)(ASK).status == 200
        first, second = server.requests
    assert 0.9 < second.at - first.at < 2.5


@pytest.mark.parametrize("status", [429, 503])
def test_when_the_server_is_busy_all_threads_pause(client: MakeClient, status: int) -> None:
    with Faulty(Answer(status, headers=(("Retry-After", "1"),)), Answer()) as server:
        http = client(server.url, max_api_retries=1)
        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(http, ASK)
            while not server.requests:
                time.sleep(0.005)
            time.sleep(0.1)
            others = [pool.submit(http, ASK) for _ in range(3)]
            assert all(one.result().status == 200 for one in (first, *others))
        began = server.requests[0].at
        assert all(seen.at - began > 0.9 for seen in server.requests[1:])


def test_a_wait_that_outlasts_the_budget_is_not_begun(client: MakeClient) -> None:
    with Faulty(Answer(429, b"busy", (("Retry-After", "20"),))) as server:
        http = client(server.url, max_api_retries=3)
        began = time.monotonic()
        with http.deadline(5):
            reply = http(ASK)
    assert (reply.status, reply.body, reply.attempts) == (429, b"busy", 1)
    assert time.monotonic() - began < 2


# Deadlines, budgets, interruption


@pytest.mark.parametrize(
    "answer",
    [
        Answer(delay=3),
        Answer(drip=0.1, body=b"x" * 40),
        Answer(drip=0.1, drip_all=True),
        Answer(drip=0.1, body=b"x" * 40, length=-1, keep_alive=False),
        Answer(503, drip=0.1, body=b"x" * 40),
    ],
)
def test_a_slow_reply_ends_at_its_deadline(client: MakeClient, answer: Answer) -> None:
    with Faulty(answer) as server:
        began = time.monotonic()
        error = refusal(client(server.url, timeout=0.4))
        took = time.monotonic() - began
    assert (error.code, error.attempts) == ("timeout", 1)
    assert 0.35 < took < 2.5


def test_a_slow_reply_on_a_used_connection_ends_at_its_deadline(client: MakeClient) -> None:
    with Faulty(Answer(), Answer(drip=0.1, body=b"x" * 40)) as server:
        http = client(server.url, timeout=0.6)
        http(ASK)
        began = time.monotonic()
        assert refusal(http).code == "timeout"
        assert time.monotonic() - began < 2.5
        assert server.connections == 1


def test_all_attempts_of_a_request_share_one_deadline() -> None:
    traffic = Traffic(1)
    call = Call(traffic, "host", timeout=9, retries=0, backoff=0)
    call.begin()
    assert call.affords(5)
    assert not call.affords(10)
    call.end()
    time.sleep(0.1)
    call.begin()
    assert call.left() < 8.95
    traffic.close()


def test_a_stopped_attempt_takes_no_other_socket() -> None:
    traffic = Traffic(1)
    call = Call(traffic, "host", timeout=9, retries=0, backoff=0)
    call.begin()
    with socket.socket() as first, socket.socket() as second:
        call.hold(first)
        traffic.close()
        with pytest.raises(ConnectionAbortedError):
            call.hold(second)


def test_a_deadline_that_comes_before_the_watchdog_wakes_is_kept(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_kosli.api.traffic._LINGER", 30.0)
    with Faulty(Answer(), Answer(drip=0.1, body=b"x" * 60)) as server:
        http = client(server.url, timeout=1)
        http(ASK)
        time.sleep(1.2)  # It has looked, found nothing that runs, and sleeps.
        assert refusal(http).code == "timeout"


def test_a_budget_ends_the_waits_that_began_before_it() -> None:
    traffic = Traffic(1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(traffic.sleep, 9)
        time.sleep(0.2)
        with traffic.budget(0.1):
            error = waiting.exception(timeout=4)
    assert isinstance(error, NoVerdict)
    assert error.code == "budget_spent"


def test_a_watchdog_that_could_not_start_starts_with_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    others = watchdogs()
    traffic = Traffic(1)
    call = Call(traffic, "host", timeout=9, retries=0, backoff=0)
    with monkeypatch.context() as no_more_threads:
        no_more_threads.setattr(threading.Thread, "start", full)
        with pytest.raises(RuntimeError):
            call.begin()
    call.end()
    call.begin()
    assert len(watchdogs() - others) == 1
    traffic.close()


def test_what_has_ended_is_forgotten() -> None:
    traffic = Traffic(1)
    call = Call(traffic, "host", timeout=9, retries=0, backoff=0)
    call.begin()
    call.end()
    gone = weakref.ref(call)
    traffic.close()
    del call
    assert gone() is None


def test_stopped_and_frozen_clocks_move_no_deadline(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Faulty(Answer(drip=0.1, body=b"x" * 40)) as server:
        for name in ("time", "monotonic", "perf_counter"):
            monkeypatch.setattr(time, name, lambda: 0.0)
        monkeypatch.setattr(time, "sleep", pytest.fail)
        error = refusal(client(server.url, timeout=0.3, max_api_retries=1))
        monkeypatch.undo()
    assert (error.code, error.attempts) == ("timeout", 2)


def test_a_handshake_that_never_comes_ends_at_the_deadline(client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        assert refusal(client(f"https://127.0.0.1:{port}", timeout=0.4)).code == "timeout"
    assert time.monotonic() - began < 3


def test_a_budget_shuts_down_what_runs_and_refuses_what_comes(client: MakeClient) -> None:
    with Faulty(Answer(delay=5)) as server:
        http = client(server.url, max_api_retries=3)
        began = time.monotonic()
        with http.deadline(1), ThreadPoolExecutor(4) as pool:
            running = [pool.submit(http, ASK) for _ in range(4)]
            errors = [one.exception() for one in running]
            later = refusal(http)
        assert time.monotonic() - began < 4
        assert [getattr(error, "code", "") for error in errors] == ["budget_spent"] * 4
        assert (later.code, later.attempts) == ("budget_spent", 0)
        assert len(server.requests) == 4


def test_the_tightest_budget_counts_and_ends_with_its_block(client: MakeClient) -> None:
    with Faulty(Answer(delay=1), Answer()) as server:
        http = client(server.url)
        with http.deadline(60):
            with http.deadline(0.2):
                assert refusal(http).code == "budget_spent"
            assert http(ASK).status == 200


def interrupted(http: Http, when: Callable[[], bool]) -> tuple[NoVerdict, float]:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(http, ASK)
        while not when():
            time.sleep(0.005)
        time.sleep(0.1)
        began = time.monotonic()
        http.cancel()
        error = running.exception()
    assert isinstance(error, NoVerdict)
    return error, time.monotonic() - began


@pytest.mark.parametrize(
    "answer",
    [
        Answer(delay=5),
        Answer(drip=0.2, body=b"x" * 40),
        Answer(500),
        Answer(503, headers=(("Retry-After", "9"),)),
        Answer(reset=True),
    ],
)
def test_cancel_ends_whatever_is_waited_for(client: MakeClient, answer: Answer) -> None:
    with Faulty(answer) as server:
        http = client(server.url, max_api_retries=3, backoff=9)
        error, took = interrupted(http, lambda: bool(server.requests))
        assert error.code == "interrupted"
        assert took < 3
        later = refusal(http)
        assert (later.code, later.attempts) == ("interrupted", 0)
        assert len(server.requests) == 1


def test_cancel_ends_the_wait_for_a_lane(client: MakeClient) -> None:
    with Faulty(Answer(delay=5)) as server:
        http = client(server.url, concurrency=1)
        with ThreadPoolExecutor(3) as pool:
            running = [pool.submit(http, ASK) for _ in range(3)]
            while not server.requests:
                time.sleep(0.005)
            http.cancel()
            errors = [one.exception(timeout=2) for one in running]
        assert [getattr(error, "code", "") for error in errors] == ["interrupted"] * 3


def test_a_look_up_that_hangs_keeps_nobody_else_waiting(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: answered.wait(9) and [])
    http = client("http://localhost:1", concurrency=1)
    with ThreadPoolExecutor(2) as pool, http.deadline(0.3):
        running = [pool.submit(http, ASK) for _ in range(2)]
        done, _ = wait(running, timeout=4, return_when=FIRST_COMPLETED)
        answered.set()
        errors = [one.exception() for one in done]
    assert [getattr(error, "code", "") for error in errors] == ["budget_spent"]


def test_cancel_ends_a_connection_that_is_being_made(client: MakeClient) -> None:
    # Nobody accepts, and the queue is full: further connections stay half open.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        name = full.getsockname()
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(name)
        http = client(f"http://127.0.0.1:{name[1]}", timeout=20)
        error, took = interrupted(http, lambda: True)
    assert error.code == "interrupted"
    assert took < 5


def watchdogs() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name == "pytest-kosli-deadlines"}


def test_the_watchdog_starts_when_needed_and_ends_with_its_client(client: MakeClient) -> None:
    with Faulty() as server:
        http = client(server.url)
        others = watchdogs()
        http(ASK)
        http(ASK)
        assert [one.daemon for one in watchdogs() - others] == [True]
        http.close()
        assert not watchdogs() - others
        assert refusal(http).code == "interrupted"


# No server, or none that we may talk to


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_refused_connection_is_unreachable(client: MakeClient) -> None:
    error = refusal(client(f"http://127.0.0.1:{closed_port()}", max_api_retries=2))
    assert (error.code, error.attempts) == ("unreachable", 3)
    assert "refused" in error.message


def test_the_next_address_is_tried(client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with Faulty() as server:
        here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        dead = (*here[:4], ("127.0.0.1", closed_port()))
        odd = (999, *here[1:])
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [odd, dead, here])
        reply = client(f"http://localhost:{server.port}")(ASK)
    assert (reply.status, reply.attempts) == (200, 1)


def test_an_unknown_name_is_unreachable(client: MakeClient) -> None:
    assert refusal(client("https://kosli.invalid")).code == "unreachable"


def test_five_failures_in_a_row_are_an_outage_for_the_rest_of_the_run(client: MakeClient) -> None:
    http = client(f"http://127.0.0.1:{closed_port()}", max_api_retries=3)
    errors = [refusal(http) for _ in range(4)]
    assert [error.code for error in errors] == ["unreachable", "outage", "outage", "outage"]
    assert [error.attempts for error in errors] == [4, 1, 0, 0]
    assert "refused" in errors[2].message


def test_an_interruption_is_the_last_word() -> None:
    def told() -> str:
        with pytest.raises(NoVerdict) as caught:
            traffic.sleep(0)
        return caught.value.code

    traffic = Traffic(1)
    silence = NoVerdict("unreachable", "nobody is there")
    for _ in range(5):
        traffic.unheard(silence, gave_up=True)
    assert told() == "outage"
    traffic.stop(NoVerdict("interrupted", "the run was interrupted"))
    assert told() == "interrupted"
    traffic.unheard(silence, gave_up=True)
    assert told() == "interrupted"


def test_an_outage_ends_the_waits_of_other_threads(client: MakeClient) -> None:
    http = client(f"http://127.0.0.1:{closed_port()}", max_api_retries=2, backoff=0.05)
    slow = client(http.host, max_api_retries=9, backoff=20)
    slow._traffic = http._traffic
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(slow, ASK) for _ in range(3)]
        time.sleep(0.2)
        began = time.monotonic()
        refusal(http)
        codes = [getattr(one.exception(timeout=5), "code", "") for one in waiting]
    assert codes == ["outage"] * 3
    assert time.monotonic() - began < 2


def test_a_blip_that_hits_all_threads_at_once_is_survived(client: MakeClient) -> None:
    with Faulty(*[Answer(reset=True)] * 8, Answer()) as server, ThreadPoolExecutor(8) as pool:
        http = client(server.url, max_api_retries=4)
        replies = list(pool.map(http, [ASK] * 8))
    assert {reply.status for reply in replies} == {200}


def test_a_reply_of_any_status_between_failures_is_no_outage(client: MakeClient) -> None:
    answers = [Answer(reset=True), Answer(404)] * 6
    with Faulty(*answers) as server:
        http = client(server.url)
        codes = []
        for _ in answers:
            with contextlib.suppress(NoVerdict):
                codes.append(http(ASK).status)
    assert codes == [404] * 6


# Others in the same process


def test_an_active_cassette_neither_answers_nor_records_us(
    client: MakeClient, tmp_path: Path
) -> None:
    tape = tmp_path / "theirs.yaml"
    with Faulty(Answer(body=b"live")) as server:
        target = f"{server.url}/api/v2/asserts/acme/fingerprint/{FINGERPRINT}?environment_name=prod"
        with vcr.use_cassette(str(tape)):
            requests.get(target, timeout=5).close()
        taped = tape.read_bytes()
        sent = len(server.requests)
        http = client(server.url)
        for mode in ("none", "all", "new_episodes"):
            with vcr.use_cassette(
                str(tape), record_mode=mode, allow_playback_repeats=True
            ) as active:
                assert http(ASK).body == b"live"
                assert active.play_count == 0
        assert len(server.requests) == sent + 3
    assert tape.read_bytes() == taped
    assert SECRET.encode() not in taped


def test_imported_inside_a_cassette_we_still_talk_to_the_server(tmp_path: Path) -> None:
    code = """
import sys, vcr
with vcr.use_cassette(sys.argv[2], record_mode="none"):
    from pytest_kosli.api.http import Http
    from pytest_kosli.model import Request
    http = Http(sys.argv[1], None, user_agent="x", max_api_retries=0)
    print(http(Request(("ready",))).body.decode())
    http.close()
"""
    with Faulty(Answer(body=b"live")) as server:
        command = [sys.executable, "-c", code, server.url, str(tmp_path / "none.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "live\n", done.stderr


def test_patched_transports_of_requests_do_not_reach_us(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", pytest.fail)
    monkeypatch.setattr(requests.Session, "send", pytest.fail)
    monkeypatch.setattr(requests.Session, "get_adapter", pytest.fail)
    with Faulty() as server:
        assert client(server.url)(ASK).status == 200


def test_a_patched_pool_is_noticed(client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    forged = HTTPResponse(body=b'{"compliant": true}', status=200, preload_content=True)
    monkeypatch.setattr(HTTPConnectionPool, "urlopen", lambda *_, **__: forged)
    with Faulty() as server:
        assert refusal(client(server.url)).code == "intercepted"


def test_replaced_and_forbidden_sockets_are_noticed(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fake(socket.socket):
        pass

    class Guard(socket.socket):
        __module__ = "socket"

        def __new__(cls, *_: object) -> Guard:  # noqa: PYI034
            raise RuntimeError("no sockets here")

    def forbid(*_: object) -> None:
        raise RuntimeError("network is disabled")

    with Faulty() as server:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", Fake)
            assert refusal(client(server.url)).code == "intercepted"
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", Guard)
            assert refusal(client(server.url)).code == "intercepted"
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "connect", forbid)
            error = refusal(client(server.url))
        assert error.code == "intercepted"
        assert "network is disabled" in error.message
        assert not server.requests


# Secrets


@pytest.mark.parametrize(
    "answer",
    [Answer(), Answer(cut=1), Answer(reset=True), Answer(503), Answer(302), Answer(delay=2)],
)
def test_the_token_is_in_no_log_and_no_traceback(
    client: MakeClient,
    answer: Answer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    dump = ""
    with Faulty(answer) as server:
        try:
            client(server.url, max_api_retries=1, timeout=0.3)(ASK)
        except NoVerdict as error:
            report = traceback.TracebackException.from_exception(error, capture_locals=True)
            dump = "".join(report.format(chain=True)) + repr(error.__context__)
    printed = capfd.readouterr()
    assert SECRET not in caplog.text + printed.out + printed.err + dump


@pytest.mark.parametrize("answer", [Answer(body=BIG), Answer(cut=1), Answer(reset=True)])
def test_no_frame_that_held_the_token_stays_with_an_error(
    client: MakeClient, answer: Answer
) -> None:
    with Faulty(answer) as server:
        error = refusal(client(server.url))
    files = {Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)}
    assert files == {"test_http.py", "http.py"}
    assert error.__context__ is None


def test_an_interrupted_request_does_not_show_the_token(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(socket.socket, "connect", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        client("http://127.0.0.1:1")(ASK)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert SECRET not in "".join(report.format())


# TLS and proxies


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return key and self-signed certificate for 127.0.0.1 in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    both = tmp_path_factory.mktemp("tls") / "both.pem"
    command = f"""{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes
        -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1 -keyout {both} -out {both}.crt"""
    subprocess.run(command.split(), check=True, capture_output=True)
    both.write_text(both.read_text() + Path(f"{both}.crt").read_text())
    return both


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """Return the server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_ca_bundle_of_the_environment_is_used(
    client: MakeClient,
    tls: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    monkeypatch.setenv(name, str(certificate))
    with Faulty(tls=tls) as server:
        http = client(server.url)
        assert [http(ASK).status, http(ASK).status] == [200, 200]
        assert server.connections == 1


def test_an_unknown_certificate_is_refused_at_once(
    client: MakeClient, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHTTPSVERIFY", "0")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    with Faulty(tls=tls) as server:
        error = refusal(client(server.url, max_api_retries=3))
        assert not server.requests
    assert (error.code, error.attempts) == ("tls", 1)
    assert "certificate verify failed" in error.message


def test_a_certificate_for_another_name_is_refused(
    client: MakeClient, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Faulty(tls=tls) as server:
        error = refusal(client(f"https://localhost:{server.port}"))
        assert not server.requests
    assert error.code == "tls"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_bundle_that_is_none_is_an_error(
    client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content:
        bundle.write_text(content)
    monkeypatch.setenv("CURL_CA_BUNDLE", str(bundle))
    error = refusal(client("https://kosli.invalid"))
    assert (error.code, error.attempts) == ("tls", 0)
    assert "CURL_CA_BUNDLE" in error.todo


def test_plain_text_where_tls_was_expected_is_a_tls_error(client: MakeClient) -> None:
    class Plain(Loopback):
        def talk(self, connection: socket.socket, number: int) -> None:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with Plain() as server:
        assert refusal(client(f"https://127.0.0.1:{server.port}")).code == "tls"


@pytest.mark.parametrize("length", [None, -1])
def test_a_slow_reply_under_tls_ends_at_its_deadline(
    client: MakeClient,
    tls: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    length: int | None,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    slow = Answer(drip=0.1, body=b"x" * 40, length=length, keep_alive=False)
    with Faulty(slow, tls=tls) as server:
        began = time.monotonic()
        assert refusal(client(server.url, timeout=0.5)).code == "timeout"
    assert time.monotonic() - began < 2


def test_a_proxy_is_asked_for_a_tunnel_and_never_sees_the_token(
    client: MakeClient, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Faulty(tls=tls) as server, Proxy() as proxy:
        http = client(server.url, proxy=proxy.url.replace("//", "//me:p%40ss@"))
        assert http(ASK).status == http(ASK).status == 200
        (seen,) = proxy.requests
        assert server.requests[0].headers["Authorization"] == f"Bearer {SECRET}"
        http.close()
    assert (seen.method, seen.target) == ("CONNECT", f"127.0.0.1:{server.port}")
    assert seen.headers["proxy-authorization"] == "Basic bWU6cEBzcw=="
    assert SECRET not in str(seen)


def test_a_proxy_that_refuses_is_named_without_its_password(client: MakeClient) -> None:
    with Proxy("407 Proxy Authentication Required") as proxy:
        http = client("https://kosli.invalid", proxy=proxy.url.replace("//", "//me:hush@"))
        error = refusal(http)
    assert error.code == "unreachable"
    assert "407" in error.message
    assert f"127.0.0.1:{proxy.port}" in error.message
    assert "hush" not in str(error) + repr(error) + repr(http)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_the_proxy_of_the_environment_is_used_but_for_no_proxy(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with Proxy("502 Bad Gateway") as proxy:
        monkeypatch.setenv(name, proxy.url)
        assert refusal(client("https://kosli.invalid")).code == "unreachable"
        assert [seen.target for seen in proxy.requests] == ["kosli.invalid:443"]
        refusal(client("https://kosli.invalid", no_proxy="kosli.invalid"))
        monkeypatch.setenv("NO_PROXY", "other, .invalid")
        refusal(client("https://kosli.invalid"))
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_loopback_goes_straight(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with Faulty() as server, Proxy() as proxy:
        monkeypatch.setenv(name, proxy.url)
        assert client(server.url)(ASK).status == 200
        assert client(server.url, proxy=proxy.url)(ASK).status == 200
        assert refusal(client(f"https://127.0.0.1:{closed_port()}")).code == "unreachable"
        assert proxy.connections == 0


def test_all_proxy_is_ignored(client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy() as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        refusal(client("https://kosli.invalid"))
        assert proxy.connections == 0


@pytest.mark.parametrize(
    "proxy", ["socks5://u:hush@p:1", "p:3128", "http://u:hush@", "http://u:hush@p/x", "http://p:x"]
)
def test_a_proxy_that_is_none_is_refused_without_showing_it(client: MakeClient, proxy: str) -> None:
    error = refusal(client("https://kosli.invalid", proxy=proxy))
    assert (error.code, error.attempts) == ("bad_proxy", 0)
    assert "hush" not in str(error)
    with pytest.raises(ValueError, match="proxy"):
        check_proxy(proxy)


# Hosts


@pytest.mark.parametrize(
    ("host", "checked"),
    [
        ("https://app.kosli.com", "https://app.kosli.com"),
        ("https://app.kosli.com/", "https://app.kosli.com"),
        ("HTTPS://App.Kosli.com:443", "https://app.kosli.com"),
        ("https://kosli.acme.example:8443/on/prem//", "https://kosli.acme.example:8443/on/prem"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.8.0.1:80", "http://127.8.0.1"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
    ],
)
def test_a_host_is_brought_into_one_form(host: str, checked: str) -> None:
    assert check_host(host) == checked
    assert check_host(checked) == checked


@pytest.mark.parametrize(
    "host",
    [
        "",
        "app.kosli.com",
        "app.kosli.com:443",
        "ftp://app.kosli.com",
        "http://app.kosli.com",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://128.0.0.1",
        "http://0.0.0.0",
        "https://",
        "https:/app.kosli.com",
        "https://app.kosli.com@evil.example",
        "https://user:hush@app.kosli.com",
        "https://app.kosli.com?x=1",
        "https://app.kosli.com#x",
        "https://app.kosli.com?",
        "https://app.kosli.com,https://app.us.kosli.com",
        "https://app.kosli.com:0",
        "https://app.kosli.com:99999",
        "https://app.kosli.com:x",
        "https://app..kosli.com",
        "https://app.kosli.com.",
        "https://\u0430pp.kosli.com",
        "https://app.kosli.com\\@evil.example",
        "https://app.kosli.com\n",
        " https://app.kosli.com",
        "https://app.kosli.com/a/../b",
        "https://app.kosli.com/a//b",
        "https://app.kosli.com/%2e%2e",
        "https://[::1",
        "https://[fe80::1%25eth0]",
    ],
)
def test_what_is_not_one_safe_host_is_refused_in_a_plain_sentence(host: str) -> None:
    with pytest.raises(ValueError, match=r"^the (path of the )?host ") as caught:
        check_host(host)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("https://a.example,https://b.example", "must be a single one, not a list"),
        ("https://\u0430pp.kosli.com", "must be a plain address, with no query and no fragment"),
        ("app.kosli.com", "'app.kosli.com' must begin with https://"),
        ("ftp://app..kosli.com", "'ftp://app..kosli.com' must begin with https://"),
        ("https://app..kosli.com", "has no valid host name"),
    ],
)
def test_a_host_that_is_refused_is_told_why(host: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^the host {re.escape(sentence)}$"):
        check_host(host)


@pytest.mark.parametrize(
    ("url", "home"),
    [
        ("https://app.kosli.com/api", ("https", "app.kosli.com", 443)),
        ("http://localhost/api", ("http", "localhost", 80)),
        ("http://localhost:8080/api", ("http", "localhost", 8080)),
        ("https://APP.kosli.com:8443", ("https", "app.kosli.com", 8443)),
    ],
)
def test_a_token_is_at_home_at_a_scheme_a_name_and_a_port(url: str, home: object) -> None:
    assert origin(url) == home


@pytest.mark.parametrize(
    "host", ["https://a.example?", "https://a.example#", "https://a.example/?"]
)
def test_an_address_that_says_something_else_than_was_meant_is_refused(host: str) -> None:
    with pytest.raises(NoVerdict) as caught:
        address(host, "/api/v2", ASK)
    assert caught.value.code == "bad_name"


def test_a_client_can_be_shown(client: MakeClient) -> None:
    assert repr(client("https://app.kosli.com")) == "<Http https://app.kosli.com>"


def test_a_reply_is_plain_data(client: MakeClient) -> None:
    with Faulty() as server:
        reply = client(server.url)(ASK)
    assert isinstance(pickle.loads(pickle.dumps(reply)), Reply)
