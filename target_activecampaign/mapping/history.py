"""Changes of custom fields since a stream's last run.

If a field was renamed, deleted or given another type in ActiveCampaign, values would be lost or
rejected one by one. This module finds such changes before the first record.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from target_activecampaign.client import Field
from target_activecampaign.errors import MappingError
from target_activecampaign.model.names import nfc, normalised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_activecampaign.mapping.catalog import FieldCatalog
    from target_activecampaign.mapping.placement import Placement
    from target_activecampaign.mapping.stream import StreamToMap


def describe_change(before: Field, catalog: FieldCatalog) -> str:
    """Return a sentence on the change of a field since the last run, or an empty text.

    Args:
        before: The field as it was in the last run.
        catalog: The account's current fields.

    Returns:
        The sentence, with a space before it.
    """
    now = catalog.find_by_id(before.id)
    last = f" In the last run it was mapped to {_describe(before)}, which"
    if now is None:
        return f"{last} has been deleted."
    if _names(now) != _names(before):
        return f"{last} is now called {_describe(now)} and has the id 'id:{now.id}'."
    if now.type != before.type:
        return f"{last} is now of type {now.type} instead of {before.type}."
    return ""


def suggestion(before: Field | None, catalog: FieldCatalog, near: str = "") -> str:
    """Return sentences that help to find the field for a property, or an empty text.

    Args:
        before: The field of the property in the last run, if any.
        catalog: The account's current fields.
        near: ` Did you mean ...?` for the name alone, or an empty text.

    Returns:
        The sentences, with a space before them.
    """
    if before is None:
        return near
    text = describe_change(before, catalog)
    if catalog.find_by_id(before.id) is None:
        return text + (catalog.suggest(before.title) or near)
    return text or near


def check_changes(stream: StreamToMap, placement: Placement, catalog: FieldCatalog) -> list[str]:
    """Compare a stream's mapping with that of its last run.

    Args:
        stream: The stream.
        placement: The current destinations of its properties.
        catalog: The account's current fields.

    Returns:
        Warnings, one sentence each.

    Raises:
        MappingError: A property is no longer mapped because its field was renamed, deleted or
            given another type.
    """
    history, settings = stream.history, stream.settings
    last = {name: history[nfc(name)] for name in placement.unmapped if nfc(name) in history}
    lost = {name: suggestion(field, catalog) for name, field in last.items()}
    if settings.unmapped_properties == "create":
        # A new field will replace one that was deleted.
        lost = {name: text for name, text in lost.items() if catalog.find_by_id(last[name].id)}
    elif not settings.auto_map:
        lost = {}  # the settings no longer map them
    if problems := [
        f"Property '{name}' is no longer mapped.{text}" for name, text in lost.items() if text
    ]:
        raise MappingError(
            f"Stream '{stream.name}': the account's fields have changed. {' '.join(problems)} Map "
            "each in 'field_mapping' to its field, preferably by id, or to 'ignore'."
        )
    return [
        f"Stream '{stream.name}', property '{entry.name}': {text} If that is not intended, map it "
        "elsewhere in 'field_mapping', or to 'ignore'."
        for entry in placement.mapped
        if entry.field is not None
        and nfc(entry.name) in history
        and (text := _describe_mapping_change(entry.field, history[nfc(entry.name)], catalog))
    ]


def merge_history(
    history: Mapping[str, Field], placement: Placement, names: Sequence[str]
) -> dict[str, Field]:
    """Return the history for the next run: current fields, and those of properties not seen now.

    Args:
        history: The history of earlier runs.
        placement: The current destinations.
        names: The properties that the stream has now.
    """
    present = list(map(nfc, names))
    earlier = {
        name: field
        for name, field in history.items()
        if not any(name == one or name.startswith(f"{one}.") for one in present)
    }
    now = {nfc(entry.name): entry.field for entry in placement.mapped if entry.field is not None}
    return {**earlier, **now}


def to_json(fields: Mapping[str, Field]) -> str:
    """Return a history as JSON for the ledger, without the options of its fields."""
    # Python's own JSON module accepts lone surrogates, which a property's name may have.
    return json.dumps(
        {name: (one.id, one.title, one.type, one.tag) for name, one in fields.items()},
        separators=(",", ":"),
    )


def from_json(text: str | None) -> dict[str, Field]:
    """Return the history from the JSON of `to_json`, by the names of properties in NFC."""
    values: dict[str, tuple[int, str, str, str]] = json.loads(text or "{}")
    return {nfc(name): Field(*value) for name, value in values.items()}


def _describe_mapping_change(now: Field, before: Field, catalog: FieldCatalog) -> str:
    """Return a sentence on the change of a mapped property's field, or an empty text."""
    if now.id != before.id:
        change = describe_change(before, catalog)
        is_similar = set(map(normalised, _names(now))) & set(map(normalised, _names(before)))
        # Otherwise the mapping was changed, on purpose.
        here = f"it is now mapped to {_describe(now)}, id:{now.id} of type {now.type}."
        return here + change if change and is_similar else ""
    if now.type != before.type:
        return (
            f"the type of {_describe(now)} has changed from {before.type} to {now.type}. Values "
            "are converted to the new type, and those that don't fit are refused."
        )
    if _names(now) != _names(before):
        return f"its field {_describe(before)} is now called {_describe(now)}."
    return ""


def _names(field: Field) -> tuple[str, str]:
    return (field.title, field.tag)


def _describe(field: Field) -> str:
    return f"'{field.title}' (%{field.tag}%)"
