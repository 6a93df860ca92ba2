"""The shared budget's document in an SQLite file, for processes of one machine.

The time is `time.monotonic`: Python makes it the same for all processes, and nobody can set it.
The clock on the wall may be set forward while requests are counted, and the limit would be
broken. That the monotonic clock starts anew with the machine is no harm: see `SharedState`.
"""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING, TypeVar

from target_activecampaign.activecampaign.shared_budget_state import StoreFailure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

_BUSY_SECONDS = 5.0

_TABLE = """
CREATE TABLE IF NOT EXISTS rate_budget (
    account TEXT PRIMARY KEY,
    document BLOB NOT NULL
) WITHOUT ROWID
"""
_READ = "SELECT document FROM rate_budget WHERE account = ?"
_WRITE = "INSERT OR REPLACE INTO rate_budget VALUES (?, ?)"


class SqliteStore:
    """A row of an SQLite file, which is made, for its owner only, if it is not there.

    Args:
        path: The file, on a disk of this machine.
        account: Whose budget it is.
    """

    place = "the SQLite file"

    def __init__(self, path: Path, account: str) -> None:
        self._path = path
        self._account = account
        self._connection: sqlite3.Connection | None = None

    def update(self, change: Callable[[bytes | None, float], tuple[bytes | None, T]]) -> T:
        """Do as `Store.update` says, in a transaction that shuts out all others."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            return self._transact(self._connection, change)
        except (OSError, sqlite3.Error) as error:
            raise StoreFailure(error) from None

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, mode=0o600))
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _turn_to_wal(connection)
            # What a power cut takes is older than a window when the machine is up again.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_TABLE)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _transact(
        self,
        connection: sqlite3.Connection,
        change: Callable[[bytes | None, float], tuple[bytes | None, T]],
    ) -> T:
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = connection.execute(_READ, (self._account,)).fetchone()
            document, result = change(row and row[0], time.monotonic())
            if document is not None:
                connection.execute(_WRITE, (self._account, document))
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return result


def _turn_to_wal(connection: sqlite3.Connection) -> None:
    """Turn the file to WAL. Of several who do it at once, SQLite tells some not to wait."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
