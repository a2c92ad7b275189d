"""Who we are to a registry: from variables, from Docker's config, or from a credential helper."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pytest_kosli.api.host import Token
from pytest_kosli.fingerprint.image import HUB, normal_registry
from pytest_kosli.model import NoVerdict
from pytest_kosli.shape import decode

USERNAME, PASSWORD = "KOSLI_REGISTRY_USERNAME", "KOSLI_REGISTRY_PASSWORD"
HELPER_SECONDS = 20.0
_HUB_KEY = "https://index.docker.io/v1/"
_IDENTITY = "<token>"
_NOT_FOUND = b"credentials not found"
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password for one registry, or (``identity``) a token in the password's place.

    ``source`` says where they are from.
    """

    username: str
    password: Token
    source: str
    identity: bool = False


Claim = Callable[[str], str]
"""Told a registry, returns the one registry of the run that the variables are for."""


def of_registry(registry: str, claim: Claim = str) -> Credentials | None:
    """Return the credentials for a registry, or None where nobody gave any.

    Both variables first, which name no registry and so are for one only; then ``config.json`` in
    ``$DOCKER_CONFIG`` or ``~/.docker``: a helper for this registry, else what ``docker login`` left
    in the file or in the store that it names. Raises NoVerdict ``half_credentials``,
    ``shared_credentials``, ``bad_docker_config`` or ``credential_helper``; no secret is part of
    their text.
    """
    return _of_environment(registry, claim) or _of_docker(registry)


def _of_environment(registry: str, claim: Claim) -> Credentials | None:
    username, password = os.environ.get(USERNAME, ""), os.environ.get(PASSWORD, "")
    if not username and not password:
        return None
    if not username or not password:
        there, missing = (USERNAME, PASSWORD) if username else (PASSWORD, USERNAME)
        raise NoVerdict(
            "half_credentials",
            f"{there} is set, and {missing} is not",
            "Set both, or neither to use what `docker login` left.",
        )
    if (owner := claim(registry)) != registry:
        raise NoVerdict(
            "shared_credentials",
            f"{USERNAME} and {PASSWORD} were sent to {owner}, and {registry} wants credentials too",
            "Unset both and `docker login` to each registry: a password is for one of them only.",
        )
    return Credentials(username, Token(lambda: os.environ.get(PASSWORD, "")), USERNAME)


class _Entry(msgspec.Struct):
    auth: str | None = None
    identitytoken: str | None = None


class _Config(msgspec.Struct):
    auths: dict[str, _Entry] | None = None
    cred_helpers: dict[str, str] | None = msgspec.field(default=None, name="credHelpers")
    creds_store: str | None = msgspec.field(default=None, name="credsStore")


class _Answer(msgspec.Struct):
    username: str = msgspec.field(name="Username")
    secret: str = msgspec.field(name="Secret")


def _of_docker(registry: str) -> Credentials | None:
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    config = _config(path)
    for key, helper in (config.cred_helpers or {}).items():
        if _registry_of(key) == registry and (found := _ask(helper, registry, path)):
            return found
    auths = config.auths or {}
    keys = sorted(auths, key=lambda key: key != registry)
    entry = next((auths[key] for key in keys if _registry_of(key) == registry), None)
    if entry is None:
        return None
    if entry.identitytoken:
        return Credentials("", Token.of(entry.identitytoken), str(path), identity=True)
    if entry.auth:
        return _inline(entry.auth, registry, path)
    return _ask(config.creds_store, registry, path) if config.creds_store else None


def _config(path: Path) -> _Config:
    try:
        return decode(path.read_bytes(), _Config)
    except (FileNotFoundError, NotADirectoryError):
        return _Config()
    except OSError as error:
        raise _bad_config(path, error.strerror or type(error).__name__) from None
    except (ValueError, RecursionError):
        raise _bad_config(path, "it is not JSON, or not of the form that Docker writes") from None


def _inline(auth: str, registry: str, path: Path) -> Credentials:
    try:
        username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise _bad_config(path, f"its auth for {registry} is not base64 of USER:PASSWORD")
    return Credentials(username, Token.of(password.strip("\0")), str(path))


def _ask(helper: str, registry: str, path: Path) -> Credentials | None:
    """Return what a credential helper answers; None when it knows nothing of the registry."""
    program = f"docker-credential-{helper}"
    found = shutil.which(program) if _HELPER.fullmatch(helper) else None
    if found is None:
        raise _bad_helper(program, f"{path} names it for {registry}, but it is not on the PATH")
    key = _HUB_KEY if registry == HUB else registry
    try:
        done = subprocess.run(  # noqa: S603 - the program that the user's own config names
            [found, "get"],
            input=key.encode(),
            capture_output=True,
            timeout=HELPER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _bad_helper(program, f"it gave no answer within {HELPER_SECONDS:g} s") from None
    except OSError as error:
        raise _bad_helper(program, error.strerror or type(error).__name__) from None
    if done.returncode:
        if _NOT_FOUND in done.stdout + done.stderr:
            return None
        raise _bad_helper(program, f"it ended with status {done.returncode}")
    try:
        answer = decode(done.stdout, _Answer)
    except (ValueError, RecursionError):
        raise _bad_helper(program, "its answer is not JSON with Username and Secret") from None
    if not answer.secret:
        return None
    identity = answer.username == _IDENTITY
    return Credentials(answer.username, Token.of(answer.secret), program, identity)


def _registry_of(key: str) -> str:
    """Return the registry that a key of Docker's config is for: older ones are whole URLs."""
    return normal_registry(re.sub("^https?://", "", key).partition("/")[0])


def _bad_config(path: Path, why: str) -> NoVerdict:
    return NoVerdict(
        "bad_docker_config",
        f"Docker's {path} can not be used: {why}",
        "Mend it (`docker logout` and `docker login` write it anew), or name another folder in "
        "DOCKER_CONFIG.",
    )


def _bad_helper(program: str, why: str) -> NoVerdict:
    return NoVerdict(
        "credential_helper",
        f"the credential helper {program} can not be asked: {why}",
        f"Try it by hand: echo REGISTRY | {program} get",
    )
