"""The ledger's tables. A `person` is the keyed hash of a contact's address."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

VERSION = 4
"""The version of these tables."""

SCHEMA = "activecampaign_ledger"
"""The ledger's own schema on PostgreSQL: the database may be a warehouse with other tables."""

HASH_BYTES = 16
"""The length of the hash that stands for a contact."""

metadata = sa.MetaData()

about = sa.Table(
    "ledger",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    # The key of the contacts' hashes.
    sa.Column("key", sa.LargeBinary, nullable=False),
)

account = sa.Table(
    "account",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("identity", sa.String, nullable=False, unique=True),
    # The index of existing contacts: the greatest contact id read so far; the account's total at
    # the end of the last complete reading (null before it); and the number of that reading.
    sa.Column("index_after", sa.Integer),
    sa.Column("index_total", sa.Integer),
    sa.Column("index_reading", sa.Integer, nullable=False, default=0),
)

run = sa.Table(
    "run",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("account", sa.Integer, nullable=False, index=True),
    sa.Column("host", sa.String, nullable=False),
    sa.Column("process", sa.String, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("beat", sa.Float, nullable=False),
    # Null while it runs, and after an interruption until the next run takes over.
    sa.Column("finished", sa.Float),
    sa.Column("outcome", sa.String),
    sa.Column("counts", sa.String),
)

stream_run = sa.Table(
    "stream_run",
    metadata,
    # A stream in a run, with its figures. They are deleted with the run.
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("stream", sa.String, primary_key=True),
    # Null for a stream of suppressed people, which has neither a segment nor a size.
    sa.Column("segment", sa.Integer),
    sa.Column("read", sa.Integer, nullable=False),
    sa.Column("refused", sa.Integer, nullable=False),
    sa.Column("added", sa.Integer, nullable=False),
    sa.Column("removed", sa.Integer, nullable=False),
    sa.Column("held_back", sa.Integer, nullable=False),
    sa.Column("size", sa.Integer),
    sa.Index("stream_run_segment", "segment"),
)

import_ = sa.Table(
    "import",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.String, nullable=False, index=True),
    sa.Column("posted", sa.Float, nullable=False),
    sa.Column("batch_id", sa.String),
    sa.Column("contacts", sa.LargeBinary, nullable=False),
    # Set once it is confirmed, while its contacts are not yet written to `member`.
    sa.Column("confirmed", sa.Float),
    # While it has no batch id: some of its contacts as they are sent, by which it can be found.
    sa.Column("probes", sa.LargeBinary),
    # Whether it has no batch id and was found to have arrived: each contact that its source brings
    # again is looked up before it is sent.
    sa.Column("arrived", sa.Boolean),
    # The rows of outcomes that its contacts have once it is confirmed, encoded; null without
    # `outcomes_url`.
    sa.Column("outcomes", sa.LargeBinary),
)

segment = sa.Table(
    "segment",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account", sa.Integer, nullable=False),
    sa.Column("stream", sa.String, nullable=False),
    sa.Column("list", sa.Integer, nullable=False),
    # The run that loads it, or loaded it last.
    sa.Column("run", sa.String),
    sa.Column("mirror", sa.Boolean, nullable=False),
    # The field or tag that marks a member besides the list, such as `field:7` or `tag:vip`.
    sa.Column("mark", sa.String),
    # The number of the latest sync: one reading of the source from its start. An interrupted one
    # resumes if the stream has the same version.
    sa.Column("pass", sa.Integer, nullable=False),
    sa.Column("version", sa.String),
    # The latest complete sync, its number of contacts, and if a guard has stopped a sync since.
    sa.Column("complete_pass", sa.Integer, nullable=False),
    sa.Column("size", sa.Integer),
    sa.Column("tripped", sa.Boolean, nullable=False),
    # Profiles that have changed since the latest complete sync.
    sa.Column("changed", sa.Integer, nullable=False),
    # Whether the whole list must be read, as suppressed people may be active on it.
    sa.Column("sweep", sa.Boolean, nullable=False, default=False),
    # The custom field of each property in the latest run, as JSON.
    sa.Column("mapping", sa.String),
    sa.UniqueConstraint("account", "stream", "list"),
)

member = sa.Table(
    "member",
    metadata,
    sa.Column("segment", sa.Integer, primary_key=True),
    sa.Column("person", sa.LargeBinary, primary_key=True),
    # The digest of the contact as last confirmed; null while a change is in flight.
    sa.Column("digest", sa.LargeBinary),
    # An `Ownership`.
    sa.Column("membership", sa.SmallInteger, nullable=False),
    # The membership began (or ended) between these two, by ActiveCampaign's clock: the import was
    # posted at one and confirmed at the other. Each later delivery moves `at` on.
    sa.Column("since", sa.Integer, nullable=False),
    sa.Column("at", sa.Integer, nullable=False),
    # The latest sync in which the stream had the contact.
    sa.Column("seen", sa.Integer, nullable=False),
    # For UNSUBSCRIBED_BY_US only: the time since which the contact may be on the list after all,
    # because the response to its removal was lost, or because we asked to re-subscribe it.
    sa.Column("asked", sa.Integer),
    # The hash of the one record behind the contact, together with its mapping's fingerprint.
    sa.Column("raw", sa.LargeBinary),
    # Only where it is needed: a mirror removes contacts by their address, and a contact whose
    # address changes is found by the old one.
    sa.Column("address", sa.String),
    # Whether a `source_row` stands behind the member.
    sa.Column("keyed", sa.Boolean, nullable=False, default=False),
    sqlite_with_rowid=False,
)

source_row = sa.Table(
    "source_row",
    metadata,
    sa.Column("segment", sa.Integer, primary_key=True),
    # The keyed hash of the row's key.
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("person", sa.LargeBinary, nullable=False),
    # ActiveCampaign's id of the contact, once it is known.
    sa.Column("contact", sa.Integer),
    # Whether the row was deleted. It stays, as a row of this key may come again.
    sa.Column("gone", sa.Boolean, nullable=False),
    # Whether the person has opted out, so that it is not subscribed at another address.
    sa.Column("opted_out", sa.Boolean, nullable=False),
    # Whether its latest record was rejected and had another address, or none. The contact may then
    # be another person's by now.
    sa.Column("may_have_moved", sa.Boolean, nullable=False),
    # Only for rows that share a contact: the latest sync in which the stream had the row.
    sa.Column("seen", sa.Integer),
    sqlite_with_rowid=False,
)
# There is no index by person, as it would take as much space as the table: the rare questions that
# need it read the whole table, once a run.

departure = sa.Table(
    "departure",
    metadata,
    # A contact that the stream's source has deleted, and that has not been removed yet.
    sa.Column("segment", sa.Integer, primary_key=True),
    sa.Column("person", sa.LargeBinary, primary_key=True),
    sqlite_with_rowid=False,
)

withheld = sa.Table(
    "withheld",
    metadata,
    # A contact whose latest record may not be sent, as the person has not consented or is
    # suppressed.
    sa.Column("segment", sa.Integer, primary_key=True),
    sa.Column("person", sa.LargeBinary, primary_key=True),
    # A `WithheldReason`.
    sa.Column("reason", sa.SmallInteger, nullable=False),
    # The hash of that record, by which it is known again.
    sa.Column("raw", sa.LargeBinary),
    # Whether the contact may be active on the list, and is to be unsubscribed. Until that is done:
    # the address, and the contact's id once it is known.
    sa.Column("pending", sa.Boolean, nullable=False),
    sa.Column("address", sa.String),
    sa.Column("contact", sa.Integer),
    sqlite_with_rowid=False,
)

suppression = sa.Table(
    "suppression",
    metadata,
    # A person who is never sent, to any list of the account.
    sa.Column("account", sa.Integer, primary_key=True),
    sa.Column("person", sa.LargeBinary, primary_key=True),
    # Who says so: 0 for the command, else the number of a stream. A person is suppressed for as
    # long as any of them does.
    sa.Column("source", sa.Integer, primary_key=True),
    sqlite_with_rowid=False,
)

waiting = sa.Table(
    "waiting",
    metadata,
    # Records that wait for the end of the input, as their address belongs to another contact.
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.String, nullable=False),
    sa.Column("segment", sa.Integer, nullable=False),
    sa.Column("key", sa.LargeBinary, nullable=False),
    # The contact of the row before this run; null for a new row.
    sa.Column("person_from", sa.LargeBinary),
    sa.Column("person_to", sa.LargeBinary, nullable=False),
    # Whether it is the latest record of its row.
    sa.Column("last", sa.Boolean, nullable=False),
    # The contact with its records, as the caller encodes them.
    sa.Column("entry", sa.LargeBinary, nullable=False),
    sa.Index("waiting_row", "segment", "key"),
)

retry = sa.Table(
    "retry",
    metadata,
    # A contact whose rejected records are tried again by the next run of the stream.
    sa.Column("segment", sa.Integer, primary_key=True),
    sa.Column("person", sa.LargeBinary, primary_key=True),
    # The key of their source row, where rows are known.
    sa.Column("key", sa.LargeBinary),
    # The number of the tap's stream: stream maps may turn several into one.
    sa.Column("source", sa.Integer, nullable=False),
    # The run that tried it last.
    sa.Column("run", sa.String, nullable=False),
    sa.Column("code", sa.String, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    # The first and the latest attempt, by ActiveCampaign's clock.
    sa.Column("first", sa.Float, nullable=False),
    sa.Column("last", sa.Float, nullable=False),
    # The tap's RECORD messages, encoded.
    sa.Column("messages", sa.LargeBinary, nullable=False),
    sa.Index("retry_row", "segment", "key"),
)

rename = sa.Table(
    "rename",
    metadata,
    # The plan of contacts that get another address. The next run adopts that of an interrupted one.
    sa.Column("account", sa.Integer, primary_key=True),
    sa.Column("person_from", sa.LargeBinary, primary_key=True),
    sa.Column("run", sa.String, nullable=False, index=True),
    sa.Column("person_to", sa.LargeBinary, nullable=False),
    sa.Column("contact", sa.Integer),
    sa.Column("address_from", sa.String),
    sa.Column("address_to", sa.String, nullable=False),
    # A `RenameState`.
    sa.Column("state", sa.SmallInteger, nullable=False),
    # The source rows that move with the contact, encoded.
    sa.Column("rows", sa.LargeBinary, nullable=False),
    # For a contact at a temporary address: the one it had before, and its hash.
    sa.Column("home", sa.LargeBinary),
    sa.Column("home_address", sa.String),
    sa.Index("rename_to", "account", "person_to"),
)

sighting = sa.Table(
    "sighting",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("segment", sa.Integer, nullable=False),
    sa.Column("pass", sa.Integer, nullable=False),
    # Hashes of contacts that this sync has seen, concatenated; not yet written to `member`.
    sa.Column("people", sa.LargeBinary, nullable=False),
)

opt_out = sa.Table(
    "opt_out",
    metadata,
    # A contact that an import can't subscribe to a list, by ActiveCampaign's own answers.
    sa.Column("account", sa.Integer, primary_key=True),
    sa.Column("list", sa.Integer, primary_key=True),
    sa.Column("person", sa.LargeBinary, primary_key=True),
    # Its status on the list: 2 unsubscribed, 3 bounced.
    sa.Column("status", sa.SmallInteger, primary_key=True),
    # Whether mail to the address has bounced, so that no import accepts it.
    sa.Column("bounced", sa.Boolean, nullable=False),
    # The reading that saw it; rows of older ones are deleted once a reading of all is complete.
    sa.Column("reading", sa.Integer, nullable=False),
    # The contact's id in ActiveCampaign; null if it was learnt from a refusal.
    sa.Column("contact", sa.Integer),
    sqlite_with_rowid=False,
)

opt_out_reading = sa.Table(
    "opt_out_reading",
    metadata,
    sa.Column("account", sa.Integer, primary_key=True),
    sa.Column("list", sa.Integer, primary_key=True),
    sa.Column("status", sa.SmallInteger, primary_key=True),
    # The number of the latest reading, complete or not.
    sa.Column("reading", sa.Integer, nullable=False),
    # The starts of the latest complete reading of all, and of the latest one that was complete at
    # all, by ActiveCampaign's clock; null before the first.
    sa.Column("read_all", sa.Float),
    sa.Column("read_to", sa.Float),
)

fact = sa.Table(
    "fact",
    metadata,
    # What `--verify` has seen of the account: a fact of `model.facts`, and its value.
    sa.Column("account", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
    # The time, by ActiveCampaign's clock.
    sa.Column("seen", sa.Float, nullable=False),
)

existing = sa.Table(
    "existing",
    metadata,
    sa.Column("account", sa.Integer, primary_key=True),
    sa.Column("person", sa.LargeBinary, primary_key=True),
    # The reading of the whole account that saw the contact; rows of older ones are deleted.
    sa.Column("reading", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

NEW_COLUMNS: dict[int, tuple[sa.Column[Any], ...]] = {
    2: (opt_out.c.contact,),
    3: (import_.c.probes, import_.c.arrived, import_.c.outcomes),
}
"""Columns that the version after each one has added. Missing tables are created besides.

Version 1 can't be upgraded: its hashes of contacts can't be turned into those of version 2."""
