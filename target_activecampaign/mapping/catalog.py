"""Lookup of the account's custom fields by id, tag or title."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property
from string import digits
from typing import TYPE_CHECKING, NamedTuple

from target_activecampaign.errors import MappingError
from target_activecampaign.model.names import (
    Rank,
    caseless,
    contradict,
    did_you_mean,
    exact,
    normalised,
    symbols,
    without_marks,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_activecampaign.client import Field


class FieldMatch(NamedTuple):
    """The field that a name means.

    Attributes:
        field: The field.
        quality: The quality of the match, lower is better: its rank, then 0 for a match of the
            field's tag and 1 for a match of its title.
    """

    field: Field
    quality: tuple[Rank, int]


_FORMS = {Rank.EXACT: exact, Rank.CASELESS: caseless, Rank.SIMILAR: normalised}


def _has_cut_tag(field: Field) -> bool:
    """Return whether ActiveCampaign derived a field's tag from its title and dropped characters.

    It drops combining marks and symbols. Such a tag has less information than the title, and may
    even be another word.
    """
    title = normalised(field.title)
    cut = without_marks(title)
    is_less = cut != title or bool(symbols(field.title))
    # If a tag is taken, ActiveCampaign appends a number.
    return is_less and cut.rstrip(digits) == normalised(field.tag).rstrip(digits)


class FieldCatalog:
    """Finds the account's custom fields by id, tag or title."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields

    def find(self, destination: str) -> Field | None:
        """Return the field that a setting names: `id:7`, `%TIER%`, `TIER` or a title.

        Raises:
            MappingError: Two fields match equally.
        """
        text = destination.strip()
        if match := re.fullmatch(r"id:\s*(\d{1,18})", text, re.IGNORECASE):
            return self.find_by_id(int(match[1]))
        if match := re.fullmatch(r"%(.+)%", text):
            for form in (exact, caseless):
                tagged = [f for f in self._fields if form(f.tag) == form(match[1])]
                if found := self._only(text, tagged):
                    return found
            return None
        return self.find_by_name(text)

    def find_by_name(self, name: str) -> Field | None:
        """Return the field that matches a name best (see `match`).

        Raises:
            MappingError: Two fields match equally.
        """
        found = self.match(name)
        return found.field if found else None

    def match(self, name: str) -> FieldMatch | None:
        """Return the field whose tag, or else title, matches a name best.

        An exact match comes first, then one without case, then one without punctuation and spaces.
        In the last, titles count as much as tags.

        Raises:
            MappingError: Two fields match equally.
        """
        if not exact(name):
            return None
        for rank, form in _FORMS.items():
            tagged, titled = (fields.get(form(name), []) for fields in self._by_name[rank])
            if rank is Rank.SIMILAR:
                similar = {one.id: one for one in (*tagged, *titled)}.values()
                tagged = [one for one in similar if not contradict(name, one.title)]
                titled = []
            for place, found in enumerate((tagged, titled)):
                if only := self._only(name, found):
                    return FieldMatch(only, (rank, place))
        return None

    def has_exactly(self, name: str) -> bool:
        """Return whether a field has exactly this tag or title."""
        return any(exact(name) in fields for fields in self._by_name[Rank.EXACT])

    @cached_property
    def _by_name(self) -> dict[Rank, tuple[dict[str, list[Field]], dict[str, list[Field]]]]:
        """The fields by tag and by title, with names in the form of each rank."""
        found: dict[Rank, tuple[dict[str, list[Field]], dict[str, list[Field]]]] = {}
        tagged = [field for field in self._fields if not _has_cut_tag(field)]
        for rank, form in _FORMS.items():
            tags, titles = defaultdict(list), defaultdict(list)
            for field in tagged:
                tags[form(field.tag)].append(field)
            for field in self._fields:
                titles[form(field.title)].append(field)
            found[rank] = (dict(tags), dict(titles))
        return found

    def find_by_id(self, number: int) -> Field | None:
        """Return the field with this id."""
        return next((field for field in self._fields if field.id == number), None)

    def suggest(self, destination: str, others: Sequence[str] = ()) -> str:
        """Return ` Did you mean ...?` for an unknown destination, or an empty text."""
        names = [*others, *(f.tag for f in self._fields), *(f.title for f in self._fields)]
        return did_you_mean(destination.strip("%"), names)

    def __str__(self) -> str:
        return ", ".join(f"%{f.tag}% ({f.title})" for f in self._fields) or "none"

    @staticmethod
    def _only(name: str, found: list[Field]) -> Field | None:
        if len(found) > 1:
            both = " and ".join(f"'{f.title}' (id:{f.id})" for f in found)
            raise MappingError(
                f"'{name}' matches the custom fields {both}. Name the right one by its id."
            )
        return found[0] if found else None
