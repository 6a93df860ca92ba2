"""Records in windows, many known as unchanged by their hash: the same comes of them.

That is, as in other windows, without hashes, with a stream map, and out of batch files.
INTAKE_SEEDS sets how many sources are tried.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.ledgers import LEDGER, ledger
from tests.support.mirrors import QUICK, activate, quick_sandbox
from tests.support.target_runner import batch, people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

SEEDS = int(os.environ.get("INTAKE_SEEDS", "4"))
SMALL = replace(QUICK, window_records=5)
SINGLE = replace(QUICK, window_records=1)
IDENTITY_MAP: dict[str, Any] = {"stream_maps": {"profiles": {"__alias__": "profiles"}}}
"""A stream map that changes nothing."""
NO_HASH: dict[str, Any] = {"stream_maps": {"profiles": {"__filter__": "randint(1) >= 0"}}}
"""A stream map that changes nothing either; records have no hash, as it names chance."""
ADA = "ada@example.com"
PLAIN = {"format": "jsonl", "compression": "none"}


# All windows


class Case(NamedTuple):
    """How the target takes records.

    Attributes:
        server: Runs it.
        sandbox: Where to.
        settings: Its settings.
        in_files: Whether records come in batch files.
        is_small: Whether it has the small windows of most.
    """

    server: ForkServer
    sandbox: SandboxServer
    settings: dict[str, Any]
    in_files: bool = False
    is_small: bool = True


@pytest.fixture(scope="module")
def cases() -> Iterator[list[Case]]:
    """Small windows; the same with all else that must make no difference; and large ones."""
    with ExitStack() as stack:
        small, single, large = map(ForkServer, (SMALL, SINGLE, QUICK))
        sandboxes = [stack.enter_context(quick_sandbox()) for _ in range(6)]
        yield [
            Case(small, sandboxes[0], {}),
            Case(single, sandboxes[1], {}, is_small=False),
            Case(small, sandboxes[2], NO_HASH),
            Case(small, sandboxes[3], IDENTITY_MAP),
            Case(large, sandboxes[4], {}, is_small=False),
            Case(small, sandboxes[5], {}, in_files=True),
        ]


def in_files(messages: list[Any], folder: Path) -> list[Any]:
    """Put the records of messages into batch files."""
    found: list[Any] = []
    for is_record, some in itertools.groupby(messages, lambda one: one["type"] == "RECORD"):
        group = list(some)
        if not is_record:
            found += group
            continue
        path = folder / f"{len(found)}.jsonl"
        path.write_text("".join(json.dumps(one["record"]) + "\n" for one in group), "utf-8")
        found.append({**batch(PLAIN, path), "version": group[0]["version"]})
    return found


class Source:
    """A source whose people change, come and go from day to day."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._people: dict[str, dict[str, Any]] = {}
        self.twice = False
        for _ in range(20):
            self._come()

    def _come(self) -> None:
        name = f"P{self._random.randrange(60)}@Example.com"
        self._people[name] = {"first_name": "A", "tier": "Gold", "city": "Oslo"}

    def day(self) -> list[Any]:
        """The messages of a day."""
        some = self._random
        for _ in range(some.randrange(4)):
            self._come()
        for name in some.sample(list(self._people), some.randrange(5)):
            change: dict[str, Any] = some.choice(
                [{"tier": "Silver"}, {"city": None}, {"city": some.choice("XYZ")}, {"note": "n"}]
            )
            self._people[name] = {**self._people[name], **change}
        if some.random() < 0.3:
            del self._people[some.choice(list(self._people))]
        records = [(name, values) for name, values in self._people.items()]
        some.shuffle(records)
        self.twice = some.random() < 0.4
        if self.twice:
            name, values = some.choice(records)
            records.insert(some.randrange(len(records)), (name.upper(), values))
            records.append((name, {**values, "city": some.choice("XYZ")}))
        volatile = some.random() < 0.3
        version = some.randrange(10**6)
        types = {"tier": "string", "city": "string", "note": "string", "_sdc_at": "integer"}
        messages: list[Any] = [schema(**types)]
        for number, (name, values) in enumerate(records):
            extra = {"_sdc_at": some.randrange(10**9)} if volatile else {}
            bad = {"tier": "Lead"} if some.random() < 0.03 else {}
            one = record(name, **{**values, **extra, **bad})
            if some.random() < 0.05:
                gone = {**one["record"], "_sdc_deleted_at": "2026-01-01T00:00:00Z"}
                if some.random() < 0.5:
                    self.twice = True
                    messages.append({**one, "version": version})
                one = {**one, "record": gone}
            messages.append({**one, "version": version})
            if some.random() < 0.1:
                messages.append(state(number))
        messages += [activate(version), state("end")]
        return messages


@pytest.mark.parametrize("seed", range(SEEDS))
def test_same_account_whatever_the_window_hash_map_or_file(
    cases: list[Case], tmp_path: Path, seed: int
) -> None:
    mode = ("upsert", "mirror", "upsert", "create_only")[seed % 4]
    settings: dict[str, Any] = {
        "sync_mode": mode,
        "guards": {"max_leave_pct": None, "min_source_pct": None},
    }
    if mode == "create_only":
        # Of two records of a new contact, one window merges what another sends and skips.
        cases = [case for case in cases if case.is_small]
    runners = []
    for number, case in enumerate(cases):
        case.sandbox.reset()
        folder = tmp_path / str(number)
        folder.mkdir()
        runners.append(
            ForkedTargetRunner(folder, case.sandbox.url, case.sandbox.api_key, case.server)
        )
    no_hash = next(case for case in cases if case.settings is NO_HASH)
    source = Source(seed)
    unchanged = 0
    for _ in range(5):
        messages = source.day()
        outcomes = [
            runner(
                in_files(messages, runner.folder) if case.in_files else messages,
                **settings,
                **case.settings,
            ).succeeded()
            for runner, case in zip(runners, cases, strict=True)
        ]
        expected = shown(cases[0].sandbox)
        assert all(shown(case.sandbox) == expected for case in cases)
        assert [one.states[-1:] for one in outcomes] == len(cases) * [["end"]]
        assert len({one.report["left"] for one in outcomes}) == 1
        if not source.twice:
            # Of a contact that comes twice, one window merges what another settles apart.
            assert all(one.counts == outcomes[0].counts for one in outcomes)
        unchanged += outcomes[0].counts.get("unchanged", 0)
    assert set(digests(runners[cases.index(no_hash)].folder)) == {None}
    assert unchanged > 20 or mode == "create_only"


def shown(sandbox: SandboxServer) -> dict[str, Any]:
    """Return all contacts, as far as all cases must agree."""
    return {
        email: {k: one[k] for k in ("first_name", "lists", "fields")}
        for email, one in sandbox.contacts().items()
    }


# What the ledger keeps


def digests(folder: Path) -> list[bytes | None]:
    """The digests of the records that contacts were made of."""
    with ledger(f"sqlite:///{folder / LEDGER}") as db:
        rows = db.exec_driver_sql("SELECT raw FROM member ORDER BY person")
        return [row[0] for row in rows]


def test_hashes_of_records_with_the_same_contact_are_stored_unless_most_differ(
    load: TargetRunner,
) -> None:
    def run(moments: list[int]) -> list[bytes | None]:
        types = {"_sdc_at": "integer"}
        records = [
            {**one, "record": {**one["record"], "_sdc_at": moment}}
            for one, moment in zip(people(10), moments, strict=True)
        ]
        outcome = load([schema(**types), *records, state("end")]).succeeded()
        assert outcome.counts.get("unchanged", 0) + outcome.counts.get("added", 0) == 10
        return digests(load.folder)

    first = run([1] * 10)
    assert None not in first
    assert run([2] * 10) == first, "it changes each time"
    few = run([1] * 7 + [3] * 3)
    assert sum(a != b for a, b in zip(first, few, strict=True)) == 3


UPPER = {"first_name": "first_name.upper()", "__filter__": "first_name != 'Person 0'"}


@pytest.mark.parametrize(
    "rules",
    [UPPER, {**UPPER, "email": "email.lower()"}, {**UPPER, "__alias__": "profiles"}],
    ids=["address as it is", "address computed", "alias"],
)
@pytest.mark.parametrize("flat", [{}, {"flattening_enabled": True, "flattening_max_depth": 1}])
def test_mapped_records_are_known_by_their_hash_until_the_map_changes(
    load: TargetRunner, rules: dict[str, Any], flat: dict[str, Any]
) -> None:
    messages = [schema(), *people(5), state("end")]
    load.config.update(flat)

    assert load(messages, stream_maps={"profiles": rules}).succeeded().counts["added"] == 4
    known = digests(load.folder)
    again = load(messages, stream_maps={"profiles": rules}).succeeded()
    assert again.counts == {"read": 4, "unchanged": 4}
    assert None not in known
    assert digests(load.folder) == known

    other = {**rules, "first_name": "first_name.lower()"}
    changed = load(messages, stream_maps={"profiles": other}).succeeded()
    assert changed.counts == {"read": 4, "changed": 4}


@pytest.mark.parametrize("rule", ["str(datetime.date.today())", "str(randint(1))"])
def test_map_with_a_clock_or_chance_stores_no_hash(load: TargetRunner, rule: str) -> None:
    load([schema(), *people(2)], stream_maps={"profiles": {"notes": rule}}).succeeded()
    assert digests(load.folder) == [None, None]


def test_routes_of_one_record_keep_the_order_of_records(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    maps = {"copy": {"__source__": "profiles", "__filter__": "tier == 'Gold'"}}
    messages = [
        schema(tier="string"),
        record(ADA, tier="Gold", first_name="First"),
        record(ADA, tier="Silver", first_name="Last"),
        state("end"),
    ]
    for _ in range(2):
        load(messages, stream_maps=maps, streams={"copy": {"list_id": 2}}).succeeded()
        ada = sandbox.contacts()[ADA]
        assert (ada["first_name"], ada["fields"]["TIER"]) == ("Last", "Silver")


# What else counts


@pytest.mark.parametrize(
    "change",
    [
        {"tags": ["new"]},
        {"field_mapping": {"city": "NOTES"}},
        {"list_id": 2},
        {"null_policy": "clear"},
        {"full_resync": True},
        {"default_country": "DE"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_changed_setting_makes_records_looked_at_again(
    load: TargetRunner, change: dict[str, Any]
) -> None:
    messages = [
        schema(city="string", tier="string", phone="string"),
        record(ADA, city="Oslo", tier=None, phone="030 1234567"),
        state(1),
    ]
    load(messages).succeeded()
    assert load(messages).succeeded().counts == {"read": 1, "unchanged": 1}
    assert "unchanged" not in load(messages, **change).succeeded().counts


def test_dropped_value_is_counted_each_time(load: TargetRunner) -> None:
    messages = [schema(tier="string"), record(ADA, tier="Lead"), state(1)]
    for _ in range(2):
        outcome = load(messages, on_unknown_option="drop").succeeded()
        assert outcome.report["streams"]["profiles"]["dropped"] == {"tier": 1}


def test_option_added_later_is_found(sandbox: SandboxServer, load: TargetRunner) -> None:
    messages = [schema(tier="string"), record(ADA, tier="gold"), state(1)]
    load(messages).succeeded()
    field = next(
        f for f in sandbox.get("/api/3/fields", limit=100)["fields"] if f["title"] == "Tier"
    )
    option = {"field": field["id"], "label": "gold", "value": "gold"}
    sandbox.post("/api/3/fieldOption/bulk", {"fieldOptions": [option]})
    assert load(messages).succeeded().counts == {"read": 1, "changed": 1}
    assert sandbox.contacts()[ADA]["fields"]["TIER"] == "gold"


def test_state_waits_for_records_in_window(load: ForkedTargetRunner) -> None:
    messages = [schema(), *people(3), state(1)]
    load(messages).succeeded()
    new = [record(f"new{n}@example.com") for n in range(3)]
    again = [schema(), *people(3), state(2), *new, state(3), {"type": "RECORD"}]
    outcome = load(again)
    assert outcome.code == 1, "the last message is none"
    assert outcome.states[-1] == 3
    assert outcome.counts == {"read": 6, "unchanged": 3, "added": 3}


# In their order


def test_record_that_only_a_patient_reader_reads_keeps_its_place(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    types = {"unmapped": "number"}
    first = record(ADA, first_name="First", unmapped=1)
    # Not JSON by the letter, so nobody takes it as it is.
    later = '{"type":"RECORD","stream":"profiles","record":{"email":"%s","first_name":"Later",'
    later = later % ADA + '"unmapped":NaN}}'
    for _ in range(2):
        load([schema(**types), first, later, state(1)]).succeeded()
        assert sandbox.contacts()[ADA]["first_name"] == "Later"
        load([schema(**types), later, first, state(1)]).succeeded()
        assert sandbox.contacts()[ADA]["first_name"] == "First"


def test_batch_file_keeps_its_place(sandbox: SandboxServer, load: TargetRunner) -> None:
    path = load.folder / "later.jsonl"
    path.write_text(json.dumps({"email": ADA, "first_name": "Later"}) + "\n", "utf-8")
    files = batch(PLAIN, path)
    for first in ("First", "First", "Else"):
        messages = [schema(), *people(3), record(ADA, first_name=first), files, state(1)]
        load(messages).succeeded()
        assert sandbox.contacts()[ADA]["first_name"] == "Later"


def test_streams_that_take_turns_keep_their_mappings(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    def messages(note: str) -> list[dict[str, Any]]:
        return [
            schema("a", city="string"),
            record("a1@example.com", "a", city=note),
            record("a2@example.com", "a", city=note),
            schema("b", notes="string"),
            record("b1@example.com", "b", notes=note),
            record("b2@example.com", "b", notes=note),
            schema("a", city="string", tier="string"),
            record("a3@example.com", "a", city=note, tier="Gold"),
            record("b3@example.com", "b", notes=note),
            state(note),
        ]

    for note in ("one", "one", "two"):
        outcome = load(messages(note), streams={"b": {"list_id": 2}}).succeeded()
        held = {who: one["fields"] for who, one in sandbox.contacts().items()}
        assert held == {
            "a1@example.com": {"CITY": note},
            "a2@example.com": {"CITY": note},
            "a3@example.com": {"CITY": note, "TIER": "Gold"},
            **{f"b{n}@example.com": {"NOTES": note} for n in (1, 2, 3)},
        }
        assert {who: set(one["lists"]) for who, one in sandbox.contacts().items()} == {
            who: {"2" if who.startswith("b") else "1"} for who in held
        }
        assert {name: one["counts"]["read"] for name, one in outcome.report["streams"].items()} == {
            "a": 3,
            "b": 3,
        }


def test_records_of_batch_files_are_known_by_their_hash(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    path = load.folder / "people.jsonl"
    records = [one["record"] for one in people(20)]
    files = batch(PLAIN, path)
    path.write_text("".join(json.dumps(one) + "\n" for one in records), "utf-8")
    load([schema(), files, state(1)]).succeeded()
    known = digests(load.folder)
    assert None not in known

    path.write_text("".join(json.dumps(one) + " \n" for one in records), "utf-8")
    outcome = load([schema(), files, state(2)]).succeeded()
    assert outcome.counts == {"read": 20, "unchanged": 20}
    assert outcome.states == [2]
    assert digests(load.folder) == known

    damaged = "".join(json.dumps(one) + "\n" for one in records[:3]) + '{"email": "x'
    path.write_text(damaged, "utf-8")
    outcome = load([schema(), files, state(3)])
    assert outcome.code == 1
    assert "Line 4 of the batch file" in outcome.log
    assert outcome.counts == {"read": 3, "unchanged": 3}
    assert outcome.states == []


def test_record_refused_before_one_that_ends_the_run_is_in_reject_file(
    load: TargetRunner,
) -> None:
    no_record = {"type": "RECORD", "stream": "profiles", "record": None}
    messages = [schema(), record(ADA), record("nobody"), record("b@example.com")]
    outcome = load([*messages, no_record])
    assert outcome.code == 1
    assert outcome.report["refused"]["EMAIL_INVALID"]["records"] == 1
    assert outcome.report["counts"]["unsettled"] == 0


@pytest.mark.parametrize("name", ['e"mail', "e\\mail", "e\nmail"])
def test_address_may_be_in_a_property_of_any_name(
    sandbox: SandboxServer, load: TargetRunner, name: str
) -> None:
    message = schema()
    message["schema"]["properties"][name] = {"type": "string", "description": "half: \ud800"}
    one = {"type": "RECORD", "stream": "profiles", "record": {name: ADA}}
    outcome = load([message, one, one], field_mapping={name: "email", "email": "ignore"})
    outcome.succeeded()
    assert set(sandbox.contacts()) == {ADA}
