"""The fingerprint of a file, and a sentence for everything that is none."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_kosli.fingerprint import of_file
from pytest_kosli.fingerprint.file import printable
from pytest_kosli.model import NoVerdict
from tests.fingerprint.trees import locked


def refusal(path: str | Path) -> NoVerdict:
    with pytest.raises(NoVerdict) as caught:
        of_file(path)
    assert caught.value.todo
    return caught.value


@contextmanager
def meanwhile(work: Callable[[int], object]) -> Iterator[None]:
    """Do something over and over in a thread, at least once before the body starts."""
    stop, started = threading.Event(), threading.Event()

    def loop() -> None:
        turn = 0
        while not stop.is_set():
            work(turn)
            turn += 1
            started.set()

    thread = threading.Thread(target=loop)
    thread.start()
    started.wait()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_it_is_the_sha256_of_the_bytes(size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    (tmp_path / "app.whl").write_bytes(content)
    found = of_file(tmp_path / "app.whl")
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.name == "app.whl"
    assert found.how == f"SHA256 of the file (bytes: {size:,})"
    assert found.excluded == ()


def test_an_empty_file_is_hinted_at(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text("x")
    assert "empty" in of_file(tmp_path / "empty").hints[0]
    assert of_file(tmp_path / "full").hints == ()


def test_a_symlink_counts_as_its_file_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "l").symlink_to("a")
    assert of_file(tmp_path / "l").sha256 == of_file(tmp_path / "a").sha256
    assert of_file(tmp_path / "l").name == "l"


def test_a_relative_path_starts_at_the_base(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert of_file("a", base=tmp_path) == of_file(tmp_path / "a")


def test_a_missing_file_is_told_apart_and_points_to_the_way_out() -> None:
    found = refusal("no/such/app.whl")
    assert (found.code, found.message) == ("no_such_path", "no/such/app.whl does not exist")
    assert "assert_compliant" in found.todo


@pytest.mark.parametrize(("path", "word"), [("", "empty"), ("a\0b", "NUL"), (" ", "' '")])
def test_a_path_that_can_not_exist_is_named(path: str, word: str) -> None:
    assert refusal(path).code == "no_such_path"
    assert word in refusal(path).message


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    found = refusal(tmp_path)
    assert found.code == "not_a_file"
    assert f"dir:{tmp_path}" in found.todo


def test_a_pipe_does_not_hang_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe").code == "special_file"
    assert "a named pipe" in refusal(tmp_path / "pipe").message


def test_a_device_is_not_the_hash_of_nothing() -> None:
    assert "/dev/null is a device" in refusal("/dev/null").message


def test_a_socket_is_named_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert refusal("s").code == "special_file"
        assert refusal("s").message.startswith("s is a socket")


def test_a_broken_and_a_looping_symlink_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to("gone")
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(tmp_path / "broken").code == "broken_symlink"
    assert "to gone, which does not exist" in refusal(tmp_path / "broken").message
    assert refusal(tmp_path / "loop").code == "broken_symlink"
    assert "in a circle" in refusal(tmp_path / "loop").message


def test_an_unreadable_file_says_who_should_read_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with locked(tmp_path, ["a"]):
        found = refusal(tmp_path / "a")
        assert found.code == "unreadable"
        assert "Permission denied" in found.message
        assert str(os.geteuid()) in found.todo


def test_a_name_that_is_too_long_is_unreadable(tmp_path: Path) -> None:
    assert refusal(tmp_path / ("n" * 300)).code == "unreadable"


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 60_000_000)
    with path.open("ab", buffering=0) as stream, meanwhile(lambda _: stream.write(b"y")):
        assert refusal(path).code == "file_changed"


def test_a_file_that_is_replaced_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 30_000_000)

    def replace(turn: int) -> None:
        other = tmp_path / f"other-{turn}"
        os.link(path, other) if turn % 2 else other.write_bytes(b"x" * 30_000_000)
        os.replace(other, path)

    with meanwhile(replace):
        assert refusal(path).code == "file_changed"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"app.whl", "app.whl"),
        ("é😀".encode(), "é😀"),
        (b"a\xffb", "a\\xffb"),
        (b"a\x1b[2Kb", "a\\x1b[2Kb"),
        (b"a\nb", "a\\nb"),
        ("a\u202eb".encode(), "a\\u202eb"),
        (b" a", "' a'"),
    ],
)
def test_odd_names_can_be_shown_anywhere(path: bytes, shown: str) -> None:
    assert printable(path) == shown
    assert printable(os.fsdecode(path)) == shown


def test_a_name_that_is_not_utf8_is_hashed_and_printable(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/a\xff")
    Path(path).write_text("x")
    assert of_file(path).name == "a\\xff"
    assert of_file(path).sha256 == hashlib.sha256(b"x").hexdigest()
