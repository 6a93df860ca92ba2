"""Days by chance on which people give, withdraw and lack consent: nobody is mailed against it.

Others are suppressed, and their suppression is lifted. People also opt out by a campaign, subscribe
through a form, bounce, or are excluded; others are missing from the source. Runs are killed, and
the ledger is lost. Each run is previewed, and refuses the contacts that the preview has named. In
every other history the account keeps `sdate` when a membership is active again.

CONSENT_DAYS sets how many days there are in all, CONSENT_SEED which they are (0: others each time).
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.mirrors import (
    ACTIVE,
    NO_GUARDS,
    QUICK,
    UNSUBSCRIBED,
    activate,
    address,
    quick_sandbox,
)
from tests.support.target_runner import state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome

pytestmark = pytest.mark.quick

DAYS = int(os.environ.get("CONSENT_DAYS", "20"))
SEED = int(os.environ.get("CONSENT_SEED", "5")) or random.SystemRandom().randrange(1, 10**9)
DAYS_A_HISTORY = 5
NAMES = [f"{first}{last}" for first in "abcd" for last in "xyz"]
YES, NO, UNKNOWN = "yes", "no", "unknown"
VALUES: dict[str, list[Any]] = {
    YES: [True, "yes", 1, "subscribed"],
    NO: [False, "no", 0, "opted_out"],
    UNKNOWN: [None, "", "perhaps"],
}
EVENTS = (*3 * ("opt out",), *2 * ("form",), "bounce", "exclude", "lose ledger")


@pytest.fixture(scope="module")
def server() -> ForkServer:
    return ForkServer(QUICK)


@pytest.fixture(scope="module")
def account(request: pytest.FixtureRequest) -> Iterator[SandboxServer]:
    """An account that renews or keeps a membership's `sdate` when it is active again."""
    with quick_sandbox(keep_bodies="yes", sdate_on_reactivation=request.param) as one:
        yield one


@dataclass
class World:
    """The source and the account, as far as the test knows them.

    Attributes:
        chance: What is drawn from.
        account: The account.
        ledger: The ledger's file.
        consent: The consent of each person whom the source has.
        handled: People whose refusal a run has brought about already.
        opted_out: People who left the list themselves, or of whom it is not known any more.
        unreachable: People whose mail has bounced, or whom the account excludes.
        blocked: People who are suppressed.
        blocked_before: People whose suppression a run has brought about already.
        lifted: People whose suppression is lifted today.
        told: What happened, in words.
    """

    chance: random.Random
    account: SandboxServer
    ledger: Path
    consent: dict[str, str] = field(default_factory=dict)
    handled: set[str] = field(default_factory=set)
    opted_out: set[str] = field(default_factory=set)
    unreachable: set[str] = field(default_factory=set)
    blocked: set[str] = field(default_factory=set)
    blocked_before: set[str] = field(default_factory=set)
    lifted: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    def next_day(self) -> None:
        """Change some people in the source, and let things happen in the account."""
        # An opt-out within seconds of our own unsubscribe could not be told from it.
        self.account.advance(3600)
        for name in NAMES:
            if self.chance.random() < 0.35:
                now = self.chance.choice([YES, YES, NO, NO, UNKNOWN, None])
                self.consent.pop(name, None)
                if now is not None:
                    self.consent[name] = now
        self.lifted = {name for name in self.blocked if self.chance.random() < 0.4}
        self.blocked -= self.lifted
        new = {name for name in NAMES if self.chance.random() < 0.12}
        self.blocked |= new - self.lifted
        for _ in range(self.chance.randrange(3)):
            self._happen(self.chance.choice(EVENTS), self.chance.choice(NAMES))
        self.account.advance(3600)

    def _happen(self, event: str, name: str) -> None:
        self.told.append(f"{event} {name}")
        if event == "opt out":
            self.account.opt_out(address(name), 1)
            self.opted_out.add(name)
        elif event == "form":
            self.account.resubscribe(address(name), 1)
            self.opted_out.discard(name)
        elif event == "bounce":
            self.account.prepare({"email": address(name), "bounced": True})
            self.unreachable.add(name)
        elif event == "exclude":
            self.account.prepare(excluded=(address(name),))
            self.unreachable.add(name)
        else:
            for one in self.ledger.parent.glob(f"{self.ledger.name}*"):
                one.unlink()
            self.handled.clear()
            self.blocked_before.clear()
            self.opted_out |= {one for one, now in self.statuses().items() if now == UNSUBSCRIBED}

    def statuses(self) -> dict[str, int]:
        """The status of each contact on the list."""
        return {
            email.split("@")[0]: one["lists"]["1"]
            for email, one in self.account.contacts().items()
            if "1" in one["lists"]
        }

    def messages(self, day: int) -> list[dict[str, Any]]:
        """All messages of the source."""
        record = {"type": ["string", "null"]}
        properties = {"email": record, "first_name": record, "marketing_consent": {}}
        schema: dict[str, Any] = {
            "type": "SCHEMA",
            "stream": "people",
            "schema": {"type": "object", "properties": properties},
            "key_properties": [],
        }
        rows = [
            {
                "type": "RECORD",
                "stream": "people",
                "version": day,
                "record": {
                    "email": address(name),
                    # Some records change otherwise too.
                    "first_name": f"{name} {day // (1 + NAMES.index(name) % 3)}",
                    "marketing_consent": self.chance.choice(VALUES[now]),
                },
            }
            for name, now in self.consent.items()
        ]
        self.chance.shuffle(rows)
        people = [schema, *rows, activate(day, "people"), state({"people": day})]
        parts = [people, self._suppressions()]
        self.chance.shuffle(parts)
        return [one for part in parts for one in part]

    def _suppressions(self) -> list[dict[str, Any]]:
        """All messages of the stream of suppressed people, some by the hash of their address."""
        properties = {"email": {"type": "string"}, "_sdc_deleted_at": {"type": ["string", "null"]}}
        schema: dict[str, Any] = {
            "type": "SCHEMA",
            "stream": "blocked",
            "schema": {"type": "object", "properties": properties},
            "key_properties": [],
        }
        rows = []
        for name in sorted(self.blocked | self.lifted):
            record = {"email": address(name)}
            if NAMES.index(name) % 2:
                record["email"] = sha256(address(name).encode()).hexdigest()
            if name in self.lifted:
                record["_sdc_deleted_at"] = "2026-01-01T00:00:00Z"
            rows.append({"type": "RECORD", "stream": "blocked", "record": record})
        return [schema, *rows]

    def check(self, before: dict[str, int], bodies: str, *, is_mirror: bool, skips: bool) -> None:
        """Check the account after a run."""
        after = self.statuses()
        for name in NAMES:
            was, now = before.get(name), after.get(name)
            said = self.consent.get(name)
            about = f"{name}: {was} -> {now}, {said}, {self.told}"
            if name in self.blocked or (said in (NO, UNKNOWN) and skips):
                assert address(name) not in bodies, about
            if name in self.blocked:
                # Who subscribes by a form afterwards stays, unless the record says no only then.
                assert now != ACTIVE or (was == ACTIVE and name in self.blocked_before), about
            elif said == YES and name not in self.unreachable:
                assert now == (was if name in self.opted_out else ACTIVE), about
            elif said == NO and name not in self.handled:
                assert now != ACTIVE, about
            elif said is None and is_mirror:
                assert was in (ACTIVE, now), about
            else:
                assert now == was or said == YES, about
            if was != ACTIVE and said != YES:
                assert now != ACTIVE, about
        self.handled = {name for name, said in self.consent.items() if said == NO} - self.blocked
        self.blocked_before = set(self.blocked)


def refused(outcome: Outcome) -> dict[str, int]:
    """The number of records that were, or would be, refused and skipped, by code."""
    told = {**outcome.report["refused"], **outcome.report["skipped"]}
    return {code: one["records"] for code, one in told.items()}


def run(people: ForkedTargetRunner, messages: list[dict[str, Any]], *, killed: float) -> Outcome:
    """Run once; first once more that is killed after some seconds, if given."""
    if killed:
        running = people.start(messages)
        time.sleep(killed)
        running.kill()
        running.wait()
    outcome = people(messages)
    assert outcome.code == 0, outcome.log[-2000:]
    assert sum(outcome.counts.values()) == 2 * outcome.taken, outcome.log[-2000:]
    return outcome


@pytest.mark.parametrize(
    ("account", "history"),
    [(("renew", "keep")[number % 2], number) for number in range(max(1, DAYS // DAYS_A_HISTORY))],
    indirect=["account"],
)
def test_nobody_is_mailed_against_consent(
    server: ForkServer, account: SandboxServer, tmp_path: Path, history: int
) -> None:
    chance = random.Random(f"{SEED} {history}")
    account.reset()
    people = ForkedTargetRunner(tmp_path, account.url, account.api_key, server)
    # Four histories have each pair of mode, account and handling once.
    mode = ("upsert", "mirror")[history // 2 % 2]
    without = ("skip", "update")[(history + history // 2) % 2]
    people.config.update(
        sync_mode=mode,
        without_consent=without,
        guards={**NO_GUARDS, "max_consent_loss_pct": None},
        ledger_url=f"sqlite:///{tmp_path / 'ledger.db'}",
        streams={"blocked": {"role": "suppression"}},
    )
    world = World(chance, account, tmp_path / "ledger.db")
    world.told.append(f"seed {SEED}, history {history}: {mode}, {without}")
    for day in range(1, DAYS_A_HISTORY + 1):
        world.told.append(f"day {day}:")
        world.next_day()
        before, seen = world.statuses(), len(account.bodies())
        killed = chance.choice([0, 0, 0.05, 0.15, 0.3])
        messages = world.messages(day)
        preview = people(messages, dry_run=True).succeeded()

        outcome = run(people, messages, killed=killed)

        world.told.append(f"{outcome.counts}")
        assert killed or refused(preview) == refused(outcome), world.told
        bodies = account.bodies()[seen:]
        world.check(before, bodies, is_mirror=mode == "mirror", skips=without == "skip")
