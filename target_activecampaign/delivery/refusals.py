"""Who is meant when ActiveCampaign refuses an import for some of its contacts.

The refusal names contacts by position. Whether positions count from 0 or from 1 is not
documented; a third party saw 1 [rep]. So a position stands for two contacts until the account
has told. One answer is not enough to know: the import is sent again in another order, and only
if the second answer names the same contacts by one reading is that reading believed.

Even then nobody is refused at once. The other contacts are sent without those that were named;
only when that import is accepted are the named ones known to be at fault. If it is refused too,
the reading may be wrong, and it is proven anew before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_activecampaign.delivery.batches import Entry

Readings = dict[int, frozenset[int]]
"""The contacts (by `id`) that a refusal means, by the number that positions may count from."""

_BASES = (0, 1)


class PositionBase:
    """The number from which an account counts contacts, once it is proven.

    Attributes:
        value: 0, 1, or None while it is not known.
    """

    def __init__(self) -> None:
        self.value: int | None = None


@dataclass
class Finding:
    """What a refusal says of an import's contacts.

    Attributes:
        rejected: The contacts meant, each with ActiveCampaign's reason; empty while not clear.
        others: All other contacts, when it is clear.
        again: When one more question will tell, the contacts in the order to ask in.
        readings: Who would be meant by the refusal, to compare the next answer with.
        contradicted: Whether what was known of the account's counting turned out to be wrong.
    """

    rejected: list[tuple[Entry, str]] = field(default_factory=list)
    others: list[Entry] = field(default_factory=list)
    again: list[Entry] = field(default_factory=list)
    readings: Readings = field(default_factory=dict)
    contradicted: bool = False


def examine(
    entries: list[Entry],
    named: Sequence[tuple[int, str]],
    base: PositionBase,
    *,
    suspected: Readings | None = None,
    doubtful: bool = False,
) -> Finding:
    """Find who is meant by a refusal.

    Args:
        entries: The contacts of the import, in its order.
        named: Positions with the reasons for them.
        base: What is known of the account's counting; it is learnt here, and taken back.
        suspected: Who was meant by the refusal before, if this is the answer to that question.
        doubtful: Whether the reading that is known is to be proven once more.
    """
    places = {one: _places(named, one, len(entries)) for one in _BASES}
    readings = {
        one: frozenset(id(entries[place]) for place in found)
        for one, found in places.items()
        if found
    }
    if len(entries) == 1:
        # Alone it needs no position.
        return _clear(entries, {0: named[0][1] if named else ""}) if readings else Finding()
    known = base.value
    if suspected is not None:
        proven = [one for one, some in readings.items() if suspected.get(one) == some]
        if len(proven) != 1:
            base.value = None
            return Finding(contradicted=known is not None)
        # That all are meant tells nothing of how they are counted.
        if len(readings[proven[0]]) < len(entries):
            base.value = proven[0]
        finding = _clear(entries, places[proven[0]])
        finding.contradicted = known not in (None, proven[0])
        return finding
    if not readings:
        base.value = None if named else known
        return Finding(contradicted=base.value != known)
    everybody = any(len(some) == len(entries) for some in readings.values())
    if known in readings and not doubtful and not everybody:
        return _clear(entries, places[known])
    finding = Finding(again=_reordered(entries, readings), readings=readings)
    if known is not None and known not in readings:
        base.value = None
        finding.contradicted = True
    return finding


def _places(named: Sequence[tuple[int, str]], base: int, count: int) -> dict[int, str]:
    """The places that positions mean if they count from `base`; none if one makes no sense."""
    places = {position - base: reason for position, reason in named}
    return places if all(0 <= place < count for place in places) else {}


def _clear(entries: list[Entry], places: dict[int, str]) -> Finding:
    rejected = [(entries[place], reason) for place, reason in places.items()]
    others = [entry for place, entry in enumerate(entries) if place not in places]
    return Finding(rejected, others)


def _reordered(entries: list[Entry], readings: Readings) -> list[Entry]:
    """The same contacts in an order in which the next refusal can be read one way only.

    Those come first that are meant only if counted from 0, then those meant only if counted
    from 1, then those meant either way. They stay near the front, as a refusal may name but
    the first contact that is at fault. The first of the others leads, so that nobody has the
    place in which they were named, unless nobody is left to lead.
    """
    from_zero, from_one = (readings.get(one, frozenset()) for one in _BASES)

    def rank(entry: Entry) -> int:
        zero, one = id(entry) in from_zero, id(entry) in from_one
        return {(True, False): 0, (False, True): 1, (True, True): 2}.get((zero, one), 3)

    ordered = sorted(entries, key=rank)
    if len(readings) == 1:
        leader = next((place for place, one in enumerate(ordered) if rank(one) == 3), None)  # noqa: PLR2004
        if leader is not None:
            ordered.insert(0, ordered.pop(leader))
    return ordered
