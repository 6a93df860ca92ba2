"""The account's custom fields, found by the ways in which people name them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from target_activecampaign.config import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_activecampaign.activecampaign import Field


class MappingError(ValueError):
    """A mapping that can't be: the text says which stream, which property, and what to do."""


def normalised(name: str) -> str:
    """A name without case, spaces and punctuation: `E-Mail Address 1` is `emailaddress1`."""
    return re.sub(r"[\W_]+", "", name.casefold())


class FieldCatalog:
    """The account's custom fields, found by the ways in which people name them."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields

    def named(self, destination: str) -> Field | None:
        """The field that a setting names: `id:7`, `%TIER%`, `TIER` or a title.

        Raises:
            MappingError: Two fields match equally.
        """
        text = destination.strip()
        if match := re.fullmatch(r"id:\s*(\d+)", text, re.IGNORECASE):
            return self.by_id(int(match[1]))
        if match := re.fullmatch(r"%(.+)%", text):
            return self._only(text, [f for f in self._fields if f.tag == match[1].upper()])
        return self._only(text, [f for f in self._fields if f.tag == text]) or self.called(text)

    def called(self, title: str) -> Field | None:
        """The field of a title, or else one that is `like` it.

        Raises:
            MappingError: Two fields match equally.
        """
        return self._only(title, [f for f in self._fields if f.title == title]) or self.like(title)

    def like(self, name: str) -> Field | None:
        """The field whose tag, or else whose title, is a name but for case and spaces.

        Raises:
            MappingError: Two fields match equally.
        """
        wanted = normalised(name)
        if not wanted:
            return None
        return self._only(
            name, [f for f in self._fields if normalised(f.tag) == wanted]
        ) or self._only(name, [f for f in self._fields if normalised(f.title) == wanted])

    def by_id(self, number: int) -> Field | None:
        """The field with this id."""
        return next((field for field in self._fields if field.id == number), None)

    def nearest(self, destination: str, others: Sequence[str] = ()) -> str:
        """` Did you mean ...?` for a destination that is not there, or nothing."""
        names = [*others, *(f.tag for f in self._fields), *(f.title for f in self._fields)]
        return did_you_mean(destination.strip("%"), names)

    def __str__(self) -> str:
        return ", ".join(f"%{f.tag}% ({f.title})" for f in self._fields) or "none"

    @staticmethod
    def _only(name: str, found: list[Field]) -> Field | None:
        if len(found) > 1:
            both = " and ".join(f"'{f.title}' (id:{f.id})" for f in found)
            raise MappingError(
                f"'{name}' could be any of the custom fields {both}: name the one by its id."
            )
        return found[0] if found else None
