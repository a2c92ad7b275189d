"""``@pytest.mark.kosli`` becomes what to ask, and ids for the tests that are made of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import pytest
from msgspec import Struct

from pytest_kosli.discovery import Check, Sources
from pytest_kosli.model import NoVerdict, Scope

T = TypeVar("T")
NAME = "kosli"
ARGUMENT = "_kosli_check"
LONG = 60
"""Characters of a name that an id keeps."""


class Derived:
    """The argument of the mark that a test gets for using a fixture of ours: it demands nothing."""

    def __repr__(self) -> str:
        return "uses a Kosli fixture"


DERIVED = Derived()


class Plan(Struct, frozen=True):
    """What the marks of a test ask for together; None where no mark names that unit."""

    sources: Sources | None = None
    scope: Scope | None = None


class Parametrised(Struct, frozen=True):
    """The private argument of an item: its check, and the plan that it was made from."""

    check: Check
    plan: Plan

    def __repr__(self) -> str:
        """Return what other plugins' reports show as a parameter of the test."""
        artifact = self.check.artifact
        return f"{artifact.label if artifact else self.check.name} against {self.check.scope}"


READ: pytest.StashKey[dict[int, tuple[pytest.Mark, Plan]]] = pytest.StashKey()
"""The marks that have been read, by identity, each kept alive beside its plan."""


def kosli(
    *references: str,
    snapshot: str | None = None,
    repo: str | None = None,
    provider: str | None = None,
    without: str | Sequence[str] = (),
    environment: str | None = None,
    policy: str | Sequence[str] | None = None,
    flow: str | None = None,
    at_least: int = 1,
) -> Plan:
    """Return what one mark asks for; this signature is the mark's schema.

    Raises TypeError for what the mark does not take, ValueError for values that can not be meant.
    """
    texts = {"snapshot": snapshot, "repo": repo, "provider": provider}
    texts |= {"environment": environment, "flow": flow}
    for name, value in texts.items():
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise ValueError(f"{name}={value!r} is not a name")
    if isinstance(at_least, bool) or not isinstance(at_least, int):
        raise ValueError(f"at_least={at_least!r} is not a number")
    if at_least < 1:
        raise ValueError(f"at_least={at_least} would let a test pass with no artifact at all")
    for reference in references:
        if isinstance(reference, Iterable) and not isinstance(reference, str):
            raise ValueError("references are passed one by one: kosli(*references)")
        if not isinstance(reference, str) or not reference.strip():
            raise ValueError(f"{reference!r} is not a reference")
    policies = () if policy is None else _texts("policy", policy)
    if policy is not None and not policies:
        raise ValueError(f"policy={policy!r} names no policy")
    if environment and policies:
        raise ValueError("environment and policy are named at once: a verdict is against one")
    if provider and not repo and (references or snapshot):
        raise ValueError("provider= tells repositories apart: it goes with repo=")
    sources = Sources(
        references,
        snapshots=(snapshot,) if snapshot else (),
        repos=(repo,) if repo else (),
        provider=provider,
        without=_texts("without", without),
        at_least=at_least,
    )
    scope = Scope(environment, policies, flow)
    return Plan(sources if sources != Sources() else None, scope if scope else None)


SCHEMA = inspect.Signature(
    [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(kosli).parameters.values()
    ]
)


def plan_of(node: pytest.Item) -> Plan | None:
    """Return what the marks of an item and its parents ask for; None without a mark.

    The closest mark that names a unit (the sources, the scope) gives all of it. Raises NoVerdict
    for arguments that the mark does not take, and for two marks on one node that name one unit.
    """
    plans = [
        (holder, _read(node, mark))
        for holder, mark in node.iter_markers_with_node(NAME)
        if mark.args != (DERIVED,)
    ]
    if not plans:
        return None
    if len(plans) == 1:
        return plans[0][1]
    return Plan(
        _closest(node, "artifacts", [(holder, plan.sources) for holder, plan in plans]),
        _closest(node, "a scope", [(holder, plan.scope) for holder, plan in plans]),
    )


def _read(node: pytest.Item, mark: pytest.Mark) -> Plan:
    """Return the plan of one mark, read once: a thousand items may share its references."""
    known = node.config.stash.setdefault(READ, {})
    if id(mark) not in known:
        try:
            known[id(mark)] = mark, kosli(*mark.args, **mark.kwargs)
        except (TypeError, ValueError) as error:
            raise _bad_mark(node, str(error)) from None
    return known[id(mark)][1]


def _closest(node: pytest.Item, what: str, named: list[tuple[object, T | None]]) -> T | None:
    """Return the unit of the closest mark that names it; the list begins with the closest."""
    naming = [(holder, unit) for holder, unit in named if unit is not None]
    if not naming:
        return None
    holder, closest = naming[0]
    if any(other is holder and unit != closest for other, unit in naming[1:]):
        raise _bad_mark(node, f"two marks on one node both name {what}")
    return closest


def demands(node: pytest.Item) -> tuple[pytest.Mark, ...]:
    """Return the marks of an item and its parents that demand verdicts."""
    return tuple(mark for mark in node.iter_markers(NAME) if mark.args != (DERIVED,))


def ids(checks: Sequence[Check]) -> list[str]:
    """Return an id for each check that works in ``-k``, and that no other of them has."""
    taken: set[str] = set()
    return [_unique(_id(check), taken) for check in checks]


def _id(check: Check) -> str:
    artifact = check.artifact
    named = [artifact.short, artifact.fingerprint[:7]] if artifact else [check.name.split("@")[0]]
    parts = [*named, check.environment] if check.environment else named
    plain = (re.sub(r"[^A-Za-z0-9_.+-]+", "-", part)[:LONG].strip("-") for part in parts)
    return "-".join(part or "artifact" for part in plain)


def _unique(text: str, taken: set[str]) -> str:
    candidates: Iterator[str] = (f"{text}-{number}" for number in range(2, len(taken) + 3))
    unique = text if text not in taken else next(one for one in candidates if one not in taken)
    taken.add(unique)
    return unique


def _texts(what: str, value: str | Sequence[str]) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        raise ValueError(f"{what}={value!r} is neither a name nor a list of names")
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{what}: {text!r} is not a name")
    return tuple(texts)


def _bad_mark(node: pytest.Item, why: str) -> NoVerdict:
    return NoVerdict(
        "bad_mark",
        f"@pytest.mark.kosli of {node.nodeid}: {why}",
        f"The mark is kosli{SCHEMA}.",
    )
