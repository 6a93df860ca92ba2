"""A segment: a stream that is loaded into a list, in one of the modes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from target_activecampaign.errors import ModeError
from target_activecampaign.ledger.schema import GONE, LEFT
from target_activecampaign.ledger.segments import plain
from target_activecampaign.model.contact import Contact, person_key
from target_activecampaign.model.names import caseless

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from target_activecampaign.client import ContactList, Field
    from target_activecampaign.config.settings import StreamSettings
    from target_activecampaign.ledger import Ledger, SegmentState
    from target_activecampaign.sync.completeness import Outcome, StreamProgress
    from target_activecampaign.sync.existing_values import StoredValues
    from target_activecampaign.sync.list_members import ListMembers


IN, OUT = "true", "false"
"""What the membership field holds."""


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
        membership_field: The field that people leave by, where they do.
        membership_tag: The tag, likewise.
        roster: Who is on the list, where it matters whether a person already was.
        stored: Which values people have already, where some are to be written only if empty.
        passages: The streams that it is made of, by the tap's names.
        sync_number: The pass that is under way; None before its first record.
        has_contacts: Whether a record of this run has stood for anybody, delivered or not.
        unchanged_by_hash: Records known as unchanged by their hash since the last comparison.
        mark: What marks its members in the ledger besides the list.
        outcome: What became of its leavers.
        has_deletions: Whether a record of this run was marked as deleted.
        deleted: People whose record was marked as deleted while an earlier one was under way.
        number: Its number in the ledger.
        mirror: Whether people leave who are no longer in the stream.
        unsubscribes: Whether people leave by being unsubscribed.
        selects: Whether people are left out who are, or are not, in the account.
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
    passages: dict[str, StreamProgress] = field(default_factory=dict)
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
        """Decide once what is asked for each record."""
        self.number = self.state.id
        self.mirror = self.settings.sync_mode == "mirror"
        self.unsubscribes = self.mirror and self.settings.on_leave == "unsubscribe"
        self.selects = self.settings.sync_mode in ("update_only", "create_only")

    @property
    def seen(self) -> int | None:
        """The pass to be noted with each person, where it matters who was seen in it."""
        return self.sync_number if self.mirror else None

    @property
    def complete(self) -> bool:
        """Whether all of its streams were complete, provided that the input ended well."""
        passages = self.passages.values()
        ended = bool(passages) and all(one.ended for one in passages)
        whole = not self._mixed and not any(one.partial for one in passages)
        return whole and (self.settings.complete_stream or ended)

    @cached_property
    def held_back(self) -> bytes:
        """What tells a profile of which some values may have been held back from others."""
        return "".join(f"?{name}" for name in self.settings.only_if_empty).encode()

    def begins_pass(self, stream: str, passage: StreamProgress) -> bool:
        """Whether the record that has come begins a pass.

        A segment's first record does, and one of another version than the same stream's before.
        """
        versions = self._versions
        return self.mirror and (
            self.sync_number is None or (stream in versions and versions[stream] != passage.version)
        )

    def begin_pass(self, stream: str, passage: StreamProgress) -> None:
        """Begin a pass, or go on with one that an earlier run was cut off in."""
        state = self.state
        key = None if passage.version is None else plain(f"{stream} {passage.version}")
        cut_off = state.last_pass > state.complete_pass and key is not None
        if self.sync_number is None and cut_off and state.version == key:
            # The tap goes on in the middle of the version that it began then.
            self.sync_number = state.last_pass
            return
        # What other streams have brought belongs to the pass before: nobody may miss it.
        self._mixed = len(self._versions) > 1
        self.sync_number = 1 + (self.sync_number or state.last_pass)
        self.ledger.segments.begin_pass(self.number, self.sync_number, key)

    def record(self, stream: str, passage: StreamProgress) -> None:
        """Note a record's version."""
        self._versions[stream] = passage.version

    def leaving(self, address: str) -> Contact:
        """The contact that lets a person leave, where an import does that."""
        contact = Contact(key=person_key(address), email=address)
        if self.membership_field is not None:
            contact.fields[self.membership_field.id] = OUT
        else:
            contact.leaves = (self.target.id,)
        return contact

    @property
    def membership_after(self) -> int:
        """What a person who has left is in the ledger."""
        return LEFT if self.settings.on_leave == "unsubscribe" else GONE


def of_lists(segments: Iterable[Segment]) -> set[int]:
    """The numbers of segments, and of all others that load the same lists."""
    return {number for segment in segments for number in segment.of_list}


def check_mode(
    stream: str, settings: StreamSettings, bookmarks: Sequence[str], properties: Iterable[str]
) -> list[str]:
    """See whether a stream can have the mode that is set for it.

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
            f"{names}), so a run may bring only what changed, and all others would leave. Have "
            "the tap replicate the full table; if it does so already, say so with "
            "'complete_stream': true; or take another 'sync_mode'."
        )
    log = next((name for name in properties if name.casefold() == _CHANGE_LOG), None)
    if log is not None and not settings.complete_stream:
        raise ModeError(
            f"Stream '{stream}' can't be mirrored: it is a change log (its SCHEMA has '{log}'), so "
            "a run brings only what changed, and all others would leave. Have the tap replicate "
            "the full table; if it does so already, say so with 'complete_stream': true; or take "
            "another 'sync_mode'."
        )
    if settings.on_leave == "field" and not settings.membership_field:
        raise ModeError(
            f"Stream '{stream}' is to mark who left in a field: name it in 'membership_field'."
        )
    if settings.on_leave == "tag" and membership_tag(settings) is None:
        raise ModeError(
            f"Stream '{stream}' is to take a tag off who left: name it in 'membership_tag'. (Its "
            f"'tags' hold {len(settings.tags)}; were there just one, that would be it.)"
        )
    if log is None:
        return []
    return [
        f"Stream '{stream}' is a change log (its SCHEMA has '{log}'), and 'complete_stream' claims "
        "that each run brings every row all the same. A run that brings only what changed would "
        "make all others leave: only the guards stand between it and the list."
    ]


def membership_tag(settings: StreamSettings) -> str | None:
    """The tag that the stream's people have: the one that is named, or else its only one."""
    if settings.membership_tag:
        return settings.membership_tag
    return settings.tags[0] if len(settings.tags) == 1 else None


def mark_of(settings: StreamSettings, field_id: int | None) -> str | None:
    """What marks a segment's members besides the list; None when it is the list alone."""
    if settings.sync_mode != "mirror":
        return None
    if settings.on_leave == "field":
        return f"field:{field_id}"
    # ActiveCampaign tells tags apart without regard to case [rep].
    tag = membership_tag(settings) or ""
    return f"tag:{caseless(tag)}" if settings.on_leave == "tag" else None
