"""The sink of a stream: records to contacts, contacts to the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from singer_sdk.sinks import Sink

from target_activecampaign.mapping.placement import IGNORED_PREFIXES
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.names import Respelling
from target_activecampaign.singer.deletions import DELETED, DeletionMarkers
from target_activecampaign.singer.flattening import parse_json_text
from target_activecampaign.singer.json_schema import allows_more
from target_activecampaign.singer.messages import describe_place
from target_activecampaign.singer.validation import RecordValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from target_activecampaign.accounting.samples import Samples
    from target_activecampaign.config.settings import Settings
    from target_activecampaign.mapping.mapping import StreamMapping
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.model.record import Source
    from target_activecampaign.singer.messages import Place
    from target_activecampaign.singer.stream_maps import StreamMaps
    from target_activecampaign.sync.segment import Segment


_MOST_NAMES = 10_000
"""Properties that a sink remembers: of records whose keys are data there may be any number."""

_SIMPLE_RULES = {
    "$id",
    "$schema",
    "additionalProperties",
    "description",
    "properties",
    "required",
    "title",
    "type",
}
"""Rules of a schema by which a record can't become invalid by what it lacks, but for `required`."""


class RecordReceiver(Protocol):
    """What a sink asks of the run; see the methods of `Run`."""

    samples: Samples

    def map_stream(
        self, name: str, properties: Mapping[str, Any], *, is_open: bool
    ) -> tuple[StreamMapping, Segment]:
        """Return the mapping and the segment of the stream that was announced."""

    def take_undeclared(self, stream: str, names: Collection[str]) -> None:
        """Take the names of properties that the schema lacks."""

    def warn_of_nul(self, stream: str) -> None:
        """Warn once that U+0000 was taken out of a stream's values."""

    def read(self, name: str, segment: Segment) -> Source:
        """Count the current message's record as read for a stream."""

    def deliver(self, contact: Contact, source: Source, segment: Segment) -> None:
        """Send a record's contact on its way."""

    def delete(self, source: Source, segment: Segment, key: str | None) -> None:
        """Settle a record that is marked as deleted."""

    def refuse(self, source: Source, refusal: Refusal, segment: Segment, key: str | None) -> None:
        """Settle a record as invalid."""


class SinkOwner(Protocol):
    """What a sink asks of the target; see the attributes of `TargetActiveCampaign`."""

    settings: Settings
    run: RecordReceiver
    source: str
    record: dict[str, Any]
    place: Place
    taken_by: set[str]

    @property
    def maps(self) -> StreamMaps:
        """What stream maps do to the streams that have come."""


class ContactSink(Sink):
    """Turns a stream's records into contacts and hands them on at once.

    The sink holds no records: batches are cut across streams by the run's packer, which
    knows a person that comes twice, so the SDK has nothing to drain here.
    """

    def __init__(
        self,
        target: SinkOwner,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        """Make the sink; called by the SDK at a SCHEMA message."""
        self._owner = target
        self._computed = target.maps.computed(target.source, stream_name)
        settings = target.settings.for_stream(stream_name)
        self._announced = schema.get("properties", {})
        mapped = {**settings.field_mapping, **settings.own_field_mapping}
        # Of the SDK's metadata, what the settings map by name is a property as any.
        self._wanted = {name.partition(".")[0] for name in mapped if name.startswith("_sdc_")}
        self._markers = DeletionMarkers(settings.deleted_properties, self._announced)
        self._is_deleted = False
        super().__init__(cast("Any", target), stream_name, schema, key_properties)
        self._run = target.run
        self._mapping: StreamMapping
        self._segment: Segment
        self._make: Callable[[Mapping[str, Any]], Contact]
        self._unfit: Refusal | None = None
        checked = self._validator
        self._checked = checked if isinstance(checked, RecordValidator) else None
        # Those that flattening takes apart are no properties any more.
        self._keys = frozenset(key_properties or ()) & self.schema.get("properties", {}).keys()
        # Whether a record that is valid with the SDK's metadata is so without: then nobody need
        # look whether it has any.
        required = self.schema.get("required", ())
        self._keeps_metadata = self.schema.keys() <= _SIMPLE_RULES and not any(
            name.startswith("_sdc_") for name in required
        )
        self._written_as_json = {
            name: one
            for name, one in target.maps.written_as_json(target.source, stream_name).items()
            if name in self.schema.get("properties", {})
        }
        computed = self._computed if target.maps.flattens else ()
        self._taken_back = {*self._written_as_json, *computed}

    @property
    def include_sdc_metadata_properties(self) -> bool:
        """A contact has no place for them."""
        return False

    @property
    def current_size(self) -> int:
        """None: there is nothing to drain, and so no time that it takes."""
        return 0

    def setup(self) -> None:
        """Compile the stream's mapping, and open its segment.

        The SDK makes a sink also for a stream that stream maps remove; nothing comes to it.

        Raises:
            MappingError, ListError, ModeError, LedgerError: It can't be loaded.
        """
        if self._owner.maps.removes(self.stream_name):
            return
        properties = {**self._announced, **self._written_as_json}
        self._mapping, self._segment = self._run.map_stream(
            self.stream_name, properties, is_open=allows_more(self.schema)
        )
        # Properties that need no look any more; more come when records have what the schema lacks.
        self._names = {*properties, *self._mapping.known_names}
        self._respelling = Respelling(self._names)
        self._make = self._first_contact

    @property
    def mapping(self) -> StreamMapping:
        """What becomes of its records."""
        return self._mapping

    def get_validator(self) -> RecordValidator | None:
        """What checks records, unless the settings say that nothing does.

        Of properties that stream maps compute, the schema holds a guess of the SDK's, which is
        often wrong (`points * 10` is a string to it): they are left to the mapping. And it still
        requires the objects that flattening has taken apart.
        """
        if not self.validate_schema:
            return None
        schema = dict(self.schema)
        computed = dict.fromkeys(self._computed, True)
        schema["properties"] = {**schema.get("properties", {}), **computed}
        if self._owner.maps.flattens and "required" in schema:
            known = schema["properties"]
            schema["required"] = [name for name in schema["required"] if name in known]
        return RecordValidator(schema, self.stream_name)

    def _remove_sdc_metadata_from_schema(self) -> None:
        """Leave the SDK's metadata out, of a copy: the schema itself is still asked for."""
        self.schema = {**self.schema, "properties": dict(self.schema["properties"])}
        super()._remove_sdc_metadata_from_schema()
        kept = {name: one for name, one in self._announced.items() if name in self._wanted}
        self.schema["properties"] |= kept
        gone = self._announced.keys() - self.schema["properties"].keys()
        if gone and "required" in self.schema:
            self.schema["required"] = [one for one in self.schema["required"] if one not in gone]

    def _remove_sdc_metadata_from_record(self, record: dict[str, Any]) -> None:
        """Take the SDK's metadata out of a record, once it is known whether it is deleted.

        It is if the tap says so, or what stream maps have made of its record.
        """
        self._is_deleted = self.marks_deleted(record) or self.marks_deleted(self._owner.record)
        if not self._is_deleted:
            self._respelling.learn(record.keys() - self._names)
            self._respelling.rename(record)
            self._take_undeclared(record.keys() - self._names)
        self._remove_metadata([record])

    def marks_deleted(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record is marked as deleted."""
        self._markers.learn(record)
        return self._markers.are_in(record)

    def _take_undeclared(self, names: set[str]) -> None:
        """Take properties that the schema lacks, and that no record had before."""
        if not names:
            return
        if len(self._names) < _MOST_NAMES:
            self._names |= names
        if self._checked is not None and self.schema.get("additionalProperties") is False:
            return  # the record is refused for it
        homeless = [
            name
            for name in names
            if not name.startswith(IGNORED_PREFIXES) and name not in self._markers.names
        ]
        if homeless:
            self._run.take_undeclared(self.stream_name, homeless)

    def _validate_and_parse(self, record: dict[str, Any]) -> dict[str, Any]:
        """Validate a record; what is found is kept for `process_record`.

        The SDK's own method logs an invalid record whole and then loads it or ends the run.
        It also turns dates into objects, which the mapping would turn back into text.
        """
        problem = None if self._is_deleted else self._problem(record)
        self._unfit = Refusal("RECORD_INVALID", problem) if problem else None
        for name in self._taken_back:
            if name in record:
                record[name] = parse_json_text(record[name])
        # In place: the SDK goes on with the record that it gave.
        record.update(self.clean(record))
        return record

    def clean(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record without U+0000 in its values; warn of the stream's first."""
        try:
            cleaned = self._mapping.remove_nul(record)
            if cleaned != record:
                self._run.warn_of_nul(self.stream_name)
        except RecursionError:
            return record  # nested too deeply: it is refused for that
        return cleaned

    def _problem(self, record: dict[str, Any]) -> str | None:
        """What is wrong with a record; None if it is valid, or if nothing checks that."""
        return self._checked.problem(record) if self._checked else None

    def _singer_validate_message(self, record: dict[str, Any]) -> None:
        """Find a record that lacks what identifies it; the SDK's own method ends the run."""
        if not self._is_deleted:
            self._unfit = self._lacks(record) or self._unfit

    def _lacks(self, record: Mapping[str, Any]) -> Refusal | None:
        """The refusal of a record that lacks what identifies it."""
        if self._keys <= record.keys():
            return None
        names = ", ".join(f"'{name}'" for name in sorted(self._keys - record.keys()))
        return Refusal("RECORD_INVALID", f"lacks the key property {names}.", needs_place=True)

    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:  # noqa: ARG002
        """Hand the record's contact to the run, or have the record refused."""
        self._owner.taken_by.add(self.stream_name)
        source = self._run.read(self.stream_name, self._segment)
        deleted, self._is_deleted = self._is_deleted, False
        if deleted:
            self._run.delete(source, self._segment, self._mapping.contact_key(record))
            return
        refusal = self._unfit
        try:
            if not refusal:
                self._run.deliver(self._make(record), source, self._segment)
        except Refusal as error:
            refusal = error
        if refusal:
            self._refuse(record, source, refusal)

    def refuse_unreadable(self, record: dict[str, Any], refusal: Refusal) -> None:
        """Have a record refused that can't be read whole.

        Args:
            record: What can be read of it.
            refusal: Why.
        """
        self._refuse(record, self._run.read(self.stream_name, self._segment), refusal)
        self.tally(1)

    def _refuse(self, record: dict[str, Any], source: Source, refusal: Refusal) -> None:
        placed = refusal.at(describe_place(self._owner.place))
        self._run.refuse(source, placed, self._segment, self._mapping.contact_key(record))

    def skip_deleted(self, record: dict[str, Any]) -> None:
        """Skip a record that is marked as deleted, past all that the SDK does for a record."""
        self._is_deleted = True
        self.tally_record_read()
        self.process_record(record, {})
        self.tally(1)

    def problems(self, records: list[dict[str, Any]]) -> list[str | None]:
        """What is wrong with records that no stream map changes; None of each that is valid.

        `DELETED` of each that is marked as deleted: those are not looked into.
        """
        names: set[str] = set().union(*records)
        if new := names - self._names:
            self._markers.learn(new)
            self._respelling.learn(new)
        if self._respelling.others:
            for record in records:
                self._respelling.rename(record)
            names = set().union(*records)
            new = names - self._names
        marked = not self._markers.names.isdisjoint(names)
        deleted = list(map(self._markers.are_in, records)) if marked else []
        if not any(deleted):
            self._take_undeclared(new)
            return self._problems(records)
        others = [one for one, gone in zip(records, deleted, strict=True) if not gone]
        self._take_undeclared(new.intersection(set().union(*others)))
        problems = iter(self._problems(others))
        return [DELETED if gone else next(problems) for gone in deleted]

    def _problems(self, records: list[dict[str, Any]]) -> list[str | None]:
        if not self._keeps_metadata:
            self._remove_metadata(records)
        if self._checked is None:
            return [None] * len(records)
        problems = self._checked.problems(records)
        if self._keeps_metadata and any(problems):
            # The SDK's metadata is no part of a profile, so it doesn't break a rule.
            self._remove_metadata(records)
            problems = self._checked.problems(records)
        return problems

    def _remove_metadata(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            kept = {name: record[name] for name in self._wanted & record.keys()}
            super()._remove_sdc_metadata_from_record(record)
            record.update(kept)

    def contact(self, record: dict[str, Any], problem: str | None) -> Contact:
        """The contact of such a record.

        Args:
            record: The record.
            problem: What is wrong with it.

        Raises:
            Refusal: It can't be sent.
        """
        if not self._keys <= record.keys() and (lacking := self._lacks(record)):
            raise lacking
        if problem is not None:
            raise Refusal("RECORD_INVALID", problem)
        return self._make(record)

    def _first_contact(self, record: Mapping[str, Any]) -> Contact:
        """The contact of the first record that has one, which the report shows.

        Those of the records after it are the mapping's alone: showing costs them nothing.
        """
        contact = self._mapping.to_contact(record)
        self._run.samples.arrived(self.stream_name, self._mapping, contact)
        self._make = self._mapping.to_contact
        return contact

    def tally(self, count: int) -> None:
        """Count records that came past the SDK."""
        self.record_counter_metric.increment(count)

    def process_batch(self, context: dict[str, Any]) -> None:
        """Nothing: the sink holds no records."""
