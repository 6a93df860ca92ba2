"""Changes that a run would make to contacts, for a sample of them.

The ledger has hashes of delivered values only. So the current values are read from ActiveCampaign,
at one or two requests per contact.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.accounting.outcomes import RecordAccounting
from target_activecampaign.accounting.samples import mask_address, masked
from target_activecampaign.client import NotFound
from target_activecampaign.mapping.comparison import is_same_value
from target_activecampaign.model.codes import CODES
from target_activecampaign.outcomes.rows import NO_IMPORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_activecampaign.accounting.outcomes import DeliveredContact
    from target_activecampaign.client import Client, Field
    from target_activecampaign.client import Contact as StoredContact
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.model.record import Source
    from target_activecampaign.outcomes.rows import ImportFacts
    from target_activecampaign.sync.stop import StopRequest

logger = logging.getLogger("target-activecampaign")

SAMPLE = 20
"""Maximum contacts per stream and kind in the sample, and maximum tags."""

_SUBSCRIBED, _UNSUBSCRIBED = "subscribed", "unsubscribed"


class SampledContact(NamedTuple):
    """A contact that a run would send.

    Attributes:
        stream: The stream, by its name after stream maps; the segment's number for a removal.
        kind: `changed`, `added` or `leaving`.
        contact: The contact as it would be sent.
        resubscribed: The ids of lists on which the contact would be re-subscribed.
    """

    stream: str | int
    kind: str
    contact: Contact
    resubscribed: tuple[int, ...]


class RefusedContacts:
    """The contacts that ActiveCampaign would refuse for one reason.

    Attributes:
        contacts: Their number.
        people: The addresses of the first ones.
    """

    def __init__(self) -> None:
        self.contacts = 0
        self.people: dict[str, None] = {}

    def add(self, address: str) -> None:
        """Add a contact."""
        self.contacts += 1
        if len(self.people) < SAMPLE:
            self.people[address] = None

    def shown(self, *, in_full: bool) -> list[str]:
        """Return the addresses for the report, masked unless `in_full`."""
        return [one if in_full else mask_address(one) for one in self.people]


class SamplingAccounting(RecordAccounting):
    """Record accounting that keeps a sample of the contacts that a run would deliver.

    Attributes:
        samples: The first contacts by stream and kind.
        tags: The first tags, as keys.
        would_refuse: The contacts that ActiveCampaign would refuse, by stream and code.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.samples: dict[tuple[str | int, str], list[SampledContact]] = {}
        self.tags: dict[str, None] = {}
        self.would_refuse: dict[str, dict[str, RefusedContacts]] = {}

    def refused(
        self,
        sources: list[Source],
        code: str,
        reason: str,
        contact_key: str | None,
        facts: ImportFacts = NO_IMPORT,
    ) -> None:
        """Record that records were refused, and note whom ActiveCampaign would refuse."""
        if contact_key is not None and not CODES[code].before_sending:
            of_stream = self.would_refuse.setdefault(sources[-1].name, {})
            of_stream.setdefault(code, RefusedContacts()).add(contact_key)
        super().refused(sources, code, reason, contact_key, facts)

    def confirmed(self, entries: Iterable[DeliveredContact]) -> None:
        """Record contacts as delivered, and keep a sample."""
        entries = list(entries)
        for entry in entries:
            self._sample(entry)
        super().confirmed(entries)

    def _sample(self, entry: DeliveredContact) -> None:
        stream: str | int
        if entry.sources:
            stream, kind = entry.sources[-1].name, "changed" if entry.known else "added"
        else:
            stream, kind = next(iter(entry.marks)), "leaving"
        sample = self.samples.setdefault((stream, kind), [])
        if len(sample) < SAMPLE:
            resubscribed = tuple(one.list_id for one in entry.needs_resubscribe)
            sample.append(SampledContact(stream, kind, entry.contact, resubscribed))
        for tag in entry.contact.tags:
            if len(self.tags) < SAMPLE:
                self.tags[tag] = None

    def confirmed_over_time(self) -> dict[str, Any]:
        """Return no contacts: in a preview, ActiveCampaign confirms none."""
        return {**super().confirmed_over_time(), "contacts": []}


class Difference(NamedTuple):
    """A value that would change.

    Attributes:
        destination: Its destination, such as `first_name`, `%TIER%` or `list 1`.
        kind: The kind of value, as for `masked`.
        old: The current value; empty for none.
        new: The new value.
    """

    destination: str
    kind: str
    old: str
    new: str


class Change(NamedTuple):
    """The changes to one contact.

    Attributes:
        stream: The stream, by its name after stream maps.
        kind: `changed`, `added` or `leaving`.
        email: The address of the contact.
        differences: The values that would change.
    """

    stream: str
    kind: str
    email: str
    differences: list[Difference]

    def as_dict(self, *, in_full: bool) -> dict[str, Any]:
        """Return the change for the report, masked unless `in_full`."""

        def shown(value: str, kind: str) -> str:
            return value if in_full else masked(value, kind)

        return {
            "stream": self.stream,
            "kind": self.kind,
            "person": shown(self.email, "email"),
            "fields": [
                {
                    "destination": one.destination,
                    "old": shown(one.old, one.kind),
                    "new": shown(one.new, one.kind),
                }
                for one in self.differences
            ],
        }


class ChangeFinder:
    """Compares contacts that a run would send with those in the account.

    Args:
        client: The client of the preview.
        fields: The custom fields of the account, with simulated ones.
        streams: The names of streams by the number of their segment.
        stop: No contacts are read once it is set.
    """

    def __init__(
        self,
        client: Client,
        fields: Iterable[Field],
        streams: Mapping[int, str],
        stop: StopRequest,
    ) -> None:
        self._client = client
        self._stop = stop
        self._fields = {field.id: field for field in fields}
        self._streams = streams

    def find_changes(self, samples: Iterable[SampledContact]) -> list[Change]:
        """Return the changes to contacts that the account has, without contacts that stay the same.

        Raises:
            ActiveCampaignError: A contact could not be read.
        """
        pool = ThreadPoolExecutor(QUESTIONS_AT_ONCE, "changes")
        found = []
        try:
            for change in pool.map(self._find_change, samples):
                if change is not None and change.differences:
                    found.append(change)
                if self._stop.is_set:
                    break
        finally:
            pool.shutdown(cancel_futures=True)
        return found

    def _find_change(self, sampled: SampledContact) -> Change | None:
        contact = sampled.contact
        stored = self._client.find_contact(contact.key)
        if stored is None:
            return None
        current = self._read_values(contact, stored)
        differences = [
            Difference(self._name_of(place), self._kind_of(place), current.get(place, ""), new)
            for place, new in contact.values.items()
            if not is_same_value(self._kind_of(place), current.get(place, ""), new)
        ]
        differences += [
            _list_difference(number, _UNSUBSCRIBED, _SUBSCRIBED) for number in sampled.resubscribed
        ]
        differences += [
            _list_difference(number, _SUBSCRIBED, _UNSUBSCRIBED)
            for number in contact.unsubscribe_lists
        ]
        stream = sampled.stream
        name = stream if isinstance(stream, str) else self._streams[stream]
        return Change(name, sampled.kind, contact.email, differences)

    def _read_values(self, contact: Contact, stored: StoredContact) -> dict[str | int, str]:
        """Return the current values of a contact, by attribute or custom field id."""
        current = stored.standard_values
        if contact.fields:
            with suppress(NotFound):  # the contact was deleted in the meantime
                values = self._client.contact_field_values(stored.id)
                current.update((one.field_id, one.value) for one in values)
        return current

    def _name_of(self, place: str | int) -> str:
        return f"%{self._fields[place].tag}%" if isinstance(place, int) else place

    def _kind_of(self, place: str | int) -> str:
        return self._fields[place].type if isinstance(place, int) else place


def _list_difference(number: int, old: str, new: str) -> Difference:
    return Difference(f"list {number}", "dropdown", old, new)
