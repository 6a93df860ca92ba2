"""The rows of the source by their keys: which contact each row stands for.

A row keeps its contact when its e-mail address changes, and a deletion that carries only the key
finds the contact by it. Keys are given by their hashes (see `Ledger.row_hasher`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from target_activecampaign.ledger.schema import member as member_table
from target_activecampaign.ledger.schema import segment as segment_table
from target_activecampaign.ledger.schema import source_row as table
from target_activecampaign.ledger.statements import Statement, fetch_rows, insert_into
from target_activecampaign.ledger.store import retryable
from target_activecampaign.model.ownership import Ownership

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from target_activecampaign.ledger.store import Store

_NAMES = (
    "segment",
    "key",
    "person",
    "contact",
    "gone",
    "opted_out",
    "seen",
    "may_have_moved",
)
_COLUMNS = ", ".join(_NAMES[1:])
"""The columns of a `SourceRow`."""


class SourceRow(NamedTuple):
    """A row of the source.

    Attributes:
        key: The hash of its key.
        contact: The hash of the address of its contact.
        contact_id: ActiveCampaign's id of the contact; None if it is not known.
        is_gone: Whether the row was deleted.
        is_opted_out: Whether its person has opted out and must not be subscribed elsewhere.
        seen: For a row that shares its contact with another: the latest sync that had it.
        may_have_moved: Whether its latest record was rejected, and had another address or none.
    """

    key: bytes
    contact: bytes
    contact_id: int | None = None
    is_gone: bool = False
    is_opted_out: bool = False
    seen: int | None = None
    may_have_moved: bool = False


class SourceRows:
    """The rows behind an account's segments.

    Args:
        store: The ledger's database.
        account: The account's number.
    """

    def __init__(self, store: Store, account: int) -> None:
        self._store = store
        self._account = account
        self._upserts: dict[str, Statement] = {}

    @property
    def _segments(self) -> sa.Select[tuple[int]]:
        """A query of the numbers of the account's segments."""
        return sa.select(segment_table.c.id).where(segment_table.c.account == self._account)

    @retryable
    def find(self, segment: int, keys: Collection[bytes]) -> dict[bytes, SourceRow]:
        """Return the rows of a segment with the given keys, by key."""
        if not keys:
            return {}
        with self._store.transaction() as db:
            rows = fetch_rows(db, _COLUMNS, [segment], table.c.key, list(keys))
        return {row.key: row for row in map(SourceRow._make, rows)}

    @retryable
    def store(self, segment: int, rows: Iterable[SourceRow]) -> None:
        """Store rows as they are now."""
        values = sorted((segment, *one) for one in rows)
        if values:
            with self._store.transaction(account=self._account) as db:
                self._upsert(db.dialect.name).execute(db, values)

    def _upsert(self, dialect: str) -> Statement:
        if dialect not in self._upserts:
            insert = insert_into(table, dialect)
            new = {name: insert.excluded[name] for name in _NAMES[2:]}
            upsert = insert.on_conflict_do_update(
                index_elements=[table.c.segment, table.c.key], set_=new
            )
            self._upserts[dialect] = Statement(upsert, _NAMES)
        return self._upserts[dialect]

    @retryable
    def count(self, segment: int) -> int:
        """Return the number of rows of a segment that are not gone."""
        there = sa.and_(table.c.segment == segment, sa.not_(table.c.gone))
        with self._store.transaction() as db:
            return int(db.execute(sa.select(sa.func.count()).where(there)).scalar_one())

    @retryable
    def mark_opted_out(self, segments: Collection[int], keys: Collection[bytes]) -> None:
        """Store that the persons of rows have opted out, unless their contacts can be renamed.

        If the ledger has the address of a row's contact, the contact can be renamed, and keeps the
        opt-out by itself.
        """
        found = (
            sa.exists()
            .where(
                member_table.c.segment == table.c.segment,
                member_table.c.person == table.c.person,
                member_table.c.address.is_not(None),
            )
            .correlate(table)
        )
        theirs = sa.and_(table.c.segment.in_(list(segments)), table.c.key.in_(list(keys)))
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(theirs, sa.not_(found)).values(opted_out=True))

    @retryable
    def end_sync(self, segment: int, sync_number: int | None) -> None:
        """Store which rows are gone, once contacts were removed.

        Args:
            segment: The segment.
            sync_number: The sync, if it is complete: rows that share a contact and are missing
                from it are gone. None leaves them.
        """
        left = (
            sa.exists()
            .where(
                member_table.c.segment == table.c.segment,
                member_table.c.person == table.c.person,
                member_table.c.membership.in_(
                    (Ownership.UNSUBSCRIBED_BY_US, Ownership.LEFT_STREAM)
                ),
            )
            .correlate(table)
        )
        gone: sa.ColumnElement[bool] = left
        if sync_number is not None:
            gone = sa.or_(left, table.c.seen < sync_number)
        theirs = sa.and_(table.c.segment == segment, sa.not_(table.c.gone), gone)
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(theirs).values(gone=True))

    @retryable
    def mark_shared(self, segment: int, contacts: Collection[bytes], sync_number: int) -> None:
        """Store that the rows of contacts share them, and were seen by a sync.

        It reads all rows of the segment, as there is no index by contact.
        """
        theirs = sa.and_(_with_contacts(segment, contacts), table.c.seen.is_(None))
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(theirs).values(seen=sync_number))

    @retryable
    def held(
        self, segment: int, contacts: Collection[bytes], without: Collection[bytes]
    ) -> set[bytes]:
        """Return those contacts that rows of a segment have which are not gone.

        It reads all rows of the segment, as there is no index by contact.

        Args:
            segment: The segment.
            contacts: The contacts.
            without: The keys of rows that don't count.
        """
        theirs = sa.and_(_with_contacts(segment, contacts), table.c.key.not_in(list(without)))
        with self._store.transaction() as db:
            return set(db.execute(sa.select(table.c.person).where(theirs)).scalars())

    @retryable
    def end_rows_of(self, segment: int, contacts: Collection[bytes]) -> None:
        """Store that the rows of contacts are gone, but for rows that share theirs.

        It reads all rows of the segment, as there is no index by contact.
        """
        theirs = sa.and_(_with_contacts(segment, contacts), table.c.seen.is_(None))
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(theirs).values(gone=True))

    def held_by_others(self, db: sa.Connection, contacts: sa.Select[Any], moving: Any) -> Any:
        """Return those contacts of a query that rows hold which are neither gone nor moving.

        It reads the whole table, as there is no index by contact.

        Args:
            db: The transaction.
            contacts: Selects the hashes of the contacts.
            moving: A condition on `source_row` for rows that are about to leave their contact.
        """
        holders = sa.select(table.c.person).where(
            table.c.segment.in_(self._segments),
            sa.not_(table.c.gone),
            table.c.person.in_(contacts),
            sa.not_(moving),
        )
        return db.execute(holders.distinct()).scalars().all()

    def in_doubt(self, db: sa.Connection, contacts: sa.Select[Any]) -> Any:
        """Return those contacts of a query that rows hold which may have moved.

        It reads the whole table, as there is no index by contact.
        """
        holders = sa.select(table.c.person).where(
            table.c.segment.in_(self._segments),
            sa.not_(table.c.gone),
            table.c.may_have_moved,
            table.c.person.in_(contacts),
        )
        return db.execute(holders.distinct()).scalars().all()


def _with_contacts(segment: int, contacts: Collection[bytes]) -> sa.ColumnElement[bool]:
    """Return the condition for the rows of contacts that are not gone."""
    return sa.and_(
        table.c.segment == segment, sa.not_(table.c.gone), table.c.person.in_(list(contacts))
    )
