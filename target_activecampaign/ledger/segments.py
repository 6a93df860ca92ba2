"""The segments: a stream that is loaded into a list of an account, pass by pass."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from target_activecampaign.errors import LedgerError
from target_activecampaign.ledger.runs import living
from target_activecampaign.ledger.schema import run as run_table
from target_activecampaign.ledger.schema import segment as table
from target_activecampaign.ledger.store import repeatable

if TYPE_CHECKING:
    from target_activecampaign.ledger.store import Store


def plain(text: str) -> str:
    """A text that any database keeps: no half of a surrogate pair, and no NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


class SegmentState(NamedTuple):
    """A segment as the ledger has it.

    Attributes:
        id: Its number.
        last_pass: The pass that was begun last.
        version: The stream's version in it.
        complete_pass: The latest complete pass; 0 before the first.
        size: How many people that had.
        tripped: Whether a guard has stopped a pass since.
        changed: Profiles that have changed since.
    """

    id: int
    last_pass: int
    version: str | None
    complete_pass: int
    size: int | None
    tripped: bool
    changed: int


class Segments:
    """An account's segments, as one run sees them."""

    def __init__(self, store: Store, account: int, run_id: str) -> None:
        self._store = store
        self._account = account
        self._run_id = run_id

    @repeatable
    def claim(self, stream: str, list_id: int, *, mirror: bool, mark: str | None) -> SegmentState:
        """Take a segment for this run alone; made where there is none.

        Args:
            stream: The stream, by its name after stream maps.
            list_id: The list.
            mirror: Whether people leave with this run.
            mark: What marks its members besides the list.

        Raises:
            LedgerError: Another run that goes on is loading it.
        """
        stream = plain(stream)
        mine = sa.and_(
            table.c.account == self._account, table.c.stream == stream, table.c.list == list_id
        )
        now = {"mirror": mirror, "mark": mark and plain(mark), "run": self._run_id}
        with self._store.transaction(alone=True) as db:
            found = db.execute(sa.select(table).where(mine)).first()
            if found is None:
                nothing = {"pass": 0, "complete_pass": 0, "tripped": False, "changed": 0}
                key = {"account": self._account, "stream": stream, "list": list_id}
                db.execute(table.insert().values(**key, **nothing, **now))
                found = db.execute(sa.select(table).where(mine)).one()
            elif found.run not in (None, self._run_id):
                other = db.execute(sa.select(run_table).where(run_table.c.id == found.run)).first()
                if other is not None and living(db, other):
                    raise LedgerError(
                        f"Stream '{stream}' is being loaded into list {list_id} by another run "
                        f"({other.id}, process {other.process.partition(':')[0]} on "
                        f"{other.host}): wait until it has ended, or give each worker streams of "
                        "its own."
                    )
            db.execute(table.update().where(table.c.id == found.id).values(now))
        values = found._mapping  # noqa: SLF001 - the documented way to a column called `pass`
        return SegmentState(
            found.id,
            values["pass"],
            found.version,
            found.complete_pass,
            found.size,
            bool(found.tripped),
            found.changed,
        )

    @repeatable
    def known_as(self, stream: str, list_id: int) -> str:
        """The name under which a stream is in the ledger: its own, or one that is it in NFC.

        Args:
            stream: The stream, by its name after stream maps.
            list_id: Its list.
        """
        if stream.isascii():
            return stream
        mine = sa.and_(table.c.account == self._account, table.c.list == list_id)
        with self._store.transaction() as db:
            names = db.execute(sa.select(table.c.stream).where(mine)).scalars().all()
        wanted = unicodedata.normalize("NFC", stream)
        same = [one for one in names if unicodedata.normalize("NFC", one) == wanted]
        return stream if stream in same or not same else min(same)

    @repeatable
    def mapping(self, stream: str, list_id: int) -> str | None:
        """What was remembered of a segment's mapping."""
        mine = sa.and_(
            table.c.account == self._account,
            table.c.stream == plain(stream),
            table.c.list == list_id,
        )
        with self._store.transaction() as db:
            return db.execute(sa.select(table.c.mapping).where(mine)).scalar()

    def remember(self, segment: int, mapping: str) -> None:
        """Remember a segment's mapping, as text of the caller's own form."""
        self._change(segment, {"mapping": mapping})

    @repeatable
    def siblings(self, segment: int, list_id: int, mark: str | None) -> list[int]:
        """The other segments that give the same mark, or without one, the same list."""
        same = table.c.list == list_id if mark is None else table.c.mark == plain(mark)
        with self._store.transaction() as db:
            rows = db.execute(
                sa.select(table.c.id).where(
                    table.c.account == self._account, table.c.id != segment, same
                )
            )
            return [row.id for row in rows]

    def begin_pass(self, segment: int, number: int, version: str | None) -> None:
        """Note that a pass has begun."""
        self._change(segment, {"pass": number, "version": version and plain(version)})

    def complete(self, segment: int, number: int, size: int) -> None:
        """Note that a pass is complete, with so many people."""
        self._change(
            segment, {"complete_pass": number, "size": size, "tripped": False, "changed": 0}
        )

    def trip(self, segment: int) -> None:
        """Note that a guard has stopped a pass."""
        self._change(segment, {"tripped": True})

    @repeatable
    def changed(self, segment: int) -> int:
        """How many profiles have changed since the latest complete pass."""
        with self._store.transaction() as db:
            mine = sa.select(table.c.changed).where(table.c.id == segment)
            return int(db.execute(mine).scalar_one())

    def forget_changes(self, segment: int) -> None:
        """Count changed profiles anew."""
        self._change(segment, {"changed": 0})

    @repeatable
    def _change(self, segment: int, values: dict[str, object]) -> None:
        with self._store.transaction(account=self._account) as db:
            db.execute(table.update().where(table.c.id == segment).values(values))
