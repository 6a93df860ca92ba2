"""Convert the values of a configuration to the types of its schema.

Variables are strings, and Meltano passes strings too. So a string can stand for a boolean, a
number, a list or an object. If it does not clearly do so, it is a problem, never a guess.
"""

from __future__ import annotations

import ast
import contextlib
import json
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from target_activecampaign.config.files import UnusableJSONError, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "y", "on", "1", "t"), True),
    **dict.fromkeys(("false", "no", "n", "off", "0", "f"), False),
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_EXPECTED = {
    "boolean": "true or false (or yes/no, y/n, on/off, t/f, 1/0)",
    "integer": "an integer, such as 30",
    "number": "a number, such as 30 or 2.5",
    "array": 'a JSON array, such as ["first", "second"]',
    "object": 'a JSON object, such as {"name": "value"}',
}
_VERBATIM = frozenset({"flattening_separator"})
"""Settings in which blanks matter."""


class Converter:
    """Converts values, and collects problems.

    Args:
        variable: The environment variable that the values come from, if any.

    Attributes:
        problems: One sentence for each value that can't be converted; none quotes a value.
    """

    def __init__(self, variable: str | None = None) -> None:
        self.problems: list[str] = []
        self._variable = variable

    def convert(self, value: Any, schema: Mapping[str, Any], path: str = "") -> Any:
        """Return a value in the type of its schema; None if it can't be converted.

        A value of a wrong type that is not a string stays: the validator rejects it.

        Args:
            value: The value.
            schema: Its JSON schema.
            path: The name of the setting, such as `guards.max_leave`.
        """
        try:
            return self._convert(value, schema, path)
        except RecursionError:
            self.problems.append("The configuration is nested too deeply.")
            return None

    def _convert(self, value: Any, schema: Mapping[str, Any], path: str) -> Any:
        if not schema:
            return value
        types = _types(schema)
        if isinstance(value, str):
            value = self._convert_text(value, types, schema, path)
        elif isinstance(value, (int, float, Decimal)):
            value = self._convert_number(value, types, path)
        if isinstance(value, dict):
            return self._convert_object(value, schema, path)
        if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
            return [self._convert(one, items, f"{path}.{n}") for n, one in enumerate(value)]
        return value

    def _convert_text(
        self, value: str, types: tuple[str, ...], schema: Mapping[str, Any], path: str
    ) -> Any:
        text = value.strip()
        if not types or path in _VERBATIM:
            return value
        if "string" in types:
            if "array" in types and text.startswith("["):
                return self._convert_array(text, path)
            choices = {choice.casefold(): choice for choice in schema.get("enum", ())}
            return choices.get(text.casefold(), text)
        if "null" in types and text.casefold() == "null":
            return None
        kind = _kind(types)
        if kind == "boolean" and text.casefold() in _BOOLEANS:
            return _BOOLEANS[text.casefold()]
        if kind in {"integer", "number"} and _NUMBER.fullmatch(text):
            number = float(text)
            whole = math.isfinite(number) and number.is_integer()
            if math.isfinite(number) and (whole or kind == "number"):
                return int(Decimal(text)) if kind == "integer" else number
        if kind in {"array", "object"}:
            return self._convert_json(text, kind, path)
        return self._reject(path, kind)

    def _convert_json(self, text: str, kind: str, path: str) -> Any:
        if kind == "array" and self._variable and text and text[0] not in '[{"':
            return [one.strip() for one in text.split(",")]
        try:
            return parse_json(text)
        except json.JSONDecodeError:
            return self._reject(path, kind)
        except UnusableJSONError as error:
            self.problems.append(f"{self._subject(path)} {error}")
            return None

    def _convert_array(self, text: str, path: str) -> Any:
        """Return the array that a text stands for, where a setting can be a text or an array."""
        with contextlib.suppress(json.JSONDecodeError, UnusableJSONError):
            return parse_json(text)
        # Meltano's commands write an array as Python does, if the setting is of kind `string`.
        with contextlib.suppress(ValueError, SyntaxError, MemoryError):
            return ast.literal_eval(text)
        return self._convert_json(text, "array", path)

    def _convert_number(self, value: float | Decimal, types: tuple[str, ...], path: str) -> Any:
        if isinstance(value, bool) or not types:
            return value
        if _kind(types) == "boolean" and isinstance(value, int) and value in {0, 1}:
            return bool(value)
        if not {"integer", "number"}.intersection(types):
            return value
        try:
            number = float(value)
        except OverflowError:  # an integer with hundreds of digits
            number = math.inf
        if not math.isfinite(number):
            return self._reject(path, _kind(types))
        if "integer" in types and number.is_integer():
            return int(value)
        return number if isinstance(value, Decimal) else value

    def _convert_object(
        self, value: dict[str, Any], schema: Mapping[str, Any], path: str
    ) -> dict[str, Any]:
        known: Mapping[str, Any] = schema.get("properties", {})
        other = schema.get("additionalProperties")
        other = other if isinstance(other, dict) else {}
        if "properties" in other:
            value = _by_stream(value, other["properties"])
        if (kinds := _types(other)) and "object" not in kinds:
            value = dict(_flat(value))
        if path == "stream_maps":
            value = _maps_by_stream(value)
        found: dict[str, Any] = {}
        for key, one in value.items():
            # Names of settings are stripped, but not those of properties and streams.
            name = key.strip() if key.strip() in known else key
            place = f"{path}.{name}" if path else name
            if name in found:
                self.problems.append(f"{self._subject(place)} is given twice: remove one of them.")
            found[name] = self._convert(one, known.get(name, other), place)
        return found

    def _reject(self, path: str, kind: str) -> None:
        expected = _EXPECTED.get(kind, kind)
        self.problems.append(f"{self._subject(path)} can't be read: it must be {expected}.")

    def _subject(self, path: str) -> str:
        if self._variable is None:
            return f"The setting '{path}'"
        inside = f" ('{path}')" if "." in path else ""
        return f"The environment variable {self._variable}{inside}"


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    types = schema.get("type", ())
    return (types,) if isinstance(types, str) else tuple(types)


def _kind(types: tuple[str, ...]) -> str:
    """Return the first type that is not null."""
    return next((one for one in types if one != "null"), "null")


def _flat(mapping: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the entries of a mapping by path: Meltano turns `{a.b: c}` into `{a: {b: c}}`."""
    for name, value in mapping.items():
        if value and isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _by_stream(given: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of streams as `{stream: {setting: value}}`.

    Meltano passes `{stream.setting: value}` in the variables of its commands. In its files, it
    turns a stream `a.b` into `{a: {b: {setting: value}}}`.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        parts = name.split(".")
        place = next((n for n, one in enumerate(parts) if n and one in settings), None)
        if place is not None and not isinstance(value, dict):
            own = found.setdefault(".".join(parts[:place]), {})
            inside = ".".join(parts[place + 1 :])
            if inside and isinstance(own.setdefault(parts[place], {}), dict):
                own[parts[place]][inside] = value
            elif not inside:
                own[parts[place]] = value
        elif isinstance(value, dict):
            own = {k: v for k, v in value.items() if not _has_settings(k, v, settings)}
            if own or not value:
                found[name] = {**found.get(name, {}), **own}
            nested = {f"{name}.{k}": v for k, v in value.items() if k not in own}
            found.update(_by_stream(nested, settings))
        else:
            found[name] = value
    return found


def _maps_by_stream(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return stream maps as `{stream: {property: expression}}`: Meltano turns them into paths."""
    found: dict[str, Any] = {}
    ambiguous: dict[str, Any] = {}
    for name, value in given.items():
        stream, dot, inside = name.rpartition(".")
        if isinstance(value, dict):
            nested = {f"{name}.{k}": v for k, v in value.items() if isinstance(v, dict)}
            own = {k: v for k, v in value.items() if not isinstance(v, dict)}
            if own or not nested:
                found[name] = {**found.get(name, {}), **own}
            found.update(_maps_by_stream(nested))
        elif dot and isinstance(value, str) and value != "__NULL__":
            found.setdefault(stream, {})[inside] = value
        else:
            ambiguous[name] = value
    for name, value in ambiguous.items():
        stream, _, inside = name.rpartition(".")
        # It removes a property if the stream has a map, else a whole stream.
        if isinstance(found.get(stream), dict):
            found[stream][inside] = value
        else:
            found[name] = value
    return found


def _has_settings(name: str, value: Any, settings: Mapping[str, Any]) -> bool:
    """Return True if a part of a stream's name has settings further down, as in `{a: {b: {}}}`."""
    if name.strip() in settings or not isinstance(value, dict):
        return False
    return any(k.strip() in settings or _has_settings(k, v, settings) for k, v in value.items())
