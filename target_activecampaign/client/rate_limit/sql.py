"""The document in a row of a SQL table: an SQLite file, or a PostgreSQL server."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from target_activecampaign.client.rate_limit.state import StoreFailure, decode, encode
from target_activecampaign.storage import private_files, sqlite_files
from target_activecampaign.storage.sqlite_files import Kind, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg

    from target_activecampaign.client.rate_limit.state import Document

T = TypeVar("T")

logger = logging.getLogger("target_activecampaign.client")


class _SqlStore(ABC):
    """A row of a table, which is made if it is missing, through one connection.

    Subclasses connect, and read the document and the time with the row locked.
    """

    is_shared = True
    _dialect: str
    _table: str
    _read: sa.TextClause

    def __init__(self, account: str) -> None:
        self._row = {"account": account, "document": b""}
        self._insert = sa.text(
            f"INSERT INTO {self._table} VALUES (:account, :document) ON CONFLICT DO NOTHING"  # noqa: S608 - our own name
        )
        self._write = sa.text(
            f"UPDATE {self._table} SET document = :document WHERE account = :account"  # noqa: S608
        )
        self._engine = sa.create_engine(
            f"{self._dialect}://",
            creator=self._connect,
            poolclass=sa.QueuePool,
            pool_size=1,
            max_overflow=0,
            hide_parameters=True,
        )

    def update(self, change: Callable[[Document | None, float], tuple[Document | None, T]]) -> T:
        """Do as `Store.update` says, with the row locked; connects (again) if need be."""
        try:
            return self._transact(change)
        except sa.exc.DBAPIError as error:
            self.close()
            raise self._failure(error) from None

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    def _transact(self, change: Callable[[Document | None, float], tuple[Document | None, T]]) -> T:
        with self._engine.begin() as connection:
            while (found := connection.execute(self._read, self._row).first()) is None:
                connection.execute(self._insert, self._row)
            document, result = change(decode(found[0]), found[1])
            if document is not None:
                connection.execute(self._write, self._row | {"document": encode(document)})
        return result

    @abstractmethod
    def _connect(self) -> Any:
        """Connect, and make the table if it is missing."""

    @abstractmethod
    def _failure(self, error: sa.exc.DBAPIError) -> StoreFailure:
        """Return the driver's error as a failure."""


class SqliteStore(_SqlStore):
    """An SQLite file, which is made, for its owner only, if it is missing.

    The time is `time.monotonic`: Python makes it the same for all processes, and nobody can set
    it. The clock on the wall may be set forward while requests are counted, which would break the
    limit. The monotonic clock restarts with the machine: `BudgetState` copes with that.

    Args:
        path: The file, on a disk of this machine.
        account: The account's API address.
    """

    _dialect = "sqlite"
    _table = "rate_budget"
    _read = sa.text("SELECT document, monotonic() FROM rate_budget WHERE account = :account")
    _create = """
        CREATE TABLE IF NOT EXISTS rate_budget (
            account TEXT PRIMARY KEY,
            document BLOB NOT NULL
        ) WITHOUT ROWID
    """
    _application_id = 0x41435242  # "ACRB" marks the file as a rate budget's
    _kind = Kind(
        _application_id,
        frozenset({_table}),
        (frozenset({_table}),),
        content=(re.compile(rb"CREATE TABLE rate_budget\b"),),
    )
    _busy_seconds = 5.0

    def __init__(self, path: Path, account: str) -> None:
        super().__init__(account)
        self.place = f"the SQLite file {path}"
        self._path = path
        self._file: int | None = None
        # It locks the file before anything is read. Other processes wait for their turn.
        sa.event.listen(
            self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE")
        )

    def update(self, change: Callable[[Document | None, float], tuple[Document | None, T]]) -> T:
        """Do as `Store.update` says. A damaged file is set aside, and a new one made."""
        try:
            try:
                return self._transact(change)
            except sa.exc.DBAPIError as error:
                signs = (*sqlite_files.DAMAGED_TEXTS, "no such table")
                if not any(sign in str(error.orig) for sign in signs):
                    raise
                self._set_aside()
                return super().update(change)
        except sa.exc.DBAPIError as error:
            raise self._failure(error) from None
        except OSError as error:
            raise StoreFailure(private_files.explain(error)) from None

    def _connect(self) -> sqlite3.Connection:
        is_new = self._prepare_file()
        connection = sqlite3.connect(
            self._path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            connection.create_function("monotonic", 0, time.monotonic)
            self._switch_to_wal(connection)
            # A power cut takes only what is older than a window when the machine is up again.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(self._create)
            if is_new:
                connection.execute(f"PRAGMA application_id = {self._application_id}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _prepare_file(self) -> bool:
        """Check that the file is a plain one, its owner's alone, and not another program's.

        Returns:
            Whether it is new.

        Raises:
            StoreFailure: It is another program's; it is not changed.
        """
        private_files.check_database(self._path, make=True)
        self._file = sqlite_files.file_number(self._path)
        state = sqlite_files.classify(self._path, self._kind)
        if state in {State.ANOTHERS, State.NO_DATABASE}:
            raise StoreFailure(
                "it is not a database of a rate budget, so it was not changed; name another file, "
                "or move this one away"
            )
        mode = private_files.restrict_database(self._path)
        if mode is not None:
            logger.warning(
                "The rate budget in %s could be used by others on this machine (file mode %04o). "
                "Its mode is now 0600.",
                self._path,
                mode,
            )
        if state is State.DAMAGED:
            self._set_aside()
            private_files.check_database(self._path, make=True)
            self._file = sqlite_files.file_number(self._path)
        return state is not State.EXPECTED

    def _set_aside(self) -> None:
        """Set a damaged file aside; its data was of use for a minute only."""
        self.close()
        if sqlite_files.file_number(self._path) != self._file:
            return  # another process has done so, and made a new one
        aside = sqlite_files.set_aside(self._path)
        logger.warning(
            "The rate budget in %s is DAMAGED. It was renamed to %s, and a new one is made. For a "
            "minute, earlier requests of other processes are not counted.",
            self._path,
            aside,
        )

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        """Switch the file to WAL. If several do so at once, SQLite makes some fail, not wait."""
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _failure(self, error: sa.exc.DBAPIError) -> StoreFailure:
        text = str(error.orig)
        return StoreFailure(sqlite_files.reason(self._path, text), may_pass="locked" in text)


class PostgresStore(_SqlStore):
    """A table on a PostgreSQL server, where the search path begins, on the server's clock.

    Args:
        url: As libpq takes it.
        account: The account's API address.

    Raises:
        ImportError: psycopg is not installed.
        ValueError: libpq can't parse the URL; the message does not repeat it.
    """

    place = "the PostgreSQL server"
    _dialect = "postgresql+psycopg"
    _table = "target_activecampaign_rate_budget"
    # The row is locked before the clock is read: a CTE that locks is never merged into its query.
    _read = sa.text("""
        WITH locked AS MATERIALIZED (
            SELECT document FROM target_activecampaign_rate_budget
            WHERE account = :account FOR UPDATE
        )
        SELECT document, extract(epoch FROM clock_timestamp())::float8 FROM locked
    """)
    _exists = "SELECT to_regclass('target_activecampaign_rate_budget') IS NOT NULL"
    _lock = "SELECT pg_advisory_xact_lock(hashtext('target_activecampaign_rate_budget'))"
    _create = """
        CREATE TABLE IF NOT EXISTS target_activecampaign_rate_budget (
            account text PRIMARY KEY,
            document bytea NOT NULL
        ) WITH (fillfactor = 50)
    """
    # Nobody waits for a process that hangs in the middle of a transaction, or lost its network.
    _session = """
        SET lock_timeout = '5s';
        SET statement_timeout = '10s';
        SET idle_in_transaction_session_timeout = '5s'
    """
    _lasting = ("authentication", "does not exist", "no password", "pg_hba.conf", "certificate")
    _read_only = "25006"

    def __init__(self, url: str, account: str) -> None:
        import psycopg  # noqa: PLC0415 - an extra
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

        try:
            self._parameters: dict[str, Any] = {
                "connect_timeout": 5,
                "tcp_user_timeout": 10_000,
                "application_name": "target-activecampaign",
                **conninfo_to_dict(url),
            }
        except psycopg.Error:
            raise ValueError(
                "rate_budget_url is not a valid PostgreSQL URL: "
                "use postgresql://user:password@host:5432/database."
            ) from None
        super().__init__(account)

    def _connect(self) -> psycopg.Connection:
        import psycopg  # noqa: PLC0415

        connection = psycopg.connect(**self._parameters, prepare_threshold=None)
        try:
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            with connection.transaction():
                connection.execute(self._session)
            with connection.transaction():
                if connection.execute(self._exists).fetchone() != (True,):
                    connection.execute(self._lock)
                    connection.execute(self._create)
        except psycopg.Error:
            connection.close()
            raise
        return connection

    def _failure(self, error: sa.exc.DBAPIError) -> StoreFailure:
        """Tell also whether the server may just be restarting, or handing over to another."""
        cause = error.orig or error
        is_away = isinstance(error, sa.exc.OperationalError) or (
            getattr(cause, "sqlstate", None) == self._read_only
        )
        is_lasting = any(words in str(cause).lower() for words in self._lasting)
        return StoreFailure(cause, may_pass=is_away and not is_lasting)
