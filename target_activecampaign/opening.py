"""Opening a stream: what its SCHEMA message and the settings make of it.

All that can't be is refused here, before the stream's first record.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign import drift
from target_activecampaign.contact_index import bring_up_to_date
from target_activecampaign.destinations import destinations_of
from target_activecampaign.field_catalog import FieldCatalog, MappingError
from target_activecampaign.mapping import Member, StreamMapping
from target_activecampaign.mappings import Mappings
from target_activecampaign.roster import Roster
from target_activecampaign.segment import IN, OUT, Segment, check_mode, mark_of, membership_tag
from target_activecampaign.stored_values import StoredValues

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_activecampaign.account import Account
    from target_activecampaign.activecampaign import Field
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.property_schema import Schema
    from target_activecampaign.settings import Settings, StreamSettings

logger = logging.getLogger("target-activecampaign")

_ACTIVE = 1
_TEXT_TYPES = ("text", "textarea", "hidden")


class MissingListError(ValueError):
    """A stream for which no list is set."""


class Streams:
    """Opens the streams of a run.

    Args:
        settings: What the operator wants.
        account: Where the lists and fields are.
        ledger: Where the segments are kept.
        on_wait: Called now and then while the index of contacts is read; may end it.
    """

    def __init__(
        self, settings: Settings, account: Account, ledger: Ledger, on_wait: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._account = account
        self._ledger = ledger
        self._on_wait = on_wait
        self._index_read = False
        self._mappings = Mappings(account)
        self._stored: dict[tuple[str | int, ...], StoredValues] = {}
        self.segments: dict[str, Segment] = {}

    def open(
        self, name: str, properties: Mapping[str, Schema], bookmarks: Sequence[str]
    ) -> tuple[StreamMapping, Segment, bool]:
        """A stream's mapping and its segment.

        Args:
            name: The stream's name after stream maps.
            properties: The schemas of its properties after stream maps, by name.
            bookmarks: The bookmark properties of its SCHEMA message.

        Returns:
            The mapping, the segment, and whether it is the run's first sight of it.

        Raises:
            MappingError, MissingListError, ListError, ModeError: The stream can't be loaded.
            LedgerError: Another run is loading it, or the ledger can't be used.
            ActiveCampaignError: What must be known beforehand can't be asked.
        """
        settings = self._settings.for_stream(name)
        if settings.list_id is None:
            raise MissingListError(
                f"Stream '{name}' has no list: set 'list_id', or 'streams.{name}.list_id'."
            )
        target = self._account.find_list(settings.list_id)
        check_mode(name, settings, bookmarks)
        known = self.segments.get(name)
        member = self._member(name, settings)
        history = drift.loaded(self._ledger.segments.mapping(name, target.id))
        mapping, remembered = self._mappings.compile(
            name, properties, settings, target.id, member=member, history=history
        )
        if known is not None:
            self._ledger.segments.remember(known.number, drift.dumped(remembered))
            return mapping, known, False
        mark = mark_of(settings, member.field.id if member and member.field else None)
        state = self._ledger.segments.claim(
            name, target.id, mirror=settings.sync_mode == "mirror", mark=mark
        )
        of_list = self._ledger.segments.siblings(state.id, target.id, None)
        self._ledger.segments.remember(state.id, drift.dumped(remembered))
        segment = Segment(
            name,
            target,
            settings,
            self._ledger,
            state,
            self._ledger.segments.siblings(state.id, target.id, mark),
            [state.id, *of_list],
            member.field if member else None,
            member.tag if member else None,
            mark=mark,
            stored=self._stored_values(name, settings, member),
        )
        if segment.unsubscribes:
            segment.roster = Roster(
                self._account.client,
                target.id,
                _ACTIVE,
                self._ledger.person,
                lambda: None,
            )
        if settings.sync_mode in ("update_only", "create_only") and not self._index_read:
            bring_up_to_date(self._account.client, self._ledger, self._on_wait)
            self._index_read = True
        self.segments[name] = segment
        for other in self.segments.values():
            if other.target.id == target.id and segment.number not in other.of_list:
                other.of_list = [*other.of_list, segment.number]
        return mapping, segment, True

    @property
    def dropped(self) -> Mapping[str, Mapping[str, int]]:
        """How many choices were dropped, by stream and property."""
        return self._mappings.dropped

    def close(self) -> None:
        """Let go of what was read."""
        for segment in self.segments.values():
            if segment.roster is not None:
                segment.roster.close()
        for stored in self._stored.values():
            stored.close()

    def _stored_values(
        self, stream: str, settings: StreamSettings, member: Member | None
    ) -> StoredValues | None:
        """What contacts have at the destinations that are only written where they are empty."""
        catalog = FieldCatalog(self._account.fields)
        key = destinations_of(stream, settings.only_if_empty, catalog)
        if member is not None and member.field is not None and member.field.id in key:
            raise MappingError(
                f"Stream '{stream}': 'only_if_empty' names the 'membership_field' "
                f"%{member.field.tag}%, which changes when people leave and return: leave it out."
            )
        if key and key not in self._stored:
            self._stored[key] = StoredValues(
                self._account.client, key, self._ledger.person, self._on_wait
            )
        return self._stored.get(key)

    def _member(self, stream: str, settings: StreamSettings) -> Member | None:
        """What marks the stream's people besides the list."""
        if settings.sync_mode != "mirror":
            return None
        if settings.on_leave == "tag":
            return Member(tag=membership_tag(settings))
        if settings.on_leave == "field" and settings.membership_field:
            field = self._membership_field(stream, settings.membership_field)
            return Member(field=field, value=IN)
        return None

    def _membership_field(self, stream: str, title: str) -> Field:
        field = FieldCatalog(self._account.fields).named(title)
        if field is None:
            field = self._mappings.make_field(title)
        lacks_options = bool(field.options) and not {IN, OUT} <= set(field.options)
        if lacks_options or not (field.options or field.type in _TEXT_TYPES):
            raise MappingError(
                f"Stream '{stream}': the membership field '{field.title}' is of type "
                f"'{field.type}' and can't hold '{IN}' and '{OUT}': name a text field, or a new "
                "one, which is then made."
            )
        return field
