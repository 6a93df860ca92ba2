"""A segment: a stream that is loaded into a list, in one of the modes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from target_activecampaign.errors import ModeError
from target_activecampaign.ledger.segments import storable
from target_activecampaign.model.contact import Contact, contact_key
from target_activecampaign.model.names import caseless
from target_activecampaign.model.ownership import Ownership

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
"""The property that taps add to a stream that they read from a database's log."""


@dataclass
class Segment:
    """A stream that is loaded into a list.

    Attributes:
        stream: Its name after stream maps.
        target: The list.
        settings: What holds for the stream.
        ledger: Where it is kept.
        state: What the ledger knew of it when this run took it.
        siblings: The other segments of the ledger that give the same: the list, or the mark.
        of_list: The segments that load the same list, itself included.
        membership_field: The field that marks its contacts, if one does.
        membership_tag: The tag, likewise.
        roster: The contacts of the list, where it matters which are on it already.
        stored: The values that contacts have, where some are written only if empty.
        progress: The tap's streams that it is made of, by name.
        sync_number: The current pass; None before its first record.
        has_contacts: Whether a record of this run has a contact, delivered or not.
        unchanged_by_hash: Records known as unchanged by their hash since the last comparison.
        mark: What marks its members in the ledger besides the list.
        outcome: The result of its removals.
        has_deletions: Whether a record of this run was marked as deleted.
        deleted: Contacts whose record was marked as deleted while an earlier one was in flight.
        number: Its number in the ledger.
        mirror: Whether contacts that are missing from the stream are removed.
        unsubscribes: Whether they are removed by being unsubscribed.
        selects: Whether contacts are skipped that are, or are not, in the account.
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
    _versions: dict[str, str | None] = field(default_factory=dict)
    _mixed: bool = False

    def __post_init__(self) -> None:
        """Decide once what each record needs."""
        self.number = self.state.id
        self.mirror = self.settings.sync_mode == "mirror"
        self.unsubscribes = self.mirror and self.settings.on_leave == "unsubscribe"
        self.selects = self.settings.sync_mode in ("update_only", "create_only")

    @property
    def seen(self) -> int | None:
        """Return the pass to be noted with each contact; None if there are no passes."""
        return self.sync_number if self.mirror else None

    @property
    def complete(self) -> bool:
        """Return whether all of its streams are complete, provided that the input ended well."""
        streams = self.progress.values()
        ended = bool(streams) and all(one.ended for one in streams)
        whole = not self._mixed and not any(one.partial for one in streams)
        return whole and (self.settings.complete_stream or ended)

    @cached_property
    def digest_suffix(self) -> bytes:
        """Return what tells profiles with `only_if_empty` values from the same without."""
        return "".join(f"?{name}" for name in self.settings.only_if_empty).encode()

    def begins_pass(self, stream: str, progress: StreamProgress) -> bool:
        """Return whether the records that have come begin a pass.

        A segment's first record does, and one of another version than the same stream's before.
        """
        versions = self._versions
        return self.mirror and (
            self.sync_number is None
            or (stream in versions and versions[stream] != progress.version)
        )

    def begin_pass(self, stream: str, progress: StreamProgress) -> None:
        """Begin a pass, or go on with that of a run that was interrupted."""
        state = self.state
        key = None if progress.version is None else storable(f"{stream} {progress.version}")
        cut_off = state.last_sync > state.last_complete_sync and key is not None
        if self.sync_number is None and cut_off and state.version == key:
            # The tap goes on in the middle of the version that it had begun.
            self.sync_number = state.last_sync
            return
        # Records of other streams belong to the pass before, so this one is not whole.
        self._mixed = len(self._versions) > 1
        self.sync_number = 1 + (self.sync_number or state.last_sync)
        self.ledger.segments.begin_sync(self.number, self.sync_number, key)

    def record(self, stream: str, progress: StreamProgress) -> None:
        """Note the version of a stream's records."""
        self._versions[stream] = progress.version

    def removal_of(self, address: str) -> Contact:
        """Return the contact whose import removes somebody."""
        contact = Contact(key=contact_key(address), email=address)
        if self.membership_field is not None:
            contact.fields[self.membership_field.id] = OUT
        else:
            contact.unsubscribe_lists = (self.target.id,)
        return contact

    @property
    def membership_after(self) -> Ownership:
        """Return the membership of a removed contact in the ledger."""
        return (
            Ownership.UNSUBSCRIBED_BY_US
            if self.settings.on_leave == "unsubscribe"
            else Ownership.LEFT_STREAM
        )


def of_lists(segments: Iterable[Segment]) -> set[int]:
    """Return the numbers of segments, and of all others that load the same lists."""
    return {number for segment in segments for number in segment.of_list}


def check_mode(
    stream: str, settings: StreamSettings, bookmarks: Sequence[str], properties: Iterable[str]
) -> list[str]:
    """Check that a stream can have the mode that is set for it.

    Args:
        stream: Its name after stream maps.
        settings: What holds for it.
        bookmarks: The bookmark properties of its SCHEMA message.
        properties: The properties of its SCHEMA message.

    Returns:
        Warnings, one sentence each.

    Raises:
        ModeError: It can't.
    """
    if settings.sync_mode != "mirror":
        return []
    if bookmarks and not settings.complete_stream:
        names = ", ".join(f"'{name}'" for name in bookmarks)
        raise ModeError(
            f"Stream '{stream}' can't be mirrored: it is incremental (its SCHEMA has the bookmark "
            f"{names}), so a run may bring only what changed, and all others would be "
            "removed. Have the tap replicate the full table; if it does so already, say so with "
            "'complete_stream': true; or take another 'sync_mode'."
        )
    log = next((name for name in properties if name.casefold() == _CHANGE_LOG), None)
    if log is not None and not settings.complete_stream:
        raise ModeError(
            f"Stream '{stream}' can't be mirrored: it is a change log (its SCHEMA has '{log}'), so "
            "a run brings only what changed, and all others would be removed. Have the tap "
            "replicate the full table; if it does so already, say so with 'complete_stream': true; "
            "or take another 'sync_mode'."
        )
    if settings.on_leave == "field" and not settings.membership_field:
        raise ModeError(
            f"Stream '{stream}' marks removed contacts in a field: name it in 'membership_field'."
        )
    if settings.on_leave == "tag" and membership_tag(settings) is None:
        raise ModeError(
            f"Stream '{stream}' takes a tag off removed contacts: name it in 'membership_tag'. "
            f"(Its 'tags' hold {len(settings.tags)}; were there just one, that would be it.)"
        )
    if log is None:
        return []
    return [
        f"Stream '{stream}' is a change log (its SCHEMA has '{log}'), and 'complete_stream' claims "
        "that each run brings every row all the same. A run that brings only what changed would "
        "remove all others: only the guards stand between it and the list."
    ]


def membership_tag(settings: StreamSettings) -> str | None:
    """Return the tag of the stream's contacts: the one that is named, or else its only one."""
    if settings.membership_tag:
        return settings.membership_tag
    return settings.tags[0] if len(settings.tags) == 1 else None


def mark_of(settings: StreamSettings, field_id: int | None) -> str | None:
    """Return what marks a segment's contacts besides the list; None if only the list does."""
    if settings.sync_mode != "mirror":
        return None
    if settings.on_leave == "field":
        return f"field:{field_id}"
    # ActiveCampaign tells tags apart without regard to case [rep].
    tag = membership_tag(settings) or ""
    return f"tag:{caseless(tag)}" if settings.on_leave == "tag" else None
