"""The imports in flight: each is stored before it is posted, and its batch id afterwards.

A killed run leaves its imports behind. The next run polls them before it compares any contact, so
that contacts that arrived are known. All others are sent again.

An import without a batch id can't be polled. For it, up to three of its contacts are stored as they
were sent, by which the next run sees if it has arrived. They are deleted once the batch id is
stored. If it has arrived, it stays until a run that loads its streams has ended: each of its
contacts that the source brings again is looked up before it is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec
import sqlalchemy as sa

from target_activecampaign.ledger.member_updates import BUFFERABLE, write, write_lost
from target_activecampaign.ledger.schema import import_ as table
from target_activecampaign.ledger.schema import run as run_table
from target_activecampaign.ledger.statements import Statement
from target_activecampaign.ledger.store import retryable
from target_activecampaign.ledger.write_buffer import decode
from target_activecampaign.model.contact import Contact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from target_activecampaign.ledger.member_updates import Contacts, MemberUpdate
    from target_activecampaign.ledger.store import Store
    from target_activecampaign.ledger.write_buffer import WriteBuffer

_encoder = msgspec.msgpack.Encoder()
_Probes = list[tuple[bytes, Contact]]
_probes_decoder = msgspec.msgpack.Decoder(_Probes)
_insert = Statement(table.insert(), ("run", "posted", "contacts", "probes", "outcomes"))
_set_batch_id = Statement(
    table.update()
    .where(table.c.id == sa.bindparam("number"))
    .values(batch_id=sa.bindparam("name"), probes=None),
    ("name", "number"),
)
_clear_batch_id = Statement(
    table.update().where(table.c.id == sa.bindparam("number")).values(batch_id=None), ("number",)
)


OutcomesInFlight = list[tuple[bytes, list[list[Any]]]]
"""Contacts, by their hashes, each with the rows of its records; see `outcomes.rows`."""

_outcomes_decoder = msgspec.msgpack.Decoder(OutcomesInFlight)


class Clock(Protocol):
    """ActiveCampaign's clock, such as the API's client."""

    def server_time(self) -> float:
        """Return the time in seconds since the epoch."""


class LeftoverImport(NamedTuple):
    """An import that an interrupted run left in flight.

    Attributes:
        id: Its number in the ledger.
        batch_id: ActiveCampaign's id for it; None if the run ended before it had one.
        posted: The time when it was posted.
        probes: Some of its contacts as they were sent, by which it can be asked for; empty if there
            is a batch id.
    """

    id: int
    batch_id: str | None
    posted: float
    probes: Sequence[Contact]


class StoredImport(NamedTuple):
    """The time when an import was posted, and its contacts with their updates."""

    posted: float
    contacts: Contacts


class Journal:
    """A run's imports in flight.

    Args:
        store: The ledger's database.
        account: The account's number.
        run_id: The run.
        clock: ActiveCampaign's clock.
        write_buffer: The account's write buffer.
    """

    def __init__(
        self, store: Store, account: int, run_id: str, *, clock: Clock, write_buffer: WriteBuffer
    ) -> None:
        self._write_buffer = write_buffer
        # The contacts of imports whose updates are all `BUFFERABLE`, by number.
        self._bufferable: dict[int, list[bytes]] = {}
        self._store = store
        self._account = account
        self._run_id = run_id
        self._clock = clock

    @retryable
    def leftovers(self) -> list[LeftoverImport]:
        """Return the imports that interrupted runs left in flight. Call it before any post."""
        with self._store.transaction() as db:
            rows = db.execute(
                sa.select(table.c.id, table.c.batch_id, table.c.posted, table.c.probes)
                .where(table.c.run == self._run_id, table.c.arrived.is_not(True))
                .order_by(table.c.id)
            )
            return [
                LeftoverImport(
                    row.id,
                    row.batch_id,
                    row.posted,
                    [contact for _, contact in _decode_probes(self._store, row.probes)],
                )
                for row in rows
            ]

    def begin(
        self,
        contacts: Iterable[tuple[bytes, Sequence[MemberUpdate]]],
        probes: Iterable[tuple[bytes, Contact]] = (),
        posted: float | None = None,
        outcomes: OutcomesInFlight | None = None,
    ) -> int:
        """Store an import that is about to be posted; returns its number.

        Args:
            contacts: Its contacts by their hashes, with their updates.
            probes: Some of them as they are sent, by which it can be asked for.
            posted: The time when it was posted, if that has been done.
            outcomes: The rows of outcomes that they have once it is confirmed, if rows are written.
        """
        contact_updates, some = list(contacts), list(probes)
        row = (
            self._run_id,
            self._clock.server_time() if posted is None else posted,
            _encoder.encode(contact_updates),
            _encoder.encode(some) if some else None,
            None if outcomes is None else _encoder.encode(outcomes),
        )
        attempts: list[bool] = []
        number = self._store.retry(lambda: self._store_import(row, attempts))
        ownerships = {update.ownership for _, updates in contact_updates for update in updates}
        if self._write_buffer.enabled and BUFFERABLE.issuperset(ownerships):
            self._bufferable[number] = [contact for contact, _ in contact_updates]
        return number

    def _store_import(
        self, row: tuple[str, float, bytes, bytes | None, bytes | None], attempts: list[bool]
    ) -> int:
        """Store an import, unless an earlier attempt did and only the response was lost."""
        with self._store.transaction() as db:
            if attempts:
                run, posted, contacts, *_ = row
                stored = sa.select(table.c.id).where(
                    table.c.run == run, table.c.posted == posted, table.c.contacts == contacts
                )
                number = db.execute(stored).scalar()
                if number is not None:
                    return int(number)
            attempts.append(True)
            result = _insert.execute(db, [row])
            return int(
                result.lastrowid if self._store.is_file else result.inserted_primary_key.id  # type: ignore[union-attr]
            )

    @retryable
    def set_batch_id(self, number: int, batch_id: str | None) -> None:
        """Store ActiveCampaign's id for an import; None clears one that can't be trusted.

        An import without an id can't be polled. After an interruption it is asked for by its
        probes, which are deleted here if there is an id.
        """
        with self._store.transaction() as db:
            if batch_id is None:
                _clear_batch_id.execute(db, [(number,)])
            else:
                _set_batch_id.execute(db, [(batch_id, number)])

    def confirm(self, number: int, failed: set[bytes]) -> list[bytes]:
        """Store that an import is done; returns the contacts that have arrived.

        Args:
            number: The import's number.
            failed: The contacts that have not arrived.
        """
        contacts = self._bufferable.pop(number, None)
        if contacts is not None and not failed:
            self._write_buffer.add_confirmed(number, contacts, self._clock.server_time())
            return contacts
        self._write_buffer.flush_if_any()
        found: list[StoredImport] = []

        def write_confirmed() -> None:
            with self._store.transaction(account=self._account) as db:
                if self._take(db, number, found):
                    arrived = [one for one in found[0].contacts if one[0] not in failed]
                    write(db, [(arrived, found[0].posted, self._clock.server_time())])

        self._store.retry(write_confirmed)
        return [contact for contact, _ in found[0].contacts if contact not in failed]

    @retryable
    def contacts(self, number: int) -> set[bytes]:
        """Return the contacts of an import in flight."""
        with self._store.transaction() as db:
            blob = db.execute(sa.select(table.c.contacts).where(table.c.id == number)).scalar_one()
        return {contact for contact, _ in decode(self._store, blob)}

    @retryable
    def outcomes(self, number: int) -> tuple[float, OutcomesInFlight]:
        """Return when an import in flight was posted, and the rows given to `begin`, if any.

        Raises:
            LedgerError: The ledger is damaged.
        """
        with self._store.transaction() as db:
            query = sa.select(table.c.posted, table.c.outcomes).where(table.c.id == number)
            row = db.execute(query).one()
        return row.posted, decode_outcomes(self._store, row.outcomes)

    def mark_lost(self, number: int) -> None:
        """Store that the outcome of an import is unknown: its response was lost."""
        self._bufferable.pop(number, None)
        self._write_buffer.flush_if_any()
        found: list[StoredImport] = []

        def write_unknown() -> None:
            with self._store.transaction(account=self._account) as db:
                if self._take(db, number, found):
                    write_lost(db, found[0].contacts, found[0].posted)

        self._store.retry(write_unknown)

    @retryable
    def mark_arrived(self, number: int) -> None:
        """Store that an import has arrived, but not which of its contacts: its response was lost.

        It stays for `arrived`, until a run that loads its streams has ended.
        """
        self._write_buffer.flush_if_any()
        with self._store.transaction(account=self._account) as db:
            posted, contacts = self._read(db, number)
            write_lost(db, contacts, posted)
            of_import = table.c.id == number
            db.execute(table.update().where(of_import).values(arrived=True, probes=None))

    @retryable
    def arrived(self) -> list[StoredImport]:
        """Return the account's imports that have arrived, perhaps without some contacts."""
        with self._store.transaction() as db:
            rows = db.execute(arrived_imports(self._account)).all()
            return [StoredImport(row.posted, decode(self._store, row.contacts)) for row in rows]

    def _read(self, db: sa.Connection, number: int) -> StoredImport:
        columns = (table.c.posted, table.c.contacts)
        row = db.execute(sa.select(*columns).where(table.c.id == number)).one()
        return StoredImport(row.posted, decode(self._store, row.contacts))

    def _take(self, db: sa.Connection, number: int, found: list[StoredImport]) -> bool:
        """Delete an import's row; False if an earlier attempt has done so.

        Args:
            db: The transaction.
            number: The import's number.
            found: Receives the import; on a further attempt it has the first one's.
        """
        of_import = table.c.id == number
        if found and db.execute(sa.select(table.c.id).where(of_import)).first() is None:
            return False  # the earlier attempt was committed, and only its response was lost
        found[:] = [self._read(db, number)]
        db.execute(table.delete().where(of_import))
        return True

    @retryable
    def discard(self, number: int) -> None:
        """Delete an import that changed nothing in ActiveCampaign."""
        self._bufferable.pop(number, None)
        with self._store.transaction() as db:
            db.execute(table.delete().where(table.c.id == number))


def arrived_imports(account: int) -> sa.Select[Any]:
    """Return the query for the account's imports that have arrived, whatever run has them.

    Another run may load the streams of an import than the one that has asked for it.
    """
    runs = sa.select(run_table.c.id).where(run_table.c.account == account)
    return (
        sa.select(table.c.id, table.c.posted, table.c.contacts)
        .where(table.c.arrived.is_(True), table.c.run.in_(runs))
        .order_by(table.c.id)
    )


def discard_arrived(store: Store, db: sa.Connection, account: int, segments: Iterable[int]) -> None:
    """Delete the imports that have arrived and are only of these segments, in a transaction."""
    chosen = set(segments)
    for row in db.execute(arrived_imports(account)).all():
        contacts = decode(store, row.contacts)
        if {update.segment for _, updates in contacts for update in updates} <= chosen:
            db.execute(table.delete().where(table.c.id == row.id))


def _decode_probes(store: Store, blob: bytes | None) -> _Probes:
    """Return the probes of a stored import.

    Raises:
        LedgerError: The ledger is damaged: they are not what was written.
    """
    if blob is None:
        return []
    try:
        return _probes_decoder.decode(blob)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise store.damaged_error() from None


def erase_contacts(
    store: Store,
    db: sa.Connection,
    runs: Collection[str],
    *,
    contacts: Collection[bytes] = (),
    segments: Collection[int] = (),
) -> int:
    """Erase contacts or segments from the imports that runs left in flight, in a transaction.

    An import without any contact left stays. It is still polled, and then changes nothing.

    Args:
        store: The ledger's database.
        db: The transaction.
        runs: The runs; none of them may be in progress.
        contacts: The contacts to erase.
        segments: The segments to erase.

    Returns:
        The number of contacts that are no longer in the imports.
    """
    erased = 0
    columns = (table.c.id, table.c.contacts, table.c.probes, table.c.outcomes)
    rows = db.execute(sa.select(*columns).where(table.c.run.in_(runs)))
    for row in rows.all():
        before = decode(store, row.contacts)
        stripped = [
            (contact, [update for update in updates if update.segment not in segments])
            for contact, updates in before
            if contact not in contacts
        ]
        after = [(contact, updates) for contact, updates in stripped if updates]
        if after != before:
            left = {contact for contact, _ in after}
            probes = [one for one in _decode_probes(store, row.probes) if one[0] in left]
            update = table.update().where(table.c.id == row.id)
            stay = {contact for contact, _ in after}
            outcomes = [one for one in decode_outcomes(store, row.outcomes) if one[0] in stay]
            values = {
                "contacts": _encoder.encode(after),
                "probes": _encoder.encode(probes) if probes else None,
                "outcomes": None if row.outcomes is None else _encoder.encode(outcomes),
            }
            db.execute(update.values(values))
            erased += len(before) - len(after)
    return erased


def decode_outcomes(store: Store, blob: bytes | None) -> OutcomesInFlight:
    """Return the rows of outcomes of a stored import; none if it has none.

    Raises:
        LedgerError: The ledger is damaged: they are not what was written.
    """
    try:
        return [] if blob is None else _outcomes_decoder.decode(blob)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise store.damaged_error() from None
