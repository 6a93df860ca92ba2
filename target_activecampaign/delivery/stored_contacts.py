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
        # Threads share these; two of them may look up the same, which does no harm.
        self._tag_ids: dict[str, int] = {}
        self._time_fields: set[int] | None = None

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
            posted: The time when that import was posted. With it, outer spaces do not matter, and
                times in a form that can't be read count as sent if the contact was changed since.
                Without it, values must be exactly the same.
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
            and _has_standard_values(contact, sent, exact=posted is None)
            and self._has_fields(contact, sent, posted)
            and self._has_tags(contact, sent)
        )
        return None if is_as_sent else NOT_IMPORTED

    def _has_fields(self, contact: AccountContact, sent: Contact, posted: float | None) -> bool:
        if not sent.fields:
            return True
        try:
            values = self._client.contact_field_values(contact.id)
        except NotFound:  # deleted meanwhile
            return False
        stored = {one.field_id: one.value for one in values}
        pairs = {n: (value, stored.get(n, "")) for n, value in sent.fields.items()}
        differing = [
            pair
            for n, pair in pairs.items()
            if not _is_same(*pair, exact=posted is None) and not self._is_same_time(n, *pair)
        ]
        if posted is None or contact.updated_at is None:
            return not differing
        is_current = contact.updated_at >= posted - ROUNDING_SECONDS
        return all(is_current and ":" in one and ":" in other for one, other in differing)

    def _is_same_time(self, field_id: int, sent: str, stored: str) -> bool:
        """Return whether two values of a field are times of one moment.

        ActiveCampaign converts times to the account's zone [doc].
        """
        moment = _moment(sent)
        if moment is None or moment != _moment(stored):
            return False
        if self._time_fields is None:
            fields = self._client.fields()
            self._time_fields = {one.id for one in fields if one.type == "datetime"}
        return field_id in self._time_fields

    def _has_tags(self, contact: AccountContact, sent: Contact) -> bool:
        if not sent.tags:
            return True
        try:
            stored = self._client.contact_tags(contact.id)
        except NotFound:  # deleted meanwhile
            return False
        return all(self._tag_id(name) in stored for name in sent.tags)

    def _tag_id(self, name: str) -> int | None:
        """Return the id of a tag; None if there is none, as a lost import may yet create it."""
        if name not in self._tag_ids:
            tag = self._client.find_tag(name)
            if tag is None:
                return None
            self._tag_ids[name] = tag.id
        return self._tag_ids[name]


def _has_standard_values(contact: AccountContact, sent: Contact, *, exact: bool) -> bool:
    values, stored = sent.values, contact.standard_values
    return all(_is_same(values.get(name, has), has, exact=exact) for name, has in stored.items())


def _is_same(sent: str, stored: str, *, exact: bool) -> bool:
    return sent == stored or (not exact and sent.strip() == stored.strip())


def _moment(text: str) -> datetime | None:
    """Return a time with its offset from UTC; None for any other text."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(text.strip())
        return moment if moment.tzinfo is not None else None
    return None
