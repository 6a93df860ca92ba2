"""Which property of a stream goes where, by the settings and by its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from target_activecampaign.mapping.formats import STANDARD, Form, fits, form_of
from target_activecampaign.singer.json_schema import Schema, kinds

if TYPE_CHECKING:
    from target_activecampaign.client import Field


IGNORE = "ignore"
DESTINATIONS = ("email", "first_name", "last_name", "phone", "customer_account", "tags", IGNORE)
"""What a property can be mapped to besides a custom field."""

IGNORED_PREFIXES = ("_sdc_", "_reject_")
"""Properties that are about a record, not of the person: never mapped by name."""

ONE_LINE = ("first_name", "last_name", "phone", "customer_account")


@dataclass(frozen=True)
class MappedProperty:
    """One property and where it goes.

    Attributes:
        name: The property as it is named in the mapping.
        destination: One of `DESTINATIONS`, or `field`.
        field: The custom field; None for the other destinations.
        path: Where it stands in a record: its name, and names inside of objects.
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
        """Its destination as people write it, such as `phone` or `%TIER%`."""
        return self.destination if self.field is None else f"%{self.field.tag}%"

    @property
    def type(self) -> str:
        """A custom field's type; of other destinations `email`, `phone`, `tags` or `text`."""
        if self.field is not None:
            return self.field.type
        return self.destination if self.destination in ("email", "phone", "tags") else "text"

    def as_dict(self) -> dict[str, str]:
        """Its destination as the report has it."""
        title = {} if self.field is None else {"title": self.field.title}
        return {"destination": self.target, **title, "type": self.type}

    @property
    def form(self) -> Form | None:
        """The form that its values take; None where they have a way of their own."""
        if self.field is not None:
            return form_of(self.field.type)
        return STANDARD if self.destination in ONE_LINE else None

    @property
    def key(self) -> tuple[str, Field | None]:
        """What no two properties can have in common, tags apart."""
        return (self.destination, self.field)

    def fits(self, on_object: str) -> bool:
        """Whether any of its values can go where it goes."""
        if self.destination == "email":
            types = kinds(self.schema)
            return not types or "string" in types
        return self.form is None or fits(self.form, self.schema, on_object)


@dataclass
class Placement:
    """Where the properties of a stream go.

    Attributes:
        mapped: Those that go somewhere, in the order of the schema.
        unmapped: Those that the settings leave open and that have no place by their names.
        ignored: Those that the settings say to ignore.
        warnings: What the operator should know, one sentence each.
        undeclared: Where properties go that the settings name and the schema lacks, should a
            record have them.
    """

    mapped: list[MappedProperty]
    unmapped: list[str]
    ignored: list[str]
    warnings: list[str]
    undeclared: list[MappedProperty] = field(default_factory=list)
