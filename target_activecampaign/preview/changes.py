"""What would change for people: a sample of those whom a run would send, asked from ActiveCampaign.

The ledger keeps digests of what was delivered and no values, so that what a contact has now must be
asked: for a sample, as that costs one or two requests a person.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.accounting.outcomes import RecordAccounting
from target_activecampaign.accounting.samples import masked
from target_activecampaign.client import NotFound
from target_activecampaign.mapping.choices import DELIMITER
from target_activecampaign.mapping.formats import DATETIME, NUMBER, form_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_activecampaign.accounting.outcomes import DeliveredContact
    from target_activecampaign.client import Client, Field
    from target_activecampaign.client import Contact as StoredContact
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.sync.stop import StopRequest

logger = logging.getLogger("target-activecampaign")

SAMPLE = 20
"""People of a stream and kind who are asked about, and tags likewise."""

_ON, _OFF = "subscribed", "unsubscribed"


class Sampled(NamedTuple):
    """Someone whom a run would send.

    Attributes:
        stream: The stream, by its name after stream maps; the segment's number for who leaves.
        kind: `changed`, `added` or `leaving`.
        contact: What would be sent.
        returns: The lists that the person had left and comes back to.
    """

    stream: str | int
    kind: str
    contact: Contact
    returns: tuple[int, ...]


class SampledSettlement(RecordAccounting):
    """A settlement that keeps a sample of the contacts that it takes as confirmed.

    Attributes:
        samples: The first people of each stream and kind.
        tags: The first names of tags.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.samples: dict[tuple[str | int, str], list[Sampled]] = {}
        self.tags: dict[str, None] = {}

    def confirmed(self, entries: Iterable[DeliveredContact]) -> None:
        """Settle contacts, and keep some."""
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
        some = self.samples.setdefault((stream, kind), [])
        if len(some) < SAMPLE:
            returns = tuple(one.list_id for one in entry.needs_resubscribe)
            some.append(Sampled(stream, kind, entry.contact, returns))
        for tag in entry.contact.tags:
            if len(self.tags) < SAMPLE:
                self.tags[tag] = None

    def confirmed_over_time(self) -> dict[str, Any]:
        """Nothing: ActiveCampaign has confirmed no contact."""
        return {**super().confirmed_over_time(), "contacts": []}


class Difference(NamedTuple):
    """A value that would change.

    Attributes:
        destination: Where it is, such as `first_name`, `%TIER%` or `list 1`.
        kind: The kind of value, as `masked` takes it.
        old: What the contact has; empty for nothing.
        new: What it would have.
    """

    destination: str
    kind: str
    old: str
    new: str


class Change(NamedTuple):
    """What would change for a person: see `Sampled`."""

    stream: str
    kind: str
    address: str
    differences: list[Difference]

    def as_dict(self, *, in_full: bool) -> dict[str, Any]:
        """The change as the report has it, masked unless it may be shown in full."""

        def shown(value: str, kind: str) -> str:
            return value if in_full else masked(value, kind)

        return {
            "stream": self.stream,
            "kind": self.kind,
            "person": shown(self.address, "email"),
            "fields": [
                {
                    "destination": one.destination,
                    "old": shown(one.old, one.kind),
                    "new": shown(one.new, one.kind),
                }
                for one in self.differences
            ],
        }


class Changes:
    """Asks what people have, to say what would change.

    Args:
        client: Whom to ask.
        fields: The account's custom fields, new ones among them.
        streams: The names of streams by the number of their segment.
        stop: Tells whether nobody else is to be asked about.
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

    def of(self, samples: Iterable[Sampled]) -> list[Change]:
        """The changes of those whom the account has, and for whom something would change.

        Raises:
            ActiveCampaignError: It could not be asked.
        """
        pool = ThreadPoolExecutor(QUESTIONS_AT_ONCE, "changes")
        found = []
        try:
            for change in pool.map(self._of, samples):
                if change is not None and change.differences:
                    found.append(change)
                if self._stop.is_set:
                    break
        finally:
            pool.shutdown(cancel_futures=True)
        return found

    def _of(self, sampled: Sampled) -> Change | None:
        contact = sampled.contact
        stored = self._client.find_contact(contact.key)
        if stored is None:
            return None
        held = self._held(contact, stored)
        differences = [
            Difference(self._name_of(place), self._kind_of(place), held.get(place, ""), new)
            for place, new in contact.values.items()
            if not _same(self._kind_of(place), held.get(place, ""), new)
        ]
        differences += [_of_list(number, _OFF, _ON) for number in sampled.returns]
        differences += [_of_list(number, _ON, _OFF) for number in contact.leaves]
        stream = sampled.stream
        name = stream if isinstance(stream, str) else self._streams[stream]
        return Change(name, sampled.kind, contact.email, differences)

    def _held(self, contact: Contact, stored: StoredContact) -> dict[str | int, str]:
        """What a contact has, by attribute or custom field id."""
        held: dict[str | int, str] = {
            "first_name": stored.first_name,
            "last_name": stored.last_name,
            "phone": stored.phone,
            "customer_account": stored.organization,
        }
        if contact.fields:
            with suppress(NotFound):  # deleted meanwhile
                values = self._client.contact_field_values(stored.id)
                held.update((one.field_id, one.value) for one in values)
        return held

    def _name_of(self, place: str | int) -> str:
        return f"%{self._fields[place].tag}%" if isinstance(place, int) else place

    def _kind_of(self, place: str | int) -> str:
        return self._fields[place].type if isinstance(place, int) else place


def _of_list(number: int, old: str, new: str) -> Difference:
    return Difference(f"list {number}", "dropdown", old, new)


def _same(kind: str, old: str, new: str) -> bool:
    """Whether two texts are one value of a field, which ActiveCampaign may write in its own way."""
    old, new = old.strip(), new.strip()
    form = form_of(kind)
    if form.several:
        return set(old.split(DELIMITER)) - {""} == set(new.split(DELIMITER)) - {""}
    with suppress(ValueError, ArithmeticError):  # what is none of these, such as an empty text
        if form is NUMBER:
            return Decimal(old) == Decimal(new)
        if form is DATETIME:
            return datetime.fromisoformat(old) == datetime.fromisoformat(new)
        return form.convert(old) == form.convert(new)
    return old.splitlines() == new.splitlines()
