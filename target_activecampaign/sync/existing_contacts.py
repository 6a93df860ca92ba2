"""The index of existing contacts, brought up to date: for the modes that ask who is there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign.ledger.contact_index import IndexProgress
from target_activecampaign.model.email import contact_key
from target_activecampaign.text import chunks

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.client import Client
    from target_activecampaign.ledger import Ledger

logger = logging.getLogger("target-activecampaign")


def bring_up_to_date(client: Client, ledger: Ledger, on_wait: Callable[[], None]) -> None:
    """Read the contacts that the index does not have: all at first, later only new ones.

    Contacts that were deleted can't be seen among new ones, only in the account's total: when
    that is less than what was known and what is new, the whole account is read again.

    Args:
        client: Whom to ask.
        ledger: Where the index is.
        on_wait: Called now and then while it reads.
    """
    index = ledger.contact_index
    index.in_use = True
    known = index.progress()
    after, new = _read(client, ledger, known, on_wait, resumes=True)
    total = client.count_contacts()
    reading = known.reading
    if known.total is not None and total is not None and total < known.total + new:
        logger.info("Contacts were deleted in the account: reading all of them again.")
        reading += 1
        start = IndexProgress(0, None, reading)
        after, new = _read(client, ledger, start, on_wait, resumes=False)
        total = client.count_contacts()
    index.complete_reading(after, total, reading)
    logger.info("The index of existing contacts is up to date: %d were read.", new)


def _read(
    client: Client,
    ledger: Ledger,
    start: IndexProgress,
    on_wait: Callable[[], None],
    *,
    resumes: bool,
) -> tuple[int, int]:
    """Read contacts from an id on; returns the last id, and how many there were."""
    after, count = start.after, 0
    for some in chunks(client.contacts(after=after)):
        people = [ledger.contact_hash(contact_key(one.email)) for one in some]
        after = some[-1].id
        ledger.contact_index.add(people, start.reading, after if resumes else None)
        count += len(some)
        if count % 10_000 == 0:
            logger.info("Reading the account's contacts: %d so far.", count)
        on_wait()
    return after, count
