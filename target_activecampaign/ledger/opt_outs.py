"""Contacts that an import can't subscribe to a list: those who have opted out of it, or bounced.

They are read from ActiveCampaign, or learnt from refusals. That a contact is missing here is always
safe: then the import refuses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from target_activecampaign.ledger.schema import opt_out as table
from target_activecampaign.ledger.schema import opt_out_reading as reading_table
from target_activecampaign.ledger.statements import insert_into
from target_activecampaign.ledger.store import retryable
from target_activecampaign.model.status import BOUNCED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from target_activecampaign.ledger.store import Store


class KnownOptOut(NamedTuple):
    """A contact that an import can't subscribe to a list.

    Attributes:
        contact: The contact's hash.
        status: `UNSUBSCRIBED` or `BOUNCED`.
        has_bounced: Whether mail to the address has bounced, so that no import accepts it.
        id: The contact's id; None if it was learnt from a refusal.
    """

    contact: bytes
    status: int
    has_bounced: bool
    id: int | None = None

    @property
    def is_bounced(self) -> bool:
        """True if no import accepts it, not even one that leaves the list alone."""
        return self.has_bounced or self.status == BOUNCED


class ReadingProgress(NamedTuple):
    """The progress of reading the contacts with one status on a list.

    Attributes:
        read_all: The start of the latest complete reading of all, by ActiveCampaign's clock; None
            before the first.
        read_to: The start of the latest complete reading, of all or of what had changed.
    """

    read_all: float | None = None
    read_to: float | None = None


class OptOuts:
    """The opt-outs and bounces of an account's lists.

    Args:
        store: The ledger's database.
        account: The account's number.
    """

    def __init__(self, store: Store, account: int) -> None:
        self._store = store
        self._account = account
        self._lists: dict[int, bool] = {}

    @retryable
    def progress(self, list_id: int, status: int) -> ReadingProgress:
        """Return the progress of reading the contacts with a status on a list."""
        columns = (reading_table.c.read_all, reading_table.c.read_to)
        with self._store.transaction() as db:
            row = db.execute(sa.select(*columns).where(self._reading(list_id, status))).first()
        return ReadingProgress(*row) if row is not None else ReadingProgress()

    @retryable
    def begin_reading(self, list_id: int, status: int) -> int:
        """Begin a reading, and return its number, which no reading before had."""
        with self._store.transaction(account=self._account) as db:
            insert = insert_into(reading_table, db.dialect.name).values(
                account=self._account, list=list_id, status=status, reading=1
            )
            columns = ("account", "list", "status")
            following = {"reading": reading_table.c.reading + 1}
            db.execute(insert.on_conflict_do_update(index_elements=columns, set_=following))
            number = sa.select(reading_table.c.reading).where(self._reading(list_id, status))
            return int(db.execute(number).scalar_one())

    @retryable
    def add(self, list_id: int, opt_outs: Iterable[KnownOptOut], reading: int) -> None:
        """Add contacts that a reading has found."""
        self._add(list_id, opt_outs, reading)

    @retryable
    def add_refused(self, list_ids: Iterable[int], one: KnownOptOut) -> None:
        """Add a contact that an import has refused for its status on a list."""
        for list_id in list_ids:
            with self._store.transaction() as db:
                query = sa.select(reading_table.c.reading).where(self._reading(list_id, one.status))
                reading = db.execute(query).scalar() or 0
            self._add(list_id, [one], reading)

    def _add(self, list_id: int, opt_outs: Iterable[KnownOptOut], reading: int) -> None:
        rows = [
            {
                "account": self._account,
                "list": list_id,
                "person": one.contact,
                "status": one.status,
                "bounced": one.has_bounced,
                "reading": reading,
                "contact": one.id,
            }
            for one in sorted(opt_outs, key=lambda one: one[:2])
        ]
        if not rows:
            return
        with self._store.transaction(account=self._account) as db:
            insert = insert_into(table, db.dialect.name)
            new = insert.excluded
            # A later reading of another worker may have found it already.
            latest = sa.case((table.c.reading > new.reading, table.c.reading), else_=new.reading)
            upsert = insert.on_conflict_do_update(
                index_elements=["account", "list", "person", "status"],
                set_={
                    "bounced": new.bounced,
                    "reading": latest,
                    "contact": sa.func.coalesce(new.contact, table.c.contact),
                },
            )
            db.execute(upsert, rows)
        self._lists[list_id] = True

    @retryable
    def complete_reading(
        self, list_id: int, status: int, reading: int, started: float, *, of_all: bool
    ) -> None:
        """Store that a reading is complete.

        Args:
            list_id: The list.
            status: The status of the contacts that were read.
            reading: The number of the reading.
            started: Its start, by ActiveCampaign's clock.
            of_all: Whether all contacts with that status were read. Then those that were not found
                are deleted.
        """
        values = {"read_to": started, **({"read_all": started} if of_all else {})}
        with self._store.transaction(account=self._account) as db:
            if of_all:
                gone = sa.and_(
                    self._of_list(list_id), table.c.status == status, table.c.reading < reading
                )
                db.execute(table.delete().where(gone))
            update = reading_table.update().where(self._reading(list_id, status))
            db.execute(update.values(**values))
        self._lists.pop(list_id, None)

    def find(self, list_id: int, contacts: Collection[bytes]) -> dict[bytes, KnownOptOut]:
        """Return those contacts that can't be subscribed to a list, by contact."""
        if not contacts or not self._any(list_id):
            return {}
        return self._find(list_id, contacts)

    @retryable
    def _find(self, list_id: int, contacts: Collection[bytes]) -> dict[bytes, KnownOptOut]:
        query = (
            sa.select(table.c.person, table.c.status, table.c.bounced, table.c.contact)
            .where(self._of_list(list_id), table.c.person.in_(list(contacts)))
            # If an old and a new status are both stored, the bounce comes last, and counts.
            .order_by(table.c.person, table.c.status)
        )
        with self._store.transaction() as db:
            return {row.person: KnownOptOut._make(row) for row in db.execute(query)}

    def _any(self, list_id: int) -> bool:
        """Return whether a list may have any; without a query, but for the first call."""
        if list_id not in self._lists:
            self._lists[list_id] = self._exists(list_id)
        return self._lists[list_id]

    @retryable
    def _exists(self, list_id: int) -> bool:
        query = sa.select(table.c.person).where(self._of_list(list_id)).limit(1)
        with self._store.transaction() as db:
            return db.execute(query).first() is not None

    @retryable
    def discard(self, list_id: int, contacts: Collection[bytes]) -> None:
        """Delete contacts that may be subscribed to a list again."""
        if not contacts:
            return
        theirs = sa.and_(self._of_list(list_id), table.c.person.in_(list(contacts)))
        with self._store.transaction(account=self._account) as db:
            db.execute(table.delete().where(theirs))

    def _of_list(self, list_id: int) -> sa.ColumnElement[bool]:
        return sa.and_(table.c.account == self._account, table.c.list == list_id)

    def _reading(self, list_id: int, status: int) -> sa.ColumnElement[bool]:
        return sa.and_(
            reading_table.c.account == self._account,
            reading_table.c.list == list_id,
            reading_table.c.status == status,
        )
