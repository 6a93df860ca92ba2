"""The shared budget's document in an SQLite file, for processes of one machine.

The time is `time.monotonic`: Python makes it the same for all processes, and nobody can set it.
The clock on the wall may be set forward while requests are counted, and the limit would be
broken. That the monotonic clock starts anew with the machine is no harm: see `SharedState`.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from typing import TYPE_CHECKING, TypeVar

from target_activecampaign.client.rate_limit.state import StoreFailure
from target_activecampaign.storage import private_files, sqlite_files
from target_activecampaign.storage.sqlite_files import Kind, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

logger = logging.getLogger("target_activecampaign.client")

_APPLICATION_ID = 0x41435242  # "ACRB" marks the file as a rate budget's
_NAME = frozenset({"rate_budget"})
_FILE = Kind(
    _APPLICATION_ID, _NAME, (_NAME,), content=(re.compile(rb"CREATE TABLE rate_budget\b"),)
)

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

    def __init__(self, path: Path, account: str) -> None:
        self.place = f"the SQLite file {path}"
        self._path = path
        self._file: int | None = None
        self._account = account
        self._connection: sqlite3.Connection | None = None

    def update(self, change: Callable[[bytes | None, float], tuple[bytes | None, T]]) -> T:
        """Do as `Store.update` says, in a transaction that shuts out all others."""
        try:
            try:
                return self._transact(change)
            except sqlite3.DatabaseError as error:
                if not _tells_of_damage(error):
                    raise
                self._set_aside()
                return self._transact(change)
        except OSError as error:
            raise StoreFailure(private_files.explained(error)) from None
        except sqlite3.Error as error:
            why = sqlite_files.reason(self._path, str(error))
            raise StoreFailure(why, may_pass="locked" in str(error)) from None

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> sqlite3.Connection:
        new = self._see_to_file()
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _turn_to_wal(connection)
            # What a power cut takes is older than a window when the machine is up again.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_TABLE)
            if new:
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _see_to_file(self) -> bool:
        """See that the file is a plain one, its owner's alone, and no other program's.

        Returns:
            Whether it is a new one.

        Raises:
            StoreFailure: It is another program's, which stays as it is.
        """
        mode = private_files.open_database(self._path, make=True)
        if mode is not None:
            logger.warning(
                "The rate budget in %s could be used by others on this machine (file mode %04o). "
                "Its mode is now 0600.",
                self._path,
                mode,
            )
        self._file = sqlite_files.file_number(self._path)
        state = sqlite_files.look(self._path, _FILE)
        if state in {State.ANOTHERS, State.NO_DATABASE}:
            raise StoreFailure(
                "it is not a database of a rate budget, so it stays as it is; give the budget a "
                "file of its own, or move that one away"
            )
        if state is State.DAMAGED:
            self._set_aside()
            private_files.open_database(self._path, make=True)
            self._file = sqlite_files.file_number(self._path)
        return state is not State.OURS

    def _set_aside(self) -> None:
        """Set a damaged file aside; what it knew was for a minute alone."""
        self.close()
        if sqlite_files.file_number(self._path) != self._file:
            return  # another process has done so, and begun a new one
        aside = sqlite_files.set_aside(self._path)
        logger.warning(
            "The rate budget in %s is DAMAGED. It is set aside as %s, and a new one is begun: for "
            "a minute, what other processes sent before is not counted.",
            self._path,
            aside,
        )

    def _transact(self, change: Callable[[bytes | None, float], tuple[bytes | None, T]]) -> T:
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
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


def _tells_of_damage(error: sqlite3.Error) -> bool:
    words = (*sqlite_files.DAMAGED_TEXTS, "no such table")
    return any(word in str(error) for word in words)


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
