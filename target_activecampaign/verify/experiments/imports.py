"""Experiments with imports: what is refused, what the queue does, and what it answers."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from target_activecampaign.client import ImportRateLimited
from target_activecampaign.model.status import ACTIVE, UNSUBSCRIBED
from target_activecampaign.verify.lab import LabError, unknown_batch_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_activecampaign.verify.lab import Lab, Posted

_MAX_CONTACTS = 250
_LARGE_VALUE = 2_100
"""Characters of a value: 200 contacts with it are more than 399,999 bytes."""
_MEASURED = 5
_MOST_SINGLE_IMPORTS = 25


def bad_addresses(lab: Lab) -> Iterator[None]:
    """Send malformed addresses between good ones, twice."""
    good = [lab.entry(lab.subject()), lab.entry(lab.subject())]
    bad = [lab.entry(lab.subject()), lab.entry(lab.subject())]
    for one in bad:
        one["email"] = one["email"].partition("@")[0]
    bases: set[int] = set()
    for _ in range(2):
        posted = lab.post(good[0], bad[0], good[1], bad[1])
        if posted.reply.ok:
            lab.found("bad_email", "drop")
            for fact in ("index_base", "failure_reasons"):
                lab.unclear(fact, "Malformed addresses don't refuse an import here.")
            yield
            return
        positions = sorted(_positions(posted))
        if not positions:
            raise LabError(f"The refusal (status {posted.reply.status}) names no contact.")
        lab.found("bad_email", "refuse")
        lab.found("failure_reasons", "all" if len(positions) > 1 else "first")
        bases.add(positions[0] - 1)  # the first bad one is at index 1
    if bases <= {0, 1} and len(bases) == 1:
        lab.found("index_base", str(*bases))
    else:
        lab.unclear("index_base", "The numbers of two equal imports contradict each other.")


def too_many(lab: Lab) -> Iterator[None]:
    """Send one contact more than the limit: two people over and over, and a third at the end."""
    first, second, last = lab.subject(), lab.subject(), lab.subject()
    crowd = [lab.entry(first), lab.entry(second)] * (_MAX_CONTACTS // 2)
    posted = lab.post(*crowd, lab.entry(last))
    if not posted.reply.ok:
        lab.found("too_many", "refuse")
        return
    yield
    lab.found("too_many", "truncate" if lab.find(last) is None else "accept")


def too_large(lab: Lab) -> Iterator[None]:
    """Send more bytes than the limit: two people over and over, with a long value."""
    field = lab.field("size", "textarea")
    value = [{"id": field, "value": "x" * _LARGE_VALUE}]
    two = [lab.entry(lab.subject(), fields=value), lab.entry(lab.subject(), fields=value)]
    posted = lab.post(*two * 100)
    lab.found("too_large", "accept" if posted.reply.ok else "refuse")
    yield


def unknown_batch(lab: Lab) -> Iterator[None]:
    """Ask for an import that does not exist."""
    reply = lab.client.send("GET", "/import/info", query={"batchId": unknown_batch_id()})
    if reply.ok:
        lab.found("unknown_batch", "empty" if reply.get("status") is None else "false")
    elif reply.status == 404:  # noqa: PLR2004 - the status of HTTP
        lab.found("unknown_batch", "not_found")
    else:
        lab.found("unknown_batch", "bad_request")
    yield


def results(lab: Lab) -> Iterator[None]:
    """Import an existing member, a new one, and one that has opted out."""
    old, new, gone = lab.subject(), lab.subject(), lab.subject()
    lab.post(lab.entry(old, subscribe=True), lab.entry(gone, subscribe=True))
    yield
    lab.set_status(gone, UNSUBSCRIBED)
    entries = [lab.entry(one, subscribe=True, first_name="Later") for one in (old, new, gone)]
    posted = lab.post(*entries)
    yield
    queued = str(posted.reply.get("queued_contacts"))
    lab.found("queued_contacts", "sent" if queued == str(posted.sent) else "accepted")
    contact, membership = lab.read(gone), lab.membership(gone)
    if membership is None:
        raise LabError("The membership of the contact that has opted out has disappeared.")
    if membership.status == ACTIVE:
        lab.found("opted_out", "subscribe")
    else:
        lab.found("opted_out", "update" if contact.first_name == "Later" else "skip")
    succeeded = posted.result_of("success")
    if str(lab.id_of(new)) not in succeeded:
        raise LabError("The result does not list the new contact.")
    lab.found("success_lists", "all" if str(lab.id_of(old)) in succeeded else "created")


def same_person_twice(lab: Lab) -> Iterator[None]:
    """Send two entries for one person; only the first has a phone number."""
    one = lab.subject()
    lab.post(
        lab.entry(one, first_name="First", phone="+15555550101"),
        lab.entry(one, first_name="Second"),
    )
    yield
    contact = lab.read(one)
    if contact.first_name == "First":
        lab.found("same_person_twice", "first")
    elif contact.first_name == "Second":
        lab.found("same_person_twice", "merged" if contact.phone else "last")


def latency(lab: Lab) -> Iterator[None]:
    """Send imports one after the other, and measure how long each takes."""
    one = lab.subject()
    times = []
    for _ in range(_MEASURED):
        posted = lab.post(lab.entry(one))
        yield
        if posted.seconds is not None:
            times.append(posted.seconds)
    if times:
        lab.found("latency", f"{median(times):.1f}")


def single_imports(lab: Lab) -> Iterator[None]:
    """Send imports of one contact until one is refused for the limit."""
    one = lab.subject()
    for count in range(_MOST_SINGLE_IMPORTS):
        try:
            posted = lab.post(lab.entry(one), alone=True)
        except ImportRateLimited:
            lab.found("single_imports_per_minute", str(count))
            return
        if not posted.reply.ok:
            raise LabError(f"An import was refused with status {posted.reply.status}.")
    lab.unclear(
        "single_imports_per_minute", f"{_MOST_SINGLE_IMPORTS} imports in a row were accepted."
    )
    yield


def _positions(posted: Posted) -> list[int]:
    """Return the numbers of contacts that a refusal names."""
    named = [str(one.get("contact")) for one in posted.reply.items("failureReasons")]
    return [int(one) for one in named if one.isdecimal()]
