"""Confirmed imports whose people are not written to the table yet.

People stand in the table by their hashes, so the 250 of an import are on 250 pages of it, and
each page is written whole. So a confirmed import is first only marked as such where it was
written down before it was posted. The people of many are then written together, in the order
of the table: of a hundred imports, many people are on the same page.

Nobody notices: who asks about people, or changes what is known of them, has them written first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from target_activecampaign.ledger.driver import Statement
from target_activecampaign.ledger.marks import Contacts, write
from target_activecampaign.ledger.tables import import_ as table

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_activecampaign.ledger.store import Store

_MAX_PEOPLE = 16_000
"""People who wait at most: it bounds the memory that it takes to write them."""

_decoder = msgspec.msgpack.Decoder(Contacts)
_confirm = Statement(
    table.update()
    .where(table.c.id == sa.bindparam("number"))
    .values(confirmed=sa.bindparam("time")),
    ("time", "number"),
)


class Confirmed:
    """An account's confirmed imports. Safe between threads.

    Args:
        store: The ledger's database.
        account: The account's number.
    """

    def __init__(self, store: Store, account: int) -> None:
        self._store = store
        self._account = account
        self._people: set[bytes] = set()

    @property
    def may_wait(self) -> bool:
        """Whether people may wait: in a file they do, on a server others want to see them."""
        return self._store.is_file

    def add(self, number: int, people: Collection[bytes], time: float) -> None:
        """Note that an import is confirmed, all of whose marks are `PLAIN`."""
        with self._store.transaction(account=self._account) as db:
            _confirm.execute(db, [(time, number)])
            self._people.update(people)
        if len(self._people) >= _MAX_PEOPLE:
            self.write()

    def write_if_among(self, people: Collection[bytes]) -> None:
        """Write those who wait, if someone of these people is among them."""
        if not self._people.isdisjoint(people):
            self.write()

    def write_if_any(self) -> None:
        """Write those who wait, if there are any of this run's."""
        if self._people:
            self.write()

    def write(self) -> None:
        """Write all who wait, of whatever run."""
        done = table.c.confirmed.is_not(None)
        columns = (table.c.id, table.c.posted, table.c.confirmed, table.c.contacts)
        with self._store.transaction(account=self._account) as db:
            rows = db.execute(sa.select(*columns).where(done).order_by(table.c.id)).all()
            write(
                db,
                ((decoded(self._store, row.contacts), row.posted, row.confirmed) for row in rows),
            )
            if rows:
                numbers = [row.id for row in rows]
                db.execute(table.delete().where(table.c.id.in_(numbers)))
            self._people.clear()


def decoded(store: Store, blob: bytes) -> Contacts:
    """The people of an import, with their marks.

    Raises:
        LedgerError: They are not what was written.
    """
    try:
        return _decoder.decode(blob)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise store.damaged() from None
