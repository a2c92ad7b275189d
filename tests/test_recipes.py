"""Each recipe for CI is run as its CI runs it; then Kosli refuses, or is silent, or not asked."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import TOKEN
from tests.documents import DOCS, README, blocks, environment, run, sections, slug, write
from tests.sandbox import Sandbox
from tests.story import MAILER, PAYMENTS, WEB

DOCUMENT = DOCS / "recipes.md"
SCRIPTS = {heading: text for heading, text in sections(DOCUMENT).items() if "<!-- recipe:" in text}
CI = "How do I put it into CI?"
RECIPES = SCRIPTS | {CI: sections(README)[CI]}
ADDOPTS = "--strict-markers -o required_plugins=pytest-kosli"

CLI = os.environ.get("KOSLI_CLI") or shutil.which("kosli")

IMAGE = f"ghcr.io/acme/payments:1.4.0@sha256:{PAYMENTS}"
OUTSIDE = {"IMAGE": IMAGE, "KOSLI_API_TOKEN": TOKEN}
"""What a job has from the project or the person that starts it, where the recipe says so."""
EXPRESSIONS = {
    "${{ secrets.KOSLI_API_TOKEN }}": TOKEN,
    "${{ vars.KOSLI_DRY_RUN }}": "",
    "${{ needs.build.outputs.image }}": IMAGE,
    "$(KosliApiToken)": TOKEN,
    "{'secretKeyRef': {'name': 'kosli', 'key': 'api-token'}}": TOKEN,
    "credentials('kosli-api-token')": TOKEN,
}
TOOLS = {
    "pip": 'test "$*" = "install pytest-kosli"',
    "snyk": 'echo "$*" >>scanned',
    "kustomize": 'test "$1" = build && cat "$2"/*.yaml',
}

each_recipe = pytest.mark.parametrize("heading", RECIPES)


@dataclass(frozen=True)
class Step:
    """A script of a job, the variables it gets there, and the shell that runs it."""

    script: str
    environ: dict[str, str]
    shell: str


@dataclass(frozen=True)
class Recipe:
    """A job of a CI service: its steps, how it ends, and what it is given from outside."""

    language: str
    steps: list[Step]
    code: int
    given: list[str]
    asks: bool


def recipes(heading: str) -> Iterator[Recipe]:
    for block in blocks(RECIPES[heading]):
        word, _, rest = block.comment.partition(": ")
        if word == "recipe":
            found = re.fullmatch(r"exit (\d+)(?:, given ([\w ]+))?(, nothing asked)?", rest)
            assert found, block.comment
            given = found[2].split(" and ") if found[2] else []
            steps = list(READ[block.language](block.text))
            yield Recipe(block.language, steps, int(found[1]), given, not found[3])


def in_yaml(text: str) -> Iterator[Step]:
    yield from _walk(yaml.safe_load(text), {})


def _walk(node: object, environ: Mapping[str, str]) -> Iterator[Step]:
    """Yield the scripts of a job, in their order; the variables of what is around them count."""
    if isinstance(node, list):
        for inner in node:
            yield from _walk(inner, environ)
    elif isinstance(node, dict):
        named = {**_named(node.get("env", {})), **_named(node.get("variables", {}))}
        environ = {**environ, **named}
        for key, inner in node.items():
            if key in ("run", "script", "args"):
                script = inner if isinstance(inner, str) else "\n".join(inner)
                yield Step(script, {**environ}, node.get("shell", "sh"))
            elif key not in ("env", "variables"):
                yield from _walk(inner, environ)


def _named(variables: Any) -> dict[str, str]:
    if isinstance(variables, list):  # Kubernetes
        variables = {one["name"]: one.get("value", one.get("valueFrom")) for one in variables}
    return {name: value_of(str(value)) for name, value in variables.items()}


def value_of(text: str) -> str:
    value = EXPRESSIONS.get(text, text)
    assert not re.search(r"\$[({]|secretKeyRef|credentials\(", value), f"what is {text}?"
    return value


def in_groovy(text: str) -> Iterator[Step]:
    pairs = re.findall(r"^ *(?:environment \{ )?(\w+) = (?:'(.*?)'|(\w+\(.*?\)))", text, re.M)
    environ = {name: value_of(plain or called) for name, plain, called in pairs}
    for script in re.findall(r"^ *sh '(.*)'$", text, re.M):
        yield Step(script, environ, "sh")


def in_shell(text: str) -> Iterator[Step]:
    """Yield what a person types, who is set up for it."""
    yield Step(text, {**OUTSIDE, "PYTEST_ADDOPTS": ADDOPTS}, "sh")


READ = {"yaml": in_yaml, "groovy": in_groovy, "sh": in_shell}


class Worker:
    """A machine of a CI service: it has the files of the document, and the tools of its trade."""

    def __init__(self, folder: Path, sandbox: Sandbox, **more: str) -> None:
        self.folder = folder
        reader = environment(folder)
        self.plugins = reader["PYTEST_ADDOPTS"]
        self.environ = {
            **{key: text for key, text in reader.items() if not key.startswith("KOSLI_")},
            "PATH": f"{folder / 'tools'}:{reader['PATH']}",
            "KOSLI_HOST": sandbox.url,
            "KOSLI_MAX_API_RETRIES": "0",
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_RUN_ID": "77",
        }
        self.more = more
        for block in blocks(DOCUMENT.read_text("utf-8")):
            if block.comment.startswith("file: "):
                write(block.comment.removeprefix("file: "), block.text, folder)
        for tool, script in {**TOOLS, "kosli": f'exec "{CLI}" "$@"'}.items():
            write(f"tools/{tool}", f"#!/bin/sh\n{script}\n", folder)
            (folder / "tools" / tool).chmod(0o755)

    def work(self, recipe: Recipe) -> tuple[int, str]:
        """Return how the job ended: at the first step that fails, as CI does it."""
        code, told = 0, ""
        outside = {name: OUTSIDE[name] for name in recipe.given}
        for step in recipe.steps:
            if "kosli attest" in step.script and not (CLI and shutil.which("jq")):
                pytest.skip("the recipe needs the Kosli CLI, named in KOSLI_CLI, and jq")
            environ = {**self.environ, **outside, **step.environ, **self.more}
            environ["PYTEST_ADDOPTS"] = f"{self.plugins} {step.environ.get('PYTEST_ADDOPTS', '')}"
            shell = {"bash": ["bash", "-eo", "pipefail", "-c"], "sh": ["sh", "-ec"]}[step.shell]
            code, output = run([*shell, step.script], self.folder, environ)
            told += output
            if code:
                break
        return code, told


# What is in them.


def test_the_table_leads_to_each_script_and_each_says_what_it_replaces() -> None:
    table = DOCUMENT.read_text("utf-8").partition("\n## ")[0]
    assert re.findall(r"\]\(#(.+?)\)", table) == [slug(heading) for heading in SCRIPTS]
    assert [heading for heading, text in SCRIPTS.items() if "\n**Replaces** " not in text] == []
    for service in ("GitHub", "GitLab", "Jenkins", "Azure DevOps", "Argo CD"):
        assert f"[{service}](#" in table


@each_recipe
def test_no_pytest_of_a_recipe_can_go_without_the_plugin_or_a_verdict(heading: str) -> None:
    found = list(recipes(heading))
    assert found
    for recipe in found:
        called = [step for step in recipe.steps if re.search(r"(?m)(^|\|)\s*pytest\s", step.script)]
        assert called
        for step in called:
            assert step.environ["PYTEST_ADDOPTS"] == ADDOPTS
            assert ("--kosli-require " in step.script) is recipe.asks
            assert ("--kosli-offline" in step.script) is not recipe.asks


# What they do.


@each_recipe
def test_a_recipe_ends_as_it_says(heading: str, sandbox: Sandbox, tmp_path: Path) -> None:
    worker = Worker(tmp_path, sandbox)
    for recipe in recipes(heading):
        before = len(sandbox.requests)
        code, told = worker.work(recipe)
        assert code == recipe.code, told
        assert (len(sandbox.requests) > before) is recipe.asks, told


@each_recipe
def test_no_recipe_is_green_when_kosli_refuses(
    heading: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.fault("asserts/*", lie=lambda answer: answer.update(compliant=False))
    worker = Worker(tmp_path, sandbox)
    for recipe in recipes(heading):
        code, told = worker.work(recipe)
        assert code in (1, 10), told
        assert "not compliant" in told


GATE, PROMOTION, SCAN, *_ = SCRIPTS


def ends(heading: str, worker: Worker) -> tuple[int, str]:
    """Return how the one job of a recipe ends."""
    (recipe,) = recipes(heading)
    return worker.work(recipe)


@pytest.mark.parametrize("heading", [GATE, SCAN])
def test_no_recipe_is_green_without_the_plugin(
    heading: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    worker = Worker(tmp_path, sandbox)
    worker.plugins = "-p no:kosli"
    code, told = ends(heading, worker)
    assert code == 4, told
    assert "Missing required plugins: pytest-kosli" in told or "unrecognized" in told


def test_the_switch_that_makes_the_old_gate_green_makes_this_one_red(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    code, told = ends(GATE, Worker(tmp_path, sandbox, KOSLI_DRY_RUN="true"))
    assert code == 1, told
    assert "DRY RUN" in told
    assert sandbox.requests == []


def test_the_scan_meets_each_image_that_runs_by_its_digest(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    worker = Worker(tmp_path, sandbox)
    code, told = ends(SCAN, worker)
    assert code == 0, told
    scanned = (tmp_path / "scanned").read_text("utf-8").splitlines()
    assert sorted(scanned) == [
        f"container test ghcr.io/acme/payments@sha256:{PAYMENTS}",
        f"container test ghcr.io/acme/web@sha256:{WEB}",
    ]
    assert "1 artifact left out by without: invoice-mailer" in told


def decisions(sandbox: Sandbox) -> dict[str, bool]:
    return {
        one.data["artifact_fingerprint"]: one.data["attestation_data"]["is_compliant"]
        for one in sandbox.attested
    }


def test_a_decision_is_recorded_for_each_verdict(sandbox: Sandbox, tmp_path: Path) -> None:
    code, told = ends(PROMOTION, Worker(tmp_path, sandbox))
    assert code == 10, told
    assert decisions(sandbox) == {PAYMENTS: True, MAILER: True, WEB: False}
    assert {one.path for one in sandbox.attested} == {"promotions/trail/77/system"}


def test_no_decision_is_recorded_where_there_is_no_verdict(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.fault(f"asserts/acme/fingerprint/{MAILER}*", status=503)
    code, told = ends(PROMOTION, Worker(tmp_path, sandbox))
    assert code == 10, told
    assert decisions(sandbox) == {PAYMENTS: True, WEB: False}


def test_an_outage_is_no_decision(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.fault("asserts/*", status=503)
    assert ends(PROMOTION, Worker(tmp_path, sandbox))[0] == 11
    assert sandbox.attested == []
