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
from target_activecampaign.ledger import forms
from target_activecampaign.ledger import schema as tables
from target_activecampaign.ledger.availability import may_pass
from target_activecampaign.ledger.store import (
    Store,
    check_file,
    file_of,
    newer,
    place_of,
    repeat,
    why_not,
)
from target_activecampaign.storage import private_files, sqlite_files
from target_activecampaign.storage.sqlite_files import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import URL

logger = logging.getLogger("target-activecampaign")

_ROWS = 10_000


def copy(url: str, identity: str, folder: Path) -> str:
    """Copy a ledger into a SQLite file of its owner's alone; of one on a server an account's rows.

    Where there is none, or a damaged one that the next run would set aside, nothing is copied:
    whoever opens the copy then begins a new one.

    Args:
        url: The ledger, as of `Ledger`.
        identity: What tells the account from others, likewise.
        folder: Where the copy is made.

    Returns:
        The URL of the copy.

    Raises:
        LedgerError: The ledger can't be read, or can't be copied as it is.
    """
    path = folder / "ledger.db"
    copied = f"sqlite:///{path}"
    os.close(private_files.create(path))
    try:
        repeat(lambda: _copy(url, identity, path), place_of(url), lambda: _empty(path))
        _check(copied, place_of(url))
    except MissingLedgerError:
        path.unlink()
    except DamagedLedgerError:
        path.unlink()
        logger.warning(
            "The ledger %s is DAMAGED. The next run sets it aside and begins a new one: everything "
            "is delivered once more, and a mirror only takes stock. So does this preview.",
            place_of(url),
        )
    return copied


def _empty(path: Path) -> None:
    """Take what an attempt has copied out of a copy."""
    path.write_bytes(b"")
    for ending in ("-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)


def _copy(url: str, identity: str, path: Path) -> None:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            _copy_file(file_of(url) or Path(), path)
        else:
            _copy_tables(parsed, place_of(url), identity, f"sqlite:///{path}")
    except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError, ImportError, ValueError) as error:
        if url.startswith("sqlite") and any(
            word in str(error) for word in sqlite_files.DAMAGED_TEXTS
        ):
            raise DamagedLedgerError from None
        cause = getattr(error, "orig", None) or error
        kind = (
            UnreachableLedgerError
            if not url.startswith("sqlite") and may_pass(cause)
            else LedgerError
        )
        raise kind(why_not(url, error, "read")) from None


def _copy_file(ledger: Path, path: Path) -> None:
    """Copy a file, also one that a run writes to."""
    if not os.path.lexists(ledger):
        return
    if not stat.S_ISREG(ledger.lstat().st_mode):
        raise private_files.UnsafeFileError(errno.EINVAL, "it is no plain file", str(ledger))
    if check_file(ledger) is State.DAMAGED:
        raise DamagedLedgerError
    # Where there is a log, closing would write it into the file; where there is none, a connection
    # that may only read would leave an empty one behind, which the next run could not write to.
    how = "mode=ro"
    if not Path(f"{ledger}-wal").exists():
        how = "mode=rw" if os.access(ledger, os.W_OK) else "mode=ro&immutable=1"
    uri = f"{ledger.absolute().as_uri()}?{how}"
    reading = sqlite3.connect(uri, timeout=30, uri=True)
    with closing(reading), closing(sqlite3.connect(path)) as writing:
        reading.backup(writing)


def _copy_tables(url: URL, place: str, identity: str, copied: str) -> None:
    """Copy what there is at one moment; the server lets nothing of it be changed."""
    engine = sa.create_engine(url, hide_parameters=True)
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    translated = engine.execution_options(schema_translate_map={None: forms.SCHEMA})
    try:
        with translated.connect().execution_options(**options) as db:
            if forms.is_there(db):
                _copy_rows(db, place, identity, copied)
    finally:
        engine.dispose()


def _copy_rows(db: sa.Connection, place: str, identity: str, copied: str) -> None:
    version, key = db.execute(sa.select(tables.about.c.version, tables.about.c.key)).one()
    if version < tables.VERSION:
        raise LedgerError(
            f"The ledger {place} was written by an older version of target-activecampaign (form "
            f"{version}, this one knows {tables.VERSION}), and a preview changes nothing in it: "
            "bring it up to date with `target-activecampaign-ledger show`, then try again."
        )
    if version > tables.VERSION:
        raise newer(place, version)
    store = Store(copied)
    try:
        for table, mine in _of_account(identity):
            found = db.execute(sa.select(table).where(mine).execution_options(yield_per=_ROWS))
            for rows in found.mappings().partitions():
                with store.transaction() as writing:
                    writing.execute(table.insert(), [dict(row) for row in rows])
        with store.transaction() as writing:
            writing.execute(tables.about.update().values(key=key))
    finally:
        store.close()


def _of_account(identity: str) -> Iterator[tuple[sa.Table, sa.ColumnElement[bool]]]:
    """The tables, and which of their rows are an account's."""
    account, run, segment = tables.account, tables.run, tables.segment
    number = sa.select(account.c.id).where(account.c.identity == identity).scalar_subquery()
    yield account, account.c.identity == identity
    for table in (run, segment, tables.existing):
        yield table, table.c.account == number
    runs = sa.select(run.c.id).where(run.c.account == number)
    yield tables.import_, tables.import_.c.run.in_(runs)
    segments = sa.select(segment.c.id).where(segment.c.account == number)
    for table in (tables.member, tables.sighting):
        yield table, table.c.segment.in_(segments)


def _check(copied: str, place: str) -> None:
    """See whether what was copied is a ledger, whole, and of a form that can be used."""
    # Damage that shows later would be told of the copy, which nobody knows.
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
