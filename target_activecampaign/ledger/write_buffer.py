"""What is written down and waits to be written to the table of people.

People stand there by their hashes, so the 250 of an import, or the thousand of a window that a
mirror has seen, are on as many pages of it, and each page is written whole. So an import that is
confirmed is first only marked as such where it was written down before it was posted, and who was
seen is written down in one row. Of many such, people are then written together, in the order of
the table: now many are on the same page.

Nobody notices: who asks about people, or changes what is known of them, has them written first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from target_activecampaign.ledger.member_updates import Contacts, write
from target_activecampaign.ledger.schema import PERSON_BYTES, import_, member, sighting
from target_activecampaign.ledger.statements import Statement
from target_activecampaign.ledger.store import repeatable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from target_activecampaign.ledger.store import Store

_MAX_IMPORTED = 16_000
"""People of imports who wait at most: it bounds the memory that it takes to write them."""
_MAX_SEEN = 64_000
"""Likewise of those who were seen, of whom there is less to write."""

_decoder = msgspec.msgpack.Decoder(Contacts)
_confirm = Statement(
    import_.update()
    .where(import_.c.id == sa.bindparam("number"))
    .values(confirmed=sa.bindparam("time")),
    ("time", "number"),
)
_note = Statement(sighting.insert(), ("segment", "pass", "people"))
_see = Statement(
    # The later pass stays, in whatever order they are written.
    member.update()
    .where(
        member.c.segment == sa.bindparam("of"),
        member.c.person == sa.bindparam("who"),
        member.c.seen < sa.bindparam("now"),
    )
    .values(seen=sa.bindparam("now")),
    ("now", "of", "who"),
)


class Waiting:
    """An account's people who wait to be written. Safe between threads.

    Args:
        store: The ledger's database.
        account: The account's number.

    Attributes:
        allowed: Whether people may wait: in a file they do, on a server others want to see them.
    """

    def __init__(self, store: Store, account: int) -> None:
        self._store = store
        self._account = account
        self._imported: set[bytes] = set()
        self._seen = 0
        self.allowed = store.is_file

    @repeatable
    def imported(self, number: int, people: Collection[bytes], time: float) -> None:
        """Note that an import is confirmed, all of whose marks are `PLAIN`."""
        with self._store.transaction(account=self._account) as db:
            _confirm.execute(db, [(time, number)])
            self._imported.update(people)
        if len(self._imported) >= _MAX_IMPORTED:
            self.write()

    @repeatable
    def seen(self, segment: int, sync_number: int, people: Collection[bytes]) -> None:
        """Note that a mirror's pass has had people."""
        with self._store.transaction(account=self._account) as db:
            _note.execute(db, [(segment, sync_number, b"".join(people))])
            self._seen += len(people)
        if self._seen >= _MAX_SEEN:
            self.write()

    def flush_if_contains(self, people: Collection[bytes]) -> None:
        """Write those who wait, if someone of these people is among those of imports."""
        if not self._imported.isdisjoint(people):
            self.write()

    def write_if_any(self) -> None:
        """Write those who wait, if there are any of this run's."""
        if self._imported or self._seen:
            self.write()

    @repeatable
    def write(self) -> None:
        """Write all who wait, of whatever run."""
        with self._store.transaction(account=self._account) as db:
            write_all(self._store, db)
            self._imported.clear()
            self._seen = 0


def write_all(store: Store, db: sa.Connection) -> None:
    """Write all who wait, in a transaction."""
    columns = (import_.c.id, import_.c.posted, import_.c.confirmed, import_.c.contacts)
    done = sa.select(*columns).where(import_.c.confirmed.is_not(None)).order_by(import_.c.id)
    imports = db.execute(done).all()
    if imports:
        write(db, ((decoded(store, row.contacts), row.posted, row.confirmed) for row in imports))
        numbers = [row.id for row in imports]
        db.execute(import_.delete().where(import_.c.id.in_(numbers)))
    seen = db.execute(sa.select(sighting)).all()
    if seen:
        rows = [(row[2], row.segment, person) for row in seen for person in _hashes(row.people)]
        rows.sort(key=lambda row: row[1:])
        _see.execute(db, rows)
        db.execute(sighting.delete())


def _hashes(people: bytes) -> Iterator[bytes]:
    for start in range(0, len(people), PERSON_BYTES):
        yield people[start : start + PERSON_BYTES]


def decoded(store: Store, blob: bytes) -> Contacts:
    """The people of an import, with their marks.

    Raises:
        LedgerError: They are not what was written.
    """
    try:
        return _decoder.decode(blob)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise store.damaged() from None
