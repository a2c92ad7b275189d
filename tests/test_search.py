"""A search for lies that nobody thought of: no change to a bad answer ever makes it pass.

``KOSLI_SEARCH_EXAMPLES=100000 pytest tests/test_search.py`` looks longer than CI does.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_kosli.judge import judge
from pytest_kosli.model import NoVerdict, Outcome, Reply, Scope
from tests.answers import ARTIFACT, LISTING, NAMED, OURS, PROD, THEIRS, answer, question, reply

EXAMPLES = int(os.environ.get("KOSLI_SEARCH_EXAMPLES", "500"))
SEARCH = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
Json = dict[str, Any]
Path = tuple[Any, ...]

JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, -1, 1e308, "", "true", "COMPLIANT", "compliant", OURS, THEIRS, [], {},
     [None], [True], {"compliant": True}, "flow", "environment", "policy", "prod", "dev", LISTING]
)  # fmt: skip


def paths(value: object, here: Path = ()) -> list[Path]:
    """Return the place of every value in a JSON value."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [here, *(path for key, one in inner for path in paths(one, (*here, key)))]


def bend(body: Any, path: Path, how: str, junk: Any) -> Any:
    """Return a JSON value that differs at one place."""
    copy = dict(body) if isinstance(body, dict) else list(body)
    key = path[0]
    if len(path) > 1:
        copy[key] = bend(copy[key], path[1:], how, junk)
    elif how == "drop":
        del copy[key]
    elif how == "retype":
        copy[key] = str(copy[key])
    elif how == "replace":
        copy[key] = junk
    elif how == "nest":
        copy[key] = [copy[key]]
    elif how == "repeat" and isinstance(copy, list):
        copy.append(copy[key])
    elif how == "turn" and isinstance(copy, list):
        copy.reverse()
    elif how == "add" and isinstance(copy, dict):
        copy[f"{key}_too"] = junk
    return copy


def bad(kind: str) -> list[tuple[str, Json]]:
    """Return answers that must not pass the question of ``kind``, and the key of each one's lie."""
    return [
        ("compliant", answer(kind, compliant=False)),
        ("compliant", answer(kind) | {"compliant": "true"}),
        ("compliant", answer(kind) | {"compliant": 1}),
        ("fingerprint", answer(kind, fingerprint=THEIRS)),
        ("fingerprint", answer(kind, fingerprint=OURS[:12])),
        ("scope", answer(kind, scope="galaxy")),
        *(("scope", answer(kind, scope=other)) for other in NAMED if other != kind),
        ("environment", answer(kind, environment="dev")),
    ]


@given(st.data())
@SEARCH
def test_no_change_elsewhere_makes_a_bad_answer_pass(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(NAMED)))
    lie, body = data.draw(st.sampled_from(bad(kind)))
    changed: Any = body
    for _ in range(data.draw(st.integers(1, 4))):
        places = [path for path in paths(changed) if path and path[0] != lie]
        how = data.draw(
            st.sampled_from(["drop", "retype", "replace", "nest", "repeat", "turn", "add"])
        )
        changed = bend(changed, data.draw(st.sampled_from(places)), how, data.draw(JUNK))
    never_passes(reply(changed), NAMED[kind])


@given(st.data())
@SEARCH
def test_no_bytes_changed_make_a_refusal_pass(data: st.DataObject) -> None:
    """Truncated, recoded, repeated, spliced: the text of a refusal never becomes a pass."""
    kind = data.draw(st.sampled_from(list(NAMED)))
    raw = json.dumps(answer(kind, compliant=False)).encode()
    how = data.draw(st.sampled_from(["cut", "recode", "splice", "append", "flip"]))
    at = data.draw(st.integers(0, len(raw) - 1))
    if how == "cut":
        raw = raw[:at]
    elif how == "recode":
        raw = raw.decode().encode(
            data.draw(st.sampled_from(["utf-16", "utf-32", "utf-7", "cp500"]))
        )
    elif how == "splice":
        raw = raw[:at] + data.draw(st.binary(max_size=8)) + raw[at:]
    elif how == "append":
        raw += data.draw(st.sampled_from([raw, b"{}", b"\0", b', "compliant": true}', b"}"]))
    else:
        raw = raw[:at] + bytes([raw[at] ^ (1 << data.draw(st.integers(0, 7)))]) + raw[at + 1 :]
    never_passes(reply(raw), NAMED[kind])


@given(st.sampled_from(list(NAMED)), st.sampled_from(list(NAMED)), st.booleans())
@SEARCH
def test_the_answer_to_another_question_never_passes(asked: str, told: str, ours: bool) -> None:
    """A pool that is cross-wired hands out good answers to the wrong question."""
    body = json.dumps(answer(told))
    if ours and asked == told:
        return
    never_passes(reply((body if ours else body.replace(OURS, THEIRS)).encode()), NAMED[asked])


@given(st.integers(100, 599).filter(lambda status: status != 200))
def test_no_other_status_ever_passes(status: int) -> None:
    never_passes(reply(answer(), status=status), PROD)


@given(st.binary(max_size=200), st.sampled_from([200, 201, 404, 500]))
@SEARCH
def test_no_bytes_are_anything_but_no_verdict(raw: bytes, status: int) -> None:
    with pytest.raises(NoVerdict):
        judge(question(), reply(raw, status=status), ARTIFACT)


@given(st.sampled_from(list(NAMED)))
def test_what_is_searched_would_pass_unbent(kind: str) -> None:
    verdict = judge(question(NAMED[kind]), reply(answer(kind)), ARTIFACT)
    assert verdict.outcome is Outcome.COMPLIANT


def never_passes(given_reply: Reply, scope: Scope) -> None:
    """Hold that a reply is refused, or no verdict at all, and that it breaks nothing."""
    try:
        verdict = judge(question(scope), given_reply, ARTIFACT)
    except NoVerdict:
        return
    assert verdict.outcome not in (Outcome.COMPLIANT, Outcome.ALLOW_LISTED)
