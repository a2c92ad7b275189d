"""Does the client ask CodeAlive what it is told to, and believe nothing but an answer to that?"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_kosli.api import codealive
from pytest_kosli.api.codealive import (
    CodeAliveClient,
    Hit,
    host_in,
    host_of,
    is_final,
    limit_ends,
)
from pytest_kosli.model import NoVerdict, Reply, Request
from pytest_kosli.source import DataSource, Pin
from tests.api.faulty import Answer, Faulty
from tests.sandbox import Sandbox

FETCH = "/api/search/artifacts"
PRODUCTION = "acme/payments::src/payments/settings/production.py"
POLICY = "acme/policies::policies/prod.rego"
VERIFY = "acme/payments::src/payments/webhooks.py::verify(body: bytes, signature: str)"


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[CodeAliveClient]:
    made = CodeAliveClient(api_key=sandbox.key, base_url=sandbox.url)
    yield made
    made.close()


def entry(identifier: str, content: object = "text\n", **more: object) -> dict[str, object]:
    return {"identifier": identifier, "content": content, **more}


def replying(status: int, body: object, *headers: tuple[str, str]) -> CodeAliveClient:
    whole = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = dict(headers).get("Content-Type", "application/json")
    return CodeAliveClient(exchange=lambda request: Reply(status, whole, kind, headers))


def refused(client: CodeAliveClient, *identifiers: str) -> NoVerdict:
    with pytest.raises(NoVerdict) as caught:
        client.fetch(identifiers or [POLICY])
    return caught.value


def test_a_client_closes_its_connections_at_the_end_of_a_block(sandbox: Sandbox) -> None:
    with CodeAliveClient(api_key=sandbox.key, base_url=sandbox.url) as client:
        assert client.fetch(POLICY)[POLICY].found
    with pytest.raises(NoVerdict, match="closed already"):
        client.fetch(POLICY)


# Fetching.


def test_every_identifier_that_was_asked_is_a_key_found_or_not(client: CodeAliveClient) -> None:
    found = client.fetch([POLICY, "acme/policies::NOTICE"])
    assert list(found) == [POLICY, "acme/policies::NOTICE"]
    assert found[POLICY].found
    assert (found[POLICY].content or "").startswith("package acme.prod")
    assert not found["acme/policies::NOTICE"].found
    assert found["acme/policies::NOTICE"].content is None


@pytest.mark.parametrize("pin", Pin)
def test_a_pin_has_no_truth_value_either(pin: Pin) -> None:
    with pytest.raises(TypeError, match="no truth value"):
        bool(pin)


def test_a_source_has_no_truth_value(client: CodeAliveClient) -> None:
    with pytest.raises(TypeError, match="no truth value"):
        bool(client.fetch(POLICY)[POLICY])


def test_a_symbol_comes_with_its_real_first_line(client: CodeAliveClient) -> None:
    found = client.fetch([VERIFY], data_source="payments")[VERIFY]
    assert (found.start_line, found.path) == (6, "src/payments/webhooks.py")
    assert found.symbol == "verify(body: bytes, signature: str)"


def test_two_hundred_identifiers_cost_ten_requests(
    client: CodeAliveClient, sandbox: Sandbox
) -> None:
    asked = [f"acme/policies::policies/{number}.rego" for number in range(199)] + [POLICY]
    found = client.fetch(asked)
    assert list(found) == asked
    assert [name for name, source in found.items() if source.found] == [POLICY]
    assert [request.path for request in sandbox.requests] == [FETCH] * 10


def test_batches_are_fetched_side_by_side() -> None:
    together = threading.Barrier(5, timeout=10)

    def exchange(request: Request) -> Reply:
        together.wait()
        names = json.loads(request.body)["identifiers"]
        body = {"artifacts": [entry(name) for name in names]}
        return Reply(200, json.dumps(body).encode(), "application/json")

    found = CodeAliveClient(exchange=exchange).fetch([f"a/b::{number}" for number in range(100)])
    assert all(source.found for source in found.values())


def test_progress_is_told_by_requests_done() -> None:
    told: list[tuple[int, int, int]] = []

    def exchange(request: Request) -> Reply:
        return Reply(200, b'{"artifacts": []}', "application/json")

    client = CodeAliveClient(exchange=exchange, tell=lambda *numbers: told.append(numbers))
    client.fetch(f"a/b::{number}" for number in range(1001))
    assert told == [(done, 51, 0) for done in range(1, 52)]


def test_progress_ends_when_a_fetch_does() -> None:
    told: list[tuple[int, int, int]] = []
    client = CodeAliveClient(
        exchange=lambda request: Reply(500, b""), tell=lambda *numbers: told.append(numbers)
    )
    refused(client, *(f"a/b::{number}" for number in range(41)))
    assert told == [(3, 3, 0)]


def test_an_interrupt_ends_a_fetch_before_its_next_batches() -> None:
    seen: list[Request] = []

    def exchange(request: Request) -> Reply:
        seen.append(request)
        if len(seen) > 1:
            time.sleep(0.3)
        return Reply(200, b'{"artifacts": []}', "application/json")

    def interrupt(done: int, total: int, unanswered: int) -> None:
        if done < total:
            raise KeyboardInterrupt

    client = CodeAliveClient(exchange=exchange, tell=interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.fetch(f"a/b::{number}" for number in range(1020))
    assert len(seen) < 20


def test_one_connection_serves_all_requests_until_the_client_is_closed() -> None:
    answer = Answer(body=b'{"artifacts": []}')
    with Faulty(answer) as server:
        client = CodeAliveClient(api_key="a-key", base_url=server.url)
        assert not client.fetch(POLICY)[POLICY].found
        assert not client.fetch(POLICY)[POLICY].found
        assert server.connections == 1
        client.close()
        assert refused(client).code == "interrupted"


def test_a_client_that_never_asked_can_be_closed() -> None:
    CodeAliveClient(api_key="a-key").close()


def test_the_same_files_make_the_same_request_in_any_order_and_however_often() -> None:
    seen: list[Request] = []

    def exchange(request: Request) -> Reply:
        seen.append(request)
        return Reply(200, b'{"artifacts": []}', "application/json")

    client = CodeAliveClient(exchange=exchange)
    client.fetch(["a/b::2", "a/b::1", "a/b::2", "a/b::1::"])
    client.fetch(["a/b::1", "a/b::2"])
    assert seen[0] == seen[1]
    assert json.loads(seen[0].body) == {"identifiers": ["a/b::1", "a/b::2"]}
    client.fetch(["a/b::1", "a/b::2"], data_source="x")
    assert seen[2].cassette != seen[0].cassette


@pytest.mark.parametrize(
    "identifier",
    [
        'a/b::src/q"uo<te>.py::Класс.Метод<T>(x: int, y: str)',
        "a/b::база/file.md",
        "a/b::src/x.cc::ns::Type::method",
        "b::file.py::it's",
        "a/b::" + "long/" * 200 + "x.py",
    ],
)
def test_identifiers_go_out_letter_by_letter_and_make_a_path_for_a_cassette(
    identifier: str,
) -> None:
    seen: list[Request] = []

    def exchange(request: Request) -> Reply:
        seen.append(request)
        body = {"artifacts": [entry(identifier)]}
        return Reply(200, json.dumps(body).encode(), "application/json")

    assert CodeAliveClient(exchange=exchange).fetch([identifier])[identifier].found
    assert json.loads(seen[0].body)["identifiers"] == [identifier]
    parts = seen[0].cassette.split("/")
    assert all(part and len(part) < 120 for part in parts)
    assert not any(mark in seen[0].cassette for mark in '\\:*?"<>|')


def test_a_file_may_come_back_with_an_empty_symbol() -> None:
    answer = {"artifacts": [entry("org/repo::база/file.md::")]}
    found = replying(200, answer).fetch(["org/repo::база/file.md"])
    assert found["org/repo::база/file.md"].found
    assert found["org/repo::база/file.md"].symbol == ""


@pytest.mark.parametrize(
    ("answered", "found", "text"),
    [
        ({"found": False, "content": "x", "contentByteSize": 1}, False, None),
        ({"found": False, "content": None}, False, None),
        ({"content": None}, False, None),
        ({"content": "x"}, True, "x"),
        ({"found": True, "content": None}, True, None),
        ({"found": True, "content": ""}, True, None),
        ({"found": True, "content": "", "contentByteSize": 0}, True, ""),
        ({"found": True, "content": "", "contentByteSize": 9}, True, None),
        ({"found": True, "content": "\ufeffa\r\nb\rc", "startLine": None}, True, "a\nb\nc"),
    ],
)
def test_found_and_text_are_two_things(
    answered: dict[str, object], found: bool, text: str | None
) -> None:
    source = replying(200, {"artifacts": [{"identifier": POLICY, **answered}]}).fetch(POLICY)[
        POLICY
    ]
    assert (source.found, source.text, source.start_line) == (found, text, 1)
    assert found or (source.content, source.byte_size) == (None, None)


def test_the_commit_of_the_index_is_read_should_it_ever_come() -> None:
    index = {"commit": "abc123def", "branch": "main", "indexedAt": "2026-03-17T10:00:00Z"}
    answer = {
        "artifacts": [entry(POLICY)],
        "dataSources": [{"id": "1", "name": "policies", "indexing": index}],
    }
    source = replying(200, answer).fetch(POLICY)[POLICY]
    assert (source.commit, source.branch, source.data_source) == ("abc123def", "main", "policies")


# Answers that are none.


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Log in</html>",
        b"[]",
        b"null",
        b'{"artifacts": null}',
        b'{"results": []}',
        b'{"artifacts": [], "artifacts": []}',
        b'{"artifacts": [{"content": "x"}]}',
        b'{"artifacts": [{"identifier": "%s", "content": 1}]}' % POLICY.encode(),
        b'{"artifacts": [{"identifier": "%s", "found": "yes"}]}' % POLICY.encode(),
        b'{"artifacts": [{"identifier": "%s", "content": "\\ud800"}]}' % POLICY.encode(),
        b'{"obj": {"error": {"code": "invalid_tool_arguments"}}}',
        b'{"artifacts": [{"identifier": "%s"}]}{}' % POLICY.encode(),
        b"[" * 100_000,
    ],
)
def test_a_reply_that_is_not_an_answer_is_no_verdict(body: bytes) -> None:
    error = refused(replying(200, body))
    assert error.code == "malformed"
    assert "CodeAlive's reply can not be relied on" in error.message
    assert "Kosli" not in error.todo


def test_what_a_refused_fetch_was_about_is_told_by_its_first_file() -> None:
    assert refused(replying(500, b""), "a/b::1").message.startswith("a/b::1: CodeAlive")
    several = refused(replying(500, b""), "a/b::1", "a/b::2")
    assert several.message.startswith("a/b::1 and 1 more: CodeAlive")


def test_an_answer_about_something_else_is_none() -> None:
    error = refused(replying(200, {"artifacts": [entry("acme/other::x.py")]}))
    assert (error.code, "acme/other::x.py" in error.message) == ("mismatch", True)


def test_an_answer_that_tells_of_a_file_twice_is_none() -> None:
    twice = {"artifacts": [entry(POLICY, "DEBUG = True"), entry(POLICY + "::", "DEBUG = False")]}
    assert refused(replying(200, twice)).code == "malformed"


def test_an_answer_from_another_data_source_is_none() -> None:
    answer = {"artifacts": [entry(POLICY)], "dataSources": [{"id": "2", "name": "other"}]}
    with pytest.raises(NoVerdict) as caught:
        replying(200, answer).fetch(POLICY, data_source="policies")
    assert caught.value.code == "mismatch"


@pytest.mark.parametrize("named", ["1", "policies"])
def test_a_data_source_is_named_by_its_id_or_name(named: str) -> None:
    ours = {"id": "1", "name": "policies"}
    answer = {"artifacts": [entry(POLICY)], "dataSources": [ours, ours]}
    source = replying(200, answer).fetch(POLICY, data_source=named)[POLICY]
    assert (source.data_source, source.data_source_id) == ("policies", "1")


@pytest.mark.parametrize("turn", [1, -1])
def test_another_data_source_beside_the_one_that_is_named_is_refused(turn: int) -> None:
    sources = [{"id": "2", "name": "other"}, {"id": "1", "name": "policies"}]
    answer = {"artifacts": [entry(POLICY)], "dataSources": sources[::turn]}
    with pytest.raises(NoVerdict, match="from data source other, not policies"):
        replying(200, answer).fetch(POLICY, data_source="policies")


def test_of_several_data_sources_nothing_but_the_names_is_told() -> None:
    index = {"commit": "abc123def", "branch": "main"}
    sources = [{"id": "1", "name": "policies", "indexing": index}, {"id": "2"}, {}]
    answer = {"artifacts": [entry(POLICY)], "dataSources": sources}
    source = replying(200, answer).fetch(POLICY)[POLICY]
    assert source.data_source == "policies, 2, another one"
    assert (source.data_source_id, source.branch, source.commit) == ("", "", "")


@pytest.mark.parametrize(
    ("index", "shown"),
    [({"id": "2", "name": "other"}, "other"), ({"id": "2"}, "2"), ({}, "another one")],
)
def test_another_data_source_is_shown_as_well_as_it_can_be(
    index: dict[str, str], shown: str
) -> None:
    answer = {"artifacts": [entry(POLICY)], "dataSources": [index]}
    with pytest.raises(NoVerdict, match=f"from data source {shown}, not policies"):
        replying(200, answer).fetch(POLICY, data_source="policies")


@pytest.mark.parametrize("identifier", ["", " ", "::", "a/b::x\ny", "a/b::\ud800", None, 3])
def test_what_can_not_be_an_identifier_is_not_sent(identifier: Any) -> None:
    assert refused(replying(200, {}), identifier).code == "bad_name"


@pytest.mark.parametrize("wrong", [None, 3, b"a/b::x"])
def test_what_is_neither_an_identifier_nor_several_is_not_sent(wrong: Any) -> None:
    with pytest.raises(NoVerdict, match="can not be a CodeAlive identifier") as caught:
        replying(200, {}).fetch(wrong)
    assert caught.value.code == "bad_name"


@pytest.mark.parametrize("wrong", ["", 3, ["policies"], "a\ud800"])
def test_what_can_not_be_a_data_source_is_not_sent(wrong: Any) -> None:
    with pytest.raises(NoVerdict, match="can not be a CodeAlive data source") as caught:
        replying(200, {}).fetch(POLICY, data_source=wrong)
    assert caught.value.code == "bad_name"


def test_fetching_nothing_is_not_a_result() -> None:
    with pytest.raises(NoVerdict, match="no identifier"):
        replying(200, {}).fetch(iter([]))


# Errors.

SHAPES: dict[str, object] = {
    "flat": {"message": "it is broken"},
    "nested": {"error": {"code": "x", "message": "it is broken"}},
    "problem": {"type": "about:blank", "title": "Broken", "detail": "it is broken"},
    "plain": b"it is broken",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "codealive_bad_request"),
        (401, "codealive_unauthorized"),
        (403, "codealive_forbidden"),
        (409, "ambiguous_data_source"),
        (422, "codealive_not_ready"),
        (429, "codealive_rate_limit"),
        (500, "codealive_error"),
        (302, "redirected"),
        (204, "unexpected_status"),
    ],
)
def test_every_shape_of_error_is_read(shape: object, status: int, code: str) -> None:
    error = refused(replying(status, shape))
    assert (error.code, error.status) == (code, status)
    assert "it is broken" in error.message


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[1]", b"[" * 100_000, b'{"error": null}'])
def test_an_error_that_can_not_be_read_is_still_an_error(body: bytes) -> None:
    assert refused(replying(500, body)).code == "codealive_error"


def test_field_errors_and_the_request_id_are_told() -> None:
    problem = {
        "title": "Bad Request",
        "detail": "One field is wrong.",
        "errors": {"identifiers": ["too many", "too long"]},
        "requestId": "req-1",
    }
    error = refused(replying(400, problem))
    assert error.errors == ("identifiers: too many, too long", "requestId: req-1")
    assert refused(replying(400, {"validationErrors": ["too\nmany"]})).errors == (
        "error: too\\nmany",
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"title": "Bad Request"}, ": Bad Request"),
        ({"detail": " ", "message": 7, "title": "Bad Request"}, ": Bad Request"),
        ({"detail": 7, "message": "too many"}, ": too many"),
        ({}, " without a message"),
        (b"", " with an empty body"),
    ],
)
def test_an_error_is_told_in_the_first_words_that_it_has(body: object, said: str) -> None:
    assert refused(replying(400, body)).message == f"{POLICY}: CodeAlive answered 400{said}"


def test_facts_stand_at_the_top_of_an_error_or_within_it() -> None:
    nested = {"error": {"message": "no", "requestId": "req-2"}}
    assert refused(replying(400, nested)).errors == ("requestId: req-2",)
    assert refused(replying(400, {"errors": {"query": "too long"}})).errors == ("query: too long",)


def test_only_a_409_is_about_two_data_sources() -> None:
    words = {"message": "Name='payments' Id='1' is on fire"}
    assert refused(replying(500, words)).code == "codealive_error"
    assert refused(replying(409, words)).code == "ambiguous_data_source"


def test_control_characters_of_an_error_reach_nobody() -> None:
    error = refused(replying(500, {"message": "red \x1b[31m alert"}))
    assert "\x1b" not in str(error)


def test_an_ambiguous_identifier_names_the_candidates_and_is_not_asked_again(
    client: CodeAliveClient, sandbox: Sandbox
) -> None:
    error = refused(client, PRODUCTION)
    assert error.code == "ambiguous_data_source"
    assert "Name='payments'" in error.message
    assert 'data_source="payments-release"' in error.todo
    assert error.errors == ("requestId: req-409",)
    assert (error.attempts, len(sandbox.requests)) == (1, 1)


def test_an_unknown_data_source_is_told_with_those_that_there_are(
    client: CodeAliveClient,
) -> None:
    with pytest.raises(NoVerdict) as caught:
        client.fetch([POLICY], data_source="polices")
    assert caught.value.code == "unknown_data_source"
    assert "payments-release (release/1.4)" in caught.value.errors[-1]


def test_what_is_still_being_indexed_is_not_waited_for(
    client: CodeAliveClient, sandbox: Sandbox
) -> None:
    with pytest.raises(NoVerdict) as caught:
        client.fetch(["acme/orders::x.py"], data_source="orders")
    assert (caught.value.code, caught.value.attempts) == ("codealive_not_ready", 1)


def test_what_is_said_to_be_permanent_is_not_asked_again(
    client: CodeAliveClient, sandbox: Sandbox
) -> None:
    sandbox.fault(FETCH, status=500, body={"detail": "no capacity", "retryable": False})
    assert refused(client).attempts == 1


def test_an_outage_that_passes_is_survived(client: CodeAliveClient, sandbox: Sandbox) -> None:
    sandbox.fault(FETCH, status=503, times=1, headers={"Retry-After": "0"})
    assert client.fetch(POLICY)[POLICY].found


def test_no_more_than_three_attempts_are_made(client: CodeAliveClient, sandbox: Sandbox) -> None:
    sandbox.fault(FETCH, status=500, headers={"Retry-After": "0"})
    assert refused(client).attempts == 3


def test_a_rate_limit_that_ends_soon_is_waited_for(
    client: CodeAliveClient, sandbox: Sandbox
) -> None:
    reset = {"X-RateLimit-Reset": str(time.time() + 0.3)}
    sandbox.fault(FETCH, status=429, times=1, headers=reset)
    began = time.monotonic()
    assert client.fetch(POLICY)[POLICY].found
    assert 0.2 < time.monotonic() - began < 5


def test_a_rate_limit_that_lasts_is_told_at_once_and_ends_the_fetch(
    client: CodeAliveClient, sandbox: Sandbox
) -> None:
    headers = {"X-RateLimit-Reset": str(int(time.time()) + 3000), "X-RateLimit-Limit": "100"}
    sandbox.fault(FETCH, status=429, headers=headers)
    error = refused(client, *(f"a/b::{number}" for number in range(2000)))
    assert (error.code, error.attempts) == ("codealive_rate_limit", 1)
    assert error.errors[0].startswith("limit 100, until 20")
    assert len(sandbox.requests) < 50


@pytest.mark.parametrize("reset", ["soon", "nan", "-1", "9" * 400, ""])
def test_a_rate_limit_that_makes_no_sense_harms_nobody(
    client: CodeAliveClient, sandbox: Sandbox, reset: str
) -> None:
    headers = {"X-RateLimit-Reset": reset, "Retry-After": "0"}
    sandbox.fault(FETCH, status=429, times=1, headers=headers)
    assert client.fetch(POLICY)[POLICY].found


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((), None),
        ((("Retry-After", "40"),), 40),
        ((("Retry-After", "40"), ("X-RateLimit-Reset", "4000000000")), 40),
        ((("Retry-After", "soon"), ("X-RateLimit-Reset", "1700000020")), 20),
    ],
)
def test_a_rate_limit_ends_when_it_says_so(
    headers: tuple[tuple[str, str], ...], seconds: int | None
) -> None:
    heard = datetime.fromtimestamp(1_700_000_000, UTC)
    ends = limit_ends(Reply(429, b"", headers=headers, received_at=heard))
    assert ends == (None if seconds is None else heard + timedelta(seconds=seconds))


def test_only_a_429_has_a_limit_that_ends() -> None:
    headers = (("X-RateLimit-Reset", "4000000000"),)
    heard = datetime.fromtimestamp(1_700_000_000, UTC)
    for status in (200, 503):
        assert limit_ends(Reply(status, b"", headers=headers, received_at=heard)) is None
    later = Reply(503, b'{"retryable": true}', headers=headers, received_at=heard)
    assert not is_final(later)
    assert is_final(replace(later, status=429))
    # An end is told from now on: without a now there is none.
    assert limit_ends(Reply(429, b"", headers=headers)) is None


def test_a_redirect_is_not_followed(client: CodeAliveClient, sandbox: Sandbox) -> None:
    sandbox.fault(FETCH, status=302, headers={"Location": "https://elsewhere.example/"})
    assert refused(client).code == "redirected"


# Key and address.


def test_the_key_goes_as_a_bearer_and_shows_itself_nowhere(
    client: CodeAliveClient, sandbox: Sandbox
) -> None:
    client.fetch(POLICY)
    (request,) = sandbox.requests
    assert request.headers["authorization"] == f"Bearer {sandbox.key}"
    assert request.headers["accept"] == "application/json, application/problem+json"
    sandbox.fault(FETCH, status=401)
    assert sandbox.key not in str(refused(client))


def test_key_and_address_come_from_the_environment(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEALIVE_API_KEY", sandbox.key)
    monkeypatch.setenv("CODEALIVE_BASE_URL", sandbox.url + "/api/")
    client = CodeAliveClient()
    assert client.fetch(POLICY)[POLICY].found
    client.close()


@pytest.mark.parametrize("key", [None, "", "  "])
def test_without_a_key_the_way_to_one_is_told(
    monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    if key is not None:
        monkeypatch.setenv("CODEALIVE_API_KEY", key)
    error = refused(CodeAliveClient())
    assert error.code == "no_codealive_key"
    assert "set CODEALIVE_API_KEY" in error.todo


@pytest.mark.parametrize("end", ["", "/", "/api", "/api/"])
@pytest.mark.parametrize("prefix", ["", "/internal", "/api/v1"])
def test_the_address_may_end_in_api_and_keeps_its_prefix(prefix: str, end: str) -> None:
    assert host_of(f"https://code.acme.example{prefix}{end}") == (
        f"https://code.acme.example{prefix}"
    )


def test_a_path_prefix_is_part_of_every_request(sandbox: Sandbox) -> None:
    client = CodeAliveClient(api_key=sandbox.key, base_url=sandbox.url + "/internal/api")
    with pytest.raises(NoVerdict):
        client.data_sources()
    client.close()
    assert sandbox.requests[-1].path == "/internal/api/datasources/ready"


@pytest.mark.parametrize(
    "url", ["app.codealive.ai", "http://code.acme.example", "https://a,https://b", "https://u:p@h"]
)
def test_an_address_that_is_none_is_refused_by_the_name_of_its_variable(url: str) -> None:
    with pytest.raises(NoVerdict, match="CODEALIVE_BASE_URL") as caught:
        host_of(url)
    assert caught.value.code == "bad_codealive_url"
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://mcp.codealive.ai/api", "https://MCP.codealive.ai"])
def test_the_mcp_server_is_refused_by_name(url: str) -> None:
    with pytest.raises(NoVerdict, match=r"MCP server \(mcp.codealive.ai\)") as caught:
        host_of(url)
    assert codealive.DEFAULT_HOST in caught.value.todo


@pytest.mark.parametrize("environ", [{}, {"CODEALIVE_BASE_URL": ""}])
def test_without_an_address_codealive_itself_is_asked(environ: dict[str, str]) -> None:
    assert host_in(environ) == codealive.DEFAULT_HOST


def test_a_host_that_is_called_api_keeps_its_name() -> None:
    assert host_of("https://api") == "https://api"


# Search and data sources.


def test_a_search_names_its_sources_and_returns_identifiers(
    client: CodeAliveClient, sandbox: Sandbox
) -> None:
    hits = client.search("digest signature", names=["payments"], mode="fast", detail="full")
    assert hits[0] == Hit(
        identifier=VERIFY,
        kind="Symbol",
        path="src/payments/webhooks.py",
        start_line=6,
        end_line=6,
        score=0.9,
        description="Text that a machine wrote about it",
        byte_size=167,
        data_source="payments",
    )
    (request,) = sandbox.requests
    assert request.query == (
        ("Query", "digest signature"),
        ("Names", "payments"),
        ("Mode", "fast"),
        ("IncludeContent", "false"),
        ("DescriptionDetail", "Full"),
    )


def test_one_name_is_searched_as_it_is() -> None:
    seen: list[Request] = []

    def exchange(request: Request) -> Reply:
        seen.append(request)
        return Reply(200, b'{"results": []}', "application/json")

    assert CodeAliveClient(exchange=exchange).search("x", names="payments") == []
    assert seen[0].query[1:3] == (("Names", "payments"), ("Mode", "auto"))
    assert seen[0].cassette.startswith("search/x.")


def test_hits_may_be_poor() -> None:
    results = [
        {"kind": "Chunk", "location": {"path": "file2.py"}, "snippet": "x"},
        {"identifier": "a/b::c.py::F", "dataSource": "backend", "score": None},
        {"identifier": "a/b::d.md", "location": {"range": {"start": {"line": 0}, "end": None}}},
    ]
    poor, text, lines = replying(200, {"results": results}).search("x", names="backend")
    assert (poor.identifier, poor.path) == ("", "file2.py")
    assert (text.data_source, text.start_line) == ("backend", None)
    assert (lines.start_line, lines.end_line) == (0, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"query": ""},
        {"query": "a\x00b"},
        {"query": None},
        {"names": []},
        {"names": None},
        {"names": [3]},
        {"names": [""]},
        {"mode": "fast_deeper"},
        {"mode": []},
        {"detail": "long"},
    ],
)
def test_a_search_that_can_not_be_meant_is_not_sent(wrong: dict[str, Any]) -> None:
    with pytest.raises(NoVerdict) as caught:
        replying(200, {"results": []}).search(**{"query": "x", "names": "y", **wrong})
    assert caught.value.code == "bad_name"


def test_the_data_sources_that_are_ready_are_listed(client: CodeAliveClient) -> None:
    listed = {one.name: one for one in client.data_sources()}
    assert "orders" not in listed
    assert listed["payments-release"].label == "payments-release (release/1.4)"
    assert listed["payments-release"].state == "Ready"
    assert listed["shop"].url == ""
    assert len(listed["shop"].repository_ids) == 2


def test_an_older_list_of_data_sources_is_understood() -> None:
    older = [{"name": "x", "readiness": "Ready", "branch": None}]
    assert replying(200, older).data_sources() == [DataSource("x", state="Ready")]


def test_a_list_of_data_sources_that_gives_two_one_id_is_no_verdict() -> None:
    with pytest.raises(NoVerdict, match="two data sources have one id") as caught:
        replying(200, [{"id": "1", "name": "x"}, {"id": "1", "name": "y"}]).data_sources()
    assert caught.value.code == "malformed"
    older: list[object] = [{"name": "x"}, {"name": "x"}, {"id": None, "name": "y"}]
    assert len(replying(200, older).data_sources()) == 3


def test_a_list_of_data_sources_that_is_none_is_no_verdict() -> None:
    with pytest.raises(NoVerdict) as caught:
        replying(200, {"data_sources": []}).data_sources()
    assert caught.value.code == "malformed"
