"""The progress of a tap's stream, and the result of a mirror's run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class StreamProgress:
    """The messages of a tap's stream so far, to know whether it is complete.

    Taps also send an ACTIVATE_VERSION before the first record of an initial load. It does not
    complete the stream, and neither does one with another version than the records.

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
        """Count records of one version."""
        self.records += count
        self.version = None if version is None else str(version)
        self.ended = False

    def activate(self, version: object) -> None:
        """Handle an ACTIVATE_VERSION message."""
        self.ended = self.records > 0 and self.version in (None, str(version))


@dataclass
class Outcome:
    """The result of a mirror's removals.

    Attributes:
        kind: `left`, or the reason for no removal: `incomplete`, `empty`, `first run`, `guard`.
        people: Contacts in the sync.
        left: Contacts that were removed.
        not_left: Removals that ActiveCampaign rejected.
        held_back: Removals that a guard prevented.
        not_ours: Contacts missing from the stream that stay, as the target did not add them or
            they subscribed again by themselves.
        problem: The guard's text.
        is_complete: Whether the stream had everyone.
        may_remove: Whether contacts may be removed.
        counts_absent: Whether those that are missing from the stream are.
        drift: With `leave_when` `both`, after a complete stream: contacts that were `missing` from
            it although no record of theirs was marked as deleted, and rows that `returned`
            although one was.
    """

    kind: str
    people: int = 0
    left: int = 0
    not_left: int = 0
    held_back: int = 0
    not_ours: int = 0
    problem: str | None = None
    is_complete: bool = False
    may_remove: bool = False
    counts_absent: bool = False
    drift: dict[str, int] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what the report shows."""
        shown = asdict(self)
        for name in ("is_complete", "may_remove", "counts_absent"):
            del shown[name]
        if self.drift is None:
            del shown["drift"]
        return shown


@dataclass
class ConsentCounts:
    """The numbers of contacts whose person has not consented or is suppressed.

    Attributes:
        unsubscribed: Contacts that were unsubscribed.
        held_back: Contacts that were not unsubscribed, because a guard tripped.
    """

    unsubscribed: int = 0
    held_back: int = 0


@dataclass
class IdentityCounts:
    """Counts of source rows whose person has another address.

    Attributes:
        renamed: Rows whose contact was renamed.
        address_taken: Rows whose new address is another contact's, which they now go to.
        shared_address: Rows that have come to share the contact of another row.
        rename_refused: Rows whose contact ActiveCampaign did not rename.
        held_back: Rows whose contact was not renamed because a guard tripped.
    """

    renamed: int = 0
    address_taken: int = 0
    shared_address: int = 0
    rename_refused: int = 0
    held_back: int = 0
