"""Check the URL of a webhook, and find the secrets in it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from target_activecampaign.client.address import is_loopback

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_MIN_SECRET_CHARS = 8
"""A shorter path is no secret, and may occur in any text."""


def find_problem(url: str) -> str | None:
    """Return why a URL can't be used, without quoting it; None if it can."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    plain = host and _PRINTABLE.fullmatch(url) and "@" not in parts.netloc
    if plain and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        return None
    return (
        "The setting 'on_complete_webhook' must be an https:// URL without a user name. "
        "http:// is allowed only for a server on this machine (127.0.0.1, ::1, localhost)."
    )


def find_secrets(url: str) -> list[str]:
    """Return the parts of a URL that must not be shown, the longest first."""
    path = urlsplit(url).path
    return [url, *(part for part in (request_target(url), path) if len(part) >= _MIN_SECRET_CHARS)]


def request_target(url: str) -> str:
    """Return the path and query of a URL, as an HTTP request has them."""
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
