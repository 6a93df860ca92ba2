"""Opening of streams: list, mapping and segment, from the SCHEMA message and the settings.

A stream that can't be loaded is refused here, before its first record.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from target_activecampaign.errors import MappingError, MissingListError, NoSuchListError
from target_activecampaign.mapping import history
from target_activecampaign.mapping.catalog import FieldCatalog
from target_activecampaign.mapping.compiler import MappingCompiler
from target_activecampaign.mapping.explicit import resolve_only_if_empty
from target_activecampaign.mapping.stream import MembershipMarker, StreamToMap
from target_activecampaign.mapping.suppression import SuppressionMapping
from target_activecampaign.model.status import ACTIVE
from target_activecampaign.sync import membership_field
from target_activecampaign.sync.existing_contacts import bring_up_to_date
from target_activecampaign.sync.existing_values import StoredValues
from target_activecampaign.sync.list_members import ListMembers
from target_activecampaign.sync.property_checks import check_properties
from target_activecampaign.sync.segment import (
    IN,
    Segment,
    change_log_property,
    check_mode,
    mark_of,
    membership_tag,
)
from target_activecampaign.text import pluralize, quoted_list

if TYPE_CHECKING:
    from target_activecampaign.account.account import Account
    from target_activecampaign.client import ContactList, Field
    from target_activecampaign.config.settings import Settings, StreamSettings
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.mapping.consent import ConsentReader
    from target_activecampaign.mapping.mapping import StreamMapping
    from target_activecampaign.sync.account_facts import AccountFacts
    from target_activecampaign.sync.routes import RoutedStream, RouteSchema
    from target_activecampaign.sync.stop import StopRequest


logger = logging.getLogger("target-activecampaign")

MEMBERSHIP = ""
"""The key of the membership field in the mapping history; no property has this name."""


class Streams:
    """Opens the streams of a run.

    Args:
        settings: The settings.
        account: The account.
        ledger: Stores the segments.
        facts: What is known of the account.
        stop: Stops the reading of the account.
        options_delay: As for `MappingCompiler`, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        account: Account,
        ledger: Ledger,
        stop: StopRequest,
        *,
        facts: AccountFacts,
        options_delay: float,
    ) -> None:
        self._settings = settings
        self._account = account
        self._ledger = ledger
        self._facts = facts
        self._stop = stop
        self._index_read = False
        self._mappings = MappingCompiler(account, options_delay)
        self._membership_fields = membership_field.MembershipFields()
        self._stored: dict[tuple[str | int, ...], StoredValues] = {}
        self._tags: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._warned: set[str] = set()
        self._logged: set[tuple[str, ...]] = set()
        self._consent: dict[str, list[ConsentReader]] = {}
        self._suppressing: set[str] = set()
        self.segments: dict[str, Segment] = {}

    def open(
        self, name: str, source: RoutedStream, schema: RouteSchema
    ) -> tuple[StreamMapping, Segment, bool]:
        """Open a stream: return its mapping and its segment.

        Args:
            name: The stream's name after stream maps.
            source: The stream as the tap announced it.
            schema: The schema after stream maps.

        Returns:
            The mapping, the segment, and whether the segment is new in this run.

        Raises:
            MappingError, MissingListError, ListError, ModeError: The stream can't be loaded.
            LedgerError: Another run is loading it, or the ledger can't be used.
            ActiveCampaignError: A lookup that is needed first has failed.
        """
        settings = self._with_account_spelling(self._settings.for_stream(name))
        target = list_of(name, settings, self._account)
        announced = source.source.schema["properties"]
        warnings = check_mode(name, settings, source.bookmarks, announced)
        warnings += check_properties(
            name,
            settings,
            properties=schema.properties,
            tap_properties=announced,
            keys=schema.keys,
        )
        known = self.segments.get(name)
        known_as = self._known_as(name, target)
        last = history.from_json(self._ledger.segments.mapping(known_as, target.id))
        lenient = known is not None or name != source.source.name
        stream = StreamToMap(
            name,
            schema.properties,
            settings,
            target.id,
            last,
            lenient,
            is_open=schema.is_open,
        )
        catalog = FieldCatalog(self._account.fields)
        member = member_of(name, settings, catalog, last.get(MEMBERSHIP))
        if settings.on_leave == "field" and member is not None and member.field is None:
            self._mappings.compile(stream)  # so that no field is created if the mapping fails
            member = MembershipMarker(
                self._mappings.create_text_field(str(settings.membership_field)), IN
            )
        mapping, next_history = self._mappings.compile(stream._replace(marker=member))
        self._facts.check_clearing(name, settings, [one.destination for one in mapping.properties])
        own = member.field if member else None
        self._membership_fields.take(name, mapping, own)
        stored = self._stored_values(name, settings, own)
        segment = known or self._claim(name, target, settings, member, stored)
        # Several streams of the tap may be loaded into it.
        segment.is_incremental |= (
            bool(source.bookmarks) or change_log_property(announced) is not None
        )
        updates_without_consent = bool(mapping.consent) and settings.without_consent == "update"
        if (segment.selects or updates_without_consent) and not self._index_read:
            bring_up_to_date(self._account.client, self._ledger, self._stop)
            self._index_read = True
        self._consent.setdefault(name, []).append(mapping.consent)
        must_sweep = known is None and self._ledger.segments.must_sweep(segment.of_list)
        if known is None and (mapping.consent or must_sweep):
            active = self._account.client.count_contacts(list_id=target.id, status=ACTIVE)
            segment.was_empty = active == 0
        if must_sweep and segment.was_empty and self._ledger.interrupted_since is None:
            self._ledger.segments.end_sweep(segment.of_list)
        for warning in (*warnings, *mapping.warnings):
            if warning not in self._warned:
                logger.warning(warning)
        self._warned.update(warnings, mapping.warnings)
        if own is not None:
            next_history[MEMBERSHIP] = own
        self._ledger.segments.save_mapping(segment.number, history.to_json(next_history))
        self._log_mapping(name, mapping, target)
        return mapping, segment, known is None

    def open_suppression(
        self, name: str, source: RoutedStream, schema: RouteSchema
    ) -> SuppressionMapping:
        """Open a stream of people who must never be sent: return its mapping.

        Args:
            name: The stream's name after stream maps.
            source: The stream as the tap announced it.
            schema: The schema after stream maps.

        Raises:
            MappingError: No property has the people.
        """
        settings = self._settings.for_stream(name)
        announced = source.source.schema["properties"]
        warnings = check_properties(
            name,
            settings,
            properties=schema.properties,
            tap_properties=announced,
            keys=schema.keys,
        )
        lenient = name in self._suppressing or name != source.source.name
        mapping = SuppressionMapping(name, schema.properties, settings, lenient=lenient)
        for warning in warnings:
            if warning not in self._warned:
                logger.warning(warning)
        self._warned.update(warnings)
        text = f"Stream '{name}' suppresses people by {quoted_list(mapping.destinations)}."
        if (text,) not in self._logged:
            self._logged.add((text,))
            logger.info("%s", text)
        self._suppressing.add(name)
        return mapping

    def _log_mapping(self, name: str, mapping: StreamMapping, target: ContactList) -> None:
        mapped = ", ".join(str(entry) for entry in mapping.properties)
        texts = [f"Stream '{name}' goes to list {target.id} '{target.name}': {mapped}."]
        if mapping.consent:
            names = quoted_list(mapping.consent.names)
            texts.append(f"Stream '{name}': consent is read from {names}.")
        if mapping.ignored:
            texts.append(f"Stream '{name}' ignores: {', '.join(mapping.ignored)}.")
        if (*texts,) not in self._logged:
            self._logged.add((*texts,))
            for text in texts:
                logger.info("%s", text)

    def _known_as(self, name: str, target: ContactList) -> str:
        """Return a stream's name in the ledger, which may be in another Unicode form."""
        if name not in self._names:
            found = self._ledger.segments.stored_name(name, target.id)
            # Two streams of a run stay separate, even if their names only differ in Unicode form.
            self._names[name] = name if found in self._names.values() else found
        return self._names[name]

    def _with_account_spelling(self, settings: StreamSettings) -> StreamSettings:
        """Return settings with their tags as the account spells them.

        ActiveCampaign ignores case in tags. Whether it does so beyond ASCII, or ignores the Unicode
        form, is not documented. So tags beyond ASCII are looked up.
        """
        member = settings.membership_tag
        for tag in (*settings.tags, *([member] if member else [])):
            if not tag.isascii() and tag not in self._tags:
                found = self._account.client.find_tag(tag)
                self._tags[tag] = found.name if found else tag
        if not self._tags:
            return settings
        tags = tuple(self._tags.get(tag, tag) for tag in settings.tags)
        membership_tag = self._tags.get(member, member) if member else None
        return replace(settings, tags=tags, membership_tag=membership_tag)

    def _claim(
        self,
        name: str,
        target: ContactList,
        settings: StreamSettings,
        member: MembershipMarker | None,
        stored: StoredValues | None,
    ) -> Segment:
        """Claim a stream's segment for this run, and return it."""
        ledger = self._ledger
        mark = mark_of(settings, member.field.id if member and member.field else None)
        mirror = settings.sync_mode == "mirror"
        known_as = self._known_as(name, target)
        state = ledger.segments.claim(known_as, target.id, mirror=mirror, mark=mark)
        of_list = ledger.segments.siblings(state.id, target.id, None)
        segment = Segment(
            name,
            target,
            settings,
            ledger,
            state,
            ledger.segments.siblings(state.id, target.id, mark),
            [state.id, *of_list],
            member.field if member else None,
            member.tag if member else None,
            mark=mark,
            stored=stored,
        )
        if segment.leaves_when_deleted:
            segment.members_known = ledger.members.count_current(segment.number)
            segment.opened = ledger.now()
        if segment.follows:
            segment.rows_known = ledger.source_rows.count(segment.number)
        if segment.unsubscribes:
            segment.roster = ListMembers(self._account.client, target.id, ACTIVE, ledger)
        self.segments[name] = segment
        for other in self.segments.values():
            if other.target.id == target.id and segment.number not in other.of_list:
                other.of_list = [*other.of_list, segment.number]
        return segment

    def report_dropped_options(self) -> dict[str, dict[str, int]]:
        """Warn of choices that were dropped. Return their numbers by stream and property."""
        found = {name: dict(counts) for name, counts in self._mappings.dropped.items() if counts}
        for name, counts in found.items():
            dropped_text = ", ".join(
                f"{count:,} of '{property_}'" for property_, count in counts.items()
            )
            logger.warning(
                "Stream '%s': choices were dropped, as their fields lack such options: %s. "
                "Add the options in ActiveCampaign, or see 'on_unknown_option'.",
                name,
                dropped_text,
            )
        return found

    def report_consent(self, unknown: int) -> dict[str, dict[str, Any]]:
        """Warn of consent that can't be read. Return what the report says.

        Args:
            unknown: The number of records of the run whose consent is unknown.

        Returns:
            By stream, of those with consent: the properties that were read, the unknown words in
            each, and the numbers of contacts that were unsubscribed or not.
        """
        found = {}
        for name, readers in self._consent.items():
            words = sum((one.unknown_words for one in readers), Counter[str]())
            properties = list(dict.fromkeys(one for reader in readers for one in reader.names))
            for property_, count in words.items():
                logger.warning(
                    "Stream '%s': %s of '%s' can't be read as yes or no. Such values count as "
                    "unknown. docs/consent.md lists the words that can be read.",
                    name,
                    pluralize(count, "value"),
                    property_,
                )
            if unknown and properties and all(one.is_undeclared for one in readers):
                logger.warning(
                    "Stream '%s' lacks %s, from which 'field_mapping' says to read consent. So the "
                    "consent of its records is unknown. Correct the name in 'field_mapping', or "
                    "have the tap send the property.",
                    name,
                    quoted_list(properties),
                )
            if properties:
                counts = asdict(self.segments[name].consent)
                found[name] = {"properties": properties, "unknown_words": dict(words), **counts}
        return found

    def close(self) -> None:
        """Delete the copies of the account's data."""
        for segment in self.segments.values():
            if segment.roster is not None:
                segment.roster.close()
        for stored in self._stored.values():
            stored.close()

    def _stored_values(
        self, stream: str, settings: StreamSettings, own: Field | None
    ) -> StoredValues | None:
        """Return the values of contacts at the stream's `only_if_empty` destinations."""
        key = only_if_empty_targets(stream, settings, FieldCatalog(self._account.fields), own)
        if key and key not in self._stored:
            self._stored[key] = StoredValues(self._account.client, key, self._ledger, self._stop)
        return self._stored.get(key)


def check_lists(settings: Settings, account: Account) -> None:
    """Check that all lists in the settings exist, before any stream is opened.

    With `create_list`, missing ones are created.

    Raises:
        ListError: A list does not exist.
    """
    for setting, wanted in settings.lists.items():
        find_or_create_list(settings, account, wanted, setting)


def find_or_create_list(
    settings: Settings, account: Account, wanted: int | str, setting: str
) -> ContactList:
    """Return a list of the settings. With `create_list`, a missing one is created.

    Args:
        settings: The settings.
        account: The account. If it is read-only, the list is only simulated.
        wanted: The id, name or string id of the list.
        setting: The setting, for messages.

    Raises:
        ListError: The list does not exist, or can't be created.
    """
    try:
        return account.find_list(wanted, setting)
    except NoSuchListError:
        # A number is an id, and no name for a list.
        if not settings.create_list or str(wanted).strip().isdecimal():
            raise
    return account.create_list(str(wanted))


def list_of(stream: str, settings: StreamSettings, account: Account) -> ContactList:
    """Return the list that a stream goes to.

    Raises:
        MissingListError, ListError: No list is set for it, or the list does not exist.
    """
    if settings.list_id is None:
        raise MissingListError(
            f"Stream '{stream}' has no list: set 'list_id', or 'streams.{stream}.list_id'."
        )
    return account.find_list(settings.list_id)


def member_of(
    stream: str, settings: StreamSettings, catalog: FieldCatalog, before: Field | None
) -> MembershipMarker | None:
    """Return the field or tag that marks a stream's contacts, if one does.

    The marker has no field if the field is still to be created.

    Raises:
        MappingError: The membership field can't be found, created or used.
    """
    if settings.sync_mode != "mirror":
        return None
    if settings.on_leave == "tag":
        return MembershipMarker(tag=membership_tag(settings))
    if settings.on_leave == "field" and settings.membership_field:
        field = membership_field.find(stream, settings.membership_field, catalog, before)
        return MembershipMarker(field, IN)
    return None


def only_if_empty_targets(
    stream: str, settings: StreamSettings, catalog: FieldCatalog, own: Field | None
) -> tuple[str | int, ...]:
    """Return the destinations that a stream only fills if they are empty.

    Raises:
        MappingError: One does not exist, or is the stream's own membership field.
    """
    key = resolve_only_if_empty(stream, settings.only_if_empty, catalog)
    if own is not None and own.id in key:
        raise MappingError(
            f"Stream '{stream}': 'only_if_empty' names the 'membership_field' "
            f"%{own.tag}%, which changes with each removal: leave it out."
        )
    return key
