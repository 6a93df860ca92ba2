"""What the SDK's flattening hands on as JSON text, taken back to what the tap has sent.

Flattening takes objects apart. Arrays, and objects below its depth, it writes as JSON, with all
letters but ASCII's escaped, and calls them strings: a list of choices would be none any more.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from target_activecampaign.property_schema import Schema, kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_sdk.helpers._flattening import FlatteningOptions

_decoder = msgspec.json.Decoder(float_hook=Decimal)


def written_as_json(
    properties: Mapping[str, Schema], options: FlatteningOptions, parents: tuple[str, ...] = ()
) -> Iterator[tuple[str, Schema]]:
    """The properties that come as JSON text, by their flattened names, with the tap's schemas."""
    for name, schema in properties.items():
        path = (*parents, name)
        inner = schema.get("properties") if isinstance(schema, dict) else None
        types = kinds(schema)
        if inner and "object" in types and len(parents) < options.max_level:
            yield from written_as_json(inner, options, path)
        elif types & {"array", "object"}:
            yield options.separator.join(path), schema


def taken_back(value: Any) -> Any:
    """The array or object that a JSON text holds; any other value as it is."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        with suppress(msgspec.DecodeError, UnicodeEncodeError, RecursionError, ArithmeticError):
            return _decoder.decode(value)
    return value
