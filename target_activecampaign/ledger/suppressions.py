"""Suppressed people, who are never sent: keyed hashes of their addresses, kept across runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from target_activecampaign.ledger.schema import member as member_table
from target_activecampaign.ledger.schema import segment as segment_table
from target_activecampaign.ledger.schema import suppression as table
from target_activecampaign.ledger.schema import withheld as withheld_table
from target_activecampaign.ledger.statements import insert_into
from target_activecampaign.ledger.store import retryable
from target_activecampaign.ledger.withheld import Withheld
from target_activecampaign.model.withheld import WithheldReason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from target_activecampaign.ledger.store import Store
    from target_activecampaign.ledger.withheld import WithheldContacts
    from target_activecampaign.ledger.write_buffer import WriteBuffer


class Suppressions:
    """The suppressed people of an account.

    Args:
        store: The ledger's database.
        account: The account's number.
        write_buffer: The account's write buffer.
        withheld: The account's withheld contacts.
    """

    def __init__(
        self, store: Store, account: int, write_buffer: WriteBuffer, withheld: WithheldContacts
    ) -> None:
        self._store = store
        self._account = account
        self._write_buffer = write_buffer
        self._withheld = withheld
        self._has_any: bool | None = None

    def any(self) -> bool:
        """Return whether anybody may be suppressed; without a query, but for the first call."""
        if self._has_any is None:
            self._has_any = self._exists()
        return self._has_any

    @retryable
    def _exists(self) -> bool:
        mine = sa.select(table.c.person).where(table.c.account == self._account).limit(1)
        with self._store.transaction() as db:
            return db.execute(mine).first() is not None

    @retryable
    def find(self, contacts: Collection[bytes]) -> set[bytes]:
        """Return those contacts that are suppressed."""
        if not contacts or not self.any():
            return set()
        with self._store.transaction() as db:
            theirs = sa.select(table.c.person).where(self._are(contacts))
            return set(db.execute(theirs).scalars())

    @retryable
    def count(self) -> int:
        """Return the number of suppressed people."""
        mine = table.c.account == self._account
        with self._store.transaction() as db:
            return int(db.execute(sa.select(sa.func.count()).where(mine)).scalar_one())

    def add(self, contacts: Mapping[bytes, str | None]) -> set[bytes]:
        """Suppress people. Those who may be active on a list are to be unsubscribed.

        What was delivered of them is forgotten, so their next record is looked at.

        Args:
            contacts: The addresses by contact; None for a contact of which only a hash is known.

        Returns:
            The contacts that were not suppressed before.
        """
        new = contacts.keys() - self.find(contacts.keys())
        if not new:
            return new
        self._write_buffer.flush()
        self._withheld.store(
            Withheld(
                segment,
                contact,
                WithheldReason.SUPPRESSED,
                is_pending=True,
                address=contacts[contact],
            )
            for segment in self._segment_of_each_list()
            for contact in new
        )
        # Last: after a kill before this, they are added again.
        self._store.retry(lambda: self._insert(new))
        self._has_any = True
        return new

    @retryable
    def _segment_of_each_list(self) -> list[int]:
        first = (
            sa.select(sa.func.min(segment_table.c.id))
            .where(segment_table.c.account == self._account)
            .group_by(segment_table.c.list)
        )
        with self._store.transaction() as db:
            return list(db.execute(first).scalars())

    def _insert(self, contacts: Collection[bytes]) -> None:
        rows = [{"account": self._account, "person": one} for one in sorted(contacts)]
        segments = sa.select(segment_table.c.id).where(segment_table.c.account == self._account)
        members, withheld = (
            one.update().where(one.c.segment.in_(segments), one.c.person.in_(list(contacts)))
            for one in (member_table, withheld_table)
        )
        with self._store.transaction(account=self._account) as db:
            db.execute(members.values(digest=None, raw=None))
            db.execute(withheld.values(raw=None))
            insert = insert_into(table, db.dialect.name)
            db.execute(insert.on_conflict_do_nothing(), rows)

    @retryable
    def remove(self, contacts: Collection[bytes]) -> int:
        """Lift the suppression of people, and return the number of those who were suppressed."""
        if not contacts or not self.any():
            return 0
        segments = sa.select(segment_table.c.id).where(segment_table.c.account == self._account)
        withheld = sa.and_(
            withheld_table.c.segment.in_(segments),
            withheld_table.c.person.in_(list(contacts)),
            withheld_table.c.reason == WithheldReason.SUPPRESSED,
        )
        with self._store.transaction(account=self._account) as db:
            db.execute(withheld_table.delete().where(withheld))
            return int(db.execute(table.delete().where(self._are(contacts))).rowcount)

    def _are(self, contacts: Collection[bytes]) -> sa.ColumnElement[bool]:
        return sa.and_(table.c.account == self._account, table.c.person.in_(list(contacts)))
