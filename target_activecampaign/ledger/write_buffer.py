"""The write buffer: updates to members that are stored cheaply now, and written in bulk later.

Members are keyed by hash, so the 250 contacts of an import, or the 1,000 that a mirror has seen at
once, are spread over as many pages of the table, and each page is written whole. A confirmed import
is therefore first only flagged where it is stored anyway, and seen contacts are stored in one row.
The flush writes many of them in the table's order, so that many share a page.

Readers see no difference: each query of members, and each other change, flushes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from target_activecampaign.ledger.member_updates import Contacts, write
from target_activecampaign.ledger.schema import HASH_BYTES, import_, member, sighting
from target_activecampaign.ledger.statements import Statement
from target_activecampaign.ledger.store import retryable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from target_activecampaign.ledger.store import Store

_MAX_CONFIRMED = 16_000
"""The most contacts of imports that are buffered; it bounds the memory of a flush."""
_MAX_SEEN = 64_000
"""The most seen contacts that are buffered; each takes less memory to write."""

_decoder = msgspec.msgpack.Decoder(Contacts)
_confirm = Statement(
    import_.update()
    .where(import_.c.id == sa.bindparam("number"))
    .values(confirmed=sa.bindparam("time"), probes=None),
    ("time", "number"),
)
_add_seen = Statement(sighting.insert(), ("segment", "pass", "people"))
_write_seen = Statement(
    # Keep the latest sync, whatever the order of writing.
    member.update()
    .where(
        member.c.segment == sa.bindparam("of"),
        member.c.person == sa.bindparam("who"),
        member.c.seen < sa.bindparam("now"),
    )
    .values(seen=sa.bindparam("now")),
    ("of", "who", "now"),
)


class WriteBuffer:
    """An account's write buffer. Safe between threads.

    Args:
        store: The ledger's database.
        account: The account's number.

    Attributes:
        enabled: Whether updates are buffered. In a file they are; on a server other workers need
            to see them at once.
    """

    def __init__(self, store: Store, account: int) -> None:
        self._store = store
        self._account = account
        self._confirmed: set[bytes] = set()
        self._seen = 0
        self.enabled = store.is_file

    @retryable
    def add_confirmed(self, number: int, contacts: Collection[bytes], time: float) -> None:
        """Store that an import is confirmed; all of its updates must be `BUFFERABLE`."""
        with self._store.transaction(account=self._account) as db:
            _confirm.execute(db, [(time, number)])
            self._confirmed.update(contacts)
        if len(self._confirmed) >= _MAX_CONFIRMED:
            self.flush()

    @retryable
    def add_seen(self, segment: int, sync_number: int, contacts: Collection[bytes]) -> None:
        """Store that a mirror's sync has seen contacts."""
        with self._store.transaction(account=self._account) as db:
            _add_seen.execute(db, [(segment, sync_number, b"".join(contacts))])
            self._seen += len(contacts)
        if self._seen >= _MAX_SEEN:
            self.flush()

    def flush_if_contains(self, contacts: Collection[bytes]) -> None:
        """Write the buffer if it has a confirmed update of any of these contacts."""
        if not self._confirmed.isdisjoint(contacts):
            self.flush()

    def flush_if_any(self) -> None:
        """Write the buffer if this run has put anything into it."""
        if self._confirmed or self._seen:
            self.flush()

    @retryable
    def flush(self) -> None:
        """Write the buffer, including what other runs have left in it."""
        with self._store.transaction(account=self._account) as db:
            write_all(self._store, db)
            self._confirmed.clear()
            self._seen = 0


def write_all(store: Store, db: sa.Connection) -> None:
    """Write all that is buffered, inside a transaction."""
    confirmed = (
        sa.select(import_.c.id, import_.c.posted, import_.c.confirmed, import_.c.contacts)
        .where(import_.c.confirmed.is_not(None))
        .order_by(import_.c.id)
    )
    imports = db.execute(confirmed).all()
    if imports:
        write(db, ((decode(store, row.contacts), row.posted, row.confirmed) for row in imports))
        numbers = [row.id for row in imports]
        db.execute(import_.delete().where(import_.c.id.in_(numbers)))
    sightings = sa.select(
        sighting.c.segment, sighting.c["pass"].label("sync_number"), sighting.c.people
    )
    seen = db.execute(sightings).all()
    if seen:
        # In the order of the table's key.
        rows = sorted(
            (row.segment, contact, row.sync_number)
            for row in seen
            for contact in _split(row.people)
        )
        _write_seen.execute(db, rows)
        db.execute(sighting.delete())


def _split(hashes: bytes) -> Iterator[bytes]:
    for start in range(0, len(hashes), HASH_BYTES):
        yield hashes[start : start + HASH_BYTES]


def decode(store: Store, blob: bytes) -> Contacts:
    """Return the contacts of a stored import.

    Raises:
        LedgerError: The ledger is damaged: they are not what was written.
    """
    try:
        return _decoder.decode(blob)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise store.damaged_error() from None
