"""What has become of the fields that a stream was mapped to in its last run.

A field that is renamed, deleted or given another type in ActiveCampaign would else be found by
its effects: values that go nowhere, or that are refused one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from target_activecampaign.activecampaign import Field
from target_activecampaign.field_catalog import FieldCatalog, MappingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_activecampaign.destinations import MappedProperty, Placement


def what_became(field: Field | None, catalog: FieldCatalog) -> str:
    """A sentence on the field that a property last went to, begun with a space; or nothing."""
    if field is None:
        return ""
    now = catalog.by_id(field.id)
    if now is None:
        return f" In its last run it went to {_called(field)}, which has been deleted."
    if _names(now) == _names(field):
        return ""
    return (
        f" In its last run it went to {_called(field)}, which is now called {_called(now)}: name "
        f"it so, or for good by its id, 'id:{now.id}'."
    )


def check(
    stream: str,
    placement: Placement,
    history: Mapping[str, Field],
    catalog: FieldCatalog,
    *,
    creates: bool,
) -> list[str]:
    """Compare a stream's mapping with that of its last run.

    Args:
        stream: Its name, for messages.
        placement: Where its properties go now.
        history: The custom field that each went to then.
        catalog: The account's fields as they are now.
        creates: Whether a field is made anew where one is missing.

    Returns:
        Warnings, one sentence each.

    Raises:
        MappingError: A property would go nowhere because its field was renamed or deleted.
    """
    lost = [name for name in placement.unmapped if name in history]
    explained = [(name, what_became(history[name], catalog)) for name in lost]
    if creates:
        explained = [(name, text) for name, text in explained if catalog.by_id(history[name].id)]
    if problems := [f"Property '{name}':{text}" for name, text in explained if text]:
        raise MappingError(
            f"Stream '{stream}' has properties that no longer have their place. "
            f"{' '.join(problems)} Map each in 'field_mapping' to its field, or to 'ignore'."
            f"{_candidates(lost, catalog)}"
        )
    entries = [entry for entry in placement.mapped if entry.name in history]
    return [text for entry in entries if (text := _change(stream, entry, history[entry.name]))]


def remembered(
    history: Mapping[str, Field], placement: Placement, names: Sequence[str]
) -> dict[str, Field]:
    """What the next run is to compare with: the fields of now, and of properties not seen now."""
    kept = {name: field for name, field in history.items() if name.partition(".")[0] not in names}
    now = {entry.name: entry.field for entry in placement.mapped if entry.field is not None}
    return {**kept, **now}


def dumped(fields: Mapping[str, Field]) -> str:
    """Fields by property, as text for the ledger."""
    return msgspec.json.encode(
        {name: (one.id, one.title, one.type, one.tag) for name, one in fields.items()}
    ).decode()


def loaded(text: str | None) -> dict[str, Field]:
    """What `dumped` has made; without their options."""
    values = msgspec.json.decode(text or "{}", type=dict[str, tuple[int, str, str, str]])
    return {name: Field(*value) for name, value in values.items()}


def _change(stream: str, entry: MappedProperty, before: Field) -> str | None:
    now = entry.field
    if now is None:
        return None
    here = f"Stream '{stream}', property '{entry.name}'"
    if now.id != before.id:
        if now.tag != before.tag and now.title != before.title:
            return None  # it is the mapping that was changed, and its author knows
        return (
            f"{here}: {_called(now)} is another field (id:{now.id}) than in its last run "
            f"(id:{before.id}), which has been deleted or renamed."
        )
    if now.type != before.type:
        return (
            f"{here}: the type of {_called(now)} has changed from {before.type} to {now.type}. "
            "Values take the form of the new type, and those that don't fit are refused."
        )
    if _names(now) != _names(before):
        return f"{here}: its field {_called(before)} is now called {_called(now)}."
    return None


def _candidates(lost: Sequence[str], catalog: FieldCatalog) -> str:
    hints = (f" For '{name}':{near}" for name in lost if (near := catalog.nearest(name)))
    return "".join(hints)


def _names(field: Field) -> tuple[str, str]:
    return (field.title, field.tag)


def _called(field: Field) -> str:
    return f"'{field.title}' (%{field.tag}%)"
