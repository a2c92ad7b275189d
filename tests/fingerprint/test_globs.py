"""Patterns mean what they mean to Go, and to the Kosli CLI on a disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_kosli.fingerprint.globs import BadPatternError, Finder, clean, match
from tests.fingerprint.trees import make

MATCHES = [
    ("app", "app", True),
    ("app", "apps", False),
    ("", "", True),
    ("", "a", False),
    ("*", "", True),
    ("*", ".hidden", True),
    ("*", "a/b", False),
    ("a*", "a/b", False),
    ("a*/c", "abc/c", True),
    ("a*/c", "a/b/c", False),
    ("*.whl", "app.whl", True),
    ("*.whl", "app.whl.asc", False),
    ("*.whl", ".whl.whl", True),
    ("*aa", "aaaa", True),
    ("a*b*c", "a-b-b-c", True),
    ("a*b*c", "a-c-b", False),
    ("**", "abc", True),
    ("?", "", False),
    ("?", "/", False),
    ("?", "ü", True),
    ("??", "ü", False),
    ("a?c", "a😀c", True),
    ("[abc]", "b", True),
    ("[abc]", "", False),
    ("[a-c]x", "bx", True),
    ("[a-c]x", "dx", False),
    ("[c-a]", "b", False),
    ("[^a-c]", "d", True),
    ("[^a-c]", "b", False),
    ("[!a]", "b", False),
    ("[!a]", "!", True),
    ("[a^]", "^", True),
    ("[ä-ü]*", "öx", True),
    ("*[ä-ü]", "Z", False),
    ("[/]", "/", True),
    ("[*]", "*", True),
    ("[*]", "a", False),
    ("[[]", "[", True),
    ("[\\]]", "]", True),
    ("[\\-x]", "-", True),
    ("\\*", "*", True),
    ("\\*", "a", False),
    ("\\a", "a", True),
    ("a\\\\b", "a\\b", True),
    ("]", "]", True),
    ("{a,b}", "a", False),
    ("A", "a", False),
    ("a b", "a b", True),
]

FAULTS = [
    ("[", ""),
    ("[a", "a"),
    ("[^", "a"),
    ("[]a]", "]"),
    ("[-a]", "-"),
    ("[a-]", "a"),
    ("[a-b-c]", "a"),
    ("a[", "x"),
    ("a/b[", "x"),
    ("\\", "\\"),
    ("a\\", "a"),
    ("*[", "a"),
    ("[a\\", "a"),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), MATCHES)
def test_match_is_gos(pattern: str, name: str, expected: bool) -> None:
    assert match(pattern.encode(), name.encode()) is expected


@pytest.mark.parametrize(("pattern", "name"), FAULTS)
def test_a_malformed_pattern_is_refused(pattern: str, name: str) -> None:
    with pytest.raises(BadPatternError):
        match(pattern.encode(), name.encode())


@pytest.mark.parametrize(("pattern", "name"), [("a*[", "x"), ("x/*/[", ""), ("*b*\\", "a")])
def test_a_fault_that_matching_does_not_reach_is_no_fault(pattern: str, name: str) -> None:
    assert match(pattern.encode(), name.encode()) is False


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        (b"?", b"\xff", True),
        (b"?", b"\xe2\x82", False),
        (b"??", b"\xe2\x82", True),
        (b"[\xef\xbf\xbd]", b"\xff", True),
        (b"*\xfe", b"a\xfe", True),
        (b"*???", "😀".encode(), True),
        (b"\xc3*", "é".encode(), True),
    ],
)
def test_bytes_that_are_not_utf8_stand_alone(pattern: bytes, name: bytes, expected: bool) -> None:
    assert match(pattern, name) is expected


def test_a_class_of_bytes_that_are_not_utf8_is_malformed() -> None:
    with pytest.raises(BadPatternError, match="not UTF-8"):
        match(b"[\xff]", b"\xff")


@given(st.binary(max_size=12))
def test_any_name_escaped_matches_itself_and_a_star(name: bytes) -> None:
    escaped = b"".join(b"\\" + bytes([byte]) for byte in name)
    assert match(escaped, name)
    assert match(b"*", name) is (b"/" not in name)
    assert not match(escaped + b"x", name)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "."),
        ("//a", "/a"),
        ("a/./b/", "a/b"),
        ("../a/..", ".."),
        ("/..", "/"),
        ("a/../..", ".."),
    ],
)
def test_clean_is_gos(path: str, expected: str) -> None:
    assert clean(path.encode()) == expected.encode()


TREE = {
    "d/logs/x": "",
    "d/sub/logs/y": "",
    "d/a.pyc": "",
    "d/sub/b.pyc": "",
    "d/sub/deep/c.pyc": "",
    "d/.hid/e.pyc": "",
    "d/n": "",
    "d/n.pyc": "",
    "d/link": {"link": "sub"},
}

FINDS = [
    ("logs", {"logs"}),
    ("/logs/", {"logs"}),
    ("./sub/../logs", {"logs"}),
    ("../d/logs", {"logs"}),
    ("../logs", set()),
    (".", set()),
    ("..", set()),
    ("nothing", set()),
    ("*.pyc", {"a.pyc", "n.pyc"}),
    ("*/*.pyc", {"sub/b.pyc", ".hid/e.pyc"}),
    ("**/*.pyc", {"a.pyc", "n.pyc", "sub/b.pyc", "sub/deep/c.pyc", ".hid/e.pyc"}),
    ("**/logs", {"logs/x", "sub/logs"}),
    ("sub/**", {"sub/b.pyc", "sub/logs", "sub/deep"}),
    ("sub/**/*.pyc", {"sub/b.pyc", "sub/deep/c.pyc"}),
    ("**.pyc", {"n.pyc"}),
    ("s**b", set()),
    ("***/*.pyc", {"sub/b.pyc", "sub/deep/c.pyc", ".hid/e.pyc"}),
    ("**", {"logs", "sub", "a.pyc", ".hid", "n", "n.pyc", "link"}),
    ("link", {"link"}),
    ("link/b.pyc", {"link/b.pyc"}),
    ("link/*", set()),
    ("a\0", set()),
]


@pytest.mark.parametrize(("pattern", "expected"), FINDS)
def test_a_pattern_takes_out_what_the_cli_takes_out(
    pattern: str, expected: set[str], tmp_path: Path
) -> None:
    make(tmp_path, TREE)
    found = Finder(b"d", os.fsencode(tmp_path)).find(pattern.encode())
    assert {path.decode() for path in found} == expected


def test_two_stars_at_the_start_name_nothing_in_the_current_folder(tmp_path: Path) -> None:
    make(tmp_path, TREE)
    here = os.fsencode(tmp_path / "d")
    assert Finder(b".", here).find(b"**/logs") == set()
    assert Finder(b".", here).find(b"*.pyc") == {b"a.pyc", b"n.pyc"}
    assert Finder(b".", here).find(b"../d/*") == set()


def test_a_name_that_two_stars_meet_is_read_as_a_pattern(tmp_path: Path) -> None:
    make(tmp_path, {"d/[": "", "d/a": ""})
    with pytest.raises(BadPatternError):
        Finder(b"d", os.fsencode(tmp_path)).find(b"**/a")


def test_what_lies_outside_the_folder_is_not_walked(tmp_path: Path) -> None:
    make(tmp_path, {"beside/[": "", "d/a": "", "d/out": {"link": "../beside"}})
    finder = Finder(os.fsencode(tmp_path / "d"))
    assert finder.find(b"../**/a") == {b"a"}
    assert finder.find(b"out/**/a") == set()


def test_links_that_lead_in_circles_do_not_multiply_the_work(tmp_path: Path) -> None:
    make(tmp_path, {f"d/l{n}": {"link": "."} for n in range(40)} | {"d/a/b/c/e/f/g/h": ""})
    found = Finder(b"d", os.fsencode(tmp_path)).find(b"*/*/*/*/*/*/*")
    assert found == {b"a/b/c/e/f/g/h"}


def test_a_pattern_of_thousands_of_segments_is_read(tmp_path: Path) -> None:
    make(tmp_path, TREE)
    finder = Finder(b"d", os.fsencode(tmp_path))
    assert finder.find(b"*/" * 30_000 + b"x") == set()
    assert finder.find(b"[a-z]?/" * 9_000 + b"x") == set()


def test_a_class_can_not_reach_over_a_slash(tmp_path: Path) -> None:
    make(tmp_path, TREE)
    for pattern in (b"[a/b]", b"a\\/b"):
        with pytest.raises(BadPatternError):
            Finder(b"d", os.fsencode(tmp_path)).find(pattern)
