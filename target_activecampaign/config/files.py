"""Reading configuration files: JSON that must say one thing, whatever wrote it."""

from __future__ import annotations

import json
from typing import Any, NoReturn

_MAX_BYTES = 16 << 20
"""Bytes that are read of a file: what is longer is no configuration."""


class ConfigFileError(Exception):
    """A configuration file that can't be used; the text names it and quotes no value of it."""


class UnusableJSONError(ValueError):
    """JSON that Python would take and that has no clear meaning; the text ends a sentence."""


def read_config(path: str) -> dict[str, Any]:
    """Read a configuration file once, from its start to its end, so that a pipe will do.

    Raises:
        ConfigFileError: It can't be read, or holds no configuration.
    """
    file = f"The configuration file '{path}'"
    try:
        with open(path, "rb") as opened:  # noqa: PTH123 - an empty name is no folder here
            data = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigFileError(f"{file} can't be read: {error.strerror}.") from None
    if len(data) > _MAX_BYTES:
        raise ConfigFileError(f"{file} is longer than {_MAX_BYTES >> 20} MiB: name another.")
    try:
        # This also knows UTF-16 by its byte order mark, as Windows writes it.
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        raise ConfigFileError(f"{file} is no text in UTF-8.") from None
    if not text.strip():
        raise ConfigFileError(f"{file} is empty: it must hold a JSON object, at least {{}}.")
    try:
        config = parse_json(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigFileError(f"{file} is no valid JSON: see {where}.") from None
    except UnusableJSONError as error:
        raise ConfigFileError(f"{file} {error}") from None
    if not isinstance(config, dict):
        raise ConfigFileError(f"{file} holds no JSON object.")
    return config


def parse_json(text: str) -> Any:
    """Parse JSON without what Python adds to it.

    Raises:
        json.JSONDecodeError: It is no JSON.
        UnusableJSONError: It holds NaN, an infinite number, or a name twice, or is too large.
    """
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)
    except (json.JSONDecodeError, UnusableJSONError):
        raise
    except RecursionError:
        raise UnusableJSONError("is nested too deeply.") from None
    except ValueError:  # Python's own limit
        raise UnusableJSONError("holds a number that has too many digits.") from None


def _refuse(name: str) -> NoReturn:
    raise UnusableJSONError(f"holds {name}, which is no JSON: give a number, or null.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:  # Python would take the last
            raise UnusableJSONError(f"holds '{name}' twice: remove one of them.")
        found[name] = value
    return found
