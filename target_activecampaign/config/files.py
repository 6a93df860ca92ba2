"""Read configuration files: strict JSON, with a clear meaning."""

from __future__ import annotations

import json
from typing import Any, NoReturn

_MAX_BYTES = 16 << 20
"""A longer file is not a configuration."""


class ConfigFileError(Exception):
    """A configuration file can't be used. The text names it and quotes none of its values."""


class UnusableJSONError(ValueError):
    """JSON that Python accepts although it has no clear meaning. The text ends a sentence."""


def read_config(path: str) -> dict[str, Any]:
    """Read a configuration file, in one pass, so that it can be a pipe.

    Raises:
        ConfigFileError: It can't be read, or is not a configuration.
    """
    file = f"The configuration file '{path}'"
    try:
        with open(path, "rb") as opened:  # noqa: PTH123 - Path("") would be the current folder
            data = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigFileError(f"{file} can't be read: {error.strerror}.") from None
    if len(data) > _MAX_BYTES:
        raise ConfigFileError(
            f"{file} is larger than {_MAX_BYTES >> 20} MiB: is it the right file?"
        )
    try:
        # Also detects UTF-16 with a byte order mark, as Windows writes it.
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        raise ConfigFileError(f"{file} is not UTF-8 text.") from None
    if not text.strip():
        raise ConfigFileError(f"{file} is empty: it must hold a JSON object, at least {{}}.")
    try:
        config = parse_json(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigFileError(f"{file} is not valid JSON: see {where}.") from None
    except UnusableJSONError as error:
        raise ConfigFileError(f"{file} {error}") from None
    if not isinstance(config, dict):
        raise ConfigFileError(f"{file} does not hold a JSON object.")
    return config


def parse_json(text: str) -> Any:
    """Parse JSON without the extensions of Python.

    Raises:
        json.JSONDecodeError: It is not JSON.
        UnusableJSONError: It has NaN, infinity, a duplicate name, or is too deep or too large.
    """
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)
    except (json.JSONDecodeError, UnusableJSONError):
        raise
    except RecursionError:
        raise UnusableJSONError("is nested too deeply.") from None
    except ValueError:  # Python's own limit of digits
        raise UnusableJSONError("holds a number that has too many digits.") from None


def _refuse(name: str) -> NoReturn:
    raise UnusableJSONError(f"holds {name}, which is not JSON: give a number, or null.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:  # Python would keep the last
            raise UnusableJSONError(f"holds '{name}' twice: remove one of them.")
        found[name] = value
    return found
