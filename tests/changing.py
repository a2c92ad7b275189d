"""A server that changes its mind: what it says about an artifact, one answer after the other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from tests.answers import (
    IGNORED,
    MISSING,
    OURS,
    answer,
    flow,
    policy,
    resolution,
    rule,
    status,
)
from tests.sandbox import Sandbox

Json = dict[str, Any]

FAILED_SCAN = rule(False, resolution("non_compliant_attestation"), name="scan")
IN_TRAIL = "non_compliant_in_trail"


def in_trail(state: str | None) -> Json:
    return rule(False, resolution(IN_TRAIL, artifact_status=state))


def refused(*rules: Json, word: str = "NON-COMPLIANT") -> Json:
    return answer(
        compliant=False,
        policy_evaluations=[policy("provenance", False, *rules, IGNORED) | {"status": word}],
    )


def in_flow(word: str, *attestations: Json) -> Json:
    state = status(False, *attestations) | {"status": word}
    return answer(
        "flow", False, compliance_status=state, flows=[flow(compliant=False, state=state)]
    )


GONE = {"message": f"Artifact with fingerprint '{OURS}' does not exist"}
UNKNOWN: Json = {"status": 404, "body": GONE}
EARLY: Json = {"body": refused(MISSING)}
COMPLIANT: Json = {"body": answer()}
BAD: Json = {"body": refused(FAILED_SCAN)}
SILENCE: Json = {"body": answer(), "cut": 5}
NO_POLICIES: Json = {"body": answer(policy_evaluations=[])}

INSTANCES = ("environments", "staging", "snapshots", 0, "artifacts")
STAGING = "snapshots/acme/staging/-1"

GREEN, RED, ERROR = "passed", "failure", "error"


@dataclass(frozen=True)
class Row:
    """What the server says one after the other (the last for good), and how its test ends.

    ``asked`` is how often a run that waits two seconds asks: at once, after one, and in the end.
    """

    name: str
    answers: tuple[Json, ...]
    outcome: str
    words: str = ""
    asked: int = 3
    scope: str = 'environment="prod"'

    @property
    def fingerprint(self) -> str:
        return sha256(self.name.encode()).hexdigest()

    def about_ours(self, told: Json) -> Json:
        body = told["body"]
        if isinstance(body, dict):
            body = json.loads(json.dumps(body).replace(OURS, self.fingerprint))
        return told | {"body": body}


def play(sandbox: Sandbox, rows: Sequence[Row]) -> None:
    """Let the sandbox answer as the rows say."""
    for row in rows:
        path = f"asserts/acme/fingerprint/{row.fingerprint}"
        for told in row.answers[:-1]:
            sandbox.fault(path, times=1, **row.about_ours(told))
        sandbox.fault(path, **row.about_ours(row.answers[-1]))


def suite(rows: Sequence[Row]) -> str:
    """Return a file of tests, one for each row: ``test_0`` and so on."""
    return "import pytest\n" + "".join(
        f"\n@pytest.mark.kosli({f'a{number}=sha256:{row.fingerprint}'!r}, {row.scope})\n"
        f"def test_{number}(): ...\n"
        for number, row in enumerate(rows)
    )


def after(sandbox: Sandbox, asks: int, path: str, change: Callable[[], object]) -> None:
    """Do something when the sandbox has answered so many requests as it would have before."""
    number = itertools.count(1)

    def lie(truth: Json) -> None:
        if next(number) == asks:
            change()

    sandbox.fault(path, lie=lie)
