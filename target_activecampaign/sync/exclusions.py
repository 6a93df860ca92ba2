"""The account's exclusion list: addresses that no import accepts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from target_activecampaign.client import (
    InvalidRequest,
    MalformedAnswer,
    NotFound,
    PermissionDenied,
)
from target_activecampaign.model.email import contact_key

if TYPE_CHECKING:
    from target_activecampaign.client import Client, Exclusion

logger = logging.getLogger("target-activecampaign")

_EVERYWHERE = ("all", "allEmail")
"""The channels of exclusions that hold for all lists of e-mail [doc]; `allSms` does not."""


class _Phrases(NamedTuple):
    """The phrases that exclude an address, in lower case.

    Attributes:
        exact: Whole addresses.
        ends: Ends of addresses.
    """

    exact: set[str]
    ends: list[str]

    def add(self, one: Exclusion) -> None:
        """Add an exclusion. One of an unknown kind is ignored: the import decides about it."""
        phrase = contact_key(one.match_phrase)
        if one.match_type == "exact":
            self.exact.add(phrase)
        elif one.match_type == "end" and phrase:
            self.ends.append(phrase)

    def match(self, key: str) -> bool:
        """Return whether a phrase excludes the contact with this key."""
        return key in self.exact or key.endswith(tuple(self.ends))


class Exclusions:
    """The exclusion list. It is read when it is first needed.

    Args:
        client: The client of the account.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._is_read = False
        self._everywhere = _Phrases(set(), [])
        self._by_list: dict[int, _Phrases] = {}

    def is_excluded(self, key: str) -> bool:
        """Return whether the whole account excludes the contact with this key."""
        self._read()
        return self._everywhere.match(key)

    def is_excluded_from(self, key: str, list_id: int) -> bool:
        """Return whether a list excludes the contact with this key."""
        self._read()
        return list_id in self._by_list and self._by_list[list_id].match(key)

    def _read(self) -> None:
        if self._is_read:
            return
        self._is_read = True
        try:
            found = self._client.exclusions()
        except (InvalidRequest, MalformedAnswer, NotFound, PermissionDenied) as error:
            logger.warning(
                "The exclusion list can't be read. The run continues, and the import refuses "
                "excluded contacts: %s",
                error,
            )
            return
        for one in found:
            if one.channel in _EVERYWHERE:
                self._everywhere.add(one)
            elif one.channel == "several":
                for list_id in one.list_ids:
                    self._by_list.setdefault(list_id, _Phrases(set(), [])).add(one)
