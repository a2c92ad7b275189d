"""What was hashed and has changed since: no verdict, whatever it is called and whoever asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kosli.fingerprint import of_directory, of_file
from pytest_kosli.memo import ProcessMemo, SharedMemo
from pytest_kosli.model import NoVerdict
from pytest_kosli.references import References
from tests.conftest import Suite
from tests.fingerprint.trees import make
from tests.sandbox import Sandbox

COMPLIANT = b"acme/payments:1.4.0"

TWO = """
    import pathlib
    import pytest

    @pytest.mark.kosli("file:a.whl", environment="prod")
    def test_a():
        pathlib.Path("b.whl").write_bytes(b"EVIL")

    @pytest.mark.kosli("file:b.whl", environment="prod")
    def test_b():
        print("deployed", pathlib.Path("b.whl").read_bytes())
"""


def out(result: pytest.RunResult) -> str:
    return "\n".join(result.outlines)


def is_told(what: str, result: pytest.RunResult) -> bool:
    """Return whether a sentence is in the output, wherever its lines end."""
    whole = out(result).replace("\nE  ", "\n")
    return "".join(what.split()) in "".join(whole.split())


def code_of(references: References, reference: str, origin: str = "call") -> str:
    with pytest.raises(NoVerdict) as told:
        references.artifact(reference, origin)
    return told.value.code


# Through a run.


@pytest.fixture
def together(both: Suite) -> Suite:
    """A run in one process, and one where one of two workers has all tests of a file."""
    if "-n2" in both.arguments:
        both.arguments += ("--dist=loadfile",)
    return both


def test_each_of_two_equal_files_is_watched(together: Suite, pytester: pytest.Pytester) -> None:
    for name in ("a.whl", "b.whl"):
        (pytester.path / name).write_bytes(COMPLIANT)
    pytester.makepyfile(TWO)
    result = together("--kosli-require=1", "-rA")
    result.assert_outcomes(passed=1, errors=1)
    assert "deployed" not in out(result)
    assert is_told("no verdict (file_changed)", result)
    assert is_told("/b.whl has changed since its fingerprint was taken", result)


def test_what_changed_does_not_stand_in_the_way_of_what_did_not(
    together: Suite, pytester: pytest.Pytester
) -> None:
    for name in ("a.whl", "b.whl"):
        (pytester.path / name).write_bytes(COMPLIANT)
    pytester.makepyfile(
        TWO
        + """
    @pytest.mark.kosli("file:a.whl", environment="prod")
    def test_a_again():
        pass
    """
    )
    together().assert_outcomes(passed=2, errors=1)


@pytest.fixture
def build(
    online: Sandbox, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Make a folder, in a world where it is compliant."""
    folder = pytester.mkdir("build")
    make(folder, {"app.py": "one", "sub/more.py": "two"})
    world = Sandbox("acme")
    world.set("artifacts", "payments", "name", to="build")
    world.set("artifacts", "payments", "fingerprint", to=of_directory(folder).sha256)
    with world:
        monkeypatch.setenv("KOSLI_HOST", world.url)
        yield folder


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("named", ["mark", "flag"])
def test_a_folder_that_a_test_rewrites_gets_no_verdict(
    together: Suite, pytester: pytest.Pytester, named: str
) -> None:
    given = {"mark": ('"dir:build", ', ()), "flag": ("", ("--kosli-artifact=dir:build",))}
    reference, flags = given[named]
    pytester.makepyfile(f"""
        import pathlib
        import pytest

        pytestmark = pytest.mark.kosli({reference}environment="prod")

        def test_first():
            pathlib.Path("build/sub/more.py").write_text("EVIL")

        def test_second():
            print("deployed")
    """)
    result = together(*flags, "-rA")
    result.assert_outcomes(passed=1, errors=1)
    assert "deployed" not in out(result)
    assert is_told("/build has changed since its fingerprint was taken", result)


@pytest.mark.usefixtures("build")
def test_a_call_about_a_folder_that_was_rewritten_gets_no_verdict(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile("""
        import pathlib

        def test_calls(assert_compliant):
            known = assert_compliant("dir:build", environment="prod").artifact
            assert_compliant([known, "dir:build"], environment="prod")
            pathlib.Path("build/app.py").write_text("EVIL")
            assert_compliant(known, environment="prod")
    """)
    result = both()
    result.assert_outcomes(errors=1)
    assert is_told("/build has changed since", result)


def test_the_fixture_gives_no_old_fingerprint(both: Suite, pytester: pytest.Pytester) -> None:
    (pytester.mkdir("build") / "app.py").write_text("one")
    pytester.makepyfile("""
        import pathlib

        def test_fingerprints(kosli_fingerprint):
            assert kosli_fingerprint("dir:build") == kosli_fingerprint("dir:build")
            pathlib.Path("build/app.py").write_text("two")
            kosli_fingerprint("dir:build")
    """)
    result = both()
    result.assert_outcomes(errors=1)
    assert "no verdict (file_changed)" in out(result)


def test_a_file_that_changes_while_kosli_is_asked_gets_no_verdict(
    both: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pytester.path / "a.whl").write_bytes(COMPLIANT)
    pytester.makepyfile("""
        import pathlib
        import threading

        def test_call(assert_compliant):
            threading.Timer(0.5, pathlib.Path("a.whl").write_bytes, [b"EVIL"]).start()
            assert_compliant("file:a.whl", environment="prod")
    """)
    with Sandbox("acme", delay=1.5) as slow:
        monkeypatch.setenv("KOSLI_HOST", slow.url)
        result = both()
    result.assert_outcomes(errors=1)
    assert is_told("/a.whl has changed since", result)


def test_a_call_s_path_starts_in_the_folder_of_its_moment(
    together: Suite, pytester: pytest.Pytester
) -> None:
    for name, content in {"good": COMPLIANT, "evil": b"EVIL"}.items():
        (pytester.mkdir(name) / "app.whl").write_bytes(content)
    pytester.makepyfile("""
        def test_good(assert_compliant, monkeypatch):
            monkeypatch.chdir("good")
            assert_compliant("file:app.whl", environment="prod")

        def test_evil(assert_compliant, monkeypatch):
            monkeypatch.chdir("evil")
            assert_compliant("file:app.whl", environment="prod")
    """)
    together().assert_outcomes(passed=1, failed=1)


# Without a run.


@pytest.fixture
def references() -> References:
    return References(ProcessMemo(), {})


def test_the_folder_above_a_link_is_where_the_disk_has_it(
    references: References, tmp_path: Path
) -> None:
    (tmp_path / "far" / "inner").mkdir(parents=True)
    (tmp_path / "far" / "app.whl").write_text("far")
    (tmp_path / "app.whl").write_text("near")
    (tmp_path / "link").symlink_to("far/inner")
    for path in (f"{tmp_path}/link/../app.whl", f"{tmp_path}/app.whl"):
        assert references.artifact(f"file:{path}", "call").fingerprint == of_file(path).sha256


def test_a_digest_is_not_about_a_file_that_had_it(references: References, tmp_path: Path) -> None:
    (tmp_path / "app.whl").write_text("one")
    artifact = references.artifact(f"file:{tmp_path}/app.whl", "call")
    (tmp_path / "app.whl").write_text("another")
    again = references.artifact(f"sha256:{artifact.fingerprint}", "call")
    references.verify(again)
    with pytest.raises(NoVerdict, match="has changed since"):
        references.verify(artifact)


def test_a_link_that_leads_elsewhere_is_a_change(references: References, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a")
    references.artifact(f"file:{tmp_path}/link", "call")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("b")
    assert code_of(references, f"file:{tmp_path}/link") == "file_changed"


def test_patterns_are_refused_for_a_file_that_is_known_already(
    references: References, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("x")
    references.artifact(f"file:{tmp_path}/a", "call")
    with pytest.raises(NoVerdict) as told:
        references.artifact(f"file:{tmp_path}/a", "call", ["*.pyc"])
    assert told.value.code == "exclude_without_directory"


@pytest.mark.parametrize(("text", "exclude"), [("file:{}/a.whl", ()), ("dir:{}/d", ("*.log",))])
def test_a_process_that_did_not_hash_it_watches_it_too(
    text: str, exclude: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    make(tmp_path, {"a.whl": "one", "d/app.py": "one", "d/app.log": "two"})
    one, other, late = (References(SharedMemo(tmp_path / "shared"), {}) for _ in range(3))
    artifact = one.artifact(text.format(tmp_path), "flag", exclude)
    assert other.artifact(text.format(tmp_path), "flag", exclude) == artifact
    make(tmp_path, {"a.whl": "One", "d/app.py": "One"})
    for each in (one, other):
        with pytest.raises(NoVerdict, match="has changed since"):
            each.verify(artifact)
    with pytest.raises(NoVerdict, match="has changed since"):
        late.artifact(text.format(tmp_path), "flag", exclude)


def test_a_folder_of_removed_ground_is_no_obstacle_to_a_digest(
    references: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    os.rmdir(tmp_path / "gone")
    assert references.artifact("sha256:" + "a" * 64, "call").fingerprint == "a" * 64
