"""Destinations of properties, and the placement of a stream's properties at them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from target_activecampaign.mapping.formats import STANDARD, Form, form_of
from target_activecampaign.model.names import caseless, exact
from target_activecampaign.singer.json_schema import Schema, kinds

if TYPE_CHECKING:
    from target_activecampaign.client import Field
    from target_activecampaign.mapping.catalog import FieldCatalog


IGNORE = "ignore"
SUBSCRIPTION = "subscription"
"""The destination of properties that say whether a person may be subscribed."""

DESTINATIONS = (
    "email",
    "first_name",
    "last_name",
    "phone",
    "customer_account",
    "tags",
    SUBSCRIPTION,
    IGNORE,
)
"""The standard destinations: all destinations except custom fields."""

ONE_LINE = ("first_name", "last_name", "phone", "customer_account")
"""The standard destinations that hold one line of text."""

IGNORED_PREFIXES = ("_sdc_", "_reject_")
"""Prefixes of metadata, which describes a record and not a contact. It never maps by name."""


def standard_destination(destination: str, catalog: FieldCatalog) -> str | None:
    """Return which of `DESTINATIONS` a setting names; None if it names a custom field.

    If only the case differs, a custom field of exactly this name has priority.
    """
    text = exact(destination)
    if text in DESTINATIONS:
        return text
    standard = caseless(destination)
    return standard if standard in DESTINATIONS and not catalog.has_exactly(text) else None


@dataclass(frozen=True)
class MappedProperty:
    """A property and its destination.

    Attributes:
        name: The property's name in the mapping.
        destination: One of `DESTINATIONS`, or `field`.
        field: The custom field; None for the other destinations.
        path: The property's place in a record: its name, and names inside of objects.
        schema: Its JSON schema.
    """

    name: str
    destination: str
    field: Field | None = None
    path: tuple[str, ...] = ()
    schema: Schema = None

    def __str__(self) -> str:
        return f"{self.name} -> {self.target}"

    @property
    def target(self) -> str:
        """The destination as settings name it, such as `phone` or `%TIER%`."""
        return self.destination if self.field is None else f"%{self.field.tag}%"

    @property
    def type(self) -> str:
        """A custom field's type; for other destinations `email`, `phone`, `tags` or `text`."""
        if self.field is not None:
            return self.field.type
        return self.destination if self.destination in ("email", "phone", "tags") else "text"

    @property
    def form(self) -> Form | None:
        """The form of its values; None for destinations with their own conversion."""
        if self.field is not None:
            return form_of(self.field.type)
        return STANDARD if self.destination in ONE_LINE else None

    @property
    def options_field(self) -> Field | None:
        """The custom field, if it is one with options."""
        return self.field if self.form is not None and self.form.has_options else None

    @property
    def key(self) -> tuple[str, Field | None]:
        """The destination as a key: no two properties may have the same, unless it is shared."""
        return (self.destination, self.field)

    @property
    def is_shared(self) -> bool:
        """True if several properties may have this destination."""
        return self.destination in ("tags", SUBSCRIPTION, IGNORE)

    def as_dict(self) -> dict[str, str]:
        """Return the destination as the report shows it."""
        title = {} if self.field is None else {"title": self.field.title}
        return {"destination": self.target, **title, "type": self.type}

    def fits(self, on_object: str) -> bool:
        """Return whether the destination can hold any value of the property."""
        if self.destination == "email":
            types = kinds(self.schema)
            return not types or "string" in types
        return self.form is None or self.form.fits(self.schema, on_object)

    def incompatibility(self, on_object: str) -> str:
        """Return why the destination can't hold the property, as a sentence without full stop."""
        types = " or ".join(sorted(kinds(self.schema)))
        if on_object == "refuse" and self.fits("json"):
            return f"property '{self.name}' is of type {types}, and 'on_object' is 'refuse'"
        target = self.target if self.field is None else f"{self.target} (type {self.field.type})"
        return f"property '{self.name}' is of type {types}, which {target} can't hold"


@dataclass(frozen=True)
class ConsentProperties:
    """The properties of a stream that say whether a person may be subscribed.

    Attributes:
        mapped: Those that are known. A property may have a custom field besides.
        by_name: Whether others of records count too, if they have such a name.
        ignored: The names that don't count.
        is_undeclared: Whether the schema lacks all that the settings name. Records may have them.
    """

    mapped: list[MappedProperty]
    by_name: bool = False
    ignored: frozenset[str] = frozenset()
    is_undeclared: bool = False


@dataclass
class Placement:
    """The destinations of a stream's properties.

    Attributes:
        mapped: The properties that have a destination, in the order of the schema.
        unmapped: The properties that neither the settings nor their names map.
        ignored: The properties that the settings ignore.
        warnings: Warnings for the operator, one sentence each.
        undeclared: Properties that the settings map and the schema lacks. Records may have them.
        consent: The properties that say whether a person may be subscribed.
    """

    mapped: list[MappedProperty]
    unmapped: list[str]
    ignored: list[str]
    warnings: list[str]
    undeclared: list[MappedProperty] = field(default_factory=list)
    consent: ConsentProperties = field(default_factory=lambda: ConsentProperties([]))
