"""A line on a terminal that shows progress below the log."""

from __future__ import annotations

import logging
import os
import sys
import textwrap
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, ConsoleDimensions
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_BREAK = "\N{NO-BREAK SPACE}"
_SPINNER_WIDTH = 2


class LiveLine:
    """A line at the bottom of standard error, which must be a terminal.

    Everything else that is written to standard error, also by the log, appears above it. So does
    standard output if it is the same terminal.
    """

    def __init__(self) -> None:
        self._stderr, self._stdout = sys.stderr, sys.stdout
        self._console = Console(file=self._stderr, force_terminal=True, force_interactive=True)
        unicode = self._console.encoding.lower().startswith("utf")
        self._spinner = Spinner("dots" if unicode else "line")
        self._live = Live(
            self._spinner,
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._redirected: list[_LinesAbove] = []

    def start(self) -> None:
        """Show the line, without figures yet."""
        sys.stderr = self._redirect(self._stderr)
        if _same_file(self._stdout, self._stderr):
            sys.stdout = self._redirect(self._stdout)
        _replace_in_handlers(self._stderr, sys.stderr)
        self._live.start()

    def _redirect(self, stream: TextIO) -> Any:
        self._redirected.append(_LinesAbove(stream, self._console))
        return self._redirected[-1]

    def show(self, parts: Sequence[str]) -> None:
        """Show a sentence, with line breaks only between its parts if possible."""
        self._measure()
        width, margin = self._console.width, " " * _SPINNER_WIDTH
        fits = _SPINNER_WIDTH + max(map(len, parts)) <= width
        line = " ".join(part.replace(" ", _NO_BREAK) if fits else part for part in parts)
        text = textwrap.fill(line, width, initial_indent=margin, subsequent_indent=margin)
        self._spinner.update(text=Text(text.strip().replace(_NO_BREAK, " ")))
        # The run goes on if the terminal is gone.
        with suppress(OSError):
            self._live.refresh()

    def _measure(self) -> None:
        """Read the current size of the terminal: rich would use `COLUMNS` from the start."""
        with suppress(OSError):
            columns, rows = os.get_terminal_size(self._stderr.fileno())
            if columns and rows:
                self._console.size = ConsoleDimensions(columns, rows)

    def end(self) -> None:
        """Remove the line, and restore standard output and error."""
        with suppress(OSError):
            self._live.stop()
        _replace_in_handlers(sys.stderr, self._stderr)
        sys.stderr, sys.stdout = self._stderr, self._stdout
        for stream in self._redirected:
            stream.write_rest()


class _LinesAbove:
    """A stream whose lines are printed above the live line.

    Args:
        stream: The original stream; everything except writing is passed on to it.
        console: The console that shows the live line.
    """

    def __init__(self, stream: TextIO, console: Console) -> None:
        self._stream = stream
        self._console = console
        self._lock = threading.RLock()
        self._rest = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the complete lines of a text; keep the rest until it is complete."""
        with self._lock:
            lines, newline, rest = text.rpartition("\n")
            if newline:
                self._console.out(self._rest + lines, highlight=False)
                self._rest = ""
            self._rest += rest
        return len(text)

    def write_rest(self) -> None:
        """Write the incomplete last line to the original stream."""
        self._stream.write(self._rest)
        self._stream.flush()


def _same_file(one: TextIO, other: TextIO) -> bool:
    with suppress(AttributeError, OSError, ValueError):
        return os.path.sameopenfile(one.fileno(), other.fileno())
    return False


def _replace_in_handlers(old: Any, new: Any) -> None:
    """Let all log handlers that write to the stream `old` write to `new`."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    for one in loggers:
        for handler in one.handlers if isinstance(one, logging.Logger) else ():
            if isinstance(handler, logging.StreamHandler) and handler.stream is old:
                handler.setStream(new)
