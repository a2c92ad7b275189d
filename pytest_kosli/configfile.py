"""Reads ``~/.kosli.yml``, the Kosli CLI's own file, or the one that KOSLI_CONFIG_FILE names."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT = ".kosli.yml"
VARIABLE = "KOSLI_CONFIG_FILE"

_SUFFIXES = (".json", ".toml", ".yaml", ".yml")
_AES_BLOCK = 16


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the file says, by the CLI's flag names in lower case; ``label`` is what it is called.

    ``path`` is None where there is no such file.
    """

    label: str
    values: Mapping[str, object] = field(default_factory=dict, repr=False)
    path: Path | None = None

    def get(self, key: str) -> list[str] | None:
        """Return the value of ``key`` as a list of texts, or None when the file does not set it.

        Raises ValueError for a value that is neither plain nor a list of plain values.
        """
        value = self.values.get(key)
        if value is None:
            return None
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str | int | float) for item in items):
            raise ValueError("is neither a plain value nor a list of plain values")
        return [str(item) for item in items]


def is_encrypted(token: str) -> bool:
    """Return whether a token may be what ``kosli config`` writes.

    That is an AES initial vector and at least one byte, which YAML holds as ``!!binary``: padded
    standard base64. A key of Kosli's, of 43 url-safe characters, is no such thing by its length.
    What can not be told apart is taken for encrypted: the other error would send ciphertext.
    """
    try:
        decoded = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(decoded) > _AES_BLOCK


def load(environ: Mapping[str, str]) -> ConfigFile:
    """Return the configuration file's content; a missing file is an empty one, as for the CLI.

    Raises ValueError, with a sentence that quotes nothing of the file, when it can not be read.
    """
    named = environ.get(VARIABLE)
    label = named or f"~/{DEFAULT}"
    try:
        path = _find(Path(named)) if named else _find(Path.home() / DEFAULT)
        content = _parse(path.suffix, path.read_text(encoding="utf-8-sig")) if path else None
    except OSError as error:
        raise ValueError(f"{label}: can not be read: {error.strerror}") from None
    except RecursionError:
        raise ValueError(f"{label}: can not be parsed: it is nested too deeply") from None
    except RuntimeError:  # an account without a home has no file in it
        return ConfigFile(label)
    except ValueError as error:
        raise ValueError(f"{label}: can not be parsed{_line(error)}") from None
    if path and path.suffix != Path(label).suffix:
        label = str(Path(label).with_suffix(path.suffix))
    return ConfigFile(label, _lower_case(label, content), path)


def _find(path: Path) -> Path | None:
    """Return the file, or its sibling in another format: the CLI looks at the stem alone."""
    siblings = (path.with_suffix(suffix) for suffix in _SUFFIXES) if path.name else ()
    return next((file for file in (path, *siblings) if file.is_file()), None)


def _parse(suffix: str, text: str) -> object:
    if suffix == ".json":
        import json

        return json.loads(text)
    if suffix == ".toml":
        import tomllib

        return tomllib.loads(text)
    return _parse_yaml(text)


def _parse_yaml(text: str) -> object:
    import yaml

    class AsTyped(yaml.BaseLoader):
        """Safe, and leaves scalars as they were typed: an organisation called ``no`` is no bool."""

    null, binary = "tag:yaml.org,2002:null", "tag:yaml.org,2002:binary"
    AsTyped.add_implicit_resolver(null, re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
    AsTyped.add_constructor(null, lambda loader, node: None)  # what kosli config --unset leaves
    AsTyped.add_constructor(binary, lambda loader, node: "".join(node.value.split()))
    try:
        return yaml.load(text, AsTyped)  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(str(getattr(error, "problem_mark", ""))) from None


def _line(error: Exception) -> str:
    found = re.search(r"\bline \d+", str(error))
    return f" ({found[0]})" if found else ""


def _lower_case(label: str, content: object) -> dict[str, object]:
    if content in (None, ""):
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{label}: can not be parsed: it is not a list of settings")
    values: dict[str, object] = {}
    for key, value in content.items():
        if str(key).lower() in values:
            raise ValueError(f"{label}: {key} is there twice")
        values[str(key).lower()] = value
    return values
