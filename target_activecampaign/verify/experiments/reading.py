"""Experiments with reading: filters, pages, and times."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from target_activecampaign.model.status import UNSUBSCRIBED
from target_activecampaign.verify.lab import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_activecampaign.verify.lab import Lab

_LARGE_LIMIT = 200
_DOCUMENTED_LIMIT = 100


def filters(lab: Lab) -> Iterator[None]:
    """Select a member and a former member of the list in several ways."""
    member, gone = lab.subject(), lab.subject()
    lab.post(lab.entry(member, subscribe=True), lab.entry(gone, subscribe=True))
    yield
    lab.set_status(gone, UNSUBSCRIBED)
    ids = {lab.id_of(member), lab.id_of(gone)}
    if _ids(lab, email=member.email, listid=lab.list_id) != {member.id}:
        lab.unclear("listid_alone", "The filters by list and address don't find a member.")
    else:
        found = _ids(lab, email=gone.email, listid=lab.list_id)
        lab.found("listid_alone", "any" if found else "active")
    chosen = _ids(lab, **{"ids[]": sorted(ids), "limit": _DOCUMENTED_LIMIT})
    lab.found("ids_filter", "applied" if chosen == ids else "ignored")
    query = {"email": member.email, "include": "contactLists"}
    included = lab.client.send("GET", "/contacts", query=query).items("contactLists")
    lab.found("include", "yes" if included else "no")


def large_limit(lab: Lab) -> Iterator[None]:
    """Ask for more contacts than a page is documented to have."""
    reply = lab.client.send("GET", "/contacts", query={"limit": _LARGE_LIMIT})
    contacts = reply.items("contacts")
    total = reply.total or 0
    if not reply.ok:
        lab.found("large_limit", "refuse")
    elif len(contacts) > _DOCUMENTED_LIMIT:
        lab.found("large_limit", "honour")
    elif total > len(contacts):
        lab.found("large_limit", "lower")
    else:
        lab.unclear("large_limit", f"The account has only {total} contacts.")
    yield


def exclusions(lab: Lab) -> Iterator[None]:
    """Read the exclusion list."""
    reply = lab.client.send("GET", "/lists/exclusions", query={"limit": 1})
    lab.found("exclusions", "yes" if reply.ok else "no")
    yield


def times(lab: Lab) -> Iterator[None]:
    """Look at the account's clock and zone."""
    one = lab.subject()
    lab.post(lab.entry(one))
    yield
    offset = round(lab.client.server_time() - time.time())
    lab.found("clock_offset", str(offset))
    reply = lab.client.send("GET", "/contacts", query={"email": one.email})
    made = [str(contact.get("cdate")) for contact in reply.items("contacts")]
    try:
        zone = datetime.fromisoformat(made[0] if made else "").strftime("%z")
    except ValueError:
        zone = ""
    if not zone:
        raise LabError("The contact's time of creation has no offset.")
    lab.found("time_zone", f"{zone[:3]}:{zone[3:5]}")


def _ids(lab: Lab, **query: Any) -> set[int]:
    """Return the ids of the contacts that a query finds on its first page."""
    return set(lab.client.send("GET", "/contacts", query=query).ids("contacts"))
