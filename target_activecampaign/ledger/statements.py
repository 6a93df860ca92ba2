"""Statements for each import or each contact, executed on SQLite by the driver itself.

SQLAlchemy compiles them once. Its processing of each value and each row would take longer than
SQLite takes for the statement.
"""

from __future__ import annotations

from importlib import import_module
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Values = tuple[Any, ...]
_Compiled = tuple[str, "Callable[[_Values], _Values] | None"]
"""A statement's text for SQLite, and the function that puts values in its order, if needed."""


class Statement:
    """A statement that is compiled for SQLite when it is first needed.

    Args:
        statement: The statement.
        names: The names of its values, in the order in which they are passed: columns of an
            insert, else bound parameters.
    """

    def __init__(self, statement: sa.Executable, names: Sequence[str]) -> None:
        self._statement = statement
        self._names = tuple(names)
        self._compiled: _Compiled | None = None

    def execute(self, db: sa.Connection, rows: Sequence[_Values]) -> sa.CursorResult[Any]:
        """Execute the statement with each row of values."""
        if db.dialect.name == "sqlite":
            text, ordered = self._compiled or self._compile()
            values = rows if ordered is None else list(map(ordered, rows))
            return db.exec_driver_sql(text, values if len(values) > 1 else values[0])
        named = [dict(zip(self._names, row, strict=True)) for row in rows]
        return db.execute(self._statement, named if len(named) > 1 else named[0])

    def _compile(self) -> _Compiled:
        compiled: Any = self._statement.compile(  # type: ignore[attr-defined] # all have it
            dialect=sqlite.dialect(), column_keys=list(self._names)
        )
        order: list[str] = compiled.positiontup
        if order == list(self._names):
            self._compiled = str(compiled), None
            return self._compiled
        constants = [name for name in dict.fromkeys(order) if name not in self._names]
        fixed = tuple(compiled.params[name] for name in constants)
        available = (*self._names, *constants)
        pick = itemgetter(*(available.index(name) for name in order))

        def ordered(row: _Values) -> _Values:
            picked = pick((*row, *fixed))
            return picked if len(order) > 1 else (picked,)

        self._compiled = str(compiled), ordered
        return self._compiled


def fetch_rows(
    db: sa.Connection,
    columns: str,
    segments: Sequence[int],
    named: sa.Column[bytes],
    values: Sequence[bytes],
    *,
    of: str = "segment",
) -> Sequence[_Values]:
    """Return the rows of segments with these values in a column, read from the driver itself.

    Such a query runs for every window of records. SQLAlchemy's processing of hashes and rows would
    take longer than the query itself.

    Args:
        db: The transaction.
        columns: The columns in SQL.
        segments: The segments.
        named: The column of the hashes.
        values: The hashes.
        of: The column of the same table with the segment, or with another number.
    """
    table = named.table
    if db.dialect.name == "sqlite":
        some, all_ = (", ".join("?" * len(one)) for one in (segments, values))
        query = (
            f"SELECT {columns} FROM {table.name} "  # noqa: S608 - names of ours, and question marks
            f"WHERE {of} IN ({some}) AND {named.name} IN ({all_})"
        )
        result = db.exec_driver_sql(query, (*segments, *values))
    else:
        found = sa.select(sa.text(columns)).select_from(table)
        result = db.execute(found.where(table.c[of].in_(segments), named.in_(values)))
    rows: Sequence[_Values] = result.cursor.fetchall() if result.cursor is not None else []
    result.close()
    return rows


def insert_into(table: sa.Table, dialect: str) -> Any:
    """Return an insert of the database's own kind, which can update a row that exists.

    The dialect is imported here: importing the one that is not used would take 25 ms.
    """
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
