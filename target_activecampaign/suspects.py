"""Who is meant when ActiveCampaign refuses an import for some of its contacts.

The refusal names contacts by position, and it is not known whether positions count from 0
or from 1: the documentation does not say, a third party saw 1. So a position stands for two
contacts until the account itself has told. It tells in one more request: with one reading's
contacts at the front and the other's at the end of the import, the next refusal can only be
read one way. From then on every refusal of the run is clear at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_activecampaign.packer import Entry


class IndexBase:
    """The number from which an account counts contacts, once it is known.

    Attributes:
        value: 0, 1, or None while it is not known.
    """

    def __init__(self) -> None:
        self.value: int | None = None

    def learn(self, positions: Sequence[int], count: int) -> None:
        """See whether the positions of a refusal of `count` contacts can be read only one way."""
        if self.value is None:
            if 0 in positions:
                self.value = 0
            elif count in positions:
                self.value = 1


class Suspects:
    """A refused import, taken apart.

    Attributes:
        guilty: The contacts meant, each with ActiveCampaign's reason; None while not clear.
        others: All other contacts, when it is clear.
        reordered: When it is not clear, the import in an order that will tell; None when
            the positions make no sense.
    """

    def __init__(
        self, entries: list[Entry], named: Sequence[tuple[int, str]], base: IndexBase
    ) -> None:
        count = len(entries)
        reasons = dict(named)
        base.learn(list(reasons), count)
        self.guilty: list[tuple[Entry, str]] | None = None
        self.others: list[Entry] = []
        self.reordered: list[Entry] | None = None
        if base.value is not None:
            places = {position - base.value: reason for position, reason in reasons.items()}
            if all(0 <= place < count for place in places):
                self.guilty = [(entries[place], reason) for place, reason in places.items()]
                self.others = [entry for i, entry in enumerate(entries) if i not in places]
            return
        if all(1 <= position < count for position in reasons):
            self.reordered = _reordered(entries, set(reasons))


def _reordered(entries: list[Entry], positions: set[int]) -> list[Entry]:
    """Those meant if counted from 0 first, those meant if counted from 1 last.

    If a run of positions meets itself (5 and 6 mean 5, 6 or 4, 5) only the ends differ:
    whoever is meant only if counted from 0 leads, whoever only if counted from 1 closes.
    """
    from_zero = positions - {position - 1 for position in positions}
    from_one = {position - 1 for position in positions} - positions
    ends = from_zero | from_one
    middle = [entry for i, entry in enumerate(entries) if i not in ends]
    return [
        *(entries[i] for i in sorted(from_zero)),
        *middle,
        *(entries[i] for i in sorted(from_one)),
    ]
