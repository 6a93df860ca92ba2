"""The index of the contacts that exist in an account, for the sync modes that need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from target_activecampaign.ledger.schema import account as account_table
from target_activecampaign.ledger.schema import existing as table
from target_activecampaign.ledger.statements import insert_into
from target_activecampaign.ledger.store import retryable

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_activecampaign.ledger.store import Store


class IndexProgress(NamedTuple):
    """The progress of reading an account's contacts.

    Attributes:
        after: The greatest contact id that was read.
        total: The account's number of contacts at the end of the last complete reading; None
            before the first.
        reading: The number of that reading. Each one reads the whole account.
    """

    after: int
    total: int | None
    reading: int


class ContactIndex:
    """The index of an account's contacts, by their hashes.

    Attributes:
        in_use: Whether a stream of this run needs it.
    """

    def __init__(self, store: Store, account: int) -> None:
        self._store = store
        self._account = account
        self.in_use = False
        self._reading = 0

    @retryable
    def progress(self) -> IndexProgress:
        """Return the progress of reading the account."""
        columns = (
            sa.func.coalesce(account_table.c.index_after, 0),
            account_table.c.index_total,
            account_table.c.index_reading,
        )
        of_account = sa.select(*columns).where(account_table.c.id == self._account)
        with self._store.transaction() as db:
            return IndexProgress(*db.execute(of_account).one())

    @retryable
    def add(self, contacts: Collection[bytes], reading: int, after: int | None = None) -> None:
        """Add contacts.

        Args:
            contacts: The contacts.
            reading: The reading of the account that found them.
            after: The greatest contact id read so far, if the next run may resume there.
        """
        rows = [
            {"account": self._account, "person": contact, "reading": reading}
            for contact in sorted(contacts)
        ]
        with self._store.transaction(account=self._account) as db:
            if rows:
                insert = insert_into(table, db.dialect.name)
                key = [table.c.account, table.c.person]
                # A later reading of another worker may have found them already.
                new = insert.excluded.reading
                latest = {"reading": sa.case((table.c.reading > new, table.c.reading), else_=new)}
                db.execute(insert.on_conflict_do_update(index_elements=key, set_=latest), rows)
            if after is not None:
                db.execute(self._update_account().values(index_after=after))

    @retryable
    def complete_reading(self, after: int, total: int | None, reading: int) -> None:
        """Store that a reading is complete, and delete contacts that it did not find.

        Args:
            after: The greatest contact id.
            total: The account's number of contacts.
            reading: The reading.
        """
        with self._store.transaction(account=self._account) as db:
            deleted = sa.and_(table.c.account == self._account, table.c.reading < reading)
            db.execute(table.delete().where(deleted))
            values = {"index_after": after, "index_total": total, "index_reading": reading}
            db.execute(self._update_account().values(values))
        self._reading = reading

    def add_created(self, contacts: Collection[bytes]) -> None:
        """Add contacts that this run has created, if a stream needs the index."""
        if self.in_use:
            self.add(contacts, self._reading)

    @retryable
    def find(self, contacts: Collection[bytes]) -> set[bytes]:
        """Return those contacts that exist in the account."""
        found = sa.select(table.c.person).where(
            table.c.account == self._account, table.c.person.in_(contacts)
        )
        with self._store.transaction() as db:
            return set(db.execute(found).scalars())

    def _update_account(self) -> sa.Update:
        return account_table.update().where(account_table.c.id == self._account)
