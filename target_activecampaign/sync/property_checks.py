"""Checks that the properties named by settings exist in a stream, before its first record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.errors import MappingError, ModeError
from target_activecampaign.model.names import caseless, did_you_mean, find_spelling
from target_activecampaign.singer.json_schema import inner_names, paths, schema_at
from target_activecampaign.singer.member_rules import splits
from target_activecampaign.text import quoted_list

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from target_activecampaign.config.settings import StreamSettings
    from target_activecampaign.singer.json_schema import Schema


def check_properties(
    stream: str,
    settings: StreamSettings,
    *,
    properties: Mapping[str, Schema],
    tap_properties: Mapping[str, Schema],
    keys: Collection[str],
) -> list[str]:
    """Check `person_key`, `member_when` and `leave_when` against a stream's properties.

    With a wrong name, all people would be others, or nobody a member.

    Args:
        stream: The stream, by its name after stream maps.
        settings: Its settings.
        properties: The schemas of the properties after stream maps.
        tap_properties: The schemas of the properties that the tap announced.
        keys: The key properties after stream maps.

    Returns:
        Warnings, one sentence each.

    Raises:
        MappingError: A property does not exist, or the stream has no key properties.
        ModeError: No record could ever be a deleted one, and the mirror needs such.
    """
    person_key, known = settings.person_key, {**tap_properties, **properties}
    if person_key is True and not keys:
        raise MappingError(
            f"Stream '{stream}': 'person_key' is true, but the stream has no key properties. Name "
            "the properties that identify a person."
        )
    if known:  # some taps announce none
        missing = [
            name
            for name in (person_key if isinstance(person_key, tuple) else ())
            if spelling_of(name, properties) is None
        ]
        _check_none(stream, "person_key", missing, properties)
        missing = [
            name
            for name in settings.member_when
            if not (is_declared(name, properties) or is_declared(name, tap_properties))
        ]
        _check_none(stream, "member_when", missing, list(paths(known)))
    return _check_deletions(stream, settings, properties, tap_properties)


def spelling_of(name: str, properties: Iterable[str]) -> str | None:
    """Return a property as the schema spells it; None if there is none, or several.

    Only if there is none in this case, another counts.
    """
    known = list(properties)
    others = [one for one in known if caseless(one) == caseless(name)]
    return find_spelling(name, known) or (others[0] if len(others) == 1 else None)


def is_declared(name: str, properties: Mapping[str, Schema]) -> bool:
    """Return whether a schema declares a property, or a path into objects, in any case."""
    return bool(_top_levels(name, properties))


def stays_unchanged(
    name: str, properties: Mapping[str, Schema], unchanged: Collection[str]
) -> bool:
    """Return whether a property, or the object that has it, is unchanged by stream maps.

    Args:
        name: The property, or a path into objects.
        properties: The schemas of the properties that the tap announced.
        unchanged: The properties that stream maps do not change.
    """
    tops = _top_levels(name, properties)
    return bool(tops) and tops <= set(unchanged)


def _top_levels(name: str, properties: Mapping[str, Schema]) -> set[str]:
    """Return the properties that a name means, or that have it inside."""
    folded = caseless(name)
    found = {one for one in properties if caseless(one) == folded}
    return found | {
        one
        for first, rest in splits(folded)
        for one, schema in properties.items()
        if caseless(one) == first and _is_inside(rest, schema)
    }


def _is_inside(path: str, schema: Schema) -> bool:
    """Return whether an object can have a path inside of it, ignoring case."""
    names = inner_names(schema)
    # An object that allows further properties may have any.
    if any(caseless(one) == path for one in names) or schema_at(schema, [path]) is not None:
        return True
    return any(
        caseless(one) == first and _is_inside(rest, schema_at(schema, [one]))
        for first, rest in splits(path)
        for one in names
    )


def _check_none(
    stream: str, setting: str, missing: Iterable[str], properties: Collection[str]
) -> None:
    for name in missing:
        raise MappingError(
            f"Stream '{stream}' has no property '{name}', which '{setting}' names."
            f"{did_you_mean(name, properties)} The stream has {quoted_list(properties)}. Correct "
            f"the name, or give the stream its own 'streams.{stream}.{setting}'."
        )


def _check_deletions(
    stream: str,
    settings: StreamSettings,
    properties: Mapping[str, Schema],
    tap_properties: Mapping[str, Schema],
) -> list[str]:
    """Check that records of a mirror can be deleted ones, if its removals depend on them."""
    if (
        settings.sync_mode != "mirror"
        or settings.leave_when == "absent"
        or settings.member_when
        or any(
            is_declared(name, some)
            for name in settings.deleted_properties
            for some in (properties, tap_properties)
        )
    ):
        return []
    if not settings.deleted_properties:
        raise ModeError(
            f"Stream '{stream}': 'leave_when' is '{settings.leave_when}', but no record can be "
            "marked as deleted, as 'deleted_properties' is empty and 'member_when' is not set. Set "
            "one of them, or set 'leave_when' to 'absent'."
        )
    return [
        f"Stream '{stream}': its SCHEMA has none of the 'deleted_properties' "
        f"({', '.join(settings.deleted_properties)}), and 'member_when' is not set. So no record "
        "removes a contact, unless records have one that the SCHEMA lacks."
    ]
