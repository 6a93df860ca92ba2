"""What can be asked about custom fields: the part of `Client` that is about them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from target_activecampaign.client.calls import PAGE_SIZE, Caller, ignore_content, is_last, json_body
from target_activecampaign.client.decoding import Page, page_of
from target_activecampaign.client.errors import InvalidRequest
from target_activecampaign.client.models import Field, FieldValue, field_from, fields_page
from target_activecampaign.model.names import exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class FieldCalls(Caller):
    """The calls about custom fields of contacts; args and errors are those of `Client`."""

    def fields(self) -> list[Field]:
        """Return all custom fields of contacts, each with its options."""
        return self._all_pages("/fields", fields_page)

    def field(self, field_id: int) -> Field:
        """Return one custom field with its options.

        Raises:
            NotFound: There is no such field (any more).
        """
        return self._call("GET", f"/fields/{field_id}", field_from)

    def create_field(self, title: str, field_type: str, list_id: int = 0) -> Field:
        """Make a custom field of contacts that shows on a list, or on all of them.

        A field must not be made twice, so if an answer is lost the account's fields are looked
        through before the request is repeated.

        Args:
            title: Its name on the screen. The server makes the personalisation tag of it.
            field_type: As in `Field.type`.
            list_id: The list; 0 stands for all lists [doc].

        Returns:
            The field, as yet without options.

        Raises:
            InvalidRequest: There is a field of this title (the error's code is ``duplicate``),
                or no such type [doc]. If the field was made but couldn't be put on its list,
                other errors are raised; making it again is then refused as a duplicate.
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
        """Show a field for the contacts of a list, or with 0 for all [doc]."""
        body = json_body("fieldRel", {"field": field_id, "relid": list_id})
        try:
            self._call("POST", "/fieldRels", ignore_content, body=body)
        except InvalidRequest as error:
            # Whether it may be sent twice is not documented: the first may have been enough.
            if not error.effect_unknown:
                raise

    def add_options(self, field_id: int, values: Sequence[str]) -> None:
        """Add options to a field, each under the value's own text.

        An option must not be made twice: if an answer is lost, it is looked which are there
        before the others are asked for again. Whether any is there to begin with is for the
        caller to know, by `field`.

        Raises:
            NotFound: There is no such field.
        """
        missing = tuple(dict.fromkeys(values))
        while missing:
            missing = self._ask_for_options(field_id, missing)

    def field_values(self, field_id: int) -> Iterator[FieldValue]:
        """Read what contacts have in a custom field, a page of them at a time.

        Pages are turned by an offset, as no order is documented for them: if values are taken
        away meanwhile, as many others may be left out.

        Raises:
            MalformedAnswer: The server takes no notice of the offset.
        """
        query = {"filters[fieldid]": field_id, "limit": PAGE_SIZE}
        offset = 0
        earlier: list[FieldValue] = []
        while True:
            page = self._call(
                "GET", "/fieldValues", _following(earlier), query={**query, "offset": offset}
            )
            yield from (one for one in page.items if one.field_id == field_id)
            offset += len(page.items)
            if is_last(page, offset) or not page.items:
                return
            earlier = page.items

    def count_field_values(self, field_id: int) -> int | None:
        """Tell how many values `field_values` would read; None if the answer doesn't say."""
        query = {"filters[fieldid]": field_id, "limit": 1}
        return self._call("GET", "/fieldValues", _values_page, query=query).total

    def contact_field_values(self, contact_id: int) -> list[FieldValue]:
        """Return what a contact has in custom fields.

        The address is the one that contacts link to [rec].

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

    def _ask_for_options(self, field_id: int, values: tuple[str, ...]) -> tuple[str, ...]:
        """Ask for options once; what is still to be asked for if the answer was lost."""
        options = [{"field": str(field_id), "label": one, "value": one} for one in values]
        return self._call(
            "POST",
            "/fieldOption/bulk",
            lambda _: (),
            body=json_body("fieldOptions", options),
            find_effect=lambda: self._missing_options(field_id, values),
        )

    def _missing_options(self, field_id: int, values: tuple[str, ...]) -> tuple[str, ...] | None:
        """Those of some options that a field lacks; None if it has none of them."""
        there = {exact(option) for option in self.field(field_id).options}
        missing = tuple(one for one in values if exact(one) not in there)
        return missing if len(missing) < len(values) else None


_values_page = page_of("fieldValues", FieldValue)


def _following(earlier: list[FieldValue]) -> Callable[[Any], Page[FieldValue]]:
    """Make the decoder of the page of ``fieldValues`` that follows another.

    One that is the same again comes from a server that takes no notice of ``offset``, whose
    pages would be turned forever.
    """

    def decode(answer: Any) -> Page[FieldValue]:
        page = _values_page(answer)
        if page.items and page.items == earlier:
            raise msgspec.ValidationError("the field's values are those of the page before")
        return page

    return decode
