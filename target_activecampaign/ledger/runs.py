"""The runs: which go on, which were cut off, what the finished ones came to."""

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
from target_activecampaign.ledger.schema import import_ as import_table
from target_activecampaign.ledger.schema import run as table
from target_activecampaign.ledger.store import repeatable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_activecampaign.ledger.store import Store

_STALE_SECONDS = 300.0
_BEAT_SECONDS = 20.0
CUT_OFF = "cut off"
"""The outcome of a run that did not live to say what it came to."""
_KEPT_RUNS = 100
"""Finished runs of an account that are kept to be shown."""


class Runs:
    """An account's runs, as one of them sees them.

    Args:
        store: The ledger's database.
        account: The account's number.
        run_id: The run's own name.
        now: ActiveCampaign's time.

    Attributes:
        cut_off: When the earliest run that was cut off and is now taken over had begun; None if
            there is none. What it delivered since its last STATE may come again.
    """

    def __init__(self, store: Store, account: int, run_id: str, now: float) -> None:
        self._store = store
        self._account = account
        self._run_id = run_id
        found: list[float | None] = []

        def take_over() -> None:
            with store.transaction(alone=True) as db:
                # Was it committed already, and only the answer to that lost?
                if not found or db.execute(sa.select(table.c.id).where(self._mine)).first() is None:
                    found[:] = [self._take_over(db, now)]

        store.repeat(take_over)
        self.cut_off = found[0]
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="ledger", daemon=True)
        self._heart.start()

    def _take_over(self, db: sa.Connection, now: float) -> float | None:
        """Enter this run, and make its own what dead runs of the account left behind."""
        unfinished = db.execute(
            sa.select(table).where(table.c.account == self._account, table.c.finished.is_(None))
        ).all()
        db.execute(
            table.insert().values(
                id=self._run_id,
                account=self._account,
                host=socket.gethostname(),
                process=_process(os.getpid()),
                started=now,
                beat=_time(db),
            )
        )
        dead = [run for run in unfinished if not living(db, run)]
        names = [run.id for run in dead]
        db.execute(
            import_table.update().where(import_table.c.run.in_(names)).values(run=self._run_id)
        )
        db.execute(
            table.update()
            .where(table.c.id.in_(names))
            .values(finished=now, outcome=sa.func.coalesce(table.c.outcome, CUT_OFF))
        )
        return min((run.started for run in dead), default=None)

    def _beat(self) -> None:
        """Show other machines from time to time that this run lives, whatever it waits for."""
        while not self._ended.wait(_BEAT_SECONDS):
            # A ledger that is gone is told of where it is needed.
            with contextlib.suppress(LedgerError), self._store.transaction() as db:
                db.execute(table.update().where(self._mine).values(beat=_time(db)))

    def _still(self) -> None:
        self._ended.set()
        self._heart.join()

    @repeatable
    def end(self, now: float, outcome: str, counts: Mapping[str, Any]) -> None:
        """Note that this run has ended, with all that it read settled and its STATE out."""
        self._still()
        with self._store.transaction() as db:
            db.execute(import_table.delete().where(import_table.c.run == self._run_id))
            text = json.dumps(counts)
            db.execute(
                table.update().where(self._mine).values(finished=now, outcome=outcome, counts=text)
            )
            old = (
                sa.select(table.c.id)
                .where(table.c.account == self._account, table.c.finished.is_not(None))
                .order_by(table.c.started.desc())
                .offset(_KEPT_RUNS)
            )
            names = [row.id for row in db.execute(old)]
            db.execute(table.delete().where(table.c.id.in_(names)))

    @repeatable
    def abandon(self, outcome: str, counts: Mapping[str, Any]) -> None:
        """Note that this run has ended with something left: the next one takes over from it."""
        self._still()
        ended = {"host": "", "beat": 0.0, "outcome": outcome, "counts": json.dumps(counts)}
        with self._store.transaction() as db:
            db.execute(table.update().where(self._mine).values(ended))

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return table.c.id == self._run_id


def living(db: sa.Connection, run: sa.Row[Any]) -> bool:
    """Whether a run goes on: by its process here, by its latest beat elsewhere."""
    if run.finished is not None:
        return False
    here = _process(os.getpid()).rpartition(":")[2]
    if run.host != socket.gethostname() or run.process.rpartition(":")[2] != here:
        return bool(_time(db) - run.beat < _STALE_SECONDS)
    pid = int(run.process.partition(":")[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return bool(_process(pid) == run.process)


def _time(db: sa.Connection) -> float:
    """The time by the one clock that all who share a ledger have: the database's."""
    if db.dialect.name == "postgresql":
        clock = sa.extract("epoch", sa.func.clock_timestamp())
        return float(db.execute(sa.select(clock)).scalar_one())
    return time.time()


def _process(pid: int) -> str:
    """A process's number, its start where the system tells (numbers come back), and its place.

    Containers may share a name, and then each has a process 1 of its own: the place is the
    namespace in which the number means something.
    """
    try:
        start = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        start = ""
    try:
        place = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        place = ""
    return f"{pid}:{start}:{place.replace(':', '')}"
