"""Parsing of the account's API address, which people write in several forms."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_ADVICE = "Use the API URL shown under Settings > Developer, like https://acct.api-us1.com"
_PATHS = frozenset({"", "/", "/api/3", "/api/3/"})
_DEFAULT_PORTS = {"https": 443, "http": 80}
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_UNWANTED = re.compile(r"[^\x21-\x7e]")
_LOOPBACK_V4 = ipaddress.IPv4Network("127.0.0.0/8")
_LOOPBACK_V6 = ipaddress.IPv6Address("::1")


def parse_api_url(text: str) -> str:
    """Return the API address in the one form that the client uses.

    Args:
        text: A URL or a bare host name, with or without a final ``/`` or ``/api/3``.

    Returns:
        Scheme, host and port, unless it is the scheme's default: ``https://acct.api-us1.com``.

    Raises:
        ValueError: The text is not such an address, or the key would be sent unencrypted. The
            message says what to do and quotes nothing of the text, as people paste keys and
            passwords in the wrong place.
    """
    _check_characters(text)
    bare = "://" not in text
    try:
        parts = urlsplit(f"https://{text}" if bare else text)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # raised again below, as its text repeats the address
        host, port = "", None
    if not _is_host(host) or port == 0:
        raise ValueError(f"The API address has no valid host name or port. {_ADVICE}.")
    if parts.path not in _PATHS:
        raise ValueError(
            f"The API address must have no path but /api/3: leave out the rest. {_ADVICE}."
        )
    if bare and "." not in host and not is_loopback(host):
        raise ValueError(f"The API address is only a name, not a whole host name. {_ADVICE}.")
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"The API address must begin with https://. {_ADVICE}.")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(
            "The API address must begin with https://: over http:// anyone on the way could "
            "read the key. Only a server on this machine (127.0.0.1, ::1, localhost) may have it."
        )
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = "" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{shown_host}{shown_port}"


def _check_characters(text: str) -> None:
    if not text:
        raise ValueError(f"The API address is empty. {_ADVICE}.")
    if _UNWANTED.search(text):
        raise ValueError(
            "The API address holds white space or characters that no URL has: "
            f"remove them. {_ADVICE}."
        )
    if "@" in text:
        raise ValueError(
            "The API address must not hold a user name, a password or a key: "
            f"leave out all up to the @. {_ADVICE}."
        )
    if "?" in text or "#" in text:
        raise ValueError(f"The API address must end before any ? or #. {_ADVICE}.")


def is_loopback(host: str) -> bool:
    """Return whether a host name or IP address is this machine."""
    if host == "localhost":
        return True
    address = _ip_address(host)
    if isinstance(address, ipaddress.IPv4Address):
        return address in _LOOPBACK_V4
    return address == _LOOPBACK_V6


def _is_host(host: str) -> bool:
    if ":" in host:
        return "%" not in host and _ip_address(host) is not None
    return len(host) <= 253 and _HOSTNAME.fullmatch(host) is not None  # noqa: PLR2004 - RFC 1035


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
