"""The world of the random days: people, what they do, and the truth about it.

The truth is what no program may get wrong: who wants mail and who doesn't, and whose
subscription is the work of our runs. The account is a sandbox, asked anew whenever it matters,
so only what the account doesn't tell is kept here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.target_runner import record, schema, state

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from tests.support.sandbox_server import SandboxServer

ACTIVE, OUT, BOUNCED = 1, 2, 3
FIELD, FIELD_TAG, TAG = "In segment", "IN_SEGMENT", "segment"
PEOPLE = 25
_NO_ADDRESSES = ("nobody", "someone at example.com")

Contact = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a world has from its first day to its last.

    Attributes:
        sync_mode: The target's setting; so is `on_leave`.
        streams: The streams, all for list 1.
        by_version: Whether the tap ends a complete stream with ACTIVATE_VERSION; otherwise
            the setting `complete_stream` says that it is one.
        upsert_days: So many days pass in the mode `upsert` before `sync_mode` is set.
        max_leave_pct: The guard.
        batch_size_rows: The setting.
        skip_unchanged: Likewise.
        adopt_members: Likewise.
        no_addresses: So many records of a stream are no person's.
        keeps_sdate: Whether the account keeps a membership's `sdate` when it is active again.
    """

    sync_mode: str
    on_leave: str = "unsubscribe"
    streams: tuple[str, ...] = ("profiles",)
    by_version: bool = False
    upsert_days: int = 0
    max_leave_pct: int = 60
    batch_size_rows: int = 250
    skip_unchanged: bool = True
    adopt_members: bool = False
    no_addresses: int = 0
    keeps_sdate: bool = False

    @classmethod
    def drawn(
        cls,
        chance: random.Random,
        sync_mode: str,
        on_leave: str = "unsubscribe",
        sdate: str = "renewed",
    ) -> Plan:
        """A plan by chance, but for its mode and its account's `sdate`: "renewed" or "kept"."""
        return cls(
            sync_mode,
            on_leave,
            streams=chance.choice((("profiles",), ("profiles",), ("profiles", "vip"))),
            by_version=chance.random() < 0.5,
            upsert_days=chance.choice((0, 0, 3)) if sync_mode == "mirror" else 0,
            max_leave_pct=chance.choice((60, 60, 60, 20)),
            batch_size_rows=chance.choice((4, 7, 250)),
            skip_unchanged=chance.random() < 0.9,
            adopt_members=chance.random() < 0.2,
            no_addresses=chance.choice((0, 0, len(_NO_ADDRESSES))),
            keeps_sdate=sdate == "kept",
        )


@dataclass
class Person:
    """Someone, and the truth about them.

    Attributes:
        email: Their address.
        written: The address as the source writes it.
        value: What the source has as their first name.
        streams: The source's streams in which they are.
        opted_out: They unsubscribed by themselves, and have not subscribed by themselves since.
        bounced: Mail to them has bounced.
        ours: Whether their subscription is the work of our runs, as far as the ledger that there
            is can know: "yes", "no", or "perhaps" where both readings are fair. None: no run
            with this ledger has met them on the list or put them there.
        ended: A run of ours ended their subscription, and nothing has happened to it since.
        left: A run of ours ended their subscription, and they have not been active since.
        delivered: What the ledger may take for the latest that was delivered: values, and None
            for nothing that their contact of today has.
        known_in: The streams in which the ledger has them.
        missed_by: The streams whose latest complete run was without them, whatever is true.
        unseen: They opted out or were deleted, and no run has come to its end since.
        story: All that happened to them.
    """

    email: str
    written: str
    value: str
    streams: set[str] = field(default_factory=set)
    opted_out: bool = False
    bounced: bool = False
    ours: str | None = None
    ended: bool = False
    left: bool = False
    delivered: set[str | None] = field(default_factory=lambda: {None})
    known_in: set[str] = field(default_factory=set)
    missed_by: set[str] = field(default_factory=set)
    unseen: bool = False
    story: list[str] = field(default_factory=list)

    def forgotten(self) -> None:
        """The ledger is gone, and what it knew of them."""
        self.ours, self.ended, self.left = None, False, False
        self.delivered, self.known_in, self.missed_by = {None}, set(), set()


@dataclass
class LedgerOfWorld:
    """What the ledger that there is has been through.

    Attributes:
        runs: Runs in the mode `mirror`, also those that did not come to their end.
        complete: Those among them that came to their end with a complete stream.
        sizes: How many people the last complete run may be said to have had.
        override: Whether `override_once` works in the next run: "yes", "no" or "perhaps".
        cut_off: Whether the latest run in any mode did not come to its end.
    """

    runs: int = 0
    complete: int = 0
    sizes: set[int] = field(default_factory=set)
    override: str = "no"
    cut_off: bool = False


class World:
    """People, a source and an account, and what happens to them.

    Args:
        plan: What stays as it is.
        sandbox: The account, empty.
        chance: Where all chance comes from.
    """

    def __init__(self, plan: Plan, sandbox: SandboxServer, chance: random.Random) -> None:
        self.plan = plan
        self.sandbox = sandbox
        self.chance = chance
        self.story: list[str] = [str(plan)]
        self.ledger = LedgerOfWorld()
        self.day = 0
        self._edits = 0
        self.people = {person.email: person for person in map(self._born, range(PEOPLE))}
        self.contacts = sandbox.contacts()

    @property
    def sync_mode(self) -> str:
        """The mode of the day."""
        return "upsert" if self.day <= self.plan.upsert_days else self.plan.sync_mode

    def begin_day(self) -> None:
        """The next day begins."""
        before = self.sync_mode
        self.day += 1
        if self.sync_mode != before:
            marked = self.plan.on_leave in ("field", "tag")  # then something else is delivered
            for person in self.people.values():
                person.delivered = {None} if marked else person.delivered | {None}

    def tell(self, text: str, *people: Person) -> None:
        """Write something down in the world's story, and in those of some people."""
        names = ", ".join(person.email.partition("@")[0] for person in people)
        self.story.append(f"day {self.day}: {f'{names}: ' if people else ''}{text}")
        for person in people:
            person.story.append(f"day {self.day}: {text}")

    # The beginning

    def _born(self, number: int) -> Person:
        """Someone as the first day finds them: most are strangers, some are in the account."""
        email = f"p{number}@example.com"
        person = Person(email, email if number % 6 else f" P{number}@Example.COM ", f"{number} v0")
        if self.chance.random() < 0.6:
            person.streams = self._some_streams()
        known: dict[str, Any] = {"first_name": f"{number} of old", "phone": f"+49 {number}"}
        if number < 6:
            known["lists"] = {"1": ACTIVE}
        elif number < 9:
            pass
        elif number < 11:
            person.opted_out = True
            known["lists"] = {"1": OUT}
        elif number < 12:
            person.bounced = True
            known["bounced"] = True
        else:
            return person
        self.sandbox.prepare({"email": email, **known})
        self.tell(f"is in the account: {known}", person)
        return person

    def _some_streams(self) -> set[str]:
        streams = self.plan.streams
        return set(self.chance.sample(streams, self.chance.randint(1, len(streams))))

    # What happens in the source

    def change(self) -> None:
        """Someone's profile changes."""
        person = self._one(self.people.values())
        number, _, version = person.value.partition(" v")
        person.value = f"{number} v{int(version) + 1}"
        self.tell(f"profile changes to '{person.value}'", person)

    def enter(self) -> None:
        """Someone enters the segment; more often than not someone who was there before."""
        outside = [person for person in self.people.values() if not person.streams]
        back = [person for person in outside if person.ended or person.ours]
        if outside:
            person = self._one(back if back and self.chance.random() < 0.6 else outside)
            person.streams = self._some_streams()
            if len(self.plan.streams) > 1:
                person.delivered |= {None}  # in each stream they are someone else
            self.tell(f"enters {', '.join(sorted(person.streams))}", person)

    def leave(self) -> None:
        """Someone leaves the segment, or with two streams perhaps only one of them."""
        inside = [person for person in self.people.values() if person.streams]
        ours = [person for person in inside if person.ours in ("yes", "perhaps")]
        if inside:
            person = self._one(ours if ours and self.chance.random() < 0.7 else inside)
            gone = self._some_streams() & person.streams or set(person.streams)
            person.streams -= gone
            self.tell(f"leaves {', '.join(sorted(gone))}", person)

    # What happens in the account

    def opt_out(self) -> None:
        """Someone unsubscribes, also someone who isn't active any more.

        Out of a campaign, or without one, as an administrator does it at the person's wish: then
        only the date of the membership's end tells.
        """
        members = self._members(ACTIVE, OUT)
        ended = [person for person in members if person.ended]
        if members:
            person = self._one(ended if ended and self.chance.random() < 0.4 else members)
            how: dict[str, Any] = {"campaign": 5} if self.chance.random() < 0.6 else {}
            self.sandbox.opt_out(person.email, 1, **how)
            person.opted_out, person.ended, person.unseen = True, False, True
            self.tell(f"opts out {how or 'through an administrator'}", person)

    def subscribe(self) -> None:
        """Someone subscribes through a form, whether or not in the segment.

        Not someone who opted out, or whose contact was deleted, since the last run: one who has
        left and come back between two runs looks to the target as if nothing had happened, as
        it reads memberships in bulk, and so only whether someone is active.
        """
        able = [one for one in self.people.values() if not one.unseen and not one.bounced]
        gone = [one for one in able if self._status(one) == OUT]
        person = self._one(gone if gone and self.chance.random() < 0.6 else able)
        was_active = self._status(person) == ACTIVE
        self.sandbox.resubscribe(person.email, 1)
        if not was_active:
            person.ours = "perhaps" if self.plan.adopt_members else "no"
        elif person.ours == "yes":
            person.ours = "perhaps"  # they were subscribed, by us, and now wanted it themselves
        person.opted_out = person.ended = person.left = False
        self.tell(f"subscribes through a form{', being active' if was_active else ''}", person)

    def bounce(self) -> None:
        """Mail to someone bounces."""
        people = [p for p in self._known() if self._status(p) != OUT]
        if people:
            person = self._one(people)
            lists = {"lists": {"1": BOUNCED}} if self._status(person) else {}
            self.sandbox.prepare({"email": person.email, "bounced": True, **lists})
            person.bounced, person.ended = True, False
            self.tell("bounces", person)

    def edit(self) -> None:
        """A contact is edited in ActiveCampaign: a value that is the source's, or another."""
        person = self._one(self._known())
        self._edits += 1
        name = self.chance.choice(("firstName", "firstName", "phone"))
        number = self.contacts[person.email]["id"]
        answer = self.sandbox.call(
            "PUT", f"/api/3/contacts/{number}", json={"contact": {name: f"edit {self._edits}"}}
        )
        assert answer.ok
        self.tell(f"{name} is edited to 'edit {self._edits}'", person)

    def delete(self) -> None:
        """A contact is deleted in ActiveCampaign.

        Not that of someone who opted out: ActiveCampaign's word for it would be gone with it.
        """
        people = [person for person in self._known() if not person.opted_out]
        if people:
            person = self._one(people)
            self.sandbox.delete(person.email)
            person.ended, person.left, person.unseen = False, False, True
            person.delivered |= {None}
            if person.ours == "yes":
                person.ours = "perhaps"  # off the list, by nobody's wish that could be read
            self.tell("is deleted in ActiveCampaign", person)

    def happen(self) -> None:
        """Something of all this happens."""
        events, weights = zip(
            (self.change, 5),
            (self.enter, 6),
            (self.leave, 6),
            (self.opt_out, 4),
            (self.subscribe, 2),
            (self.bounce, 0.3),
            (self.edit, 2),
            (self.delete, 1),
            strict=True,
        )
        self.chance.choices(events, weights)[0]()
        self.contacts = self.sandbox.contacts()

    def _one(self, people: Iterable[Person]) -> Person:
        return self.chance.choice(list(people))

    def _known(self) -> list[Person]:
        """People who are in the account, and have not bounced."""
        return [p for p in self.people.values() if p.email in self.contacts and not p.bounced]

    def _members(self, *statuses: int) -> list[Person]:
        return [person for person in self._known() if self._status(person) in statuses]

    def _status(self, person: Person) -> int | None:
        return status(self.contacts.get(person.email))

    # The source

    def source(self) -> dict[str, list[Person]]:
        """By stream: the people whom the source has today."""
        return {
            stream: [person for person in self.people.values() if stream in person.streams]
            for stream in self.plan.streams
        }

    def messages(
        self, sent: dict[str, list[Person]], complete: Iterable[str]
    ) -> list[dict[str, Any]]:
        """What the tap writes.

        Args:
            sent: By stream: the people whom it has.
            complete: The streams that it writes to their end.
        """
        version = {"version": self.day} if self.plan.by_version else {}
        written: list[dict[str, Any]] = []
        for stream, people in sent.items():
            written.append(schema(stream))
            values = [(person.written, person.value) for person in people]
            if people:
                values += [(text, "No one") for text in _NO_ADDRESSES[: self.plan.no_addresses]]
            written += [{**record(email, stream, first_name=v), **version} for email, v in values]
        if version:
            written += [
                {"type": "ACTIVATE_VERSION", "stream": stream, **version} for stream in complete
            ]
        return [*written, state({"day": self.day})]

    def settings(self, complete: Iterable[str]) -> dict[str, Any]:
        """The settings of the day, as far as they are not those of all runs."""
        plan, complete = self.plan, set(complete)
        settings: dict[str, Any] = {
            "sync_mode": self.sync_mode,
            "on_leave": plan.on_leave,
            "batch_size_rows": plan.batch_size_rows,
            "skip_unchanged": plan.skip_unchanged,
            "adopt_members": plan.adopt_members,
            "guards": {"max_leave_pct": plan.max_leave_pct},
        }
        if plan.on_leave == "field":
            settings["membership_field"] = FIELD
        if plan.on_leave == "tag":
            settings["membership_tag"] = TAG
        if not plan.by_version:
            settings["streams"] = {
                stream: {"complete_stream": stream in complete} for stream in plan.streams
            }
        return settings

    # The ledger

    def lose_ledger(self) -> None:
        """The ledger is gone: nobody who is active is ours any more."""
        self.ledger = LedgerOfWorld()
        for person in self.people.values():
            person.forgotten()
        self.tell("the ledger is gone")


def status(contact: Contact | None) -> int | None:
    """A contact's status on the list; None for none."""
    return contact["lists"].get("1") if contact else None
