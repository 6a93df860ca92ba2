"""What a contact is: whom it stands for, how it is merged and sent."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.email import person_key, valid_address
from target_activecampaign.text import is_unicode

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Contact", "Refusal", "person_key", "valid_address"]

_encoder = msgspec.json.Encoder()

_STANDARD = ("first_name", "last_name", "phone", "customer_account")


class _WireField(msgspec.Struct, gc=False):
    id: int
    value: str


class _Wire(msgspec.Struct, omit_defaults=True, gc=False):
    """A contact as an element of the import's `contacts` (documented form)."""

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
    fields: dict[int, str] = {}  # msgspec gives each contact a new one
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
        fields = self.fields
        ids = sorted(fields)
        # Sorted: the same values are the same bytes, in whatever order a tap brings them.
        wire = _Wire(
            self.email,
            self.first_name,
            self.last_name,
            self.phone,
            self.customer_account,
            sorted(self.tags) if self.tags else None,
            list(map(_WireField, ids, map(fields.__getitem__, ids))) if ids else None,
            _listed(self.lists) if self.lists else None,
            _listed(self.leaves) if self.leaves else None,
        )
        try:
            return _encoder.encode(wire)
        except UnicodeEncodeError:
            raise Refusal(
                "VALUE_INVALID",
                f"What goes to {self._unsendable()} holds half of a surrogate pair, which is not "
                "text.",
            ) from None

    def _unsendable(self) -> str:
        """Where the first text goes that can't be sent."""
        for name in ("first_name", "last_name", "phone", "customer_account"):
            if not is_unicode(getattr(self, name) or ""):
                return name
        wrong = next((one for one, value in self.fields.items() if not is_unicode(value)), None)
        return "tags" if wrong is None else f"the custom field id:{wrong}"


@lru_cache(maxsize=256)
def _listed(lists: tuple[int, ...]) -> msgspec.Raw:
    """Lists as an import names them: mostly the same for all contacts of a stream."""
    return msgspec.Raw(_encoder.encode([{"listid": id_} for id_ in lists]))


def _later(earlier: str | None, later: str | None) -> str | None:
    return earlier if later is None else later


def _joined(earlier: tuple[Any, ...], later: tuple[Any, ...]) -> tuple[Any, ...]:
    return earlier if earlier == later else tuple(dict.fromkeys(earlier + later))
