"""The contents of ActiveCampaign's answers.

Their ``repr`` shows neither e-mail addresses nor other texts that people wrote.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from target_activecampaign.client.decoding import (
    PERSONAL,
    Count,
    Id,
    Ids,
    Model,
    Moment,
    Number,
    OptionalId,
    Page,
    PersonalText,
    PersonalTextId,
    PersonalTexts,
    Text,
    TextId,
    as_list,
    as_object,
    collection,
    digits,
    lower_keys,
    page_of,
    read_model,
    read_models,
    total_of,
)
from target_activecampaign.model.names import exact
from target_activecampaign.model.status import ACTIVE, BOUNCED, UNSUBSCRIBED

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_SIMULATED_ID = 2**31
"""The least id of what a preview simulates, larger than any id in an account."""

WAITING = "waiting"
_DONE = frozenset({"completed"})
_BROKEN = frozenset({"failed", "interrupted"})
_FALSE = (False, 0, "0")


class User(Model, frozen=True):
    """The owner of the API key: ``user`` of GET /users/me [rec].

    Attributes:
        id: Id of the user.
        username: Log-in name.
    """

    id: TextId
    username: PersonalText = ""


def user_from(answer: Any) -> User:
    """Decode the answer of GET /users/me [rec]."""
    return read_model(as_object(answer).get("user"), User, "user")


class _GroupMember(Model, frozen=True, rename={"group": "groupid"}):
    """The link between a user and a group: ``userGroup``; its keys are unverified."""

    group: Id


def group_from(answer: Any) -> int | None:
    """Decode the id of the group in the answer of GET /users/:id/userGroup; None without one.

    As the answer is unverified, one in another form is no error.
    """
    with suppress(msgspec.ValidationError):
        return read_model(as_object(answer).get("userGroup"), _GroupMember, "userGroup").group
    return None


class ContactList(Model, frozen=True, rename={"string_id": "stringid"}):
    """A list that contacts can be on: one of ``lists`` of GET /lists [rec]."""

    id: Id
    name: Text = ""
    string_id: Text = ""


def list_from(answer: Any) -> ContactList:
    """Decode the answer of POST /lists [rec]."""
    return read_model(as_object(answer).get("list"), ContactList, "list")


@dataclass(frozen=True, slots=True)
class Field:
    """A custom field of contacts.

    Attributes:
        id: Id of the field, by which imports name it.
        title: Its name on the screen.
        type: ``text``, ``textarea``, ``date``, ``datetime``, ``dropdown``, ``radio``,
            ``checkbox``, ``listbox``, ``hidden``, ``number`` or another type of the account.
        tag: Personalisation tag without percent signs, such as ``TIER``.
        options: Values that can be chosen, in the account's order; empty for free values.
        lists: Ids of the lists that show it; 0 stands for all [doc].
    """

    id: int
    title: str
    type: str
    tag: str
    options: tuple[str, ...] = ()
    lists: tuple[int, ...] = ()


class _FieldItem(Model, frozen=True):
    id: Id
    title: Text = ""
    type: Text = ""
    perstag: Text = ""


class _Option(Model, frozen=True):
    field: Id
    orderid: Count = 0
    id: Count = 0
    value: Text = ""
    label: Text = ""


class _Relation(Model, frozen=True):
    """The keys are those of POST /fieldRels [rec]."""

    field: Number
    relid: Number


def field_from(answer: Any) -> Field:
    """Decode the answer of POST /fields [rec], without options, or GET /fields/:id [rec]."""
    values = as_object(answer)
    (field,) = _fields_in(values, [read_model(values.get("field"), _FieldItem, "field")])
    return field


def fields_page(answer: Any) -> Page[Field]:
    """Decode a page of GET /fields [rec]."""
    values = collection(answer, "fields")
    items = read_models(values["fields"], _FieldItem, "fields")
    return Page(_fields_in(values, items), total_of(values))


def _fields_in(values: dict[str, Any], items: list[_FieldItem]) -> list[Field]:
    """Add the options and lists, which the answer has in collections of their own [rec]."""
    options: dict[int, list[str]] = {}
    found = read_models(values.get("fieldOptions"), _Option, "fieldOptions")
    for option in sorted(found, key=lambda one: (one.orderid, one.id)):
        options.setdefault(option.field, []).append(option.value or option.label)
    lists: dict[int, list[int]] = {}
    for item in as_list(values.get("fieldRels")):
        with suppress(msgspec.ValidationError):  # recorded ones are empty; little depends on them
            relation = read_model(item, _Relation, "fieldRels")
            lists.setdefault(relation.field, []).append(relation.relid)
    return [
        Field(
            *(one.id, one.title, one.type, one.perstag),
            options=tuple(options.get(one.id, ())),
            lists=tuple(lists.get(one.id, ())),
        )
        for one in items
    ]


class FieldValue(Model, frozen=True, rename={"contact_id": "contact", "field_id": "field"}):
    """The value of a custom field of a contact: one of ``fieldValues`` of GET /fieldValues [rec].

    Attributes:
        contact_id: Id of the contact.
        field_id: Id of the field.
        value: The value in the field's own text form; empty if there is none.
    """

    contact_id: Id
    field_id: Id
    value: PersonalText = ""


@dataclass(frozen=True, slots=True)
class AcceptedImport:
    """An import that waits in ActiveCampaign's queue.

    Attributes:
        batch_id: Its id, for `Client.import_status`. Empty if the answer was lost, and the import
            was found to have arrived all the same.
        queued: Contacts queued. Fewer than sent when some are on the exclusion list [doc];
            None when the answer does not say, or contradicts itself.
        contradictions: The contradictions in the answer, each as the end of a sentence.
    """

    batch_id: str
    queued: int | None
    contradictions: tuple[str, ...] = ()


def _status(value: Any) -> Any:
    """Return ``waiting`` for false, the status in the first second [doc]."""
    value = digits(value or WAITING)
    return value.strip().lower() if isinstance(value, str) else value


class ImportStatus(
    Model,
    frozen=True,
    rename={"failed": "failure", "succeeded": "success", "batch_id": "batchid"},
):
    """The progress of an import: GET /import/info [doc], with its keys in lower case.

    Attributes:
        status: ``waiting``, ``claimed``, ``active``, ``completed``, ``failed`` or
            ``interrupted`` [doc].
        failed: E-mail addresses of the contacts that were dropped; no reason is given [doc].
        succeeded: Contact ids "of any newly created contacts" [doc], perhaps also of updated
            ones [rep]: unreliable.
        batch_id: The id of the import, if the answer has it.
    """

    status: Annotated[str, _status, msgspec.Meta(min_length=1)]
    failed: PersonalTexts = ()
    succeeded: PersonalTexts = ()
    batch_id: PersonalText = ""

    @property
    def is_done(self) -> bool:
        """True once the import is completed; `failed` is then complete as well."""
        return self.status in _DONE

    @property
    def is_broken(self) -> bool:
        """True if the import has stopped, and ActiveCampaign will not continue it."""
        return self.status in _BROKEN


def import_status_from(answer: Any) -> ImportStatus:
    """Decode the answer of GET /import/info [doc]."""
    return read_model(lower_keys(as_object(answer)), ImportStatus, "answer")


class _Outstanding(Model, frozen=True):
    """The open imports of a day: one of ``outstanding`` of GET /import/bulk_import [doc]."""

    batches: Count


def outstanding_imports_from(answer: Any) -> int:
    """Decode the answer of GET /import/bulk_import [doc]: the number of open imports."""
    values = lower_keys(as_object(answer))
    if "outstanding" not in values:
        raise msgspec.ValidationError("it has no `outstanding`")
    days = read_models(values["outstanding"], _Outstanding, "outstanding")
    return sum(one.batches for one in days)


class Contact(
    Model,
    frozen=True,
    rename={
        "first_name": "firstName",
        "last_name": "lastName",
        "organization": "orgname",
        "created_at": "cdate",
        "updated_at": "udate",
    },
):
    """A contact without its custom fields: one of ``contacts`` of GET /contacts [rec].

    Attributes:
        id: Id of the contact.
        email: Its address as ActiveCampaign spells it.
        bounced_hard: Number of mails that bounced permanently.
        bounced_soft: Number of mails that bounced for a while.
        first_name: Its first name. Empty if it has none, as for the next three.
        last_name: Its last name.
        phone: Its phone number, as it was written.
        organization: Name of its account, which imports call ``customer_acct_name``. Without an
            account ``orgid`` is "0" and ``orgname`` empty [rec].
        updated_at: Time of its last change, in seconds since the epoch; None if the answer
            doesn't say.
        created_at: Time when it was created, likewise.
    """

    id: Id
    email: PersonalText = ""
    bounced_hard: Count = 0
    first_name: PersonalText = ""
    last_name: PersonalText = ""
    phone: PersonalText = ""
    organization: PersonalText = ""
    updated_at: Moment = None
    bounced_soft: Count = 0
    created_at: Moment = None

    @property
    def standard_values(self) -> dict[str | int, str]:
        """The values besides address and custom fields that imports set, by their names there.

        It is a new dictionary each time, to which values of custom fields may be added by their id.
        """
        return {
            "first_name": self.first_name,
            "last_name": self.last_name,
            "phone": self.phone,
            "customer_account": self.organization,
        }


def contacts_after(contact_id: int) -> Callable[[Any], Page[Contact]]:
    """Return the decoder of a page of a request with ``orders[id]=ASC&id_greater=``.

    It accepts only increasing ids above `contact_id`. Otherwise, pages of a server that ignores
    these parameters would be read forever.
    """
    decode_page = page_of("contacts", Contact)

    def decode(answer: Any) -> Page[Contact]:
        page = decode_page(answer)
        ids = [contact_id, *(one.id for one in page.items)]
        if any(one >= following for one, following in pairwise(ids)):
            raise msgspec.ValidationError(
                "the contacts are not the requested ones, in the order of their ids"
            )
        return page

    return decode


def contact_from(contact_id: int, email: str | None = None) -> Callable[[Any], Contact]:
    """Return the decoder of ``{"contact": {...}}``, the answer of GET and PUT /contacts/:id [rec].

    Args:
        contact_id: Id of the requested contact; no other is accepted.
        email: Address that the contact has to have; any if None.
    """

    def decode(answer: Any) -> Contact:
        values = lower_keys(as_object(answer))
        if values.get("success", True) in _FALSE:
            raise msgspec.ValidationError("it says that the request failed")
        contact = read_model(values.get("contact"), Contact, "contact")
        if contact.id != contact_id:
            raise msgspec.ValidationError("the contact is not the requested one")
        if email is not None and address_key(contact.email) != address_key(email):
            raise msgspec.ValidationError("the contact does not have the requested address")
        return contact

    return decode


def address_key(email: str) -> str:
    """Return an address without outer spaces, in NFC and lower case, to compare it with others."""
    return exact(email).lower()


class Membership(
    Model,
    frozen=True,
    rename={
        "list_id": "list",
        "subscribed_at": "sdate",
        "ended_at": "udate",
        "reason": "unsubreason",
        "automation": "unsubscribeAutomation",
    },
):
    """A contact's membership of one list: ``contactLists`` of GET /contacts/:id/contactLists [doc].

    The keys are those of POST /contactLists [rec]. Beside ``unsubscribeAutomation`` there is an
    ``automation`` [rep], that of ``seriesid``, which put the contact on the list [unv]. It says
    nothing about the end.

    If none of `reason`, `campaign`, `message` and `automation` is set, a person may have ended the
    membership all the same.

    Attributes:
        list_id: Id of the list.
        status: 0 unconfirmed, 1 active, 2 unsubscribed, 3 bounced [doc]; others are seen [rep].
        subscribed_at: Start time, in seconds since the epoch; None if the answer doesn't say.
        ended_at: End time, in seconds since the epoch; None if the answer doesn't say.
        reason: The reason given for unsubscribing; empty if none was.
        campaign: Id of the campaign that the contact unsubscribed from; empty if from none.
        message: Id of the message that the contact unsubscribed from; empty if from none.
        automation: Id of the automation that unsubscribed the contact; empty if none did.
    """

    list_id: Id
    status: Number
    subscribed_at: Moment = None
    ended_at: Moment = None
    reason: Annotated[OptionalId, PERSONAL] = ""
    campaign: OptionalId = ""
    message: OptionalId = ""
    automation: OptionalId = ""

    @property
    def is_subscribed(self) -> bool:
        """True if the contact is an active member of the list."""
        return self.status == ACTIVE

    @property
    def is_opted_out(self) -> bool:
        """True if the contact is unsubscribed: no import subscribes it again [doc]."""
        return self.status == UNSUBSCRIBED

    @property
    def is_bounced(self) -> bool:
        """True if mail of the list to the contact has bounced."""
        return self.status == BOUNCED

    @property
    def has_named_cause(self) -> bool:
        """True if the answer names the person, campaign or automation that ended it."""
        return bool(self.reason or self.campaign or self.message or self.automation)


@dataclass(frozen=True, slots=True)
class OptOut:
    """A contact that is unsubscribed from a list.

    Attributes:
        contact: The contact.
        membership: Its membership of the list, with the end and its cause.
    """

    contact: Contact
    membership: Membership


class BounceLog(
    Model,
    frozen=True,
    rename={"contact_id": "contact", "bounced_at": "tstamp"},
):
    """A mail that bounced: one of ``bounceLogs`` of GET /contacts/:id/bounceLogs [doc].

    The texts of the bounce, which may quote the mail, are not read.

    Attributes:
        id: Id of the entry. ``bounceid`` is another number [doc], of what is not documented.
        contact_id: Id of the contact.
        bounced_at: Time, in seconds since the epoch; None if the answer doesn't say.
        code: Id of ActiveCampaign's code for the reason; empty if there is none.
        campaign: Id of the campaign; empty if there is none.
        message: Id of the message; empty if there is none.
    """

    id: Id
    contact_id: Id
    bounced_at: Moment = None
    code: OptionalId = ""
    campaign: OptionalId = ""
    message: OptionalId = ""


def bounce_logs_of(contact_id: int) -> Callable[[Any], Page[BounceLog]]:
    """Return the decoder of a page of a contact's bounce log; it accepts no other contact's."""
    decode_page = page_of("bounceLogs", BounceLog)

    def decode(answer: Any) -> Page[BounceLog]:
        page = decode_page(answer)
        if any(one.contact_id != contact_id for one in page.items):
            raise msgspec.ValidationError("a bounce is not of the requested contact")
        return page

    return decode


class Exclusion(
    Model,
    frozen=True,
    rename={"match_phrase": "matchPhrase", "match_type": "matchType", "list_ids": "lists"},
):
    """An entry of the exclusion list: one of ``exclusions`` of GET /lists/exclusions [doc].

    Attributes:
        id: Id of the exclusion.
        match_phrase: An address, or a part of addresses.
        match_type: ``exact`` or ``end`` [doc]; there may be others [unv].
        channel: ``all``, ``allEmail``, ``allSms``, or ``several`` for `list_ids` only [doc].
        list_ids: Ids of the lists that it holds for; empty for all lists of the channel [doc].
    """

    id: Id
    match_phrase: PersonalTextId
    match_type: TextId
    channel: TextId
    list_ids: Ids = ()


class Tag(Model, frozen=True, rename={"name": "tag"}):
    """A tag that contacts can have: one of ``tags`` of GET /tags [rec]."""

    id: Id
    name: Text = ""


class ContactTag(Model, frozen=True, rename={"tag_id": "tag"}):
    """A contact's tag: one of ``contactTags`` of GET /contacts/:id/contactTags [rec].

    Attributes:
        id: Id of the assignment, which removes it.
        tag_id: Id of the tag.
    """

    id: Id
    tag_id: Id
