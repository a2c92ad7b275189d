"""Take each check out of the rooms that distrust, in turn, and see whether a test notices.

``python -m tests.mutation [ROOM[:FUNCTION] ...]``; docs/testing.md tells what is taken out, what
came of it, and which survivors do not matter: one that does not stand there fails the run.
Mutants live in memory, in processes of their own: no file is changed.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib
import itertools
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FunctionType

import pytest

ROOT = Path(__file__).parents[1]
LIES = ["tests/test_search.py", "tests/test_lies.py"]
LATE = [f"tests/test_waiting.py::test_what_{rest}" for rest in (
    "is_missing_or_incomplete_is_late", "has_failed_or_is_settled_is_not_late", "is_unknown_is_late"
)]  # fmt: skip
SCRUBBED = [f"tests/test_hooks.py::test_{rest}" for rest in (
    "what_a_verdict_hangs_on_may_not_be_scrubbed", "what_discovery_hangs_on_may_not_be_scrubbed",
    "a_refusal_stays_the_refusal_it_was"
)]  # fmt: skip
WIRE = ["tests/test_ledger.py", "tests/test_weather.py"]
IMAGES = ["tests/test_fingerprint_fixture.py"]
# A room, the tests that hold it, and the wider ones for what those do not catch.
ROOMS: dict[str, tuple[list[str], list[str]]] = {
    "judge.py": (["tests/test_judge.py", *LATE], LIES),
    "answers.py": (["tests/test_judge.py", "tests/test_client.py"], LIES),
    "api/kosli.py": (["tests/test_client.py"], LIES),
    "api/host.py": (["tests/test_client.py", "tests/api/test_http.py"], LIES),
    "api/http.py": (["tests/api/test_http.py", "tests/api/test_surroundings.py"], WIRE),
    "api/traffic.py": (["tests/api/test_http.py", "tests/api/test_surroundings.py"], WIRE),
    "api/cassettes.py": (["tests/api/test_cassettes.py"], LIES),
    "api/replay.py": (["tests/api/test_replay.py", *SCRUBBED], ["tests/test_hooks.py"]),
    "api/codealive.py": (["tests/test_codealive.py"], ["tests/test_assert_source.py"]),
    "api/registry.py": (["tests/api/test_registry.py"], IMAGES),
    "api/credentials.py": (["tests/api/test_registry.py"], IMAGES),
    "api/engine.py": (["tests/api/test_engine.py"], IMAGES),
}
EXCUSES = ROOT / "docs" / "testing.md"
HANGS = "it hangs"
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one check taken out: in which function, at which line, and what was done."""

    where: str
    line: int
    what: str
    code: CodeType


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield the mutants of a module's functions; what runs at its import stays as it is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [(where, node) for where, node in _walk(tree) if where]
    weaker = {id(inner) for _, node in nodes for inner in _weaker(node)}
    for where, node in nodes:
        for old, new, shown in _changes(node) if id(node) not in weaker else ():
            _Swap(old, ast.copy_location(new, old)).visit(tree)
            ast.fix_missing_locations(tree)
            code = compile(tree, str(path), "exec", dont_inherit=True)
            what = f"{_line(old)} -> {_line(shown)}"
            yield Mutant(where, old.lineno, what, code)
            _Swap(new, old).visit(tree)


Change = tuple[ast.expr, ast.expr, ast.expr] | tuple[ast.stmt, ast.stmt, ast.stmt]


def _changes(node: ast.AST) -> Iterator[Change]:
    """Yield what stands in a node, what to put there instead, and how to show that."""
    for old, new in _tests_changed(node):
        yield old, new, new
    if isinstance(node, ast.Raise) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        # Not left out: without its ``super()``, a method's code would not fit the method.
        yield node, ast.If(ast.Constant(False), [node], []), ast.Pass()


def _tests_changed(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    match node:
        case ast.If(test=test, body=[*_, ast.Raise()]) | ast.While(test=test):
            yield test, ast.Constant(False)
        case ast.If(test=test) | ast.IfExp(test=test):
            yield test, ast.Constant(False)
            yield test, ast.Constant(True)
        case ast.comprehension(ifs=tests):
            yield from ((test, ast.Constant(True)) for test in tests)
        case ast.BoolOp(op=op, values=values) if not _is_default(node):
            for rest in itertools.combinations(values, len(values) - 1):
                yield node, rest[0] if len(rest) == 1 else ast.BoolOp(op, list(rest))
        case ast.Compare():
            yield node, ast.UnaryOp(ast.Not(), node)


def _is_default(node: ast.BoolOp) -> bool:
    """Return whether this is no check but says what stands for something absent: ``x or ""``."""
    last = node.values[-1]
    empty = isinstance(last, ast.Constant) or ast.unparse(last) in ("()", "[]", "{}")
    return isinstance(node.op, ast.Or) and empty


def _weaker(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is not changed, because changes of ``node`` itself are harder to notice."""
    if isinstance(node, ast.BoolOp):
        yield from (one for one in node.values if isinstance(one, ast.Compare))
    elif isinstance(node, ast.comprehension):
        yield from (test for test in node.ifs if isinstance(test, ast.Compare))
    elif isinstance(node, ast.If | ast.IfExp | ast.While) and isinstance(node.test, ast.Compare):
        yield node.test
    if isinstance(node, ast.If):
        yield from (one for one in node.body if len(node.body) == 1 or isinstance(one, ast.Raise))


class _Swap(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def _walk(node: ast.AST, where: str = "", within: bool = False) -> Iterator[tuple[str, ast.AST]]:
    """Yield what is in functions, with the name of the function."""
    for child in ast.iter_child_nodes(node):
        inner = where
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            inner = f"{where}.{child.name}".lstrip(".")
        inside = within or isinstance(child, ast.FunctionDef)
        yield inner if within else "", child
        yield from _walk(child, inner, inside)


def _line(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 120 else f"{text[:117]}..."


class Hunter:
    """A pytest plugin that runs the collected tests once for each mutant, each in a new process.

    The quickest go first; the first that fails twice in a row catches the mutant. Its name is sent
    on, or an empty one for a survivor.
    """

    def __init__(self, path: Path, hunted: Sequence[Mutant], fates: Connection) -> None:
        self._path, self._hunted, self._fates = path, hunted, fates
        self._seconds: dict[str, float] = {}
        self._failed = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if self._path.is_relative_to(ROOT):
            # Runs inside of tests then share it, instead of loading one of their own.
            importlib.import_module(".".join(self._path.relative_to(ROOT).with_suffix("").parts))
        limit = 0.0
        for _ in range(2):  # Once to learn which are quick, and once in that order.
            begin = time.monotonic()
            failed, seconds = self._apart(session, None, None)
            if failed:
                raise pytest.UsageError(f"the tests fail without a mutant: {failed}")
            limit = 3 * (time.monotonic() - begin) + 20
            session.items.sort(key=lambda item: seconds[item.nodeid])
        for mutant in self._hunted:
            self._fates.send(self._apart(session, mutant.code, limit)[0])
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self._failed = report.nodeid

    def _apart(
        self, session: pytest.Session, code: CodeType | None, limit: float | None
    ) -> tuple[str, dict[str, float]]:
        receiver, sender = _FORK.Pipe(duplex=False)
        process = _FORK.Process(target=self._run, args=(session, code, sender))
        process.start()
        sender.close()
        found: tuple[str, dict[str, float]] = HANGS, {}
        if receiver.poll(limit):
            found = receiver.recv()
        os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
        return found

    def _run(self, session: pytest.Session, code: CodeType | None, sender: Connection) -> None:
        os.setsid()
        session.config.pluginmanager.unregister(name="terminalreporter")
        if code is not None:
            put(self._path, code)
        following = [*session.items[1:], None]
        for item, after in zip(session.items, following, strict=True):
            for _ in range(2):
                self._failed = ""
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
                if not self._failed:
                    break
            else:
                break
        sender.send((self._failed, self._seconds))
        time.sleep(60)  # The end comes from outside, also to what tests have left running.


def put(path: Path, code: CodeType) -> None:
    """Give the functions of a loaded module the code that they have in a mutant.

    Raises LookupError when there are none: these tests do not load that very file.
    """
    codes = {(one.co_qualname, one.co_firstlineno): one for one in _codes(code)}
    functions = [one for one in gc.get_objects() if isinstance(one, FunctionType)]
    found = [one for one in functions if one.__code__.co_filename == str(path)]
    if not found:
        raise LookupError(f"{path} is not loaded")
    for function in found:
        old = function.__code__
        function.__code__ = codes[old.co_qualname, old.co_firstlineno]


def _codes(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _codes(inner)


def hunt(path: Path, tests: Sequence[str], hunted: Sequence[Mutant]) -> Iterator[str]:
    """Yield what catches each mutant of a module: nothing for a survivor of all these tests."""
    receiver, sender = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_session, args=(path, tests, hunted, sender))
    process.start()
    sender.close()
    try:
        for _ in hunted:
            yield receiver.recv()
    except EOFError:
        raise SystemExit(f"{path.name}: the tests say above what is wrong") from None
    finally:
        process.join()


def _session(path: Path, tests: Sequence[str], hunted: Sequence[Mutant], fates: Connection) -> None:
    pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[Hunter(path, hunted, fates)])


def main() -> int:
    """Hunt in the rooms that are named, else in all; return 1 for a survivor without an excuse."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="ROOM[:FUNCTION]", default=list(ROOMS))
    os.nice(10)
    os.chdir(ROOT)
    excuses = re.findall(r"^- (`.*?`, `.*?`: `.*?`)", EXCUSES.read_text(encoding="utf-8"), re.M)
    rows, wrong = [], list[str]()
    for room, _, function in (named.partition(":") for named in parser.parse_args().rooms):
        path = ROOT / "pytest_kosli" / room
        fates = {one: "" for one in mutants(path) if function in ("", one.where)}
        for tests in ROOMS[room]:
            left = [mutant for mutant, fate in fates.items() if not fate]
            for mutant, fate in zip(left, hunt(path, tests, left) if left else (), strict=True):
                fates[mutant] = fate
                print(f"{room}:{mutant.line} {mutant.what}: {fate or 'survives'}", flush=True)
        alive = {f"`{room}`, `{one.where}`: `{one.what}`" for one in fates if not fates[one]}
        known = {one for one in excuses if one.startswith(f"`{room}`") and not function}
        wrong += [f"survives: {one}" for one in sorted(alive - set(excuses))]
        wrong += [f"needs no excuse: {one}" for one in sorted(known - alive)]
        ends = [bool(fate) + (fate == HANGS) for fate in fates.values()]
        row = (f"`{room}`", len(ends), ends.count(1), ends.count(2), ends.count(0))
        rows.append(f"| {' | '.join(map(str, row))} |")
    print("\n| room | mutants | caught | hang | survive |\n| --- | --- | --- | --- | --- |")
    print(*rows, "", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
