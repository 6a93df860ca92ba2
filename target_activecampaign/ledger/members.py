"""The members: contacts of a segment, with what was delivered and the ownership of membership.

Contacts are passed by their hashes (see `Ledger.contact_hash`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from target_activecampaign.ledger.member_updates import MemberUpdate, write
from target_activecampaign.ledger.schema import member as table
from target_activecampaign.ledger.schema import segment as segment_table
from target_activecampaign.ledger.store import retryable
from target_activecampaign.model.ownership import CURRENT, Ownership

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from target_activecampaign.ledger.store import Store
    from target_activecampaign.ledger.write_buffer import WriteBuffer

_CHUNK = 1000


class Member(NamedTuple):
    """A contact in a segment, as the ledger has it.

    Attributes:
        contact: The contact's hash.
        segment: The segment's number.
        digest: The digest of the contact as last confirmed; None if that is not known.
        ownership: An `Ownership`, as the number that is stored.
        since: The membership began (or ended) at this time or later, by ActiveCampaign's clock.
        at: It was confirmed at this time.
        asked: For `UNSUBSCRIBED_BY_US`: when re-subscribing was requested, or a removal lost.
        has_address: Whether the address is stored.
        record_hash: The hash of the one record behind the contact.
    """

    contact: bytes
    segment: int
    digest: bytes | None
    ownership: int
    since: int
    at: int
    asked: int | None
    has_address: bool
    record_hash: bytes | None


_COLUMNS = "person, segment, digest, membership, since, at, asked, address IS NOT NULL, raw"
"""The columns of a `Member`."""


_to_member: Callable[[tuple[Any, ...]], Member] = partial(tuple.__new__, Member)
"""`Member._make` without its check of the length: a member is read for every record."""


def by_segment(members: Iterable[Member]) -> dict[int, Member]:
    """Return one contact's members by segment."""
    return {member.segment: member for member in members}


class MissingMember(NamedTuple):
    """A member that a sync did not have.

    Attributes:
        contact: The contact's hash.
        address: The address.
        ownership: As in `Member`.
        since: As in `Member`.
        at: As in `Member`.
        added_by_us: Whether a segment of the same list proves that we added the contact.
    """

    contact: bytes
    address: str
    ownership: int
    since: int
    at: int
    added_by_us: bool


class Members:
    """The members of an account's segments."""

    def __init__(self, store: Store, account: int, write_buffer: WriteBuffer) -> None:
        self._store = store
        self._account = account
        self._write_buffer = write_buffer

    @retryable
    def find(
        self, segments: Collection[int], contacts: Collection[bytes]
    ) -> dict[bytes, list[Member]]:
        """Return the members among some contacts, by contact."""
        found: dict[bytes, list[Member]] = {}
        if segments and contacts:
            self._write_buffer.flush_if_contains(contacts)
            with self._store.transaction() as db:
                members = _select(db, list(segments), list(contacts))
            for member in members:
                found.setdefault(member.contact, []).append(member)
        return found

    def record_seen(
        self,
        segment: int,
        sync_number: int | None,
        *,
        unchanged: Collection[bytes],
        outdated: Collection[bytes],
        addresses: Iterable[tuple[bytes, str]] = (),
        record_hashes: Iterable[tuple[bytes, bytes]] = (),
        changed: int = 0,
    ) -> None:
        """Store which members the stream has, before any of them is sent or accounted for.

        Args:
            segment: The segment.
            sync_number: The sync that has them; None for a stream that is not mirrored.
            unchanged: Members that are as they were delivered.
            outdated: Members to be sent again: their digests are cleared, as nobody knows what
                ActiveCampaign has until that is confirmed.
            addresses: Addresses of members without one.
            record_hashes: Hashes of the records behind unchanged members.
            changed: The number of outdated members that have changed, for the guard.
        """
        of_segment = table.c.segment == segment
        seen: dict[str, Any] = {} if sync_number is None else {"seen": sync_number}
        if sync_number is not None and unchanged and self._write_buffer.enabled:
            self._write_buffer.add_seen(segment, sync_number, unchanged)
            unchanged = ()
        hashes = [{"p": contact, "r": record_hash} for contact, record_hash in record_hashes]
        missing = [{"p": contact, "a": address} for contact, address in addresses]
        if not (outdated or hashes or missing or (unchanged and seen)):
            return
        totals: list[int] = []  # set by the first attempt: a repeated one must not add again

        def write_seen() -> None:
            with self._store.transaction(account=self._account) as db:
                if changed and seen:
                    one_segment = segment_table.c.id == segment
                    if not totals:
                        before = sa.select(segment_table.c.changed).where(one_segment)
                        totals.append(int(db.execute(before).scalar_one()) + changed)
                    db.execute(segment_table.update().where(one_segment).values(changed=totals[0]))
                if outdated:
                    update = table.update().where(of_segment, table.c.person.in_(outdated))
                    db.execute(update.values(digest=None, **seen))
                if unchanged and seen:
                    update = table.update().where(of_segment, table.c.person.in_(unchanged))
                    db.execute(update.values(**seen))
                one_member = table.update().where(of_segment, table.c.person == sa.bindparam("p"))
                if hashes:
                    db.execute(one_member.values(raw=sa.bindparam("r")), hashes)
                if missing:
                    db.execute(one_member.values(address=sa.bindparam("a")), missing)

        self._store.retry(write_seen)

    @retryable
    def mark_deleted(
        self, segment: int, contacts: Collection[bytes], sync_number: int | None
    ) -> None:
        """Clear the digests of contacts whose records were marked as deleted.

        Args:
            segment: The segment.
            contacts: The contacts.
            sync_number: The sync that no longer has them; None for a stream that is not mirrored.
        """
        self._write_buffer.flush_if_contains(contacts)
        theirs = sa.and_(table.c.segment == segment, table.c.person.in_(contacts))
        delivered = table.c.digest.is_not(None)
        with self._store.transaction() as db:
            affected = sa.or_(delivered, table.c.seen == sync_number)
            if (
                db.execute(sa.select(table.c.person).where(theirs, affected).limit(1)).first()
                is None
            ):
                return  # mostly: a source keeps deleted rows for a long time
        if sync_number is not None:
            # Only after the check above: a contact that waits as seen has been delivered.
            self._write_buffer.flush_if_any()
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(theirs, delivered).values(digest=None))
            if sync_number is not None:
                # As if the sync before had seen them last: they stay until this one is complete.
                seen_now = table.update().where(theirs, table.c.seen == sync_number)
                db.execute(seen_now.values(seen=sync_number - 1))

    @retryable
    def clear_digests(self, segments: Collection[int], contacts: Collection[bytes]) -> None:
        """Clear what was delivered of contacts that are about to be removed."""
        self._write_buffer.flush()
        with self._store.transaction(account=self._account) as db:
            theirs = sa.and_(table.c.segment.in_(segments), table.c.person.in_(contacts))
            db.execute(table.update().where(theirs).values(digest=None))

    # Queries of a mirror

    @retryable
    def has_current(self, segment: int) -> bool:
        """Tell whether any contact is in a segment, as far as the ledger knows."""
        self._write_buffer.flush()
        with self._store.transaction() as db:
            current = sa.and_(table.c.segment == segment, table.c.membership.in_(CURRENT))
            return db.execute(sa.select(table.c.person).where(current).limit(1)).first() is not None

    @retryable
    def count_seen(self, segment: int, sync_number: int) -> int:
        """Return the number of contacts that a sync has had."""
        self._write_buffer.flush()
        with self._store.transaction() as db:
            seen = sa.and_(table.c.segment == segment, table.c.seen == sync_number)
            count = sa.select(sa.func.count()).select_from(table).where(seen)
            return int(db.execute(count).scalar_one())

    def missing(
        self, segment: int, sync_number: int, siblings: Sequence[int]
    ) -> Iterator[list[MissingMember]]:
        """Return the members that a sync did not have and no sibling has, some hundreds at a time.

        A sibling has the contacts that it delivers; a mirror, those of its latest complete sync.
        Members that we unsubscribed are included while it is uncertain that they are off the list.

        Args:
            segment: The segment.
            sync_number: The sync.
            siblings: The segments with the same list or mark.
        """
        self._write_buffer.flush()
        query = _missing_query(segment, sync_number, siblings)
        last = b""
        while True:
            chunk = query.where(table.c.person > last).order_by(table.c.person).limit(_CHUNK)
            rows = self._store.retry(lambda chunk=chunk: self._fetch(chunk))  # type: ignore[misc]
            if not rows:
                return
            yield list(map(MissingMember._make, rows))
            last = rows[-1].person

    def _fetch(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._store.transaction() as db:
            return db.execute(query).all()

    # Ends of memberships

    @retryable
    def record_opt_outs(self, segments: Sequence[int], contacts: Collection[bytes]) -> int:
        """Store that contacts unsubscribed without us; returns the number of members.

        Contacts that we have unsubscribed since, perhaps in another stream's run, are left out.
        """
        self._write_buffer.flush()
        other = table.alias()
        unsubscribed_by_us = (
            sa.exists()
            .where(
                other.c.segment.in_(segments),
                other.c.person == table.c.person,
                other.c.membership == Ownership.UNSUBSCRIBED_BY_US,
                other.c.at >= table.c.at,
            )
            .correlate(table)
        )
        # Where a field or a tag marks the members, the list is of no matter.
        by_list = sa.select(segment_table.c.id).where(
            segment_table.c.id.in_(segments), segment_table.c.mark.is_(None)
        )
        with self._store.transaction(account=self._account) as db:
            update = table.update().where(
                table.c.segment.in_(by_list),
                table.c.person.in_(contacts),
                table.c.membership.in_(CURRENT),
                sa.not_(unsubscribed_by_us),
            )
            # Without a digest: if the stream has them, they are sent and rejected as opted out.
            values = {"membership": Ownership.OPTED_OUT, "digest": None, "address": None}
            return int(db.execute(update.values(values)).rowcount)

    def mark_removed(
        self, contacts: Iterable[tuple[bytes, Sequence[MemberUpdate]]], at: float
    ) -> None:
        """Store that contacts are removed, where no import was needed for it."""
        self._write_buffer.flush_if_any()
        removed = list(contacts)

        def write_removed() -> None:
            with self._store.transaction(account=self._account) as db:
                write(db, [(removed, at, at)])

        self._store.retry(write_removed)

    @retryable
    def confirm_removed(self, segments: Sequence[int], contacts: Collection[bytes]) -> None:
        """Store that contacts that we unsubscribed are off the list for certain."""
        self._write_buffer.flush()
        with self._store.transaction(account=self._account) as db:
            update = table.update().where(
                table.c.segment.in_(segments),
                table.c.person.in_(contacts),
                table.c.membership == Ownership.UNSUBSCRIBED_BY_US,
            )
            db.execute(update.values(asked=None, address=None))

    @retryable
    def mark_not_managed(self, segment: int, contacts: Collection[bytes]) -> None:
        """Store that contacts left the stream and stay on the list, as we did not add them."""
        self._write_buffer.flush_if_any()
        with self._store.transaction(account=self._account) as db:
            update = table.update().where(
                table.c.segment == segment,
                table.c.person.in_(contacts),
                table.c.membership.in_(CURRENT),
            )
            values = {"membership": Ownership.LEFT_STREAM, "digest": None, "address": None}
            db.execute(update.values(values))

    def mark_resubscribe_requested(
        self, segment: int, contact: bytes, at: int, address: str
    ) -> None:
        """Store that we are about to ask ActiveCampaign to re-subscribe a contact."""
        self._update(segment, contact, asked=at, address=address)

    def mark_opted_out(self, segment: int, contact: bytes) -> None:
        """Store that a contact that we unsubscribed must not be re-subscribed."""
        self._update(segment, contact, membership=Ownership.OPTED_OUT, address=None)

    @retryable
    def _update(self, segment: int, contact: bytes, /, **values: Any) -> None:
        self._write_buffer.flush_if_any()
        with self._store.transaction(account=self._account) as db:
            member = sa.and_(table.c.segment == segment, table.c.person == contact)
            db.execute(table.update().where(member).values(**values))


def _missing_query(segment: int, sync_number: int, siblings: Sequence[int]) -> sa.Select[Any]:
    """Return the query for the `MissingMember`s of a sync."""
    other = table.alias()
    theirs = sa.and_(
        other.c.segment.in_(siblings),
        other.c.person == table.c.person,
        other.c.membership.in_(CURRENT),
    )
    in_sibling = (
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
    ours = (Ownership.ADDED_BY_US, Ownership.UNSUBSCRIBED_BY_US)
    added_in_sibling = (
        sa.exists().where(theirs, other.c.membership == Ownership.ADDED_BY_US).correlate(table)
    )
    perhaps_on_list = sa.and_(
        table.c.membership == Ownership.UNSUBSCRIBED_BY_US, table.c.asked.is_not(None)
    )
    return sa.select(
        table.c.person,
        table.c.address,
        table.c.membership,
        table.c.since,
        table.c.at,
        sa.or_(added_in_sibling, table.c.membership.in_(ours)).label("added_by_us"),
    ).where(
        table.c.segment == segment,
        table.c.seen != sync_number,
        table.c.address.is_not(None),
        sa.or_(table.c.membership.in_(CURRENT), perhaps_on_list),
        sa.not_(in_sibling),
    )


def _select(db: sa.Connection, segments: list[int], contacts: list[bytes]) -> list[Member]:
    """Return members, read from the driver itself.

    This query is made for every record. SQLAlchemy's processing of each hash and each row would
    take longer than SQLite takes for the query.
    """
    if db.dialect.name == "sqlite":
        some, all_ = (", ".join("?" * len(values)) for values in (segments, contacts))
        query = f"SELECT {_COLUMNS} FROM member WHERE segment IN ({some}) AND person IN ({all_})"  # noqa: S608 - only question marks
        result = db.exec_driver_sql(query, (*segments, *contacts))
    else:
        result = db.execute(
            sa.select(sa.text(_COLUMNS))
            .select_from(table)
            .where(table.c.segment.in_(segments), table.c.person.in_(contacts))
        )
    rows = result.cursor.fetchall() if result.cursor is not None else []
    result.close()
    return list(map(_to_member, rows))
