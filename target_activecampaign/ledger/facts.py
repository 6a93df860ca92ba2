"""The facts about an account's API that `--verify` has settled."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from target_activecampaign.ledger.schema import fact as table
from target_activecampaign.ledger.statements import insert_into
from target_activecampaign.ledger.store import retryable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_activecampaign.ledger.store import Store


class KnownFact(NamedTuple):
    """A fact that was settled for an account.

    Attributes:
        value: The value that was seen, as in `Fact.values`.
        seen: The time, by ActiveCampaign's clock.
    """

    value: str
    seen: float

    @property
    def date(self) -> str:
        """The day on which it was seen, in UTC."""
        return f"{datetime.fromtimestamp(self.seen, timezone.utc):%Y-%m-%d}"


class Facts:
    """The settled facts of an account.

    Args:
        store: The ledger's database.
        account: The account's number.
    """

    def __init__(self, store: Store, account: int) -> None:
        self._store = store
        self._account = account

    @retryable
    def read(self) -> dict[str, KnownFact]:
        """Return all settled facts by name."""
        query = sa.select(table.c.name, table.c.value, table.c.seen)
        query = query.where(table.c.account == self._account).order_by(table.c.name)
        with self._store.transaction() as db:
            return {name: KnownFact(value, seen) for name, value, seen in db.execute(query)}

    @retryable
    def save(self, values: Mapping[str, str], seen: float) -> None:
        """Save the values of some facts; others stay as they are."""
        rows = [
            {"account": self._account, "name": name, "value": value, "seen": seen}
            for name, value in values.items()
        ]
        if not rows:
            return
        with self._store.transaction(account=self._account) as db:
            insert = insert_into(table, db.dialect.name)
            new = {"value": insert.excluded.value, "seen": insert.excluded.seen}
            upsert = insert.on_conflict_do_update(index_elements=["account", "name"], set_=new)
            db.execute(upsert, rows)
