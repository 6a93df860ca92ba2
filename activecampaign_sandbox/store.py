"""The account's data: one SQLite database, one connection, one thread.

The server answers requests and applies imports on its event loop alone, so that no locks are
needed and no statement waits for another thread.
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

from activecampaign_sandbox.files import Kind, classify, create_private, make_private, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG = logging.getLogger(__name__)

_APPLICATION_ID = 0x41435342  # "ACSB", the mark of a sandbox's file
_VERSION = 4
_KEPT_REQUESTS = 100_000
_NEARLY_FULL_BYTES = 64 * 1024
"""Free bytes below which a failed write means that the disk is full."""

_EXCLUSIONS_AND_BOUNCES = (
    "CREATE TABLE exclusion (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " phrase TEXT NOT NULL COLLATE NOCASE, match_type TEXT NOT NULL, channel TEXT NOT NULL,"
    " UNIQUE (phrase, match_type))",
    "CREATE TABLE exclusion_list (exclusion INTEGER NOT NULL, list INTEGER NOT NULL,"
    " PRIMARY KEY (exclusion, list)) WITHOUT ROWID",
    "CREATE TABLE bounce (id INTEGER PRIMARY KEY AUTOINCREMENT, contact INTEGER NOT NULL,"
    " at INTEGER NOT NULL, campaign INTEGER, message INTEGER, code INTEGER,"
    " error TEXT NOT NULL DEFAULT '', source TEXT NOT NULL DEFAULT '')",
    "CREATE INDEX bounce_contact ON bounce (contact)",
)

# The tables of pairs: a contact's values, memberships and tags, each with an id of its own.
_PAIRS = {
    "field_value": (
        "field",
        "field INTEGER NOT NULL, value TEXT NOT NULL, cdate INTEGER NOT NULL,"
        " udate INTEGER NOT NULL",
    ),
    "membership": (
        "list",
        "list INTEGER NOT NULL, status INTEGER NOT NULL, sourceid INTEGER NOT NULL,"
        " sdate INTEGER, udate INTEGER, unsubreason TEXT NOT NULL DEFAULT '', campaign INTEGER,"
        " message INTEGER, unsubscribe_automation INTEGER, created INTEGER NOT NULL,"
        " updated INTEGER NOT NULL",
    ),
    "contact_tag": ("tag", "tag INTEGER NOT NULL, cdate INTEGER NOT NULL"),
}
_PAIR_INDEXES = (
    "CREATE INDEX membership_list ON membership (list, status, contact)",
    "CREATE INDEX contact_tag_tag ON contact_tag (tag, contact)",
)
_TAGS = (
    "CREATE TABLE tag (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL COLLATE NOCASE,"
    " type TEXT NOT NULL, description TEXT NOT NULL, cdate INTEGER NOT NULL,"
    " udate INTEGER NOT NULL)",
    # Whether names that differ in case are one tag depends on the option `tag_case`.
    "CREATE UNIQUE INDEX tag_name ON tag (name COLLATE BINARY)",
    "CREATE INDEX tag_name_without_case ON tag (name)",
)
_LIST_GROUPS = (
    "CREATE TABLE list_group (id INTEGER PRIMARY KEY AUTOINCREMENT, list INTEGER NOT NULL,"
    " user_group INTEGER NOT NULL, UNIQUE (list, user_group))"
)


def _pair_table(name: str) -> str:
    other, columns = _PAIRS[name]
    return (
        f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, contact INTEGER NOT NULL, {columns},"
        f" UNIQUE (contact, {other}))"
    )


_SCHEMA = f"""
CREATE TABLE list (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, stringid TEXT NOT NULL,
    sender_url TEXT NOT NULL, sender_reminder TEXT NOT NULL,
    cdate INTEGER NOT NULL, udate INTEGER NOT NULL, channel TEXT NOT NULL DEFAULT 'email',
    userid TEXT NOT NULL DEFAULT '0', send_last_broadcast TEXT NOT NULL DEFAULT '0',
    carboncopy TEXT, subscription_notify TEXT, unsubscription_notify TEXT);
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
CREATE TABLE organization (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL COLLATE NOCASE UNIQUE);
CREATE TABLE contact (
    id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL COLLATE NOCASE UNIQUE,
    first_name TEXT NOT NULL DEFAULT '', last_name TEXT NOT NULL DEFAULT '',
    phone TEXT NOT NULL DEFAULT '', organization INTEGER, bounced INTEGER NOT NULL DEFAULT 0,
    cdate INTEGER NOT NULL, udate INTEGER NOT NULL, times_imported INTEGER NOT NULL DEFAULT 0,
    bounced_soft INTEGER NOT NULL DEFAULT 0);
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
{";".join((*_EXCLUSIONS_AND_BOUNCES, *_TAGS, *map(_pair_table, _PAIRS), *_PAIR_INDEXES))};
{_LIST_GROUPS};
"""


def _rebuilt(name: str, table: str, columns: str, selected: str = "") -> tuple[str, ...]:
    """Return the statements that make a table anew and keep its rows."""
    return (
        f"ALTER TABLE {name} RENAME TO old_{name}",
        table,
        f"INSERT INTO {name} ({columns}) SELECT {selected or columns} FROM old_{name}"  # noqa: S608
        " ORDER BY 1, 2",
        f"DROP TABLE old_{name}",
    )


_HOW_IT_ENDED = "unsubreason, campaign, message, unsubscribe_automation"
_MEMBERSHIP = f"contact, list, status, sourceid, sdate, udate, {_HOW_IT_ENDED}"
_CREATED = "coalesce(min(sdate, udate), sdate, udate, strftime('%s', 'now'))"
_UPDATED = "coalesce(max(sdate, udate), sdate, udate, strftime('%s', 'now'))"

# The statements that upgrade a file of each older format to the next.
_MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE membership ADD COLUMN unsubreason TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE membership ADD COLUMN campaign INTEGER",
        "ALTER TABLE membership ADD COLUMN message INTEGER",
        "ALTER TABLE membership ADD COLUMN unsubscribe_automation INTEGER",
    ),
    2: (
        *_EXCLUSIONS_AND_BOUNCES,
        "INSERT INTO exclusion (phrase, match_type, channel) SELECT pattern,"
        " CASE WHEN pattern LIKE '@%' THEN 'end' ELSE 'exact' END, 'all' FROM excluded",
        "DROP TABLE excluded",
        "ALTER TABLE contact ADD COLUMN bounced_soft INTEGER NOT NULL DEFAULT 0",
        "INSERT INTO bounce (contact, at) SELECT id, udate FROM contact WHERE bounced > 0",
    ),
    3: (
        *_rebuilt("field_value", _pair_table("field_value"), "contact, field, value, cdate, udate"),
        *_rebuilt(
            "membership",
            _pair_table("membership"),
            f"{_MEMBERSHIP}, created, updated",
            f"{_MEMBERSHIP}, {_CREATED}, {_UPDATED}",
        ),
        *_rebuilt("contact_tag", _pair_table("contact_tag"), "contact, tag, cdate"),
        *_PAIR_INDEXES,
        *_rebuilt("tag", _TAGS[0], "id, name, type, description, cdate, udate"),
        *_TAGS[1:],
        _LIST_GROUPS,
        "ALTER TABLE list ADD COLUMN channel TEXT NOT NULL DEFAULT 'email'",
        "ALTER TABLE list ADD COLUMN userid TEXT NOT NULL DEFAULT '0'",
        "ALTER TABLE list ADD COLUMN send_last_broadcast TEXT NOT NULL DEFAULT '0'",
        "ALTER TABLE list ADD COLUMN carboncopy TEXT",
        "ALTER TABLE list ADD COLUMN subscription_notify TEXT",
        "ALTER TABLE list ADD COLUMN unsubscription_notify TEXT",
    ),
}


class StoreError(Exception):
    """The file can't be used for a sandbox's data; the text names it and says why."""


class Store:
    """The account's data.

    Args:
        path: The SQLite file. It is created with mode 0600 if it does not exist, and upgraded if
            its format is older. ``:memory:`` is a temporary file, deleted by `close`.

    Attributes:
        path: The path as it was given.
        db: The connection.
        is_new: Whether the file was empty.

    Raises:
        StoreError: The file can't be created, is not a sandbox's, or is in use by another.
    """

    def __init__(self, path: str) -> None:
        self._temporary = tempfile.TemporaryDirectory() if path == ":memory:" else None
        file = Path(self._temporary.name, "sandbox.db") if self._temporary else Path(path)
        self.path = path
        try:
            self.db, self.is_new = _open(file)
        except StoreError:
            self.close()
            raise
        if self.is_new:
            self._create()
        else:
            self._migrate()

    def _create(self) -> None:
        self.db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        self.db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        self.db.execute(f"PRAGMA user_version = {_VERSION}")
        # Write the marks into the file itself: `classify` does not read the write-ahead log.
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _migrate(self) -> None:
        """Upgrade an older file to the current format, in one transaction."""
        with self.transaction():
            for version in range(self.number("PRAGMA user_version"), _VERSION):
                for statement in _MIGRATIONS[version]:
                    self.db.execute(statement)
            self.db.execute(f"PRAGMA user_version = {_VERSION}")

    def clear(self) -> None:
        """Delete everything, as if the file were new."""
        names = [name for (name,) in self.all("SELECT name FROM sqlite_master WHERE type='table'")]
        with self.transaction():
            for name in names:
                if name != "sqlite_sequence":
                    self.db.execute(f"DROP TABLE {name}")
            self.db.execute("DELETE FROM sqlite_sequence")
        self._create()

    def close(self) -> None:
        """Close the file; delete it if it is temporary."""
        if hasattr(self, "db"):
            self.db.close()
        if self._temporary:
            self._temporary.cleanup()

    @property
    def identity(self) -> str:
        """The id of this account, which stays until the data is cleared."""
        if not (number := self.number("SELECT value FROM counter WHERE name = 'identity'")):
            number = 1 + secrets.randbits(52)
            self.count("identity", number)
        return str(number)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the statements inside as one transaction."""
        self.db.execute("BEGIN")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def one(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        row: sqlite3.Row | None = self.db.execute(sql, values).fetchone()
        return row

    def all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        return self.db.execute(sql, values).fetchall()

    def number(self, sql: str, *values: Any) -> int:
        """Return the single number that a query selects; 0 for none."""
        row = self.db.execute(sql, values).fetchone()
        return int(row[0]) if row and row[0] is not None else 0

    def insert(self, sql: str, *values: Any) -> int:
        """Insert one row and return its id."""
        number = self.db.execute(sql, values).lastrowid
        if number is None:  # only if the statement was not an INSERT
            raise ValueError(sql)
        return number

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter that the control API's ``stats`` shows."""
        self.db.execute(
            "INSERT INTO counter VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, by),
        )

    def log(self, entry: dict[str, Any]) -> None:
        """Add a request to the log, which keeps the last 100,000."""
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


def _check_marks(db: sqlite3.Connection, file: Path) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise StoreError(_not_ours(file))
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != _VERSION and version not in _MIGRATIONS:
        raise StoreError(f"{file} was made by another version of the sandbox (format {version})")


def _open(file: Path) -> tuple[sqlite3.Connection, bool]:
    """Open the file for this process alone; return whether it is new too."""
    try:
        create_private(file)
        is_new = _is_new(file)  # before the mode changes: it may be another program's file
        mode = make_private(file)
        db = sqlite3.connect(file, isolation_level=None, timeout=2)
        db.row_factory = sqlite3.Row
    except OSError as error:
        raise StoreError(f"can't open {error.filename or file}: {reason_of(error)}") from None
    except sqlite3.Error as error:
        raise StoreError(f"can't open {file}: {error}") from None
    if mode is not None:
        _LOG.warning("Other users could access %s (mode %04o); its mode is now 0600.", file, mode)
    try:
        if not is_new:
            _check_marks(db, file)
        # Exclusive: two sandboxes on one file would both apply its queue. No fsync: the data
        # survives a killed process, and need not survive a crash of the machine.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -65536")
        # Writes to the index of addresses are scattered; with few checkpoints its pages are
        # written less often.
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
    return db, is_new


def _is_new(file: Path) -> bool:
    """Return whether a file is empty; refuse another program's file before SQLite opens it."""
    kind = classify(file, _APPLICATION_ID)
    if kind is Kind.FOREIGN:
        raise StoreError(_not_ours(file))
    if kind is Kind.DAMAGED:
        raise StoreError(f"{file} is damaged: delete it, or name another file")
    return kind is Kind.NEW


def _not_ours(file: Path) -> str:
    return f"{file} is not a file of the sandbox. It was not changed; name another file"


def _reason(file: Path, text: str) -> str:
    """Return the reason why SQLite can't use the file, as a clause."""
    if "locked" in text:
        return "it is in use by another sandbox; end that one, or name another file"
    if "full" in text or (
        "I/O" in text and shutil.disk_usage(file.parent).free < _NEARLY_FULL_BYTES
    ):
        return "the disk is full; make room there"
    if "readonly" in text:
        return "this user may not write to it or to its folder"
    return text
