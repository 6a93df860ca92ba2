"""Messages of a real tap, recorded: `tests/integration/recordings` and what they were made from.

    messages("log_based_default/2_changes")

They were made by tap-postgres, the version that meltano.yml pins, from a PostgreSQL server with
the plugin wal2json. To make them anew, after `python3 scripts/test.py` has installed the tap:

    .venv/bin/python -m tests.support.source_recordings

With names of folders behind it, only these are made.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import psycopg

from tests.support.postgres_server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "integration" / "recordings"
TAP = ROOT / ".meltano" / "extractors" / "tap-warehouse-postgres" / "venv" / "bin" / "tap-postgres"
STREAM = "public-people"

Messages = list[dict[str, Any]]

_TABLE = """
CREATE TABLE people (
    id integer PRIMARY KEY,
    email text NOT NULL,
    first_name text,
    points integer,
    spent numeric(10, 2),
    born date,
    seen timestamptz,
    consent boolean,
    interests text[],
    address jsonb,
    biography text,
    updated_at timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00+00',
    deleted_at timestamptz
);
-- A long biography lies outside of its row ("toasted"), so that an update may leave it alone.
ALTER TABLE people ALTER COLUMN biography SET STORAGE EXTERNAL;
"""
_SLOT = "SELECT pg_create_logical_replication_slot('tappostgres', 'wal2json')"
_BEFORE_THE_SLOT = "INSERT INTO people (id, email) VALUES (0, 'zoe@example.com')"
_PEOPLE = [
    """INSERT INTO people VALUES (1, 'ana@example.com', 'Ana', 10, 12.50, '1990-02-03',
    '2026-01-02 03:04:05.678+00', true, '{music,"long walks"}', '{"city": "Graz"}')""",
    "INSERT INTO people (id, email) VALUES (2, 'ben@example.com')",
    "INSERT INTO people (id, email, first_name) VALUES (3, 'cleo@example.com', 'Cleo')",
    "INSERT INTO people (id, email, first_name) VALUES (4, 'dora@example.com', 'Dora')",
    """INSERT INTO people (id, email, biography)
    VALUES (5, 'eva@example.com', repeat('A long life. ', 200))""",
]
_CHANGES = [
    "INSERT INTO people (id, email) VALUES (6, 'finn@example.com')",
    "UPDATE people SET first_name = 'Anna' WHERE id = 1",
    "UPDATE people SET email = 'benedict@example.com' WHERE id = 2",
    "UPDATE people SET points = 5 WHERE id = 5",  # the toasted biography is unchanged
    "UPDATE people SET id = 33 WHERE id = 3",
    "DELETE FROM people WHERE id = 4",
    "DELETE FROM people WHERE id = 6",
    "INSERT INTO people (id, email, first_name) VALUES (6, 'finn@example.com', 'Finn')",
    # One transaction
    """BEGIN;
    INSERT INTO people (id, email) VALUES (7, 'gita@example.com');
    UPDATE people SET first_name = 'Gita' WHERE id = 7;
    DELETE FROM people WHERE id = 7;
    UPDATE people SET points = 11 WHERE id = 1;
    UPDATE people SET points = 12 WHERE id = 1;
    COMMIT""",
    "BEGIN; INSERT INTO people (id, email) VALUES (8, 'hugo@example.com'); ROLLBACK",
    # Two people swap their addresses
    """UPDATE people SET email =
    CASE id WHEN 1 THEN 'benedict@example.com' ELSE 'ana@example.com' END WHERE id IN (1, 2)""",
]
_SOFT_CHANGES = [
    """UPDATE people SET first_name = 'Anna', updated_at = '2026-01-02 00:00:00+00'
    WHERE id = 1""",
    """UPDATE people SET deleted_at = '2026-01-02 01:00:00+00',
    updated_at = '2026-01-02 01:00:00+00' WHERE id = 2""",
    """UPDATE people SET email = 'kleo@example.com', updated_at = '2026-01-02 02:00:00+00'
    WHERE id = 3""",
    "DELETE FROM people WHERE id = 4",  # a real one, which nobody gets to see
]
_RETURN = """UPDATE people SET deleted_at = NULL, updated_at = '2026-01-03 00:00:00+00'
WHERE id = 2"""


def messages(name: str) -> Messages:
    """Return the messages of a recorded run.

    Args:
        name: The file below the folder of recordings, without its ending.
    """
    return _parsed((FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines())


def comparable(recorded: Messages) -> Messages:
    """Return messages without what differs each time: positions become ranks, times "a time"."""
    found: Messages = json.loads(json.dumps(recorded))
    records = [one["record"] for one in found if one["type"] == "RECORD"]
    positions = {one["_sdc_lsn"] for one in records if one.get("_sdc_lsn")}
    ranks = {position: rank for rank, position in enumerate(sorted(positions), 1)}
    for message in found:
        message.pop("time_extracted", None)
        for bookmark in message.get("value", {}).get("bookmarks", {}).values():
            if isinstance(bookmark.get("replication_key_value"), int):
                bookmark["replication_key_value"] = "a position"
    for one in records:
        if one.get("_sdc_lsn"):
            one["_sdc_lsn"] = ranks[one["_sdc_lsn"]]
        if one.get("_sdc_deleted_at"):
            one["_sdc_deleted_at"] = "a time"
    return found


def record(name: str) -> Iterator[tuple[str, Messages]]:
    """Make the recordings of a folder anew; yield their names and messages."""
    yield from _FOLDERS[name]()


def _log_based(identity: str) -> Iterator[tuple[str, Messages]]:
    name = f"log_based_{identity}"
    with _source("LOG_BASED", _BEFORE_THE_SLOT) as source:
        source.sql(f"ALTER TABLE people REPLICA IDENTITY {identity}", *_PEOPLE)
        yield f"{name}/1_initial", source.run()
        with source.connect() as first, source.connect() as late:
            source.sql(*_CHANGES)
            # Two transactions that overlap: the first to begin is the last to commit.
            first.execute("UPDATE people SET points = 13 WHERE id = 1")
            source.sql("UPDATE people SET points = 22 WHERE id = 2")
            first.commit()
            late.execute("UPDATE people SET points = 33 WHERE id = 33")
            source.sql("UPDATE people SET points = 23 WHERE id = 2")
            yield f"{name}/2_changes", source.run()
            late.commit()
        source.sql("DELETE FROM people WHERE id = 5", "TRUNCATE people")
        source.sql("INSERT INTO people (id, email) VALUES (9, 'ida@example.com')")
        yield f"{name}/3_truncated", source.run()
        yield f"{name}/4_quiet", source.run()


def _log_based_identities() -> Iterator[tuple[str, Messages]]:
    with _source("LOG_BASED", "CREATE UNIQUE INDEX people_email ON people (email)") as source:
        source.sql("ALTER TABLE people REPLICA IDENTITY USING INDEX people_email", *_PEOPLE[:3])
        source.sql("UPDATE people SET email = 'kleo@example.com' WHERE id = 3")
        source.sql("DELETE FROM people WHERE id = 3")
        yield "log_based_identities/1_index", source.run()
        source.sql("ALTER TABLE people REPLICA IDENTITY NOTHING")
        source.sql("UPDATE people SET points = 14 WHERE id = 1", "DELETE FROM people WHERE id = 2")
        yield "log_based_identities/2_nothing", source.run()


def _log_based_bootstrapped() -> Iterator[tuple[str, Messages]]:
    more = {"log_based_single_connection": True, "auto_bootstrap_log_based": True}
    with _source("LOG_BASED", *_PEOPLE, **more) as source:
        yield "log_based_bootstrapped/1_initial", source.run()
        source.sql("DELETE FROM people WHERE id = 4")
        yield "log_based_bootstrapped/2_changes", source.run()


def _log_based_interrupted() -> Iterator[tuple[str, Messages]]:
    with _source("LOG_BASED") as source:
        source.sql(*_PEOPLE[:2])
        yield "log_based_interrupted/1_initial", source.run()
        source.sql(*_PEOPLE[2:], "DELETE FROM people WHERE id = 2")
        # The STATE that was given, the SCHEMA and two records
        yield "log_based_interrupted/2_killed", source.run(kill_after=4)
        yield "log_based_interrupted/3_again", source.run()


def _incremental() -> Iterator[tuple[str, Messages]]:
    with _source("INCREMENTAL", *_PEOPLE) as source:
        yield "incremental/1_initial", source.run()
        source.sql(*_SOFT_CHANGES)
        yield "incremental/2_soft_deletes", source.run()
        source.sql(_RETURN)
        yield "incremental/3_return", source.run()


def _full_table() -> Iterator[tuple[str, Messages]]:
    with _source("FULL_TABLE", *_PEOPLE) as source:
        yield "full_table/1_initial", source.run()
        source.sql(*_SOFT_CHANGES)
        yield "full_table/2_changes", source.run()


_FOLDERS: dict[str, Callable[[], Iterator[tuple[str, Messages]]]] = {
    "log_based_default": partial(_log_based, "default"),
    "log_based_full": partial(_log_based, "full"),
    "log_based_identities": _log_based_identities,
    "log_based_bootstrapped": _log_based_bootstrapped,
    "log_based_interrupted": _log_based_interrupted,
    "incremental": _incremental,
    "full_table": _full_table,
}


@contextmanager
def _source(method: str, *statements: str, **config: Any) -> Iterator[_Source]:
    """A server with a table, rows from before the slot was made, and a slot."""
    with PostgresServer(logical=True) as server:
        folder = Path(tempfile.mkdtemp(prefix="recordings-"))
        source = _Source(server, folder, method, config)
        source.sql(_TABLE, *statements, _SLOT)
        yield source
        shutil.rmtree(folder)


@final
class _Source:
    """A table and a tap that reads it, with the STATE of its last run."""

    def __init__(
        self, server: PostgresServer, folder: Path, method: str, config: dict[str, Any]
    ) -> None:
        self._server = server
        self._folder = folder
        self._method = method
        self._state: Any = None
        self._write(
            "config",
            {
                "sqlalchemy_url": server.url,
                "filter_schemas": ["public"],
                "replication_idle_exit_seconds": 1,
                **config,
            },
        )
        self._catalog: Any = None

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._server.url)

    def sql(self, *statements: str) -> None:
        """Run statements, each a transaction of its own."""
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            for one in statements:
                connection.execute(one.encode())

    def run(self, *, kill_after: int | None = None) -> Messages:
        """Run the tap; its STATE is kept for the next run unless it is killed after some lines."""
        arguments = ["--catalog", self._write("catalog", self._selected())]
        if self._state is not None:
            arguments += ["--state", self._write("state", self._state)]
        with self._start(*arguments) as process:
            assert process.stdout is not None
            found = _parsed(itertools.islice(process.stdout, kill_after))
            if kill_after:
                process.kill()
                return found
        assert process.returncode == 0
        self._state = [one["value"] for one in found if one["type"] == "STATE"][-1]
        return found

    def _selected(self) -> dict[str, Any]:
        """The catalog that the tap discovers, with the table selected as Meltano does it."""
        if self._catalog is None:
            with self._start("--discover") as process:
                assert process.stdout is not None
                self._catalog = json.loads(process.stdout.read())
            (stream,) = self._catalog["streams"]
            keys = {"LOG_BASED": "_sdc_lsn", "INCREMENTAL": "updated_at"}
            of = {"replication-method": self._method, "selected": True}
            stream["replication_method"] = self._method
            if self._method in keys:
                of["replication-key"] = stream["replication_key"] = keys[self._method]
            for one in stream["metadata"]:
                one["metadata"].update({"selected": True} if one["breadcrumb"] else of)
        return dict(self._catalog)

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [str(TAP), "--config", str(self._folder / "config.json"), *arguments]
        with (self._folder / "log").open("wb") as log:
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8"
            )

    def _write(self, name: str, value: Any) -> str:
        path = self._folder / f"{name}.json"
        path.write_text(json.dumps(value), "utf-8")
        return str(path)


def _parsed(lines: Iterable[str]) -> Messages:
    return [json.loads(line) for line in lines]


def main() -> None:
    """Make recordings anew."""
    for folder in sys.argv[1:] or _FOLDERS:
        (FOLDER / folder).mkdir(parents=True, exist_ok=True)
        for name, recorded in record(folder):
            text = "".join(f"{json.dumps(one)}\n" for one in recorded)
            (FOLDER / f"{name}.jsonl").write_text(text, "utf-8")
            print(f"{name}: {len(recorded)} messages", flush=True)


if __name__ == "__main__":
    main()
