"""The reading of who has opted out of a list, or bounced on it, into the ledger.

All of them are read every `opt_out_refresh_days`. In between, a run reads those that have changed
if the account's filter finds them. If not, a mirror reads all opt-outs in each run, as it must not
take a contact that has opted out for one of its own; other sync modes read none.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign.ledger.opt_outs import BOUNCED, UNSUBSCRIBED, OptOut
from target_activecampaign.model.email import contact_key
from target_activecampaign.text import chunks, pluralize

if TYPE_CHECKING:
    from target_activecampaign.client import Client
    from target_activecampaign.config.settings import Settings
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.sync.segment import Segment
    from target_activecampaign.sync.stop import StopRequest

logger = logging.getLogger("target-activecampaign")

_DAY_SECONDS = 86_400
_MARGIN_SECONDS = _DAY_SECONDS
"""How much earlier than the last reading a change may be: clocks differ, and the zone of the
filter's time is not documented."""

_LOG_EVERY = 10_000


class OptOutReader:
    """Reads opt-outs and bounces, once per list and run.

    Args:
        client: The client of the account.
        ledger: Stores them.
        settings: The settings.
        stop: Stops the reading. What was read by then stays, but does not count as complete.
    """

    def __init__(
        self, client: Client, ledger: Ledger, settings: Settings, stop: StopRequest
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._refresh_seconds = settings.opt_out_refresh_days * _DAY_SECONDS
        self._finds_changes = settings.opt_outs_update_contacts
        self._is_preview = settings.dry_run
        self._stop = stop
        self._read: set[int] = set()

    def read_for_mirror(self, segment: Segment) -> None:
        """Store which members of a mirror have opted out: their memberships are not ours."""
        members = self._ledger.members
        if not segment.unsubscribes or not members.has_current(segment.number):
            return
        list_id = segment.target.id
        self._read_list(list_id, is_for_mirror=True)
        count = members.record_known_opt_outs(segment.of_list, list_id)
        if count:
            logger.info("List %d: %d contacts unsubscribed since the last run.", list_id, count)

    def read(self, list_id: int) -> None:
        """Read the opt-outs and bounces of a list, as far as they are due."""
        if list_id not in self._read:
            self._read_list(list_id, is_for_mirror=False)

    def _read_list(self, list_id: int, *, is_for_mirror: bool) -> None:
        self._read_status(list_id, UNSUBSCRIBED, is_needed=is_for_mirror)
        self._read_status(list_id, BOUNCED, is_needed=False)
        self._read.add(list_id)

    def _read_status(self, list_id: int, status: int, *, is_needed: bool) -> None:
        opt_outs = self._ledger.opt_outs
        known, started = opt_outs.progress(list_id, status), self._ledger.now()
        since = None
        is_due = known.read_all is None or started - known.read_all >= self._refresh_seconds
        if not is_due and self._finds_changes and known.read_to is not None:
            since = known.read_to - _MARGIN_SECONDS
        elif not (is_due or is_needed or self._is_preview):
            return
        reading = opt_outs.begin_reading(list_id, status)
        count = self._read_contacts(list_id, status, reading, since)
        # A preview that reads all of them before they are due deletes none of those that the run
        # it stands for will know.
        if since is not None or is_due or is_needed:
            opt_outs.complete_reading(list_id, status, reading, started, of_all=since is None)
        if count:
            kind = "bounced" if status == BOUNCED else "opted out"
            which = "all" if since is None else "changed"
            contacts = pluralize(count, "contact")
            logger.info("List %d: read %s that %s (%s).", list_id, contacts, kind, which)

    def _read_contacts(self, list_id: int, status: int, reading: int, since: float | None) -> int:
        count = 0
        found = self._client.contacts(list_id=list_id, status=status, updated_after=since)
        for some in chunks(found):
            self._ledger.opt_outs.add(
                list_id,
                [
                    OptOut(
                        self._ledger.contact_hash(contact_key(one.email)),
                        status,
                        one.bounced_hard > 0,
                    )
                    for one in some
                ],
                reading,
            )
            count += len(some)
            if count % _LOG_EVERY == 0:
                logger.info("Reading the opt-outs of list %d: %d so far.", list_id, count)
            self._stop.check()
        return count
