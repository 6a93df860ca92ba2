"""A limited run: it sends the first contacts of the input, reads them back, and does nothing else.

It stores no STATE, begins and completes no mirror's sync, removes and renames nobody, and neither
trips nor resets a guard. The ledger stores the contacts that were delivered, so that the next run
finds them unchanged.

All contacts are held until the input has ended. So a later record of one of them that says no, or a
suppression stream that comes late, keeps it from being sent.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.accounting.outcomes import RecordAccounting
from target_activecampaign.accounting.samples import masked
from target_activecampaign.client import NotFound
from target_activecampaign.client.models import address_key
from target_activecampaign.delivery.batches import Packer
from target_activecampaign.ledger import by_segment
from target_activecampaign.mapping.comparison import is_same_value
from target_activecampaign.outcomes.rows import NO_IMPORT
from target_activecampaign.sync.changes import ChangeDetector
from target_activecampaign.sync.window import RecordWindow
from target_activecampaign.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from target_activecampaign.client import Client, Field, Membership
    from target_activecampaign.client import Contact as StoredContact
    from target_activecampaign.config.settings import Settings
    from target_activecampaign.delivery.batches import Batch, Entry
    from target_activecampaign.ledger import Ledger, Member, MemberUpdate
    from target_activecampaign.model.codes import Refusal
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.model.record import Source
    from target_activecampaign.outcomes.rows import ImportFacts
    from target_activecampaign.sync.changes import Decisions
    from target_activecampaign.sync.ownership import PendingContact
    from target_activecampaign.sync.segment import Segment
    from target_activecampaign.sync.source_rows import EntryCodec
    from target_activecampaign.sync.stop import StopRequest

MOST = 1000
"""The most contacts of a limited run: to read one back takes up to four requests."""

_LEFT_OUT = "LIMITED"
"""The code of records that a limited run does not process."""

_SUBSCRIBED = "subscribed"
_PLAIN = "dropdown"
"""A kind of value that is shown in full."""


class HoldingPacker(Packer):
    """A packer that holds its contacts until it is released.

    Attributes:
        held: The contacts so far, by key.
        sent: The contacts that it has released.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.batch_size_rows, exclude_automations=settings.exclude_automations)
        self.sent: list[Entry] = []
        self._is_released = False

    @property
    def held(self) -> dict[str, Entry]:
        """The contacts that are held, by key."""
        return dict(self._open)

    def release(self) -> None:
        """Let the next `flush` return the contacts."""
        self._is_released = True

    def add(self, entry: Entry) -> list[Batch]:
        """Hold a contact, merged with an earlier one of the same key. It must fit with that."""
        earlier = self._open.get(entry.key)
        merged = entry if earlier is None else earlier.followed_by(entry)
        assert merged is not None  # noqa: S101 - `LimitedChanges` leaves out what does not fit
        self._open[entry.key] = merged
        return []

    def flush(self) -> list[Batch]:
        """Return the contacts in batches once they are released, before that nothing."""
        if not self._is_released:
            return []
        released, self._open, self._size = list(self._open.values()), {}, 0
        self.sent += released
        batches = [batch for one in released for batch in super(HoldingPacker, self).add(one)]
        return batches + super().flush()

    def age(self) -> float:
        """Return 0: no contact is in a hurry."""
        return 0.0


class LimitedAccounting(RecordAccounting):
    """Record accounting that also knows whom ActiveCampaign has refused.

    Attributes:
        refused_by: The code of each refused contact, by key.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.refused_by: dict[str, str] = {}

    def refused(
        self,
        sources: list[Source],
        code: str,
        reason: str,
        contact_key: str | None,
        facts: ImportFacts = NO_IMPORT,
    ) -> None:
        """Record that records were refused."""
        if contact_key is not None:
            self.refused_by[contact_key] = code
        super().refused(sources, code, reason, contact_key, facts)


class LimitedChanges(ChangeDetector):
    """A change detector that leaves out contacts above a limit, as if they were not in the input.

    Attributes:
        limit: The number of contacts.
        holding: Holds the contacts.
    """

    limit: int
    holding: HoldingPacker

    @property
    def wanted(self) -> set[str] | None:
        """The keys of the contacts that are still of interest; None if all are."""
        held = self.holding.held
        return set(held) if len(held) >= self.limit else None

    def _take_out_refused(
        self,
        decisions: Decisions,
        known_rows: Mapping[bytes, list[Member]],
        under_way: Mapping[str, Mapping[int, MemberUpdate]],
    ) -> list[tuple[PendingContact, Refusal]]:
        found = super()._take_out_refused(decisions, known_rows, under_way)
        held, taken = self.holding.held, []
        for one in decisions.sent:
            entry, earlier = one.entry, held.get(one.entry.key)
            merged = entry if earlier is None else earlier.followed_by(entry)
            has_room = earlier is not None or len(held) < self.limit
            if has_room and merged is not None and self.holding.fits(merged):
                held[entry.key] = merged
                taken.append(one)
            else:
                members = by_segment(known_rows.get(entry.contact_hash, ()))
                decisions.leave_out(one, members.get(one.segment.number), _LEFT_OUT)
        decisions.sent = taken
        return found


class LimitedWindow(RecordWindow):
    """A window that begins no sync, and drops records that can no longer matter."""

    changes: LimitedChanges

    def _identify(self, records: Any, route: Any) -> Any:
        batch, wanted = super()._identify(records, route), self.changes.wanted
        if wanted is None:
            return batch
        rest = [index for index, key in enumerate(batch.keys) if key in wanted]
        left_out = len(batch.keys) - len(rest)
        if left_out:
            batch.numbers = [batch.numbers[index] for index in rest]
            for name in ("keys", "contact_hashes", "hashes"):
                setattr(batch, name, [getattr(batch, name)[index] for index in rest])
            route.counter.increment(left_out)
            counted = {"skipped": left_out}
            self.accounting.finished(route.name, counted, {_LEFT_OUT: left_out})
        return batch

    def _begin_sync(self, _stream: Any, route: Any, _known: Any) -> None:
        """Begin no sync: a limited run never has the whole stream.

        Its contacts count with those of the latest complete sync, so that no other mirror of the
        list removes them.
        """
        segment: Segment = route.segment
        if segment.mirror:
            segment.sync_number = segment.state.last_complete_sync or None


class ReadValue(NamedTuple):
    """A value that was sent, and what ActiveCampaign has.

    Attributes:
        destination: Its destination, such as `first_name`, `%TIER%` or `list 1`.
        kind: The kind of value, as for `masked`.
        sent: The value as it was sent; empty if it was to be cleared.
        found: The value that ActiveCampaign has.
        is_same: Whether both are the same value.
    """

    destination: str
    kind: str
    sent: str
    found: str
    is_same: bool


@dataclass
class SentContact:
    """A contact of a limited run.

    Attributes:
        email: Its address.
        streams: The streams of its records.
        is_new: Whether the ledger did not know it in its stream.
        code: The reason if ActiveCampaign refused it.
        values: What was sent and what arrived; none if it was refused.
    """

    email: str
    streams: list[str]
    is_new: bool
    code: str | None = None
    values: list[ReadValue] = field(default_factory=list)

    @property
    def has_arrived(self) -> bool:
        """True if ActiveCampaign has all values that were sent."""
        return self.code is None and all(one.is_same for one in self.values)

    def as_dict(self, *, in_full: bool) -> dict[str, Any]:
        """Return it for the report, masked unless `in_full`."""

        def shown(value: str, kind: str) -> str:
            return value if in_full else masked(value, kind)

        return {
            "person": shown(self.email, "email"),
            "streams": self.streams,
            "kind": "new" if self.is_new else "changed",
            "refused": self.code,
            "values": [
                {
                    "destination": one.destination,
                    "sent": shown(one.sent, one.kind),
                    "found": shown(one.found, one.kind),
                    "same": one.is_same,
                }
                for one in self.values
            ],
        }


@dataclass
class LimitedResult:
    """The result of a limited run.

    Attributes:
        limit: The number of contacts that were asked for.
        contacts: The contacts that were sent.
    """

    limit: int
    contacts: list[SentContact]

    def as_dict(self) -> dict[str, Any]:
        """Return its figures for the report, without people."""
        return {
            "limit": self.limit,
            "contacts": len(self.contacts),
            "arrived": sum(one.has_arrived for one in self.contacts),
            "refused": sum(one.code is not None for one in self.contacts),
            "different_values": self._different,
        }

    @property
    def _different(self) -> int:
        return sum(not value.is_same for one in self.contacts for value in one.values)

    @property
    def problem(self) -> str | None:
        """A sentence on contacts that did not arrive as meant, with advice; None if all did."""
        figures = self.as_dict()
        wrong, different = figures["contacts"] - figures["arrived"], figures["different_values"]
        if not wrong:
            return None
        causes = []
        if different:
            verb = "differs" if different == 1 else "differ"
            causes.append(f"{pluralize(different, 'value')} {verb}")
        if figures["refused"]:
            causes.append(f"ActiveCampaign rejected {pluralize(figures['refused'], 'contact')}")
        return (
            f"{wrong:,} of {pluralize(figures['contacts'], 'contact')} did not arrive as meant: "
            f"{' and '.join(causes)}. The table shows what was sent and what ActiveCampaign has. "
            "Correct the mapping, the fields or the source, then run with --limit again. What "
            "stays the same is only sent once more with 'full_resync'."
        )


class LimitedRun:
    """The parts of a run that differ if it is limited.

    Args:
        limit: The number of contacts.
        settings: The settings of the run.

    Attributes:
        packer: Holds the contacts until the end of the input.
    """

    make_accounting = LimitedAccounting

    def __init__(self, limit: int, settings: Settings) -> None:
        self._limit = limit
        self._settings = settings
        self.packer = HoldingPacker(settings)

    def make_changes(self, *args: Any, **parts: Any) -> ChangeDetector:
        """Return the change detector of the run, made of these parts."""
        changes = LimitedChanges(*args, **parts)
        changes.limit, changes.holding = self._limit, self.packer
        return changes

    @staticmethod
    def make_window(*args: Any) -> RecordWindow:
        """Return the window of the run, made of these parts."""
        return LimitedWindow(*args)

    def release(self, accounting: RecordAccounting) -> None:
        """Let the contacts be sent by the next flush. Who was refused before was none of them."""
        assert isinstance(accounting, LimitedAccounting)  # noqa: S101 - made from `make_accounting`
        accounting.refused_by.clear()
        self.packer.release()

    @staticmethod
    def skip_waiting(ledger: Ledger, accounting: RecordAccounting, codec: EntryCodec) -> None:
        """Skip the records that wait for a rename: a limited run makes none."""
        for some in ledger.waiting.all():
            for one, _ in some:
                sources = codec.decode(one.entry, one.person_to).sources
                if sources:
                    accounting.record_outcome(sources, "skipped", _LEFT_OUT)
        ledger.waiting.clear()

    def read_back(
        self,
        client: Client,
        fields: Iterable[Field],
        accounting: RecordAccounting,
        stop: StopRequest,
    ) -> LimitedResult:
        """Read the contacts that were sent, and compare them with what was meant.

        Args:
            client: The client of the account.
            fields: The custom fields of the account.
            accounting: Knows who was refused.
            stop: No more contacts are read once it is set.

        Raises:
            StoppedError: It was stopped before all were read.
            ActiveCampaignError: A contact could not be read.
        """
        assert isinstance(accounting, LimitedAccounting)  # noqa: S101 - made from `make_accounting`
        reader = _ContactReader(client, self._settings, {one.id: one for one in fields}, stop)
        pool = ThreadPoolExecutor(QUESTIONS_AT_ONCE, "read-back")
        try:
            read = partial(reader.read, refused=accounting.refused_by)
            return LimitedResult(self._limit, list(pool.map(read, self.packer.sent)))
        finally:
            pool.shutdown(cancel_futures=True)


class _ContactReader:
    """Reads contacts, in up to four requests each, and compares them with what was sent."""

    def __init__(
        self, client: Client, settings: Settings, fields: dict[int, Field], stop: StopRequest
    ) -> None:
        self._client = client
        self._settings = settings
        self._fields = fields
        self._stop = stop
        self._tags: dict[str, int | None] = {}

    def read(self, entry: Entry, *, refused: dict[str, str]) -> SentContact:
        """Return a contact with what was sent and what ActiveCampaign has.

        Args:
            entry: The contact as it was sent.
            refused: The codes of refused contacts, by key.

        Raises:
            StoppedError: The run was stopped.
        """
        self._stop.check()
        streams = list(dict.fromkeys(source.name for source in entry.sources))
        read = SentContact(entry.contact.email, streams, is_new=not entry.known)
        read.code = refused.get(entry.key)
        if read.code is None:
            stored = self._client.find_contact(entry.key)
            own_tags = {tag for name in streams for tag in self._settings.for_stream(name).tags}
            read.values = self._compare(entry.contact, stored, own_tags)
        return read

    def _compare(
        self, sent: Contact, stored: StoredContact | None, own_tags: Collection[str]
    ) -> list[ReadValue]:
        found = {} if stored is None else stored.standard_values
        address = "" if stored is None else stored.email
        is_same = address_key(address) == address_key(sent.email)
        values = [ReadValue("email", "email", sent.email, address, is_same)]
        if sent.fields and stored is not None:
            with suppress(NotFound):  # the contact was deleted in the meantime
                some = self._client.contact_field_values(stored.id)
                found.update((one.field_id, one.value) for one in some)
        for place, value in sent.values.items():
            name, kind = self._name_and_kind(place)
            has = found.get(place, "")
            values.append(ReadValue(name, kind, value, has, is_same_value(kind, value, has)))
        values += self._compare_tags(sent.tags, stored, own_tags)
        return values + self._compare_lists(sent, stored)

    def _name_and_kind(self, place: str | int) -> tuple[str, str]:
        if isinstance(place, str):
            return place, place
        return f"%{self._fields[place].tag}%", self._fields[place].type

    def _compare_tags(
        self, tags: Collection[str], stored: StoredContact | None, own_tags: Collection[str]
    ) -> list[ReadValue]:
        if not tags:
            return []
        has: Collection[int] = ()
        if stored is not None:
            with suppress(NotFound):
                has = self._client.contact_tags(stored.id).keys()
        found = {tag: self._number_of(tag) in has for tag in tags}
        # Tags from the settings are not personal data; others are values of records.
        return [
            ReadValue(
                "tag",
                _PLAIN if tag in own_tags else "tags",
                tag,
                tag if is_there else "",
                is_there,
            )
            for tag, is_there in found.items()
        ]

    def _number_of(self, tag: str) -> int | None:
        if tag not in self._tags:
            found = self._client.find_tag(tag)
            self._tags[tag] = found.id if found is not None else None
        return self._tags[tag]

    def _compare_lists(self, sent: Contact, stored: StoredContact | None) -> list[ReadValue]:
        if not sent.lists:
            return []
        memberships: Sequence[Membership] = []
        if stored is not None:
            with suppress(NotFound):
                memberships = self._client.memberships(stored.id)
        found = {one.list_id: _describe(one) for one in memberships}
        states = {number: found.get(number, "not on the list") for number in sent.lists}
        return [
            ReadValue(f"list {number}", _PLAIN, _SUBSCRIBED, state, state == _SUBSCRIBED)
            for number, state in states.items()
        ]


def _describe(membership: Membership) -> str:
    if membership.is_subscribed:
        return _SUBSCRIBED
    if membership.is_bounced:
        return "bounced"
    return "unsubscribed" if membership.is_opted_out else "unconfirmed"
