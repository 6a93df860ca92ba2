"""The protocol of a place for rows of outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from target_activecampaign.outcomes.rows import Row


class EarlierRow(NamedTuple):
    """A row of a run that was cut off.

    Attributes:
        record_hash: The hash of its record.
        id: The row's id.
        outcome: The record's outcome.
    """

    record_hash: str
    id: str
    outcome: str


class OutcomeStore(Protocol):
    """A place for rows of outcomes. All methods raise `OutcomesError`.

    Only one thread at a time may use it.
    """

    def prepare(self) -> None:
        """Create the tables or the folder, or bring tables up to date."""

    def begin_run(self, run: Mapping[str, Any]) -> None:
        """Store that a run has begun, given the columns of its row."""

    def rows_of(self, runs: Collection[str]) -> Iterator[EarlierRow]:
        """Yield the rows of runs that were cut off. A line that was cut off is removed."""

    def close_runs(self, runs: Collection[str], at: datetime) -> None:
        """Store that runs were interrupted, unless they have stored their end."""

    def write(self, rows: Sequence[Row]) -> None:
        """Store rows for good. A row with the id of an earlier one replaces it."""

    def recount(self, runs: Collection[str]) -> None:
        """Set the counts of runs that were cut off to those of their rows."""

    def end_run(self, run: Mapping[str, Any]) -> None:
        """Store the end of a run, given all columns of its row."""

    def prune(self, before: datetime) -> None:
        """Delete the runs that started before a time, with their rows."""

    def close(self) -> None:
        """Close the place."""
