"""Remove what verifications have made: this one, and earlier ones that were killed.

Only things with the marks of `marks` are deleted. Everything is read before that, and what does not
bear the marks is left alone, even if the server ignores a filter.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from target_activecampaign.text import pluralize
from target_activecampaign.verify.lab import ids_of
from target_activecampaign.verify.marks import PREFIX, is_our_contact, is_our_title

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_activecampaign.verify.lab import LabClient

logger = logging.getLogger("target-activecampaign")

_PAGE = 100
_MAX_PAGES = 50
"""Pages that are read at most where a filter may have no effect."""


class Cleaner:
    """Deletes the contacts, fields, tags and lists of verifications.

    Args:
        client: The client.
    """

    def __init__(self, client: LabClient) -> None:
        self._client = client

    def clean(self) -> Counter[str]:
        """Delete everything, and return how many things of each kind there were."""
        deleted: Counter[str] = Counter()
        for kind, path, ids in self._find():
            for one in ids:
                if self._client.send("DELETE", f"/{path}/{one}").ok:
                    deleted[kind] += 1
        return deleted

    def leftovers(self) -> Counter[str]:
        """Return how many things of each kind are still there."""
        return Counter({kind: len(ids) for kind, _, ids in self._find()})

    def _find(self) -> Iterator[tuple[str, str, list[int]]]:
        """Yield each kind of thing, its path, and the ids of those that verifications have made.

        Lists come last: one can be deleted once its contacts are.
        """
        yield "contact", "contacts", self._contacts()
        yield "custom field", "fields", self._titled("fields", "title")
        yield "tag", "tags", self._titled("tags", "tag", search=PREFIX)
        yield "list", "lists", self._lists()

    def _contacts(self) -> list[int]:
        # The newest first, as ours are, if the server ignores the filter.
        query = {"email_like": PREFIX, "orders[id]": "DESC"}
        found = [
            one
            for one in self._pages("contacts", query)
            if is_our_contact(str(one.get("email", "")), str(one.get("lastName", "")))
        ]
        return ids_of(found)

    def _titled(self, kind: str, title: str, **query: str) -> list[int]:
        return ids_of(
            one for one in self._pages(kind, query) if is_our_title(str(one.get(title, "")))
        )

    def _lists(self) -> list[int]:
        """Return the lists that were made for a verification, and have no members."""
        made = [one for one in self._pages("lists", {}) if is_our_title(str(one.get("stringid")))]
        return [one for one in ids_of(made) if self._client.count_contacts(list_id=one) == 0]

    def _pages(self, name: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the objects of all pages, up to a limit."""
        for page in range(_MAX_PAGES):
            paged = {**query, "limit": _PAGE, "offset": page * _PAGE}
            reply = self._client.send("GET", f"/{name}", query=paged)
            found = reply.items(name)
            yield from found
            if len(found) < _PAGE or reply.total == (page + 1) * _PAGE:
                return
        logger.warning(
            "Not all %s were searched for leftovers: the account has more than %d that the search "
            "for '%s' finds.",
            name,
            _MAX_PAGES * _PAGE,
            PREFIX,
        )


def describe(counts: Counter[str]) -> str:
    """Return counts as text, such as `3 contacts, 1 tag`."""
    return ", ".join(pluralize(count, kind) for kind, count in counts.items() if count)
