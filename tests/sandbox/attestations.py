"""What the Kosli CLI sends when it attests: a form of JSON and files."""

from __future__ import annotations

import email
import json
from dataclasses import dataclass
from email.message import Message
from typing import Any


@dataclass(frozen=True, slots=True)
class Attested:
    """One thing that arrived: its path below the organisation, its JSON, and its files by name."""

    path: str
    data: Any
    files: dict[str, bytes]


def read(path: str, content_type: str, body: bytes) -> Attested:
    """Return what a form of the CLI holds."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    parts = [part for part in email.message_from_bytes(head + body).walk() if _name(part)]
    (data,) = [_raw(part) for part in parts if _name(part) == "data_json"]
    files = {name: _raw(part) for part in parts if (name := part.get_filename())}
    return Attested(path, json.loads(data), files)


def _name(part: Message) -> str:
    return str(part.get_param("name", "", header="content-disposition"))


def _raw(part: Message) -> bytes:
    raw = part.get_payload(decode=True)
    assert isinstance(raw, bytes)
    return raw
