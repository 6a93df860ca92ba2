"""What a ledger holds, in figures: nobody can be told from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from target_activecampaign.ledger import forms
from target_activecampaign.ledger import schema as tables
from target_activecampaign.ledger.runs import CUT_OFF, living
from target_activecampaign.ledger.write_buffer import decoded

if TYPE_CHECKING:
    from target_activecampaign.ledger.store import Store

MEMBERSHIPS = {
    tables.UNKNOWN: "delivered",
    tables.OURS: "added_by_us",
    tables.FOUND: "found_on_the_list",
    tables.LEFT: "unsubscribed_by_us",
    tables.OPTED_OUT: "opted_out",
    tables.GONE: "left_the_stream",
}
"""What a membership is called."""


@dataclass(frozen=True)
class RunView:
    """A run.

    Attributes:
        id: Its name.
        state: `going on`, `cut off`, `unfinished` if it ended with something left to the next one,
            or `finished`.
        host: The machine that it was started on.
        process: Its number there.
        started: When it began.
        last_seen: When it last showed that it goes on; None if it said that it doesn't.
        finished: When it ended, or another took over from it.
        outcome: What it came to.
        counts: Its figures; empty unless it lived to tell them.
    """

    id: str
    state: str
    host: str
    process: int
    started: datetime
    last_seen: datetime | None
    finished: datetime | None
    outcome: str | None
    counts: dict[str, int]


@dataclass(frozen=True)
class SegmentView:
    """A stream that is loaded into a list.

    Attributes:
        stream: The stream.
        list: The list's id.
        mirror: Whether people leave who are no longer in the stream.
        mark: What marks its people besides the list, such as `field:7`.
        people: How many it has, by what their membership is called.
        complete_pass: The latest complete pass of a mirror; 0 before the first.
        size: How many people that had.
        guard_tripped: Whether a guard has stopped a pass since.
        loaded_by: The run that loads it now.
    """

    stream: str
    list: int
    mirror: bool
    mark: str | None
    people: dict[str, int]
    complete_pass: int
    size: int | None
    guard_tripped: bool
    loaded_by: str | None


@dataclass(frozen=True)
class InFlight:
    """An import of which nobody has heard that it is done.

    Attributes:
        run: Whose it is.
        posted: When it was posted, or was about to be.
        batch_id: ActiveCampaign's id for it, if the run lived to learn it.
        contacts: How many it has.
    """

    run: str
    posted: datetime
    batch_id: str | None
    contacts: int


@dataclass(frozen=True)
class Index:
    """The index of the contacts that an account has.

    Attributes:
        contacts: How many are in it.
        account_had: How many the account had when it was read through; None before that.
    """

    contacts: int
    account_had: int | None


@dataclass(frozen=True)
class Connection:
    """An account that was loaded; the latest run comes first."""

    identity: str
    runs: list[RunView]
    segments: list[SegmentView]
    in_flight: list[InFlight]
    existing: Index


@dataclass(frozen=True)
class Overview:
    """A ledger.

    Attributes:
        place: Where it is.
        form: The form of its tables.
        bytes: Its size on disk.
        set_aside: Files of damaged ledgers that stand beside it.
        connections: What it knows, by account.
    """

    place: str
    form: int
    bytes: int
    set_aside: list[str]
    connections: list[Connection]


def overview(store: Store) -> Overview:
    """What a ledger holds.

    Raises:
        LedgerError: It can't be used.
    """
    return store.repeat(lambda: _overview(store))


def _overview(store: Store) -> Overview:
    with store.transaction() as db:
        accounts = db.execute(sa.select(tables.account).order_by(tables.account.c.id)).all()
        return Overview(
            place=store.place.removeprefix("at "),
            form=db.execute(sa.select(tables.about.c.version)).scalar_one(),
            bytes=_size(db),
            set_aside=set_aside(store),
            connections=[_connection(store, db, account) for account in accounts],
        )


def size(store: Store) -> int:
    """A ledger's size on disk, in bytes.

    Raises:
        LedgerError: It can't be used.
    """

    def look() -> int:
        with store.transaction() as db:
            return _size(db)

    return store.repeat(look)


def set_aside(store: Store) -> list[str]:
    """The files of damaged ledgers that stand beside a ledger."""
    url = store.engine.url
    if url.get_backend_name() != "sqlite" or not url.database:
        return []
    path = Path(url.database)
    return sorted(str(file) for file in path.parent.glob(f"{path.name}.damaged-*"))


def _connection(store: Store, db: sa.Connection, account: sa.Row[tuple[object, ...]]) -> Connection:
    run, existing = tables.run, tables.existing
    latest_first = (run.c.started.desc(), run.c.id.desc())
    runs = db.execute(
        sa.select(run).where(run.c.account == account.id).order_by(*latest_first)
    ).all()
    views = [_run(db, one) for one in runs]
    going_on = {view.id for view in views if view.state == "going on"}
    contacts = db.execute(
        sa.select(sa.func.count()).where(existing.c.account == account.id)
    ).scalar_one()
    return Connection(
        identity=account.identity,
        runs=views,
        segments=_segments(db, account.id, going_on),
        in_flight=_in_flight(store, db, [view.id for view in views]),
        existing=Index(contacts, account.index_total),
    )


def _run(db: sa.Connection, run: sa.Row[tuple[object, ...]]) -> RunView:
    return RunView(
        id=run.id,
        state=_state(db, run),
        host=run.host,
        process=int(run.process.partition(":")[0]),
        started=_time(run.started),
        last_seen=_time(run.beat) if run.beat else None,
        finished=None if run.finished is None else _time(run.finished),
        outcome=run.outcome,
        counts=json.loads(run.counts or "{}"),
    )


def _state(db: sa.Connection, run: sa.Row[tuple[object, ...]]) -> str:
    if living(db, run):
        return "going on"
    if run.outcome is None or run.outcome == CUT_OFF:
        return "cut off"
    # One that ends with something left takes its last sign of life back.
    return "finished" if run.beat else "unfinished"


def _segments(db: sa.Connection, account: int, going_on: set[str]) -> list[SegmentView]:
    segment, member = tables.segment, tables.member
    rows = db.execute(
        sa.select(segment)
        .where(segment.c.account == account)
        .order_by(segment.c.stream, segment.c.list)
    ).all()
    people: dict[int, dict[int, int]] = {}
    counted = (
        sa.select(member.c.segment, member.c.membership, sa.func.count())
        .where(member.c.segment.in_([row.id for row in rows]))
        .group_by(member.c.segment, member.c.membership)
    )
    for number, membership, count in db.execute(counted):
        people.setdefault(number, {})[membership] = count
    return [
        SegmentView(
            stream=row.stream,
            list=row.list,
            mirror=row.mirror,
            mark=row.mark,
            people={
                word: people.get(row.id, {}).get(membership, 0)
                for membership, word in MEMBERSHIPS.items()
            },
            complete_pass=row.complete_pass,
            size=row.size,
            guard_tripped=row.tripped,
            loaded_by=row.run if row.run in going_on else None,
        )
        for row in rows
    ]


def _in_flight(store: Store, db: sa.Connection, runs: list[str]) -> list[InFlight]:
    table = tables.import_
    mine = sa.and_(table.c.run.in_(runs), table.c.confirmed.is_(None))
    rows = db.execute(sa.select(table).where(mine).order_by(table.c.id))
    return [
        InFlight(row.run, _time(row.posted), row.batch_id, len(decoded(store, row.contacts)))
        for row in rows
    ]


def _size(db: sa.Connection) -> int:
    if db.dialect.name == "sqlite":
        path = db.engine.url.database
        files = [Path(f"{path}{ending}") for ending in ("", "-wal")]
        return sum(file.stat().st_size for file in files if file.exists())
    asked = sa.text(
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = :schema AND c.relkind = 'r'"
    )
    return int(db.execute(asked, {"schema": forms.SCHEMA}).scalar_one())


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
