"""Why ActiveCampaign's import dropped a contact: it names addresses and gives no reason.

The reason is found by questions that change nothing: is there such a contact, has it
bounced, what is its membership of the list?
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from target_activecampaign.activecampaign import Client
    from target_activecampaign.packer import Entry

_FULL = 10
"""So many new contacts dropped and none made: that is no longer a matter of single addresses."""


class Diagnosis:
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

    def may_ask(self) -> bool:
        """Whether one contact more may be asked about; counts it as asked about."""
        self._left -= 1
        return self._left >= 0

    @staticmethod
    def seems_full(dropped: int, created: int) -> bool:
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
