"""A copy of a ledger, for a preview to write to: the ledger itself is only read."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from target_activecampaign.errors import (
    DamagedLedgerError,
    LedgerError,
    MissingLedgerError,
    UnreachableLedgerError,
)
from target_activecampaign.ledger import failures, opening, retries
from target_activecampaign.ledger import schema as tables
from target_activecampaign.ledger.place import file_path, place_of
from target_activecampaign.ledger.store import LOST_SUPPRESSIONS, Store
from target_activecampaign.storage import private_files
from target_activecampaign.storage.sqlite_files import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL

logger = logging.getLogger("target-activecampaign")

_ROWS = 10_000


def copy(url: str, identity: str, folder: Path, patience: float) -> str:
    """Copy a ledger into a private SQLite file; of one on a server, only an account's rows.

    A missing ledger is not copied, and neither is a damaged one, which the next run would set
    aside. Then opening the copy creates a new one.

    Args:
        url: The ledger, as for `Ledger`.
        identity: The account, as for `Ledger`.
        folder: The folder of the copy.
        patience: Seconds for which a ledger that can't be reached is retried.

    Returns:
        The URL of the copy.

    Raises:
        LedgerError: The ledger can't be read, or can't be copied as it is.
    """
    path = folder / "ledger.db"
    copied = f"sqlite:///{path}"
    private_files.open_private(path).close()
    try:
        retries.retry(
            lambda: _copy(url, identity, path, patience),
            place_of(url),
            lambda: _empty(path),
            patience,
        )
        _check(copied, place_of(url))
    except MissingLedgerError:
        path.unlink()
    except DamagedLedgerError:
        path.unlink()
        logger.warning(
            "The ledger %s is DAMAGED. The next run sets it aside and creates a new one: "
            "everything is delivered once more, and a mirror only records a baseline. This preview "
            "does the same. %s",
            place_of(url),
            LOST_SUPPRESSIONS,
        )
    return copied


def _empty(path: Path) -> None:
    """Delete what an earlier attempt has copied."""
    path.write_bytes(b"")
    for ending in ("-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)


def _copy(url: str, identity: str, path: Path, patience: float) -> None:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            _copy_file(file_path(url) or Path(), path, patience)
        else:
            _copy_tables(parsed, place_of(url), identity, f"sqlite:///{path}")
    except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError, ImportError, ValueError) as error:
        if failures.is_damage(url, error):
            raise DamagedLedgerError from None
        kind = UnreachableLedgerError if failures.is_temporary(url, error) else LedgerError
        raise kind(failures.explain(url, error, "read")) from None


def _copy_file(ledger: Path, path: Path, patience: float) -> None:
    """Copy a file, even while a run writes to it."""
    if not os.path.lexists(ledger):
        return
    if not stat.S_ISREG(ledger.lstat().st_mode):
        raise private_files.UnsafeFileError(errno.EINVAL, "it is no plain file", str(ledger))
    if opening.check_file(ledger) is State.DAMAGED:
        raise DamagedLedgerError
    # With a write-ahead log, closing a connection that may write would merge it into the file.
    # Without one, a connection that may only read would create an empty log, to which the next run
    # could not write.
    mode = "mode=ro"
    if not Path(f"{ledger}-wal").exists():
        mode = "mode=rw" if os.access(ledger, os.W_OK) else "mode=ro&immutable=1"
    uri = f"{ledger.absolute().as_uri()}?{mode}"
    reading = sqlite3.connect(uri, timeout=patience, uri=True)
    with closing(reading), closing(sqlite3.connect(path)) as writing:
        reading.backup(writing)


def _copy_tables(url: URL, place: str, identity: str, copied: str) -> None:
    """Copy an account's rows of one moment, in a transaction that the server keeps read-only."""
    engine = sa.create_engine(url, hide_parameters=True)
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    translated = engine.execution_options(schema_translate_map={None: tables.SCHEMA})
    try:
        with translated.connect().execution_options(**options) as db:
            if opening.has_ledger(db):
                _copy_rows(db, place, identity, copied)
    finally:
        engine.dispose()


def _copy_rows(db: sa.Connection, place: str, identity: str, copied: str) -> None:
    version, key = db.execute(sa.select(tables.about.c.version, tables.about.c.key)).one()
    opening.check_version(version, place)
    inspector = sa.inspect(db)
    store = Store(copied)
    try:
        for table, of_account in _account_rows(identity):
            if not inspector.has_table(table.name, schema=tables.SCHEMA):
                continue  # of an older version, which has neither all tables nor all columns
            known = {one["name"] for one in inspector.get_columns(table.name, tables.SCHEMA)}
            columns = [column for column in table.columns if column.name in known]
            query = sa.select(*columns).where(of_account).execution_options(yield_per=_ROWS)
            for rows in db.execute(query).mappings().partitions():
                with store.transaction() as writing:
                    writing.execute(table.insert(), [dict(row) for row in rows])
        with store.transaction() as writing:
            writing.execute(tables.about.update().values(key=key))
    finally:
        store.close()


_OF_ACCOUNT = (
    tables.run,
    tables.segment,
    tables.existing,
    tables.suppression,
    tables.opt_out,
    tables.opt_out_reading,
    tables.fact,
)

_OF_SEGMENTS = (
    tables.member,
    tables.sighting,
    tables.source_row,
    tables.departure,
    tables.withheld,
    tables.retry,
)


def _account_rows(identity: str) -> Iterator[tuple[sa.Table, sa.ColumnElement[bool]]]:
    """Return each table with the condition for an account's rows."""
    account, run, segment = tables.account, tables.run, tables.segment
    number = sa.select(account.c.id).where(account.c.identity == identity).scalar_subquery()
    yield account, account.c.identity == identity
    for table in _OF_ACCOUNT:
        yield table, table.c.account == number
    runs = sa.select(run.c.id).where(run.c.account == number)
    yield tables.import_, tables.import_.c.run.in_(runs)
    yield tables.stream_run, tables.stream_run.c.run.in_(runs)
    segments = sa.select(segment.c.id).where(segment.c.account == number)
    for table in _OF_SEGMENTS:
        yield table, table.c.segment.in_(segments)


def _check(copied: str, place: str) -> None:
    """See that the copy is a whole ledger, of a version that can be used."""
    # Damage found later would be reported of the copy, which the operator does not know.
    if not _is_whole(copied):
        raise DamagedLedgerError
    try:
        Store(copied, make=False).close()
    except (DamagedLedgerError, MissingLedgerError):
        raise
    except LedgerError as error:
        raise LedgerError(str(error).replace(place_of(copied), place)) from None


def _is_whole(copied: str) -> bool:
    path = copied.removeprefix("sqlite:///")
    try:
        with closing(sqlite3.connect(path)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False
