"""What is made of fetched text: which index tells of it, what holds, and what a failure says."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_kosli.model import NoVerdict
from pytest_kosli.source import (
    UNASKED,
    Built,
    Choice,
    DataSource,
    Finding,
    Pin,
    Source,
    SourceMismatch,
    Wanted,
    choose,
    explain,
    is_from,
    judge,
    pin,
    wanted,
)

ID = "acme/payments::src/app.py"
MAIN = DataSource("payments", "1", url="https://github.com/acme/payments", branch="main")
RELEASE = DataSource("release", "2", url="https://github.com/acme/payments.git", branch="rel/1")
SHOP = DataSource("shop", "9", type="Workspace")
BUILT = Built(
    "acme/payments",
    url="https://github.com/acme/payments",
    branch="main",
    commit="7416f878ee51e0c21551923b133bf5c31dad206a",
    commit_url="https://github.com/acme/payments/commit/7416f87",
    artifact="payments e49d561",
    fingerprint="e" * 64,
)
NAMED = Built("acme/payments")


def source(content: str | None, **more: Any) -> Source:
    return Source(ID, **{"found": True, "content": content, **more})


def want(contains: Any = UNASKED, lacks: Any = UNASKED, sha256: Any = UNASKED) -> Wanted:
    return wanted(NAMED, ["src/app.py"], contains, lacks, sha256)


def told(one: Source, wish: Wanted, **more: Any) -> list[str]:
    return [failure.told for failure in judge(one, wish, BUILT, **more).failures]


# What must hold.


def test_what_is_there_and_what_is_not() -> None:
    one = source("DEBUG = False\nHOSTS = []\n")
    assert told(one, want()) == []
    assert told(one, want("DEBUG = False", ["DEBUG = True", re.compile("HOSTS.*evil")])) == []
    assert told(one, want("DEBUG = True", "HOSTS")) == [
        "must contain 'DEBUG = True'",
        "must not contain 'HOSTS'",
    ]
    assert told(one, want(re.compile(r"^debug", re.IGNORECASE))) == []
    assert told(one, want(re.compile("^HOSTS"))) == ["must contain the pattern '^HOSTS'"]


@pytest.mark.parametrize("wish", [want(), want("x"), want(lacks="x"), want(sha256="a" * 64)])
def test_what_was_not_found_fails_whatever_is_wanted(wish: Wanted) -> None:
    (failure,) = told(Source(ID, found=False), wish)
    assert failure.startswith("was not found, or this CODEALIVE_API_KEY may not read it.")
    assert "neither contains nor lacks can hold" in failure
    assert ID in failure


@pytest.mark.parametrize("content", [None, ""])
def test_a_text_that_did_not_come_can_not_lack_anything(content: str | None) -> None:
    assert told(source(content), want()) == []
    for wish in (want("x"), want(lacks="x"), want(sha256="a" * 64)):
        assert told(source(content), wish) == [
            "was found, but CodeAlive sent no text of it to judge"
        ]


def test_an_empty_file_is_one_that_has_no_bytes() -> None:
    assert told(source("", byte_size=0), want(lacks="x")) == []
    assert told(source("", byte_size=0), want("x")) == ["must contain 'x'"]


def test_what_was_cut_off_may_hold_what_must_not_be_there() -> None:
    cut = source("a = 1\n", byte_size=4250)
    assert told(cut, want("a = 1")) == []
    (failure,) = told(cut, want(lacks="secret"))
    assert "4250 bytes and sent 6" in failure


BOM = "\ufeff"
TWO = "a = 1\nb = 2\n"


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        (TWO, (0, 2, 3, 5)),
        (BOM + TWO, (0, 2)),
        (TWO.replace("\n", "\r\n"), (0, 3)),
        (BOM + TWO.replace("\n", "\r\n"), (0,)),
        (TWO.rstrip(), (0, 1, 3, 4, 6)),
        (20 * TWO, (0, 3, 40, 43)),
        (20 * TWO.replace("\n", "\r\n") + "c", (0, 1, 2, 3, 4, 5)),
        ("a = 1", (0, 1, 2, 3, 4, 5)),
    ],
)
def test_a_size_that_other_line_ends_explain_is_only_a_hint(
    content: str, missing: tuple[int, ...]
) -> None:
    sent = len(content.encode())
    for size in range(sent + 50):
        failures = told(source(content, byte_size=size), want(lacks="secret"))
        assert (not failures) is (size - sent in missing or size < sent), size


def test_no_byte_order_mark_stands_before_a_part_of_a_file() -> None:
    part = source(TWO, byte_size=len(TWO) + 3, start_line=7)
    assert told(part, want(lacks="secret"))
    assert told(replace(part, byte_size=len(TWO) + 2), want(lacks="secret")) == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_byte_order_marks_hide_nothing(end: str) -> None:
    text = f"\ufeffDEBUG = True{end}X = 1{end}"
    assert told(source(text), want(lacks=re.compile(r"^DEBUG = True$", re.MULTILINE)))
    assert told(source(text), want(lacks="DEBUG = True\nX"))
    assert told(source(text), want("DEBUG = True\r\nX = 1")) == []


@given(st.text(), st.text(min_size=1))
def test_nothing_that_is_in_a_text_is_lacking(before: str, needle: str) -> None:
    if needle.replace("\r", ""):
        one = source(f"x{before}\n{needle}\n{before}")
        assert told(one, want(lacks=needle))
        assert told(one, want(needle)) == []


def test_the_sha256_is_that_of_the_bytes() -> None:
    digest = hashlib.sha256(b"allow\n").hexdigest()
    assert told(source("allow\n"), want(sha256=digest)) == []
    assert told(source("allow\n"), want(sha256="sha256:" + digest)) == []
    (failure,) = told(source("allow\n", byte_size=6), want(sha256="e" * 64))
    assert failure.startswith(f"has the sha256 {digest[:12]}…, not eeeeeeeeeeee…")
    assert "is the sha256 of a file only where the artifact is a file" in failure
    assert "tampering" not in failure


def test_another_size_is_not_called_tampering() -> None:
    (failure,) = told(source("allow\n", byte_size=9), want(sha256="a" * 64))
    assert "9 bytes and sent 6" in failure
    assert "this proves no tampering" in failure


def test_a_strict_pin_refuses_what_is_tied_to_nothing() -> None:
    loose = source("x")
    assert told(loose, want("x"), strict=False) == []
    assert "codealive_strict_pin" in told(loose, want("x"), strict=True)[0]
    assert told(replace(loose, pin=Pin.BRANCH), want("x"), strict=True) == []


# What can not be wanted.


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"paths": []}, "no path was named"),
        ({"paths": [""]}, "is no path"),
        ({"paths": ["::"]}, "is no path"),
        ({"paths": ["a\nb"]}, "is no path"),
        ({"paths": [["a.py"]]}, "is no path"),
        ({"contains": ""}, "found in every text"),
        ({"lacks": re.compile("x*")}, "found in every text"),
        ({"contains": []}, "contains= is empty"),
        ({"contains": ()}, "contains= is empty"),
        ({"lacks": ()}, "lacks= is empty"),
        ({"contains": None}, "contains=None is neither a text nor a pattern"),
        ({"lacks": None}, "lacks=None is neither a text nor a pattern"),
        ({"sha256": None}, "sha256=None is none"),
        ({"lacks": iter([])}, "lacks= is empty"),
        ({"contains": b"x"}, "neither a text nor a pattern"),
        ({"contains": [re.compile(b"x")]}, "neither a text nor a pattern"),
        ({"contains": [None]}, "neither a text nor a pattern"),
        ({"sha256": "abc"}, "is none"),
        ({"sha256": "A" * 64}, "is none"),
        ({"sha256": "a" * 64, "paths": ["a", "b"]}, "one path"),
        ({"sha256": "a" * 64, "paths": ["a.py::f"]}, "part of a file"),
        ({"sha256": "e" * 64, "built": replace(BUILT, image=True)}, "no single file"),
    ],
)
def test_a_check_that_could_not_fail_is_refused(wrong: dict[str, Any], why: str) -> None:
    asked = {"built": BUILT, "paths": ["a.py"]}
    asked |= dict.fromkeys(("contains", "lacks", "sha256"), UNASKED)
    with pytest.raises(NoVerdict, match=why) as caught:
        wanted(**{**asked, **wrong})
    assert caught.value.code == "bad_source_check"


@pytest.mark.parametrize(
    ("path", "identifier"),
    [
        ("src/x.py", "acme/payments::src/x.py"),
        ("src/x.py::A.b(c: d)", "acme/payments::src/x.py::A.b(c: d)"),
        ("acme/payments::src/x.py", "acme/payments::src/x.py"),
        ("src/x.cc::ns::f", "acme/payments::src/x.cc::ns::f"),
    ],
)
def test_identifiers_are_built_of_repository_and_path(path: str, identifier: str) -> None:
    assert BUILT.identifier(path) == identifier
    built = Source(identifier, found=False)
    assert (built.repo, f"{built.repo}::{built.place}") == ("acme/payments", identifier)


# Where to look.


def choice(built: Built, *known: DataSource, **more: str) -> tuple[str, str]:
    chosen = choose(built, known, **more)
    return chosen.data_source.name if chosen.data_source else "", chosen.send


def test_repository_and_branch_choose_the_data_source() -> None:
    assert choice(BUILT, MAIN, SHOP) == ("payments", "")
    assert choice(BUILT, MAIN, RELEASE) == ("payments", "payments")
    assert choice(replace(BUILT, branch="rel/1"), MAIN, RELEASE) == ("release", "release")
    assert choice(replace(BUILT, branch="refs/heads/rel/1"), MAIN, RELEASE)[0] == "release"
    assert choice(NAMED, MAIN, SHOP) == ("payments", "")
    assert choice(BUILT, SHOP) == choice(BUILT) == ("", "")


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/Acme/Payments.git",
        "https://user:secret@github.com/acme/payments/",
        "git@github.com:acme/payments.git",
        "ssh://git@github.com:22/acme/payments",
        "http://GITHUB.com/acme/payments",
    ],
)
def test_an_address_has_many_spellings(url: str) -> None:
    assert choice(BUILT, replace(MAIN, url=url))[0] == "payments"
    assert choice(replace(BUILT, url=url), MAIN)[0] == "payments"


def test_names_that_are_not_unique_are_sent_as_ids() -> None:
    namesake = replace(RELEASE, name="payments")
    assert choice(BUILT, MAIN, namesake) == ("payments", "1")


def test_another_branch_is_a_mismatch() -> None:
    with pytest.raises(SourceMismatch) as caught:
        choose(BUILT, [RELEASE, SHOP])
    text = " ".join(str(caught.value).split())
    assert "on branch rel/1, but payments e49d561 was built from main" in text
    assert 'accept this one with data_source="release"' in text


def test_a_namesake_on_another_host_is_a_mismatch() -> None:
    with pytest.raises(SourceMismatch, match=r"of github\.com"):
        choose(replace(BUILT, url="https://gitlab.com/acme/payments"), [MAIN])


@pytest.mark.parametrize("branch", ["", "HEAD", "**REDACTED**"])
def test_an_unknown_branch_leaves_one_data_source_and_no_more(branch: str) -> None:
    built = replace(BUILT, branch=branch)
    assert choice(built, MAIN) == ("payments", "")
    with pytest.raises(NoVerdict) as caught:
        choose(built, [MAIN, RELEASE])
    assert caught.value.code == "ambiguous_data_source"
    assert "payments (main), release (rel/1)" in caught.value.message
    assert 'data_source="release"' in caught.value.todo
    assert "codealive_data_sources" in caught.value.todo


def test_an_index_of_an_unknown_branch_may_be_the_one() -> None:
    hidden = replace(RELEASE, branch="")
    assert choice(replace(BUILT, branch="other"), MAIN, hidden) == ("release", "release")
    assert choice(BUILT, MAIN, hidden) == ("payments", "payments")


def test_two_indexes_of_one_branch_are_ambiguous() -> None:
    with pytest.raises(NoVerdict, match="2 data sources"):
        choose(BUILT, [MAIN, replace(RELEASE, branch="main")])


def test_the_caller_goes_first_the_branch_second_the_settings_third() -> None:
    every = (MAIN, RELEASE, SHOP)
    named = choose(BUILT, every, named="release", configured="payments")
    assert (named.data_source, named.send, named.accepted) == (RELEASE, "release", True)
    assert choose(BUILT, every, named="2").data_source == RELEASE
    assert choice(BUILT, *every, configured="release") == ("payments", "payments")
    assert choice(NAMED, *every, configured="release") == ("release", "release")
    assert not choose(NAMED, every, configured="release").accepted
    assert choice(NAMED, *every, configured="elsewhere") == ("elsewhere", "elsewhere")


@pytest.mark.parametrize(
    ("name", "id_", "chosen", "ours"),
    [
        ("", "", MAIN, True),
        ("payments", "", MAIN, True),
        ("1", "", MAIN, True),
        ("", "1", MAIN, True),
        ("payments", "1", MAIN, True),
        ("payments", "2", MAIN, False),
        ("payments-fork", "1", MAIN, False),
        ("payments-fork", "", MAIN, False),
        ("", "2", MAIN, False),
        ("payments, payments-fork", "", MAIN, False),
        ("", "", DataSource("77"), True),
        ("payments", "77", DataSource("77"), True),
        ("payments", "77", DataSource("payments"), True),
        ("payments", "77", DataSource("fork"), False),
        ("", "77", DataSource("fork"), False),
    ],
)
def test_a_text_is_from_the_chosen_index_where_nothing_says_otherwise(
    name: str, id_: str, chosen: DataSource, ours: bool
) -> None:
    told = source("x", data_source=name, data_source_id=id_)
    assert is_from(told, chosen) is ours


# What ties it to the artifact.


@pytest.mark.parametrize(
    ("branch", "commit", "built", "expected"),
    [
        ("main", "", BUILT, Pin.BRANCH),
        ("main", "0000000", BUILT, Pin.BRANCH),
        ("rel/1", "7416f878e", BUILT, Pin.COMMIT),
        ("", "7416f878ee51e0c21551923b133bf5c31dad206a", BUILT, Pin.COMMIT),
        ("", "7416f8", BUILT, Pin.NONE),
        ("", "", BUILT, Pin.NONE),
        ("main", "", NAMED, Pin.NONE),
        ("main", "", replace(BUILT, branch="HEAD", commit=""), Pin.NONE),
    ],
)
def test_the_pin_is_the_best_that_is_known(
    branch: str, commit: str, built: Built, expected: Pin
) -> None:
    assert pin(built, Choice(MAIN), source("x", branch=branch, commit=commit)) is expected


def test_a_branch_that_differs_is_a_mismatch_unless_the_caller_named_it() -> None:
    other = source("x", branch="rel/1")
    with pytest.raises(SourceMismatch):
        pin(BUILT, Choice(RELEASE, "release"), other)
    assert pin(BUILT, Choice(RELEASE, "release", accepted=True), other) is Pin.NONE


# What is told.


def text_of(*findings: Finding, built: Built = BUILT, where: Choice | None = None) -> str:
    return "\n".join(explain(findings, built, where or Choice(MAIN)))


def test_a_failure_shows_the_lines_and_no_more() -> None:
    lines = [f"line {number}" for number in range(1, 30)]
    lines[19] = "DEBUG = True"
    one = source("\n".join(lines), start_line=31, branch="main", pin=Pin.BRANCH)
    fine = replace(source("x"), identifier="acme/payments::src/base.py")
    text = text_of(judge(one, want(lacks="DEBUG = True"), BUILT), Finding(fine))
    assert text.splitlines() == [
        "assert_source: 1 of 2 files of acme/payments does not hold",
        "  src/app.py",
        "    must not contain 'DEBUG = True'",
        "      48 | line 18",
        "      49 | line 19",
        "    > 50 | DEBUG = True",
        "      51 | line 21",
        "      52 | line 22",
        "  holds: src/base.py",
        "artifact  payments e49d561, commit 7416f87 (main)",
        'source    CodeAlive data source "payments", branch main, as indexed (it does',
        "          not say at which commit)",
        "pin       branch",
        "commit    https://github.com/acme/payments/commit/7416f87",
        "docs      https://pytest-kosli.readthedocs.io/en/stable/errors/#source-mismatch",
    ]


def test_all_files_are_told_together_but_what_is_quoted_is_capped() -> None:
    bad = "\n".join(["x", "SECRET", "y"] * 50)
    findings = [
        judge(replace(source(bad), identifier=f"a/b::{n}.py"), want(lacks="SECRET"), BUILT)
        for n in range(60)
    ]
    text = text_of(*findings)
    assert text.startswith("assert_source: 60 of 60 files of acme/payments do not hold")
    assert "  and 40 more files" in text
    assert text.count(" | ") <= 40
    assert len(text.splitlines()) < 120


def test_the_first_line_is_short_whatever_the_repository_is_called() -> None:
    built = Built("group/" + "very-" * 30 + "long")
    text = text_of(Finding(Source(ID, found=False)), built=built)
    assert len(text.splitlines()[0]) <= 60


def test_a_long_line_is_quoted_around_what_was_found() -> None:
    one = source("a" * 5000 + "EVIL" + "b" * 5000)
    (failure,) = judge(one, want(lacks="EVIL"), BUILT).failures
    (line,) = failure.excerpt
    assert "EVIL" in line
    assert len(line) < 110


def test_keys_and_control_characters_of_source_are_not_quoted() -> None:
    key = "ca_1234567890_" + "k" * 43
    one = source(f"k = '{key}'\nEVIL\t\x1b[31m\u202e</failure>\n")
    (failure,) = judge(one, want(lacks="EVIL"), BUILT).failures
    quoted = "\n".join(failure.excerpt)
    assert key not in quoted
    assert "ca_(hidden)" in quoted
    assert "\x1b" not in quoted
    assert "\u202e" not in quoted


def test_matches_far_apart_are_told_apart() -> None:
    lines = ["x"] * 40
    lines[0] = lines[39] = "EVIL"
    (failure,) = judge(source("\n".join(lines)), want(lacks="EVIL"), BUILT).failures
    assert failure.lines == (1, 40)
    assert "  ..." in failure.excerpt


def test_where_no_artifact_was_given_none_is_told_of() -> None:
    text = text_of(Finding(Source(ID, found=False)), built=NAMED, where=Choice())
    assert "artifact" not in text
    assert "data source unknown, branch unknown" in text
    assert "pin       none" in text


def test_an_indexed_commit_is_told() -> None:
    one = source("x", commit="abc123def", branch="main")
    text = text_of(judge(one, want("y"), BUILT))
    assert "as indexed at abc123def" in " ".join(text.split())
