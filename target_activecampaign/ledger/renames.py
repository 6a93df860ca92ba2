"""The plan of contacts that get another e-mail address, and their new places in the ledger.

A plan is stored as a whole before the first request. A contact leaves it together with its rows in
the ledger, so a plan that was interrupted can be carried on.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import sqlalchemy as sa

from target_activecampaign.ledger import schema as tables
from target_activecampaign.ledger.schema import rename as table
from target_activecampaign.ledger.schema import source_row, waiting, withheld
from target_activecampaign.ledger.store import retryable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from target_activecampaign.ledger.source_rows import SourceRows
    from target_activecampaign.ledger.store import Store
    from target_activecampaign.ledger.write_buffer import WriteBuffer


class RenameState(IntEnum):
    """The state of a planned rename. The ledger stores the numbers."""

    PLANNED = 0
    """Not done yet."""
    HELD = 1
    """Another row has the contact and keeps it."""
    TAKEN = 2
    """Another contact has the new address."""
    REFUSED = 3
    """ActiveCampaign refused it."""
    MISSING = 4
    """ActiveCampaign has no contact with the old address."""
    SUPPRESSED = 5
    """The person is suppressed."""


class Rename(NamedTuple):
    """A contact that gets another address.

    Attributes:
        contact: The hash of its present address.
        new_contact: The hash of its new address.
        contact_id: ActiveCampaign's id; None if it is not known yet.
        address: Its present address; None if it is not known.
        new_address: Its new address.
        rows: The source rows that move with it, each as segment and key.
        home: For a contact at a temporary address: the hash of the one it had before.
        home_address: The address that it had before.
    """

    contact: bytes
    new_contact: bytes
    contact_id: int | None
    address: str | None
    new_address: str
    rows: list[tuple[int, bytes]]
    home: bytes | None = None
    home_address: str | None = None


class Mover(NamedTuple):
    """The latest waiting record of a row whose address has changed.

    Attributes:
        number: Its number among the waiting records.
        segment: The number of its segment.
        key: The hash of the row's key.
        contact: The hash of the address that the row had.
        new_contact: The hash of the address of the record.
        entry: The contact with its records, as the caller encodes them.
        current: The contact of the row in the ledger now: the new one, if it was renamed.
        contact_id: ActiveCampaign's id of the old contact; None if it is not known.
        address: The contact's present address; None if it is not known.
        state: The `RenameState` of the old contact; None if it was not to be renamed to this
            address, or was renamed.
    """

    number: int
    segment: int
    key: bytes
    contact: bytes
    new_contact: bytes
    entry: bytes
    current: bytes
    contact_id: int | None
    address: str | None
    state: int | None

    @property
    def is_aside(self) -> bool:
        """True if the contact was left at a temporary address."""
        return self.current not in (self.contact, self.new_contact)


_SAME_ROW = sa.and_(source_row.c.segment == waiting.c.segment, source_row.c.key == waiting.c.key)
"""Joins the waiting records of a row with the row."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[int, bytes]])


class Renames:
    """The planned renames of an account.

    Args:
        store: The ledger's database.
        account: The account's number.
        run_id: The run.
        write_buffer: The account's write buffer.
        source_rows: The account's source rows.
    """

    def __init__(
        self,
        store: Store,
        account: int,
        run_id: str,
        *,
        write_buffer: WriteBuffer,
        source_rows: SourceRows,
    ) -> None:
        self._store = store
        self._account = account
        self._run_id = run_id
        self._write_buffer = write_buffer
        self._source_rows = source_rows

    @property
    def _movers(self) -> sa.ColumnElement[bool]:
        """The condition for the latest waiting record of a row whose address has changed."""
        return sa.and_(
            waiting.c.run == self._run_id,
            waiting.c.last,
            waiting.c.person_from.is_not(None),
            waiting.c.person_from != waiting.c.person_to,
        )

    @property
    def _segments(self) -> sa.Select[tuple[int]]:
        """A query of the numbers of the account's segments."""
        segment = tables.segment
        return sa.select(segment.c.id).where(segment.c.account == self._account)

    @property
    def _planned(self) -> sa.ColumnElement[bool]:
        """The condition for renames of this run that are still to be done."""
        return sa.and_(table.c.run == self._run_id, table.c.state == RenameState.PLANNED)

    @retryable
    def count(self, segment: int) -> int:
        """Return the number of a segment's rows whose address has changed."""
        movers = sa.and_(self._movers, waiting.c.segment == segment)
        with self._store.transaction() as db:
            return int(db.execute(sa.select(sa.func.count()).where(movers)).scalar_one())

    @retryable
    def count_done(self, segment: int) -> int:
        """Return the number of contacts of a segment that have their new address."""
        query = (
            sa.select(sa.func.count(sa.distinct(waiting.c.person_to)))
            .join(source_row, _SAME_ROW)
            .where(
                self._movers,
                waiting.c.segment == segment,
                source_row.c.person == waiting.c.person_to,
            )
        )
        with self._store.transaction() as db:
            return int(db.execute(query).scalar_one())

    @retryable
    def end_missing_rows(self, segment: int, sync_number: int) -> None:
        """Store which rows are gone among those with the contacts of waiting records.

        A row that is missing from a complete sync no longer holds its contact.

        It reads all rows of the segment, as there is no index by contact.

        Args:
            segment: The segment.
            sync_number: The complete sync.
        """
        self._write_buffer.flush()
        last = sa.and_(waiting.c.run == self._run_id, waiting.c.segment == segment, waiting.c.last)
        claimed = sa.select(waiting.c.person_to).where(last)
        contacts = claimed.union(sa.select(waiting.c.person_from).where(last))
        waits = sa.exists().where(last, _SAME_ROW).correlate(source_row)
        member = tables.member
        # Rows that share a contact have a sync of their own. Else it is that of the contact.
        is_seen = (
            sa.exists()
            .where(
                member.c.segment == segment,
                member.c.person == source_row.c.person,
                member.c.seen >= sync_number,
            )
            .correlate(source_row)
        )
        missing = sa.or_(
            source_row.c.seen < sync_number, sa.and_(source_row.c.seen.is_(None), sa.not_(is_seen))
        )
        theirs = sa.and_(
            source_row.c.segment == segment,
            sa.not_(source_row.c.gone),
            source_row.c.person.in_(contacts),
            sa.not_(waits),
            missing,
        )
        with self._store.transaction(account=self._account) as db:
            db.execute(source_row.update().where(theirs).values(gone=True))

    @retryable
    def claimed(self, segment: int) -> list[bytes]:
        """Return the contacts of waiting records of new rows."""
        new = sa.and_(
            waiting.c.run == self._run_id,
            waiting.c.segment == segment,
            waiting.c.last,
            waiting.c.person_from.is_(None),
        )
        with self._store.transaction() as db:
            return list(db.execute(sa.select(waiting.c.person_to).where(new)).scalars())

    @retryable
    def movers(self, after: int, limit: int) -> list[Mover]:
        """Return the latest waiting records of rows whose address has changed.

        Args:
            after: Only those with a greater number.
            limit: The maximum number.
        """
        self._write_buffer.flush()  # it may have the addresses
        planned = sa.and_(
            table.c.run == self._run_id,
            table.c.person_from == source_row.c.person,
            table.c.person_to == waiting.c.person_to,
        )
        query = (
            sa.select(
                waiting.c.id,
                waiting.c.segment,
                waiting.c.key,
                waiting.c.person_from,
                waiting.c.person_to,
                waiting.c.entry,
                source_row.c.person,
                source_row.c.contact,
                _address(waiting.c.segment, source_row.c.person),
                table.c.state,
            )
            .join(source_row, _SAME_ROW)
            .outerjoin(table, planned)
            .where(self._movers, waiting.c.id > after)
            .order_by(waiting.c.id)
            .limit(limit)
        )
        with self._store.transaction() as db:
            return [Mover._make(row) for row in db.execute(query)]

    @retryable
    def plan(self, renames: Iterable[Rename]) -> None:
        """Add contacts to the plan. The first of several new addresses of a contact is taken.

        A contact that an earlier plan has left at a temporary address gets the new one instead.
        """
        with self._store.transaction(account=self._account) as db:
            for one in renames:
                mine = self._is(one.contact)
                planned = db.execute(sa.select(table).where(mine)).first()
                if planned is None:
                    db.execute(table.insert().values(self._values(one)))
                elif planned.state != RenameState.PLANNED:
                    db.execute(table.update().where(mine).values(self._values(one)))
                elif planned.person_to == one.new_contact:
                    rows = {*_decoder.decode(planned.rows), *one.rows}
                    values = {"rows": _encoder.encode(sorted(rows))}
                    db.execute(table.update().where(mine).values(values))

    def _values(self, one: Rename) -> dict[str, Any]:
        return {
            "account": self._account,
            "run": self._run_id,
            "person_from": one.contact,
            "person_to": one.new_contact,
            "contact": one.contact_id,
            "address_from": one.address,
            "address_to": one.new_address,
            "state": RenameState.PLANNED,
            "rows": _encoder.encode(one.rows),
        }

    @retryable
    def hold_shared(self) -> None:
        """Take out of the plan the contacts that other rows have, which keep their address."""
        mover = sa.exists().where(self._movers, _SAME_ROW).correlate(source_row)
        planned = sa.select(table.c.person_from).where(self._planned)
        with self._store.transaction(account=self._account) as db:
            held = self._source_rows.held_by_others(db, planned, mover)
            for contact in held:
                db.execute(self._of(contact).values(state=RenameState.HELD))

    @retryable
    def shared(self) -> set[bytes]:
        """Return the contacts that waiting records are about to share with another row."""
        last = sa.and_(waiting.c.run == self._run_id, waiting.c.last)
        waits = sa.exists().where(last, _SAME_ROW).correlate(source_row)
        together = (
            sa.select(waiting.c.person_to)
            .where(last)
            .group_by(waiting.c.segment, waiting.c.person_to)
            .having(sa.func.count() > 1)
        )
        with self._store.transaction() as db:
            contacts = sa.select(waiting.c.person_to).where(last)
            found = set(self._source_rows.held_by_others(db, contacts, waits))
            return found | set(db.execute(together).scalars())

    @retryable
    def in_doubt(self) -> set[bytes]:
        """Return the contacts of waiting records that belong to a row which may have moved."""
        last = sa.and_(waiting.c.run == self._run_id, waiting.c.last)
        with self._store.transaction() as db:
            return set(self._source_rows.in_doubt(db, sa.select(waiting.c.person_to).where(last)))

    @retryable
    def next(self, limit: int) -> list[Rename]:
        """Return planned renames whose new address no other planned contact has now."""
        other = table.alias()
        blocked = (
            sa.exists()
            .where(
                other.c.run == self._run_id,
                other.c.person_from == table.c.person_to,
                other.c.state == RenameState.PLANNED,
            )
            .correlate(table)
        )
        return self._select(sa.not_(blocked), limit)

    @retryable
    def any(self) -> Rename | None:
        """Return a planned rename; None if there is none."""
        return next(iter(self._select(sa.true(), 1)), None)

    def planned(self, after: bytes, limit: int) -> list[Rename]:
        """Return planned renames in the order of their contacts.

        Args:
            after: Only those of later contacts.
            limit: The maximum number.
        """
        return self._select(table.c.person_from > after, limit)

    @retryable
    def homes(self, contacts: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the contacts that have a temporary address, with the hash of their own."""
        aside = sa.and_(
            table.c.account == self._account,
            table.c.person_from.in_(list(contacts)),
            table.c.home.is_not(None),
        )
        with self._store.transaction() as db:
            rows = db.execute(sa.select(table.c.person_from, table.c.home).where(aside)).all()
        return {row.person_from: row.home for row in rows}

    def _select(self, condition: sa.ColumnElement[bool], limit: int) -> list[Rename]:
        query = (
            sa.select(
                table.c.person_from,
                table.c.person_to,
                table.c.contact,
                table.c.address_from,
                table.c.address_to,
                table.c.home,
                table.c.home_address,
                table.c.rows,
            )
            .where(self._planned, condition)
            .order_by(table.c.person_from)
            .limit(limit)
        )
        with self._store.transaction() as db:
            found = db.execute(query).all()
        return [Rename(*row[:5], _decoder.decode(row.rows), *row[5:7]) for row in found]

    @retryable
    def set_contact_id(self, contact: bytes, contact_id: int) -> None:
        """Store ActiveCampaign's id of a planned contact, before its address changes."""
        with self._store.transaction(account=self._account) as db:
            db.execute(self._of(contact).values(contact=contact_id))

    @retryable
    def set_state(self, contact: bytes, state: RenameState) -> None:
        """Store why a contact keeps its address."""
        with self._store.transaction(account=self._account) as db:
            db.execute(self._of(contact).values(state=state))

    @retryable
    def is_member(self, contact: bytes) -> bool:
        """Return whether a segment of the account has a contact."""
        member = tables.member
        theirs = sa.and_(member.c.segment.in_(self._segments), member.c.person == contact)
        with self._store.transaction() as db:
            return db.execute(sa.select(member.c.person).where(theirs).limit(1)).first() is not None

    @retryable
    def move_aside(self, one: Rename, placeholder: bytes, address: str) -> None:
        """Store that a contact of the plan has a temporary address, which makes room for another.

        Args:
            one: The planned rename.
            placeholder: The hash of the temporary address.
            address: The temporary address.
        """
        self._write_buffer.flush()
        with self._store.transaction(account=self._account) as db:
            self._move(db, one, placeholder, address, one.contact_id)
            # A contact may be moved aside again, if a run ended in between.
            values = {
                "person_from": placeholder,
                "address_from": address,
                "contact": one.contact_id,
                "home": one.home or one.contact,
                "home_address": one.home_address or one.address,
            }
            db.execute(table.update().where(self._is(one.contact)).values(values))

    @retryable
    def move_back(self, one: Rename, contact_id: int) -> None:
        """Store that a contact has the address back that it had before the temporary one."""
        if one.home is None or one.home_address is None:
            return
        self._write_buffer.flush()
        with self._store.transaction(account=self._account) as db:
            self._move(db, one, one.home, one.home_address, contact_id)
            values = {
                "person_from": one.home,
                "address_from": one.home_address,
                "home": None,
                "home_address": None,
            }
            db.execute(table.update().where(self._is(one.contact)).values(values))

    @retryable
    def revive(self) -> None:
        """Plan the contacts again that an earlier run has left at a temporary address."""
        aside = sa.and_(table.c.run == self._run_id, table.c.home.is_not(None))
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(aside).values(state=RenameState.PLANNED))

    @retryable
    def complete(self, one: Rename, contact_id: int) -> None:
        """Store that a contact has its new address: it takes its rows in the ledger along."""
        self._write_buffer.flush()
        with self._store.transaction(account=self._account) as db:
            self._move(db, one, one.new_contact, one.new_address, contact_id)
            db.execute(table.delete().where(self._is(one.contact)))

    @retryable
    def clear(self) -> None:
        """Delete what is left of the plan, but for contacts at a temporary address.

        The next run tries them again.
        """
        left = sa.and_(
            table.c.run == self._run_id,
            sa.or_(table.c.home.is_(None), table.c.state == RenameState.MISSING),
        )
        with self._store.transaction(account=self._account) as db:
            db.execute(table.delete().where(left))

    def _is(self, contact: bytes) -> sa.ColumnElement[bool]:
        return sa.and_(table.c.account == self._account, table.c.person_from == contact)

    def _of(self, contact: bytes) -> sa.Update:
        return table.update().where(self._is(contact))

    def _move(
        self, db: sa.Connection, one: Rename, new: bytes, address: str, contact_id: int | None
    ) -> None:
        """Move a contact's members of all segments, and the source rows that move with it."""
        member, existing, segments = tables.member, tables.existing, self._segments
        for known in (existing, tables.opt_out):
            _move_rows(db, known, known.c.account == self._account, one.contact, new)
        for moved in (member, tables.departure):
            _move_rows(db, moved, moved.c.segment.in_(segments), one.contact, new)
        _move_rows(db, withheld, withheld.c.segment.in_(segments), one.contact, new)
        theirs = sa.and_(member.c.segment.in_(segments), member.c.person == new)
        # What ActiveCampaign has is to be sent again, under the new address.
        address_now = sa.case((member.c.address.is_not(None), address))
        db.execute(member.update().where(theirs).values(digest=None, raw=None, address=address_now))
        for number, key in one.rows:
            row = sa.and_(source_row.c.segment == number, source_row.c.key == key)
            values = {"person": new, "contact": contact_id, "gone": False, "seen": None}
            if new == one.new_contact:
                values["may_have_moved"] = False
            db.execute(source_row.update().where(row).values(values))
            # The record that renames the contact is not withheld.
            own = sa.and_(withheld.c.segment == number, withheld.c.person == new)
            db.execute(withheld.delete().where(own))


def _move_rows(
    db: sa.Connection, moved: sa.Table, where: sa.ColumnElement[bool], old: bytes, new: bytes
) -> None:
    """Give the rows of a contact its new hash. Rows of an earlier contact with it make room."""
    has_old = db.execute(sa.select(moved.c.person).where(where, moved.c.person == old)).first()
    if has_old is None:
        return  # also if an earlier attempt was committed, and only its response was lost
    db.execute(moved.delete().where(where, moved.c.person == new))
    db.execute(moved.update().where(where, moved.c.person == old).values(person=new))


def _address(segment: Any, contact: Any) -> Any:
    """Return a subquery for the stored address of a contact."""
    member = tables.member
    return (
        sa.select(member.c.address)
        .where(member.c.segment == segment, member.c.person == contact)
        .scalar_subquery()
    )
