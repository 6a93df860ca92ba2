"""Killed at any instant, the next run ends in the same account as if nothing had happened.

Each round starts a run against a sandbox with faults on, kills it at a random instant, and
then lets a run go to its end, from the last STATE that the killed one wrote. The instants
come from a seed that is printed; KILLS sets how many there are, KILL_SEED which.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import lines, record, schema, state

if TYPE_CHECKING:
    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer

KILLS = int(os.environ.get("KILLS", "8"))
SEED = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
RECORDS = 240
SETTINGS = {"batch_size_rows": 6, "checkpoint_seconds": 0.05, "request_timeout": 2}

FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "reset", "takes_effect": True, "match": {"path": "*bulk_import", "method": "POST"}},
    {"kind": "reset", "takes_effect": False, "match": {"path": "*/import/*"}},
    {"kind": "slow", "seconds": 0.3, "takes_effect": True, "match": {"path": "*/import/*"}},
    {"kind": "unavailable", "match": {"path": "*/import/*"}},
    {"kind": "queue_failed", "match": {"path": "*bulk_import", "method": "POST"}},
    {"kind": "queue_slow", "seconds": 0.6, "match": {"path": "*bulk_import", "method": "POST"}},
)


@dataclass
class Day:
    """A source that changes between rounds, and what the account must hold of it."""

    round: int
    people: int
    expected: dict[str, str] = field(default_factory=dict)

    def messages(self, after: int = 0) -> list[dict[str, Any]]:
        """What the tap writes when it goes on after so many records."""
        written: list[dict[str, Any]] = [schema()]
        for number in range(1, RECORDS + 1):
            address = f"r{self.round}p{number % self.people}@example.com"
            self.expected[address] = f"round {self.round} record {number}"
            if number > after:
                written.append(record(address, first_name=self.expected[address]))
                if number % 12 == 0:
                    written.append(state({"records": number}))
        return written

    def number(self, contact: dict[str, Any]) -> int:
        """Which record's value a contact has."""
        return int(str(contact["first_name"]).rpartition(" ")[2])


@pytest.mark.parametrize("people", [RECORDS, 40], ids=["everyone once", "everyone often"])
def test_a_run_may_be_killed_at_any_instant(
    sandbox: SandboxServer, load: ForkedTargetRunner, people: int
) -> None:
    chance = random.Random(SEED + people)
    print(f"KILL_SEED={SEED} KILLS={KILLS}")
    killed = 0
    for number in range(KILLS // 2):
        sandbox.reset()
        for fault in FAULTS:
            sandbox.fault(**{**fault, "probability": 0.04, "seed": chance.randrange(10**6)})
        day = Day(number, people)
        after, cut_off = _killed_run(load, day.messages(), chance.uniform(0.0, 2.1))
        killed += cut_off
        _never_ahead(sandbox, day, after)
        outcome = load(lines(day.messages(after)), **SETTINGS).succeeded()
        assert outcome.counts.get("rejected", 0) == 0, f"seed {SEED}, round {number}"
        contacts = sandbox.contacts()
        assert {a: one["first_name"] for a, one in contacts.items()} == day.expected, (
            f"seed {SEED}, round {number}"
        )
        assert all(one["lists"] == {"1": 1} for one in contacts.values())
        if people == RECORDS:
            _no_contact_twice(sandbox, f"seed {SEED}, round {number}")
    assert killed, "at least one run was cut off"


def _killed_run(
    load: ForkedTargetRunner, messages: list[dict[str, Any]], seconds: float
) -> tuple[int, bool]:
    """Run and kill; returns after how many records to go on, and whether it had not ended."""
    running = load.start(messages, **SETTINGS)
    time.sleep(seconds)
    running.kill()
    outcome = running.wait()
    return int(outcome.states[-1]["records"]) if outcome.states else 0, outcome.code != 0


def _never_ahead(sandbox: SandboxServer, day: Day, after: int) -> None:
    """Every record before the last STATE is in the account, or a later one of that person."""
    contacts = sandbox.contacts()
    for number in range(1, after + 1):
        address = f"r{day.round}p{number % day.people}@example.com"
        assert address in contacts, f"seed {SEED}: state ran ahead"
        assert day.number(contacts[address]) >= number, f"seed {SEED}: state ran ahead"


def _no_contact_twice(sandbox: SandboxServer, where: str) -> None:
    """Nothing was imported again, not even an import whose answer was lost."""
    assert sum(one["times_imported"] for one in sandbox.export()) == RECORDS, where
