"""The progress of a tap's stream, and the result of a mirror's run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class StreamProgress:
    """The messages of a tap's stream so far, to know whether it is complete.

    Taps send an ACTIVATE_VERSION before the first record of an initial load. It completes nothing,
    nor does one for another version than the records'.

    Attributes:
        records: The number of records so far.
        partial: Whether it is a reject file, which never holds the whole stream.
        version: The version of the last record.
        ended: Whether an ACTIVATE_VERSION has completed it.
    """

    records: int = 0
    partial: bool = False
    version: str | None = None
    ended: bool = False

    def add_records(self, count: int, version: object = None) -> None:
        """Take records of one version that have come."""
        self.records += count
        self.version = None if version is None else str(version)
        self.ended = False

    def activate(self, version: object) -> None:
        """Take an ACTIVATE_VERSION message."""
        self.ended = self.records > 0 and self.version in (None, str(version))


@dataclass
class Outcome:
    """What became of a mirror's leavers.

    Attributes:
        kind: `left`, or why nobody was to leave: `incomplete`, `empty`, `first run`, `guard`.
        people: People whom the pass has had.
        left: People who have left.
        not_left: Leavers whom ActiveCampaign has not let go.
        held_back: Leavers whom a guard has kept from leaving.
        not_ours: People who are no longer in the stream and stay, as they were not added by us.
        problem: What a guard says.
    """

    kind: str
    people: int = 0
    left: int = 0
    not_left: int = 0
    held_back: int = 0
    not_ours: int = 0
    problem: str | None = None
