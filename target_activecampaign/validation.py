"""Whether records fit the schema that their stream announced."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from jsonschema import validators
from singer_sdk.exceptions import InvalidJSONSchema
from singer_sdk.sinks.core import JSONSchemaValidator

if TYPE_CHECKING:
    from jsonschema import TypeChecker


class RecordValidator(JSONSchemaValidator):
    """The SDK's validator, which says what is wrong without quoting values.

    Args:
        schema: The stream's schema.
        stream: Its name, for messages.

    Raises:
        InvalidJSONSchema: It is not a JSON schema.
    """

    def __init__(self, schema: dict[str, Any], stream: str) -> None:
        try:
            super().__init__(schema)
        except InvalidJSONSchema as error:
            cause = error.__cause__
            where = ".".join(str(part) for part in getattr(cause, "absolute_path", ()))
            raise InvalidJSONSchema(
                f"The schema of stream '{stream}' is not a JSON schema"
                f"{f' (at {where})' if where else ''}: mend the tap or its catalog."
            ) from None
        known = type(self.validator)
        types = known.TYPE_CHECKER.redefine("integer", _is_whole)
        with_decimals = validators.extend(known, type_checker=types)  # type: ignore[no-untyped-call]
        self.validator = with_decimals(schema, format_checker=self.validator.format_checker)

    def problem(self, record: dict[str, Any]) -> str | None:
        """Which rule a record breaks, and where, in a sentence; None if it breaks none."""
        try:
            error = next(self.validator.iter_errors(record), None)
        except ArithmeticError:
            return "A number is too long to be held against the schema's rules."
        if error is None:
            return None
        where = ".".join(str(part) for part in error.absolute_path) or "the record"
        return f"'{where}' breaks the schema's rule '{error.validator}'."


def _is_whole(_: TypeChecker, value: Any) -> bool:
    """Whether a number is an integer as JSON schema means it: 3.0 is one.

    Numbers with a fraction are read as Decimal, of which the library knows nothing.
    """
    if isinstance(value, Decimal):
        return value.is_finite() and value == value.to_integral_value()
    return isinstance(value, int) and not isinstance(value, bool)
