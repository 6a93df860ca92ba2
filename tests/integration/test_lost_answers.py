"""Imports whose answer was lost: one that has arrived is not sent again, one that has not is.

The random test kills a run between the posting of an import and its answer, lets others edit the
contacts meanwhile, and runs it again. LOST_ANSWER_KILLS sets how many rounds there are,
LOST_ANSWER_SEED which.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.model.timings import Timings
from tests.support.custom_fields import CustomFields
from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.mirrors import ACTIVE, IMPORT, NO_GUARDS, QUICK, UNSUBSCRIBED, activate, wait_for
from tests.support.sandbox_server import API_KEY, SandboxServer
from tests.support.target_runner import Outcome, people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KILLS = int(os.environ.get("LOST_ANSWER_KILLS", "8"))
SEED = int(os.environ.get("LOST_ANSWER_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
POST_IMPORT = {"method": "POST", "path": IMPORT}
PROPERTIES: dict[str, Any] = {
    "last_name": "string",
    "phone": "string",
    "tier": "string",
    "birthday": {"type": ["string", "null"], "format": "date"},
    "last_seen": {"type": ["string", "null"], "format": "date-time"},
    "lifetime_value": "number",
    "interests": {"type": ["array", "null"], "items": {"type": "string"}},
    "country": "string",
    "notes": "string",
    "extras": {"type": ["array", "null"], "items": {"type": "string"}},
    "size": "string",
    "source": "string",
}
_versions = itertools.count(1)

pytestmark = pytest.mark.quick


@pytest.fixture(scope="module")
def slow_queue() -> Iterator[SandboxServer]:
    """A sandbox whose queue takes a while, though less than the target's patience."""
    with SandboxServer(api_key=API_KEY, latency=0.4, keep_bodies="yes") as server:
        yield server


@dataclass
class World:
    """A source of profiles, and what others do to its people.

    Attributes:
        values: The values of each person, by address.
        touched: The people of whom others have changed something since the import was lost.
        out: Those who have opted out.
    """

    chance: random.Random
    sandbox: SandboxServer
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    out: set[str] = field(default_factory=set)

    def profile(self) -> dict[str, Any]:
        """New values for each property; some are missing."""
        chance, number = self.chance, self.chance.randrange(10**6)
        every = {
            "first_name": f"Ada {number}",
            "last_name": f"Ünal {number}",
            "phone": f"+47 {number:06}",
            "tier": chance.choice(["Bronze", "Silver", "Gold"]),
            "birthday": f"19{chance.randint(10, 99)}-02-{chance.randint(10, 28)}",
            "last_seen": f"2026-03-{chance.randint(10, 30)}T10:{chance.randint(10, 59)}:00+00:00",
            "lifetime_value": chance.randrange(10**4) / 4,
            "interests": sorted(chance.sample(["Coffee", "Tea", "Events", "Recipes"], 2)),
            "country": f"Land {number}",
            "notes": f"line {number}\nanother",
            "extras": sorted(chance.sample(["A", "B", "C"], 2)),
            "size": chance.choice(["S", "M"]),
            "source": f"shop {number}",
        }
        return {
            name: value
            for name, value in every.items()
            if name == "first_name" or chance.random() < 0.8
        }

    def messages(self) -> list[dict[str, Any]]:
        """All that the tap writes of its complete stream."""
        version = next(_versions)
        rows = [record(address, **values) for address, values in self.values.items()]
        return [
            schema(**PROPERTIES),
            *({**one, "version": version} for one in rows),
            activate(version),
            state(version),
        ]

    def edit(self, addresses: list[str]) -> None:
        """Let others do something to a few of these people."""
        contacts = self.sandbox.contacts()
        for address in self.chance.sample(addresses, 4):
            self.touched.add(address)
            is_there = address in contacts
            deed = self.chance.choice(["name", "same name", "opt out", "delete", "form"])
            if deed == "opt out":
                self.sandbox.opt_out(address, 1)
                self.out.add(address)
            elif deed == "delete" and is_there:
                self.sandbox.delete(address)
            elif deed == "form":
                self.sandbox.prepare({"email": address, "lists": {"1": ACTIVE}})
            else:
                name = self.values[address]["first_name"] if deed == "same name" else "Edited"
                self.sandbox.prepare({"email": address, "first_name": name})

    def check(self, where: str) -> None:
        """See that everyone is on the list with the values of the source."""
        contacts = self.sandbox.contacts()
        for address, values in self.values.items():
            contact = contacts.get(address)
            if address in self.out:
                assert contact is None or contact["lists"].get("1") != ACTIVE, where
                continue
            assert contact is not None, f"{where}: a contact is missing"
            assert contact["lists"] == {"1": ACTIVE}, where
            shown = {**contact, **{n.lower(): v for n, v in contact["fields"].items()}}
            for name, value in values.items():
                assert _form(name, value) == _form(name, shown[name]), f"{where}: {name}"


def _form(name: str, value: Any) -> Any:
    """A value in a form that the source and the account share."""
    if name in ("interests", "extras"):
        return value if isinstance(value, list) else sorted(filter(None, value.split("||")))
    if name == "lifetime_value":
        return float(value)
    if name == "last_seen":
        from datetime import datetime  # noqa: PLC0415 - for this alone

        return datetime.fromisoformat(value)
    return value


def _times(sandbox: SandboxServer) -> dict[str, int]:
    """How often each contact was imported."""
    return {one["email"]: one["times_imported"] for one in sandbox.export()}


def _posted(sandbox: SandboxServer) -> list[list[str]]:
    """The addresses in each import that was posted, whether it had an effect or not."""
    bodies = [json.loads(line) for line in sandbox.bodies().splitlines() if line]
    return [[one["email"] for one in body["contacts"]] for body in bodies if "contacts" in body]


@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_killed_between_post_and_answer(
    slow_queue: SandboxServer, target_for: Callable[..., ForkedTargetRunner], mode: str
) -> None:
    print(f"LOST_ANSWER_SEED={SEED} LOST_ANSWER_KILLS={KILLS}")
    seen = set()
    for number in range(KILLS // 2):
        chance = random.Random(f"{SEED} {mode} {number}")
        has_arrived = bool(number % 2)
        seen.add(has_arrived)
        target = target_for(slow_queue)
        for path in target.folder.glob("*.db*"):
            path.unlink()
        _round(chance, slow_queue, target, mode, has_arrived, f"seed {SEED}, {mode}, {number}")
    assert KILLS < 4 or seen == {True, False}


def _round(  # noqa: PLR0917 - one call
    chance: random.Random,
    sandbox: SandboxServer,
    target: ForkedTargetRunner,
    mode: str,
    has_arrived: bool,  # noqa: FBT001 - likewise
    where: str,
) -> None:
    sandbox.reset()
    fields = CustomFields(sandbox)
    fields.add("Size", "radio", "S", "M")
    fields.add("Source", "hidden")
    fields.add("Extras", "checkbox", "A", "B", "C")
    resends_all = chance.random() < 0.3
    settings = {"sync_mode": mode, "batch_size_rows": 12, "guards": NO_GUARDS}
    settings["tags"] = ["loaded"] if chance.random() < 0.5 else None
    world = World(chance, sandbox)
    old = [f"old{n}@example.com" for n in range(20)]
    world.values = {address: world.profile() for address in old}
    target(world.messages(), **settings).succeeded()
    sandbox.advance(3600)
    unchanged = set(chance.sample(old, 6))
    new = [f"new{n}@example.com" for n in range(16)]
    for address in [*old, *new]:
        if address not in unchanged:
            world.values[address] = world.profile()
    world.values = dict(chance.sample(list(world.values.items()), len(world.values)))
    before, first = _times(sandbox), len(_posted(sandbox))
    lost_import = chance.randint(1, 2)
    dropped = set(chance.sample([one for one in world.values if one not in unchanged], 3))
    if has_arrived:
        how: dict[str, Any] = {"kind": "slow", "seconds": 8, "takes_effect": True, "times": 1}
        how["drop"] = sorted(dropped)
    else:
        how = {"kind": "reset", "takes_effect": False}
    sandbox.fault(match=POST_IMPORT, first=lost_import, **how)
    if resends_all:
        settings["full_resync"] = True
    running = target.start(world.messages(), **settings)
    wait_for(lambda: bool(sandbox.faults()[0]["fired"]))
    wait_for(lambda: not has_arrived or len(sandbox.imports()) > 2)
    running.kill()
    running.wait()
    sandbox.clear_faults()
    assert _probes(target.folder), f"{where}: nothing to ask by was stored"
    if chance.random() < 0.5:
        sandbox.settle()
    posted = _posted(sandbox)[first:]
    lost = posted[lost_import - 1 : lost_import if has_arrived else None]
    world.edit([one for some in lost for one in some if one not in unchanged])
    outcome = target(world.messages(), **settings).succeeded()
    world.check(where)
    after = _times(sandbox)
    times = {one: after[one] - before.get(one, 0) for one in world.values if one in after}
    for address, count in times.items():
        if address in world.touched:
            continue
        if address in unchanged:
            assert count <= resends_all, f"{where}: an unchanged contact was sent twice"
        else:
            assert count == 1, f"{where}: imported {count} times"
    assert not _probes(target.folder)
    _settles(world, target, settings, mode, outcome, where)


def _settles(  # noqa: PLR0917 - one call
    world: World,
    target: ForkedTargetRunner,
    settings: dict[str, Any],
    mode: str,
    outcome: Outcome,
    where: str,
) -> None:
    """See that the ledger knows everyone: nothing is sent again, and a mirror removes its own."""
    sandbox, settings = world.sandbox, {**settings, "full_resync": False}
    imports = len(sandbox.imports())
    again = target(world.messages(), **settings).succeeded()
    refused = outcome.counts.get("rejected", 0)
    assert len(sandbox.imports()) == imports or again.counts.get("rejected") or refused, where
    assert again.counts.get("added", 0) == again.counts.get("changed", 0) == 0, where
    if mode == "mirror":
        gone = [one for one in world.values if one not in world.touched][:5]
        for address in gone:
            del world.values[address]
        target(world.messages(), **settings).succeeded()
        contacts = sandbox.contacts()
        assert {contacts[one]["lists"]["1"] for one in gone} == {UNSUBSCRIBED}, where


def _probes(folder: Path) -> int:
    """How many imports of the ledger have contacts by which they can be asked for."""
    (path,) = folder.glob("*.db")
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT count(*) FROM import WHERE probes IS NOT NULL"
        return int(db.execute(query).fetchone()[0])
