"""The field that marks the contacts of a mirrored stream, with `on_leave: field`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.catalog import FieldCatalog
from target_activecampaign.mapping.formats import form_of
from target_activecampaign.sync.segment import IN, OUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_activecampaign.client import Field
    from target_activecampaign.mapping.mapping import StreamMapping

_TEXT_TYPES = ("text", "textarea", "hidden")


def find(stream: str, name: str, catalog: FieldCatalog, before: Field | None) -> Field | None:
    """Return the field that the setting names; None if it is to be created.

    Args:
        stream: The stream's name, for messages.
        name: The setting.
        catalog: The account's fields.
        before: The field of the last run, if there was one.

    Raises:
        MappingError: The field does not exist and can't be created, or can't hold `true` and
            `false`.
    """
    found = catalog.find(name)
    if found is None:
        same = before is not None and FieldCatalog([before]).find(name) is not None
        now = catalog.find_by_id(before.id) if before is not None and same else None
        if now is not None:
            raise MappingError(
                f"Stream '{stream}': its 'membership_field' is now called '{now.title}' "
                f"(%{now.tag}%) in ActiveCampaign: use that title, or its id, 'id:{now.id}'."
            )
        if re.fullmatch(r"(?i)id:.*|%.*%", name.strip()):
            raise MappingError(
                f"Stream '{stream}': the account has no field '{name}', which 'membership_field' "
                f"names.{catalog.suggest(name)} Name an existing field, or the title of a new one."
            )
        return None
    lacks_options = bool(found.options) and not {IN, OUT} <= set(found.options)
    is_multiple = form_of(found.type).holds_several
    if lacks_options or is_multiple or not (found.options or found.type in _TEXT_TYPES):
        raise MappingError(
            f"Stream '{stream}': the membership field '{found.title}' is of type "
            f"'{found.type}' and can't hold '{IN}' and '{OUT}'. Name a text field, or the title of "
            "a new one."
        )
    return found


class MembershipFields:
    """Checks that no stream writes the membership field of another."""

    def __init__(self) -> None:
        self._marks: dict[int, str] = {}
        self._mapped: dict[int, str] = {}

    def take(self, stream: str, mapping: StreamMapping, own: Field | None) -> None:
        """Register the fields that a stream writes.

        Raises:
            MappingError: A stream writes the membership field of another.
        """
        written = {one.field.id: one.name for one in mapping.properties if one.field is not None}
        self._check_unshared(stream, written, self._marks)
        if own is not None:
            self._marks[own.id] = stream
            self._check_unshared(stream, [own.id], self._mapped)
        self._mapped.update(dict.fromkeys(written, stream))

    @staticmethod
    def _check_unshared(stream: str, ids: Iterable[int], taken: Mapping[int, str]) -> None:
        for number in ids:
            if taken.get(number, stream) != stream:
                raise MappingError(
                    f"Streams '{taken[number]}' and '{stream}' both write the field id:{number}, "
                    "which is the 'membership_field' of one of them: map the other's property "
                    "elsewhere, or to 'ignore'."
                )
