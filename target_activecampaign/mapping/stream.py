"""A stream to be mapped: everything that its mapping depends on, except the account's fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from target_activecampaign.errors import MappingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_activecampaign.client import Field
    from target_activecampaign.config.settings import StreamSettings
    from target_activecampaign.singer.json_schema import Schema


@dataclass(frozen=True)
class MembershipMarker:
    """The field value or the tag that marks the members of a segment.

    Attributes:
        field: A custom field that is set to `value`.
        value: The value.
        tag: A tag that is added.
    """

    field: Field | None = None
    value: str = ""
    tag: str | None = None


class StreamToMap(NamedTuple):
    """A stream to be mapped.

    Attributes:
        name: Its name after stream maps.
        properties: The schemas of its properties after stream maps, by name.
        settings: The settings of the stream.
        list_id: The list that its contacts are subscribed to.
        history: The custom field of each property in its last run, by the property's name in NFC.
        lenient: Whether the stream may lack properties that its own mapping names: another stream
            of the tap, or an earlier SCHEMA message, may have them.
        marker: The field or tag that marks its members, if one does.
        is_open: Whether its schema allows properties that it does not list.
    """

    name: str
    properties: Mapping[str, Schema]
    settings: StreamSettings
    list_id: int
    history: Mapping[str, Field]
    lenient: bool
    marker: MembershipMarker | None = None
    is_open: bool = False

    def with_property(self, name: str, error: MappingError) -> MappingError:
        """Return an error that also names the stream and one of its properties."""
        return MappingError(f"Stream '{self.name}', property '{name}': {error}")
