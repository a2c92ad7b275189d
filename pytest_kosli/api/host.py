"""Hosts, tokens and addresses: all that is known of a request before an HTTP library is loaded."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn, Self
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from pytest_kosli.model import NoVerdict, Reply, Request

if TYPE_CHECKING:
    from pytest_kosli.api.http import Http

Exchange = Callable[[Request], Reply]
"""What turns a Request into a Reply, live or from a cassette; raises NoVerdict when it can not."""

BASE_PATH = "/api/v2"

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PORTS = {"http": 80, "https": 443}


class Token:
    """A secret that is read when it is needed and never shows itself.

    ``read`` returns the text; it is called for every request, so a rotated token is picked up.
    """

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read

    @classmethod
    def of(cls, text: str) -> Token:
        """Return a Token for a text that is known already."""
        return cls(lambda: text)

    def reveal(self) -> str:
        """Return the secret itself, without the white space around it."""
        return self._read().strip()

    def __repr__(self) -> str:
        return "Token(hidden)"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __copy__(self) -> Token:
        return self

    def __deepcopy__(self, memo: object) -> Token:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Token never leaves its process")


class Client:
    """What our clients share: they close the connections that they have opened themselves."""

    _network: Http | None = None

    def close(self) -> None:
        """Close the connections that this client has opened itself; so does a ``with`` block."""
        if self._network is not None:
            self._network.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def check_host(host: str) -> str:
    """Return ``host`` as ``scheme://name[:port][/prefix]``: lower case, no default port, no slash.

    Raises ValueError with a plain sentence (which never repeats a password) for everything that is
    not one https host, or one http host on loopback.
    """
    parts = _split(host, "host")
    if parts.scheme not in _PORTS:
        raise ValueError(f"the host {host!r} must begin with https://")
    path = parts.path.rstrip("/")
    if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise ValueError(f"the path of the host {host!r} is not a plain one")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"the host {host!r} must begin with https://: http is for loopback only")
    return f"{parts.scheme}://{_netloc(parts)}{path}"


def check_proxy(proxy: str) -> str:
    """Return ``proxy`` as it was, if it names an http or https proxy and nothing else.

    Raises ValueError with a sentence that repeats nothing of it, since it may hold a password.
    """
    bare = re.sub(r"(?<=://)[^/?#]*@", "", proxy, count=1)
    parts = _split(bare, "proxy")
    if parts.scheme not in _PORTS:
        raise ValueError("the proxy must begin with http:// or https://")
    if parts.path.strip("/"):
        raise ValueError("the proxy must not have a path")
    return proxy


def is_loopback(name: str) -> bool:
    """Return whether a host name or address is this machine by definition, without a look-up."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=16)
def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host name and port (the scheme's own where none is written) of ``url``."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def address(host: str, base_path: str, request: Request) -> str:
    """Return the whole URL of ``request`` at a checked ``host``, each name percent-encoded.

    Raises NoVerdict ``bad_name`` for a name that could change the meaning of the URL, or did.
    """
    for segment in request.segments:
        if segment in ("", ".", ".."):
            _refuse(segment)
    for name in (*request.segments, *(text for pair in request.query for text in pair)):
        if _CONTROL.search(name) or not _encodable(name):
            _refuse(name)
    path = base_path + "".join("/" + quote(segment, safe="") for segment in request.segments)
    url = host + path + ("?" + urlencode(request.query) if request.query else "")
    parts = urlsplit(url)
    segments = parts.path.removeprefix(urlsplit(host).path + base_path + "/").split("/")
    meant = origin(host), "", request.segments, request.query
    got = (
        origin(url),
        parts.fragment,
        tuple(unquote(segment) for segment in segments),
        tuple(parse_qsl(parts.query, keep_blank_values=True)),
    )
    if got != meant:
        _refuse("/".join(request.segments))
    return url


def _split(text: str, what: str) -> SplitResult:
    if "," in text:
        raise ValueError(f"the {what} must be a single one, not a list")
    if "@" in text:
        raise ValueError(f"the {what} must not hold a user name or a password")
    if not text.isascii() or not text.isprintable() or any(mark in text for mark in ' \\?#"<>'):
        raise ValueError(f"the {what} must be a plain address, with no query and no fragment")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"the {what} is not a valid address") from None
    name = parts.hostname or ""
    if parts.scheme in _PORTS and not (_is_ipv6(name) or _NAME.fullmatch(name)):
        raise ValueError(f"the {what} has no valid host name")
    if port == 0:
        raise ValueError(f"the {what} must not have port 0")
    return parts


def _netloc(parts: SplitResult) -> str:
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    port = parts.port
    return name if port in (None, _PORTS[parts.scheme]) else f"{name}:{port}"


def _is_ipv6(name: str) -> bool:
    try:
        return "%" not in name and bool(ipaddress.IPv6Address(name))
    except ValueError:
        return False


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(name: str) -> NoReturn:
    raise NoVerdict(
        "bad_name",
        f"{name!a} can not be a name in a request",
        "Write the name exactly as the server shows it.",
    )
