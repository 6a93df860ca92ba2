"""Outages told from bad contacts: by imports that fail in a row, and by one that should work."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign.delivery.batches import Batch, Entry
from target_activecampaign.errors import DeliveryError
from target_activecampaign.model.contact import Contact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_activecampaign.client import Client

logger = logging.getLogger("target-activecampaign")

MAX_REFUSALS = 40
"""Imports refused in a row with none accepted between, or contacts refused in a row with none
imported after them, that may be due to their contacts."""
_MAX_FAILURES = 20
"""Imports accepted and failed in a row, with none completed between, likewise."""


class FailureCount:
    """The imports that failed in a row.

    Args:
        max_in_flight: Imports that are posted at once. Each may have a bad contact, before any is
            accepted.

    Attributes:
        refused: Imports that were refused since one was accepted.
        failed: Imports that were accepted and imported no contact, since one did.
    """

    def __init__(self, max_in_flight: int) -> None:
        self._max_refused = max(MAX_REFUSALS, 2 * max_in_flight)
        self.refused = 0
        self.failed = 0

    @property
    def suggests_outage(self) -> bool:
        """True if so many failed that their contacts may not be the reason."""
        return self.refused > self._max_refused or self.failed > _MAX_FAILURES

    def error(self, codes: Iterable[str]) -> DeliveryError:
        """Return the error that ends the run if it is an outage.

        Args:
            codes: Why the imports failed.
        """
        count = max(self.refused, self.failed)
        return DeliveryError(
            f"{count} imports in a row failed ({', '.join(sorted(codes))}). That points to an "
            "outage, not to bad data, so no contact was rejected. See status.activecampaign.com "
            "and run again; unconfirmed records are sent again."
        )


def contacts_refused_error(count: int, codes: Iterable[str]) -> DeliveryError:
    """Return the error that ends the run if contacts were refused and none is imported any more."""
    return DeliveryError(
        f"{count:,} contacts in a row were refused ({', '.join(sorted(codes))}), and none was "
        "imported after them. That points to an outage or to the account, not to bad data, so no "
        "contact was rejected. Check the account's contact limit and exclusion list, see "
        "status.activecampaign.com and run again; unconfirmed records are sent again."
    )


class ControlContact:
    """A contact that the account has, imported again to see whether imports work at all.

    The import has only the address, so it changes nothing. If it works, the contacts that were
    refused before are at fault themselves.

    Args:
        client: Finds the contact.

    Attributes:
        error: Ends the run if the import does not work.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._entry: Entry | None = None
        self.error = DeliveryError()

    @property
    def is_in_flight(self) -> bool:
        """True if it was chosen, and is not imported yet."""
        return self._entry is not None

    def has(self, entry: Entry) -> bool:
        """Return whether an entry is this contact."""
        return entry is self._entry

    def choose(self, key: str, contact_hash: bytes, error: DeliveryError) -> Entry:
        """Return a contact to import.

        Args:
            key: Its address.
            contact_hash: The hash that stands for it in the ledger.
            error: Ends the run if the import does not work.
        """
        logger.warning(
            "Many contacts in a row were refused. A contact that is known to be good is imported "
            "again, by its address alone, to see whether imports work."
        )
        self._entry, self.error = (
            Entry(Contact(key, key), b"", [], contact_hash=contact_hash),
            error,
        )
        return self._entry

    def find(self) -> Batch | None:
        """Return its import; None if the account has it no more, as none is to be created."""
        assert self._entry is not None  # noqa: S101 - it was chosen
        entry = self._entry
        found = self._client.find_contact(entry.key)
        if found is None or found.bounced_hard:
            return None
        entry.contact.email = found.email
        entry.body = entry.contact.encode()
        return Batch([entry], exclude_automations=True)

    def confirm(self) -> None:
        """Note that it was imported."""
        self._entry = None
