"""`meltano run tap-warehouse-postgres target-activecampaign`, from a real PostgreSQL server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.meltano_project import MISSING, MeltanoProject, installed
from tests.postgres_server import PostgresServer, require
from tests.sample_profiles import arrived, expected, profiles
from tests.sandbox_server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLUMNS = {
    "CustomerId": "text PRIMARY KEY",
    "FirstName": "text",
    "LastName": "text",
    "FullName": "text",
    "EMailAddress1": "text",
    "Telephone1": "text",
    "BirthDate": "date",
    "City": "text",
    "Country": "text",
    "PreferredLanguage": "text",
    "LoyaltyTier": "text",
    "LoyaltyPoints": "integer",
    "LifetimeValue": "numeric(12, 2)",
    "Interests": "text[]",
    "MarketingConsent": "boolean",
    "LastSeen": "timestamptz",
    "CreatedOn": "timestamptz",
    "Notes": "text",
}


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    require()
    with PostgresServer() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: PostgresServer) -> MeltanoProject:
    if not installed():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    project = MeltanoProject(tmp_path / "project")
    project.variables["WAREHOUSE_URL"] = server.url
    return project


def test_a_table_becomes_a_list(project: MeltanoProject, server: PostgresServer) -> None:
    people = profiles()
    _fill_table(server, people)

    report = project.run("run", "tap-warehouse-postgres", "target-activecampaign")

    assert report["counts"]["read"] == len(people)
    with SandboxServer(project.sandbox_path) as sandbox:
        contacts = sandbox.export()
    assert arrived(contacts) == expected(people)
    assert {contact["lists"].get("1") for contact in contacts} == {1}


def _fill_table(server: PostgresServer, people: list[dict[str, Any]]) -> None:
    columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    with psycopg.connect(server.url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE unified_profiles ({columns})".encode())
        with cursor.copy("COPY unified_profiles FROM STDIN") as copy:
            for profile in people:
                copy.write_row([profile.get(name) for name in COLUMNS])
