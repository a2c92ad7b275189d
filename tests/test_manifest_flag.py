"""``--kosli-manifest``: what is about to be deployed, judged from the files that deploy it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NEIGHBOURS, Suite
from tests.registry import Registry, needs_registry
from tests.sandbox import Sandbox
from tests.story import LEDGER, PAYMENTS, WEB

COUNT = itertools.count(1)
GATE = ("--pyargs", "pytest_kosli.gate")
PROD = "--kosli-environment=prod"
DEPLOY = "--kosli-manifest=deploy.yaml"

PAYMENTS_IMAGE = f"ghcr.io/acme/payments:1.4.0@sha256:{PAYMENTS}"
WEB_IMAGE = f"ghcr.io/acme/web:2.3.1@sha256:{WEB}"
LEDGER_IMAGE = f"ghcr.io/acme/ledger@sha256:{LEDGER}"


def deployment(name: str, *containers: str) -> str:
    """Return a Deployment of containers, each given as a flow mapping without its braces."""
    listed = "\n".join(f"      - {{{one}}}" for one in containers)
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  template:
    spec:
      containers:
{listed}
"""


def image(text: str) -> str:
    return f"image: '{text}'"


SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: payments}\n"


@pytest.fixture
def write(pytester: pytest.Pytester) -> Writer:
    return Writer(pytester.path)


class Writer:
    """Writes ``deploy.yaml``, or a file of another name, from its documents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *documents: str, to: str = "deploy.yaml") -> Path:
        path = self.folder / to
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("---\n".join(documents), encoding="utf-8")
        return path


def text(result: pytest.RunResult) -> str:
    """Return the output on one line, so that wrapping does not matter."""
    return " ".join(result.stdout.str().replace("\nE  ", "\n").split())


# What is found.


def test_each_image_of_a_manifest_gets_a_verdict(both: Suite, write: Writer) -> None:
    write(
        deployment("payments", image(PAYMENTS_IMAGE)), SERVICE, deployment("web", image(WEB_IMAGE))
    )
    result = both(*GATE, DEPLOY, PROD, "--kosli-report=out.json")
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == 1
    told = text(result)
    assert "web 0722a81 is not compliant" in told
    place = "Deployment/web spec.template.spec.containers[0], line 23"
    assert f"from manifest deploy.yaml: {place}" in told
    assert "1 object without an image: deploy.yaml: Service/payments" in told
    evidence = json.loads((write.folder / "out.json").read_text())
    assert evidence["without_image"] == ["deploy.yaml: Service/payments"]
    origins = {check["artifact"]["label"]: origin for check in evidence["checks"]
               for origin in check["artifact"]["origins"]}  # fmt: skip
    assert origins["web 0722a81"]["source"] == "manifest"
    assert origins["web 0722a81"]["detail"] == f"deploy.yaml: {place}"


def test_a_marked_test_stands_for_a_manifest(both: Suite, write: Writer) -> None:
    write(deployment("payments", image(PAYMENTS_IMAGE)))
    both.pytester.makepyfile("""
        import pytest

        @pytest.mark.kosli(environment="prod")
        def test_deploy(kosli_artifact):
            assert kosli_artifact.name.startswith("ghcr.io/acme/payments:1.4.0@")
    """)
    result = both(DEPLOY, "-v")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_deploy?payments-e49d561?*"])


def test_an_image_in_several_places_is_one_test_and_tells_all_of_them(
    alone: Suite, write: Writer
) -> None:
    write(deployment("web", image(WEB_IMAGE), image(WEB_IMAGE)))
    write("services: {front: {" + image(WEB_IMAGE) + "}}\n", to="compose.yaml")
    result = alone(*GATE, DEPLOY, "--kosli-manifest=compose.yaml", PROD)
    result.assert_outcomes(failed=1)
    told = text(result)
    where = "Deployment/web spec.template.spec.containers"
    assert f"deploy.yaml: {where}[0], line 9; {where}[1], line 10; compose.yaml: " in told
    assert "compose.yaml: services.front, line 1" in told


def test_all_kinds_of_sources_may_be_mixed(alone: Suite, write: Writer) -> None:
    write(deployment("web", image(WEB_IMAGE)))
    flags = ("--kosli-snapshot=staging", f"--kosli-artifact=sha256:{LEDGER}", DEPLOY, PROD)
    result = alone(*GATE, *flags)
    # web stands in the snapshot and in the manifest, each with a place of its own.
    result.assert_outcomes(passed=3, failed=2)


# What is wrong with a manifest.


def test_a_place_without_an_image_is_an_error_by_name_beside_the_verdicts(
    both: Suite, write: Writer
) -> None:
    write(deployment("payments", image(PAYMENTS_IMAGE), "name: sidecar", image("web:${TAG}")))
    result = both(*GATE, DEPLOY, PROD)
    result.assert_outcomes(passed=1, errors=2)
    assert result.ret == 1
    told = text(result)
    where = "deploy.yaml: Deployment/payments spec.template.spec.containers"
    assert f"no verdict (manifest_image) {where}[1], line 10: there is no image" in told
    assert f"no verdict (manifest_not_rendered) {where}[2], line 11: the image holds a" in told


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "manifest_without_images"),
        (SERVICE, "manifest_without_images"),
        ("a: [", "manifest_malformed"),
        ("{{- if .Values.on }}\nkind: Pod\n{{- end }}\n", "manifest_not_rendered"),
        ("[" * 100_000, "manifest_too_large"),
        ("---\na: b\n" * 20_000, "manifest_too_large"),
        (None, "manifest_unreadable"),
    ],
)
def test_a_manifest_without_images_is_never_a_passed_check(
    alone: Suite, write: Writer, content: str | None, code: str
) -> None:
    if content is not None:
        write(content)
    result = alone(*GATE, DEPLOY, PROD)
    result.assert_outcomes(errors=1)
    assert result.ret == 1
    assert f"no verdict ({code})" in result.stdout.str()
    assert "deploy.yaml" in text(result)


def test_a_folder_is_no_manifest(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.mkdir("deploy.yaml")
    result = alone(*GATE, DEPLOY, PROD)
    result.assert_outcomes(errors=1)
    assert "the manifest deploy.yaml can not be read: it is a folder" in text(result)


def test_one_bad_manifest_does_not_hide_behind_a_good_one(alone: Suite, write: Writer) -> None:
    write(deployment("payments", image(PAYMENTS_IMAGE)))
    result = alone(*GATE, DEPLOY, "--kosli-manifest=nothing.yaml", PROD)
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == 1


def test_a_manifest_in_utf_16_is_read(alone: Suite, write: Writer) -> None:
    path = write(deployment("payments", image(PAYMENTS_IMAGE)))
    path.write_text(path.read_text("utf-8"), encoding="utf-16")
    alone(*GATE, DEPLOY, PROD).assert_outcomes(passed=1)
    path.write_bytes(b"kind: \xff\xfe")
    result = alone(*GATE, DEPLOY, PROD)
    result.assert_outcomes(errors=1)
    assert "it is not UTF-8" in text(result)


def test_a_file_larger_than_any_manifest_is_not_read(alone: Suite, write: Writer) -> None:
    with write("kind: Pod").open("r+b") as file:
        file.truncate(17 * 1024 * 1024)
    result = alone(*GATE, DEPLOY, PROD)
    result.assert_outcomes(errors=1)
    assert "deploy.yaml is larger than 16 MiB" in text(result)


# Whatever a flag names gets a verdict, or the run fails.


def test_a_manifest_that_no_test_takes_up_fails_the_run(both: Suite, write: Writer) -> None:
    write(deployment("web", image(WEB_IMAGE)))
    both.pytester.makepyfile("def test_unmarked(): pass")
    result = both(DEPLOY, PROD)
    assert result.ret == 1
    assert "--kosli-manifest deploy.yaml: no test that was selected asks about web 0722a81" in text(
        result
    )


def test_a_part_of_a_manifest_is_not_enough(alone: Suite, write: Writer) -> None:
    write(deployment("both", image(PAYMENTS_IMAGE), image(WEB_IMAGE)))
    result = alone(*GATE, DEPLOY, PROD, "-k", "payments")
    assert result.ret == 1
    assert "no test that was selected asks about web 0722a81" in text(result)


def test_without_a_scope_it_is_a_usage_error(alone: Suite, write: Writer) -> None:
    write(deployment("payments", image(PAYMENTS_IMAGE)))
    result = alone(*GATE, DEPLOY)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*nothing says what payments e49d561 is to be judged against*"])


def test_a_dry_run_reads_nothing(alone: Suite, online: Sandbox) -> None:
    result = alone(*GATE, DEPLOY, PROD, "--kosli-dry-run")
    result.assert_outcomes(skipped=1)
    assert online.requests == []


# Where a path starts.


def test_a_path_starts_where_it_was_written(alone: Suite, write: Writer) -> None:
    pytester = alone.pytester
    write(deployment("payments", image(PAYMENTS_IMAGE)), to="deploy.yaml")
    write(deployment("web", image(WEB_IMAGE)), to="below/deploy.yaml")
    pytester.makeini("[pytest]\nkosli_manifest = deploy.yaml\nkosli_environment = prod\n")
    os.chdir(pytester.path / "below")
    alone("-c", "../tox.ini", *GATE).assert_outcomes(passed=1)
    alone("-c", "../tox.ini", *GATE, DEPLOY).assert_outcomes(failed=1)


# Digests.


def test_the_folder_above_a_link_is_where_the_disk_has_it(alone: Suite, write: Writer) -> None:
    write(f"{PAYMENTS_IMAGE}\n", to="far/images.txt")
    write(f"{WEB_IMAGE}\n", to="images.txt")
    (write.folder / "far" / "inner").mkdir()
    (write.folder / "link").symlink_to("far/inner")
    flags = ("--kosli-manifest=link/../images.txt", "--kosli-manifest=images.txt")
    alone(*GATE, *flags, PROD).assert_outcomes(passed=1, failed=1)


def test_what_is_left_out_by_name_is_listed_and_no_registry_is_asked(
    both: Suite, write: Writer
) -> None:
    write(deployment("payments", image(PAYMENTS_IMAGE), image("registry.invalid/agent:7")))
    result = both(*GATE, DEPLOY, PROD, "--kosli-without=registry.invalid/*")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    assert "1 artifact left out by without: registry.invalid/agent:7" in text(result)


def test_when_everything_is_left_out_nothing_is_green(alone: Suite, write: Writer) -> None:
    write(deployment("agent", image("registry.invalid/agent:7")))
    result = alone(*GATE, DEPLOY, PROD, "--kosli-without=*")
    assert result.ret == 1
    assert "manifest deploy.yaml gave 0 artifacts, and 1 more left out by without" in text(result)


def test_an_image_without_a_digest_is_refused_where_digests_are_required(
    alone: Suite, write: Writer
) -> None:
    write(deployment("payments", image(PAYMENTS_IMAGE), image("registry.invalid/agent:7")))
    result = alone(*GATE, DEPLOY, PROD, "--kosli-require-digests")
    result.assert_outcomes(passed=1, errors=1)
    assert "no verdict (digest_required)" in result.stdout.str()
    where = "deploy.yaml: Deployment/payments spec.template.spec.containers[1], line 10"
    assert f"{where}: registry.invalid/agent:7 has no digest" in text(result)


def test_what_is_no_image_is_an_error_with_its_place(alone: Suite, write: Writer) -> None:
    write(deployment("web", image("ghcr.io/acme/web@sha256:0722a81"), image("Acme/Web:1")))
    result = alone(*GATE, DEPLOY, PROD)
    result.assert_outcomes(errors=2)
    told = text(result)
    assert "containers[0], line 9: the digest in" in told
    assert "containers[1], line 10: oci:Acme/Web:1 names no image: a repository is" in told


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def pushed(
    registry: Registry, online: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, str]]:
    """An image with a tag in a registry, and the digest under which Kosli calls it compliant."""
    repository = f"acme/payments{next(COUNT)}"
    digest = registry.push(repository, "1.4")
    world = Sandbox("acme")
    world.set("artifacts", "payments", "name", to="payments")
    world.set("artifacts", "payments", "fingerprint", to=digest)
    with world:
        monkeypatch.setenv("KOSLI_HOST", world.url)
        yield f"{registry.name}/{repository}:1.4", digest


@needs_registry
def test_an_image_without_a_digest_is_resolved_once_through_its_registry(
    both: Suite, write: Writer, pushed: tuple[str, str], registry: Registry
) -> None:
    name, digest = pushed
    write(deployment("payments", image(name)), deployment("again", image(name)))
    result = both(*GATE, DEPLOY, PROD, "--kosli-report=out.json")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    (check,) = json.loads((write.folder / "out.json").read_text())["checks"]
    assert check["artifact"]["fingerprint"] == digest
    (origin,) = check["artifact"]["origins"]
    assert origin["detail"].count("Deployment/") == 2
    assert origin["resolved"].startswith("the manifest digest that 127.0.0.1:")
    assert registry.asked(name.partition("/")[2].partition(":")[0]) == 1


@needs_registry
@pytest.mark.parametrize("first", [True, False])
def test_a_digest_that_does_not_match_its_tag_is_an_error(
    alone: Suite, write: Writer, pushed: tuple[str, str], first: bool
) -> None:
    images = [image(pushed[0]), image(f"{pushed[0]}@sha256:{WEB}")]
    write(deployment("payments", *(images if first else images[::-1])))
    result = alone(*GATE, DEPLOY, PROD)
    assert result.ret == 1
    told = text(result)
    assert "no verdict (tag_moved)" in told
    assert f"{pushed[0]} is not one image in this run" in told
    assert f"{WEB} is the digest that a manifest gives it" in told


def test_two_digests_for_one_tag_are_an_error(alone: Suite, write: Writer) -> None:
    write(deployment("payments", image(PAYMENTS_IMAGE)))
    write(f"ghcr.io/acme/payments:1.4.0@sha256:{WEB}\n", to="images.txt")
    result = alone(*GATE, DEPLOY, "--kosli-manifest=images.txt", PROD)
    result.assert_outcomes(passed=1, errors=1)
    assert "images.txt: line 1: ghcr.io/acme/payments:1.4.0 is not one image" in text(result)


# Standard input.


def piped(given: str | int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with a text, or what a file descriptor leads to, as its standard input."""
    command = [sys.executable, "-m", "pytest", *NEIGHBOURS, "-p", "no:cacheprovider", *arguments]
    text, stdin = (given, None) if isinstance(given, str) else (None, given)
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, input=text, stdin=stdin
    )


def test_standard_input_is_read_once_whoever_runs_the_tests(
    online: Sandbox, pytester: pytest.Pytester, everywhere: tuple[str, ...]
) -> None:
    whole = deployment("payments", image(PAYMENTS_IMAGE), image(WEB_IMAGE)) + "---\n" + SERVICE
    done = piped(whole, *everywhere, *GATE, "--kosli-manifest=-", PROD)
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    told = " ".join(done.stdout.replace("\nE  ", "\n").split())
    assert "from manifest standard input: Deployment/payments spec.template" in told
    assert "object without an image: standard input: Service/payments" in told


@pytest.mark.parametrize("capture", ["no", "sys", "fd"])
def test_output_is_still_captured_after_standard_input_was_read(
    online: Sandbox, pytester: pytest.Pytester, capture: str
) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.kosli(environment="prod")
        def test_one():
            print("said " + "aloud")
            with pytest.raises((OSError, EOFError)):
                input()
    """)
    done = piped(PAYMENTS_IMAGE, f"--capture={capture}", "-p", "no:xdist", "--kosli-manifest=-")
    assert (done.returncode, "said aloud" in done.stdout) == (0, capture == "no")


def test_nothing_on_standard_input_is_never_green(
    online: Sandbox, pytester: pytest.Pytester, everywhere: tuple[str, ...]
) -> None:
    done = piped("", *everywhere, *GATE, "--kosli-manifest=-", PROD)
    assert done.returncode == 1
    assert "there is no image in standard input; it is empty" in done.stdout


def test_a_terminal_is_not_waited_for(online: Sandbox, pytester: pytest.Pytester) -> None:
    terminal, theirs = os.openpty()
    try:
        done = piped(theirs, "-p", "no:xdist", *GATE, "--kosli-manifest=-", PROD)
    finally:
        os.close(theirs)
        os.close(terminal)
    assert done.returncode == 1
    assert "standard input can not be read: nothing is piped into it" in done.stdout
