"""Every fingerprint that was recorded from the Kosli CLI is ours too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_kosli.fingerprint import Fingerprint, of_directory, of_file
from pytest_kosli.model import NoVerdict
from tests.fingerprint.trees import locked, make

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))["vectors"]


def fingerprint(vector: dict[str, Any], base: str | Path = "") -> Fingerprint:
    if vector["type"] == "file":
        return of_file(vector["path"], base=base)
    return of_directory(vector["path"], exclude=vector.get("exclude", ()), base=base)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_the_recorded_fingerprint_or_a_refusal_where_the_cli_gives_none(
    vector: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, vector["tree"])
    monkeypatch.chdir(tmp_path / vector.get("cwd", "."))

    with locked(tmp_path, vector.get("locked", [])):
        if "sha256" in vector:
            assert fingerprint(vector).sha256 == vector["sha256"], vector["about"]
        else:
            with pytest.raises(NoVerdict) as refusal:
                fingerprint(vector)
            assert refusal.value.code == vector["error"], vector["about"]
            assert refusal.value.todo


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS if "sha256" in v and "cwd" not in v and "locked" not in v],
    ids=lambda vector: vector["id"],
)
def test_a_base_gives_the_same_as_running_there(vector: dict[str, Any], tmp_path: Path) -> None:
    make(tmp_path, vector["tree"])

    assert fingerprint(vector, base=tmp_path).sha256 == vector["sha256"], vector["about"]


def test_all_the_vectors_are_here() -> None:
    assert len(VECTORS) == 142
    assert len({vector["id"] for vector in VECTORS}) == 142
