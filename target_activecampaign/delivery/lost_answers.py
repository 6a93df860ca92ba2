"""Imports whose answer was lost: asked for before they are sent again.

An accepted import is taken whole [doc], but without its batch id nobody can ask for it. So up to
three of its contacts are looked up: if one is exactly as it was sent, and was changed since, the
import has arrived. Then each of its contacts is looked up, and those that differ are sent.

This errs towards sending again: a second import of the same values may start automations again, but
loses nothing. A contact counts as arrived only if the account has exactly its values.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from target_activecampaign.client import MalformedAnswer, RequestRefused
from target_activecampaign.delivery.stored_contacts import StoredContacts
from target_activecampaign.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_activecampaign.client import Client
    from target_activecampaign.delivery.batches import Entry
    from target_activecampaign.delivery.dispatcher import Dispatcher
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.model.timings import Timings

logger = logging.getLogger("target-activecampaign")

_PROBES = 3
_LOOKUPS_AT_ONCE = 4
_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 5.0


class LostAnswers:
    """Finds out if imports have arrived whose answer was lost, and which of their contacts.

    Args:
        client: The client of the account.
        dispatcher: Its pool `ask` waits for the answers about single contacts.
        timings: The times to wait, and the limit of contacts that are looked up.
    """

    def __init__(self, client: Client, dispatcher: Dispatcher, timings: Timings) -> None:
        self._client = client
        self._dispatcher = dispatcher
        self._timings = timings
        self._contacts = StoredContacts(client)
        self._lookups_left = timings.lost_answer_lookups
        self._is_queue_readable = True
        self._stopped: float | None = None

    def stop(self) -> None:
        """End soon, as the run was stopped. May be called from a signal handler."""
        self._stopped = time.monotonic()

    def has_arrived(self, probes: Sequence[Contact], posted: float) -> bool:
        """Return whether an import has arrived. Blocks until that is known.

        It has not if the import queue has become empty, or patience is exhausted, and none of the
        contacts shows it. It also counts as not arrived if a run can look up no more contacts, so
        that an account whose answers never have an id ends the run.

        Args:
            probes: Some of its contacts, as `choose_probes` returns them.
            posted: The time when it was first posted, by ActiveCampaign's clock.

        Raises:
            ActiveCampaignError: The account can't be asked, or the client was closed.
            DeliveryError: The run was stopped meanwhile.
        """
        if not probes or not self._lookups_left:
            return False
        started = time.monotonic()
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._check_not_stopped()
            waited = time.monotonic() - started
            # Both before the contacts: they show what the queue has done until then.
            is_idle = self._is_late(posted) and self._is_queue_empty()
            is_over = is_idle or waited >= self._timings.lost_answer_patience_seconds
            shown = [self._contacts.has_import(one, posted) for one in probes]
            if all(shown) or is_over:
                break
            self._client.pause(min(pause, self._timings.lost_answer_seconds))
            pause = min(2 * pause, _MAX_PAUSE_SECONDS)
        verdict = "arrived" if any(shown) else "not arrived, so it is sent again"
        logger.warning("The answer to an import was lost. The import has %s.", verdict)
        return any(shown)

    def _check_not_stopped(self) -> None:
        # Single contacts may be answered while imports are not: then there is no silence.
        if self._stopped is None:
            return
        if time.monotonic() - self._stopped >= self._timings.max_silence_seconds:
            raise DeliveryError(
                "The run was stopped before it was known if an import has arrived. Nothing is "
                "lost: the next run looks up its contacts."
            )

    def _is_late(self, posted: float) -> bool:
        """Return whether the queue has had time for the import, even if it shows no work."""
        return self._client.server_time() >= posted + self._timings.lost_answer_seconds

    def _is_queue_empty(self) -> bool:
        """Return whether the account's import queue has no work; False if it does not say."""
        if not self._is_queue_readable:
            return False
        try:
            return self._client.count_outstanding_imports() == 0
        except (RequestRefused, MalformedAnswer):
            # What is wrong with the key, for example, shows in the next request as well.
            self._is_queue_readable = False
            return False

    def find_different(self, entries: Sequence[Entry], then: Callable[[set[str]], None]) -> None:
        """Find the contacts that are not stored exactly as an import sent them.

        Contacts beyond the limit of lookups count as different. An error ends the delivery.

        Args:
            entries: The contacts.
            then: Called with the keys of those that differ, on the dispatcher's thread.
        """
        known = deque(entries[: self._lookups_left])
        self._lookups_left -= len(known)
        different = {one.key for one in entries[len(known) :]}
        left = len(known)
        logger.info("Looking up %d contacts of imports whose answer was lost.", left)

        def look_up_next() -> None:
            if known:
                entry = known.popleft()
                self._dispatcher.call(
                    "ask",
                    lambda: self._contacts.difference(entry.contact) is not None,
                    lambda result, error: found(entry, result, error),
                )

        def found(entry: Entry, is_different: bool | None, error: Exception | None) -> None:
            nonlocal left
            if error is not None:
                raise error
            left -= 1
            if is_different:
                different.add(entry.key)
            if left:
                look_up_next()
            else:
                then(different)

        # Few at a time: polls of other imports wait for the same threads.
        for _ in range(_LOOKUPS_AT_ONCE):
            look_up_next()
        if not left:
            then(different)


def choose_probes(entries: Sequence[Entry]) -> list[Entry]:
    """Return up to three contacts of an import by which it can be seen if it has arrived.

    New contacts show it best: the import would change them for certain. They are the first, the
    middle and the last one: neighbours may be dropped for the same reason, and an import that is
    being worked off has not come to the last one.
    """
    new = [one for one in entries if not one.known]
    some = new if len(new) >= _PROBES else entries
    return [some[index] for index in sorted({0, len(some) // 2, len(some) - 1})]
