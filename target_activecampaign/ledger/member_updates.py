"""What is written of people once it is known what became of an import."""

from __future__ import annotations

from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from target_activecampaign.ledger.schema import (
    CURRENT,
    FOUND,
    GONE,
    LEFT,
    MAYBE,
    OPTED_OUT,
    OURS,
    UNKNOWN,
)
from target_activecampaign.ledger.schema import member as table
from target_activecampaign.ledger.statements import Statement, insert_into

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST_IMPORT_SECONDS = 600
"""A membership that began or ended later after its import was posted is not taken for our doing:
of a run that was cut off, the import may be asked about days later."""


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
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


PLAIN = frozenset({UNKNOWN, OURS, FOUND, OPTED_OUT, MAYBE})
"""The memberships of marks that say by themselves what the person is: someone who stays."""

Contacts = list[tuple[bytes, list[Mark]]]
"""The people of an import (by the hashes that stand for them), with their marks."""

_NAMES = ("segment", "person", "digest", "membership", "since", "at", "seen", "raw", "address")


def write(
    db: sa.Connection,
    imports: Iterable[tuple[Iterable[tuple[bytes, Sequence[Mark]]], float, float]],
) -> None:
    """Write what was confirmed of contacts, inside a transaction.

    Args:
        db: The transaction.
        imports: Contacts, when their import was posted, and when it was confirmed; in this order.
            If there are several, all of their marks have a membership of `PLAIN`.
    """
    leaving: list[dict[str, Any]] = []
    staying: list[tuple[Any, ...]] = []
    keeping: list[tuple[Any, ...]] = []
    for contacts, posted, confirmed in imports:
        since, at = int(posted), int(confirmed)
        for person, marks in contacts:
            for mark in marks:
                kind = mark.membership
                if kind in (LEFT, GONE):
                    left = int(min(confirmed, posted + _LONGEST_IMPORT_SECONDS))
                    leaving.append(
                        {
                            "_segment": mark.segment,
                            "_person": person,
                            "_membership": kind,
                            "_since": since,
                            "_at": left,
                        }
                    )
                    continue
                row = (
                    mark.segment,
                    person,
                    mark.digest,
                    UNKNOWN if kind is None else kind,
                    since,
                    at,
                    mark.seen,
                    mark.raw,
                    mark.address,
                )
                (keeping if kind is None else staying).append(row)
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


_place = itemgetter(0, 1)
"""Where a row is in the table: by segment and person."""


def _put(db: sa.Connection, rows: list[tuple[Any, ...]], *, keep_membership: bool) -> None:
    if rows:
        # In the order in which the table is kept: neighbours are on one page.
        rows.sort(key=_place)
        _upsert(db.dialect.name, keep_membership=keep_membership).execute(db, rows)


@cache
def _upsert(dialect_name: str, *, keep_membership: bool) -> Statement:
    insert = insert_into(table, dialect_name)
    new = insert.excluded
    # How a membership ended stays known until it is certain what came after.
    ended = table.c.membership == LEFT if keep_membership else sa.false()
    changes: dict[str, Any] = {
        "digest": new.digest,
        "raw": new.raw,
        "at": sa.case((ended, table.c.at), else_=new.at),
        # An import of an earlier pass may be confirmed late: who was seen since stays so.
        "seen": sa.case((table.c.seen > new.seen, table.c.seen), else_=new.seen),
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
    return Statement(upsert, _NAMES)


def write_lost(
    db: sa.Connection, contacts: Iterable[tuple[bytes, Sequence[Mark]]], posted: float
) -> None:
    """Write what may have become of contacts whose import was posted and not answered."""
    until = int(posted + _LONGEST_IMPORT_SECONDS)
    span = {"since": int(posted), "at": until}
    added: list[dict[str, Any]] = []
    unsure: list[dict[str, Any]] = []
    for person, marks in contacts:
        for mark in marks:
            unsure.append({"_segment": mark.segment, "_person": person})
            if mark.membership == OURS:
                row = {**msgspec.structs.asdict(mark), "person": person, **span}
                added.append({**row, "membership": MAYBE, "digest": None})
            elif mark.membership == LEFT:
                change = table.update().where(
                    table.c.segment == mark.segment,
                    table.c.person == person,
                    table.c.membership.in_(CURRENT),
                )
                gone = {"membership": LEFT, "asked": int(posted), "digest": None}
                db.execute(change.values(**gone, **span))
    if unsure:
        # An earlier contact of them, confirmed in the meantime, may not be what they have now.
        theirs = sa.and_(
            table.c.segment == sa.bindparam("_segment"), table.c.person == sa.bindparam("_person")
        )
        db.execute(table.update().where(theirs).values(digest=None), unsure)
    if added:
        insert = insert_into(table, db.dialect.name)
        new = insert.excluded
        changes = {name: new[name] for name in ("membership", "digest", "since", "at", "address")}
        upsert: sa.Executable = insert.on_conflict_do_update(
            index_elements=[table.c.segment, table.c.person],
            set_=changes,
            where=table.c.membership == GONE,
        )
        db.execute(upsert, added)
