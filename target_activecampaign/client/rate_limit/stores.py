"""What a `rate_budget_url` means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from target_activecampaign.client.rate_limit.sqlite import SqliteStore
from target_activecampaign.text import install_hint

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.client.rate_limit.state import Store

_FORMS = (
    "Use the path of a file (or sqlite:///path) for processes of one machine, "
    "redis://, rediss:// or postgresql:// for several machines."
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


def open_store(url: str, account: str) -> Store:
    """Find the place that a URL means; nothing is opened before it is used.

    Args:
        url: As `shared_budget` takes it.
        account: Whose budget it is.

    Raises:
        ValueError: It is no such URL, or its driver is not installed. The message repeats
            nothing of it.
    """
    scheme = (_SCHEME.match(url) or [url, ""])[1].lower()
    if scheme in {"", "sqlite"}:
        return SqliteStore(_path(url), account)
    connect = _SERVERS.get(scheme)
    if connect is None:
        raise ValueError(f"rate_budget_url names no place where a budget can be shared. {_FORMS}")
    _refuse_what_is_read_in_two_ways(url)
    try:
        return connect(url, account)
    except ImportError:
        driver, extra = ("redis",) * 2 if scheme.startswith("redis") else ("psycopg", "postgres")
        raise ValueError(
            f"rate_budget_url needs {driver}, which is not installed. {install_hint(extra)}"
        ) from None


def _redis(url: str, account: str) -> Store:
    from target_activecampaign.client.rate_limit.redis import RedisStore  # noqa: PLC0415 - extra

    return RedisStore(url, account)


def _postgres(url: str, account: str) -> Store:
    from target_activecampaign.client.rate_limit.postgres import PostgresStore  # noqa: PLC0415

    return PostgresStore(f"postgresql:{url.partition(':')[2]}", account)


_SERVERS: dict[str, Callable[[str, str], Store]] = {
    "redis": _redis,
    "rediss": _redis,
    "postgresql": _postgres,
    "postgresql+psycopg": _postgres,
}


def _path(url: str) -> Path:
    path = url
    if _SCHEME.match(url):
        start = "sqlite:///"
        path = url[len(start) :] if url.lower().startswith(start) else ""
    if path in {"", ":memory:"}:
        raise ValueError(f"rate_budget_url names no file. {_FORMS}")
    return Path(path).expanduser()


def _refuse_what_is_read_in_two_ways(url: str) -> None:
    """Refuse a password as it is where it must be encoded.

    Drivers take parts of such a password for the host or the port, and show them in errors.
    """
    netloc = url.split("://", 1)[-1].partition("/")[0].partition("?")[0].partition("#")[0]
    if "://" not in url or url.count("@") > min(1, netloc.count("@")):
        raise ValueError(
            "rate_budget_url can't be read for certain: encode the characters of user name and "
            "password that mean something in a URL, such as %40 for @ and %2F for /."
        )
