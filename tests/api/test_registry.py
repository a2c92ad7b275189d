from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from pytest_kosli.api import registry as client
from pytest_kosli.api.credentials import Credentials, of_registry
from pytest_kosli.api.host import Token
from pytest_kosli.api.registry import Manifest, hints, resolve
from pytest_kosli.fingerprint.image import whole
from pytest_kosli.model import NoVerdict
from tests.api.faulty import Answer, Faulty, Seen
from tests.registry import (
    INDEX,
    MANIFEST,
    PASSWORD,
    TOKEN,
    USER,
    Registry,
    TokenService,
    needs_registry,
    with_passwords,
    with_tokens,
)

BODY = json.dumps({"schemaVersion": 2, "config": {}, "layers": []}).encode()
DIGEST = hashlib.sha256(BODY).hexdigest()
LOGIN_PAGE = b"<html><title>Sign in to Acme</title></html>"


def answer(
    body: bytes = BODY, digest: str | None = None, media: str = MANIFEST, status: int = 200
) -> Answer:
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}" if digest is None else digest
    headers = (("Content-Type", media), ("Docker-Content-Digest", digest))
    return Answer(status, body, tuple(pair for pair in headers if pair[1]))


def challenge(text: str, status: int = 401) -> Answer:
    body = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
    headers = (("Content-Type", "application/json"), ("WWW-Authenticate", text))
    return Answer(status, body, headers)


def ask(port: int, name: str = "acme/app:1.4", **settings: Any) -> Manifest:
    return resolve(whole(f"127.0.0.1:{port}/{name}"), **{"max_api_retries": 0, **settings})


def refused(port: int, **settings: Any) -> NoVerdict:
    with pytest.raises(NoVerdict) as caught:
        ask(port, **settings)
    assert f"127.0.0.1:{port}/acme/app:1.4" in caught.value.message
    return caught.value


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's config.json, not written yet, in a folder that DOCKER_CONFIG names."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()
    return tmp_path / "docker" / "config.json"


@pytest.fixture(autouse=True)
def no_docker_of_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, name: str = "test") -> None:
    """Put a credential helper on the PATH: a shell script that finds its request in $asked."""
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\nasked=$(cat)\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


# A real registry.


@pytest.fixture(scope="module")
def real() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@needs_registry
def test_a_tag_has_the_digest_that_was_pushed(real: Registry) -> None:
    digest = real.push("acme/app", "1.4")
    assert ask(real.port) == Manifest(digest)


@needs_registry
def test_one_request_is_enough_where_nobody_asks_who_we_are(real: Registry) -> None:
    real.push("acme/once", "1")
    ask(real.port, "acme/once:1")
    assert real.asked("acme/once") == 1


@needs_registry
def test_a_tag_for_several_platforms_has_the_digest_of_its_index(real: Registry) -> None:
    index, (amd, arm) = real.push_index("acme/multi", "2")
    found = ask(real.port, "acme/multi:2")
    assert found.sha256 == index
    assert found.platforms == (("linux/amd64", f"sha256:{amd}"), ("linux/arm64", f"sha256:{arm}"))
    assert amd in hints(found)[0]
    assert "index of 2 platforms" in hints(found)[0]


@needs_registry
def test_an_image_that_is_not_there_is_told_in_the_registry_s_words(real: Registry) -> None:
    real.push("acme/app", "1.4")
    with pytest.raises(NoVerdict, match=r"has no such image \(404: manifest unknown\)") as caught:
        ask(real.port, "acme/app:9.9")
    assert caught.value.code == "unknown_image"


@needs_registry
def test_passwords_from_variables_open_a_real_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    with with_passwords() as registry:
        digest = registry.push("acme/app", "1.4")
        assert refused(registry.port).code == "registry_login"
        monkeypatch.setenv("KOSLI_REGISTRY_USERNAME", USER)
        monkeypatch.setenv("KOSLI_REGISTRY_PASSWORD", PASSWORD)
        assert ask(registry.port).sha256 == digest
        monkeypatch.setenv("KOSLI_REGISTRY_PASSWORD", "wr0ng-word")
        error = refused(registry.port)
    assert error.code == "registry_denied"
    assert "KOSLI_REGISTRY_USERNAME" in error.message
    assert "wr0ng-word" not in str(error)


@needs_registry
def test_a_real_registry_s_challenge_leads_to_the_token_service() -> None:
    service = TokenService()
    with with_tokens(service) as registry:
        digest = registry.push("acme/app", "1.4")
        assert ask(registry.port).sha256 == digest
    assert service.queries() == [
        {"service": ["the registry"], "scope": ["repository:acme/app:pull"]}
    ]


@needs_registry
def test_a_registry_on_loopback_that_speaks_tls_is_asked_that_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    pem = tmp_path / "registry.pem"
    command = f"""{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes
        -days 2 -subj /CN=x -addext subjectAltName=IP:127.0.0.1 -keyout {pem} -out {pem}.crt"""
    subprocess.run(command.split(), capture_output=True, check=True)
    pem.write_text(pem.read_text() + Path(f"{pem}.crt").read_text())
    with Registry(certificate=pem) as registry:
        digest = registry.push("acme/app", "1.4")
        assert refused(registry.port).code == "tls"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
        assert ask(registry.port).sha256 == digest


# A registry that lies.


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (answer(digest=f"sha256:{'a' * 64}"), "registry_digest_mismatch"),
        (answer(BODY + b" ", digest=f"sha256:{DIGEST}"), "registry_digest_mismatch"),
        (answer(digest=""), "registry_no_digest"),
        (answer(LOGIN_PAGE, digest="", media="text/html"), "registry_no_digest"),
        (answer(LOGIN_PAGE, media="text/html"), "registry_nonsense"),
        (answer(b"{}"), "registry_nonsense"),
        (answer(b"[]"), "registry_nonsense"),
        (answer(b'{"manifests": []}'), "registry_nonsense"),
        (answer(b"[" * 100_000), "registry_nonsense"),
        (answer(BODY, media=INDEX), "registry_nonsense"),
        (answer(BODY, media="application/json"), "registry_nonsense"),
        (answer(digest=DIGEST), "registry_nonsense"),
        (answer(digest=f"sha256:{DIGEST.upper()}"), "registry_nonsense"),
        (answer(digest=f"sha512:{DIGEST}{DIGEST}"), "registry_nonsense"),
        (answer(digest=f"sha256:{DIGEST}, sha256:{DIGEST}"), "registry_nonsense"),
        (
            answer(media="application/vnd.docker.distribution.manifest.v1+prettyjws"),
            "registry_old_manifest",
        ),
        (answer(status=204), "registry_error"),
        (answer(status=206), "registry_error"),
        (answer(status=500), "registry_error"),
        (answer(b'{"errors": []}', status=500), "registry_error"),
        (answer(status=404), "unknown_image"),
        (answer(status=403), "registry_login"),
        (answer(status=429), "registry_busy"),
        (answer(b" " * (4 * 1024 * 1024 + 1)), "too_large"),
    ],
)
def test_an_answer_that_is_no_manifest_of_its_digest_is_an_error(lie: Answer, code: str) -> None:
    with Faulty(lie) as server:
        assert refused(server.port).code == code


def indexed(*platforms: dict[str, str] | None) -> Answer:
    members = [{"digest": f"sha256:{n:064}", "platform": p} for n, p in enumerate(platforms)]
    return answer(json.dumps({"manifests": members}).encode(), media=INDEX)


def test_what_is_of_no_known_platform_is_no_platform_of_an_image() -> None:
    unknown = {"os": "unknown", "architecture": "unknown"}
    arm = {"os": "linux", "architecture": "arm", "variant": "v7"}
    with Faulty(indexed(None, {}, unknown, arm)) as server:
        assert ask(server.port).platforms == (("linux/arm/v7", f"sha256:{3:064}"),)


def test_hints_name_up_to_four_platforms() -> None:
    assert hints(Manifest(DIGEST)) == ()
    four = tuple((f"linux/v{number}", "sha256:x") for number in range(4))
    (hint,) = hints(Manifest(DIGEST, four))
    assert hint.endswith("linux/v3 sha256:x")
    (hint,) = hints(Manifest(DIGEST, (*four, ("linux/v4", "sha256:x"))))
    assert hint.endswith("linux/v3 sha256:x and 1 more")


def test_a_header_given_twice_is_no_digest() -> None:
    twice = (("Content-Type", MANIFEST), *(("Docker-Content-Digest", f"sha256:{DIGEST}"),) * 2)
    with Faulty(Answer(200, BODY, twice)) as server:
        assert refused(server.port).code == "registry_nonsense"


def test_a_compressed_manifest_is_hashed_as_it_was_meant() -> None:
    headers = (("Content-Type", MANIFEST), ("Docker-Content-Digest", f"sha256:{DIGEST}"))
    with Faulty(Answer(200, BODY, headers, gzip=True)) as server:
        assert ask(server.port).sha256 == DIGEST


def test_a_registry_that_is_down_is_named() -> None:
    with Faulty() as server:
        port = server.port
    assert refused(port).code == "unreachable"


def test_a_registry_that_hangs_is_given_up_in_time_and_not_asked_again() -> None:
    with Faulty(Answer(delay=30)) as server:
        error = refused(server.port, timeout=0.5, max_api_retries=3)
        assert error.code in ("timeout", "budget_spent")
        assert len(server.requests) == 1


def test_a_registry_that_stumbles_is_asked_again() -> None:
    with Faulty(Answer(503, headers=(("Retry-After", "0"),)), answer()) as server:
        assert ask(server.port, max_api_retries=1).sha256 == DIGEST


def test_a_redirect_is_not_followed_and_carries_no_credentials_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KOSLI_REGISTRY_USERNAME", USER)
    monkeypatch.setenv("KOSLI_REGISTRY_PASSWORD", PASSWORD)
    with Faulty(answer()) as canary:
        away = Answer(307, b"", (("Location", canary.url + "/v2/acme/app/manifests/1.4"),))
        with Faulty(challenge("Basic realm=x"), away) as server:
            error = refused(server.port)
        assert canary.requests == []
    assert error.code == "registry_redirect"
    assert canary.url in error.message


def test_six_kinds_of_manifests_are_asked_for_so_that_an_index_stays_one() -> None:
    with Faulty(answer()) as server:
        ask(server.port)
        accepted = server.requests[0].headers["Accept"].split(", ")
        assert server.requests[0].method == "GET"
    assert len(accepted) == 6
    assert {MANIFEST, INDEX} < set(accepted)


@pytest.mark.parametrize(
    ("image", "address"),
    [
        ("alpine", "https://registry-1.docker.io"),
        ("docker.io/library/alpine", "https://registry-1.docker.io"),
        ("ghcr.io/acme/app", "https://ghcr.io"),
        ("registry.acme.example:5000/app", "https://registry.acme.example:5000"),
        ("localhost:5000/app", "http://localhost:5000"),
        ("127.0.0.1:5000/app", "http://127.0.0.1:5000"),
        ("[::1]:5000/app", "http://[::1]:5000"),
    ],
)
def test_every_registry_is_asked_over_https_but_for_loopback(image: str, address: str) -> None:
    assert client._Client(whole(image), 1.0, 0, str)._address == address


@pytest.mark.parametrize("registry", ["localhost:0", "localhost:99999", "acme..example"])
def test_a_registry_that_can_not_be_one_is_a_bad_reference(registry: str) -> None:
    with pytest.raises(NoVerdict) as caught:
        resolve(whole(f"{registry}/app"))
    assert caught.value.code == "bad_reference"


def test_no_connection_stays_open() -> None:
    with TokenService().server as service, token_server(service.url + "/token") as server:
        before = set(threading.enumerate())
        ask(server.port)
        opened = set(threading.enumerate()) - before
    assert "pytest-kosli-deadlines" not in [one.name for one in opened]


def test_a_refusal_without_words_is_told_by_its_status() -> None:
    with Faulty(Answer(500, b"")) as server:
        assert refused(server.port).message.endswith("gave no answer (500)")


# Who asks.


def token_server(realm: str, *wanted: str) -> Faulty:
    """A registry that wants a token of ``realm``, and then one of these Authorization headers."""

    def talk(seen: Seen) -> Answer:
        if seen.headers.get("Authorization") in (wanted or (f"Bearer {TOKEN}",)):
            return answer()
        return challenge(f'Bearer realm="{realm}",service="registry.acme.example"')

    return Faulty(talk)


def test_a_token_for_everybody_is_asked_for_without_credentials() -> None:
    with TokenService().server as service:
        with token_server(service.url + "/token") as server:
            assert ask(server.port).sha256 == DIGEST
        (seen,) = service.requests
    assert "Authorization" not in seen.headers
    assert parse_qs(seen.target.partition("?")[2]) == {
        "service": ["registry.acme.example"],
        "scope": ["repository:acme/app:pull"],
    }


def test_a_challenge_may_name_no_service() -> None:
    service = TokenService()
    unnamed = challenge(f'Bearer realm="{service.realm}"')
    with service.server, Faulty(unnamed, answer()) as server:
        assert ask(server.port).sha256 == DIGEST
    assert service.queries() == [{"scope": ["repository:acme/app:pull"]}]


def test_credentials_go_to_the_token_service_and_only_the_token_to_the_registry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KOSLI_REGISTRY_USERNAME", USER)
    monkeypatch.setenv("KOSLI_REGISTRY_PASSWORD", PASSWORD)
    service = TokenService(wants=basic(USER, PASSWORD), granted={"access_token": TOKEN})
    with service.server, token_server(service.realm + "?account=ada") as server:
        assert ask(server.port).sha256 == DIGEST
        sent = [seen.headers.get("Authorization") for seen in server.requests]
    assert sent == [None, f"Bearer {TOKEN}"]
    assert service.queries()[0]["account"] == ["ada"]


def test_credentials_that_the_token_service_refuses_are_told_by_their_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KOSLI_REGISTRY_USERNAME", USER)
    monkeypatch.setenv("KOSLI_REGISTRY_PASSWORD", PASSWORD)
    service = TokenService(wants="Basic something-else")
    with service.server, token_server(service.realm) as server:
        error = refused(server.port)
    assert error.code == "registry_denied"
    assert PASSWORD not in str(error)


@pytest.mark.parametrize(
    ("granted", "code"),
    [
        ({}, "registry_nonsense"),
        ([], "registry_nonsense"),
        ({"token": ""}, "registry_nonsense"),
        ({"token": 7}, "registry_nonsense"),
        ({"token": "two words"}, "registry_nonsense"),
        ({"token": "line\r\nbreak"}, "registry_nonsense"),
        ({"token": "another-token"}, "registry_login"),
    ],
)
def test_a_token_service_that_grants_nonsense_is_an_error(granted: object, code: str) -> None:
    service = TokenService(granted=granted)
    with service.server, token_server(service.realm) as server:
        assert refused(server.port).code == code


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.acme.example/token",
        "ftp://auth.acme.example/token",
        "https://user:word@auth.acme.example/token",
        "//auth.acme.example/token",
        "auth.acme.example/token",
        "",
        "https://auth.acme.example:99999/token",
        "http://127.0.0.1.evil.example/token",
        "file:///etc/passwd",
    ],
)
def test_no_credentials_go_to_a_realm_that_is_not_https(
    realm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOSLI_REGISTRY_USERNAME", USER)
    monkeypatch.setenv("KOSLI_REGISTRY_PASSWORD", PASSWORD)
    with token_server(realm) as server:
        error = refused(server.port)
    assert error.code == "registry_bad_realm"


@pytest.mark.parametrize("realm", ["http://127.0.0.1:9/token", "https://localhost/token"])
def test_a_registry_elsewhere_can_not_send_us_to_this_machine(realm: str) -> None:
    ours = client._Client(whole("ghcr.io/acme/app:1"), 1.0, 0, str)
    with pytest.raises(NoVerdict, match="leads back to this machine"):
        ours._realm(realm)


def test_a_realm_s_path_and_query_are_kept() -> None:
    ours = client._Client(whole("ghcr.io/acme/app:1"), 1.0, 0, str)
    assert ours._realm("https://auth.acme.example:444/a/b%20c?x=1&y=") == (
        "https://auth.acme.example:444",
        ("a", "b c"),
        [("x", "1"), ("y", "")],
    )


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", {}),
        ("Basic", {}),
        ('Basic realm="a, b"', {"basic": {"realm": "a, b"}}),
        ("Basic realm=plain", {"basic": {"realm": "plain"}}),
        (
            'bearer realm="https://a/t",service="s=1",scope="a:b:c,d"',
            {"bearer": {"realm": "https://a/t", "service": "s=1", "scope": "a:b:c,d"}},
        ),
        (
            'Basic realm="x", Bearer realm="y", service = "z"',
            {"basic": {"realm": "x"}, "bearer": {"realm": "y", "service": "z"}},
        ),
        ('Negotiate, Bearer realm="y"', {"bearer": {"realm": "y"}}),
    ],
)
def test_challenges_are_taken_apart(header: str, challenges: dict[str, dict[str, str]]) -> None:
    assert dict(client._challenges(header)) == challenges


@pytest.mark.parametrize("header", ["", "Negotiate", 'Digest realm="x",nonce="y"'])
def test_a_challenge_of_another_kind_is_an_error(header: str) -> None:
    with Faulty(challenge(header)) as server:
        assert refused(server.port).code == "registry_nonsense"


def test_one_variable_without_the_other_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with Faulty(challenge("Basic realm=x")) as server:
        monkeypatch.setenv("KOSLI_REGISTRY_USERNAME", USER)
        assert "KOSLI_REGISTRY_PASSWORD is not" in refused(server.port).message
        monkeypatch.delenv("KOSLI_REGISTRY_USERNAME")
        monkeypatch.setenv("KOSLI_REGISTRY_PASSWORD", PASSWORD)
        error = refused(server.port)
    assert error.code == "half_credentials"
    assert "KOSLI_REGISTRY_PASSWORD is set, and KOSLI_REGISTRY_USERNAME is not" in error.message
    assert PASSWORD not in str(error)


def test_a_password_in_variables_goes_to_one_registry_of_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KOSLI_REGISTRY_USERNAME", USER)
    monkeypatch.setenv("KOSLI_REGISTRY_PASSWORD", PASSWORD)
    with Faulty(challenge("Basic realm=x"), answer()) as server:
        error = refused(server.port, claim=lambda registry: "ghcr.io")
        assert len(server.requests) == 1
    assert error.code == "shared_credentials"


def test_a_refusal_that_repeats_the_password_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KOSLI_REGISTRY_USERNAME", USER)
    monkeypatch.setenv("KOSLI_REGISTRY_PASSWORD", PASSWORD)
    parrot = json.dumps({"errors": [{"message": f"no {PASSWORD}"}]}).encode()
    with Faulty(challenge("Basic realm=x"), Answer(403, parrot)) as server:
        error = refused(server.port)
    assert error.code == "registry_denied"
    assert PASSWORD not in str(error)


@pytest.mark.parametrize("password", [PASSWORD, ""])
def test_a_refusal_that_repeats_no_secret_is_told_in_its_words(docker: Path, password: str) -> None:
    words = Answer(403, b'{"errors": [{"message": "pull is not granted"}]}')
    with Faulty(challenge("Basic realm=x"), words) as server:
        login(docker, f"127.0.0.1:{server.port}", password=password)
        assert refused(server.port).message.endswith("(403: pull is not granted)")


# Docker's config.json.


def written(docker: Path, port: int, **entry: str) -> None:
    docker.write_text(json.dumps({"auths": {f"127.0.0.1:{port}": entry}}))


def login(docker: Path, key: str, user: str = USER, password: str = PASSWORD) -> None:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    docker.write_text(json.dumps({"auths": {key: {"auth": auth}}}))


def wanting(user: str, password: str) -> Faulty:
    def talk(seen: Seen) -> Answer:
        welcome = seen.headers.get("Authorization") == basic(user, password)
        return answer() if welcome else challenge("Basic realm=x")

    return Faulty(talk)


@pytest.mark.parametrize("key", ["{}", "https://{}", "http://{}/v2/", "https://{}/v1/"])
def test_what_docker_login_left_is_used(docker: Path, key: str) -> None:
    with wanting(USER, PASSWORD) as server:
        login(docker, key.format(f"127.0.0.1:{server.port}"))
        assert ask(server.port).sha256 == DIGEST


def test_an_identity_token_is_no_password(docker: Path) -> None:
    with Faulty(challenge("Basic realm=x")) as server:
        written(docker, server.port, identitytoken="the-identity-token")
        assert refused(server.port).code == "registry_denied"
        assert all("Authorization" not in seen.headers for seen in server.requests)


def test_the_config_in_the_home_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    with wanting(USER, PASSWORD) as server:
        login(tmp_path / ".docker" / "config.json", f"127.0.0.1:{server.port}")
        assert ask(server.port).sha256 == DIGEST


def test_credentials_of_another_registry_are_not_sent(docker: Path) -> None:
    with wanting(USER, PASSWORD) as server:
        login(docker, f"127.0.0.1:{server.port + 1}")
        assert refused(server.port).code == "registry_login"
        login(docker, "127.0.0.1")
        assert refused(server.port).code == "registry_login"
        assert all("Authorization" not in seen.headers for seen in server.requests)


def test_variables_come_before_the_config(docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSLI_REGISTRY_USERNAME", USER)
    monkeypatch.setenv("KOSLI_REGISTRY_PASSWORD", PASSWORD)
    docker.write_text("not even JSON")
    with wanting(USER, PASSWORD) as server:
        assert ask(server.port).sha256 == DIGEST


def test_docker_hub_s_entry_is_found_under_its_old_name(docker: Path) -> None:
    login(docker, "https://index.docker.io/v1/")
    found = of_registry("docker.io")
    assert isinstance(found, Credentials)
    assert (found.username, found.password.reveal()) == (USER, PASSWORD)


def test_an_identity_token_is_exchanged_and_never_shown(docker: Path) -> None:
    service = TokenService()
    with service.server, token_server(service.realm) as server:
        written(docker, server.port, auth="", identitytoken="the-identity-token")
        assert ask(server.port).sha256 == DIGEST
    (seen,) = service.server.requests
    assert seen.method == "POST"
    assert parse_qs(seen.body.decode()) == {
        "grant_type": ["refresh_token"],
        "client_id": ["pytest-kosli"],
        "refresh_token": ["the-identity-token"],
        "service": ["registry.acme.example"],
        "scope": ["repository:acme/app:pull"],
    }
    assert seen.headers["Content-Type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"auths": []}',
        '{"auths": {"127.0.0.1:PORT": {"auth": "%%"}}}',
        '{"auths": {"127.0.0.1:PORT": {"auth": "bm9jb2xvbg=="}}}',
        '{"auths": {"127.0.0.1:PORT": {"auth": "/////w=="}}}',
        '{"auths": {"127.0.0.1:PORT": "word"}}',
        '{"credHelpers": {"127.0.0.1:PORT": 7}}',
        "[" * 100_000,
    ],
)
def test_a_config_that_docker_would_not_write_is_an_error(docker: Path, text: str) -> None:
    with Faulty(challenge("Basic realm=x")) as server:
        docker.write_text(text.replace("PORT", str(server.port)))
        assert refused(server.port).code == "bad_docker_config"


def test_a_config_that_can_not_be_read_is_an_error(docker: Path) -> None:
    docker.mkdir()
    with Faulty(challenge("Basic realm=x")) as server:
        error = refused(server.port)
    assert error.code == "bad_docker_config"
    assert error.message.endswith("Is a directory")


def test_the_entry_of_the_very_registry_comes_first(docker: Path) -> None:
    def auth(word: str) -> dict[str, str]:
        return {"auth": base64.b64encode(f"{USER}:{word}".encode()).decode()}

    entries = {"https://a.example/v1/": auth("old"), "a.example": auth("new")}
    docker.write_text(json.dumps({"auths": entries}))
    found = of_registry("a.example")
    assert found is not None
    assert found.password.reveal() == "new"


def test_an_entry_without_credentials_gives_none_where_there_is_no_store(docker: Path) -> None:
    docker.write_text(json.dumps({"auths": {"a.example": {}}}))
    assert of_registry("a.example") is None


# Credential helpers.

ANSWER = f'echo \'{{"ServerURL": "x", "Username": "{USER}", "Secret": "{PASSWORD}"}}\''


def named(docker: Path, port: int, helper: str = "test", **more: object) -> None:
    docker.write_text(json.dumps({"credHelpers": {f"127.0.0.1:{port}": helper}, **more}))


def test_a_credential_helper_is_asked_for_its_registry(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f'test "$1" = get || exit 9\necho "$asked" > {tmp_path}/asked\n{ANSWER}'
    helper(tmp_path / "bin", monkeypatch, script)
    with wanting(USER, PASSWORD) as server:
        named(docker, server.port)
        assert ask(server.port).sha256 == DIGEST
        assert (tmp_path / "asked").read_text().strip() == f"127.0.0.1:{server.port}"


def test_a_helper_of_another_registry_is_not_asked(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path / "bin", monkeypatch, f"touch {tmp_path}/asked\n{ANSWER}")
    named(docker, 5000)
    assert of_registry("127.0.0.1:5001") is None
    assert not (tmp_path / "asked").exists()


def test_a_helper_knows_docker_hub_by_its_old_name(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path / "bin", monkeypatch, f'echo "$asked" > {tmp_path}/asked\n{ANSWER}')
    docker.write_text(json.dumps({"credHelpers": {"docker.io": "test"}}))
    assert of_registry("docker.io")
    assert (tmp_path / "asked").read_text().strip() == "https://index.docker.io/v1/"


def test_a_helper_that_can_not_be_run_is_an_error(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path / "bin", monkeypatch, ANSWER)
    (tmp_path / "bin" / "docker-credential-test").write_bytes(b"\x7fno program")
    named(docker, 5000)
    with pytest.raises(NoVerdict, match="Exec format error") as caught:
        of_registry("127.0.0.1:5000")
    assert caught.value.code == "credential_helper"


def test_a_helper_is_a_name_and_no_path(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path / "docker-credential-.", monkeypatch, ANSWER)
    evil = tmp_path / "docker-credential-." / "docker-credential-test"
    evil.rename(evil.with_name("evil"))
    monkeypatch.chdir(tmp_path)
    named(docker, 5000, "./evil")
    with pytest.raises(NoVerdict, match="is not on the PATH"):
        of_registry("127.0.0.1:5000")


def test_the_store_is_asked_for_a_registry_that_docker_login_has_noted(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path / "bin", monkeypatch, f"touch {tmp_path}/asked\n{ANSWER}")
    with wanting(USER, PASSWORD) as server:
        docker.write_text(json.dumps({"credsStore": "test", "auths": {}}))
        assert refused(server.port).code == "registry_login"
        assert not (tmp_path / "asked").exists()
        noted = {"credsStore": "test", "auths": {f"127.0.0.1:{server.port}": {}}}
        docker.write_text(json.dumps(noted))
        assert ask(server.port).sha256 == DIGEST


def test_a_helper_that_knows_nothing_leaves_us_nobody(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "echo credentials not found in native keychain; exit 1"
    helper(tmp_path / "bin", monkeypatch, words)
    with Faulty(challenge("Basic realm=x")) as server:
        named(docker, server.port)
        assert refused(server.port).code == "registry_login"
        helper(tmp_path / "bin", monkeypatch, 'echo \'{"Username": "", "Secret": ""}\'')
        assert refused(server.port).code == "registry_login"


@pytest.mark.parametrize(
    "script",
    [
        f"echo '{PASSWORD}' >&2; exit 1",
        f"echo '{PASSWORD}'; exit 3",
        f"echo '{PASSWORD}'",
        f"echo '[\"{PASSWORD}\"]'",
        f'echo \'{{"Username": 7, "Secret": "{PASSWORD}"}}\'',
        "kill -9 $$",
    ],
)
def test_a_helper_that_fails_is_an_error_that_repeats_nothing_of_it(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    helper(tmp_path / "bin", monkeypatch, script)
    with Faulty(challenge("Basic realm=x")) as server:
        named(docker, server.port)
        error = refused(server.port)
    assert error.code == "credential_helper"
    assert PASSWORD not in str(error)


def test_a_helper_that_hangs_is_ended(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_kosli.api.credentials.HELPER_SECONDS", 0.2)
    helper(tmp_path / "bin", monkeypatch, "exec sleep 30")
    with Faulty(challenge("Basic realm=x")) as server:
        named(docker, server.port)
        assert "no answer within 0.2 s" in refused(server.port).message


@pytest.mark.parametrize("name", ["missing", "../bin/evil", "a b", ""])
def test_a_helper_that_is_not_on_the_path_is_an_error(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    helper(tmp_path / "bin", monkeypatch, ANSWER, name="evil")
    with Faulty(challenge("Basic realm=x")) as server:
        named(docker, server.port, name)
        assert refused(server.port).code == "credential_helper"


def test_a_helper_s_identity_token_is_known_by_its_user(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path / "bin", monkeypatch, ANSWER.replace(USER, "<token>"))
    named(docker, 5000)
    found = of_registry("127.0.0.1:5000")
    assert found is not None
    assert found.identity


def test_credentials_show_no_password() -> None:
    assert PASSWORD not in repr(Credentials(USER, Token.of(PASSWORD), "x"))
