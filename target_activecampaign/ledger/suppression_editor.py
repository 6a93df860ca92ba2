"""Changes to the suppressed people of an account, made while no run is in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.errors import EraseError
from target_activecampaign.ledger import hash_of_sha256
from target_activecampaign.ledger.erase import accounts_of, ended_runs
from target_activecampaign.ledger.suppressions import COMMAND, Suppressions
from target_activecampaign.ledger.withheld import WithheldContacts
from target_activecampaign.ledger.write_buffer import WriteBuffer

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

    from target_activecampaign.ledger.store import Store
    from target_activecampaign.model.suppressed import SuppressedPerson


class SuppressionEditor:
    """Suppresses people of an account, and lifts suppressions.

    Args:
        store: The ledger's database.
        connection: The account; None for the only one.

    Attributes:
        connection: The account.

    Raises:
        EraseError: The ledger has no such account, or several, or a run is using it. All methods
            raise this too.
        LedgerError: The ledger can't be used. All methods raise this too.
    """

    def __init__(self, store: Store, connection: str | None) -> None:
        self._store = store
        account = store.retry(lambda: self._find(connection))
        self.connection: str = account.identity
        self._suppressions = Suppressions(
            store, account.id, WriteBuffer(store, account.id), WithheldContacts(store, account.id)
        )

    def _find(self, connection: str | None) -> sa.Row[tuple[object, ...]]:
        """Return the account, of which no run is in progress."""
        with self._store.transaction() as db:
            found = accounts_of(db, connection)
            if not found:
                raise EraseError("The ledger has no connection yet: run the target once.")
            if len(found) > 1:
                names = ", ".join(account.identity for account in found)
                raise EraseError(
                    f"The ledger has several connections. Name one with --connection: {names}."
                )
            ended_runs(db, found[0])
            return found[0]

    def suppress(self, people: Iterable[SuppressedPerson]) -> int:
        """Suppress people, and return the number of those who were not suppressed before."""
        contacts = {self._contact(one): one.key for one in people}
        self._store.retry(lambda: self._find(self.connection))
        return len(self._suppressions.add(COMMAND, contacts))

    def lift(self, people: Iterable[SuppressedPerson]) -> int:
        """Lift the suppression of people, and return the number of those who were suppressed."""
        contacts = {self._contact(one) for one in people}
        self._store.retry(lambda: self._find(self.connection))
        return self._suppressions.remove(None, contacts)

    def _contact(self, one: SuppressedPerson) -> bytes:
        return hash_of_sha256(self._store.key, self.connection, one.sha256)
