"""Running the target on a terminal, and seeing what stands there."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

import pyte

from tests.support.target_runner import lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from tests.support.fork_server import ForkedTargetRunner

_LINES = 60


class Terminal:
    """A run of the target whose standard error, and output if asked for, is a terminal.

    Args:
        load: Whose configuration it runs with.
        columns: The terminal's width.
        output: Whether standard output is the terminal too.
        environment: Variables besides the usual.
        settings: Settings that differ.

    Attributes:
        screen: What stands on the terminal.
        raw: All that was written to it.
    """

    def __init__(
        self,
        load: ForkedTargetRunner,
        *,
        columns: int = 80,
        output: bool = False,
        environment: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self._load = load
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, columns, 0, 0))
        self.screen = pyte.Screen(columns, _LINES)
        self.raw = b""
        self._fed = bytearray()
        end, beginning = os.pipe()
        out: Path = load.folder / "stdout"
        with (
            os.fdopen(end, "rb") as stdin,
            os.fdopen(slave, "wb") as stderr,
            out.open("wb") as stdout,
        ):
            self.pid = load.server.fork(
                load.command(**settings),
                stdin,
                stderr if output else stdout,
                stderr,
                folder=load.folder,
                environment={**os.environ, "TERM": "xterm-256color", **(environment or {})},
            )
        self._input = os.fdopen(beginning, "wb")
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        stream = pyte.ByteStream(self.screen)
        while True:
            try:
                some = os.read(self._master, 1 << 16)
            except OSError:  # nobody has the other end any more
                return
            self.raw += some
            stream.feed(some)

    @property
    def rows(self) -> list[str]:
        """What stands on the terminal, without empty rows; there is always one."""
        return [row.rstrip() for row in self.screen.display if row.strip()] or [""]

    @property
    def text(self) -> str:
        """The same, as if rows had no end."""
        return "".join(self.screen.display)

    def feed(self, messages: Iterable[Mapping[str, Any] | str]) -> None:
        """Write messages to the target's input."""
        data = lines(messages)
        self._fed += data
        self._input.write(data)
        self._input.flush()

    def wait_for(self, condition: Callable[[], object], seconds: float = 20) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "\n".join(self.rows)
            time.sleep(0.02)

    def end_input(self) -> None:
        """Close the target's input."""
        self._input.close()

    def kill(self, number: int = signal.SIGTERM) -> None:
        """Send the target a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for the end; returns the exit code, after a search of all that was printed."""
        self.end_input()
        code = self._load.server.wait(self.pid, timeout=60)
        self._reading.join(timeout=10)
        os.close(self._master)
        self._load.searched(self.raw.decode(), bytes(self._fed))
        return code
