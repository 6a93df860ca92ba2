"""The places that rows of outcomes can be stored in, by their URL."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from target_activecampaign.outcomes.files import FileStore
from target_activecampaign.outcomes.sql import SqlStore

_FILES = "file://"


class OutcomePlace(NamedTuple):
    """A place for rows of outcomes.

    Attributes:
        url: The setting `outcomes_url`.
        schema: The setting `outcomes_schema`.
        account: The account's identity, for the latest rows.
        patience: Seconds for which a database that can't be reached is retried.
    """

    url: str
    schema: str | None
    account: str = ""
    patience: float = 0.0

    def open(self) -> FileStore | SqlStore:
        """Return the store of the place. Nothing is written to it yet.

        Raises:
            OutcomesError: The URL can't be used.
        """
        if self.url.startswith(_FILES):
            return FileStore(Path(unquote(self.url.removeprefix(_FILES))))
        return SqlStore(self.url, self.schema, self.account, self.patience)
