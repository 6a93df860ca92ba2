"""The client of a preview: reads go to the account, writes are simulated.

A simulated write succeeds at once, without a request and without waiting for the rate limits. So
the run continues as usual. A write that is not simulated raises, so nothing is sent by mistake.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from target_activecampaign.client import AcceptedImport, AddressTaken, Client, Field, ImportStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from target_activecampaign.client import FieldValue

T = TypeVar("T")

_ID_PREFIX = "preview-"
"""The prefix of the ids of simulated imports."""
_FIRST_FIELD = 2**31
"""The id of the first simulated field, larger than any id in an account."""


class PreviewClient(Client):
    """A client that only reads, with the arguments and errors of `Client`.

    Attributes:
        simulated: Number of simulated requests by kind: `import`, `single_import`,
            `import_status`, `subscribe`, `rename`, `remove_tag`, `field` and `option`.
        new_fields: Simulated new fields by id.
        new_options: Simulated new options of the account's fields, by field id.
    """

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self._renamed: set[int] = set()
        self._lock = threading.Lock()
        self.simulated: Counter[str] = Counter()
        self.new_fields: dict[int, Field] = {}
        self.new_options: dict[int, tuple[str, ...]] = {}

    def _call(self, method: str, path: str, decode: Callable[[Any], T], **how: Any) -> T:
        if method != "GET":
            raise RuntimeError(f"A preview must not send {method} {path}.")
        answer: T = super()._call(method, path, decode, **how)
        return answer

    def _simulate(self, kind: str, requests: int = 1) -> int:
        with self._lock:
            self.simulated[kind] += requests
            return self.simulated[kind]

    def import_contacts(self, body: bytes, count: int) -> AcceptedImport:  # noqa: ARG002 - not sent
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

    def rename_contact(self, contact_id: int, email: str) -> None:
        """Simulate that a contact gets another address; raise `AddressTaken` if another has it."""
        other = self.find_contact(email)
        # A contact that was renamed before has left its address, although the account has it there.
        if other is not None and other.id != contact_id and other.id not in self._renamed:
            raise AddressTaken("a preview")
        with self._lock:
            self._renamed.add(contact_id)
        self._simulate("rename")

    def remove_contact_tag(self, contact_tag_id: int) -> None:  # noqa: ARG002 - not sent
        """Simulate that a tag is removed."""
        self._simulate("remove_tag")

    def create_field(self, title: str, field_type: str, list_id: int = 0) -> Field:
        """Simulate a new field, with a personalisation tag as the server would make it."""
        tag = re.sub(r"\W+", "_", title.strip("% ")).strip("_").upper()
        with self._lock:
            field = Field(
                _FIRST_FIELD + len(self.new_fields), title, field_type, tag, lists=(list_id,)
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
