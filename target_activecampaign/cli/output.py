"""Tables on standard output: fitted to a terminal, else one greppable line per row."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from target_activecampaign.storage import output

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
) -> str:
    """Return a table as text, without characters that control a terminal.

    On a terminal, the last column is wrapped to fit its width. Elsewhere, each row is one line.

    Args:
        header: The titles of the columns.
        rows: The cells of each row.
        right: Titles of the columns that are aligned to the right.
        header_when_piped: False to leave out the header if the output is not a terminal.
    """
    terminal = output.is_terminal()
    table = Table(
        box=None,
        show_header=terminal or header_when_piped,
        padding=(0, _GAP, 0, 0),
        pad_edge=False,
    )
    for title in header:
        last = title == header[-1]
        table.add_column(
            title,
            justify="right" if title in right else "left",
            no_wrap=not last,
            overflow="fold",
            min_width=_MIN_LAST_COLUMN if last and terminal else None,
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(
        file=sys.stdout or io.StringIO(),
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
