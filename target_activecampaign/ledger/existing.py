"""The index of the contacts that an account has, as far as it was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from target_activecampaign.ledger.tables import account as account_table
from target_activecampaign.ledger.tables import existing as table

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_activecampaign.ledger.store import Store


class Progress(NamedTuple):
    """How far the index goes.

    Attributes:
        after: The greatest contact id that was read.
        total: How many contacts the account said it had then; None before the first reading.
    """

    after: int
    total: int | None


class ExistingContacts:
    """The people whom an account has."""

    def __init__(self, store: Store, account: int) -> None:
        self._store = store
        self._account = account

    def progress(self) -> Progress:
        """How far the index goes."""
        with self._store.transaction() as db:
            after, total = db.execute(
                sa.select(account_table.c.index_after, account_table.c.index_total).where(
                    account_table.c.id == self._account
                )
            ).one()
            return Progress(after or 0, total)

    def add(self, people: Collection[bytes], after: int) -> None:
        """Add people read up to a contact id."""
        rows = [{"account": self._account, "person": person} for person in people]
        with self._store.transaction() as db:
            if rows:
                dialect: Any = sqlite if db.dialect.name == "sqlite" else postgresql
                db.execute(dialect.insert(table).on_conflict_do_nothing(), rows)
            db.execute(self._mine().values(index_after=after))

    def read_through(self, total: int | None) -> None:
        """Note that all contacts of an account that has so many are in the index."""
        with self._store.transaction() as db:
            db.execute(self._mine().values(index_total=total))

    def clear(self) -> None:
        """Forget the index."""
        with self._store.transaction() as db:
            db.execute(table.delete().where(table.c.account == self._account))
            db.execute(self._mine().values(index_after=None, index_total=None))

    def among(self, people: Collection[bytes]) -> set[bytes]:
        """Those of some people whom the account has."""
        with self._store.transaction() as db:
            rows = db.execute(
                sa.select(table.c.person).where(
                    table.c.account == self._account, table.c.person.in_(people)
                )
            )
            return {row.person for row in rows}

    def _mine(self) -> sa.Update:
        return account_table.update().where(account_table.c.id == self._account)
