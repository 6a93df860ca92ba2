"""The ledger's database: opened, made, brought up to date, set aside when it is damaged."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
import time
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from target_activecampaign.errors import (
    DamagedLedgerError,
    LedgerError,
    MissingLedgerError,
    UnreachableLedgerError,
)
from target_activecampaign.ledger import forms
from target_activecampaign.ledger import schema as tables
from target_activecampaign.ledger.availability import may_pass
from target_activecampaign.storage import private_files, sqlite_files
from target_activecampaign.storage.sqlite_files import State
from target_activecampaign.text import install_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Concatenate

    from typing_extensions import ParamSpec

    P = ParamSpec("P")


T = TypeVar("T")

logger = logging.getLogger("target-activecampaign")

PATIENCE_SECONDS = 30.0
"""How long a ledger is tried again that is away, as a server that restarts is."""
_LONGEST_PAUSE = 3.0
_BUSY_MILLISECONDS = 3000
"""How long SQLite itself waits for a lock. Short: once a wait was in vain, each further question
takes so long, and a run that was stopped is to end in time."""
_CONNECTING = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
"""For PostgreSQL, unless the URL says otherwise: a network that is gone says nothing."""

_LOCK = 5_172_023
"""The number of PostgreSQL's advisory lock for what only one process may do at a time."""
_DAMAGED_LEDGER = ("no such table", "no such column")
"""What SQLite says of a ledger, beside what it says of any file, when a part of it is gone."""
_POSTGRES = "postgresql+psycopg://"
_SEE = "Its place is the setting 'ledger_url'."
_SERVER_REASONS = (
    ("Connection refused", "nothing listens there", "Check host and port in 'ledger_url'."),
    ("resolve host", "the host name is not known", "Check the host in 'ledger_url'."),
    ("translate host name", "the host name is not known", "Check the host in 'ledger_url'."),
    (
        "authentication failed",
        "it does not accept the user name or the password",
        "Check both in 'ledger_url'.",
    ),
    (
        "no password supplied",
        "it wants a password",
        "Give it in 'ledger_url', or as libpq takes it.",
    ),
    (
        "does not exist",
        "it has no such database or user",
        "Check both in 'ledger_url', or make them.",
    ),
    ("timeout expired", "it did not answer in time", "Check the host and the network."),
)
"""Libpq's words when there is no connection, their meaning, and the remedy."""
_NOT_ALLOWED = "42501"
"""PostgreSQL's SQLSTATE for a right that a user lacks."""


class _HasStore(Protocol):
    _store: Store


S = TypeVar("S", bound=_HasStore)


def repeatable(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Let a method start anew for a while when the ledger is away.

    It must be right to call it twice, also when its transaction was committed and only the answer
    to that was lost.
    """

    @wraps(method)
    def repeated(self: S, /, *args: P.args, **how: P.kwargs) -> T:
        return self._store.repeat(lambda: method(self, *args, **how))

    return repeated


class Store:
    """A ledger's database. Safe between threads: one transaction at a time.

    Args:
        url: As SQLAlchemy takes it: `sqlite:///path` or `postgresql+psycopg://...`.
        make: Whether to make the ledger when there is none. A damaged SQLite file is then
            set aside, loudly, and a new one made. Without it, nothing is made or set aside.

    Attributes:
        key: The ledger's own key for the hashes that stand for people.

    Raises:
        LedgerError: It can't be used; so do all methods.
    """

    def __init__(self, url: str, *, make: bool = True) -> None:
        self._lock = threading.Lock()
        self._url = url
        self._make = make
        self._damaged = False
        self._file: int | None = None
        self._patience = PATIENCE_SECONDS
        try:
            self.key = self._begin()
        except LedgerError:
            if not (make and self._damaged):
                raise
            self._set_aside()
            self.key = self._begin()

    def _begin(self) -> bytes:
        """Open the database and see that the tables are there; returns the key."""
        self._open()
        try:
            return self.repeat(self._prepare)
        except BaseException:
            self.engine.dispose()
            raise

    def repeat(self, action: Callable[[], T]) -> T:
        """Do something that may be done twice, again and again while the ledger is away.

        Raises:
            LedgerError: It is away for too long, or can't be used.
        """
        try:
            # All connections: that to a server that is a standby now would stay as it is.
            result = repeat(action, self.place, self.engine.dispose, self._patience)
        except UnreachableLedgerError:
            # Waited for once is enough: the run ends, and is not to wait for each further word.
            self._patience = 0.0
            raise
        self._patience = PATIENCE_SECONDS
        return result

    def _open(self) -> None:
        try:
            path = file_of(self._url)
            if path is not None:
                self._process(path)
            elif self._url.startswith("sqlite"):
                raise LedgerError(
                    "'ledger_url' names no file: write it as sqlite:///path. A ledger in memory "
                    "would be lost at the end of the run."
                )
            self.engine = _engine(self._url, make=self._make)
        except FileNotFoundError as error:
            if self._make:
                raise self._error(error) from None
            raise self._missing() from None
        except (sa.exc.SQLAlchemyError, OSError, ImportError, ValueError) as error:
            # ValueError: a port that is no number.
            raise self._error(error) from None

    def _process(self, path: Path) -> None:
        """See that the ledger's file is a plain one and its owner's alone, and is a ledger."""
        if self._make:
            private_files.make_folder(path.parent)
        mode = private_files.open_database(path, make=self._make)
        if mode is not None:
            logger.warning(
                "The ledger %s could be used by others on this machine (file mode %04o). Its mode "
                "is now 0600.",
                self.place,
                mode,
            )
        self._file = sqlite_files.file_number(path)
        if check_file(path) is State.DAMAGED:
            raise self.damaged()

    @contextmanager
    def transaction(
        self, *, alone: bool = False, account: int | None = None
    ) -> Iterator[sa.Connection]:
        """A transaction; the lock spares threads of one process SQLite's way of waiting.

        Args:
            alone: Whether no other process may be in such a one at the same time. On SQLite
                none ever is.
            account: Whether none may for this account. Workers write each other's rows, and
                would else wait for each other's locks in a circle.
        """
        try:
            with self._lock, self.engine.begin() as db:
                if alone and db.dialect.name == "postgresql":
                    db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                if account is not None and db.dialect.name == "postgresql":
                    db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK, account)))
                yield db
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            # SQLite's own: of rows that are taken from the driver.
            raise self._error(error) from None

    def close(self) -> None:
        """Close it; a file that turned out to be damaged is set aside for the next run.

        Raises:
            LedgerError: It can't be set aside.
        """
        self.engine.dispose()
        if self._make and self._damaged:
            self._set_aside()

    def damaged(self) -> LedgerError:
        """The error for what can't be as it was written."""
        if self._url.startswith("sqlite"):
            self._damaged = True
        what = (
            "It is set aside when this run ends, and the next run begins a new one: run again."
            if self._make
            else "The target's next run sets it aside and begins a new one."
        )
        return DamagedLedgerError(f"The ledger {self.place} is damaged. {what}")

    def vacuum(self) -> None:
        """Give back the room of what was deleted, and let nothing of it stay in the file."""
        try:
            with self._lock, self.engine.connect() as db:
                plain = db.execution_options(isolation_level="AUTOCOMMIT")
                if plain.dialect.name == "sqlite":
                    plain.exec_driver_sql(f"PRAGMA busy_timeout = {PATIENCE_SECONDS * 1000:.0f}")
                    plain.exec_driver_sql("VACUUM")
                    busy = plain.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
                else:
                    # Not all that the database has; and FULL, which copies what there is.
                    ours = (f"{forms.SCHEMA}.{name}" for name in tables.metadata.tables)
                    plain.exec_driver_sql(f"VACUUM (FULL) {', '.join(ours)}")
                    busy = 0
        except sa.exc.SQLAlchemyError as error:
            raise self._error(error) from None
        if busy:
            raise LedgerError(
                f"The ledger {self.place} is being read by another program, so what was deleted "
                "may still be in its write-ahead log: vacuum it again when that has ended."
            )

    def _prepare(self) -> bytes:
        """See that the tables are there in the form of today; returns the key."""
        # Alone: processes that start together would else make the tables twice.
        with self.transaction(alone=True) as db:
            if forms.is_there(db):
                version, key = self._form_and_key(db)
                if version > tables.VERSION:
                    raise newer(self.place, version)
                if version < tables.VERSION:
                    forms.bring_up_to_date(db, version)
                return key
            first = forms.is_first(db)
            if not first and forms.is_anothers(db):
                raise _anothers(self.place)
            if not self._make:
                raise self._missing()
            key = (forms.drop_first(db) if first else None) or secrets.token_bytes(32)
            forms.make(db, key)
            return key

    def _form_and_key(self, db: sa.Connection) -> tuple[int, bytes]:
        rows = db.execute(sa.select(tables.about.c.version, tables.about.c.key)).all()
        if len(rows) != 1 or not isinstance(rows[0].version, int) or not rows[0].key:
            raise self.damaged()
        return rows[0].version, bytes(rows[0].key)

    def _missing(self) -> LedgerError:
        return MissingLedgerError(
            f"There is no ledger {self.place}: check 'ledger_url'. The target's next run makes it."
        )

    def _set_aside(self) -> None:
        self._damaged = False
        path = file_of(self._url)
        if path is None or sqlite_files.file_number(path) != self._file:
            # Another process has done so, and begun a new one there, which is not damaged.
            return
        try:
            aside = sqlite_files.set_aside(path)
        except OSError as error:
            raise LedgerError(
                f"The ledger {self.place} is damaged and can't be set aside: "
                f"{private_files.reason(error)}. Move it away, then run again."
            ) from None
        logger.warning(
            "The ledger %s is DAMAGED. It is set aside as %s, and a new one is begun: everything "
            "is delivered once more, and the next run of a mirror only takes stock.",
            self.place,
            aside,
        )

    @property
    def is_file(self) -> bool:
        """Whether it is a file of SQLite's, and not on a server."""
        return bool(self.engine.dialect.name == "sqlite")

    @property
    def place(self) -> str:
        """Where the ledger is, in words without a password."""
        return place_of(self._url)

    def _error(self, error: Exception) -> LedgerError:
        cause = getattr(error, "orig", None) or error
        text = str(cause or "")
        if self._url.startswith("sqlite"):
            if any(word in text for word in (*sqlite_files.DAMAGED_TEXTS, *_DAMAGED_LEDGER)):
                return self.damaged()
        elif _NOT_ALLOWED in (getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None)):
            user = make_url(self._url).username or "its user"
            return LedgerError(
                f"The user of 'ledger_url' may not make or use the ledger {self.place}: have an "
                f"administrator run `CREATE SCHEMA {forms.SCHEMA} AUTHORIZATION {user}` there."
            )
        kind = UnreachableLedgerError if self._is_away(error, cause) else LedgerError
        return kind(why_not(self._url, error, "used"))

    def _is_away(self, error: Exception, cause: Any) -> bool:
        """Tell whether the same may succeed in a while."""
        if self._url.startswith("sqlite"):
            return any(word in str(cause) for word in ("database is locked", "database is busy"))
        lost = isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
        return lost or (cause is not None and may_pass(cause))


def why_not(url: str, error: Exception, done: str) -> str:
    """Return why a ledger can't be used, and what to do: the cause, or all that are possible.

    Args:
        url: The ledger.
        error: What SQLAlchemy, the driver or the system said.
        done: What was to be done with it, such as `used`.
    """
    place = place_of(url)
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, ImportError) and "psycopg" in (cause.name, *str(cause).split()):
        return (
            f"The ledger {place} needs psycopg, which is not installed or can't be loaded. "
            f"{install_hint('postgres')}"
        )
    if isinstance(cause, (ImportError, sa.exc.NoSuchModuleError, sa.exc.ArgumentError)):
        return (
            f"The ledger {place} can't be {done}: 'ledger_url' must begin with sqlite:/// or "
            f"{_POSTGRES}."
        )
    if isinstance(cause, OSError):
        file = f" ({cause.filename})" if cause.filename else ""
        why, what = private_files.reason(cause), private_files.remedy(cause)
        return " ".join(
            one for one in (f"The ledger {place} can't be {done}{file}: {why}.", what, _SEE) if one
        )
    if url.startswith("sqlite"):
        said = _sqlite_reason(file_of(url), str(cause))
    else:
        said = _server_reason(str(cause))
    if said is not None:
        return f"The ledger {place} can't be {done}: {said}"
    return (
        f"The ledger {place} can't be {done} ({type(error).__name__}): check 'ledger_url', "
        "that the place is there and may be written to, and that no other program has it locked."
    )


def _sqlite_reason(path: Path | None, text: str) -> str | None:
    """Return what SQLite's words for a failure mean, and the remedy; None for unknown words."""
    full = path is not None and private_files.nearly_full(path)
    if "disk is full" in text or ("disk I/O" in text and full):
        return "the disk is full. Make room there, then run again."
    if "disk I/O" in text:
        return (
            "the disk can't be written or read. Check it, its quota and `ulimit -f`, then run "
            "again."
        )
    if "readonly" in text or "unable to open" in text:
        return (
            "this user may not write to it or to its folder. Change that, or name another place "
            "in 'ledger_url'."
        )
    if "locked" in text:
        return (
            "another program has it locked. Run again when that has ended; on a network drive, "
            "name a place on a disk of this machine in 'ledger_url'."
        )
    return None


def _server_reason(text: str) -> str | None:
    """Return what libpq's words for a failure mean, and the remedy; None for unknown words."""
    for said, why, what in _SERVER_REASONS:
        if said in text:
            return f"{why}. {what}"
    return None


def check_file(path: Path) -> State:
    """Tell what stands where a ledger is to be; it is only read.

    Raises:
        LedgerError: It is a file that never was a ledger.
        OSError: It can't be read.
    """
    state = sqlite_files.look(path, forms.FILE)
    if state is State.ANOTHERS:
        raise _anothers(f"at {path}")
    if state is State.NO_DATABASE:
        raise LedgerError(
            f"The file at {path} is no ledger, so it stays as it is: give the ledger a file of its "
            "own in 'ledger_url'. If it was a ledger and is damaged, move it away: the next run "
            "begins a new one."
        )
    return state


def _anothers(place: str) -> LedgerError:
    return LedgerError(
        f"The database {place} belongs to another program: give the ledger a file of its own in "
        "'ledger_url'."
    )


def file_of(url: str) -> Path | None:
    """The file of a ledger; None if it is on a server or in memory.

    Raises:
        sqlalchemy.exc.ArgumentError, ValueError: It is no URL.
        LedgerError: It is an address of SQLite's own, whose file is not checked.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        return None
    if "uri" in parsed.query:
        raise LedgerError(
            "The ledger can't be used: 'ledger_url' must be sqlite:/// and the path of a file, "
            "without `uri` behind it."
        )
    return Path(str(parsed.database))


def repeat(
    action: Callable[[], T],
    place: str,
    let_go: Callable[[], None],
    patience: float = PATIENCE_SECONDS,
) -> T:
    """Do something that may be done twice, again and again while a ledger is away.

    Args:
        action: What to do.
        place: Where the ledger is, in words.
        let_go: Called before each further attempt.
        patience: Seconds for which it is tried again.

    Raises:
        LedgerError: It is away for too long, or can't be used.
    """
    deadline, pause = time.monotonic() + patience, 0.1
    told = False
    while True:
        try:
            result = action()
        except UnreachableLedgerError as error:
            if error.retried or time.monotonic() + pause > deadline:
                error.retried = True
                raise
        else:
            if told:
                logger.warning("The ledger %s is back.", place)
            return result
        if not told:
            logger.warning(
                "The ledger %s can't be reached, trying again for %.0f s.", place, patience
            )
            told = True
        let_go()
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def place_of(url: str) -> str:
    """Where the ledger of a URL is, in words without a password."""
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return "that 'ledger_url' names"
    if parsed.get_backend_name() == "sqlite":
        return f"at {parsed.database or ':memory:'}"
    # Where a password has an @ that is not encoded, the end of it is taken for the host's start.
    host = (parsed.host or "").rpartition("@")[2]
    return f"at {host}/{parsed.database or ''}"


def newer(place: str, version: int) -> LedgerError:
    """The error for a ledger of a form that this version does not know."""
    return LedgerError(
        f"The ledger {place} was written by a newer version of target-activecampaign (form "
        f"{version}, this one knows {tables.VERSION}): update target-activecampaign."
    )


def _engine(url: str, *, make: bool) -> sa.Engine:
    """An engine; a SQLite file has a log that survives a kill."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        connecting = {
            name: value for name, value in _CONNECTING.items() if name not in parsed.query
        }
        ours = connecting if parsed.get_driver_name().startswith("psycopg") else {}
        engine = sa.create_engine(
            parsed, pool_pre_ping=True, hide_parameters=True, connect_args=ours
        )
        return engine.execution_options(schema_translate_map={None: forms.SCHEMA})
    engine = sa.create_engine(parsed, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: object, _: object) -> None:
        # Transactions begin where SQLAlchemy says so, not where Python's module thinks fit.
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        cursor.execute("SELECT count(*) FROM sqlite_master")
        if make and cursor.fetchone() == (0,):
            # It holds for ever, and another program's file must stay as it is.
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA secure_delete = FAST")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            # A transaction that reads first and then wants to write could not wait for others.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
