"""What a cassette holds, what it is good for, and what a hostile one can not do."""

from __future__ import annotations

import base64
import errno
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
import vcr
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from vcr.cassette import Cassette

from pytest_kosli.api.cassettes import PLACEHOLDER, RECORDED, Cassettes, _first_line
from pytest_kosli.model import NoVerdict, Reply, Request

HOST = "https://app.kosli.com"
SECRET = "canary/token+1234567890"
ASK = Request(
    ("asserts", "acme", "fingerprint", "a" * 64),
    (("environment_name", "prod"), ("flow_name", "web ci")),
    "acme/asserts/aaaaaaaaaaaa.environment=prod",
)
REPLY = Reply(
    200,
    b'{"compliant":true,"scope":"environment"}',
    "application/json",
    (("Content-Type", "application/json"), ("Date", "Sun, 22 Nov 2026 10:00:00 GMT")),
    received_at=datetime(2026, 11, 22, 10, 0, 1, tzinfo=UTC),
)


@pytest.fixture
def cassettes(tmp_path: Path) -> Cassettes:
    """Return an empty folder of cassettes."""
    return Cassettes(tmp_path / "cassettes")


def file_of(cassettes: Cassettes, request: Request = ASK) -> Path:
    return cassettes.folder / f"{request.cassette}.yaml"


def refusal(cassettes: Cassettes, request: Request = ASK, host: str | None = HOST) -> NoVerdict:
    with pytest.raises(NoVerdict) as caught:
        cassettes.play(request, host)
    return caught.value


# Record and play


def test_what_was_recorded_is_played_and_says_so(cassettes: Cassettes) -> None:
    cassettes.record(ASK, REPLY, HOST, [])
    assert cassettes.play(ASK, HOST) == replace(REPLY, replayed=True)
    assert cassettes.play(ASK, HOST) == cassettes.play(ASK, None)


def test_the_number_of_attempts_is_kept(cassettes: Cassettes) -> None:
    cassettes.record(ASK, replace(REPLY, attempts=3), HOST, [])
    assert cassettes.play(ASK, HOST).attempts == 3


def test_a_reply_of_no_date_is_recorded_now(cassettes: Cassettes) -> None:
    cassettes.record(ASK, replace(REPLY, received_at=None), HOST, [])
    recorded = cassettes.play(ASK, HOST).received_at
    assert recorded is not None
    assert abs((datetime.now(UTC) - recorded).total_seconds()) < 60


def test_the_recordings_of_an_organisation_are_listed(cassettes: Cassettes) -> None:
    assert list(cassettes.recordings("acme")) == []
    cassettes.record(ASK, REPLY, HOST, [])
    assert list(cassettes.recordings("acme")) == [(HOST, replace(REPLY, replayed=True))]
    assert list(cassettes.recordings("other")) == []
    file_of(cassettes).write_text("interactions: []")
    with pytest.raises(NoVerdict) as caught:
        list(cassettes.recordings("acme"))
    assert caught.value.code == "cassette_damaged"


def test_error_replies_are_recorded_too(cassettes: Cassettes) -> None:
    lost = replace(REPLY, status=404, body=b'{"message":"Artifact not found"}')
    cassettes.record(ASK, lost, HOST, [])
    assert cassettes.play(ASK, HOST) == replace(lost, replayed=True)


def test_recording_again_replaces_the_file(cassettes: Cassettes) -> None:
    for body in (b"{}", b'{"compliant":false}'):
        cassettes.record(ASK, replace(REPLY, body=body), HOST, [])
    assert cassettes.play(ASK, HOST).body == b'{"compliant":false}'
    assert [path for path in cassettes.folder.rglob("*") if path.is_file()] == [file_of(cassettes)]


def test_a_cassette_can_be_read_by_people(cassettes: Cassettes) -> None:
    body = '{"compliant":true,"flow":"zahlungen-f\xfcr-\u65e5\u672c","why":"it\'s fine: yes"}'
    cassettes.record(ASK, replace(REPLY, body=body.encode()), HOST, [])
    text = file_of(cassettes).read_text(encoding="utf-8")
    assert body.replace("'", "''") in text
    assert f"{RECORDED}:\n      - '2026-11-22T10:00:01+00:00'" in text
    assert "!!" not in text


def test_a_changed_verdict_is_one_changed_line(cassettes: Cassettes) -> None:
    texts = []
    for word in ("true", "false"):
        body = f'{{"compliant":{word},"words":"{"lorem ipsum " * 50}"}}'.encode()
        cassettes.record(ASK, replace(REPLY, body=body), HOST, [])
        texts.append(file_of(cassettes).read_text().splitlines())
    assert len(texts[0]) == len(texts[1])
    assert sum(old != new for old, new in zip(*texts, strict=True)) == 1


def test_text_that_turns_itself_around_is_escaped(cassettes: Cassettes) -> None:
    cassettes.record(ASK, replace(REPLY, body="\u202eeurt".encode()), HOST, [])
    assert file_of(cassettes).read_bytes().isascii()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode(errors="surrogatepass"))))
def test_every_body_survives(cassettes: Cassettes, body: bytes) -> None:
    cassettes.record(ASK, replace(REPLY, body=body), HOST, [])
    assert cassettes.play(ASK, HOST).body == body


def test_use_cassette_plays_it(cassettes: Cassettes) -> None:
    cassettes.record(ASK, REPLY, HOST, [])
    url = (
        f"{HOST}/api/v2/asserts/acme/fingerprint/{'a' * 64}?environment_name=prod&flow_name=web+ci"
    )
    with vcr.use_cassette(str(file_of(cassettes)), record_mode="none") as active:
        reply = requests.get(url, timeout=5)
    assert (reply.status_code, reply.content, active.play_count) == (200, REPLY.body, 1)


def test_it_survives_being_saved_by_vcrpy_itself(cassettes: Cassettes) -> None:
    cassettes.record(ASK, REPLY, HOST, [])
    theirs = Cassette.load(path=str(file_of(cassettes)))
    theirs._save(force=True)
    assert cassettes.play(ASK, HOST) == replace(REPLY, replayed=True)


def test_posts_are_told_apart_by_their_body(cassettes: Cassettes) -> None:
    codealive = Cassettes(cassettes.folder, base_path="/api")
    ask = Request(("search", "artifacts"), (), "codealive/x", "POST", b'{"identifiers":["a"]}')
    codealive.record(ask, REPLY, "https://app.codealive.example", [])
    assert codealive.play(ask, "https://app.codealive.example").body == REPLY.body
    assert (
        "https://app.codealive.example/api/search/artifacts" in file_of(codealive, ask).read_text()
    )
    other = refusal(codealive, replace(ask, body=b"{}"), "https://app.codealive.example")
    assert other.code == "cassette_mismatch"
    assert "body" in other.message


def test_sixteen_threads_record_and_replay_all_without_a_socket(
    cassettes: Cassettes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = [
        Request(("asserts", "acme", str(number)), (), f"acme/asserts/{number}")
        for number in range(200)
    ]

    def record(ask: Request) -> None:
        cassettes.record(ask, replace(REPLY, body=ask.segments[-1].encode()), HOST, [SECRET])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(record, asks))
        monkeypatch.setattr(socket, "socket", pytest.fail)
        replies = list(pool.map(lambda ask: cassettes.play(ask, HOST), asks))
    assert len([path for path in cassettes.folder.rglob("*") if path.is_file()]) == 200
    assert [reply.body.decode() for reply in replies] == [ask.segments[-1] for ask in asks]


def test_one_file_written_by_many_is_always_whole(cassettes: Cassettes) -> None:
    cassettes.record(ASK, REPLY, HOST, [])
    with ThreadPoolExecutor(8) as pool:
        writing = [
            pool.submit(cassettes.record, ASK, replace(REPLY, body=b"x" * 50_000), HOST, [])
            for _ in range(20)
        ]
        read = [cassettes.play(ASK, HOST).body for _ in range(20)]
        for one in writing:
            one.result()
    assert set(read) <= {REPLY.body, b"x" * 50_000}
    assert len([path for path in cassettes.folder.rglob("*") if path.is_file()]) == 1


# Another question


@pytest.mark.parametrize(
    ("asked", "host", "part"),
    [
        (ASK, "https://app.us.kosli.com", "host"),
        (ASK, "https://app.kosli.com:8443", "port"),
        (ASK, "http://localhost:443", "scheme"),
        (ASK, "https://app.kosli.com/prefix", "path"),
        (replace(ASK, segments=("asserts", "evil", "fingerprint", "a" * 64)), HOST, "path"),
        (replace(ASK, segments=("asserts", "acme", "fingerprint", "b" * 64)), None, "path"),
        (replace(ASK, query=ASK.query[:1]), HOST, "query"),
        (replace(ASK, query=(*ASK.query, ("policy_name", ""))), HOST, "query"),
        (replace(ASK, query=ASK.query[::-1]), HOST, "query"),
        (replace(ASK, method="POST"), HOST, "method"),
        (replace(ASK, body=b"{}"), HOST, "body"),
    ],
)
def test_the_reply_to_another_question_is_refused_by_name(
    cassettes: Cassettes, asked: Request, host: str | None, part: str
) -> None:
    cassettes.record(ASK, REPLY, HOST, [])
    error = refusal(cassettes, asked, host)
    assert error.code == "cassette_mismatch"
    assert f"{part}: " in error.message
    assert ("query: " if part == "method" else "method: ") not in error.message
    assert str(file_of(cassettes)) in error.message


@pytest.mark.parametrize("spelled", ["https://APP.kosli.com", "https://x@app.kosli.com"])
def test_an_address_that_is_spelled_otherwise_is_another(
    cassettes: Cassettes, spelled: str
) -> None:
    cassettes.record(ASK, REPLY, HOST, [])
    file_of(cassettes).write_text(file_of(cassettes).read_text().replace(HOST, spelled))
    error = refusal(cassettes)
    assert error.code == "cassette_mismatch"
    assert error.message.endswith("the one asked: its address is spelled otherwise")


def test_a_missing_cassette_says_which_and_how_to_record_it(cassettes: Cassettes) -> None:
    error = refusal(cassettes)
    assert error.code == "cassette_missing"
    assert str(file_of(cassettes)) in error.message
    assert "pytest --kosli-record" in error.todo


# The host that the cassettes name


def test_the_host_comes_from_the_cassettes(cassettes: Cassettes) -> None:
    host = "https://kosli.acme.example:8443/on/prem"
    for number in range(3):
        cassettes.record(replace(ASK, cassette=f"acme/{number}"), REPLY, host, [])
    assert cassettes.host() == host
    assert cassettes.play(replace(ASK, cassette="acme/1"), None).status == 200


def test_the_first_host_that_cassettes_name_holds_for_all(cassettes: Cassettes) -> None:
    cassettes.record(replace(ASK, cassette="one"), REPLY, HOST, [])
    cassettes.record(replace(ASK, cassette="two"), REPLY, "https://app.us.kosli.com", [])
    assert cassettes.host() == HOST
    with pytest.raises(NoVerdict) as caught:
        cassettes.play(replace(ASK, cassette="two"), cassettes.host())
    assert caught.value.code == "cassette_mismatch"
    assert "app.us.kosli.com" in caught.value.message


def test_cassettes_of_others_name_no_host(cassettes: Cassettes) -> None:
    cassettes.folder.mkdir()
    (cassettes.folder / "theirs.yaml").write_text(
        "interactions:\n- request:\n    uri: https://evil.example/api/v2/asserts\nversion: 1\n"
    )
    (cassettes.folder / "binary.yaml").write_bytes(b"\xff\xfe" + RECORDED.encode())
    with pytest.raises(NoVerdict) as caught:
        cassettes.host()
    assert caught.value.code == "cassette_missing"
    cassettes.record(ASK, REPLY, HOST, [])
    assert cassettes.host() == HOST


# Secrets


def test_no_form_of_a_secret_reaches_the_file(cassettes: Cassettes) -> None:
    basic = base64.b64encode(f"{SECRET}:".encode()).decode()
    other = base64.urlsafe_b64encode(f"user:{SECRET}".encode()).decode()
    encoded = quote(SECRET, safe="")
    forms = [SECRET, encoded, encoded.lower(), basic, other, SECRET.replace("/", "\\/")]
    body = " ".join(forms).encode()
    ask = replace(ASK, query=(("key", SECRET),), body=body, method="POST")
    reply = replace(
        REPLY,
        body=body + b"\xff",
        content_type=f"text/plain; {SECRET}",
        headers=(
            ("Date", SECRET),
            ("Set-Cookie", f"session={SECRET}"),
            ("Authorization", f"Bearer {SECRET}"),
        ),
    )
    cassettes.record(ask, reply, HOST, ["", "T", SECRET, "another-secret"])
    written = file_of(cassettes).read_bytes()
    decoded = yaml.safe_load(written)["interactions"][0]["response"]["body"]["string"]
    assert isinstance(decoded, bytes)
    for found in (written, decoded):
        for form in forms:
            parts = [form[start : start + 12].encode() for start in range(len(form) - 11)]
            assert not [part for part in parts if part in found]
    assert b"Cookie" not in written
    assert b"Authorization" not in written
    assert written.count(PLACEHOLDER.encode()) == 2 + len(forms) + 1


def test_only_the_headers_that_a_replay_reads_are_written(cassettes: Cassettes) -> None:
    cassettes.record(ASK, REPLY, HOST, [SECRET])
    data = yaml.safe_load(file_of(cassettes).read_text())
    exchange = data["interactions"][0]
    assert exchange["request"]["headers"] == {}
    assert sorted(exchange["response"]["headers"]) == ["Content-Type", "Date", RECORDED]


# Where it is written


@pytest.mark.parametrize(
    "name", ["", "../x", "a/../../x", "/etc/x", "a//b", "a/.", "c:x", "a\\..\\x", "a\x00b", "a\nb"]
)
def test_nothing_is_read_or_written_outside_the_folder(cassettes: Cassettes, name: str) -> None:
    ask = replace(ASK, cassette=name)
    assert refusal(cassettes, ask).code == "bad_name"
    with pytest.raises(NoVerdict, match="can not be the path"):
        cassettes.record(ask, REPLY, HOST, [])
    assert not cassettes.folder.exists()


def test_a_link_that_leads_out_is_not_written_through(cassettes: Cassettes, tmp_path: Path) -> None:
    cassettes.folder.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (cassettes.folder / "acme").symlink_to(outside, target_is_directory=True)
    with pytest.raises(NoVerdict) as caught:
        cassettes.record(ASK, REPLY, HOST, [])
    assert caught.value.code == "cassette_unwritable"
    assert not list(outside.iterdir())


def test_a_recording_that_fails_leaves_no_half_file(cassettes: Cassettes) -> None:
    file_of(cassettes).mkdir(parents=True)
    with pytest.raises(NoVerdict) as caught:
        cassettes.record(ASK, REPLY, HOST, [])
    assert caught.value.code == "cassette_unwritable"
    assert str(file_of(cassettes)) in caught.value.message
    assert [path for path in cassettes.folder.rglob("*") if not path.is_dir()] == []


def test_a_name_too_long_for_a_file_is_an_error_of_its_own(cassettes: Cassettes) -> None:
    with pytest.raises(NoVerdict) as caught:
        cassettes.record(replace(ASK, cassette="x" * 300), REPLY, HOST, [])
    assert caught.value.code == "cassette_unwritable"


# Hostile files


def damage(cassettes: Cassettes, content: str | bytes) -> NoVerdict:
    path = file_of(cassettes)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    errors = [refusal(cassettes, ASK, host) for host in (HOST, None)]
    assert [error.code for error in errors] == ["cassette_damaged"] * 2
    assert str(path) in errors[0].message
    assert "pytest --kosli-record" in errors[0].todo
    return errors[0]


def test_a_cassette_runs_no_code(cassettes: Cassettes, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for tag in ("object/apply:os.system", "object/new:os.system", "object/apply:subprocess.run"):
        damage(cassettes, f"!!python/{tag} ['touch {ran}']")
        damage(cassettes, f"interactions:\n- !!python/{tag} ['touch {ran}']\n")
    assert not ran.exists()


BOMB = "a0: &a0 {x: lol}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "text",
        "{",
        "\t",
        "interactions:",
        "interactions: []",
        "interactions: [1]",
        "interactions: {}",
        "a: &x [1]\nb: *x\n",
        BOMB,
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000,
        "\n".join(" " * depth + "-" for depth in range(2000)),
        b"\xff\xfe\x00",
    ],
    ids=lambda content: f"{content[:12]!r}-{len(content)}",
)
def test_what_is_no_cassette_is_damaged(cassettes: Cassettes, content: str | bytes) -> None:
    damage(cassettes, content)


def test_a_cassette_that_is_far_too_large_is_damaged(cassettes: Cassettes) -> None:
    path = file_of(cassettes)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(129 * 1024 * 1024)
    error = refusal(cassettes)
    assert error.code == "cassette_damaged"
    assert "larger than 128 MiB" in error.message


WRONG: list[Any] = [None, 7, True, [], {}, ["a"], {"a": "b"}, "text", ["a", {"b": ["c"]}]]
SPOTS = [
    ("request",),
    ("response",),
    ("request", "method"),
    ("request", "uri"),
    ("request", "headers"),
    ("response", "status"),
    ("response", "status", "code"),
    ("response", "headers"),
    ("response", "headers", RECORDED),
    ("response", "body"),
    ("response", "body", "string"),
]


@pytest.mark.parametrize("spot", SPOTS, ids="-".join)
def test_wrong_types_anywhere_are_damage_or_another_question(
    cassettes: Cassettes, spot: tuple[str, ...]
) -> None:
    cassettes.record(ASK, REPLY, HOST, [])
    whole = file_of(cassettes).read_text()
    for wrong in [*WRONG, "missing"]:
        data = yaml.safe_load(whole)
        place = data["interactions"][0]
        for key in spot[:-1]:
            place = place[key]
        if wrong == "missing":
            del place[spot[-1]]
        else:
            place[spot[-1]] = wrong
        file_of(cassettes).write_text(yaml.safe_dump(data))
        if (wrong, spot[-1]) in (("text", "method"), ("text", "string"), ({}, "headers")):
            continue
        assert refusal(cassettes).code in ("cassette_damaged", "cassette_mismatch")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("- application/json\n", "- &x application/json\n      - *x\n", "aliases"),
        ("version: 1\n", "version: 1\n---\nversion: 1\n", "2 YAML documents"),
        ("version: 1\n", "version: 1\nversion: 1\n", "a key stands there twice"),
        ("version: 1\n", "version: 1\n7: x\n", "a key stands there twice, or is not text"),
        ("version: 1\n", "version: 1.5\n", "a value of type float"),
    ],
)
def test_a_sound_cassette_with_more_yaml_around_it_is_damaged(
    cassettes: Cassettes, old: str, new: str, why: str
) -> None:
    cassettes.record(ASK, REPLY, HOST, [])
    text = file_of(cassettes).read_text()
    assert old in text
    assert why in damage(cassettes, text.replace(old, new)).message


@pytest.mark.parametrize("wrong", [7, True, [], {}, ["a"]])
def test_a_body_that_is_no_text_is_damage(cassettes: Cassettes, wrong: object) -> None:
    cassettes.record(ASK, REPLY, HOST, [])
    for spot, key in (("request", "body"), ("response", "body")):
        data = yaml.safe_load(file_of(cassettes).read_text())
        data["interactions"][0][spot][key] = wrong if spot == "request" else {"string": wrong}
        assert damage(cassettes, yaml.safe_dump(data)).code == "cassette_damaged"
        cassettes.record(ASK, REPLY, HOST, [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'2026-11-22T10:00:01+00:00'", "'2026-11-22T10:00:01'"),
        ("'2026-11-22T10:00:01+00:00'", "'yesterday'"),
        (f"{RECORDED}:", "Other:"),
        (f"{RECORDED}:", "Kosli-Attempts:\n      - '0'\n      Kosli-Recorded-At:"),
        (f"{RECORDED}:", "Kosli-Attempts:\n      - 'many'\n      Kosli-Recorded-At:"),
        ("code: 200", "code: 2000"),
        ("code: 200", "code: '200'"),
        ("uri: https://app.kosli.com/", "uri: https://app.kosli.com:99999/"),
        ("uri: https://app.kosli.com/", "uri: https://[::1/"),
        ("uri: https://app.kosli.com/", 'uri: "https://app.kosli.com\\0/'),
        ("string: '{", 'string: "\\uD800'),
    ],
)
def test_values_that_make_no_sense_are_damage(cassettes: Cassettes, old: str, new: str) -> None:
    cassettes.record(ASK, REPLY, HOST, [])
    text = file_of(cassettes).read_text()
    assert old in text
    damage(cassettes, text.replace(old, new))


def test_two_exchanges_in_one_cassette_are_one_too_many(cassettes: Cassettes) -> None:
    cassettes.record(ASK, REPLY, HOST, [])
    data = yaml.safe_load(file_of(cassettes).read_text())
    data["interactions"] *= 2
    data["interactions"] = yaml.safe_load(str(data["interactions"]))
    damage(cassettes, yaml.safe_dump(data))


@pytest.mark.parametrize("uri", ["https://app.kosli.com", "https://app.kosli.com/api/v1/x"])
def test_a_question_that_is_not_to_kosli_names_no_host(cassettes: Cassettes, uri: str) -> None:
    cassettes.record(ASK, REPLY, HOST, [])
    file = file_of(cassettes)
    file.write_text(re.sub(r"uri: \S+", f"uri: {uri}", file.read_text()))
    error = refusal(cassettes, host=None)
    assert error.code == "cassette_damaged"
    assert error.message.endswith("it names no host that could be asked")


def test_a_file_that_can_not_be_read_is_damage_in_the_systems_words(cassettes: Cassettes) -> None:
    file_of(cassettes).parent.mkdir(parents=True)
    file_of(cassettes).symlink_to(file_of(cassettes))
    error = refusal(cassettes)
    assert error.code == "cassette_damaged"
    assert error.message.endswith(os.strerror(errno.ELOOP))


def test_a_reply_without_a_date_has_none_when_it_is_played(cassettes: Cassettes) -> None:
    cassettes.record(ASK, replace(REPLY, headers=()), HOST, [])
    assert cassettes.play(ASK, HOST).headers == (("Content-Type", "application/json"),)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError(), "ValueError"),
        (ValueError("red \x1b[31m"), "red  [31m"),
        (ValueError("x" * 300), "x" * 200),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_one_plain_line(error: Exception, told: str) -> None:
    assert _first_line(error) == told


def test_a_folder_and_a_pipe_in_its_place_are_damage(cassettes: Cassettes) -> None:
    file_of(cassettes).mkdir(parents=True)
    assert refusal(cassettes).code == "cassette_damaged"
    file_of(cassettes).rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(file_of(cassettes))
        assert refusal(cassettes).code == "cassette_damaged"
