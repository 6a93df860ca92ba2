"""Errors of PostgreSQL that pass: the server restarts, or hands over to another one."""

from __future__ import annotations

_PASSING_STATES = (
    "08",  # no connection, or it was lost
    "25006",  # read-only: the server has become a standby
    "40",  # rolled back for another transaction, such as a deadlock
    "53300",  # too many connections
    "55P03",  # a lock was not to be had in time
    "57P",  # ended by an administrator or a crash; starting up
)
"""Beginnings of SQLSTATEs."""
_LASTING = (
    "authentication",
    "does not exist",
    "no password",
    "pg_hba.conf",
    "certificate",
    "invalid",
)
"""What is said of a connection that is refused for good; such an error has no SQLSTATE."""
_LOST = "OperationalError"
"""The name of the error of a connection, with every driver."""


def may_pass(error: BaseException) -> bool:
    """Tell whether the same statement may succeed if it is sent again in a while.

    Args:
        error: An error of psycopg's, of any version.
    """
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state:
        return str(state).startswith(_PASSING_STATES)
    text = str(error).lower()
    return type(error).__name__ == _LOST and not any(words in text for words in _LASTING)
