"""Applies queued imports in the order in which they are due, each in one transaction."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox import records
from activecampaign_sandbox.importplan import Excluded, Plan

if TYPE_CHECKING:
    from sqlite3 import Row

    from activecampaign_sandbox.options import Options
    from activecampaign_sandbox.store import Store

_LOG = logging.getLogger(__name__)

_NEVER = 10**12  # as a moment: some thirty thousand years ahead
_TICK = 0.02  # how late an import may be applied, in seconds


class ImportQueue:
    """The import queue of one account.

    Args:
        store: The account's data.
        options: The sandbox's switches.
    """

    def __init__(self, store: Store, options: Options) -> None:
        self._store = store
        self._options = options
        self._excluded: Excluded | None = None
        self._tags: dict[str, int] = {}

    def excluded(self) -> Excluded:
        """The exclusion list."""
        if self._excluded is None:
            rows = self._store.all("SELECT pattern FROM excluded")
            self._excluded = Excluded(frozenset(records.email_key(row["pattern"]) for row in rows))
        return self._excluded

    def forget_cached(self) -> None:
        """Read the exclusion list and the tags anew: another door changed them."""
        self._excluded = None
        self._tags.clear()

    async def run(self) -> None:
        """Apply imports as they become due, until cancelled; requests are answered between."""
        while True:  # noqa: ASYNC110 - it waits for the clock
            await asyncio.sleep(0 if self.apply_next(time.time()) else _TICK)

    def apply_next(self, moment: float) -> bool:
        """Apply the first import that is due at the moment; False when there is none."""
        row = self._store.one(
            "SELECT * FROM import WHERE status IS NULL AND due <= ? ORDER BY due, id LIMIT 1",
            moment,
        )
        if row is None:
            return False
        try:
            with self._store.transaction():
                self._apply(row)
        except Exception as error:  # noqa: BLE001 - whatever a contact may hold
            # The queue goes on: as in the account, this import alone ends as failed.
            _LOG.error("Import %s failed: %s", row["batch"], type(error).__name__)
            self.forget_cached()
            self._end(row["id"], "failed", [], [])
        return True

    def settle(self) -> int:
        """Apply all that is queued now, due or not; returns how many imports that were."""
        applied = 0
        while self.apply_next(_NEVER - 1):
            applied += 1
        return applied

    def _apply(self, row: Row) -> None:
        fault = json.loads(row["fault"] or "{}")
        status, success, failure = "completed", list[int](), list[str]()
        if fault.get("applied", True):
            body = self._store.all("SELECT body FROM import_body WHERE import = ?", row["id"])
            contacts = json.loads(body[0]["body"])["contacts"]
            dropped = {records.email_key(email) for email in fault.get("drop", ())}
            plan = Plan(
                self._store,
                self._options,
                excluded=self.excluded(),
                tags=self._tags,
                contacts=contacts,
                dropped=dropped,
            )
            plan.write()
            self._count(plan, automations=not row["exclude_automations"])
            success = plan.created + (plan.updated if self._options.success_lists == "all" else [])
            failure = plan.failure
            if fault.get("silent"):
                failure = [one for one in failure if records.email_key(one) not in dropped]
            if plan.beyond_limit and self._options.account_limit_as == "failed":
                status = "failed"
        self._end(row["id"], fault.get("status", status), success, failure)

    def _count(self, plan: Plan, *, automations: bool) -> None:
        applied = len(plan.created) + len(plan.updated)
        self._store.count("contacts_imported", applied)
        self._store.count("contacts_refused", len(plan.failure))
        if automations:
            self._store.count("automation_runs", applied)

    def _end(self, number: int, status: str, success: list[int], failure: list[str]) -> None:
        ids = [str(contact) for contact in dict.fromkeys(success)]
        self._store.db.execute(
            "UPDATE import SET status = ?, done = ?, success = ?, failure = ? WHERE id = ?",
            (status, time.time(), json.dumps(ids), json.dumps(failure), number),
        )
        self._store.db.execute("DELETE FROM import_body WHERE import = ?", (number,))

    def mark(self, batch: str, fault: dict[str, Any]) -> None:
        """Let a fault happen to a queued import.

        Args:
            batch: The import's batchId.
            fault: ``status`` it ends with, whether it is ``applied``, addresses to ``drop``
                and whether that is ``silent`` (in no ``failure``),
                ``latency`` in seconds (None: it never ends), ``false_status`` in seconds.
        """
        latency = fault.get("latency", self._options.latency)
        self._store.db.execute(
            "UPDATE import SET fault = ?, due = coalesce(accepted + ?, ?) WHERE batch = ?",
            (json.dumps(fault), latency, _NEVER, batch),
        )
