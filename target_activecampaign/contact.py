"""What a contact is: whom it stands for, how it is merged and sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from target_activecampaign.addresses import person_key, valid_address
from target_activecampaign.codes import Refusal

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Contact", "Refusal", "person_key", "valid_address"]

_encoder = msgspec.json.Encoder()

_STANDARD = ("first_name", "last_name", "phone", "customer_account")


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

    @property
    def values(self) -> dict[str | int, str]:
        """What it gives the person, by attribute or custom field id; '' empties a value."""
        standard = {name: getattr(self, name) for name in _STANDARD}
        return {k: value for k, value in standard.items() if value is not None} | self.fields

    def leave_out(self, destinations: Collection[str | int]) -> None:
        """Leave some values as they are, by attribute or custom field id."""
        for name in _STANDARD:
            if name in destinations:
                setattr(self, name, None)
        self.fields = {k: value for k, value in self.fields.items() if k not in destinations}

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
