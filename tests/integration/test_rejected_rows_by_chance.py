"""Days of a small table by chance, some of whose records are rejected: nobody may be mixed up.

Each person has a first name for ever, and no two have one address at the end of a day. Rows move,
swap, form chains and cycles, are deleted, come again and are new. Some records have a wrong value,
a wrong address, or both. People opt out, and runs are killed while they rename.

REJECTED_DAYS sets how many days there are in all, REJECTED_SEED which they are (0: others each
time).
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.mirrors import ACTIVE, NO_GUARDS, QUICK, address
from tests.support.tables import changes, cut_off, deleted, row, whole_table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome

pytestmark = pytest.mark.quick

DAYS = int(os.environ.get("REJECTED_DAYS", "40"))
SEED = int(os.environ.get("REJECTED_SEED", "3")) or random.SystemRandom().randrange(1, 10**9)
DAYS_A_HISTORY = 5
WAYS: dict[str, dict[str, Any]] = {
    "upsert": {"sync_mode": "upsert"},
    "deleted": {"sync_mode": "mirror", "leave_when": "deleted"},
    "absent": {"sync_mode": "mirror", "leave_when": "absent"},
    "both": {"sync_mode": "mirror", "leave_when": "both"},
}
OUTSIDE = ("olaf", "oona")
"""Contacts that are there without the target: one on the list, one not."""
WRONG: dict[str, dict[str, Any]] = {
    "wrong value": {"first_name": 5},
    "wrong address": {"email": "nonsense"},
    "no address": {"email": None},
    "wrong value and address": {"email": "nonsense", "first_name": 5},
}

KINDS_OF_SEVERAL = {"swap": 2, "rotate": 3, "take over": 2}
KINDS = (*2 * ("move", "swap"), "rotate", "take over", "delete", "insert", "return")


@dataclass
class Row:
    """A row of the table, as its latest record says.

    Attributes:
        name: The first part of its address; None if its record has no valid one.
        wrong: What is wrong with its record, if anything is.
        before: Its latest address.
    """

    name: str | None
    wrong: str | None = None
    before: str = ""


@dataclass
class Table:
    """Draws days of a table.

    Attributes:
        chance: What is drawn from.
        rows: The rows by key.
        gone: The addresses of deleted rows.
        ghosts: The keys of deleted rows that came back without a valid address: they stay deleted.
        opted_out: The keys of people who have opted out.
        told: What happened today, in words.
        records: The changes of today, in their order.
        count: The number of names so far.
    """

    chance: random.Random
    rows: dict[int, Row] = field(default_factory=dict)
    gone: dict[int, str] = field(default_factory=dict)
    ghosts: set[int] = field(default_factory=set)
    opted_out: set[int] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    def new_name(self) -> str:
        """Draw an address that no row has now; perhaps one that somebody had, or has outside."""
        used = {one.name for one in self.rows.values()}
        barred = {self.gone[key] for key in self.opted_out & self.gone.keys()}
        left = [*OUTSIDE, *self.gone.values(), *4 * self._left()]
        free = [one for one in left if one not in used]
        free = [one for one in free if one not in barred]
        if free and self.chance.random() < 0.6:
            return self.chance.choice(free)
        self.count += 1
        return f"n{self.count}"

    def _left(self) -> list[str]:
        """Addresses of rows whose record has none."""
        return [one.before for one in self.rows.values() if one.name is None]

    def record(self, key: int) -> dict[str, Any]:
        """The record of a row as it is now."""
        one = self.rows[key]
        values = {"first_name": first_name(key), **WRONG.get(one.wrong or "", {})}
        return row(key, one.name or "x", **values)

    def put(self, key: int, name: str, *, sound: bool = False) -> None:
        """Give a row an address, and perhaps a record with something wrong."""
        wrong = None
        if not sound and self.chance.random() < 0.4:
            wrong = self.chance.choice(["wrong value", *WRONG])
        has_address = wrong in (None, "wrong value")
        before = name if has_address or key not in self.rows else self.rows[key].before
        self.rows[key] = Row(name if has_address else None, wrong, before)
        self.told.append(f"{key} -> {name}{f' ({wrong})' if wrong else ''}")
        self.gone.pop(key, None)

    def go(self, key: int, name: str) -> None:
        """Set the address of a row, perhaps after another one."""
        if self.chance.random() < 0.3:
            self.put(key, self.new_name())
            self.records.append(self.record(key))
        self.put(key, name)

    def day(self, *, is_first: bool) -> None:
        """Draw the next day."""
        self.told, self.records = [], []
        was_gone = self.ghosts | self.gone.keys()
        if is_first:
            for key in range(1, 1 + self.chance.randint(2, 4)):
                self.put(key, f"n{key}", sound=True)
                self.count = key
        touched: set[int] = set(self.rows) if is_first else set()
        for _ in range(0 if is_first else self.chance.randint(1, 4)):
            kind = self.chance.choice(KINDS)
            if kind in ("insert", "return"):
                self._come(kind, touched)
            else:
                self._change(kind, touched)
        self.ghosts = {key for key in was_gone & self.rows.keys() if self.rows[key].name is None}
        self.records += [self.record(key) for key in touched if key in self.rows]
        is_free_order = len({one["record"]["id"] for one in self.records}) == len(self.records)
        if is_free_order:
            self.chance.shuffle(self.records)

    def _come(self, kind: str, touched: set[int]) -> None:
        """A row is new, or comes again."""
        keys = [key for key in self.gone if key not in touched]
        if kind == "insert":
            count = len(self.rows) + len(self.gone)
            keys = [max([*self.rows, *self.gone], default=0) + 1] if count < 5 else []
        if keys:
            key = self.chance.choice(keys)
            touched.add(key)
            self.go(key, self.new_name())

    def _change(self, kind: str, touched: set[int]) -> None:
        """Rows move, or one is deleted; each at most once a day."""
        free = [key for key in self.rows if key not in touched]
        count = KINDS_OF_SEVERAL.get(kind, 1)
        if len(free) < count:
            return
        keys = self.chance.sample(free, count)
        names = [self.rows[key].name or self.rows[key].before for key in keys]
        if kind == "delete":
            touched.update(keys)
            del self.rows[keys[0]]
            self.gone[keys[0]] = names[0]
            self.told.append(f"{keys[0]} deleted")
            self.records.append(deleted(keys[0], self.chance.choice([None, names[0]])))
            return
        to = [*names[1:], *names[:1]]
        if kind == "move":
            to = [self.chance.choice([self.new_name(), self.new_name(), names[0]])]
        elif kind == "take over":
            to = [self.new_name(), names[0]]
        others = {one.name for key, one in self.rows.items() if key not in keys}
        if len({*to} - others) == len(to):
            touched.update(keys)
            for key, name in zip(keys, to, strict=True):
                self.go(key, name)

    def last_day(self) -> None:
        """All records are sound."""
        self.told, self.records = [], []
        for key, one in self.rows.items():
            if one.name is None:
                others = {other.name for other in self.rows.values()}
                barred = {self.gone[gone] for gone in self.opted_out & self.gone.keys()}
                stays = one.before not in others | barred and self.chance.random() < 0.5
                self.put(key, one.before if stays else self.new_name(), sound=True)
            else:
                self.put(key, one.name, sound=True)
        self.ghosts.clear()
        self.records = [self.record(key) for key in self.rows]
        self.chance.shuffle(self.records)


def first_name(key: int) -> str:
    """The name that a person has for ever."""
    return f"Person{key}"


@pytest.fixture(scope="module", params=[1, 1000], ids=["single records", "one window"])
def server(request: pytest.FixtureRequest) -> ForkServer:
    return ForkServer(replace(QUICK, window_records=request.param))


@pytest.mark.parametrize("number", range(max(1, DAYS // DAYS_A_HISTORY // 8)))
@pytest.mark.parametrize("way", WAYS)
def test_rejected_records_mix_nobody_up(
    server: ForkServer, sandbox: SandboxServer, tmp_path: Path, way: str, number: int
) -> None:
    load = ForkedTargetRunner(tmp_path, sandbox.url, sandbox.api_key, server)
    load.config.update(
        person_key=True,
        deleted_properties=["_sdc_deleted_at"],
        guards={**NO_GUARDS, "max_rename_pct": None},
        **WAYS[way],
    )
    sandbox.prepare(
        {"email": address("olaf"), "first_name": "Outside", "lists": {"1": ACTIVE}},
        {"email": address("oona"), "first_name": "Outside"},
    )
    Play(load, sandbox, way, random.Random(f"{SEED} {number} {way}")).history(number)


class Play:
    """Brings the days of a table, and looks at the account after each."""

    def __init__(
        self, load: ForkedTargetRunner, sandbox: SandboxServer, way: str, chance: random.Random
    ) -> None:
        self._load = load
        self._sandbox = sandbox
        self._way = way
        self._chance = chance
        self._table = Table(chance)
        self._story: list[str] = []

    def history(self, number: int) -> None:
        """Bring a history."""
        self._story = [f"REJECTED_SEED={SEED}, history {number}, {self._way}"]
        table = self._table
        for place in range(DAYS_A_HISTORY):
            if place and self._chance.random() < 0.3:
                self._opt_out()
            table.day(is_first=place == 0)
            is_killed = place > 0 and self._chance.random() < 0.15
            self._story.append(f"{table.told}{' killed' if is_killed else ''}")
            self._run(is_killed=is_killed)
        table.last_day()
        self._story.append(f"last {table.told}")
        self._run()
        self._run()
        self._assert_all_is_right()
        before = self._sandbox_now()
        outcome = self._run()
        assert set(outcome.counts) <= {"read", "unchanged", "rejected"}, self._told(outcome)
        assert set(outcome.report["refused"]) <= {"OPTED_OUT"}, self._told(outcome)
        assert self._sandbox_now() == before, self._told(outcome)

    def _opt_out(self) -> None:
        """A person opts out."""
        there = self._sandbox.contacts()
        for key in self._chance.sample(list(self._table.rows), len(self._table.rows)):
            mine = [one for one, of in there.items() if of["first_name"] == first_name(key)]
            if len(mine) == 1 and there[mine[0]]["lists"].get("1") == ACTIVE:
                self._sandbox.opt_out(mine[0], 1)
                self._table.opted_out.add(key)
                self._story.append(f"{key} opts out")
                return

    def _messages(self) -> list[dict[str, Any]]:
        table = self._table
        is_whole = self._way == "absent" or (self._way == "both" and self._chance.random() < 0.3)
        if is_whole:
            keys = self._chance.sample(list(table.rows), len(table.rows))
            return whole_table(*(table.record(key) for key in keys))
        return changes(*table.records, log=False)

    def _run(self, *, is_killed: bool = False) -> Outcome:
        messages = self._messages()
        before = self._people()
        self._sandbox.advance(3600)
        if is_killed:
            cut_off(self._load, self._sandbox, messages)
            self._sandbox.advance(60)
        outcome = self._load(messages)
        told = self._told(outcome)
        assert outcome.code == 0, told
        assert sum(outcome.counts.values()) == 2 * outcome.taken, told
        self._assert_nobody_is_mixed_up(before, told)
        self._assert_opt_outs_hold(told)
        return outcome

    def _people(self) -> dict[str, str]:
        """The first name of each contact, by its id."""
        there = self._sandbox.contacts()
        return {one["id"]: there[one["email"]]["first_name"] for one in self._sandbox.export()}

    def _assert_nobody_is_mixed_up(self, before: dict[str, str], told: str) -> None:
        now = self._people()
        for key in self._table.rows.keys() - self._table.ghosts:
            name = first_name(key)
            lost = [one for one, was in before.items() if was == name and now.get(one) != name]
            # A row may have got another contact that was there, and left its own.
            has_other = any(now.get(one) == name for one in before)
            assert not lost or has_other, f"{key} lost contact {lost}\n{told}"

    def _assert_opt_outs_hold(self, told: str) -> None:
        there = self._sandbox.contacts()
        for key in self._table.opted_out & self._table.rows.keys():
            name = self._table.rows[key].name
            contact = there.get(address(name)) if name else None
            if contact is not None and contact["first_name"] == first_name(key):
                assert contact["lists"].get("1") != ACTIVE, f"{key} is mailed\n{told}"

    def _assert_all_is_right(self) -> None:
        there = self._sandbox.contacts()
        for key, one in self._table.rows.items():
            contact = there.get(address(one.name or ""))
            told = f"{key} {contact}\n{self._told()}"
            if key in self._table.opted_out or self._is_of_opted_out(contact):
                continue
            assert contact is not None, told
            assert contact["first_name"] == first_name(key), told
            assert contact["lists"].get("1") == ACTIVE, told

    def _is_of_opted_out(self, contact: dict[str, Any] | None) -> bool:
        """Whether a contact is that of a person who has opted out, and could not be renamed."""
        names = {first_name(key) for key in self._table.opted_out}
        return contact is not None and contact["first_name"] in names

    def _sandbox_now(self) -> dict[str, Any]:
        return {
            who: {**one, "times_imported": None} for who, one in self._sandbox.contacts().items()
        }

    def _told(self, outcome: Outcome | None = None) -> str:
        there = {
            who.partition("@")[0]: (one["first_name"], one["lists"])
            for who, one in self._sandbox.contacts().items()
        }
        lines = [*self._story, str(there)]
        if outcome is not None:
            lines += [str(outcome.counts), outcome.log[-800:]]
        return "\n".join(lines)
