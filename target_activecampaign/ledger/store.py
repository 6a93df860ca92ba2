"""The ledger's database: opened, made, brought up to date, set aside when it is damaged."""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import threading
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from target_activecampaign.ledger import forms, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("target-activecampaign")

_LOCK = 5_172_023
"""The number of PostgreSQL's advisory lock for what only one process may do at a time."""
DAMAGED = ("malformed", "not a database", "encrypted")
"""What SQLite says of a damaged file."""
_NOT_ALLOWED = "42501"
"""PostgreSQL's SQLSTATE for a right that a user lacks."""


class LedgerError(Exception):
    """The ledger can't be used; the text says where it is and what to do."""


class DamagedLedgerError(LedgerError):
    """The ledger's file is damaged."""


class MissingLedgerError(LedgerError):
    """There is no ledger, and none was to be made."""


class Store:
    """A ledger's database. Safe between threads: one transaction at a time.

    Args:
        url: As SQLAlchemy takes it: `sqlite:///path` or `postgresql+psycopg://...`.
        make: Whether to make the ledger when there is none. A damaged SQLite file is then
            set aside, loudly, and a new one made. Without it, nothing is made or set aside.

    Attributes:
        key: The ledger's own key for the hashes that stand for people.

    Raises:
        LedgerError: It can't be used; so do all methods.
    """

    def __init__(self, url: str, *, make: bool = True) -> None:
        self._lock = threading.Lock()
        self._url = url
        self._make = make
        self._damaged = False
        self._open()
        try:
            self.key = self._prepare()
        except LedgerError:
            self.engine.dispose()
            if not (make and self._damaged):
                raise
            self._set_aside()
            self._open()
            self.key = self._prepare()

    def _open(self) -> None:
        try:
            self.engine = _engine(self._url, make=self._make)
            self._file = _file_number(self.engine)
        except FileNotFoundError as error:
            if self._make:
                raise self._error(error) from None
            raise self._missing() from None
        except (sa.exc.SQLAlchemyError, OSError, ImportError, ValueError) as error:
            # ValueError: a port that is no number.
            raise self._error(error) from None

    @contextmanager
    def transaction(
        self, *, alone: bool = False, account: int | None = None
    ) -> Iterator[sa.Connection]:
        """A transaction; the lock spares threads of one process SQLite's way of waiting.

        Args:
            alone: Whether no other process may be in such a one at the same time. On SQLite
                none ever is.
            account: Whether none may for this account. Workers write each other's rows, and
                would else wait for each other's locks in a circle.
        """
        try:
            with self._lock, self.engine.begin() as db:
                if alone and db.dialect.name == "postgresql":
                    db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                if account is not None and db.dialect.name == "postgresql":
                    db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK, account)))
                yield db
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            # SQLite's own: of rows that are taken from the driver.
            raise self._error(error) from None

    def close(self) -> None:
        """Close it; a file that turned out to be damaged is set aside for the next run."""
        self.engine.dispose()
        if self._make and self._damaged:
            self._set_aside()

    def damaged(self) -> LedgerError:
        """The error for what can't be as it was written."""
        if self._url.startswith("sqlite"):
            self._damaged = True
        what = (
            "It is set aside when this run ends, and the next run begins a new one: run again."
            if self._make
            else "The target's next run sets it aside and begins a new one."
        )
        return DamagedLedgerError(f"The ledger {self.place} is damaged. {what}")

    def vacuum(self) -> None:
        """Give back the room of what was deleted, and let nothing of it stay in the file."""
        try:
            with self._lock, self.engine.connect() as db:
                plain = db.execution_options(isolation_level="AUTOCOMMIT")
                if plain.dialect.name == "sqlite":
                    plain.exec_driver_sql("VACUUM")
                    busy = plain.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
                else:
                    # Not all that the database has; and FULL, which copies what there is.
                    ours = (f"{forms.SCHEMA}.{name}" for name in tables.metadata.tables)
                    plain.exec_driver_sql(f"VACUUM (FULL) {', '.join(ours)}")
                    busy = 0
        except sa.exc.SQLAlchemyError as error:
            raise self._error(error) from None
        if busy:
            raise LedgerError(
                f"The ledger {self.place} is being read by another program, so what was deleted "
                "may still be in its write-ahead log: vacuum it again when that has ended."
            )

    def _prepare(self) -> bytes:
        """See that the tables are there in the form of today; returns the key."""
        # Alone: processes that start together would else make the tables twice.
        with self.transaction(alone=True) as db:
            if forms.is_there(db):
                version, key = db.execute(
                    sa.select(tables.about.c.version, tables.about.c.key)
                ).one()
                if version > tables.VERSION:
                    raise newer(self.place, version)
                if version < tables.VERSION:
                    forms.bring_up_to_date(db, version)
                return bytes(key)
            first = forms.is_first(db)
            if not first and forms.is_anothers(db):
                raise LedgerError(
                    f"The database {self.place} belongs to another program: give the ledger a "
                    "file of its own in 'ledger_url'."
                )
            if not self._make:
                raise self._missing()
            key = (forms.drop_first(db) if first else None) or secrets.token_bytes(32)
            forms.make(db, key)
            return key

    def _missing(self) -> LedgerError:
        return MissingLedgerError(
            f"There is no ledger {self.place}: check 'ledger_url'. The target's next run makes it."
        )

    def _set_aside(self) -> None:
        path = Path(make_url(self._url).database or "")
        self.engine.dispose()
        if _file_number(self.engine) != self._file:
            # Another process has done so, and begun a new one there, which is not damaged.
            self._damaged = False
            return
        aside = f"{path}.damaged-{datetime.now(timezone.utc):%Y%m%dT%H%M%S}"
        for ending in ("", "-wal", "-shm"):
            file = Path(f"{path}{ending}")
            if file.exists():
                file.rename(f"{aside}{ending}")
        self._damaged = False
        logger.warning(
            "The ledger %s is DAMAGED. It is set aside as %s, and a new one is begun: everything "
            "is delivered once more, and the next run of a mirror only takes stock.",
            self.place,
            aside,
        )

    @property
    def is_file(self) -> bool:
        """Whether it is a file of SQLite's, and not on a server."""
        return bool(self.engine.dialect.name == "sqlite")

    @property
    def place(self) -> str:
        """Where the ledger is, in words without a password."""
        return place_of(self._url)

    def _error(self, error: Exception) -> LedgerError:
        cause = getattr(error, "orig", error)
        text = str(cause or "")
        if any(word in text for word in DAMAGED) and self._url.startswith("sqlite"):
            return self.damaged()
        if _NOT_ALLOWED in (getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None)):
            user = make_url(self._url).username or "its user"
            return LedgerError(
                f"The user of 'ledger_url' may not make or use the ledger {self.place}: have an "
                f"administrator run `CREATE SCHEMA {forms.SCHEMA} AUTHORIZATION {user}` there."
            )
        return LedgerError(
            f"The ledger {self.place} can't be used ({type(error).__name__}): check 'ledger_url', "
            "that the place is there and may be written to, that no other program has it locked, "
            "and that its driver is installed (for PostgreSQL the extra "
            "target-activecampaign[postgres])."
        )


def place_of(url: str) -> str:
    """Where the ledger of a URL is, in words without a password."""
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return "that 'ledger_url' names"
    if parsed.get_backend_name() == "sqlite":
        return f"at {parsed.database or ':memory:'}"
    return f"at {parsed.host or ''}/{parsed.database or ''}"


def newer(place: str, version: int) -> LedgerError:
    """The error for a ledger of a form that this version does not know."""
    return LedgerError(
        f"The ledger {place} was written by a newer version of target-activecampaign (form "
        f"{version}, this one knows {tables.VERSION}): update target-activecampaign."
    )


def _engine(url: str, *, make: bool) -> sa.Engine:
    """An engine; a SQLite file is made for its owner alone, with a log that survives a kill.

    Raises:
        OSError: The file can't be opened; FileNotFoundError where it is missing and not made.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = sa.create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
        return engine.execution_options(schema_translate_map={None: forms.SCHEMA})
    if parsed.database:
        path = Path(parsed.database)
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | (os.O_CREAT if make else 0), 0o600))
    engine = sa.create_engine(parsed, connect_args={"timeout": 30}, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: object, _: object) -> None:
        # Transactions begin where SQLAlchemy says so, not where Python's module thinks fit.
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA busy_timeout = 30000")
        cursor.execute("SELECT count(*) FROM sqlite_master")
        if make and cursor.fetchone() == (0,):
            # It holds for ever, and another program's file must stay as it is.
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA secure_delete = FAST")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            # A transaction that reads first and then wants to write could not wait for others.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _file_number(engine: sa.Engine) -> int | None:
    """What tells the file that stands where the ledger is from one that stood there before."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    try:
        return Path(engine.url.database).stat().st_ino
    except FileNotFoundError:
        return None
