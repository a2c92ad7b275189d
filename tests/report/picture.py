"""Take the README's picture of the page again: ``python -m tests.report.picture``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.report.test_html import CHROMIUM, FLAGS

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ["examples/release", "examples/blocked", "--kosli-offline", "--kosli-org=acme"]


def main() -> None:
    """Run both examples from their cassettes and photograph what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "release.html"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *EXAMPLES]
        command += ["--kosli-cassettes=cassettes", f"--kosli-report={page}"]
        subprocess.run(command, cwd=ROOT, check=False)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            shown = browser.new_page(viewport={"width": 1200, "height": 1160})
            shown.goto(page.as_uri())
            shown.locator("summary", has_text="web 0722a81").first.click()
            shown.screenshot(path=ROOT / "docs" / "report.png")
            browser.close()


if __name__ == "__main__":
    main()
