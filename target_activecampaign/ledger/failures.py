"""Failures of a ledger's database: their causes and remedies, and which are temporary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from target_activecampaign.ledger.place import file_path, place_of
from target_activecampaign.ledger.schema import SCHEMA
from target_activecampaign.storage import private_files, sqlite_files
from target_activecampaign.text import install_hint

if TYPE_CHECKING:
    from pathlib import Path

_MISSING_PARTS = ("no such table", "no such column")
"""SQLite's texts for a ledger that has lost a table or column."""
_LOCKED = ("database is locked", "database is busy")
_TEMPORARY_STATES = (
    "08",  # no connection, or it was lost
    "25006",  # read-only: the server has become a standby
    "40",  # rolled back for another transaction, such as a deadlock
    "53300",  # too many connections
    "55P03",  # a lock was not available in time
    "57P",  # ended by an administrator or a crash; starting up
)
"""Prefixes of the SQLSTATEs of temporary failures, from PostgreSQL's appendix A."""
_PERMANENT_REFUSALS = (
    "authentication",
    "does not exist",
    "no password",
    "pg_hba.conf",
    "certificate",
    "invalid",
)
"""Texts in errors of connections that will always be refused; they have no SQLSTATE."""
_CONNECTION_ERROR = "OperationalError"
"""The name of the class of connection errors, in each driver."""
_NO_PERMISSION = "42501"
"""PostgreSQL's SQLSTATE for a missing permission."""
_POSTGRES = "postgresql+psycopg://"
_SERVER_FAILURES = (
    ("Connection refused", "nothing listens there", "Check host and port in '{setting}'."),
    ("resolve host", "the host name is not known", "Check the host in '{setting}'."),
    ("translate host name", "the host name is not known", "Check the host in '{setting}'."),
    (
        "authentication failed",
        "it does not accept the user name or the password",
        "Check both in '{setting}'.",
    ),
    (
        "no password supplied",
        "it needs a password",
        "Put it in '{setting}', or in a place that libpq reads, such as PGPASSWORD.",
    ),
    (
        "does not exist",
        "it has no such database or user",
        "Check both in '{setting}', or create them.",
    ),
    ("timeout expired", "it did not answer in time", "Check the host and the network."),
)
"""Libpq's text for a failed connection, the cause and the remedy."""


def is_damage(url: str, error: Exception) -> bool:
    """Return whether an error means that a ledger's SQLite file is damaged."""
    said = str(_cause_of(error))
    words = (*sqlite_files.DAMAGED_TEXTS, *_MISSING_PARTS)
    return url.startswith("sqlite") and any(word in said for word in words)


def is_temporary(url: str, error: Exception) -> bool:
    """Return whether the same statement may succeed later."""
    cause = _cause_of(error)
    if url.startswith("sqlite"):
        return any(word in str(cause) for word in _LOCKED)
    if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
        return True
    if state := _sqlstate(cause):
        return state.startswith(_TEMPORARY_STATES)
    text = str(cause).lower()
    refused = any(words in text for words in _PERMANENT_REFUSALS)
    return type(cause).__name__ == _CONNECTION_ERROR and not refused


def explain(
    url: str,
    error: Exception,
    action: str,
    *,
    subject: str = "The ledger",
    setting: str = "ledger_url",
    schema: str = SCHEMA,
) -> str:
    """Return the cause and the remedy of a failure, or all possible ones if it is unclear.

    Args:
        url: The ledger, or another database.
        error: The error of SQLAlchemy, the driver or the system.
        action: The participle of what failed, such as `used`.
        subject: The name of the database in a sentence.
        setting: The setting with its URL.
        schema: Its schema on PostgreSQL.
    """
    place = place_of(url)
    cause = _cause_of(error)
    if isinstance(cause, ImportError) and "psycopg" in (cause.name, *str(cause).split()):
        return (
            f"{subject} {place} needs psycopg, which is not installed or can't be loaded. "
            f"{install_hint('postgres')}"
        )
    if isinstance(cause, (ImportError, sa.exc.NoSuchModuleError, sa.exc.ArgumentError)):
        return (
            f"{subject} {place} can't be {action}: '{setting}' must begin with sqlite:/// or "
            f"{_POSTGRES}."
        )
    if isinstance(cause, OSError):
        file = f" ({cause.filename})" if cause.filename else ""
        why, remedy = private_files.reason(cause), private_files.remedy(cause)
        parts = (
            f"{subject} {place} can't be {action}{file}: {why}.",
            remedy,
            f"Its place is the setting '{setting}'.",
        )
        return " ".join(part for part in parts if part)
    if _sqlstate(cause) == _NO_PERMISSION:
        user = make_url(url).username or "its user"
        return (
            f"The user of '{setting}' may not create or use {subject.lower()} {place}: have an "
            f"administrator run `CREATE SCHEMA {schema} AUTHORIZATION {user}` there."
        )
    if url.startswith("sqlite"):
        why_and_remedy = _explain_sqlite(file_path(url), str(cause), setting)
    else:
        why_and_remedy = _explain_server(str(cause), setting)
    if why_and_remedy is not None:
        return f"{subject} {place} can't be {action}: {why_and_remedy}"
    return (
        f"{subject} {place} can't be {action} ({type(error).__name__}): check '{setting}', "
        "that the place exists and can be written to, and that no other program has it locked."
    )


def _cause_of(error: Exception) -> Any:
    """Return the driver's error, which SQLAlchemy wraps."""
    return getattr(error, "orig", None) or error


def _sqlstate(cause: Any) -> str:
    """Return PostgreSQL's code of an error; empty if it has none."""
    return str(getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or "")


def _explain_sqlite(path: Path | None, text: str, setting: str) -> str | None:
    """Return the cause and the remedy for SQLite's text; None if it is unknown."""
    full = path is not None and private_files.is_nearly_full(path)
    if "disk is full" in text or ("disk I/O" in text and full):
        return "the disk is full. Make room there, then run again."
    if "disk I/O" in text:
        return (
            "the disk can't be written or read. Check it, its quota and `ulimit -f`, then run "
            "again."
        )
    if "readonly" in text or "unable to open" in text:
        return (
            "this user may not write to it or to its folder. Change that, or name another place "
            f"in '{setting}'."
        )
    if "locked" in text:
        return (
            "another program has it locked. Run again when that has ended; on a network drive, "
            f"name a place on a disk of this machine in '{setting}'."
        )
    return None


def _explain_server(text: str, setting: str) -> str | None:
    """Return the cause and the remedy for libpq's text; None if it is unknown."""
    for words, why, remedy in _SERVER_FAILURES:
        if words in text:
            return f"{why}. {remedy.format(setting=setting)}"
    return None
