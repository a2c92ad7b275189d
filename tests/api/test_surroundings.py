"""What guards a client from the process around it: forks, stubs, other origins, other methods."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
import requests
import urllib3.connection

from pytest_kosli.api import http as room
from pytest_kosli.api.host import origin
from pytest_kosli.api.http import Http, Token
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
    with Faulty() as server, client(server.url, base_path="/api/%7Ev2") as http:
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
