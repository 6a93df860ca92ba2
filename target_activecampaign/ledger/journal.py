"""What is in flight: each import is written down before it is posted, with its id after.

A run that is killed leaves its imports behind. The next run asks ActiveCampaign about them
before it compares anything: a contact that has arrived is known by then, and one that has not
is simply sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import sqlalchemy as sa

from target_activecampaign.ledger.driver import Statement
from target_activecampaign.ledger.marks import PLAIN, Contacts, write, write_lost
from target_activecampaign.ledger.tables import import_ as table
from target_activecampaign.ledger.waiting import decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from target_activecampaign.ledger.marks import Mark
    from target_activecampaign.ledger.store import Store
    from target_activecampaign.ledger.waiting import Waiting

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
        with self._store.transaction() as db:
            result = _post.execute(db, [(self._run_id, self._clock(), _encoder.encode(some))])
            number = int(
                result.lastrowid if self._store.is_file else result.inserted_primary_key[0]  # type: ignore[index]
            )
        if self._waiting.allowed and PLAIN.issuperset(
            {mark.membership for _, marks in some for mark in marks}
        ):
            self._plain[number] = [person for person, _ in some]
        return number

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
        with self._store.transaction(account=self._account) as db:
            posted, everyone = self._taken(db, number)
            contacts = [one for one in everyone if one[0] not in failed]
            write(db, [(contacts, posted, self._clock())])
        return [person for person, _ in contacts]

    def people(self, number: int) -> set[bytes]:
        """Return the people of an import that is in flight."""
        with self._store.transaction() as db:
            blob = db.execute(sa.select(table.c.contacts).where(table.c.id == number)).scalar_one()
        return {person for person, _ in decoded(self._store, blob)}

    def lost(self, number: int) -> None:
        """Note that nobody knows what became of an import: its answer was lost."""
        self._plain.pop(number, None)
        self._waiting.write_if_any()
        with self._store.transaction(account=self._account) as db:
            posted, contacts = self._taken(db, number)
            write_lost(db, contacts, posted)

    def _taken(self, db: sa.Connection, number: int) -> tuple[float, Contacts]:
        mine = table.c.id == number
        posted, blob = db.execute(sa.select(table.c.posted, table.c.contacts).where(mine)).one()
        contacts = decoded(self._store, blob)
        db.execute(table.delete().where(mine))
        return posted, contacts

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
