"""The table `unified_profiles` of a warehouse: the sample's profiles in a PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

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


@final
class WarehouseTable:
    """The table as it changes, and what it should hold.

    Args:
        server: The server, without the table.
        people: The first profiles.

    Attributes:
        rows: What is in the table, by `CustomerId`.
    """

    def __init__(self, server: PostgresServer, people: Iterable[dict[str, Any]]) -> None:
        self.rows = {one["CustomerId"]: one for one in people}
        self._url = server.url
        fill_table(server, self.rows.values())

    def sql(self, statement: str, *values: Any) -> None:
        """Run statements in a transaction of their own."""
        with psycopg.connect(self._url) as connection:
            connection.execute(statement.encode(), values)

    def insert(self, *people: dict[str, Any]) -> None:
        """Put profiles into the table."""
        with psycopg.connect(self._url) as connection:
            insert(connection, people)
        self.rows.update({one["CustomerId"]: one for one in people})

    def update(self, key: str, **columns: Any) -> None:
        """Set columns of a row."""
        changes = ", ".join(f'"{name}" = %s' for name in columns)
        statement = f'UPDATE unified_profiles SET {changes} WHERE "CustomerId" = %s'  # noqa: S608
        self.sql(statement, *columns.values(), key)
        self.rows[key] = {**self.rows[key], **columns}

    def delete(self, key: str) -> dict[str, Any]:
        """Delete a row; returns what it held."""
        self.sql('DELETE FROM unified_profiles WHERE "CustomerId" = %s', key)
        return self.rows.pop(key)
