"""The mapping of a stream of suppressed people: which properties have the address or its SHA-256.

It compiles from a stream's schema, as the mapping of contacts does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.automatic import STANDARD_NAMES
from target_activecampaign.mapping.explicit import find_path
from target_activecampaign.mapping.placement import IGNORE, IGNORED_PREFIXES
from target_activecampaign.mapping.steps import MISSING, value_at
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.names import caseless, normalised
from target_activecampaign.model.suppressed import SuppressedPerson, read_hash, read_person
from target_activecampaign.text import quoted_list

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_activecampaign.config.settings import StreamSettings
    from target_activecampaign.singer.json_schema import Schema

EMAIL = "email"
EMAIL_SHA256 = "email_sha256"
"""The destination of a property with the SHA-256 of an address."""

HASH_NAMES = (
    "emailsha256",
    "sha256email",
    "emailaddresssha256",
    "sha256emailaddress",
    "emailhash",
    "hashedemail",
    "emailhashed",
    "emailaddresshash",
    "hashedemailaddress",
    "hashedemailsha256",
    "emailhashsha256",
    "sha256",
    "sha256hash",
)
"""The names that map to `email_sha256`, in the form of `normalised`, the first one first."""

_MISSING = Refusal("EMAIL_MISSING", "The record has no e-mail address, and no SHA-256 of one.")
_NO_HASH = Refusal("EMAIL_INVALID", "The value is not a SHA-256, which has 64 hex digits.")


class _Property(NamedTuple):
    """A property: its name in messages, and its path in a record."""

    name: str
    path: tuple[str, ...]


class SuppressionMapping:
    """Reads the people of a stream's records.

    Args:
        stream: The stream's name after stream maps.
        properties: The schemas of its properties, by name.
        settings: Its settings.
        lenient: Whether the stream may lack properties that its own mapping names.

    Attributes:
        destinations: The destination of each property that is read, by its name.
        ignored: The other properties.

    Raises:
        MappingError: No property has an address or its SHA-256, two are equally good, or
            `field_mapping` names a destination that such a stream does not have.
    """

    def __init__(
        self,
        stream: str,
        properties: Mapping[str, Schema],
        settings: StreamSettings,
        *,
        lenient: bool = False,
    ) -> None:
        self._stream = stream
        self._properties = properties
        chosen, ignored = self._explicit(settings, lenient=lenient)
        taken = {one.path[0] for one in chosen.values()} | ignored
        if settings.auto_map:
            free = [
                name
                for name in properties
                if name not in taken and not name.startswith(IGNORED_PREFIXES)
            ]
            names = {EMAIL: STANDARD_NAMES[EMAIL], EMAIL_SHA256: HASH_NAMES}
            for destination, aliases in names.items():
                found = self._by_name(free, destination, aliases)
                if destination not in chosen and found is not None:
                    chosen[destination] = found
        if not chosen:
            raise MappingError(
                f"Stream '{stream}' has the role 'suppression', but no property with an e-mail "
                f"address or its SHA-256 was found. The stream has {quoted_list(properties)}. Name "
                f"the property in 'streams.{stream}.field_mapping', "
                'such as {"property": "email"} or {"property": "email_sha256"}.'
            )
        self._email, self._hash = chosen.get(EMAIL), chosen.get(EMAIL_SHA256)
        self.destinations = {one.name: destination for destination, one in chosen.items()}
        read = {one.path[0] for one in chosen.values()}
        self.ignored = [name for name in properties if name not in read]

    @property
    def known_names(self) -> set[str]:
        """The names of all properties that it reads."""
        return {one.path[0] for one in (self._email, self._hash) if one is not None}

    def people(self, record: Mapping[str, Any]) -> list[SuppressedPerson]:
        """Return the person of a record: two, if its address and its SHA-256 differ.

        If only one of both can be read, that is enough.

        Raises:
            Refusal: Neither can be read; the reason does not hold the values.
        """
        people: list[SuppressedPerson] = []
        refusal: Refusal | None = None
        for one, is_hash in ((self._email, False), (self._hash, True)):
            value = None if one is None else value_at(record, one.path[0], one.path[1:])
            if value is None or value is MISSING or (isinstance(value, str) and not value.strip()):
                continue
            try:
                people.append(_person_of(value, is_hash=is_hash))
            except Refusal as error:
                refusal = refusal or error
        if not people:
            raise refusal or _MISSING
        if len(people) > 1 and people[0].sha256 == people[1].sha256:
            del people[1]
        return people

    def _explicit(
        self, settings: StreamSettings, *, lenient: bool
    ) -> tuple[dict[str, _Property], set[str]]:
        """Return the properties that the settings map, by destination, and those they ignore."""
        chosen: dict[str, _Property] = {}
        ignored: set[str] = set()
        own = {name: caseless(one) for name, one in settings.own_field_mapping.items()}
        self._check_destinations(own)
        # What all streams map elsewhere is not read, as here it has no other use.
        shared = {name: caseless(one) for name, one in settings.field_mapping.items()}
        lacking = []
        for name, destination in {**shared, **own}.items():
            path = find_path(name, self._properties)
            if path is None:
                lacking += [name] if name in own else []
            elif destination == IGNORE:
                ignored.add(path[0])
            elif destination in (EMAIL, EMAIL_SHA256):
                other = chosen.get(destination)
                if other is None or (name in own and other.name not in own):
                    chosen[destination] = _Property(name, path)
                elif (name in own) == (other.name in own) and other.path != path:
                    raise self._tie(other.name, name, destination)
        if lacking and not lenient:
            raise MappingError(
                f"Stream '{self._stream}' lacks {quoted_list(lacking)}, which "
                f"'streams.{self._stream}.field_mapping' names. It has "
                f"{quoted_list(self._properties)}."
            )
        return chosen, ignored

    def _check_destinations(self, own: Mapping[str, str]) -> None:
        for name, destination in own.items():
            if destination not in (EMAIL, EMAIL_SHA256, IGNORE):
                raise MappingError(
                    f"'streams.{self._stream}.field_mapping' maps '{name}' to '{destination}'. As "
                    f"the stream's role is 'suppression', it can only map to '{EMAIL}', "
                    f"'{EMAIL_SHA256}' or '{IGNORE}'."
                )

    def _by_name(
        self, names: list[str], destination: str, aliases: tuple[str, ...]
    ) -> _Property | None:
        """Return the property that maps to a destination by its name."""
        for alias in aliases:
            found = [name for name in names if normalised(name) == alias]
            exact = [name for name in found if caseless(name) in (alias, destination)]
            found = exact or found
            if len(found) > 1:
                raise self._tie(found[0], found[1], destination)
            if found:
                return _Property(found[0], (found[0],))
        return None

    def _tie(self, first: str, second: str, destination: str) -> MappingError:
        return MappingError(
            f"Stream '{self._stream}': the properties '{first}' and '{second}' match "
            f"'{destination}' equally well. Map one of them to it in "
            f"'streams.{self._stream}.field_mapping', and the other to '{IGNORE}'."
        )


def _person_of(value: Any, *, is_hash: bool) -> SuppressedPerson:
    if not is_hash:
        return read_person(value)
    found = read_hash(value)
    if found is None:
        raise _NO_HASH
    return found
