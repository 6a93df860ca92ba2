"""The members of segments: what was delivered of each contact, and the ownership of membership.

Contacts are given by their hashes (see `Ledger.contact_hash`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from target_activecampaign.ledger.member_updates import ADDRESS_IF_KEYED, MemberUpdate, write
from target_activecampaign.ledger.schema import departure as departure_table
from target_activecampaign.ledger.schema import member as table
from target_activecampaign.ledger.schema import opt_out as opt_out_table
from target_activecampaign.ledger.schema import segment as segment_table
from target_activecampaign.ledger.schema import suppression as suppression_table
from target_activecampaign.ledger.schema import withheld as withheld_table
from target_activecampaign.ledger.statements import fetch_rows, insert_into
from target_activecampaign.ledger.store import retryable
from target_activecampaign.model.ownership import CURRENT, Ownership
from target_activecampaign.model.status import UNSUBSCRIBED
from target_activecampaign.model.withheld import WithheldReason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from target_activecampaign.ledger.store import Store
    from target_activecampaign.ledger.write_buffer import WriteBuffer

_CHUNK = 1000
REQUEST_SECONDS = 120
"""Longest time from the start of a request to its effect."""


class Member(NamedTuple):
    """A contact in a segment, as the ledger has it.

    Attributes:
        contact: The contact's hash.
        segment: The segment's number.
        digest: The digest of the contact as last confirmed; None if that is not known.
        ownership: An `Ownership`, as the number that is stored.
        since: The earliest time when the membership can have begun (or ended), by ActiveCampaign's
            clock.
        at: The time when that was confirmed.
        asked: For `UNSUBSCRIBED_BY_US`: the time when re-subscribing was requested. Equal to
            `since` if the response to the removal was lost. None once the removal is certain.
        has_address: Whether the address is stored.
        record_hash: The hash of the contact's record; None if there were several.
        keyed: Whether a source row stands behind the member.
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
    keyed: bool


_COLUMNS = "person, segment, digest, membership, since, at, asked, address IS NOT NULL, raw, keyed"
"""The columns of a `Member`."""


_PERHAPS_ON_LIST = sa.and_(
    table.c.membership == Ownership.UNSUBSCRIBED_BY_US, table.c.asked.is_not(None)
)
"""The condition for members that we unsubscribed but that may be active."""

_to_member: Callable[[tuple[Any, ...]], Member] = partial(tuple.__new__, Member)
"""`Member._make` without its length check, as a member is read for every record."""


def by_segment(members: Iterable[Member]) -> dict[int, Member]:
    """Return one contact's members by segment."""
    return {member.segment: member for member in members}


class MissingMember(NamedTuple):
    """A member that is missing from a sync.

    Attributes:
        contact: The contact's hash.
        address: The address.
        ownership: As in `Member`.
        since: As in `Member`.
        at: As in `Member`.
        asked: As in `Member`.
        added_by_us: Whether any segment of the same list proves that we added the contact.
        has_departed: Whether its source row was deleted.
    """

    contact: bytes
    address: str
    ownership: int
    since: int
    at: int
    asked: int | None
    added_by_us: bool
    has_departed: bool


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
        """Return the members of segments for the given contacts, by contact."""
        found: dict[bytes, list[Member]] = {}
        if segments and contacts:
            self._write_buffer.flush_if_contains(contacts)
            with self._store.transaction() as db:
                rows = fetch_rows(db, _COLUMNS, list(segments), table.c.person, list(contacts))
            for member in map(_to_member, rows):
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
        record_hashes: Iterable[tuple[bytes, bytes | None]] = (),
        changed: int = 0,
    ) -> None:
        """Store which members are in the stream, before any is sent or gets an outcome.

        Args:
            segment: The segment.
            sync_number: The current sync; None for a stream that is not mirrored.
            unchanged: Members equal to the contact last delivered.
            outdated: Members to be sent again. Their digests are cleared, as it is unknown what
                ActiveCampaign has until the import is confirmed.
            addresses: Addresses to store.
            record_hashes: Record hashes to store; None clears one.
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
        totals: list[int] = []  # set by the first attempt, so that a retry does not add twice

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
    def mark_keyed(self, segment: int, contacts: Collection[bytes]) -> None:
        """Store that members that were delivered before have a source row now."""
        theirs = sa.and_(table.c.segment == segment, table.c.person.in_(contacts))
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(theirs).values(keyed=True))

    @retryable
    def mark_deleted(
        self, segment: int, contacts: Collection[bytes], sync_number: int | None
    ) -> None:
        """Clear the digests of contacts whose records were marked as deleted.

        Args:
            segment: The segment.
            contacts: The contacts.
            sync_number: The current sync; None for a stream that is not mirrored.
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
                return  # the usual case, as sources keep deleted rows for a long time
        if sync_number is not None:
            # Only now: the check above needs no flush, as contacts buffered as seen have a digest.
            self._write_buffer.flush_if_any()
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(theirs, delivered).values(digest=None))
            if sync_number is not None:
                # As if last seen by the previous sync: they are removed once this one is complete.
                seen_now = table.update().where(theirs, table.c.seen == sync_number)
                db.execute(seen_now.values(seen=sync_number - 1))

    @retryable
    def clear_digests(self, segments: Collection[int], contacts: Collection[bytes]) -> None:
        """Clear the digests of contacts that are about to be removed."""
        self._write_buffer.flush()
        with self._store.transaction(account=self._account) as db:
            theirs = sa.and_(table.c.segment.in_(segments), table.c.person.in_(contacts))
            db.execute(table.update().where(theirs).values(digest=None))

    # Queries of a mirror

    @retryable
    def has_current(self, segment: int) -> bool:
        """Return whether a segment has any current member."""
        self._write_buffer.flush()
        with self._store.transaction() as db:
            current = sa.and_(table.c.segment == segment, table.c.membership.in_(CURRENT))
            return db.execute(sa.select(table.c.person).where(current).limit(1)).first() is not None

    @retryable
    def count_seen(self, segment: int, sync_number: int) -> int:
        """Return the number of members that a sync has seen."""
        self._write_buffer.flush()
        with self._store.transaction() as db:
            seen = sa.and_(table.c.segment == segment, table.c.seen == sync_number)
            count = sa.select(sa.func.count()).select_from(table).where(seen)
            return int(db.execute(count).scalar_one())

    def missing(
        self,
        segment: int,
        sync_number: int | None,
        siblings: Sequence[int],
        *,
        departed: bool = False,
    ) -> Iterator[list[MissingMember]]:
        """Yield the members that no longer belong to a segment nor to any sibling, in chunks.

        A mirror counts with the members of its latest complete sync, other siblings with all their
        members; none with its departures. Members that we unsubscribed are included until that is
        certain.

        Args:
            segment: The segment.
            sync_number: The sync from which they are missing; None if that means nothing.
            siblings: The other segments with the same list or mark.
            departed: Whether the segment's departures are included.
        """
        self._write_buffer.flush()
        query = _missing_query(segment, sync_number, siblings, departed=departed)
        last = b""
        while True:
            chunk = query.where(table.c.person > last).order_by(table.c.person).limit(_CHUNK)
            rows = self._store.retry(lambda chunk=chunk: self._fetch(chunk))  # type: ignore[misc]
            if not rows:
                return
            yield list(map(MissingMember._make, rows))
            last = rows[-1].person

    def withheld(
        self, segment: int, of_list: Collection[int], siblings: Collection[int]
    ) -> Iterator[dict[bytes, str | None]]:
        """Yield current members who have not consented or are suppressed, in chunks.

        Those who have not consented are left out if a stream of another list gives the same mark.

        Args:
            segment: The segment.
            of_list: All segments of its list: the refusal of one counts.
            siblings: The other segments with its mark.

        Yields:
            The address of each member, by contact.
        """
        self._write_buffer.flush()
        refused = sa.select(withheld_table.c.person).where(
            withheld_table.c.segment.in_(of_list),
            withheld_table.c.reason == WithheldReason.NO_CONSENT,
        )
        suppressed = sa.select(suppression_table.c.person).where(
            suppression_table.c.account == self._account
        )
        other = table.alias()
        is_marked = (
            sa.exists()
            .where(
                other.c.segment.in_(set(siblings) - set(of_list)),
                other.c.person == table.c.person,
                other.c.membership.in_(CURRENT),
            )
            .correlate(table)
        )
        query = sa.select(table.c.person, table.c.address).where(
            table.c.segment == segment,
            table.c.membership.in_(CURRENT),
            sa.or_(
                table.c.person.in_(suppressed),
                sa.and_(table.c.person.in_(refused), sa.not_(is_marked)),
            ),
        )
        last = b""
        while True:
            chunk = query.where(table.c.person > last).order_by(table.c.person).limit(_CHUNK)
            rows = self._store.retry(lambda chunk=chunk: self._fetch(chunk))  # type: ignore[misc]
            if not rows:
                return
            yield {row.person: row.address for row in rows}
            last = rows[-1].person

    @retryable
    def count_current(self, segment: int) -> int:
        """Return the number of current members of a segment."""
        self._write_buffer.flush()
        current = sa.and_(table.c.segment == segment, table.c.membership.in_(CURRENT))
        with self._store.transaction() as db:
            return int(db.execute(sa.select(sa.func.count()).where(current)).scalar_one())

    def _fetch(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._store.transaction() as db:
            return db.execute(query).all()

    # Ends of memberships

    def record_opt_outs(self, segments: Sequence[int], contacts: Collection[bytes]) -> int:
        """Store that contacts unsubscribed themselves, and return the number of members.

        Contacts that we have unsubscribed since, perhaps for another stream, are left out.
        """
        return self._record_opt_outs(segments, table.c.person.in_(contacts))

    def record_known_opt_outs(self, segments: Sequence[int], list_id: int) -> int:
        """Do the same for all contacts that the ledger's opt-outs of a list name."""
        known = sa.select(opt_out_table.c.person).where(
            opt_out_table.c.account == self._account,
            opt_out_table.c.list == list_id,
            opt_out_table.c.status == UNSUBSCRIBED,
        )
        return self._record_opt_outs(segments, table.c.person.in_(known))

    @retryable
    def _record_opt_outs(self, segments: Sequence[int], theirs: sa.ColumnElement[bool]) -> int:
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
        # If a field or a tag marks the members, an opt-out from the list does not matter.
        by_list = sa.select(segment_table.c.id).where(
            segment_table.c.id.in_(segments), segment_table.c.mark.is_(None)
        )
        with self._store.transaction(account=self._account) as db:
            update = table.update().where(
                table.c.segment.in_(by_list),
                theirs,
                table.c.membership.in_(CURRENT),
                sa.not_(unsubscribed_by_us),
            )
            # Clear the digest: if they are in the stream, they are looked at in each run.
            values = {
                "membership": Ownership.OPTED_OUT,
                "digest": None,
                "address": ADDRESS_IF_KEYED,
            }
            return int(db.execute(update.values(values)).rowcount)

    def mark_removed(
        self, contacts: Iterable[tuple[bytes, Sequence[MemberUpdate]]], at: float
    ) -> None:
        """Store that contacts were removed without an import."""
        self._write_buffer.flush_if_any()
        removed = list(contacts)

        def write_removed() -> None:
            with self._store.transaction(account=self._account) as db:
                write(db, [(removed, at, at)])

        self._store.retry(write_removed)

    @retryable
    def confirm_removed(self, segments: Sequence[int], contacts: Collection[bytes]) -> None:
        """Store that contacts that we unsubscribed are certainly off the list."""
        self._write_buffer.flush()
        with self._store.transaction(account=self._account) as db:
            update = table.update().where(
                table.c.segment.in_(segments),
                table.c.person.in_(contacts),
                table.c.membership == Ownership.UNSUBSCRIBED_BY_US,
            )
            db.execute(update.values(asked=None, address=ADDRESS_IF_KEYED))

    @retryable
    def begin_unsubscribing(
        self, segment: int, of_list: Collection[int], contacts: Collection[bytes], now: float
    ) -> None:
        """Store that contacts are about to be unsubscribed, whoever added them to the list.

        Args:
            segment: The segment that stores it of contacts that are no members.
            of_list: All segments of the list.
            contacts: The contacts.
            now: The time, by ActiveCampaign's clock.
        """
        if not contacts:
            return
        self._write_buffer.flush()
        ended = {
            "membership": Ownership.UNSUBSCRIBED_BY_US,
            "digest": None,
            "raw": None,
            "since": int(now),
            "at": int(now) + REQUEST_SECONDS,
            "asked": int(now),
        }
        of_segment = {"segment": segment, "seen": 0, "keyed": False}
        rows = [{"person": one, **of_segment, **ended} for one in sorted(contacts)]
        current = sa.and_(
            table.c.segment.in_(of_list),
            table.c.person.in_(list(contacts)),
            table.c.membership.in_(CURRENT),
        )
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(current).values(ended))
            insert = insert_into(table, db.dialect.name)
            keys = [table.c.segment, table.c.person]
            db.execute(insert.on_conflict_do_update(index_elements=keys, set_=ended), rows)

    @retryable
    def end_unsubscribing(
        self, of_list: Collection[int], contacts: Collection[bytes], now: float
    ) -> None:
        """Store that contacts are unsubscribed for certain, since some time before now."""
        theirs = sa.and_(
            table.c.segment.in_(of_list),
            table.c.person.in_(list(contacts)),
            table.c.membership == Ownership.UNSUBSCRIBED_BY_US,
            table.c.asked.is_not(None),
        )
        ended = {"at": int(now) + 1, "asked": None, "address": ADDRESS_IF_KEYED}
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(theirs).values(ended))

    @retryable
    def mark_not_managed(self, segment: int, contacts: Collection[bytes]) -> None:
        """Store that contacts are missing from the stream but stay on the list, as not ours."""
        self._write_buffer.flush_if_any()
        with self._store.transaction(account=self._account) as db:
            update = table.update().where(
                table.c.segment == segment,
                table.c.person.in_(contacts),
                sa.or_(table.c.membership.in_(CURRENT), _PERHAPS_ON_LIST),
            )
            values = {
                "membership": Ownership.LEFT_STREAM,
                "digest": None,
                "asked": None,
                "address": ADDRESS_IF_KEYED,
            }
            db.execute(update.values(values))

    def mark_resubscribe_requested(
        self, segment: int, contact: bytes, at: int, address: str
    ) -> None:
        """Store that we are about to ask ActiveCampaign to re-subscribe a contact."""
        self._update(segment, contact, asked=at, address=address)

    def mark_opted_out(self, segment: int, contact: bytes) -> None:
        """Store that a contact that we unsubscribed must not be re-subscribed."""
        self._update(segment, contact, membership=Ownership.OPTED_OUT, address=ADDRESS_IF_KEYED)

    @retryable
    def _update(self, segment: int, contact: bytes, /, **values: Any) -> None:
        self._write_buffer.flush_if_any()
        with self._store.transaction(account=self._account) as db:
            member = sa.and_(table.c.segment == segment, table.c.person == contact)
            db.execute(table.update().where(member).values(**values))


def _departs(member: Any) -> sa.ColumnElement[bool]:
    """Return the condition for a member whose source row was deleted."""
    return (
        sa.exists()
        .where(
            departure_table.c.segment == member.c.segment,
            departure_table.c.person == member.c.person,
        )
        .correlate(member)
    )


def _missing_query(
    segment: int, sync_number: int | None, siblings: Sequence[int], *, departed: bool
) -> sa.Select[Any]:
    """Return the query for `Members.missing`."""
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
            sa.not_(_departs(other)),
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
    absent = sa.false() if sync_number is None else table.c.seen != sync_number
    has_departed = _departs(table) if departed else sa.false()
    return sa.select(
        table.c.person,
        table.c.address,
        table.c.membership,
        table.c.since,
        table.c.at,
        table.c.asked,
        sa.or_(added_in_sibling, table.c.membership.in_(ours)).label("added_by_us"),
        has_departed.label("has_departed"),
    ).where(
        table.c.segment == segment,
        sa.or_(absent, has_departed),
        table.c.address.is_not(None),
        sa.or_(table.c.membership.in_(CURRENT), _PERHAPS_ON_LIST),
        sa.not_(in_sibling),
    )
