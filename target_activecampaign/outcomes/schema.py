"""The tables of outcomes in a database of the operator's, and their version."""

from __future__ import annotations

import sqlalchemy as sa

VERSION = 1
"""The version of these tables. A new one may only add columns that can be null, and tables."""

metadata = sa.MetaData()

# Text on SQLite, which has no type for times: ISO 8601 can be compared as it is.
_TIME = sa.DateTime(timezone=True).with_variant(sa.String(), "sqlite")

runs = sa.Table(
    "activecampaign_runs",
    metadata,
    sa.Column("run", sa.String, primary_key=True),
    # The account's API URL, and the setting `connection_name`.
    sa.Column("account", sa.String, nullable=False),
    sa.Column("connection", sa.String),
    sa.Column("started", _TIME, nullable=False),
    sa.Column("finished", _TIME),
    # `completed`, `failed`, `stopped`, or `interrupted`; null while it runs.
    sa.Column("outcome", sa.String),
    sa.Column("problem", sa.String),
    # Records read, and records by outcome.
    sa.Column("read", sa.Integer),
    sa.Column("retried", sa.Integer),
    sa.Column("added", sa.Integer),
    sa.Column("changed", sa.Integer),
    sa.Column("unchanged", sa.Integer),
    sa.Column("skipped", sa.Integer),
    sa.Column("merged", sa.Integer),
    sa.Column("invalid", sa.Integer),
    sa.Column("rejected", sa.Integer),
    sa.Column("unsettled", sa.Integer),
    # Contacts that were removed from their lists.
    sa.Column("removed", sa.Integer),
    sa.Column("imports", sa.Integer),
    sa.Column("requests", sa.Integer),
    # The runs that were cut off, and whose records it has read again: ids as a JSON array.
    sa.Column("continues", sa.String),
    # The run's report as JSON, without personal data.
    sa.Column("report", sa.String),
)


def _columns_of_row() -> list[sa.Column[object]]:
    return [
        sa.Column("run", sa.String, nullable=False),
        sa.Column("stream", sa.String, nullable=False),
        sa.Column("list_id", sa.Integer),
        sa.Column("source_key", sa.String),
        sa.Column("person", sa.String),
        sa.Column("address", sa.String),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("code", sa.String),
        sa.Column("reason", sa.String),
        sa.Column("batch_id", sa.String),
        sa.Column("contact_id", sa.BigInteger),
        sa.Column("read_at", _TIME, nullable=False),
        sa.Column("posted_at", _TIME),
        sa.Column("confirmed_at", _TIME),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("record_hash", sa.String, nullable=False),
    ]


outcomes = sa.Table(
    "activecampaign_outcomes",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    *_columns_of_row(),
    sqlite_with_rowid=False,
)

latest = sa.Table(
    "activecampaign_latest",
    metadata,
    sa.Column("account", sa.String, primary_key=True),
    sa.Column("stream", sa.String, primary_key=True),
    # The source's key; without one, the hash of the address.
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("id", sa.String, nullable=False),
    *(column for column in _columns_of_row() if column.name != "stream"),
)
# On SQLite it has row ids, unlike the others: its keys come in any order, and each new wide row
# would go to another page.

version = sa.Table(
    "activecampaign_outcomes_version",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)
