"""What a person types: every form, every slip, and nothing that is guessed."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_kosli.fingerprint import local, of_directory, of_file
from pytest_kosli.fingerprint.reference import BadReferenceError, Reference, parse
from pytest_kosli.model import NoVerdict
from tests.fingerprint.trees import make

HEX = "db40d79b3a15b17ee9fcc2f49aa73736e0073de6b5a35c459268bb9a31e55139"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    make(
        tmp_path, {"app.whl": "A", "dist/app.whl": "A", "build/x": "X", "a=b.whl": "", "b.whl": ""}
    )
    return tmp_path


def refusal(text: str, base: str | Path = "") -> BadReferenceError:
    with pytest.raises(BadReferenceError) as caught:
        parse(text, base=base)
    assert isinstance(caught.value, ValueError)
    return caught.value


@pytest.mark.parametrize(
    ("text", "kind", "value", "name", "digest"),
    [
        (f"sha256:{HEX}", "sha256", HEX, "db40d79", HEX),
        (HEX, "sha256", HEX, "db40d79", HEX),
        ("file:dist/app.whl", "file", "dist/app.whl", "app.whl", None),
        ("file:gone/later.whl", "file", "gone/later.whl", "later.whl", None),
        ("file:a=b.whl", "file", "a=b.whl", "a=b.whl", None),
        ("dir:build", "dir", "build", "build", None),
        ("dir:build/", "dir", "build/", "build", None),
        ("dir:file:x", "dir", "file:x", "file:x", None),
        ("app.whl", "file", "app.whl", "app.whl", None),
        ("dist/app.whl", "file", "dist/app.whl", "app.whl", None),
        ("./build", "dir", "./build", "build", None),
        ("build/", "dir", "build/", "build", None),
        ("oci:alpine", "oci", "alpine", "alpine", None),
        ("oci:ghcr.io/acme/app:1.4", "oci", "ghcr.io/acme/app:1.4", "ghcr.io/acme/app", None),
        ("oci:127.0.0.1:5000/acme/app", "oci", "127.0.0.1:5000/acme/app", None, None),
        ("oci:localhost:5000/a:1", "oci", "localhost:5000/a:1", "localhost:5000/a", None),
        ("oci:[::1]:5000/a:1", "oci", "[::1]:5000/a:1", "[::1]:5000/a", None),
        ("oci:a__b/c--d.e:V_1", "oci", "a__b/c--d.e:V_1", "a__b/c--d.e", None),
        ("docker:24", "docker", "24", "24", None),
        ("docker:acme/app:dev", "docker", "acme/app:dev", "acme/app", None),
        (f"docker:{HEX}", "docker", HEX, HEX, None),
        (f"app@sha256:{HEX}", "oci", f"app@sha256:{HEX}", "app", HEX),
        (f"r.io:1/a/b:9@sha256:{HEX}", "oci", f"r.io:1/a/b:9@sha256:{HEX}", "r.io:1/a/b", HEX),
        (f"oci:a:1@sha256:{HEX}", "oci", f"a:1@sha256:{HEX}", "a", HEX),
        (f"docker:a@sha256:{HEX}", "docker", f"a@sha256:{HEX}", "a", HEX),
        (f"app=sha256:{HEX}", "sha256", HEX, "app", HEX),
        (f"ghcr.io/acme/app={HEX}", "sha256", HEX, "ghcr.io/acme/app", HEX),
        ("my app: v2=dist/app.whl", "file", "dist/app.whl", "my app: v2", None),
        ("app=dir:build", "dir", "build", "app", None),
        ("app=file:x=y", "file", "x=y", "app", None),
        ("dist/app=file:b.whl", "file", "b.whl", "dist/app", None),
        ("app=oci:acme/app:1", "oci", "acme/app:1", "app", None),
        (f"sha256=app@sha256:{HEX}", "oci", f"app@sha256:{HEX}", "sha256", HEX),
    ],
)
def test_every_form_is_taken_apart(
    text: str, kind: str, value: str, name: str | None, digest: str | None, here: Path
) -> None:
    found = parse(text, base=here)
    assert found == Reference(kind, value, value if name is None else name, text, digest)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the reference is empty"),
        (" \n", "is only white space: ' \\n'"),
        ("sha256:", "has no digits"),
        (f"sha256:{HEX[:-1]}", "has 63 digits"),
        (f"sha256:{HEX}a", "has 65 digits"),
        (f"sha256:{HEX.upper()}", "has upper-case digits"),
        (f"sha256:{HEX[:-1]}g", "holds 'g', which is no hex digit"),
        (f"sha256:{HEX[:-1]}٣", "holds '\\u0663', which is no hex digit"),
        (f"sha256:{HEX[:-1]}\uff11", "holds '\\uff11', which is no hex digit"),
        (f"sha256:{HEX}\n", "holds white space"),
        (f"sha256: {HEX}", "holds white space"),
        (f"sha256:sha256:{HEX}", "holds 's', which is no hex digit"),
        (HEX.upper(), "has upper-case digits"),
        (HEX[:40], "has 40 digits"),
        (HEX + HEX, "has 128 digits"),
        (f"{HEX}\n", "white space at an end"),
        (f" sha256:{HEX}", "white space at an end"),
        (f"sha512:{HEX}{HEX}", "sha512 digests are not fingerprints"),
        (f"SHA256:{HEX}", "write sha256:"),
        ("md5:abc", "md5 digests are not fingerprints"),
        (f"app@sha512:{HEX}", "has sha512:"),
        (f"app@SHA256:{HEX}", "has SHA256:"),
        (f"app@{HEX}", "has to be sha256:DIGEST"),
        ("app@latest", "has to be sha256:DIGEST"),
        ("oci:app@", "has nothing after @"),
        ("oci:app@sha256:", "has no digits"),
        (f"app@sha256:{HEX.upper()}", "has upper-case digits"),
        (f"@sha256:{HEX}", "nothing where the image belongs"),
        ("oci:", "nothing where the image belongs"),
        ("docker: ", "nothing where the image belongs"),
        ("oci:Acme/app:1", "a repository is lower-case"),
        ("oci:acme/app:", "'' is no tag"),
        ("oci:acme/app:a/b", "acme/app:a/b is no repository"),
        (f"oci:app:{'t' * 129}", "is no tag"),
        ("oci:https://ghcr.io/acme/app", "no // in an image"),
        ("oci://ghcr.io/acme/app", "no // in an image"),
        ("oci:acme/app:1 ", "white space"),
        ("oci:../app", "../app is no repository"),
        ("oci:-app", "-app is no repository"),
        (f"oci:sha256:{HEX}", "without oci: it is a reference of its own"),
        ("file:", "no path follows file:"),
        ("dir: ", "no path follows dir:"),
        ("file:a\0b", "NUL"),
        ("ghcr.io/acme/app:1.4", "write oci:ghcr.io/acme/app:1.4"),
        ("app:1.4", "write oci:app:1.4"),
        ("app", "neither a digest nor a path that exists in"),
        ("gone/app.whl", "neither a digest nor a path that exists in"),
        ("=dist/app.whl", "the name before = is ''"),
        (" a=dist/app.whl", "the name before = is ' a'"),
        ("a\x1b=dist/app.whl", "the name before = is 'a\\x1b'"),
        ("app=", "no reference follows the ="),
        ("app=gone.whl", "in app=gone.whl: gone.whl is neither"),
        ("dist/a=b.whl", "this may be a path, or a name for b.whl"),
        ("a=c=b.whl", "c=b.whl is neither"),
        (f"app=sha256:{HEX[:9]}", "has 9 digits"),
    ],
)
def test_every_slip_has_its_sentence(text: str, sentence: str, here: Path) -> None:
    message = str(refusal(text, here))
    assert sentence in message
    assert "\n" not in message
    assert "\x1b" not in message


def test_what_can_be_read_in_two_ways_is_refused(here: Path) -> None:
    make(here, {HEX: "blob", f"x=sha256:{HEX}": ""})
    assert "may be a digest too" in str(refusal(HEX, here))
    assert "is an existing path, and" in str(refusal("a=b.whl", here))
    assert "is an existing path, and" in str(refusal(f"x=sha256:{HEX}", here))
    assert parse(f"file:{HEX}", base=here).kind == "file"
    assert parse("file:a=b.whl", base=here).value == "a=b.whl"


def test_an_existing_path_with_an_equals_sign_is_a_path_when_its_tail_is_nothing(
    here: Path,
) -> None:
    make(here, {"v=1/app.whl": "", "k=gone": {"dir": True}})
    assert parse("v=1/app.whl", base=here).name == "app.whl"
    assert parse("k=gone", base=here).kind == "dir"


def test_a_broken_link_is_a_path_and_fails_as_one(here: Path) -> None:
    make(here, {"l": {"link": "gone"}})
    assert parse("l", base=here).kind == "file"
    with pytest.raises(NoVerdict, match="is a symlink to gone"):
        local(parse("l", base=here), base=here)


def test_a_path_object_is_a_path_whatever_it_is_called(here: Path) -> None:
    make(here, {HEX: "blob"})
    assert parse(here / "build").kind == "dir"
    assert parse(here / HEX).kind == "file"
    assert parse(Path("gone.whl"), base=here).kind == "file"


def test_only_a_kind_that_is_not_ours_is_left_to_a_hook(here: Path) -> None:
    found = refusal("lambda:payments-prod", here)
    assert (found.custom, found.name, found.reference) == (True, "", "lambda:payments-prod")
    named = refusal("pay=s3:bucket/key@1", here)
    assert (named.custom, named.name, named.reference) == (True, "pay", "s3:bucket/key@1")
    for text in ("sha256:abc", "sha512:abc", "app", "oci:A", "file:", f"a@sha256:{HEX[:9]}", ""):
        assert not refusal(text, here).custom


def test_an_odd_name_comes_out_printable(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff\x1b")
    (tmp_path / name).touch()
    assert parse(name, base=tmp_path).name == "a\\xff\\x1b"


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_refused_with_our_error(text: str) -> None:
    with suppress(BadReferenceError):
        found = parse(text, base="/nonexistent")
        assert found.text == text
        assert found.digest is None or len(found.digest) == 64


@given(st.text(alphabet="0123456789abcdefABCDEF", min_size=1, max_size=70))
def test_only_64_lower_case_digits_are_a_digest(digits: str) -> None:
    if len(digits) == 64 and digits == digits.lower():
        assert parse(f"sha256:{digits}").digest == digits
    else:
        refusal(f"sha256:{digits}")


def test_what_is_local_is_resolved_and_an_image_is_left_to_its_registry(here: Path) -> None:
    def resolve(text: str, *exclude: str) -> object:
        return local(parse(text, base=here), exclude=exclude, base=here)

    assert resolve("app=dist/app.whl") == replace(of_file(here / "dist/app.whl"), name="app")
    assert resolve("build") == of_directory("build", base=here)
    pinned = local(parse(f"a/b:1@sha256:{HEX}"))
    assert pinned is not None
    assert (pinned.sha256, pinned.name, pinned.how) == (HEX, "a/b", "given as a digest")
    assert resolve("oci:acme/app:1.4") is None
    assert resolve("docker:acme/app:1.4") is None


@pytest.mark.parametrize("text", ["app.whl", "oci:acme/app:1", f"sha256:{HEX}"])
def test_exclude_is_for_folders_alone(text: str, here: Path) -> None:
    with pytest.raises(NoVerdict) as caught:
        local(parse(text, base=here), exclude=["x"], base=here)
    assert caught.value.code == "exclude_without_directory"
