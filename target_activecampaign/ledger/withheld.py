"""Withheld contacts: contacts whose latest record must not be sent. Some must be unsubscribed.

A contact that must be unsubscribed is stored before its record gets its outcome. If the ledger is a
file, the others are buffered and written before the next STATE: one by one, this would cost more
than the rest of the work on a record.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from target_activecampaign.ledger.schema import member as member_table
from target_activecampaign.ledger.schema import withheld as table
from target_activecampaign.ledger.statements import Statement, fetch_rows, insert_into
from target_activecampaign.ledger.store import retryable
from target_activecampaign.model.withheld import WithheldReason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from target_activecampaign.ledger.store import Store

_CHUNK = 1000
_MAX_BUFFERED = 20_000
_NAMES = ("segment", "person", "reason", "raw", "pending", "address", "contact")
_COLUMNS = ", ".join(_NAMES)
_ONE = sa.and_(table.c.segment == sa.bindparam("of"), table.c.person == sa.bindparam("who"))


class Withheld(NamedTuple):
    """A withheld contact of a segment.

    Attributes:
        segment: The segment's number.
        contact: The contact's hash.
        reason: A `WithheldReason`, as the number that is stored.
        record_hash: The hash of its record; None if the record must be processed again.
        is_pending: Whether the contact may be active on the list and must be unsubscribed.
        address: The address of a pending contact; None if it is not known.
        contact_id: ActiveCampaign's id of a pending contact that is active.
    """

    segment: int
    contact: bytes
    reason: int
    record_hash: bytes | None = None
    is_pending: bool = False
    address: str | None = None
    contact_id: int | None = None


class WithheldContacts:
    """The withheld contacts of an account's segments.

    Args:
        store: The ledger's database.
        account: The account's number.
    """

    def __init__(self, store: Store, account: int) -> None:
        self._store = store
        self._account = account
        self._segments: dict[int, bool] = {}
        self._upserts: dict[str, Statement] = {}
        self._lock = threading.RLock()
        self._buffer: dict[tuple[int, bytes], Withheld] = {}
        # Other processes need to see at once what is on a server.
        self._buffers = store.is_file

    def any(self, segments: Iterable[int]) -> bool:
        """Return whether segments may have any. Only the first call makes a query."""
        return any(map(self._has, segments))

    def _has(self, segment: int) -> bool:
        if segment not in self._segments:
            self._segments[segment] = self._exists(segment)
        return self._segments[segment]

    @retryable
    def _exists(self, segment: int) -> bool:
        of_segment = sa.select(table.c.person).where(table.c.segment == segment).limit(1)
        with self._store.transaction() as db:
            return db.execute(of_segment).first() is not None

    @retryable
    def find(self, segments: Collection[int], contacts: Collection[bytes]) -> list[Withheld]:
        """Return the given contacts that are withheld in any of the segments."""
        if not contacts or not self.any(segments):
            return []
        with self._lock:
            with self._store.transaction() as db:
                rows = fetch_rows(db, _COLUMNS, list(segments), table.c.person, list(contacts))
            found = {(row[0], row[1]): Withheld._make(row) for row in rows}
            if self._buffer:
                keys = {(segment, contact) for segment in segments for contact in contacts}
                found |= {key: self._buffer[key] for key in keys & self._buffer.keys()}
        return list(found.values())

    def store(self, contacts: Iterable[Withheld]) -> None:
        """Store contacts. A row replaces the one that is stored for the same contact."""
        rows = {(one.segment, one.contact): one for one in contacts}
        with self._lock:
            self._segments |= dict.fromkeys((segment for segment, _ in rows), True)
            self._buffer |= rows
            is_urgent = any(one.is_pending for one in rows.values())
            if not self._buffers or is_urgent or len(self._buffer) >= _MAX_BUFFERED:
                self.flush()

    def flush(self) -> None:
        """Write what is buffered."""
        with self._lock:
            if self._buffer:
                self._write(list(self._buffer.values()))
                self._buffer = {}

    @retryable
    def _write(self, contacts: list[Withheld]) -> None:
        # In the table's order: neighbours are on one page.
        rows = sorted(contacts, key=lambda one: (one.segment, one.contact))
        with self._store.transaction(account=self._account) as db:
            # Plain integers, as the driver is slow to adapt other types.
            values = [(*one[:2], int(one.reason), *one[3:]) for one in rows]
            self._upsert(db.dialect.name).execute(db, values)

    def _upsert(self, dialect: str) -> Statement:
        if dialect not in self._upserts:
            insert = insert_into(table, dialect)
            new = {name: insert.excluded[name] for name in _NAMES[2:]}
            keys = [table.c.segment, table.c.person]
            upsert = insert.on_conflict_do_update(index_elements=keys, set_=new)
            self._upserts[dialect] = Statement(upsert, _NAMES)
        return self._upserts[dialect]

    def discard(self, segment: int, contacts: Collection[bytes]) -> None:
        """Store that contacts of a segment are no longer withheld."""
        with self._lock:
            found = {one.contact for one in self.find([segment], contacts)}
            for contact in found:
                self._buffer.pop((segment, contact), None)
            if found:
                self._delete(segment, found)

    @retryable
    def _delete(self, segment: int, contacts: Collection[bytes]) -> None:
        theirs = sa.and_(table.c.segment == segment, table.c.person.in_(list(contacts)))
        with self._store.transaction(account=self._account) as db:
            db.execute(table.delete().where(theirs))

    def pending(self, segments: Collection[int]) -> Iterator[list[Withheld]]:
        """Yield the contacts of segments that must be unsubscribed, in chunks."""
        self.flush()
        self._segments.clear()  # another process may have suppressed people meanwhile
        last = (-1, b"")
        while some := self._fetch_pending(segments, last):
            yield some
            last = some[-1].segment, some[-1].contact

    @retryable
    def _fetch_pending(self, segments: Collection[int], last: tuple[int, bytes]) -> list[Withheld]:
        if not self.any(segments):
            return []
        columns = [table.c[name] for name in _NAMES if name not in ("address", "contact")]
        address = sa.func.coalesce(table.c.address, member_table.c.address)
        member = sa.and_(
            member_table.c.segment == table.c.segment, member_table.c.person == table.c.person
        )
        query = (
            sa.select(*columns, address, table.c.contact)
            .select_from(table.outerjoin(member_table, member))
            .where(
                table.c.segment.in_(list(segments)),
                table.c.pending,
                sa.tuple_(table.c.segment, table.c.person) > last,
            )
            .order_by(table.c.segment, table.c.person)
            .limit(_CHUNK)
        )
        with self._store.transaction() as db:
            return [Withheld._make(row) for row in db.execute(query)]

    @retryable
    def count_pending(self, segments: Collection[int]) -> int:
        """Return the number of contacts that must be unsubscribed. Each counts once."""
        self.flush()
        if not self.any(segments):
            return 0
        theirs = sa.and_(table.c.segment.in_(list(segments)), table.c.pending)
        with self._store.transaction() as db:
            query = sa.select(sa.func.count(sa.distinct(table.c.person))).where(theirs)
            return int(db.execute(query).scalar_one())

    def set_active(self, ids: dict[tuple[int, bytes], int]) -> None:
        """Store the ids of active contacts, given by segment and contact."""
        self.flush()
        rows = [{"of": one[0], "who": one[1], "id": number} for one, number in ids.items()]
        self._update(rows, contact=sa.bindparam("id"))

    def end_pending(self, contacts: Collection[tuple[int, bytes]]) -> None:
        """Store that contacts, given with their segments, are not active on the list."""
        self.flush()
        rows = [{"of": segment, "who": contact} for segment, contact in contacts]
        self._update(rows, pending=False, address=None, contact=None)
        self._delete_suppressed(rows)

    @retryable
    def _delete_suppressed(self, rows: list[dict[str, Any]]) -> None:
        """Delete suppressed contacts. The table `suppression` is enough once they are inactive."""
        if rows:
            done = sa.and_(_ONE, table.c.reason == WithheldReason.SUPPRESSED)
            with self._store.transaction(account=self._account) as db:
                db.execute(table.delete().where(done), rows)

    @retryable
    def _update(self, rows: list[dict[str, Any]], /, **values: Any) -> None:
        if rows:
            with self._store.transaction(account=self._account) as db:
                db.execute(table.update().where(_ONE).values(values), rows)
