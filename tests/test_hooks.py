"""The hooks: what others contribute, hear and scrub; whatever they raise has their name."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pluggy
import pytest
from msgspec import structs

import pytest_kosli
from pytest_kosli import Interaction, NoVerdict, hookspecs
from pytest_kosli.api.kosli import assert_request
from pytest_kosli.api.replay import substance
from pytest_kosli.hooks import Scrubber
from pytest_kosli.model import Reply, Request
from tests.answers import LISTING, MISSING, NAMED, OURS, answer, policy, question, reply
from tests.api.faulty import Answer, Faulty
from tests.conftest import NEIGHBOURS, TOKEN, Suite
from tests.sandbox import Sandbox
from tests.story import CRON, LEDGER, MAILER, PAYMENTS, REPORTS, WEB

GATE = ("--pyargs", "pytest_kosli.gate")
BARE = """
    import pytest

    @pytest.mark.kosli
    def test_release(kosli_artifact):
        print("released", kosli_artifact.name, kosli_artifact.verdict.question.scope)
"""
ASKED = """
    import pathlib
    from pytest_kosli import Artifact

    def pytest_kosli_artifacts(config, client):
        with pathlib.Path(config.rootpath, "asked").open("a") as file:
            print("asked", file=file)
        return [{given}]
"""


def out(result: pytest.RunResult) -> str:
    return "\n".join(result.outlines)


def words(result: pytest.RunResult) -> str:
    """The output on one line, so that no wrapping hides a sentence."""
    return " ".join(re.sub(r"^E  ", "", out(result), flags=re.MULTILINE).split())


def contribute(pytester: pytest.Pytester, *given: str) -> Path:
    """Write a conftest file whose hook returns these expressions; return what it notes calls in."""
    pytester.makeconftest(ASKED.format(given=", ".join(given)))
    return pytester.path / "asked"


def artifact(fingerprint: str, name: str, environment: str | None = None) -> str:
    return f"Artifact('{fingerprint}', '{name}', environment={environment!r})"


# pytest_kosli_artifacts


def test_what_a_plugin_contributes_is_judged_one_test_each_and_asked_for_once(
    both: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOSLI_ENVIRONMENT", "prod")
    asked = contribute(pytester, f"'payments=sha256:{PAYMENTS}'", artifact(WEB, "web:2", "staging"))
    pytester.makepyfile(test_a=BARE, test_b=BARE)
    result = both("-rP", "--kosli-report=out.json")
    result.assert_outcomes(passed=4)
    assert result.ret == 0
    assert "released payments environment prod" in out(result)
    assert "released web:2 environment staging" in out(result)
    assert asked.read_text().split() == ["asked"]
    checks = json.loads((pytester.path / "out.json").read_text())["checks"]
    assert "conftest.py" in json.dumps(checks)


def test_the_gate_judges_what_a_plugin_contributes(alone: Suite, pytester: pytest.Pytester) -> None:
    asked = contribute(pytester, artifact(WEB, "web", "prod"), artifact(PAYMENTS, "pay", "prod"))
    result = alone(*GATE, "-rf")
    result.assert_outcomes(passed=1, failed=1)
    assert "compliant[web-0722a81-prod]" in out(result)
    assert "hook conftest.py" in out(result)
    assert asked.read_text().split() == ["asked"]


@pytest.mark.parametrize(
    "scope",
    ["--kosli-environment=staging", "--kosli-policy=tested", 'mark: environment="staging"'],
)
def test_a_flag_or_the_mark_overrules_the_environment_of_an_artifact(
    alone: Suite, pytester: pytest.Pytester, scope: str
) -> None:
    contribute(pytester, artifact(WEB, "web", "prod"))
    flag, _, mark = scope.partition("mark: ")
    pytester.makepyfile(BARE.replace(".kosli", f".kosli({mark})"))
    result = alone("-rP", *filter(None, [flag]))
    result.assert_outcomes(passed=1)
    assert "released web " + ("policy tested" if "policy" in scope else "environment staging") in (
        out(result)
    )


def test_a_run_without_a_kosli_test_does_not_call_the_hook(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    asked = contribute(pytester, f"'sha256:{WEB}'")
    pytester.makepyfile(f"""
        def test_unit(): pass

        def test_by_itself(assert_compliant):
            assert_compliant("sha256:{PAYMENTS}", environment="prod")
    """)
    result = alone()
    result.assert_outcomes(passed=2)
    assert result.ret == 0
    assert not asked.exists()


@pytest.mark.parametrize("how", ["--collect-only", "--kosli-dry-run", "no token"])
def test_the_hook_is_not_called_where_kosli_is_not_asked(
    alone: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    asked = contribute(pytester, artifact(PAYMENTS, "payments", "prod"))
    pytester.makepyfile(BARE)
    if how == "no token":
        monkeypatch.delenv("KOSLI_API_TOKEN")
    result = alone(*(how,) if how.startswith("--") else ())
    assert not asked.exists()
    assert " passed" not in out(result)
    if how == "no token":
        result.assert_outcomes(errors=1)
        assert "no verdict (no_token)" in out(result)


def test_nothing_from_anywhere_is_never_green(both: Suite, pytester: pytest.Pytester) -> None:
    contribute(pytester)
    pytester.makepyfile(BARE)
    result = both(*GATE, "test_nothing_from_anywhere_is_never_green.py")
    result.assert_outcomes(errors=2)
    assert "no verdict (no_artifacts)" in out(result)
    assert "pytest_kosli_artifacts of conftest.py gave 0 artifacts" in words(result)


def test_nothing_from_a_plugin_is_fine_beside_another_source(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    contribute(pytester)
    pytester.makepyfile(BARE)
    result = alone(f"--kosli-artifact=sha256:{PAYMENTS}", "--kosli-environment=prod")
    result.assert_outcomes(passed=1)
    assert result.ret == 0


LIES = {
    "none": "return None",
    "text": "return 'sha256:' + 64 * 'a'",
    "number": "return 7",
    "things": "return [{'name': 'web'}]",
    "short": "return [Artifact('abc', 'web')]",
    "upper": "return [Artifact(64 * 'A', 'web')]",
    "nameless": "return [Artifact(64 * 'a', ' ')]",
    "nowhere": "return [Artifact(64 * 'a', 'web', environment='')]",
    "raises": "raise KeyError('imageDigest')",
    "late": f"yield 'sha256:{PAYMENTS}'; 1 / 0",
    "skips": "pytest.skip('not today')",
    "fails": "pytest.fail('no')",
    "leaves": "raise SystemExit(0)",
    "quiet": "raise StopIteration",
    "wraps": "return (yield)",
}


def test_an_answer_that_is_none_is_an_error_with_the_plugins_name(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest(f"pytest_plugins = {[f'plug_{name}' for name in LIES]}")
    for name, body in LIES.items():
        (pytester.path / f"plug_{name}.py").write_text(
            "import pytest\nfrom pytest_kosli import Artifact\n"
            + ("@pytest.hookimpl(wrapper=True)\n" if name == "wraps" else "")
            + f"def pytest_kosli_artifacts(config, client):\n    {body}\n"
        )
    pytester.makepyfile(BARE)
    result = both("--kosli-environment=prod")
    result.assert_outcomes(errors=len(LIES))
    assert result.ret == 1
    assert out(result).count("no verdict (bad_hook)") >= len(LIES)
    for name in LIES:
        assert f"the hook pytest_kosli_artifacts of plug_{name}, asked for artifacts," in (
            words(result)
        )
    assert "raised KeyError: 'imageDigest' (line 4)" in words(result)
    assert "raised ZeroDivisionError: division by zero (line 4)" in words(result)
    assert "returned an Artifact whose fingerprint is 'abc'" in words(result)


def test_a_plugin_that_raises_fails_a_run_whose_tests_name_their_own_artifacts(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest("""
        def pytest_kosli_artifacts(config, client):
            raise RuntimeError("the cloud is down")
    """)
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_it(): pass
    """)
    result = alone()
    result.assert_outcomes(passed=1, errors=1)
    assert "raised RuntimeError: the cloud is down (line 2)" in words(result)


def test_a_plugin_says_itself_what_is_wrong(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        from pytest_kosli import NoVerdict

        def pytest_kosli_artifacts(config, client):
            yield "frob:nitz"
            yield "sha256:oops"
            client.snapshot("nowhere")
    """)
    pytester.makepyfile(BARE)
    result = alone("--kosli-environment=prod")
    result.assert_outcomes(errors=1)
    assert "no verdict (bad_hook)" not in out(result)
    assert "the hook pytest_kosli_artifacts of conftest.py: " in words(result)
    assert "nowhere" in words(result)


def test_a_reference_that_is_none_names_the_plugin(alone: Suite, pytester: pytest.Pytester) -> None:
    contribute(pytester, "'frob:nitz'")
    pytester.makepyfile(BARE)
    result = alone("--kosli-environment=prod")
    result.assert_outcomes(errors=1)
    assert "no verdict (bad_reference)" in out(result)
    assert "the hook pytest_kosli_artifacts of conftest.py: " in words(result)


def test_a_plugin_may_ask_kosli(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        from pytest_kosli import Artifact, Outcome

        def pytest_kosli_artifacts(config, client):
            for entry in client.snapshot("staging").artifacts:
                verdict = client.assert_artifact(entry.fingerprint, environment="staging")
                assert verdict.outcome is Outcome.COMPLIANT
                yield Artifact(entry.fingerprint, entry.name, environment="staging")
    """)
    pytester.makepyfile(BARE)
    alone().assert_outcomes(passed=3)


def test_artifacts_are_left_out_by_name(alone: Suite, pytester: pytest.Pytester) -> None:
    contribute(pytester, artifact(PAYMENTS, "payments", "prod"), artifact(CRON, "cron", "prod"))
    pytester.makepyfile(BARE)
    result = alone("--kosli-without=cron")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    assert "1 artifact left out by without: cron" in out(result)


TWO = (artifact(PAYMENTS, "payments", "prod"), artifact(LEDGER, "ledger", "prod"))
OWED = "pytest_kosli_artifacts of conftest.py"


def test_what_no_test_asks_about_fails_the_run_by_name(
    both: Suite, pytester: pytest.Pytester
) -> None:
    contribute(pytester, *TWO)
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_it(): pass
    """)
    result = both()
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == 1
    assert f"{OWED}: no test that was selected asks about ledger d4d1d5d" in words(result)


def test_a_selection_of_some_artifacts_fails_the_run_by_name(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    contribute(pytester, *TWO)
    pytester.makepyfile(BARE)
    result = alone("-k", "payments")
    assert result.ret == 1
    assert f"{OWED}: no test that was selected asks about ledger d4d1d5d" in words(result)


def test_a_selection_of_no_kosli_test_owes_nothing(alone: Suite, pytester: pytest.Pytester) -> None:
    contribute(pytester, *TWO)
    pytester.makepyfile(BARE + "\n    def test_unit(): pass\n")
    result = alone("-m", "not kosli")
    assert result.parseoutcomes()["passed"] == 1
    assert result.ret == 0


def test_an_artifact_whose_test_is_skipped_fails_the_run_by_name(
    both: Suite, pytester: pytest.Pytester
) -> None:
    asked = ASKED.format(given=", ".join(TWO))
    pytester.makeconftest(f"""{asked}
    import pytest

    def pytest_collection_modifyitems(items):
        for item in items:
            if "ledger" in item.name:
                item.add_marker(pytest.mark.skip)
    """)
    pytester.makepyfile(BARE)
    result = both()
    result.assert_outcomes(passed=1, skipped=1)
    assert result.ret == 1
    assert f"{OWED} got no verdict: no test was run for ledger d4d1d5d" in words(result)


def test_a_hook_in_a_folder_below_that_comes_too_late_is_an_error(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    contribute(pytester, *TWO)
    pytester.makepyfile(test_a=BARE)
    below = pytester.mkdir("unit")
    (below / "conftest.py").write_text("def pytest_kosli_artifacts(config, client): return []\n")
    (below / "test_b.py").write_text("def test_unit(): pass\n")
    result = alone()
    result.assert_outcomes(passed=3, errors=1)
    assert "the hook pytest_kosli_artifacts of unit/conftest.py came when the plugins" in (
        words(result)
    )


@pytest.mark.parametrize(
    ("hook", "leave", "code"),
    [
        ("artifacts(config, client)", "pytest.exit('enough', returncode=7)", 2),  # by collection
        ("artifacts(config, client)", "raise KeyboardInterrupt('enough')", 2),
        ("verdict(config, verdict)", "pytest.exit('enough', returncode=7)", 7),
        ("verdict(config, verdict)", "raise KeyboardInterrupt('enough')", 2),
    ],
)
def test_what_ends_the_run_goes_through(
    pytester: pytest.Pytester, online: Sandbox, hook: str, leave: str, code: int
) -> None:
    pytester.makeconftest(f"""
        import pytest

        def pytest_kosli_{hook}:
            {leave}
    """)
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_it(): pass

        @pytest.mark.kosli
        def test_bare(): pass
    """)
    # As another process: pytest does not catch an interrupt for whoever called it.
    result = pytester.runpytest_subprocess(*NEIGHBOURS, "-p", "no:cacheprovider", "-p", "no:xdist")
    assert result.ret == code
    assert "enough" in out(result)
    assert " passed" not in out(result)
    assert "bad_hook" not in out(result)


# pytest_kosli_verdict

HEARS = """
    import os, pathlib, threading

    def pytest_kosli_verdict(config, verdict):
        here = threading.current_thread() is threading.main_thread()
        with pathlib.Path(config.rootpath, "heard").open("a") as file:
            print(verdict.artifact.fingerprint, verdict.question.scope.environment,
                  verdict.outcome.name, here, os.getpid(), sep=",", file=file)
"""
MANY = f"""
    import pathlib, pytest

    @pytest.mark.kosli(snapshot="prod")
    def test_prod(request):
        with pathlib.Path(request.config.rootpath, "heard").open("a") as file:
            file.write("first test\\n")

    @pytest.mark.kosli("sha256:{PAYMENTS}", "again=sha256:{PAYMENTS}", environment="staging")
    @pytest.mark.parametrize("n", range(3))
    def test_again(n): pass

    @pytest.mark.parametrize("n", range(4))
    def test_by_itself(assert_compliant, kosli_client, n):
        kosli_client.assert_artifact("{REPORTS}", environment="staging")
        assert_compliant("sha256:{MAILER}", environment="staging")

    def test_no_verdict(assert_compliant):
        assert_compliant("sha256:{PAYMENTS}", environment="nowhere")
"""


def heard(pytester: pytest.Pytester) -> list[list[str]]:
    return [line.split(",") for line in (pytester.path / "heard").read_text().splitlines()]


def test_each_verdict_is_told_once_in_the_main_thread(
    both: Suite, pytester: pytest.Pytester, online: Sandbox
) -> None:
    pytester.makeconftest(HEARS)
    pytester.makepyfile(MANY)
    both()
    told = [line for line in heard(pytester) if len(line) > 1]
    questions = Counter((line[0], line[1]) for line in told)
    asked = Counter(
        (request.path.rpartition("/")[2], dict(request.query)["environment_name"])
        for request in online.requests
        if "/asserts/" in request.path
    )
    assert asked.pop((PAYMENTS, "nowhere"))
    assert questions == asked
    assert set(questions.values()) == {1}
    assert len(questions) > 8
    assert {line[3] for line in told} == {"True"}
    outcomes = {(line[0], line[1]): line[2] for line in told}
    assert outcomes[PAYMENTS, "prod"] == outcomes[MAILER, "staging"] == "COMPLIANT"
    assert outcomes[WEB, "prod"] == "NON_COMPLIANT"
    assert outcomes[CRON, "prod"] == "UNKNOWN_ARTIFACT"
    assert outcomes[LEDGER, "prod"] == "ALLOW_LISTED"


def test_verdicts_are_told_in_the_order_of_the_tests_before_the_first_of_them(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest(HEARS)
    pytester.makepyfile(MANY)
    result = alone("--collect-only", "-q")
    assert not (pytester.path / "heard").exists()
    result = alone("-v", "-p", "no:randomly")
    lines = heard(pytester)
    first = lines.index(["first test"])
    told = [(line[0][:7], line[1]) for line in lines[:first]]
    names = re.findall(r"test_prod\[\S+?-([0-9a-f]{7})(?:-prod)?\]", out(result))
    assert told == [*((name, "prod") for name in dict.fromkeys(names)), (PAYMENTS[:7], "staging")]
    after = [(line[0], line[1]) for line in lines[first:] if len(line) > 1]
    assert after == [(REPORTS, "staging"), (MAILER, "staging")]


def test_a_verdict_asked_for_in_a_test_is_told_when_its_mocks_are_gone(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest("""
        import pathlib

        def pytest_kosli_verdict(config, verdict):
            pathlib.Path(config.rootpath, "heard").write_text("heard")
    """)
    pytester.makepyfile(f"""
        import pathlib

        def test_it(assert_compliant, monkeypatch):
            def broken(*args, **kwargs):
                raise RuntimeError("mocked")
            monkeypatch.setattr(pathlib.Path, "write_text", broken)
            assert_compliant("sha256:{PAYMENTS}", environment="prod")
    """)
    result = alone()
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    assert heard(pytester) == [["heard"]]


FAILS = """
    import pathlib, pytest

    class Other:
        @pytest.hookimpl(trylast=True)
        def pytest_kosli_verdict(self, config, verdict):
            with pathlib.Path(config.rootpath, "heard").open("a") as file:
                file.write("other\\n")

    def pytest_configure(config):
        config.pluginmanager.register(Other(), "other")

    def pytest_kosli_verdict(verdict):
        pytest.skip("no chat")
"""


def test_a_plugin_that_fails_on_verdicts_fails_the_run_and_is_named(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest(FAILS)
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}", "sha256:{MAILER}", environment="staging")
        def test_it(): pass
    """)
    result = both("--kosli-report=out.json")
    result.assert_outcomes(passed=2)
    assert result.ret == 1
    line = (
        "the hook pytest_kosli_verdict of conftest.py, told about e49d561, raised Skipped: no chat"
    )
    result.stdout.fnmatch_lines([f"{line} (line 13) (and 1 more)"])
    assert "no chat" in (pytester.path / "out.json").read_text()
    assert heard(pytester) == [["other"]] * 2


def test_a_plugin_can_not_change_an_outcome(alone: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        from pytest_kosli import Outcome

        def pytest_kosli_verdict(config, verdict):
            object.__setattr__(verdict, "outcome", Outcome.COMPLIANT)
            object.__setattr__(verdict, "reasons", ())
            return Outcome.COMPLIANT
    """)
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{WEB}", environment="prod")
        def test_it(): pass
    """)
    result = alone()
    result.assert_outcomes(failed=1)
    assert "snyk-scan missing" in out(result)


# pytest_kosli_before_record

LISTED = json.dumps(LISTING)
EMAIL = answer(allow_listing=LISTING | {"description": "hotfix by jo.doe@acme.example"})


def test_a_scrubbed_cassette_is_judged_as_what_came(
    both: Suite, pytester: pytest.Pytester, online: Sandbox
) -> None:
    online.fault(f"asserts/acme/fingerprint/{OURS}", body=EMAIL)
    pytester.makeconftest(recipe(hookspecs.pytest_kosli_before_record))
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{OURS}", environment="prod")
        def test_it(kosli_artifact):
            print("why", kosli_artifact.verdict.allow_listing.why)
    """)
    result = both("--kosli-record", "-rP")
    result.assert_outcomes(passed=1)
    assert "why hotfix by jo.doe@acme.example" in out(result)
    (cassette,) = (pytester.path / "cassettes").rglob("*.yaml")
    assert "jo.doe" not in cassette.read_text()
    result = both("--kosli-offline", "-rP")
    result.assert_outcomes(passed=1)
    assert "why hotfix by somebody@acme.example" in out(result)


@pytest.mark.parametrize(
    "body",
    [
        "raise RuntimeError('oops')",
        "pass",
        "return replace(interaction, status=404)",
        "return replace(interaction, body=b'{}')",
        "return replace(interaction, body=interaction.body.replace(b'true', b'false'))",
    ],
)
def test_a_scrub_that_is_none_is_an_error_and_writes_nothing(
    alone: Suite, pytester: pytest.Pytester, body: str
) -> None:
    pytester.makeconftest(f"""
        from dataclasses import replace

        def pytest_kosli_before_record(interaction):
            {body}
    """)
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod")
        def test_it(): pass
    """)
    result = alone("--kosli-record")
    result.assert_outcomes(errors=1)
    assert "no verdict (bad_hook)" in out(result)
    assert f"of conftest.py, given acme/asserts/{PAYMENTS[:12]}.environment=prod," in words(result)
    assert not list(pytester.path.rglob("*.yaml"))


def test_tokens_are_taken_out_after_the_scrub(
    alone: Suite, pytester: pytest.Pytester, online: Sandbox
) -> None:
    online.fault(f"asserts/acme/fingerprint/{OURS}", body=EMAIL)
    pytester.makeconftest(f"""
        from dataclasses import replace

        def pytest_kosli_before_record(config, interaction):
            body = interaction.body.replace(b"jo.doe", b"{TOKEN}")
            return replace(interaction, body=body)
    """)
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{OURS}", environment="prod")
        def test_it(): pass
    """)
    alone("--kosli-record").assert_outcomes(passed=1)
    (cassette,) = (pytester.path / "cassettes").rglob("*.yaml")
    assert TOKEN not in cassette.read_text()
    assert "<KOSLI_API_TOKEN>@acme.example" in cassette.read_text()


def test_source_is_not_offered(
    alone: Suite, pytester: pytest.Pytester, online: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEALIVE_API_KEY", online.key)
    monkeypatch.setenv("CODEALIVE_BASE_URL", online.url)
    pytester.makeconftest("""
        def pytest_kosli_before_record(interaction):
            raise AssertionError(interaction)
    """)
    pytester.makepyfile("""
        def test_it(assert_source):
            assert_source("acme/payments", "src/payments/settings/production.py", lacks="nothing")
    """)
    result = alone("--kosli-record")
    assert "AssertionError" not in out(result)
    assert list((pytester.path / "cassettes" / "codealive").rglob("*.yaml"))


Scrub = Callable[[Interaction], object]
ASK = assert_request(question())


def scrubber(tmp_path: Path, *scrubs: Scrub) -> Scrubber:
    """A Scrubber with a plugin for each function; the first is asked first."""
    manager = pluggy.PluginManager("pytest")
    manager.add_hookspecs(hookspecs)
    mark = pluggy.HookimplMarker("pytest")
    for number, scrub in reversed(list(enumerate(scrubs))):

        def before_record(interaction: Interaction, scrub: Scrub = scrub) -> object:
            return scrub(interaction)

        plugin = SimpleNamespace(pytest_kosli_before_record=mark(before_record))
        manager.register(plugin, f"scrub{number}")
    config = SimpleNamespace(hook=manager.hook, rootpath=tmp_path)
    return Scrubber(cast("pytest.Config", config))


def said(interaction: Interaction, old: str, new: str) -> Interaction:
    return replace(interaction, body=interaction.body.replace(old.encode(), new.encode()))


def test_plugins_scrub_one_after_the_other(tmp_path: Path) -> None:
    came = reply(EMAIL)
    scrub = scrubber(
        tmp_path,
        lambda found: said(found, "jo.doe", "someone"),
        lambda found: said(found, "someone@acme", "nobody@nowhere"),
    )
    assert b"nobody@nowhere.example" in scrub(ASK, came).body
    assert structs.replace(scrub(ASK, came), body=came.body) == came
    assert scrubber(tmp_path)(ASK, came) == came


def test_the_plugin_that_scrubs_wrongly_is_the_one_named(tmp_path: Path) -> None:
    scrub = scrubber(
        tmp_path,
        lambda found: said(found, "jo.doe", "someone"),
        lambda found: said(found, OURS, "0" * 64),
        lambda found: found,
    )
    with pytest.raises(NoVerdict, match="of scrub1, given acme/asserts/") as told:
        scrub(ASK, reply(EMAIL))
    assert told.value.code == "bad_hook"


@pytest.mark.parametrize(
    "scrub",
    [
        lambda found: None,
        lambda found: found.body,
        lambda found: replace(found, body=None),
        lambda found: replace(found, body=found.body.decode()),
        lambda found: replace(found, content_type="text/plain"),
        lambda found: replace(found, request=structs.replace(found.request, segments=("asserts",))),
        lambda found: replace(found, request=structs.replace(found.request, cassette="elsewhere")),
        lambda found: replace(found, body=found.body + b" and more"),
        lambda found: 1 / 0,
    ],
)
def test_only_the_body_may_change_and_must_stay_json(tmp_path: Path, scrub: Scrub) -> None:
    with pytest.raises(NoVerdict, match="the hook pytest_kosli_before_record of scrub0, given"):
        scrubber(tmp_path, scrub)(ASK, reply(answer()))


REFUSED = answer(compliant=False, policy_evaluations=[policy("provenance", False, MISSING)])


@pytest.mark.parametrize(
    ("kind", "came", "old", "new", "same"),
    [
        ("environment", EMAIL, "jo.doe", "somebody", True),
        ("environment", EMAIL, LISTING["allowed_by_user_id"], "somebody", True),
        ("environment", EMAIL, "https://app.kosli.com/acme/flows", "https://example.com", True),
        ("environment", EMAIL, str(LISTING["timestamp"]), "17.5", False),
        ("environment", EMAIL, '"web-ci"', '"x"', False),
        ("environment", EMAIL, '"allow_listing"', '"was_listed"', False),
        ("environment", EMAIL, '"prod"', '"staging"', False),
        ("environment", REFUSED, "missing_attestation", "no_provenance", False),
        ("environment", REFUSED, '"scan"', '"a scan"', True),
        ("environment", REFUSED, '"compliant": false', '"compliant": true', False),
        ("policy", answer("policy"), '"scans"', '"provenance"', False),
        ("flow", answer("flow"), '"web-ci"', '"api-ci"', False),
        ("flow", answer("flow"), "false", "0", True),
    ],
)
def test_what_a_verdict_hangs_on_may_not_be_scrubbed(
    kind: str, came: object, old: str, new: str, same: bool
) -> None:
    request = assert_request(question(NAMED[kind]))
    before = reply(came)
    after = structs.replace(before, body=before.body.replace(old.encode(), new.encode()))
    assert after != before
    assert (substance(request, before) == substance(request, after)) is same


SNAPSHOT = {
    "index": 7,
    "timestamp": 1787107798.5,
    "html_url": "https://app.kosli.com/acme/environments/prod",
    "artifacts": [{"name": "web:1", "fingerprint": OURS, "compliant": True, "deployed_by": "jo"}],
}
ENVIRONMENT = {"name": "prod", "type": "K8S", "description": "ask jo", "policies": ["provenance"]}
LIVE = {
    "live_artifacts": [
        {"environment_id": "e1", "artifact_id": "a1", "artifact_name": "web", "snapshot_index": 7,
         "started_at": 1787107798.5, "compliance": "COMPLIANT"}
    ],
    "_embedded": {
        "artifacts": [{"id": "a1", "fingerprint": OURS, "commit_url": "https://git.example/1"}],
        "environments": [{"id": "e1", "name": "prod", "type": "K8S"}],
    },
}  # fmt: skip
DETAILS = {
    "fingerprint": OURS,
    "flow_name": "web-ci",
    "git_commit": "abc1234",
    "git_commit_info": {"author": "jo", "message": "mend", "branch": "main"},
    "repo_info": {"name": "acme/web", "url": "https://git.example/acme/web"},
}


@pytest.mark.parametrize(
    ("segments", "came", "shown", "judged_by"),
    [
        (("snapshots", "acme", "prod", "-1"), SNAPSHOT, ["jo", "html_url"], ["web:1", OURS, "7,"]),
        (("snapshots", "acme", "prod", "7"), SNAPSHOT, ["jo"], ["web:1", "1787107798"]),
        (("snapshots", "acme", "prod", "~1"), SNAPSHOT, ["jo"], ["web:1", "true"]),
        (("environments", "acme", "prod"), ENVIRONMENT, ["ask jo"], ["prod", "provenance", "K8S"]),
        (
            ("repos", "acme", "live-artifacts", "acme/web"),
            LIVE,
            ["git.example"],
            ["prod", OURS, '"web"', '"a1", "f'],
        ),
        (
            ("artifacts", "acme", "web-ci", "fingerprint", OURS),
            DETAILS,
            ['"jo"', "mend"],
            ["main", "acme/web", "abc1234", OURS],
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_discovery_hangs_on_may_not_be_scrubbed(
    segments: tuple[str, ...], came: object, shown: list[str], judged_by: list[str]
) -> None:
    before = reply(came)

    def scrubbed(old: str) -> object:
        assert old.encode() in before.body
        new = re.sub("[a-z0-9A-Z]", lambda found: "5" if found[0].isdigit() else "x", old)
        new = {"true": "false"}.get(old, new)
        return substance(Request(segments), structs.replace(before, body=before.body.replace(
            old.encode(), new.encode())))  # fmt: skip

    assert isinstance(substance(Request(segments), before), tuple) is (segments[0] == "artifacts")
    for old in shown:
        assert scrubbed(old) == substance(Request(segments), before), old
    for old in judged_by:
        assert scrubbed(old) != substance(Request(segments), before), old


def test_a_refusal_stays_the_refusal_it_was() -> None:
    lost = Reply(404, b'{"message":"Artifact not found"}', "application/json")
    assert substance(ASK, lost) == substance(ASK, structs.replace(lost, attempts=3))
    for body in (b"{}", b'{"message":"Not here"}'):
        assert substance(ASK, lost) != substance(ASK, structs.replace(lost, body=body))
    outage = Reply(503, b"<p>jo</p>", "text/html")
    assert substance(ASK, outage) == substance(ASK, structs.replace(outage, body=b"<p></p>"))
    assert substance(ASK, outage) != substance(ASK, structs.replace(outage, status=500))


# The recipes of the docstrings, and what the reference says.

HOOKS = [function for name, function in vars(hookspecs).items() if name.startswith("pytest_kosli_")]


def recipe(hook: Callable[..., Any]) -> str:
    """Return the file that a docstring shows."""
    found = re.search(r"::\n\n((?:    .*\n|\n)+)", inspect.getdoc(hook) or "")
    assert found, hook
    code = textwrap.dedent(found[1])
    assert code.startswith("# conftest.py\n")
    compile(code, hook.__name__, "exec")
    return code


def markdown(hook: Callable[..., Any]) -> str:
    """Return a docstring as a section of the reference."""
    text = inspect.getdoc(hook) or ""
    code = recipe(hook)
    before, _, rest = text.partition("::\n\n")
    after = rest[len(textwrap.indent(code, "    ", lambda line: bool(line.strip()))) :].strip("\n")
    parts = [
        f"### {hook.__name__}",
        f"{before}:".replace("``", "`"),
        f"```python\n{code.rstrip()}\n```",
        after.replace("``", "`"),
    ]
    return "\n\n".join(parts) + "\n"


def test_the_reference_says_what_the_docstrings_say() -> None:
    page = Path(__file__).parent.parent / "docs" / "reference.md"
    text = page.read_text("utf-8")
    told = text.partition("<!-- hooks -->\n")[2].partition("<!-- /hooks -->")[0]
    assert told == "\n".join(map(markdown, HOOKS)), "put that there instead"


BOTO3 = f"""
TASKS = {{
    "shop/payments": ("ghcr.io/acme/payments:1.4.0", "sha256:{PAYMENTS}"),
    "shop/ledger": ("ghcr.io/acme/ledger:0.9.1", "sha256:{LEDGER}"),
}}

class ECS:
    def get_paginator(self, operation):
        assert operation == "list_tasks"
        return self

    def paginate(self, *, cluster):
        assert cluster == "shop"
        return [{{"taskArns": [arn]}} for arn in TASKS]

    def describe_tasks(self, *, cluster, tasks):
        found = [TASKS[arn] for arn in tasks]
        return {{"tasks": [
            {{"containers": [{{"name": "app", "image": image, "imageDigest": digest}}]}}
            for image, digest in found
        ]}}

def client(service):
    assert service == "ecs"
    return ECS()
"""


def test_the_recipe_for_artifacts_works(
    alone: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(pytester.path)
    (pytester.path / "boto3.py").write_text(BOTO3)
    pytester.makeconftest(recipe(hookspecs.pytest_kosli_artifacts))
    result = alone(*GATE, "-v")
    result.assert_outcomes(passed=2)
    assert "payments-e49d561-prod" in out(result)
    assert "1 allow-listed, 1 compliant" in out(result)


def test_the_recipe_for_fingerprints_works(alone: Suite, pytester: pytest.Pytester) -> None:
    code = recipe(hookspecs.pytest_kosli_fingerprint)
    with Faulty(
        Answer(200, b"acme/payments:1.4.0", (("Content-Type", "application/zip"),))
    ) as host:
        pytester.makeconftest(
            code.replace("https://releases.acme.example", f"http://127.0.0.1:{host.port}")
        )
        flags = ("--kosli-artifact=release:payments-1.4.zip", "--kosli-environment=prod")
        alone(*GATE, *flags).assert_outcomes(passed=1)
        assert [seen.target for seen in host.requests] == ["/payments-1.4.zip"]


def test_the_recipe_for_verdicts_works(
    alone: Suite, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest(recipe(hookspecs.pytest_kosli_verdict))
    with Faulty() as chat:
        monkeypatch.setenv("CHAT_WEBHOOK", f"http://127.0.0.1:{chat.port}/hook")
        alone(*GATE, "--kosli-snapshot=prod")
        texts = [json.loads(seen.body)["text"] for seen in chat.requests]
    assert [text for text in texts if text.startswith("web 0722a81 is non-compliant https://")]
    assert [text for text in texts if text.startswith("ledger d4d1d5d is allow-listed")]
    assert not [text for text in texts if text.startswith("payments")]


# What the package exports.


@pytest.mark.parametrize("name", pytest_kosli.__all__)
def test_every_name_of_the_package_is_there(name: str) -> None:
    assert getattr(pytest_kosli, name).__name__ == name
    assert getattr(pytest_kosli, name) is getattr(pytest_kosli, name)


def test_no_other_name_is_made_up() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Verdicts'"):
        _ = pytest_kosli.Verdicts  # type: ignore[attr-defined]
    assert not hasattr(pytest_kosli, "__wrapped__")


def test_the_package_imports_nothing_before_it_is_used() -> None:
    import subprocess
    import sys

    code = """if True:
        import sys
        import pytest_kosli
        assert [name for name in sys.modules if name.startswith("pytest_kosli.")] == []
        from pytest_kosli import NoVerdict, Verdict
        assert not {"pytest", "requests", "yaml", "vcr"} & set(sys.modules)
        from pytest_kosli import KosliClient
        assert not {"pytest", "requests"} & set(sys.modules)
        from pytest_kosli import *
        assert fingerprint("sha256:" + 64 * "a") == 64 * "a"
    """
    subprocess.run([sys.executable, "-c", code], check=True)
