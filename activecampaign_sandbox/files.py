"""The account's file on disk: its owner's alone, never behind a link, and never another program's.

The target looks at its own files in much the same way. The sandbox shares no code with it, so
that it can be published by itself.
"""

from __future__ import annotations

import errno
import os
import stat
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MODE = 0o600
_OTHERS = 0o077
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_ID = slice(68, 72)
_WHY = {
    errno.ENOENT: "its folder is missing. Make the folder, or name another place.",
    errno.ENOSPC: "the disk is full; make room there",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "this user has no permission",
    errno.ELOOP: "it is a symbolic link, which is not followed",
    errno.EISDIR: "it is a folder",
}


class Kind(Enum):
    """What a file is."""

    NEW = auto()
    OURS = auto()
    DAMAGED = auto()
    ANOTHERS = auto()


def open_private(file: Path) -> int | None:
    """See that a file is a plain one and its owner's alone; make it if it is missing.

    Returns:
        The mode that let others use it until now; None if they could not.

    Raises:
        OSError: It can't be opened, is a link or no plain file, or belongs to another user.
    """
    try:
        descriptor = os.open(file, _FLAGS)
    except FileNotFoundError:
        descriptor = os.open(file, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", str(file))
        if found.st_uid not in {os.geteuid(), 0, file.parent.stat().st_uid}:
            raise OSError(errno.EPERM, "it belongs to another user", str(file))
        if not found.st_mode & _OTHERS:
            return None
        os.fchmod(descriptor, _MODE)
        return stat.S_IMODE(found.st_mode)
    finally:
        os.close(descriptor)


def what_is(file: Path, application_id: int) -> Kind:
    """Tell what a file is, before SQLite opens it and may change it.

    Args:
        file: The file.
        application_id: The number in the header of ours.

    Raises:
        OSError: It can't be read.
    """
    with file.open("rb") as opened:
        head = opened.read(_HEADER_BYTES)
    if not head:
        return Kind.NEW
    marked = head[_ID] == application_id.to_bytes(4, "big")
    if head.startswith(_MAGIC):
        return Kind.OURS if marked else Kind.ANOTHERS
    return Kind.DAMAGED if marked else Kind.ANOTHERS


def why(error: OSError) -> str:
    """Return why a file can't be used, as a clause."""
    return _WHY.get(error.errno or 0) or error.strerror or type(error).__name__
