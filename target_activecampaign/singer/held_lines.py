"""Lines of the input that wait, in an anonymous temporary file: memory does not grow with them.

The file has no name, so nothing is left of it when the process ends, however that happens.
"""

from __future__ import annotations

import struct
import tempfile
from typing import IO, TYPE_CHECKING

from target_activecampaign.errors import HeldInputError
from target_activecampaign.storage import private_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEAD = struct.Struct("<QQ")
"""The number of the first line, and the size of the lines with a newline between them."""


class HeldLines:
    """Lines in the order in which they were added. All methods raise `HeldInputError`."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None

    def __bool__(self) -> bool:
        """Return whether any line waits."""
        return self._file is not None

    def add(self, number: int, lines: Sequence[bytes]) -> None:
        """Add consecutive lines, none of which has a newline.

        Args:
            number: The number of the first in the input.
            lines: The lines.
        """
        text = b"\n".join(lines)
        try:
            if self._file is None:
                # Without a name, or removed at once; only this user may read it.
                self._file = tempfile.TemporaryFile(buffering=1 << 20)  # noqa: SIM115
            self._file.write(_HEAD.pack(number, len(text)))
            self._file.write(text)
        except OSError as error:
            raise _cannot("written", error) from None

    def take(self) -> Iterator[tuple[int, list[bytes]]]:
        """Yield the lines, consecutive ones together, each with the number of the first."""
        file, self._file = self._file, None
        if file is None:
            return
        with file:
            try:
                file.seek(0)
                while head := file.read(_HEAD.size):
                    number, size = _HEAD.unpack(head)
                    yield number, file.read(size).split(b"\n")
            except OSError as error:
                raise _cannot("read", error) from None

    def close(self) -> None:
        """Drop the lines."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _cannot(what: str, error: OSError) -> HeldInputError:
    return HeldInputError(
        "Profiles came before the people who must never be sent, so they wait in a temporary file. "
        f"It can't be {what}: {private_files.reason(error)}. Free space in the folder for "
        "temporary files (TMPDIR), or have the tap send the suppression streams first."
    )
