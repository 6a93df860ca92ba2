"""Find the contacts that caused the refusal of an import.

A refusal names contacts by position. The documentation does not say whether positions count from 0
or from 1; a third party saw 1 [rep]. This number is called the base. While it is unknown, a
position p may mean the contact at index p or at index p-1. Both are sent alone, and the one that is
refused shows the base.

With a known base, the other contacts are sent without the named ones. If that import is accepted,
the named contacts are rejected. If it is refused too, the base may be wrong, and is checked again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from target_activecampaign.delivery.batches import Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_activecampaign.delivery.batches import Batch, Entry
    from target_activecampaign.delivery.contradictions import Contradictions

_BASES = (0, 1)
_REFUSED_WHOLE = "The whole import was refused."


@dataclass
class NextStep:
    """The next step after an answer to an import.

    Attributes:
        rejected: Contacts to reject.
        send: Imports to send.
        is_unclear: Whether all contacts that were sent alone were refused, which says nothing
            about the base.
    """

    rejected: list[Rejected] = field(default_factory=list)
    send: list[Batch] = field(default_factory=list)
    is_unclear: bool = False


class RefusedImport:
    """An import that was refused, and the contacts that the refusal may mean.

    Args:
        batch: The import.
        named: Positions, each with the reason.

    Attributes:
        batch: The import.
        readings: The indexes of the named contacts, with the reasons, by base. A base by which a
            position would be out of range is left out.
        alone: The contact that is sent alone, by base.
        answers: Whether that contact was refused, by base; only bases that have an answer.
    """

    def __init__(self, batch: Batch, named: Sequence[tuple[int, str]]) -> None:
        self.batch = batch
        self.readings: dict[int, dict[int, str]] = {}
        self.alone: dict[int, Entry] = {}
        self.answers: dict[int, bool] = {}
        for base in _BASES:
            indexes = {position - base: reason for position, reason in named}
            if indexes and all(0 <= one < len(batch.entries) for one in indexes):
                self.readings[base] = indexes

    def means_all(self) -> bool:
        """Return whether the refusal names every contact."""
        return any(len(one) == len(self.batch.entries) for one in self.readings.values())

    def send_alone(self) -> list[Batch]:
        """Return an import of a single contact for each base: one that only this base names."""
        for base, indexes in self.readings.items():
            # Base 0 names later contacts than base 1, so take its last one, and base 1's first.
            index = max(indexes) if base == 0 else min(indexes)
            self.alone[base] = self.batch.entries[index]
        return [self.batch.of([entry]) for entry in self.alone.values()]

    def answer(self, entry: Entry, *, is_refused: bool) -> None:
        """Store the answer to a contact that was sent alone."""
        base = next(base for base, one in self.alone.items() if one is entry)
        self.answers[base] = is_refused

    @property
    def is_answered(self) -> bool:
        """True if all contacts that were sent alone are answered."""
        return self.answers.keys() == self.alone.keys()

    @property
    def refused_bases(self) -> list[int]:
        """The bases whose contact was refused alone."""
        return [base for base, is_refused in self.answers.items() if is_refused]

    def rejected(self, base: int) -> list[Rejected]:
        """Return the contacts that a base names, without those that were sent alone."""
        entries = self.batch.entries
        meant = [(entries[index], reason) for index, reason in self.readings[base].items()]
        return [Rejected(self.batch, *one) for one in meant if not self._is_alone(one[0])]

    def others(self, rejected: Sequence[Rejected] = ()) -> list[Entry]:
        """Return the contacts that were not sent alone, without the rejected ones."""
        left_out = {id(one.entry) for one in rejected}
        return [
            one for one in self.batch.entries if id(one) not in left_out and not self._is_alone(one)
        ]

    def _is_alone(self, entry: Entry) -> bool:
        return any(one is entry for one in self.alone.values())


class RefusalReader:
    """Finds the contacts that cause refusals.

    Args:
        contradictions: Counts refusals that contradict each other.
        position_base: What is known of it at the start.

    Attributes:
        position_base: The position of an import's first contact, 0 or 1; None while unknown.
    """

    def __init__(self, contradictions: Contradictions, position_base: int | None = None) -> None:
        self._contradictions = contradictions
        self._sent_alone: dict[str, RefusedImport] = {}
        self.position_base = position_base

    def is_sent_alone(self, batch: Batch) -> bool:
        """Return whether an import is a contact sent alone to learn the base."""
        return batch.entries[0].key in self._sent_alone

    def refused(self, batch: Batch, named: Sequence[tuple[int, str]]) -> NextStep:
        """Return what to do after an import was refused.

        Args:
            batch: The import.
            named: The positions that the refusal names, each with the reason.
        """
        if len(batch.entries) == 1:
            # A contact sent alone needs no position.
            entry, reason = batch.entries[0], named[0][1] if named else _REFUSED_WHOLE
            step = self._answered(entry, is_refused=True)
            step.rejected.insert(0, Rejected(batch, entry, reason))
            if batch.accused and batch.is_base_checked:
                step.rejected[:0] = batch.accused
            elif batch.accused:
                step.send.append(batch.of(batch.accused_entries))
            return step
        refused = RefusedImport(batch, named)
        if named and self.position_base not in (None, *refused.readings):
            self._take_base_back(batch)
            if batch.accused:
                return NextStep(send=[batch.of([*batch.accused_entries, *batch.entries])])
        if not refused.readings:
            return NextStep(send=halves(batch, [*batch.accused_entries, *batch.entries]))
        base = self.position_base
        is_doubted = bool(batch.accused) and not batch.is_base_checked
        if base is not None and not is_doubted and not refused.means_all():
            return _without_rejected(refused, base, batch.accused)
        step = NextStep(send=refused.send_alone())
        self._sent_alone.update({one.key: refused for one in refused.alone.values()})
        return step

    def accepted(self, batch: Batch) -> NextStep:
        """Return what to do after an import was accepted."""
        if len(batch.entries) == 1:
            step = self._answered(batch.entries[0], is_refused=False)
        else:
            step = NextStep()
        # The import was accepted without the accused contacts, so they are at fault.
        step.rejected[:0], batch.accused = batch.accused, []
        return step

    def _answered(self, entry: Entry, *, is_refused: bool) -> NextStep:
        """Store the answer to a single contact. The last one of those sent alone shows the base."""
        refused = self._sent_alone.pop(entry.key, None)
        if refused is None:
            return NextStep()
        refused.answer(entry, is_refused=is_refused)
        return self._concluded(refused) if refused.is_answered else NextStep()

    def _concluded(self, refused: RefusedImport) -> NextStep:
        """Return what to do once all contacts that were sent alone have an answer."""
        batch, bases = refused.batch, refused.refused_bases
        accused, others = batch.accused_entries, refused.others()
        if not bases:
            self.position_base = None
            self._contradictions.add(
                "POSITIONS",
                f"An import of {len(batch.entries)} contacts was refused, but the contacts "
                "that it may name were accepted alone. No contact was rejected for it.",
            )
            return NextStep(send=halves(batch, [*accused, *others]))
        if len(bases) > 1:
            # Both contacts are at fault, which shows no base. The accused are sent once more: the
            # base that accused them may be wrong.
            rest = [*accused, *others]
            return NextStep(send=[batch.of(rest)] if rest else [], is_unclear=True)
        (base,) = bases
        is_contradiction = self.position_base not in (None, base)
        if is_contradiction:
            self._take_base_back(batch)
        if not refused.means_all():
            # If every contact is named, a refusal of a single one shows no base.
            self.position_base = base
        if is_contradiction:
            step = _without_rejected(refused, base, [], accused)
        else:
            step = _without_rejected(refused, base, batch.accused)
        for one in step.send:
            one.is_base_checked = True
        return step

    def _take_base_back(self, batch: Batch) -> None:
        self.position_base = None
        self._contradictions.add(
            "POSITIONS",
            f"The refusal of an import of {len(batch.entries)} contacts contradicts the "
            "positions in earlier refusals. No contact was rejected for it.",
        )


def _without_rejected(
    refused: RefusedImport,
    base: int,
    accused: Sequence[Rejected],
    acquitted: Sequence[Entry] = (),
) -> NextStep:
    """Return an import of the contacts that a refusal does not name.

    Args:
        refused: The import that was refused.
        base: The base of its positions.
        accused: Contacts that earlier refusals named.
        acquitted: Contacts that were accused by a wrong base.
    """
    batch = refused.batch
    # All count as refused with the first import, which had all of them.
    first = accused[0].batch if accused else batch
    rejected = [one._replace(batch=first) for one in refused.rejected(base)]
    others = [*acquitted, *refused.others(rejected)]
    rejected[:0] = accused
    if not others:
        return NextStep(rejected=rejected)
    rest = batch.of(others)
    rest.accused, rest.is_base_checked = rejected, batch.is_base_checked
    return NextStep(send=[rest])


def halves(batch: Batch, entries: Sequence[Entry]) -> list[Batch]:
    """Return contacts of an import in two halves, or in one import if there is just one."""
    middle = (len(entries) + 1) // 2
    return [batch.of(list(some)) for some in (entries[:middle], entries[middle:]) if some]
