"""The reasons for which an import drops contacts: ActiveCampaign lists only the addresses.

Read-only requests find the reason: does the contact exist, has it bounced, is it opted out of the
list?
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign.delivery.resubscribe import ROUNDING_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_activecampaign.client import Client, Contact
    from target_activecampaign.delivery.batches import Entry
    from target_activecampaign.delivery.dispatcher import Dispatcher

    Reason = tuple[str, str]
    """A code of `CODES`, and the reason as a sentence."""

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
        """Find the contacts that an import did not apply, in two to four requests each.

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
                lambda one=one: self._reason_missing(one, posted),  # type: ignore[misc]
                lambda reason, error, one=one: found(one, reason, error),  # type: ignore[misc]
            )

    def _reason_dropped(self, entry: Entry, *, is_full: bool) -> Reason:
        contact = self._client.find_contact(entry.key)
        if contact is None and is_full:
            return "ACCOUNT_LIMIT", "ActiveCampaign created none of the import's new contacts."
        if contact is None:
            return "NOT_CREATED", "ActiveCampaign did not create a contact with this address."
        if contact.bounced_hard:
            return "BOUNCED", "Mail to this address has bounced."
        memberships = [
            one
            for one in self._client.memberships(contact.id)
            if one.list_id in entry.contact.lists
        ]
        if any(one.is_bounced for one in memberships):
            return "BOUNCED", "Mail to this address has bounced."
        opted_out = sorted(one.list_id for one in memberships if one.is_opted_out)
        if opted_out:
            names = ", ".join(str(number) for number in opted_out)
            return "OPTED_OUT", f"The person has unsubscribed from list {names}."
        return self.unknown

    def _reason_missing(self, entry: Entry, posted: float) -> Reason | None:
        """Return why a contact is not stored as it was sent; None if it is."""
        sent = entry.contact
        contact = self._client.find_contact(entry.key)
        if contact is None:
            return "NOT_CREATED", "ActiveCampaign did not create a contact with this address."
        if contact.bounced_hard:
            return "BOUNCED", "Mail to this address has bounced."
        places = {one.list_id: one for one in self._client.memberships(contact.id)}
        left = sorted(n for n, one in places.items() if one.is_opted_out and n in sent.lists)
        if left:
            names = ", ".join(str(number) for number in left)
            return "OPTED_OUT", f"The person has unsubscribed from list {names}."
        on_lists = all(n in places and places[n].is_subscribed for n in sent.lists)
        off_lists = all(
            n not in places or not places[n].is_subscribed for n in sent.unsubscribe_lists
        )
        stored = {
            "first_name": contact.first_name,
            "last_name": contact.last_name,
            "phone": contact.phone,
            "customer_account": contact.organization,
        }
        values = sent.values
        same = all(values.get(name, has).strip() == has.strip() for name, has in stored.items())
        if on_lists and off_lists and same and self._is_current(entry, contact, posted):
            return None
        return "NOT_IMPORTED", "The account does not have the values of the import."

    def _is_current(self, entry: Entry, contact: Contact, posted: float) -> bool:
        """Return whether a contact has the custom values and the tags of an import.

        ActiveCampaign converts times to the account's zone [doc], and tags are not looked up. With
        either, the contact must have changed since the import was posted.
        """
        sent = entry.contact
        changed = contact.updated_at is not None and (
            contact.updated_at >= posted - ROUNDING_SECONDS
        )
        if not sent.fields:
            return changed or not sent.tags
        found = self._client.contact_field_values(contact.id)
        stored = {one.field_id: one.value.strip() for one in found}
        differing = {n for n, value in sent.fields.items() if stored.get(n, "") != value.strip()}
        if any(":" not in sent.fields[n] or ":" not in stored.get(n, "") for n in differing):
            return False
        return changed or not (differing or sent.tags)
