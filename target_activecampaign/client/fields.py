"""The methods of `Client` for custom fields."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from target_activecampaign.client.calls import Caller, ignore_content, is_last, json_body
from target_activecampaign.client.decoding import Page, page_of
from target_activecampaign.client.errors import InvalidRequest
from target_activecampaign.client.models import Field, FieldValue, field_from, fields_page
from target_activecampaign.model.names import exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class FieldCalls(Caller):
    """Methods for custom fields of contacts. Args and errors are those of `Client`."""

    def fields(self) -> list[Field]:
        """Return all custom fields of contacts, each with its options."""
        return self._all_pages("/fields", fields_page)

    def field(self, field_id: int) -> Field:
        """Return one custom field with its options.

        Raises:
            NotFound: There is no such field.
        """
        return self._call("GET", f"/fields/{field_id}", field_from)

    def create_field(self, title: str, field_type: str, list_id: int = 0) -> Field:
        """Create a custom field of contacts, shown for one list or for all.

        A field must not be created twice: if the answer is lost, the field is searched for
        before the request is repeated.

        Args:
            title: Its name on the screen. The server derives the personalisation tag from it.
            field_type: As in `Field.type`.
            list_id: The list; 0 stands for all lists [doc].

        Returns:
            The field, without options.

        Raises:
            InvalidRequest: A field has this title (the error's code is ``duplicate``), or there
                is no such type [doc].
            ActiveCampaignError: Perhaps the field was created, but is not shown for its list;
                creating it again is then refused as a duplicate.
        """
        item = {"title": title, "type": field_type, "visible": 1}
        field = self._call(
            "POST",
            "/fields",
            field_from,
            body=json_body("field", item),
            find_effect=lambda: self._find_field(title, field_type),
        )
        self.show_field(field.id, list_id)
        return replace(field, lists=(list_id,))

    def show_field(self, field_id: int, list_id: int) -> None:
        """Show a field for the contacts of a list, or of all lists with 0 [doc]."""
        body = json_body("fieldRel", {"field": field_id, "relid": list_id})
        try:
            self._call("POST", "/fieldRels", ignore_content, body=body)
        except InvalidRequest as error:
            # An earlier attempt may have been enough; sending it twice is not documented.
            if not error.effect_unknown:
                raise

    def add_options(self, field_id: int, values: Sequence[str]) -> None:
        """Add options to a field, each with its value as label.

        An option must not be added twice: if an answer is lost, only the options that the field
        lacks are added again. The caller makes sure that it has none of them at first.

        Raises:
            NotFound: There is no such field.
        """
        missing = tuple(dict.fromkeys(values))
        while missing:
            missing = self._add_options_once(field_id, missing)

    def field_values(self, field_id: int) -> Iterator[FieldValue]:
        """Yield the values of a custom field, page by page.

        No order is documented, so pages are read by offset: for each value that is deleted
        meanwhile, another may be missed.

        Raises:
            MalformedAnswer: The server ignores the offset.
        """
        query = {"filters[fieldid]": field_id, "limit": self.page_size}
        offset = 0
        earlier: list[FieldValue] = []
        while True:
            page = self._call(
                "GET", "/fieldValues", _following(earlier), query={**query, "offset": offset}
            )
            yield from (one for one in page.items if one.field_id == field_id)
            offset += len(page.items)
            if is_last(page, offset, self.page_size) or not page.items:
                return
            earlier = page.items

    def count_field_values(self, field_id: int) -> int | None:
        """Return the number of values that `field_values` would yield; None if it is unknown."""
        query = {"filters[fieldid]": field_id, "limit": 1}
        return self._call("GET", "/fieldValues", _values_page, query=query).total

    def contact_field_values(self, contact_id: int) -> list[FieldValue]:
        """Return the custom field values of a contact, from the path in its links [rec].

        Raises:
            NotFound: There is no such contact.
        """
        path = f"/contacts/{contact_id}/fieldValues"
        return self._all_pages(path, _values_page)

    def _find_field(self, title: str, field_type: str) -> Field | None:
        for field in self.fields():
            if exact(field.title) == exact(title) and field.type == field_type:
                return field
        return None

    def _add_options_once(self, field_id: int, values: tuple[str, ...]) -> tuple[str, ...]:
        """Add options with one request. Return those still missing if its answer was lost."""
        options = [{"field": str(field_id), "label": one, "value": one} for one in values]
        return self._call(
            "POST",
            "/fieldOption/bulk",
            lambda _: (),
            body=json_body("fieldOptions", options),
            find_effect=lambda: self._missing_options(field_id, values),
        )

    def _missing_options(self, field_id: int, values: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return which of these options a field lacks; None if it lacks all of them."""
        there = {exact(option) for option in self.field(field_id).options}
        missing = tuple(one for one in values if exact(one) not in there)
        return missing if len(missing) < len(values) else None


_values_page = page_of("fieldValues", FieldValue)


def _following(earlier: list[FieldValue]) -> Callable[[Any], Page[FieldValue]]:
    """Return the decoder of the page of ``fieldValues`` that follows another.

    A server that ignores ``offset`` sends the same page again, which would never end.
    """

    def decode(answer: Any) -> Page[FieldValue]:
        page = _values_page(answer)
        if page.items and page.items == earlier:
            raise msgspec.ValidationError("the field's values are those of the previous page")
        return page

    return decode
