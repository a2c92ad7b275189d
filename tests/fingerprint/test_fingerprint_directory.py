"""The fingerprint of a folder: what it says about itself, and what it refuses."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from pytest_kosli.fingerprint import Fingerprint, directory, of_directory
from pytest_kosli.model import NoVerdict
from tests.fingerprint.test_fingerprint_file import meanwhile
from tests.fingerprint.trees import locked, make


def taken(tmp_path: Path, tree: dict[str, Any], *exclude: str, path: str = "d") -> Fingerprint:
    make(tmp_path, tree)
    return of_directory(path, exclude=exclude, base=tmp_path)


def refusal(tmp_path: Path, tree: dict[str, Any], *exclude: str, path: str = "d") -> NoVerdict:
    with pytest.raises(NoVerdict) as caught:
        taken(tmp_path, tree, *exclude, path=path)
    assert caught.value.todo
    return caught.value


def test_it_says_what_it_is_and_what_was_left_out(tmp_path: Path) -> None:
    tree = {"d/a": "A", "d/logs/x": "", "d/sub/b.pyc": "", "d/sub/c": ""}
    found = taken(tmp_path, tree, "logs", "**/*.pyc")
    assert found.name == "d"
    assert found.how == "the Kosli CLI's fingerprint of a folder (files: 2)"
    assert found.excluded == ("logs/", "sub/b.pyc")
    assert found.hints == (
        "2 left out by patterns (logs/, sub/b.pyc): the attestation must have left out the same",
    )


def test_nothing_to_hint_at_is_no_hint(tmp_path: Path) -> None:
    found = taken(tmp_path, {"d/a": "A", "d/.kosli_ignore": "# nothing\n"})
    assert (found.excluded, found.hints) == ((), ())


@pytest.mark.parametrize("path", ["d", "d/", "./d", "d//."])
def test_the_name_is_the_folders_however_it_is_spelled(path: str, tmp_path: Path) -> None:
    assert taken(tmp_path, {"d/a": ""}, path=path).name == "d"


def test_different_trees_can_share_a_fingerprint_as_with_the_cli(tmp_path: Path) -> None:
    inside = taken(tmp_path, {"d/a/x": "c"})
    beside = taken(tmp_path, {"e/a": {"dir": True}, "e/x": "c"}, path="e")
    assert inside.sha256 == beside.sha256


def test_an_ignore_file_that_lists_itself_hints_at_the_cli_version(tmp_path: Path) -> None:
    found = taken(tmp_path, {"d/a": "A", "d/b": "B", "d/.kosli_ignore": "b\n.kosli_ignore\n"})
    assert any("since Kosli CLI 2.43.1" in hint for hint in found.hints)
    assert found.excluded == ("b",)


def test_an_ignore_file_left_out_by_a_pattern_is_hinted_at(tmp_path: Path) -> None:
    found = taken(tmp_path, {"d/a": "A", "d/b": "B", "d/.kosli_ignore": "b"}, ".kosli_ignore")
    assert any("its rules still apply" in hint for hint in found.hints)
    assert found.excluded == (".kosli_ignore", "b")


def test_patterns_without_effect_are_hinted_at(tmp_path: Path) -> None:
    found = taken(tmp_path, {"d/a": "A"}, "nope", "**.pyc")
    assert found.hints == ("these patterns leave nothing out: nope, **.pyc",)


def test_a_root_with_glob_characters_is_hinted_at_when_patterns_miss(tmp_path: Path) -> None:
    found = taken(tmp_path, {"[x]/a": "A", "[x]/b": ""}, "b", path="[x]")
    assert found.excluded == ()
    assert "reads as part of every pattern" in found.hints[1]


@pytest.mark.parametrize(
    ("mark", "word"),
    [(b"\xef\xbb\xbf", "first line"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")],
)
def test_a_byte_order_mark_is_hinted_at(mark: bytes, word: str, tmp_path: Path) -> None:
    tree = {"d/a": "A", "d/.kosli_ignore": {"hex": (mark + b"a\n").hex()}}
    found = taken(tmp_path, tree)
    assert any(word in hint for hint in found.hints)
    assert found.excluded == ()


def test_an_ignore_file_in_utf16_leaves_nothing_out(tmp_path: Path) -> None:
    tree = {"d/a": "A", "d/.kosli_ignore": {"hex": "a\na\n".encode("utf-16").hex()}}
    assert taken(tmp_path, tree).excluded == ()


def test_a_root_reached_through_a_link_is_hinted_at(tmp_path: Path) -> None:
    tree = {"d/a": "A", "l": {"link": "d"}}
    found = taken(tmp_path, tree, path="l/")
    assert found.sha256 == taken(tmp_path, {}).sha256
    assert "is a symlink" in found.hints[0]


def test_a_symlinked_root_is_refused_with_the_spelling_that_works(tmp_path: Path) -> None:
    found = refusal(tmp_path, {"d/a": "A", "l": {"link": "d"}}, path="l")
    assert found.code == "symlinked_root"
    assert "/l/)" in found.todo


def test_a_missing_folder_and_a_file_are_told_apart(tmp_path: Path) -> None:
    assert refusal(tmp_path, {}).code == "no_such_path"
    assert refusal(tmp_path, {"d": "A"}).code == "not_a_directory"


def test_nothing_is_no_artifact(tmp_path: Path) -> None:
    assert refusal(tmp_path, {"d": {"dir": True}}).code == "empty_directory"
    found = refusal(tmp_path, {"d/a": "", "d/b": ""}, "*")
    assert found.code == "everything_excluded"
    assert "a, b" in found.todo


def test_an_empty_folder_inside_is_something(tmp_path: Path) -> None:
    assert taken(tmp_path, {"d/e": {"dir": True}}).how.endswith("(files: 0)")


def test_a_pipe_inside_is_refused_by_name_unless_left_out(tmp_path: Path) -> None:
    tree = {"d/a": "A", "d/sub/p": {"fifo": True}}
    assert "d/sub/p is a named pipe" in refusal(tmp_path, tree).message
    make(tmp_path / "2", tree)
    assert of_directory("d", exclude=["sub/p"], base=tmp_path / "2").excluded == ("sub/p",)


def test_a_socket_and_a_link_to_a_device_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, {"d/a": "A", "e/null": {"link": "/dev/null"}})
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("d/s")
        assert "d/s is a socket" in refusal(tmp_path, {}).message
    assert "e/null is a device" in refusal(tmp_path, {}, path="e").message


def test_an_ignore_file_that_is_a_pipe_does_not_hang_us(tmp_path: Path) -> None:
    tree = {"d/a": "A", "d/.kosli_ignore": {"fifo": True}}
    assert refusal(tmp_path, tree, ".kosli_ignore").code == "special_file"


def test_a_link_as_ignore_file_gives_its_rules_or_none(tmp_path: Path) -> None:
    rules = {"d/a": "A", "d/b": "", "d/rules": "b", "d/.kosli_ignore": {"link": "rules"}}
    assert taken(tmp_path, rules).excluded == ("b",)
    folder = {"e/a": "A", "e/.kosli_ignore": {"link": "."}}
    assert taken(tmp_path, folder, path="e").excluded == ()
    broken = {"f/a": "A", "f/.kosli_ignore": {"link": "gone"}}
    assert refusal(tmp_path, broken, path="f").code == "broken_symlink"
    loop = {"g/a": "A", "g/.kosli_ignore": {"link": ".kosli_ignore"}}
    assert refusal(tmp_path, loop, ".kosli_ignore", path="g").code == "broken_symlink"


def test_an_ignore_file_in_other_letters_is_an_ordinary_file(tmp_path: Path) -> None:
    assert taken(tmp_path, {"d/a": "A", "d/.KOSLI_IGNORE": "a"}).excluded == ()


@pytest.mark.parametrize(("length", "fits"), [(65_535, True), (65_536, False)])
def test_a_very_long_line_is_refused_as_by_the_cli(length: int, fits: bool, tmp_path: Path) -> None:
    tree = {"d/a": "A", "d/.kosli_ignore": {"byte": ord("#"), "times": length}}
    if fits:
        assert taken(tmp_path, tree).excluded == ()
    else:
        assert refusal(tmp_path, tree).code == "bad_ignore_file"


def test_a_bad_pattern_is_named_with_its_source(tmp_path: Path) -> None:
    found = refusal(tmp_path, {"d/a": "A"}, "[")
    assert (found.code, "the pattern [ of exclude=" in found.message) == ("bad_glob", True)
    found = refusal(tmp_path, {"d/.kosli_ignore": "a\n[z-\n"})
    assert (found.code, "the pattern [z- of .kosli_ignore" in found.message) == ("bad_glob", True)
    assert refusal(tmp_path, {}, "").code == "bad_glob"


def test_one_string_is_not_a_list_of_patterns(tmp_path: Path) -> None:
    make(tmp_path, {"d/a": "A"})
    with pytest.raises(TypeError, match=r"exclude=\['logs'\]"):
        of_directory("d", exclude="logs", base=tmp_path)


def test_a_comma_is_part_of_a_pattern(tmp_path: Path) -> None:
    assert taken(tmp_path, {"d/a,b": "", "d/a": ""}, "a,b").excluded == ("a,b",)


def test_an_unreadable_folder_that_two_stars_enter_is_refused(tmp_path: Path) -> None:
    make(tmp_path, {"d/a": "A", "d/s/x": ""})
    with locked(tmp_path, ["d/s"]):
        found = refusal(tmp_path, {}, "s", "**/*.pyc")
        assert found.code == "unreadable"
        assert "d/s can not be read" in found.message
        assert of_directory("d", exclude=["s"], base=tmp_path).excluded == ("s/",)


def test_names_that_are_not_utf8_are_hashed_and_shown_escaped(tmp_path: Path) -> None:
    make(tmp_path, {"d/a": "A"})
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/d/\xff\x1b")).touch()
    assert of_directory("d", exclude=["[^a]*"], base=tmp_path).excluded == ("\\xff\\x1b",)
    assert of_directory("d", exclude=[os.fsdecode(b"\xff*")], base=tmp_path).excluded


def test_a_deep_tree_is_no_deep_recursion(tmp_path: Path) -> None:
    folders = [f"{tmp_path}/d" + "/n" * depth for depth in range(1200)]
    for folder in folders:
        os.mkdir(folder)
    try:
        assert of_directory("d", exclude=["**/x"], base=tmp_path).how.endswith("(files: 0)")
    finally:
        for folder in reversed(folders):
            os.rmdir(folder)


def test_a_folder_that_is_written_to_meanwhile_is_refused(tmp_path: Path) -> None:
    make(tmp_path, {f"d/s/{n}": "x" * 1000 for n in range(300)})
    with meanwhile(lambda turn: (tmp_path / "d" / f"new-{turn}").touch()):
        assert refusal(tmp_path, {}).code == "file_changed"


def test_a_file_inside_that_is_written_to_meanwhile_is_refused(tmp_path: Path) -> None:
    make(tmp_path, {"d/a": {"byte": 0, "times": 60_000_000}})
    with (
        (tmp_path / "d/a").open("ab", buffering=0) as stream,
        meanwhile(lambda _: stream.write(b"y")),
    ):
        found = refusal(tmp_path, {})
    assert (found.code, "d/a changed" in found.message) == ("file_changed", True)


def test_an_ignore_file_that_is_rewritten_after_it_was_read_is_refused(tmp_path: Path) -> None:
    make(tmp_path, {"d/a": "A", "d/.kosli_ignore": "now"})
    read_before = directory._Ignore(b".kosli_ignore", b"a")
    with pytest.raises(NoVerdict, match="changed while"):
        directory._Hash(os.fsencode(tmp_path / "d"), {b"a"}, read_before)


def test_files_that_vanish_meanwhile_are_a_change_and_not_a_typing_error(tmp_path: Path) -> None:
    make(tmp_path, {f"d/{n:04}": "x" for n in range(2000)})

    def flicker(turn: int) -> None:
        place = tmp_path / "d" / f"{turn % 2000:04}"
        place.unlink()
        place.touch()

    with meanwhile(flicker):
        assert refusal(tmp_path, {}).code == "file_changed"
