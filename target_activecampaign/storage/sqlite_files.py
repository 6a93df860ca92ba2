"""Distinguish our SQLite files from damaged and foreign ones, and set damaged ones aside.

A file is checked before SQLite opens it: SQLite would complete another program's interrupted
transaction, and so change a file that is not ours.
"""

from __future__ import annotations

import enum
import glob
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from target_activecampaign.storage import private_files

if TYPE_CHECKING:
    import re

DAMAGED_TEXTS = ("malformed", "not a database", "encrypted", "unsupported file format")
"""Texts of SQLite's errors that mean a damaged file."""

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_ID = slice(68, 72)
_PAGE_SIZES = {1, *(1 << power for power in range(9, 16))}
_WAL_VERSIONS = {1, 2}
_FRACTIONS = bytes([64, 32, 32])
_NEWEST_SCHEMA = 4
_ENCODINGS = range(4)
_SEARCHED_BYTES = 4 << 20
_LOOKS = 5
_PAUSE_SECONDS = 0.05


class State(enum.Enum):
    """The state of a file at the path of one of ours."""

    NEW = "empty, or a database without tables"
    EXPECTED = "ours; damage inside shows when it is read"
    DAMAGED = "ours, and damaged"
    ANOTHERS = "another program's database"
    NO_DATABASE = "not an SQLite database, and no sign that it ever was one of ours"


@dataclass(frozen=True)
class Kind:
    """A kind of our files.

    Attributes:
        application_id: The number in its header.
        tables: Names of its tables.
        unmarked: Sets of tables that identify files of earlier versions, without the number.
        name: A file name that only this kind has; empty if there is none.
        content: Patterns that only such files contain, even if a page is lost.
    """

    application_id: int
    tables: frozenset[str]
    unmarked: tuple[frozenset[str], ...] = ()
    name: str = ""
    content: tuple[re.Pattern[bytes], ...] = field(default=())


def classify(path: Path, kind: Kind) -> State:
    """Return the state of a file, without changing it.

    Raises:
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    if not head:
        return State.NEW
    marked = head[_ID] == kind.application_id.to_bytes(4, "big")
    if not _is_header(head):
        return State.DAMAGED if marked or _was_ours(path, kind) else State.NO_DATABASE
    if marked:
        return State.EXPECTED
    try:
        found = _contents(path)
    except sqlite3.OperationalError:
        return State.EXPECTED  # locked: opening it will show the state, and change nothing
    if found is None:
        return State.DAMAGED if _was_ours(path, kind) else State.ANOTHERS
    number, tables = found
    if number == kind.application_id:  # in its log only
        return State.EXPECTED
    if any(old <= tables for old in kind.unmarked):
        return State.EXPECTED
    if kind.tables <= tables:  # only its number is lost
        return State.DAMAGED
    return State.ANOTHERS if tables else State.NEW


def set_aside(path: Path) -> Path:
    """Rename a damaged file and SQLite's files beside it, and return its new name.

    Raises:
        OSError: It can't be renamed.
    """
    start = f"{path}.damaged-{datetime.now(timezone.utc):%Y%m%dT%H%M%S}"
    aside, number = Path(start), 1
    while aside.exists() or aside.is_symlink():
        number += 1
        aside = Path(f"{start}-{number}")
    for ending in ("", "-wal", "-shm"):
        file = Path(f"{path}{ending}")
        if file.exists():
            file.rename(f"{aside}{ending}")
    return aside


def reason(path: Path, text: str) -> str:
    """Return the meaning of an SQLite error as a clause; its own text if unknown."""
    if "full" in text or ("I/O" in text and private_files.is_nearly_full(path)):
        return "the disk is full; make room there"
    if "readonly" in text:
        return "this user may not write to it or to its folder"
    return text


def file_number(path: Path) -> int | None:
    """Return the inode, by which a file differs from its replacement; None if it is missing."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _is_header(head: bytes) -> bool:
    """Tell whether SQLite can have written a header."""
    return (
        len(head) == _HEADER_BYTES
        and head.startswith(_MAGIC)
        and int.from_bytes(head[16:18], "big") in _PAGE_SIZES
        and {head[18], head[19]} <= _WAL_VERSIONS
        and head[21:24] == _FRACTIONS
        and int.from_bytes(head[44:48], "big") <= _NEWEST_SCHEMA
        and int.from_bytes(head[56:60], "big") in _ENCODINGS
    )


def _contents(path: Path) -> tuple[int, set[str]] | None:
    """Return the number and the tables of a database; None if it can't be read.

    Raises:
        sqlite3.OperationalError: Another process has it locked.
    """
    # A file without a log is complete; `immutable` keeps SQLite from making one.
    how = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
    for _ in range(_LOOKS):
        try:
            uri = f"{path.absolute().as_uri()}?{how}"
            with closing(_connect(uri)) as db:
                # Both at one moment: in between, another process may create the tables.
                db.execute("BEGIN")
                (number,) = db.execute("PRAGMA application_id").fetchone()
                names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                return number, {str(name) for (name,) in names} - {"sqlite_sequence"}
        except sqlite3.Error as error:  # noqa: PERF203 - of five at most
            if "locked" in str(error):
                raise
            time.sleep(_PAUSE_SECONDS)  # another process may be creating it now
    return None


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=_PAUSE_SECONDS, isolation_level=None)


def _was_ours(path: Path, kind: Kind) -> bool:
    """Tell whether there are signs that an unreadable file was one of ours."""
    if kind.name and path.name == kind.name:
        return True
    if any(path.parent.glob(f"{glob.escape(path.name)}.damaged-*")):
        return True
    content = b""
    for file in (path, Path(f"{path}-wal")):
        if file.is_file():
            with file.open("rb") as opened:
                content += opened.read(_SEARCHED_BYTES)
    # A text that only mentions ours, such as a log, has no null byte.
    return b"\0" in content and any(pattern.search(content) for pattern in kind.content)
