"""`target-activecampaign --test`: how what was checked is shown."""

from __future__ import annotations

import json
import shutil
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING

from target_activecampaign.cli.check import FAILED, OK
from target_activecampaign.storage import output

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence

    from target_activecampaign.cli.check import Check

_GAP = "  "
_NARROWEST = 30
"""Columns that the last column has at least."""


def show(checks: Sequence[Check], form: str | None) -> int:
    """Print what was checked; returns the exit code, 1 if something failed.

    Args:
        checks: The checks.
        form: `json`, or None for people: a table on a terminal, else a line a check.
    """
    failed = any(one.result == FAILED for one in checks)
    if form == "json":
        found = {"ok": not failed, "checks": [asdict(one) for one in checks]}
        text = json.dumps(found, indent=2, ensure_ascii=False)
    else:
        text = _table(checks, shutil.get_terminal_size().columns if output.is_terminal() else None)
    return output.show(text, "target-activecampaign") or int(failed)


def tell_meltano(checks: Sequence[Check], logger: logging.Logger) -> int:
    """Tell `meltano config test` what was checked; returns the exit code, 1 if something failed.

    Meltano looks for the words "error" and "exception" in what is printed, and shows the last
    line. So if all is well, nothing that comes from the account or the settings is printed.
    """
    failed = [one for one in checks if one.result == FAILED]
    for one in failed:
        logger.error("The check '%s' failed: %s", one.name, _printable(one.found))
    if not failed:
        fine = ", ".join(one.name for one in checks if one.result == OK)
        logger.info("Meltano's test: nothing was sent. Ready for a run; ok are: %s.", fine)
    return 1 if failed else 0


def _table(checks: Sequence[Check], width: int | None) -> str:
    """The checks in columns; on a terminal of a width with a head, and broken to fit it."""
    rows = [tuple(map(_printable, (one.name, one.result, one.found))) for one in checks]
    if width is not None:
        rows.insert(0, ("check", "result", "what was found"))
    names, results = (max(len(row[column]) for row in rows) for column in (0, 1))
    starts = [f"{name:<{names}}{_GAP}{result:<{results}}{_GAP}" for name, result, _ in rows]
    if width is None:
        return "\n".join(start + row[2] for start, row in zip(starts, rows, strict=True))
    rest = max(_NARROWEST, width - len(starts[0]))
    lines = [
        f"{start if number == 0 else ' ' * len(start)}{part}"
        for start, row in zip(starts, rows, strict=True)
        for number, part in enumerate(textwrap.wrap(row[2], rest, break_on_hyphens=False))
    ]
    lines.insert(1, "-" * (len(starts[0]) + rest))
    return "\n".join(lines)


def _printable(text: str) -> str:
    """A text without what would steer a terminal: names come from the account."""
    return "".join(one if one.isprintable() else "?" for one in text)
