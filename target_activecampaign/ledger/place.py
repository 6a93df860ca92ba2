"""The place that a ledger's URL names."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from target_activecampaign.errors import LedgerError


def file_path(url: str) -> Path | None:
    """Return the path of a ledger's file; None if the ledger is on a server or in memory.

    Raises:
        sqlalchemy.exc.ArgumentError, ValueError: It is not a URL.
        LedgerError: It is a URI of SQLite's own, whose file could not be checked.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        return None
    if "uri" in parsed.query:
        raise LedgerError(
            "The ledger can't be used: 'ledger_url' must be sqlite:/// and the path of a file, "
            "without `uri` behind it."
        )
    return Path(str(parsed.database))


def place_of(url: str) -> str:
    """Return a ledger's place for messages, such as `at host/database`, without a password."""
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return "that 'ledger_url' names"
    if parsed.get_backend_name() == "sqlite":
        return f"at {parsed.database or ':memory:'}"
    # An @ in a password that is not encoded makes the rest of the password part of the host.
    host = (parsed.host or "").rpartition("@")[2]
    return f"at {host}/{parsed.database or ''}"
