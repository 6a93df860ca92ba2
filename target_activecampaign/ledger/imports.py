"""What is in flight: each import is written down before it is posted, with its id after.

A run that is killed leaves its imports behind. The next run asks ActiveCampaign about them
before it compares anything: a contact that has arrived is known by then, and one that has not
is simply sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import sqlalchemy as sa

from target_activecampaign.ledger.member_updates import PLAIN, Contacts, write, write_lost
from target_activecampaign.ledger.schema import import_ as table
from target_activecampaign.ledger.statements import Statement
from target_activecampaign.ledger.store import repeatable
from target_activecampaign.ledger.write_buffer import decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from target_activecampaign.ledger.member_updates import Mark
    from target_activecampaign.ledger.store import Store
    from target_activecampaign.ledger.write_buffer import Waiting

_encoder = msgspec.msgpack.Encoder()
_post = Statement(table.insert(), ("run", "posted", "contacts"))
_accept = Statement(
    table.update()
    .where(table.c.id == sa.bindparam("number"))
    .values(batch_id=sa.bindparam("name")),
    ("name", "number"),
)


class Leftover(NamedTuple):
    """An import that a run left in flight.

    Attributes:
        id: Its number in the ledger.
        batch_id: ActiveCampaign's id for it; None if the run did not live to learn it.
    """

    id: int
    batch_id: str | None


class Journal:
    """A run's imports in flight.

    Args:
        store: The ledger's database.
        account: The account's number.
        run_id: The run.
        clock: ActiveCampaign's clock.
        waiting: Who waits to be written.
    """

    def __init__(
        self,
        store: Store,
        account: int,
        run_id: str,
        clock: Callable[[], float],
        waiting: Waiting,
    ) -> None:
        self._waiting = waiting
        # The people of imports whose marks are all `PLAIN`, by number.
        self._plain: dict[int, list[bytes]] = {}
        self._store = store
        self._account = account
        self._run_id = run_id
        self._clock = clock

    @repeatable
    def leftovers(self) -> list[Leftover]:
        """The imports that dead runs left in flight; to be asked for before the first post."""
        with self._store.transaction() as db:
            rows = db.execute(
                sa.select(table.c.id, table.c.batch_id)
                .where(table.c.run == self._run_id)
                .order_by(table.c.id)
            )
            return [Leftover(row.id, row.batch_id) for row in rows]

    def posting(self, contacts: Iterable[tuple[bytes, Sequence[Mark]]]) -> int:
        """Write down contacts that are about to be posted; returns the import's number."""
        some = list(contacts)
        row = (self._run_id, self._clock(), _encoder.encode(some))
        sent: list[bool] = []
        number = self._store.repeat(lambda: self._enter(row, sent))
        if self._waiting.allowed and PLAIN.issuperset(
            {mark.membership for _, marks in some for mark in marks}
        ):
            self._plain[number] = [person for person, _ in some]
        return number

    def _enter(self, row: tuple[str, float, bytes], sent: list[bool]) -> int:
        """Write an import down, unless that was done and only the answer was lost."""
        with self._store.transaction() as db:
            if sent:
                run, posted, contacts = row
                there = sa.select(table.c.id).where(
                    table.c.run == run, table.c.posted == posted, table.c.contacts == contacts
                )
                number = db.execute(there).scalar()
                if number is not None:
                    return int(number)
            sent.append(True)
            result = _post.execute(db, [row])
            return int(
                result.lastrowid if self._store.is_file else result.inserted_primary_key[0]  # type: ignore[index]
            )

    @repeatable
    def accepted(self, number: int, batch_id: str | None) -> None:
        """Note ActiveCampaign's id for an import; None takes back one that can't be trusted.

        An import without an id is one of which nobody can tell what became: should the run be
        cut off, its contacts are sent again.
        """
        with self._store.transaction() as db:
            _accept.execute(db, [(batch_id, number)])

    def imported(self, number: int, failed: set[bytes]) -> list[bytes]:
        """Note that an import is done: all its contacts have arrived, but for some people.

        Returns:
            The people who have arrived.
        """
        people = self._plain.pop(number, None)
        if people is not None and not failed:
            self._waiting.imported(number, people, self._clock())
            return people
        self._waiting.write_if_any()
        found: list[tuple[float, Contacts]] = []
        self._store.repeat(lambda: self._write_imported(number, failed, found))
        return [person for person, _ in found[0][1] if person not in failed]

    def _write_imported(
        self, number: int, failed: set[bytes], found: list[tuple[float, Contacts]]
    ) -> None:
        with self._store.transaction(account=self._account) as db:
            if self._take(db, number, found):
                posted, everyone = found[0]
                contacts = [one for one in everyone if one[0] not in failed]
                write(db, [(contacts, posted, self._clock())])

    @repeatable
    def people(self, number: int) -> set[bytes]:
        """Return the people of an import that is in flight."""
        with self._store.transaction() as db:
            blob = db.execute(sa.select(table.c.contacts).where(table.c.id == number)).scalar_one()
        return {person for person, _ in decoded(self._store, blob)}

    def lost(self, number: int) -> None:
        """Note that nobody knows what became of an import: its answer was lost."""
        self._plain.pop(number, None)
        self._waiting.write_if_any()
        found: list[tuple[float, Contacts]] = []
        self._store.repeat(lambda: self._write_lost(number, found))

    def _write_lost(self, number: int, found: list[tuple[float, Contacts]]) -> None:
        with self._store.transaction(account=self._account) as db:
            if self._take(db, number, found):
                posted, contacts = found[0]
                write_lost(db, contacts, posted)

    def _take(self, db: sa.Connection, number: int, found: list[tuple[float, Contacts]]) -> bool:
        """Take an import out of the table; False if an earlier attempt has done so.

        Args:
            db: The transaction.
            number: The import's number.
            found: When it was posted, and its contacts: what the first attempt has found.
        """
        mine = table.c.id == number
        result = db.execute(sa.select(table.c.posted, table.c.contacts).where(mine))
        row = result.first() if found else result.one()
        if row is None:
            return False  # that was committed, and only the answer to it was lost
        found[:] = [(row.posted, decoded(self._store, row.contacts))]
        db.execute(table.delete().where(mine))
        return True

    @repeatable
    def dropped(self, number: int) -> None:
        """Forget an import of which nothing came."""
        self._plain.pop(number, None)
        with self._store.transaction() as db:
            db.execute(table.delete().where(table.c.id == number))


def strip(
    store: Store,
    db: sa.Connection,
    runs: Collection[str],
    *,
    people: Collection[bytes] = (),
    segments: Collection[int] = (),
) -> int:
    """Take people or segments out of the imports that runs left in flight, in a transaction.

    An import of which nothing is left stays, to be asked about: it just tells nothing more.

    Args:
        store: The ledger's database.
        db: The transaction.
        runs: The runs; none of them may go on.
        people: Who is taken out.
        segments: What is taken out.

    Returns:
        How many contacts are no longer in them.
    """
    lost = 0
    rows = db.execute(sa.select(table.c.id, table.c.contacts).where(table.c.run.in_(runs)))
    for number, blob in rows.all():
        before = decoded(store, blob)
        kept = [
            (who, [mark for mark in marks if mark.segment not in segments])
            for who, marks in before
            if who not in people
        ]
        after = [(who, marks) for who, marks in kept if marks]
        if after != before:
            change = table.update().where(table.c.id == number)
            db.execute(change.values(contacts=_encoder.encode(after)))
            lost += len(before) - len(after)
    return lost
