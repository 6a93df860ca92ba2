"""What the account knows of consent, into tables of a real PostgreSQL server."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.guide import block
from tests.support.meltano_project import ROOT, MeltanoProject, require_meltano
from tests.support.sandbox_server import SandboxServer

if TYPE_CHECKING:
    from tests.support.postgres_server import PostgresServer

RUN = block("consent-tap.md", "consent to the warehouse").split()[1:]
PLUGINS = ("extractors/tap-activecampaign-consent", "loaders/target-warehouse-postgres")


@pytest.fixture
def project(project: MeltanoProject) -> MeltanoProject:
    """The project, with people in its sandbox."""
    require_meltano(*(ROOT / ".meltano" / one for one in PLUGINS))
    with SandboxServer(project.sandbox_path) as sandbox:
        sandbox.prepare(
            {"email": "here@example.com", "lists": {"1": 1}},
            {"email": "second@example.com", "lists": {"2": 2}},
            {"email": "bounced@example.com", "bounces": [{"code": 48}]},
            excluded=({"match_phrase": "@example.org", "lists": [1, 2]},),
        )
        sandbox.opt_out("Left@example.com", 1, campaign=5, reason="enough")
    return project


def rows(server: PostgresServer, table: str) -> list[dict[str, Any]]:
    with psycopg.connect(server.url, row_factory=dict_row) as connection:
        found = connection.execute(f"SELECT * FROM activecampaign.{table} ORDER BY 1").fetchall()  # noqa: S608
    return [{k: v for k, v in row.items() if not k.startswith("_sdc_")} for row in found]


def segment(server: PostgresServer, people: list[dict[str, str]]) -> set[str]:
    """The addresses of those people whom the guide's query leaves in the segment."""
    with psycopg.connect(server.url, row_factory=dict_row) as connection:
        connection.execute('CREATE TABLE unified_profiles ("EMailAddress1" text)')
        for one in people:
            connection.execute("INSERT INTO unified_profiles VALUES (%s)", [*one.values()])
        query = block("consent-tap.md", "segment without opt-outs")
        return {row["EMailAddress1"] for row in connection.execute(query.encode())}


def test_consent_becomes_tables(warehouse_project: MeltanoProject, server: PostgresServer) -> None:
    done = warehouse_project(*RUN)
    assert done.code == 0, done.log

    second, left = rows(server, "list_opt_outs")
    assert (second["email"], second["list_id"], second["reason"]) == ("second@example.com", 2, None)
    assert (left["email"], left["list_id"], left["status"]) == ("Left@example.com", 1, 2)
    assert (left["campaign_id"], left["reason"]) == ("5", "enough")
    assert left["opted_out_at"] is not None
    (bounce,) = rows(server, "bounces")
    assert (bounce["email"], bounce["code"]) == ("bounced@example.com", "48")
    (exclusion,) = rows(server, "exclusions")
    assert (exclusion["match_phrase"], exclusion["list_ids"]) == ("@example.org", [2, 1])
    people = [{"EMailAddress1": f"{one}@Example.com"} for one in ("here", "second", "LEFT")]
    assert segment(server, people) == {"here@Example.com", "second@Example.com"}

    with SandboxServer(warehouse_project.sandbox_path) as sandbox:
        sandbox.resubscribe("left@example.com", 1)
        sandbox.opt_out("here@example.com", 3)
    done = warehouse_project(*RUN)
    assert done.code == 0, done.log

    found = {(row["email"], row["list_id"]) for row in rows(server, "list_opt_outs")}
    assert found == {("second@example.com", 2), ("here@example.com", 3)}
    assert rows(server, "bounces") == [bounce]
    assert rows(server, "exclusions") == [exclusion]


def test_settings_can_be_given_as_variables(
    warehouse_project: MeltanoProject, server: PostgresServer
) -> None:
    warehouse_project.variables["TAP_ACTIVECAMPAIGN_CONSENT_LISTS"] = '["VIP customers"]'
    warehouse_project.variables["TAP_ACTIVECAMPAIGN_CONSENT_ADDRESSES"] = "sha256"
    done = warehouse_project(*RUN)
    assert done.code == 0, done.log
    (row,) = rows(server, "list_opt_outs")
    assert row["list_id"] == 2
    assert row["email_sha256"] == sha256(b"second@example.com").hexdigest()
    assert "email" not in row


def test_mistake_fails_the_run(warehouse_project: MeltanoProject) -> None:
    warehouse_project.variables["TAP_ACTIVECAMPAIGN_CONSENT_LISTS"] = '["No such list"]'
    done = warehouse_project(*RUN)
    assert done.code != 0
    assert "'lists' is 'No such list', but the account has no such list." in done.log


def test_state_is_kept_if_only_changed_contacts_are_read(
    warehouse_project: MeltanoProject,
) -> None:
    warehouse_project.variables["TAP_ACTIVECAMPAIGN_CONSENT_CHANGED_CONTACTS_ONLY"] = "true"
    for _ in range(2):
        done = warehouse_project(*RUN)
        assert done.code == 0, done.log
    name = "sandbox:tap-activecampaign-consent-to-target-warehouse-postgres"
    state = json.loads(warehouse_project("state", "get", name).out)["singer_state"]
    assert state["bookmarks"]["list_opt_outs"]["replication_key"] == "opted_out_at"
