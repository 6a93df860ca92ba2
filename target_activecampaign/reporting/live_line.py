"""The line on a terminal that shows how far a run has come, below what is logged meanwhile."""

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
    """A line at the bottom of standard error, which is a terminal.

    What is written to standard error meanwhile, by handlers of the log too, comes to stand above
    it as it is; likewise what is written to standard output where that is the same terminal.
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
        self._above: list[_Above] = []

    def start(self) -> None:
        """Show the line, still without figures."""
        sys.stderr = self._put_above(self._stderr)
        if _same_file(self._stdout, self._stderr):
            sys.stdout = self._put_above(self._stdout)
        _let_handlers_write(self._stderr, sys.stderr)
        self._live.start()

    def _put_above(self, stream: TextIO) -> Any:
        self._above.append(_Above(stream, self._console))
        return self._above[-1]

    def show(self, parts: Sequence[str]) -> None:
        """Show parts of a sentence, broken between them where the terminal is narrow."""
        self._measure()
        width, margin = self._console.width, " " * _SPINNER_WIDTH
        fits = _SPINNER_WIDTH + max(map(len, parts)) <= width
        line = " ".join(part.replace(" ", _NO_BREAK) if fits else part for part in parts)
        text = textwrap.fill(line, width, initial_indent=margin, subsequent_indent=margin)
        self._spinner.update(text=Text(text.strip().replace(_NO_BREAK, " ")))
        # A terminal that is gone is no reason to end a run.
        with suppress(OSError):
            self._live.refresh()

    def _measure(self) -> None:
        """Take the terminal's size as it is now, whatever `COLUMNS` was when the run began."""
        with suppress(OSError):
            columns, rows = os.get_terminal_size(self._stderr.fileno())
            if columns and rows:
                self._console.size = ConsoleDimensions(columns, rows)

    def end(self) -> None:
        """Take the line away, and let everything be written as before."""
        with suppress(OSError):
            self._live.stop()
        _let_handlers_write(sys.stderr, self._stderr)
        sys.stderr, sys.stdout = self._stderr, self._stdout
        for above in self._above:
            above.write_rest()


class _Above:
    """A stream whose lines come to stand above the live line.

    Args:
        stream: What it stands for; all but writing is its own.
        console: Where the line is.
    """

    def __init__(self, stream: TextIO, console: Console) -> None:
        self._stream = stream
        self._console = console
        self._lock = threading.RLock()
        self._rest = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text; what comes after its last newline waits for the next."""
        with self._lock:
            lines, newline, rest = text.rpartition("\n")
            if newline:
                self._console.out(self._rest + lines, highlight=False)
                self._rest = ""
            self._rest += rest
        return len(text)

    def write_rest(self) -> None:
        """Write what still waits to the stream itself."""
        self._stream.write(self._rest)
        self._stream.flush()


def _same_file(one: TextIO, other: TextIO) -> bool:
    with suppress(AttributeError, OSError, ValueError):
        return os.path.sameopenfile(one.fileno(), other.fileno())
    return False


def _let_handlers_write(instead_of: Any, stream: Any) -> None:
    """Let all handlers of the log that write to a stream write to another."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    for one in loggers:
        for handler in one.handlers if isinstance(one, logging.Logger) else ():
            if isinstance(handler, logging.StreamHandler) and handler.stream is instead_of:
                handler.setStream(stream)
