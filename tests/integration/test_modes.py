"""`update_only` and `create_only`: who is left out, and how it is known whom the account has."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from tests.support.fork_server import ForkServer
from tests.support.mirrors import IMPORT, QUICK, wait_for
from tests.support.target_runner import people, record, schema, state

if TYPE_CHECKING:
    from tests.support.fork_server import ForkedTargetRunner, RunningTarget
    from tests.support.sandbox_server import SandboxServer

CONTACTS = "/api/3/contacts"
UPDATE = {"sync_mode": "update_only"}
CREATE = {"sync_mode": "create_only"}
ADA = "ada@example.com"

SMALL_WINDOWS = replace(QUICK, window_records=4)
"""So small that a few records are more than one."""
FILLER = people(5)


@pytest.fixture(scope="module")
def fork_server() -> ForkServer:
    return ForkServer(SMALL_WINDOWS)


def prepared(sandbox: SandboxServer, count: int) -> list[int]:
    """Let the account have the first of `people`; returns their contacts' ids."""
    sandbox.prepare(*({"email": one["record"]["email"]} for one in people(count)))
    return [int(one["id"]) for one in sandbox.export()]


# Who is left out


def test_update_only_creates_no_contact(sandbox: SandboxServer, load: ForkedTargetRunner) -> None:
    sandbox.prepare(
        {"email": "Ada@Example.com", "first_name": "Old", "lists": {"2": 1}},
        {"email": "ben@example.com", "first_name": "Old"},
    )
    messages = [
        schema(),
        record("ADA@example.com", first_name="New"),
        record("eve@example.com", first_name="New"),
        record("ben@example.com", first_name="New"),
        state("end"),
    ]
    outcome = load(messages, tags=["t"], **UPDATE).succeeded()
    assert outcome.counts == {"read": 3, "added": 2, "skipped": 1}
    assert outcome.states == ["end"]
    contacts = sandbox.contacts()
    assert set(contacts) == {ADA, "ben@example.com"}
    assert {one["first_name"] for one in contacts.values()} == {"New"}
    assert contacts[ADA]["lists"] == {"1": 1, "2": 1}
    assert contacts[ADA]["tags"] == ["t"]
    outcome = load(messages, tags=["t"], **UPDATE).succeeded()
    assert outcome.counts == {"read": 3, "unchanged": 2, "skipped": 1}


def test_create_only_skips_existing_contacts(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.prepare(
        {
            "email": "Ada@Example.com",
            "first_name": "Old",
            "fields": {"TIER": "Gold"},
            "tags": ["old"],
            "lists": {"2": 1},
        },
        {"email": "ben@example.com", "lists": {"1": 2}},
    )
    before = sandbox.contacts()
    values = {"first_name": "New", "tier": "Silver"}
    messages = [
        schema(tier="string"),
        *(record(f"{name}@example.com", **values) for name in ("ADA", "eve", "ben")),
        state("end"),
    ]
    outcome = load(messages, tags=["t"], **CREATE).succeeded()
    assert outcome.counts == {"read": 3, "added": 1, "skipped": 2}
    assert outcome.states == ["end"]
    after = sandbox.contacts()
    eve = after.pop("eve@example.com")
    assert (eve["first_name"], eve["fields"], eve["tags"]) == ("New", {"TIER": "Silver"}, ["t"])
    assert eve["lists"] == {"1": 1}
    assert after == before


def test_create_only_skips_contacts_that_it_created(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    for value in ("First", "Second"):
        load([schema(), record(ADA, first_name=value)], **CREATE).succeeded()
        (ada,) = sandbox.export()
        assert (ada["first_name"], ada["times_imported"]) == ("First", 1)
    (load.folder / ".activecampaign-ledger.db").unlink()
    outcome = load([schema(), record(ADA, first_name="Third")], **CREATE).succeeded()
    assert outcome.counts == {"read": 1, "skipped": 1}


def test_sync_mode_of_each_stream(sandbox: SandboxServer, load: ForkedTargetRunner) -> None:
    sandbox.prepare({"email": "there@example.com", "first_name": "Old"})
    modes = {"all": "upsert", "old": "update_only", "new": "create_only"}
    messages: list[Any] = []
    for stream in modes:
        messages.append(schema(stream))
        messages.append(record(f"{stream}@example.com", stream, first_name=stream))
    messages += [
        record("there@example.com", "old", first_name="old"),
        record("there@example.com", "new", first_name="new"),
    ]
    streams = {stream: {"sync_mode": mode} for stream, mode in modes.items()}
    outcome = load(messages, streams=streams).succeeded()
    assert {email: one["first_name"] for email, one in sandbox.contacts().items()} == {
        "there@example.com": "old",
        "all@example.com": "all",
        "new@example.com": "new",
    }
    assert {name: one["sync_mode"] for name, one in outcome.report["streams"].items()} == modes


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"sync_mode": "updateonly"}, "sync_mode"),
        ({"streams": {"profiles": {"sync_mode": "delete"}}}, "streams.profiles.sync_mode"),
    ],
)
def test_unknown_mode_is_an_error_that_lists_the_modes(
    sandbox: SandboxServer, load: ForkedTargetRunner, settings: dict[str, Any], name: str
) -> None:
    outcome = load([schema(), record(ADA)], **settings)
    assert outcome.code == 1
    assert f"'{name}' must be one of upsert, update_only, create_only, mirror." in outcome.log
    assert sandbox.requests() == []


# The same person more than once


def arrived(running: RunningTarget, sandbox: SandboxServer, *messages: Any) -> None:
    """Feed a run, and wait until ActiveCampaign has said that all of it is imported."""
    count = len(sandbox.imports())
    running.feed(messages)

    def told() -> bool:
        imports = sandbox.imports()[count:]
        answers = [one["query"] for one in sandbox.requests(path="/api/3/import/info")]
        done = [one for one in imports if one["status"] == "completed"]
        return (
            bool(done) and len(done) == len(imports) and f"batchId={done[-1]['batch']}" in answers
        )

    wait_for(told)
    time.sleep(0.2)  # for one more question, and for the answer to be written down


@pytest.mark.parametrize("between", ["on its way", "arrived", "killed"])
def test_create_only_delivers_the_first_record_of_a_contact(
    sandbox: SandboxServer, load: ForkedTargetRunner, between: str
) -> None:
    first, second = record(ADA, first_name="First"), record(ADA, first_name="Second")
    if between == "on its way":
        outcome = load([schema(), first, *FILLER, second], **CREATE).succeeded()
        assert outcome.counts == {"read": 7, "added": 6, "skipped": 1}
    else:
        running = load.start(checkpoint_seconds=0.05, **CREATE)
        arrived(running, sandbox, schema(), first)
        if between == "killed":
            running.kill()
            assert running.wait().code == -signal.SIGKILL
            outcome = load([schema(), first, *FILLER, second], **CREATE).succeeded()
            assert outcome.counts == {"read": 7, "added": 5, "skipped": 2}
        else:
            running.feed([*FILLER, second])
            assert running.wait().succeeded().counts == {"read": 7, "added": 6, "skipped": 1}
    ada = sandbox.contacts()[ADA]
    assert (ada["first_name"], ada["times_imported"]) == ("First", 1)


def test_create_only_creates_contacts_once_after_a_kill(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    messages = [schema(), record(ADA, first_name="First"), *FILLER]
    sandbox.fault("queue_slow", seconds=1, times=2)
    running = load.start(messages, batch_size_rows=2, **CREATE)
    wait_for(lambda: len(sandbox.requests(path=IMPORT, status=200)) == 3)
    time.sleep(0.1)  # for the answers to be written down
    running.kill()
    running.wait()
    load([*messages, record(ADA, first_name="Second")], **CREATE).succeeded()
    contacts = sandbox.contacts()
    assert len(contacts) == 6
    assert {one["times_imported"] for one in contacts.values()} == {1}
    assert contacts[ADA]["first_name"] == "First"


@pytest.mark.parametrize("first_mode", ["upsert", "create_only"])
@pytest.mark.parametrize("between", ["near", "arrived"])
def test_create_only_skips_contacts_created_by_another_stream(
    sandbox: SandboxServer, load: ForkedTargetRunner, first_mode: str, between: str
) -> None:
    streams = {
        "vip": {"list_id": 2, "sync_mode": first_mode},
        "news": {"list_id": 1, **CREATE},
    }
    running = load.start(checkpoint_seconds=0.05, streams=streams)
    running.feed([schema("vip"), schema("news")])
    first = record(ADA, "vip", first_name="First")
    if between == "near":
        running.feed([first])
    else:
        arrived(running, sandbox, first)
    running.feed([record(ADA, "news", first_name="Second")])
    outcome = running.wait().succeeded()
    (ada,) = sandbox.export()
    assert (ada["first_name"], ada["lists"]) == ("First", {"2": 1})
    assert outcome.counts == {"read": 2, "added": 1, "skipped": 1}


# The index of those whom the account has


def but_for_opt_outs(sandbox: SandboxServer) -> list[dict[str, Any]]:
    """The requests for contacts, but for those that have opted out of a list or bounced."""
    return [one for one in sandbox.requests(path=CONTACTS) if "status=" not in one["query"]]


def pages(sandbox: SandboxServer, since: int = 0) -> list[int]:
    """After which contact each page was read, in all requests or in those after so many."""
    queries = [
        parse_qs(one["query"])
        for one in sandbox.requests()[since:]
        if one in but_for_opt_outs(sandbox) and "id_greater" in one["query"]
    ]
    assert all(query["limit"] == ["100"] for query in queries)
    return [int(query["id_greater"][0]) for query in queries]


@pytest.mark.parametrize("mode", [UPDATE, CREATE], ids=["update_only", "create_only"])
def test_contact_index_is_read_once_then_only_new_contacts(
    sandbox: SandboxServer, load: ForkedTargetRunner, mode: dict[str, str]
) -> None:
    ids = prepared(sandbox, 250)
    load([schema(), record("new@example.com")], **mode).succeeded()
    assert pages(sandbox) == [0, ids[99], ids[199]]
    sandbox.prepare(*({"email": f"more{number}@example.com"} for number in range(3)))
    asked = len(sandbox.requests())
    messages = [schema(), record("more1@example.com", first_name="Changed"), *people(250)]
    outcome = load(messages, **mode).succeeded()
    assert pages(sandbox, asked) == [ids[-1]]
    here = {"added": 251} if mode is UPDATE else {"skipped": 251}
    assert outcome.counts == {"read": 251, **here}
    asked = len(sandbox.requests())
    load([schema()], **mode).succeeded()
    assert pages(sandbox, asked) == [max(int(one["id"]) for one in sandbox.export())]


@pytest.mark.parametrize("more", [0, 1, 2], ids="and {} more are there".format)
def test_update_only_does_not_recreate_deleted_contacts(
    sandbox: SandboxServer, load: ForkedTargetRunner, more: int
) -> None:
    ids = prepared(sandbox, 120)
    load([schema(), *people(120)], **UPDATE).succeeded()
    sandbox.delete("person7@example.com")
    sandbox.prepare(*({"email": f"more{number}@example.com"} for number in range(more)))
    asked = len(sandbox.requests())
    changed = [schema(), *people(120, last_name="Changed")]
    changed[0] = schema(last_name="string")
    outcome = load(changed, **UPDATE).succeeded()
    assert outcome.counts == {"read": 120, "changed": 119, "skipped": 1}
    assert "person7@example.com" not in sandbox.contacts()
    assert pages(sandbox, asked) == [ids[-1], 0, ids[100]]
    asked = len(sandbox.requests())
    load(changed, **UPDATE).succeeded()
    assert len(pages(sandbox, asked)) == 1


def test_streams_of_one_run_share_the_contact_index(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    prepared(sandbox, 3)
    messages = [schema("a"), schema("b"), *people(3, "a"), *people(3, "b"), schema("c")]
    streams = {"a": UPDATE, "b": {**CREATE, "list_id": 2}, "c": {**UPDATE, "list_id": 3}}
    load(messages, streams=streams).succeeded()
    assert pages(sandbox) == [0]
    assert len(but_for_opt_outs(sandbox)) == 2, "one for the total, one for the page"


def test_upsert_does_not_read_the_contact_index(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    prepared(sandbox, 3)
    load([schema(), *people(3)]).succeeded()
    assert but_for_opt_outs(sandbox) == []
