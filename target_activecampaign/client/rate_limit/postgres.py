"""The shared budget's document in a row of a PostgreSQL table, on the server's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from target_activecampaign.client.rate_limit.state import StoreFailure

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_CONNECTING: dict[str, Any] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "application_name": "target-activecampaign",
}

# Nobody waits for a process that stands still in the middle of a transaction, or lost its network.
_SESSION = """
SET lock_timeout = '5s';
SET statement_timeout = '10s';
SET idle_in_transaction_session_timeout = '5s'
"""

_LASTING = ("authentication", "does not exist", "no password", "pg_hba.conf", "certificate")
"""What is said of a connection that is refused for good."""

_TABLE_EXISTS = "SELECT to_regclass('target_activecampaign_rate_budget') IS NOT NULL"
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('target_activecampaign_rate_budget'))"
_TABLE = """
CREATE TABLE IF NOT EXISTS target_activecampaign_rate_budget (
    account text PRIMARY KEY,
    document bytea NOT NULL
) WITH (fillfactor = 50)
"""

# The row is locked before the clock is read, as a CTE that locks is never merged into its query.
_READ = """
WITH locked AS MATERIALIZED (
    SELECT document FROM target_activecampaign_rate_budget WHERE account = %s FOR UPDATE
)
SELECT document, extract(epoch FROM clock_timestamp())::float8 FROM locked
"""
_BEGIN = """
INSERT INTO target_activecampaign_rate_budget VALUES (%s, '') ON CONFLICT DO NOTHING
"""
_WRITE = "UPDATE target_activecampaign_rate_budget SET document = %s WHERE account = %s"


class PostgresStore:
    """A row of a table that is made, where the search path begins, if it is not there.

    Args:
        url: As libpq takes it.
        account: Whose budget it is.

    Raises:
        ValueError: libpq can't read the URL; the message does not repeat it.
    """

    place = "the PostgreSQL server"

    def __init__(self, url: str, account: str) -> None:
        self._account = account
        try:
            self._parameters = {**_CONNECTING, **conninfo_to_dict(url)}
        except psycopg.Error:
            raise ValueError(
                "rate_budget_url is no URL of a PostgreSQL database: "
                "use postgresql://user:password@host:5432/database."
            ) from None
        self._connection: psycopg.Connection | None = None

    def update(self, change: Callable[[bytes | None, float], tuple[bytes | None, T]]) -> T:
        """Do as `Store.update` says, with the row locked; connects (again) if need be."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            with self._connection.transaction():
                old, now = self._lock(self._connection)
                new, result = change(old or None, now)
                if new is not None:
                    self._connection.execute(_WRITE, (new, self._account))
        except psycopg.Error as error:
            self.close()
            raise StoreFailure(error, may_pass=_may_pass(error)) from None
        return result

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> psycopg.Connection:
        connection = psycopg.connect(**self._parameters, autocommit=True, prepare_threshold=None)
        try:
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            connection.execute(_SESSION)
            if connection.execute(_TABLE_EXISTS).fetchone() != (True,):
                with connection.transaction():
                    connection.execute(_ONE_AT_A_TIME)
                    connection.execute(_TABLE)
        except psycopg.Error:
            connection.close()
            raise
        return connection

    def _lock(self, connection: psycopg.Connection) -> tuple[bytes, float]:
        """Lock the account's row, once it is there, and only then look at the clock."""
        while True:
            row = connection.execute(_READ, (self._account,)).fetchone()
            if row is not None:
                return row
            connection.execute(_BEGIN, (self._account,))


def _may_pass(error: psycopg.Error) -> bool:
    """Tell whether the server may just be starting anew, or handing over to another."""
    away = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
    return isinstance(error, away) and not any(words in str(error).lower() for words in _LASTING)
