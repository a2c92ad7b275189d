"""Requests over the wire and whatever comes back: the only room that knows requests and urllib3."""

from __future__ import annotations

import contextlib
import contextvars
import http.client
import os
import socket
import ssl
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

import requests
import urllib3.connection
from msgspec import structs
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    MaxRetryError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as AttemptTimeout
from urllib3.poolmanager import PoolManager, ProxyManager
from urllib3.util import Timeout, make_headers
from urllib3.util.retry import Retry
from urllib3.util.ssl_ import create_urllib3_context

from pytest_kosli.api.host import (
    BASE_PATH,
    Exchange,
    Token,
    address,
    check_host,
    check_proxy,
    is_loopback,
    origin,
)
from pytest_kosli.api.traffic import PAUSE_CAP, Call, Clock, Traffic
from pytest_kosli.model import NoVerdict, Reply, Request

__all__ = ["Exchange", "Http", "Token", "check_host"]

RETRIED = frozenset({409, 429, 500, 502, 503, 504})
_SHORTEST_SECRET = 8
_SHARED_PAUSE = frozenset({429, 503})
_LIMITS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_OF_REGISTRIES = ("Docker-Content-Digest", "WWW-Authenticate")
_KEPT_HEADERS = (
    *("Content-Type", "Date", "Location", "Retry-After"),
    *_LIMITS,
    *_OF_REGISTRIES,
)
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_CHUNK = 64 * 1024
_REAL_SOCKETS = frozenset({"socket", "gevent", "eventlet"})
_CALL: contextvars.ContextVar[Call] = contextvars.ContextVar("kosli_call")


def _genuine(name: str) -> Any:
    """Return urllib3's own connection class, also when a cassette has its stub in that place."""
    found = getattr(urllib3.connection, name)
    return next((kind for kind in found.__mro__ if _is_genuine(kind, name)), found)


def _is_genuine(kind: type, name: str) -> bool:
    return kind.__module__ == "urllib3.connection" and kind.__name__ == name


if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection as _PlainConnection
    from urllib3.connection import HTTPSConnection as _TlsConnection
    from urllib3.response import HTTPResponse
else:
    _PlainConnection = _genuine("HTTPConnection")
    _TlsConnection = _genuine("HTTPSConnection")

_GENUINE = _is_genuine(_PlainConnection, "HTTPConnection") and _is_genuine(
    _TlsConnection, "HTTPSConnection"
)


class Http:
    """A client for one host; a call turns a Request into a Reply, from any thread.

    Every status is a Reply, redirects too (none is followed); NoVerdict is raised only when there
    is no whole reply. ``timeout`` seconds are the deadline of one attempt, body included; a whole
    request may take ``timeout * (max_api_retries + 1)`` plus pauses of at most 30 s each.
    ``backoff`` is the pause in seconds before the first retry, doubled for each further one.
    ``base_path`` is what stands before the segments of every Request. ``final`` tells of a reply
    that another attempt would not change, whatever its status. The token follows the word
    ``scheme`` in its header; ``content_type`` is that of the body of a POST.
    """

    def __init__(
        self,
        host: str,
        token: Token | None,
        *,
        timeout: float = 30.0,
        max_api_retries: int = 3,
        concurrency: int = 16,
        proxy: str | None = None,
        no_proxy: str | None = None,
        base_path: str = BASE_PATH,
        user_agent: str,
        accept: str = "application/json",
        content_type: str = "application/json",
        scheme: str = "Bearer",
        backoff: float = 1.0,
        final: Callable[[Reply], bool] = lambda reply: False,
    ) -> None:
        self.host = check_host(host)
        self._auth = _Auth(token, scheme, origin(self.host))
        self._content_type = content_type
        self._timeout = timeout
        self._retries = max_api_retries
        self._concurrency = concurrency
        self._proxy = proxy
        self._no_proxy = no_proxy
        self._base_path = base_path
        self._headers = {"Accept": accept, "Accept-Encoding": "gzip", "User-Agent": user_agent}
        self._backoff = backoff
        self._final = final
        self._begin()
        _EVERY.add(self)

    def _begin(self) -> None:
        """Start with no connection and no watchdog, as a new process has to."""
        self._traffic = Traffic(self._concurrency)
        self._adapter: _Adapter | None = None
        self._building = threading.Lock()

    def __call__(self, request: Request) -> Reply:
        """Send ``request`` and return what the server said, after retries.

        Raises NoVerdict, with the number of attempts, when no whole reply was had.
        """
        call = Call(self._traffic, self.host, self._timeout, self._retries, self._backoff)
        try:
            return self._send(request, call)
        except NoVerdict as error:
            failure = error
        except Exception as error:
            failure = _explain(error, call)
        except BaseException as interrupt:
            raise interrupt.with_traceback(None) from None
        finally:
            call.end()
        # Not the old one, whose traceback holds request headers and so the token.
        raise replace(failure, attempts=call.attempts)

    def __repr__(self) -> str:
        return f"<Http {self.host}>"

    @property
    def proxy(self) -> str | None:
        """Return the proxy that requests go through, without credentials, or None for none.

        Raises NoVerdict ``bad_proxy`` for one that can not be used.
        """
        chosen = self._chosen_proxy()
        return chosen and _without_credentials(chosen)

    def deadline(self, seconds: float) -> contextlib.AbstractContextManager[None]:
        """Limit everything that any thread sends inside the ``with`` block to so many seconds.

        What still runs at its end is shut down, what comes later is refused: ``budget_spent``.
        """
        return self._traffic.budget(seconds)

    def cancel(self) -> None:
        """Shut down all sockets in use; every later call raises NoVerdict ``interrupted``."""
        self._traffic.stop(NoVerdict("interrupted", "the run was interrupted"))

    def close(self) -> None:
        """Close all connections and end the watchdog thread; nothing can be sent any more."""
        self._traffic.close()
        adapter, self._adapter = self._adapter, None
        if adapter is not None:
            adapter.close()

    def _send(self, request: Request, call: Call) -> Reply:
        with self._traffic.lane():
            prepared = self._prepare(request)
            adapter = self._open()
            call.target = prepared.path_url
            call.final = self._final
            call.limit = request.limit
            if adapter.proxy_name is not None:
                call.where = f"{self.host} through the proxy {adapter.proxy_name}"
            outer = _CALL.set(call)
            try:
                response = adapter.send(prepared, timeout=self._timeout)
            finally:
                _CALL.reset(outer)
        if not isinstance(getattr(response.raw, "kosli_body", None), bytes):
            raise _intercepted("the reply did not come over a connection of ours")
        sent = str(prepared.headers.get("Authorization", ""))
        return _without(sent.rpartition(" ")[2], _reply(response.raw, call))

    def _prepare(self, request: Request) -> requests.PreparedRequest:
        if request.method not in ("GET", "POST"):
            raise ValueError(f"{request.method} is not a way to read")
        # By hand: what requests does to an address must not be done to ours, and takes its time.
        prepared = requests.PreparedRequest()
        prepared.method = request.method
        prepared.url = address(self.host, self._base_path, request)
        prepared.headers = CaseInsensitiveDict(self._headers)
        if request.method == "POST":
            prepared.headers["Content-Type"] = self._content_type
        prepared.body = request.body or None
        return self._auth(prepared)

    def _open(self) -> _Adapter:
        with self._building:
            if self._adapter is None:
                self._adapter = _Adapter(self.host, self._concurrency, self._chosen_proxy())
            return self._adapter

    def _chosen_proxy(self) -> str | None:
        """Return the proxy for an https host; http is loopback, and goes straight."""
        if not self.host.startswith("https:"):
            return None
        _, name, port = origin(self.host)
        chosen = self._proxy
        spared = self._no_proxy
        if not chosen and not is_loopback(name or ""):
            chosen = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
            spared = spared or os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        if not chosen or proxy_bypass_environment(f"{name}:{port}", {"no": spared or ""}):
            return None
        try:
            return check_proxy(chosen)
        except ValueError as error:
            raise NoVerdict("bad_proxy", str(error), "Correct the proxy setting.") from None


_EVERY: weakref.WeakSet[Http] = weakref.WeakSet()


def _in_a_child() -> None:
    """Let a forked process share neither the parent's sockets nor a watchdog that it has not."""
    for client in _EVERY:
        client._begin()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_a_child)


class _Auth(AuthBase):
    """Adds the token to requests for one origin (scheme, name and port), and to no other."""

    def __init__(
        self, token: Token | None, scheme: str, home: tuple[str, str | None, int | None]
    ) -> None:
        self._token = token
        self._scheme = scheme
        self._home = home

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None and origin(prepared.url or "") == self._home:
            prepared.headers["Authorization"] = f"{self._scheme} {_revealed(self._token)}"
        return prepared


def _revealed(token: Token) -> str:
    try:
        text = token.reveal()
    except NoVerdict:
        raise
    except Exception as error:
        raise NoVerdict(
            "bad_token", f"the API token can not be read: {type(error).__name__}"
        ) from None
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise NoVerdict(
            "bad_token",
            "the API token is empty, or holds characters that no token has",
            "Copy the token again: one word, with no quotes, spaces or line breaks in it.",
        )
    return text


class _Watched(_PlainConnection):
    """A connection whose attempts have a deadline, and which reads replies whole, up to the cap.

    A duplicate of its plain socket, the *line*, can be shut down by another thread at any time:
    while it connects, under TLS, or when the connection has handed its socket to the reply.
    """

    debuglevel = 0  # Not http.client's global switch, which prints headers, and so the token.
    _line: socket.socket | None = None
    _reading = False

    def connect(self) -> None:
        _CALL.get().begin()
        super().connect()

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        call = _CALL.get()
        if url != call.target:
            raise NoVerdict("bad_name", f"the address {call.target} became {url} on its way")
        call.begin(self._line)
        super().request(method, url, *args, **kwargs)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        call = _CALL.get()
        self._reading = True
        try:
            response = super().getresponse()
            call.heard = True
            try:
                response.kosli_body = _read(response, call.limit)  # type: ignore[attr-defined]
            finally:
                response.close()
        finally:
            self._reading = False
            if self.sock is None:
                self._drop_line()
        if call.end():
            # A socket that was shut down reads as the end of a reply that has no length.
            raise AttemptTimeout("stopped at the deadline")
        call.traffic.heard()
        if response.status < 200:
            self.close()
        return response

    def close(self) -> None:
        super().close()
        if not self._reading:
            self._drop_line()

    def _new_conn(self) -> socket.socket:
        try:
            return self._dial(_CALL.get())
        except OSError as error:
            raise NewConnectionError(self, type(error).__name__) from error
        except RuntimeError as error:
            raise _intercepted(f"a connection was forbidden: {_said(error)}") from None

    def _dial(self, call: Call) -> socket.socket:
        if socket.socket.__module__.partition(".")[0] not in _REAL_SOCKETS:
            raise _intercepted(f"sockets have been replaced by {socket.socket!r}")
        found = socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)
        failure = OSError("the name has no address")
        for remaining, (family, kind, protocol, _, target) in _countdown(found):
            with contextlib.ExitStack() as unless_connected:
                try:
                    sock = socket.socket(family, kind, protocol)
                    unless_connected.callback(sock.close)
                    self._line = sock.dup()
                    unless_connected.callback(self._drop_line)
                    call.hold(self._line)
                    for option in self.socket_options or ():
                        sock.setsockopt(*option)
                    sock.settimeout(max(call.left() / remaining, 0.001))
                    sock.connect(target)
                except OSError as error:
                    failure = error
                    continue
                unless_connected.pop_all()
                sock.settimeout(max(call.left(), 0.001))
                return sock
        raise failure

    def _drop_line(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()


class _WatchedTls(_Watched, _TlsConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


class _Adapter(HTTPAdapter):
    """requests' transport over our own pools.

    It is used without a Session (no cookies, no ``.netrc``, no redirects, no hooks), and shares
    neither ``send`` nor connection classes with others: what a test patches there, a VCR cassette
    for one, can not answer in the server's place and does not see the token.
    """

    def __init__(self, host: str, lanes: int, proxy: str | None) -> None:
        self._secure = host.startswith("https:")
        self._proxy = proxy
        self.proxy_name = proxy and _without_credentials(proxy)
        super().__init__(pool_connections=1, pool_maxsize=lanes)
        self._pool = self.poolmanager.connection_from_url(host)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **kwargs: Any
    ) -> None:
        """Make the one manager: of pools to the host itself, or through the proxy."""
        kwargs |= {"num_pools": connections, "maxsize": maxsize, "block": block}
        if self._secure:
            kwargs |= {"ssl_context": _tls(), "cert_reqs": "CERT_REQUIRED"}
        if self._proxy is None:
            manager = PoolManager(**kwargs)
        else:
            parts = urlsplit(self._proxy)
            secret = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
            manager = ProxyManager(
                f"{parts.scheme}://{self.proxy_name}",
                proxy_headers=make_headers(proxy_basic_auth=secret) if parts.username else None,
                proxy_ssl_context=_tls(),
                **kwargs,
            )
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        self.poolmanager = manager

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send ``request`` with retries; certificates are always verified."""
        if self._pool.ConnectionCls not in (_Watched, _WatchedTls) or not _GENUINE:
            raise _intercepted("urllib3's connections have been replaced")
        raw = self._pool.urlopen(
            request.method or "",
            request.path_url,
            body=request.body,
            headers=request.headers,
            retries=Patience.of(_CALL.get()),
            redirect=False,
            assert_same_host=False,
            timeout=Timeout(connect=timeout, read=timeout),
            preload_content=False,
            decode_content=False,
            release_conn=True,
        )
        return self.build_response(request, raw)


class Patience(Retry):
    """When and how long to wait for another attempt; urllib3 asks it after each one that failed.

    Statuses 409, 429, 500, 502, 503, 504 and failed connections are retried, bad certificates are
    not, nor is a reply that the client calls final. A Retry-After, else the moment when a rate
    limit ends, is honoured up to 30 s; 429 and 503 make all threads pause together. A wait that
    would outlast the deadline is not begun.
    """

    RETRY_AFTER_STATUS_CODES = frozenset()

    def __init__(self, *args: Any, call: Call, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.call = call
        self.wait = 0.0

    @classmethod
    def of(cls, call: Call) -> Patience:
        """Return the patience for one request."""
        return cls(
            total=call.retries,
            redirect=0,
            allowed_methods=None,
            status_forcelist=RETRIED,
            raise_on_status=False,
            raise_on_redirect=False,
            call=call,
        )

    def new(self, **kwargs: Any) -> Patience:
        """Return a copy with other counts, for the same request."""
        return super().new(call=self.call, **kwargs)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Patience:
        """Return what is left after an attempt; raises MaxRetryError when that was the last."""
        stopped = self.call.end()
        if stopped is not None and stopped.code != "timeout":
            raise stopped
        last = MaxRetryError(_pool, url or "", error)
        try:
            if error is not None and _is_bad_certificate(error):
                raise last
            if response is not None and self.call.final(_reply(response, self.call)):
                raise last
            following = super().increment(method, url, response, error, _pool, _stacktrace)
            following.wait = following.wait_after(response)
            if not self.call.affords(following.wait):
                raise last
        except MaxRetryError:
            self._note(error, gave_up=True)
            raise
        self._note(error, gave_up=False)
        return following

    def wait_after(self, response: Any) -> float:
        """Return the seconds to wait after this reply, or after none: asked for, or doubling."""
        headers = {} if response is None else response.headers
        asked, reset = headers.get("Retry-After"), headers.get("X-RateLimit-Reset")
        try:
            if asked is not None:
                return min(self.parse_retry_after(asked), PAUSE_CAP)
            if reset is not None and response.status == 429:
                return min(max(0.0, float(reset) - Clock.utc().timestamp()), PAUSE_CAP)
        except Exception:  # noqa: S110 - whatever a server writes there is not worth an error
            pass
        return min(self.call.backoff * 2.0 ** min(len(self.history) - 1, 10), PAUSE_CAP)

    def sleep(self, response: Any = None) -> None:
        """Wait as decided; after 429 and 503 let everybody wait instead."""
        if response is not None and response.status in _SHARED_PAUSE:
            self.call.traffic.pause(self.wait)
        else:
            self.call.traffic.sleep(self.wait)

    def _note(self, error: Exception | None, *, gave_up: bool) -> None:
        if error is not None:
            self.call.traffic.unheard(_explain(error, self.call), gave_up=gave_up)


def _reply(response: Any, call: Call) -> Reply:
    headers = response.headers
    return Reply(
        status=response.status,
        body=getattr(response, "kosli_body", b""),
        content_type=headers.get("Content-Type", ""),
        headers=tuple((name, headers[name]) for name in _KEPT_HEADERS if name in headers),
        attempts=call.attempts,
        received_at=Clock.utc(),
    )


def _without(secret: str, reply: Reply) -> Reply:
    """Hide our token in a reply that repeats it: replies are quoted in reports."""
    if len(secret) < _SHORTEST_SECRET:  # it would be found in every other word
        return reply
    return structs.replace(
        reply,
        body=reply.body.replace(secret.encode(), b"***"),
        content_type=reply.content_type.replace(secret, "***"),
    )


def _read(response: HTTPResponse, limit: int) -> bytes:
    """Return the whole body, decompressed; it is never inflated beyond ``limit`` bytes."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise _broken(f"it is encoded as {encoding[:40]!a}", response.status)
    if (response.length_remaining or 0) > limit:
        raise _too_large(response.status, limit)
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16) if "gzip" in encoding else None
    received, body = 0, bytearray()
    while chunk := response.read(_CHUNK, decode_content=False):
        received += len(chunk)
        try:
            body += chunk if inflate is None else inflate.decompress(chunk, limit + 1 - len(body))
        except zlib.error:
            raise _broken("it does not decompress", response.status) from None
        if received > limit or len(body) > limit:
            raise _too_large(response.status, limit)
    if inflate is not None and received and (not inflate.eof or inflate.unused_data):
        raise _broken("its compressed body is not whole", response.status)
    return bytes(body)


def _without_credentials(proxy: str) -> str:
    return urlsplit(proxy).netloc.rpartition("@")[2]


def ca_bundle() -> tuple[str, str]:
    """Return the variable that names the CA bundle in force (empty for certifi's), and its path.

    Raises NoVerdict ``tls`` for a bundle that can not be used.
    """
    _tls()
    return _named_bundle()


def _named_bundle() -> tuple[str, str]:
    chosen = next((name for name in _BUNDLES if os.environ.get(name)), "")
    return chosen, os.environ[chosen] if chosen else DEFAULT_CA_BUNDLE_PATH


def _tls() -> ssl.SSLContext:
    """Return a verifying context with the CA bundle that the environment names, or certifi's."""
    chosen, bundle = _named_bundle()
    context = create_urllib3_context()
    try:
        if os.path.isdir(bundle):
            context.load_verify_locations(capath=bundle)
        else:
            context.load_verify_locations(cafile=bundle)
    except OSError as error:
        raise NoVerdict(
            "tls",
            f"the CA bundle {bundle} can not be used: {_said(error)}",
            f"Correct {chosen}." if chosen else "Install certifi again.",
        ) from None
    return context


def _countdown(found: list[Any]) -> Iterator[tuple[int, Any]]:
    """Yield each address with how many are left, itself included: they share the time."""
    return zip(range(len(found), 0, -1), found, strict=True)


def _causes(error: BaseException) -> list[BaseException]:
    """Return ``error`` and all that it wraps, in the several ways of requests and urllib3."""
    chain: list[BaseException] = []
    inner: object = error
    while isinstance(inner, BaseException) and inner not in chain:
        chain.append(inner)
        wrapped = (
            getattr(inner, "reason", None),
            getattr(inner, "original_error", None),
            *inner.args,
            inner.__cause__,
        )
        inner = next((one for one in wrapped if isinstance(one, BaseException)), None)
    return chain


def _is_bad_certificate(error: BaseException) -> bool:
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))


def _explain(error: Exception, call: Call) -> NoVerdict:
    """Return the NoVerdict for an attempt that had no whole reply."""
    if call.stopped_by is not None:
        stop = call.stopped_by
        return replace(stop, message=f"{call.where}: {stop.message}")
    causes = _causes(error)
    if any(_is_timeout(cause) for cause in causes):
        return NoVerdict(
            "timeout",
            f"{call.where} gave no reply within {call.timeout:g} s",
            "Try again; if the server is slow but sound, raise --kosli-timeout.",
        )
    if call.heard or any(_is_about_the_reply(cause) for cause in causes):
        return _broken(f"it breaks off, or is not HTTP ({type(causes[-1]).__name__})", None)
    if any(isinstance(cause, ssl.SSLError | SSLError) for cause in causes):
        return NoVerdict(
            "tls",
            f"no secure connection to {call.where}: {_said(causes[-1])}",
            "Check the host name; name your own CA bundle in REQUESTS_CA_BUNDLE.",
        )
    if isinstance(error, HTTPError | OSError):
        return NoVerdict(
            "unreachable",
            f"{call.where} can not be reached: {_said(causes[-1])}",
            "Check the host, the network and the proxy, and whether the service is up.",
        )
    return _broken(f"it can not be read ({type(error).__name__})", None)


def _is_timeout(cause: BaseException) -> bool:
    if isinstance(cause, NewConnectionError):
        return False
    return isinstance(cause, TimeoutError | ReadTimeoutError | ConnectTimeoutError | AttemptTimeout)


def _is_about_the_reply(cause: BaseException) -> bool:
    if isinstance(cause, http.client.RemoteDisconnected):
        return False
    return isinstance(cause, http.client.HTTPException | InvalidHeader)


def _said(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "".join(mark if mark.isprintable() else " " for mark in text)[:200]


def _intercepted(what: str) -> NoVerdict:
    return NoVerdict(
        "intercepted",
        f"this process does not let us ask the server itself: {what}",
        "Ask outside the mock or the block: with the marker, or in a session fixture.",
    )


def _broken(what: str, status: int | None) -> NoVerdict:
    return NoVerdict(
        "broken_reply",
        f"the reply can not be used: {what}",
        "Try again; if it stays so, look at what stands between here and the server.",
        status=status,
    )


def _too_large(status: int, limit: int) -> NoVerdict:
    return NoVerdict(
        "too_large",
        f"the reply is larger than {limit // 1024 // 1024} MiB",
        "Ask for less, or look at what stands between here and the server.",
        status=status,
    )
