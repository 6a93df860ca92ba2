"""Files and folders for their owner only, and the reasons why one can't be used.

Files with personal data are created under a new name, or opened without following a link that
someone else may have put there. Folders may be links: only the last part of a path must not be one.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE_MODE = 0o600
FOLDER_MODE = 0o700

_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW
# A pipe must not block, and a terminal must not take control.
_QUIET = _SAFE | os.O_NONBLOCK | os.O_NOCTTY
_OTHERS = 0o077
"""Permission bits of everybody but the owner."""
_NEARLY_FULL = 64 * 1024
"""A disk with fewer free bytes is taken for full after a failed write."""

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "this user has no permission",
    errno.EPERM: "this user has no permission",
    errno.EFBIG: "it would be larger than this process may write (see `ulimit -f`)",
    errno.ENOENT: "its folder is missing",
    errno.ENOTDIR: "a part of its path is no folder",
    errno.EISDIR: "it is a folder",
    errno.ELOOP: "it is a symbolic link, which is not followed",
    errno.ENAMETOOLONG: "its name is too long",
}
_REMEDIES = {
    errno.ENOSPC: "Make room there, then run again.",
    errno.EDQUOT: "Make room there, then run again.",
    errno.EROFS: "Name a place that can be written.",
    errno.EACCES: "Let this user write there, or name another place.",
    errno.EPERM: "Let this user write there, or name another place.",
    errno.EFBIG: "Raise that limit, then run again.",
    errno.ENOENT: "Make the folder, or name another place.",
    errno.ELOOP: "Remove the link, or name the file that it points to.",
    errno.ENOTSUP: "Give it to this user, or name another place.",
}


class UnsafeFileError(OSError):
    """A file that was not opened because someone else may have put it there."""


def reason(error: OSError) -> str:
    """Return why a file can't be used, as a clause that names no file."""
    if isinstance(error, UnsafeFileError):
        return str(error.strerror)
    return _REASONS.get(error.errno or 0) or error.strerror or type(error).__name__


def remedy(error: OSError) -> str:
    """Return the remedy as a sentence; empty when none is known."""
    return _REMEDIES.get(error.errno or 0, "")


def explain(error: OSError) -> str:
    """Return the file, the cause and the remedy, as sentences."""
    where = f"{os.fsdecode(error.filename)} can't be used: " if error.filename else ""
    why = reason(error)
    text = where + why if where else why[:1].upper() + why[1:]
    return f"{text}. {remedy(error)}".rstrip()


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Add a file's name to an error without one, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def is_nearly_full(path: Path) -> bool:
    """Tell whether the disk of a file is full, or nearly so."""
    try:
        return shutil.disk_usage(path.parent).free < _NEARLY_FULL
    except OSError:
        return False


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, for their owner only; existing ones do not change.

    Raises:
        OSError: It can't be made.
    """
    missing = []
    folder = path
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        try:
            one.mkdir(FOLDER_MODE)
        except FileExistsError:
            continue  # another process was faster; a file is found below
        if stat.S_IMODE(one.stat().st_mode) & 0o777 != FOLDER_MODE:
            one.chmod(FOLDER_MODE)  # the umask took rights from the owner
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def open_private(path: Path) -> BinaryIO:
    """Create a file for its owner only, and open it for writing.

    Raises:
        FileExistsError: The name is taken, perhaps by a link.
        OSError: It can't be created.
    """
    return os.fdopen(create_private(path), "wb")


def replace(path: Path, text: str) -> None:
    """Write a whole file for its owner only; a reader sees the old one until it is complete.

    A link of that name is replaced, not followed. A lone surrogate is written as its escape.

    Raises:
        OSError: It can't be written; the error names the file.
    """
    replace_lines(path, [text.encode("utf-8", "backslashreplace")])


def replace_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write a whole file as `replace` does, line by line.

    Raises:
        OSError: It can't be written; the error names the file.
    """
    new = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    try:
        with naming(path):
            with open_private(new) as file:
                file.writelines(lines)
            new.replace(path)
    except BaseException as error:
        with suppress(OSError):
            new.unlink()
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


def check_database(path: Path, *, make: bool) -> None:
    """Check that a database is a plain file of this user's, and create it if missing.

    It must be called before SQLite opens the file by its name, which follows links.

    Args:
        path: The file.
        make: Whether to create it when it is missing.

    Raises:
        FileNotFoundError: It is missing, and `make` is false.
        UnsafeFileError: It, or one of SQLite's files beside it, is a link, not a plain file, or
            another user's.
        OSError: It can't be opened.
    """
    for beside in (Path(f"{path}{ending}") for ending in ("-wal", "-shm", "-journal")):
        with suppress(FileNotFoundError, NotADirectoryError):
            if not stat.S_ISREG(beside.lstat().st_mode):
                raise UnsafeFileError(errno.EINVAL, "it is no plain file", str(beside))
    descriptor = _open_or_create(path, make=make)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeFileError(errno.EINVAL, "it is no plain file", str(path))
        # Only root and the owner of the folder can have put another user's file there.
        if found.st_uid not in {os.geteuid(), 0, path.parent.stat().st_uid}:
            raise UnsafeFileError(errno.ENOTSUP, "it belongs to another user", str(path))
    finally:
        os.close(descriptor)


def restrict_database(path: Path) -> int | None:
    """Restrict a database to its owner, once it is known to be ours.

    SQLite gives the file's mode to the files that it keeps beside it.

    Returns:
        The mode by which others could use it until now; None if they could not.

    Raises:
        OSError: It can't be opened.
    """
    descriptor = _open_or_create(path, make=False)
    try:
        found = os.fstat(descriptor)
        for ending in ("-wal", "-shm"):
            _tighten(Path(f"{path}{ending}"))
        if not found.st_mode & _OTHERS:
            return None
        with suppress(PermissionError):  # the owner of the folder owns it
            os.fchmod(descriptor, FILE_MODE)
        # Some file systems have no modes: what can't be changed is not reported.
        still = os.fstat(descriptor).st_mode & _OTHERS
        return None if still else stat.S_IMODE(found.st_mode)
    finally:
        os.close(descriptor)


def _open_or_create(path: Path, *, make: bool) -> int:
    while True:
        try:
            return os.open(path, os.O_RDWR | _QUIET)
        except FileNotFoundError:
            if not make:
                raise
        try:
            return create_private(path)
        except FileExistsError:
            if path.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None
            # else another process was faster


def create_private(path: Path) -> int:
    """Create a file that only its owner can read and write, regardless of the umask.

    Returns:
        Its descriptor.

    Raises:
        FileExistsError: The name is taken, perhaps by a link.
        OSError: It can't be created.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE, FILE_MODE)
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != FILE_MODE:
        with suppress(PermissionError):  # a file system that has no modes
            os.fchmod(descriptor, FILE_MODE)
    return descriptor


def _tighten(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | _QUIET)
        try:
            os.fchmod(descriptor, FILE_MODE)
        finally:
            os.close(descriptor)
