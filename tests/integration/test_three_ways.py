"""Histories of a table by chance, brought three ways: all accounts must be as the table says.

A history has inserts, updates, deletions, rows that come again, changed addresses, swaps, cycles,
rows that share an address and part again, opt-outs, killed and cut runs. It is brought as the
changes of a log, as the whole table each day, and as changes with a whole table now and then. Every
other history is that of an account which keeps `sdate` when a membership is active again.

WAYS_DAYS sets how many days there are in all, WAYS_SEED which they are (0: others each time).
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.mirrors import ACTIVE, NO_GUARDS, address
from tests.support.people_model import Contact, People
from tests.support.tables import changes, deleted, row, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer

pytestmark = pytest.mark.quick

DAYS = int(os.environ.get("WAYS_DAYS", "40"))
SEED = int(os.environ.get("WAYS_SEED", "7")) or random.SystemRandom().randrange(1, 10**9)
DAYS_A_HISTORY = 8
WAYS = {
    "changes": {"leave_when": "deleted"},
    "whole tables": {"leave_when": "absent"},
    "both": {"leave_when": "both"},
}
OTHERS = ("olaf", "oona")
"""People who are on the list without the target."""
EVENTS = {
    "insert": 5,
    "update": 3,
    "delete": 3,
    "return": 2,
    "return elsewhere": 2,
    "rename": 4,
    "swap": 2,
    "cycle": 1,
    "merge": 1,
    "part": 2,
    "take over": 1,
    "opt out": 2,
}


@dataclass
class Day:
    """A day of a history.

    Attributes:
        told: What happened, in words.
        rows: The table at its end: name and value of each row.
        records: The changes, in their order.
        opted_out: Names of people who left the list before the run.
        active: Who may be mailed in the end.
        renamed: Rows whose contact keeps its id under another address.
        interrupted: How a first run of this day ends.
        is_whole: Whether the way of both brings the whole table.
    """

    told: list[str]
    rows: dict[int, tuple[str, str]]
    records: list[dict[str, Any]]
    opted_out: list[str]
    active: set[str] = field(default_factory=set)
    renamed: set[int] = field(default_factory=set)
    interrupted: str = ""
    is_whole: bool = False


class History:
    """Draws the days of a history, and knows how each must end."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._model = People(
            contacts={one: Contact(one, ours=False, on_list=True) for one in OTHERS}
        )
        self._rows: dict[int, tuple[str, str]] = {}
        self._gone: dict[int, str] = {}
        self._touched: set[int] = set()
        self._stays: set[int] = set()
        self._is_dense = False
        self._names = iter(f"n{number}" for number in range(1000))
        self._keys = iter(range(1, 1000))
        self._day = Day([], {}, [], [])

    def day(self, number: int) -> Day:
        """Draw the next day."""
        self._day, self._touched, self._stays = Day([], {}, [], []), set(), set()
        self._is_dense = self._chance.random() < 0.5
        kinds = (
            ["insert"] * 4
            if number == 0
            else self._chance.choices(
                list(EVENTS), list(EVENTS.values()), k=self._chance.randint(0, 4)
            )
        )
        for kind in kinds:
            getattr(self, f"_{kind.replace(' ', '_')}")()
        self._is_dense = False
        day = self._day
        day.rows = dict(self._rows)
        day.renamed = self._model.end_day({key: name for key, (name, _) in day.rows.items()})
        day.active = self._model.active
        moves = any(word in " ".join(day.told) for word in ("swap", "cycle", "merge", "take"))
        ends = ("", "", "", "killed", "again") if moves else ("", "", "", "killed", "cut", "again")
        day.interrupted = "" if number == 0 else self._chance.choice(ends)
        day.is_whole = number == 0 or self._chance.random() < 0.25
        return day

    # Events: on half of the days at most one for each row and contact, else as many as come

    def _free(self, count: int = 1, *, shared: bool = False) -> list[int]:
        """Rows that something may happen to."""
        sharers = [name for name, _ in self._rows.values()]
        busy = {self._rows[key][0] for key in self._touched if key in self._rows}
        found = [
            key
            for key, (name, _) in self._rows.items()
            if (self._is_dense or (key not in self._touched and name not in busy))
            and key not in self._model.barred
            and key not in self._stays
            and (sharers.count(name) > 1) == shared
        ]
        return self._chance.sample(found, count) if len(found) >= count else []

    def _set(self, key: int, name: str) -> None:
        self._touched.add(key)
        value = f"V{self._chance.randrange(10**6)}"
        self._rows[key] = (name, value)
        self._gone.pop(key, None)
        self._day.records.append(row(key, name, first_name=value))

    def _tell(self, text: str) -> None:
        self._day.told.append(text)

    def _insert(self) -> None:
        left_out = [one for one in OTHERS if one in self._model.contacts]
        used = {name for name, _ in self._rows.values()}
        free = [one for one in left_out if one not in used]
        is_theirs = bool(free) and self._chance.random() < 0.2
        name = self._chance.choice(free) if is_theirs else next(self._names)
        key = next(self._keys)
        self._tell(f"insert {key} {name}")
        self._set(key, name)
        if is_theirs:
            # The log shows that this contact was hers for a moment; the table never does.
            self._stays.add(key)

    def _update(self) -> None:
        for key in self._free():
            self._tell(f"update {key}")
            self._set(key, self._rows[key][0])

    def _delete(self) -> None:
        for key in self._free():
            name, _ = self._rows.pop(key)
            self._touched.add(key)
            self._gone[key] = name
            self._tell(f"delete {key} {name}")
            known = name if self._chance.random() < 0.5 else None
            self._day.records.append(deleted(key, known))

    def _return(self, name: str | None = None) -> None:
        used = {one for one, _ in self._rows.values()}
        keys = [
            key
            for key, one in self._gone.items()
            if (self._is_dense or key not in self._touched)
            and one not in used
            and key not in self._model.barred
            and not self._has_others(key)
        ]
        if keys:
            key = self._chance.choice(keys)
            self._tell(f"return {key} {name or self._gone[key]}")
            self._set(key, name or self._gone[key])

    def _has_others(self, key: int) -> bool:
        """Whether another row has had the contact of a row too."""
        of_row = self._model.of_row
        contact = of_row.get(key)
        return any(one is contact for other, one in of_row.items() if other != key)

    def _return_elsewhere(self) -> None:
        self._return(next(self._names))

    def _rename(self) -> None:
        for key in self._free():
            name = next(self._names)
            self._tell(f"rename {key} {self._rows[key][0]} {name}")
            self._set(key, name)

    def _swap(self) -> None:
        self._rotate(2, "swap")

    def _cycle(self) -> None:
        self._rotate(3, "cycle")

    def _rotate(self, count: int, told: str) -> None:
        keys = self._free(count)
        names = [self._rows[key][0] for key in keys]
        if keys:
            self._tell(f"{told} {dict(zip(keys, names, strict=True))}")
        for key, name in zip(keys, [*names[1:], *names[:1]], strict=True):
            self._set(key, name)

    def _merge(self) -> None:
        """One row gets the address of another."""
        keys = self._free(2)
        if keys and not (self._is_dense and self._touched & {*keys}):
            one, other = keys
            self._touched.add(other)
            # If another row came here too, chance would decide whose contact it is.
            self._stays |= {one, other}
            self._tell(f"merge {one} {self._rows[one][0]} into {self._rows[other][0]}")
            self._set(one, self._rows[other][0])

    def _part(self) -> None:
        """One of the rows that share an address gets its own, or is deleted."""
        for key in self._free(shared=True):
            name = self._rows[key][0]
            self._touched.update(one for one, (n, _) in self._rows.items() if n == name)
            if self._chance.random() < 0.5:
                self._tell(f"part {key} {name}")
                self._set(key, next(self._names))
            else:
                self._rows.pop(key)
                self._gone[key] = name
                self._tell(f"part by deletion {key} {name}")
                self._day.records.append(deleted(key))

    def _take_over(self) -> None:
        """A new row gets the address that another gives up."""
        for key in self._free():
            name, new = self._rows[key][0], next(self._keys)
            self._tell(f"take over: {new} gets {name} of {key}")
            order = [(key, next(self._names)), (new, name)]
            for one, to in self._chance.sample(order, 2):
                self._set(one, to)

    def _opt_out(self) -> None:
        theirs = [name for name, _ in self._rows.values() if name in self._model.active]
        if theirs:
            name = self._chance.choice(theirs)
            self._tell(f"opt out {name}")
            self._model.opt_out(name)
            self._day.opted_out.append(name)


@pytest.mark.parametrize("number", range(max(1, DAYS // DAYS_A_HISTORY)))
def test_changes_whole_tables_and_both_end_in_the_account_that_the_table_says(
    sandbox: SandboxServer,
    sdate_keeping_sandbox: SandboxServer,
    target_for: Callable[[SandboxServer], ForkedTargetRunner],
    number: int,
) -> None:
    keeps_sdate = number % 2 == 1
    account = sdate_keeping_sandbox if keeps_sdate else sandbox
    load = target_for(account)
    history = History(random.Random(f"{SEED} {number}"))
    days = [history.day(one) for one in range(DAYS_A_HISTORY)]
    for way, settings in WAYS.items():
        account.reset(empty=False)
        load.config.update(sync_mode="mirror", person_key=True, guards=dict(NO_GUARDS), **settings)
        load.config["guards"]["max_rename_pct"] = None
        for path in load.folder.glob(".activecampaign-ledger.db*"):
            path.unlink()
        account.prepare(*({"email": address(one), "lists": {"1": ACTIVE}} for one in OTHERS))
        chance = random.Random(f"{SEED} {number} {way}")
        play = Play(way, account, load, chance)
        for place, day in enumerate(days):
            if keeps_sdate and day.interrupted == "killed":
                # A contact that a killed run was re-subscribing may not be ours.
                day.interrupted = "again"
            story = [f"WAYS_SEED={SEED}, history {number}, {way}"]
            story += [
                f"day {n}: {one.told} {one.interrupted}" for n, one in enumerate(days[: place + 1])
            ]
            play.day(day, "\n".join(story))


class Play:
    """Brings the days of a history one way."""

    def __init__(
        self, way: str, sandbox: SandboxServer, load: ForkedTargetRunner, chance: random.Random
    ) -> None:
        self._way = way
        self._sandbox = sandbox
        self._load = load
        self._chance = chance
        self._before: list[dict[str, Any]] = []
        self._ids: dict[str, str] = {}
        self._names: dict[int, str] = {}
        self._shared: set[str] = set()

    def day(self, day: Day, story: str) -> None:
        """Bring a day, and compare the account with what it must be."""
        for name in day.opted_out:
            self._sandbox.opt_out(address(name), 1)
        self._sandbox.advance(3600)
        messages = self._messages(day)
        if day.interrupted == "killed":
            running = self._load.start(messages)
            time.sleep(self._chance.uniform(0, 0.4))
            running.kill()
            running.wait()
            self._sandbox.advance(60)
        elif day.interrupted == "cut":
            cut = self._chance.randint(1, len(messages) - 1)
            self._load(messages[:cut]).succeeded()
        outcome = self._load(messages).succeeded()
        if day.interrupted == "again":
            outcome = self._load(messages).succeeded()
        report = outcome.report
        told = (
            f"{story}\n{report['streams'].get('people', {}).get('identity')}\n{outcome.log[-1500:]}"
        )
        assert self._active() == day.active, told
        contacts = self._sandbox.contacts()
        values: dict[str, set[str]] = {}
        for name, value in day.rows.values():
            values.setdefault(name, set()).add(value)
        self._shared |= {name for name, some in values.items() if len(some) > 1}
        # Of rows that have shared a contact, the log does not repeat the values that stay.
        for name in (day.active & values.keys()) - self._shared:
            assert contacts[address(name)]["first_name"] in values[name], f"{name}\n{told}"
        ids = {one["email"].partition("@")[0]: one["id"] for one in self._sandbox.export()}
        for key in day.renamed if day.interrupted in ("", "again") else ():
            name = day.rows[key][0]
            if name not in day.active:
                continue  # who has opted out may be known by the old contact alone
            assert ids.get(name) == self._ids.get(self._names[key]), f"{key} {name}\n{told}"
        assert sum(outcome.counts.values()) == 2 * outcome.taken, told
        self._ids = ids
        self._names.update({key: name for key, (name, _) in day.rows.items()})

    def _messages(self, day: Day) -> list[dict[str, Any]]:
        if self._way == "whole tables" or (self._way == "both" and day.is_whole):
            keys = self._chance.sample(list(day.rows), len(day.rows))
            rows = [row(key, day.rows[key][0], first_name=day.rows[key][1]) for key in keys]
            start, *_, end, state = table({0: "nobody"})
            version = end["version"]
            self._before = []
            return [start, *({**one, "version": version} for one in rows), end, state]
        # The tap repeats what it had read before the last STATE.
        again = self._before if self._chance.random() < 0.2 else []
        self._before = day.records
        return changes(*again, *day.records)

    def _active(self) -> set[str]:
        contacts = self._sandbox.contacts().items()
        there = {who for who, one in contacts if one["lists"].get("1") == ACTIVE}
        return {who.partition("@")[0] for who in there if who.endswith("@example.com")}
