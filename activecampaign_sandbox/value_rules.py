"""The form in which values are saved: by a field's type and options, and by the switches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from activecampaign_sandbox.clock import to_account_zone

if TYPE_CHECKING:
    from activecampaign_sandbox.options import Options
    from activecampaign_sandbox.store import Store

_CHOICE_TYPES = {"dropdown", "radio", "listbox", "checkbox"}
_DELIMITER = "||"
# MySQL's older form of UTF-8 has no characters beyond U+FFFF: emoji, but also some others.
_EMOJI = re.compile("[\U00010000-\U0010ffff]")


class ValueRefusedError(Exception):
    """A value is none of its field's options, and the switches refuse that."""


class ValueRules:
    """The rules by which values are saved, as they are now.

    Args:
        store: The account's data.
        options: The sandbox's options.
    """

    def __init__(self, store: Store, options: Options) -> None:
        self._options = options
        self._types: dict[int, str] = {
            row["id"]: row["type"] for row in store.all("SELECT id, type FROM field")
        }
        if options.unrelated_field == "not_found":
            related = {row["field"] for row in store.all("SELECT DISTINCT field FROM field_rel")}
            self._types = {key: kind for key, kind in self._types.items() if key in related}
        # The texts of each field's options by the form in which they are compared.
        self._choices: dict[int, dict[str, str]] = {}
        self._checks_options = options.unknown_option != "store" or options.option_case != "exact"
        for row in store.all("SELECT field, value FROM field_option ORDER BY id DESC"):
            self._choices.setdefault(row["field"], {})[self._form(row["value"])] = row["value"]

    def _form(self, choice: str) -> str:
        return choice.lower() if self._options.option_case == "ignore" else choice

    def knows(self, field: int) -> bool:
        """Return whether there is a field with this id."""
        return field in self._types

    def text(self, text: str) -> str:
        """Return a name or phone number as it is saved."""
        if self._options.emoji == "replace":
            return _EMOJI.sub("?", text)
        return _EMOJI.split(text)[0] if self._options.emoji == "cut" else text

    def value(self, field: int, value: str) -> str | None:
        """Return a field's value as it is saved: datetimes in the account's zone [doc].

        Returns:
            The value; None if it is not saved.

        Raises:
            ValueRefusedError: The contact is refused for it.
        """
        kind = self._types[field]
        if kind == "datetime" and value:
            value = to_account_zone(value)
        elif kind in _CHOICE_TYPES and value and self._checks_options:
            chosen = self._chosen(field, value)
            if chosen is None:
                return None
            value = chosen
        value = self.text(value)
        longest = self._options.longest_value
        return value[:longest] if longest else value

    def _chosen(self, field: int, value: str) -> str | None:
        """Return the options that a value names, in the form in which they are saved."""
        is_list = value.startswith(_DELIMITER)
        given = [one for one in value.split(_DELIMITER) if one] if is_list else [value]
        choices = self._choices.get(field, {})
        found = [choices.get(self._form(one)) for one in given]
        if None in found and self._options.unknown_option == "refuse":
            raise ValueRefusedError
        saved = [
            choice if choice is not None else one
            for one, choice in zip(given, found, strict=True)
            if choice is not None or self._options.unknown_option == "store"
        ]
        if not saved:
            return None
        return f"{_DELIMITER}{_DELIMITER.join(saved)}{_DELIMITER}" if is_list else saved[0]
