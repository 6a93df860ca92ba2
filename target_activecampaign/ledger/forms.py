"""The form of a ledger's database: made, told from other programs' tables, taken over.

On SQLite a ledger has a file to itself, and a number in the file says that it is one. On
PostgreSQL it has a schema to itself: the database may be a warehouse, with a `run` or an
`account` of its own.
"""

from __future__ import annotations

import re

import sqlalchemy as sa

from target_activecampaign.ledger import schema as tables
from target_activecampaign.storage.sqlite_files import Kind

SCHEMA = "activecampaign_ledger"
"""The ledger's schema on PostgreSQL; made when it is missing."""

_APPLICATION_ID = 0x41434C47  # "ACLG" marks a SQLite file as a ledger
_WITH_MAPPING = 3
"""The form from which on a segment has its mapping."""
_WITH_RAW = 4
"""The form from which on a member has the digest of its record."""
_WITH_WAITING = 5
"""The form from which on people may wait to be written."""
_FIRST_FORM = {
    "secret": {"id", "value"},
    "run": {"id", "account", "host", "process", "beat"},
    "import": {"id", "run", "batch_id", "contacts"},
    "delivered": {"account", "person", "digest"},
}
"""The tables of the first form and their columns; on PostgreSQL, where new tables go."""

FILE = Kind(
    _APPLICATION_ID,
    frozenset(tables.metadata.tables),
    (frozenset(_FIRST_FORM),),
    name=".activecampaign-ledger.db",
    content=(
        re.compile(rb"CREATE TABLE sighting\b"),
        re.compile(rb"\d{8}T\d{6}-[0-9a-f]{12}"),  # a run's id
    ),
)
"""What tells a ledger's SQLite file from others."""


def is_there(db: sa.Connection) -> bool:
    """Whether the database has a ledger, of this form or a newer one."""
    if db.dialect.name == "sqlite":
        return bool(db.exec_driver_sql("PRAGMA application_id").scalar() == _APPLICATION_ID)
    return sa.inspect(db).has_table(tables.about.name, schema=SCHEMA)


def is_first(db: sa.Connection) -> bool:
    """Whether the database has a ledger of the first form, which held what was in flight."""
    inspector = sa.inspect(db)
    if not set(_FIRST_FORM) <= set(inspector.get_table_names()):
        return False
    # By its columns too: what is taken for the first form is dropped.
    return all(
        {column["name"] for column in inspector.get_columns(table)} == columns
        for table, columns in _FIRST_FORM.items()
    )


def is_anothers(db: sa.Connection) -> bool:
    """Whether a SQLite file that is no ledger has tables, and so is another program's."""
    return db.dialect.name == "sqlite" and bool(sa.inspect(db).get_table_names())


def drop_first(db: sa.Connection) -> bytes | None:
    """Drop a ledger of the first form; returns its key.

    What it knew is forgotten: at most, what a run that was cut off had delivered goes once more.
    """
    schema = sa.inspect(db).default_schema_name
    old = {
        name: sa.Table(name, sa.MetaData(), *map(sa.Column, columns), schema=schema)
        for name, columns in _FIRST_FORM.items()
    }
    key = db.execute(sa.select(old["secret"].c.value)).scalar()
    for table in old.values():
        table.drop(db)
    return bytes(key) if key is not None else None


def bring_up_to_date(db: sa.Connection, version: int) -> None:
    """Give a ledger of an earlier form what later ones have; its `version` is above 1."""
    postgres = db.dialect.name == "postgresql"
    home, blob = (f"{SCHEMA}.", "BYTEA") if postgres else ("", "BLOB")
    if version < _WITH_MAPPING:
        db.exec_driver_sql(f"ALTER TABLE {home}segment ADD COLUMN mapping VARCHAR")
    if version < _WITH_RAW:
        db.exec_driver_sql(f"ALTER TABLE {home}member ADD COLUMN raw {blob}")
    if version < _WITH_WAITING:
        number = "DOUBLE PRECISION" if postgres else "FLOAT"
        db.exec_driver_sql(f"ALTER TABLE {home}import ADD COLUMN confirmed {number}")
        tables.sighting.create(db)
    db.execute(tables.about.update().values(version=tables.VERSION))


def make(db: sa.Connection, key: bytes) -> None:
    """Make a ledger with a key for the hashes that stand for people."""
    if db.dialect.name == "postgresql" and not sa.inspect(db).has_schema(SCHEMA):
        db.execute(sa.schema.CreateSchema(SCHEMA))
    tables.metadata.create_all(db)
    db.execute(tables.about.insert().values(id=1, version=tables.VERSION, key=key))
    if db.dialect.name == "sqlite":
        db.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION_ID}")
