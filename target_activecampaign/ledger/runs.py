"""The runs: which go on, which were cut off, what the finished ones came to."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from target_activecampaign.ledger.tables import import_ as import_table
from target_activecampaign.ledger.tables import run as table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_activecampaign.ledger.store import Store

_STALE_SECONDS = 300.0
_BEAT_SECONDS = 20.0
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
        self._beat_at = time.monotonic()
        with store.transaction(alone=True) as db:
            self.cut_off = self._take_over(db, now)

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
                beat=time.time(),
            )
        )
        dead = [run for run in unfinished if not living(run)]
        names = [run.id for run in dead]
        db.execute(
            import_table.update().where(import_table.c.run.in_(names)).values(run=self._run_id)
        )
        db.execute(
            table.update().where(table.c.id.in_(names)).values(finished=now, outcome="cut off")
        )
        return min((run.started for run in dead), default=None)

    def beat(self) -> None:
        """Show other machines from time to time that this run lives; cheap to call often."""
        if time.monotonic() - self._beat_at >= _BEAT_SECONDS:
            self._beat_at = time.monotonic()
            with self._store.transaction() as db:
                db.execute(table.update().where(self._mine).values(beat=time.time()))

    def end(self, now: float, outcome: str, counts: Mapping[str, Any]) -> None:
        """Note that this run has ended, with all that it read settled and its STATE out."""
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

    def abandon(self) -> None:
        """Note that this run has ended with something left: the next one takes over from it."""
        with self._store.transaction() as db:
            db.execute(table.update().where(self._mine).values(host="", beat=0.0))

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return table.c.id == self._run_id


def living(run: sa.Row[Any]) -> bool:
    """Whether a run goes on: by its process here, by its latest beat elsewhere."""
    if run.finished is not None:
        return False
    if run.host != socket.gethostname():
        return bool(time.time() - run.beat < _STALE_SECONDS)
    pid = int(run.process.partition(":")[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return bool(_process(pid) == run.process)


def _process(pid: int) -> str:
    """A process's number and, where the system tells, its start: numbers come back."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return str(pid)
    return f"{pid}:{stat.rpartition(')')[2].split()[19]}"
