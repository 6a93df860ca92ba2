"""Who was delivered what, and who is on a list by our doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from target_activecampaign.ledger.tables import (
    CURRENT,
    FOUND,
    GONE,
    LEFT,
    MAYBE,
    OPTED_OUT,
    OURS,
    UNKNOWN,
)
from target_activecampaign.ledger.tables import member as table
from target_activecampaign.ledger.tables import segment as segment_table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from target_activecampaign.ledger.store import Store

_CHUNK = 1000
_LONGEST_IMPORT_SECONDS = 600
"""A membership that began or ended later after its import was posted is not taken for our doing:
of a run that was cut off, the import may be asked about days later."""


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


class Mark(NamedTuple):
    """What is written of a contact in a segment once ActiveCampaign has confirmed it.

    Attributes:
        segment: The segment's number.
        digest: Of the contact; None for someone who leaves.
        membership: One of the constants in `tables`; None leaves it as it is.
        seen: The stream's pass.
        address: The address, where a mirror needs it.
        raw: The digest of the one record that the contact was made of.
    """

    segment: int
    digest: bytes | None
    membership: int | None
    seen: int = 0
    address: str | None = None
    raw: bytes | None = None


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

    def __init__(self, store: Store, account: int) -> None:
        self._store = store
        self._account = account

    def known(
        self, segments: Collection[int], people: Collection[bytes]
    ) -> dict[bytes, dict[int, Known]]:
        """What is known of people, by person and segment."""
        found: dict[bytes, dict[int, Known]] = {}
        if not (segments and people):
            return found
        with self._store.transaction() as db:
            rows = _known(db, list(segments), list(people))
        for person, segment, *values in rows:
            found.setdefault(person, {})[segment] = Known(*values)
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
        raws = list(raws)
        if not (outdated or raws or (unchanged and sighting)):
            return
        with self._store.transaction(account=self._account) as db:
            if changed and sighting:
                count = segment_table.update().where(segment_table.c.id == segment)
                db.execute(count.values(changed=segment_table.c.changed + changed))
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
            lacking = [{"p": person, "a": address} for person, address in addresses]
            if lacking:
                one = table.update().where(mine, table.c.person == sa.bindparam("p"))
                db.execute(one.values(address=sa.bindparam("a")), lacking)

    def outdate(self, segments: Collection[int], people: Collection[bytes]) -> None:
        """Note that people are about to leave: what was delivered of them counts no more."""
        with self._store.transaction(account=self._account) as db:
            theirs = sa.and_(table.c.segment.in_(segments), table.c.person.in_(people))
            db.execute(table.update().where(theirs).values(digest=None))

    # A mirror's questions

    def any_current(self, segment: int) -> bool:
        """Whether anybody is in a segment as far as is known."""
        with self._store.transaction() as db:
            mine = sa.and_(table.c.segment == segment, table.c.membership.in_(CURRENT))
            return db.execute(sa.select(table.c.person).where(mine).limit(1)).first() is not None

    def sighted(self, segment: int, seen: int) -> int:
        """How many people a pass has had."""
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
            with self._store.transaction() as db:
                rows = db.execute(
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
                ).all()
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

    def opted_out(self, segments: Sequence[int], people: Collection[bytes]) -> int:
        """Note that people are off the list by their own doing; returns how many were known.

        Not of those whom we have taken off since: another stream's run may have done that.
        """
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
        with self._store.transaction(account=self._account) as db:
            write(db, people, at, at)

    def surely_left(self, segments: Sequence[int], people: Collection[bytes]) -> None:
        """Note that people who have left are off the list indeed."""
        with self._store.transaction(account=self._account) as db:
            change = table.update().where(
                table.c.segment.in_(segments),
                table.c.person.in_(people),
                table.c.membership == LEFT,
            )
            db.execute(change.values(asked=None, address=None))

    def let_stay(self, segment: int, people: Collection[bytes]) -> None:
        """Note that people are no longer in a stream and stay on the list: they are not ours."""
        with self._store.transaction(account=self._account) as db:
            change = table.update().where(
                table.c.segment == segment,
                table.c.person.in_(people),
                table.c.membership.in_(CURRENT),
            )
            db.execute(change.values(membership=GONE, digest=None, address=None))

    def asked_to_return(self, segment: int, person: bytes, now: int, address: str) -> None:
        """Note that re-subscribing someone is about to be asked for."""
        self._change(segment, person, asked=now, address=address)

    def held_back(self, segment: int, person: bytes) -> None:
        """Note that someone who has left is not to be brought back."""
        self._change(segment, person, membership=OPTED_OUT, address=None)

    def found(self, segment: int, person: bytes, *, ours: bool) -> None:
        """Note what someone turned out to be of whom it was not known who put them on the list."""
        self._change(segment, person, membership=OURS if ours else FOUND)

    def _change(self, segment: int, person: bytes, **values: Any) -> None:
        with self._store.transaction(account=self._account) as db:
            mine = sa.and_(table.c.segment == segment, table.c.person == person)
            db.execute(table.update().where(mine).values(**values))


_KNOWN = "person, segment, digest, membership, since, at, asked, address IS NOT NULL, raw"


def _known(db: sa.Connection, segments: list[int], people: list[bytes]) -> list[Any]:
    """Rows of `_KNOWN`, as the driver gives them.

    It is asked for every record. On SQLite, to have SQLAlchemy look at each hash and at each row
    takes longer than the question itself.
    """
    if db.dialect.name == "sqlite":
        some, all_ = (", ".join("?" * len(values)) for values in (segments, people))
        query = f"SELECT {_KNOWN} FROM member WHERE segment IN ({some}) AND person IN ({all_})"  # noqa: S608 - only question marks
        result = db.exec_driver_sql(query, (*segments, *people))
    else:
        result = db.execute(
            sa.select(sa.text(_KNOWN))
            .select_from(table)
            .where(table.c.segment.in_(segments), table.c.person.in_(people))
        )
    rows: list[Any] = list(result.cursor.fetchall()) if result.cursor is not None else []
    result.close()
    return rows


def write(
    db: sa.Connection,
    contacts: Iterable[tuple[bytes, Sequence[Mark]]],
    posted: float,
    confirmed: float,
) -> None:
    """Write what was confirmed of contacts, inside a transaction."""
    leaving: list[dict[str, Any]] = []
    staying: list[dict[str, Any]] = []
    keeping: list[dict[str, Any]] = []
    for person, marks in contacts:
        for mark in marks:
            row = {
                **mark._asdict(),
                "person": person,
                "since": int(posted),
                "at": int(confirmed),
            }
            if mark.membership in (LEFT, GONE):
                row["at"] = int(min(confirmed, posted + _LONGEST_IMPORT_SECONDS))
                leaving.append({f"_{name}": value for name, value in row.items()})
            elif mark.membership is None:
                keeping.append({**row, "membership": UNKNOWN})
            else:
                staying.append(row)
    _put(db, staying, keep_membership=False)
    _put(db, keeping, keep_membership=True)
    if leaving:
        change = table.update().where(
            table.c.segment == sa.bindparam("_segment"), table.c.person == sa.bindparam("_person")
        )
        db.execute(
            change.values(
                digest=None,
                membership=sa.bindparam("_membership"),
                since=sa.bindparam("_since"),
                at=sa.bindparam("_at"),
                asked=None,
                address=None,
            ),
            leaving,
        )


def _put(db: sa.Connection, rows: list[dict[str, Any]], *, keep_membership: bool) -> None:
    if not rows:
        return
    upsert: Any = _upsert(db, keep_membership=keep_membership)
    if db.dialect.name != "sqlite":
        db.execute(upsert, rows)
        return
    # As for questions: SQLAlchemy writes the statement, and need not look at each value.
    compiled: Any = upsert.compile(db, column_keys=list(rows[0]))
    order, constants = compiled.positiontup, compiled.params
    values = [tuple(row[n] if n in row else constants[n] for n in order) for row in rows]
    db.exec_driver_sql(str(compiled), values)


def _upsert(db: sa.Connection, *, keep_membership: bool) -> sa.Executable:
    dialect: Any = sqlite if db.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(table)
    new = insert.excluded
    # How a membership ended stays known until it is certain what came after.
    ended = table.c.membership == LEFT if keep_membership else sa.false()
    changes: dict[str, Any] = {
        "digest": new.digest,
        "raw": new.raw,
        "at": sa.case((ended, table.c.at), else_=new.at),
        "seen": new.seen,
        "asked": sa.case((ended, table.c.asked), else_=sa.null()),
        "address": sa.func.coalesce(new.address, table.c.address),
    }
    if not keep_membership:
        same = table.c.membership == new.membership
        changes["membership"] = new.membership
        changes["since"] = sa.case((same, table.c.since), else_=new.since)
    upsert: sa.Executable = insert.on_conflict_do_update(
        index_elements=[table.c.segment, table.c.person], set_=changes
    )
    return upsert


def write_lost(
    db: sa.Connection, contacts: Iterable[tuple[bytes, Sequence[Mark]]], posted: float
) -> None:
    """Write what may have become of contacts whose import was posted and not answered."""
    until = int(posted + _LONGEST_IMPORT_SECONDS)
    span = {"since": int(posted), "at": until}
    added: list[dict[str, Any]] = []
    for person, marks in contacts:
        for mark in marks:
            if mark.membership == OURS:
                row = {**mark._asdict(), "person": person, **span}
                added.append({**row, "membership": MAYBE, "digest": None})
            elif mark.membership == LEFT:
                change = table.update().where(
                    table.c.segment == mark.segment,
                    table.c.person == person,
                    table.c.membership.in_(CURRENT),
                )
                gone = {"membership": LEFT, "asked": int(posted), "digest": None}
                db.execute(change.values(**gone, **span))
    if added:
        dialect: Any = sqlite if db.dialect.name == "sqlite" else postgresql
        insert = dialect.insert(table)
        new = insert.excluded
        changes = {name: new[name] for name in ("membership", "digest", "since", "at", "address")}
        upsert: sa.Executable = insert.on_conflict_do_update(
            index_elements=[table.c.segment, table.c.person],
            set_=changes,
            where=table.c.membership == GONE,
        )
        db.execute(upsert, added)
