"""The index of the contacts that an account has, as far as it was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from target_activecampaign.ledger.schema import account as account_table
from target_activecampaign.ledger.schema import existing as table
from target_activecampaign.ledger.statements import insert_into
from target_activecampaign.ledger.store import repeatable

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_activecampaign.ledger.store import Store


class Progress(NamedTuple):
    """How far the index goes.

    Attributes:
        after: The greatest contact id that was read.
        total: How many contacts the account had then; None before it was read through.
        reading: Which reading of the whole account that was.
    """

    after: int
    total: int | None
    reading: int


class ExistingContacts:
    """The people whom an account has.

    Attributes:
        in_use: Whether a stream of this run asks who is there.
    """

    def __init__(self, store: Store, account: int) -> None:
        self._store = store
        self._account = account
        self.in_use = False
        self._reading = 0

    @repeatable
    def progress(self) -> Progress:
        """How far the index goes."""
        with self._store.transaction() as db:
            columns = (
                account_table.c.index_after,
                account_table.c.index_total,
                account_table.c.index_reading,
            )
            row = db.execute(sa.select(*columns).where(account_table.c.id == self._account)).one()
            return Progress(row[0] or 0, row[1], row[2])

    @repeatable
    def add(self, people: Collection[bytes], reading: int, after: int | None = None) -> None:
        """Add people.

        Args:
            people: Who.
            reading: The reading of the account that had them.
            after: Up to which contact id that goes by now, if the next run is to go on there.
        """
        rows = [
            {"account": self._account, "person": person, "reading": reading}
            for person in sorted(people)
        ]
        with self._store.transaction(account=self._account) as db:
            if rows:
                insert = insert_into(table, db.dialect.name)
                key = [table.c.account, table.c.person]
                # Another worker may be reading the account anew, and have had them already.
                new = insert.excluded.reading
                latest = {"reading": sa.case((table.c.reading > new, table.c.reading), else_=new)}
                db.execute(insert.on_conflict_do_update(index_elements=key, set_=latest), rows)
            if after is not None:
                db.execute(self._mine().values(index_after=after))

    @repeatable
    def read_through(self, after: int, total: int | None, reading: int) -> None:
        """Note that a reading has had all contacts, so that those of older ones are no more."""
        with self._store.transaction(account=self._account) as db:
            mine = sa.and_(table.c.account == self._account, table.c.reading < reading)
            db.execute(table.delete().where(mine))
            values = {"index_after": after, "index_total": total, "index_reading": reading}
            db.execute(self._mine().values(values))
        self._reading = reading

    def made(self, people: Collection[bytes]) -> None:
        """Add people whom this run has made, if anyone asks for them."""
        if self.in_use:
            self.add(people, self._reading)

    @repeatable
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
