"""The ledger's database: opened, made, brought up to date, set aside when it is damaged."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from target_activecampaign.ledger import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("target-activecampaign")

_APPLICATION_ID = 0x41434C47  # "ACLG" marks a SQLite file as a ledger
_LOCK = 5_172_023
"""The number of PostgreSQL's advisory lock for what only one process may do at a time."""
_DAMAGED = ("malformed", "not a database", "encrypted")


class LedgerError(Exception):
    """The ledger can't be used; the text says where it is and what to do."""


class Store:
    """A ledger's database. Safe between threads: one transaction at a time.

    Args:
        url: As SQLAlchemy takes it: `sqlite:///path` or `postgresql+psycopg://...`.
        make: Whether to make the ledger when there is none. A damaged SQLite file is then
            set aside, loudly, and a new one made.

    Attributes:
        key: The ledger's own key for the hashes that stand for people.

    Raises:
        LedgerError: It can't be used; so do all methods.
    """

    def __init__(self, url: str, *, make: bool = True) -> None:
        self._lock = threading.Lock()
        self._url = url
        self._damaged = False
        self._open()
        try:
            self.key = self._prepare(make=make)
        except LedgerError:
            if not (make and self._damaged):
                raise
            self._set_aside()
            self._open()
            self.key = self._prepare(make=True)

    def _open(self) -> None:
        try:
            self.engine = _engine(self._url)
        except (sa.exc.SQLAlchemyError, OSError, ImportError) as error:
            raise self._error(error) from None

    @contextmanager
    def transaction(self, *, alone: bool = False) -> Iterator[sa.Connection]:
        """A transaction; the lock spares threads of one process SQLite's way of waiting.

        Args:
            alone: Whether no other process may be in such a one at the same time. On SQLite
                none ever is.
        """
        try:
            with self._lock, self.engine.begin() as db:
                if alone and db.dialect.name == "postgresql":
                    db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                yield db
        except sa.exc.SQLAlchemyError as error:
            raise self._error(error) from None

    def close(self) -> None:
        """Close it; a file that turned out to be damaged is set aside for the next run."""
        self.engine.dispose()
        if self._damaged:
            self._set_aside()

    def vacuum(self) -> None:
        """Give back the room of what was deleted, and let nothing of it stay in the file."""
        try:
            with self._lock, self.engine.connect() as db:
                plain = db.execution_options(isolation_level="AUTOCOMMIT")
                plain.exec_driver_sql("VACUUM")
                if plain.dialect.name == "sqlite":
                    plain.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        except sa.exc.SQLAlchemyError as error:
            raise self._error(error) from None

    def _prepare(self, *, make: bool) -> bytes:
        """See that the tables are there in the form of today; returns the key."""
        # Alone: processes that start together would else make the tables twice.
        with self.transaction(alone=True) as db:
            there = set(sa.inspect(db).get_table_names())
            if tables.about.name in there:
                version, key = db.execute(
                    sa.select(tables.about.c.version, tables.about.c.key)
                ).one()
                if version > tables.VERSION:
                    raise LedgerError(
                        f"The ledger {self.place} was written by a newer version of "
                        f"target-activecampaign (form {version}, this one knows {tables.VERSION}): "
                        "update target-activecampaign."
                    )
                return bytes(key)
            if not make:
                raise LedgerError(f"There is no ledger {self.place}: check 'ledger_url'.")
            key = _from_first_form(db) if "secret" in there else None
            if key is None and db.dialect.name == "sqlite" and there:
                raise LedgerError(
                    f"The database {self.place} belongs to another program: give the ledger a "
                    "file of its own in 'ledger_url'."
                )
            key = key or secrets.token_bytes(32)
            tables.metadata.create_all(db)
            db.execute(tables.about.insert().values(id=1, version=tables.VERSION, key=key))
            if db.dialect.name == "sqlite":
                db.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION_ID}")
            return key

    def _set_aside(self) -> None:
        path = Path(make_url(self._url).database or "")
        self.engine.dispose()
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
    def place(self) -> str:
        """Where the ledger is, in words without a password."""
        try:
            parsed = make_url(self._url)
        except sa.exc.ArgumentError:
            return "that 'ledger_url' names"
        return f"at {parsed.host or ''}/{parsed.database or ''}"

    def _error(self, error: Exception) -> LedgerError:
        text = str(getattr(error, "orig", None) or "")
        if any(word in text for word in _DAMAGED) and self._url.startswith("sqlite"):
            self._damaged = True
            return LedgerError(
                f"The ledger {self.place} is damaged. It is set aside when this run ends, and the "
                "next run begins a new one: run again."
            )
        return LedgerError(
            f"The ledger {self.place} can't be used ({type(error).__name__}): check 'ledger_url', "
            "that the place is there and may be written to, that no other program has it locked, "
            "and that its driver is installed (for PostgreSQL the extra "
            "target-activecampaign[postgres])."
        )


def _from_first_form(db: sa.Connection) -> bytes | None:
    """Take over a ledger of the first form, which held only what was in flight: its key stays.

    What it knew is forgotten: at most, what a run that was cut off had delivered goes once more.
    """
    old = sa.MetaData()
    old.reflect(db, only=["secret", "run", "import", "delivered"])
    key = db.execute(sa.select(old.tables["secret"].c.value)).scalar()
    old.drop_all(db)
    return bytes(key) if key is not None else None


def _engine(url: str) -> sa.Engine:
    """An engine; a SQLite file is made for its owner alone, with a log that survives a kill."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
    if parsed.database:
        path = Path(parsed.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = sa.create_engine(parsed, connect_args={"timeout": 30}, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: object, _: object) -> None:
        # Transactions begin where SQLAlchemy says so, not where Python's module thinks fit.
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA busy_timeout = 30000")
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
