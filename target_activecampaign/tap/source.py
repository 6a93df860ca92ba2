"""The account that the tap reads."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign.account.account import Account

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_activecampaign.client import Client
    from target_activecampaign.config.settings import Settings

logger = logging.getLogger("tap-activecampaign-consent")


class ConsentSource:
    """The account. It is opened when a stream first reads it.

    Args:
        settings: The settings of the account.
        lists: The lists whose opt-outs are read, as in the settings; all lists if empty.
    """

    def __init__(self, settings: Settings, lists: Sequence[int | str]) -> None:
        self._settings = settings
        self._lists = lists
        self._account: Account | None = None
        self._list_ids: list[int] = []

    @property
    def client(self) -> Client:
        """The client.

        Raises:
            TargetError: The account can't be reached or rejects the key, or a setting is wrong.
        """
        return self._open().client

    @property
    def list_ids(self) -> list[int]:
        """The ids of the lists whose opt-outs are read, without duplicates.

        Raises:
            TargetError: As for `client`.
        """
        self._open()
        return self._list_ids

    def _open(self) -> Account:
        """Connect, check the key and find the lists, on the first call."""
        if self._account is not None:
            return self._account
        account = Account(self._settings, read_only=True)
        try:
            account.start()
            account.connect()
            with account.opening():
                account.client.whoami()
                account.lists = account.client.lists()
            chosen = [account.find_list(one, "lists") for one in self._lists] or account.lists
        except BaseException:
            account.close()
            raise
        self._list_ids = list(dict.fromkeys(one.id for one in chosen))
        name = self._settings.connection_name
        place = f"'{name}' at {account.address}" if name else account.address
        logger.info("Connected to %s: reading %d lists.", place, len(self._list_ids))
        self._account = account
        return account

    def close(self) -> None:
        """Close the connection, if there is one."""
        account, self._account = self._account, None
        if account is not None:
            account.close()
