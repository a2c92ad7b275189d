"""The documentation's site can be built, and has every address that the plugin prints."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import tomllib
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import pytest
import yaml

from tests.documents import DOCS, ROOT, run
from tests.test_docs import addresses

SITE = "https://pytest-kosli.readthedocs.io/en/stable/"
BUILDERS = ["furo", "myst_parser", "sphinx"]
SCHEMA = ROOT / "pytest_kosli" / "report" / "evidence.schema.json"
SERVICE = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site, built as Read the Docs builds it."""
    missing = [name for name in BUILDERS if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: it is in the extra docs")
    folder = tmp_path_factory.mktemp("site")
    how = ["--builder", SERVICE["sphinx"]["builder"], "--fail-on-warning", "--keep-going"]
    elsewhere = {key: value for key, value in os.environ.items() if key[:11] != "READTHEDOCS"}
    command = [sys.executable, "-m", "sphinx", *how, "--quiet", str(DOCS), str(folder)]
    status, told = run(command, ROOT, elsewhere)
    assert status == 0, told
    return folder


def is_there(address: str, site: Path) -> bool:
    """Tell whether a site has the page, or file, of an address and the place in it."""
    assert address.startswith(SITE), address
    path, anchor = urldefrag(address.removeprefix(SITE))
    file = site / (f"{path}index.html" if path == "" or path.endswith("/") else path)
    text = file.read_text("utf-8") if file.is_file() and anchor else ""
    return file.is_file() and (not anchor or f' id="{anchor}"' in text)


def test_every_address_in_a_message_is_on_the_site(site: Path) -> None:
    assert [address for address in sorted(addresses()) if not is_there(address, site)] == []
    assert not is_there(f"{SITE}errors/#no-such-code", site)
    assert not is_there(f"{SITE}no-such-page/", site)


def test_the_schema_is_where_it_says_that_it_is(site: Path) -> None:
    address = json.loads(SCHEMA.read_text("utf-8"))["$id"]
    assert is_there(address, site)
    assert (site / address.removeprefix(SITE)).read_bytes() == SCHEMA.read_bytes()


def test_no_link_within_the_site_is_dead(site: Path) -> None:
    for page in site.rglob("*.html"):
        here = SITE + page.relative_to(site).as_posix().removesuffix("index.html")
        links = re.findall(r' (?:href|src)="([^"]+)"', page.read_text("utf-8"))
        inside = {address for link in links if (address := urljoin(here, link)).startswith(SITE)}
        plain = {address.partition("?")[0] for address in inside}
        dead = [address for address in sorted(plain) if not is_there(address, site)]
        assert (here, dead) == (here, [])


def test_read_the_docs_is_told_to_build_it_with_what_there_is() -> None:
    assert SERVICE["sphinx"] == {
        "configuration": (DOCS / "conf.py").relative_to(ROOT).as_posix(),
        "builder": "dirhtml",  # So that errors.md is at errors/, where the messages point to.
        "fail_on_warning": True,
    }
    (install,) = SERVICE["python"]["install"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (extra,) = install["extra_requirements"]
    needed = {re.split(r"[<>=]", one)[0] for one in project["optional-dependencies"][extra]}
    assert needed == {name.replace("_", "-") for name in BUILDERS}
