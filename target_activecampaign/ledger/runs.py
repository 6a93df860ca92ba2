"""The runs: those in progress, the interrupted ones, and the results of the finished ones."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from target_activecampaign.errors import LedgerError
from target_activecampaign.ledger.imports import discard_arrived
from target_activecampaign.ledger.schema import import_ as import_table
from target_activecampaign.ledger.schema import rename as rename_table
from target_activecampaign.ledger.schema import run as table
from target_activecampaign.ledger.schema import segment as segment_table
from target_activecampaign.ledger.schema import stream_run as stream_run_table
from target_activecampaign.ledger.schema import waiting as waiting_table
from target_activecampaign.ledger.store import retryable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_activecampaign.ledger.store import Store

_STALE_SECONDS = 300.0
_BEAT_SECONDS = 20.0
INTERRUPTED = "cut off"
"""The stored outcome of a run that ended without storing one, as after SIGKILL."""
_RUNS_KEPT = 100
"""Finished runs of an account that are kept for the overview."""


class Runs:
    """An account's runs, seen from the current one.

    Creating it stores the current run and takes over from interrupted ones.

    Args:
        store: The ledger's database.
        account: The account's number.
        run_id: The current run.
        now: ActiveCampaign's time.

    Attributes:
        interrupted_since: The start of the earliest interrupted run that this one takes over from;
            None if there is none. Records that it delivered after its last STATE come again.
        interrupted: The ids of all these runs, and of those from which they had taken over.
    """

    def __init__(self, store: Store, account: int, run_id: str, now: float) -> None:
        self._store = store
        self._account = account
        self._run_id = run_id
        self.interrupted: list[str] = []
        results: list[float | None] = []

        def take_over() -> None:
            with store.transaction(alone=True) as db:
                # A first attempt may have been committed, with only the response lost.
                stored = sa.select(table.c.id).where(self._is_current)
                if not results or db.execute(stored).first() is None:
                    results[:] = [self._take_over(db, now)]

        store.retry(take_over)
        self.interrupted_since = results[0]
        self._ended = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, name="ledger", daemon=True)
        self._heartbeat.start()

    def _take_over(self, db: sa.Connection, now: float) -> float | None:
        """Store this run, and adopt the imports in flight of the account's interrupted runs."""
        unfinished = db.execute(
            sa.select(table).where(table.c.account == self._account, table.c.finished.is_(None))
        ).all()
        db.execute(
            table.insert().values(
                id=self._run_id,
                account=self._account,
                host=socket.gethostname(),
                process=_process_identity(os.getpid()),
                started=now,
                beat=_database_time(db),
            )
        )
        dead = [run for run in unfinished if not is_running(db, run)]
        ids = [run.id for run in dead]
        self.interrupted = [*ids, *self._earlier_than(db, dead)]
        # Ended runs, too, leave contacts at temporary addresses if they could not move them on.
        running = [run.id for run in unfinished if run.id not in ids]
        db.execute(
            import_table.update().where(import_table.c.run.in_(ids)).values(run=self._run_id)
        )
        db.execute(
            rename_table.update()
            .where(rename_table.c.account == self._account, rename_table.c.run.not_in(running))
            .values(run=self._run_id)
        )
        # Their records come again.
        db.execute(waiting_table.delete().where(waiting_table.c.run.in_(ids)))
        db.execute(
            table.update()
            .where(table.c.id.in_(ids))
            .values(finished=now, outcome=sa.func.coalesce(table.c.outcome, INTERRUPTED))
        )
        return min((run.started for run in dead), default=None)

    def _earlier_than(self, db: sa.Connection, runs: Sequence[sa.Row[Any]]) -> list[str]:
        """Return the runs from which these, or the ones before them, had taken over."""
        found: list[str] = []
        starts = [run.started for run in runs]
        while starts:
            # A run that takes over stores its own start as the end of the others.
            query = sa.select(table.c.id, table.c.started).where(
                table.c.account == self._account,
                table.c.finished.in_(starts),
                table.c.id.not_in(found),
            )
            earlier = db.execute(query).all()
            found += [run.id for run in earlier]
            starts = [run.started for run in earlier]
        return found

    def _beat(self) -> None:
        """Store a heartbeat from time to time, for runs on other machines."""
        while not self._ended.wait(_BEAT_SECONDS):
            # Ignore an unreachable ledger here: the statements that need it report it.
            with contextlib.suppress(LedgerError), self._store.transaction() as db:
                db.execute(table.update().where(self._is_current).values(beat=_database_time(db)))

    def _stop_heartbeat(self) -> None:
        self._ended.set()
        self._heartbeat.join()

    @retryable
    def end(self, now: float, outcome: str, counts: Mapping[str, Any]) -> None:
        """Store the end of this run: all its records are accounted for and its STATE is out."""
        self._stop_heartbeat()
        with self._store.transaction() as db:
            if outcome != "stopped":  # else the source has not brought all contacts again
                mine = sa.select(segment_table.c.id).where(segment_table.c.run == self._run_id)
                discard_arrived(self._store, db, self._account, db.execute(mine).scalars())
            unsettled = sa.and_(
                import_table.c.run == self._run_id, import_table.c.arrived.is_not(True)
            )
            db.execute(import_table.delete().where(unsettled))
            db.execute(waiting_table.delete().where(waiting_table.c.run == self._run_id))
            ended = {"finished": now, "outcome": outcome, "counts": json.dumps(counts)}
            db.execute(table.update().where(self._is_current).values(ended))
            old = (
                sa.select(table.c.id)
                .where(table.c.account == self._account, table.c.finished.is_not(None))
                .order_by(table.c.started.desc())
                .offset(_RUNS_KEPT)
            )
            ids = [row.id for row in db.execute(old)]
            db.execute(import_table.delete().where(import_table.c.run.in_(ids)))
            db.execute(stream_run_table.delete().where(stream_run_table.c.run.in_(ids)))
            db.execute(table.delete().where(table.c.id.in_(ids)))

    @retryable
    def abandon(self, outcome: str, counts: Mapping[str, Any]) -> None:
        """Store the end of this run with work left, from which the next one takes over."""
        self._stop_heartbeat()
        ended = {"host": "", "beat": 0.0, "outcome": outcome, "counts": json.dumps(counts)}
        with self._store.transaction() as db:
            db.execute(waiting_table.delete().where(waiting_table.c.run == self._run_id))
            db.execute(table.update().where(self._is_current).values(ended))

    @property
    def _is_current(self) -> sa.ColumnElement[bool]:
        return table.c.id == self._run_id


def is_running(db: sa.Connection, run: sa.Row[Any]) -> bool:
    """Return whether a run is in progress. On another machine, its latest heartbeat decides."""
    if run.finished is not None:
        return False
    here = _process_identity(os.getpid()).rpartition(":")[2]
    if run.host != socket.gethostname() or run.process.rpartition(":")[2] != here:
        return bool(_database_time(db) - run.beat < _STALE_SECONDS)
    pid = process_number(run)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return bool(_process_identity(pid) == run.process)


def process_number(run: sa.Row[Any]) -> int:
    """Return the number of a run's process on its machine."""
    return int(run.process.partition(":")[0])


def _database_time(db: sa.Connection) -> float:
    """Return the time by the database's clock, the one that all users of a ledger share."""
    if db.dialect.name == "postgresql":
        clock = sa.extract("epoch", sa.func.clock_timestamp())
        return float(db.execute(sa.select(clock)).scalar_one())
    return time.time()


def _process_identity(pid: int) -> str:
    """Return a process's number, its start (numbers are reused) and its PID namespace.

    Containers may share a host name, and each has a process 1 of its own.
    """
    try:
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        start = ""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{pid}:{start}:{namespace.replace(':', '')}"
