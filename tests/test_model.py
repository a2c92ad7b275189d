"""The words leave a process and come back as they were, exceptions too."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

import pytest_kosli
from pytest_kosli import (
    Artifact,
    Drifted,
    Interaction,
    KosliError,
    NotChecked,
    NotCompliant,
    NoVerdict,
    Outcome,
    Question,
    Reason,
    Request,
    Scope,
    SourceMismatch,
    Verdict,
)
from pytest_kosli.drift import Drift, OtherVersion
from pytest_kosli.model import AllowListing, Origin, Policy, Reply, Waited
from pytest_kosli.source import Failure, Finding, Source
from tests.answers import OURS, THEIRS

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
ARTIFACT = Artifact(OURS, "ghcr.io/acme/web:1.4.0", Origin("snapshot", "prod#42"), "prod")
OTHER = Artifact(THEIRS, "ghcr.io/acme/web:1.3.9")
QUESTION = Question("https://app.kosli.com", "acme", OURS, Scope(policies=("b", "a")))
REQUEST = Request(("asserts", "acme"), (("flow_name", "web-ci"),))
WAITED = Waited(12.0, 5, 2)
VERDICT = Verdict(
    Outcome.NON_COMPLIANT,
    QUESTION,
    ARTIFACT,
    (Reason("missing_attestation", attestation="snyk-scan"),),
    (Policy("provenance", 2, "COMPLIANT"),),
    AllowListing("me", NOW, "why", "id"),
    received_at=NOW,
    waited=WAITED,
)
DRIFT = Drift("prod", (ARTIFACT,), (), (OtherVersion("web", (OTHER,), (ARTIFACT,)),), ())
SOURCE = Source("acme/web::a.py", found=True, content="x = 1")

WORDS = [
    VERDICT,
    DRIFT,
    Finding(SOURCE, (Failure("must contain x", ("> 1 | x",), (1,)),)),
    Interaction(REQUEST, 200, "application/json", b"{}"),
    Reply(200, b"{}", received_at=NOW, waited=WAITED),
]
RAISED = [
    KosliError("what happened"),
    NotChecked("a dry run"),
    NotCompliant("is not compliant", (VERDICT,)),
    NoVerdict("no_token", "no token"),
    replace(NoVerdict("http_error", "m", "t", 500, ("e",), 2, ARTIFACT, WAITED), attempts=4),
    Drifted(DRIFT),
    SourceMismatch("does not hold", (Finding(SOURCE, ()),)),
]
WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "first protocol": lambda one: pickle.loads(pickle.dumps(one, protocol=0)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def of(one: object) -> str:
    return type(one).__name__


def test_each_exception_that_is_exported_is_looked_at() -> None:
    exported = {getattr(pytest_kosli, name) for name in pytest_kosli.__all__}
    kinds = {kind for kind in exported if isinstance(kind, type) and issubclass(kind, Exception)}
    assert kinds == {type(error) for error in RAISED}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("word", WORDS, ids=of)
def test_a_word_comes_back_as_it_was(word: object, way: Callable[[Any], Any]) -> None:
    assert way(word) == word


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("error", RAISED, ids=of)
def test_an_exception_comes_back_as_it_was(error: KosliError, way: Callable[[Any], Any]) -> None:
    again = way(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert (again.args, vars(again)) == (error.args, vars(error))
