"""Whether what was hashed is found to have changed, and nothing that has not."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_kosli.fingerprint import file, local, of_directory
from pytest_kosli.fingerprint.reference import parse
from pytest_kosli.fingerprint.watch import Watch
from pytest_kosli.model import NoVerdict
from tests.fingerprint.trees import make

TREE = {
    "d/app.py": "one",
    "d/sub/more.py": "two",
    "d/sub/old.log": "left out",
    "d/to-file": {"link": "../target"},
    "d/to-folder": {"link": "sub"},
    "target": "three",
    "other": "three!",
}


def watch(root: Path, reference: str = "dir:d", *exclude: str) -> Watch:
    found = local(parse(reference, base=root), exclude=exclude, base=root)
    assert found is not None
    return Watch(parse(reference, base=root), exclude, root, found)


def has_changed(watched: Watch) -> bool:
    told = []
    try:
        watched.check()
    except NoVerdict as error:
        told.append(error.code)
    assert told in ([], ["file_changed"])
    return bool(told)


def relink(target: str) -> Callable[[Path], object]:
    def work(place: Path) -> None:
        place.unlink()
        place.symlink_to(target)

    return work


def replaced(place: Path) -> None:
    other = place.with_name("other-one")
    other.write_bytes(b"x" * place.stat().st_size)
    os.replace(other, place)


def foldered(place: Path) -> None:
    place.unlink()
    place.mkdir()


def with_old_times(place: Path) -> None:
    status = place.stat()
    place.write_bytes(b"x" * status.st_size)
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "rewritten": ("d/app.py", lambda place: place.write_text("One")),
    "rewritten below": ("d/sub/more.py", lambda place: place.write_text("Two")),
    "replaced": ("d/app.py", replaced),
    "rewritten with its old times": ("d/app.py", with_old_times),
    "gone": ("d/app.py", Path.unlink),
    "new": ("d/sub/new.py", Path.touch),
    "renamed": ("d/app.py", lambda place: place.rename(place.with_name("ape.py"))),
    "a folder instead": ("d/app.py", foldered),
    "a new folder": ("d/new", Path.mkdir),
    "a pipe": ("d/pipe", os.mkfifo),
    "a link's target": ("target", lambda place: place.write_text("Three")),
    "another target": ("d/to-file", relink("../other")),
    "no target": ("d/to-file", relink("../nothing")),
    "another folder": ("d/to-folder", relink("./sub")),
    "all gone": ("d", lambda place: place.rename(place.with_name("e"))),
    "a link instead": ("d", lambda place: place.symlink_to(place.rename(place.with_name("e")))),
    "an ignore file": ("d/.kosli_ignore", lambda place: place.write_text("app.py")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_folder_is_found(change: str, tmp_path: Path) -> None:
    make(tmp_path, TREE)
    watched = watch(tmp_path)
    assert not has_changed(watched)
    place, work = CHANGES[change]
    work(tmp_path / place)
    assert has_changed(watched)


@pytest.mark.parametrize(
    "change", ["rewritten", "replaced", "rewritten with its old times", "gone"]
)
def test_every_change_of_a_file_is_found(change: str, tmp_path: Path) -> None:
    make(tmp_path, TREE)
    watched = watch(tmp_path, "file:d/app.py")
    assert not has_changed(watched)
    CHANGES[change][1](tmp_path / "d/app.py")
    assert has_changed(watched)


def test_what_is_left_out_may_come_change_and_go(tmp_path: Path) -> None:
    make(tmp_path, TREE)
    watched = watch(tmp_path, "dir:d", "**/*.log")
    for work in (
        lambda: (tmp_path / "d/sub/old.log").write_text("more"),
        lambda: (tmp_path / "d/new.log").write_text("new"),
        lambda: (tmp_path / "d/new.log").write_text("again"),
        lambda: (tmp_path / "d/sub/old.log").unlink(),
    ):
        work()
        assert not has_changed(watched)
    (tmp_path / "d/app.py").write_text("One")
    assert has_changed(watched)


def test_an_ignore_file_counts_where_it_is_left_out_itself(tmp_path: Path) -> None:
    make(tmp_path, TREE | {"d/.kosli_ignore": "*.log\n"})
    watched = watch(tmp_path, "dir:d", ".kosli_ignore")
    assert not has_changed(watched)
    (tmp_path / "d/.kosli_ignore").write_text("app.py\n")
    assert has_changed(watched)


@pytest.mark.parametrize(
    "work",
    [
        lambda place: place.chmod(0o755),
        lambda place: os.link(place, place.with_name("beside")),
        lambda place: place.write_bytes(place.read_bytes()),
    ],
    ids=["mode", "link", "written again"],
)
def test_a_file_with_the_bytes_that_it_had_has_not_changed(
    tmp_path: Path, work: Callable[[Path], object]
) -> None:
    make(tmp_path, TREE)
    watched = watch(tmp_path, "file:target")
    work(tmp_path / "target")
    assert not has_changed(watched)
    (tmp_path / "target").write_text("thr33")
    assert has_changed(watched)


def test_a_folder_that_is_written_again_as_it_was_has_not_changed(tmp_path: Path) -> None:
    make(tmp_path, TREE)
    watched = watch(tmp_path)
    (tmp_path / "d/app.py").unlink()
    (tmp_path / "d/app.py").write_text("one")
    assert not has_changed(watched)


def test_what_has_changed_once_is_not_asked_about_again(tmp_path: Path) -> None:
    make(tmp_path, TREE)
    watched = watch(tmp_path)
    (tmp_path / "d/app.py").write_text("One")
    assert has_changed(watched)
    (tmp_path / "d/app.py").write_text("one")
    assert has_changed(watched)


def test_no_file_is_read_while_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, TREE)
    watched = watch(tmp_path, "dir:d", "*.log")

    def read(path: bytes) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(file, "digest", read)
    assert not has_changed(watched)


def test_names_that_are_not_utf8_are_left_out_as_before(tmp_path: Path) -> None:
    make(tmp_path, TREE)
    odd = os.fsencode(tmp_path) + b"/d/\xff.log"
    Path(os.fsdecode(odd)).write_text("x")
    watched = watch(tmp_path, "dir:d", "*.log")
    assert not has_changed(watched)
    Path(os.fsdecode(odd)).write_text("y")
    assert not has_changed(watched)


NAMES = st.sampled_from(["a", "b", "c.log", "x*", ".kosli_ignore", "s/a", "s/d.log", "s/t/x*"])
DEEDS = st.sampled_from(["*.log", "x\\*", "s/a", "link", "move", "gone", "folder"])


def do(root: Path, name: str, deed: str) -> None:
    place = root / name
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        if deed == "link":
            place.symlink_to("a")
        elif deed == "move":
            os.replace(place, root / "a")
        elif deed == "gone":
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        elif deed == "folder":
            place.mkdir()
        else:
            place.write_text(deed)


@given(
    st.lists(st.tuples(NAMES, DEEDS), min_size=5, max_size=15),
    st.lists(st.tuples(NAMES, DEEDS), max_size=3),
    st.sampled_from([(), ("*.log",), ("**/*.log",), ("**/x*",), ("s", ".kosli_ignore"), ("**/a",)]),
)
@settings(deadline=None)
def test_a_look_finds_what_a_hash_finds(
    first: list[tuple[str, str]], then: list[tuple[str, str]], exclude: tuple[str, ...]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root, {"d/always": ""})
        for name, deed in first:
            do(root / "d", name, deed)
        with suppress(NoVerdict):
            before = of_directory("d", exclude=exclude, base=root).sha256
            watched, now = watch(root, "dir:d", *exclude), ""
            for name, deed in then:
                do(root / "d", name, deed)
            with suppress(NoVerdict):
                now = of_directory("d", exclude=exclude, base=root).sha256
            assert has_changed(watched) == (now != before)


def test_the_stamp_of_a_file_is_from_before_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, {"a": "one"})
    path = tmp_path / "a"
    genuine = file.stamp_now

    def late(place: bytes) -> bytes | None:
        seen = genuine(place)
        path.write_text("EVIL")  # when all of it was read and looked at
        return seen

    with monkeypatch.context() as patched:
        patched.setattr(file, "stamp_now", late)
        watched = watch(tmp_path, "file:a")
    assert has_changed(watched)


def test_a_file_is_read_when_a_later_write_has_a_later_time(tmp_path: Path) -> None:
    make(tmp_path, {"a": "one"})
    file.digest(os.fsencode(tmp_path / "a"))
    assert time.time() - (tmp_path / "a").stat().st_ctime > file._TICK / 2


def test_an_old_file_is_not_waited_for() -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError(seconds)

    file._let_tick(os.stat(__file__), sleep=sleep)
