from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_kosli.fingerprint.image import Image, repo_digests, whole
from pytest_kosli.model import NoVerdict

A = "afcc7f1ac1b49db317a7196c902e61c6c3c4607d63599ee1a82d702d249a0ccb"
B = "b69959407d21e8a062e0416bf13405bb2b71ed7a84dde4158ebafacfa06f5578"
E = "e15947432b813e8ffa90165da919953e2ce850bef511a0ad1287d7cb86de84b5"
ID = "12adea71a33bcce0925f5b2e951992cc2d8b69f4051122e93d5c35000e9b9e28"
ALPINES = [f"alpine@sha256:{E}", f"localhost:5001/local-registry/alpine@sha256:{A}"]
EXAMPLES = [f"example@sha256:{A}", f"internal.registry.example.com:5000/example@sha256:{B}"]


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("alpine", Image("docker.io", "library/alpine", "latest")),
        ("alpine:3", Image("docker.io", "library/alpine", "3")),
        ("library/alpine", Image("docker.io", "library/alpine", "latest")),
        ("docker.io/alpine", Image("docker.io", "library/alpine", "latest")),
        ("index.docker.io/acme/app:1", Image("docker.io", "acme/app", "1")),
        ("registry-1.docker.io/library/alpine", Image("docker.io", "library/alpine", "latest")),
        ("acme/app", Image("docker.io", "acme/app", "latest")),
        ("GHCR.io/acme/app:1.4", Image("ghcr.io", "acme/app", "1.4")),
        ("ghcr.io/app", Image("ghcr.io", "app", "latest")),
        ("localhost/app", Image("localhost", "app", "latest")),
        ("localhost:5001/local/alpine", Image("localhost:5001", "local/alpine", "latest")),
        ("[::1]:5000/app:2", Image("[::1]:5000", "app", "2")),
        (f"quay.io/a/b:c@sha256:{A}", Image("quay.io", "a/b", "c")),
    ],
)
def test_a_name_stands_for_registry_repository_and_tag(text: str, image: Image) -> None:
    assert whole(text) == image


@given(st.from_regex(r"[a-z0-9]+(/[a-z0-9]+)?(:[a-z0-9]+)?", fullmatch=True))
def test_the_whole_name_means_the_same_image_again(text: str) -> None:
    assert whole(str(whole(text))) == whole(text)


@pytest.mark.parametrize(
    ("image", "found", "digest"),
    [
        ("example", EXAMPLES[:1], A),
        ("alpine", ALPINES, E),
        ("library/alpine", ALPINES, E),
        ("alpine:v1", ALPINES, E),
        (f"alpine@sha256:{E}", ALPINES, E),
    ],
)
def test_the_cli_s_choice_among_repository_digests_is_ours(
    image: str, found: list[str], digest: str
) -> None:
    assert repo_digests(image, found, "sha256:00")[0] == digest


def test_the_only_digest_counts_whatever_its_name() -> None:
    assert repo_digests("mine:1", [f"alpine@sha256:{E}"], "sha256:00") == (E,)
    assert repo_digests("mine:1", [f"a@sha256:{E}", f"b@sha256:{E}"], "sha256:00") == (E,)


@pytest.mark.parametrize("image", [ID, f"sha256:{ID}", ID[:12]])
def test_an_image_id_takes_the_first_and_tells_the_others(image: str) -> None:
    assert repo_digests(image, EXAMPLES, f"sha256:{ID}") == (A, B)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        # The CLI compares the beginnings of names: these it gets wrong.
        ("app", [f"app-evil@sha256:{A}", f"app@sha256:{B}"]),
        ("acme:5001/app", [f"acme:5002/app@sha256:{A}", f"acme:5001/app@sha256:{B}"]),
        ("docker.io/app", [f"quay.io/app@sha256:{A}", f"app@sha256:{B}"]),
    ],
)
def test_a_name_is_compared_as_a_whole(image: str, found: list[str]) -> None:
    assert repo_digests(image, found, "sha256:00")[0] == B


def test_a_digest_is_taken_by_repository_also_for_a_tag_that_it_had_not() -> None:
    found = [f"quay.io/app@sha256:{A}", f"ghcr.io/app@sha256:{B}"]
    assert repo_digests("ghcr.io/app:9", found, "sha256:00") == (B, A)


@pytest.mark.parametrize(
    ("image", "found", "code"),
    [
        ("example", [], "no_repo_digest"),
        ("example", ["<none>@<none>"], "no_repo_digest"),
        ("example", ALPINES, "ambiguous_repo_digest"),
        (ID, EXAMPLES, "ambiguous_repo_digest"),  # a name, says the id that the engine gives it
        ("app", [f"app@sha256:{A.upper()}"], "engine_nonsense"),
        ("app", [f"app@sha512:{A}{A}"], "engine_nonsense"),
        ("app", [f"app@sha256:{A}0"], "engine_nonsense"),
        ("app", [f"app@sha256:{A[:63]}\u0663"], "engine_nonsense"),
        ("app", ["app"], "engine_nonsense"),
    ],
)
def test_no_digest_several_or_nonsense_is_an_error(image: str, found: list[str], code: str) -> None:
    with pytest.raises(NoVerdict) as caught:
        repo_digests(image, found, "sha256:ffff")
    assert caught.value.code == code


def test_a_local_build_is_told_to_push_first() -> None:
    with pytest.raises(NoVerdict, match=r"built here.*\n.*Push it first"):
        repo_digests("app:dev", [], "sha256:00")
