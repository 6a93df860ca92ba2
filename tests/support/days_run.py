"""A run of the random days, and what it may and must do."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.days_world import ACTIVE, FIELD_TAG, OUT, TAG, Contact, status

if TYPE_CHECKING:
    from tests.support.days_world import Person, World
    from tests.support.target_runner import Outcome

_TRIPPED = re.compile(r"Stream '(\w+)', list 1: [^\n]*?guards\.")


@dataclass
class Run:
    """A run of the target: what it was given, and what came of it.

    Attributes:
        sync_mode: Its mode.
        sent: By stream: the people whose records it was given.
        complete: The streams that it was given as complete, and not empty.
        records: How many records it was given.
        before: The account as the run found it, by address.
        outcome: What the process came to.
        after: The account as the run left it.
        imported: How many contacts each of its imports had.
        resync: Whether all profiles were to be sent, changed or not.
        override: Whether `override_once` was given.
        quiet: Whether nothing happened since a run that settled the same source.
        everyone: The people whose records it was given.
        closed: The complete streams that no guard has stopped: those from which people may leave.
        surely_closed: Those from which they must: one whose people are all barred may be said
            to be empty.
    """

    sync_mode: str
    sent: dict[str, list[Person]]
    complete: set[str]
    records: int
    before: dict[str, Contact]
    outcome: Outcome
    after: dict[str, Contact]
    imported: list[int]
    resync: bool = False
    override: bool = False
    quiet: bool = False
    everyone: set[str] = field(init=False)
    closed: set[str] = field(init=False)
    surely_closed: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.everyone = {person.email for people in self.sent.values() for person in people}
        stopped = _TRIPPED.findall(self.outcome.log) if self.tripped else ()
        self.closed = self.complete.difference(stopped)
        self.surely_closed = {
            stream
            for stream in self.closed
            if not all(barred(self, person) for person in self.sent[stream])
        }

    def __str__(self) -> str:
        sent = ", ".join(
            f"{len(people)} of {stream}{'' if stream in self.complete else ' (not complete)'}"
            for stream, people in self.sent.items()
        )
        flags = [
            name
            for name, on in (
                ("full_resync", self.resync),
                ("override_once", self.override),
                ("quiet", self.quiet),
                ("tripped", self.tripped),
            )
            if on
        ]
        return f"{' '.join([self.sync_mode, sent, *flags])} -> {self.outcome.code}"

    @property
    def tripped(self) -> bool:
        """Whether a guard stopped it."""
        return self.outcome.code == 1 and "guards." in self.outcome.log

    @property
    def ended(self) -> bool:
        """Whether it came to its end."""
        return self.outcome.code == 0 or self.tripped

    @property
    def report(self) -> dict[str, Any]:
        """Its report; only for one that came to its end."""
        return self.outcome.report

    def has(self, person: Person) -> bool:
        """Whether someone is in what it was given."""
        return person.email in self.everyone

    def was(self, person: Person) -> int | None:
        """Someone's status on the list before."""
        return status(self.before.get(person.email))

    def now(self, person: Person) -> int | None:
        """Someone's status on the list after."""
        return status(self.after.get(person.email))

    def rejects(self) -> dict[str, set[str]]:
        """By address: the codes with which it refused someone's records."""
        found: dict[str, set[str]] = {}
        for path in self.report["reject_files"].values():
            for line in (self.outcome.folder / path).read_text("utf-8").splitlines():
                message = json.loads(line)
                if message["type"] == "RECORD":
                    address = message["record"]["email"].strip().lower()
                    found.setdefault(address, set()).add(message["record"]["_reject_code"])
        return found


# Who may leave, who must


def may_lose_someone(world: World, run: Run) -> bool:
    """Whether a run may take anyone off: not the first, nor one that isn't complete or stopped."""
    return run.sync_mode == "mirror" and world.ledger.runs > 0 and bool(run.closed)


def must_lose_leavers(world: World, run: Run) -> bool:
    """Whether a run has to take the leavers off."""
    return (
        may_lose_someone(world, run)
        and world.ledger.complete > 0
        and run.outcome.code == 0
        and run.surely_closed == set(world.plan.streams)
    )


def may_leave(world: World, run: Run, person: Person) -> bool:
    """Whether a run may treat someone as having left the segment."""
    elsewhere = person.known_in & person.streams - run.closed - person.missed_by
    return (
        may_lose_someone(world, run)
        and not run.has(person)
        and bool(person.known_in)
        and not elsewhere
    )


def must_leave(world: World, run: Run, person: Person) -> bool:
    """Whether a run must treat someone as having left the segment."""
    return (
        must_lose_leavers(world, run)
        and not run.has(person)
        and person.ours == "yes"
        and run.was(person) == ACTIVE
        and not person.bounced
    )


def barred(run: Run, person: Person) -> bool:
    """Whether the account takes someone no more: opted out, bounced, or off by an unknown hand.

    Also people whom we unsubscribed are barred once the ledger that knew it is lost.
    """
    return person.opted_out or person.bounced or (run.was(person) == OUT and not person.ended)


def passes_for_delivered(world: World, run: Run, person: Person) -> bool:
    """Whether the ledger may take someone's profile for delivered, and the run not send it.

    So it does with a contact that was deleted in ActiveCampaign, until the profile changes or all
    are sent, as with a value that was edited there: it reads no contacts. And `create_only` makes
    no one twice, and what had arrived in a run that was cut off is not sent once more.
    """
    if run.sync_mode == "create_only":
        return person.delivered != {None}
    skips = world.plan.skip_unchanged and not run.resync
    return (skips or world.ledger.cut_off) and person.value in person.delivered


def shows(world: World, contact: Contact | None) -> bool:
    """Whether the account shows someone as in the segment."""
    if contact is None:
        return False
    if world.plan.on_leave == "field":
        return bool(contact["fields"].get(FIELD_TAG) == "true")
    if world.plan.on_leave == "tag":
        return TAG in contact["tags"]
    return status(contact) == ACTIVE
