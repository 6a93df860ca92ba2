"""The options of fields that hold choices, and values matched to them.

An option is what ActiveCampaign shows and segments by, so a value goes in the option's own
spelling: as it is, or else without regard to case, or else with `_` for a space. Other
punctuation counts, as `C+` and `C-` are two choices.
"""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from target_activecampaign.mapping.values import UnfitValueError, to_text, whole, without_nul
from target_activecampaign.model.names import caseless, exact, nfc, visible
from target_activecampaign.text import is_unicode

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from target_activecampaign.client import Field

DELIMITER = "||"
"""What parts the choices of a field that holds several (documented by ActiveCampaign)."""

MAX_ADDED = 100
"""Options that a run adds to one field at most: free text is not to end up as options."""

_REMEMBERED = 1000
"""Words for which it is remembered which option they stand for; most values repeat."""

_TRUE = ("true", "yes", "1", "on", "y", "t")
_FALSE = ("false", "no", "0", "off", "n", "f")


class UnknownOptionError(ValueError):
    """A choice that is none of the field's options; its text does not hold the choice."""


class DroppedError(Exception):
    """A value of which nothing is left, as none of its choices is an option."""


class Options:
    """What can be chosen in one field.

    Args:
        field: The field.
        fields: Adds options to it.

    Attributes:
        values: All options.
        plain: Those that, as a text, stand for themselves.
    """

    def __init__(self, field: Field, fields: FieldOptions) -> None:
        self._fields = fields
        self._added = 0
        self.update(field)

    def update(self, field: Field) -> None:
        """Take the field as it has been read again."""
        self.field = field
        self._take(field.options)

    def _take(self, options: tuple[str, ...]) -> None:
        self.values = options
        self.plain = {one for one in options if _choices_in(one) == [one]}
        self._found: dict[str, str | None] = {}
        self._by_form: list[dict[str, str | None]] = []
        for form in _FORMS:
            alike: dict[str, str | None] = {}
            for option in dict.fromkeys(options):
                key = form(option)
                # Of two that nothing else tells apart, neither is meant.
                alike[key] = None if key in alike else option
            self._by_form.append(alike)
        meanings = [(caseless(one) in _TRUE, caseless(one) in _FALSE) for one in options]
        self._is_yes_or_no = sorted(meanings) == [(False, True), (True, False)]

    def find(self, choice: Any) -> str | None:
        """The option that a scalar value stands for; None if there is none.

        Raises:
            UnknownOptionError: Several options match it equally.
        """
        words = [to_text(choice) or "", to_text(whole(choice)) or ""]
        if isinstance(choice, (float, Decimal)):
            words.insert(0, str(choice))  # `3.0` is 3, unless there is an option '3.0'
        found = next((option for word in words if (option := self._like(word))), None)
        if found is None and (meant := self._boolean(choice)) is not None:
            words = list(_TRUE if meant else _FALSE)
            found = next((option for word in words if (option := self._like(word))), None)
        return found

    def _boolean(self, choice: Any) -> bool | None:
        """Return the yes or no that a value stands for; None if it stands for neither.

        A text or number does so only where the field has two options, a yes and a no: files
        without booleans have `true` or `1`.
        """
        if isinstance(choice, bool):
            return choice
        if not self._is_yes_or_no:
            return None
        word = caseless(to_text(choice) or "")
        return True if word in _TRUE else False if word in _FALSE else None

    def has(self, choice: Any) -> bool:
        """Whether a scalar value stands for one option."""
        try:
            return self.find(choice) is not None
        except UnknownOptionError:
            return False

    def _like(self, word: str) -> str | None:
        if word in self._found:
            return self._found[word]
        found = self._look_for(word)
        if len(self._found) < _REMEMBERED:
            self._found[word] = found
        return found

    def _look_for(self, word: str) -> str | None:
        for form, alike in zip(_FORMS, self._by_form, strict=True):
            key = form(word)
            if key in alike:
                found = alike[key]
                if found is None:
                    raise UnknownOptionError("several of them match it equally")
                return found
        return None

    def add(self, choice: Any) -> str:
        """Add an option to the field.

        Raises:
            UnknownOptionError: This run has added too many to it.
            UnfitValueError: It is no text that can be sent.
            ActiveCampaignError: It could not be added.
        """
        text = exact(visible(to_text(whole(choice)) or ""))
        if not is_unicode(text):
            raise UnfitValueError("it holds half of a surrogate pair, which is not text")
        if self._added >= MAX_ADDED:
            raise UnknownOptionError(f"this run has added {MAX_ADDED} options to it already")
        self._added += 1
        self._take(self._fields.add(self.field, text))
        return self.find(text) or text


class FieldOptions:
    """The options of fields, the same object for all streams of a run.

    Those that are added are kept here alone; a subclass writes them.
    """

    def __init__(self) -> None:
        self._known: dict[int, Options] = {}

    def of(self, field: Field) -> Options:
        """Return the options of a field."""
        known = self._known.get(field.id)
        if known is None:
            known = self._known[field.id] = Options(field, self)
        elif known.field != field:
            known.update(field)
        return known

    def add(self, field: Field, text: str) -> tuple[str, ...]:
        """Add an option to a field; returns all that it then has."""
        return (*field.options, text)


class ChoiceConverter:
    """Values as a field that holds one choice takes them; see `ChoicesConverter` for several.

    Args:
        options: What can be chosen.
        policy: The setting `on_unknown_option`.
        dropped: Counts the choices that are dropped, by property.
        name: The property.
    """

    def __init__(self, options: Options, policy: str, dropped: Counter[str], name: str) -> None:
        self._options = options
        self._policy = policy
        self._dropped = dropped
        self._name = name

    def __call__(self, value: Any) -> str | None:
        """The option that a value stands for; None for a value without any choice.

        Raises:
            UnknownOptionError: There is no such option.
            DroppedError: There is none, and so nothing is left.
            UnfitValueError: It holds several choices, or what can't be one.
        """
        if type(value) is str and value in self._options.plain:
            return value
        choices = _choices_in(value)
        if len(choices) > 1:
            raise UnfitValueError("it has several choices, and the field holds one")
        if not choices:
            return None
        found = self._option_of(choices[0])
        if found is None:
            raise DroppedError
        return found

    def _option_of(self, choice: Any) -> str | None:
        if isinstance(choice, (dict, list)):
            raise UnfitValueError("a choice is one text, number or boolean")
        if isinstance(choice, str) and DELIMITER in choice:
            raise UnfitValueError(f"a choice holds {DELIMITER}, which parts choices")
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


class ChoicesConverter(ChoiceConverter):
    """Values as a field that holds several choices takes them: `||a||b||`."""

    def __call__(self, value: Any) -> str | None:
        """The options that a value stands for, in its order; None for one without any choice."""
        options = self._options
        if isinstance(value, bool) and len(options.values) == 1:
            # One box, and a yes or no: it is ticked or it isn't, whatever is written beside it;
            # but "no" is what a ticked box beside "no" says.
            ticked = value == (options.find(False) is None)
            return f"{DELIMITER}{options.values[0]}{DELIMITER}" if ticked else ""
        choices = _choices_in(value)
        found = dict.fromkeys(text for one in choices if (text := self._option_of(one)) is not None)
        if choices and not found:
            raise DroppedError
        return f"{DELIMITER}{DELIMITER.join(found)}{DELIMITER}" if found else None

    def _option_of(self, choice: Any) -> str | None:
        if isinstance(choice, str) and blurs(choice.strip()):
            raise UnfitValueError(f"a choice begins or ends with | and would blur into {DELIMITER}")
        return super()._option_of(choice)


def blurs(option: str) -> bool:
    """Whether an option can't be told from its neighbours among several."""
    return DELIMITER in f"|{option}|"


def items_of(value: Any) -> list[Any]:
    """The items of an array, also of one that came as JSON text; or the one value in a list.

    Warehouses without arrays hold them as JSON text.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            items = msgspec.json.decode(value, type=list)
            return without_nul(items) if "\\u0000" in value else items
        # Half of a surrogate pair is to be refused, not taken for a text that has brackets.
        with suppress(ValueError, RecursionError):
            found = json.loads(value) if "\\ud" in value.lower() else None
            return found if isinstance(found, list) else [value]
    return value if isinstance(value, list) else [value]


def _choices_in(value: Any) -> list[Any]:
    items = items_of(value)
    if isinstance(value, str) and items == [value]:
        items = value.split(DELIMITER)  # the form that the field itself has
    return [one for one in items if (to_text(one) or "").strip()]


def _worded(text: str) -> str:
    return nfc(" ".join(visible(caseless(text)).replace("_", " ").split()))


_FORMS: tuple[Callable[[str], str], ...] = (str, exact, caseless, _worded)
"""The forms in which a choice is looked for among the options, one after the other."""
