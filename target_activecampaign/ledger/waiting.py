"""Records that wait for the end of the input: their address is, or was, another contact's.

They are kept here and not in memory, as there may be many. They have no outcome yet, so a run that
ends before they are processed reads them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from target_activecampaign.ledger.schema import waiting as table
from target_activecampaign.ledger.store import retryable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from target_activecampaign.ledger.store import Store

_CHUNK = 1000
_COLUMNS = (
    table.c.segment,
    table.c.key,
    table.c.person_from,
    table.c.person_to,
    table.c.entry,
)


class WaitingRecord(NamedTuple):
    """A record that waits.

    Attributes:
        segment: The number of its segment.
        key: The hash of its row's key.
        person_from: The contact of the row so far; None for a new row.
        person_to: The contact of the record.
        entry: The contact with its records, as the caller encodes them.
    """

    segment: int
    key: bytes
    person_from: bytes | None
    person_to: bytes
    entry: bytes


class LastWord(NamedTuple):
    """The latest waiting record of a row.

    Attributes:
        contact: Its contact.
        entry: The contact with its records, as the caller encodes them.
    """

    contact: bytes
    entry: bytes


class WaitingRecords:
    """The waiting records of one run.

    Args:
        store: The ledger's database.
        run_id: The run.

    Attributes:
        count: The number of records added so far.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self.count = 0

    def add(self, records: Sequence[WaitingRecord]) -> None:
        """Add records, in the order of the input. The latest of each row is its last word."""
        if not records:
            return
        first = self.count
        self._store.retry(lambda: self._add(records, first))
        self.count += len(records)

    def _add(self, records: Sequence[WaitingRecord], first: int) -> None:
        """Add records, unless an earlier attempt did and only the response was lost."""
        numbers = {(one.segment, one.key): number for number, one in enumerate(records)}
        rows = [
            {
                **one._asdict(),
                "run": self._run_id,
                "last": numbers[one.segment, one.key] == number,
            }
            for number, one in enumerate(records)
        ]
        mine = table.c.run == self._run_id
        with self._store.transaction() as db:
            stored = sa.select(sa.func.count()).select_from(table).where(mine)
            if int(db.execute(stored).scalar_one()) != first:
                return
            earlier = table.update().where(
                mine,
                table.c.segment == sa.bindparam("of"),
                table.c.key == sa.bindparam("row"),
            )
            db.execute(
                earlier.values(last=False), [{"of": one, "row": key} for one, key in numbers]
            )
            db.execute(table.insert(), rows)

    @retryable
    def keys(self, segment: int, keys: Collection[bytes]) -> set[bytes]:
        """Return those rows of a segment that have waiting records."""
        if not self.count or not keys:
            return set()
        theirs = self._of(segment, keys)
        with self._store.transaction() as db:
            return set(db.execute(sa.select(table.c.key).where(theirs).distinct()).scalars())

    def take(self, segment: int, keys: Collection[bytes]) -> list[WaitingRecord]:
        """Remove the waiting records of rows, and return them."""
        if not self.count or not keys:
            return []
        taken: list[WaitingRecord] = []

        def remove() -> None:
            theirs = self._of(segment, keys)
            with self._store.transaction() as db:
                rows = db.execute(sa.select(*_COLUMNS).where(theirs).order_by(table.c.id)).all()
                if rows:
                    taken[:] = [WaitingRecord(*row) for row in rows]
                    db.execute(table.delete().where(theirs))

        self._store.retry(remove)
        self.count -= len(taken)
        return taken

    def all(self) -> Iterator[list[tuple[WaitingRecord, LastWord]]]:
        """Yield all records in the order of the input, in chunks, each with its row's last word."""
        last, final = 0, table.alias()
        latest = sa.and_(
            final.c.run == table.c.run,
            final.c.segment == table.c.segment,
            final.c.key == table.c.key,
            final.c.last,
        )
        query = (
            sa.select(*_COLUMNS, final.c.person_to, final.c.entry, table.c.id)
            .join(final, latest)
            .where(table.c.run == self._run_id)
            .order_by(table.c.id)
            .limit(_CHUNK)
        )
        while True:
            rows = self._fetch(query.where(table.c.id > last))
            if not rows:
                return
            yield [(WaitingRecord(*row[:5]), LastWord(row[5], row[6])) for row in rows]
            last = rows[-1][7]

    @retryable
    def _fetch(self, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
        with self._store.transaction() as db:
            return [tuple(row) for row in db.execute(query)]

    @retryable
    def clear(self) -> None:
        """Delete all records. Those of interrupted runs are deleted by the run that takes over."""
        with self._store.transaction() as db:
            db.execute(table.delete().where(table.c.run == self._run_id))
        self.count = 0

    def _of(self, segment: int, keys: Collection[bytes]) -> sa.ColumnElement[bool]:
        return sa.and_(
            table.c.run == self._run_id, table.c.segment == segment, table.c.key.in_(list(keys))
        )
