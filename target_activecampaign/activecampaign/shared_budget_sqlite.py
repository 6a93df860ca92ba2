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

    Raises:
        StoreFailure: The file can't be made or opened.
    """

    place = "the SQLite file"

    def __init__(self, path: Path, account: str) -> None:
        self._account = account
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, mode=0o600))
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise StoreFailure(error) from None
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise StoreFailure(error) from None

    def update(self, change: Callable[[bytes | None, float], tuple[bytes | None, T]]) -> T:
        """Do as `Store.update` says, in a transaction that shuts out all others."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                row = self._connection.execute(_READ, (self._account,)).fetchone()
                document, result = change(row and row[0], time.monotonic())
                if document is not None:
                    self._connection.execute(_WRITE, (self._account, document))
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StoreFailure(error) from None
        return result

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _prepare(self) -> None:
        """Make the table. Of several who turn to WAL at once, some are told not to wait."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        # What a power cut takes is older than a window when the machine is up again.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(_TABLE)
