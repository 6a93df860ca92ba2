"""`only_if_empty`: values that are only written if the contact has none."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from target_activecampaign.client import Client, RateLimiter
from target_activecampaign.sync.existing_values import StoredValues
from target_activecampaign.sync.stop import StopRequest
from tests.support import target_runner
from tests.support.api_stub import ApiStub, Reply, client_of
from tests.support.fork_server import ForkServer
from tests.support.mirrors import QUICK
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer

CONTACTS, FIELD_VALUES = "/api/3/contacts", "/api/3/fieldValues"
ADA, BEN, EVE = "ada@example.com", "ben@example.com", "eve@example.com"


# What is known of people


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[Client]:
    with Client(sandbox.url, sandbox.api_key, budget=RateLimiter(None, None, None)) as client:
        yield client


@pytest.fixture
def stored_values(client: Client) -> Iterator[Callable[..., StoredValues]]:
    """Make what is tested; custom fields are given by their tags."""
    made: list[StoredValues] = []

    def make(*destinations: str) -> StoredValues:
        fields = {f"%{one.tag}%": one.id for one in client.fields()}
        chosen = tuple(fields.get(one, one) for one in destinations)
        made.append(StoredValues(client, chosen, HASHES, StopRequest()))
        return made[-1]

    yield make
    for one in made:
        one.close()


def person(address: str) -> bytes:
    return b"hash of " + address.encode()


HASHES = cast("Any", SimpleNamespace(contact_hash=person))
"""Stands in for the ledger."""


def people(*addresses: str) -> dict[bytes, str]:
    return {person(address): address for address in addresses}


def several(count: int, **values: Any) -> list[dict[str, Any]]:
    """So many people as the sandbox is to have them."""
    return [{"email": f"person{number}@example.com", **values} for number in range(count)]


def named(client: Client, found: Mapping[bytes, set[str | int]]) -> dict[str, set[str | int]]:
    """What was found by address, custom fields by their tags."""
    tags: dict[str | int, str] = {one.id: f"%{one.tag}%" for one in client.fields()}
    return {
        key.removeprefix(b"hash of ").decode(): {tags.get(one, one) for one in destinations}
        for key, destinations in found.items()
    }


def paths(sandbox: SandboxServer, since: int) -> list[str]:
    """What was asked for since so many requests, but for opt-outs, bounces and exclusions."""
    return sorted(
        one["path"]
        for one in sandbox.requests()[since:]
        if "status=" not in one["query"] and one["path"] != "/api/3/lists/exclusions"
    )


def asked_about_people(sandbox: SandboxServer) -> bool:
    return any(re.search(r"contacts/\d+/fieldValues", one["path"]) for one in sandbox.requests())


FULL = {
    "first_name": "Ada",
    "last_name": "Lovelace",
    "phone": "+32470123456",
    "organization": "Engines",
    "fields": {"TIER": "Gold", "CITY": "Ghent"},
}
ALL = ("first_name", "last_name", "phone", "customer_account", "%TIER%", "%CITY%")


@pytest.mark.parametrize("others", [0, 300], ids=["the account is read", "each is asked about"])
def test_stored_values_are_found(
    sandbox: SandboxServer,
    client: Client,
    stored_values: Callable[..., StoredValues],
    others: int,
) -> None:
    sandbox.prepare(
        {"email": "Ada@Example.com", **FULL},
        {"email": BEN, "last_name": "Bell", "fields": {"TIER": "", "CITY": "Bruges"}},
        {"email": "eve@example.com", "phone": "1"},
        {"email": "nothing@example.com"},
        *several(others, fields={"TIER": "Gold", "CITY": "Ghent"}),
    )
    asked = people(ADA, BEN, "nothing@example.com", "stranger@example.com")
    assert named(client, stored_values(*ALL).filled(asked)) == {
        ADA: set(ALL),
        BEN: {"last_name", "%CITY%"},
    }
    assert asked_about_people(sandbox) == (others > 0)
    # What does not matter is not found.
    assert named(client, stored_values("phone", "%TIER%").filled(asked)) == {
        ADA: {"phone", "%TIER%"}
    }


def test_lookup_takes_one_request_per_contact_and_one_for_custom_fields(
    sandbox: SandboxServer, stored_values: Callable[..., StoredValues]
) -> None:
    sandbox.prepare(*several(700, fields={"TIER": "Gold"}))
    ada, ben = sandbox.export()[:2]
    asked = people(ada["email"], ben["email"], "stranger@example.com")

    names, everything = stored_values("phone"), stored_values("phone", "%TIER%")
    since = len(sandbox.requests())
    names.filled(asked)
    # One counts the account's contacts, to know what reading them would take.
    assert paths(sandbox, since) == [CONTACTS] * 4

    since = len(sandbox.requests())
    everything.filled(asked)
    own = sorted(f"{CONTACTS}/{one['id']}/fieldValues" for one in (ada, ben))
    assert paths(sandbox, since) == sorted([*([CONTACTS] * 4), *own, FIELD_VALUES])


def test_no_contact_is_looked_up_twice(
    sandbox: SandboxServer, stored_values: Callable[..., StoredValues]
) -> None:
    sandbox.prepare(*several(700))
    stored = stored_values("phone", "%TIER%")
    stored.filled(people("person1@example.com", "stranger@example.com"))
    since = len(sandbox.requests())
    stored.filled(people("person1@example.com", "stranger@example.com"))
    assert paths(sandbox, since) == []
    stored.filled(people("person2@example.com", "stranger@example.com"))
    assert paths(sandbox, since)[0] == CONTACTS
    assert len(paths(sandbox, since)) == 2


def test_account_is_read_once_lookups_have_cost_as_much(
    sandbox: SandboxServer, client: Client, stored_values: Callable[..., StoredValues]
) -> None:
    sandbox.prepare(
        *several(250, fields={"TIER": "Gold"}), {"email": ADA, "fields": {"TIER": "Silver"}}
    )
    stored = stored_values("%TIER%")  # to be read in 3 + 3 requests
    stored.filled(people("person1@example.com", "person2@example.com"))
    stored.filled(people("person3@example.com"))
    since = len(sandbox.requests())
    assert named(client, stored.filled(people(ADA, "stranger@example.com"))) == {ADA: {"%TIER%"}}
    assert sandbox.requests()[since:][-1]["path"] == "/api/3/fields"  # by this test
    assert paths(sandbox, since)[:-1] == [CONTACTS] * 3 + [FIELD_VALUES] * 3

    since = len(sandbox.requests())
    assert len(stored.filled(people(*(f"person{n}@example.com" for n in range(250))))) == 250
    assert stored.filled(people(EVE)) == {}
    assert paths(sandbox, since) == []


def test_more_new_contacts_are_looked_up_as_they_cost_less(
    sandbox: SandboxServer, stored_values: Callable[..., StoredValues]
) -> None:
    sandbox.prepare(*several(250, fields={"TIER": "Gold"}))
    stored = stored_values("%TIER%")  # to be read in 3 + 3 requests
    for number in range(5):
        since = len(sandbox.requests())
        stored.filled(people(f"stranger{number}@example.com"))
        counts = [CONTACTS, FIELD_VALUES] if not number else []
        assert paths(sandbox, since) == sorted([CONTACTS, *counts])
    since = len(sandbox.requests())
    stored.filled(people("stranger6@example.com"))
    assert paths(sandbox, since) == [CONTACTS] * 3 + [FIELD_VALUES] * 3


def test_account_of_unknown_size_is_read() -> None:
    rows = [{"id": "1", "email": ADA, "phone": "1"}, {"id": "2", "email": BEN, "phone": ""}]
    with ApiStub(Reply({"contacts": rows})) as stub, client_of(stub) as client:
        stored = StoredValues(client, ("phone",), HASHES, StopRequest())
        assert stored.filled(people(ADA, BEN)) == {person(ADA): {"phone"}}
        stored.close()
    assert [asked.query.get("id_greater") for asked in stub.asked] == [None, "0"]


def test_contact_deleted_meanwhile_has_no_values() -> None:
    contact = {"id": "1", "email": ADA, "phone": ""}
    replies = (
        Reply({"contacts": [contact], "meta": {"total": "500"}}),
        Reply({"fieldValues": [], "meta": {"total": "0"}}),
        Reply({"contacts": [contact]}),
        Reply({"message": "No Result found for Subscriber with id 1"}, 404),
    )
    with ApiStub(*replies) as stub, client_of(stub) as client:
        stored = StoredValues(client, ("phone", 7), HASHES, StopRequest())
        assert stored.filled(people(ADA)) == {}
        stored.close()
    assert len(stub.asked) == 4


@pytest.mark.parametrize("others", [0, 300], ids=["the account is read", "each is asked about"])
def test_values_sent_by_the_run_count(
    sandbox: SandboxServer,
    client: Client,
    stored_values: Callable[..., StoredValues],
    others: int,
) -> None:
    sandbox.prepare(
        {"email": ADA, "phone": "1"},
        {"email": BEN},
        *several(others, fields={"TIER": "Gold"}),
    )
    stored = stored_values("phone", "last_name", "%TIER%")
    tier = next(one.id for one in client.fields() if one.tag == "TIER")
    stored.fill(person(ADA), {tier})
    stored.filled(people(ADA, BEN, EVE))
    stored.fill(person(EVE), {"phone", "first_name", 99})
    stored.fill(person(EVE), {"phone", "last_name"})
    stored.fill(person(BEN), ())
    assert named(client, stored.filled(people(ADA, BEN, EVE))) == {
        ADA: {"phone", "%TIER%"},
        EVE: {"phone", "last_name"},
    }
    assert asked_about_people(sandbox) == (others > 0)


# What is sent

PHONE = {"only_if_empty": ["phone"]}
FILLER = target_runner.people(5)
"""More people than are compared at once."""


@pytest.fixture(scope="module")
def fork_server() -> ForkServer:
    return ForkServer(replace(QUICK, window_records=4))


def profile(
    email: str, phone: str | None, stream: str = "profiles", **values: Any
) -> list[dict[str, Any]]:
    """A stream of one person."""
    types = dict.fromkeys(("phone", *values), "string")
    return [schema(stream, **types), record(email, stream, phone=phone, **values)]


def asked_of_contacts(sandbox: SandboxServer, since: int = 0) -> int:
    """Requests for contacts and what they have."""
    return len([one for one in paths(sandbox, since) if one.startswith((CONTACTS, FIELD_VALUES))])


def test_existing_value_is_kept_and_empty_one_is_filled(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.prepare(
        {"email": ADA, "phone": "1", "first_name": "Old", "fields": {"TIER": "Gold"}},
        {"email": BEN, "phone": "", "last_name": "Old", "fields": {"TIER": ""}},
    )
    chosen = ["phone", "last_name", "%TIER%"]
    values = {"first_name": "New", "last_name": "New", "tier": "Silver"}
    messages: list[Any] = [schema(phone="string", last_name="string", tier="string")]
    messages += [record(one, phone="2", **values) for one in (ADA, BEN, EVE)]
    outcome = load(messages, only_if_empty=chosen).succeeded()
    assert outcome.counts == {"read": 3, "added": 3}

    ada, ben, eve = sandbox.export()
    for one in (ada, ben, eve):
        assert (one["first_name"], one["lists"]) == ("New", {"1": 1})
    assert (ada["phone"], ada["last_name"], ada["fields"]) == ("1", "New", {"TIER": "Gold"})
    assert (ben["phone"], ben["last_name"], ben["fields"]) == ("2", "Old", {"TIER": "Silver"})
    assert (eve["phone"], eve["last_name"], eve["fields"]) == ("2", "New", {"TIER": "Silver"})


def test_existing_account_is_kept_and_missing_one_is_filled(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.prepare({"email": ADA, "organization": "Engines"}, {"email": BEN})
    messages: list[Any] = [schema(company="string")]
    messages += [record(one, company="Bells") for one in (ADA, BEN)]
    mapping = {"company": "customer_account"}
    load(messages, field_mapping=mapping, only_if_empty=["customer_account"]).succeeded()
    assert [one["organization"] for one in sandbox.export()] == ["Engines", "Bells"]


def test_unchanged_profile_is_neither_sent_nor_looked_up(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.prepare({"email": ADA, "phone": "1"})
    load(profile(ADA, "2"), **PHONE).succeeded()
    assert asked_of_contacts(sandbox) > 0

    since, before = len(sandbox.requests()), sandbox.imports()
    assert load(profile(ADA, "2"), **PHONE).succeeded().counts == {"read": 1, "unchanged": 1}
    assert sandbox.imports() == before
    assert asked_of_contacts(sandbox, since) == 0

    outcome = load(profile(ADA, "3", last_name="New"), **PHONE).succeeded()
    assert outcome.counts == {"read": 1, "changed": 1}
    (ada,) = sandbox.export()
    assert (ada["phone"], ada["last_name"]) == ("1", "New")


@pytest.mark.parametrize(
    ("later", "phone", "last_name"),
    [
        ({}, "2", "New"),
        ({"only_if_empty": []}, "2", "New"),
        ({"only_if_empty": ["last_name"]}, "2", "Old"),
        ({"only_if_empty": ["%CITY%"]}, "2", "New"),
        ({"only_if_empty": ["phone"]}, "1", "New"),
    ],
)
def test_changed_setting_sends_profiles_again(
    sandbox: SandboxServer,
    load: ForkedTargetRunner,
    later: dict[str, Any],
    phone: str,
    last_name: str,
) -> None:
    sandbox.prepare({"email": ADA, "phone": "1", "last_name": "Old"})
    messages = profile(ADA, "2", last_name="New")
    load(messages, only_if_empty=["phone", "last_name"]).succeeded()

    assert load(messages, **later).succeeded().counts == {"read": 1, "changed": 1}

    (ada,) = sandbox.export()
    assert (ada["phone"], ada["last_name"]) == (phone, last_name)
    assert load(messages, **later).counts == {"read": 1, "unchanged": 1}


def test_profile_without_value_is_not_looked_up(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.prepare({"email": ADA, "phone": "1"})
    load(profile(ADA, None), **PHONE).succeeded()
    (ada,) = sandbox.export()
    assert (ada["phone"], ada["times_imported"]) == ("1", 1)
    assert asked_of_contacts(sandbox) == 0


@pytest.mark.parametrize("batch_size_rows", [1, 250], ids=["under way", "not sent yet"])
def test_first_value_of_a_run_fills(
    sandbox: SandboxServer, load: ForkedTargetRunner, batch_size_rows: int
) -> None:
    sandbox.prepare({"email": ADA})
    messages = [
        schema(phone="string", last_name="string"),
        *(record(one, phone="1", last_name="First") for one in (ADA, EVE)),
        *FILLER,
        *(record(one, phone="2", last_name="Second") for one in (ADA, EVE)),
    ]
    load(messages, batch_size_rows=batch_size_rows, **PHONE).succeeded()
    contacts = sandbox.contacts()
    for address in (ADA, EVE):
        one = contacts[address]
        assert (one["phone"], one["last_name"]) == ("1", "Second")


@pytest.mark.parametrize("values", [("1", "2"), ("1", None), ("1", "")])
@pytest.mark.parametrize("chosen", ["phone", "%CITY%"])
def test_first_value_fills_among_merged_records(
    sandbox: SandboxServer, load: ForkedTargetRunner, chosen: str, values: tuple[str, str | None]
) -> None:
    messages = [
        schema(phone="string", city="string", notes="string"),
        *(record(ADA, phone=one, city=one, notes=one) for one in values),
    ]
    settings = {"only_if_empty": [chosen], "null_policy": "clear"}

    outcome = load(messages, **settings).succeeded()

    assert outcome.counts == {"read": 2, "added": 1, "merged": 1}
    last = values[1] or ""
    held = {"phone": last, "%CITY%": last, chosen: "1"}
    (ada,) = sandbox.export()
    assert (ada["phone"], ada["fields"]) == (held["phone"], {"CITY": held["%CITY%"], "NOTES": last})
    assert load(messages, **settings).counts == {"read": 2, "unchanged": 1, "merged": 1}


def test_later_value_fills_after_an_empty_one(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    messages = [
        schema(phone="string"),
        record(ADA, phone=None),
        *FILLER,
        record(ADA, phone="2"),
    ]
    load(messages, null_policy="clear", **PHONE).succeeded()
    assert sandbox.contacts()[ADA]["phone"] == "2"


def test_null_does_not_clear_only_if_empty_value(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.prepare({"email": ADA, "phone": "1", "last_name": "Old", "fields": {"TIER": "Gold"}})
    messages = [
        schema(phone="string", last_name="string", tier="string"),
        record(ADA, phone=None, last_name=None, tier=None),
    ]
    load(messages, null_policy="clear", only_if_empty=["phone", "%TIER%"]).succeeded()
    (ada,) = sandbox.export()
    assert (ada["phone"], ada["last_name"], ada["fields"]) == ("1", "", {"TIER": "Gold"})


# Streams


def test_only_if_empty_is_set_per_stream(sandbox: SandboxServer, load: ForkedTargetRunner) -> None:
    names = {"a": ADA, "b": BEN, "c": EVE}
    for address in names.values():
        sandbox.prepare({"email": address, "phone": "1", "fields": {"TIER": "Gold"}})
    streams = {"a": {"only_if_empty": ["%TIER%"]}, "b": {"only_if_empty": []}}
    messages = [
        one for s, address in names.items() for one in profile(address, "2", s, tier="Silver")
    ]
    load(messages, streams=streams, **PHONE).succeeded()
    assert {one["email"]: (one["phone"], one["fields"]["TIER"]) for one in sandbox.export()} == {
        ADA: ("2", "Gold"),
        BEN: ("2", "Silver"),
        EVE: ("1", "Silver"),
    }


ONLY_LATER = {"streams": {"later": PHONE}}


@pytest.mark.parametrize("between", [[], FILLER], ids=["one window", "two windows"])
def test_value_sent_by_another_stream_is_not_overwritten(
    sandbox: SandboxServer, load: ForkedTargetRunner, between: list[Any]
) -> None:
    messages = [*profile(ADA, "1"), *between, *profile(ADA, "2", "later")]
    load(messages, batch_size_rows=1, **ONLY_LATER).succeeded()
    assert sandbox.contacts()[ADA]["phone"] == "1"


def test_value_being_sent_by_another_stream_is_not_overwritten(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    messages = [
        *profile(EVE, "2", "later"),  # here the account is read
        *profile(ADA, "1"),
        *FILLER,
        record(ADA, "later", phone="2"),
    ]
    load(messages, batch_size_rows=1, **ONLY_LATER).succeeded()
    assert sandbox.contacts()[ADA]["phone"] == "1"


def test_nothing_is_overwritten_if_one_of_two_lists_refuses(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.prepare({"email": ADA, "phone": "0"})
    sandbox.opt_out(ADA, 1)
    messages = [*profile(ADA, "1"), *profile(ADA, "2", "later")]
    outcome = load(messages, streams={"later": {"list_id": 2, **PHONE}}).succeeded()
    assert outcome.counts == {"read": 2, "added": 1, "rejected": 1}
    (ada,) = sandbox.export()
    assert (ada["phone"], ada["lists"]) == ("0", {"1": 2, "2": 1})


# What it costs


@pytest.mark.parametrize(
    ("count", "requests"),
    [(3, 1 + 3), (7, 1 + 7), (30, 1 + 4 + 7)],  # compared four at a time
    ids=["few are asked about", "as many as reading takes", "for many it reads"],
)
def test_few_contacts_are_looked_up_and_many_are_read(
    sandbox: SandboxServer, load: ForkedTargetRunner, count: int, requests: int
) -> None:
    sandbox.prepare(*several(650, phone="1"))
    messages = [schema(phone="string"), *target_runner.people(count, phone="2")]
    load(messages, **PHONE).succeeded()
    assert asked_of_contacts(sandbox) == requests
    assert {one["phone"] for one in sandbox.export()} == {"1"}
