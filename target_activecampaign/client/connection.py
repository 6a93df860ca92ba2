"""The HTTP connection to one account: a `requests.Session` with a deadline and a size limit.

`requests` restarts its read timeout with every byte, so a server that sends one byte at a time
never times out. To end a request in any state, even during a TLS handshake, another thread shuts
its socket down. For this, each connection reports its socket to the exchange that uses it.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import create_urllib3_context

from target_activecampaign.client import errors
from target_activecampaign.client.responses import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Query = Mapping[str, str | int | Sequence[int]]

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Limit for an unpacked answer; a page has some 100,000 bytes."""

_MAX_CONNECT_SECONDS = 10.0
"""Time limit for one address of the host: by then, TCP has sent its first packet four times."""
_MAX_SECONDS = 86_400.0
"""Longest timeout, as the system refuses timeouts of centuries."""
_CHUNK_BYTES = 64 * 1024

_KEY = re.compile(r"[\x21-\x7e]+")
_PROXY_PLACE = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_TUNNEL_FAILED = re.compile(r"Tunnel connection failed: ([0-9]{3})\b")
_PROXY_AUTHENTICATION = "407"
_LOGGERS_WITH_URLS = ("urllib3.connectionpool", "urllib3.util.retry")

_FAILURES = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError)
_NEVER_CONNECTED = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
)


class _TooLongError(OSError):
    """The answer has more than `MAX_ANSWER_BYTES`."""


_UNREADABLE: tuple[tuple[type[BaseException], str], ...] = (
    (_TooLongError, f"it has more than {MAX_ANSWER_BYTES // 1024 // 1024} MiB"),
    (requests.exceptions.ContentDecodingError, "it can't be decompressed"),
    (requests.exceptions.ChunkedEncodingError, "it was cut off"),
    (requests.exceptions.InvalidHeader, "its headers are invalid"),
    (ValueError, "its chunks are not valid HTTP"),  # urllib3 takes any number for their length
)
_INVALID_HEADERS = (http.client.HTTPException, urllib3.exceptions.InvalidHeader)


class _Exchange:
    """One request and its answer, which another thread can end.

    Attributes:
        deadline: Time on the monotonic clock by which the whole answer must be there.
        is_ended: True once it was ended, at its deadline or because the connection was closed.
    """

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.is_ended = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def use(self, twin: socket.socket | None) -> None:
        """Set the duplicate of the socket to shut down; None once another exchange may use it."""
        with self._lock:
            self._socket = twin
        if self.is_ended:
            self.end()

    def end(self) -> None:
        """Shut the connection down in any state."""
        with self._lock:
            self.is_ended = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)


class _Current(threading.local):
    """The exchange that the current thread makes."""

    exchange: _Exchange | None = None


_current = _Current()


class _Endable:
    """Mixin for urllib3's connections: reports the socket to the current exchange.

    `connect`, `request`, `sock`, `host`, `port` and `timeout` are those of `http.client`.
    """

    host: str
    port: int
    timeout: float | None
    _own_socket: socket.socket | None = None
    _twin: socket.socket | None = None

    @property
    def sock(self) -> socket.socket | None:
        """The socket: at first the plain one, then the one that speaks TLS over it."""
        return self._own_socket

    @sock.setter
    def sock(self, new: socket.socket | None) -> None:
        self._own_socket = new
        if new is None:
            twin, self._twin = self._twin, None
            if twin is not None:
                twin.close()
        elif self._twin is None and _current.exchange is not None:
            # A duplicate of the plain socket works during and after the TLS handshake, too.
            self._twin = new.dup()
            _current.exchange.use(self._twin)

    def connect(self) -> None:
        """Connect within the exchange's time, even if the host has many addresses."""
        exchange = _current.exchange
        if exchange is not None:
            addresses = 1
            with suppress(OSError, UnicodeError):  # connecting fails, too, and says why
                addresses = len(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
            # urllib3 tries one address after the other, each for the time that is set here.
            left = (exchange.deadline - time.monotonic()) / max(1, addresses)
            self.timeout = max(0.001, min(left, _MAX_CONNECT_SECONDS))
        super().connect()  # type: ignore[misc] # of the class that this is mixed into

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request; a connection that was open already reports its socket now."""
        if _current.exchange is not None and self._twin is not None:
            _current.exchange.use(self._twin)
        super().request(*args, **options)  # type: ignore[misc]


class _PlainConnection(_Endable, HTTPConnection):
    """A connection without TLS."""


class _TlsConnection(_Endable, HTTPSConnection):
    """A connection with TLS, perhaps through a proxy."""


_ENDABLE: dict[Any, Any] = {HTTPConnection: _PlainConnection, HTTPSConnection: _TlsConnection}


class _Adapter(HTTPAdapter):
    """Adapter whose connections can be ended, and share one set of trusted certificates.

    Reading the certificates takes 20 ms, so they are not read again for each connection.
    """

    def __init__(self, certificates: ssl.SSLContext | None, pool_size: int) -> None:
        self._certificates = certificates
        # The client repeats requests by itself: it knows which ones, and for how long.
        never = urllib3.Retry(total=False, redirect=False)
        super().__init__(pool_connections=1, pool_maxsize=pool_size, max_retries=never)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Create the pool manager, with the certificates."""
        super().init_poolmanager(*args, ssl_context=self._certificates, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Return the pool manager of a proxy; the proxy itself may speak TLS, too."""
        certificates = {"ssl_context": self._certificates, "proxy_ssl_context": self._certificates}
        return super().proxy_manager_for(proxy, **certificates, **options)

    def cert_verify(self, *args: Any) -> None:
        """Add no certificates: the context has them, and requires a valid one of the server."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Return the connection pool for a request."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        # A class that is not urllib3's own stays: recorders of traffic put theirs there.
        pool.ConnectionCls = _ENDABLE.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool


class _Session(requests.Session):
    """Session that takes a redirect as an answer: it does not even prepare the next request."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """Return no target."""
        return None


class Connection:
    """Sends requests to one account. For any number of threads.

    Args:
        base_url: Scheme and host, as `parse_api_url` returns them.
        api_key: The key. Only this host ever gets it.
        timeout: Seconds for a request, from connecting to the last byte of its answer.
        pool_size: Number of connections kept open.

    Raises:
        ValueError: The key has characters that no key has; the message does not repeat it.
        CertificateRejected: The file of trusted certificates can't be read.
        ConnectionFailed: The environment's proxy can't be used.
    """

    def __init__(self, base_url: str, api_key: str, *, timeout: float, pool_size: int) -> None:
        if not _KEY.fullmatch(api_key):
            raise ValueError(
                "The API key is empty or holds white space or other characters that no key has: "
                "copy it again from Settings > Developer."
            )
        self._root = f"{base_url}/api/3"
        self._timeout = min(timeout, _MAX_SECONDS)
        self._session = open_session(base_url, pool_size)
        self._proxy = _describe_proxy(self._session.proxies.get("https"))
        self._session.headers.update(
            {
                "Api-Token": api_key,
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                "User-Agent": "target-activecampaign",
            }
        )
        self._changed = threading.Condition()
        self._exchanges: set[_Exchange] = set()
        self._watcher: threading.Thread | None = None
        self._closed = False
        self._closed_at_once = False
        for name in _LOGGERS_WITH_URLS:
            logging.getLogger(name).addFilter(_remove_queries)

    def exchange(self, where: str, query: Query | None, body: bytes | None) -> Answer:
        """Send one request and read its whole answer.

        Args:
            where: Method and path, such as ``GET /lists``.
            query: Parameters of the query.
            body: JSON to send.

        Raises:
            OutcomeUnknown, ClientClosed: There is no whole answer. The error is raised outside
                the handler and has no cause, because the cause's text holds URLs.
        """
        exchange = self._begin(where)
        try:
            answer = self._send(where, query, body)
            if exchange.is_ended:
                raise TimeoutError  # an answer without a length seems whole where it was cut
            return answer  # noqa: TRY300 - shorter than an else
        except _FAILURES as error:
            if self._closed_at_once:
                failure: errors.ActiveCampaignError = errors.ClientClosed(where)
            else:
                failure = self._classify(where, error, is_late=exchange.is_ended)
        finally:
            self._finish(exchange)
        raise failure

    def _begin(self, where: str) -> _Exchange:
        exchange = _Exchange(self._timeout)
        with self._changed:
            if self._closed:
                raise errors.ClientClosed(where)
            self._exchanges.add(exchange)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="deadlines", daemon=True)
                self._watcher.start()
        _current.exchange = exchange
        return exchange

    def _finish(self, exchange: _Exchange) -> None:
        _current.exchange = None
        exchange.use(None)
        with self._changed:
            self._exchanges.discard(exchange)
            if self._closed and not self._exchanges:
                self._session.close()
                self._changed.notify_all()

    def _watch(self) -> None:
        """End exchanges at their deadlines, until the connection is closed.

        One thread does this for all requests: a timer for each would start a thread each time.
        It needs no signal when a request begins, as all requests get the same time: none is due
        before the moment for which the thread sleeps.
        """
        with self._changed:
            while self._exchanges or not self._closed:
                now = time.monotonic()
                next_deadline = now + self._timeout
                for exchange in self._exchanges:
                    if exchange.deadline > now:
                        next_deadline = min(next_deadline, exchange.deadline)
                    elif not exchange.is_ended:
                        exchange.end()
                self._changed.wait(next_deadline - now)

    def _send(self, where: str, query: Query | None, body: bytes | None) -> Answer:
        method, path = where.split(" ", 1)
        with self._session.request(
            method,
            self._root + path,
            params=query,
            data=body,
            headers=None if body is None else {"Content-Type": "application/json"},
            allow_redirects=False,  # the key would travel along
            stream=True,
            timeout=(min(self._timeout, _MAX_CONNECT_SECONDS), self._timeout),
        ) as response:
            content = bytearray()
            for chunk in response.iter_content(_CHUNK_BYTES):  # unpacks no more than that at once
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise _TooLongError
            return Answer(response.status_code, response.headers, bytes(content))

    def _classify(
        self, where: str, error: BaseException, *, is_late: bool
    ) -> errors.ActiveCampaignError:
        """Return the error for a failure. Nothing of its text is used, as it holds URLs."""
        # What `requests` raises is an OSError of any kind: what counts is what it wraps.
        causes = [one for one in _causes(error) if not isinstance(one, requests.RequestException)]

        def has(*kinds: type[BaseException]) -> bool:
            return any(isinstance(cause, kinds) for cause in causes)

        if has(ssl.SSLCertVerificationError) and not is_late:
            of_proxy = f"that of {self._proxy}" if has(urllib3.exceptions.ProxyError) else ""
            return errors.CertificateRejected(where, detail=of_proxy)
        if has(*_NEVER_CONNECTED):
            late = _TOO_LATE.format("the server")
            why = late if is_late else _why_not_connected(causes, self._proxy)
            failure = errors.ConnectionFailed(where, detail=why)
            failure.effect_unknown = False
            return failure
        if is_late or has(urllib3.exceptions.ReadTimeoutError, TimeoutError):
            detail = f"no whole answer came within {self._timeout:g} s"
            return errors.RequestTimeout(where, detail=detail)
        unreadable = next((text for kind, text in _UNREADABLE if isinstance(error, kind)), None)
        if unreadable is None and has(*_INVALID_HEADERS):
            unreadable = None if has(http.client.RemoteDisconnected) else "its headers are invalid"
        if unreadable is not None:
            return errors.MalformedAnswer(where, detail=unreadable)
        return errors.ConnectionFailed(where, detail="it was lost before the answer came")

    def close(self, *, at_once: bool = False) -> None:
        """Send no more requests.

        Args:
            at_once: End the requests in flight; otherwise their answers are still read.
        """
        with self._changed:
            self._closed = True
            self._closed_at_once = self._closed_at_once or at_once
            if at_once:
                for exchange in self._exchanges:
                    exchange.end()
            if not self._exchanges:
                self._session.close()
            self._changed.notify_all()


def open_session(base_url: str, pool_size: int) -> requests.Session:
    """Return a session for one host that uses the environment's proxies and certificates.

    It follows no redirect if it is asked not to. ``.netrc`` is not read: it would add a second
    credential. Over plain HTTP, which is for loopback alone, nothing of the environment is used:
    a proxy would get the key in the clear. No cookie is kept: answers set PHPSESSID [rec], and
    PHP works off the requests of one session one after the other.

    Args:
        base_url: Scheme and host.
        pool_size: Number of connections kept open.

    Raises:
        CertificateRejected: The file of trusted certificates can't be read.
        ConnectionFailed: The environment's proxy can't be used.
    """
    session = _Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    found: Any = {}
    certificates = None
    if base_url.startswith("https://"):
        found = session.merge_environment_settings(base_url, {}, None, None, None)
        certificates = _load_certificates(found["verify"])
    session.trust_env = False  # read once, above
    adapter = _Adapter(certificates, pool_size)
    session.mount(base_url, adapter)
    proxies = found.get("proxies", {})
    proxy = proxies.get("https") or proxies.get("all")
    if proxy:
        url = session.proxies["https"] = proxy if "://" in proxy else f"http://{proxy}"
        usable = False
        with suppress(ValueError):  # its text holds the proxy's address, and perhaps a password
            usable = bool(urlsplit(url).hostname and adapter.proxy_manager_for(url))
        if not usable:
            raise errors.ConnectionFailed(detail=f"{_describe_proxy(url)} can't be used")
    return session


def _load_certificates(place: str | bool | None) -> ssl.SSLContext:
    """Return the TLS settings with the certificates in a file or folder, or else the usual ones."""
    path = place if isinstance(place, str) else DEFAULT_CA_BUNDLE_PATH
    context = create_urllib3_context()
    try:
        if Path(path).is_dir():
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except OSError:
        raise errors.CertificateRejected(
            detail="the file of trusted certificates can't be read"
        ) from None
    return context


def _describe_proxy(proxy: str | None) -> str:
    """Return how a message names the proxy, without its password; empty if there is none."""
    if not proxy:
        return ""
    name = ""
    with suppress(ValueError):
        parts = urlsplit(proxy)
        place = parts.netloc.rpartition("@")[2]
        if parts.hostname and _PROXY_PLACE.fullmatch(place):
            name = f" {parts.scheme}://{place}"
    variables = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    named = next((one for one in variables if os.environ.get(one)), None)
    return f"the proxy{name}" + (f" (from {named})" if named else "")


_TOO_LATE = "{} did not answer in time"
_WHY_NOT_CONNECTED: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "the host name of {} is not known"),
    (ConnectionRefusedError, "nothing listens at {}"),
    (urllib3.exceptions.TimeoutError, _TOO_LATE),
    (TimeoutError, _TOO_LATE),
    (OSError, "{} could not be reached"),
    (BaseException, "{} refused the connection"),
)


def _why_not_connected(causes: list[BaseException], proxy: str) -> str:
    """Return why no connection was made, as a clause; of a proxy's answer, only the status."""
    by_proxy = any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes)
    for match in filter(None, (_TUNNEL_FAILED.search(str(cause)) for cause in causes)):
        wish = "asks for a user name and password, or others"
        did = wish if match[1] == _PROXY_AUTHENTICATION else "refused the connection"
        return f"{proxy} {did} (status {match[1]})"
    reasons = (
        text
        for kind, text in _WHY_NOT_CONNECTED
        if any(isinstance(cause, kind) for cause in causes)
    )
    return next(reasons).format(proxy if by_proxy and proxy else "the server")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _remove_queries(record: logging.LogRecord) -> bool:
    """Cut query strings, which may hold an e-mail address, from urllib3's log lines."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args
        )
    return True
