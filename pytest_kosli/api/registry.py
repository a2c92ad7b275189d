"""The digest that a registry gives an image's tag: its manifest is fetched and hashed, no layer."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NoReturn, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from urllib.request import parse_http_list

import msgspec

from pytest_kosli import __version__
from pytest_kosli.answers import error_text
from pytest_kosli.api.credentials import Claim, Credentials, of_registry
from pytest_kosli.api.host import Token, check_host, is_loopback
from pytest_kosli.api.http import Http
from pytest_kosli.fingerprint.image import HUB, Image
from pytest_kosli.model import NoVerdict, Reply, Request
from pytest_kosli.shape import decode
from pytest_kosli.text import clean, count

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_OLD = (
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)
_ACCEPT = ", ".join((*_MANIFESTS, *_INDEXES, *_OLD))
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_ADDRESSES = {HUB: "registry-1.docker.io"}
_DIGEST = re.compile(r"sha256:(?P<digits>[0-9a-f]{64})")
_CHALLENGE = re.compile(r"(?P<scheme>[A-Za-z]+) +(?P<pair>[A-Za-z]+ *=.*)", re.DOTALL)
_MORE = 1.0
_WORD = re.compile(r"[!-~]+")
_ANSWERS = "Check the registry's name, and what stands between here and it (a proxy, a login page)."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a registry has under a tag.

    ``sha256`` is 64 lower-case hex digits; ``platforms`` are platform and digest of each image in
    an index, none for the manifest of a single image.
    """

    sha256: str
    platforms: tuple[tuple[str, str], ...] = ()


def resolve(
    image: Image, *, timeout: float = 30.0, max_api_retries: int = 3, claim: Claim = str
) -> Manifest:
    """Return what the registry has under an image's tag now, hashed from the bytes it sent.

    Endpoint: ``GET /v2/{repository}/manifests/{tag}`` over https (on loopback also http), and the
    token service that the registry's challenge names. ``timeout`` is in seconds for one reply;
    ``claim`` says which registry of the run the credentials in variables are for. Raises NoVerdict
    for every answer that is not a manifest with the digest that the registry claims for it.
    """
    client = _Client(image, timeout, max_api_retries, claim)
    try:
        return client.manifest()
    except NoVerdict as error:
        raise replace(error, message=f"{image}: {error.message}") from None


@dataclass(frozen=True, slots=True)
class _Access:
    """What goes into the Authorization header."""

    scheme: str
    secret: Token


class _Client:
    """One image at its registry."""

    def __init__(self, image: Image, timeout: float, max_api_retries: int, claim: Claim) -> None:
        self._image = image
        self._registry = image.registry
        self._timeout = timeout
        self._retries = max_api_retries
        self._claim = claim
        self._scheme = "https"
        if is_loopback(urlsplit(f"//{image.registry}").hostname or ""):
            self._scheme = "http"
        self._credentials: Credentials | None = None
        self._secrets: list[Token] = []

    def manifest(self) -> Manifest:
        reply = self._ask()
        if reply.status == 400 and self._address.startswith("http:"):
            self._scheme = "https"  # So says a registry on loopback that speaks TLS.
            reply = self._ask()
        if reply.status == 401:
            reply = self._ask(self._access(reply))
        if reply.status != 200:
            raise self._refusal(reply)
        return _read(reply, self._registry)

    def _ask(self, access: _Access | None = None) -> Reply:
        image = self._image
        segments = ("v2", *image.repository.split("/"), "manifests", image.tag)
        return self._send(self._address, Request(segments), access, accept=_ACCEPT)

    @property
    def _address(self) -> str:
        name = _ADDRESSES.get(self._registry, self._registry)
        try:
            return check_host(f"{self._scheme}://{name}")
        except ValueError as error:
            raise NoVerdict("bad_reference", str(error), "Correct the registry's name.") from None

    def _send(
        self,
        host: str,
        request: Request,
        access: _Access | None,
        *,
        accept: str = _JSON,
        content_type: str = _JSON,
    ) -> Reply:
        http = Http(
            host,
            access.secret if access else None,
            scheme=access.scheme if access else "Bearer",
            timeout=self._timeout,
            max_api_retries=self._retries,
            concurrency=1,
            base_path="",
            user_agent=f"pytest-kosli/{__version__}",
            accept=accept,
            content_type=content_type,
        )
        try:
            # What fails at once is tried again; who kept us waiting for so long is not.
            with http.deadline(self._timeout + _MORE):
                return http(request)
        finally:
            http.close()

    # Who asks.

    def _access(self, refusal: Reply) -> _Access:
        """Return what the registry's challenge asks for: a token, or the credentials themselves."""
        challenges = dict(_challenges(_header(refusal, "WWW-Authenticate")))
        self._credentials = of_registry(self._registry, self._claim)
        if self._credentials:
            self._secrets += [self._credentials.password, _basic(self._credentials)]
        if "bearer" in challenges:
            return _Access("Bearer", self._token(challenges["bearer"]))
        if "basic" not in challenges:
            raise self._nonsense(refusal, "it wants credentials, and does not say of which kind")
        if self._credentials is None or self._credentials.identity:
            raise self._refusal(refusal)
        return _Access("Basic", _basic(self._credentials))

    def _token(self, challenge: dict[str, str]) -> Token:
        """Return a token to pull this repository, for the credentials known, or for nobody.

        Endpoint: the challenge's realm. It is the one address from a reply that is used.
        """
        host, segments, query = self._realm(challenge.get("realm", ""))
        named = [("service", challenge["service"])] if challenge.get("service") else []
        wanted = [*query, *named, ("scope", f"repository:{self._image.repository}:pull")]
        known = self._credentials
        if known is not None and known.identity:
            reply = self._exchange(host, segments, wanted, known.password)
        else:
            access = _Access("Basic", _basic(known)) if known else None
            reply = self._send(host, Request(segments, tuple(wanted)), access)
        if reply.status != 200:
            raise self._refusal(reply)
        granted = _decoded(reply.body, _Grant)
        word = (granted.token or granted.access_token or "") if granted else ""
        if not _WORD.fullmatch(word):
            raise self._nonsense(reply, "its token service grants no token")
        return Token.of(word)

    def _exchange(
        self, host: str, segments: tuple[str, ...], wanted: list[tuple[str, str]], identity: Token
    ) -> Reply:
        """Ask for a token with one that stands for a password, as OAuth 2 says."""
        form = [
            ("grant_type", "refresh_token"),
            ("client_id", "pytest-kosli"),
            ("refresh_token", identity.reveal()),
            *wanted,
        ]
        request = Request(segments, method="POST", body=urlencode(form).encode())
        return self._send(host, request, None, content_type=_FORM)

    def _realm(self, realm: str) -> tuple[str, tuple[str, ...], list[tuple[str, str]]]:
        """Return host, path and query of the token service, if it may be told the credentials.

        It must speak https; on loopback, http will do, but only for a registry on loopback.
        """
        try:
            parts = urlsplit(realm)
            host = check_host(f"{parts.scheme}://{parts.netloc}")
        except ValueError as error:
            self._bad_realm(realm, str(error))
        name = urlsplit(host).hostname or ""
        if is_loopback(name) and not is_loopback(urlsplit(self._address).hostname or ""):
            self._bad_realm(realm, "it leads back to this machine")
        segments = tuple(unquote(part) for part in parts.path.removeprefix("/").split("/"))
        return host, segments, parse_qsl(parts.query, keep_blank_values=True)

    def _bad_realm(self, realm: str, why: str) -> NoReturn:
        raise NoVerdict(
            "registry_bad_realm",
            f"{self._registry} sends us for a token to {clean(realm)!r}, where no credentials are "
            f"sent: {clean(why)}",
            _ANSWERS,
        ) from None

    # What was answered.

    def _refusal(self, reply: Reply) -> NoVerdict:
        """Return the NoVerdict for a reply that is neither a manifest nor a token."""
        code, what, todo = self._cause(reply)
        words = self._words(reply)
        said = f": {words}" if words else ""
        return NoVerdict(
            code,
            f"{self._registry} {what} ({reply.status}{said})",
            todo,
            status=reply.status,
            attempts=reply.attempts,
        )

    def _words(self, reply: Reply) -> str:
        """Return what the reply itself says, unless it repeats a secret of ours."""
        told = _decoded(reply.body, _Errors)
        text = told.errors[0].message if told and told.errors else error_text(reply)[0]
        repeats = any(secret.reveal() in text for secret in self._secrets if secret.reveal())
        return "" if repeats else clean(text)

    def _cause(self, reply: Reply) -> tuple[str, str, str]:
        if reply.status in (401, 403):
            return self._unwelcome()
        if reply.status == 404:
            return (
                "unknown_image",
                "has no such image",
                "Check repository and tag, and that the image was pushed.",
            )
        if 300 <= reply.status < 400:
            where = clean(_header(reply, "Location")) or "another place"
            return (
                "registry_redirect",
                f"sends us on to {where}, and redirects are not followed",
                "Name the image at the registry that answers itself.",
            )
        if reply.status == 429:
            return (
                "registry_busy",
                "answers no more requests for now",
                "Log in to the registry, which raises the limit, or run this again later.",
            )
        return "registry_error", "gave no answer", "Run it again later, and ask who runs it."

    def _unwelcome(self) -> tuple[str, str, str]:
        if self._credentials is None:
            return (
                "registry_login",
                "wants credentials, and none are known: the image is private, or is not there",
                "Set KOSLI_REGISTRY_USERNAME and KOSLI_REGISTRY_PASSWORD, or `docker login`.",
            )
        return (
            "registry_denied",
            f"does not let the credentials from {self._credentials.source} pull the image",
            "Check that they are valid still, and that they may read this repository.",
        )

    def _nonsense(self, reply: Reply, what: str) -> NoVerdict:
        return _nonsense(reply, f"{self._registry}: {what}")


class _Error(msgspec.Struct):
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error]


class _Grant(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class _Member(msgspec.Struct):
    digest: str
    platform: _Platform | None = None


class _Index(msgspec.Struct):
    manifests: list[_Member]


class _Single(msgspec.Struct):
    config: dict[str, object]
    layers: list[object]


def _read(reply: Reply, registry: str) -> Manifest:
    """Return the manifest of a 200 reply when its bytes are those that its digest is of."""
    media = reply.content_type.split(";")[0].strip().lower()
    claimed = _header(reply, "Docker-Content-Digest")
    if not claimed:
        raise NoVerdict(
            "registry_no_digest",
            f"{registry} answered with {clean(media) or 'no content type'} and without the header "
            "Docker-Content-Digest: that is not how a registry shows an image",
            _ANSWERS,
            status=reply.status,
        )
    digest = _DIGEST.fullmatch(claimed)
    if digest is None:
        raise _nonsense(reply, f"{registry} gives the digest {clean(claimed)!r}, which is none")
    if media in _OLD:
        raise NoVerdict(
            "registry_old_manifest",
            f"{registry} has the image in Docker's first format, whose digest can not be checked",
            "Push it again with a tool of this decade, or give the digest: IMAGE@sha256:...",
        )
    found = sha256(reply.body).hexdigest()
    if found != digest["digits"]:
        raise NoVerdict(
            "registry_digest_mismatch",
            f"{registry} says that the manifest has the digest {digest['digits']}, but what it "
            f"sent has {found}",
            "Something between here and the registry changes its replies: find out what.",
            status=reply.status,
        )
    if media in _MANIFESTS and _decoded(reply.body, _Single) is not None:
        return Manifest(found)
    index = _decoded(reply.body, _Index) if media in _INDEXES else None
    if index is None:
        what = clean(media) or "something without a content type"
        raise _nonsense(reply, f"{registry} answered with {what} that is no manifest")
    return Manifest(found, tuple(_platforms(index)))


def _platforms(index: _Index) -> Iterator[tuple[str, str]]:
    for member in index.manifests:
        platform = str(member.platform or "")
        if platform and "unknown" not in platform:
            yield platform, member.digest


def hints(manifest: Manifest) -> tuple[str, ...]:
    """Return why Kosli may know an image of several platforms by another digest."""
    if not manifest.platforms:
        return ()
    listed = ", ".join(f"{clean(name, 40)} {digest}" for name, digest in manifest.platforms[:4])
    more = len(manifest.platforms) - 4
    return (
        f"this is the digest of an index of {count(len(manifest.platforms), 'platform')}, and a "
        f"runtime may report the digest of its own: {clean(listed, 500)}"
        + (f" and {more} more" if more > 0 else ""),
    )


def _challenges(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield scheme and parameters of each challenge in a WWW-Authenticate header."""
    scheme, pairs = "", dict[str, str]()
    for item in parse_http_list(header):
        if begins := _CHALLENGE.fullmatch(item):
            if scheme:
                yield scheme, pairs
            scheme, pairs, item = begins["scheme"].lower(), {}, begins["pair"]
        key, _, value = item.partition("=")
        pairs[key.strip().lower()] = value.strip().strip('"')
    if scheme:
        yield scheme, pairs


def _basic(credentials: Credentials) -> Token:
    both = f"{credentials.username}:{credentials.password.reveal()}"
    return Token.of(base64.b64encode(both.encode()).decode("ascii"))


def _header(reply: Reply, name: str) -> str:
    return next((value for key, value in reply.headers if key.lower() == name.lower()), "")


def _decoded(body: bytes, kind: type[T]) -> T | None:
    try:
        return decode(body, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _nonsense(reply: Reply, what: str) -> NoVerdict:
    return NoVerdict("registry_nonsense", what, _ANSWERS, status=reply.status)
