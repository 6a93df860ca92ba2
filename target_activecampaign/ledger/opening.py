"""Checks before a ledger's database is opened, and the creation of its tables.

On SQLite a ledger has its own file, marked by a number in it. On PostgreSQL it has its own schema.
"""

from __future__ import annotations

import logging
import re
import secrets
from typing import TYPE_CHECKING

import sqlalchemy as sa

from target_activecampaign.errors import LedgerError
from target_activecampaign.ledger import schema as tables
from target_activecampaign.ledger.schema import SCHEMA
from target_activecampaign.storage import sqlite_files
from target_activecampaign.storage.sqlite_files import Kind, State

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("target-activecampaign")

_APPLICATION_ID = 0x41434C47  # "ACLG"
_KEY_BYTES = 32
_FILE = Kind(
    _APPLICATION_ID,
    frozenset(tables.metadata.tables),
    name=".activecampaign-ledger.db",
    content=(
        re.compile(rb"CREATE TABLE sighting\b"),
        re.compile(rb"\d{8}T\d{6}-[0-9a-f]{12}"),  # a run's id
    ),
)
"""The marks by which a ledger's SQLite file is recognised, even if it is damaged."""


def check_file(path: Path) -> State:
    """Return the state of the file at a ledger's path, without changing it.

    Raises:
        LedgerError: The file is not a ledger.
        OSError: It can't be read.
    """
    state = sqlite_files.classify(path, _FILE)
    if state is State.ANOTHERS:
        raise foreign_database(f"at {path}")
    if state is State.NO_DATABASE:
        raise LedgerError(
            f"The file at {path} is no ledger, so it stays as it is: give the ledger a file of its "
            "own in 'ledger_url'. If it was a ledger and is damaged, move it away: the next run "
            "creates a new one."
        )
    return state


def has_ledger(db: sa.Connection) -> bool:
    """Return whether a database has a ledger, of any version."""
    if db.dialect.name == "sqlite":
        return bool(db.exec_driver_sql("PRAGMA application_id").scalar() == _APPLICATION_ID)
    return sa.inspect(db).has_table(tables.about.name, schema=SCHEMA)


def is_foreign(db: sa.Connection) -> bool:
    """Return whether a database without a ledger is a SQLite file of another program."""
    return db.dialect.name == "sqlite" and bool(sa.inspect(db).get_table_names())


def create(db: sa.Connection) -> bytes:
    """Create a ledger's tables, and return the new key for contact hashes."""
    if db.dialect.name == "postgresql" and not sa.inspect(db).has_schema(SCHEMA):
        db.execute(sa.schema.CreateSchema(SCHEMA))
    tables.metadata.create_all(db)
    key = secrets.token_bytes(_KEY_BYTES)
    db.execute(tables.about.insert().values(id=1, version=tables.VERSION, key=key))
    if db.dialect.name == "sqlite":
        db.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION_ID}")
    return key


def upgrade(db: sa.Connection, version: int) -> None:
    """Turn a ledger's tables of an older version into today's.

    Args:
        db: The ledger, alone.
        version: Its version, as `check_version` accepts it.
    """
    schema = f"{SCHEMA}." if db.dialect.name == "postgresql" else ""
    for older in range(version, tables.VERSION):
        for column in tables.NEW_COLUMNS[older]:
            definition = sa.schema.CreateColumn(column).compile(dialect=db.dialect)
            db.exec_driver_sql(f"ALTER TABLE {schema}{column.table.name} ADD COLUMN {definition}")
    if version < tables.VERSION:
        tables.metadata.create_all(db)
        db.execute(tables.about.update().values(version=tables.VERSION))
        logger.info("The ledger's tables were upgraded to version %d.", tables.VERSION)


def check_version(version: int, place: str) -> None:
    """Refuse a ledger of a version that can't be upgraded.

    Raises:
        LedgerError: This version of the target can't use it.
    """
    if version != tables.VERSION and version not in tables.NEW_COLUMNS:
        raise LedgerError(
            f"The ledger {place} was written by another version of target-activecampaign (its "
            f"tables have version {version}, this one needs {tables.VERSION}): use the version "
            "that wrote it, or a new ledger: move the old one away, or name another place in "
            "'ledger_url'."
        )


def foreign_database(place: str) -> LedgerError:
    """Return the error for another program's database."""
    return LedgerError(
        f"The database {place} belongs to another program: give the ledger a file of its own in "
        "'ledger_url'."
    )
