"""The reasons for which an import drops contacts: ActiveCampaign lists only the addresses.

Read-only requests find the reason: does the contact exist, has it bounced, is it opted out of the
list?
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign.delivery.stored_contacts import (
    BOUNCED,
    NOT_CREATED,
    StoredContacts,
    opted_out,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_activecampaign.client import Client
    from target_activecampaign.delivery.batches import Entry
    from target_activecampaign.delivery.dispatcher import Dispatcher
    from target_activecampaign.delivery.stored_contacts import Reason

logger = logging.getLogger("target-activecampaign")

_PROVEN = frozenset({"OPTED_OUT", "BOUNCED"})
"""Codes of refusals for which the account itself shows the reason."""

_FULL = 10
"""An import that drops so many new contacts and creates none suggests the account's limit."""


class RejectionLookup:
    """Looks up the reasons of refusals, up to a limit per run.

    Args:
        client: The client of the account.
        dispatcher: Its pool `ask` waits for the answers.
        limit: Maximum number of contacts to look up.
    """

    unknown = ("REFUSED_BY_IMPORT", "ActiveCampaign named the address as failed.")
    """Code and reason of a refusal that is not looked up."""

    def __init__(self, client: Client, dispatcher: Dispatcher, limit: int) -> None:
        self._client = client
        self._dispatcher = dispatcher
        self._left = limit
        self._contacts = StoredContacts(client)

    def reserve(self, count: int) -> bool:
        """Reserve lookups of so many contacts; return False if that exceeds the limit."""
        if count > self._left:
            return False
        self._left -= count
        return True

    @staticmethod
    def is_proof(code: str) -> bool:
        """Return whether a code means that the account itself shows the reason."""
        return code in _PROVEN

    @staticmethod
    def account_limit_suspected(dropped: int, created: int) -> bool:
        """Return whether the result of an import suggests that the account is at its contact limit.

        The documentation says that such imports fail, but not how.

        Args:
            dropped: Contacts that the import dropped.
            created: Contacts that it created.
        """
        return dropped >= _FULL and not created

    def explain(self, entry: Entry, *, is_full: bool, then: Callable[[str, str], None]) -> None:
        """Find out why an import dropped a contact, in one or two requests.

        Args:
            entry: The contact.
            is_full: Whether the account seems to be at its limit.
            then: Called with the code and the reason.
        """

        def found(reason: Reason | None, error: Exception | None) -> None:
            self._dispatcher.fulfil()
            if error is not None:
                logger.warning("The reason for a refusal could not be looked up: %s", error)
            then(*(reason or self.unknown))

        self._dispatcher.expect()
        self._dispatcher.call("ask", lambda: self._reason_dropped(entry, is_full=is_full), found)

    def find_missing(
        self,
        entries: Sequence[Entry],
        posted: float,
        then: Callable[[dict[str, Reason]], None],
    ) -> None:
        """Find the contacts that an import did not apply, in two requests each or some more.

        An error ends the delivery.

        Args:
            entries: The contacts.
            posted: The time when the import was posted, by ActiveCampaign's clock.
            then: Called with the code and reason of each such contact, by key.
        """
        missing: dict[str, Reason] = {}
        left = len(entries)

        def found(entry: Entry, reason: Reason | None, error: Exception | None) -> None:
            nonlocal left
            if error is not None:
                raise error
            left -= 1
            if reason is not None:
                missing[entry.key] = reason
            if not left:
                then(missing)

        for one in entries:
            self._dispatcher.call(
                "ask",
                lambda one=one: self._contacts.difference(one.contact, posted),  # type: ignore[misc]
                lambda reason, error, one=one: found(one, reason, error),  # type: ignore[misc]
            )

    def _reason_dropped(self, entry: Entry, *, is_full: bool) -> Reason:
        contact = self._client.find_contact(entry.key)
        entry.contact_id = contact.id if contact else None
        if contact is None and is_full:
            return "ACCOUNT_LIMIT", "ActiveCampaign created none of the import's new contacts."
        if contact is None:
            return NOT_CREATED
        if contact.bounced_hard:
            return BOUNCED
        memberships = [
            one
            for one in self._client.memberships(contact.id)
            if one.list_id in entry.contact.lists
        ]
        if any(one.is_bounced for one in memberships):
            return BOUNCED
        left = [one.list_id for one in memberships if one.is_opted_out]
        return opted_out(left) if left else self.unknown
