"""The client apart from a server that lies: the process around it, and its parts one by one."""

from __future__ import annotations

import contextlib
import errno
import gzip
import http.client as http_client
import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
import urllib3.connection
from msgspec.structs import replace
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

from pytest_kosli.api import http as room
from pytest_kosli.api import traffic as room_of_traffic
from pytest_kosli.api.host import origin
from pytest_kosli.api.http import Http, Token
from pytest_kosli.api.traffic import Call, Traffic
from pytest_kosli.model import NoVerdict, Reply, Request
from tests.api.faulty import Answer, Faulty, Proxy

SECRET = "canary-token-1234567890"
READY = Request(("ready",))


def client(host: str, **options: Any) -> contextlib.closing[Http]:
    settings: dict[str, Any] = {"timeout": 5.0, "max_api_retries": 0, "backoff": 0.02, **options}
    return contextlib.closing(Http(host, Token.of(SECRET), user_agent="test", **settings))


@pytest.fixture(autouse=True)
def _no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# What is sent, and where.


def test_only_reading_is_ever_sent() -> None:
    with Faulty() as server, client(server.url) as http:
        with pytest.raises(NoVerdict):
            http(Request(("ready",), method="DELETE"))
        assert server.requests == []


def test_an_address_that_would_be_changed_on_its_way_is_not_sent() -> None:
    with Faulty() as server, client(server.url, base_path="/api/{v2}") as http:
        with pytest.raises(NoVerdict) as caught:
            http(READY)
        assert (caught.value.code, server.requests) == ("bad_name", [])


@pytest.mark.parametrize(
    ("url", "goes"),
    [
        ("https://kosli.example/api", True),
        ("https://kosli.example:443/api", True),
        ("https://kosli.example:8443/api", False),
        ("http://kosli.example:443/api", False),
        ("https://other.example/api", False),
    ],
)
def test_the_token_goes_to_its_own_origin_only(url: str, goes: bool) -> None:
    auth = room._Auth(Token.of(SECRET), "Bearer", origin("https://kosli.example"))
    prepared = requests.Request("GET", url, auth=auth).prepare()
    assert ("Authorization" in prepared.headers) is goes


def test_a_reply_that_the_client_calls_final_is_not_asked_for_again() -> None:
    calls: list[int] = []

    def final(reply: Reply) -> bool:
        calls.append(reply.status)
        return True

    with Faulty(Answer(503), Answer()) as server:
        with client(server.url, max_api_retries=3, final=final) as http:
            assert http(READY).status == 503
        assert (calls, len(server.requests)) == ([503], 1)


# Proxies.


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_a_host_that_the_environment_spares_goes_straight(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    with client("https://kosli.example") as http:
        assert http.proxy == "proxy.example:3128"
        monkeypatch.setenv(name, "kosli.example")
        assert http.proxy is None


def test_a_proxy_is_shown_without_its_password() -> None:
    with client("https://kosli.example", proxy="http://me:hush@proxy.example:3128") as http:
        assert http.proxy == "proxy.example:3128"


def test_a_proxy_without_a_user_is_sent_no_credentials() -> None:
    with Proxy("502 Bad Gateway") as proxy:
        with client("https://kosli.invalid", proxy=proxy.url) as http, pytest.raises(NoVerdict):
            http(READY)
        assert "proxy-authorization" not in proxy.requests[0].headers


def test_an_error_without_a_proxy_names_none() -> None:
    with client("http://127.0.0.1:1") as http, pytest.raises(NoVerdict) as caught:
        http(READY)
    assert "proxy" not in caught.value.message


# Around it.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_connections_of_its_own() -> None:
    with Faulty(Answer(), Answer(), Answer()) as server, client(server.url) as http:
        assert http(READY).status == 200
        child = os.fork()
        if not child:
            alone = http._adapter is None
            os._exit(0 if alone and http(READY).status == 200 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert http(READY).status == 200
        assert [seen.connection for seen in server.requests] == [1, 2, 1]


def test_a_client_that_is_closed_keeps_no_connection() -> None:
    with Faulty() as server, client(server.url) as http:
        http(READY)
        assert http._adapter is not None
        pools = http._adapter.poolmanager.pools
        assert len(pools) == 1
        http.close()
        assert len(pools) == 0


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("Stub", "vcr.stubs"),
        ("HTTPConnection", "vcr.stubs"),
        ("Stub", "urllib3.connection"),
    ],
)
def test_urllib3s_own_connection_is_found_below_a_stub(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = urllib3.connection.HTTPConnection
    assert room._genuine("HTTPConnection") is genuine
    stub = type(name, (genuine,), {"__module__": module})
    monkeypatch.setattr(urllib3.connection, "HTTPConnection", stub)
    assert room._genuine("HTTPConnection") is genuine


def test_a_stub_with_nothing_of_urllib3s_below_it_is_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stub = type("HTTPConnection", (), {"__module__": "vcr.stubs"})
    monkeypatch.setattr(urllib3.connection, "HTTPConnection", stub)
    assert not room._is_genuine(room._genuine("HTTPConnection"), "HTTPConnection")
    monkeypatch.undo()
    monkeypatch.setattr(room, "_GENUINE", False)
    with Faulty() as server, client(server.url) as http:
        with pytest.raises(NoVerdict) as caught:
            http(READY)
        assert (caught.value.code, server.requests) == ("intercepted", [])


def test_a_pool_whose_connections_were_replaced_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room._Pool, "ConnectionCls", urllib3.connection.HTTPConnection)
    with Faulty() as server, client(server.url) as http:
        with pytest.raises(NoVerdict) as caught:
            http(READY)
        assert (caught.value.code, server.requests) == ("intercepted", [])


# Waiting, reading and explaining, apart from the network.


@pytest.fixture
def call() -> Iterator[Call]:
    """Return a request that is on its way nowhere."""
    traffic = Traffic(1)
    yield Call(traffic, "https://kosli.example", 5.0, 3, 1.0)
    traffic.close()


def answered(status: int, **headers: str) -> Any:
    return SimpleNamespace(
        status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


def test_a_limit_is_waited_for_until_it_ends(call: Call) -> None:
    patience = room.Patience.of(call)
    soon, past = str(time.time() + 20), str(time.time() - 20)
    assert 15 < patience.wait_after(answered(429, X_RateLimit_Reset=soon)) <= 20
    assert patience.wait_after(answered(429, X_RateLimit_Reset=past)) == 0
    assert patience.wait_after(answered(429, X_RateLimit_Reset=soon, Retry_After="3")) == 3
    for other in (answered(503, X_RateLimit_Reset=soon), answered(429), None):
        assert patience.wait_after(other) <= 1


@pytest.mark.parametrize("status", [429, 503, 409, 500, 502, 504, None])
def test_only_an_overload_lets_everybody_wait(status: int | None) -> None:
    told: list[str] = []
    traffic = SimpleNamespace(
        pause=lambda seconds: told.append("pause"), sleep=lambda seconds: told.append("sleep")
    )
    patience = room.Patience.of(cast(Call, SimpleNamespace(traffic=traffic, retries=3)))
    patience.sleep(None if status is None else answered(status))
    assert told == ["pause" if status in (429, 503) else "sleep"]


def test_a_secret_is_hidden_where_it_is_long_enough_to_be_told_from_a_word() -> None:
    reply = Reply(200, b"a canary-token in a reply", "text/canary-token")
    hidden = room._without("canary-token", reply)
    assert (hidden.body, hidden.content_type) == (b"a *** in a reply", "text/***")
    assert room._without("a", reply) == reply


def test_what_follows_a_compressed_body_is_counted_too() -> None:
    endless = gzip.compress(b"{}") + b"x" * 5000
    kind = (("Content-Type", "application/json"), ("Content-Encoding", "gzip"))
    answer = Answer(body=endless, headers=kind, chunked=True)
    with (
        Faulty(answer) as server,
        client(server.url) as http,
        pytest.raises(NoVerdict) as caught,
    ):
        http(replace(READY, limit=1000))
    assert caught.value.code == "too_large"


def test_a_body_that_is_not_there_needs_no_decompression() -> None:
    kind = (("Content-Type", "application/json"), ("Content-Encoding", "gzip"))
    with Faulty(Answer(body=b"", headers=kind)) as server, client(server.url) as http:
        assert http(READY).body == b""


def test_a_bundle_may_be_a_folder_and_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert room.ca_bundle() == ("REQUESTS_CA_BUNDLE", str(tmp_path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(NoVerdict) as caught:
        room.ca_bundle()
    assert (caught.value.code, caught.value.todo) == ("tls", "Correct REQUESTS_CA_BUNDLE.")
    monkeypatch.setattr(room, "_named_bundle", lambda: ("", str(tmp_path / "none.pem")))
    with pytest.raises(NoVerdict) as caught:
        room.ca_bundle()
    assert caught.value.todo == "Install certifi again."


def test_errors_that_wrap_each_other_come_to_an_end() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.args, two.args = (two,), (one,)
    assert room._causes(one) == [one, two]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TimeoutError(), "timeout"),
        (ReadTimeoutError(None, "/", "slow"), "timeout"),  # type: ignore[arg-type]
        (ConnectTimeoutError(None, "slow"), "timeout"),
        (OSError("no route"), "unreachable"),
        (NewConnectionError(None, "no route"), "unreachable"),  # type: ignore[arg-type]
        (ssl.SSLError("bad"), "tls"),
        (http_client.BadStatusLine("x"), "broken_reply"),
        (http_client.RemoteDisconnected("gone"), "unreachable"),
        (ValueError("odd"), "broken_reply"),
    ],
)
def test_each_failure_has_its_word(error: Exception, code: str, call: Call) -> None:
    assert room._explain(error, call).code == code


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOENT, os.strerror(errno.ENOENT)), os.strerror(errno.ENOENT)),
        (ValueError("red \x1b[31m"), "red  [31m"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_words_of_an_error_are_harmless(error: Exception, said: str) -> None:
    assert room._said(error) == said


def test_a_request_that_is_under_way_in_an_outage_still_ends_at_its_deadline() -> None:
    traffic = Traffic(2)
    slow = Call(traffic, "https://kosli.example", 0.4, 0, 1.0)
    slow.begin()
    for _ in range(room_of_traffic.OUTAGE_AFTER):
        traffic.unheard(NoVerdict("unreachable", "no line"), gave_up=True)
    with pytest.raises(NoVerdict) as caught:
        traffic.sleep(0.01)
    assert caught.value.code == "outage"
    late = time.monotonic() + 5
    while slow.stopped_by is None and time.monotonic() < late:
        time.sleep(0.02)
    assert slow.stopped_by is not None
    assert slow.stopped_by.code == "timeout"
    traffic.close()
