"""Connections to a database: a ledger's, or that of outcomes."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import make_url

_CONNECT_ARGUMENTS = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
"""Defaults for PostgreSQL: without them, a lost network is never noticed."""


def create_engine(
    url: str,
    *,
    make: bool,
    busy_milliseconds: int,
    schema: str | None = None,
    cache_kibibytes: int | None = None,
) -> sa.Engine:
    """Return an engine for a database.

    Args:
        url: The database, as SQLAlchemy takes it.
        make: Whether an empty SQLite file may be changed.
        busy_milliseconds: SQLite's own wait for a lock.
        schema: The schema of tables that name none, on a server.
        cache_kibibytes: The size of SQLite's cache; None for its own default.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError: The URL can't be used.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        missing = {
            key: value for key, value in _CONNECT_ARGUMENTS.items() if key not in parsed.query
        }
        arguments = missing if parsed.get_driver_name().startswith("psycopg") else {}
        engine = sa.create_engine(
            parsed, pool_pre_ping=True, hide_parameters=True, connect_args=arguments
        )
        return engine.execution_options(schema_translate_map={None: schema})
    engine = sa.create_engine(parsed, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: object, _: object) -> None:
        # Transactions begin with SQLAlchemy's own BEGIN below, not where Python's module puts one.
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute(f"PRAGMA busy_timeout = {busy_milliseconds}")
        cursor.execute("SELECT count(*) FROM sqlite_master")
        if make and cursor.fetchone() == (0,):
            # The file keeps this mode for good, so another program's file must not get it.
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        if cache_kibibytes is not None:
            cursor.execute(f"PRAGMA cache_size = -{cache_kibibytes}")
        cursor.execute("PRAGMA secure_delete = FAST")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            # SQLite fails at once, without waiting, if a transaction that has read wants to write.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
