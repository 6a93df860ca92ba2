"""The index of existing contacts, brought up to date for `update_only` and `create_only`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign.ledger.contact_index import IndexProgress
from target_activecampaign.model.email import contact_key
from target_activecampaign.text import chunks

if TYPE_CHECKING:
    from target_activecampaign.client import Client
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.sync.stop import StopRequest

logger = logging.getLogger("target-activecampaign")


def bring_up_to_date(client: Client, ledger: Ledger, stop: StopRequest) -> None:
    """Read the contacts that the index lacks: all of them at first, later only new ones.

    Deleted contacts only show in the account's total. If it is less than the indexed and the new
    contacts together, the whole account is read again.

    Args:
        client: The client of the account.
        ledger: Stores the index.
        stop: Stops the reading.
    """
    index = ledger.contact_index
    index.in_use = True
    known = index.progress()
    after, new = _read(client, ledger, known, stop, resumes=True)
    total = client.count_contacts()
    reading = known.reading
    if known.total is not None and total is not None and total < known.total + new:
        logger.info("Contacts were deleted in the account; reading all contacts again.")
        reading += 1
        start = IndexProgress(0, None, reading)
        after, new = _read(client, ledger, start, stop, resumes=False)
        total = client.count_contacts()
    index.complete_reading(after, total, reading)
    logger.info("The index of existing contacts is up to date; %d were read.", new)


def _read(
    client: Client, ledger: Ledger, start: IndexProgress, stop: StopRequest, *, resumes: bool
) -> tuple[int, int]:
    """Read the contacts after an id, and return the last id and their number."""
    after, count = start.after, 0
    for some in chunks(client.contacts(after=after)):
        contact_hashes = [ledger.contact_hash(contact_key(one.email)) for one in some]
        after = some[-1].id
        ledger.contact_index.add(contact_hashes, start.reading, after if resumes else None)
        count += len(some)
        if count % 10_000 == 0:
            logger.info("Reading the account's contacts: %d so far.", count)
        stop.check()
    return after, count
