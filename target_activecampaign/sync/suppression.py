"""Suppression: processes the records of suppression streams.

The ledger stores the people of such records before the records get their outcome. What is not sent
yet of these people is dropped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from target_activecampaign.errors import SuppressionError
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.record import Source
from target_activecampaign.singer.deletions import DELETED
from target_activecampaign.singer.messages import describe_place
from target_activecampaign.sync.order import ReadOrder
from target_activecampaign.sync.routes import NESTED
from target_activecampaign.text import pluralize, quoted_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.singer.messages import Place
    from target_activecampaign.sync.changes import ChangeDetector
    from target_activecampaign.sync.routes import Problem, SuppressionRoute


_FEW = 10
"""Fewer unreadable records than this may be single mistakes among those of earlier runs."""


class CheckedRecord(NamedTuple):
    """A record of a suppression stream after its stream map and checks.

    Attributes:
        record: The record.
        problem: The reason if it can't be used; `DELETED` if it lifts a suppression.
        line: The tap's message.
        place: Its place in the input.
        number: Its number in a change log, if it has one.
    """

    record: Mapping[str, Any]
    problem: Problem
    line: bytes
    place: Place
    number: int | None


class _Read(NamedTuple):
    """A record as it was read.

    Attributes:
        people: The addresses of its people, by contact; None if only the hash is known.
        lifts: Whether the record lifts their suppression.
        refusal: The reason if the record is refused. Its people are suppressed even then, as long
            as they can be read.
        is_outdated: Whether later records of all its people were read before it.
    """

    people: dict[bytes, str | None]
    lifts: bool = False
    refusal: Refusal | None = None
    is_outdated: bool = False


@dataclass
class _Unreadable:
    """A stream of which no record could be read so far.

    Attributes:
        route: Its route.
        held: The hold on STATE, without which a later run might read no record of it.
        count: The number of its records.
    """

    route: SuppressionRoute
    held: int
    count: int = 0


class Suppressor:
    """Suppresses people, and lifts suppressions.

    Args:
        ledger: Stores the suppressed people.
        accounting: Counts the records.
        changes: Holds the contacts that are not sent yet.
    """

    def __init__(
        self, ledger: Ledger, accounting: RecordAccounting, changes: ChangeDetector
    ) -> None:
        self._ledger = ledger
        self._accounting = accounting
        self._changes = changes
        self._order = ReadOrder()
        self._readable: set[str] = set()
        self._unreadable: dict[str, _Unreadable] = {}

    def close(self) -> None:
        """Delete what is remembered of the order of records."""
        self._order.close()

    def take(self, route: SuppressionRoute, records: Sequence[CheckedRecord]) -> None:
        """Suppress the people of records, or lift their suppression.

        The records of a person count in the order of a change log, or else in that of the input.

        Raises:
            Exception: The stream map of a record failed. This ends the run, and nothing is stored.
            LedgerError: The ledger can't be used.
        """
        for one in records:
            if one.problem is not None and not isinstance(one.problem, (str, Refusal)):
                raise one.problem
        read = [self._read(route, one) for one in records]
        self._note_readable(route, read)
        results = self._store(route, records, read)
        route.counter.increment(len(records))
        self._accounting.finished(
            route.name,
            Counter(kind for kind, _ in results.values()),
            Counter(code for _, code in results.values() if code is not None),
        )
        for one, what in zip(records, read, strict=True):
            if what.refusal is not None:
                self._refuse(route, one, what)

    def check_readable(self) -> None:
        """Check that each stream that had records had one that could be read.

        Otherwise it suppresses nobody, and its people would be sent. Only few unreadable records of
        a stream that has suppressed people before, and now has only what is new, are let through.

        Raises:
            SuppressionError: A stream had none.
        """
        for name, one in list(self._unreadable.items()):
            has_others = one.route.is_partial and self._ledger.suppressions.has_source(
                one.route.number
            )
            if one.count >= _FEW or not has_others:
                raise SuppressionError(
                    f"Suppression stream '{name}': none of its records could be read "
                    f"({pluralize(one.count, 'record')}), so it suppresses nobody. No profile that "
                    "waits for it was sent. Have the tap send e-mail addresses, or their SHA-256 "
                    f"as 64 hex digits, in {quoted_list(one.route.mapping.destinations)}. Other "
                    "hashes, such as MD5, can't be used. The records are in the reject file."
                )
            self._release(name)

    def _note_readable(self, route: SuppressionRoute, read: Sequence[_Read]) -> None:
        """Note whether any record of a stream could be read."""
        if route.name in self._readable:
            return
        if any(one.people or one.is_outdated for one in read):
            self._readable.add(route.name)
            self._release(route.name)
        elif count := sum(one.refusal is not None for one in read):
            if route.name not in self._unreadable:
                held = self._accounting.hold_state()
                self._unreadable[route.name] = _Unreadable(route, held)
            self._unreadable[route.name].count += count

    def _release(self, name: str) -> None:
        found = self._unreadable.pop(name, None)
        if found is not None:
            self._accounting.release_state(found.held)

    def _read(self, route: SuppressionRoute, one: CheckedRecord) -> _Read:
        problem = one.problem if isinstance(one.problem, Refusal) else None
        lifts = one.problem is DELETED
        try:
            people = {
                self._ledger.contact_hash_of_sha256(who.sha256): who.key
                for who in route.mapping.people(one.record)
            }
        except (Refusal, RecursionError) as error:
            wrong = error if isinstance(error, Refusal) else NESTED
            return _Read({}, lifts, None if lifts else problem or wrong)
        if one.number is None:
            return _Read(people, lifts, problem)
        latest = {
            contact: key
            for contact, key in people.items()
            if not self._order.is_outdated(route.number, contact, one.number)
        }
        return _Read(latest, lifts, problem, is_outdated=not latest)

    def _store(
        self, route: SuppressionRoute, records: Sequence[CheckedRecord], read: Sequence[_Read]
    ) -> dict[int, tuple[str, str | None]]:
        """Store what records say.

        Args:
            route: Their route.
            records: The records.
            read: The records as they were read.

        Returns:
            The outcome of each record that is not refused, perhaps with a code, by its index.
        """
        number = route.number
        addresses = {contact: key for one in read for contact, key in one.people.items()}
        sources = self._ledger.suppressions.sources(addresses.keys())
        before = {contact for contact, found in sources.items() if number in found}
        now = set(before)
        results: dict[int, tuple[str, str | None]] = {}
        for index, one in enumerate(read):
            contacts = one.people.keys()
            if one.refusal is not None:
                now |= contacts
            elif one.is_outdated:
                results[index] = "skipped", "OUTDATED"
            elif not one.lifts:
                results[index] = "unchanged" if contacts <= now else "added", None
                now |= contacts
            elif contacts & now:
                results[index] = "changed", None
                now -= contacts
            else:
                results[index] = "skipped", "DELETED" if contacts else "DELETED_UNKNOWN"
        # Rows first, in case of a kill: the records would be unchanged when they come again.
        self._add_rows(route, records, read, results)
        # Suppress before lifting: after a kill in between, too many are suppressed, not too few.
        self._suppress(number, {contact: addresses[contact] for contact in now - before})
        self._ledger.suppressions.remove(number, before - now)
        return results

    def _add_rows(
        self,
        route: SuppressionRoute,
        records: Sequence[CheckedRecord],
        read: Sequence[_Read],
        results: Mapping[int, tuple[str, str | None]],
    ) -> None:
        """Store the rows of outcomes, if rows are written."""
        rows = self._accounting.rows
        if rows is None:
            return
        for index, (outcome, code) in results.items():
            if outcome != "unchanged" or rows.wants_unchanged:
                rows.add([self._source(route, records[index], read[index])], outcome, code)
        rows.flush()

    def _source(self, route: SuppressionRoute, one: CheckedRecord, what: _Read) -> Source:
        contact, key = next(iter(what.people.items()), (b"", None))
        return Source(
            route.name,
            route.source,
            one.line,
            self._accounting.epoch,
            next(self._accounting.numbers),
            contact_key=key or "",
            contact_hash=contact,
            read_at=self._ledger.now(),
        )

    def _suppress(self, number: int, contacts: Mapping[bytes, str | None]) -> None:
        if contacts:
            new = self._ledger.suppressions.add(number, contacts)
            self._changes.drop(new)

    def _refuse(self, route: SuppressionRoute, one: CheckedRecord, what: _Read) -> None:
        assert what.refusal is not None  # noqa: S101 - the caller has checked it
        placed = what.refusal.at(describe_place(one.place))
        self._accounting.read(route.name)
        source = self._source(route, one, what)
        self._accounting.refused([source], placed.code, placed.reason, None)
