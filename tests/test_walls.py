"""The floors of the house: which room may import which, and which libraries live where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_kosli

HOUSE = Path(pytest_kosli.__file__).parent

GROUND = {"model", "names", "text", "shape"}
CLIENT = GROUND | {"answers", "judge", "api.host", "fingerprint"}

# From the ground: a room, and the rooms it may import when it is loaded or later. What is not
# listed is a pytest room, on top: it may import all of these.
FLOORS: dict[str, set[str]] = {
    "model": set(),
    "names": set(),
    "shape": set(),
    "text": set(),  # other people's text made harmless: below every room that shows some
    "explain": GROUND,
    "answers": GROUND,
    "judge": GROUND | {"answers"},
    "source": GROUND | {"answers"},
    "drift": GROUND | {"explain", "fingerprint"},  # images are matched by their repository
    "fingerprint": GROUND,
    "manifest": GROUND,  # text in, images and places out: files and registries are others' business
    "api": CLIENT | {"source", "__init__"},  # source is to CodeAlive what the judge is to Kosli
    "waiting": {"model", "api.host"},  # replies and an exchange, and nothing of what they say
    "memo": set(),
    "ledger": CLIENT | {"api", "waiting", "memo"},
    "discovery": CLIENT | {"api"},
    "report": GROUND | {"explain", "__init__"},
    "configfile": {"options"},  # ~/.kosli.yml: read by settings alone
    "options": {"values"},  # the table
    # Checks of addresses are the client's, kinds of reports the reports'.
    "values": {"model", "names", "text", "api", "report"},
}

PYTEST_FREE = {"model", "names", "text", "shape", "explain", "answers", "judge", "source",
               "drift", "api", "fingerprint", "manifest", "waiting", "memo", "ledger", "discovery",
               "configfile", "values"}  # fmt: skip
LIBRARIES = {
    "requests": {"api.http"},
    "urllib3": {"api.http"},
    "vcr": {"api.cassettes"},
    "allure": {"neighbours"},
    "pytest_html": {"neighbours"},
}


def room(path: Path) -> str:
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "__init__"


def floor(name: str) -> str:
    return name.split(".")[0]


ROOMS = {room(path): path for path in sorted(HOUSE.rglob("*.py"))}


def imported(path: Path, *, at_load: bool = False) -> Iterator[str]:
    """Yield the full names that a file imports, types included unless ``at_load``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _statements(tree) if at_load else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "no relative imports"
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                known = deeper.removeprefix("pytest_kosli.") in ROOMS
                yield deeper if known else str(node.module)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a module is loaded: no function bodies, nothing for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (inner for part in node.orelse for inner in (part, *_statements(part)))
            continue
        yield node
        yield from _statements(node)


def ours(path: Path, *, at_load: bool = False) -> set[str]:
    return {
        name.removeprefix("pytest_kosli.") if name != "pytest_kosli" else "__init__"
        for name in imported(path, at_load=at_load)
        if floor(name) == "pytest_kosli"
    }


@pytest.mark.parametrize("name", [name for name in ROOMS if floor(name) in FLOORS])
def test_no_arrow_runs_up(name: str) -> None:
    allowed = FLOORS[floor(name)]
    up = {
        other
        for other in ours(ROOMS[name])
        if other not in allowed and floor(other) not in allowed | {floor(name)}
    }
    assert up == set()


@pytest.mark.parametrize("name", ROOMS)
def test_only_the_pytest_rooms_know_pytest(name: str) -> None:
    found = {floor(one) for one in imported(ROOMS[name])}
    if floor(name) in PYTEST_FREE:
        assert not found & {"pytest", "_pytest", "pluggy"}
    if floor(name) == "report":
        assert "pytest" not in {floor(one) for one in imported(ROOMS[name], at_load=True)}
    assert "_pytest" not in found


@pytest.mark.parametrize("name", ROOMS)
def test_each_library_lives_in_one_room(name: str) -> None:
    found = {floor(one) for one in imported(ROOMS[name])}
    for library, rooms in LIBRARIES.items():
        assert library not in found or name in rooms


@pytest.mark.parametrize("name", sorted(set(ROOMS) - {"shape"}))
def test_only_one_room_lets_msgspec_look_types_over(name: str) -> None:
    tree = ast.parse(ROOMS[name].read_text(encoding="utf-8"))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not called & {"msgspec.convert", "msgspec.json.decode", "msgspec.yaml.decode"}


def test_there_is_no_circle() -> None:
    graph = {name: ours(path, at_load=True) & set(ROOMS) - {name} for name, path in ROOMS.items()}
    done: set[str] = set()
    while free := {name for name in graph if name not in done and graph[name] <= done}:
        done |= free
    assert set(graph) - done == set()


ROOMS_ON_TOP = {
    "__init__": "what a test suite may import",
    "plugin": "pytest's hooks in every run, and the fixtures: light",
    "involved": "pytest's hooks in a run that has to do with Kosli",
    "options": "the table of settings: light",
    "values": "how a setting's text is read, and how its value is shown",
    "settings": "what the table comes to in this run: not loaded where Kosli is not used",
    "configfile": "the Kosli CLI's own file, in three formats",
    "marker": "the mark",
    "handles": "what the fixtures hand to tests: heavy, so not in plugin",
    "doctor": "whether everything is set up: loaded by its flag alone",
    "session": "what a run does at each hook",
    "run": "what a run asks: settings, the way to Kosli, plans",
    "enforce": "verdicts become exceptions, and facts on the item",
    "flagged": "what flags name and no test takes up",
    "outcome": "the exception decides a report",
    "references": "references, resolved once a run",
    "deployment": "manifests, read once a run: heavy where none is named",
    "gate": "the ready-made suite",
    "reporting": "report files: made ready first, written last",
    "xdist": "what controller and workers share",
    "hookspecs": "what others may implement",
    "hooks": "what others do implement, asked one by one so that errors name them",
    "neighbours": "what other plugins' reports show of a check",
    "assert_source": "source, as tests ask for it",
    "assert_no_drift": "drift, as tests ask for it",
}


def test_each_room_has_one_job_and_is_known_here() -> None:
    top = {name for name in ROOMS if "." not in name and ROOMS[name].stem != "__init__"}
    known = set(FLOORS) | set(ROOMS_ON_TOP)
    assert top - known == set()
    for name, path in ROOMS.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{name} does not say what it is for"
