"""The account's file: one SQLite database, one connection, one thread.

The server answers requests and applies imports on its event loop alone, so that no lock is
needed and a statement never waits for another thread.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import sqlite3
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox.files import Kind, open_private, what_is, why

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG = logging.getLogger(__name__)

_APPLICATION_ID = 0x41435342  # "ACSB" marks the file as a sandbox's
_VERSION = 2
_KEPT_REQUESTS = 100_000
_NEARLY_FULL = 64 * 1024
"""Bytes that are left of a disk on which a write has just failed."""

# A pair's id (a membership, a tag on a contact, a field's value) is made of the pair's two ids,
# so that the pair needs one index only: see `pair_id`.
_PAIR = 1_000_000

_SCHEMA = """
CREATE TABLE list (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, stringid TEXT NOT NULL,
    sender_url TEXT NOT NULL, sender_reminder TEXT NOT NULL,
    cdate INTEGER NOT NULL, udate INTEGER NOT NULL);
CREATE TABLE field (
    id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL COLLATE NOCASE UNIQUE,
    descript TEXT NOT NULL, type TEXT NOT NULL, isrequired TEXT NOT NULL,
    perstag TEXT NOT NULL UNIQUE, defval TEXT, visible TEXT NOT NULL, ordernum INTEGER NOT NULL,
    cdate INTEGER NOT NULL, udate INTEGER NOT NULL);
CREATE TABLE field_option (
    id INTEGER PRIMARY KEY AUTOINCREMENT, field INTEGER NOT NULL, orderid TEXT NOT NULL,
    value TEXT NOT NULL, label TEXT NOT NULL, isdefault TEXT NOT NULL,
    cdate INTEGER NOT NULL, udate INTEGER NOT NULL);
CREATE INDEX field_option_field ON field_option (field);
CREATE TABLE field_rel (
    id INTEGER PRIMARY KEY AUTOINCREMENT, field INTEGER NOT NULL, relid INTEGER NOT NULL,
    cdate INTEGER NOT NULL);
CREATE TABLE tag (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    type TEXT NOT NULL, description TEXT NOT NULL,
    cdate INTEGER NOT NULL, udate INTEGER NOT NULL);
CREATE TABLE organization (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL COLLATE NOCASE UNIQUE);
CREATE TABLE contact (
    id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL COLLATE NOCASE UNIQUE,
    first_name TEXT NOT NULL DEFAULT '', last_name TEXT NOT NULL DEFAULT '',
    phone TEXT NOT NULL DEFAULT '', organization INTEGER, bounced INTEGER NOT NULL DEFAULT 0,
    cdate INTEGER NOT NULL, udate INTEGER NOT NULL, times_imported INTEGER NOT NULL DEFAULT 0);
CREATE TABLE field_value (
    contact INTEGER NOT NULL, field INTEGER NOT NULL, value TEXT NOT NULL,
    cdate INTEGER NOT NULL, udate INTEGER NOT NULL, PRIMARY KEY (contact, field)) WITHOUT ROWID;
CREATE TABLE membership (
    contact INTEGER NOT NULL, list INTEGER NOT NULL, status INTEGER NOT NULL,
    sourceid INTEGER NOT NULL, sdate INTEGER, udate INTEGER,
    unsubreason TEXT NOT NULL DEFAULT '', campaign INTEGER, message INTEGER,
    unsubscribe_automation INTEGER,
    PRIMARY KEY (contact, list)) WITHOUT ROWID;
CREATE INDEX membership_list ON membership (list, status, contact);
CREATE TABLE contact_tag (
    contact INTEGER NOT NULL, tag INTEGER NOT NULL, cdate INTEGER NOT NULL,
    PRIMARY KEY (contact, tag)) WITHOUT ROWID;
CREATE INDEX contact_tag_tag ON contact_tag (tag, contact);
CREATE TABLE excluded (pattern TEXT PRIMARY KEY COLLATE NOCASE) WITHOUT ROWID;
CREATE TABLE import (
    id INTEGER PRIMARY KEY AUTOINCREMENT, batch TEXT NOT NULL UNIQUE, contacts INTEGER NOT NULL,
    accepted REAL NOT NULL, due REAL NOT NULL, done REAL, status TEXT,
    success TEXT NOT NULL DEFAULT '[]', failure TEXT NOT NULL DEFAULT '[]',
    exclude_automations INTEGER NOT NULL, fault TEXT);
CREATE INDEX import_queue ON import (due, id) WHERE status IS NULL;
CREATE TABLE import_body (import INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE request (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, method TEXT NOT NULL,
    path TEXT NOT NULL, query TEXT NOT NULL, status INTEGER NOT NULL, seconds REAL NOT NULL,
    contacts INTEGER, batch TEXT, refusal TEXT, fault TEXT);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""

# What makes a file of each older format one of the next.
_MIGRATIONS = {
    1: (
        "ALTER TABLE membership ADD COLUMN unsubreason TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE membership ADD COLUMN campaign INTEGER",
        "ALTER TABLE membership ADD COLUMN message INTEGER",
        "ALTER TABLE membership ADD COLUMN unsubscribe_automation INTEGER",
    ),
}


class StoreError(Exception):
    """The file can't hold a sandbox's data; the text says why and names the file."""


def pair_id(contact: int, other: int) -> int:
    """The id of what belongs to a contact and one other thing (a list, a tag, a field)."""
    return contact * _PAIR + other


def split_pair(number: int) -> tuple[int, int]:
    """(contact, other) of an id made by `pair_id`."""
    return divmod(number, _PAIR)


class Store:
    """The account's data.

    Args:
        path: The SQLite file, made with mode 0600 when it doesn't exist, and brought to today's
            format when it has an older one; ``:memory:`` is a file that vanishes when the store
            is closed.

    Raises:
        StoreError: The file can't be made, isn't a sandbox's or is in use by another sandbox.
    """

    def __init__(self, path: str) -> None:
        self._temporary = tempfile.TemporaryDirectory() if path == ":memory:" else None
        file = Path(self._temporary.name, "sandbox.db") if self._temporary else Path(path)
        self.path = path
        try:
            self.db, self.fresh = _open(file)
        except StoreError:
            self.close()
            raise
        if self.fresh:
            self._create()
        else:
            self._migrate()

    def _create(self) -> None:
        self.db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        self.db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self.db.execute(f"PRAGMA user_version = {_VERSION}")
        # The marks belong into the file itself: who looks at it next does not read its log.
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _migrate(self) -> None:
        """Bring an older file to today's format, all of it or nothing."""
        with self.transaction():
            for version in range(self.number("PRAGMA user_version"), _VERSION):
                for statement in _MIGRATIONS[version]:
                    self.db.execute(statement)
            self.db.execute(f"PRAGMA user_version = {_VERSION}")

    def clear(self) -> None:
        """Forget everything, as if the file were new."""
        names = [name for (name,) in self.all("SELECT name FROM sqlite_master WHERE type='table'")]
        with self.transaction():
            for name in names:
                if name != "sqlite_sequence":
                    self.db.execute(f"DROP TABLE {name}")
            self.db.execute("DELETE FROM sqlite_sequence")
        self._create()

    def close(self) -> None:
        """Close the file, and remove it where it was a temporary one."""
        if hasattr(self, "db"):
            self.db.close()
        if self._temporary:
            self._temporary.cleanup()

    @property
    def identity(self) -> str:
        """What tells this account from one that was in the file before, and stays with it."""
        if not (number := self.number("SELECT value FROM counter WHERE name = 'identity'")):
            number = 1 + secrets.randbits(52)
            self.count("identity", number)
        return str(number)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements inside take effect together, or none does."""
        self.db.execute("BEGIN")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def one(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        row: sqlite3.Row | None = self.db.execute(sql, _bound(sql, values)).fetchone()
        return row

    def all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self.db.execute(sql, _bound(sql, values)).fetchall()

    def number(self, sql: str, *values: Any) -> int:
        """The single number that a query gives (0 for none)."""
        row = self.db.execute(sql, _bound(sql, values)).fetchone()
        return int(row[0]) if row and row[0] is not None else 0

    def insert(self, sql: str, *values: Any) -> int:
        """Insert one row and return its id."""
        number = self.db.execute(sql, values).lastrowid
        if number is None:  # only when the statement was no INSERT
            raise ValueError(sql)
        return number

    def count(self, name: str, by: int = 1) -> None:
        """Add to one of the counters that ``stats`` shows."""
        self.db.execute(
            "INSERT INTO counter VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, by),
        )

    def log(self, entry: dict[str, Any]) -> None:
        """Keep one request in the log, which holds the last 100,000."""
        number = self.insert(
            "INSERT INTO request (at, method, path, query, status, seconds, contacts, batch,"
            " refusal, fault) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(
                entry[key]
                for key in (
                    "at", "method", "path", "query", "status",
                    "seconds", "contacts", "batch", "refusal", "fault",
                )
            ),
        )  # fmt: skip
        if number % 1000 == 0:
            self.db.execute("DELETE FROM request WHERE id <= ?", (number - _KEPT_REQUESTS,))


def _bound(sql: str, values: tuple[Any, ...]) -> tuple[Any, ...] | dict[str, Any]:
    """Values as SQLite's module takes them: by name where the query numbers them.

    The first releases of Python 3.12 warn of a sequence there.
    """
    if "?1" not in sql:
        return values
    return {str(number): value for number, value in enumerate(values, start=1)}


def _check_marks(db: sqlite3.Connection, file: Path) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise StoreError(_not_ours(file))
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != _VERSION and version not in _MIGRATIONS:
        raise StoreError(f"{file} was made by another version of the sandbox (format {version})")


def _open(file: Path) -> tuple[sqlite3.Connection, bool]:
    """Open the file for this process alone; True beside it says that it is new."""
    try:
        mode = open_private(file)
        fresh = _is_fresh(file)
        db = sqlite3.connect(file, isolation_level=None, timeout=2)
        db.row_factory = sqlite3.Row
    except OSError as error:
        raise StoreError(f"can't open {error.filename or file}: {why(error)}") from None
    except sqlite3.Error as error:
        raise StoreError(f"can't open {file}: {error}") from None
    if mode is not None:
        _LOG.warning("others could use %s (file mode %04o). Its mode is now 0600.", file, mode)
    try:
        if not fresh:
            _check_marks(db, file)
        # Exclusive: two sandboxes on one file would both apply its queue. No fsync: the data
        # survives a killed process, and a lost machine may take a sandbox's data along.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -65536")
        # The index by address is written all over: few checkpoints write its pages less often.
        db.execute("PRAGMA wal_autocheckpoint = 8000")
        db.execute("BEGIN IMMEDIATE")
        db.execute("COMMIT")
    except sqlite3.OperationalError as error:
        db.close()
        raise StoreError(f"can't open {file}: {_reason(file, str(error))}") from None
    except sqlite3.DatabaseError:
        db.close()
        raise StoreError(_not_ours(file)) from None
    except StoreError:
        db.close()
        raise
    return db, fresh


def _is_fresh(file: Path) -> bool:
    """Tell whether a file is empty; what another program has made is not opened at all."""
    kind = what_is(file, _APPLICATION_ID)
    if kind is Kind.ANOTHERS:
        raise StoreError(_not_ours(file))
    if kind is Kind.DAMAGED:
        raise StoreError(f"{file} is damaged: delete it, or name another file")
    return kind is Kind.NEW


def _not_ours(file: Path) -> str:
    return f"{file} is not a sandbox's file: it is left as it is"


def _reason(file: Path, text: str) -> str:
    """Return why SQLite can't use the file, as a clause."""
    if "locked" in text:
        return "it is in use by another sandbox; end that one, or name another file"
    if "full" in text or ("I/O" in text and shutil.disk_usage(file.parent).free < _NEARLY_FULL):
        return "the disk is full; make room there"
    if "readonly" in text:
        return "this user may not write to it or to its folder"
    return text
