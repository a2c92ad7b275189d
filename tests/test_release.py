"""A release can be made: one version, fragments with a kind, and workflows that may do little."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

import pytest_kosli
from tests.documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


# The project.


def test_the_version_stands_in_one_place() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "pytest_kosli/__init__.py"
    texts = [ROOT / "pyproject.toml", *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *WORKFLOWS]
    texts += (ROOT / "pytest_kosli").rglob("*.py")
    version = re.compile(rf"(?<![\w.]){re.escape(pytest_kosli.__version__)}(?![\w.])")
    found = [path for path in texts if version.search(path.read_text("utf-8"))]
    released = ROOT / "CHANGELOG.md"
    assert {*found} - {released} == {ROOT / "pytest_kosli" / "__init__.py"}


def test_the_licence_goes_with_it() -> None:
    assert PROJECT["project"]["license-files"] == ["LICENSE"]
    assert "/LICENSE" in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert (ROOT / "LICENSE").read_text("utf-8").startswith("MIT License")


def test_a_source_distribution_has_all_that_is_here() -> None:
    include = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    ignored = (ROOT / ".gitignore").read_text("utf-8").split()
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    ours = {name for name in folders if not any(fnmatch(f"{name}/", one) for one in ignored)}
    assert {f"/{name}" for name in ours - {".git"}} <= set(include)


FRAGMENTS = sorted((ROOT / "changelog.d").glob("*.md"))


def test_every_fragment_has_a_kind_that_the_changelog_knows() -> None:
    kinds = {kind["directory"] for kind in PROJECT["tool"]["towncrier"]["type"]}
    readme = (ROOT / "changelog.d" / "README.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE)) == kinds
    for path in FRAGMENTS:
        if path.name != "README.md":
            name = re.fullmatch(r"(?:\d+|\+[a-z-]+)\.(\w+)\.md", path.name)
            assert name, path.name
            assert name[1] in kinds, path.name
            assert path.read_text("utf-8").strip()


def test_the_changelog_has_the_place_for_the_next_release() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert text.count(PROJECT["tool"]["towncrier"]["start_string"]) == 1


# The workflows.


def read(path: Path) -> Any:
    """Return a workflow; YAML reads its key ``on`` as true."""
    return yaml.safe_load(path.read_text("utf-8"))


def jobs(path: Path) -> Iterator[tuple[str, Any]]:
    yield from read(path)["jobs"].items()


def steps(path: Path) -> Iterator[Any]:
    for _, job in jobs(path):
        yield from job["steps"]


def test_there_are_the_two_workflows() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]


@each_workflow
def test_every_action_is_pinned_to_a_commit_and_says_its_version(path: Path) -> None:
    lines = re.findall(r"uses:(.*)$", path.read_text("utf-8"), re.MULTILINE)
    assert len(lines) == sum("uses" in step for step in steps(path))
    for line in lines:
        assert re.fullmatch(r" [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_pin() -> None:
    text = "".join(path.read_text("utf-8") for path in WORKFLOWS)
    pins = set(re.findall(r"uses: ([\w/-]+)@(.*)$", text, re.MULTILINE))
    assert len(pins) == len({name for name, _ in pins})


@each_workflow
def test_nothing_is_allowed_but_what_a_job_names(path: Path) -> None:
    assert read(path)["permissions"] == {}
    allowed = {name: job["permissions"] for name, job in jobs(path)}
    publish = allowed.pop("publish", None)
    assert all(rights in ({}, {"contents": "read"}) for rights in allowed.values()), allowed
    if path.name == "release.yml":
        assert publish == {"attestations": "write", "id-token": "write"}
        assert read(path)["jobs"]["publish"]["environment"] == "pypi"
    else:
        assert publish is None


def test_only_what_was_built_and_tested_is_published_and_nothing_is_built_beside_the_key() -> None:
    (path,) = (path for path in WORKFLOWS if path.name == "release.yml")
    told = read(path)["jobs"]
    assert (told["test"]["needs"], told["publish"]["needs"]) == (["build"], ["test"])
    used = [step["uses"].partition("@")[0] for step in told["publish"]["steps"]]
    assert used == [
        "actions/download-artifact",
        "actions/attest-build-provenance",
        "pypa/gh-action-pypi-publish",
    ]


@each_workflow
def test_a_workflow_has_no_secret_and_no_text_of_others_in_its_scripts(path: Path) -> None:
    text = path.read_text("utf-8")
    for word in ("secrets.", "pull_request_target", "workflow_run", "password", "://"):
        assert word not in text
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


@each_workflow
def test_a_checkout_leaves_no_credentials_behind(path: Path) -> None:
    checkouts = [
        step for step in steps(path) if step.get("uses", "").startswith("actions/checkout")
    ]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@each_workflow
def test_no_run_is_without_an_end_or_beside_another_of_its_kind(path: Path) -> None:
    assert read(path)["concurrency"]["group"]
    assert all(job["timeout-minutes"] <= 60 for _, job in jobs(path))


def test_ci_runs_every_supported_python_and_asks_for_each_job() -> None:
    (path,) = (path for path in WORKFLOWS if path.name == "ci.yml")
    told = read(path)["jobs"]
    pythons = told["tests"]["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["project"]["requires-python"] == f">={pythons[0]}"
    assert set(told["green"]["needs"]) == set(told) - {"green"}


@each_workflow
def test_the_extras_and_scripts_that_a_workflow_names_are_there(path: Path) -> None:
    scripts = "\n".join(step["run"] for step in steps(path) if "run" in step)
    extras = set(re.findall(r"\[(\w+)\]['\"]", scripts))
    assert extras
    assert extras <= set(PROJECT["project"]["optional-dependencies"])
    for name in re.findall(r"^\.ci/\w+", scripts, re.MULTILINE):
        assert (ROOT / name).stat().st_mode & 0o111


def test_the_pins_are_looked_after() -> None:
    told = yaml.safe_load((GITHUB / "dependabot.yml").read_text("utf-8"))
    (update,) = told["updates"]
    assert (told["version"], update["package-ecosystem"]) == (2, "github-actions")
    assert update["cooldown"]["default-days"] >= 7
