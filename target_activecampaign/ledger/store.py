"""The ledger's database: opened, created if missing, and set aside if damaged."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Protocol, TypeVar

import sqlalchemy as sa

from target_activecampaign.errors import (
    DamagedLedgerError,
    LedgerError,
    MissingLedgerError,
    UnreachableLedgerError,
)
from target_activecampaign.ledger import engine, failures, opening, retries
from target_activecampaign.ledger import schema as tables
from target_activecampaign.ledger.place import file_path, place_of
from target_activecampaign.model.timings import Timings
from target_activecampaign.storage import private_files, sqlite_files
from target_activecampaign.storage.sqlite_files import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Concatenate

    from typing_extensions import ParamSpec

    P = ParamSpec("P")


T = TypeVar("T")

logger = logging.getLogger("target-activecampaign")

LOST_SUPPRESSIONS = (
    "People whom the command 'suppress' had stored are lost with it, and ARE SENT AGAIN: pipe the "
    "list to 'target-activecampaign-ledger suppress -' again before the next run that has "
    "profiles. Better, send the list as a suppression stream, in full in each run."
)
"""The consequence of a damaged ledger that is not made up for by itself."""

_LOCK = 5_172_023
"""The number of PostgreSQL's advisory lock for work that only one process may do at a time."""


class _HasStore(Protocol):
    _store: Store


S = TypeVar("S", bound=_HasStore)


def retryable(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Retry a method while the ledger is unreachable.

    The method must be idempotent, as its transaction may have been committed with only the response
    lost.
    """

    @wraps(method)
    def retried(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._store.retry(lambda: method(self, *args, **kwargs))

    return retried


class Store:
    """A ledger's database. Safe between threads: one transaction at a time.

    Args:
        url: The ledger, as SQLAlchemy takes it: `sqlite:///path` or `postgresql+psycopg://...`.
        make: Whether to create a missing ledger, and to set aside a damaged SQLite file and
            create a new one. Without it, neither is done.
        timings: The times to wait for the database.

    Attributes:
        key: The ledger's own key for the contacts' hashes.

    Raises:
        LedgerError: It can't be used. All methods raise it too.
    """

    def __init__(self, url: str, *, make: bool = True, timings: Timings = Timings()) -> None:
        self._lock = threading.Lock()
        self._url = url
        self._make = make
        self._timings = timings
        self._damaged = False
        self._file: int | None = None
        self._patience = timings.ledger_patience_seconds
        try:
            self.key = self._open()
        except LedgerError:
            if not (make and self._damaged):
                raise
            self._set_aside()
            self.key = self._open()

    def _open(self) -> bytes:
        """Connect to the database and check or create its tables; returns the key."""
        self._connect()
        try:
            return self.retry(self._prepare)
        except BaseException:
            self.engine.dispose()
            raise

    def _connect(self) -> None:
        try:
            path = file_path(self._url)
            if path is not None:
                self._check_file(path)
            elif self._url.startswith("sqlite"):
                raise LedgerError(
                    "'ledger_url' names no file: write it as sqlite:///path. A ledger in memory "
                    "would be lost at the end of the run."
                )
            self.engine = engine.create_engine(
                self._url,
                make=self._make,
                busy_milliseconds=self._timings.ledger_busy_milliseconds,
                schema=tables.SCHEMA,
            )
        except FileNotFoundError as error:
            if self._make:
                raise self._error_for(error) from None
            raise self._missing() from None
        except (sa.exc.SQLAlchemyError, OSError, ImportError, ValueError) as error:
            # ValueError: a port that is not a number.
            raise self._error_for(error) from None

    def _check_file(self, path: Path) -> None:
        """Check that the file is a regular file and a ledger, and restrict access to its owner."""
        if self._make:
            private_files.make_folder(path.parent)
        private_files.check_database(path, make=self._make)
        state = opening.check_file(path)  # before the mode changes: it may be no file of ours
        mode = private_files.restrict_database(path)
        if mode is not None:
            logger.warning(
                "The ledger %s could be used by others on this machine (file mode %04o). Its mode "
                "is now 0600.",
                self.place,
                mode,
            )
        self._file = sqlite_files.file_number(path)
        if state is State.DAMAGED:
            raise self.damaged_error()

    def _prepare(self) -> bytes:
        """Check the ledger's version, or create its tables; returns the key."""
        # Alone: processes that start together must not create the tables twice.
        with self.transaction(alone=True) as db:
            if opening.has_ledger(db):
                return self._read_key(db)
            if opening.is_foreign(db):
                raise opening.foreign_database(self.place)
            if not self._make:
                raise self._missing()
            return opening.create(db)

    def _read_key(self, db: sa.Connection) -> bytes:
        rows = db.execute(sa.select(tables.about.c.version, tables.about.c.key)).all()
        if len(rows) != 1 or not isinstance(rows[0].version, int) or not rows[0].key:
            raise self.damaged_error()
        opening.check_version(rows[0].version, self.place)
        opening.upgrade(db, rows[0].version)
        return bytes(rows[0].key)

    def retry(self, action: Callable[[], T]) -> T:
        """Retry an idempotent action while the ledger is unreachable.

        Raises:
            LedgerError: The ledger stays unreachable, or can't be used.
        """
        try:
            # All connections: one to a server that has become a standby would never write again.
            result = retries.retry(action, self.place, self.engine.dispose, self._patience)
        except UnreachableLedgerError:
            # The run ends now, and must not wait again for each of its last statements.
            self._patience = 0.0
            raise
        self._patience = self._timings.ledger_patience_seconds
        return result

    @contextmanager
    def transaction(
        self, *, alone: bool = False, account: int | None = None
    ) -> Iterator[sa.Connection]:
        """Open a transaction.

        Args:
            alone: Whether to exclude all other processes' transactions of this kind. SQLite always
                does.
            account: The account whose other transactions of this kind to exclude: workers write
                the same rows, and could wait for each other's row locks in a circle.
        """
        try:
            # The lock spares threads of one process SQLite's slow way of waiting for its file.
            with self._lock, self.engine.begin() as db:
                if alone and db.dialect.name == "postgresql":
                    db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                if account is not None and db.dialect.name == "postgresql":
                    db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK, account)))
                yield db
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            # sqlite3.Error: rows that are fetched from the driver's own cursor.
            raise self._error_for(error) from None

    def close(self) -> None:
        """Close the database; a file that turned out to be damaged is set aside.

        Raises:
            LedgerError: It can't be set aside.
        """
        self.engine.dispose()
        if self._make and self._damaged:
            self._set_aside()

    def vacuum(self) -> None:
        """Shrink the database and overwrite what was deleted."""
        try:
            with self._lock, self.engine.connect() as db:
                plain = db.execution_options(isolation_level="AUTOCOMMIT")
                if plain.dialect.name == "sqlite":
                    milliseconds = self._timings.ledger_patience_seconds * 1000
                    plain.exec_driver_sql(f"PRAGMA busy_timeout = {milliseconds:.0f}")
                    plain.exec_driver_sql("VACUUM")
                    busy = plain.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one().busy
                else:
                    # The ledger's own tables only; FULL, as only that rewrites them.
                    names = (f"{tables.SCHEMA}.{name}" for name in tables.metadata.tables)
                    plain.exec_driver_sql(f"VACUUM (FULL) {', '.join(names)}")
                    busy = 0
        except sa.exc.SQLAlchemyError as error:
            raise self._error_for(error) from None
        if busy:
            raise LedgerError(
                f"Another program is reading the ledger {self.place}, so what was deleted may "
                "still be in its write-ahead log: vacuum it again when that program has ended."
            )

    @property
    def is_file(self) -> bool:
        """True if the database is a SQLite file, not a server."""
        return bool(self.engine.dialect.name == "sqlite")

    @property
    def place(self) -> str:
        """The ledger's place for messages, without a password."""
        return place_of(self._url)

    def damaged_error(self) -> LedgerError:
        """Return the error for a damaged ledger; its file is set aside when it is closed."""
        if self._url.startswith("sqlite"):
            self._damaged = True
        consequence = (
            "It is set aside when this run ends, and the next run creates a new one: run again."
            if self._make
            else "The target's next run sets it aside and creates a new one."
        )
        return DamagedLedgerError(
            f"The ledger {self.place} is damaged. {consequence} {LOST_SUPPRESSIONS}"
        )

    def _set_aside(self) -> None:
        self._damaged = False
        path = file_path(self._url)
        if path is None or sqlite_files.file_number(path) != self._file:
            # Another process has set it aside, and its new file is not damaged.
            return
        try:
            aside = sqlite_files.set_aside(path)
        except OSError as error:
            raise LedgerError(
                f"The ledger {self.place} is damaged and can't be set aside: "
                f"{private_files.reason(error)}. Move it away, then run again."
            ) from None
        logger.warning(
            "The ledger %s is DAMAGED. It is set aside as %s, and a new one is created: everything "
            "is delivered once more, and the next mirror run only records a baseline. %s",
            self.place,
            aside,
            LOST_SUPPRESSIONS,
        )

    def _missing(self) -> LedgerError:
        return MissingLedgerError(
            f"There is no ledger {self.place}: check 'ledger_url'. The target's next run creates "
            "it."
        )

    def _error_for(self, error: Exception) -> LedgerError:
        if failures.is_damage(self._url, error):
            return self.damaged_error()
        kind = UnreachableLedgerError if failures.is_temporary(self._url, error) else LedgerError
        return kind(failures.explain(self._url, error, "used"))
