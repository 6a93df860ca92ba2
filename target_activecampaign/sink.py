"""The sink of a stream: records to contacts, contacts to the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.sinks import Sink

from target_activecampaign.codes import Refusal
from target_activecampaign.flattening import taken_back
from target_activecampaign.validation import RecordValidator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_activecampaign.mapping import StreamMapping
    from target_activecampaign.segment import Segment
    from target_activecampaign.target import TargetActiveCampaign


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
        self._unfit: str | None = None
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
    def is_full(self) -> bool:
        """Never: there is nothing to drain."""
        return False

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
        self._unfit = None
        if isinstance(self._validator, RecordValidator):
            self._unfit = self._validator.problem(record)
        for name in self._taken_back:
            if name in record:
                record[name] = taken_back(record[name])
        return record

    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:  # noqa: ARG002
        """Hand the record's contact to the run, or have the record refused."""
        source = self._run.read(self.stream_name, self._segment)
        refusal = self._unfit and Refusal("RECORD_INVALID", self._unfit)
        try:
            if not refusal:
                self._run.deliver(self._mapping.contact(record), source, self._segment)
        except Refusal as error:
            refusal = error
        if refusal:
            key = self._mapping.person(record)
            self._run.refuse(source, refusal, self._segment, key)

    def process_batch(self, context: dict[str, Any]) -> None:
        """Nothing: the sink holds no records."""
