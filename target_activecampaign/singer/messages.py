"""Singer messages: checks of their form, and names for their places in the input.

Error texts name members and places, and quote no value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_activecampaign.model.names import find_spelling
from target_activecampaign.text import quoted_list

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Place = int | tuple[str, int]
"""The place of a record: its line number in the input, or a batch file's URL and a line of it."""

EARLIER_RUN: Place = 0
"""The place of a rejected record of an earlier run, which is not in the input."""

_MEMBER_TYPES: dict[str, type] = {
    "stream": str,
    "record": dict,
    "schema": dict,
    "encoding": dict,
    "manifest": list,
}
_TYPE_NAMES: dict[type, str] = {str: "text", dict: "a JSON object", list: "a JSON array"}


def describe_place(place: Place) -> str:
    """Return the name of a record's place, as the beginning of a sentence."""
    if place == EARLIER_RUN:
        return "A rejected record of an earlier run"
    if isinstance(place, int):
        return f"Line {place} of the input"
    url, number = place
    return f"Line {number} of the batch file {url}"


def describe_long_line(place: str, limit: int) -> str:
    """Return a sentence, without its full stop, for a line that is longer than the limit.

    Args:
        place: The line's place, from `describe_place`.
        limit: The limit in bytes.
    """
    return (
        f"{place} is longer than {limit:,} bytes. Check whether it is one record, and raise "
        "'max_line_bytes' if it is"
    )


def check_members(message: Mapping[str, Any], required: Collection[str]) -> None:
    """Check that a message has the members that it needs, each of its type.

    Raises:
        InvalidInputLine: It does not.
    """
    missing = sorted(set(required) - set(message))
    kind = message.get("type", "nameless")
    if missing:
        raise InvalidInputLine(f"A {kind} message lacks {', '.join(missing)}.")
    for name in required:
        wanted = _MEMBER_TYPES.get(name, object)
        if not isinstance(message[name], wanted):
            raise InvalidInputLine(
                f"The '{name}' of a {kind} message must be {_TYPE_NAMES[wanted]}."
            )


def check_property_names(
    message: Mapping[str, Any], stream: str, properties: Collection[str]
) -> None:
    """Check the `key_properties` and `bookmark_properties` of a SCHEMA message.

    Args:
        message: The message, or an object with the same members.
        stream: The stream's name, for error texts.
        properties: The properties of its schema.

    Raises:
        InvalidInputLine: They are not arrays of names, or the schema lacks a key property.
    """
    for member in ("key_properties", "bookmark_properties"):
        names = message.get(member)
        if names is None:
            continue
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidInputLine(
                f"The '{member}' of stream '{stream}' must be an array of property names, such as "
                '["id"], or [] if there is none. Fix the tap or its catalog.'
            )
    keys = message.get("key_properties") or ()
    lacking = [name for name in keys if find_spelling(name, properties) is None]
    if lacking:
        raise InvalidInputLine(
            f"The 'key_properties' of stream '{stream}' name {quoted_list(lacking)}, which its "
            "schema lacks. Select or add the property, or fix the tap or its catalog."
        )
