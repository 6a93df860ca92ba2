"""Rejected records that the next run of their stream tries again.

They are stored before a STATE after them is written, so a kill loses none.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import sqlalchemy as sa

from target_activecampaign.ledger.schema import retry as table
from target_activecampaign.ledger.schema import segment as segment_table
from target_activecampaign.ledger.store import retryable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from target_activecampaign.ledger.imports import Clock
    from target_activecampaign.ledger.store import Store
    from target_activecampaign.ledger.suppressions import Suppressions

_MAX_ROWS = 250
_MAX_BYTES = 4 * 1024 * 1024
"""The most that is buffered before it is written."""
_PAGE = 250

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[bytes])


class RejectedContact(NamedTuple):
    """A contact whose records were rejected.

    Attributes:
        segment: The number of its segment.
        contact: The contact's hash.
        row: The key of its source row; None if rows need not be known.
        source: The number of the tap's stream, by `source_of`.
        code: The code of the rejection.
        attempts: The number of runs that have tried it.
        messages: Its RECORD messages, in their order.
    """

    segment: int
    contact: bytes
    row: bytes | None
    source: int
    code: str
    attempts: int
    messages: list[bytes]


class RejectedContacts:
    """The rejected contacts of an account that are tried again. Safe between threads.

    Args:
        store: The ledger's database.
        account: The account's number.
        run_id: The run.
        suppressions: The account's suppressed people, of whom nothing is stored.
        clock: ActiveCampaign's clock.
    """

    def __init__(
        self, store: Store, account: int, run_id: str, suppressions: Suppressions, clock: Clock
    ) -> None:
        self._store = store
        self._account = account
        self._run_id = run_id
        self._suppressions = suppressions
        self._clock = clock
        self._lock = threading.RLock()
        self._buffer: dict[tuple[int, bytes], RejectedContact] = {}
        self._bytes = 0
        self._segments: dict[int, bool] = {}

    def any(self, segment: int) -> bool:
        """Return whether a segment may have any; without a query, but for the first call."""
        with self._lock:
            if segment not in self._segments:
                self._segments[segment] = self.count(segment) > 0
            return self._segments[segment]

    def add(self, one: RejectedContact) -> None:
        """Add a contact, in the place of what is stored of it and of its row."""
        with self._lock:
            self._segments[one.segment] = True
            for other in [
                key
                for key, earlier in self._buffer.items()
                if one.row is not None and (earlier.segment, earlier.row) == (one.segment, one.row)
            ]:
                del self._buffer[other]
            self._buffer[one.segment, one.contact] = one
            self._bytes += sum(map(len, one.messages))
            if len(self._buffer) >= _MAX_ROWS or self._bytes >= _MAX_BYTES:
                self.flush()

    def flush(self) -> None:
        """Write what is buffered."""
        with self._lock:
            if not self._buffer:
                return
            # Whoever was suppressed meanwhile must not be sent once that is lifted.
            suppressed = self._suppressions.find({contact for _, contact in self._buffer})
            rows = [one for one in self._buffer.values() if one.contact not in suppressed]
            self._store.retry(lambda: self._write(rows))
            self._buffer.clear()
            self._bytes = 0

    def _write(self, rows: Sequence[RejectedContact]) -> None:
        now = self._clock.server_time()
        by_segment: dict[int, list[RejectedContact]] = {}
        for one in rows:
            by_segment.setdefault(one.segment, []).append(one)
        with self._store.transaction(account=self._account) as db:
            for segment, some in by_segment.items():
                again = [one.contact for one in some if one.attempts > 1]
                first: dict[bytes, float] = {}
                if again:
                    known = sa.select(table.c.person, table.c.first).where(
                        table.c.segment == segment, table.c.person.in_(again)
                    )
                    first = {row.person: row.first for row in db.execute(known)}
                keys = [one.row for one in some if one.row is not None]
                contacts = [one.contact for one in some]
                db.execute(table.delete().where(_of(segment, contacts, keys)))
                db.execute(
                    table.insert(),
                    [
                        {
                            "segment": segment,
                            "person": one.contact,
                            "key": one.row,
                            "source": one.source,
                            "run": self._run_id,
                            "code": one.code,
                            "attempts": one.attempts,
                            "first": first.get(one.contact, now),
                            "last": now,
                            "messages": _encoder.encode(one.messages),
                        }
                        for one in some
                    ],
                )

    def discard(self, segment: int, contacts: Collection[bytes], rows: Collection[bytes]) -> None:
        """Delete contacts of which, or of whose rows, there is a later record."""
        if not (contacts or rows) or not self.any(segment):
            return
        with self._lock:
            found = set(contacts), set(rows)
            for key, one in list(self._buffer.items()):
                if one.segment == segment and (one.contact in found[0] or one.row in found[1]):
                    del self._buffer[key]
            self._delete(segment, *found)

    @retryable
    def _delete(self, segment: int, contacts: set[bytes], rows: set[bytes]) -> None:
        theirs = _of(segment, contacts, rows)
        with self._store.transaction(account=self._account) as db:
            # Nearly always there is none, and to read is cheaper than to write.
            if db.execute(sa.select(table.c.person).where(theirs).limit(1)).first() is not None:
                db.execute(table.delete().where(theirs))

    def pages(self, segment: int, source: int) -> Iterator[list[RejectedContact]]:
        """Yield the contacts that this run has not tried, in chunks. They stay stored."""
        after = b""
        query = sa.select(
            table.c.segment,
            table.c.person,
            table.c.key,
            table.c.source,
            table.c.code,
            table.c.attempts,
            table.c.messages,
        ).where(self._untried(segment, source))
        while True:
            page = query.where(table.c.person > after).order_by(table.c.person).limit(_PAGE)
            rows = self._fetch(page)
            if not rows:
                return
            yield [
                RejectedContact(*row)._replace(messages=_decoder.decode(row[-1])) for row in rows
            ]
            after = rows[-1][1]

    @retryable
    def _fetch(self, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
        with self._store.transaction() as db:
            return [tuple(row) for row in db.execute(query)]

    def _untried(self, segment: int, source: int) -> sa.ColumnElement[bool]:
        return sa.and_(
            table.c.segment == segment, table.c.source == source, table.c.run != self._run_id
        )

    def discard_untried(self, segment: int, source: int) -> int:
        """Delete the contacts that this run has not added. Return their number.

        Those that it has tried and rejected once more count as added.
        """
        return self._delete_where(self._untried(segment, source)).total()

    def expire(self, before: float) -> Counter[tuple[int, str]]:
        """Delete the contacts of the account that were first rejected before a time.

        Returns:
            Their number by segment and code.
        """
        mine = sa.select(segment_table.c.id).where(segment_table.c.account == self._account)
        return self._delete_where(sa.and_(table.c.segment.in_(mine), table.c.first < before))

    def _delete_where(self, condition: sa.ColumnElement[bool]) -> Counter[tuple[int, str]]:
        deleted: Counter[tuple[int, str]] = Counter()

        def delete() -> None:
            counted = (
                sa.select(table.c.segment, table.c.code, sa.func.count())
                .where(condition)
                .group_by(table.c.segment, table.c.code)
            )
            with self._store.transaction(account=self._account) as db:
                found = {(segment, code): count for segment, code, count in db.execute(counted)}
                if found:  # nothing, after an attempt whose response was lost
                    deleted.clear()
                    deleted.update(found)
                    db.execute(table.delete().where(condition))

        self._store.retry(delete)
        return deleted

    @retryable
    def count(self, segment: int) -> int:
        """Return the number of stored contacts of a segment."""
        mine = sa.select(sa.func.count()).where(table.c.segment == segment)
        with self._store.transaction() as db:
            return int(db.execute(mine).scalar_one())


def _of(
    segment: int, contacts: Collection[bytes], rows: Collection[bytes]
) -> sa.ColumnElement[bool]:
    """Return the condition for contacts of a segment, by their hash or the key of their row."""
    either = [table.c.person.in_(list(contacts))]
    if rows:
        either.append(table.c.key.in_(list(rows)))
    return sa.and_(table.c.segment == segment, sa.or_(*either))
