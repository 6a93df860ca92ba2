"""Outages and bad contacts told apart: by failures in a row, and by a control import."""

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
"""Limit of imports or contacts refused in a row. More than that suggests an outage."""
_MAX_FAILURES = 20
"""Limit of accepted imports that fail in a row. More than that suggests an outage."""


class FailureCount:
    """The imports that failed in a row.

    Args:
        max_in_flight: Imports that are posted at once. Each of them may have a bad contact.

    Attributes:
        refused: Imports refused since the last one was accepted.
        failed: Accepted imports that imported no contact, since the last one that did.
    """

    def __init__(self, max_in_flight: int) -> None:
        self._max_refused = max(MAX_REFUSALS, 2 * max_in_flight)
        self.refused = 0
        self.failed = 0

    @property
    def suggests_outage(self) -> bool:
        """True if so many imports failed that bad contacts are an unlikely reason."""
        return self.refused > self._max_refused or self.failed > _MAX_FAILURES

    def error(self, codes: Iterable[str]) -> DeliveryError:
        """Return the error that ends the run if it is an outage.

        Args:
            codes: The codes of the failures.
        """
        count = max(self.refused, self.failed)
        return DeliveryError(
            f"{count} imports in a row failed ({', '.join(sorted(codes))}). That points to an "
            "outage, not to bad data, so no contact was rejected. See status.activecampaign.com "
            "and run again; unconfirmed records are sent again."
        )


def contacts_refused_error(count: int, codes: Iterable[str]) -> DeliveryError:
    """Return the error that ends the run if refused contacts suggest an outage."""
    return DeliveryError(
        f"{count:,} contacts in a row were refused ({', '.join(sorted(codes))}), and none was "
        "imported after them. That points to an outage or to the account, not to bad data, so no "
        "contact was rejected. Check the account's contact limit and exclusion list, see "
        "status.activecampaign.com and run again; unconfirmed records are sent again."
    )


class ControlContact:
    """A contact known to exist in the account, imported again to test whether imports work.

    The import has only the address, so it changes nothing. If it works, the contacts that were
    refused before are at fault.

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
        """True if it was chosen and has no result yet."""
        return self._entry is not None

    def has(self, entry: Entry) -> bool:
        """Return whether an entry is this contact."""
        return entry is self._entry

    def choose(self, key: str, contact_hash: bytes, error: DeliveryError) -> Entry:
        """Choose the contact, and return it.

        Args:
            key: The contact's key.
            contact_hash: Its hash in the ledger.
            error: Ends the run if the import does not work.
        """
        logger.warning(
            "Many contacts in a row were refused. Importing a known contact again, with only its "
            "address, to test whether imports work."
        )
        self._entry, self.error = (
            Entry(Contact(key, key), b"", [], contact_hash=contact_hash),
            error,
        )
        return self._entry

    def find(self) -> Batch | None:
        """Return its import; None if the account no longer has it, as it must not be created."""
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
