"""Checks of schemas, and of records against their schema.

jsonschema alone would take longer than all other steps together. So the compiled jsonschema-rs
checks records first. jsonschema then checks those that it finds invalid, and gives the reason.
"""

from __future__ import annotations

import json
from decimal import Context, Decimal, localcontext
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import jsonschema_rs
from jsonschema import Draft202012Validator, SchemaError, ValidationError, validators
from referencing import Registry
from referencing.exceptions import Unresolvable
from singer_sdk.exceptions import InvalidJSONSchema
from singer_sdk.sinks.core import BaseJSONSchemaValidator

if TYPE_CHECKING:
    from jsonschema import TypeChecker

_WIDE = Context(prec=1000)
"""Digits for `multipleOf`: the remainder of 1E+308 by 1E-308 needs 616."""


def _is_whole(_: TypeChecker, value: Any) -> bool:
    """Return whether a number is an integer in JSON schema: 3.0 is one.

    Numbers with a fraction are read as Decimal, which the library does not know.
    """
    if isinstance(value, Decimal):
        return value.is_finite() and value == value.to_integral_value()
    return isinstance(value, int) and not isinstance(value, bool)


_Validator: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,  # the SDK's choice
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_whole),
)


def check_schema(schema: Any, stream: str) -> None:
    """Check that a stream's schema is a JSON schema with properties.

    Raises:
        InvalidJSONSchema: It is not.
    """
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        raise InvalidJSONSchema(
            f"The schema of stream '{stream}' has no properties: fix the tap or its catalog."
        )
    try:
        _Validator.check_schema(schema)
    except SchemaError as error:
        where = ".".join(str(part) for part in error.absolute_path)
        raise InvalidJSONSchema(
            f"The schema of stream '{stream}' is not a JSON schema"
            f"{f' (at {where})' if where else ''}: fix the tap or its catalog."
        ) from None


_PLAIN = ("$ref", "$defs", "$comment")
"""Keywords that begin with $ and name nothing outside of the schema."""
_DIFFERENT = ("pattern", "patternProperties")
"""Keywords with regular expressions, which the two libraries interpret differently."""


def compiled(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator | None:
    """Return the fast validator of a schema; None if it might differ, or fetch another schema."""
    # Like the SDK, read every schema as draft 2020-12, even if it names another.
    plain = {name: rule for name, rule in schema.items() if name != "$schema"}
    if not _is_plain(plain):
        return None
    try:
        return jsonschema_rs.Draft202012Validator(plain, validate_formats=False)
    except (ValueError, TypeError):
        return None


def _is_plain(schema: Any) -> bool:
    if isinstance(schema, list):
        return all(map(_is_plain, schema))
    if not isinstance(schema, dict):
        return True
    if not str(schema.get("$ref", "#")).startswith("#"):
        return False
    strange = [n for n in schema if n in _DIFFERENT or (n.startswith("$") and n not in _PLAIN)]
    return not strange and all(map(_is_plain, schema.values()))


class RecordValidator(BaseJSONSchemaValidator):
    """A validator of JSON schema that says what is wrong without quoting values.

    Args:
        schema: The stream's schema, already checked by `check_schema`.
        stream: Its name, for messages.
    """

    def __init__(self, schema: dict[str, Any], stream: str) -> None:
        super().__init__(schema)
        self._stream = stream
        # An empty registry, so that it never fetches a schema that a $ref names.
        self._validator = _Validator(schema, registry=Registry())
        self.quick = compiled(schema)
        # References start at the root, which would be the list of records.
        for_list = (
            None if '"$ref"' in json.dumps(schema, default=str) else compiled({"items": schema})
        )
        self._quick_for_list = for_list if self.quick is not None else None

    def validate(self, record: dict[str, Any]) -> None:
        """Raise an error for an invalid record, as the SDK's validators do. We call `problem`.

        Raises:
            ValueError: The record is invalid.
        """
        if problem := self.problem(record):
            raise ValueError(problem)

    def problems(self, records: list[dict[str, Any]]) -> list[str | None]:
        """Return the problem of each record. One call finds out if all are valid, as is usual."""
        try:
            if self._quick_for_list is not None and self._quick_for_list.is_valid(records):
                return [None] * len(records)
        except (ValueError, TypeError, RecursionError):
            pass
        return list(map(self.problem, records))

    def problem(self, record: dict[str, Any]) -> str | None:
        """Return a sentence with the rule that a record breaks, and where; None if it is valid.

        Raises:
            InvalidJSONSchema: The schema has a `$ref` that leads nowhere.
        """
        return None if self._is_surely_valid(record) else self._judged(record)

    def _is_surely_valid(self, record: dict[str, Any]) -> bool:
        try:
            return self.quick is not None and self.quick.is_valid(record)
        except (ValueError, TypeError, RecursionError):
            return False

    def _judged(self, record: dict[str, Any]) -> str | None:
        try:
            with localcontext(_WIDE):
                error = next(self._validator.iter_errors(record), None)
        except Unresolvable:
            raise InvalidJSONSchema(
                f"The schema of stream '{self._stream}' has a '$ref' that leads nowhere: fix the "
                "tap or its catalog."
            ) from None
        except RecursionError:
            return "The record, or what the schema refers to, is nested too deeply to be checked."
        except (ArithmeticError, TypeError):
            return "A number can't be checked against the schema: it is not a number, or too long."
        if error is None:
            return None
        return f"'{_place(error)}' breaks the schema's rule '{error.validator}'."


def _place(error: ValidationError) -> str:
    """Return an error's place in a record; keys that no schema names are data, shown as `*`."""
    rules = [*error.absolute_schema_path]
    named = {name for rule, name in pairwise(rules) if rule == "properties"}
    parts = [
        str(part) if isinstance(part, int) or part in named else "*" for part in error.absolute_path
    ]
    return ".".join(parts) or "the record"
