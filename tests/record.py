"""Record the cassettes of the examples again: ``python -m tests.record``.

They come from the sandbox, at a port that never changes so that their diffs stay readable.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
EXAMPLES = ("release", "blocked", "source")
PORT = 8766


def main() -> None:
    """Remove all cassettes and run each example against the sandbox."""
    for folder in ("acme", "codealive"):
        shutil.rmtree(ROOT / "cassettes" / folder, ignore_errors=True)
    with Sandbox("acme", port=PORT) as sandbox:
        environ = {**os.environ, "KOSLI_API_TOKEN": sandbox.token, "KOSLI_HOST": sandbox.url}
        environ |= {"CODEALIVE_API_KEY": sandbox.key, "CODEALIVE_BASE_URL": sandbox.url}
        for example in EXAMPLES:
            command = [sys.executable, "-m", "pytest", "-q", "--kosli-record"]
            subprocess.run([*command, f"examples/{example}"], env=environ, cwd=ROOT, check=False)


if __name__ == "__main__":
    main()
