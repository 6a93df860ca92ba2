"""A ledger in figures, without personal data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from target_activecampaign.ledger import schema as tables
from target_activecampaign.ledger.history import read_audience
from target_activecampaign.ledger.runs import INTERRUPTED, is_running, process_number
from target_activecampaign.ledger.write_buffer import decode
from target_activecampaign.model.ownership import Ownership
from target_activecampaign.model.status import BOUNCED, UNSUBSCRIBED

if TYPE_CHECKING:
    from target_activecampaign.ledger.history import Audience
    from target_activecampaign.ledger.store import Store

OWNERSHIP_NAMES = {
    Ownership.UNTRACKED: "delivered",
    Ownership.ADDED_BY_US: "added_by_us",
    Ownership.PRE_EXISTING: "found_on_the_list",
    Ownership.UNSUBSCRIBED_BY_US: "unsubscribed_by_us",
    Ownership.OPTED_OUT: "opted_out",
    Ownership.LEFT_STREAM: "left_the_stream",
}
"""The names of ownerships in the command's output."""


@dataclass(frozen=True)
class RunView:
    """A run.

    Attributes:
        id: Its id.
        state: `going on`, `cut off`, `unfinished` if it ended with work left for the next one, or
            `finished`.
        host: The machine that it was started on.
        process: The number of its process there.
        started: Its start.
        last_seen: Its last heartbeat; None if it ended with work left.
        finished: Its end, or the time when the next run took over from it.
        outcome: Its outcome, such as `completed` or `failed`.
        counts: Its numbers of records; empty for a run that was cut off.
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
        mirror: Whether contacts missing from the stream are removed.
        mark: The field or tag that marks its members, such as `field:7`, if one does.
        people: Its number of contacts by the name of their ownership.
        complete_pass: The number of the latest complete sync of a mirror; 0 before the first.
        size: The number of contacts in that sync.
        guard_tripped: Whether a guard has stopped a sync since.
        retries: The number of contacts whose rejected records the next run tries again.
        loaded_by: The run in progress that loads it.
    """

    stream: str
    list: int
    mirror: bool
    mark: str | None
    people: dict[str, int]
    complete_pass: int
    size: int | None
    guard_tripped: bool
    retries: int
    loaded_by: str | None


@dataclass(frozen=True)
class InFlight:
    """An import that is not confirmed.

    Attributes:
        run: The run that posted it.
        posted: The time when it was posted, or was about to be.
        batch_id: ActiveCampaign's id for it, if the run received it.
        contacts: Its number of contacts.
    """

    run: str
    posted: datetime
    batch_id: str | None
    contacts: int


@dataclass(frozen=True)
class Index:
    """The index of the contacts that an account has.

    Attributes:
        contacts: The number of contacts in it.
        account_had: The account's number of contacts when all had been read; None before that.
    """

    contacts: int
    account_had: int | None


@dataclass(frozen=True)
class RefusedByList:
    """The contacts that an import can't subscribe to a list.

    Attributes:
        list: The list's id.
        opted_out: The number of contacts that have opted out of it.
        bounced: The number of contacts on it that have bounced.
        read_all: The time when all of them were last read; None if they never were.
    """

    list: int
    opted_out: int
    bounced: int
    read_all: datetime | None


@dataclass(frozen=True)
class Connection:
    """An account that was loaded; its latest run comes first.

    Attributes:
        identity: Its name.
        runs: Its runs.
        segments: Its streams and lists.
        in_flight: Its imports that are not confirmed.
        existing: The index of its contacts.
        suppressed: The number of people who must never be sent.
    """

    identity: str
    runs: list[RunView]
    segments: list[SegmentView]
    in_flight: list[InFlight]
    existing: Index
    suppressed: int
    refused_by_lists: list[RefusedByList]


@dataclass(frozen=True)
class Overview:
    """A ledger.

    Attributes:
        place: Its place, without a password.
        form: The version of its tables.
        bytes: Its size on disk.
        set_aside: The paths of damaged ledgers beside it.
        connections: The accounts.
    """

    place: str
    form: int
    bytes: int
    set_aside: list[str]
    connections: list[Connection]


@dataclass(frozen=True)
class AccountAudience:
    """The audiences of an account.

    Attributes:
        identity: The account.
        audience: Its segments, and what they share.
    """

    identity: str
    audience: Audience


def read_audiences(store: Store) -> list[AccountAudience]:
    """Return the audiences of a ledger's accounts.

    Raises:
        LedgerError: It can't be used.
    """

    def read() -> list[AccountAudience]:
        with store.transaction() as db:
            accounts = db.execute(sa.select(tables.account).order_by(tables.account.c.id)).all()
            return [AccountAudience(one.identity, read_audience(db, one.id)) for one in accounts]

    return store.retry(read)


def read_overview(store: Store) -> Overview:
    """Return a ledger's figures.

    Raises:
        LedgerError: It can't be used.
    """
    return store.retry(lambda: _read_overview(store))


def _read_overview(store: Store) -> Overview:
    with store.transaction() as db:
        accounts = db.execute(sa.select(tables.account).order_by(tables.account.c.id)).all()
        return Overview(
            place=store.place.removeprefix("at "),
            form=db.execute(sa.select(tables.about.c.version)).scalar_one(),
            bytes=_size(db),
            set_aside=files_set_aside(store),
            connections=[_read_connection(store, db, account) for account in accounts],
        )


def count_suppressed(db: sa.Connection, account: int) -> int:
    """Return the number of an account's suppressed people, each once."""
    table = tables.suppression
    people = sa.select(sa.func.count(sa.distinct(table.c.person)))
    return int(db.execute(people.where(table.c.account == account)).scalar_one())


def size(store: Store) -> int:
    """Return a ledger's size on disk, in bytes.

    Raises:
        LedgerError: It can't be used.
    """

    def read_size() -> int:
        with store.transaction() as db:
            return _size(db)

    return store.retry(read_size)


def files_set_aside(store: Store) -> list[str]:
    """Return the paths of damaged ledgers that were set aside beside a ledger."""
    url = store.engine.url
    if url.get_backend_name() != "sqlite" or not url.database:
        return []
    path = Path(url.database)
    return sorted(str(file) for file in path.parent.glob(f"{path.name}.damaged-*"))


def _read_connection(
    store: Store, db: sa.Connection, account: sa.Row[tuple[object, ...]]
) -> Connection:
    run, existing = tables.run, tables.existing
    latest_first = (run.c.started.desc(), run.c.id.desc())
    runs = db.execute(
        sa.select(run).where(run.c.account == account.id).order_by(*latest_first)
    ).all()
    views = [_view_of(db, one) for one in runs]
    in_progress = {view.id for view in views if view.state == "going on"}
    contacts = db.execute(
        sa.select(sa.func.count()).where(existing.c.account == account.id)
    ).scalar_one()
    return Connection(
        identity=account.identity,
        runs=views,
        segments=_read_segments(db, account.id, in_progress),
        in_flight=_read_in_flight(store, db, [view.id for view in views]),
        existing=Index(contacts, account.index_total),
        suppressed=count_suppressed(db, account.id),
        refused_by_lists=_read_opt_outs(db, account.id),
    )


def _read_opt_outs(db: sa.Connection, account: int) -> list[RefusedByList]:
    table, reading = tables.opt_out, tables.opt_out_reading
    counted = (
        sa.select(table.c.list, table.c.status, sa.func.count().label("contacts"))
        .where(table.c.account == account)
        .group_by(table.c.list, table.c.status)
    )
    counts = {(row.list, row.status): row.contacts for row in db.execute(counted)}
    times = {
        row.list: row.read_all
        for row in db.execute(
            sa.select(reading).where(reading.c.account == account, reading.c.status == UNSUBSCRIBED)
        )
    }
    return [
        RefusedByList(
            list_id,
            counts.get((list_id, UNSUBSCRIBED), 0),
            counts.get((list_id, BOUNCED), 0),
            _time(times[list_id]) if times.get(list_id) else None,
        )
        for list_id in sorted({*times, *(list_id for list_id, _ in counts)})
    ]


def _view_of(db: sa.Connection, run: sa.Row[tuple[object, ...]]) -> RunView:
    return RunView(
        id=run.id,
        state=_state(db, run),
        host=run.host,
        process=process_number(run),
        started=_time(run.started),
        last_seen=_time(run.beat) if run.beat else None,
        finished=None if run.finished is None else _time(run.finished),
        outcome=run.outcome,
        counts=json.loads(run.counts or "{}"),
    )


def _state(db: sa.Connection, run: sa.Row[tuple[object, ...]]) -> str:
    if is_running(db, run):
        return "going on"
    if run.outcome is None or run.outcome == INTERRUPTED:
        return "cut off"
    # A run that ends with work left clears its last sign of life.
    return "finished" if run.beat else "unfinished"


def _read_segments(db: sa.Connection, account: int, in_progress: set[str]) -> list[SegmentView]:
    segment, member = tables.segment, tables.member
    rows = db.execute(
        sa.select(segment)
        .where(segment.c.account == account)
        .order_by(segment.c.stream, segment.c.list)
    ).all()
    counts: dict[int, dict[int, int]] = {}
    counted = (
        sa.select(member.c.segment, member.c.membership, sa.func.count().label("members"))
        .where(member.c.segment.in_([row.id for row in rows]))
        .group_by(member.c.segment, member.c.membership)
    )
    for row in db.execute(counted):
        counts.setdefault(row.segment, {})[row.membership] = row.members
    retry = tables.retry
    rejected = (
        sa.select(retry.c.segment, sa.func.count().label("contacts"))
        .where(retry.c.segment.in_([row.id for row in rows]))
        .group_by(retry.c.segment)
    )
    retries = {row.segment: row.contacts for row in db.execute(rejected)}
    return [
        SegmentView(
            stream=row.stream,
            list=row.list,
            mirror=row.mirror,
            mark=row.mark,
            people={
                name: counts.get(row.id, {}).get(ownership, 0)
                for ownership, name in OWNERSHIP_NAMES.items()
            },
            complete_pass=row.complete_pass,
            size=row.size,
            guard_tripped=row.tripped,
            retries=retries.get(row.id, 0),
            loaded_by=row.run if row.run in in_progress else None,
        )
        for row in rows
    ]


def _read_in_flight(store: Store, db: sa.Connection, runs: list[str]) -> list[InFlight]:
    table = tables.import_
    unconfirmed = sa.and_(table.c.run.in_(runs), table.c.confirmed.is_(None))
    rows = db.execute(sa.select(table).where(unconfirmed).order_by(table.c.id))
    return [
        InFlight(row.run, _time(row.posted), row.batch_id, len(decode(store, row.contacts)))
        for row in rows
    ]


def _size(db: sa.Connection) -> int:
    if db.dialect.name == "sqlite":
        path = db.engine.url.database
        files = [Path(f"{path}{ending}") for ending in ("", "-wal")]
        return sum(file.stat().st_size for file in files if file.exists())
    query = sa.text(
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = :schema AND c.relkind = 'r'"
    )
    return int(db.execute(query, {"schema": tables.SCHEMA}).scalar_one())


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
