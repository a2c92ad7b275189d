"""Trees described in plain data, made on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NOBODY = 65534


def make(root: Path, tree: Mapping[str, Any]) -> None:
    """Make each entry below ``root``, in order, and the folders that lead to it."""
    for path, what in tree.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, str):
            place.write_bytes(what.encode())
        elif "dir" in what:
            place.mkdir(exist_ok=True)
        elif "link" in what:
            place.symlink_to(what["link"])
        elif "fifo" in what:
            os.mkfifo(place)
        elif "hex" in what:
            place.write_bytes(bytes.fromhex(what["hex"]))
        else:
            place.write_bytes(bytes([what["byte"]]) * what["times"])


@contextmanager
def locked(root: Path, paths: list[str]) -> Iterator[None]:
    """Take all rights from the paths, and root's privilege from us, for a while."""
    folders = [root, *root.parents]
    modes = {folder: folder.stat().st_mode for folder in folders}
    is_root = os.geteuid() == 0
    if is_root:
        for folder in folders:
            if not modes[folder] & 0o001:
                folder.chmod(modes[folder] | 0o011)
    for path in paths:
        (root / path).chmod(0)
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path in paths:
            (root / path).chmod(0o700)
        for folder in folders:
            if folder.stat().st_mode != modes[folder]:
                folder.chmod(modes[folder])
