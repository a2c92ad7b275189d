"""A run that has nothing to do with Kosli pays nothing and prints nothing."""

from __future__ import annotations

import sys

import pytest

from tests.conftest import Suite

HEAVY = ("requests", "urllib3", "vcr", "yaml", "msgspec", "filelock", "jinja2")
LIGHT = ["", ".hookspecs", ".options", ".plugin"]
"""The rooms that every run loads: a further one costs each of them a good part of a millisecond."""

LOOK = f"""
    import sys

    def test_it(request):
        assert not set({HEAVY!r}) & set(sys.modules)
        ours = sorted(name for name in sys.modules if name.startswith("pytest_kosli"))
        assert ours == ["pytest_kosli" + name for name in {LIGHT!r}]
        assert [name for name in request.fixturenames if "kosli" in name] == []
"""


def bare(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run in a new process that loads us and nobody else."""
    return pytester.runpytest_subprocess(
        "-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "no:anyio", *arguments
    )


def test_nothing_heavy_is_imported(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LOOK)
    result = bare(pytester)
    result.assert_outcomes(passed=1)
    assert "kosli" not in result.stdout.str().partition("collected")[2].replace("pytest-kosli", "")


def test_help_and_markers_are_light_and_complete(pytester: pytest.Pytester) -> None:
    result = bare(pytester, "--help")
    assert result.ret == 0
    assert "--kosli-snapshot" in result.stdout.str()
    bare(pytester, "--markers").stdout.fnmatch_lines(["@pytest.mark.kosli(?references, *"])


def test_loading_the_plugin_imports_nothing_that_pytest_has_not() -> None:
    code = (
        "import sys, pytest, _pytest.config, argparse, enum, re, dataclasses, tempfile, shutil\n"
        "before = set(sys.modules)\n"
        "import pytest_kosli.plugin\n"
        "print(sorted(n for n in set(sys.modules) - before if n.split('.')[0] != 'pytest_kosli'))\n"
    )
    import subprocess

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["[]"]


def test_p_no_kosli_turns_it_all_off(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest, sys

        def test_it(request):
            assert "pytest_kosli.plugin" not in sys.modules
            with pytest.raises(pytest.FixtureLookupError):
                request.getfixturevalue("assert_compliant")
    """)
    bare(pytester, "-p", "no:kosli").assert_outcomes(passed=1)


def test_no_fixture_of_ours_is_autouse(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(request): assert request.fixturenames == ['request']")
    alone().assert_outcomes(passed=1)
