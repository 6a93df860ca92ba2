"""A stream's mapping, compiled without an account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_activecampaign.mapping.catalog import FieldCatalog
from target_activecampaign.mapping.choices import FieldOptions
from target_activecampaign.mapping.mapping import StreamMapping
from target_activecampaign.mapping.resolver import FieldResolver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_activecampaign.client import Field
    from target_activecampaign.config.settings import StreamSettings


def compile_mapping(
    properties: Iterable[str] | Mapping[str, Any],
    settings: StreamSettings,
    fields: Iterable[Field] = (),
) -> StreamMapping:
    """The mapping of the stream `profiles`; of properties that are only named, any value fits."""
    schemas: dict[str, Any] = {name: {} for name in properties}
    if isinstance(properties, dict):
        schemas.update(properties)
    catalog = FieldCatalog(tuple(fields))
    placing = FieldResolver("profiles", schemas, settings, catalog, made={}, history={})
    return StreamMapping("profiles", placing.place(), settings, (1,), options=FieldOptions())
