"""The segments: each is a stream that is loaded into a list of an account.

A sync is one reading of the source from its start. Syncs of a segment are numbered from 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from target_activecampaign.errors import LedgerError
from target_activecampaign.ledger.runs import is_running, process_number
from target_activecampaign.ledger.schema import run as run_table
from target_activecampaign.ledger.schema import segment as table
from target_activecampaign.ledger.schema import suppression as suppression_table
from target_activecampaign.ledger.store import retryable
from target_activecampaign.model.names import nfc
from target_activecampaign.text import encodable

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_activecampaign.ledger.store import Store


def storable(text: str) -> str:
    """Escape what no database stores: half surrogate pairs, and NUL."""
    return encodable(text).replace("\0", "\\x00")


class SegmentState(NamedTuple):
    """A segment's row.

    Attributes:
        id: Its number.
        last_sync: The number of the sync that was begun last; 0 before the first.
        version: The stream's version in it.
        last_complete_sync: The number of the latest complete sync; 0 before the first.
        size: The number of contacts in that sync.
        tripped: Whether a guard has stopped a sync since then.
        changed: Number of profiles that have changed since then.
    """

    id: int
    last_sync: int
    version: str | None
    last_complete_sync: int
    size: int | None
    tripped: bool
    changed: int


_COLUMNS = (
    table.c.id,
    table.c["pass"].label("last_sync"),
    table.c.version,
    table.c.complete_pass.label("last_complete_sync"),
    table.c.size,
    table.c.tripped,
    table.c.changed,
)


class Segments:
    """An account's segments, seen from one run."""

    def __init__(self, store: Store, account: int, run_id: str) -> None:
        self._store = store
        self._account = account
        self._run_id = run_id

    @retryable
    def claim(self, stream: str, list_id: int, *, mirror: bool, mark: str | None) -> SegmentState:
        """Reserve a segment for this run, creating it if it is new. Return its state before that.

        Args:
            stream: The stream, by its name after stream maps.
            list_id: The list.
            mirror: Whether this run removes contacts.
            mark: The field or tag that marks its members, if one does.

        Raises:
            LedgerError: Another run in progress is loading it.
        """
        stream = storable(stream)
        values = {"mirror": mirror, "mark": mark and storable(mark), "run": self._run_id}
        found = sa.select(*_COLUMNS, table.c.run).where(self._matches(stream, list_id))
        with self._store.transaction(alone=True) as db:
            row = db.execute(found).first()
            if row is None:
                key = {"account": self._account, "stream": stream, "list": list_id}
                empty = {"pass": 0, "complete_pass": 0, "tripped": False, "changed": 0}
                sweep = self._has_suppressed(db) and not self._has_list(db, list_id)
                db.execute(table.insert().values(**key, **empty, **values, sweep=sweep))
                row = db.execute(found).one()
            elif row.run not in (None, self._run_id):
                other = db.execute(sa.select(run_table).where(run_table.c.id == row.run)).first()
                if other is not None and is_running(db, other):
                    raise LedgerError(
                        f"Stream '{stream}' is being loaded into list {list_id} by another run "
                        f"({other.id}, process {process_number(other)} on {other.host}): wait "
                        "until it has ended, or give each worker streams of its own."
                    )
            db.execute(table.update().where(table.c.id == row.id).values(values))
        *columns, _ = row
        return SegmentState(*columns)

    def _has_suppressed(self, db: sa.Connection) -> bool:
        mine = suppression_table.c.account == self._account
        return db.execute(sa.select(sa.literal(1)).where(mine).limit(1)).first() is not None

    def _has_list(self, db: sa.Connection, list_id: int) -> bool:
        of_list = sa.and_(table.c.account == self._account, table.c.list == list_id)
        return db.execute(sa.select(table.c.id).where(of_list).limit(1)).first() is not None

    @retryable
    def must_sweep(self, segments: Collection[int]) -> bool:
        """Return whether the list of these segments must be read to find suppressed people."""
        theirs = sa.and_(table.c.id.in_(list(segments)), table.c.sweep)
        with self._store.transaction() as db:
            return db.execute(sa.select(table.c.id).where(theirs).limit(1)).first() is not None

    @retryable
    def end_sweep(self, segments: Collection[int]) -> None:
        """Store that the list of these segments has been read."""
        with self._store.transaction(account=self._account) as db:
            theirs = table.c.id.in_(list(segments))
            db.execute(table.update().where(theirs).values(sweep=False))

    @retryable
    def stored_name(self, stream: str, list_id: int) -> str:
        """Return the name of a stream in the ledger: its own, or one that is the same in NFC.

        Args:
            stream: The stream, by its name after stream maps.
            list_id: Its list.
        """
        if stream.isascii():
            return stream
        of_list = sa.and_(table.c.account == self._account, table.c.list == list_id)
        with self._store.transaction() as db:
            names = db.execute(sa.select(table.c.stream).where(of_list)).scalars().all()
        same = [name for name in names if nfc(name) == nfc(stream)]
        return stream if stream in same or not same else min(same)

    @retryable
    def mapping(self, stream: str, list_id: int) -> str | None:
        """Return the mapping that was saved for a stream and list; None if there is none."""
        of_segment = self._matches(storable(stream), list_id)
        with self._store.transaction() as db:
            return db.execute(sa.select(table.c.mapping).where(of_segment)).scalar()

    def save_mapping(self, segment: int, mapping: str) -> None:
        """Save a segment's mapping, as text in the caller's format."""
        self._update(segment, {"mapping": mapping})

    @retryable
    def siblings(self, segment: int, list_id: int, mark: str | None) -> list[int]:
        """Return the other segments with the same mark, or with the same list if `mark` is None."""
        same = table.c.list == list_id if mark is None else table.c.mark == storable(mark)
        others = sa.and_(table.c.account == self._account, table.c.id != segment, same)
        with self._store.transaction() as db:
            return list(db.execute(sa.select(table.c.id).where(others)).scalars())

    def begin_sync(self, segment: int, number: int, version: str | None) -> None:
        """Store the beginning of a sync."""
        self._update(segment, {"pass": number, "version": version and storable(version)})

    def complete_sync(self, segment: int, number: int, size: int) -> None:
        """Store that a sync is complete, with its number of contacts."""
        self._update(segment, {"complete_pass": number, "size": size, "changed": 0})

    def end_changes(self, segment: int) -> None:
        """Store that changes were loaded, and that their contacts were removed."""
        self._update(segment, {"changed": 0})

    def reset_guard(self, segment: int) -> None:
        """Store that no guard has stopped the latest run."""
        self._update(segment, {"tripped": False})

    def trip_guard(self, segment: int) -> None:
        """Store that a guard has stopped a sync."""
        self._update(segment, {"tripped": True})

    @retryable
    def count_changed(self, segment: int) -> int:
        """Return the number of profiles that have changed since the latest complete sync."""
        changed = sa.select(table.c.changed).where(table.c.id == segment)
        with self._store.transaction() as db:
            return int(db.execute(changed).scalar_one())

    def reset_changed(self, segment: int) -> None:
        """Reset the count of changed profiles to 0."""
        self._update(segment, {"changed": 0})

    def _matches(self, stream: str, list_id: int) -> sa.ColumnElement[bool]:
        return sa.and_(
            table.c.account == self._account, table.c.stream == stream, table.c.list == list_id
        )

    @retryable
    def _update(self, segment: int, values: dict[str, object]) -> None:
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(table.c.id == segment).values(values))
