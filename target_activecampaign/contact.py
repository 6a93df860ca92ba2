"""What a contact is: whom it stands for, when it is valid, how it is merged and sent."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec
from email_validator import EmailNotValidError, validate_email

_encoder = msgspec.json.Encoder()

_MAX_ADDRESS = 254
_LAST_LABEL = re.compile(r"\.[^\W\d_]{2,}\Z")
_FORBIDDEN = frozenset('"(),:;<>@[\\]')


class Refusal(Exception):  # noqa: N818 - it is an outcome of a record, not a fault of the run
    """A record that can't be sent.

    Attributes:
        code: A stable code out of `codes.CODES`.
        reason: A sentence for the reject file. It may name properties, never in a log.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


@dataclass(slots=True)
class Contact:
    """A person as ActiveCampaign's bulk import takes one; None leaves a value as it is.

    Attributes:
        key: The person: the address in lower case. Two contacts of one key are one person.
        email: The address as it is sent.
        fields: Custom field values in the field's own text form, by field id.
        tags: Names of tags to give.
        lists: Ids of lists to subscribe to.
        leaves: Ids of lists to unsubscribe from.
    """

    key: str
    email: str
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    customer_account: str | None = None
    fields: dict[int, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    lists: tuple[int, ...] = ()
    leaves: tuple[int, ...] = ()

    def merged_into(self, later: Contact) -> Contact:
        """Both contacts of one person as one: of two values the later wins, sets are joined.

        Neither is one that leaves a list: people leave when all that was read is settled.
        """
        return Contact(
            key=later.key,
            email=later.email,
            first_name=_later(self.first_name, later.first_name),
            last_name=_later(self.last_name, later.last_name),
            phone=_later(self.phone, later.phone),
            customer_account=_later(self.customer_account, later.customer_account),
            fields={**self.fields, **later.fields},
            tags=_joined(self.tags, later.tags),
            lists=_joined(self.lists, later.lists),
        )

    def encode(self) -> bytes:
        """The contact as an element of the import's `contacts` (documented form).

        Raises:
            Refusal: A value that is not Unicode text (a lone surrogate).
        """
        # Sorted: the same values are the same bytes, in whatever order a tap brings them.
        standard = {
            "email": self.email,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "phone": self.phone,
            "customer_acct_name": self.customer_account,
        }
        wire: dict[str, Any] = {k: value for k, value in standard.items() if value is not None}
        if self.tags:
            wire["tags"] = sorted(self.tags)
        if self.fields:
            wire["fields"] = [{"id": id_, "value": self.fields[id_]} for id_ in sorted(self.fields)]
        if self.lists:
            wire["subscribe"] = [{"listid": id_} for id_ in self.lists]
        if self.leaves:
            wire["unsubscribe"] = [{"listid": id_} for id_ in self.leaves]
        try:
            return _encoder.encode(wire)
        except UnicodeEncodeError:
            raise Refusal(
                "VALUE_INVALID", "A value holds half of a surrogate pair, which is not text."
            ) from None


def _later(earlier: str | None, later: str | None) -> str | None:
    return earlier if later is None else later


def _joined(earlier: tuple[Any, ...], later: tuple[Any, ...]) -> tuple[Any, ...]:
    return earlier if earlier == later else tuple(dict.fromkeys(earlier + later))


def person_key(address: str) -> str:
    """What two spellings of one address have in common: no outer space, lower case."""
    return address.strip().lower()


def valid_address(value: Any) -> str:
    """A record's e-mail address as it can be sent.

    `email-validator` decides on syntax, without DNS. On top come the two rules for which
    ActiveCampaign's import documents that it drops a contact: certain special characters,
    and fewer than two letters after the domain's last dot.

    Raises:
        Refusal: `EMAIL_MISSING` or `EMAIL_INVALID`; the reason does not hold the address.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Refusal("EMAIL_MISSING", "The record has no e-mail address.")
    if not isinstance(value, str):
        raise Refusal("EMAIL_INVALID", "The e-mail address is not a string.")
    address = value.strip()
    if len(address) > _MAX_ADDRESS:
        raise Refusal("EMAIL_INVALID", f"The address is longer than {_MAX_ADDRESS} characters.")
    try:
        checked = validate_email(address, check_deliverability=False)
    except EmailNotValidError as error:
        raise Refusal("EMAIL_INVALID", _without_value(str(error))) from None
    if _FORBIDDEN.intersection(checked.local_part):
        raise Refusal("EMAIL_INVALID", "The part before the @ has a character that is not allowed.")
    if not _LAST_LABEL.search(checked.domain):
        raise Refusal("EMAIL_INVALID", "The domain does not end in a dot and two letters or more.")
    return checked.normalized


def _without_value(message: str) -> str:
    """The validator's sentence without the characters of the address that it may quote."""
    return re.sub(r":.*", ".", message, flags=re.DOTALL)
