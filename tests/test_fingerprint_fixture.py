"""References on their way through a run: images, hooks, folders, the fixture and the function."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_kosli
from pytest_kosli.fingerprint import Fingerprint, of_directory
from pytest_kosli.fingerprint.reference import Reference
from pytest_kosli.memo import ProcessMemo
from pytest_kosli.model import NoVerdict
from pytest_kosli.references import Claim, References
from tests.api.faulty import Answer, Faulty
from tests.conftest import Suite
from tests.registry import Registry, needs_registry
from tests.sandbox import Sandbox
from tests.story import PAYMENTS

WHEEL = b"not much of a wheel"
A, B = "a" * 64, "b" * 64
COUNT = itertools.count()

SMOKE = """
    import pytest

    @pytest.mark.kosli(environment="prod")
    def test_release(kosli_artifact):
        print("released", kosli_artifact.pinned)
"""


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry() as started:
        yield started


@pytest.fixture
def repository() -> str:
    """A repository that no other test has."""
    return f"acme/app{next(COUNT)}"


@pytest.fixture
def image(registry: Registry, repository: str) -> str:
    return f"{registry.name}/{repository}:1.4"


@pytest.fixture
def pushed(
    online: Sandbox, registry: Registry, repository: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Push the image, in a world where it is compliant and so is WHEEL; return its digest."""
    digest = registry.push(repository, "1.4")
    world = Sandbox("acme")
    known = {"payments": digest, "payments-1.3.9": hashlib.sha256(WHEEL).hexdigest()}
    for name, fingerprint in known.items():
        world.set("artifacts", name, "name", to=name)
        world.set("artifacts", name, "fingerprint", to=fingerprint)
    with world:
        monkeypatch.setenv("KOSLI_HOST", world.url)
        yield digest


def out(result: pytest.RunResult) -> str:
    return "\n".join(result.outlines)


# Through a run.


@needs_registry
def test_a_pre_deploy_suite_names_a_file_and_an_image(
    both: Suite, pytester: pytest.Pytester, pushed: str, image: str
) -> None:
    pytester.makepyfile(smoke=SMOKE)
    (pytester.mkdir("dist") / "app.whl").write_bytes(WHEEL)
    flags = ["--kosli-artifact=app=dist/app.whl", f"--kosli-artifact=oci:{image}"]
    result = both("smoke.py", *flags, "--kosli-environment=prod", "-rP")
    result.assert_outcomes(passed=2)
    assert result.ret == 0
    assert f"released {image.rpartition(':')[0]}@sha256:{pushed}" in out(result)


@needs_registry
def test_an_image_in_a_mark_is_asked_for_once_a_run(
    both: Suite, pytester: pytest.Pytester, pushed: str, image: str, registry: Registry
) -> None:
    pytester.makepyfile(f"""
        import pytest

        pytestmark = pytest.mark.kosli("oci:{image}", "oci:{image}", environment="prod")

        @pytest.mark.parametrize("n", range(4))
        def test_release(kosli_artifact, n):
            assert kosli_artifact.fingerprint == "{pushed}"
    """)
    result = both(f"--kosli-artifact=oci:{image}", "--kosli-environment=prod")
    result.assert_outcomes(passed=4)
    assert registry.asked(image.partition("/")[2].partition(":")[0]) == 1


@needs_registry
def test_an_image_of_several_platforms_that_kosli_does_not_know_is_explained(
    alone: Suite, pytester: pytest.Pytester, registry: Registry, repository: str
) -> None:
    index, (amd, _) = registry.push_index(repository, "2")
    name = f"{registry.name}/{repository}"
    pytester.makepyfile(smoke=SMOKE)
    result = alone("smoke.py", f"--kosli-artifact=oci:{name}:2", "--kosli-environment=prod")
    result.assert_outcomes(failed=1)
    text = " ".join(out(result).replace("E  ", "").split())
    assert f"the index digest that {registry.name} has for {repository}:2" in text
    assert index in text
    assert "this is the digest of an index of 2 platforms" in text
    assert amd in text


def test_a_pinned_image_that_kosli_does_not_know_is_explained(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(smoke=SMOKE)
    flag = f"--kosli-artifact=ghcr.io/acme/app:1@sha256:{A}"
    result = alone("smoke.py", flag, "--kosli-environment=prod")
    result.assert_outcomes(failed=1)
    text = " ".join(out(result).replace("E  ", "").split())
    assert "a digest for its index and one for each platform" in text


@needs_registry
def test_an_image_that_is_not_there_is_an_error_by_name(
    both: Suite, pytester: pytest.Pytester, registry: Registry
) -> None:
    pytester.makepyfile(smoke=SMOKE)
    name = f"oci:{registry.name}/acme/nothing:1"
    result = both("smoke.py", f"--kosli-artifact={name}", "--kosli-environment=prod")
    result.assert_outcomes(errors=1)
    assert "no verdict (unknown_image)" in out(result)


def test_an_image_is_not_asked_for_offline_nor_in_a_dry_run(
    alone: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Faulty(Answer(500)) as server:
        pytester.makepyfile(f"""
            def test_image(kosli_fingerprint):
                kosli_fingerprint("oci:127.0.0.1:{server.port}/acme/app:1")
        """)
        offline = alone("--kosli-offline")
        offline.assert_outcomes(errors=1)
        assert "no verdict (offline_image)" in out(offline)
        alone("--kosli-dry-run").assert_outcomes(skipped=1)
        alone("--collect-only")
        assert server.requests == []


@needs_registry
def test_a_test_that_moves_its_tag_gets_no_verdict_about_it(
    alone: Suite, pytester: pytest.Pytester, pushed: str, image: str
) -> None:
    pytester.makepyfile(f"""
        import pytest
        from tests.registry import Registry

        @pytest.mark.kosli("oci:{image}", environment="prod")
        def test_release(kosli_artifact, assert_compliant, kosli_fingerprint):
            assert kosli_fingerprint("oci:{image}") == "{pushed}"
            assert_compliant("oci:{image}", environment="prod")
            pusher = Registry()
            pusher.port = {image.partition(":")[2].partition("/")[0]}
            with pusher.session:
                pusher.push("{image.partition("/")[2].partition(":")[0]}", "1.4", "another")
            assert_compliant("oci:{image}", environment="prod")
    """)
    result = alone()
    result.assert_outcomes(errors=1)
    text = " ".join(out(result).replace("E  ", "").split())
    assert "no verdict (tag_moved)" in text
    assert pushed in text


def test_the_fixture_gives_the_fingerprint_that_the_mark_asks_about(
    both: Suite, pytester: pytest.Pytester
) -> None:
    (pytester.mkdir("build") / "app.py").write_text("x")
    (pytester.path / "build" / "app.pyc").write_text("y")
    (pytester.path / "app.whl").write_bytes(WHEEL)
    whole = of_directory(pytester.path / "build").sha256
    without = of_directory(pytester.path / "build", exclude=["*.pyc"]).sha256
    pytester.makepyfile(f"""
        def test_fingerprints(kosli_fingerprint):
            assert kosli_fingerprint("app.whl") == "{hashlib.sha256(WHEEL).hexdigest()}"
            assert kosli_fingerprint("dir:build") == "{whole}"
            assert kosli_fingerprint("build", exclude=["*.pyc"]) == "{without}"
            assert kosli_fingerprint("x=sha256:{A}") == "{A}"
            assert kosli_fingerprint("ghcr.io/acme/app:1@sha256:{B}") == "{B}"
    """)
    both().assert_outcomes(passed=1)


def test_the_fixture_raises_no_verdict_at_the_test_s_own_line(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile("""
        def test_fingerprint(kosli_fingerprint):
            kosli_fingerprint("dist/missing.whl")
    """)
    result = alone()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['>*kosli_fingerprint("dist/missing.whl")', "*(bad_reference)"])
    assert "assert_compliant" not in out(result), "it would say no more"
    assert "references.py" not in out(result)


def test_the_fixture_works_without_a_token_for_what_is_here(
    pytester: pytest.Pytester,
) -> None:
    (pytester.path / "app.whl").write_bytes(WHEEL)
    pytester.makepyfile("""
        def test_fingerprint(kosli_fingerprint):
            assert len(kosli_fingerprint("file:app.whl")) == 64
    """)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


# The hook.

CONFTEST = """
    import pathlib

    def pytest_kosli_fingerprint(config, reference):
        kind, _, name = reference.partition(":")
        if kind != "release":
            return None
        with pathlib.Path("asked").open("a") as file:
            print(name, file=file)
        return {answer}
"""


@pytest.mark.parametrize("reference", ["release:payments-1.4.zip", "app=release:payments-1.4.zip"])
def test_a_hook_knows_kinds_of_its_own_and_is_asked_once(
    both: Suite, pytester: pytest.Pytester, reference: str
) -> None:
    pytester.makeconftest(CONFTEST.format(answer=repr(PAYMENTS)))
    pytester.makepyfile(
        smoke=SMOKE
        + f"""
    def test_call(assert_compliant, kosli_fingerprint):
        assert_compliant("{reference}", environment="prod")
        assert kosli_fingerprint("{reference}") == "{PAYMENTS}"
    """
    )
    flags = [f"--kosli-artifact={reference}", "--kosli-environment=prod"]
    result = both("smoke.py", *flags)
    result.assert_outcomes(passed=2)
    assert (pytester.path / "asked").read_text().split() == ["payments-1.4.zip"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("None", "bad_reference"),
        ("''", "bad_hook"),
        ("'sha256:' + 'a' * 64", "bad_hook"),
        ("'A' * 64", "bad_hook"),
        ("'a' * 63", "bad_hook"),
        ("'\\u0663' * 64", "bad_hook"),
        ("True", "bad_hook"),
        ("b'a' * 64", "bad_hook"),
        ("1 / 0", "bad_hook"),
    ],
)
def test_a_hook_that_gives_no_fingerprint_is_an_error_at_the_test(
    alone: Suite, pytester: pytest.Pytester, answer: str, code: str
) -> None:
    pytester.makeconftest(CONFTEST.format(answer=answer))
    pytester.makepyfile(smoke=SMOKE)
    flags = ["--kosli-artifact=release:app", "--kosli-environment=prod"]
    result = alone("smoke.py", *flags)
    result.assert_outcomes(errors=1)
    assert f"no verdict ({code})" in out(result)


def test_a_hook_says_itself_what_is_wrong(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        from pytest_kosli.model import NoVerdict

        def pytest_kosli_fingerprint(config, reference):
            raise NoVerdict("no_release", "there is no such release", "Release it first.")
    """)
    pytester.makepyfile(smoke=SMOKE)
    flags = ["--kosli-artifact=release:app", "--kosli-environment=prod"]
    result = alone("smoke.py", *flags)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no verdict (no_release)", "*there is no such release"])


def test_a_hook_is_not_asked_about_our_own_kinds(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        def pytest_kosli_fingerprint(config, reference):
            raise AssertionError(reference)
    """)
    (pytester.path / "app.whl").write_bytes(WHEEL)
    pytester.makepyfile(f"""
        def test_fingerprint(kosli_fingerprint):
            kosli_fingerprint("app.whl")
            kosli_fingerprint("sha256:{A}")
            kosli_fingerprint("ghcr.io/acme/app@sha256:{A}")
    """)
    alone().assert_outcomes(passed=1)


# Without a run.


def look_up(*digests: str) -> tuple[References, list[str]]:
    """References whose images have these digests in turn, and what was looked up."""
    looked: list[str] = []

    def ask(reference: Reference, claim: Claim) -> Fingerprint:
        looked.append(reference.text)
        return Fingerprint(digests[len(looked) - 1], reference.name, f"look {len(looked)}")

    return References(ProcessMemo(), {}, ask), looked


def test_marks_and_flags_share_one_look_at_a_tag() -> None:
    references, looked = look_up(A, B)
    for origin in ("flag", "marker", "ini"):
        assert references.artifact("oci:alpine", origin).fingerprint == A
    assert references.artifact("oci:docker.io/library/alpine:latest", "marker").fingerprint == A
    assert looked == ["oci:alpine"]


def test_a_call_looks_again_and_agrees() -> None:
    references, looked = look_up(A, A)
    references.artifact("oci:alpine", "flag")
    assert references.artifact("oci:alpine", "call").fingerprint == A
    assert len(looked) == 2


@pytest.mark.parametrize("second", ["oci:alpine:latest", "docker:alpine"])
def test_a_tag_that_is_two_images_is_an_error_of_the_second_look(second: str) -> None:
    references, _ = look_up(A, B, B)
    references.artifact("oci:alpine", "flag")
    with pytest.raises(NoVerdict, match="alpine:latest is not one image") as told:
        references.artifact(second, "call")
    assert told.value.code == "tag_moved"
    assert A in told.value.message
    assert B in told.value.message


def test_a_failed_look_up_is_not_repeated_by_marks_and_flags() -> None:
    looked: list[str] = []

    def ask(reference: Reference, claim: Claim) -> Fingerprint:
        looked.append(reference.text)
        raise NoVerdict("unreachable", "down", status=None)

    references = References(ProcessMemo(), {}, ask)
    for _ in range(3):
        with pytest.raises(NoVerdict, match="down"):
            references.artifact("oci:alpine", "marker")
    assert len(looked) == 1


def test_variables_credentials_are_for_the_first_registry_that_wants_them() -> None:
    claimed: list[str] = []

    def ask(reference: Reference, claim: Claim) -> Fingerprint:
        claimed.append(claim(reference.value.partition("/")[0]))
        return Fingerprint(A, reference.name, "")

    references = References(ProcessMemo(), {}, ask)
    references.artifact("oci:ghcr.io/acme/app", "flag")
    references.artifact("oci:quay.io/acme/app", "flag")
    assert claimed == ["ghcr.io", "ghcr.io"]


def test_exclude_is_for_folders_only() -> None:
    references, looked = look_up(A)
    for text in ("oci:alpine", f"sha256:{A}"):
        with pytest.raises(NoVerdict) as told:
            references.artifact(text, "call", ["*.pyc"])
        assert told.value.code == "exclude_without_directory"
    assert looked == []


def test_the_paths_that_were_left_out_are_on_the_artifact(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x")
    (tmp_path / "a.pyc").write_text("y")
    references, _ = look_up()
    origin = references.artifact(f"dir:{tmp_path}", "call", ["*.pyc"]).origin
    assert origin.excluded == ("a.pyc",)
    assert "fingerprint of a folder" in origin.resolved


def test_an_engine_is_asked_through_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker", reason="the Docker SDK is not here: pip install docker")
    told = {"Id": "sha256:12", "RepoDigests": [f"app@sha256:{A}", f"other/app@sha256:{B}"]}
    answers = Answer(200, b'{"ApiVersion": "1.47"}'), Answer(200, json.dumps(told).encode())
    with Faulty(*answers) as server:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.port}")
        found = References(ProcessMemo(), {}).artifact("docker:app:1", "call")
    assert found.fingerprint == A
    assert found.origin.hints == (f"the engine knows the image as {B} too",)


def test_a_script_gets_a_fingerprint_without_pytest(tmp_path: Path) -> None:
    (tmp_path / "app.whl").write_bytes(WHEEL)
    script = """if True:
        import sys
        import pytest_kosli
        print(pytest_kosli.fingerprint("app.whl"))
        from pytest_kosli.fingerprint import of_file
        from pytest_kosli.fingerprint.reference import parse
        print(pytest_kosli.fingerprint("app=file:app.whl"), of_file("app.whl").sha256)
        assert "pytest" not in sys.modules
    """
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == {hashlib.sha256(WHEEL).hexdigest()}


@needs_registry
def test_the_function_resolves_images_too(registry: Registry, repository: str) -> None:
    digest = registry.push(repository, "1")
    assert pytest_kosli.fingerprint(f"oci:{registry.name}/{repository}:1") == digest
