"""The ledger's tables, and what a person's membership can be."""

from __future__ import annotations

import sqlalchemy as sa

VERSION = 5
"""The form of these tables."""

PERSON_BYTES = 16
"""The length of the hash that stands for a person."""

UNKNOWN = 0
"""Delivered; nobody knows whether the person was on the list before."""
OURS = 1
"""On the list, and was not before we came."""
FOUND = 2
"""On the list by their own or another's doing."""
LEFT = 3
"""Was ours and active; we have unsubscribed them."""
OPTED_OUT = 4
"""Was ours; has unsubscribed by their own or another's doing."""
GONE = 5
"""Has left the stream in a way that touches no membership."""
MAYBE = 6
"""We may have put the person on the list: the answer to that import was lost."""

CURRENT = (UNKNOWN, OURS, FOUND, MAYBE)
"""What a person who is still in the stream, as far as the ledger knows, can be."""

metadata = sa.MetaData()

about = sa.Table(
    "ledger",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    # The key of the hashes that stand for people.
    sa.Column("key", sa.LargeBinary, nullable=False),
)

account = sa.Table(
    "account",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("identity", sa.String, nullable=False, unique=True),
    # The index of existing contacts: read up to this contact id, when the account said it had
    # so many; null before the first reading.
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
    # Null while it goes on, and for ever when it was cut off and not yet taken over.
    sa.Column("finished", sa.Float),
    sa.Column("outcome", sa.String),
    sa.Column("counts", sa.String),
)

import_ = sa.Table(
    "import",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.String, nullable=False, index=True),
    sa.Column("posted", sa.Float, nullable=False),
    sa.Column("batch_id", sa.String),
    sa.Column("contacts", sa.LargeBinary, nullable=False),
    # When it was confirmed, if its people are still to be written.
    sa.Column("confirmed", sa.Float),
)

segment = sa.Table(
    "segment",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account", sa.Integer, nullable=False),
    sa.Column("stream", sa.String, nullable=False),
    sa.Column("list", sa.Integer, nullable=False),
    # The run that loads it now.
    sa.Column("run", sa.String),
    sa.Column("mirror", sa.Boolean, nullable=False),
    # What marks a member besides the list, such as `field:7` or `tag:vip`.
    sa.Column("mark", sa.String),
    # Each reading of the source from its start is a pass; one that was cut off goes on under
    # the same version of the stream.
    sa.Column("pass", sa.Integer, nullable=False),
    sa.Column("version", sa.String),
    # The latest complete pass, how many people it had, and whether a guard stopped one since.
    sa.Column("complete_pass", sa.Integer, nullable=False),
    sa.Column("size", sa.Integer),
    sa.Column("tripped", sa.Boolean, nullable=False),
    # Profiles that have changed since the latest complete pass.
    sa.Column("changed", sa.Integer, nullable=False),
    # The custom field that each property went to in the latest run, as JSON.
    sa.Column("mapping", sa.String),
    sa.UniqueConstraint("account", "stream", "list"),
)

member = sa.Table(
    "member",
    metadata,
    sa.Column("segment", sa.Integer, primary_key=True),
    sa.Column("person", sa.LargeBinary, primary_key=True),
    # Of the contact as it was last confirmed; null while another is on its way.
    sa.Column("digest", sa.LargeBinary),
    sa.Column("membership", sa.SmallInteger, nullable=False),
    # The membership came about between these two, by ActiveCampaign's clock: from the import's
    # posting to its confirmation. `at` moves on with every delivery to a member.
    sa.Column("since", sa.Integer, nullable=False),
    sa.Column("at", sa.Integer, nullable=False),
    # The pass in which the stream had the person last.
    sa.Column("seen", sa.Integer, nullable=False),
    # Of someone who has LEFT: since when it is not sure that they are off the list, as the
    # answer to an import that lets them leave was lost, or as they were to be re-subscribed.
    sa.Column("asked", sa.Integer),
    # Of the one record that the contact was made of, and of all that makes a contact of it.
    sa.Column("raw", sa.LargeBinary),
    # Only where a mirror needs it: an import that lets someone leave goes by address.
    sa.Column("address", sa.String),
    sqlite_with_rowid=False,
)

sighting = sa.Table(
    "sighting",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("segment", sa.Integer, nullable=False),
    sa.Column("pass", sa.Integer, nullable=False),
    # The hashes of people whom the pass has had, one after the other; to be written to `member`.
    sa.Column("people", sa.LargeBinary, nullable=False),
)

existing = sa.Table(
    "existing",
    metadata,
    sa.Column("account", sa.Integer, primary_key=True),
    sa.Column("person", sa.LargeBinary, primary_key=True),
    # Which reading of the whole account has had the person; older ones are forgotten.
    sa.Column("reading", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
