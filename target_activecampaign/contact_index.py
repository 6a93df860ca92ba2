"""The index of existing contacts, brought up to date: for the modes that ask who is there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign.addresses import person_key
from target_activecampaign.chunks import chunks

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.activecampaign import Client
    from target_activecampaign.ledger import Ledger

logger = logging.getLogger("target-activecampaign")


def bring_up_to_date(client: Client, ledger: Ledger, on_wait: Callable[[], None]) -> None:
    """Read the contacts that the index does not have: all at first, later only new ones.

    Contacts that were deleted can't be seen among new ones, only in the account's total: when
    that has not grown by as many as are new, the whole account is read again.

    Args:
        client: Whom to ask.
        ledger: Where the index is.
        on_wait: Called now and then while it reads.
    """
    index = ledger.existing
    after, before = index.progress()
    total = client.count_contacts()
    new = _read(client, ledger, after, on_wait)
    known = before is not None and total is not None
    if known and total != (before or 0) + new:
        logger.info("The account has not only got new contacts since the last run: reading all.")
        index.clear()
        new = _read(client, ledger, 0, on_wait)
    index.read_through(total)
    logger.info("The index of existing contacts is up to date: %d were read.", new)


def _read(client: Client, ledger: Ledger, after: int, on_wait: Callable[[], None]) -> int:
    count = 0
    for some in chunks(client.contacts(after=after)):
        people = [ledger.person(person_key(one.email)) for one in some]
        ledger.existing.add(people, some[-1].id)
        count += len(some)
        if count % 10_000 == 0:
            logger.info("Reading the account's contacts: %d so far.", count)
        on_wait()
    return count
