"""The queue of imports: applies each when it is due, in one transaction."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox import records
from activecampaign_sandbox.exclusion_rules import ExclusionRules
from activecampaign_sandbox.import_plan import ImportPlan

if TYPE_CHECKING:
    from sqlite3 import Row

    from activecampaign_sandbox.options import Options
    from activecampaign_sandbox.store import Store

_LOG = logging.getLogger(__name__)

_NEVER = 10**12  # a time some thirty thousand years ahead
_LONGEST_PAUSE_SECONDS = 1.0  # the longest delay of an import if the machine's clock is changed


class ImportQueue:
    """The import queue of one account.

    Args:
        store: The account's data.
        options: The sandbox's options.
    """

    def __init__(self, store: Store, options: Options) -> None:
        self._store = store
        self._options = options
        self._exclusions: ExclusionRules | None = None
        self._tags: dict[str, int] = {}
        self._changed = asyncio.Event()

    def exclusions(self) -> ExclusionRules:
        """Return the account's exclusions."""
        if self._exclusions is None:
            self._exclusions = ExclusionRules(self._store)
        return self._exclusions

    def clear_cache(self) -> None:
        """Forget the cached exclusions and tags, after another part has changed them."""
        self._exclusions = None
        self._tags.clear()

    def notify(self) -> None:
        """Wake `run`: an import was queued, or is due at another time."""
        self._changed.set()

    async def run(self) -> None:
        """Apply imports as they become due, until cancelled; requests are answered in between."""
        while True:
            self._changed.clear()
            if self.apply_next(time.time()):
                await asyncio.sleep(0)
                continue
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._pause())

    def _pause(self) -> float:
        """Return the seconds until the next import is due."""
        (row,) = self._store.all("SELECT min(due) AS due FROM import WHERE status IS NULL")
        if row["due"] is None:
            return _LONGEST_PAUSE_SECONDS
        seconds: float = row["due"] - time.time()
        return min(max(seconds, 0.0), _LONGEST_PAUSE_SECONDS)

    def apply_next(self, moment: float) -> bool:
        """Apply the first import that is due at a time; return False if there is none."""
        row = self._store.one(
            "SELECT * FROM import WHERE status IS NULL AND due <= ? ORDER BY due, id LIMIT 1",
            moment,
        )
        if row is None:
            return False
        try:
            with self._store.transaction():
                self._apply(row)
        except Exception as error:  # noqa: BLE001 - a contact may hold anything
            # As in a real account, only this import fails, and the queue goes on.
            _LOG.error("Import %s failed: %s", row["batch"], type(error).__name__)
            self.clear_cache()
            self._end(row["id"], "failed", [], [])
        return True

    def apply_all(self) -> int:
        """Apply all queued imports, due or not; return their number."""
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
            plan = ImportPlan(
                self._store,
                self._options,
                exclusions=self.exclusions(),
                tags=self._tags,
                contacts=contacts,
                dropped=dropped,
            )
            if plan.names_deleted_list:
                self._end(row["id"], "failed", [], [])
                return
            plan.write()
            self._count(plan, automations=not row["exclude_automations"])
            success = plan.created + (plan.updated if self._options.success_lists == "all" else [])
            failure = plan.failure
            if fault.get("silent"):
                failure = [one for one in failure if records.email_key(one) not in dropped]
            if plan.beyond_limit and self._options.account_limit_as == "failed":
                status = "failed"
        self._end(row["id"], fault.get("status", status), success, failure)

    def _count(self, plan: ImportPlan, *, automations: bool) -> None:
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

    def apply_fault(self, batch: str, fault: dict[str, Any]) -> None:
        """Apply a fault to a queued import.

        Args:
            batch: The import's batchId.
            fault: The final ``status``; whether the import is ``applied``; addresses to ``drop``,
                and whether that is ``silent``, without an entry in ``failure``; ``latency`` in
                seconds, None for an import that never ends; ``false_status`` in seconds.
        """
        latency = fault.get("latency", self._options.latency)
        self._store.db.execute(
            "UPDATE import SET fault = ?, due = coalesce(accepted + ?, ?) WHERE batch = ?",
            (json.dumps(fault), latency, _NEVER, batch),
        )
        self.notify()
