"""Checks that the properties named by settings exist in a stream, before its first record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.errors import MappingError
from target_activecampaign.model.names import caseless, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from target_activecampaign.config.settings import StreamSettings


def check_properties(
    stream: str,
    settings: StreamSettings,
    *,
    properties: Collection[str],
    tap_properties: Collection[str],
    keys: Collection[str],
) -> None:
    """Check `person_key` and `member_when`: with a wrong name, everyone would be somebody else.

    Args:
        stream: The stream, by its name after stream maps.
        settings: Its settings.
        properties: The properties after stream maps.
        tap_properties: The properties that the tap announced.
        keys: The key properties after stream maps.

    Raises:
        MappingError: A property does not exist, or the stream has no key properties.
    """
    person_key = settings.person_key
    if person_key is True and not keys:
        raise MappingError(
            f"Stream '{stream}': 'person_key' is true, but the stream has no key properties. Name "
            "the properties that identify a person."
        )
    if not properties:
        return  # some taps announce none
    if isinstance(person_key, tuple):
        _check_names(stream, "person_key", person_key, properties)
    known = {*properties, *tap_properties}
    names = [one for one in settings.member_when if not is_declared(one, known)]
    _check_names(stream, "member_when", names, known)


def is_declared(name: str, properties: Iterable[str]) -> bool:
    """Return whether a property, in any case, or the first part of a path is declared."""
    folded = {caseless(one) for one in properties}
    wanted = caseless(name)
    parts = wanted.split(".")
    return any(".".join(parts[:count]) in folded for count in range(1, len(parts) + 1))


def _check_names(
    stream: str, setting: str, names: Iterable[str], properties: Collection[str]
) -> None:
    for name in names:
        if name not in properties and caseless(name) not in map(caseless, properties):
            raise MappingError(
                f"Stream '{stream}' has no property '{name}', which '{setting}' names."
                f"{did_you_mean(name, properties)}"
            )
