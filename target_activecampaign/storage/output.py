"""Standard output, for STATE and the output of commands."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

from target_activecampaign.storage.private_files import reason


class OutputError(Exception):
    """Standard output can't be written; the text is the reason, a clause."""


def write(text: str) -> None:
    """Write a text to standard output, unbuffered.

    Raises:
        OutputError: It is closed, or can't be written to.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        # Python would try again at exit to write what is still in the buffer.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        why = "whatever read it has closed it"
        if isinstance(error, OSError) and error.errno not in {errno.EPIPE, errno.EBADF}:
            why = reason(error)
        raise OutputError(why) from None


def show(text: str, command: str) -> int:
    """Print a command's output; returns the exit code, 1 if it can't be printed."""
    try:
        write(f"{text}\n")
    except OutputError as error:
        print(  # noqa: T201 - a command's output
            f"{command}: Standard output can't be written: {error}.", file=sys.stderr
        )
        return 1
    return 0


def is_terminal() -> bool:
    """Tell whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()
