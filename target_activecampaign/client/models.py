"""What ActiveCampaign answers, as plain values.

Neither e-mail addresses nor what people wrote shows up in a ``repr``, so that a model can be
logged.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from target_activecampaign.client.decoding import (
    Page,
    ShapeError,
    as_id,
    as_list,
    as_moment,
    as_number,
    as_object,
    as_text,
    as_text_if_set,
    as_text_or_empty,
    as_texts,
    collection,
    lower_keys,
    page_of,
    total_in,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Callable

WAITING = "waiting"
_DONE = frozenset({"completed"})
_BROKEN = frozenset({"failed", "interrupted"})

_NOT_DELETED = (None, False, 0, "", "0", "false")
_SUBSCRIBED = 1
_UNSUBSCRIBED = 2


@dataclass(frozen=True, slots=True)
class User:
    """The owner of the API key.

    Attributes:
        id: Id of the user.
        username: Log-in name.
        time_zone: IANA name of the user's time zone, such as ``America/Chicago``; empty if
            the answer has none.
    """

    id: str
    username: str = field(repr=False)
    time_zone: str

    @classmethod
    def from_answer(cls, answer: Any) -> User:
        """Read ``{"user": {...}}``, as GET /users/me gives it [rec]."""
        user = as_object(as_object(answer, "answer").get("user"), "user")
        return cls(
            id=as_text(user.get("id"), "user.id"),
            username=as_text_or_empty(user.get("username")),
            time_zone=as_text_or_empty(user.get("localZoneid")),
        )


@dataclass(frozen=True, slots=True)
class ContactList:
    """A list that contacts can be on."""

    id: int
    name: str
    string_id: str

    @classmethod
    def from_item(cls, item: Any) -> ContactList:
        """Read one of ``lists``, as GET /lists gives them [rec]."""
        values = as_object(item, "list")
        return cls(
            id=as_id(values.get("id"), "list.id"),
            name=as_text_or_empty(values.get("name")),
            string_id=as_text_or_empty(values.get("stringid")),
        )


@dataclass(frozen=True, slots=True)
class Field:
    """A custom field of contacts.

    Attributes:
        id: Id of the field, which imports name it by.
        title: Its name on the screen.
        type: ``text``, ``textarea``, ``date``, ``datetime``, ``dropdown``, ``radio``,
            ``checkbox``, ``listbox``, ``hidden``, ``number`` or what else the account has.
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

    @classmethod
    def from_answer(cls, answer: Any) -> Field:
        """Read ``{"field": {...}}``, as POST /fields gives it [rec]: a new field has no options.

        GET /fields/:id has the field's ``fieldOptions`` and ``fieldRels`` beside it [rec].
        """
        values = as_object(answer, "answer")
        return cls._from_item(
            values.get("field"), _options_by_field(values), _lists_by_field(values)
        )

    @classmethod
    def all_from(cls, answer: dict[str, Any]) -> list[Field]:
        """Read all ``fields`` of an answer."""
        options, lists = _options_by_field(answer), _lists_by_field(answer)
        return [
            cls._from_item(item, options, lists) for item in as_list(answer["fields"], "fields")
        ]

    @classmethod
    def _from_item(
        cls, item: Any, options: dict[int, tuple[str, ...]], lists: dict[int, tuple[int, ...]]
    ) -> Field:
        values = as_object(item, "field")
        number = as_id(values.get("id"), "field.id")
        return cls(
            id=number,
            title=as_text_or_empty(values.get("title")),
            type=as_text_or_empty(values.get("type")),
            tag=as_text_or_empty(values.get("perstag")),
            options=options.get(number, ()),
            lists=lists.get(number, ()),
        )


def _options_by_field(answer: dict[str, Any]) -> dict[int, tuple[str, ...]]:
    """Sort ``fieldOptions`` [rec] by field, each field's values in the account's order."""
    found: dict[int, list[tuple[int, int, str]]] = {}
    for item in as_list(answer.get("fieldOptions"), "fieldOptions"):
        option = as_object(item, "fieldOption")
        entry = (
            whole_number(option.get("orderid")) or 0,
            whole_number(option.get("id")) or 0,
            as_text_or_empty(option.get("value")) or as_text_or_empty(option.get("label")),
        )
        found.setdefault(as_id(option.get("field"), "fieldOption.field"), []).append(entry)
    return {number: tuple(value for *_, value in sorted(some)) for number, some in found.items()}


def _lists_by_field(answer: dict[str, Any]) -> dict[int, tuple[int, ...]]:
    """Sort ``fieldRels`` by field, as far as they have the keys of POST /fieldRels [rec].

    In recorded answers they are empty, and little depends on them.
    """
    found: dict[int, tuple[int, ...]] = {}
    for item in as_list(answer.get("fieldRels"), "fieldRels"):
        with suppress(ShapeError):
            relation = as_object(item, "fieldRel")
            number = as_number(relation.get("field"), "fieldRel.field")
            list_id = as_number(relation.get("relid"), "fieldRel.relid")
            found[number] = (*found.get(number, ()), list_id)
    return found


@dataclass(frozen=True, slots=True)
class FieldValue:
    """What a contact has in a custom field.

    Attributes:
        contact_id: Id of the contact.
        field_id: Id of the field.
        value: The value in the field's own text form; empty if there is none.
    """

    contact_id: int
    field_id: int
    value: str = field(repr=False)

    @classmethod
    def from_item(cls, item: Any) -> FieldValue:
        """Read one of ``fieldValues``, as GET /fieldValues gives them [rec]."""
        values = as_object(item, "fieldValue")
        return cls(
            contact_id=as_id(values.get("contact"), "fieldValue.contact"),
            field_id=as_id(values.get("field"), "fieldValue.field"),
            value=as_text_or_empty(values.get("value")),
        )


@dataclass(frozen=True, slots=True)
class Accepted:
    """An import that waits in ActiveCampaign's queue.

    Attributes:
        batch_id: Id to ask for its status with.
        queued: Contacts queued. Fewer than sent when some are on the exclusion list [doc];
            None when the answer does not say, or contradicts itself.
        doubts: What is odd in the answer, each as the end of a sentence.
    """

    batch_id: str
    queued: int | None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportStatus:
    """How far an import is.

    Attributes:
        status: ``waiting``, ``claimed``, ``active``, ``completed``, ``failed`` or
            ``interrupted`` [doc].
        failed: E-mail addresses of the contacts that were dropped; no reason is given [doc].
        succeeded: Contact ids "of any newly created contacts" [doc], perhaps also of updated
            ones [rep]: not to be counted on.
        batch_id: The id of the import, should the answer name it.
    """

    status: str
    failed: tuple[str, ...] = field(default=(), repr=False)
    succeeded: tuple[str, ...] = field(default=(), repr=False)
    batch_id: str = field(default="", repr=False)

    @property
    def done(self) -> bool:
        """Whether the import has been worked off; `failed` is then complete."""
        return self.status in _DONE

    @property
    def broken(self) -> bool:
        """Whether the import has stopped and will not be tried again by ActiveCampaign."""
        return self.status in _BROKEN

    @classmethod
    def from_answer(cls, answer: Any) -> ImportStatus:
        """Read what GET /import/info gives [doc].

        In the first second ``status`` may be the boolean false [doc]: the import is waiting.
        """
        values = lower_keys(as_object(answer, "answer"))
        if "status" not in values:
            raise ShapeError("no status")
        return cls(
            status=as_text(values["status"] or WAITING, "status").strip().lower(),
            failed=as_texts(values.get("failure"), "failure"),
            succeeded=as_texts(values.get("success"), "success"),
            batch_id=as_text_or_empty(values.get("batchid")).strip(),
        )


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact: what it holds besides custom fields, and why an import may have dropped it.

    Attributes:
        id: Id of the contact.
        email: Its address as ActiveCampaign spells it.
        bounced_hard: Mails that came back for good.
        bounced_soft: Mails that came back for now.
        deleted: Whether it is marked as deleted.
        first_name: Empty if it has none, as are the three that follow.
        last_name: Its last name.
        phone: Its phone number, as it was written.
        organization: Name of its account, which imports call ``customer_acct_name``.
        updated_at: When it was last changed, in seconds since the epoch; None if the answer
            doesn't say.
    """

    id: int
    email: str = field(repr=False)
    bounced_hard: int = 0
    bounced_soft: int = 0
    deleted: bool = False
    first_name: str = field(default="", repr=False)
    last_name: str = field(default="", repr=False)
    phone: str = field(default="", repr=False)
    organization: str = field(default="", repr=False)
    updated_at: float | None = None

    @classmethod
    def from_item(cls, item: Any) -> Contact:
        """Read one of ``contacts``, as GET /contacts gives them [rec].

        Without an account ``orgid`` is "0" and ``orgname`` empty [rec].
        """
        values = as_object(item, "contact")
        return cls(
            id=as_id(values.get("id"), "contact.id"),
            email=as_text_or_empty(values.get("email")),
            bounced_hard=whole_number(values.get("bounced_hard")) or 0,
            bounced_soft=whole_number(values.get("bounced_soft")) or 0,
            deleted=values.get("deleted") not in _NOT_DELETED,
            first_name=as_text_or_empty(values.get("firstName")),
            last_name=as_text_or_empty(values.get("lastName")),
            phone=as_text_or_empty(values.get("phone")),
            organization=as_text_or_empty(values.get("orgname")),
            updated_at=as_moment(values.get("udate")),
        )


def contacts_after(contact_id: int) -> Callable[[Any], Page[Contact]]:
    """Make the decoder of a page that was asked for by ``orders[id]=ASC&id_greater=``.

    It takes only ids that are greater than `contact_id` and increase, or a server that takes
    no notice of these parameters would have the pages turned forever.
    """
    page_of_contacts = page_of("contacts", Contact.from_item)

    def decode(answer: Any) -> Page[Contact]:
        page = page_of_contacts(answer)
        ids = [contact_id, *(one.id for one in page.items)]
        if any(one >= following for one, following in pairwise(ids)):
            raise ShapeError("the contacts are not those asked for, in the order of their ids")
        return page

    return decode


@dataclass(frozen=True, slots=True)
class Membership:
    """A contact's place on one list.

    That a membership was ended by none of `reason`, `campaign`, `message` and `automation` does
    not prove that the person had no part in it.

    Attributes:
        list_id: Id of the list.
        status: 0 unconfirmed, 1 active, 2 unsubscribed, 3 bounced [doc]; others are seen [rep].
        subscribed_at: When it began, in seconds since the epoch; None if the answer doesn't say.
        ended_at: When it ended, likewise.
        reason: What was given as the reason for leaving; empty if nothing was.
        campaign: Id of the campaign from which the contact left; empty if from none.
        message: Id of the message from which the contact left; empty if from none.
        automation: Id of the automation that took the contact off; empty if none did.
    """

    list_id: int
    status: int
    subscribed_at: float | None = None
    ended_at: float | None = None
    reason: str = field(default="", repr=False)
    campaign: str = ""
    message: str = ""
    automation: str = ""

    @property
    def subscribed(self) -> bool:
        """Whether the contact is an active member of the list."""
        return self.status == _SUBSCRIBED

    @property
    def opted_out(self) -> bool:
        """Whether the contact has left the list: no import will put it there again [doc]."""
        return self.status == _UNSUBSCRIBED

    @property
    def ended_by_someone(self) -> bool:
        """Whether the answer names who or what ended it."""
        return bool(self.reason or self.campaign or self.message or self.automation)

    @classmethod
    def from_item(cls, item: Any) -> Membership:
        """Read one of ``contactLists``, as GET /contacts/:id/contactLists gives them [doc].

        The keys are those of POST /contactLists [rec]. Beside ``unsubscribeAutomation`` there
        is an ``automation`` [rep]: that of ``seriesid``, which put the contact on the list
        [unv], so it says nothing about the end.
        """
        values = as_object(item, "contactList")
        return cls(
            list_id=as_id(values.get("list"), "contactList.list"),
            status=as_number(values.get("status"), "contactList.status"),
            subscribed_at=as_moment(values.get("sdate")),
            ended_at=as_moment(values.get("udate")),
            reason=as_text_if_set(values.get("unsubreason"), "contactList.unsubreason"),
            campaign=as_text_if_set(values.get("campaign"), "contactList.campaign"),
            message=as_text_if_set(values.get("message"), "contactList.message"),
            automation=as_text_if_set(
                values.get("unsubscribeAutomation"), "contactList.unsubscribeAutomation"
            ),
        )


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that contacts can have."""

    id: int
    name: str

    @classmethod
    def from_item(cls, item: Any) -> Tag:
        """Read one of ``tags``, as GET /tags gives them [rec]."""
        values = as_object(item, "tag")
        return cls(
            id=as_id(values.get("id"), "tag.id"),
            name=as_text_or_empty(values.get("tag")),
        )


@dataclass(frozen=True, slots=True)
class ContactTag:
    """That a contact has a tag.

    Attributes:
        id: Id of this fact, which it is removed by.
        tag_id: Id of the tag.
    """

    id: int
    tag_id: int

    @classmethod
    def from_item(cls, item: Any) -> ContactTag:
        """Read one of ``contactTags``, as GET /contacts/:id/contactTags gives them [rec]."""
        values = as_object(item, "contactTag")
        return cls(
            id=as_id(values.get("id"), "contactTag.id"),
            tag_id=as_id(values.get("tag"), "contactTag.tag"),
        )


def fields_page(answer: Any) -> Page[Field]:
    """Read GET /fields, which has the options and lists of all its fields beside them [rec]."""
    values = collection(answer, "fields")
    return Page(Field.all_from(values), total_in(values))
