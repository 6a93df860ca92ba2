"""The options of fields that hold choices, and the conversion of values to them.

ActiveCampaign shows and segments by options, so a value is sent in the option's own spelling. It is
matched exactly, then without case, then with `_` for a space. Other punctuation counts, as `C+` and
`C-` are two choices.
"""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from target_activecampaign.mapping.values import UnfitValueError, remove_nul, to_integer, to_text
from target_activecampaign.model.names import caseless, exact, nfc, visible
from target_activecampaign.text import is_encodable

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from target_activecampaign.client import Field

DELIMITER = "||"
"""The separator in the value of a field that holds several choices (documented)."""

MAX_ADDED = 100
"""The most options that a run adds to one field, so that free text does not become options."""

_CACHE_SIZE = 1000
"""Number of words whose option is cached for each field; most values repeat."""

_TRUE = ("true", "yes", "1", "on", "y", "t")
_FALSE = ("false", "no", "0", "off", "n", "f")


class UnknownOptionError(ValueError):
    """A choice is not an option of the field; the text does not quote the choice."""


class DroppedChoicesError(Exception):
    """All choices of a value were dropped, so that nothing is left to send."""


class OptionAdder(Protocol):
    """Adds options to the account's custom fields."""

    def add_option(self, field: Field, text: str) -> tuple[str, ...]:
        """Add an option to a field, and return all options that the field then has."""


class Options:
    """The options of one field.

    Args:
        field: The field.
        adder: Adds options to it.

    Attributes:
        values: All options.
        verbatim: The options that a value of the same text stands for.
    """

    def __init__(self, field: Field, adder: OptionAdder) -> None:
        self._adder = adder
        self._added = 0
        self.update(field)

    def update(self, field: Field) -> None:
        """Replace the field by a newer state of it."""
        self.field = field
        self._set_values(field.options)

    def _set_values(self, options: tuple[str, ...]) -> None:
        self.values = options
        self.verbatim = {one for one in options if _split_choices(one) == [one]}
        self._cache: dict[str, str | None] = {}
        self._by_form: list[dict[str, str | None]] = []
        for form in _FORMS:
            by_form: dict[str, str | None] = {}
            for option in dict.fromkeys(options):
                key = form(option)
                # Two options of one form are ambiguous, so neither is meant.
                by_form[key] = None if key in by_form else option
            self._by_form.append(by_form)
        meanings = [(caseless(one) in _TRUE, caseless(one) in _FALSE) for one in options]
        self._is_yes_or_no = sorted(meanings) == [(False, True), (True, False)]

    def find(self, choice: Any) -> str | None:
        """Return the option that a scalar value means; None if there is none.

        Raises:
            UnknownOptionError: Several options match it equally.
        """
        words = [to_text(choice) or "", to_text(to_integer(choice)) or ""]
        if isinstance(choice, (float, Decimal)):
            words.insert(0, str(choice))  # `3.0` means 3, unless there is an option '3.0'
        found = self._find_first(words)
        if found is None and (meant := self._as_boolean(choice)) is not None:
            found = self._find_first(_TRUE if meant else _FALSE)
        return found

    def has(self, choice: Any) -> bool:
        """Return whether a scalar value stands for exactly one option."""
        try:
            return self.find(choice) is not None
        except UnknownOptionError:
            return False

    def add(self, choice: Any) -> str:
        """Add an option to the field, and return it.

        Raises:
            UnknownOptionError: This run has already added `MAX_ADDED` options to the field.
            UnfitValueError: It is not a text that can be sent.
            ActiveCampaignError: The option could not be added.
        """
        text = exact(visible(to_text(to_integer(choice)) or ""))
        if not is_encodable(text):
            raise UnfitValueError("it has a lone surrogate, which is not valid text")
        if self._added >= MAX_ADDED:
            raise UnknownOptionError(f"this run has already added {MAX_ADDED} options to it")
        self._added += 1
        self._set_values(self._adder.add_option(self.field, text))
        return self.find(text) or text

    def _as_boolean(self, choice: Any) -> bool | None:
        """Return the yes or no that a value stands for; None if it stands for neither.

        Texts and numbers, such as `true` and `1` in files without booleans, only count if the
        field has exactly two options, one yes and one no.
        """
        if isinstance(choice, bool):
            return choice
        if not self._is_yes_or_no:
            return None
        word = caseless(to_text(choice) or "")
        return True if word in _TRUE else False if word in _FALSE else None

    def _find_first(self, words: list[str] | tuple[str, ...]) -> str | None:
        """Return the option of the first word that has one."""
        return next((option for word in words if (option := self._find_word(word))), None)

    def _find_word(self, word: str) -> str | None:
        if word in self._cache:
            return self._cache[word]
        found = self._find_by_form(word)
        if len(self._cache) < _CACHE_SIZE:
            self._cache[word] = found
        return found

    def _find_by_form(self, word: str) -> str | None:
        for form, by_form in zip(_FORMS, self._by_form, strict=True):
            key = form(word)
            if key in by_form:
                found = by_form[key]
                if found is None:
                    raise UnknownOptionError("several of them match it equally")
                return found
        return None


class OptionCatalog:
    """The options of all fields of a run: one `Options` for each field, shared by its streams."""

    def __init__(self, adder: OptionAdder) -> None:
        self._adder = adder
        self._by_field: dict[int, Options] = {}

    def options_of(self, field: Field) -> Options:
        """Return the options of a field, updated if the field has changed."""
        options = self._by_field.get(field.id)
        if options is None:
            options = self._by_field[field.id] = Options(field, self._adder)
        elif options.field != field:
            options.update(field)
        return options


class ChoiceConverter:
    """Converts values for a field that holds one choice; see `MultipleChoiceConverter`.

    Args:
        options: The field's options.
        policy: The setting `on_unknown_option`.
        name: The property whose values are converted.
        dropped: Counts the choices that are dropped, by property.
    """

    def __init__(self, options: Options, policy: str, name: str, dropped: Counter[str]) -> None:
        self._options = options
        self._policy = policy
        self._name = name
        self._dropped = dropped

    def __call__(self, value: Any) -> str | None:
        """Return the option that a value stands for; None for a value without any choice.

        Raises:
            UnknownOptionError: There is no such option.
            DroppedChoicesError: There is no such option, and the choice was dropped.
            UnfitValueError: It has several choices, or one that is not a scalar.
        """
        if type(value) is str and value in self._options.verbatim:
            return value
        choices = _split_choices(value)
        if len(choices) > 1:
            raise UnfitValueError("it has several choices, and the field holds one")
        if not choices:
            return None
        found = self._find_option(choices[0])
        if found is None:
            raise DroppedChoicesError
        return found

    def _find_option(self, choice: Any) -> str | None:
        """Return the option of a choice, adding it if the policy says so; None if it is dropped."""
        if isinstance(choice, (dict, list)):
            raise UnfitValueError("a choice must be a text, a number or a boolean")
        if isinstance(choice, str) and DELIMITER in choice:
            raise UnfitValueError(f"a choice contains {DELIMITER}, which separates choices")
        try:
            found = self._options.find(choice)
        except UnknownOptionError:
            if self._policy != "drop":
                raise
            found = None
        if found is not None or self._policy == "add":
            return found or self._options.add(choice)
        if self._policy == "reject":
            count = len(self._options.values)
            raise UnknownOptionError(f"it has {count or 'no'} option{'s' * (count != 1)}")
        self._dropped[self._name] += 1
        return None


class MultipleChoiceConverter(ChoiceConverter):
    """Converts values for a field that holds several choices: `||a||b||`."""

    def __call__(self, value: Any) -> str | None:
        """Return the options that a value stands for, in its order; None without any choice.

        Raises:
            UnknownOptionError, DroppedChoicesError, UnfitValueError: See `ChoiceConverter`.
        """
        options = self._options
        if isinstance(value, bool) and len(options.values) == 1:
            # A boolean ticks or clears the only checkbox. If its label means "no", false ticks it.
            is_ticked = value == (options.find(False) is None)
            return f"{DELIMITER}{options.values[0]}{DELIMITER}" if is_ticked else ""
        choices = _split_choices(value)
        found = dict.fromkeys(
            text for one in choices if (text := self._find_option(one)) is not None
        )
        if choices and not found:
            raise DroppedChoicesError
        return f"{DELIMITER}{DELIMITER.join(found)}{DELIMITER}" if found else None

    def _find_option(self, choice: Any) -> str | None:
        if isinstance(choice, str) and breaks_delimiters(choice.strip()):
            raise UnfitValueError(f"a choice begins or ends with |, which {DELIMITER} consists of")
        return super()._find_option(choice)


def breaks_delimiters(option: str) -> bool:
    """Return whether an option can't be told from its neighbours in a list of several."""
    return DELIMITER in f"|{option}|"


def items_of(value: Any) -> list[Any]:
    """Return the items of an array, or of an array as JSON text; a list of any other value.

    Warehouses without arrays store them as JSON text.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            items = msgspec.json.decode(value, type=list)
            return remove_nul(items) if "\\u0000" in value else items
        # msgspec refuses lone surrogates. Decode such an array all the same, so that its items are
        # refused instead of the whole text becoming one choice.
        with suppress(ValueError, RecursionError):
            found = json.loads(value) if "\\ud" in value.lower() else None
            return found if isinstance(found, list) else [value]
    return value if isinstance(value, list) else [value]


def _split_choices(value: Any) -> list[Any]:
    """Return the choices of a value that are not blank."""
    items = items_of(value)
    if isinstance(value, str) and items == [value]:
        items = value.split(DELIMITER)  # the field's own form
    return [one for one in items if (to_text(one) or "").strip()]


def _with_spaces(text: str) -> str:
    """Return a text without case, with a single space for spaces and `_`."""
    return nfc(" ".join(visible(caseless(text)).replace("_", " ").split()))


_FORMS: tuple[Callable[[str], str], ...] = (str, exact, caseless, _with_spaces)
"""The forms in which a choice is compared with the options, in order."""
