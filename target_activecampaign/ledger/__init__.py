"""The ledger: what was delivered to whom, what is in flight, who is a member by our doing.

It lets a run deliver only what changed, go on where another was cut off, and take no one
off a list who was not put there by us. Of a person it keeps a keyed hash of the address, and
of the values a digest; the address itself only where a mirror needs it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from target_activecampaign.errors import DamagedLedgerError, LedgerError, MissingLedgerError
from target_activecampaign.ledger import schema as tables
from target_activecampaign.ledger.contact_index import ExistingContacts
from target_activecampaign.ledger.imports import Journal, Leftover
from target_activecampaign.ledger.member_updates import Mark
from target_activecampaign.ledger.members import Known, Members, Missing, Row, known
from target_activecampaign.ledger.runs import Runs
from target_activecampaign.ledger.segments import Segments, SegmentState
from target_activecampaign.ledger.store import Store
from target_activecampaign.ledger.write_buffer import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "ExistingContacts",
    "Journal",
    "Known",
    "Ledger",
    "LedgerError",
    "Leftover",
    "Mark",
    "Members",
    "Missing",
    "MissingLedgerError",
    "Row",
    "SegmentState",
    "Segments",
    "Store",
    "digest",
    "known",
    "last_mapping",
    "person_hash",
]

_DIGEST_BYTES = 12


class Ledger:
    """The ledger of one account, as one run sees it. Safe between threads.

    Args:
        url: Where it is, as SQLAlchemy takes it: `sqlite:///path` or `postgresql+psycopg://...`.
        identity: What tells the account from others: its API address, or a sandbox's id.
        run_id: The run's own name.
        clock: ActiveCampaign's clock, in seconds since the epoch: what is kept of times is
            compared with times that it gives.

    Attributes:
        journal: The imports in flight.
        members: Who was delivered what.
        segments: The streams and their lists.
        existing: The contacts that the account has.
        now: The clock.
        cut_off: See `Runs`.

    Raises:
        LedgerError: It can't be used; so do all methods of these.
    """

    def __init__(self, url: str, identity: str, run_id: str, clock: Callable[[], float]) -> None:
        self._identity = identity
        self.now = clock
        try:
            self._begin(url, run_id)
        except DamagedLedgerError:
            # Nothing has been read yet. The damaged one is set aside by now.
            self._begin(url, run_id)

    def _begin(self, url: str, run_id: str) -> None:
        """Open the ledger, enter this run, and write what an earlier one has left.

        Raises:
            LedgerError: It can't be used; it is closed again, and set aside if it is damaged.
        """
        self._store = Store(url)
        try:
            self._enter(run_id)
        except BaseException:
            self._store.close()
            raise

    def _enter(self, run_id: str) -> None:
        clock = self.now
        account = self._store.repeat(lambda: _account(self._store, self._identity))
        self._runs = Runs(self._store, account, run_id, clock())
        self.cut_off = self._runs.cut_off
        self._waiting = Waiting(self._store, account)
        # What a run that was cut off has left to be written.
        self._waiting.write()
        self.journal = Journal(self._store, account, run_id, clock, self._waiting)
        self.members = Members(self._store, account, self._waiting)
        self.segments = Segments(self._store, account, run_id)
        self.existing = ExistingContacts(self._store, account)

    def person(self, key: str) -> bytes:
        """The keyed hash that stands for a person of this account."""
        return person_hash(self._store.key, self._identity, key)

    def people(self, keys: Iterable[str]) -> list[bytes]:
        """The hashes of several people; empty for an empty key."""
        begun = _begun(self._store.key, self._identity)
        hashes = []
        for key in keys:
            one = begun.copy()
            one.update(key.encode("utf-8", "surrogatepass"))
            hashes.append(one.digest() if key else b"")
        return hashes

    def seed(self, makes: bytes) -> Any:
        """What the digests of records begin with; a keyed hash, to be copied for each.

        Args:
            makes: All that makes a contact of a record.
        """
        return hashlib.blake2b(makes, key=self._store.key, digest_size=_DIGEST_BYTES)

    def write(self) -> None:
        """Write what is confirmed and waits to be written: it may do so for some time."""
        self._waiting.write_if_any()

    def end(self, *, clean: bool, outcome: str, counts: Mapping[str, Any]) -> None:
        """Close the ledger.

        Args:
            clean: Whether all that was read is settled, and the source was read through or
                its STATE is out. Otherwise the next run takes over from this one.
            outcome: What the run came to, to be shown.
            counts: Its figures, likewise.
        """
        try:
            self._waiting.write()
            if clean:
                self._runs.end(self.now(), outcome, counts)
            else:
                self._runs.abandon(outcome, counts)
        finally:
            self._store.close()


def last_mapping(store: Store, identity: str, stream: str, list_id: int) -> str | None:
    """What was remembered of a stream's mapping by its last run; None if it had none.

    Args:
        store: The ledger's database.
        identity: As of `Ledger`.
        stream: The stream, by its name after stream maps.
        list_id: Its list.

    Raises:
        LedgerError: The ledger can't be used.
    """
    table = tables.account

    def number_of() -> int | None:
        with store.transaction() as db:
            return db.execute(sa.select(table.c.id).where(table.c.identity == identity)).scalar()

    number = store.repeat(number_of)
    if number is None:
        return None
    segments = Segments(store, number, "")
    return segments.mapping(segments.known_as(stream, list_id), list_id)


def person_hash(key: bytes, identity: str, person: str) -> bytes:
    """The keyed hash of a person (the address in its normal form) of an account."""
    hashed = _begun(key, identity)
    hashed.update(person.encode("utf-8", "surrogatepass"))
    return hashed.digest()


def _begun(key: bytes, identity: str) -> hashlib.blake2b:
    begun = f"{identity}\n".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(begun, key=key, digest_size=tables.PERSON_BYTES)


def digest(body: bytes) -> bytes:
    """What tells a contact's values from others; lists and tags count too."""
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _account(store: Store, identity: str) -> int:
    """The account's number, given with its first run."""
    table = tables.account
    with store.transaction(alone=True) as db:
        number = db.execute(sa.select(table.c.id).where(table.c.identity == identity)).scalar()
        if number is None:
            result = db.execute(table.insert().values(identity=identity))
            number = result.inserted_primary_key[0]  # type: ignore[index]
        return int(number)
