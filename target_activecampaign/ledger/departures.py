"""Departures: contacts whose source rows were deleted, until they are removed from the list.

They are stored before the deleted record gets its outcome, so a kill loses none. A confirmed import
does not touch them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from target_activecampaign.ledger.schema import departure as table
from target_activecampaign.ledger.schema import member as member_table
from target_activecampaign.ledger.schema import source_row as row_table
from target_activecampaign.ledger.schema import waiting as waiting_table
from target_activecampaign.ledger.statements import insert_into
from target_activecampaign.ledger.store import retryable
from target_activecampaign.model.ownership import CURRENT

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_activecampaign.ledger.store import Store


class Departures:
    """The departures of an account's segments.

    Args:
        store: The ledger's database.
        account: The account's number.
    """

    def __init__(self, store: Store, account: int) -> None:
        self._store = store
        self._account = account
        self._segments: dict[int, bool] = {}

    def any(self, segment: int) -> bool:
        """Return whether a segment may have departures; without a query, but for the first call."""
        if segment not in self._segments:
            self._segments[segment] = self._exists(segment)
        return self._segments[segment]

    @retryable
    def _exists(self, segment: int) -> bool:
        of_segment = sa.select(table.c.person).where(table.c.segment == segment).limit(1)
        with self._store.transaction() as db:
            return db.execute(of_segment).first() is not None

    @retryable
    def find(self, segment: int, contacts: Collection[bytes]) -> set[bytes]:
        """Return those contacts that are about to leave a segment."""
        if not contacts or not self.any(segment):
            return set()
        with self._store.transaction() as db:
            return set(
                db.execute(
                    sa.select(table.c.person).where(
                        table.c.segment == segment, table.c.person.in_(list(contacts))
                    )
                ).scalars()
            )

    @retryable
    def add(self, segment: int, contacts: Collection[bytes]) -> None:
        """Store that contacts leave a segment."""
        if not contacts:
            return
        rows = [{"segment": segment, "person": one} for one in sorted(contacts)]
        with self._store.transaction(account=self._account) as db:
            insert = insert_into(table, db.dialect.name)
            db.execute(insert.on_conflict_do_nothing(), rows)
        self._segments[segment] = True

    @retryable
    def discard(self, segment: int, contacts: Collection[bytes]) -> None:
        """Store that contacts stay in a segment after all."""
        if not contacts or not self.any(segment):
            return
        theirs = sa.and_(table.c.segment == segment, table.c.person.in_(list(contacts)))
        with self._store.transaction(account=self._account) as db:
            db.execute(table.delete().where(theirs))

    @retryable
    def discard_held(self, segment: int) -> None:
        """Delete the departures of contacts that another row of the segment has.

        So have rows whose records still wait, as a guard has tripped.

        It reads all rows of the segment, as there is no index by contact.
        """
        if not self.any(segment):
            return
        departing = sa.select(table.c.person).where(table.c.segment == segment)
        held = sa.select(row_table.c.person).where(
            row_table.c.segment == segment,
            sa.not_(row_table.c.gone),
            row_table.c.person.in_(departing),
        )
        claimed = sa.select(waiting_table.c.person_to).where(
            waiting_table.c.segment == segment,
            waiting_table.c.last,
            waiting_table.c.person_to.in_(departing),
        )
        theirs = sa.and_(table.c.segment == segment, table.c.person.in_(held.union(claimed)))
        with self._store.transaction(account=self._account) as db:
            db.execute(table.delete().where(theirs))

    @retryable
    def discard_done(self, segment: int) -> None:
        """Delete the departures of contacts that are no members any more, or never were."""
        current = (
            sa.exists()
            .where(
                member_table.c.segment == table.c.segment,
                member_table.c.person == table.c.person,
                member_table.c.membership.in_(CURRENT),
            )
            .correlate(table)
        )
        with self._store.transaction(account=self._account) as db:
            db.execute(table.delete().where(table.c.segment == segment, sa.not_(current)))
        self._segments.pop(segment, None)
