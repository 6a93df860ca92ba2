"""The client: one method per request of ActiveCampaign's API that a loader needs."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from target_activecampaign.client import responses as answers
from target_activecampaign.client.calls import PAGE_SIZE, ignore_content, json_body
from target_activecampaign.client.decoding import page_of
from target_activecampaign.client.errors import AddressTaken, InvalidRequest, NotFound
from target_activecampaign.client.fields import FieldCalls
from target_activecampaign.client.lists import ListCalls
from target_activecampaign.client.models import (
    AcceptedImport,
    BounceLog,
    Contact,
    ContactTag,
    Exclusion,
    ImportStatus,
    Membership,
    OptOut,
    Tag,
    User,
    address_key,
    bounce_logs_of,
    contact_from,
    contacts_after,
    import_status_from,
    outstanding_imports_from,
    user_from,
)
from target_activecampaign.model.names import caseless, exact
from target_activecampaign.model.status import UNSUBSCRIBED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


class Client(FieldCalls, ListCalls):
    """A connection to one ActiveCampaign account, for any number of threads.

    Args:
        base_url: The account's API address, in any form that `parse_api_url` accepts.
        api_key: The key, sent as ``Api-Token`` and never shown.
        budget: The account's rate limits; ActiveCampaign's own by default. The client closes it.
        timeout: Seconds for a request, from connecting to the last byte of its answer.
        retry_seconds: Seconds for which a call is retried, from its first request on, including
            waits for the account's limits after a refusal. A wait that the server asks for within
            this time is completed.
        max_retry_after: Longest wait in seconds that the server may ask for.
        max_retry_pause: Longest pause in seconds before a retry where the server asks for none.
        pool_size: Number of connections kept open, best one per thread that uses the client.

    Raises:
        ValueError: The address or the key can't be right; the message does not repeat them.
        CertificateRejected, ConnectionFailed: The certificates or the proxy that the
            environment names can't be used.
    """

    def whoami(self) -> User:
        """Return the owner of the key: the cheapest check of address and key."""
        return self._call("GET", "/users/me", user_from)

    def import_contacts(
        self, body: bytes, count: int, has_arrived: Callable[[], bool] | None = None
    ) -> AcceptedImport:
        """Add an import of contacts to ActiveCampaign's queue.

        Args:
            body: JSON ``{"contacts": [...]}`` of at most 399,999 bytes [doc].
            count: Number of contacts, 1 to 250 [doc]; imports of one have a limit of their own.
            has_arrived: Returns whether the import has arrived all the same. Called after each
                attempt whose answer was lost. If it has, the import is not sent again, and the
                result has no id. Without it, the import is sent again.

        Returns:
            The id of the import, for `import_status`. Nothing is imported yet.

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
            find_effect=lambda: (
                AcceptedImport("", None) if has_arrived is not None and has_arrived() else None
            ),
        )

    def count_outstanding_imports(self) -> int:
        """Return the number of imports in the account's queue, of all its users [doc]."""
        return self._call("GET", "/import/bulk_import", outstanding_imports_from)

    def import_status(self, batch_id: str) -> ImportStatus:
        """Return the status of an import.

        The API's answer for an unknown id is not documented.
        """
        return self._call("GET", "/import/info", import_status_from, query={"batchId": batch_id})

    def find_contact(self, email: str) -> Contact | None:
        """Return the contact with this e-mail address; None if there is none.

        Case is ignored. The answer is checked, because the API was once seen to ignore the
        filter [rep].
        """
        wanted = address_key(email)
        page = self._call("GET", "/contacts", page_of("contacts", Contact), query={"email": email})
        matches = (one for one in page.items if address_key(one.email) == wanted)
        return next(matches, None)

    def contact(self, contact_id: int) -> Contact | None:
        """Return the contact with this id; None if there is none."""
        try:
            return self._call("GET", f"/contacts/{contact_id}", contact_from(contact_id))
        except NotFound:
            return None

    def rename_contact(self, contact_id: int, email: str) -> None:
        """Give a contact another e-mail address; nothing else of it changes.

        It may be repeated: a contact that already has the address is left as it is.

        Args:
            contact_id: Id of the contact.
            email: The new address.

        Raises:
            AddressTaken: Another contact has the address.
            NotFound: There is no contact with this id.
            InvalidRequest: The address, or the contact's renaming, was refused.
            MalformedAnswer: The answer shows another contact or address. `contact` shows the
                effect, as for every error whose `effect_unknown` is true.
        """
        path = f"/contacts/{contact_id}"
        body = json_body("contact", {"email": email})
        try:
            self._call("PUT", path, contact_from(contact_id, email), body=body)
        except InvalidRequest as refusal:
            if not refusal.has_code("duplicate"):
                raise
            taken = AddressTaken(refusal.where, status=refusal.status)
        else:
            return
        # A contact's own address may count as a duplicate [unv], after a lost answer for example.
        contact = self.contact(contact_id)
        if contact is None or address_key(contact.email) != address_key(email):
            raise taken

    def contacts(
        self,
        *,
        after: int = 0,
        list_id: int | None = None,
        status: int | None = None,
        updated_after: float | None = None,
    ) -> Iterator[Contact]:
        """Yield contacts in the order of their ids, page by page.

        Each page starts after the last id of the previous page, so contacts that are added or
        deleted meanwhile cause neither gaps nor duplicates.

        Args:
            after: Only contacts with a greater id, to resume after an interruption.
            list_id: Only contacts that are or were on this list.
            status: Only contacts with this status on that list, as in `Membership.status`.
            updated_after: Only contacts that were changed after this time, in seconds since the
                epoch [doc; seen to work, rep]. Whether the API counts an opt-out or a bounce as a
                change of the contact is not documented [unv].

        Raises:
            MalformedAnswer: The server ignores the requested order.
        """
        query: dict[str, str | int]
        query = {**_filters(list_id, status), "orders[id]": "ASC", "limit": self.page_size}
        if updated_after is not None:
            moment = datetime.fromtimestamp(updated_after, timezone.utc)
            query["filters[updated_after]"] = moment.isoformat(timespec="seconds")
        while True:
            page = self._call(
                "GET", "/contacts", contacts_after(after), query={**query, "id_greater": after}
            )
            yield from page.items
            # Pages may be shorter than requested: then the total shows that there are more.
            more = len(page.items) >= self.page_size or (page.total or 0) > len(page.items)
            if not page.items or not more:
                return
            after = page.items[-1].id

    def find_opted_out(self, list_id: int, contact_ids: Collection[int]) -> set[int]:
        """Return those contacts that are unsubscribed from a list, in one request.

        An answer with a contact that was not asked for shows that the server ignores the filter
        by ids [doc]. Then all of them count as unsubscribed.

        Args:
            list_id: Id of the list.
            contact_ids: At most 100 ids.
        """
        wanted = set(contact_ids)
        page = self._call(
            "GET",
            "/contacts",
            page_of("contacts", Contact),
            query={
                **_filters(list_id, UNSUBSCRIBED),
                "ids[]": sorted(wanted),
                "limit": PAGE_SIZE,
            },
        )
        found = {one.id for one in page.items}
        return found if found.issubset(wanted) else wanted

    def count_contacts(
        self, *, list_id: int | None = None, status: int | None = None
    ) -> int | None:
        """Return the number of contacts that `contacts` would yield; None if it is unknown."""
        return self._call(
            "GET",
            "/contacts",
            page_of("contacts", Contact),
            query={**_filters(list_id, status), "limit": 1},
        ).total

    def memberships(self, contact_id: int) -> list[Membership]:
        """Return a contact's memberships of the lists that it is or was on."""
        return self._all_pages(
            f"/contacts/{contact_id}/contactLists",
            page_of("contactLists", Membership),
        )

    def opt_outs(
        self, list_ids: Collection[int], *, updated_after: float | None = None
    ) -> Iterator[OptOut]:
        """Yield the contacts that are unsubscribed from some lists, with the end of the membership.

        For each contact this costs a request. ``GET /contactLists`` would take fewer, but its
        filters have no effect and the order of its pages is not stable [rep].

        Args:
            list_ids: Ids of the lists.
            updated_after: As in `contacts`.
        """
        done: set[int] = set()
        for list_id in list_ids:
            for contact in self.contacts(
                list_id=list_id, status=UNSUBSCRIBED, updated_after=updated_after
            ):
                if contact.id in done:
                    continue
                done.add(contact.id)
                with suppress(NotFound):  # the contact was deleted meanwhile
                    for one in self.memberships(contact.id):
                        if one.is_opted_out and one.list_id in list_ids:
                            yield OptOut(contact, one)

    def bounce_logs(self, contact_id: int) -> list[BounceLog]:
        """Return the mails to a contact that bounced; an empty list if there is no such contact."""
        try:
            return self._all_pages(f"/contacts/{contact_id}/bounceLogs", bounce_logs_of(contact_id))
        except NotFound:
            return []

    def exclusions(self) -> list[Exclusion]:
        """Return the exclusion list: what ActiveCampaign refuses to import, and where.

        The order, one of two documented ones, keeps entries from moving between pages [doc].
        """
        order = {"orders[matchPhrase]": "ASC"}
        return self._all_pages("/lists/exclusions", page_of("exclusions", Exclusion), **order)

    def subscribe(self, contact_id: int, list_id: int) -> None:
        """Make a contact an active member of a list, even if it was unsubscribed.

        WARNING: this undoes an opt-out. "If you change a status from unsubscribed to active,
        you can re-subscribe a contact to a list from which they had manually unsubscribed."
        [doc] This method checks nothing: its caller must know that the person did not end
        the membership.

        For the same reason it is not retried once it may have taken effect: the person may have
        opted out since. ``sourceid`` 4 marks a re-subscription [doc].

        Raises:
            NotFound: There is no such contact or list.
            ActiveCampaignError: If `effect_unknown` is true, `memberships` shows the effect.
        """
        membership = {"list": list_id, "contact": contact_id, "status": 1, "sourceid": 4}
        body = json_body("contactList", membership)
        self._call("POST", "/contactLists", ignore_content, body=body, once=True)

    def unsubscribe(self, contact_id: int, list_id: int) -> None:
        """End a contact's membership of a list. An import can do so too, but needs the address.

        The endpoint sets a membership's status, and 2 is unsubscribed [doc].

        Raises:
            NotFound: There is no such contact or list.
        """
        membership = {"list": list_id, "contact": contact_id, "status": 2}
        self._call(
            "POST", "/contactLists", ignore_content, body=json_body("contactList", membership)
        )

    def set_field_value(self, contact_id: int, field_id: int, value: str) -> None:
        """Set a custom field of a contact. An import can do so too, but needs the address.

        Nothing else of the contact is in the request, as all its properties are optional [doc].

        Raises:
            NotFound: There is no contact with this id.
        """
        values = [{"field": str(field_id), "value": value}]
        body = json_body("contact", {"fieldValues": values})
        self._call("PUT", f"/contacts/{contact_id}", contact_from(contact_id), body=body)

    def find_tag(self, name: str) -> Tag | None:
        """Return the tag with this name; None if there is none.

        Tags should be treated as case-insensitive [doc]. If names differ only in case, the one
        spelt as given is returned. ``search`` finds parts of names [rep]. Whether NFC finds NFD
        is not documented, so both are searched for.
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
        """Return the tags of a contact: tag id -> id for `remove_contact_tag`."""
        path = f"/contacts/{contact_id}/contactTags"
        found = self._all_pages(path, page_of("contactTags", ContactTag))
        return {one.tag_id: one.id for one in found}

    def remove_contact_tag(self, contact_tag_id: int) -> None:
        """Remove a tag from a contact, by an id from `contact_tags`. It may be gone already."""
        with suppress(NotFound):  # also if the answer to an earlier attempt was lost
            self._call("DELETE", f"/contactTags/{contact_tag_id}", ignore_content)


def _filters(list_id: int | None, status: int | None) -> dict[str, str | int]:
    given = {"listid": list_id, "status": status}
    return {name: value for name, value in given.items() if value is not None}
