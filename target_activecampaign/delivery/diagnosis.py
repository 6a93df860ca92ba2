"""Why ActiveCampaign's import dropped a contact: it names addresses and gives no reason.

The reason is found by questions that change nothing: is there such a contact, has it
bounced, what is its membership of the list?
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from target_activecampaign.client import Client, Contact
    from target_activecampaign.delivery.batches import Entry

_PROVEN = frozenset({"OPTED_OUT", "BOUNCED"})
"""Codes of refusals for which the account itself shows the reason."""

_ROUNDING_SECONDS = 2
"""ActiveCampaign's times are whole seconds, in its answers and on its clock."""

_FULL = 10
"""So many new contacts dropped and none made: that is no longer a matter of single addresses."""


class RejectionLookup:
    """Asks for the reasons of a run's refusals, within a limit.

    Args:
        client: Whom to ask.
        limit: How many contacts are asked about.
    """

    unknown = ("REFUSED_BY_IMPORT", "ActiveCampaign named the address as failed.")
    """The code and the reason of a refusal that is not looked into."""

    def __init__(self, client: Client, limit: int) -> None:
        self._client = client
        self._left = limit

    def reserve(self, count: int) -> bool:
        """Whether so many contacts more may be asked about; if so, counts them as asked about."""
        if count > self._left:
            return False
        self._left -= count
        return True

    @staticmethod
    def proves(code: str) -> bool:
        """Whether a code that `ask` gave is one for which the account shows the reason."""
        return code in _PROVEN

    @staticmethod
    def account_limit_suspected(dropped: int, created: int) -> bool:
        """Whether an import that dropped and created so many looks like one into a full account.

        How an account at its limit shows is not documented; that its imports fail is.
        """
        return dropped >= _FULL and not created

    def ask(self, entry: Entry, *, full: bool) -> tuple[str, str]:
        """The code and the reason for which an import dropped a contact, in one or two requests.

        Args:
            entry: The contact.
            full: Whether the account seems to be full.
        """
        contact = self._client.find_contact(entry.key)
        if contact is None and full:
            return "ACCOUNT_LIMIT", "ActiveCampaign made none of the import's new contacts."
        if contact is None:
            return "NOT_CREATED", "ActiveCampaign did not make a contact of this address."
        if contact.bounced_hard:
            return "BOUNCED", "Mail to this address has bounced."
        left = {one.list_id for one in self._client.memberships(contact.id) if one.opted_out}
        opted_out = sorted(left.intersection(entry.contact.lists))
        if opted_out:
            names = ", ".join(str(number) for number in opted_out)
            return "OPTED_OUT", f"The person has unsubscribed from list {names}."
        return self.unknown

    def why_missing(self, entry: Entry, posted: float) -> tuple[str, str] | None:
        """Ask whether a contact has arrived, in two to four requests.

        Args:
            entry: The contact.
            posted: When its import was posted, on ActiveCampaign's clock.

        Returns:
            None if it is as it was sent; otherwise a code and the reason.
        """
        sent = entry.contact
        contact = self._client.find_contact(entry.key)
        if contact is None:
            return "NOT_CREATED", "ActiveCampaign did not make a contact of this address."
        if contact.bounced_hard:
            return "BOUNCED", "Mail to this address has bounced."
        places = {one.list_id: one for one in self._client.memberships(contact.id)}
        left = sorted(n for n, one in places.items() if one.opted_out and n in sent.lists)
        if left:
            names = ", ".join(str(number) for number in left)
            return "OPTED_OUT", f"The person has unsubscribed from list {names}."
        on_lists = all(n in places and places[n].subscribed for n in sent.lists)
        off_lists = all(n not in places or not places[n].subscribed for n in sent.unsubscribe_lists)
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
        return "NOT_IMPORTED", "The contact is not as the import would have made it."

    def _is_current(self, entry: Entry, contact: Contact, posted: float) -> bool:
        """Whether a contact has the custom values and the tags of an import, as far as it shows.

        Times are converted to the account's zone [doc] and tags are not asked for: where there
        are any, the contact has to have been changed since the import was posted.
        """
        sent = entry.contact
        changed = contact.updated_at is not None and (
            contact.updated_at >= posted - _ROUNDING_SECONDS
        )
        if not sent.fields:
            return changed or not sent.tags
        found = self._client.contact_field_values(contact.id)
        stored = {one.field_id: one.value.strip() for one in found}
        differing = {n for n, value in sent.fields.items() if stored.get(n, "") != value.strip()}
        if any(":" not in sent.fields[n] or ":" not in stored.get(n, "") for n in differing):
            return False
        return changed or not (differing or sent.tags)
