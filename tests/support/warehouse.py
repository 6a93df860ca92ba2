"""The table `unified_profiles` of a warehouse: the sample's profiles in a PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.postgres_server import PostgresServer

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
    "ModifiedOn": "timestamptz",
}


def fill_table(server: PostgresServer, people: Iterable[dict[str, Any]]) -> None:
    """Make the table and put profiles into it."""
    columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    with psycopg.connect(server.url) as connection:
        connection.execute(f"CREATE TABLE unified_profiles ({columns})".encode())
        insert(connection, people)


def insert(connection: psycopg.Connection[Any], people: Iterable[dict[str, Any]]) -> None:
    """Put profiles into the table."""
    with connection.cursor() as cursor, cursor.copy("COPY unified_profiles FROM STDIN") as copy:
        for profile in people:
            copy.write_row([profile.get(name) for name in COLUMNS])
