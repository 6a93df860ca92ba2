"""Contacts as the account has them, compared with contacts as they were sent."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from target_activecampaign.client import NotFound
from target_activecampaign.delivery.resubscribe import ROUNDING_SECONDS

if TYPE_CHECKING:
    from target_activecampaign.client import Client, Membership
    from target_activecampaign.client import Contact as AccountContact
    from target_activecampaign.model.contact import Contact

    Reason = tuple[str, str]
    """A code of `CODES`, and the reason as a sentence."""

NOT_CREATED = "NOT_CREATED", "ActiveCampaign did not create a contact with this address."
BOUNCED = "BOUNCED", "Mail to this address has bounced."
NOT_IMPORTED = "NOT_IMPORTED", "The account does not have the values of the import."


def opted_out(list_ids: list[int]) -> Reason:
    """Return the reason for a contact that has opted out of lists."""
    names = ", ".join(str(number) for number in sorted(list_ids))
    return "OPTED_OUT", f"The person has unsubscribed from list {names}."


class StoredContact(NamedTuple):
    """A contact of the account.

    Attributes:
        contact: The contact.
        memberships: Its memberships by list.
    """

    contact: AccountContact
    memberships: dict[int, Membership]

    def has_changed_since(self, moment: float) -> bool:
        """Return whether it, or a membership of it, was changed at this time or later."""
        times = [self.contact.created_at, self.contact.updated_at]
        for one in self.memberships.values():
            times += [one.subscribed_at, one.ended_at]
        return any(time is not None and time >= moment - ROUNDING_SECONDS for time in times)


class StoredContacts:
    """Looks up contacts, and compares them with what an import sent.

    Args:
        client: The client of the account.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        # Threads share this; two of them may look up the same tag, which does no harm.
        self._tag_ids: dict[str, int] = {}

    def find(self, key: str) -> StoredContact | None:
        """Return the contact with an address, in one or two requests; None if there is none."""
        contact = self._client.find_contact(key)
        if contact is None:
            return None
        try:
            memberships = self._client.memberships(contact.id)
        except NotFound:  # deleted meanwhile
            return None
        return StoredContact(contact, {one.list_id: one for one in memberships})

    def has_import(self, sent: Contact, posted: float) -> bool:
        """Return whether a contact is proof that an import has arrived.

        It is if it is exactly as it was sent, and was changed since. A contact that others have
        changed to other values is no proof.

        Args:
            sent: The contact as the import sent it.
            posted: The time when the import was posted, by ActiveCampaign's clock.
        """
        stored = self.find(sent.key)
        return (
            stored is not None
            and stored.has_changed_since(posted)
            and self._difference(sent, stored, None) is None
        )

    def difference(self, sent: Contact, posted: float | None = None) -> Reason | None:
        """Return why a contact is not stored as it was sent; None if it is.

        Args:
            sent: The contact as an import sent it.
            posted: The time when that import was posted. Times in another form than that of ISO
                8601 can't be compared: they count as sent if the contact was changed since.
                Without it, they count as different.
        """
        stored = self.find(sent.key)
        return NOT_CREATED if stored is None else self._difference(sent, stored, posted)

    def _difference(
        self, sent: Contact, stored: StoredContact, posted: float | None
    ) -> Reason | None:
        contact, places = stored
        if contact.bounced_hard:
            return BOUNCED
        if left := [n for n in sent.lists if n in places and places[n].is_opted_out]:
            return opted_out(left)
        on_lists = all(n in places and places[n].is_subscribed for n in sent.lists)
        off_lists = not any(n in places and places[n].is_subscribed for n in sent.unsubscribe_lists)
        is_as_sent = (
            on_lists
            and off_lists
            and _has_standard_values(contact, sent)
            and self._has_fields(contact, sent, posted)
            and self._has_tags(contact, sent)
        )
        return None if is_as_sent else NOT_IMPORTED

    def _has_fields(self, contact: AccountContact, sent: Contact, posted: float | None) -> bool:
        if not sent.fields:
            return True
        with suppress(NotFound):  # deleted meanwhile
            found = self._client.contact_field_values(contact.id)
            stored = {one.field_id: one.value.strip() for one in found}
            pairs = [(value.strip(), stored.get(n, "")) for n, value in sent.fields.items()]
            differing = [pair for pair in pairs if not _is_same(*pair)]
            if posted is None or contact.updated_at is None:
                return not differing
            is_current = contact.updated_at >= posted - ROUNDING_SECONDS
            return all(is_current and ":" in one and ":" in other for one, other in differing)
        return False

    def _has_tags(self, contact: AccountContact, sent: Contact) -> bool:
        if not sent.tags:
            return True
        with suppress(NotFound):  # deleted meanwhile
            return {self._tag_id(name) for name in sent.tags} <= self._client.contact_tags(
                contact.id
            ).keys()
        return False

    def _tag_id(self, name: str) -> int | None:
        """Return the id of a tag; None if there is none, as a lost import may yet create it."""
        if name not in self._tag_ids:
            tag = self._client.find_tag(name)
            if tag is None:
                return None
            self._tag_ids[name] = tag.id
        return self._tag_ids[name]


def _has_standard_values(contact: AccountContact, sent: Contact) -> bool:
    stored = {
        "first_name": contact.first_name,
        "last_name": contact.last_name,
        "phone": contact.phone,
        "customer_account": contact.organization,
    }
    values = sent.values
    return all(values.get(name, has).strip() == has.strip() for name, has in stored.items())


def _is_same(sent: str, stored: str) -> bool:
    """Return whether two values are equal. ActiveCampaign turns times to the account's zone [doc].

    Two texts that both are times of one moment are equal in any type of field.
    """
    if sent == stored:
        return True
    moments = [_moment(one) for one in (sent, stored)]
    return moments[0] is not None and moments[0] == moments[1]


def _moment(text: str) -> datetime | None:
    """Return a time with its offset from UTC; None for any other text."""
    if "T" not in text:
        return None
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else None
    return None
