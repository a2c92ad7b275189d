from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from pytest_kosli.api.engine import resolve
from pytest_kosli.model import NoVerdict
from tests.api.faulty import Answer, Faulty, Seen

docker = pytest.importorskip("docker", reason="the Docker SDK is not here: pip install docker")

A, B = "a" * 64, "b" * 64
ID = "sha256:" + "12" * 32


def engine(*found: str | None, **other: object) -> Faulty:
    """A container engine's API with one image, known by these repository digests."""
    image = {"Id": ID, "RepoTags": ["app:1"], "RepoDigests": list(found)} | other
    return talking(lambda seen: Answer(200, json.dumps(image).encode()))


def talking(talk: Callable[[Seen], Answer]) -> Faulty:
    def reply(seen: Seen) -> Answer:
        if seen.target.endswith("/version"):
            return Answer(200, b'{"ApiVersion": "1.47", "Version": "27.3"}')
        return talk(seen)

    return Faulty(reply)


@pytest.fixture(autouse=True)
def no_engine_of_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def ask(server: Faulty, monkeypatch: pytest.MonkeyPatch, image: str = "app:1") -> tuple[str, ...]:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.port}")
    return resolve(image, timeout=5)


def refused(server: Faulty, monkeypatch: pytest.MonkeyPatch, image: str = "app:1") -> NoVerdict:
    with pytest.raises(NoVerdict) as caught:
        ask(server, monkeypatch, image)
    return caught.value


def test_the_repository_digest_is_what_the_engine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine(f"app@sha256:{A}") as server:
        assert ask(server, monkeypatch) == (A,)
        assert [seen.target for seen in server.requests] == ["/version", "/v1.47/images/app:1/json"]


def test_among_several_the_one_of_that_repository_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine(f"app-evil@sha256:{A}", f"app@sha256:{B}") as server:
        assert ask(server, monkeypatch) == (B, A)


def test_an_image_is_found_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine(f"app@sha256:{A}", f"ghcr.io/acme/app@sha256:{B}") as server:
        assert ask(server, monkeypatch, ID) == (A, B)


@pytest.mark.parametrize("digests", [[], None])
def test_a_local_build_gets_the_sentence_that_explains_it(
    digests: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine(RepoDigests=digests) as server:
        error = refused(server, monkeypatch)
    assert error.code == "no_repo_digest"
    assert "built here" in error.message


def test_an_image_that_the_engine_has_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Answer(404, b'{"message": "No such image: app:1"}')
    with talking(lambda seen: missing) as server:
        error = refused(server, monkeypatch)
    assert error.code == "unknown_image"
    assert "pull it first" in error.todo


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(500, b'{"message": "disk on fire"}'), "engine_error"),
        (Answer(200, b"<html>"), "engine_error"),
        (Answer(200, b"[]"), "engine_nonsense"),
        (Answer(200, b"{}"), "engine_nonsense"),
        (Answer(200, b'{"Id": 7, "RepoDigests": []}'), "engine_nonsense"),
        (Answer(200, b'{"Id": "x", "RepoDigests": "app@sha256:1"}'), "engine_nonsense"),
        (Answer(200, b'{"Id": "x", "RepoDigests": [7]}'), "engine_nonsense"),
        (
            Answer(200, b'{"Id": "x", "RepoDigests": {"app@sha256:%s": 1}}' % (b"a" * 64)),
            "engine_nonsense",
        ),
        (Answer(200, b'{"Id": "x", "RepoDigests": ["app@sha256:1"]}'), "engine_nonsense"),
    ],
)
def test_an_engine_that_answers_nonsense_is_an_error(
    answer: Answer, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with talking(lambda seen: answer) as server:
        assert refused(server, monkeypatch).code == code


def test_an_engine_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine() as server:
        pass
    error = refused(server, monkeypatch)
    assert error.code == "engine_unreachable"
    assert "DOCKER_HOST" in error.todo


def test_an_engine_that_is_in_trouble_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    with talking(lambda seen: Answer(500, b'{"message": "disk on fire"}')) as server:
        assert "disk on fire" in refused(server, monkeypatch).message


def test_what_is_no_engine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with Faulty(Answer(200, b"<html>")) as server:
        assert refused(server, monkeypatch).code == "engine_unreachable"


def test_a_docker_host_that_can_not_be_meant_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "gopher://somewhere")
    with pytest.raises(NoVerdict) as caught:
        resolve("app:1")
    assert caught.value.code == "engine_unreachable"


def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(NoVerdict, match=r"pytest-kosli\[docker\]") as caught:
        resolve("app:1")
    assert caught.value.code == "no_docker_sdk"


def test_the_sdk_is_not_imported_before_an_engine_is_asked() -> None:
    code = "import sys, pytest_kosli.api.engine; sys.exit('docker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
