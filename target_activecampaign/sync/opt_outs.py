"""The reading of who has opted out of a list, or bounced on it, into the ledger.

All of them are read every `opt_out_refresh_days`. In between, a run reads those that have changed
if the account's filter finds them. If not, a mirror reads all opt-outs in each run, as it must not
take a contact that has opted out for one of its own; other sync modes read none.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from target_activecampaign.ledger.opt_outs import KnownOptOut
from target_activecampaign.model.email import contact_key
from target_activecampaign.model.status import BOUNCED, UNSUBSCRIBED
from target_activecampaign.text import chunks, pluralize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from target_activecampaign.client import Client
    from target_activecampaign.config.settings import Settings
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.sync.account_facts import AccountFacts
    from target_activecampaign.sync.segment import Segment
    from target_activecampaign.sync.stop import StopRequest

logger = logging.getLogger("target-activecampaign")

_DAY_SECONDS = 86_400
_MARGIN_SECONDS = _DAY_SECONDS
"""Changes are read from so long before the last reading: clocks differ, and the zone of the
filter's time is not documented."""

_EARLY_SECONDS = 3600
"""All are read again so much earlier: a daily run starts at about the same time of the day."""

_LOG_EVERY = 10_000

_CHECKS = 10
"""Requests per list and run that check if contacts are still opted out."""

_CONTACTS_PER_CHECK = 100

_SEARCHES = 10
"""Requests per list and run that find the ids of contacts for these checks."""


class OptOutReader:
    """Reads opt-outs and bounces, once per list and run.

    Args:
        client: The client of the account.
        ledger: Stores them.
        settings: The settings.
        facts: What is known of the account.
        stop: Stops the reading. What was read by then stays, but does not count as complete.

    Attributes:
        extra_requests: The number of requests that only a preview makes.
    """

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        settings: Settings,
        facts: AccountFacts,
        stop: StopRequest,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._refresh_seconds = settings.opt_out_refresh_days * _DAY_SECONDS - _EARLY_SECONDS
        given = settings.opt_outs_update_contacts
        self._finds_changes = facts.finds_opt_outs if given is None else given
        self._is_preview = settings.dry_run
        self._stop = stop
        self._read: dict[int, bool] = {}
        self._resubscribed: dict[int, set[bytes]] = {}
        self._just_read: set[int] = set()
        self._checks: Counter[int] = Counter()
        self._searches: Counter[int] = Counter()
        self._unknown = _UnknownToRun()
        self.extra_requests = 0

    def read_for_mirror(self, segment: Segment) -> None:
        """Store which members of a mirror have opted out: their memberships are not ours."""
        members = self._ledger.members
        if not segment.unsubscribes or not members.has_current(segment.number):
            return
        list_id = segment.target.id
        if not self._read.get(list_id):
            self._read_list(list_id, is_for_mirror=True)
        count = members.record_known_opt_outs(segment.of_list, list_id)
        if count:
            logger.info("List %d: %d contacts unsubscribed since the last run.", list_id, count)

    def read(self, list_id: int) -> None:
        """Read the opt-outs and bounces of a list, as far as they are due."""
        if list_id not in self._read:
            self._read_list(list_id, is_for_mirror=False)

    def find_returned(self, list_id: int, opt_outs: Mapping[str, KnownOptOut]) -> set[bytes]:
        """Find the contacts that no longer are opted out, as they have used a form for example.

        The number of requests for this is limited. Contacts beyond it count as opted out until the
        list is read again. So do contacts that have bounced: they can't undo that.

        Args:
            list_id: The list.
            opt_outs: Opt-outs of the ledger, by address.

        Returns:
            The contacts. Their opt-outs are no longer in the ledger.
        """
        if list_id in self._just_read:
            return set()
        ids = {}
        for email, one in opt_outs.items():
            if not one.is_bounced and (contact_id := self._id(list_id, email, one)) is not None:
                ids[contact_id] = one.contact
        returned: set[bytes] = set()
        for some in islice(chunks(ids, _CONTACTS_PER_CHECK), _CHECKS - self._checks[list_id]):
            self._checks[list_id] += 1
            still = self._client.find_opted_out(list_id, some)
            returned.update(ids[one] for one in some if one not in still)
        if returned:
            self._ledger.opt_outs.discard(list_id, returned)
            contacts = pluralize(len(returned), "contact")
            logger.info("List %d: %s no longer opted out.", list_id, contacts)
        return returned

    def find_unknown(self, list_id: int, contacts: Collection[bytes]) -> dict[bytes, bool]:
        """Return those contacts that a preview has read, but a run does not know yet.

        Returns:
            Whether each of them has bounced, by contact.
        """
        return self._unknown.find(list_id, contacts) if self._is_preview else {}

    def close(self) -> None:
        """Delete what only a preview has read."""
        self._unknown.close()

    def leave_out(self, list_id: int, contacts: Collection[bytes]) -> None:
        """Delete contacts that are about to be subscribed to a list again.

        For the rest of the run, they are not taken for opted out.
        """
        self._ledger.opt_outs.discard(list_id, contacts)
        self._resubscribed.setdefault(list_id, set()).update(contacts)

    def _id(self, list_id: int, email: str, opt_out: KnownOptOut) -> int | None:
        """Return a contact's id; None if it is not known, and no request is left to find it."""
        if opt_out.id is not None or self._searches[list_id] == _SEARCHES:
            return opt_out.id
        self._searches[list_id] += 1
        contact = self._client.find_contact(email)
        if contact is None:
            return None
        self._ledger.opt_outs.add_refused([list_id], opt_out._replace(id=contact.id))
        return contact.id

    def _read_list(self, list_id: int, *, is_for_mirror: bool) -> None:
        self._read_status(list_id, UNSUBSCRIBED, is_needed=is_for_mirror)
        self._read_status(list_id, BOUNCED, is_needed=False)
        self._read[list_id] = is_for_mirror

    def _read_status(self, list_id: int, status: int, *, is_needed: bool) -> None:
        opt_outs = self._ledger.opt_outs
        known, started = opt_outs.progress(list_id, status), self._ledger.now()
        since = None
        is_due = known.read_all is None or started - known.read_all > self._refresh_seconds
        if not is_due and self._finds_changes and known.read_to is not None:
            since = known.read_to - _MARGIN_SECONDS
        elif not (is_due or is_needed or self._is_preview):
            return
        if since is None and not (is_due or is_needed):
            # A preview reads them before they are due. The run that it stands for does not, so
            # they are refused by its imports.
            requests = self._client.request_count
            for some in self._contacts(list_id, status, None):
                self._unknown.add(list_id, some)
            self.extra_requests += self._client.request_count - requests
            return
        reading, count = opt_outs.begin_reading(list_id, status), 0
        for some in self._contacts(list_id, status, since):
            opt_outs.add(list_id, some, reading)
            count += len(some)
        opt_outs.complete_reading(list_id, status, reading, started, of_all=since is None)
        if status == UNSUBSCRIBED and since is None:
            self._just_read.add(list_id)
        if count:
            kind = "bounced" if status == BOUNCED else "opted out"
            which = "all" if since is None else "changed"
            contacts = pluralize(count, "contact")
            logger.info("List %d: read %s that %s (%s).", list_id, contacts, kind, which)

    def _contacts(
        self, list_id: int, status: int, since: float | None
    ) -> Iterator[list[KnownOptOut]]:
        """Yield the contacts with a status on a list, in chunks."""
        resubscribed = self._resubscribed.get(list_id, set())
        count = 0
        found = self._client.contacts(list_id=list_id, status=status, updated_after=since)
        for some in chunks(found):
            hashes = [self._ledger.contact_hash(contact_key(one.email)) for one in some]
            yield [
                KnownOptOut(contact_hash, status, one.bounced_hard > 0, one.id)
                for contact_hash, one in zip(hashes, some, strict=True)
                if contact_hash not in resubscribed
            ]
            count += len(some)
            if count % _LOG_EVERY == 0:
                logger.info("Reading the opt-outs of list %d: %d so far.", list_id, count)
            self._stop.check()


class _UnknownToRun:
    """Opt-outs and bounces that only a preview has read, in a temporary file."""

    def __init__(self) -> None:
        self._db: sqlite3.Connection | None = None

    def add(self, list_id: int, opt_outs: Iterable[KnownOptOut]) -> None:
        """Add contacts of a list."""
        if self._db is None:
            # A temporary file, as the name is empty: memory does not grow with the list.
            self._db = sqlite3.connect("")
            self._db.execute(
                "CREATE TABLE unknown (list INTEGER, person BLOB, bounced INTEGER,"
                " PRIMARY KEY (list, person)) WITHOUT ROWID"
            )
        rows = [
            (list_id, one.contact, one.has_bounced or one.status == BOUNCED) for one in opt_outs
        ]
        self._db.executemany("INSERT OR REPLACE INTO unknown VALUES (?, ?, ?)", rows)

    def find(self, list_id: int, contacts: Iterable[bytes]) -> dict[bytes, bool]:
        """Return whether each contact has bounced, of those that were added."""
        if self._db is None:
            return {}
        query = "SELECT bounced FROM unknown WHERE list = ? AND person = ?"
        found = {}
        for contact in contacts:
            row = self._db.execute(query, (list_id, contact)).fetchone()
            if row is not None:
                found[contact] = bool(row[0])
        return found

    def close(self) -> None:
        """Delete the file."""
        if self._db is not None:
            self._db.close()
