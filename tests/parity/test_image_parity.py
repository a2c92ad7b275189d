"""The Kosli CLI and we ask one real registry about one image, and get one fingerprint."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kosli.api.registry import resolve
from pytest_kosli.fingerprint.image import whole
from tests.registry import (
    PASSWORD,
    USER,
    Registry,
    TokenService,
    needs_registry,
    with_passwords,
    with_tokens,
)

CLI = os.environ.get("KOSLI_CLI") or shutil.which("kosli")

pytestmark = [
    needs_registry,
    pytest.mark.skipif(
        not CLI, reason="the Kosli CLI is not here: name it in KOSLI_CLI or put it on the PATH"
    ),
]


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry() as started:
        yield started


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's config.json, for both of us."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


def ask_cli(image: str, home: Path, *flags: str) -> str:
    """Return the fingerprint that the CLI prints, or nothing."""
    assert CLI
    # The CLI asks over https only, unless containers' own configuration says otherwise.
    plain = f'[[registry]]\nlocation = "{image.partition("/")[0]}"\ninsecure = true\n'
    (home / ".config" / "containers").mkdir(parents=True, exist_ok=True)
    (home / ".config" / "containers" / "registries.conf").write_text(plain)
    command = [CLI, "fingerprint", image, "--artifact-type=oci", *flags]
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "DOCKER_CONFIG": str(home)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def test_an_image_has_one_fingerprint(registry: Registry, tmp_path: Path) -> None:
    digest = registry.push("acme/app", "1.4")
    image = f"{registry.name}/acme/app:1.4"
    assert ask_cli(image, tmp_path) == resolve(whole(image)).sha256 == digest


def test_a_name_without_a_tag_is_latest_to_both(registry: Registry, tmp_path: Path) -> None:
    registry.push("acme/app", "1.4")
    digest = registry.push("acme/app", "latest")
    image = f"{registry.name}/acme/app"
    assert ask_cli(image, tmp_path) == resolve(whole(image)).sha256 == digest


def test_several_platforms_have_the_index_s_fingerprint(registry: Registry, tmp_path: Path) -> None:
    index, _ = registry.push_index("acme/multi", "2")
    image = f"{registry.name}/acme/multi:2"
    assert ask_cli(image, tmp_path) == resolve(whole(image)).sha256 == index


def test_a_password_in_docker_s_config_opens_the_registry_to_both(docker: Path) -> None:
    with with_passwords() as registry:
        digest = registry.push("acme/app", "1.4")
        image = f"{registry.name}/acme/app:1.4"
        assert ask_cli(image, docker.parent) == ""
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        docker.write_text(json.dumps({"auths": {registry.name: {"auth": auth}}}))
        assert ask_cli(image, docker.parent) == resolve(whole(image)).sha256 == digest


def test_a_password_given_directly_opens_the_registry_to_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOSLI_REGISTRY_USERNAME", USER)
    monkeypatch.setenv("KOSLI_REGISTRY_PASSWORD", PASSWORD)
    with with_passwords() as registry:
        digest = registry.push("acme/app", "1.4")
        image = f"{registry.name}/acme/app:1.4"
        flags = (f"--registry-username={USER}", f"--registry-password={PASSWORD}")
        assert ask_cli(image, tmp_path, *flags) == resolve(whole(image)).sha256 == digest


def test_both_ask_the_token_service_for_the_same(tmp_path: Path) -> None:
    service = TokenService()
    with with_tokens(service) as registry:
        digest = registry.push("acme/app", "1.4")
        image = f"{registry.name}/acme/app:1.4"
        assert ask_cli(image, tmp_path) == resolve(whole(image)).sha256 == digest
    theirs, ours = service.queries()
    assert theirs == ours
