"""Read settings from environment variables and from `.env` in the current folder.

The SDK also searches the parent folders for `.env`, and lets the file override the environment.
Anyone who may write to one of these folders could then send the key elsewhere. So this module
replaces it.
"""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from target_activecampaign.config.conversion import Converter
from target_activecampaign.errors import SettingError
from target_activecampaign.model.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FILE = ".env"
_MAX_BYTES = 1 << 20
_FILE_TEXT = "The file .env in the current folder"


@dataclass(frozen=True)
class _Variables:
    """The variables with the target's prefix.

    Attributes:
        values: Values by name, without empty ones.
        from_file: The names of those that come from `.env`.
        overridden: The names of those to which the environment gives another value than `.env`.
    """

    values: dict[str, str]
    from_file: tuple[str, ...]
    overridden: tuple[str, ...]


def _read_variables(prefix: str) -> _Variables:
    """Read the variables of a prefix from the environment and from `./.env`.

    Raises:
        SettingError: `.env` can't be read, or another user may have written it.
    """
    environment = {name: text for name, text in os.environ.items() if name.startswith(prefix)}
    file = _read_file(prefix, environment)
    values = {name: text for name, text in {**file, **environment}.items() if text}
    return _Variables(
        values,
        tuple(name for name, text in file.items() if text and name not in environment),
        tuple(name for name in file if environment.get(name, file[name]) != file[name]),
    )


@dataclass(frozen=True)
class EnvironmentSettings:
    """The settings that variables give.

    Attributes:
        values: The settings by name.
        notices: Sentences on where they come from, if from `.env`.
        warnings: A sentence for each variable that names no setting.
    """

    values: dict[str, Any]
    notices: list[str]
    warnings: list[str]


def read_environment(schema: Mapping[str, Any], prefix: str) -> EnvironmentSettings:
    """Read the settings that environment variables and `./.env` give.

    The SDK's own parser is not used: it reads every text other than `true` as false.

    Args:
        schema: The JSON schema of the configuration.
        prefix: The prefix of the variables, such as `TARGET_ACTIVECAMPAIGN_`.

    Raises:
        SettingError: Variables that can't be read; each argument names one, not its value.
    """
    given = _read_variables(prefix)
    known = {f"{prefix}{name.upper()}": name for name in schema["properties"]}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for variable in known.keys() & given.values.keys():
        name = known[variable]
        converter = Converter(variable)
        values[name] = converter.convert(given.values[variable], schema["properties"][name], name)
        problems += converter.problems
    if problems:
        raise SettingError(*sorted(problems))
    notices = []
    if names := [name for name in given.from_file if name in known]:
        notices.append(f"Read from .env in the current folder: {', '.join(names)}.")
    if names := [name for name in given.overridden if name in known]:
        notices.append(f"The environment overrides .env for {', '.join(names)}.")
    return EnvironmentSettings(values, notices, _unknown_variables(given.values, schema, prefix))


def _unknown_variables(names: Iterable[str], schema: Mapping[str, Any], prefix: str) -> list[str]:
    """Return a warning for each variable that names no setting, with the nearest known name."""
    known = [f"{prefix}{name.upper()}" for name in schema["properties"]]
    # Meltano adds variables for the parts of objects, and some of its own.
    ignored = (*(f"{name}_" for name in known), f"{prefix}_", f"{prefix}LOGLEVEL")
    return [
        f"The environment variable {name} names no setting and has no effect."
        f"{did_you_mean(name, known)}"
        for name in names
        if name not in known and not name.startswith(ignored)
    ]


def unread_variables(
    config: Mapping[str, Any], schema: Mapping[str, Any], prefix: str
) -> list[str]:
    """Return a hint if variables are set for missing settings, but `--config=ENV` is not given."""
    names = [f"{prefix}{name.upper()}" for name in schema["properties"] if name not in config]
    unread = [name for name in names if name in os.environ]
    if not unread:
        return []
    return [
        f"The environment has {', '.join(unread)}, but variables are read only with --config=ENV."
    ]


def _read_file(prefix: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a prefix that `./.env` sets. The environment stays as it is."""
    try:
        # O_NONBLOCK: if it is a pipe, do not wait for a writer.
        descriptor = os.open(_FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingError(
            f"{_FILE_TEXT} can't be read ({error.strerror}): let this user read it, or remove it."
        ) from None
    try:
        state = os.fstat(descriptor)
        if stat.S_ISDIR(state.st_mode):  # a virtual environment may have that name
            return {}
        if not stat.S_ISREG(state.st_mode):
            raise SettingError(f"{_FILE_TEXT} is not a regular file: replace or remove it.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(_MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > _MAX_BYTES:
        raise SettingError(f"{_FILE_TEXT} is longer than {_MAX_BYTES >> 10} KiB: shorten it.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingError(f"{_FILE_TEXT} is not UTF-8 text: save it as UTF-8.") from None
    content = dotenv_values(stream=io.StringIO(_assignments(text, prefix)))
    found = {name: text or "" for name, text in content.items() if name.startswith(prefix)}
    # A file from which nothing is taken need not be trusted: Meltano has put all of it into the
    # environment already.
    if found.keys() - environment.keys() and (problem := _trust_problem(state)):
        raise SettingError(f"{_FILE_TEXT} has settings, but is not read: {problem}")
    return found


def _assignments(text: str, prefix: str) -> str:
    """Return the assignments in the text of a file, and drop everything else.

    Raises:
        SettingError: A dropped part names one of the target's variables. Without it, a preview
            could become a real run.
    """
    lines = []
    for part in parse_stream(io.StringIO(text)):
        whole = part.original.string
        line = whole.lstrip()
        if not (part.error or part.value is None):
            lines.append(whole)
        elif prefix in line and not line.startswith("#"):
            number = part.original.line + whole[: -len(line)].count("\n")
            raise SettingError(
                f"{_FILE_TEXT} can't be read at line {number}: write NAME=value, with the value in "
                "matching quotes or without quotes."
            )
    return "".join(lines)


def _trust_problem(state: os.stat_result) -> str | None:
    """Return why another user may have written the file, and what to do; None if none could."""
    trusted = {os.geteuid(), 0}
    if state.st_uid not in trusted or Path(_FILE).lstat().st_uid not in trusted:
        return "it belongs to another user. Check its content, then run `chown` on it."
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "other users can write to it. Check its content, then run `chmod go-w .env`."
    return None
