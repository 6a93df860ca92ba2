"""The client of a preview: reads go to the account, writes are simulated.

A simulated write succeeds at once, without a request and without waiting for the rate limits; only
a rename reads first whether its address is taken. So the run continues as usual. A write that is
not simulated raises, so nothing is sent by mistake.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from target_activecampaign.client import (
    AcceptedImport,
    AddressTaken,
    Client,
    Contact,
    Field,
    ImportStatus,
)
from target_activecampaign.client.models import FIRST_SIMULATED_ID, address_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from target_activecampaign.client import FieldValue

T = TypeVar("T")

_ID_PREFIX = "preview-"
"""The prefix of the ids of simulated imports."""


class PreviewClient(Client):
    """A client that only reads, with the arguments and errors of `Client`.

    Attributes:
        simulated: Number of simulated requests by kind: `import`, `single_import`,
            `import_status`, `subscribe`, `unsubscribe`, `rename`, `remove_tag`, `field_value`,
            `field` and `option`.
        new_fields: Simulated new fields by id.
        new_options: Simulated new options of the account's fields, by field id.
    """

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self._lock = threading.Lock()
        self.simulated: Counter[str] = Counter()
        self.new_fields: dict[int, Field] = {}
        self.new_options: dict[int, tuple[str, ...]] = {}
        self._new_addresses: dict[int, str] = {}
        self._renamed: dict[str, int] = {}

    def _call(self, method: str, path: str, decode: Callable[[Any], T], **how: Any) -> T:
        if method != "GET":
            raise RuntimeError(f"A preview must not send {method} {path}.")
        answer: T = super()._call(method, path, decode, **how)
        return answer

    def _simulate(self, kind: str, requests: int = 1) -> int:
        with self._lock:
            self.simulated[kind] += requests
            return self.simulated[kind]

    def import_contacts(
        self,
        body: bytes,  # noqa: ARG002 - not sent
        count: int,
        has_arrived: Callable[[], bool] | None = None,  # noqa: ARG002 - no answer is lost
    ) -> AcceptedImport:
        """Simulate an import that is accepted."""
        kind = "single_import" if count == 1 else "import"
        return AcceptedImport(f"{_ID_PREFIX}{kind}-{self._simulate(kind)}", count)

    def import_status(self, batch_id: str) -> ImportStatus:
        """Return `completed` for a simulated import, and the real status of any other."""
        if not batch_id.startswith(_ID_PREFIX):
            return super().import_status(batch_id)
        self._simulate("import_status")
        return ImportStatus("completed")

    def subscribe(self, contact_id: int, list_id: int) -> None:  # noqa: ARG002 - not sent
        """Simulate that a contact is re-subscribed."""
        self._simulate("subscribe")

    def unsubscribe(self, contact_id: int, list_id: int) -> None:  # noqa: ARG002 - not sent
        """Simulate that a contact is unsubscribed."""
        self._simulate("unsubscribe")

    def rename_contact(self, contact_id: int, email: str) -> None:
        """Simulate that a contact gets another address. One read shows whether that is taken.

        Raises:
            AddressTaken: Another contact has the address, after the simulated renames so far.
        """
        holder = self.find_contact(email)
        if holder is not None and holder.id != contact_id:
            raise AddressTaken(f"PUT /contacts/{contact_id}", status=422)
        with self._lock:
            earlier = self._new_addresses.get(contact_id)
            if earlier is not None:
                del self._renamed[address_key(earlier)]
            self._new_addresses[contact_id] = email
            self._renamed[address_key(email)] = contact_id
        self._simulate("rename")

    def contact(self, contact_id: int) -> Contact | None:
        """Return the contact with this id, under its simulated address."""
        found = super().contact(contact_id)
        return found and self._with_new_address(found)

    def find_contact(self, email: str) -> Contact | None:
        """Return the contact with this address, after the simulated renames."""
        renamed = self._renamed.get(address_key(email))
        if renamed is not None:
            return self.contact(renamed)
        found = super().find_contact(email)
        return None if found is not None and found.id in self._new_addresses else found

    def contacts(
        self,
        *,
        after: int = 0,
        list_id: int | None = None,
        status: int | None = None,
        updated_after: float | None = None,
    ) -> Iterator[Contact]:
        """Yield contacts in the order of their ids, under their simulated addresses.

        A simulated list has none.
        """
        if _is_simulated(list_id):
            return iter(())
        found = super().contacts(
            after=after, list_id=list_id, status=status, updated_after=updated_after
        )
        return map(self._with_new_address, found)

    def count_contacts(
        self, *, list_id: int | None = None, status: int | None = None
    ) -> int | None:
        """Return the number of contacts that `contacts` would yield; None if it is unknown."""
        if _is_simulated(list_id):
            return 0
        return super().count_contacts(list_id=list_id, status=status)

    def find_opted_out(self, list_id: int, contact_ids: Collection[int]) -> set[int]:
        """Return those contacts that are unsubscribed from a list: none of a simulated one."""
        return set() if _is_simulated(list_id) else super().find_opted_out(list_id, contact_ids)

    def _with_new_address(self, contact: Contact) -> Contact:
        email = self._new_addresses.get(contact.id)
        return contact if email is None else msgspec.structs.replace(contact, email=email)

    def remove_contact_tag(self, contact_tag_id: int) -> None:  # noqa: ARG002 - not sent
        """Simulate that a tag is removed."""
        self._simulate("remove_tag")

    def set_field_value(self, contact_id: int, field_id: int, value: str) -> None:  # noqa: ARG002
        """Simulate that a custom field of a contact is set."""
        self._simulate("field_value")

    def create_field(self, title: str, field_type: str, list_id: int = 0) -> Field:
        """Simulate a new field, with a personalisation tag as the server would make it."""
        tag = re.sub(r"\W+", "_", title.strip("% ")).strip("_").upper()
        with self._lock:
            field = Field(
                FIRST_SIMULATED_ID + len(self.new_fields),
                title,
                field_type,
                tag,
                lists=(list_id,),
            )
            self.new_fields[field.id] = field
        self._simulate("field", 2)
        return field

    def show_field(self, field_id: int, list_id: int) -> None:  # noqa: ARG002 - not sent
        """Simulate that a field is shown on a list."""
        self._simulate("field")

    def add_options(self, field_id: int, values: Sequence[str]) -> None:
        """Simulate that options are added to a field."""
        self._simulate("option")
        with self._lock:
            if field_id in self.new_fields:
                field = self.new_fields[field_id]
                self.new_fields[field_id] = replace(field, options=(*field.options, *values))
            else:
                self.new_options[field_id] = (*self.new_options.get(field_id, ()), *values)

    def field(self, field_id: int) -> Field:
        """Return a field with the options that were added to it, simulated ones included."""
        if field_id in self.new_fields:
            return self.new_fields[field_id]
        field = super().field(field_id)
        return replace(field, options=(*field.options, *self.new_options.get(field_id, ())))

    def count_field_values(self, field_id: int) -> int | None:
        """Return the number of values of a field: 0 for a simulated one."""
        return 0 if field_id in self.new_fields else super().count_field_values(field_id)

    def field_values(self, field_id: int) -> Iterator[FieldValue]:
        """Yield the values of a field: none for a simulated one."""
        return iter(()) if field_id in self.new_fields else super().field_values(field_id)


def _is_simulated(list_id: int | None) -> bool:
    return list_id is not None and list_id >= FIRST_SIMULATED_ID
