"""A segment: a stream that is loaded into a list, in one of the sync modes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from target_activecampaign.errors import ModeError
from target_activecampaign.ledger import MemberUpdate
from target_activecampaign.ledger.segments import storable
from target_activecampaign.model.contact import Contact, contact_key
from target_activecampaign.model.names import caseless
from target_activecampaign.model.ownership import Ownership
from target_activecampaign.sync.completeness import ConsentCounts, IdentityCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from target_activecampaign.client import ContactList, Field
    from target_activecampaign.config.settings import StreamSettings
    from target_activecampaign.ledger import Ledger, SegmentState
    from target_activecampaign.sync.completeness import Outcome, StreamProgress
    from target_activecampaign.sync.existing_values import StoredValues
    from target_activecampaign.sync.list_members import ListMembers


IN, OUT = "true", "false"
"""The values of the membership field."""


_CHANGE_LOG = "_sdc_lsn"
"""The property that taps add if they read a stream from a database's log."""


@dataclass
class Segment:
    """A stream that is loaded into a list.

    Attributes:
        stream: Its name after stream maps.
        target: The list.
        settings: The settings of the stream.
        ledger: The ledger.
        state: The segment's row in the ledger when this run claimed it.
        siblings: The other segments with the same list, or with the same field or tag.
        of_list: The segments that load the same list, this one included.
        membership_field: The field that marks its contacts, if one does.
        membership_tag: The tag that marks its contacts, if one does.
        roster: The contacts on the list, if the segment needs to look them up.
        stored: The account's values, if `only_if_empty` is set.
        progress: The progress of each tap's stream that is loaded into it, by name.
        sync_number: The current sync; None before its first record.
        has_contacts: Whether any record of this run has a contact, delivered or not.
        unchanged_by_hash: Records unchanged by their hash since the last comparison.
        mark: The field or tag that marks its members, as the ledger stores it.
        outcome: The result of its removals.
        has_deletions: Whether a record of this run was marked as deleted.
        deleted: Contacts whose record was marked as deleted while an earlier one was in flight.
        number: Its number in the ledger.
        mirror: Whether contacts missing from the stream are removed.
        unsubscribes: Whether to remove a contact is to unsubscribe it.
        selects: Whether contacts are skipped because they do, or do not, exist in the account.
        follows: Whether contacts are known by the keys of their source rows.
        keeps_addresses: Whether the ledger stores the contacts' addresses.
        moving: Contacts whose rows have waiting records.
        moves_many: Whether there are more of them than `moving` holds.
        rows_known: The number of its source rows at the start of the run.
        members_known: The number of its current members at the start of the run.
        opened: The start of the run, by ActiveCampaign's clock.
        was_empty: Whether its list had no active contact at the start of the run, as far as that
            was asked.
        has_tripped: Whether a guard has stopped this run, so that the next may go through once.
        returned: The number of source rows that had been deleted and came again.
        is_incremental: Whether runs may bring only what changed, as its SCHEMA shows.
        identity: Counts of source rows whose person has another address.
    """

    stream: str
    target: ContactList
    settings: StreamSettings
    ledger: Ledger
    state: SegmentState
    siblings: Sequence[int]
    of_list: Sequence[int]
    membership_field: Field | None = None
    membership_tag: str | None = None
    roster: ListMembers | None = None
    stored: StoredValues | None = None
    progress: dict[str, StreamProgress] = field(default_factory=dict)
    sync_number: int | None = None
    has_contacts: bool = False
    unchanged_by_hash: int = 0
    mark: str | None = None
    outcome: Outcome | None = None
    has_deletions: bool = False
    deleted: set[bytes] = field(default_factory=set)
    moving: set[bytes] = field(default_factory=set)
    moves_many: bool = False
    rows_known: int = 0
    members_known: int = 0
    opened: float = 0.0
    was_empty: bool = False
    has_tripped: bool = False
    returned: int = 0
    is_incremental: bool = False
    identity: IdentityCounts = field(default_factory=IdentityCounts)
    consent: ConsentCounts = field(default_factory=ConsentCounts)
    _versions: dict[str, str | None] = field(default_factory=dict)
    _mixed: bool = False

    def __post_init__(self) -> None:
        """Set the attributes that are read for each record."""
        self.number = self.state.id
        self.mirror = self.settings.sync_mode == "mirror"
        self.unsubscribes = self.mirror and self.settings.on_leave == "unsubscribe"
        self.selects = self.settings.sync_mode in ("update_only", "create_only")
        self.follows = self.settings.person_key is not None
        self.keeps_addresses = self.mirror or self.follows

    @property
    def leaves_when_absent(self) -> bool:
        """True if contacts that are missing from a complete stream are removed."""
        return self.mirror and self.settings.leave_when in ("absent", "both")

    @property
    def leaves_when_deleted(self) -> bool:
        """True if contacts are removed whose records are marked as deleted."""
        return self.mirror and self.settings.leave_when in ("deleted", "both")

    @property
    def seen(self) -> int | None:
        """The sync to store with each contact; None if a missing contact means nothing."""
        return self.sync_number if self.leaves_when_absent else None

    def row_key(self, key_properties: Sequence[str]) -> Sequence[str]:
        """Return the properties that identify a source row; none if rows need not be known.

        Args:
            key_properties: The key properties of the stream, after stream maps.
        """
        person_key = self.settings.person_key
        if person_key is True or (person_key is None and self.leaves_when_deleted):
            return key_properties
        return person_key or ()

    def add_moving(self, contact: bytes, limit: int) -> None:
        """Remember a contact whose row has a waiting record, up to a limit of contacts."""
        if len(self.moving) < limit:
            self.moving.add(contact)
        else:
            self.moves_many = True

    @property
    def complete(self) -> bool:
        """True if all of its streams are complete, unless the input ended with an error."""
        streams = self.progress.values()
        ended = bool(streams) and all(one.ended for one in streams)
        whole = not self._mixed and not any(one.partial for one in streams)
        # Of an incremental stream, an ACTIVATE_VERSION may end a part.
        return whole and (self.settings.complete_stream or (ended and not self.is_incremental))

    @cached_property
    def digest_suffix(self) -> bytes:
        """The part of a digest that shows which values are only written if empty."""
        return "".join(f"?{name}" for name in self.settings.only_if_empty).encode()

    def begins_pass(self, stream: str, progress: StreamProgress) -> bool:
        """Return whether these records begin a new sync.

        The first records of a segment do, and records with another version than before.
        """
        versions = self._versions
        return self.mirror and (
            self.sync_number is None
            or (stream in versions and versions[stream] != progress.version)
        )

    def begin_pass(self, stream: str, progress: StreamProgress) -> None:
        """Begin a sync, or continue the one of an interrupted run."""
        state = self.state
        key = None if progress.version is None else storable(f"{stream} {progress.version}")
        cut_off = state.last_sync > state.last_complete_sync and key is not None
        if self.sync_number is None and cut_off and state.version == key:
            # The tap continues the version that the interrupted run had begun.
            self.sync_number = state.last_sync
            return
        # Records of the segment's other streams belong to the previous sync: this one is partial.
        self._mixed = len(self._versions) > 1
        self.sync_number = 1 + (self.sync_number or state.last_sync)
        self.ledger.segments.begin_sync(self.number, self.sync_number, key)

    def end_moves(self) -> None:
        """Forget which contacts were moving, and what was read of the list before they did."""
        self.moving.clear()
        self.moves_many = False
        if self.roster is not None:
            self.roster.forget()

    def record(self, stream: str, progress: StreamProgress) -> None:
        """Store the version of a stream's records."""
        self._versions[stream] = progress.version

    def reset_guard(self) -> None:
        """Store that no guard has stopped this run, so `override_once` has no effect on the next.

        A mirror's run that was not complete shows nothing.
        """
        is_whole = not self.mirror or (
            self.outcome is not None and self.outcome.kind in ("left", "first run")
        )
        if is_whole and self.state.tripped and not self.has_tripped:
            self.ledger.segments.reset_guard(self.number)

    def removal_of(self, address: str) -> Contact:
        """Return the contact to import in order to remove an address."""
        contact = Contact(key=contact_key(address), email=address)
        if self.membership_field is not None:
            contact.fields[self.membership_field.id] = OUT
        else:
            contact.unsubscribe_lists = (self.target.id,)
        return contact

    def leave_out_membership(self, contact: Contact) -> None:
        """Take out of a contact what would make it a member: the list, and the field or tag."""
        contact.lists = ()
        if self.membership_field is not None:
            contact.drop_values([self.membership_field.id])
        if self.membership_tag is not None:
            member = caseless(self.membership_tag)
            contact.tags = tuple(tag for tag in contact.tags if caseless(tag) != member)

    def updates_after_removal(self) -> list[MemberUpdate]:
        """Return the ledger updates of a removed contact, for all segments of the list or mark."""
        numbers = [self.number, *self.siblings]
        return [MemberUpdate(number, None, self.membership_after) for number in numbers]

    @property
    def membership_after(self) -> Ownership:
        """The ownership of a removed contact in the ledger."""
        return (
            Ownership.UNSUBSCRIBED_BY_US
            if self.settings.on_leave == "unsubscribe"
            else Ownership.LEFT_STREAM
        )


def of_lists(segments: Iterable[Segment]) -> set[int]:
    """Return the numbers of all segments that load the same lists as these."""
    return {number for segment in segments for number in segment.of_list}


def check_mode(
    stream: str, settings: StreamSettings, bookmarks: Sequence[str], properties: Iterable[str]
) -> list[str]:
    """Check that a stream can be loaded in the sync mode that is set for it.

    Args:
        stream: Its name after stream maps.
        settings: The settings of the stream.
        bookmarks: The bookmark properties of its SCHEMA message.
        properties: The properties of its SCHEMA message.

    Returns:
        Warnings, one sentence each.

    Raises:
        ModeError: It can't be.
    """
    if settings.sync_mode != "mirror":
        return []
    log = change_log_property(properties)
    if settings.leave_when == "absent" and not settings.complete_stream:
        _check_not_partial(stream, bookmarks, log)
    if settings.on_leave == "field" and not settings.membership_field:
        raise ModeError(
            f"Stream '{stream}' marks its contacts in a field: name it in 'membership_field'."
        )
    if settings.on_leave == "tag" and membership_tag(settings) is None:
        raise ModeError(
            f"Stream '{stream}' removes a tag from removed contacts: name it in 'membership_tag'. "
            f"(It has {len(settings.tags)} 'tags'. If it had one, that would be the tag.)"
        )
    if log is None or not settings.complete_stream or settings.leave_when == "deleted":
        return []
    return [
        f"Stream '{stream}' is a change log (its SCHEMA has '{log}'), but 'complete_stream' says "
        "that each run has every row. If a run has only what changed, all other contacts are "
        "removed: only the guards prevent that."
    ]


def change_log_property(properties: Iterable[str]) -> str | None:
    """Return the property that shows that a stream is a change log; None if there is none."""
    return next((name for name in properties if name.casefold() == _CHANGE_LOG), None)


def _check_not_partial(stream: str, bookmarks: Sequence[str], log: str | None) -> None:
    """Check that a stream brings everyone in each run.

    Raises:
        ModeError: It may bring only what changed.
    """
    advice = (
        "so a run has only what changed, and all other contacts would be removed. Choose one: set "
        "'leave_when' to 'deleted' to remove contacts whose record is marked as deleted; have the "
        "tap replicate the full table, and set 'complete_stream' to true; or use another "
        "'sync_mode'."
    )
    if bookmarks:
        names = ", ".join(f"'{name}'" for name in bookmarks)
        raise ModeError(
            f"Stream '{stream}' can't be mirrored: it is incremental (its SCHEMA has the bookmark "
            f"{names}), {advice}"
        )
    if log is not None:
        raise ModeError(
            f"Stream '{stream}' can't be mirrored: it is a change log (its SCHEMA has '{log}'), "
            f"{advice}"
        )


def membership_tag(settings: StreamSettings) -> str | None:
    """Return the tag of the stream's contacts: `membership_tag`, or else the only one of `tags`."""
    if settings.membership_tag:
        return settings.membership_tag
    return settings.tags[0] if len(settings.tags) == 1 else None


def mark_of(settings: StreamSettings, field_id: int | None) -> str | None:
    """Return the field or tag that marks a segment's contacts; None if only the list does."""
    if settings.sync_mode != "mirror":
        return None
    if settings.on_leave == "field":
        return f"field:{field_id}"
    # ActiveCampaign tells tags apart without regard to case [rep].
    tag = membership_tag(settings) or ""
    return f"tag:{caseless(tag)}" if settings.on_leave == "tag" else None
