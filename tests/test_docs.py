"""The documents are held to the code: every code has its heading, every command is run.

An HTML comment before a block of a document says what is done with the block: ``file: NAME`` writes
it, ``run: exit N`` runs its lines, ``shows`` looks for its lines in the output of the last run.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from pytest_kosli import answers, model, options
from pytest_kosli.explain import explain, no_verdict, sentence
from pytest_kosli.model import Artifact, NoVerdict, Outcome, Question, Reason, Scope, Verdict
from tests import reference
from tests.documents import (
    DOCS,
    README,
    ROOT,
    Block,
    blocks,
    environment,
    headings,
    prose,
    run,
    sections,
    slug,
    write,
)
from tests.sandbox import Sandbox

ERRORS = DOCS / "errors.md"
DOCUMENTS = [
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted(DOCS.rglob("*.md")),
]

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


# Error codes: found in the code, explained in docs/errors.md.

PACKAGE = ROOT / "pytest_kosli"


def tree(name: str) -> ast.Module:
    return ast.parse((PACKAGE / name).read_text("utf-8"))


def in_tuples(name: str, *places: str) -> set[str]:
    """Return the first text of every tuple in the functions and tables of these names."""
    found = set()
    for node in ast.walk(tree(name)):
        targets = node.targets if isinstance(node, ast.Assign) else [node]
        if not {getattr(target, "id", getattr(target, "name", "")) for target in targets} & {
            *places
        }:
            continue
        for leaf in ast.walk(node):
            first = leaf.elts[0] if isinstance(leaf, ast.Tuple) and leaf.elts else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.add(first.value)
    return found


BY_TABLE = {
    ("answers.py", "code"): {*answers.TODO, *in_tuples("answers.py", "UNKNOWN")},
    ("api/codealive.py", "code"): in_tuples("api/codealive.py", "CODES", "_code"),
    ("api/registry.py", "code"): in_tuples("api/registry.py", "_cause", "_unwelcome"),
    ("api/traffic.py", "self._ended.code"): set(),  # raised again; its own place is found too
    ("outcome.py", "fact['code']"): set(),  # likewise
}


@dataclass(frozen=True)
class Raised:
    """A place that makes a NoVerdict: its codes, and the fixed parts of its message and advice."""

    place: str
    codes: frozenset[str]
    words: tuple[str, ...]


def raised() -> list[Raised]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "NoVerdict":
                found.append(_raised(name, node))
    return found


def _raised(name: str, call: ast.Call) -> Raised:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    code = call.args[0] if call.args else given["code"]
    place = f"{name}:{call.lineno}"
    if isinstance(code, ast.Constant):
        texts = [*call.args[1:3], *(given[key] for key in ("message", "todo") if key in given)]
        words = tuple(part for text in texts for part in fixed(text))
        return Raised(place, frozenset({str(code.value)}), words)
    key = (name, ast.unparse(code))
    assert key in BY_TABLE, f"{place}: which codes can {key[1]} be? Add its table to BY_TABLE"
    return Raised(place, frozenset(BY_TABLE[key]), ())


def fixed(text: ast.expr) -> list[str]:
    """Return the parts of a literal or f-string that are always the same, on one line."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    plain = (part.value for part in parts if isinstance(part, ast.Constant))
    return [" ".join(part.split()) for part in plain if isinstance(part, str) and part.strip()]


RAISED = raised()
CODES = sorted({code for place in RAISED for code in place.codes})
REFUSING = [outcome for outcome in Outcome if outcome is not Outcome.COMPLIANT]


def verdict(outcome: Outcome) -> Verdict:
    question = Question("https://app.kosli.com", "acme", "0" * 64, Scope("prod"))
    return Verdict(outcome, question, Artifact("0" * 64, "web"), (Reason("unexplained"),))


def addresses() -> set[str]:
    """Return every address that a message of ours can end with."""
    found = {NoVerdict(code, "").docs for code in CODES}
    found |= {explain(verdict(outcome))[-1].split()[-1] for outcome in REFUSING}
    for path in PACKAGE.rglob("*.py"):
        anchors = re.findall(r"\{DOCS\}(#[a-z-]+)", path.read_text("utf-8"))
        found |= {model.DOCS + anchor for anchor in anchors}
    return found


def test_every_status_leads_to_a_code_of_the_table() -> None:
    assert {answers._code(status) for status in range(201, 600)} == set(answers.TODO)


def test_each_code_and_each_refusing_outcome_has_its_heading_and_no_heading_is_left_over() -> None:
    named = {address.removeprefix(f"{model.DOCS}#") for address in addresses()}
    assert sorted(named) == sorted(sections(ERRORS))
    assert [slug(heading) for heading in sections(ERRORS)] == list(sections(ERRORS))


def test_each_heading_says_what_happened_why_and_what_to_do_with_an_example() -> None:
    for heading, text in sections(ERRORS).items():
        order = ["**What happened.** ", "**Why it is not green.** ", "**What to do.** ", "```text"]
        places = [text.find(part) for part in order]
        assert -1 not in places, heading
        assert places == sorted(places), heading


@pytest.mark.parametrize("code", CODES)
def test_the_example_of_a_code_is_what_the_code_says(code: str) -> None:
    text = sections(ERRORS)[code.replace("_", "-")]
    example = " ".join(text.partition("```text\n")[2].partition("```")[0].split())
    assert example.startswith(no_verdict(NoVerdict(code, "", artifact=None))[0])
    places = [place for place in RAISED if code in place.codes]
    said = {place.place: [word for word in place.words if word not in example] for place in places}
    assert any(not missing for missing in said.values()), f"not in the example: {said}"


def test_every_reason_is_in_the_reference() -> None:
    table = sections(DOCS / "reference.md")["Reasons"]
    documented = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.M))))
    calls = [node for node in ast.walk(tree("judge.py")) if isinstance(node, ast.Call)]
    made = [node for node in calls if ast.unparse(node.func) == "Reason"]
    names = {
        leaf.value
        for call in made
        for leaf in ast.walk(call.args[0])
        if isinstance(leaf, ast.Constant)
    }
    from pytest_kosli.judge import KNOWN

    assert documented == {str(name) for name in names if name != "MISSING"} | KNOWN
    fallback = sentence(Reason("no such code"))
    assert {code for code in documented if sentence(Reason(code)) == fallback} == {"unexplained"}


def test_every_room_of_the_house_is_on_its_map_and_no_other() -> None:
    rooms = sections(DOCS / "architecture.md")["The rooms"]
    first = "".join(re.findall(r"^\| (`.*?) \|", rooms, re.MULTILINE))
    files = {path.name for path in PACKAGE.glob("[!_]*.py")}
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert sorted(re.findall(r"`([\w./]+)`", first)) == sorted(files | folders)


# Links and anchors.


@each_document
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.is_file(), target
        if anchor:
            assert anchor in [slug(heading) for heading in headings(file)], target


@each_document
def test_every_row_belongs_to_a_table(path: Path) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8"))
    texts = [token.content for token in tokens if token.type == "inline"]
    assert [text for text in texts if text.startswith("|")] == []


@each_document
def test_no_heading_of_a_document_is_there_twice(path: Path) -> None:
    if path.name != "CHANGELOG.md":
        assert len(set(map(slug, headings(path)))) == len(headings(path))


def test_the_readme_lists_all_of_its_questions() -> None:
    listed = re.findall(r"^- \[(.+)\]\(#", README.read_text("utf-8"), re.MULTILINE)
    assert listed == list(sections(README))


# Settings, flags, variables and examples.


def test_the_table_of_settings_is_the_generated_one() -> None:
    text = README.read_text("utf-8")
    table = text.partition("<!-- settings -->\n")[2].partition("<!-- /settings -->")[0]
    assert table == reference.table(reference.settings()), "run python -m tests.reference"


@each_document
def test_every_setting_that_is_named_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    flags = {row.flag for row in options.ROWS if options.Level.FLAG in row.levels}
    assert set(re.findall(r"--kosli-[a-z](?:[a-z-]*[a-z])?", text)) <= flags
    variables = {row.variable for row in options.ROWS if options.Level.ENVIRONMENT in row.levels}
    sources = "".join(source.read_text("utf-8") for source in PACKAGE.rglob("*.py"))
    tests = "".join(source.read_text("utf-8") for source in (ROOT / "tests").rglob("*.py"))
    others = set(re.findall(r'"((?:KOSLI|CODEALIVE)_[A-Z_]+)"', sources))
    others |= set(re.findall(r'environ(?:\.get\(|\[)"(KOSLI_[A-Z_]+)"', tests))
    assert set(re.findall(r"\b(?:KOSLI|CODEALIVE)_[A-Z_]+", text)) <= variables | others
    rows = (*options.ROWS, *options.CODEALIVE)
    inis = {row.dest for row in rows if options.Level.INI in row.levels}
    assert set(re.findall(r"\b((?:kosli|codealive)_[a-z_]+) = ", text)) <= inis


@pytest.fixture(scope="module")
def known_flags() -> dict[str, set[str]]:
    """Return the flags that the help of each command lists."""
    commands = {"pytest": ["pytest"], "python -m tests.sandbox": ["tests.sandbox"]}
    texts = {
        name: subprocess.run(
            [sys.executable, "-m", *module, "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name, module in commands.items()
    }
    return {name: set(re.findall(r"(?<![\w-])--?\w[\w-]*", text)) for name, text in texts.items()}


def commands(path: Path) -> Iterator[str]:
    """Yield every command in the blocks of a document, and in its prose."""
    for block in blocks(path.read_text("utf-8")):
        if block.language == "sh":
            for line in whole_lines(block.text):
                yield from line.split("#")[0].split(" && ")
        if block.language == "yaml":
            for text in strings(list(yaml.safe_load_all(block.text))):
                yield from whole_lines(text)
        if block.language == "groovy":
            yield from re.findall(r"\bsh '([^']*)'", block.text)
    yield from re.findall(r"`([^`\n]+)`", prose(path))


def whole_lines(text: str) -> list[str]:
    """Return lines, put together again where a backslash breaks them."""
    return text.replace("\\\n", " ").splitlines()


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


@each_document
def test_every_flag_of_a_command_is_one_that_its_help_lists(
    path: Path, known_flags: dict[str, set[str]]
) -> None:
    for text in commands(path):
        found = re.search(r"(?:^|[\s/])(pytest|python -m tests\.sandbox)\s(.*)", text)
        if found is None or text.lstrip().startswith("kosli "):
            continue
        words = shlex.split(re.split(r" [|>] | \|\| ", found[2])[0])
        flags = [word.split("=")[0] for word in words if word.startswith("-") and word.strip("-")]
        unknown = [flag for flag in flags if flag not in known_flags[found[1]]]
        assert not unknown, text


@each_document
def test_every_python_example_compiles(path: Path) -> None:
    for block in blocks(path.read_text("utf-8")):
        if block.language == "python":
            compile(block.text, str(path), "exec")


# Commands that are run.


def test_the_two_commands_of_the_readme_are_one_line_each_and_ci_runs_them() -> None:
    found = {
        block.comment.removeprefix("command: "): block.text
        for block in blocks(README.read_text("utf-8"))
        if block.comment.startswith("command: ")
    }
    assert list(found) == ["release", "tests"]
    assert all(text.count("\n") == 1 for text in found.values())
    assert found["release"].endswith(".venv/bin/pytest examples/release --kosli-offline\n")
    assert found["tests"].endswith(".venv/bin/pytest -n 2\n")
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert all(f"$(command_of {name})" in script for name in found)


def steady(text: str) -> list[str]:
    """Return lines without what changes from run to run: dates, times, ports, rules."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "DATE", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r" in \d+\.\d\ds(?: \([\d:]+\))? (?==)", " in TIME ", text)
    text = re.sub(r"([_=])\1{2,}", r"\1\1\1", text)
    return [line.strip() for line in text.splitlines() if line.strip()]


class Reader:
    """Somebody who does what a document says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = environment(folder)
        self.output = ""

    def follow(self, block: Block) -> bool:
        """Do what a block says; return whether it says anything."""
        word, _, rest = block.comment.partition(":")
        if word == "file":
            write(rest.strip(), block.text, self.folder)
        elif word == "run":
            self._run(block.text, rest)
        elif word == "shows":
            self._find(block.text)
        return word in ("file", "run", "shows")

    def _run(self, text: str, how: str) -> None:
        found = re.fullmatch(r" exit (\d+)(, in the clone)?", how)
        assert found, how
        folder, environ = self.folder, self.environ
        if found[2]:
            folder = ROOT
            environ = {key: value for key, value in environ.items() if key[:6] != "KOSLI_"}
        for line in text.splitlines():
            code, self.output = run(line, folder, environ)
        assert code == int(found[1]), self.output

    def _find(self, text: str) -> None:
        rest = iter(steady(self.output))
        for line in steady(text):
            assert any(line in other for other in rest), f"{line!r}, not in\n{self.output}"


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md", "docs/how-to.md"])
def test_whoever_follows_a_document_gets_what_it_shows(
    name: str, online: Sandbox, tmp_path: Path
) -> None:
    reader = Reader(tmp_path)
    assert sum(reader.follow(block) for block in blocks((ROOT / name).read_text("utf-8"))) >= 4
