"""Suppressed people, who are never sent: keyed hashes of their addresses, kept across runs.

A person can be suppressed by several streams and by the command. The person stays suppressed until
each of them has lifted the suppression.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import sqlalchemy as sa

from target_activecampaign.ledger.schema import member as member_table
from target_activecampaign.ledger.schema import retry as retry_table
from target_activecampaign.ledger.schema import segment as segment_table
from target_activecampaign.ledger.schema import suppression as table
from target_activecampaign.ledger.schema import withheld as withheld_table
from target_activecampaign.ledger.statements import Statement, fetch_rows, insert_into
from target_activecampaign.ledger.store import retryable
from target_activecampaign.ledger.withheld import Withheld
from target_activecampaign.model.names import nfc
from target_activecampaign.model.withheld import WithheldReason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from target_activecampaign.ledger.store import Store
    from target_activecampaign.ledger.withheld import WithheldContacts
    from target_activecampaign.ledger.write_buffer import WriteBuffer

COMMAND = 0
"""The source of people who are suppressed by the command."""

_MAX_NOTED = 5000
"""The number of people up to which each list is asked for each person. For more people, the lists
are read. For a list with a million contacts, that costs about two requests per person."""

_NAMES = ("account", "person", "source")


def source_of(stream: str) -> int:
    """Return the number of a stream that suppresses people: a hash of its name."""
    return (zlib.crc32(nfc(stream).encode("utf-8", "surrogatepass")) & 0x7FFFFFFF) or 1


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
        self._has_any = False
        self._noted = 0
        self._inserts: dict[str, Statement] = {}

    def any(self) -> bool:
        """Return whether anyone may be suppressed. Once someone is, this makes no query."""
        # While nobody is suppressed, each call asks: another process may suppress people meanwhile.
        self._has_any = self._has_any or self._exists()
        return self._has_any

    @retryable
    def _exists(self, *conditions: sa.ColumnElement[bool]) -> bool:
        mine = sa.select(table.c.person).where(table.c.account == self._account, *conditions)
        with self._store.transaction() as db:
            return db.execute(mine.limit(1)).first() is not None

    def has_source(self, source: int) -> bool:
        """Return whether a source suppresses anyone."""
        return self._exists(table.c.source == source)

    def find(self, contacts: Collection[bytes]) -> set[bytes]:
        """Return the given contacts that are suppressed."""
        return set(self.sources(contacts))

    @retryable
    def sources(self, contacts: Collection[bytes]) -> dict[bytes, set[int]]:
        """Return the sources that suppress each contact, for the contacts that are suppressed."""
        found: dict[bytes, set[int]] = {}
        if contacts and self.any():
            with self._store.transaction() as db:
                rows = fetch_rows(
                    db,
                    "person, source",
                    [self._account],
                    table.c.person,
                    list(contacts),
                    of="account",
                )
            for contact, source in rows:
                found.setdefault(contact, set()).add(source)
        return found

    @retryable
    def count(self) -> int:
        """Return the number of suppressed people."""
        mine = table.c.account == self._account
        people = sa.select(sa.func.count(sa.distinct(table.c.person))).where(mine)
        with self._store.transaction() as db:
            return int(db.execute(people).scalar_one())

    def add(self, source: int, contacts: Mapping[bytes, str | None]) -> set[bytes]:
        """Suppress people, and store that their contacts must be unsubscribed.

        The record hashes and digests of these contacts are deleted, so that their next record is
        processed.

        Args:
            source: The source: `COMMAND`, or `source_of` a stream.
            contacts: The addresses by contact; None if only the contact's hash is known.

        Returns:
            The contacts that were not suppressed before.
        """
        new = contacts.keys() - self.find(contacts)
        if new:
            self._write_buffer.flush()
            self._withheld.flush()
            self._noted += len(new)
            lists = self._segment_of_each_list() if self._noted <= _MAX_NOTED else []
            self._withheld.store(
                Withheld(
                    segment,
                    contact,
                    WithheldReason.SUPPRESSED,
                    is_pending=True,
                    address=contacts[contact],
                )
                for segment in lists
                for contact in new
            )
        # Last: after a kill before this line, the next run adds them again.
        self._insert(source, contacts, new)
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

    @retryable
    def _insert(self, source: int, contacts: Collection[bytes], new: Collection[bytes]) -> None:
        if not contacts:
            return
        rows = [(self._account, one, source) for one in sorted(contacts)]
        # `alone`, as a run may be claiming a new list.
        with self._store.transaction(alone=True, account=self._account) as db:
            if new:
                self._forget_delivered(db, new)
            if new and self._noted > _MAX_NOTED:
                mine = segment_table.c.account == self._account
                db.execute(segment_table.update().where(mine).values(sweep=True))
            self._statement(db.dialect.name).execute(db, rows)

    def _statement(self, dialect: str) -> Statement:
        if dialect not in self._inserts:
            insert = insert_into(table, dialect).on_conflict_do_nothing()
            self._inserts[dialect] = Statement(insert, _NAMES)
        return self._inserts[dialect]

    @retryable
    def forget_delivered(self, contacts: Collection[bytes]) -> None:
        """Delete the hashes of what was delivered, so that the next records are processed.

        Rejected records of these people are deleted too.
        """
        if contacts:
            self._write_buffer.flush()
            self._withheld.flush()
            with self._store.transaction(account=self._account) as db:
                self._forget_delivered(db, contacts)

    def _forget_delivered(self, db: sa.Connection, contacts: Collection[bytes]) -> None:
        mine = segment_table.c.account == self._account
        # As numbers: with a subquery, PostgreSQL may read the whole table.
        segments = list(db.execute(sa.select(segment_table.c.id).where(mine)).scalars())
        people = list(contacts)
        for one, values in (
            (member_table, {"digest": None, "raw": None}),
            (withheld_table, {"raw": None}),
        ):
            theirs = sa.and_(one.c.segment.in_(segments), one.c.person.in_(people))
            db.execute(one.update().where(theirs).values(values))
        # Else an older record would be sent once the suppression is lifted.
        rejected = sa.and_(retry_table.c.segment.in_(segments), retry_table.c.person.in_(people))
        db.execute(retry_table.delete().where(rejected))

    @retryable
    def remove(self, source: int | None, contacts: Collection[bytes]) -> int:
        """Lift the suppression of people.

        Contacts that were unsubscribed stay so until their next record.

        Args:
            source: The source that lifts its suppression; None for all sources.
            contacts: The people.

        Returns:
            The number of people who are no longer suppressed.
        """
        self._withheld.flush()
        before = self.sources(contacts)
        lifted = [one for one, found in before.items() if source is None or found == {source}]
        gone = [table.c.account == self._account, table.c.person.in_(list(before))]
        if source is not None:
            gone.append(table.c.source == source)
        mine = sa.select(segment_table.c.id).where(segment_table.c.account == self._account)
        withheld = sa.and_(
            withheld_table.c.segment.in_(mine),
            withheld_table.c.person.in_(lifted),
            withheld_table.c.reason == WithheldReason.SUPPRESSED,
        )
        if before:
            with self._store.transaction(account=self._account) as db:
                db.execute(table.delete().where(*gone))
                db.execute(withheld_table.delete().where(withheld))
        return len(lifted)
