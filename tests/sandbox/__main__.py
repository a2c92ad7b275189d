"""``python -m tests.sandbox --data acme --port 0`` serves a dataset until it is stopped."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import threading

from tests.sandbox.server import Sandbox
from tests.sandbox.world import DataError


def main() -> None:
    """Print the address, one line, and serve until interrupted; say how to ask it, on stderr."""
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox", description=__doc__)
    parser.add_argument("--data", default="acme", help="a bundled dataset, or a YAML file")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument(
        "--delay", type=float, default=0.0, metavar="SECONDS", help="to wait before each reply"
    )
    options = parser.parse_args()
    try:
        sandbox = Sandbox(options.data, port=options.port, delay=options.delay)
    except DataError as problem:
        parser.error(str(problem))
    with sandbox, contextlib.suppress(KeyboardInterrupt):
        for name, value in variables(sandbox).items():
            print(f"export {name}={shlex.quote(value)}", file=sys.stderr, flush=True)
        print(sandbox.url, flush=True)
        threading.Event().wait()


def variables(sandbox: Sandbox) -> dict[str, str]:
    """Return the environment of a shell that asks a sandbox."""
    ours = {
        "KOSLI_HOST": sandbox.url,
        "KOSLI_API_TOKEN": sandbox.token,
        "KOSLI_ORG": sandbox.org,
    }
    theirs = {"CODEALIVE_BASE_URL": sandbox.url, "CODEALIVE_API_KEY": sandbox.key}
    return ours | theirs if sandbox.key else ours


main()
