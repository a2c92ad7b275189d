"""``assert_source`` in a run: what becomes of a test, what is asked, and what is left on record."""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kosli.api.codealive import LANES
from tests.conftest import Suite
from tests.sandbox import Sandbox
from tests.story import LEDGER, PAYMENTS

FETCH = "/api/search/artifacts"
PRODUCTION = "src/payments/settings/production.py"
RELEASED = f'assert_compliant("sha256:{PAYMENTS}", environment="prod", flow="payments-ci")'

Ask = Callable[..., pytest.RunResult]


@pytest.fixture
def reader(online: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    monkeypatch.setenv("CODEALIVE_API_KEY", online.key)
    monkeypatch.setenv("CODEALIVE_BASE_URL", online.url)
    return online


def write(pytester: pytest.Pytester, *calls: str, mark: str = "") -> None:
    tests = "\n".join(
        f"{mark}\ndef test_{number}(assert_compliant, assert_source, kosli_client):\n    {call}"
        for number, call in enumerate(calls, start=1)
    )
    pytester.makepyfile(f"import re\nimport pytest\n\n{tests}\n")


@pytest.fixture
def ask(alone: Suite, pytester: pytest.Pytester, reader: Sandbox) -> Ask:
    """Run one test of that body, or several."""

    def run(*calls: str, arguments: tuple[str, ...] = (), mark: str = "") -> pytest.RunResult:
        write(pytester, *calls, mark=mark)
        return alone(*arguments)

    return run


def output(result: pytest.RunResult) -> str:
    return " ".join(result.stdout.str().replace("\nE   ", " ").split())


def answer(sandbox: Sandbox, **entry: object) -> None:
    """Let CodeAlive say of production.py what it pleases."""
    whole = {"identifier": f"acme/payments::{PRODUCTION}", **entry}
    sandbox.fault(FETCH, body={"artifacts": [whole]})


# What becomes of a test.


def test_source_that_holds_passes_and_is_on_record(
    each: Suite, pytester: pytest.Pytester, reader: Sandbox
) -> None:
    write(
        pytester,
        f'assert_source({RELEASED}, "{PRODUCTION}", contains="DEBUG = False")',
        f'(one,) = assert_source({RELEASED}, "{PRODUCTION}", lacks="DEBUG = True")\n'
        '    assert (one.pin.value, one.branch, one.data_source) == ("branch", "main", "payments")',
    )
    result = each("-v")
    result.assert_outcomes(passed=2)
    assert "2 source checks: 2 hold; 2 pinned to a branch" in output(result)
    assert [request.path for request in reader.requests].count(FETCH) == 1
    assert [request.path for request in reader.requests].count("/api/datasources/ready") == 1


def test_source_that_does_not_hold_fails_and_says_where(
    each: Suite, pytester: pytest.Pytester, reader: Sandbox
) -> None:
    write(
        pytester,
        f'assert_source({RELEASED}, "{PRODUCTION}", "src/payments/settings/base.py",\n'
        '        lacks="DEBUG = False")',
    )
    result = each()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E   assert_source: 1 of 2 files of acme/payments does not hold",
            f"E     {PRODUCTION}",
            "E       must not contain 'DEBUG = False'",
            "E         2 | from payments.settings.base import *",
            "E         3 |",
            "E       > 4 | DEBUG = False",
            "E         5 | ALLOWED_HOSTS = *",
            "E     holds: src/payments/settings/base.py",
            "E   artifact  payments e49d561, commit 7416f87 (main)",
            "E   pin       branch",
            "E   commit    https://github.com/acme/payments/commit/7416f878*",
        ]
    )
    assert "2 source checks: 1 does not hold, 1 holds" in output(result)
    assert "SPDX" not in result.stdout.str()


def test_no_xfail_mark_excuses_it(ask: Ask) -> None:
    result = ask('assert_source("acme/policies", "NOTICE")', mark="@pytest.mark.xfail")
    result.assert_outcomes(failed=1)


def test_a_failure_that_a_test_swallows_is_loud(ask: Ask) -> None:
    result = ask('with pytest.raises(AssertionError): assert_source("acme/policies", "NOTICE")')
    result.assert_outcomes(passed=1)
    assert "acme/policies::NOTICE is not as asserted, but test_" in output(result)


@pytest.mark.parametrize("wish", ["", ', lacks="x"', ', contains="x"'])
def test_a_file_that_is_not_found_fails_an_absence_too(ask: Ask, wish: str) -> None:
    result = ask(f'assert_source("acme/policies", "NOTICE"{wish})')
    result.assert_outcomes(failed=1)
    assert "was not found, or this CODEALIVE_API_KEY may not read it" in output(result)
    assert "Asked for acme/policies::NOTICE" in output(result)


@pytest.mark.parametrize(
    "entry",
    [
        {"found": False, "content": "harmless"},
        {"content": None},
        {"found": True, "content": None},
        {"found": True, "content": ""},
        {"found": True, "content": "harmless", "contentByteSize": 9000},
    ],
    ids=["not found", "no flag", "null", "empty", "cut"],
)
def test_what_nobody_saw_can_not_lack_anything(
    ask: Ask, reader: Sandbox, entry: dict[str, object]
) -> None:
    answer(reader, **entry)
    result = ask(
        f'assert_source("acme/payments", "{PRODUCTION}", lacks="x", data_source="payments")'
    )
    result.assert_outcomes(failed=1)


def test_an_identifier_that_does_not_come_back_is_not_found(ask: Ask, reader: Sandbox) -> None:
    reader.fault(FETCH, body={"artifacts": []})
    ask('assert_source("acme/policies", "a", "b", lacks="x")').assert_outcomes(failed=1)


def test_an_answer_about_another_file_is_an_error(ask: Ask, reader: Sandbox) -> None:
    reader.fault(FETCH, body={"artifacts": [{"identifier": "acme/policies::b", "content": "x"}]})
    result = ask('assert_source("acme/policies", "a", contains="x")')
    result.assert_outcomes(errors=1)
    assert "no verdict (mismatch)" in output(result)


def test_a_line_number_is_the_real_one_of_a_symbol(ask: Ask) -> None:
    symbol = "src/payments/webhooks.py::verify(body: bytes, signature: str)"
    result = ask(f'assert_source({RELEASED}, "{symbol}", lacks="compare_digest")')
    result.assert_outcomes(failed=1)
    assert "> 8 | return hmac.compare_digest(expected, signature)" in output(result)


def test_no_first_line_means_the_first(ask: Ask, reader: Sandbox) -> None:
    answer(reader, content="x\nEVIL\n", startLine=None)
    result = ask(f'assert_source({RELEASED}, "{PRODUCTION}", lacks="EVIL")')
    assert "> 2 | EVIL" in output(result)


def test_hostile_text_and_names_harm_no_report(
    ask: Ask, reader: Sandbox, pytester: pytest.Pytester
) -> None:
    name = 'src/q\\"uo<te>.py::Класс(x: int)'
    content = "if x < 10 && y:\n    '</failure>]]>\x00\x1b[2J\u202e'\nEVIL\n"
    identifier = "acme/policies::" + name.replace("\\", "")
    reader.fault(FETCH, body={"artifacts": [{"identifier": identifier, "content": content}]})
    junit = ("--junit-xml=junit.xml",)
    result = ask(f'assert_source("acme/policies", "{name}", lacks="EVIL")', arguments=junit)
    result.assert_outcomes(failed=1)
    tree = ET.parse(pytester.path / "junit.xml")
    (failure,) = tree.iter("failure")
    assert "EVIL" in (failure.get("message") or "")
    assert "Класс(x: int)" in (failure.text or "")
    assert "\x1b[2J" not in result.stdout.str()
    assert "\u202e" not in result.stdout.str()


def test_a_mistaken_call_is_an_error_at_that_test(ask: Ask) -> None:
    result = ask(
        'assert_source("acme/payments")',
        'assert_source("acme/payments", "a", contains=[])',
        'assert_source("acme/payments", "a", lacks=tuple(text for text in []))',
        'assert_source("acme/payments", "a", lacks=None)',
        'assert_source("acme/payments", "a", sha256="x")',
        'assert_source("", "a")',
        'assert_source("acme/payments::a", "a")',
        'assert_source(None, "a")',
        'assert_source("acme/payments", "a", data_source="")',
    )
    result.assert_outcomes(errors=9)
    assert output(result).count("no verdict (bad_source_check)") == 8


# The bridge from Kosli.


@pytest.mark.parametrize(
    "where",
    [
        RELEASED,
        f'kosli_client.assert_artifact("{PAYMENTS}", environment="prod", flow="payments-ci")',
        f'kosli_client.artifact("{PAYMENTS}", "payments-ci")',
    ],
    ids=["assert_compliant", "assert_artifact", "artifact"],
)
def test_where_is_whatever_kosli_gave(ask: Ask, where: str) -> None:
    result = ask(f'assert_source({where}, "{PRODUCTION}", contains="DEBUG = False")')
    result.assert_outcomes(passed=1)
    assert "1 source check: 1 holds; 1 pinned to a branch" in output(result)


def test_where_may_be_the_artifact_of_a_marked_test(
    alone: Suite, pytester: pytest.Pytester, reader: Sandbox
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{PAYMENTS}", environment="prod", flow="payments-ci")
        def test_it(kosli_artifact, assert_source):
            assert_source(kosli_artifact, "{PRODUCTION}", contains="DEBUG = False")
    """)
    alone().assert_outcomes(passed=1)


def test_an_artifact_of_two_repositories_is_not_guessed_at(ask: Ask) -> None:
    verdict = f'assert_compliant("sha256:{PAYMENTS}", environment="prod")'
    result = ask(f'assert_source({verdict}, "{PRODUCTION}", lacks="x")')
    result.assert_outcomes(errors=1)
    assert "payments-ci (acme/payments), releases (acme/releases)" in output(result)


def test_an_artifact_without_its_flows_is_refused(ask: Ask) -> None:
    result = ask(f'assert_source({RELEASED}.artifact, "{PRODUCTION}")')
    result.assert_outcomes(errors=1)
    assert "does not say which flow holds it" in output(result)


def test_an_artifact_of_no_known_repository_is_refused(ask: Ask, reader: Sandbox) -> None:
    def forget(details: dict[str, object]) -> None:
        details["repo_info"] = None

    reader.fault("artifacts/*", lie=forget)
    result = ask(f'assert_source({RELEASED}, "{PRODUCTION}")')
    result.assert_outcomes(errors=1)
    assert "no verdict (no_repository)" in output(result)


def test_a_policy_file_is_proven_by_its_fingerprint(ask: Ask, reader: Sandbox) -> None:
    policy = reader.data.artifacts["prod-policy"].fingerprint
    result = ask(
        f'it = kosli_client.artifact("{policy}", "policies-ci")\n'
        '    assert_source(it, "policies/prod.rego", sha256=it.fingerprint)',
        f'assert_source("acme/policies", "policies/prod.rego", sha256="{"a" * 64}")',
    )
    result.assert_outcomes(passed=1, failed=1)


def test_the_fingerprint_of_an_image_is_compared_with_no_file(ask: Ask) -> None:
    result = ask(f'assert_source({RELEASED}, "{PRODUCTION}", sha256="{PAYMENTS}")')
    result.assert_outcomes(errors=1)
    assert "so its fingerprint is the sha256 of none" in output(result)


# Which index.


@pytest.mark.parametrize(
    ("where", "path"),
    [(RELEASED, PRODUCTION), ('"acme/policies"', "policies/prod.rego")],
    ids=["named", "not named"],
)
@pytest.mark.parametrize(
    "others",
    [[{"name": "fork", "id": "99"}], [{"id": "99"}], [{"name": "fork"}, {"name": "other"}]],
    ids=["another", "another id", "several"],
)
def test_source_of_another_index_than_the_chosen_is_no_verdict(
    ask: Ask,
    reader: Sandbox,
    where: str,
    path: str,
    others: list[dict[str, str]],
) -> None:
    repo = "acme/payments" if path == PRODUCTION else "acme/policies"
    told = {"identifier": f"{repo}::{path}", "found": True, "content": "x = 1"}
    reader.fault(FETCH, body={"artifacts": [told], "dataSources": others})
    result = ask(f'assert_source({where}, "{path}", contains="x = 1")')
    result.assert_outcomes(errors=1)
    assert "no verdict (mismatch)" in output(result)
    assert "CodeAlive answered from data source" in output(result)


def test_source_of_the_chosen_index_is_believed(ask: Ask, reader: Sandbox) -> None:
    told = {"identifier": f"acme/payments::{PRODUCTION}", "content": "x = 1"}
    reader.fault(FETCH, body={"artifacts": [told], "dataSources": [{"name": "payments"}]})
    result = ask(f'assert_source({RELEASED}, "{PRODUCTION}", contains="x = 1")')
    result.assert_outcomes(passed=1)
    assert "1 pinned to a branch" in output(result)


def test_another_branch_fails_unless_it_is_named(ask: Ask) -> None:
    details = f'kosli_client.artifact("{LEDGER}", "ledger-ci")'
    result = ask(
        f'assert_source({details}, "ledger/post.py", contains="once")',
        f'assert_source({details}, "ledger/post.py", contains="once", data_source="ledger")',
    )
    result.assert_outcomes(failed=1, passed=1)
    assert "indexes acme/ledger on branch main, but ledger d4d1d5d was built from hotfix" in (
        output(result)
    )


def test_two_data_sources_are_told_with_both_cures(ask: Ask) -> None:
    result = ask(f'assert_source("acme/payments", "{PRODUCTION}")')
    result.assert_outcomes(errors=1)
    text = output(result)
    assert "payments (main), payments-release (release/1.4)" in text
    assert 'Add data_source="payments-release"' in text
    assert "codealive_data_sources" in text


def test_an_ini_line_settles_what_repository_and_branch_do_not(
    ask: Ask, pytester: pytest.Pytester
) -> None:
    pytester.makeini("[pytest]\ncodealive_data_sources =\n  acme/payments = payments-release\n")
    result = ask(
        f'assert_source("acme/payments", "{PRODUCTION}", contains="DEBUG = True")',
        f'assert_source({RELEASED}, "{PRODUCTION}", contains="DEBUG = False")',
    )
    result.assert_outcomes(passed=2)


def test_a_strict_pin_refuses_what_is_tied_to_no_artifact(
    ask: Ask, pytester: pytest.Pytester
) -> None:
    pytester.makeini("[pytest]\ncodealive_strict_pin = true\n")
    result = ask(
        'assert_source("acme/policies", "policies/prod.rego")',
        f'assert_source({RELEASED}, "{PRODUCTION}")',
    )
    result.assert_outcomes(failed=1, passed=1)
    assert "nothing ties what is indexed to what was built (pin none)" in output(result)


def test_an_unknown_pin_passes_with_one_line_in_the_summary(
    each: Suite, pytester: pytest.Pytester, reader: Sandbox
) -> None:
    call = 'assert_source("acme/policies", "policies/prod.rego", lacks="%s")'
    write(pytester, call % "one", call % "two")
    result = each()
    result.assert_outcomes(passed=2)
    assert result.stdout.str().count("some source is tied to no artifact's branch") == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("codealive_strict_pin = perhaps", "is not a boolean"),
        ("codealive_data_sources =\n  acme/payments", "is not OWNER/REPO = NAME"),
        ("codealive_data_sources =\n  a/b = c\n  a/b = d", "a repository is named twice"),
    ],
)
def test_an_ini_line_that_can_not_be_read_is_an_error(
    ask: Ask, pytester: pytest.Pytester, line: str, why: str
) -> None:
    pytester.makeini(f"[pytest]\n{line}\n")
    result = ask('assert_source("acme/policies", "policies/prod.rego")')
    result.assert_outcomes(errors=1)
    assert why in output(result)
    assert "codealive_" in output(result)


# What goes wrong.


def test_without_a_key_it_is_an_error_that_says_how_to_get_one(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CODEALIVE_API_KEY")
    result = ask('assert_source("acme/policies", "policies/prod.rego")')
    result.assert_outcomes(errors=1)
    assert "no verdict (no_codealive_key)" in output(result)
    assert "Make a key in CodeAlive and set CODEALIVE_API_KEY" in output(result)


@pytest.mark.parametrize(
    "body",
    [
        {"message": "it is broken"},
        {"error": {"code": "x", "message": "it is broken"}},
        {"type": "about:blank", "title": "Broken", "detail": "it is broken"},
        "it is broken",
        b"",
    ],
    ids=["flat", "nested", "problem", "plain", "empty"],
)
def test_an_error_of_any_shape_is_an_error(ask: Ask, reader: Sandbox, body: object) -> None:
    reader.fault(FETCH, status=400, body=body)
    result = ask('assert_source("acme/policies", "policies/prod.rego")')
    result.assert_outcomes(errors=1)
    assert "no verdict (codealive_bad_request)" in output(result)
    assert "it is broken" in output(result) or not body


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, {"message": "Invalid or missing API key"}, "codealive_unauthorized"),
        (409, {"detail": "matches: Name='a' Id='1', Name='b' Id='2'"}, "ambiguous_data_source"),
        (422, {"detail": "indexing", "requestId": "req-7"}, "codealive_not_ready"),
        (500, {"detail": "no", "retryable": False}, "codealive_error"),
        (200, {"results": []}, "malformed"),
    ],
)
def test_what_would_not_change_is_asked_once(
    ask: Ask, reader: Sandbox, status: int, body: object, code: str
) -> None:
    reader.fault(FETCH, status=status, body=body)
    result = ask('assert_source("acme/policies", "policies/prod.rego")')
    result.assert_outcomes(errors=1)
    assert f"no verdict ({code})" in output(result)
    assert [request.path for request in reader.requests].count(FETCH) == 1
    assert "req-7" in output(result) or code != "codealive_not_ready"


def test_an_outage_is_an_error(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEALIVE_BASE_URL", "http://127.0.0.1:9")
    result = ask('assert_source("acme/policies", "policies/prod.rego")')
    result.assert_outcomes(errors=1)
    assert "no verdict (unreachable)" in output(result)


def test_more_than_a_thousand_files_are_fetched_in_batches_and_progress_is_shown(
    ask: Ask, reader: Sandbox
) -> None:
    paths = '*[f"policies/{number}.rego" for number in range(1020)]'
    result = ask(f'assert_source("acme/policies", {paths})')
    result.assert_outcomes(failed=1)
    assert "codealive: 50 of 51 requests answered" in result.stdout.str()
    assert [request.path for request in reader.requests].count(FETCH) == 51
    assert "and 1000 more files" in output(result)


def test_a_used_up_rate_limit_is_not_run_into_again_and_again(ask: Ask, reader: Sandbox) -> None:
    reader.fault(FETCH, status=429, headers={"X-RateLimit-Reset": str(time.time() + 900)})
    paths = '*[f"policies/{number}.rego" for number in range(1020)]'
    result = ask(f'assert_source("acme/policies", {paths})')
    result.assert_outcomes(errors=1)
    assert "no verdict (codealive_rate_limit)" in output(result)
    assert [request.path for request in reader.requests].count(FETCH) <= LANES


# Modes.


def test_a_dry_run_asks_nothing_and_skips(
    each: Suite, pytester: pytest.Pytester, reader: Sandbox
) -> None:
    pytester.makepyfile('def test_it(assert_source): assert_source("acme/policies", "NOTICE")')
    result = each("--kosli-dry-run")
    result.assert_outcomes(skipped=1)
    assert reader.requests == []
    assert "1 source check: 1 not checked" in output(result)


def test_what_was_recorded_is_replayed_without_key_or_socket(
    each: Suite,
    pytester: pytest.Pytester,
    reader: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(pytester, f'assert_source({RELEASED}, "{PRODUCTION}", contains="DEBUG = False")')
    each("--kosli-record").assert_outcomes(passed=1)
    kept = list((pytester.path / "cassettes" / "codealive").rglob("*.yaml"))
    assert len(kept) == 2
    assert all(reader.key not in path.read_text() for path in kept)
    for name in ("CODEALIVE_API_KEY", "CODEALIVE_BASE_URL", "KOSLI_API_TOKEN", "KOSLI_HOST"):
        monkeypatch.delenv(name)
    reader.reset()
    result = each("--kosli-offline")
    result.assert_outcomes(passed=1)
    assert reader.requests == []
    assert "REPLAY of source recorded 20" in output(result)


def test_what_was_not_recorded_is_an_error_offline(ask: Ask, reader: Sandbox) -> None:
    ask('assert_source("acme/policies", "policies/prod.rego")', arguments=("--kosli-record",))
    result = ask('assert_source("acme/policies", "NOTICE")', arguments=("--kosli-offline",))
    result.assert_outcomes(errors=1)
    assert "no verdict (cassette_missing)" in output(result)


def test_a_source_check_is_no_verdict_on_an_artifact(ask: Ask) -> None:
    call = 'assert_source("acme/policies", "policies/prod.rego")'
    result = ask(call, arguments=("--kosli-require", "1"))
    assert result.ret == 1
    assert "only 0 got a live, passing verdict" in output(result)


def test_the_mark_expression_selects_tests_that_read_source(ask: Ask) -> None:
    call = 'assert_source("acme/policies", "policies/prod.rego")'
    ask(call, arguments=("-m", "kosli")).assert_outcomes(passed=1)


def test_the_client_is_a_fixture_that_asks_each_thing_once(
    alone: Suite, pytester: pytest.Pytester, reader: Sandbox
) -> None:
    pytester.makepyfile("""
        import pytest

        POLICY = "acme/policies::policies/prod.rego"

        @pytest.mark.parametrize("again", [1, 2])
        def test_it(codealive_client, again):
            assert codealive_client.fetch(POLICY)[POLICY].found
            assert codealive_client.data_sources()
    """)
    alone().assert_outcomes(passed=2)
    assert len(reader.requests) == 2


def test_a_fixture_of_any_scope_may_stand_on_it(
    alone: Suite, pytester: pytest.Pytester, reader: Sandbox
) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.fixture(scope="session")
        def deploy(assert_source):
            assert_source("acme/policies", "NOTICE")

        def test_it(deploy): ...
    """)
    result = alone()
    result.assert_outcomes(failed=1)


def test_who_does_not_use_it_imports_none_of_it_and_needs_no_key(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(
        "import os, sys\n"
        "class Watched(dict):\n"
        "    def get(self, key, default=None):\n"
        "        assert not str(key).startswith('CODEALIVE')\n"
        "        return super().get(key, default)\n"
        "def test_it():\n"
        "    loaded = [name for name in sys.modules if name.startswith('pytest_kosli')]\n"
        "    assert 'pytest_kosli.plugin' in loaded\n"
        "    for name in ('source', 'assert_source', 'api.codealive', 'report.sources'):\n"
        "        assert f'pytest_kosli.{name}' not in loaded\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stdout
