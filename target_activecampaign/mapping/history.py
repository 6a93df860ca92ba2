"""What has become of the fields that a stream was mapped to in its last run.

A field that is renamed, deleted or given another type in ActiveCampaign would else be found by
its effects: values that go nowhere, or that are refused one by one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from target_activecampaign.client import Field
from target_activecampaign.errors import MappingError
from target_activecampaign.model.names import nfc, normalised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_activecampaign.config.settings import StreamSettings
    from target_activecampaign.mapping.catalog import FieldCatalog
    from target_activecampaign.mapping.placement import Placement


def became(before: Field, catalog: FieldCatalog) -> str:
    """What has become of a field since the last run, as a sentence begun with a space; or nothing.

    Args:
        before: The field as it was then.
        catalog: The account's fields as they are now.
    """
    now = catalog.by_id(before.id)
    last = f" In the last run it went to {_called(before)}, which"
    if now is None:
        return f"{last} has been deleted."
    if _names(now) != _names(before):
        return f"{last} is now called {_called(now)} and has the id 'id:{now.id}'."
    if now.type != before.type:
        return f"{last} is now of type {now.type} instead of {before.type}."
    return ""


def hint(before: Field | None, catalog: FieldCatalog, near: str = "") -> str:
    """What helps to find the field that a property should go to, begun with a space; or nothing.

    Args:
        before: The field that it went to in the last run, if any.
        catalog: The account's fields as they are now.
        near: ` Did you mean ...?` by the name alone, or nothing.
    """
    if before is None:
        return near
    text = became(before, catalog)
    if catalog.by_id(before.id) is None:
        return text + (catalog.nearest(before.title) or near)
    return text or near


def check(
    stream: str,
    placement: Placement,
    history: Mapping[str, Field],
    catalog: FieldCatalog,
    settings: StreamSettings,
) -> list[str]:
    """Compare a stream's mapping with that of its last run.

    Args:
        stream: Its name, for messages.
        placement: Where its properties go now.
        history: The custom field that each went to then, by its name in NFC.
        catalog: The account's fields as they are now.
        settings: What holds for the stream.

    Returns:
        Warnings, one sentence each.

    Raises:
        MappingError: A property would go nowhere because its field was renamed, deleted or
            given another type.
    """
    last = {name: history[nfc(name)] for name in placement.unmapped if nfc(name) in history}
    lost = {name: hint(field, catalog) for name, field in last.items()}
    if settings.unmapped_properties == "create":
        # In place of one that was deleted, another is made.
        lost = {name: text for name, text in lost.items() if catalog.by_id(last[name].id)}
    elif not settings.auto_map:
        lost = {}  # it is the settings that no longer map them
    if problems := [
        f"Property '{name}' has no place.{text}" for name, text in lost.items() if text
    ]:
        raise MappingError(
            f"Stream '{stream}': the account's fields have changed. {' '.join(problems)} Map each "
            "in 'field_mapping' to its field, best by its id, or to 'ignore'."
        )
    return [
        f"Stream '{stream}', property '{entry.name}': {text} If it should not go there, map it "
        "elsewhere in 'field_mapping', or to 'ignore'."
        for entry in placement.mapped
        if entry.field is not None
        and nfc(entry.name) in history
        and (text := _change(entry.field, history[nfc(entry.name)], catalog))
    ]


def remembered(
    history: Mapping[str, Field], placement: Placement, names: Sequence[str]
) -> dict[str, Field]:
    """What the next run is to compare with: the fields of now, and of properties not seen now."""
    present = list(map(nfc, names))
    kept = {
        name: field
        for name, field in history.items()
        if not any(name == one or name.startswith(f"{one}.") for one in present)
    }
    now = {nfc(entry.name): entry.field for entry in placement.mapped if entry.field is not None}
    return {**kept, **now}


def dumped(fields: Mapping[str, Field]) -> str:
    """Fields by property, as text for the ledger."""
    # Python's own JSON takes half a surrogate pair, which a property's name may hold.
    return json.dumps(
        {name: (one.id, one.title, one.type, one.tag) for name, one in fields.items()},
        separators=(",", ":"),
    )


def loaded(text: str | None) -> dict[str, Field]:
    """What `dumped` has made, by the names of properties in NFC; without their options."""
    values: dict[str, tuple[int, str, str, str]] = json.loads(text or "{}")
    return {nfc(name): Field(*value) for name, value in values.items()}


def _change(now: Field, before: Field, catalog: FieldCatalog) -> str:
    """What has changed for a property that has a place, as a sentence; or nothing."""
    if now.id != before.id:
        gone = became(before, catalog)
        alike = {normalised(name) for name in _names(now)} & {normalised(n) for n in _names(before)}
        # Else it is the mapping that was changed, and its author knows.
        here = f"it now goes to {_called(now)}, id:{now.id} of type {now.type}."
        return here + gone if gone and alike else ""
    if now.type != before.type:
        return (
            f"the type of {_called(now)} has changed from {before.type} to {now.type}. Values "
            "take the form of the new type, and those that don't fit are refused."
        )
    if _names(now) != _names(before):
        return f"its field {_called(before)} is now called {_called(now)}."
    return ""


def _names(field: Field) -> tuple[str, str]:
    return (field.title, field.tag)


def _called(field: Field) -> str:
    return f"'{field.title}' (%{field.tag}%)"
