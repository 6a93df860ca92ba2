"""The properties that a SCHEMA message names: those that identify a record, and bookmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_activecampaign.model.names import spelled

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def check_names(message: Mapping[str, Any], stream: str, properties: Collection[str]) -> None:
    """See that a SCHEMA message names properties as it has to.

    Args:
        message: The message, or what has the same members.
        stream: Its stream.
        properties: The properties of its schema.

    Raises:
        InvalidInputLine: It does not; the text says what has to be there.
    """
    for name in ("key_properties", "bookmark_properties"):
        given = message.get(name)
        if given is None:
            continue
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise InvalidInputLine(
                f"The '{name}' of stream '{stream}' must be an array of the names of properties, "
                'such as ["id"], or [] if there is none: mend the tap or its catalog.'
            )
    keys = message.get("key_properties") or ()
    lacking = [one for one in keys if spelled(one, properties) is None]
    if lacking:
        names = ", ".join(f"'{one}'" for one in lacking)
        raise InvalidInputLine(
            f"The 'key_properties' of stream '{stream}' name {names}, which its schema lacks: "
            "select or add the property, or mend the tap or its catalog."
        )
