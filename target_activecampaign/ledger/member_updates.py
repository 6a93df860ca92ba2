"""The updates to members that are written once an import's outcome is known."""

from __future__ import annotations

from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from target_activecampaign.ledger.schema import member as table
from target_activecampaign.ledger.statements import Statement, insert_into
from target_activecampaign.model.ownership import CURRENT, Ownership

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST_IMPORT_SECONDS = 600
"""Longest time from the posting of an import to its effect. Later changes of a membership do not
count as ours: an interrupted run's import may be checked only days later."""


class MemberUpdate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An update to a contact's member of a segment, for when ActiveCampaign confirms the contact.

    Attributes:
        segment: The segment's number.
        digest: The contact's digest; None for a contact that is removed.
        ownership: The new ownership; None keeps the present one.
        sync_number: The stream's sync.
        address: The address, where a mirror needs it.
        record_hash: The hash of the contact's record; None if it has several records, or none.
        keyed: Whether a source row stands behind the member.
    """

    segment: int
    digest: bytes | None
    ownership: Ownership | None
    sync_number: int = 0
    address: str | None = None
    record_hash: bytes | None = None
    keyed: bool = False


BUFFERABLE = frozenset(
    {
        Ownership.UNTRACKED,
        Ownership.ADDED_BY_US,
        Ownership.PRE_EXISTING,
        Ownership.OPTED_OUT,
        Ownership.UNCERTAIN,
        Ownership.WITHHELD,
    }
)
"""Ownership in updates of contacts that stay. Such an update does not depend on the member's row,
so it can be written later, together with others."""

_REMOVED = (Ownership.UNSUBSCRIBED_BY_US, Ownership.LEFT_STREAM)

ADDRESS_IF_KEYED = sa.case((table.c.keyed, table.c.address))
"""The address, where it is still needed after a contact has left: if a source row stands behind
the member, the row may come again with another address. Else null."""

Contacts = list[tuple[bytes, list[MemberUpdate]]]
"""The contacts of an import by their hashes, with their updates."""

_NAMES = (
    "segment",
    "person",
    "digest",
    "membership",
    "since",
    "at",
    "seen",
    "raw",
    "address",
    "keyed",
)


def write(
    db: sa.Connection,
    imports: Iterable[tuple[Iterable[tuple[bytes, Sequence[MemberUpdate]]], float, float]],
) -> None:
    """Write the updates of confirmed contacts, inside a transaction.

    Args:
        db: The transaction.
        imports: The contacts of each import, the time when it was posted, and the time when it was
            confirmed. If there are several imports, all of their updates are `BUFFERABLE`.
    """
    removed: list[dict[str, Any]] = []
    owned: list[tuple[Any, ...]] = []
    unowned: list[tuple[Any, ...]] = []
    for contacts, posted, confirmed in imports:
        since, at = int(posted), int(confirmed)
        for contact, updates in contacts:
            for update in updates:
                ownership = update.ownership
                if ownership in _REMOVED:
                    ended = int(min(confirmed, posted + _LONGEST_IMPORT_SECONDS))
                    removed.append(
                        {
                            "_segment": update.segment,
                            "_person": contact,
                            "_membership": ownership,
                            "_since": since,
                            "_at": ended,
                        }
                    )
                    continue
                row = (
                    update.segment,
                    contact,
                    update.digest,
                    # A plain integer, as the driver is slow to adapt other types.
                    int(ownership or Ownership.UNTRACKED),
                    since,
                    at,
                    update.sync_number,
                    update.record_hash,
                    update.address,
                    update.keyed,
                )
                (unowned if ownership is None else owned).append(row)
    _upsert(db, owned, keep_ownership=False)
    _upsert(db, unowned, keep_ownership=True)
    if removed:
        statement = table.update().where(
            table.c.segment == sa.bindparam("_segment"), table.c.person == sa.bindparam("_person")
        )
        db.execute(
            statement.values(
                digest=None,
                membership=sa.bindparam("_membership"),
                since=sa.bindparam("_since"),
                at=sa.bindparam("_at"),
                asked=None,
                address=ADDRESS_IF_KEYED,
            ),
            removed,
        )


_primary_key = itemgetter(0, 1)


def _upsert(db: sa.Connection, rows: list[tuple[Any, ...]], *, keep_ownership: bool) -> None:
    if rows:
        # In the table's order: neighbours are on one page.
        rows.sort(key=_primary_key)
        _upsert_statement(db.dialect.name, keep_ownership=keep_ownership).execute(db, rows)


@cache
def _upsert_statement(dialect_name: str, *, keep_ownership: bool) -> Statement:
    insert = insert_into(table, dialect_name)
    new = insert.excluded
    # Keep the end of a membership until its new state is certain.
    unsubscribed = int(Ownership.UNSUBSCRIBED_BY_US)
    ended = table.c.membership == unsubscribed if keep_ownership else sa.false()
    values: dict[str, Any] = {
        "digest": new.digest,
        "raw": new.raw,
        "at": sa.case((ended, table.c.at), else_=new.at),
        # An import of an earlier sync may be confirmed after a later sync has seen the contact.
        "seen": sa.case((table.c.seen > new.seen, table.c.seen), else_=new.seen),
        "asked": sa.case((ended, table.c.asked), else_=sa.null()),
        "address": sa.func.coalesce(new.address, table.c.address),
        "keyed": sa.or_(new.keyed, table.c.keyed),
    }
    if not keep_ownership:
        same = table.c.membership == new.membership
        values["membership"] = new.membership
        values["since"] = sa.case((same, table.c.since), else_=new.since)
    upsert: sa.Executable = insert.on_conflict_do_update(
        index_elements=[table.c.segment, table.c.person], set_=values
    )
    return Statement(upsert, _NAMES)


def write_lost(
    db: sa.Connection, contacts: Iterable[tuple[bytes, Sequence[MemberUpdate]]], posted: float
) -> None:
    """Write the possible effects of an import whose response was lost, inside a transaction.

    Args:
        db: The transaction.
        contacts: The import's contacts.
        posted: The time when it was posted.
    """
    span = {"since": int(posted), "at": int(posted + _LONGEST_IMPORT_SECONDS)}
    added: list[dict[str, Any]] = []
    uncertain: list[dict[str, Any]] = []
    for contact, updates in contacts:
        for update in updates:
            uncertain.append({"_segment": update.segment, "_person": contact})
            if update.ownership == Ownership.ADDED_BY_US:
                added.append(
                    {
                        "segment": update.segment,
                        "person": contact,
                        "digest": None,
                        "membership": Ownership.UNCERTAIN,
                        "seen": update.sync_number,
                        "address": update.address,
                        "raw": update.record_hash,
                        "keyed": update.keyed,
                        **span,
                    }
                )
            elif update.ownership == Ownership.UNSUBSCRIBED_BY_US:
                unsubscribe = table.update().where(
                    table.c.segment == update.segment,
                    table.c.person == contact,
                    table.c.membership.in_(CURRENT),
                )
                ended = {"membership": update.ownership, "asked": int(posted), "digest": None}
                db.execute(unsubscribe.values(**ended, **span))
    if uncertain:
        # Even for a contact that was confirmed earlier, ActiveCampaign may have other values now.
        theirs = sa.and_(
            table.c.segment == sa.bindparam("_segment"), table.c.person == sa.bindparam("_person")
        )
        db.execute(table.update().where(theirs).values(digest=None), uncertain)
    if added:
        insert = insert_into(table, db.dialect.name)
        new = insert.excluded
        values = {name: new[name] for name in ("membership", "digest", "since", "at", "address")}
        upsert: sa.Executable = insert.on_conflict_do_update(
            index_elements=[table.c.segment, table.c.person],
            set_=values,
            where=table.c.membership == Ownership.LEFT_STREAM,
        )
        db.execute(upsert, added)
