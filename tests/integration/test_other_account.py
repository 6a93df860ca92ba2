"""An account moved into another one by tap-activecampaign, as docs/move-account.md says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.guide import block, example, schema_of
from tests.support.mirrors import ACTIVE, UNCONFIRMED, address, on_list, quick_sandbox
from tests.support.postgres_server import PostgresServer, require
from tests.support.tap_runner import TapRunner
from tests.support.witness import Witness, records

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

WAREHOUSE = "old_account"
STREAMS = (
    *("contacts", "contact_custom_fields", "contact_custom_field_values", "contact_lists"),
    *("contact_tags", "lists", "tags"),
)
FIELDS = {"TIER": "Gold", "INTERESTS": "||Tea||Events||"}
TAGS = ["Berlin, Mitte", "from-warehouse"]


class Moved(NamedTuple):
    """What two taps read of the old account.

    Attributes:
        opt_outs: What tap-activecampaign-consent wrote.
        lines: What tap-activecampaign wrote.
        messages: The same, parsed.
    """

    opt_outs: list[dict[str, Any]]
    lines: bytes
    messages: list[dict[str, Any]]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Moved:
    """An account with members of a list, one who opted out, and some who were not on it."""
    folder = tmp_path_factory.mktemp("old")
    with quick_sandbox() as account:
        witness = Witness(folder, account)
        account.prepare(
            {
                "email": address("ada"),
                "first_name": "Ada",
                "last_name": "Łuczak",
                "phone": "+4930123456",
                "lists": {"1": ACTIVE, "2": ACTIVE},
                "tags": TAGS,
                "fields": FIELDS,
            },
            {"email": address("bob"), "first_name": "Bob", "lists": {"1": ACTIVE}},
            {"email": address("cyd"), "lists": {"1": ACTIVE}, "fields": FIELDS},
            {"email": address("dan"), "lists": {"2": ACTIVE}, "tags": TAGS},
            {"email": address("eve"), "bounces": [{"code": 48}]},
            {"email": address("fay"), "lists": {"1": UNCONFIRMED}},
            excluded=("spam@example.com",),
        )
        account.opt_out(address("cyd"), 1, reason="enough")
        back = TapRunner(folder, account)()
        assert back.code == 0, back.log
        messages = witness.read(*STREAMS)
    return Moved(back.messages, witness.lines, messages)


def settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe for the target."""
    (loader,) = recipe["plugins"]["loaders"]
    config: dict[str, Any] = loader["config"]
    return config


def test_contacts_arrive_and_other_streams_are_dropped(
    load: TargetRunner, sandbox: SandboxServer, old: Moved
) -> None:
    load.config.update(settings(example("move-account.md", "another account")))
    load(old.opt_outs).succeeded()

    outcome = load(old.lines).succeeded()

    assert outcome.report["streams"].keys() == {"contacts"}
    assert outcome.report["skipped"]["SUPPRESSED"]["records"] == 1
    assert on_list(sandbox) == "ada bob dan eve fay", "also those who were not active on the list"
    assert address("cyd") not in sandbox.contacts()
    ada = sandbox.contacts()[address("ada")]
    assert (ada["first_name"], ada["last_name"]) == ("Ada", "Łuczak")
    assert (ada["phone"], ada["tags"], ada["fields"]) == ("+4930123456", [], {})


def test_joined_members_arrive_with_values_and_tags(
    load: TargetRunner, sandbox: SandboxServer, old: Moved
) -> None:
    require()
    opt_outs = [one for one in old.opt_outs if one.get("stream") == "list_opt_outs"]
    load(opt_outs, **example("consent-tap.md", "round trip")).succeeded()
    load.config.update(settings(example("move-account.md", "another account: joined")))
    (stream,) = load.config["streams"]
    with PostgresServer() as server, psycopg.connect(server.url) as connection:
        fill(connection, old.messages)
        connection.execute(block("move-account.md", "another account: view").encode())
        view = stream.partition("-")[2]
        read = f"SELECT row_to_json(one) FROM {view} AS one"  # noqa: S608
        members = [one for (one,) in connection.execute(read.encode())]
    begin = {"type": "SCHEMA", "stream": stream, "key_properties": []}
    full = next(one for one in members if one["tags"])
    people = [{"type": "RECORD", "stream": stream, "record": one} for one in members]

    outcome = load([{**begin, "schema": schema_of(full)}, *people]).succeeded()

    assert outcome.counts == {"read": 2, "added": 2}
    assert sandbox.contacts().keys() == {address("ada"), address("bob")}
    assert on_list(sandbox) == "ada bob"
    ada = sandbox.contacts()[address("ada")]
    assert (ada["first_name"], ada["phone"], ada["tags"]) == ("Ada", "+4930123456", TAGS)
    assert ada["fields"] == FIELDS
    assert sandbox.contacts()[address("bob")]["fields"] == {}


def fill(connection: psycopg.Connection[Any], messages: list[dict[str, Any]]) -> None:
    """Load streams into tables, in the types that a loader chooses for their schemas."""
    connection.execute(f"CREATE SCHEMA {WAREHOUSE}".encode())
    for one in messages:
        if one["type"] != "SCHEMA":
            continue
        table, properties = f"{WAREHOUSE}.{one['stream']}", one["schema"]["properties"]
        columns = ", ".join(f'"{name}" {_type(of)}' for name, of in properties.items())
        connection.execute(f"CREATE TABLE {table} ({columns})".encode())
        rows = Jsonb(records(messages, one["stream"]))
        every = f"jsonb_populate_recordset(NULL::{table}, %s)"
        insert = f"INSERT INTO {table} SELECT * FROM {every}"  # noqa: S608
        connection.execute(insert.encode(), [rows])


def _type(of: dict[str, Any]) -> str:
    if of.get("format") == "date-time":
        return "timestamptz"
    kinds = {"string": "text", "integer": "bigint", "number": "numeric", "boolean": "boolean"}
    return next((kinds[kind] for kind in of.get("type", ()) if kind in kinds), "jsonb")
