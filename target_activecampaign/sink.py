"""The sink of a stream: records to contacts, contacts to the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.sinks import Sink

from target_activecampaign.codes import Refusal
from target_activecampaign.flattening import taken_back
from target_activecampaign.reader import place_text
from target_activecampaign.validation import RecordValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_activecampaign.contact import Contact
    from target_activecampaign.mapping import StreamMapping
    from target_activecampaign.packer import Source
    from target_activecampaign.segment import Segment
    from target_activecampaign.target import TargetActiveCampaign


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


class ContactSink(Sink):
    """Turns a stream's records into contacts and hands them on at once.

    The sink holds no records: batches are cut across streams by the run's packer, which
    knows a person that comes twice, so the SDK has nothing to drain here.
    """

    def __init__(
        self,
        target: TargetActiveCampaign,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        """Make the sink; called by the SDK at a SCHEMA message."""
        self._owner = target
        self._computed = target.maps.computed(target.source, stream_name)
        super().__init__(target, stream_name, schema, key_properties)
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
        properties = {**self.schema.get("properties", {}), **self._written_as_json}
        self._mapping, self._segment = self._run.map_stream(self.stream_name, properties)
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

    def _validate_and_parse(self, record: dict[str, Any]) -> dict[str, Any]:
        """Validate a record; what is found is kept for `process_record`.

        The SDK's own method logs an invalid record whole and then loads it or ends the run.
        It also turns dates into objects, which the mapping would turn back into text.
        """
        problem = self._problem(record)
        self._unfit = Refusal("RECORD_INVALID", problem) if problem else None
        for name in self._taken_back:
            if name in record:
                record[name] = taken_back(record[name])
        # In place: the SDK goes on with the record that it gave.
        record.update(self.clean(record))
        return record

    def clean(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record without U+0000 in its values; warn of the stream's first."""
        try:
            cleaned = self._mapping.without_nul(record)
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
        self._unfit = self._lacks(record) or self._unfit

    def _lacks(self, record: Mapping[str, Any]) -> Refusal | None:
        """The refusal of a record that lacks what identifies it."""
        if self._keys <= record.keys():
            return None
        names = ", ".join(f"'{name}'" for name in sorted(self._keys - record.keys()))
        return Refusal("RECORD_INVALID", f"lacks the key property {names}.", placed=True)

    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:  # noqa: ARG002
        """Hand the record's contact to the run, or have the record refused."""
        self._owner.taken_by.add(self.stream_name)
        source = self._run.read(self.stream_name, self._segment)
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
        placed = refusal.at(place_text(self._owner.place))
        self._run.refuse(source, placed, self._segment, self._mapping.person(record))

    def problems(self, records: list[dict[str, Any]]) -> list[str | None]:
        """What is wrong with records that no stream map changes; None of each that is valid."""
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
            self._remove_sdc_metadata_from_record(record)

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
        contact = self._mapping.contact(record)
        self._run.samples.arrived(self.stream_name, self._mapping, contact)
        self._make = self._mapping.contact
        return contact

    def tally(self, count: int) -> None:
        """Count records that came past the SDK."""
        self.record_counter_metric.increment(count)

    def process_batch(self, context: dict[str, Any]) -> None:
        """Nothing: the sink holds no records."""
