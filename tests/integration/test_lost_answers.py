"""Imports whose answer was lost: one that has arrived is not sent again, one that has not is.

The random test kills a run between the posting of an import and its answer, lets others edit the
contacts meanwhile, and runs it again. LOST_ANSWER_KILLS sets how many rounds there are,
LOST_ANSWER_SEED which.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from target_activecampaign.cli.ledger import main as ledger_main
from tests.support.custom_fields import CustomFields
from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.mirrors import (
    ACTIVE,
    IMPORT,
    NO_GUARDS,
    QUICK,
    UNSUBSCRIBED,
    activate,
    on_list,
    wait_for,
    whole,
)
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
ARRIVED: dict[str, Any] = {"kind": "slow", "seconds": 8, "takes_effect": True}
NEVER_ARRIVED: dict[str, Any] = {"kind": "reset", "takes_effect": False}
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
        where = f"seed {SEED}, {mode}, {number}"
        _round(World(chance, slow_queue), target, mode, has_arrived=has_arrived, where=where)
    assert KILLS < 4 or seen == {True, False}


def _round(
    world: World, target: ForkedTargetRunner, mode: str, *, has_arrived: bool, where: str
) -> None:
    chance, sandbox = world.chance, world.sandbox
    settings = {"sync_mode": mode, "batch_size_rows": 12, "guards": NO_GUARDS}
    settings["tags"] = ["loaded"] if chance.random() < 0.5 else None
    unchanged = _loaded(world, target, settings)
    if chance.random() < 0.3:
        settings["full_resync"] = True
    before = _times(sandbox)
    lost, dropped = _lost(world, target, settings, unchanged, has_arrived=has_arrived)
    probes = _probes(target.folder)
    assert probes, f"{where}: nothing to ask by was stored"
    if chance.random() < 0.5:
        sandbox.settle()
    world.edit([one for one in lost if one not in unchanged])
    outcome = target(world.messages(), **settings).succeeded()
    world.check(where)
    # If others have changed all of them, nothing shows the import: then it is sent again.
    is_hidden = any(some <= world.touched | dropped for some in probes)
    most = 2 if has_arrived and is_hidden else 1
    after = _times(sandbox)
    for address in after.keys() & world.values.keys() - world.touched:
        count = after[address] - before.get(address, 0)
        if address in unchanged:
            times = most if "full_resync" in settings else 0
            assert count <= times, f"{where}: an unchanged contact was imported {count} times"
        else:
            assert 1 <= count <= most, f"{where}: imported {count} times\n{outcome.log}"
    assert not _probes(target.folder)
    _settles(world, target, settings, outcome, where)


def _loaded(world: World, target: ForkedTargetRunner, settings: dict[str, Any]) -> set[str]:
    """Load people, then let the source change and gain others; returns who is unchanged."""
    world.sandbox.reset()
    fields = CustomFields(world.sandbox)
    fields.add("Size", "radio", "S", "M")
    fields.add("Source", "hidden")
    fields.add("Extras", "checkbox", "A", "B", "C")
    old = [f"old{n}@example.com" for n in range(20)]
    world.values = {address: world.profile() for address in old}
    target(world.messages(), **settings).succeeded()
    world.sandbox.advance(3600)
    unchanged = set(world.chance.sample(old, 6))
    for address in [*old, *(f"new{n}@example.com" for n in range(16))]:
        if address not in unchanged:
            world.values[address] = world.profile()
    world.values = dict(world.chance.sample(list(world.values.items()), len(world.values)))
    return unchanged


def _lost(
    world: World,
    target: ForkedTargetRunner,
    settings: dict[str, Any],
    unchanged: set[str],
    *,
    has_arrived: bool,
) -> tuple[list[str], set[str]]:
    """Kill a run between the posting of an import and its answer.

    Returns:
        Who was in the import, and whom it loses on its way if it arrives.
    """
    sandbox, first, number = world.sandbox, len(_posted(world.sandbox)), world.chance.randint(1, 2)
    drop = set(world.chance.sample([one for one in world.values if one not in unchanged], 3))
    fault = {**ARRIVED, "drop": sorted(drop), "times": 1} if has_arrived else NEVER_ARRIVED
    sandbox.fault(match=POST_IMPORT, first=number, **fault)
    running = target.start(world.messages(), **settings)
    wait_for(lambda: bool(sandbox.faults()[0]["fired"]))
    wait_for(lambda: not has_arrived or len(sandbox.imports()) > number + 1)
    running.kill()
    running.wait()
    sandbox.clear_faults()
    posted = _posted(sandbox)[first:]
    lost = posted[number - 1 : number if has_arrived else None]
    return [one for some in lost for one in some], drop


def _settles(
    world: World,
    target: ForkedTargetRunner,
    settings: dict[str, Any],
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
    if settings["sync_mode"] == "mirror":
        gone = [one for one in world.values if one not in world.touched][:5]
        for address in gone:
            del world.values[address]
        target(world.messages(), **settings).succeeded()
        contacts = sandbox.contacts()
        assert {contacts[one]["lists"]["1"] for one in gone} == {UNSUBSCRIBED}, where


def _probes(folder: Path) -> list[set[str]]:
    """The addresses of the contacts by which each import of the ledger can be asked for."""
    with closing(sqlite3.connect(_ledger(folder))) as db:
        rows = db.execute("SELECT probes FROM import WHERE probes IS NOT NULL").fetchall()
    return [{contact["email"] for _, contact in msgspec.msgpack.decode(row[0])} for row in rows]


def _ledger(folder: Path) -> Path:
    (path,) = folder.glob("*.db")
    return path


def _stored_addresses(ledger: Path) -> set[str]:
    """The addresses in the ledger's imports in flight."""
    return set().union(*_probes(ledger.parent))


def _person(number: int) -> str:
    return f"person{number}@example.com"


def _names(sandbox: SandboxServer) -> dict[str, str]:
    """The first name of each member of list 1, by address."""
    return {
        one["email"]: one["first_name"]
        for one in sandbox.export()
        if one["lists"].get("1") == ACTIVE
    }


EXPECTED = {_person(n): f"Person {n}" for n in range(10)}


def _killed(target: ForkedTargetRunner, sandbox: SandboxServer, **fault: Any) -> None:
    """A run that is killed as its only import is posted; without a fault, it was accepted."""
    fault = fault or ARRIVED
    sandbox.fault(match=POST_IMPORT, **fault)
    running = target.start([schema(), *people(10), state("end")])
    wait_for(lambda: bool(sandbox.faults()[0]["fired"]))
    wait_for(lambda: fault["kind"] != "slow" or bool(sandbox.imports()))
    running.kill()
    running.wait()
    sandbox.clear_faults()


@pytest.mark.parametrize("kind", ["reset", "cut", "malformed", "empty", "gateway_timeout"])
def test_answer_lost_within_run(
    sandbox: SandboxServer, load: ForkedTargetRunner, kind: str
) -> None:
    sandbox.fault(kind, takes_effect=True, times=1, match=POST_IMPORT, drop=[_person(4)])
    outcome = load([schema(), *people(10), state("end")]).succeeded()
    assert outcome.counts == {"read": 10, "added": 10}
    assert _names(sandbox) == EXPECTED
    assert [one["contacts"] for one in sandbox.imports()] == [10, 1], "only the dropped one again"
    assert set(_times(sandbox).values()) == {1}
    assert load([schema(), *people(10)]).succeeded().counts == {"read": 10, "unchanged": 10}


def test_request_lost_within_run(sandbox: SandboxServer, load: ForkedTargetRunner) -> None:
    sandbox.fault(**NEVER_ARRIVED, times=1, match=POST_IMPORT)
    outcome = load([schema(), *people(10), state("end")]).succeeded()
    assert outcome.counts == {"read": 10, "added": 10}
    assert _names(sandbox) == EXPECTED
    assert [one["contacts"] for one in sandbox.imports()] == [10]


def test_lost_answer_to_removals(sandbox: SandboxServer, load: ForkedTargetRunner) -> None:
    settings = {"sync_mode": "mirror", "guards": NO_GUARDS}
    load(whole("ada bob eve kim"), **settings).succeeded()
    sandbox.fault(
        "reset", takes_effect=True, times=1, match={**POST_IMPORT, "contains": "unsubscribe"}
    )
    outcome = load(whole("ada bob"), **settings).succeeded()
    assert outcome.report["left"] == 2
    assert [one["contacts"] for one in sandbox.imports()] == [4, 2]
    assert on_list(sandbox, UNSUBSCRIBED) == "eve kim"


def test_batch_id_that_could_not_be_stored(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    load([schema(), *people(1)]).succeeded()
    with closing(sqlite3.connect(_ledger(load.folder))) as db, db:
        db.execute(
            "CREATE TRIGGER failure BEFORE UPDATE OF batch_id ON import "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    failed = load([schema(), *people(10), state("end")])
    assert failed.code == 1
    assert failed.states == []
    with closing(sqlite3.connect(_ledger(load.folder))) as db, db:
        db.execute("DROP TRIGGER failure")
    outcome = load([schema(), *people(10), state("end")]).succeeded()
    assert outcome.states == ["end"]
    assert _names(sandbox) == EXPECTED
    assert set(_times(sandbox).values()) == {1}, "no contact was sent again"


def test_queue_slower_than_patience(
    start_sandbox: Callable[..., SandboxServer], target_for: Callable[..., ForkedTargetRunner]
) -> None:
    sandbox = start_sandbox(latency=6)
    target = target_for(sandbox)
    _killed(target, sandbox)
    running = target.start([schema(), *people(10), state("end")])
    wait_for(lambda: len(sandbox.imports()) > 1)
    sandbox.settle()
    assert running.wait().succeeded().states == ["end"]
    assert _names(sandbox) == EXPECTED
    assert set(_times(sandbox).values()) == {2}, "it was not known in time, so it was sent again"


def test_contacts_made_by_others_are_no_proof_for_the_rest(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    """The first, the middle and the last contact look as if the import had arrived."""
    _killed(load, sandbox, **NEVER_ARRIVED)
    for number in (0, 5, 9):
        values = {"first_name": f"Person {number}", "lists": {"1": ACTIVE}}
        sandbox.prepare({"email": _person(number), **values})
    load([schema(), *people(10), state("end")]).succeeded()
    assert _names(sandbox) == EXPECTED
    assert [one["contacts"] for one in sandbox.imports()] == [7]


@pytest.mark.parametrize("edited", [1, 3])
def test_contacts_edited_by_others(
    sandbox: SandboxServer, load: ForkedTargetRunner, edited: int
) -> None:
    """One contact that still is as it was sent shows that the import has arrived."""
    _killed(load, sandbox)
    sandbox.settle()
    for number in (0, 5, 9)[:edited]:
        sandbox.prepare({"email": _person(number), "first_name": "Edited"})
    load([schema(), *people(10), state("end")]).succeeded()
    assert _names(sandbox) == EXPECTED
    assert [one["contacts"] for one in sandbox.imports()] == [10, 1 if edited == 1 else 10]


def test_interrupted_again_while_contacts_are_looked_up(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    _killed(load, sandbox)
    sandbox.settle()
    sandbox.fault("payment", match={"path": "*/contactLists"}, first=6)
    assert load([schema(), *people(10), state("end")]).code == 1
    sandbox.clear_faults()
    load([schema(), *people(10), state("end")]).succeeded()
    assert _names(sandbox) == EXPECTED
    assert set(_times(sandbox).values()) == {1}


@pytest.mark.parametrize("fault", [{}, NEVER_ARRIVED], ids=["arrived", "never arrived"])
def test_queue_that_can_not_be_read(
    sandbox: SandboxServer, load: ForkedTargetRunner, fault: dict[str, Any]
) -> None:
    _killed(load, sandbox, **fault)
    sandbox.fault("not_found", match={"method": "GET", "path": IMPORT})
    load([schema(), *people(10), state("end")]).succeeded()
    assert _names(sandbox) == EXPECTED
    assert [one["contacts"] for one in sandbox.imports()] == [10]


def test_contacts_beyond_the_limit_of_lookups_are_sent_again(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    server = ForkServer(replace(QUICK, lost_answer_lookups=4))
    target = ForkedTargetRunner(tmp_path, sandbox.url, sandbox.api_key, server)
    _killed(target, sandbox)
    outcome = target([schema(), *people(10), state("end")]).succeeded()
    assert outcome.counts == {"read": 10, "added": 10}
    assert _names(sandbox) == EXPECTED
    assert [one["contacts"] for one in sandbox.imports()] == [10, 6]


def test_profile_that_changed_meanwhile_is_sent(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    _killed(load, sandbox)
    changed = record(_person(3), first_name="Changed")
    rows = [changed if n == 3 else one for n, one in enumerate(people(10))]
    load([schema(), *rows, state("end")]).succeeded()
    assert _names(sandbox) == {**EXPECTED, _person(3): "Changed"}
    assert [one["contacts"] for one in sandbox.imports()] == [10, 1]


def test_stored_contacts_are_erased(
    sandbox: SandboxServer, load: ForkedTargetRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an import without a batch id is asked for by: three people, until it is settled."""
    _killed(load, sandbox)
    ledger = _ledger(load.folder)
    assert ledger.stat().st_mode & 0o777 == 0o600
    assert _stored_addresses(ledger) == {_person(0), _person(5), _person(9)}
    url = f"sqlite:///{ledger}"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(_person(5).encode())))
    assert ledger_main(["forget", "--ledger-url", url, "--person", "-", "--yes"]) == 0
    assert _stored_addresses(ledger) == {_person(0), _person(9)}
    load([schema(), *people(10), state("end")]).succeeded()
    assert _stored_addresses(ledger) == set()
    assert _names(sandbox) == EXPECTED


def test_run_of_another_stream_comes_in_between(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    _killed(load, sandbox)
    load([schema("others"), record("eve@example.com", "others", first_name="Eve")]).succeeded()
    load([schema(), *people(10), state("end")]).succeeded()
    assert [one["contacts"] for one in sandbox.imports()] == [10, 1]
    assert set(_times(sandbox).values()) == {1}
