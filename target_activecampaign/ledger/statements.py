"""Statements that are run for each import, or for each person: on SQLite by the driver itself.

SQLAlchemy writes them, once. To have it look at each value and wrap each row takes longer than
SQLite takes to do what they say.
"""

from __future__ import annotations

from importlib import import_module
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

_Values = tuple[Any, ...]
_Compiled = tuple[str, "Callable[[_Values], _Values] | None"]
"""A statement as SQLite takes it, and what puts values in its order, if they are not in it."""


class Statement:
    """A statement, compiled when SQLite first needs it.

    Args:
        statement: The statement.
        names: The names of the values that it takes, in the order in which they are given. An
            insert takes values for these columns, anything else for bound parameters.
    """

    def __init__(self, statement: sa.Executable, names: Sequence[str]) -> None:
        self._statement = statement
        self._names = tuple(names)
        self._sqlite: _Compiled | None = None

    def execute(self, db: sa.Connection, rows: Sequence[_Values]) -> sa.CursorResult[Any]:
        """Execute it, with each of some rows of values."""
        if db.dialect.name == "sqlite":
            text, ordered = self._sqlite or self._compiled()
            values = rows if ordered is None else list(map(ordered, rows))
            return db.exec_driver_sql(text, values if len(values) > 1 else values[0])
        named = [dict(zip(self._names, row, strict=True)) for row in rows]
        return db.execute(self._statement, named if len(named) > 1 else named[0])

    def _compiled(self) -> _Compiled:
        compiled: Any = self._statement.compile(  # type: ignore[attr-defined] # all have it
            dialect=sqlite.dialect(), column_keys=list(self._names)
        )
        order: list[str] = compiled.positiontup
        if order == list(self._names):
            self._sqlite = str(compiled), None
            return self._sqlite
        constants = [name for name in dict.fromkeys(order) if name not in self._names]
        fixed = tuple(compiled.params[name] for name in constants)
        given = (*self._names, *constants)
        pick = itemgetter(*(given.index(name) for name in order))

        def ordered(row: _Values) -> _Values:
            picked = pick((*row, *fixed))
            return picked if len(order) > 1 else (picked,)

        self._sqlite = str(compiled), ordered
        return self._sqlite


def insert_into(table: sa.Table, dialect: str) -> Any:
    """An insert that says what to do with a row that is there: each database has its own.

    Of two databases only one is used, and to import the other's takes 25 ms.
    """
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
