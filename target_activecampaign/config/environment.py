"""Reading the variables that give settings: the environment, and under it `.env`.

The SDK searches `.env` in all parent folders and puts all of it into the environment, over what
is there. Whoever may write into one of these folders could send the key elsewhere.
"""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from target_activecampaign.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE = ".env"
_MAX_BYTES = 1 << 20
_OURS = "The file .env in the current folder"


@dataclass(frozen=True)
class Variables:
    """The variables whose names begin with the prefix of the target's.

    Attributes:
        values: Their values by name; those that are empty are left out.
        of_file: The names of those that `.env` gave.
        overridden: The names of those of which `.env` has another value than the environment, which
            wins.
    """

    values: dict[str, str]
    of_file: tuple[str, ...]
    overridden: tuple[str, ...]


def read_variables(prefix: str) -> Variables:
    """Read the variables of a prefix from the environment and from `./.env`.

    Raises:
        SettingError: `.env` has some that others than the user may have put there.
    """
    environment = {name: text for name, text in os.environ.items() if name.startswith(prefix)}
    file = _read_file(prefix, environment)
    values = {name: text for name, text in {**file, **environment}.items() if text}
    return Variables(
        values,
        tuple(name for name, text in file.items() if text and name not in environment),
        tuple(name for name in file if environment.get(name, file[name]) != file[name]),
    )


def _read_file(prefix: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a prefix that `./.env` has; none are put into the environment."""
    try:
        # Not waiting for a writer, in case it is a pipe.
        descriptor = os.open(_FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingError(
            f"{_OURS} can't be read ({error.strerror}): let this user read it, or remove it."
        ) from None
    try:
        state = os.fstat(descriptor)
        if stat.S_ISDIR(state.st_mode):  # some call their virtual environment so
            return {}
        if not stat.S_ISREG(state.st_mode):
            raise SettingError(f"{_OURS} is no regular file: put one there, or remove it.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(_MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > _MAX_BYTES:
        raise SettingError(f"{_OURS} is longer than {_MAX_BYTES >> 10} KiB: shorten it.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingError(f"{_OURS} is no text in UTF-8: save it as such.") from None
    content = dotenv_values(stream=io.StringIO(_readable(text, prefix)))
    found = {name: text or "" for name, text in content.items() if name.startswith(prefix)}
    # Where nothing is taken from it, it may be as it likes: Meltano has put all of it into the
    # environment already.
    if found.keys() - environment.keys() and (wrong := _why_not_trusted(state)):
        raise SettingError(f"{_OURS} has settings, but is not read: {wrong}")
    return found


def _readable(text: str, prefix: str) -> str:
    """A file's text without what is no assignment.

    Raises:
        SettingError: Such a part names one of the target's variables: it would be ignored, and
            a preview become a real run.
    """
    kept = []
    for part in parse_stream(io.StringIO(text)):
        whole = part.original.string
        line = whole.lstrip()
        if not (part.error or part.value is None):
            kept.append(whole)
        elif prefix in line and not line.startswith("#"):
            number = part.original.line + whole[: -len(line)].count("\n")
            raise SettingError(
                f"{_OURS} can't be read at line {number}: write NAME=value there, with two quotes "
                "or with none."
            )
    return "".join(kept)


def _why_not_trusted(state: os.stat_result) -> str | None:
    """Why the file may be of somebody else, and what to do; None if it can't be."""
    trusted = {os.geteuid(), 0}
    if state.st_uid not in trusted or Path(_FILE).lstat().st_uid not in trusted:
        return "it belongs to another user. Look into it, then take it over with `chown`."
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others than its owner can write to it. Look into it, then run `chmod go-w .env`."
    return None
