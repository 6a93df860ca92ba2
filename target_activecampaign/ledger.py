"""What is in flight and what has arrived, on disk, so that a run that was cut off can go on.

Before an import is posted its contacts are written down, with its batch id after. A run that
is killed leaves them behind. The next run asks ActiveCampaign about those imports first: a
contact that has arrived is not sent again when the source brings it once more with the same
values (its automations would run twice), and one that has not is simply sent.

Of a person only a keyed hash of the address is kept, and of the values only a digest.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from target_activecampaign.contact import person_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from target_activecampaign.packer import Entry

_HASH_BYTES = 16
_STALE_SECONDS = 300.0
_BEAT_SECONDS = 20.0
_LOCK = 5_172_023
"""The number of the advisory lock under which a PostgreSQL ledger is made."""

_metadata = sa.MetaData()
_secret = sa.Table(
    "secret",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)
_run = sa.Table(
    "run",
    _metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("account", sa.String, nullable=False),
    sa.Column("host", sa.String, nullable=False),
    sa.Column("process", sa.String, nullable=False),
    sa.Column("beat", sa.Float, nullable=False),
)
_import = sa.Table(
    "import",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.String, nullable=False, index=True),
    sa.Column("batch_id", sa.String),
    sa.Column("contacts", sa.LargeBinary, nullable=False),
)
_delivered = sa.Table(
    "delivered",
    _metadata,
    sa.Column("account", sa.String, primary_key=True),
    sa.Column("person", sa.LargeBinary, primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)


class LedgerError(Exception):
    """The ledger can't be used; the text says where it is and what to do."""


class Leftover(NamedTuple):
    """An import that a run left in flight.

    Attributes:
        id: Its number in the ledger.
        batch_id: ActiveCampaign's id for it; None if the run did not live to learn it.
    """

    id: int
    batch_id: str | None


class Ledger:
    """The ledger of one account, as one run sees it. Used by one thread at a time.

    Args:
        url: Where it is, as SQLAlchemy takes it: `sqlite:///path` or `postgresql+psycopg://...`.
        account: What tells the account from others: its API address, or a sandbox's file.
        run_id: The run's own name.

    Attributes:
        recovering: Whether an earlier run did not come to its end, so that what it delivered
            since its last STATE may come again.

    Raises:
        LedgerError: It can't be used; so do all methods.
    """

    def __init__(self, url: str, account: str, run_id: str) -> None:
        self._account = account
        self._run_id = run_id
        self._beat_at = time.monotonic()
        self._url = url
        try:
            self._engine = _engine(url)
        except (sa.exc.SQLAlchemyError, OSError, ImportError) as error:
            raise _ledger_error(url, error) from None
        with self._transaction() as db:
            # One at a time: processes that start together would else make the tables twice.
            if db.dialect.name != "sqlite":
                db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            _metadata.create_all(db)
            self._key = _key(db)
            self.recovering = self._take_over(db)

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as db:
                yield db
        except sa.exc.SQLAlchemyError as error:
            raise _ledger_error(self._url, error) from None

    def _take_over(self, db: sa.Connection) -> bool:
        """Enter this run, and make its own what dead runs of the account left behind.

        Returns:
            Whether anything is known of contacts that arrived. Only one process can take over.
        """
        runs = db.execute(sa.select(_run).where(_run.c.account == self._account)).all()
        db.execute(
            _run.insert().values(
                id=self._run_id,
                account=self._account,
                host=socket.gethostname(),
                process=_process(os.getpid()),
                beat=time.time(),
            )
        )
        dead = [run.id for run in runs if not _lives(run)]
        left = db.execute(_import.update().where(_import.c.run.in_(dead)).values(run=self._run_id))
        db.execute(_run.delete().where(_run.c.id.in_(dead)))
        known = db.execute(
            sa.select(_delivered.c.person).where(_delivered.c.account == self._account).limit(1)
        ).first()
        return bool(left.rowcount or known)

    # What earlier runs left

    def leftovers(self) -> list[Leftover]:
        """The imports that dead runs left in flight; to be asked for before the first post."""
        with self._transaction() as db:
            rows = db.execute(
                sa.select(_import.c.id, _import.c.batch_id)
                .where(_import.c.run == self._run_id)
                .order_by(_import.c.id)
            )
            return [Leftover(row.id, row.batch_id) for row in rows]

    def undelivered(self, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
        """Part contacts into those to send and those that arrived before, just as they are."""
        if not self.recovering:
            return list(entries), []
        hashes = {self.person(entry.key): entry for entry in entries}
        with self._transaction() as db:
            rows = db.execute(sa.select(_delivered).where(self._mine(hashes))).all()
        known = {row.person for row in rows if row.digest == digest(hashes[row.person])}
        arrived = [entry for person, entry in hashes.items() if person in known]
        return [entry for person, entry in hashes.items() if person not in known], arrived

    # Imports

    def posting(self, entries: Iterable[Entry]) -> int:
        """Write down contacts that are about to be posted; returns the import's number.

        What was known of them is forgotten at the same time: until the import is confirmed
        nobody knows which values ActiveCampaign has.
        """
        people = [(self.person(entry.key), digest(entry)) for entry in entries]
        with self._transaction() as db:
            db.execute(_delivered.delete().where(self._mine(person for person, _ in people)))
            contacts = b"".join(person + values for person, values in people)
            result = db.execute(_import.insert().values(run=self._run_id, contacts=contacts))
            return int(result.inserted_primary_key[0])  # type: ignore[index]

    def accepted(self, number: int, batch_id: str) -> None:
        """Note ActiveCampaign's id for an import."""
        with self._transaction() as db:
            db.execute(_import.update().where(_import.c.id == number).values(batch_id=batch_id))

    def imported(self, number: int, failed: Iterable[str]) -> None:
        """Note that an import is done: all its contacts have arrived, but for some addresses."""
        refused = {self.person(person_key(address)) for address in failed}
        with self._transaction() as db:
            contacts = db.execute(
                sa.select(_import.c.contacts).where(_import.c.id == number)
            ).scalar_one()
            pairs = [pair for pair in _pairs(contacts) if pair[0] not in refused]
            if pairs:
                db.execute(_delivered.delete().where(self._mine(person for person, _ in pairs)))
                db.execute(
                    _delivered.insert(),
                    [
                        {"account": self._account, "person": person, "digest": values}
                        for person, values in pairs
                    ],
                )
            db.execute(_import.delete().where(_import.c.id == number))

    def dropped(self, number: int) -> None:
        """Forget an import of which nothing came."""
        with self._transaction() as db:
            db.execute(_import.delete().where(_import.c.id == number))

    # The end

    def end(self, *, clean: bool) -> None:
        """Close the ledger.

        Args:
            clean: Whether all that was read is settled, and the source was read through or
                its STATE is out. Then there is nothing to come back to, and what was kept for
                that is forgotten.
        """
        if clean:
            with self._transaction() as db:
                db.execute(_import.delete().where(_import.c.run == self._run_id))
                db.execute(_run.delete().where(_run.c.id == self._run_id))
                others = db.execute(
                    sa.select(sa.func.count())
                    .select_from(_run)
                    .where(_run.c.account == self._account)
                ).scalar_one()
                if not others:
                    db.execute(_delivered.delete().where(_delivered.c.account == self._account))
        self._engine.dispose()

    def person(self, key: str) -> bytes:
        """The keyed hash that stands for a person of this account."""
        return hashlib.blake2b(
            f"{self._account}\n{key}".encode("utf-8", "surrogatepass"),
            key=self._key,
            digest_size=_HASH_BYTES,
        ).digest()

    def beat(self) -> None:
        """Show other machines from time to time that this run lives; cheap to call often."""
        if time.monotonic() - self._beat_at >= _BEAT_SECONDS:
            self._beat_at = time.monotonic()
            with self._transaction() as db:
                db.execute(_run.update().where(_run.c.id == self._run_id).values(beat=time.time()))

    def _mine(self, people: Iterable[bytes]) -> sa.ColumnElement[bool]:
        """The rows of some people of this account."""
        return sa.and_(_delivered.c.account == self._account, _delivered.c.person.in_(list(people)))


def digest(entry: Entry) -> bytes:
    """What tells a contact's values from others; lists and tags count too."""
    return hashlib.blake2b(entry.body, digest_size=_HASH_BYTES).digest()


def _pairs(contacts: bytes) -> list[tuple[bytes, bytes]]:
    size = 2 * _HASH_BYTES
    parts = (contacts[start : start + size] for start in range(0, len(contacts), size))
    return [(part[:_HASH_BYTES], part[_HASH_BYTES:]) for part in parts]


def _engine(url: str) -> sa.Engine:
    """An engine; a SQLite file is made for its owner alone, with a log that survives a kill."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
    if parsed.database:
        path = Path(parsed.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = sa.create_engine(parsed, connect_args={"timeout": 30}, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: object, _: object) -> None:
        # Transactions begin where SQLAlchemy says so, not where Python's module thinks fit.
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA busy_timeout = 30000")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A transaction that reads first and then wants to write could not wait for others.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _key(db: sa.Connection) -> bytes:
    """The ledger's own key for hashes, made with it."""
    known = db.execute(sa.select(_secret.c.value)).scalar()
    if known is None:
        known = secrets.token_bytes(32)
        db.execute(_secret.insert().values(id=1, value=known))
    return bytes(known)


def _process(pid: int) -> str:
    """A process's number and, where the system tells, its start: numbers come back."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return str(pid)
    return f"{pid}:{stat.rpartition(')')[2].split()[19]}"


def _lives(run: sa.Row[tuple[object, ...]]) -> bool:
    """Whether a run still goes on: by its process here, by its latest beat elsewhere."""
    if run.host != socket.gethostname():
        return bool(time.time() - run.beat < _STALE_SECONDS)
    pid = int(run.process.partition(":")[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return bool(_process(pid) == run.process)


def _ledger_error(url: str, error: Exception) -> LedgerError:
    try:
        parsed = make_url(url)
        place = f"at {parsed.host or ''}/{parsed.database or ''}"
    except sa.exc.ArgumentError:
        place = "that 'ledger_url' names"
    return LedgerError(
        f"The ledger {place} can't be used ({type(error).__name__}): check 'ledger_url', that the "
        "place is there and may be written to, that no other program has it locked, and that its "
        "driver is installed (for PostgreSQL the extra target-activecampaign[postgres])."
    )
