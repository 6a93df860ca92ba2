"""What ActiveCampaign answers, as plain values.

Decoding is lenient where the API is: numbers come as numbers or as strings, ``Success`` is
also spelt ``success``, some values are null, and an empty list may be null or false. Whatever
else is missing or of another shape raises `ShapeError`. E-mail addresses never show up in a
``repr``, so that a model can be logged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

WAITING = "waiting"
_DONE = frozenset({"completed"})
_BROKEN = frozenset({"failed", "interrupted"})

_SUBSCRIBED = 1
_UNSUBSCRIBED = 2


class ShapeError(ValueError):
    """An answer lacks something or holds it in another type; the text names the place."""


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
            id=_text(user.get("id"), "user.id"),
            username=_text_or_empty(user.get("username")),
            time_zone=_text_or_empty(user.get("localZoneid")),
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
            id=_number(values.get("id"), "list.id"),
            name=_text_or_empty(values.get("name")),
            string_id=_text_or_empty(values.get("stringid")),
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
    """

    id: int
    title: str
    type: str
    tag: str
    options: tuple[str, ...] = ()

    @classmethod
    def from_item(cls, item: Any, options: dict[int, tuple[str, ...]]) -> Field:
        """Read one of ``fields``, as GET /fields gives them [rec], with all fields' options."""
        values = as_object(item, "field")
        number = _number(values.get("id"), "field.id")
        return cls(
            id=number,
            title=_text_or_empty(values.get("title")),
            type=_text_or_empty(values.get("type")),
            tag=_text_or_empty(values.get("perstag")),
            options=options.get(number, ()),
        )


def _options_by_field(items: list[Any]) -> dict[int, tuple[str, ...]]:
    """Sort ``fieldOptions`` [rec] by field, each field's values in the account's order."""
    found: dict[int, list[tuple[int, int, str]]] = {}
    for item in items:
        option = as_object(item, "fieldOption")
        entry = (
            _number(option.get("orderid") or 0, "fieldOption.orderid"),
            _number(option.get("id") or 0, "fieldOption.id"),
            _text_or_empty(option.get("value")) or _text_or_empty(option.get("label")),
        )
        found.setdefault(_number(option.get("field"), "fieldOption.field"), []).append(entry)
    return {number: tuple(value for *_, value in sorted(some)) for number, some in found.items()}


@dataclass(frozen=True, slots=True)
class Accepted:
    """An import that waits in ActiveCampaign's queue.

    Attributes:
        batch_id: Id to ask for its status with.
        queued: Contacts queued. Fewer than sent when some are on the exclusion list [doc].
    """

    batch_id: str
    queued: int


@dataclass(frozen=True, slots=True)
class ImportStatus:
    """How far an import is.

    Attributes:
        status: ``waiting``, ``claimed``, ``active``, ``completed``, ``failed`` or
            ``interrupted`` [doc].
        failed: E-mail addresses of the contacts that were dropped; no reason is given [doc].
        succeeded: Contact ids "of any newly created contacts" [doc], perhaps also of updated
            ones [rep]: not to be counted on.
    """

    status: str
    failed: tuple[str, ...] = field(default=(), repr=False)
    succeeded: tuple[str, ...] = field(default=(), repr=False)

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
            status=_text(values["status"] or WAITING, "status").lower(),
            failed=_texts(values.get("failure"), "failure"),
            succeeded=_texts(values.get("success"), "success"),
        )


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact, as far as it says why an import may have dropped it.

    Attributes:
        id: Id of the contact.
        email: Its address as ActiveCampaign spells it.
        bounced_hard: Mails that came back for good.
        bounced_soft: Mails that came back for now.
        deleted: Whether it is marked as deleted.
    """

    id: int
    email: str = field(repr=False)
    bounced_hard: int = 0
    bounced_soft: int = 0
    deleted: bool = False

    @classmethod
    def from_item(cls, item: Any) -> Contact:
        """Read one of ``contacts``, as GET /contacts gives them [rec]."""
        values = as_object(item, "contact")
        return cls(
            id=_number(values.get("id"), "contact.id"),
            email=_text_or_empty(values.get("email")),
            bounced_hard=_number(values.get("bounced_hard") or 0, "contact.bounced_hard"),
            bounced_soft=_number(values.get("bounced_soft") or 0, "contact.bounced_soft"),
            deleted=_number(values.get("deleted") or 0, "contact.deleted") != 0,
        )


@dataclass(frozen=True, slots=True)
class Membership:
    """A contact's place on one list.

    Attributes:
        list_id: Id of the list.
        status: 0 unconfirmed, 1 active, 2 unsubscribed, 3 bounced [doc]; others are seen [rep].
    """

    list_id: int
    status: int

    @property
    def subscribed(self) -> bool:
        """Whether the contact is an active member of the list."""
        return self.status == _SUBSCRIBED

    @property
    def opted_out(self) -> bool:
        """Whether the contact has left the list: no import will put it there again [doc]."""
        return self.status == _UNSUBSCRIBED

    @classmethod
    def from_item(cls, item: Any) -> Membership:
        """Read one of ``contactLists``, as GET /contacts/:id/contactLists gives them [doc]."""
        values = as_object(item, "contactList")
        return cls(
            list_id=_number(values.get("list"), "contactList.list"),
            status=_number(values.get("status"), "contactList.status"),
        )


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a collection.

    Attributes:
        items: The models on this page.
        total: Number of items on all pages, None if the answer doesn't say.
    """

    items: list[T]
    total: int | None


def page_of(name: str, from_item: Callable[[Any], T]) -> Callable[[Any], Page[T]]:
    """Make the decoder of ``{name: [...], "meta": {"total": "2"}}`` [rec]."""

    def decode(answer: Any) -> Page[T]:
        values = _collection(answer, name)
        return Page([from_item(item) for item in as_list(values[name], name)], _total(values))

    return decode


def fields_page(answer: Any) -> Page[Field]:
    """Read GET /fields, which lists the options of all its fields beside them [rec]."""
    values = _collection(answer, "fields")
    options = _options_by_field(as_list(values.get("fieldOptions"), "fieldOptions"))
    items = as_list(values["fields"], "fields")
    return Page([Field.from_item(item, options) for item in items], _total(values))


def _collection(answer: Any, name: str) -> dict[str, Any]:
    values = as_object(answer, "answer")
    if name not in values:
        raise ShapeError(f"no {name}")
    return values


def _total(values: dict[str, Any]) -> int | None:
    total = as_object(values.get("meta") or {}, "meta").get("total")
    return None if total is None else _number(total, "meta.total")


def as_object(value: Any, place: str) -> dict[str, Any]:
    """Return the JSON object `value` is, or say that `place` holds none."""
    if not isinstance(value, dict):
        raise ShapeError(f"{place} is not an object")
    return value


def as_list(value: Any, place: str) -> list[Any]:
    """Return the JSON array `value` is.

    Null and false stand for an empty one, and an object for its values: PHP writes an array
    with gaps that way.
    """
    if value is None or value is False:
        return []
    if isinstance(value, dict):
        return list(value.values())
    if not isinstance(value, list):
        raise ShapeError(f"{place} is not a list")
    return value


def lower_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Return the object with its keys in lower case: ``Success`` and ``success`` are one."""
    return {key.lower(): value for key, value in values.items()}


def _number(value: Any, place: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise ShapeError(f"{place} is not a number") from None


def _text(value: Any, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise ShapeError(f"{place} is not a text")
    return str(value)


def _text_or_empty(value: Any) -> str:
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _texts(value: Any, place: str) -> tuple[str, ...]:
    return tuple("" if item == "" else _text(item, place) for item in as_list(value, place))
