"""Makes the documentation's site of the Markdown that a code host shows: see CONTRIBUTING.md."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SCHEMA = ROOT / "pytest_kosli" / "report" / "evidence.schema.json"
SCHEMA_ID: str = json.loads(SCHEMA.read_text("utf-8"))["$id"]
STABLE, _, SCHEMA_NAME = SCHEMA_ID.rpartition("/")

# Pages whose text stands elsewhere. A file of the page's name has to be there too, for Sphinx.
PAGES = {
    "index": ROOT / "README.md",
    "project/cassettes": ROOT / "cassettes" / "README.md",
    "project/changelog": ROOT / "CHANGELOG.md",
    "project/contributing": ROOT / "CONTRIBUTING.md",
    "project/fragments": ROOT / "changelog.d" / "README.md",
    "project/security": ROOT / "SECURITY.md",
}

CONTENTS = """
```{toctree}
:hidden:
:caption: How to use it

tutorial
how-to
recipes
from-kosli-assert
evidence
```

```{toctree}
:hidden:
:caption: To look things up

reference
errors
```

```{toctree}
:hidden:
:caption: The project

architecture
testing
project/contributing
project/security
project/changelog
project/fragments
project/cassettes
```
"""

project = html_title = "pytest-kosli"
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", f"{STABLE}/")
html_theme = "furo"
html_copy_source = False
extensions = ["myst_parser"]
myst_heading_anchors = 3
nitpicky = True
smartquotes = False

# A link or an image in a text, but not in its code.
LINK = re.compile(r"^```.*?^```$|`[^`\n]+`|(?<=\]\()(?P<target>[^)\s]+)", re.MULTILINE | re.DOTALL)


def read(app: Sphinx, page: str, texts: list[str]) -> None:
    """Give a page the text that it stands for, with links that lead to the site's own pages."""
    source = PAGES.get(page, DOCS / f"{page}.md")
    app.env.note_dependency(str(source))

    def link(found: re.Match[str]) -> str:
        return target(found["target"], source, page) if found["target"] else found[0]

    texts[0] = LINK.sub(link, source.read_text("utf-8")) + CONTENTS * (page == "index")


def target(written: str, source: Path, page: str) -> str:
    """Return the target that a link of a file needs on its page."""
    name, anchor, heading = written.partition("#")
    if not name or ":" in name:
        return written
    file = (source.parent / name).resolve()
    if file == SCHEMA:
        return html_baseurl + SCHEMA_NAME
    pages = {path: DOCS / f"{page}.md" for page, path in PAGES.items()}
    return os.path.relpath(pages.get(file, file), (DOCS / page).parent) + anchor + heading


def publish_schema(app: Sphinx, problem: Exception | None) -> None:
    """Put the schema of the evidence where its $id says that it is."""
    if problem is None:
        shutil.copyfile(SCHEMA, app.outdir / SCHEMA_NAME)


def setup(app: Sphinx) -> None:
    """Take part in Sphinx's work."""
    app.connect("source-read", read)
    app.connect("build-finished", publish_schema)
