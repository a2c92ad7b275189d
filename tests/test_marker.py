"""What a mark may say, how marks stack, late marks, and the ids of the tests that are made."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest

from pytest_kosli import marker, plugin
from pytest_kosli.discovery import Check
from pytest_kosli.model import Artifact, Origin
from tests import reference
from tests.conftest import Suite
from tests.sandbox import Sandbox
from tests.story import CRON, LEDGER, PAYMENTS, WEB

REF = f'"sha256:{PAYMENTS}"'
WRONG = {
    "unknown keyword": (f'{REF}, enviroment="prod"', "unexpected keyword argument 'enviroment'"),
    "a number for a reference": ('7, environment="prod"', "7 is not a reference"),
    "an empty reference": ('"", environment="prod"', "'' is not a reference"),
    "a list of references": (f'[{REF}], environment="prod"', "one by one: kosli(*references)"),
    "a set of references": (f'{REF}, {{{REF}}}, environment="prod"', "one by one: kosli(*ref"),
    "a number for an environment": (f"{REF}, environment=7", "environment=7 is not a name"),
    "an empty environment": (f'{REF}, environment=" "', "environment=' ' is not a name"),
    "an empty policy": (f'{REF}, policy=""', "policy: '' is not a name"),
    "no policies": (f"{REF}, policy=[]", "policy=[] names no policy"),
    "a false policy": (f"{REF}, policy=False", "policy=False is neither a name nor a list"),
    "an empty flow": (f'{REF}, flow=""', "flow='' is not a name"),
    "an empty snapshot": ('snapshot=""', "snapshot='' is not a name"),
    "an empty repo": ('repo=""', "repo='' is not a name"),
    "snapshots": ('snapshot=["prod"]', "snapshot=['prod'] is not a name"),
    "without nothing": ('snapshot="prod", without=None', "without=None is neither"),
    "without an empty text": ('snapshot="prod", without=""', "without: '' is not a name"),
    "at least none": ('snapshot="prod", at_least=0', "at_least=0 would let a test pass"),
    "at least true": ('snapshot="prod", at_least=True', "at_least=True is not a number"),
    "at least minus one": ('snapshot="prod", at_least=-1', "at_least=-1 would let a test pass"),
    "at least a half": ('snapshot="prod", at_least=0.5', "at_least=0.5 is not a number"),
    "two scopes": (f'{REF}, environment="prod", policy="tested"', "named at once"),
    "a provider alone": (f'{REF}, provider="github", environment="prod"', "goes with repo="),
}


def test_a_wrong_mark_is_an_error_at_its_test_and_the_others_go_on(
    both: Suite, pytester: pytest.Pytester
) -> None:
    tests = "\n".join(
        f"@pytest.mark.kosli({arguments})\ndef test_wrong_{number}(): pass"
        for number, (arguments, _) in enumerate(WRONG.values())
    )
    pytester.makepyfile(
        f"import pytest\n{tests}\n"
        f"@pytest.mark.kosli({REF}, environment='prod')\ndef test_right(): pass"
    )
    result = both()
    result.assert_outcomes(errors=len(WRONG), passed=1)
    assert result.ret == 1
    told = re.sub(r"\s*\nE  *", " ", result.stdout.str())
    for number, (_, sentence) in enumerate(WRONG.values()):
        assert re.search(rf"test_wrong_{number}: [^\n]*{re.escape(sentence)}", told), sentence
    assert "INTERNALERROR" not in told
    assert "The mark is kosli(*references, snapshot=None" in told


def test_a_reference_that_names_nothing_is_an_error_at_its_test(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("dist/app.whl", environment="prod")
        def test_missing_file(): pass

        @pytest.mark.kosli("sha256:ABC", environment="prod")
        def test_short_digest(): pass

        @pytest.mark.kosli({REF}, environment="prod")
        def test_right(): pass
    """)
    result = both()
    result.assert_outcomes(errors=2, passed=1)
    assert "assert_compliant" in result.stdout.str()


def test_the_mark_that_pytest_shows_is_the_mark_that_is_read() -> None:
    assert plugin.MARK.startswith(f"kosli{marker.SCHEMA}: ")


def test_marks_stack_in_two_units(alone: Suite, online: Sandbox, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
        import pytest

        pytestmark = pytest.mark.kosli({REF}, environment="prod", flow="payments-ci")

        def test_module(): pass

        @pytest.mark.kosli(environment="staging")
        class TestIt:
            def test_class(self): pass

            @pytest.mark.kosli("sha256:{WEB}")
            def test_function(self): pass

            @pytest.mark.kosli(policy="tested")
            def test_scope(self): pass
    """)
    alone().assert_outcomes(passed=4)
    assert sorted((request.path[-64:], request.query) for request in online.requests) == sorted(
        [
            (PAYMENTS, (("environment_name", "prod"), ("flow_name", "payments-ci"))),
            (PAYMENTS, (("environment_name", "staging"),)),
            (WEB, (("environment_name", "staging"),)),
            (PAYMENTS, (("policy_name", "tested"),)),
        ]
    )


def test_two_marks_on_one_node_may_name_different_units(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli({REF})
        @pytest.mark.kosli(environment="prod")
        def test_it(): pass

        @pytest.mark.kosli({REF}, environment="prod")
        @pytest.mark.kosli("sha256:{WEB}")
        def test_sources(): pass

        @pytest.mark.kosli({REF}, environment="prod")
        @pytest.mark.kosli(environment="staging")
        def test_scopes(): pass
    """)
    result = alone()
    result.assert_outcomes(passed=1, errors=2)
    told = re.sub(r"\s*\nE  *", " ", result.stdout.str())
    assert "test_sources: two marks on one node both name artifacts" in told
    assert "test_scopes: two marks on one node both name a scope" in told


LATE = {
    "modifyitems": """
        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(MARK)
    """,
    "itemcollected": """
        def pytest_itemcollected(item):
            item.add_marker(MARK)
    """,
}


@pytest.mark.parametrize("hook", LATE.values(), ids=LATE)
def test_a_late_mark_is_judged_on_all_its_artifacts(
    both: Suite, online: Sandbox, pytester: pytest.Pytester, hook: str
) -> None:
    mark = f"pytest.mark.kosli({REF}, 'sha256:{WEB}', 'sha256:{CRON}', environment='prod')"
    pytester.makeconftest(f"import pytest\nMARK = {mark}\n{dedent(hook)}")
    pytester.makepyfile("def test_it(): raise RuntimeError('the body ran')")
    result = both()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E   2 artifacts are refused", "*0722a81*", "*406064b*"])
    assert len([one for one in online.requests if "/asserts/" in one.path]) == 3


def test_a_mark_on_a_parameter_is_judged(both: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
        import pytest

        def mark(digest):
            return pytest.mark.kosli("sha256:" + digest, environment="prod")

        @pytest.mark.parametrize("name", [
            pytest.param("payments", marks=mark("{PAYMENTS}")),
            pytest.param("web", marks=mark("{WEB}")),
        ])
        def test_it(name): pass
    """)
    both().assert_outcomes(passed=1, failed=1)


def test_a_unittest_method_is_judged_on_every_artifact(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile("""
        import pytest, unittest

        @pytest.mark.kosli(snapshot="staging")
        class TestIt(unittest.TestCase):
            def test_it(self): pass
    """)
    result = both("--kosli-require=3")
    result.assert_outcomes(passed=1)
    assert result.ret == 0


def test_a_test_that_runs_though_our_set_up_was_suppressed_is_an_error(
    both: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest("""
        import pytest

        def pytest_collection_modifyitems(config):
            name = next(
                name for name, plugin in config.pluginmanager.list_name_plugin()
                if getattr(plugin, "__name__", "") == "pytest_kosli.plugin"
            )
            plugin = config.pluginmanager.get_plugin(name)
            for impl in config.hook.pytest_runtest_setup.get_hookimpls():
                if impl.plugin is plugin:
                    impl.function = lambda item: None
    """)
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{WEB}", environment="prod")
        def test_it(): pass
    """)
    result = both()
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == 1
    assert "no verdict was asked for" in result.stdout.str()


def test_a_mark_that_comes_while_the_test_runs_is_an_error(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        def test_unmarked(request):
            request.applymarker(pytest.mark.kosli("sha256:{WEB}", environment="prod"))

        @pytest.mark.kosli({REF}, environment="prod")
        def test_marked(request):
            request.applymarker(pytest.mark.kosli("sha256:{WEB}"))
    """)
    alone().assert_outcomes(passed=2, errors=2)


# Ids.


def check(name: str, fingerprint: str = PAYMENTS, environment: str | None = None) -> Check:
    return Check(name, Artifact(fingerprint, name, Origin("snapshot"), environment))


def test_an_id_holds_name_digits_and_environment() -> None:
    assert marker.ids([check("ghcr.io/acme/payments:1.4.0", environment="prod")]) == [
        "payments-e49d561-prod"
    ]


@pytest.mark.parametrize(
    "name", ["a[b]", "../..", "é ü", "a::b", "\x1b[31m", "x" * 300, "💥", "a b"]
)
def test_an_id_holds_nothing_that_a_shell_or_pytest_reads(name: str) -> None:
    [ident] = marker.ids([check(name)])
    assert re.fullmatch(r"[A-Za-z0-9_.+-]+", ident)
    assert len(ident) <= 100


def test_ids_are_unique_also_for_two_names_of_one_digest() -> None:
    checks = [check("a/web"), check("b/web"), check("web-2"), check("c/web")]
    made = marker.ids(checks)
    assert len(set(made)) == len(made)


def test_an_id_works_in_k(both: Suite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.kosli(snapshot="staging")
        def test_live(): pass
    """)
    both("-k", "payments-e49d561-staging").assert_outcomes(
        passed=1, deselected=2 if "-n2" not in both.arguments else 0
    )
    listed = both("-k", "payments or mailer", "-v").stdout
    assert "test_live[payments-e49d561-staging]" in listed.str()
    assert "test_live[invoice-mailer-59a0d8e-staging]" in listed.str()


# The derived mark.

USERS = f"""
    import pytest

    def test_call(assert_compliant):
        assert_compliant({REF}, environment="prod")

    @pytest.mark.kosli({REF}, environment="prod")
    def test_marked(kosli_artifact):
        assert kosli_artifact.fingerprint == "{PAYMENTS}"

    def test_neither(): pass
"""


ADVICE = "if a test builds this file, let it call assert_compliant with it"


@pytest.mark.parametrize(
    ("reference", "advised"),
    [
        ("dist/app.whl", True),
        ("app=dist/app.whl", True),
        ("sha256:E49D", False),
        (f"sha256:{PAYMENTS.upper()}", False),
        ("web@sha1:12", False),
        ("bundle:one", False),
        ("oci:", False),
    ],
)
def test_who_names_what_may_be_built_later_is_told_where_to_ask(
    alone: Suite, pytester: pytest.Pytester, reference: str, advised: bool
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli({reference!r}, environment="prod")
        def test_mark(): pass

        @pytest.mark.kosli(environment="prod")
        def test_flag(): pass

        def test_call(assert_compliant):
            assert_compliant({reference!r}, environment="prod")
    """)
    result = alone(f"--kosli-artifact={reference}")
    result.assert_outcomes(errors=3)
    told = re.sub(r"\s*\nE  *", " ", result.stdout.str())
    assert told.count(ADVICE) == 2 * advised


def test_m_selects_the_tests_that_take_a_fixture_of_ours(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(USERS)
    alone("-m", "kosli", "--strict-markers").assert_outcomes(passed=2, deselected=1)
    alone("-m", "not kosli").assert_outcomes(passed=1, deselected=2)


def test_m_selects_a_test_for_each_fixture_that_there_is(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    names = [row[0].strip("`") for row in reference.fixtures()[1:]]
    pytester.makepyfile("\n".join(f"def test_{name}({name}): pass" for name in names))
    result = alone("-m", "kosli", "--collect-only", "-q")
    result.stdout.fnmatch_lines([f"*::test_{name}" for name in names])
    assert len(names) >= 7


def test_an_autouse_fixture_that_asks_marks_nothing(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.fixture(autouse=True, scope="session")
        def gate(assert_compliant):
            assert_compliant({REF}, environment="prod")

        def test_it(): pass
    """)
    alone("-m", "kosli").assert_outcomes(deselected=1)
    alone("-m", "not kosli").assert_outcomes(passed=1)


OWN = {
    "fixture": """
        @pytest.fixture
        def kosli_artifact():
            return None
    """,
    "parameter": "",
}


@pytest.mark.parametrize("how", OWN)
@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
def test_a_kosli_artifact_of_ones_own_is_an_error(
    alone: Suite, pytester: pytest.Pytester, how: str, marked: bool
) -> None:
    mark = f"@pytest.mark.kosli({REF}, environment='prod')\n" if marked else ""
    parameter = "@pytest.mark.parametrize('kosli_artifact', [None])\n" if not OWN[how] else ""
    pytester.makepyfile(
        f"import pytest\n{dedent(OWN[how])}\n{mark}{parameter}"
        "def test_it(kosli_artifact): raise RuntimeError('the body ran')"
    )
    result = alone()
    result.assert_outcomes(errors=1)
    assert "kosli_artifact of its own" in re.sub(r"\s*\nE  *", " ", result.stdout.str())


def test_a_scope_is_what_the_mark_says_and_the_settings_fill_in_none_of_it(
    alone: Suite, online: Sandbox, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.kosli("sha256:{LEDGER}", policy="tested")
        def test_it(): pass
    """)
    alone("--kosli-environment=prod", "--kosli-flow=ledger-ci").assert_outcomes(passed=1)
    assert online.requests[0].query == (("policy_name", "tested"),)


@pytest.mark.parametrize("place", ["conftest", "__init__"])
@pytest.mark.parametrize("marks", ["{}", "[pytest.mark.usefixtures(), {}]"], ids=["one", "more"])
@pytest.mark.parametrize("below", ["", "inner/"], ids=["beside", "above"])
def test_a_mark_where_pytest_reads_none_is_a_usage_error(
    both: Suite, pytester: pytest.Pytester, place: str, marks: str, below: str
) -> None:
    mark = marks.format(f'pytest.mark.kosli("sha256:{WEB}", environment="prod")')
    files = {"__init__": "", f"{below}__init__": "", f"{below}test_it": "def test_it(): pass\n"}
    files |= {place: f"import pytest\npytestmark = {mark}\n"}
    pytester.makepyfile(**{f"suite/{name}": text for name, text in files.items()})
    result = both()
    assert result.ret != 0
    told = "".join(result.outlines + result.errlines).replace("\nE  ", "")
    assert f"suite/{place}.py: pytest reads no pytestmark in a" in told


def test_a_package_that_makes_its_names_is_left_alone(
    alone: Suite, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(
        **{
            "suite/__init__": "def __getattr__(name): raise RuntimeError(name)\n",
            "suite/test_it": "def test_it(assert_compliant): pass\n",
        }
    )
    assert "INTERNALERROR" not in alone().stdout.str()
