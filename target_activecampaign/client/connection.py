"""The HTTP connection: what it sends, what it must never do, and how its failures are named.

What the environment says of proxies is left to requests, once. Each request then goes straight to
urllib3's pool, which costs less than half of what a `requests.Session` does.
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
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode, urlsplit

import urllib3
import urllib3.connection
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy
from urllib3.util import create_urllib3_context
from urllib3.util.connection import allowed_gai_family

from target_activecampaign.client import errors
from target_activecampaign.client.responses import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Query = Mapping[str, str | int]

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Bytes of an answer, and of what it is when it is decompressed; a page has some 100,000."""

_LONGEST_CONNECT = 10.0
"""Seconds for one address of the host: by then a connection's first packet was sent four times."""
_LONGEST = 86_400.0
"""Seconds that anything waits; more than some hundred years are too many for a clock."""
_READ_AT_ONCE = 64 * 1024

_USER_AGENT = "target-activecampaign"
_KEY = re.compile(r"[\x21-\x7e]+")
_PROXY_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_TUNNEL_FAILED = re.compile(r"Tunnel connection failed: ([0-9]{3})\b")
_PROXY_AUTHENTICATION = "407"
_LOGGERS_WITH_URLS = ("urllib3.connectionpool", "urllib3.util.retry")

_NEVER_CONNECTED = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
)


class _OddAnswerError(urllib3.exceptions.HTTPError):
    """An answer began, and is none that can be read; the text says why, and quotes nothing."""


class _Exchange:
    """A request and its answer, which can be ended from another thread.

    A socket's timeout starts anew with each byte, so it is no limit for an answer that drips. What
    ends one in any state, also amid a TLS handshake, is to shut its connection down.

    Args:
        seconds: How long it may take.

    Attributes:
        deadline: When it has to be over.
        late: Whether it was not.
        ended: Whether it was ended, for that reason or another.
    """

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.late = False
        self.ended = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end_late)
        self._timer.daemon = True
        self._timer.start()

    def use(self, twin: socket.socket | None) -> None:
        """Note the connection that it goes over: a duplicate of its socket."""
        with self._lock:
            self._socket = twin
        if self.ended:
            self.end()

    def end(self) -> None:
        """End it, in whatever state it is."""
        with self._lock:
            self.ended = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def done(self) -> None:
        """Release the connection: it is another's from now on."""
        self._timer.cancel()
        with self._lock:
            self._socket = None

    def _end_late(self) -> None:
        self.late = True
        self.end()


class _Current(threading.local):
    """The exchange of this thread."""

    exchange: _Exchange | None = None


_current = _Current()


class _Endable:
    """Makes a connection of urllib3's known to the exchange that goes over it."""

    _twin: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        """Connect to the host's addresses, one after the other, in the time that there is."""
        connection, exchange = cast("urllib3.connection.HTTPConnection", self), _current.exchange
        connect = super()._new_conn  # type: ignore[misc] # of the class that this is mixed into
        if exchange is None:
            return cast("socket.socket", connect())
        new = self._connect_in_time(connection, connect, exchange)
        self._twin = new.dup()
        exchange.use(self._twin)
        return new

    def _connect_in_time(self, connection: Any, connect: Any, exchange: _Exchange) -> socket.socket:
        name = connection._dns_host  # noqa: SLF001 - what urllib3 itself connects to
        try:
            found = socket.getaddrinfo(
                name, connection.port, allowed_gai_family(), socket.SOCK_STREAM
            )
        except (OSError, UnicodeError):
            return cast("socket.socket", connect())  # which fails, and says so in its own way
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        try:
            for number, address in enumerate(addresses, 1):
                left = exchange.deadline - time.monotonic()
                connection._dns_host = address  # noqa: SLF001
                connection.timeout = max(0.001, min(left, _LONGEST_CONNECT))
                try:
                    return cast("socket.socket", connect())
                except urllib3.exceptions.HTTPError:
                    if number == len(addresses) or time.monotonic() >= exchange.deadline:
                        raise
        finally:
            connection._dns_host = name  # noqa: SLF001
        raise urllib3.exceptions.NewConnectionError(connection, "the host has no address")

    def request(self, *args: Any, **how: Any) -> None:
        """Send a request; a connection that was open already becomes the exchange's now."""
        if _current.exchange is not None and self._twin is not None:
            _current.exchange.use(self._twin)
        super().request(*args, **how)  # type: ignore[misc]

    def close(self) -> None:
        """Close the connection, and the duplicate of its socket."""
        super().close()  # type: ignore[misc]
        twin, self._twin = self._twin, None
        if twin is not None:
            twin.close()


class _PlainConnection(_Endable, urllib3.connection.HTTPConnection):
    """A connection without TLS."""


class _TlsConnection(_Endable, urllib3.connection.HTTPSConnection):
    """A connection with TLS, perhaps through a proxy."""


_ENDABLE: dict[Any, Any] = {
    urllib3.connection.HTTPConnection: _PlainConnection,
    urllib3.connection.HTTPSConnection: _TlsConnection,
}


class Connection:
    """Sends requests to one host alone, as they carry the key; for any number of threads.

    Proxies and certificates named in the environment are used, ``.netrc`` is not: it would
    add a second credential. To loopback over plain HTTP nothing of the environment is used,
    or a proxy would get the key in the clear. Redirects are not followed. No cookie is kept:
    answers set PHPSESSID [rec], and PHP works off requests of one session one after the other.

    Args:
        base_url: Scheme and host, as `parse_api_url` gives them.
        api_key: The key.
        timeout: Seconds for a request, from connecting to the last byte of its answer.
        pool_size: Connections kept open.
        user_agent: Value of the header ``User-Agent``.

    Raises:
        ValueError: The key has characters that no key has; the message does not repeat it.
        CertificateRejected: The file of trusted certificates can't be read.
        ConnectionFailed: The environment's proxy is none that can be used.
    """

    def __init__(
        self, base_url: str, api_key: str, *, timeout: float, pool_size: int, user_agent: str | None
    ) -> None:
        if not _KEY.fullmatch(api_key):
            raise ValueError(
                "The API key is empty or holds white space or other characters that no key has: "
                "copy it again from Settings > Developer."
            )
        self._proxy = _proxy_of(base_url)
        self._timeout = min(timeout, _LONGEST)
        self._pool = open_pool(base_url, self._timeout, pool_size)
        self._closed = False
        self._under_way: set[_Exchange] = set()
        self._lock = threading.Lock()
        self._headers = {
            "Api-Token": api_key,
            "Accept": "application/json",
            "User-Agent": user_agent or _USER_AGENT,
            "accept-encoding": "gzip",  # the one that is read here, with a limit
        }
        self._headers_with_body = {**self._headers, "Content-Type": "application/json"}
        for name in _LOGGERS_WITH_URLS:
            logging.getLogger(name).addFilter(_without_queries)

    def exchange(self, where: str, query: Query | None, body: bytes | None) -> Answer:
        """Send one request and read its whole answer.

        Args:
            where: Method and path, such as ``GET /lists``.
            query: The query's parameters.
            body: JSON to send.

        Raises:
            OutcomeUnknown, ClientClosed: There is no whole answer. The error is raised outside
                of the handler and has no cause: the cause's text holds URLs.
        """
        method, path = where.split(" ", 1)
        target = f"/api/3{path}?{urlencode(query)}" if query else f"/api/3{path}"
        exchange = _Exchange(self._timeout)
        with self._lock:
            self._under_way.add(exchange)
        _current.exchange = exchange
        try:
            if self._closed:
                raise errors.ClientClosed(where)
            answer = self._send(method, target, body)
            if exchange.ended:
                raise TimeoutError  # where it was cut, an answer without a length seems whole
            return answer  # noqa: TRY300 - shorter than an else
        except (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
            if self._closed:
                failure: errors.ActiveCampaignError = errors.ClientClosed(where)
            elif exchange.late:
                failure = _late(where, error, self._timeout)
            else:
                failure = _failure_of(where, error, self._timeout, self._proxy)
        finally:
            _current.exchange = None
            exchange.done()
            with self._lock:
                self._under_way.discard(exchange)
        raise failure

    def _send(self, method: str, target: str, body: bytes | None) -> Answer:
        response = self._pool.urlopen(
            method,
            target,
            body=body,
            headers=self._headers if body is None else self._headers_with_body,
            redirect=False,
            preload_content=False,
        )
        try:
            # Read to its end, it gives its connection back to the pool.
            content = _decompressed(_read(response), response.headers.get("Content-Encoding", ""))
        except (urllib3.exceptions.ProtocolError, http.client.HTTPException) as error:
            response.close()
            raise _OddAnswerError("it was cut off") from error
        except ValueError as error:  # urllib3 reads whatever number a chunk's length is
            response.close()
            raise _OddAnswerError("its chunks are none of HTTP's") from error
        except BaseException:
            response.close()
            raise
        return Answer(response.status, response.headers, content)

    def close(self, *, at_once: bool = False) -> None:
        """Send nothing more.

        Args:
            at_once: Whether what is under way ends; else answers are read to their end.
        """
        self._pool.close()
        if at_once:
            self._closed = True
            with self._lock:
                under_way = list(self._under_way)
            for exchange in under_way:
                exchange.end()


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    """Read an answer's bytes as they come over the line."""
    parts: list[bytes] = []
    size = 0
    while part := response.read(_READ_AT_ONCE, decode_content=False):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise _OddAnswerError(_TOO_LONG)
    return b"".join(parts)


_TOO_LONG = f"it has more than {MAX_ANSWER_BYTES // 1024 // 1024} MiB"


def _decompressed(content: bytes, encoding: str) -> bytes:
    """Undo an answer's ``Content-Encoding``, as long as it stays within the limit."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"} or not content:
        return content
    if encoding not in {"gzip", "x-gzip"}:
        raise _OddAnswerError("it is compressed in a way that was not asked for")
    parts: list[bytes] = []
    size = 0
    while content:
        gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            part = gzip.decompress(content, MAX_ANSWER_BYTES + 1 - size)
        except zlib.error:
            raise _OddAnswerError("it can't be decompressed") from None
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise _OddAnswerError(_TOO_LONG)
        if not gzip.eof:
            raise _OddAnswerError("it was cut off")
        content = gzip.unused_data
    return b"".join(parts)


def open_pool(base_url: str, timeout: float, size: int) -> urllib3.HTTPConnectionPool:
    """Connections to one host, with the environment's proxies and certificates.

    Args:
        base_url: Scheme and host.
        timeout: Seconds to connect, and seconds of silence until an answer is given up.
            Requests of a `Connection` have a deadline besides.
        size: Connections kept open.

    Raises:
        CertificateRejected, ConnectionFailed: As of `Connection`.
    """
    options: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=min(timeout, _LONGEST_CONNECT), read=timeout),
        "retries": urllib3.Retry(total=False, redirect=False),  # who calls knows what to repeat
    }
    if not base_url.startswith("https://"):
        return _endable(urllib3.connection_from_url(base_url, maxsize=size, **options))
    # One for all connections: reading the certificates takes 20 ms.
    options["ssl_context"] = _trusted_certificates()
    proxy = _chosen_proxy(base_url)
    if not proxy:
        return _endable(urllib3.connection_from_url(base_url, maxsize=size, **options))
    if proxy.startswith("https://"):
        options["proxy_ssl_context"] = options["ssl_context"]
    try:
        named = urlsplit(proxy).hostname is not None
        adapter = HTTPAdapter(pool_maxsize=size)
        manager = adapter.proxy_manager_for(proxy, **options) if named else None
    except ValueError:  # its text holds the proxy's address, and perhaps a password
        manager = None
    if manager is None:
        which = _proxy_of(base_url).removeprefix("the proxy")
        raise errors.ConnectionFailed(
            detail=f"the environment names a proxy that can't be used{f':{which}' if which else ''}"
        )
    return _endable(manager.connection_from_url(base_url))


def _endable(pool: urllib3.HTTPConnectionPool) -> urllib3.HTTPConnectionPool:
    """Let a pool make connections that can be ended while a thread waits for them.

    A class that something else has put in the place of urllib3's own stays: recorders of traffic
    do that.
    """
    pool.ConnectionCls = _ENDABLE.get(pool.ConnectionCls, pool.ConnectionCls)
    return pool


def _trusted_certificates() -> ssl.SSLContext:
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    place = named or DEFAULT_CA_BUNDLE_PATH
    context = create_urllib3_context()
    try:
        if Path(place).is_dir():
            context.load_verify_locations(capath=place)
        else:
            context.load_verify_locations(cafile=place)
    except OSError:
        raise errors.CertificateRejected(
            detail="the file of trusted certificates can't be read"
        ) from None
    return context


def _chosen_proxy(base_url: str) -> str | None:
    """The proxy that the environment names for an address, as a URL."""
    proxy = select_proxy(base_url, get_environ_proxies(base_url))
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _proxy_of(base_url: str) -> str:
    """Return the name of an address's proxy, without its password; empty if there is none."""
    proxy = _chosen_proxy(base_url) if base_url.startswith("https://") else None
    if not proxy:
        return ""
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not _PROXY_HOST.fullmatch(host):
        name = ""
    else:
        host = f"[{host}]" if ":" in host else host
        name = f" {parts.scheme}://{host}{f':{port}' if port else ''}"
    variables = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    named = next((one for one in variables if os.environ.get(one)), None)
    return f"the proxy{name}" + (f" (from {named})" if named else "")


def _late(where: str, error: BaseException, timeout: float) -> errors.ActiveCampaignError:
    """Name what took longer than a request may take."""
    if any(isinstance(cause, _NEVER_CONNECTED) for cause in _causes(error)):
        failure: errors.ActiveCampaignError = errors.ConnectionFailed(
            where, detail="the server could not be reached in time"
        )
        failure.effect_unknown = False
        return failure
    return errors.RequestTimeout(where, detail=f"no whole answer came within {timeout:g} s")


def _failure_of(
    where: str,
    error: OSError | urllib3.exceptions.HTTPError | http.client.HTTPException,
    timeout: float,
    proxy: str,
) -> errors.ActiveCampaignError:
    """Name a failure to get a whole answer; its own text holds URLs, so nothing of it is used."""
    causes = list(_causes(error))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if caused_by(urllib3.exceptions.ClosedPoolError):
        return errors.ClientClosed(where)
    if caused_by(ssl.SSLCertVerificationError):
        of_proxy = f"that of {proxy}" if caused_by(urllib3.exceptions.ProxyError) else ""
        return errors.CertificateRejected(where, detail=of_proxy)
    if caused_by(*_NEVER_CONNECTED):
        failure = errors.ConnectionFailed(where, detail=_why_no_connection(causes, proxy))
        failure.effect_unknown = False
        return failure
    if caused_by(urllib3.exceptions.ReadTimeoutError, TimeoutError):
        return errors.RequestTimeout(where, detail=f"no whole answer came within {timeout:g} s")
    odd = next((cause for cause in causes if isinstance(cause, _OddAnswerError)), None)
    if odd is not None:
        return errors.MalformedAnswer(where, detail=str(odd))
    if caused_by(*_ODD_HEADERS) and not caused_by(http.client.RemoteDisconnected):
        return errors.MalformedAnswer(where, detail="its headers are none of HTTP's, or too long")
    return errors.ConnectionFailed(where, detail="it was lost before the answer came")


_ODD_HEADERS = (http.client.HTTPException, urllib3.exceptions.InvalidHeader)


def _why_no_connection(causes: list[BaseException], proxy: str) -> str:
    if proxy and any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes):
        return _why_no_proxy(causes, proxy)
    for kind, reason in (
        (socket.gaierror, "the host name is not known"),
        (ConnectionRefusedError, "nothing listens at that address"),
        (urllib3.exceptions.ConnectTimeoutError, "the server could not be reached in time"),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    return "the server could not be reached"


def _why_no_proxy(causes: list[BaseException], proxy: str) -> str:
    """Return why a proxy gave no connection; of its answer, only the status is told."""
    for cause in causes:
        match = _TUNNEL_FAILED.search(str(cause))
        if match is not None:
            if match[1] == _PROXY_AUTHENTICATION:
                return f"{proxy} wants a user name and password, or others (status {match[1]})"
            return f"{proxy} did not let it through (status {match[1]})"
    for kind, reason in (
        (socket.gaierror, "the host name of {} is not known"),
        (ConnectionRefusedError, "nothing listens at {}"),
        (urllib3.exceptions.TimeoutError, "{} did not answer in time"),
        (TimeoutError, "{} did not answer in time"),
        (OSError, "{} could not be reached"),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return reason.format(proxy)
    return f"{proxy} did not let it through"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _without_queries(record: logging.LogRecord) -> bool:
    """Cut query strings, which may hold an e-mail address, from urllib3's log lines."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args
        )
    return True
