"""The client: what can be asked of ActiveCampaign, one method a question."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING

from target_activecampaign.client import responses as answers
from target_activecampaign.client.calls import PAGE_SIZE, ignore_content, json_body
from target_activecampaign.client.decoding import page_of
from target_activecampaign.client.errors import NotFound
from target_activecampaign.client.fields import FieldCalls
from target_activecampaign.client.models import (
    Accepted,
    Contact,
    ContactList,
    ContactTag,
    ImportStatus,
    Membership,
    Tag,
    User,
    contacts_after,
    import_status_from,
    user_from,
)
from target_activecampaign.model.names import caseless, exact

if TYPE_CHECKING:
    from collections.abc import Iterator


class Client(FieldCalls):
    """A connection to one ActiveCampaign account, for use by any number of threads.

    Args:
        base_url: The account's API address, in any form that `parse_api_url` takes.
        api_key: The key, sent as ``Api-Token`` and shown nowhere.
        budget: The account's limits; ActiveCampaign's own by default. The client closes it
            with itself.
        timeout: Seconds for a request, from connecting to the last byte of its answer.
        retry_seconds: How long one call is tried again, from its first request on. Time
            spent waiting for the account's limits after a refusal is part of it; a wait that the
            server asks for within it is waited to its end.
        max_retry_after: Seconds to wait at most because the server asks for it.
        pool_size: Connections kept open: as many as threads use the client at once.
        user_agent: Value of the header ``User-Agent``.

    Raises:
        ValueError: The address or the key can't be right; the message does not repeat them.
        CertificateRejected, ConnectionFailed: The trusted certificates or the proxy that the
            environment names can't be used.
    """

    def whoami(self) -> User:
        """Tell whose key this is: the cheapest proof that address and key fit."""
        return self._call("GET", "/users/me", user_from)

    def lists(self) -> list[ContactList]:
        """Return all lists of the account."""
        return self._all_pages("/lists", page_of("lists", ContactList))

    def import_contacts(self, body: bytes, count: int) -> Accepted:
        """Put an import of contacts into ActiveCampaign's queue.

        Args:
            body: JSON ``{"contacts": [...]}`` of at most 399,999 bytes [doc].
            count: Contacts in it, 1 to 250 [doc]; imports of one have a limit of their own.

        Returns:
            The id to ask for the import's status with. Nothing is imported yet.

        Raises:
            ImportRefused: At least one contact is at fault; nothing was queued.
        """
        path = "/import/bulk_import"
        return self._call(
            "POST",
            path,
            answers.accepted(f"POST {path}", count),
            kind="single_import" if count == 1 else "import",
            body=body,
        )

    def import_status(self, batch_id: str) -> ImportStatus:
        """Tell how far an import is.

        What the API answers for an id that it doesn't know is not documented.
        """
        return self._call("GET", "/import/info", import_status_from, query={"batchId": batch_id})

    def find_contact(self, email: str) -> Contact | None:
        """Return the contact with this e-mail address, None if there is none.

        The address is compared without case. The answer's is checked, since the filter was
        once seen not to be applied [rep].
        """
        wanted = exact(email).lower()
        page = self._call("GET", "/contacts", page_of("contacts", Contact), query={"email": email})
        matches = (one for one in page.items if exact(one.email).lower() == wanted)
        return next(matches, None)

    def contacts(
        self, *, after: int = 0, list_id: int | None = None, status: int | None = None
    ) -> Iterator[Contact]:
        """Read contacts in the order of their ids, a page of them at a time.

        Pages are turned by the last id seen, so none is left out or read twice because others
        come or go meanwhile.

        Args:
            after: Only those with a greater id: where to go on after an interruption.
            list_id: Only those who are or were on this list.
            status: Only those with this status, as in `Membership.status`, on that list.

        Raises:
            MalformedAnswer: The server takes no notice of the order asked for.
        """
        query = {**_filters(list_id, status), "orders[id]": "ASC", "limit": PAGE_SIZE}
        while True:
            page = self._call(
                "GET", "/contacts", contacts_after(after), query={**query, "id_greater": after}
            )
            yield from page.items
            # Were pages shorter than asked for, the total would still say that there are more.
            more = len(page.items) >= PAGE_SIZE or (page.total or 0) > len(page.items)
            if not page.items or not more:
                return
            after = page.items[-1].id

    def count_contacts(
        self, *, list_id: int | None = None, status: int | None = None
    ) -> int | None:
        """Tell how many contacts `contacts` would read; None if the answer doesn't say."""
        return self._call(
            "GET",
            "/contacts",
            page_of("contacts", Contact),
            query={**_filters(list_id, status), "limit": 1},
        ).total

    def memberships(self, contact_id: int) -> list[Membership]:
        """Return the contact's place on each list it is or was on."""
        return self._all_pages(
            f"/contacts/{contact_id}/contactLists",
            page_of("contactLists", Membership),
        )

    def subscribe(self, contact_id: int, list_id: int) -> None:
        """Make a contact an active member of a list, whatever it was before.

        WARNING: this undoes an opt-out. "If you change a status from unsubscribed to active,
        you can re-subscribe a contact to a list from which they had manually unsubscribed."
        [doc] This method checks nothing: its caller must know that the person did not end
        the membership.

        So it is not repeated either once it may have taken effect: the person may have opted
        out since. ``sourceid`` 4 is what re-subscribing is to be marked with [doc].

        Raises:
            NotFound: There is no such contact or list.
            ActiveCampaignError: If its `effect_unknown` is true, the membership tells.
        """
        membership = {"list": list_id, "contact": contact_id, "status": 1, "sourceid": 4}
        body = json_body("contactList", membership)
        self._call("POST", "/contactLists", ignore_content, body=body, once=True)

    def find_tag(self, name: str) -> int | None:
        """Return the id of the tag with this name, None if there is none."""
        found = self.tag_called(name)
        return found.id if found else None

    def tag_called(self, name: str) -> Tag | None:
        """Return the tag with this name, None if there is none.

        Tags are to be treated as case-insensitive [doc]; if names differ in nothing but case
        all the same, the one spelt as given is meant. ``search`` finds parts of names [rep].
        Whether it finds NFD by NFC is not documented, so it is asked for both.
        """
        wanted = name.strip()
        forms = (wanted, exact(wanted), unicodedata.normalize("NFD", wanted))
        for form in dict.fromkeys(forms):
            found = self._all_pages("/tags", page_of("tags", Tag), search=form)
            matches = [tag for tag in found if caseless(tag.name) == caseless(wanted)]
            if matches:
                return min(matches, key=lambda tag: exact(tag.name) != exact(wanted))
        return None

    def contact_tags(self, contact_id: int) -> dict[int, int]:
        """Return a contact's tags: the tag's id, and the id to remove it from the contact by."""
        path = f"/contacts/{contact_id}/contactTags"
        found = self._all_pages(path, page_of("contactTags", ContactTag))
        return {one.tag_id: one.id for one in found}

    def remove_contact_tag(self, contact_tag_id: int) -> None:
        """Take a tag from a contact, by an id from `contact_tags`; one that is gone is fine."""
        with suppress(NotFound):  # also if the answer to an earlier attempt was lost
            self._call("DELETE", f"/contactTags/{contact_tag_id}", ignore_content)


def _filters(list_id: int | None, status: int | None) -> dict[str, str | int]:
    given = {"listid": list_id, "status": status}
    return {name: value for name, value in given.items() if value is not None}
