"""The account's exclusions: the addresses that it takes from nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from activecampaign_sandbox.store import Store

# The values that the documentation names [doc]; there may be more match types [unv].
MATCH_TYPES = ("exact", "end")
EVERYWHERE = ("all", "allEmail")
SEVERAL = "several"
CHANNELS = (*EVERYWHERE, "allSms", SEVERAL)


@dataclass
class _Phrases:
    """Match phrases in their key form, by match type."""

    exact: set[str] = field(default_factory=set)
    ends: tuple[str, ...] = ()

    def add(self, phrase: str, match_type: str) -> None:
        if match_type == "end":
            self.ends += (phrase,)
        else:
            self.exact.add(phrase)

    def __bool__(self) -> bool:
        return bool(self.exact or self.ends)

    def match(self, key: str) -> bool:
        return key in self.exact or key.endswith(self.ends)


class ExclusionRules:
    """The exclusions as imports and new contacts are checked against them.

    An exclusion of the channel ``several`` concerns only contacts that are to be added to one of
    its lists; such a contact is refused as a whole (unverified). One of the channel ``allSms``
    concerns no address.

    Args:
        store: The account's data.
    """

    def __init__(self, store: Store) -> None:
        self._everywhere = _Phrases()
        self._by_list: dict[int, _Phrases] = {}
        for row in store.all(
            "SELECT phrase, match_type, channel, list FROM exclusion"
            " LEFT JOIN exclusion_list ON exclusion = id AND channel = ?",
            SEVERAL,
        ):
            if row["list"] is not None:
                phrases = self._by_list.setdefault(row["list"], _Phrases())
            elif row["channel"] in EVERYWHERE:
                phrases = self._everywhere
            else:
                continue
            phrases.add(records.email_key(row["phrase"]), row["match_type"])

    def __bool__(self) -> bool:
        """Return whether any address may be excluded."""
        return bool(self._everywhere or self._by_list)

    def covers(self, email: str, lists: Iterable[int] = ()) -> bool:
        """Return whether an address is excluded from everything, or from one of these lists."""
        key = records.email_key(email)
        if self._everywhere.match(key):
            return True
        return bool(self._by_list) and any(
            number in self._by_list and self._by_list[number].match(key) for number in lists
        )


def add(store: Store, wanted: str | Mapping[str, Any]) -> None:
    """Add an exclusion, or replace that of the same phrase and match type.

    Args:
        store: The account's data, inside a transaction.
        wanted: An address, a domain as ``@example.org``, or an object with ``match_phrase``,
            ``match_type``, ``channel`` and ``lists``.

    Raises:
        ValueError: The match type or the channel is unknown.
    """
    given = {"match_phrase": wanted} if isinstance(wanted, str) else wanted
    phrase = given["match_phrase"].strip()
    match_type = given.get("match_type", "end" if phrase.startswith("@") else "exact")
    channel = given.get("channel", SEVERAL if given.get("lists") else EVERYWHERE[0])
    store.db.execute(
        "INSERT OR IGNORE INTO exclusion (phrase, match_type, channel) VALUES (?, ?, '')",
        (phrase, match_type),
    )
    number = store.number(
        "SELECT id FROM exclusion WHERE phrase = ? AND match_type = ?", phrase, match_type
    )
    lists = [int(list_id) for list_id in given.get("lists", ())]
    change(store, number, phrase, match_type, channel, lists=lists)


def change(
    store: Store, number: int, phrase: str, match_type: str, channel: str, *, lists: Iterable[int]
) -> None:
    """Change the exclusion with an id; ``lists`` count only for the channel ``several``.

    Raises:
        ValueError: The match type or the channel is unknown, or another exclusion has the phrase.
    """
    if match_type not in MATCH_TYPES or channel not in CHANNELS:
        raise ValueError("unknown match type or channel")
    if not phrase or store.one(
        "SELECT 1 FROM exclusion WHERE phrase = ? AND match_type = ? AND id <> ?",
        phrase, match_type, number,
    ):  # fmt: skip
        raise ValueError("the phrase is empty, or has an exclusion already")
    store.db.execute(
        "UPDATE exclusion SET phrase = ?, match_type = ?, channel = ? WHERE id = ?",
        (phrase, match_type, channel, number),
    )
    store.db.execute("DELETE FROM exclusion_list WHERE exclusion = ?", (number,))
    store.db.executemany(
        "INSERT OR IGNORE INTO exclusion_list VALUES (?, ?)",
        [(number, list_id) for list_id in (lists if channel == SEVERAL else ())],
    )
