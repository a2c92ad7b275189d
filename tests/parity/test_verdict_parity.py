"""The Kosli CLI and we ask one sandbox about every artifact, in every scope, and agree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_kosli.api.kosli import KosliClient
from pytest_kosli.model import NoVerdict, Outcome, Scope
from tests.sandbox import Sandbox

CLI = os.environ.get("KOSLI_CLI") or shutil.which("kosli")

pytestmark = pytest.mark.skipif(
    not CLI, reason="the Kosli CLI is not here: name it in KOSLI_CLI or put it on the PATH"
)

ON_PURPOSE = {
    "no_policies": "the CLI passes what an environment without policies lets through",
}
SAYS = {
    Outcome.COMPLIANT: (0, ""),
    Outcome.ALLOW_LISTED: (0, ""),
    Outcome.NON_COMPLIANT: (1, "Artifact is not compliant"),
    Outcome.UNKNOWN_ARTIFACT: (1, "Artifact not found"),
}


@pytest.fixture(params=["acme", "cyber_dojo"])
def world(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(request.param) as sandbox:
        yield sandbox


def kosli(world: Sandbox, home: Path, fingerprint: str, scope: Scope) -> tuple[int, str]:
    command = [str(CLI), "assert", "artifact", "--fingerprint", fingerprint]
    command += ["--host", world.url, "--org", world.org, "--api-token", world.token, "-r", "0"]
    command += ["--environment", scope.environment] if scope.environment else []
    command += ["--flow", scope.flow_name] if scope.flow_name else []
    for policy in scope.policies:
        command += ["--policy", policy]
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "NO_COLOR": "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def scopes(world: Sandbox) -> list[Scope]:
    data = world.data
    # An older version of a policy is kept under name@version, which is no name to ask for.
    policies = tuple(name for name in data.policies if "@" not in name)
    environments = [name for name, env in data.environments.items() if env.type != "logical"]
    named = [Scope(policies=policies), Scope(policies=policies[:1])] if policies else []
    return [*(Scope(environment=name) for name in environments), *named, Scope(flow="*")]


def test_every_verdict_is_the_clis(world: Sandbox, tmp_path: Path) -> None:
    client = KosliClient(world.org, host=world.url, api_token=world.token, max_api_retries=0)
    seen: set[str] = set()
    for artifact in world.data.artifacts.values():
        for scope in scopes(world):
            code, said = kosli(world, tmp_path, artifact.fingerprint, scope)
            case = f"{artifact.name} against {scope}: the CLI exits {code} and says {said}"
            try:
                verdict = client.assert_artifact(
                    artifact.fingerprint,
                    environment=scope.environment,
                    policy=scope.policies or None,
                    flow=scope.flow,
                )
            except NoVerdict as error:
                if code != 0 or error.code not in ON_PURPOSE:
                    pytest.fail(f"{error} - {case}")
                seen.add(error.code)
                continue
            expected, words = SAYS[verdict.outcome]
            assert code == expected, f"{verdict.outcome} - {case}"
            assert words in said, case
            seen.add(verdict.outcome.name)
    if world.org == "acme":
        assert seen == {outcome.name for outcome in Outcome} | set(ON_PURPOSE)


def test_a_snapshot_holds_what_the_cli_lists(world: Sandbox, tmp_path: Path) -> None:
    client = KosliClient(world.org, host=world.url, api_token=world.token, max_api_retries=0)
    for name, environment in world.data.environments.items():
        if environment.type == "logical" or not environment.snapshots:
            continue
        listed = _cli_snapshot(world, tmp_path, name)
        ours = {(found.fingerprint, found.name) for found in client.snapshot(name).artifacts}
        running = {
            (entry["fingerprint"], entry["name"])
            for entry in listed["artifacts"]
            if entry["annotation"]["now"]
        }
        assert ours == running


def _cli_snapshot(world: Sandbox, home: Path, name: str) -> Any:
    command = [str(CLI), "get", "snapshot", name, "--output", "json"]
    command += ["--host", world.url, "--org", world.org, "--api-token", world.token]
    environ = {"HOME": str(home), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)
