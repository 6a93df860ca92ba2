"""Contacts: their values, the merge of two with one key, and their form in an import."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.email import contact_key, valid_address
from target_activecampaign.text import is_encodable

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Contact", "Refusal", "contact_key", "valid_address"]

_encoder = msgspec.json.Encoder()

_STANDARD = ("first_name", "last_name", "phone", "customer_account")


class _WireField(msgspec.Struct, gc=False):
    id: int
    value: str


class _Wire(msgspec.Struct, omit_defaults=True, gc=False):
    """An element of `contacts` in a bulk import (documented form)."""

    email: str
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    customer_acct_name: str | None = None
    tags: list[str] | None = None
    fields: list[_WireField] | None = None
    subscribe: msgspec.Raw | None = None
    unsubscribe: msgspec.Raw | None = None


class Contact(msgspec.Struct, gc=False):
    """A contact as ActiveCampaign's bulk import accepts it; None keeps a value unchanged.

    Attributes:
        key: The identity, from `contact_key`: two contacts with the same key are the same.
        email: The address as it is sent.
        fields: Custom field values in the field's own text form, by field id.
        tags: Names of tags to add.
        lists: Ids of lists to subscribe to.
        unsubscribe_lists: Ids of lists to unsubscribe from.
    """

    key: str
    email: str
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    customer_account: str | None = None
    fields: dict[int, str] = {}  # msgspec gives each contact a new one
    tags: tuple[str, ...] = ()
    lists: tuple[int, ...] = ()
    unsubscribe_lists: tuple[int, ...] = ()

    @property
    def values(self) -> dict[str | int, str]:
        """The values that it sets, by attribute or custom field id; '' clears a value."""
        standard = {name: getattr(self, name) for name in _STANDARD}
        return {k: value for k, value in standard.items() if value is not None} | self.fields

    def drop_values(self, destinations: Collection[str | int]) -> None:
        """Remove values, given by attribute or custom field id."""
        for name in _STANDARD:
            if name in destinations:
                setattr(self, name, None)
        self.fields = {k: value for k, value in self.fields.items() if k not in destinations}

    def merged_with(self, later: Contact) -> Contact:
        """Return one contact from two of the same key: later values win, tags and lists add up.

        Neither may unsubscribe from a list: a mirror removes contacts in separate imports.
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
        """Return the JSON of the contact for `contacts` in a bulk import (documented form).

        Raises:
            Refusal: A value has a lone surrogate.
        """
        fields = self.fields
        ids = sorted(fields)
        # Sorted, so that the same values give the same bytes in any order.
        wire = _Wire(
            self.email,
            self.first_name,
            self.last_name,
            self.phone,
            self.customer_account,
            sorted(self.tags) if self.tags else None,
            list(map(_WireField, ids, map(fields.__getitem__, ids))) if ids else None,
            _encoded_lists(self.lists) if self.lists else None,
            _encoded_lists(self.unsubscribe_lists) if self.unsubscribe_lists else None,
        )
        try:
            return _encoder.encode(wire)
        except UnicodeEncodeError:
            raise Refusal(
                "VALUE_INVALID",
                f"The value for {self._find_unencodable()} has a lone surrogate, which is not "
                "valid text.",
            ) from None

    def _find_unencodable(self) -> str:
        """Return the destination of the first text that can't be sent."""
        for name in _STANDARD:
            if not is_encodable(getattr(self, name) or ""):
                return name
        wrong = next((one for one, value in self.fields.items() if not is_encodable(value)), None)
        return "tags" if wrong is None else f"the custom field id:{wrong}"


@lru_cache(maxsize=256)
def _encoded_lists(lists: tuple[int, ...]) -> msgspec.Raw:
    """Return list ids as an import names them; mostly the same for all contacts of a stream."""
    return msgspec.Raw(_encoder.encode([{"listid": id_} for id_ in lists]))


def _later(earlier: str | None, later: str | None) -> str | None:
    return earlier if later is None else later


def _joined(earlier: tuple[Any, ...], later: tuple[Any, ...]) -> tuple[Any, ...]:
    return earlier if earlier == later else tuple(dict.fromkeys(earlier + later))
