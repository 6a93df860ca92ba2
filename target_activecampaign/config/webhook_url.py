"""The address of a webhook: whether it can be used, and what of it is secret."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from target_activecampaign.client.address import is_loopback

_PRINTABLE = re.compile(r"[\x21-\x7e]+")


_SHORT = 8
"""Characters below which a path is no secret, and may be part of anything."""


def problem(url: str) -> str | None:
    """Why an address can't be used, as a sentence that repeats nothing of it; None if it can."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    plain = host and _PRINTABLE.fullmatch(url) and "@" not in parts.netloc
    if plain and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        return None
    return (
        "The setting 'on_complete_webhook' must be an https:// address without a user name in it. "
        "Only a server on this machine (127.0.0.1, ::1, localhost) may have http://."
    )


def secrets_in(url: str) -> list[str]:
    """What must not be shown of an address, the longest first."""
    path = urlsplit(url).path
    return [url, *(part for part in (_target(url), path) if len(part) >= _SHORT)]


def _target(url: str) -> str:
    """Path and query, as they are asked for."""
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
