"""The store that a `rate_budget_url` names, and the store in memory."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from target_activecampaign.client.address import parse_api_url
from target_activecampaign.text import install_hint

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.client.rate_limit.state import Document, Store

T = TypeVar("T")

_FORMS = (
    "Use the path of a file (or sqlite:///path) for processes of one machine, "
    "redis://, rediss:// or postgresql:// for several machines."
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


class MemoryStore:
    """The document of a single process. It never fails."""

    place = "memory"
    is_shared = False

    def __init__(self) -> None:
        self._document: Document | None = None

    def update(self, change: Callable[[Document | None, float], tuple[Document | None, T]]) -> T:
        """Do as `Store.update` says; the caller sees that one thread does so at a time."""
        document, result = change(self._document, time.monotonic())
        self._document = document or self._document
        return result

    def close(self) -> None:
        """Do nothing."""


def open_store(url: str, account: str) -> Store:
    """Return the store that a URL names; it connects at its first use.

    Args:
        url: A file's path or ``sqlite:///path``, ``redis://...``, ``rediss://...``,
            ``postgresql://...`` or ``postgresql+psycopg://...``.
        account: The account's API address, in any form that `parse_api_url` takes. Several
            accounts may share a place.

    Raises:
        ValueError: The URL is none of these, its driver is not installed, or the address is
            none. The message repeats nothing of the URL.
    """
    account = parse_api_url(account)
    scheme = (_SCHEME.match(url) or [url, ""])[1].lower()
    if scheme in {"", "sqlite"}:
        from target_activecampaign.client.rate_limit.sql import SqliteStore  # noqa: PLC0415 - slow

        return SqliteStore(_path(url), account)
    if scheme not in {"redis", "rediss", "postgresql", "postgresql+psycopg"}:
        raise ValueError(f"rate_budget_url names no place where a budget can be shared. {_FORMS}")
    _refuse_ambiguous(url)
    try:
        if scheme.startswith("redis"):
            from target_activecampaign.client.rate_limit.redis import (  # noqa: PLC0415 - extra
                RedisStore,
            )

            return RedisStore(url, account)
        from target_activecampaign.client.rate_limit.sql import PostgresStore  # noqa: PLC0415

        return PostgresStore(f"postgresql:{url.partition(':')[2]}", account)
    except ImportError:
        driver, extra = ("redis",) * 2 if scheme.startswith("redis") else ("psycopg", "postgres")
        raise ValueError(
            f"rate_budget_url needs {driver}, which is not installed. {install_hint(extra)}"
        ) from None


def _path(url: str) -> Path:
    path = url
    if _SCHEME.match(url):
        start = "sqlite:///"
        path = url[len(start) :] if url.lower().startswith(start) else ""
    if path in {"", ":memory:"}:
        raise ValueError(f"rate_budget_url names no file. {_FORMS}")
    return Path(path).expanduser()


def _refuse_ambiguous(url: str) -> None:
    """Refuse a password with characters that must be encoded.

    Drivers take parts of such a password for the host or the port, and show them in errors.
    """
    netloc = url.split("://", 1)[-1].partition("/")[0].partition("?")[0].partition("#")[0]
    if "://" not in url or url.count("@") > min(1, netloc.count("@")):
        raise ValueError(
            "rate_budget_url is ambiguous: encode the characters of user name and password that "
            "mean something in a URL, such as %40 for @ and %2F for /."
        )
