"""Experiments with memberships and addresses."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from target_activecampaign.model.status import ACTIVE, UNSUBSCRIBED
from target_activecampaign.verify.lab import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_activecampaign.verify.lab import Lab, Subject

_FORM = 4
"""The `sourceid` that marks a re-subscription [doc]."""


def update_after_opt_out(lab: Lab) -> Iterator[None]:
    """Import a contact that has left the list, without naming the list."""
    one = lab.subject()
    lab.post(lab.entry(one, subscribe=True, first_name="Earlier"))
    yield
    lab.set_status(one, UNSUBSCRIBED)
    lab.post(lab.entry(one, first_name="Later"))
    yield
    is_updated = lab.read(one).first_name == "Later"
    lab.found("opted_out_without_list", "update" if is_updated else "skip")


def unsubscribe_stranger(lab: Lab) -> Iterator[None]:
    """Unsubscribe a contact from a list that it was never on, by an import."""
    one = lab.subject()
    lab.post(lab.entry(one))
    yield
    lab.post({**lab.entry(one), "unsubscribe": [{"listid": lab.list_id}]})
    yield
    membership = lab.membership(one)
    recorded = membership is not None and membership.is_opted_out
    lab.found("unsubscribe_stranger", "record" if recorded else "ignore")


def reactivation(lab: Lab) -> Iterator[None]:
    """Opt two contacts out, and make them active again: with and without a `sourceid`."""
    marked, plain = lab.subject(), lab.subject()
    lab.post(lab.entry(marked, subscribe=True), lab.entry(plain, subscribe=True))
    yield
    lab.let_a_second_pass()
    yield
    for one in (marked, plain):
        lab.set_status(one, UNSUBSCRIBED)
    before = {one.number: lab.membership(one) for one in (marked, plain)}
    lab.let_a_second_pass()
    yield
    lab.set_status(marked, ACTIVE, sourceid=_FORM)
    lab.set_status(plain, ACTIVE)
    for one, fact in (
        (plain, "resubscribe_without_sourceid"),
        (marked, "resubscribe_with_sourceid"),
    ):
        was, now = before[one.number], lab.membership(one)
        if was is None or not was.is_opted_out or now is None:
            raise LabError("POST /contactLists did not unsubscribe the contact.")
        lab.found(fact, "yes" if now.is_subscribed else "no")
        if now.is_subscribed:
            renewed = now.subscribed_at != was.subscribed_at
            lab.found("sdate_on_reactivation", "renew" if renewed else "keep")
            is_same = now.ended_at is not None and now.ended_at == was.ended_at
            lab.found("udate_on_reactivation", "keep" if is_same else "clear")
    for fact in ("sdate_on_reactivation", "udate_on_reactivation"):
        lab.unclear(fact, "No contact became active again.")


def opt_out_as_change(lab: Lab) -> Iterator[None]:
    """Ask for changed contacts: one that did not change, one that did, and one that opted out."""
    quiet, changed, gone = lab.subject(), lab.subject(), lab.subject()
    lab.post(*(lab.entry(one, subscribe=True) for one in (quiet, changed, gone)))
    yield
    lab.let_a_second_pass()
    yield
    moment = datetime.fromtimestamp(lab.client.server_time(), timezone.utc)
    lab.let_a_second_pass()
    yield
    lab.post(lab.entry(changed, first_name="Later"))
    lab.set_status(gone, UNSUBSCRIBED)
    yield
    since = moment.isoformat(timespec="seconds")
    if _is_found(lab, quiet, since) or not _is_found(lab, changed, since):
        raise LabError("The filter does not tell changed contacts from others.")
    found = _is_found(lab, gone, since)
    lab.found("membership_updates_contact", "yes" if found else "no")


def renames(lab: Lab) -> Iterator[None]:
    """Give new addresses to a contact, and to one that has opted out."""
    plain, gone = lab.subject(), lab.subject()
    lab.post(lab.entry(plain, subscribe=True), lab.entry(gone, subscribe=True))
    yield
    lab.set_status(gone, UNSUBSCRIBED)
    for one, fact in ((plain, "rename_contact"), (gone, "rename_opted_out")):
        contact_id = lab.id_of(one)
        address = lab.marks.address(one.number, "-renamed")
        body = {"contact": {"email": address}}
        lab.client.send("PUT", f"/contacts/{contact_id}", body=body)
        contact = lab.client.contact(contact_id)
        if contact is None:
            raise LabError("The contact has disappeared.")
        lab.found(fact, "rename" if contact.email == address else "refuse")


def _is_found(lab: Lab, subject: Subject, since: str) -> bool:
    """Return whether a contact is found among those that were changed after a time."""
    query = {"email": subject.email, "filters[updated_after]": since}
    found = lab.client.send("GET", "/contacts", query=query).items("contacts")
    return any(str(one.get("email", "")).casefold() == subject.email for one in found)
