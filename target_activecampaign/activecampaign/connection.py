"""The HTTP session: what it sends, what it must never do, and how its failures are named."""

from __future__ import annotations

import logging
import re
import socket
import ssl
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING

import requests
import urllib3
from requests.adapters import HTTPAdapter

from target_activecampaign.activecampaign import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

_USER_AGENT = "target-activecampaign"
_KEY = re.compile(r"[\x21-\x7e]+")
_LOGGERS_WITH_URLS = ("urllib3.connectionpool", "urllib3.util.retry")

_NEVER_CONNECTED = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
)


def open_session(
    base_url: str, api_key: str, *, pool_size: int, user_agent: str | None
) -> requests.Session:
    """Make a session that may be used for `base_url` only, as it carries the key.

    Proxies and certificates named in the environment are used, ``.netrc`` is not: it would
    add a second credential. To loopback over plain HTTP nothing of the environment is used,
    or a proxy would get the key in the clear.

    Raises:
        ValueError: The key has characters that no key has; the message does not repeat it.
    """
    if not _KEY.fullmatch(api_key):
        raise ValueError(
            "The API key is empty or holds white space or other characters that no key has: "
            "copy it again from Settings > Developer."
        )
    session = requests.Session()
    session.trust_env = base_url.startswith("https://")
    session.auth = _no_other_credential
    session.headers.update(
        {
            "Api-Token": api_key,
            "Accept": "application/json",
            "User-Agent": user_agent or _USER_AGENT,
        }
    )
    # Answers set PHPSESSID [rec]. PHP works off requests of one session one after the other.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=pool_size)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    for name in _LOGGERS_WITH_URLS:
        logging.getLogger(name).addFilter(_without_queries)
    return session


def failure_of(
    where: str, error: OSError | urllib3.exceptions.HTTPError, timeout: float
) -> errors.ActiveCampaignError:
    """Name a failure to get a whole answer; its own text holds URLs, so nothing of it is used.

    Args:
        where: Method and path of the request.
        error: What requests raised (all its exceptions are OSErrors), or urllib3 through it.
        timeout: The timeout that was set, in seconds.
    """
    causes = list(_causes(error))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if caused_by(ssl.SSLCertVerificationError):
        return errors.CertificateRejected(where)
    if not caused_by(requests.RequestException, urllib3.exceptions.HTTPError):
        return errors.CertificateRejected(
            where, detail="the file of trusted certificates can't be read"
        )
    if caused_by(*_NEVER_CONNECTED):
        failure = errors.ConnectionFailed(where, detail=_why_no_connection(causes))
        failure.effect_unknown = False
        return failure
    if caused_by(requests.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError):
        return errors.RequestTimeout(where, detail=f"nothing came for {timeout:g} s")
    if caused_by(
        requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError
    ):
        return errors.MalformedAnswer(where, detail="it was cut off")
    return errors.ConnectionFailed(where, detail="it was lost before the answer came")


def _why_no_connection(causes: list[BaseException]) -> str:
    for kind, reason in (
        (socket.gaierror, "the host name is not known"),
        (ConnectionRefusedError, "nothing listens at that address"),
        (urllib3.exceptions.ConnectTimeoutError, "the server could not be reached in time"),
        (urllib3.exceptions.ProxyError, "the proxy did not let it through"),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    return "the server could not be reached"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _no_other_credential(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stand in as the session's authentication, so that requests does not look into .netrc."""
    return request


def _without_queries(record: logging.LogRecord) -> bool:
    """Cut query strings, which may hold an e-mail address, from urllib3's log lines."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args
        )
    return True
