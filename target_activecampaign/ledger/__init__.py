"""The ledger: what was delivered to each contact, what is in flight, and which members we added.

With it, a run delivers only what changed, resumes after an interruption, and removes only contacts
that we added. It stores a keyed hash of each address and a digest of the values. The address itself
is stored only if a mirror needs it.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from target_activecampaign.errors import DamagedLedgerError, LedgerError, MissingLedgerError
from target_activecampaign.ledger import schema as tables
from target_activecampaign.ledger.contact_index import ContactIndex
from target_activecampaign.ledger.departures import Departures
from target_activecampaign.ledger.facts import Facts, KnownFact
from target_activecampaign.ledger.history import COMPLETED, Audience, History, StreamFigures
from target_activecampaign.ledger.imports import Clock, Journal, LeftoverImport, StoredImport
from target_activecampaign.ledger.member_updates import MemberUpdate
from target_activecampaign.ledger.members import Member, Members, MissingMember, by_segment
from target_activecampaign.ledger.opt_outs import KnownOptOut, OptOuts
from target_activecampaign.ledger.rejected import RejectedContact, RejectedContacts
from target_activecampaign.ledger.renames import Mover, Rename, Renames, RenameState
from target_activecampaign.ledger.runs import Runs
from target_activecampaign.ledger.segments import Segments, SegmentState
from target_activecampaign.ledger.source_rows import SourceRow, SourceRows
from target_activecampaign.ledger.store import Store
from target_activecampaign.ledger.suppressions import Suppressions, source_of
from target_activecampaign.ledger.waiting import WaitingRecord, WaitingRecords
from target_activecampaign.ledger.withheld import Withheld, WithheldContacts
from target_activecampaign.ledger.write_buffer import WriteBuffer
from target_activecampaign.model.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "COMPLETED",
    "Audience",
    "Clock",
    "ContactIndex",
    "Departures",
    "Facts",
    "History",
    "Journal",
    "KnownFact",
    "KnownOptOut",
    "Ledger",
    "LedgerError",
    "LeftoverImport",
    "Member",
    "MemberUpdate",
    "Members",
    "MissingLedgerError",
    "MissingMember",
    "Mover",
    "OptOuts",
    "RejectedContact",
    "RejectedContacts",
    "Rename",
    "RenameState",
    "Renames",
    "SegmentState",
    "Segments",
    "SourceRow",
    "SourceRows",
    "Store",
    "StoredImport",
    "StreamFigures",
    "Suppressions",
    "WaitingRecord",
    "WaitingRecords",
    "Withheld",
    "WithheldContacts",
    "by_segment",
    "contact_hash",
    "digest",
    "facts_of",
    "hash_of_sha256",
    "last_mapping",
    "read_facts",
    "source_of",
]

_DIGEST_BYTES = 12
_ROW_BYTES = 12
"""The length of the hash that stands for a source row."""


class Ledger:
    """The ledger of one account, seen from one run. Safe between threads.

    Args:
        url: The ledger, as SQLAlchemy takes it: `sqlite:///path` or `postgresql+psycopg://...`.
        identity: The account's API address, or the id of a sandbox.
        run_id: The run.
        clock: ActiveCampaign's clock: stored times are compared with times in its answers.
        timings: The times to wait for the database.

    Attributes:
        journal: The imports in flight.
        members: The contacts of the segments.
        segments: The streams and their lists.
        contact_index: The contacts that the account has.
        opt_outs: The contacts that can't be subscribed to a list.
        facts: What `--verify` has seen of the account.
        source_rows: The rows of the source, by their keys.
        departures: The contacts whose rows were deleted.
        withheld: The contacts whose latest record may not be sent.
        suppressions: The people who are never sent.
        waiting: The records that wait for the end of the input.
        rejected: The contacts whose rejected records are tried again.
        renames: The contacts that get another address.
        history: The figures of the latest runs.
        interrupted_since: See `Runs`.
        interrupted_runs: Their ids; see `Runs`.

    Raises:
        LedgerError: It can't be used. The methods of all attributes raise it too.
    """

    def __init__(
        self, url: str, identity: str, run_id: str, clock: Clock, timings: Timings = Timings()
    ) -> None:
        self._identity = identity
        self._timings = timings
        self._clock = clock
        try:
            self._open(url, run_id)
        except DamagedLedgerError:
            # It has been set aside, and nothing was read from it.
            self._open(url, run_id)

    def _open(self, url: str, run_id: str) -> None:
        """Open the database and begin the run.

        Raises:
            LedgerError: It can't be used; it is closed again, and set aside if it is damaged.
        """
        self._store = Store(url, timings=self._timings)
        try:
            self._begin(run_id)
        except BaseException:
            self._store.close()
            raise

    def _begin(self, run_id: str) -> None:
        store = self._store
        account = store.retry(lambda: _account_number(store, self._identity))
        self._runs = Runs(store, account, run_id, self.now())
        self.interrupted_since = self._runs.interrupted_since
        self.interrupted_runs = self._runs.interrupted
        self._write_buffer = WriteBuffer(store, account)
        # An interrupted run may have left something in it.
        self._write_buffer.flush()
        self.journal = Journal(
            store, account, run_id, clock=self._clock, write_buffer=self._write_buffer
        )
        self.members = Members(store, account, self._write_buffer)
        self.segments = Segments(store, account, run_id)
        self.contact_index = ContactIndex(store, account)
        self.opt_outs = OptOuts(store, account)
        self.facts = Facts(store, account)
        self.source_rows = SourceRows(store, account)
        self.departures = Departures(store, account)
        self.withheld = WithheldContacts(store, account)
        self.suppressions = Suppressions(store, account, self._write_buffer, self.withheld)
        self.history = History(store, account, run_id)
        self.waiting = WaitingRecords(store, run_id)
        self.rejected = RejectedContacts(store, account, run_id, self.suppressions, self._clock)
        self.renames = Renames(
            store,
            account,
            run_id,
            write_buffer=self._write_buffer,
            source_rows=self.source_rows,
        )

    def now(self) -> float:
        """Return ActiveCampaign's time, in seconds since the epoch."""
        return self._clock.server_time()

    def contact_hash(self, key: str) -> bytes:
        """Return the keyed hash of a contact of this account."""
        return contact_hash(self._store.key, self._identity, key)

    def contact_hashes(self, keys: Iterable[str]) -> list[bytes]:
        """Return the hashes of several contacts; an empty one for an empty key."""
        hasher = _contact_hasher(self._store.key, self._identity)
        hashes = []
        for key in keys:
            one = hasher.copy()
            one.update(sha256(key.encode("utf-8", "surrogatepass")).digest())
            hashes.append(one.digest() if key else b"")
        return hashes

    def contact_hash_of_sha256(self, sha256_digest: bytes) -> bytes:
        """Return the keyed hash of a contact of whose key only the SHA-256 is known."""
        return hash_of_sha256(self._store.key, self._identity, sha256_digest)

    def record_hasher(self, fingerprint: bytes) -> Any:
        """Return a keyed `hashlib` hash, to be copied and updated for each record.

        Args:
            fingerprint: Everything else that a contact depends on, such as the mapping.
        """
        return hashlib.blake2b(fingerprint, key=self._store.key, digest_size=_DIGEST_BYTES)

    def row_hasher(self, segment: int) -> Any:
        """Return a keyed `hashlib` hash, to be copied and updated with a source row's key.

        Args:
            segment: The row's segment: the same key of another stream is another row.
        """
        start = f"{self._identity}\nrow {segment}\n".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(start, key=self._store.key, digest_size=_ROW_BYTES)

    def flush(self) -> None:
        """Write what is buffered, so that other processes see it."""
        self._write_buffer.flush_if_any()
        self.withheld.flush()
        self.rejected.flush()

    def close(self, *, clean: bool, outcome: str, counts: Mapping[str, Any]) -> None:
        """End the run and close the ledger.

        Args:
            clean: Whether every record has an outcome, and the input was read to its end or the
                last STATE was written. If not, the next run takes over from this one.
            outcome: The run's outcome, for the overview.
            counts: The run's figures, likewise.
        """
        try:
            self._write_buffer.flush()
            self.withheld.flush()
            self.rejected.flush()
            if clean:
                self._runs.end(self.now(), outcome, counts)
            else:
                self._runs.abandon(outcome, counts)
        finally:
            self._store.close()


@contextmanager
def facts_of(url: str, identity: str) -> Iterator[Facts]:
    """Open a ledger for an account's settled facts alone. A missing ledger is created.

    Args:
        url: The ledger, as for `Ledger`.
        identity: The account, likewise.

    Raises:
        LedgerError: The ledger can't be used.
    """
    store = Store(url)
    try:
        yield Facts(store, store.retry(lambda: _account_number(store, identity)))
    finally:
        store.close()


def read_facts(url: str, identity: str) -> dict[str, KnownFact]:
    """Return an account's settled facts by name; none if there is no ledger. Nothing is written.

    Args:
        url: The ledger, as for `Ledger`.
        identity: The account, likewise.

    Raises:
        LedgerError: The ledger can't be used.
    """
    try:
        store = Store(url, make=False)
    except MissingLedgerError:
        return {}
    try:
        number = _read_account_number(store, identity)
        return {} if number is None else Facts(store, number).read()
    finally:
        store.close()


def last_mapping(store: Store, identity: str, stream: str, list_id: int) -> str | None:
    """Return the mapping that the last run saved for a stream; None if there is none.

    Args:
        store: The ledger's database.
        identity: The account, as for `Ledger`.
        stream: The stream, by its name after stream maps.
        list_id: Its list.

    Raises:
        LedgerError: The ledger can't be used.
    """
    number = _read_account_number(store, identity)
    if number is None:
        return None
    segments = Segments(store, number, "")
    return segments.mapping(segments.stored_name(stream, list_id), list_id)


def contact_hash(key: bytes, identity: str, contact_key: str) -> bytes:
    """Return the keyed hash of a contact.

    Args:
        key: The ledger's key.
        identity: The account, as for `Ledger`.
        contact_key: The contact's address in its normal form.
    """
    plain = contact_key.encode("utf-8", "surrogatepass")
    return hash_of_sha256(key, identity, sha256(plain).digest())


def hash_of_sha256(key: bytes, identity: str, sha256_digest: bytes) -> bytes:
    """Return the keyed hash of a contact of whose key only the SHA-256 is known."""
    # A hash of the SHA-256, as suppression lists often have only that of an address.
    hasher = _contact_hasher(key, identity)
    hasher.update(sha256_digest)
    return hasher.digest()


def _contact_hasher(key: bytes, identity: str) -> hashlib.blake2b:
    start = f"{identity}\n".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(start, key=key, digest_size=tables.HASH_BYTES)


def digest(body: bytes) -> bytes:
    """Return the digest by which a changed contact is recognised.

    Args:
        body: The contact as it is sent, with its lists and tags.
    """
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _account_number(store: Store, identity: str) -> int:
    """Return the account's number, which its first run assigns."""
    table = tables.account
    with store.transaction(alone=True) as db:
        number = _find_account(db, identity)
        if number is None:
            result = db.execute(table.insert().values(identity=identity))
            number = result.inserted_primary_key.id  # type: ignore[union-attr]
        return int(number)


def _read_account_number(store: Store, identity: str) -> int | None:
    """Return the account's number; None if no run has used it yet."""

    def read() -> int | None:
        with store.transaction() as db:
            return _find_account(db, identity)

    return store.retry(read)


def _find_account(db: sa.Connection, identity: str) -> int | None:
    table = tables.account
    return db.execute(sa.select(table.c.id).where(table.c.identity == identity)).scalar()
