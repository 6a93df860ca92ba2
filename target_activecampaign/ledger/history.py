"""The figures of each stream in the latest runs, and what its audience has become.

They are stored per run and deleted with it, so the latest 100 runs of an account have some. None of
them is about a single person.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from target_activecampaign.ledger.schema import member, run, segment
from target_activecampaign.ledger.schema import stream_run as table
from target_activecampaign.ledger.segments import storable
from target_activecampaign.ledger.store import retryable
from target_activecampaign.model.ownership import CURRENT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from target_activecampaign.ledger.store import Store

COMPLETED = "completed"
"""The stored outcome of a run that counts when later ones are compared with it."""

_RUNS_SHOWN = 10
"""Runs that the audience of a segment shows."""

_BITS = 62
"""Segments of a list that are compared: one bit of an integer each."""


@dataclass(frozen=True)
class StreamFigures:
    """The figures of a stream in one run.

    Attributes:
        stream: The stream, by its name after stream maps.
        segment: The number of its segment; None for a stream of suppressed people.
        read: Records read.
        refused: Records that the target or ActiveCampaign rejected.
        added: Contacts that are new in the segment.
        removed: Contacts that were removed or unsubscribed.
        held_back: Contacts that stay because a guard tripped.
        size: The number of its current contacts at the end; None for no segment.
    """

    stream: str
    segment: int | None
    read: int
    refused: int
    added: int
    removed: int
    held_back: int
    size: int | None


@dataclass(frozen=True)
class AudienceRun:
    """A segment in one run.

    Attributes:
        run: The run.
        started: Its start.
        outcome: Its outcome, such as `completed`, `failed` or `limited`.
        size: The current contacts of the segment at its end.
        newcomers: Contacts that were not in the segment before.
        removed: Contacts that were removed or unsubscribed.
        held_back: Contacts that stayed because a guard tripped.
        refused: Records that were rejected.
    """

    run: str
    started: datetime
    outcome: str
    size: int
    newcomers: int
    removed: int
    held_back: int
    refused: int


@dataclass(frozen=True)
class SegmentAudience:
    """The audience of a segment.

    Attributes:
        stream: The stream.
        list: The list's id.
        size: Its current contacts.
        runs: Its latest runs, the newest first.
    """

    stream: str
    list: int
    size: int
    runs: Sequence[AudienceRun]


@dataclass(frozen=True)
class Overlap:
    """Contacts that segments of one list share.

    Attributes:
        list: The list's id.
        streams: The streams of these segments.
        in_all: Contacts that are in each of them.
        in_no_other: Those among these that are in no other segment of the list.
    """

    list: int
    streams: Sequence[str]
    in_all: int
    in_no_other: int


@dataclass(frozen=True)
class Audience:
    """The audiences of an account.

    Attributes:
        segments: The segments, by stream and list.
        overlaps: What segments of one list share: any two, and any more that share a contact.
        left_out: Lists whose overlaps were not counted, as they have too many contacts.
    """

    segments: list[SegmentAudience]
    overlaps: list[Overlap]
    left_out: list[int]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        shown = asdict(self)
        for one in shown["segments"]:
            for each in one["runs"]:
                each["started"] = each["started"].isoformat(timespec="seconds")
        return shown


class History:
    """The figures of an account's latest runs, seen from one run."""

    def __init__(self, store: Store, account: int, run_id: str) -> None:
        self._store = store
        self._account = account
        self._run_id = run_id

    @retryable
    def store(self, figures: Iterable[StreamFigures]) -> None:
        """Store the figures of this run."""
        rows = [
            {**asdict(one), "stream": storable(one.stream), "run": self._run_id} for one in figures
        ]
        with self._store.transaction() as db:
            # A first attempt may have been committed, with only the response lost.
            db.execute(table.delete().where(table.c.run == self._run_id))
            if rows:
                db.execute(table.insert(), rows)

    @retryable
    def sizes(self, segments: Collection[int]) -> dict[int, int]:
        """Return the numbers of current contacts of segments, as far as they are written by now."""
        with self._store.transaction() as db:
            return _sizes(db, _segments(db, segment.c.id.in_(list(segments))))

    @retryable
    def records_read(self, stream: str, segment_number: int | None, runs: int) -> list[int]:
        """Return the records of a stream in each of its latest completed runs, the newest first.

        Args:
            stream: The stream, by its name after stream maps.
            segment_number: The number of its segment; None for a stream of suppressed people.
            runs: The number of runs.
        """
        query = (
            sa.select(table.c.read)
            .join(run, run.c.id == table.c.run)
            .where(
                run.c.account == self._account,
                run.c.outcome == COMPLETED,
                run.c.id != self._run_id,
                table.c.stream == storable(stream),
                table.c.segment.is_(None)
                if segment_number is None
                else table.c.segment == segment_number,
            )
            .order_by(run.c.started.desc(), run.c.id.desc())
            .limit(runs)
        )
        with self._store.transaction() as db:
            return list(db.execute(query).scalars())

    @retryable
    def audience(self, lists: Collection[int], most: int, outcome: str) -> Audience:
        """Return the audiences of some lists, once the figures of this run are stored.

        Args:
            lists: The ids of the lists.
            most: The most contacts of a list, as the sum of its segments, whose overlap is counted.
            outcome: The outcome of this run, which has not ended yet.
        """
        with self._store.transaction() as db:
            return read_audience(db, self._account, lists, most, {self._run_id: outcome})


def read_audience(
    db: sa.Connection,
    account: int,
    lists: Collection[int] | None = None,
    most: int | None = None,
    outcomes: Mapping[str, str] = MappingProxyType({}),
) -> Audience:
    """Return the audiences of an account.

    Args:
        db: The ledger.
        account: The account's number.
        lists: The ids of the lists; None for all.
        most: As for `History.audience`; None for no limit.
        outcomes: The outcomes of runs that have not ended yet.
    """
    theirs = segment.c.account == account
    if lists is not None:
        theirs = sa.and_(theirs, segment.c.list.in_(list(lists)))
    chosen = _segments(db, theirs)
    sizes = _sizes(db, chosen)
    by_list: dict[int, list[sa.Row[Any]]] = {}
    for one in chosen:
        by_list.setdefault(one.list, []).append(one)
    overlaps: list[Overlap] = []
    left_out: list[int] = []
    for list_id, of_list in sorted(by_list.items()):
        if len(of_list) == 1:
            continue
        total = sum(sizes.get(one.id, 0) for one in of_list)
        if len(of_list) > _BITS or (most is not None and total > most):
            left_out.append(list_id)
        else:
            overlaps += _overlaps(db, list_id, of_list)
    segments = [
        SegmentAudience(one.stream, one.list, sizes.get(one.id, 0), _runs_of(db, one.id, outcomes))
        for one in chosen
    ]
    return Audience(segments, overlaps, left_out)


def _segments(db: sa.Connection, chosen: sa.ColumnElement[bool]) -> Sequence[sa.Row[Any]]:
    columns = (segment.c.id, segment.c.stream, segment.c.list)
    # A mirror counts with the members of its latest complete sync and of later ones. The others
    # stay on the list because another segment has them, or as we did not add them.
    least = sa.case((segment.c.mirror, segment.c.complete_pass), else_=0).label("least")
    query: sa.Select[Any] = sa.select(*columns, least).where(chosen)
    return db.execute(query.order_by(segment.c.stream, segment.c.list)).all()


def _are_current(segments: Sequence[sa.Row[Any]]) -> sa.ColumnElement[bool]:
    """Return the condition for the current members of segments."""
    least = {one.id: one.least for one in segments}
    return sa.and_(
        member.c.segment.in_(list(least)),
        member.c.membership.in_(CURRENT),
        member.c.seen >= sa.case(least, value=member.c.segment),
    )


def _sizes(db: sa.Connection, segments: Sequence[sa.Row[Any]]) -> dict[int, int]:
    if not segments:
        return {}
    counted = sa.select(member.c.segment, sa.func.count()).where(_are_current(segments))
    return {row[0]: row[1] for row in db.execute(counted.group_by(member.c.segment))}


def _runs_of(db: sa.Connection, number: int, outcomes: Mapping[str, str]) -> list[AudienceRun]:
    query = (
        sa.select(table, run.c.started, run.c.outcome)
        .join(run, run.c.id == table.c.run)
        .where(table.c.segment == number)
        .order_by(run.c.started.desc(), run.c.id.desc())
        .limit(_RUNS_SHOWN)
    )
    return [
        AudienceRun(
            run=row.run,
            started=datetime.fromtimestamp(row.started, timezone.utc),
            outcome=row.outcome or outcomes.get(row.run, ""),
            size=row.size or 0,
            newcomers=row.added,
            removed=row.removed,
            held_back=row.held_back,
            refused=row.refused,
        )
        for row in db.execute(query)
    ]


def _overlaps(db: sa.Connection, list_id: int, segments: Sequence[sa.Row[Any]]) -> list[Overlap]:
    """Count what segments share, in one query: it marks the segments of a contact by bits."""
    bits = {one.id: 1 << place for place, one in enumerate(segments)}
    mark = sa.case(bits, value=member.c.segment)
    of_contacts = (
        sa.select(sa.cast(sa.func.sum(mark), sa.BigInteger).label("segments"))
        .where(_are_current(segments))
        .group_by(member.c.person)
        .subquery()
    )
    counted = sa.select(of_contacts.c.segments, sa.func.count()).group_by(of_contacts.c.segments)
    exactly = {int(marks): count for marks, count in db.execute(counted)}
    pairs = {one | other for one in bits.values() for other in bits.values() if one != other}
    combined = pairs | {marks for marks in exactly if marks.bit_count() > 1}
    return [
        Overlap(
            list_id,
            [one.stream for one in segments if bits[one.id] & marks],
            sum(count for some, count in exactly.items() if some & marks == marks),
            exactly.get(marks, 0),
        )
        for marks in sorted(combined, key=lambda marks: (marks.bit_count(), marks))
    ]
