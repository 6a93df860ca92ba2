"""The commands `suppress` and `unsuppress`: people by their address or its SHA-256, one a line."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.suppressed import read_person

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_activecampaign.ledger.suppression_editor import SuppressionEditor
    from target_activecampaign.model.suppressed import SuppressedPerson

_CHUNK = 1000
_MAX_LINE_BYTES = 4096
_MAX_SHOWN = 20


@dataclass
class PeopleInput:
    """People on standard input.

    Attributes:
        count: The number of people so far.
        invalid: The number of lines so far that are neither an address nor a SHA-256.
        lines: The numbers of the first of these.
    """

    count: int = 0
    invalid: int = 0
    lines: list[int] = field(default_factory=list)

    def read(self) -> Iterator[list[SuppressedPerson]]:
        """Yield the people, some at a time. Blank lines are ignored."""
        some: list[SuppressedPerson] = []
        for number, line in enumerate(_lines(), 1):
            text = line.decode("utf-8", "replace").removeprefix("\ufeff").strip()
            try:
                some += [read_person(text)] if text else []
            except Refusal:
                self.invalid += 1
                self.lines += [number] if len(self.lines) < _MAX_SHOWN else []
            if len(some) >= _CHUNK:
                self.count += len(some)
                yield some
                some = []
        self.count += len(some)
        if some:
            yield some

    def describe_invalid(self) -> str:
        """Return the invalid lines by their numbers: they may hold personal data."""
        shown = ", ".join(map(str, self.lines))
        more = self.invalid - len(self.lines)
        rest = f" and {more:,} more" if more else ""
        return f"Not an e-mail address and not a SHA-256 (64 hex digits): line {shown}{rest}."


def _lines() -> Iterator[bytes]:
    """Yield the lines of standard input. One that is too long for an address is cut."""
    source = sys.stdin.buffer
    while line := source.readline(_MAX_LINE_BYTES):
        rest = line
        while len(rest) == _MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = source.readline(_MAX_LINE_BYTES)
        yield line


def suppress(editor: SuppressionEditor, people: PeopleInput) -> str:
    """Suppress the people, and return what was done."""
    new = sum(editor.suppress(some) for some in people.read())
    return (
        f"Suppressed for {editor.connection}: {new:,} new, {people.count - new:,} known already, "
        f"{people.invalid:,} invalid. Those who are active on a list are unsubscribed by the next "
        "run that loads it."
    )


def lift(editor: SuppressionEditor, people: PeopleInput) -> str:
    """Lift the suppression of the people, and return what was done."""
    lifted = sum(editor.lift(some) for some in people.read())
    return (
        f"No longer suppressed for {editor.connection}: {lifted:,}. Not suppressed before: "
        f"{people.count - lifted:,}. Invalid: {people.invalid:,}. If a suppression stream still "
        "has these people, the next run suppresses them again."
    )
