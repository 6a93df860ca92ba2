"""Tables, mostly on standard output: fitted to a terminal, else one greppable line per row."""

from __future__ import annotations

import io
import sys
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

_UNLIMITED = 1_000_000
_GAP = 2
_MIN_LAST_COLUMN = 30


def format_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Collection[str] = (),
    header_when_piped: bool = True,
    folded: Collection[str] = (),
    file: IO[str] | None = None,
) -> str:
    """Return a table as text, without characters that control a terminal.

    On a terminal, some columns are wrapped to fit its width. Elsewhere, each row is one line.

    Args:
        header: The titles of the columns.
        rows: The cells of each row.
        right: Titles of the columns that are aligned to the right.
        header_when_piped: False to leave out the header if the output is not a terminal.
        folded: Titles of the columns that are wrapped; the last one by default.
        file: The output; standard output by default.
    """
    file = file or sys.stdout or io.StringIO()
    terminal = file.isatty()
    table = Table(
        box=None,
        show_header=terminal or header_when_piped,
        padding=(0, _GAP, 0, 0),
        pad_edge=False,
    )
    for title in header:
        wraps = title in folded if folded else title == header[-1]
        table.add_column(
            title,
            justify="right" if title in right else "left",
            no_wrap=not wraps,
            overflow="fold",
            min_width=_MIN_LAST_COLUMN if wraps and terminal and not folded else None,
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(
        file=file,
        width=None if terminal else _UNLIMITED,
        color_system=None,
        highlight=False,
    )
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def printable(text: str) -> str:
    """Return a text with `?` for characters that are not printable: names come from outside."""
    return "".join(one if one.isprintable() else "?" for one in text)
