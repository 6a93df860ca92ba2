"""Who was delivered what, and who is on a list by our doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from target_activecampaign.ledger.member_updates import Mark, write
from target_activecampaign.ledger.schema import CURRENT, FOUND, GONE, LEFT, OPTED_OUT, OURS
from target_activecampaign.ledger.schema import member as table
from target_activecampaign.ledger.schema import segment as segment_table
from target_activecampaign.ledger.store import repeatable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from target_activecampaign.ledger.store import Store
    from target_activecampaign.ledger.write_buffer import Waiting

_CHUNK = 1000


class Known(NamedTuple):
    """What the ledger knows of a person in a segment.

    Attributes:
        digest: Of the contact that was last confirmed; None when nobody can tell.
        membership: One of the constants in `tables`.
        since: The membership came about at this time or later, by ActiveCampaign's clock.
        at: Confirmed at this time.
        asked: When re-subscribing was asked for, of someone who has left.
        has_address: Whether the address is kept.
        raw: The digest of the one record that the contact was made of.
    """

    digest: bytes | None
    membership: int
    since: int
    at: int
    asked: int | None
    has_address: bool
    raw: bytes | None = None


Row = tuple[Any, ...]
"""A person, the segment's number, and what `Known` has."""


def known(rows: Iterable[Row]) -> dict[int, Known]:
    """What rows tell of a person, by segment."""
    return {row[1]: Known(*row[2:]) for row in rows}


class Missing(NamedTuple):
    """A person whom a pass did not have.

    Attributes:
        person: The hash.
        address: The address.
        membership: One of the constants in `tables`.
        since: As in `Known`.
        at: As in `Known`.
        ours: Whether a segment of the same list proves that we put them there.
    """

    person: bytes
    address: str
    membership: int
    since: int
    at: int
    ours: bool


class Members:
    """The people of an account's segments."""

    def __init__(self, store: Store, account: int, waiting: Waiting) -> None:
        self._store = store
        self._account = account
        self._waiting = waiting

    def known(
        self, segments: Collection[int], people: Collection[bytes]
    ) -> dict[bytes, dict[int, Known]]:
        """What is known of people, by person and segment."""
        rows = self.rows(segments, people)
        return {person: known(some) for person, some in rows.items()}

    @repeatable
    def rows(self, segments: Collection[int], people: Collection[bytes]) -> dict[bytes, list[Row]]:
        """What is known of people as the database has it, by person."""
        found: dict[bytes, list[Row]] = {}
        if segments and people:
            self._waiting.flush_if_contains(people)
            with self._store.transaction() as db:
                rows = _rows(db, list(segments), list(people))
            for row in rows:
                found.setdefault(row[0], []).append(row)
        return found

    def note(
        self,
        segment: int,
        seen: int | None,
        *,
        unchanged: Collection[bytes],
        outdated: Collection[bytes],
        addresses: Iterable[tuple[bytes, str]] = (),
        raws: Iterable[tuple[bytes, bytes]] = (),
        changed: int = 0,
    ) -> None:
        """Note what the stream has of people who are known.

        Args:
            segment: Where.
            seen: The pass, where it matters who was seen in it.
            unchanged: People who are as they were delivered.
            outdated: People of whom something else is on its way: what was delivered counts
                no more, whatever becomes of it.
            addresses: Addresses that are missing.
            raws: Digests of records that people's unchanged contacts have come of.
            changed: How many of the outdated have changed, to be counted until a mirror's pass
                is complete.
        """
        mine = table.c.segment == segment
        sighting: dict[str, Any] = {} if seen is None else {"seen": seen}
        if seen is not None and unchanged and self._waiting.allowed:
            self._waiting.seen(segment, seen, unchanged)
            unchanged = ()
        raws = list(raws)
        lacking = [{"p": person, "a": address} for person, address in addresses]
        if not (outdated or raws or lacking or (unchanged and sighting)):
            return
        counted: list[int] = []  # what it comes to in the end, however often it is written

        def write_note() -> None:
            with self._store.transaction(account=self._account) as db:
                if changed and sighting:
                    one_segment = segment_table.c.id == segment
                    if not counted:
                        before = sa.select(segment_table.c.changed).where(one_segment)
                        counted.append(int(db.execute(before).scalar_one()) + changed)
                    db.execute(segment_table.update().where(one_segment).values(changed=counted[0]))
                if outdated:
                    change = table.update().where(mine, table.c.person.in_(outdated))
                    db.execute(change.values(digest=None, **sighting))
                if unchanged and sighting:
                    change = table.update().where(mine, table.c.person.in_(unchanged))
                    db.execute(change.values(**sighting))
                if raws:
                    one = table.update().where(mine, table.c.person == sa.bindparam("p"))
                    values = [{"p": person, "r": raw} for person, raw in raws]
                    db.execute(one.values(raw=sa.bindparam("r")), values)
                if lacking:
                    one = table.update().where(mine, table.c.person == sa.bindparam("p"))
                    db.execute(one.values(address=sa.bindparam("a")), lacking)

        self._store.repeat(write_note)

    @repeatable
    def deleted(self, segment: int, people: Collection[bytes], seen: int | None) -> None:
        """Note that people's records were marked as deleted: what was delivered counts no more.

        Args:
            segment: Where.
            people: The people.
            seen: The pass that no longer has them, where it matters who was seen in it.
        """
        self._waiting.flush_if_contains(people)
        theirs = sa.and_(table.c.segment == segment, table.c.person.in_(people))
        delivered = table.c.digest.is_not(None)
        with self._store.transaction() as db:
            known = sa.select(table.c.person).where(theirs, sa.or_(delivered, table.c.seen == seen))
            if db.execute(known.limit(1)).first() is None:
                return  # mostly: a source keeps deleted rows for long
        if seen is not None:
            # Only who was delivered can be among those who wait to be noted as seen.
            self._waiting.write_if_any()
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(theirs, delivered).values(digest=None))
            if seen is not None:
                # As if the pass before had seen them last: until this one is complete, they stay.
                now = table.update().where(theirs, table.c.seen == seen)
                db.execute(now.values(seen=seen - 1))

    @repeatable
    def outdate(self, segments: Collection[int], people: Collection[bytes]) -> None:
        """Note that people are about to leave: what was delivered of them counts no more."""
        self._waiting.write()
        with self._store.transaction(account=self._account) as db:
            theirs = sa.and_(table.c.segment.in_(segments), table.c.person.in_(people))
            db.execute(table.update().where(theirs).values(digest=None))

    # A mirror's questions

    @repeatable
    def any_current(self, segment: int) -> bool:
        """Whether anybody is in a segment as far as is known."""
        self._waiting.write()
        with self._store.transaction() as db:
            mine = sa.and_(table.c.segment == segment, table.c.membership.in_(CURRENT))
            return db.execute(sa.select(table.c.person).where(mine).limit(1)).first() is not None

    @repeatable
    def sighted(self, segment: int, seen: int) -> int:
        """How many people a pass has had."""
        self._waiting.write()
        with self._store.transaction() as db:
            mine = sa.and_(table.c.segment == segment, table.c.seen == seen)
            count = sa.select(sa.func.count()).select_from(table).where(mine)
            return int(db.execute(count).scalar_one())

    def missing(self, segment: int, seen: int, siblings: Sequence[int]) -> Iterator[list[Missing]]:
        """The people whom a pass did not have and no sibling holds, some hundreds at a time.

        A sibling holds whom it delivers, and if it is a mirror, whom its latest pass had. Those
        are among them who have left, but of whom it is not sure that they are off the list.

        Args:
            segment: Whose.
            seen: The pass.
            siblings: The segments that give the same: their people stay.
        """
        self._waiting.write()
        after = b""
        other = table.alias()
        theirs = sa.and_(
            other.c.segment.in_(siblings),
            other.c.person == table.c.person,
            other.c.membership.in_(CURRENT),
        )
        holds = (
            sa.exists()
            .where(
                theirs,
                segment_table.c.id == other.c.segment,
                sa.or_(
                    sa.not_(segment_table.c.mirror),
                    other.c.seen >= segment_table.c.complete_pass,
                ),
            )
            .correlate(table)
        )
        owned = sa.exists().where(theirs, other.c.membership == OURS).correlate(table)
        columns = (table.c.person, table.c.address, table.c.membership, table.c.since, table.c.at)
        while True:
            question = (
                sa.select(*columns, owned.label("owns"))
                .where(
                    table.c.segment == segment,
                    table.c.person > after,
                    table.c.seen != seen,
                    table.c.address.is_not(None),
                    sa.or_(
                        table.c.membership.in_(CURRENT),
                        sa.and_(table.c.membership == LEFT, table.c.asked.is_not(None)),
                    ),
                    sa.not_(holds),
                )
                .order_by(table.c.person)
                .limit(_CHUNK)
            )
            rows = self._store.repeat(lambda question=question: self._all(question))  # type: ignore[misc]
            if not rows:
                return
            yield [
                Missing(
                    row.person,
                    row.address,
                    row.membership,
                    row.since,
                    row.at,
                    bool(row.owns or row.membership in (OURS, LEFT)),
                )
                for row in rows
            ]
            after = rows[-1].person

    def _all(self, question: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._store.transaction() as db:
            return db.execute(question).all()

    @repeatable
    def opted_out(self, segments: Sequence[int], people: Collection[bytes]) -> int:
        """Note that people are off the list by their own doing; returns how many were known.

        Not of those whom we have taken off since: another stream's run may have done that.
        """
        self._waiting.write()
        other = table.alias()
        by_us = (
            sa.exists()
            .where(
                other.c.segment.in_(segments),
                other.c.person == table.c.person,
                other.c.membership == LEFT,
                other.c.at >= table.c.at,
            )
            .correlate(table)
        )
        # Where people leave by a field or a tag, it doesn't matter whether they are on the list.
        by_list = sa.select(segment_table.c.id).where(
            segment_table.c.id.in_(segments), segment_table.c.mark.is_(None)
        )
        with self._store.transaction(account=self._account) as db:
            change = table.update().where(
                table.c.segment.in_(by_list),
                table.c.person.in_(people),
                table.c.membership.in_(CURRENT),
                sa.not_(by_us),
            )
            # If they are in the stream, they are sent, refused, and listed as such.
            out = {"membership": OPTED_OUT, "digest": None, "address": None}
            return int(db.execute(change.values(out)).rowcount)

    def left(self, people: Iterable[tuple[bytes, Sequence[Mark]]], at: float) -> None:
        """Note that people have left, where no import was needed for it."""
        self._waiting.write_if_any()
        some = list(people)
        self._store.repeat(lambda: self._left(some, at))

    def _left(self, people: list[tuple[bytes, Sequence[Mark]]], at: float) -> None:
        with self._store.transaction(account=self._account) as db:
            write(db, [(people, at, at)])

    @repeatable
    def confirm_removed(self, segments: Sequence[int], people: Collection[bytes]) -> None:
        """Note that people who have left are off the list indeed."""
        self._waiting.write()
        with self._store.transaction(account=self._account) as db:
            change = table.update().where(
                table.c.segment.in_(segments),
                table.c.person.in_(people),
                table.c.membership == LEFT,
            )
            db.execute(change.values(asked=None, address=None))

    @repeatable
    def mark_not_managed(self, segment: int, people: Collection[bytes]) -> None:
        """Note that people are no longer in a stream and stay on the list: they are not ours."""
        self._waiting.write_if_any()
        with self._store.transaction(account=self._account) as db:
            change = table.update().where(
                table.c.segment == segment,
                table.c.person.in_(people),
                table.c.membership.in_(CURRENT),
            )
            db.execute(change.values(membership=GONE, digest=None, address=None))

    def mark_resubscribe_requested(
        self, segment: int, person: bytes, now: int, address: str
    ) -> None:
        """Note that re-subscribing someone is about to be asked for."""
        self._change(segment, person, asked=now, address=address)

    def held_back(self, segment: int, person: bytes) -> None:
        """Note that someone who has left is not to be brought back."""
        self._change(segment, person, membership=OPTED_OUT, address=None)

    def found(self, segment: int, person: bytes, *, ours: bool) -> None:
        """Note what someone turned out to be of whom it was not known who put them on the list."""
        self._change(segment, person, membership=OURS if ours else FOUND)

    @repeatable
    def _change(self, segment: int, person: bytes, /, **values: Any) -> None:
        self._waiting.write_if_any()
        with self._store.transaction(account=self._account) as db:
            mine = sa.and_(table.c.segment == segment, table.c.person == person)
            db.execute(table.update().where(mine).values(**values))


_COLUMNS = "person, segment, digest, membership, since, at, asked, address IS NOT NULL, raw"


def _rows(db: sa.Connection, segments: list[int], people: list[bytes]) -> list[Row]:
    """Rows, as the driver gives them.

    It is asked for every record. On SQLite, to have SQLAlchemy look at each hash and at each row
    takes longer than the question itself.
    """
    if db.dialect.name == "sqlite":
        some, all_ = (", ".join("?" * len(values)) for values in (segments, people))
        query = f"SELECT {_COLUMNS} FROM member WHERE segment IN ({some}) AND person IN ({all_})"  # noqa: S608 - only question marks
        result = db.exec_driver_sql(query, (*segments, *people))
    else:
        result = db.execute(
            sa.select(sa.text(_COLUMNS))
            .select_from(table)
            .where(table.c.segment.in_(segments), table.c.person.in_(people))
        )
    rows: list[Row] = list(result.cursor.fetchall()) if result.cursor is not None else []
    result.close()
    return rows
