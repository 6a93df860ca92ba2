"""Days by chance on which records are rejected: everyone who can be is delivered in the end.

An incremental source brings what changed. Records are rejected because an option is missing, an
import fails, or the account is full. Later there are newer records, deletions, consent withdrawn,
suppressions, opt-outs, new options, and room. Runs are killed.

RETRY_DAYS sets how many days there are in all, RETRY_SEED which they are (0: others each time).
"""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from target_activecampaign.ledger import contact_hash
from target_activecampaign.model.codes import CODES
from tests.support.custom_fields import CustomFields
from tests.support.fork_server import ForkedTargetRunner, ForkServer, run_script
from tests.support.ledgers import ledger
from tests.support.mirrors import ACTIVE, DAY_SECONDS, QUICK, address
from tests.support.target_runner import SCRIPT, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome

pytestmark = pytest.mark.quick

DAYS = int(os.environ.get("RETRY_DAYS") or (100 if os.environ.get("CI") else 10))
SEED = int(os.environ.get("RETRY_SEED", "3")) or random.SystemRandom().randrange(1, 10**9)
DAYS_A_HISTORY = 10
MAX_ATTEMPTS, MAX_DAYS = 3, 4
LIMIT = 60
MISSING = ("Diamond", "Pearl", "Ruby")
"""Tiers that are no options of the account's field at first."""


class Row(NamedTuple):
    """A row of the table of rejected contacts."""

    attempts: int
    first: float
    code: str


@dataclass
class Person:
    """A person of the source.

    Attributes:
        number: The number of the latest record.
        tier: The tier in it.
        is_deleted, consents: Likewise.
        changed: The day of it.
        is_burdened: Whether the person was ever suppressed, opted out, withdrew or was deleted:
            whether the contact is on the list is then a matter of other tests.
    """

    number: int
    tier: str
    changed: int
    is_deleted: bool = False
    consents: bool = True
    is_burdened: bool = False


@dataclass
class World:
    """The source and the account.

    Attributes:
        log: All records of the source. Those from `position` on are not loaded yet.
        people: The people by their names.
        suppressed: The people who are suppressed.
        suppressed_at: The number of the latest record when each of them was suppressed last.
        failing: The people whose imports fail.
    """

    chance: random.Random
    account: SandboxServer
    runner: ForkedTargetRunner
    log: list[dict[str, Any]] = field(default_factory=list)
    position: int = 0
    people: dict[str, Person] = field(default_factory=dict)
    suppressed: set[str] = field(default_factory=set)
    suppressed_at: dict[str, int] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    options: set[str] = field(default_factory=lambda: {"Gold", "Silver"})
    is_full: bool = False
    told: list[str] = field(default_factory=list)

    # The source

    def next_day(self, day: int) -> None:
        """Let things happen."""
        self.told.append(f"day {day}:")
        for number in range(3):
            self._change(f"p{day}n{number}", day)
        for name in self.chance.sample(sorted(self.people), min(3, len(self.people))):
            if self.people[name].changed < day:
                what = self.chance.choice(["change", "change", "change", "delete", "withdraw"])
                self._change(name, day, what)
        name = self.chance.choice(sorted(self.people))
        events = ["suppress", "lift", "opt out", "option", "fail", "mend", "full"]
        # Before the first run, there is no ledger for the command.
        what = self.chance.choice(events if day > 1 else ["fail", "full"])
        self.told.append(f"{what} {name}")
        self._happen(what, name)

    def _change(self, name: str, day: int, what: str = "change") -> None:
        tier = self.chance.choice(["Gold", "Silver", *MISSING])
        person = self.people.setdefault(name, Person(0, tier, day))
        if person.is_deleted or not person.consents:
            return
        person.number, person.tier, person.changed = len(self.log) + 1, tier, day
        person.is_deleted, person.consents = what == "delete", what != "withdraw"
        person.is_burdened |= what != "change"
        self.told.append(f"{what} {name} {tier}")
        self.log.append(
            record(
                address(name),
                id=name,
                first_name=f"v{person.number}",
                tier=tier,
                newsletter_consent=person.consents,
                _sdc_deleted_at="2026-01-01T00:00:00Z" if person.is_deleted else None,
            )
        )

    def _happen(self, what: str, name: str) -> None:
        if what in ("suppress", "opt out"):
            self.people[name].is_burdened = True
        if what == "suppress":
            self.suppressed.add(name)
            self.suppressed_at[name] = self.people[name].number
            self._command("suppress", name)
        elif what == "lift" and self.suppressed:
            name = self.chance.choice(sorted(self.suppressed))
            self.suppressed.remove(name)
            self._command("unsuppress", name)
        elif what == "opt out" and address(name) in self.account.contacts():
            self.account.opt_out(address(name), 1)
        elif what == "option":
            self.add_option(self.chance.choice(MISSING))
        elif what == "fail":
            self.failing.add(name)
            self.account.fault(
                "queue_failed", match={"path": "*bulk_import", "contains": f'"{address(name)}"'}
            )
        elif what == "mend":
            self.failing.clear()
            self.account.clear_faults()
        elif what == "full":
            self.set_full(full=not self.is_full)

    def set_full(self, *, full: bool) -> None:
        """Fill the account with other contacts, or delete these."""
        contacts = self.account.contacts()
        fillers = [one for one in contacts if one.startswith("filler")]
        if full and not self.is_full:
            count = LIMIT - len(contacts)
            self.account.prepare(*({"email": f"filler{n}@example.com"} for n in range(count)))
        elif not full:
            for one in fillers:
                self.account.delete(one)
        self.is_full = full

    def add_option(self, tier: str) -> None:
        """Add a tier to the account's field."""
        if tier not in self.options:
            self.options.add(tier)
            fields = CustomFields(self.account)
            fields.add_options(fields.id("Tier"), tier)

    def _command(self, name: str, person: str) -> None:
        script = SCRIPT.replace("target-activecampaign", "target-activecampaign-ledger")
        command = [script, name, "--ledger-url", self.ledger_url, "-"]
        done = run_script(command, address(person).encode(), folder=self.runner.folder)
        assert done.returncode == 0, done.stderr

    @property
    def ledger_url(self) -> str:
        return f"sqlite:///{self.runner.folder / '.activecampaign-ledger.db'}"

    # The runs

    def messages(self) -> list[dict[str, Any]]:
        """What the tap writes when it goes on from its latest STATE."""
        head = {
            **schema(id="string", tier="string", newsletter_consent="boolean", _sdc_deleted_at={}),
            "key_properties": ["id"],
            "bookmark_properties": ["id"],
        }
        written = [head]
        for number, one in enumerate(self.log[self.position :], self.position + 1):
            written += [one, state(number)]
        return written

    def rows(self) -> dict[str, Row]:
        """The rejected contacts in the ledger, by name."""
        with ledger(self.ledger_url) as db:
            key = db.exec_driver_sql("SELECT key FROM ledger").scalar_one()
            identity = db.exec_driver_sql("SELECT identity FROM account").scalar_one()
            query = "SELECT person, attempts, first, code FROM retry"
            found = {bytes(row[0]): Row(*row[1:]) for row in db.exec_driver_sql(query)}
        names = {contact_hash(key, identity, address(name)): name for name in self.people}
        return {names[one]: row for one, row in found.items()}

    def run(self, *, killed: float = 0) -> None:
        """Run once to the end, first once more that is killed, and check what came of it."""
        if killed:
            running = self.runner.start(self.messages())
            time.sleep(killed)
            running.kill()
            self._go_on(running.wait())
            self.told.append(f"killed after {killed}")
        before = self.rows() if self.position else {}
        seen = len(self.account.bodies())
        read = {one["record"]["id"] for one in self.log[self.position :]}
        times = {name: self._imported(name) for name in self.people}
        now = self.account.advance(0)
        outcome = self.runner(self.messages())
        assert outcome.code == 0, self.about(outcome)
        counts = outcome.report["counts"]
        assert counts["unsettled"] == 0, self.about(outcome)
        self._go_on(outcome)
        assert self.position == len(self.log), self.about(outcome)
        self._check_sent(self.account.bodies()[seen:], self.about(outcome))
        for name in self.people:
            assert self._imported(name) - times[name] <= 1, (name, self.about(outcome))
        self._check_rows(before, read, now, outcome)

    def _go_on(self, outcome: Outcome) -> None:
        if outcome.states:
            self.position = outcome.states[-1]

    def about(self, outcome: Outcome) -> str:
        return f"seed {SEED}: {self.told}\n{outcome.log[-3000:]}"

    def _imported(self, name: str) -> int:
        contact = self.account.contacts().get(address(name), {})
        return int(contact.get("times_imported") or 0)

    def may_be_sent(self, name: str) -> bool:
        person = self.people[name]
        return person.consents and not person.is_deleted and name not in self.suppressed

    def _check_sent(self, bodies: str, about: str) -> None:
        """Only the latest record of a person is sent, and only if it may be."""
        for line in filter(None, bodies.splitlines()):
            for one in json.loads(line).get("contacts", ()):
                name = one["email"].partition("@")[0]
                if name not in self.people or not one.get("subscribe"):
                    continue
                person = self.people[name]
                assert self.may_be_sent(name), (name, about)
                assert one["first_name"] == f"v{person.number}", (name, about)
                assert person.number > self.suppressed_at.get(name, 0), (name, about)

    def is_delivered(self, name: str) -> bool:
        contact = self.account.contacts().get(address(name), {})
        is_latest = contact.get("first_name") == f"v{self.people[name].number}"
        return is_latest and contact["lists"].get("1") == ACTIVE

    def _check_rows(
        self, before: dict[str, Row], read: set[str], now: float, outcome: Outcome
    ) -> None:
        """Whoever is not delivered is tried again, unless attempts or days are over."""
        after, about = self.rows(), self.about(outcome)
        tried = {name for name in before if name not in read}
        for name, row in after.items():
            assert CODES[row.code].retry, (name, about)
            assert self.may_be_sent(name), (name, about)
            assert row.attempts <= MAX_ATTEMPTS, (name, about)
            if name in tried:
                assert row.attempts == before[name].attempts + 1, (name, about)
                assert row.first == before[name].first, (name, about)
                assert now - row.first <= MAX_DAYS * DAY_SECONDS, (name, about)
            else:
                assert row.attempts == 1, (name, about)
        for name in {*read, *before} - after.keys():
            if self.people[name].is_burdened or self.is_delivered(name):
                continue
            assert name in tried, (name, about)
            row = before[name]
            is_over = now - row.first > MAX_DAYS * DAY_SECONDS
            assert is_over or row.attempts == MAX_ATTEMPTS, (name, about)
            given_up = outcome.report["streams"]["profiles"]["retries"]["given_up"]
            assert given_up, (name, about)


@pytest.fixture(scope="module")
def server() -> ForkServer:
    return ForkServer(QUICK)


@pytest.mark.parametrize("history", range(max(1, DAYS // DAYS_A_HISTORY)))
def test_everyone_is_delivered_who_can_be(
    start_sandbox: Any, server: ForkServer, tmp_path: Path, history: int
) -> None:
    chance = random.Random(f"{SEED} {history}")
    account = start_sandbox(
        limits=True,
        account_limit=LIMIT,
        requests_per_second=0,
        multi_imports_per_minute=0,
        latency=0.02,
        false_status=0,
        keep_bodies="yes",
    )
    runner = ForkedTargetRunner(tmp_path, account.url, account.api_key, server)
    runner.config.update(
        guards={"max_consent_loss_pct": None},
        retry_max_attempts=MAX_ATTEMPTS,
        retry_max_days=MAX_DAYS,
        opt_out_refresh_days=0,
        checkpoint_seconds=0,
        batch_size_rows=5,
        person_key=bool(history % 2) or None,
    )
    world = World(chance, account, runner)
    for day in range(1, DAYS_A_HISTORY + 1):
        world.next_day(day)
        world.run(killed=chance.choice([0, 0, 0.05, 0.15, 0.3, 0.6]) if day > 1 else 0)
        account.advance(DAY_SECONDS * chance.choice([0.3, 0.7, 1]))

    account.clear_faults()
    world.set_full(full=False)
    for tier in MISSING:
        world.add_option(tier)
    waiting = world.rows()
    world.run()

    left = world.rows()
    assert not {name for name in left if name not in world.suppressed}, (left, world.told)
    now = account.advance(0)
    for name, row in waiting.items():
        if now - row.first < MAX_DAYS * DAY_SECONDS and not world.people[name].is_burdened:
            assert world.is_delivered(name), (name, world.told)
