"""How far a stream has come, and whether it was complete."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class StreamProgress:
    """How far a stream has come by its messages, to know whether it was complete.

    An ACTIVATE_VERSION before the first record is what taps send at an initial load, and one
    for another version than the records' is not about them: neither completes anything.

    Attributes:
        records: How many have come.
        partial: Whether it is a reject file, which holds some of a stream whatever else it says.
        version: That of the last one.
        ended: Whether it was said that none is to come.
    """

    records: int = 0
    partial: bool = False
    version: str | None = None
    ended: bool = False

    def record(self, version: object = None) -> None:
        """A record has come."""
        self.records += 1
        self.version = None if version is None else str(version)
        self.ended = False

    def took(self, records: int) -> None:
        """Records of the same version as the last have come."""
        self.records += records
        self.ended = False

    def activate(self, version: object) -> None:
        """An ACTIVATE_VERSION message has come."""
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
