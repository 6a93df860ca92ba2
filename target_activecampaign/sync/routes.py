"""Routes: a route leads from a tap's stream to one of the streams that stream maps make of it.

It applies the stream map, spells properties as the schema does, and checks records, many at a time.
The window calls it, and makes contacts of the records.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.exceptions import MapExpressionError, SingerSDKError

from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.placement import IGNORED_PREFIXES
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.names import Respelling
from target_activecampaign.singer.deletions import DELETED, DeletionMarkers, DeletionRules
from target_activecampaign.singer.flattening import parse_json_text
from target_activecampaign.singer.json_schema import allows_more
from target_activecampaign.singer.member_rules import MemberRules
from target_activecampaign.singer.sdk_compat import SDC_PROPERTIES, is_expression_error
from target_activecampaign.singer.validation import RecordValidator
from target_activecampaign.sync.completeness import StreamProgress
from target_activecampaign.sync.order import RecordNumbers
from target_activecampaign.sync.property_checks import (
    is_declared,
    spelling_of,
    stays_unchanged,
)
from target_activecampaign.sync.row_keys import RowKeys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from singer_sdk.mapper import StreamMap
    from singer_sdk.metrics import Counter

    from target_activecampaign.accounting.samples import Samples
    from target_activecampaign.config.settings import Settings, StreamSettings
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.mapping.mapping import StreamMapping
    from target_activecampaign.mapping.suppression import SuppressionMapping
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.model.record import SourceStream
    from target_activecampaign.singer.stream_maps import MappedStream
    from target_activecampaign.sync.notices import RecordNotices
    from target_activecampaign.sync.segment import Segment

HASHED_MODES = ("upsert", "mirror")
"""The modes in which a record hash alone can prove a contact unchanged."""

NESTED = Refusal("RECORD_INVALID", "is nested too deeply to be read.", needs_place=True)

_MAX_NAMES = 10_000
"""Limit of property names that a route remembers: some sources use data as names."""

_SIMPLE_KEYWORDS = {
    "$id",
    "$schema",
    "additionalProperties",
    "description",
    "properties",
    "required",
    "title",
    "type",
}
"""Keywords of a schema. Of these, a lacking property can only violate `required`."""

Problem = Exception | str | None
"""The reason why a record makes no contact. An error other than `Refusal` ends the run."""

_decoder = msgspec.json.Decoder(float_hook=Decimal)
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError)
"""Errors that msgspec raises for JSON that it can't decode."""


@dataclass
class RoutedStream:
    """A tap's stream with its routes.

    Attributes:
        source: The stream as the tap announced it.
        bookmarks: Its bookmark properties.
        progress: The records so far, and whether the stream is complete.
        routes: A route for each mapped stream of profiles; none if stream maps remove the stream.
        suppressions: A route for each mapped stream of people who must never be sent.
    """

    source: SourceStream
    bookmarks: Sequence[str] = ()
    progress: StreamProgress = field(default_factory=StreamProgress)
    routes: list[Route] = field(default_factory=list)
    suppressions: list[SuppressionRoute] = field(default_factory=list)

    @property
    def width(self) -> int:
        """The number of all routes."""
        return len(self.routes) + len(self.suppressions)

    def part(self, *, suppresses: bool) -> RoutedStream:
        """Return the stream with only the routes that suppress people, or only the others."""
        if suppresses:
            return replace(self, routes=[])
        return replace(self, suppressions=[])


class RouteSchema:
    """The schema of a route's records, without the SDK's metadata.

    Args:
        mapped: The stream after stream maps.
        settings: The settings.

    Attributes:
        schema: The schema.
        properties: The schemas of the properties to be mapped.
        mapped_metadata: The SDK's metadata properties that settings map by name.
        json_text: Properties that may hold JSON text to be parsed.
        keys: The key properties, which each record must have.
    """

    def __init__(self, mapped: MappedStream, settings: Settings) -> None:
        own = settings.for_stream(mapped.name)
        announced: dict[str, Any] = mapped.schema.get("properties", {})
        names = {name.partition(".")[0] for name in {**own.field_mapping, **own.own_field_mapping}}
        self.mapped_metadata = {name for name in names if name.startswith("_sdc_")}
        self._removed = SDC_PROPERTIES - self.mapped_metadata
        properties_left = {
            name: one for name, one in announced.items() if name not in self._removed
        }
        self.schema = {**mapped.schema, "properties": properties_left}
        gone = announced.keys() - properties_left.keys()
        if gone and "required" in self.schema:
            self.schema["required"] = [one for one in self.schema["required"] if one not in gone]
        json_text = {name: one for name, one in mapped.json_text.items() if name in properties_left}
        self.properties = {**announced, **json_text}
        self.json_text = {*json_text, *(mapped.computed if mapped.flattens else ())}
        # Flattening replaces objects, even if they are key properties.
        self.keys = frozenset(mapped.key_properties) & properties_left.keys()
        self._mapped = mapped
        # If so, a record that is valid with the SDK's metadata is valid without it.
        self._ignores_metadata = self.schema.keys() <= _SIMPLE_KEYWORDS and not any(
            name.startswith("_sdc_") for name in self.schema.get("required", ())
        )
        self._validator = self._make_validator() if settings.validate_records else None

    @property
    def is_open(self) -> bool:
        """True if records may have properties that the schema does not name."""
        return allows_more(self.schema)

    @property
    def forbids_others(self) -> bool:
        """True if records with other properties are rejected."""
        return self._validator is not None and self.schema.get("additionalProperties") is False

    def _make_validator(self) -> RecordValidator:
        """Return the validator of the records.

        It does not check computed properties: the SDK's guess of their schema is often wrong (a
        string for `points * 10`). Nor does it require objects that flattening has replaced.
        """
        known = {**self.schema["properties"], **dict.fromkeys(self._mapped.computed, True)}
        schema = {**self.schema, "properties": known}
        if self._mapped.flattens and "required" in schema:
            schema["required"] = [name for name in schema["required"] if name in known]
        return RecordValidator(schema, self._mapped.name)

    def problems(self, records: list[dict[str, Any]]) -> list[str | None]:
        """Return the problem of each record, if any. May remove the SDK's metadata from them."""
        if not self._ignores_metadata:
            self._remove_metadata(records)
        if self._validator is None:
            return [None] * len(records)
        problems = self._validator.problems(records)
        if self._ignores_metadata and any(problems):
            # Check again without the SDK's metadata, which must not make a record invalid.
            self._remove_metadata(records)
            problems = self._validator.problems(records)
        return problems

    def _remove_metadata(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            for name in self._removed & record.keys():
                del record[name]


class RecordRoute:
    """The route of records from a tap's stream to one stream after stream maps.

    Args:
        source: The stream as the tap announced it.
        mapped: The stream after stream maps.
        schema: Its schema.
        settings: The settings of the stream.
        known_names: The names of the properties that its mapping reads.
        counter: The SDK's counter of records.

    Attributes:
        name: The stream's name after stream maps.
        source, counter: As given.
        maps: Whether records are mapped by a stream map or flattening.
    """

    def __init__(
        self,
        source: SourceStream,
        mapped: MappedStream,
        schema: RouteSchema,
        *,
        settings: StreamSettings,
        known_names: Collection[str],
        counter: Counter,
    ) -> None:
        self.name = mapped.name
        self.source = source
        self.counter = counter
        self.maps = mapped.transform is not None
        self._mapped = mapped
        self._schema = schema
        self._tap_deletions, self._deletions = self._deletion_rules(settings)
        # Property names that were already checked. New ones are added as records bring them.
        self._names = {*schema.properties, *known_names}
        self._respelling = Respelling(self._names)
        self._source_names = set(source.schema["properties"])
        self._source_respelling = Respelling(self._source_names)

    def _deletion_rules(self, settings: StreamSettings) -> tuple[DeletionRules, DeletionRules]:
        """Return the rules for the tap's records, and for those after the stream map.

        A property of `member_when` is looked up after the stream map only if that may change it:
        expressions may fail on records that are not of members, as these lack values.
        """
        announced, properties = self.source.schema["properties"], self._schema.properties
        markers = DeletionMarkers(settings.deleted_properties, {*properties, *announced})
        unchanged = [name for name in announced if self._mapped.unmapped_name(name) == name]
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for name, values in settings.member_when.items():
            is_kept = stays_unchanged(name, announced, unchanged)
            is_removed = is_declared(name, announced) and not is_declared(name, properties)
            rules = before if self.maps and (is_kept or is_removed) else after
            rules[name] = values
        return (
            DeletionRules(markers, MemberRules(before, announced)),
            DeletionRules(markers, MemberRules(after, properties)),
        )

    # Records, many at a time

    def map(
        self, records: Sequence[dict[str, Any]], problems: Sequence[Problem]
    ) -> tuple[list[dict[str, Any] | None], list[Problem]]:
        """Apply the stream map to copies of records.

        Args:
            records: The records of the tap; their properties may be spelled in another case.
            problems: The known problem of each record, if any.

        Returns:
            The mapped records, with None for each that the stream map filters out; and their
            problems.
        """
        names: set[str] = set().union(*records)
        if new := names - self._source_names:
            self._source_respelling.learn(new)
            self._tap_deletions.learn(new)
            self._remember_names(self._source_names, new)
        copies = [dict(record) for record in records]
        for record in copies if self._source_respelling.others else ():
            self._source_respelling.rename(record)
        transform = self._mapped.transform
        if transform is None:
            return list(copies), list(problems)
        known = list(problems)
        self._tap_deletions.mark_deleted(copies, set().union(*copies), known)
        mapped: list[dict[str, Any] | None] = []
        found: list[Problem] = []
        for record, problem in zip(copies, known, strict=True):
            result, wrong = self._map_one(transform, record, problem)
            mapped.append(result)
            found.append(wrong)
        return mapped, found

    @staticmethod
    def _map_anyway(
        transform: StreamMap, record: dict[str, Any], otherwise: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Apply the stream map to a record that won't be sent, only to find its contact.

        Deleted or unreadable records lack values, so expressions may fail on them. Then
        `otherwise` is returned.
        """
        try:
            return transform.transform(dict(record))
        except Exception:  # noqa: BLE001 - expressions may raise anything
            return otherwise

    def _identity_of(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the values of a record that identify it, if the stream map does not change them.

        They take the place of a record whose stream map fails.
        """
        found: dict[str, Any] = {}
        for name in self._identity:
            plain = self._mapped.unmapped_name(name)
            if plain is not None and record.get(plain) is not None:
                found[name] = record[plain]
        return found

    @property
    def _identity(self) -> Iterable[str]:
        """The properties after the stream map that identify a record."""
        return ()

    def _map_one(
        self, transform: StreamMap, record: dict[str, Any], problem: Problem
    ) -> tuple[dict[str, Any] | None, Problem]:
        if problem is DELETED:
            return self._map_anyway(transform, record, self._identity_of(record)), problem
        if isinstance(problem, Refusal):
            return self._map_anyway(transform, record, record), problem
        if problem is not None:
            return record, problem
        try:
            return transform.transform(record), None
        except RecursionError:
            return record, NESTED
        except MapExpressionError as error:
            return record, self._map_failure(str(error).rstrip("."))
        except SingerSDKError as error:
            return record, error
        except Exception as error:
            if not is_expression_error(error):
                raise
            return record, self._map_failure(type(error).__name__)

    def _map_failure(self, why: str) -> MappingError:
        return MappingError(
            f"A stream map of stream '{self.source.name}' fails on a record ({why}): correct "
            "its expression under 'stream_maps'."
        )

    def check(self, records: list[dict[str, Any]], problems: list[Problem]) -> list[Problem]:
        """Return the problem of each record, if any, and prepare the others for the mapping.

        Args:
            records: Records after the stream map. They are changed in place.
            problems: The known problem of each record, if any.

        Raises:
            MappingError: A property is unmapped, and `unmapped_properties` is `fail`.
        """
        names = self._respell(records)
        new = names - self._names
        found = list(problems)
        self._deletions.mark_deleted(records, names, found)
        places: Sequence[int] = range(len(records))
        if any(found):
            places = [place for place in places if found[place] is None]
            records = [records[place] for place in places]
            new = new.intersection(set().union(*records)) if new else new
        if new:
            self._add_undeclared(new)
        keys, texts = self._schema.keys, self._schema.problems(records)
        for place, record, text in zip(places, records, texts, strict=True):
            if not keys <= record.keys():
                found[place] = self._missing_key(record)
            elif text is not None:
                found[place] = Refusal("RECORD_INVALID", text)
        if self._schema.json_text:
            for record in records:
                for name in self._schema.json_text & record.keys():
                    record[name] = parse_json_text(record[name])
        return found

    def _respell(self, records: list[dict[str, Any]]) -> set[str]:
        """Spell properties as the schema does, and return the names of all properties."""
        names: set[str] = set().union(*records)
        if new := names - self._names:
            self._deletions.learn(new)
            self._respelling.learn(new)
        if not self._respelling.others:
            return names
        for record in records:
            self._respelling.rename(record)
        return set().union(*records)

    def _missing_key(self, record: dict[str, Any]) -> Refusal:
        names = ", ".join(f"'{name}'" for name in sorted(self._schema.keys - record.keys()))
        return Refusal("RECORD_INVALID", f"lacks the key property {names}.", needs_place=True)

    def _add_undeclared(self, names: set[str]) -> None:
        """Note properties that are new and not in the schema."""
        self._remember_names(self._names, names)

    @staticmethod
    def _remember_names(known: set[str], names: set[str]) -> None:
        if len(known) < _MAX_NAMES:
            known |= names


class Route(RecordRoute):
    """The route of profiles, of which the window makes contacts.

    Args:
        source: The stream as the tap announced it.
        mapped: The stream after stream maps.
        schema: Its schema.
        mapping: Its mapping.
        segment: The segment that it is loaded into.
        settings: The settings.
        ledger: Has the key for record hashes.
        notices: Collects warnings about records.
        samples: Gets the first contact, for the report.
        counter: The SDK's counter of records.

    Attributes:
        mapping, segment: As given.
        finds_address: Whether a record's address can be read before stream maps.
        hashes: Whether a record's hash can prove it unchanged.
        wants_sample: Whether the first contact is still to come.
        row_keys: Computes the keys of source rows; None if they need not be known.
        numbers: Reads the numbers of records; None if their order can't or need not be checked.
    """

    def __init__(
        self,
        source: SourceStream,
        mapped: MappedStream,
        schema: RouteSchema,
        mapping: StreamMapping,
        segment: Segment,
        *,
        settings: Settings,
        ledger: Ledger,
        notices: RecordNotices,
        samples: Samples,
        counter: Counter,
    ) -> None:
        super().__init__(
            source,
            mapped,
            schema,
            settings=segment.settings,
            known_names=mapping.known_names,
            counter=counter,
        )
        self.mapping = mapping
        self.segment = segment
        self._notices = notices
        self._samples = samples
        self.wants_sample = True
        self._address, self._addresses = self._address_reader(mapped)
        names = [
            spelling_of(name, schema.properties) or name
            for name in segment.row_key(mapped.key_properties)
        ]
        self.row_keys = RowKeys(names, ledger.row_hasher(segment.number)) if names else None
        self.finds_address = mapped.transform is None or self._addresses is not None
        needs_order = segment.follows or segment.leaves_when_deleted
        self.numbers = RecordNumbers.of(source.schema["properties"]) if needs_order else None
        self._seed = self._hash_seed(settings, ledger)
        self.hashes = self._seed is not None

    def _address_reader(
        self, mapped: MappedStream
    ) -> tuple[str | None, msgspec.json.Decoder[Any] | None]:
        """Return the tap's property for the address, and a decoder that reads nothing else."""
        address = self.mapping.email_property
        name = None if address is None else mapped.unmapped_name(address)
        if name is None or not name.isprintable() or set('"\\') & set(name):
            return None, None
        reads = msgspec.defstruct(
            "Address", [("address", str | None, None)], rename={"address": name}, gc=False
        )
        return name, msgspec.json.Decoder(reads)

    def _hash_seed(self, settings: Settings, ledger: Ledger) -> Any:
        """Return the common start of the record hashes; None if records have no hash.

        It covers everything that a contact depends on besides its record.
        """
        mapping, mapped = self.mapping, self._mapped
        if (
            not settings.skip_unchanged
            or self.numbers is not None  # each record must be held against those before it
            or settings.full_resync
            or not mapping.supports_record_hash
            or mapped.fingerprint is None
            or (self._addresses is None and mapped.transform is None)
            or self.segment.settings.sync_mode not in HASHED_MODES
        ):
            return None
        inputs: tuple[Any, ...] = (
            _versions(),
            self.source.name,
            settings.validate_records,
            sorted(self._schema.keys),
            mapping.fingerprint,
            None if self.row_keys is None else self.row_keys.names,
        )
        if mapped.fingerprint:
            inputs = (*inputs, _map_versions(), mapped.fingerprint)
        rules = json.dumps(self.source.schema, sort_keys=True, default=str)
        return ledger.record_hasher((repr(inputs) + rules).encode("utf-8", "surrogatepass"))

    def hash_all(self, raws: Sequence[msgspec.Raw]) -> list[bytes | None]:
        """Return the hash of each record, with everything else that its contact depends on."""
        if self._seed is None:
            return [None] * len(raws)
        hashes: list[bytes | None] = []
        for raw in raws:
            one = self._seed.copy()
            one.update(raw)
            hashes.append(one.digest() if raw else None)
        return hashes

    def find_keys(self, raws: Sequence[msgspec.Raw]) -> list[str]:
        """Return the key of each record's contact, as before stream maps; empty if it has none."""
        keys: list[str] = []
        decode = None if self._addresses is None else self._addresses.decode
        for raw in raws:
            text = None
            if decode is not None:
                try:  # noqa: SIM105 - for each record, and suppress costs more
                    text = decode(raw).address
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    pass
            if text is not None and text.isascii():
                keys.append(text.strip().lower())
            else:
                keys.append(self._find_key(raw))
        return keys

    def _find_key(self, raw: msgspec.Raw) -> str:
        """Return the key of a contact by decoding the whole record; empty if it has none."""
        with suppress(*UNREADABLE):
            record = _decoder.decode(raw)
            if type(record) is dict:
                if self.maps:
                    record = {self.mapping.email_property: record.get(self._address)}
                return self.mapping.contact_key(record) or ""
        return ""

    @property
    def _identity(self) -> Iterable[str]:
        """The properties of address and key."""
        names = self.row_keys.names if self.row_keys is not None else ()
        address = self.mapping.email_property
        return (*names, *([] if address is None else [address]))

    def _add_undeclared(self, names: set[str]) -> None:
        """Report properties that are new and not in the schema."""
        super()._add_undeclared(names)
        if self._schema.forbids_others:
            return  # such a record is rejected
        self.mapping.consent.learn(names)
        unmapped = [
            name
            for name in names
            if not name.startswith(IGNORED_PREFIXES) and name not in self._deletions.markers.names
        ]
        if unmapped:
            self._notices.add_undeclared(self.name, unmapped)

    def without_nul(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record without U+0000 in its values. Warn of the first one in a stream."""
        try:
            cleaned = self.mapping.remove_nul(record)
            if cleaned != record:
                self._notices.nul_removed(self.name)
        except RecursionError:
            return record  # nested too deeply, so it will be rejected
        return cleaned

    def take_sample(self, contact: Contact) -> None:
        """Add the stream's first contact to the report."""
        self._samples.arrived(self.name, self.mapping, contact)
        self.wants_sample = False


class SuppressionRoute(RecordRoute):
    """The route of people who must never be sent.

    Args:
        source, mapped, schema, settings, counter: As for `RecordRoute`.
        mapping: Reads the people.
        number: The number of the stream in the ledger.
        is_partial: Whether a run may have only some of its records, such as those that are new.

    Attributes:
        mapping, number, is_partial: As given.
        numbers: Reads the numbers of records; None if they have none.
    """

    def __init__(
        self,
        source: SourceStream,
        mapped: MappedStream,
        schema: RouteSchema,
        *,
        settings: StreamSettings,
        counter: Counter,
        mapping: SuppressionMapping,
        number: int,
        is_partial: bool,
    ) -> None:
        super().__init__(
            source,
            mapped,
            schema,
            settings=settings,
            known_names=mapping.known_names,
            counter=counter,
        )
        self.mapping = mapping
        self.number = number
        self.is_partial = is_partial
        self.numbers = RecordNumbers.of(source.schema["properties"])

    @property
    def _identity(self) -> Iterable[str]:
        return self.mapping.known_names


@cache
def _versions() -> list[str | None]:
    """Return the versions of packages that format values; cached, as they come from files."""
    names = ("target-activecampaign", "email-validator", "phonenumbers")
    return [_version(name) for name in names]


@cache
def _map_versions() -> list[str | None]:
    """Return the versions of the packages that evaluate stream maps."""
    return [_version(name) for name in ("singer-sdk", "simpleeval")]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # an optional dependency
        return None
