"""Rows of outcomes in a database: PostgreSQL or SQLite."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from target_activecampaign.errors import OutcomesError
from target_activecampaign.ledger import failures
from target_activecampaign.ledger.engine import create_engine
from target_activecampaign.ledger.place import place_of
from target_activecampaign.outcomes import schema as tables
from target_activecampaign.outcomes.rows import COLUMNS, PERSON, SOURCE_KEY
from target_activecampaign.outcomes.store import EarlierRow
from target_activecampaign.storage import private_files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from target_activecampaign.outcomes.rows import Row

T = TypeVar("T")

_LOCK = 5_172_024
"""The number of PostgreSQL's advisory lock for the creation of the tables."""
_BUSY_MILLISECONDS = 3000
_CACHE_KIBIBYTES = 8192
_LONGEST_PAUSE = 2.0
_ROWS_AT_ONCE = 5000

# sqlite3.Error: of statements that the driver itself executes.
_OF_DATABASES = (sa.exc.SQLAlchemyError, sqlite3.Error)
# ValueError: a port that is not a number.
_ERRORS = (*_OF_DATABASES, OSError, ImportError, ValueError)

_COUNTED = ("added", "changed", "skipped", "merged", "invalid", "rejected")
"""The outcomes that have rows whatever the setting `outcomes`, unless it is `failures`."""

_LATEST_COLUMNS = ("account", "key", *COLUMNS)
_LATEST_KEY = ("account", "stream", "key")


class SqlStore:
    """Rows of outcomes in the three tables of a database.

    Args:
        url: The database, as SQLAlchemy takes it.
        schema: The schema of the tables on PostgreSQL; None for the user's own.
        account: The account's API URL.
        patience: Seconds for which a database that can't be reached is retried.
    """

    def __init__(self, url: str, schema: str | None, account: str, patience: float) -> None:
        self._url = url
        self._account = account
        self._patience = patience
        try:
            self._engine = create_engine(
                url,
                make=True,
                busy_milliseconds=_BUSY_MILLISECONDS,
                cache_kibibytes=_CACHE_KIBIBYTES,
            )
        except _ERRORS as error:
            raise self._error_for(error) from None
        self._is_file = self._engine.dialect.name == "sqlite"
        self._schema = None if self._is_file else schema
        self._engine = self._engine.execution_options(schema_translate_map={None: self._schema})
        self._statements = _Statements(self._engine.dialect, self._schema)

    # Transactions

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self._engine.begin() as db:
            yield db

    def _retry(self, action: Callable[[sa.Connection], T], *, patient: bool = True) -> T:
        """Run an idempotent action in a transaction, and again while the database is unreachable.

        Raises:
            OutcomesError: It can't be used.
        """
        deadline, pause = time.monotonic() + self._patience, 0.1
        while True:
            try:
                with self._transaction() as db:
                    return action(db)
            except _ERRORS as error:
                temporary = isinstance(error, _OF_DATABASES) and failures.is_temporary(
                    self._url, error
                )
                if not (patient and temporary) or time.monotonic() + pause > deadline:
                    raise self._error_for(error) from None
            self._engine.dispose()
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _error_for(self, error: Exception) -> OutcomesError:
        text = failures.explain(
            self._url,
            error,
            "used",
            subject="The place of outcomes",
            setting="outcomes_url",
            schema=getattr(self, "_schema", None) or "activecampaign",
        )
        return OutcomesError(text)

    # The tables

    def prepare(self) -> None:
        """Create the tables, or bring them up to date.

        Raises:
            OutcomesError: The place can't be used.
        """
        if self._is_file:
            self._check_file()
        # Without patience: nothing has been sent, and the operator should learn of it soon.
        self._retry(self._prepare, patient=False)

    def _check_file(self) -> None:
        """Check that SQLite's file is a plain one of this user's, and create it if missing."""
        path = Path(str(make_url(self._url).database))
        try:
            private_files.make_folder(path.parent)
            private_files.check_database(path, make=True)
        except (OSError, ValueError) as error:
            raise self._error_for(error) from None

    def _prepare(self, db: sa.Connection) -> None:
        if not self._is_file:
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            if self._schema is not None and not sa.inspect(db).has_schema(self._schema):
                db.execute(sa.schema.CreateSchema(self._schema))
        inspector = sa.inspect(db)
        found = self._read_version(db, inspector)
        if found is not None and found > tables.VERSION:
            raise OutcomesError(
                f"The tables of outcomes {place_of(self._url)} were written by a newer version of "
                f"target-activecampaign (their version is {found}, this one knows "
                f"{tables.VERSION}): upgrade the target, or name another place in 'outcomes_url'."
            )
        if found == tables.VERSION:
            return
        for table in tables.metadata.sorted_tables:
            if found is None and inspector.has_table(table.name, schema=self._schema):
                raise OutcomesError(
                    f"The database {place_of(self._url)} has a table '{table.name}' of another "
                    "program: name another schema in 'outcomes_schema', or another database in "
                    "'outcomes_url'."
                )
            if found is not None and inspector.has_table(table.name, schema=self._schema):
                self._add_columns(db, inspector, table)
        tables.metadata.create_all(db)
        db.execute(tables.version.delete())
        db.execute(tables.version.insert().values(id=1, version=tables.VERSION))

    def _read_version(self, db: sa.Connection, inspector: sa.Inspector) -> int | None:
        if not inspector.has_table(tables.version.name, schema=self._schema):
            return None
        return int(db.execute(sa.select(tables.version.c.version)).scalar() or 0)

    def _add_columns(self, db: sa.Connection, inspector: sa.Inspector, table: sa.Table) -> None:
        """Add the columns that a later version has added to a table."""
        known = {one["name"] for one in inspector.get_columns(table.name, schema=self._schema)}
        for column in table.columns:
            if column.name not in known:
                definition = sa.schema.CreateColumn(column).compile(dialect=db.dialect)
                name = self._statements.name_of(table)
                db.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {definition}")

    # Runs

    def begin_run(self, run: Mapping[str, Any]) -> None:
        """Store that a run has begun, given the columns of its row."""
        self._retry(lambda db: self._put_run(db, run))

    def _put_run(self, db: sa.Connection, run: Mapping[str, Any]) -> None:
        """Store a run's row, in place of an earlier one."""
        values = {name: self._value(value) for name, value in run.items()}
        db.execute(tables.runs.delete().where(tables.runs.c.run == run["run"]))
        db.execute(tables.runs.insert().values(values))

    def _value(self, value: Any) -> Any:
        if isinstance(value, datetime) and self._is_file:
            return value.isoformat(timespec="milliseconds")
        return value

    def rows_of(self, runs: Collection[str]) -> Iterator[EarlierRow]:
        """Yield the rows of runs that were cut off."""
        table = tables.outcomes
        query = sa.select(table.c.record_hash, table.c.id, table.c.outcome)
        query = query.where(table.c.run.in_(list(runs)))
        try:
            with self._engine.connect() as db:
                streamed = db.execution_options(stream_results=True, yield_per=_ROWS_AT_ONCE)
                for row in streamed.execute(query):
                    yield EarlierRow(*row)
        except sa.exc.SQLAlchemyError as error:
            raise self._error_for(error) from None

    def close_runs(self, runs: Collection[str], at: datetime) -> None:
        """Store that runs were interrupted, unless they have stored their end."""
        table = tables.runs
        closing = table.update().where(table.c.run.in_(list(runs)), table.c.outcome.is_(None))
        values = {"outcome": "interrupted", "finished": self._value(at)}
        self._retry(lambda db: db.execute(closing.values(values)))

    def recount(self, runs: Collection[str]) -> None:
        """Set the counts of runs that were cut off to those of their rows."""
        self._retry(lambda db: self._recount(db, list(runs)))

    def _recount(self, db: sa.Connection, runs: list[str]) -> None:
        table, rows = tables.runs, tables.outcomes
        counts: dict[str, dict[str, int]] = {one: dict.fromkeys(_COUNTED, 0) for one in runs}
        counting = sa.select(rows.c.run, rows.c.outcome, sa.func.count())
        grouped = counting.where(rows.c.run.in_(runs)).group_by(rows.c.run, rows.c.outcome)
        for run, outcome, count in db.execute(grouped):
            if outcome in _COUNTED:
                counts[run][outcome] = count
        query = sa.select(table.c.run, table.c.read, table.c.unchanged)
        for run, read, unchanged in db.execute(query.where(table.c.run.in_(runs))).all():
            values: dict[str, Any] = {**counts[run]}
            if read is not None:
                accounted = sum(counts[run].values()) + unchanged
                values["unsettled"] = max(0, read - accounted)
            db.execute(table.update().where(table.c.run == run).values(values))

    def end_run(self, run: Mapping[str, Any]) -> None:
        """Store the end of a run, given all columns of its row."""
        self._retry(lambda db: self._put_run(db, run))

    def prune(self, before: datetime) -> None:
        """Delete the runs that started before a time, with their rows."""
        runs, rows = tables.runs, tables.outcomes

        def delete(db: sa.Connection) -> None:
            query = sa.select(runs.c.run).where(runs.c.started < self._value(before))
            old = [run for (run,) in db.execute(query)]
            if old:
                db.execute(rows.delete().where(rows.c.run.in_(old)))
                db.execute(runs.delete().where(runs.c.run.in_(old)))

        self._retry(delete)

    # Rows

    def write(self, rows: Sequence[Row]) -> None:
        """Store rows for good. A row with the id of an earlier one replaces it."""
        if self._is_file:
            newest = [
                [self._account, key, *row]
                for row in rows
                if (key := row[SOURCE_KEY] or row[PERSON]) is not None
            ]
            self._retry(lambda db: self._write_to_file(db, rows, newest))
        else:
            values = (msgspec.json.encode(rows).decode(), self._account)
            self._retry(lambda db: db.exec_driver_sql(self._statements.write, values))

    def _write_to_file(self, db: sa.Connection, rows: Sequence[Row], newest: Sequence[Row]) -> None:
        # By the driver itself: SQLAlchemy's processing of rows takes longer than SQLite's.
        cursor: Any = db.connection.cursor()
        cursor.executemany(self._statements.put_row, rows)
        if newest:
            cursor.executemany(self._statements.put_latest, newest)
        cursor.close()

    # Persons

    def forget(self, people: Collection[str], addresses: Collection[str]) -> int:
        """Delete the rows of a person, and return their number.

        Args:
            people: The hashes of the person's addresses.
            addresses: The addresses.

        Raises:
            OutcomesError: The place can't be used.
        """
        if self._is_file and not Path(str(make_url(self._url).database)).exists():
            return 0
        return self._retry(lambda db: self._forget(db, list(people), list(addresses)))

    def _forget(self, db: sa.Connection, people: list[str], addresses: list[str]) -> int:
        inspector, deleted = sa.inspect(db), 0
        for table in (tables.outcomes, tables.latest):
            if inspector.has_table(table.name, schema=self._schema):
                of_person = table.c.person.in_(people) | table.c.address.in_(addresses)
                deleted += db.execute(table.delete().where(of_person)).rowcount
        return deleted

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


class _Statements:
    """The statements that write rows, as text.

    Attributes:
        write: On PostgreSQL: stores rows, given as JSON, in both tables.
        put_row: On SQLite: stores a row.
        put_latest: On SQLite: stores it as the newest one of its key.
    """

    def __init__(self, dialect: sa.Dialect, schema: str | None) -> None:
        self._prepare = dialect.identifier_preparer
        self._quoted_schema = None if schema is None else self._prepare.quote(schema)
        outcomes, latest = self.name_of(tables.outcomes), self.name_of(tables.latest)
        columns, all_ = ", ".join(COLUMNS), ", ".join(_LATEST_COLUMNS)
        put = f"INSERT INTO {outcomes} ({columns})"
        on_row = f"ON CONFLICT (id) DO UPDATE SET {_set_all(COLUMNS, ('id',))}"
        on_latest = (
            f"ON CONFLICT ({', '.join(_LATEST_KEY)}) DO UPDATE "
            f"SET {_set_all(_LATEST_COLUMNS, _LATEST_KEY)} WHERE "
        )
        # The rows of a run are not stored in the order of their records. Of two runs, the later
        # one to store its row wins: the clock's estimate is too coarse to compare them.
        is_newer = "{0}.run <> excluded.run OR {0}.id <= excluded.id".format
        self.put_row = f"{put} VALUES ({_marks(COLUMNS)}) {on_row}"
        put_latest = f"INSERT INTO {latest} ({all_}) VALUES ({_marks(_LATEST_COLUMNS)})"  # noqa: S608
        self.put_latest = f"{put_latest} {on_latest}{is_newer(tables.latest.name)}"
        # One statement, so that rows travel once. The newest row of a key is the last one.
        self.write = f"""
            WITH batch AS (
                SELECT {", ".join(map(_typed, enumerate(COLUMNS)))}, place
                FROM json_array_elements(CAST(%s AS json)) WITH ORDINALITY AS given (r, place)
            ), written AS (
                {put} SELECT DISTINCT ON (id) {columns} FROM batch ORDER BY id, place DESC
                {on_row}
            )
            INSERT INTO {latest} AS known ({all_})
            SELECT DISTINCT ON (stream, coalesce(source_key, person))
                CAST(%s AS varchar), coalesce(source_key, person), {columns}
            FROM batch WHERE coalesce(source_key, person) IS NOT NULL
            ORDER BY stream, coalesce(source_key, person), place DESC
            {on_latest}{is_newer("known")}
        """  # noqa: S608 - names of ours

    def name_of(self, table: sa.Table) -> str:
        """Return a table's name with its schema."""
        return table.name if self._quoted_schema is None else f"{self._quoted_schema}.{table.name}"


def _set_all(columns: Sequence[str], key: Sequence[str]) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)


def _marks(columns: Sequence[str]) -> str:
    return ", ".join("?" * len(columns))


def _typed(numbered: tuple[int, str]) -> str:
    """Return the expression for a column of a row in JSON."""
    index, name = numbered
    kind = tables.outcomes.c[name].type
    if isinstance(kind, sa.Integer):
        return f"CAST(r->>{index} AS {'bigint' if name == 'contact_id' else 'integer'}) AS {name}"
    if isinstance(kind, sa.DateTime):
        return f"CAST(r->>{index} AS timestamptz) AS {name}"
    return f"r->>{index} AS {name}"
