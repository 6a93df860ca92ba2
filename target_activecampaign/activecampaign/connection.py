"""The HTTP connection: what it sends, what it must never do, and how its failures are named.

What the environment says of proxies is left to requests, once. Each request then goes straight to
urllib3's pool, which costs less than half of what a `requests.Session` does.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy
from urllib3.util import create_urllib3_context

from target_activecampaign.activecampaign import errors
from target_activecampaign.activecampaign.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Query = Mapping[str, str | int]

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


class _CutOffError(urllib3.exceptions.HTTPError):
    """An answer began, and did not come to its end."""


class Connection:
    """Sends requests to one host alone, as they carry the key; for any number of threads.

    Proxies and certificates named in the environment are used, ``.netrc`` is not: it would
    add a second credential. To loopback over plain HTTP nothing of the environment is used,
    or a proxy would get the key in the clear. Redirects are not followed. No cookie is kept:
    answers set PHPSESSID [rec], and PHP works off requests of one session one after the other.

    Args:
        base_url: Scheme and host, as `parse_api_url` gives them.
        api_key: The key.
        timeout: Seconds to connect, and seconds of silence until an answer is given up.
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
        self._timeout = timeout
        self._pool = open_pool(base_url, timeout, pool_size)
        self._proxy = _proxy_of(base_url)
        self._headers = {
            "Api-Token": api_key,
            "Accept": "application/json",
            "User-Agent": user_agent or _USER_AGENT,
            **urllib3.make_headers(accept_encoding=True),
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
        try:
            return self._send(method, target, body)
        except (OSError, urllib3.exceptions.HTTPError) as error:
            failure = _failure_of(where, error, self._timeout, self._proxy)
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
            return Answer(response.status, response.headers, response.read())
        except (urllib3.exceptions.ProtocolError, urllib3.exceptions.DecodeError) as error:
            raise _CutOffError from error

    def close(self) -> None:
        """Send nothing more; answers under way are read to their end."""
        self._pool.close()


def open_pool(base_url: str, timeout: float, size: int) -> urllib3.HTTPConnectionPool:
    """Connections to one host, with the environment's proxies and certificates.

    Args:
        base_url: Scheme and host.
        timeout: Seconds to connect, and seconds of silence until an answer is given up.
        size: Connections kept open.

    Raises:
        CertificateRejected, ConnectionFailed: As of `Connection`.
    """
    options: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=timeout, read=timeout),
        "retries": urllib3.Retry(total=False, redirect=False),  # who calls knows what to repeat
    }
    if not base_url.startswith("https://"):
        return urllib3.connection_from_url(base_url, maxsize=size, **options)
    # One for all connections: reading the certificates takes 20 ms.
    options["ssl_context"] = _trusted_certificates()
    proxy = _chosen_proxy(base_url)
    if not proxy:
        return urllib3.connection_from_url(base_url, maxsize=size, **options)
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
    pool: urllib3.HTTPConnectionPool = manager.connection_from_url(base_url)
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
    """What to call the proxy of an address, without its password; empty if there is none."""
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


def _failure_of(
    where: str, error: OSError | urllib3.exceptions.HTTPError, timeout: float, proxy: str
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
        return errors.RequestTimeout(where, detail=f"nothing came for {timeout:g} s")
    if caused_by(_CutOffError):
        return errors.MalformedAnswer(where, detail="it was cut off")
    return errors.ConnectionFailed(where, detail="it was lost before the answer came")


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
    """Why a proxy gave no connection; of what it said, only the status is told."""
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
