"""The file of the account: private, not behind a link, and not another program's.

The target checks its own files in a similar way. The sandbox shares no code with it, so that it
can be published by itself.
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
_REASONS = {
    errno.ENOENT: "its folder is missing. Make the folder, or name another place.",
    errno.ENOSPC: "the disk is full; make room there",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "this user has no permission",
    errno.ELOOP: "it is a symbolic link, which is not followed",
    errno.EISDIR: "it is a folder",
}


class Kind(Enum):
    """The kind of a file's content."""

    NEW = auto()
    SANDBOX = auto()
    DAMAGED = auto()
    FOREIGN = auto()


def create_private(file: Path) -> None:
    """Create a file that only its owner can access, unless the file exists.

    Raises:
        OSError: It can't be opened, or is a link or a folder.
    """
    try:
        os.close(os.open(file, _FLAGS))
    except FileNotFoundError:
        os.close(os.open(file, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE))


def make_private(file: Path) -> int | None:
    """Make a file of the sandbox accessible to its owner alone.

    Returns:
        The file's mode if other users could access it until now; None if not.

    Raises:
        OSError: It can't be opened, or belongs to another user.
    """
    descriptor = os.open(file, _FLAGS)
    try:
        found = os.fstat(descriptor)
        if found.st_uid not in {os.geteuid(), 0, file.parent.stat().st_uid}:
            raise OSError(errno.EPERM, "it belongs to another user", str(file))
        if not found.st_mode & _OTHERS:
            return None
        os.fchmod(descriptor, _MODE)
        return stat.S_IMODE(found.st_mode)
    finally:
        os.close(descriptor)


def classify(file: Path, application_id: int) -> Kind:
    """Return the kind of a file, before SQLite opens it and may change it.

    Args:
        file: The file.
        application_id: The number that marks the sandbox's files in SQLite's header.

    Raises:
        OSError: It can't be read, or is not a regular file.
    """
    if not stat.S_ISREG(file.lstat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(file))
    with file.open("rb") as opened:
        head = opened.read(_HEADER_BYTES)
    if not head:
        return Kind.NEW
    marked = head[_ID] == application_id.to_bytes(4, "big")
    if head.startswith(_MAGIC):
        return Kind.SANDBOX if marked else Kind.FOREIGN
    return Kind.DAMAGED if marked else Kind.FOREIGN


def reason_of(error: OSError) -> str:
    """Return the reason why a file can't be used, as a clause."""
    return _REASONS.get(error.errno or 0) or error.strerror or type(error).__name__
