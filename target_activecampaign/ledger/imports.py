"""The imports in flight: each is stored before it is posted, and its batch id afterwards.

A killed run leaves its imports behind. The next run polls them before it compares any contact, so
that contacts that arrived are known. All others are sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec
import sqlalchemy as sa

from target_activecampaign.ledger.member_updates import BUFFERABLE, write, write_lost
from target_activecampaign.ledger.schema import import_ as table
from target_activecampaign.ledger.statements import Statement
from target_activecampaign.ledger.store import retryable
from target_activecampaign.ledger.write_buffer import decode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from target_activecampaign.ledger.member_updates import Contacts, MemberUpdate
    from target_activecampaign.ledger.store import Store
    from target_activecampaign.ledger.write_buffer import WriteBuffer

_encoder = msgspec.msgpack.Encoder()
_insert = Statement(table.insert(), ("run", "posted", "contacts"))
_set_batch_id = Statement(
    table.update()
    .where(table.c.id == sa.bindparam("number"))
    .values(batch_id=sa.bindparam("name")),
    ("name", "number"),
)


class Clock(Protocol):
    """ActiveCampaign's clock, such as the API's client."""

    def server_time(self) -> float:
        """Return the time in seconds since the epoch."""


class LeftoverImport(NamedTuple):
    """An import that an interrupted run left in flight.

    Attributes:
        id: Its number in the ledger.
        batch_id: ActiveCampaign's id for it; None if the run ended before it had one.
    """

    id: int
    batch_id: str | None


class _StoredImport(NamedTuple):
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
                sa.select(table.c.id, table.c.batch_id)
                .where(table.c.run == self._run_id)
                .order_by(table.c.id)
            )
            return [LeftoverImport(*row) for row in rows]

    def begin(self, contacts: Iterable[tuple[bytes, Sequence[MemberUpdate]]]) -> int:
        """Store an import that is about to be posted; returns its number.

        Args:
            contacts: Its contacts by their hashes, with their updates.
        """
        contact_updates = list(contacts)
        row = (self._run_id, self._clock.server_time(), _encoder.encode(contact_updates))
        attempts: list[bool] = []
        number = self._store.retry(lambda: self._store_import(row, attempts))
        ownerships = {update.ownership for _, updates in contact_updates for update in updates}
        if self._write_buffer.enabled and BUFFERABLE.issuperset(ownerships):
            self._bufferable[number] = [contact for contact, _ in contact_updates]
        return number

    def _store_import(self, row: tuple[str, float, bytes], attempts: list[bool]) -> int:
        """Store an import, unless an earlier attempt did and only the response was lost."""
        with self._store.transaction() as db:
            if attempts:
                run, posted, contacts = row
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

        An import without an id can't be polled: after an interruption, its contacts are sent again.
        """
        with self._store.transaction() as db:
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
        found: list[_StoredImport] = []

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

    def mark_lost(self, number: int) -> None:
        """Store that the outcome of an import is unknown: its response was lost."""
        self._bufferable.pop(number, None)
        self._write_buffer.flush_if_any()
        found: list[_StoredImport] = []

        def write_unknown() -> None:
            with self._store.transaction(account=self._account) as db:
                if self._take(db, number, found):
                    write_lost(db, found[0].contacts, found[0].posted)

        self._store.retry(write_unknown)

    def _take(self, db: sa.Connection, number: int, found: list[_StoredImport]) -> bool:
        """Delete an import's row; False if an earlier attempt has done so.

        Args:
            db: The transaction.
            number: The import's number.
            found: Receives the import; on a further attempt it has the first one's.
        """
        of_import = table.c.id == number
        result = db.execute(sa.select(table.c.posted, table.c.contacts).where(of_import))
        row = result.first() if found else result.one()
        if row is None:
            return False  # the earlier attempt was committed, and only its response was lost
        found[:] = [_StoredImport(row.posted, decode(self._store, row.contacts))]
        db.execute(table.delete().where(of_import))
        return True

    @retryable
    def discard(self, number: int) -> None:
        """Delete an import that changed nothing in ActiveCampaign."""
        self._bufferable.pop(number, None)
        with self._store.transaction() as db:
            db.execute(table.delete().where(table.c.id == number))


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
    rows = db.execute(sa.select(table.c.id, table.c.contacts).where(table.c.run.in_(runs)))
    for row in rows.all():
        before = decode(store, row.contacts)
        stripped = [
            (contact, [update for update in updates if update.segment not in segments])
            for contact, updates in before
            if contact not in contacts
        ]
        after = [(contact, updates) for contact, updates in stripped if updates]
        if after != before:
            update = table.update().where(table.c.id == row.id)
            db.execute(update.values(contacts=_encoder.encode(after)))
            erased += len(before) - len(after)
    return erased
