"""The client of a preview: what reads goes to the account, what writes is answered here.

Each writing call is answered as if it had succeeded, without a request and without waiting for the
account's limits, so that the whole path of a run goes on as it would. One that is not answered here
raises: nothing can be sent by an oversight.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from target_activecampaign.client import AcceptedImport, Client, Field, ImportStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from target_activecampaign.client import FieldValue

T = TypeVar("T")

_PRETENDED = "preview-"
"""What the ids of imports begin with that were not sent."""
_FIRST_FIELD = 2**31
"""The id of the first field that would have been made: no account has one of its own there."""


class PreviewClient(Client):
    """A client that sends nothing but questions. Args and errors are those of `Client`.

    Attributes:
        pretended: How many requests were not sent, by kind: `import`, `single_import`,
            `import_status`, `subscribe`, `remove_tag`, `field` and `option`.
        new_fields: The fields that would have been made, with ids that no account has.
        new_options: The options that would have been added to fields of the account, by field id.
    """

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self._lock = threading.Lock()
        self.pretended: Counter[str] = Counter()
        self.new_fields: dict[int, Field] = {}
        self.new_options: dict[int, tuple[str, ...]] = {}

    def _call(self, method: str, path: str, decode: Callable[[Any], T], **how: Any) -> T:
        if method != "GET":
            raise RuntimeError(f"A preview sends nothing, and so no {method} {path}.")
        answer: T = super()._call(method, path, decode, **how)
        return answer

    def _pretend(self, kind: str, requests: int = 1) -> int:
        with self._lock:
            self.pretended[kind] += requests
            return self.pretended[kind]

    def import_contacts(self, body: bytes, count: int) -> AcceptedImport:  # noqa: ARG002 - not sent
        """Take an import as queued."""
        kind = "single_import" if count == 1 else "import"
        return AcceptedImport(f"{_PRETENDED}{kind}-{self._pretend(kind)}", count)

    def import_status(self, batch_id: str) -> ImportStatus:
        """Take an import that was not sent as done; ask about one that an earlier run has sent."""
        if not batch_id.startswith(_PRETENDED):
            return super().import_status(batch_id)
        self._pretend("import_status")
        return ImportStatus("completed")

    def subscribe(self, contact_id: int, list_id: int) -> None:  # noqa: ARG002 - not sent
        """Take a contact as re-subscribed."""
        self._pretend("subscribe")

    def remove_contact_tag(self, contact_tag_id: int) -> None:  # noqa: ARG002 - not sent
        """Take a tag as removed."""
        self._pretend("remove_tag")

    def create_field(self, title: str, field_type: str, list_id: int = 0) -> Field:
        """Take a field as made, under a tag such as the server makes of a title."""
        tag = re.sub(r"\W+", "_", title.strip("% ")).strip("_").upper()
        with self._lock:
            field = Field(
                _FIRST_FIELD + len(self.new_fields), title, field_type, tag, lists=(list_id,)
            )
            self.new_fields[field.id] = field
        self._pretend("field", 2)
        return field

    def show_field(self, field_id: int, list_id: int) -> None:  # noqa: ARG002 - not sent
        """Take a field as shown on a list."""
        self._pretend("field")

    def add_options(self, field_id: int, values: Sequence[str]) -> None:
        """Take options as added to a field."""
        self._pretend("option")
        with self._lock:
            if field_id in self.new_fields:
                field = self.new_fields[field_id]
                self.new_fields[field_id] = replace(field, options=(*field.options, *values))
            else:
                self.new_options[field_id] = (*self.new_options.get(field_id, ()), *values)

    def field(self, field_id: int) -> Field:
        """Return a field with the options that it would have by now."""
        if field_id in self.new_fields:
            return self.new_fields[field_id]
        field = super().field(field_id)
        return replace(field, options=(*field.options, *self.new_options.get(field_id, ())))

    def count_field_values(self, field_id: int) -> int | None:
        """Tell how many values a field has: none where it would be a new one."""
        return 0 if field_id in self.new_fields else super().count_field_values(field_id)

    def field_values(self, field_id: int) -> Iterator[FieldValue]:
        """Read the values of a field, of which a new one has none."""
        return iter(()) if field_id in self.new_fields else super().field_values(field_id)
