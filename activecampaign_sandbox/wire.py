"""The wire format: calls, answers, and the documented errors."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from activecampaign_sandbox.shapes import Style

JSON = "application/json"
# The content type that the import endpoints give to JSON [rec for POST /import/bulk_import].
HTML = "text/html; charset=UTF-8"

_LARGEST_ID = 10**15
_LARGEST_DIGITS = 16


@dataclass
class Call:
    """One request to the API.

    Attributes:
        method: GET, POST, ...
        path: The path without the query.
        query_string: The query, percent-encoded.
        params: The parameters in the path.
        body: The body's bytes.
        style: The way in which the answer is written.
        contacts: The number of an import's contacts, for the log.
        batch: The batchId of an import, for the log.
    """

    method: str
    path: str
    query_string: str
    params: dict[str, Any]
    body: bytes
    style: Style
    contacts: int | None = None
    batch: str | None = None

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The names and values of the query, in order."""
        return parse_qsl(self.query_string, keep_blank_values=True)

    def arg(self, name: str) -> str | None:
        """Return the last value of a query parameter; None if it is missing or empty."""
        values = [value for key, value in self.query if key == name]
        return values[-1] if values and values[-1] else None

    def number(self, name: str, default: int) -> int:
        """Return a query parameter as a number that SQLite can store; the default if it is none."""
        value = self.arg(name) or ""
        digits = value.removeprefix("-")
        if not digits.isdecimal():
            return default
        number = whole_number(digits)
        return number if digits == value else -number

    def has(self, name: str) -> bool:
        """Return whether the query has a parameter, even an empty one."""
        return any(key == name for key, _ in self.query)

    def filter_text(self, name: str) -> str | None:
        """Return the value of a filter; None if it is missing.

        Raises:
            ApiError: It is empty: then it would select everything.
        """
        value = self.arg(name)
        if value is None and self.has(name):
            refuse_query(name, "it has no value.")
        return value

    def filter_number(self, name: str) -> int | None:
        """Return the value of a filter that is a number; None if it is missing.

        Raises:
            ApiError: It is none.
        """
        value = self.filter_text(name)
        if value is None:
            return None
        digits = value.removeprefix("-")
        if not (digits.isdecimal() and digits.isascii()):
            refuse_query(name, "its value is no number.")
        number = whole_number(digits)
        return number if digits == value else -number

    def filter_ids(self, *names: str) -> list[int]:
        """Return the ids in the values of filters, which may be joined by commas.

        Raises:
            ApiError: There is none, or something that is no id.
        """
        values = [value for key, value in self.query if key in names]
        ids = {one.strip() for value in values for one in value.split(",")} - {""}
        if not ids or not all(one.isdecimal() and one.isascii() for one in ids):
            refuse_query(names[0], "its value is no id.")
        return sorted({whole_number(one) for one in ids})

    @property
    def id(self) -> int:
        """The number in the path, at most what SQLite can store."""
        number: int = self.params["id"]
        return number

    def document(self) -> dict[str, Any]:
        """Return the object that is the request's JSON; an empty one for any other JSON.

        Raises:
            ApiError: The body isn't JSON (400).
        """
        try:
            document = parse(self.body)
        except ValueError:
            fail(400, errors=[{"status": 400, "title": "Bad Request", "detail": "Invalid JSON"}])
        return document if isinstance(document, dict) else {}

    def item(self, key: str) -> dict[str, Any]:
        """Return the object under a key of the request's JSON.

        Raises:
            ApiError: The body isn't JSON (400), or has no such object (422).
        """
        value = self.document().get(key)
        if not isinstance(value, dict):
            invalid(f"The request holds no {key}.", f"/{key}")
        return value


@dataclass
class Answer:
    """An answer; `body` is bytes, or an object that is sent as JSON."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = JSON
    refusal: str | None = None

    def encoded(self) -> bytes:
        """Return the body as it is sent."""
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, separators=(",", ":")).encode()


class ApiError(Exception):
    """An answer that ends a handler early."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def parse(body: bytes) -> Any:
    """Return the JSON of a body.

    Raises:
        ValueError: It is not JSON. Lone surrogates, NaN and too many levels are refused, as by PHP.
    """
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
        if b"\\ud" in body.lower():
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def whole_number(digits: str) -> int:
    """Return a number of any length, at most what SQLite can store."""
    return int(digits) if len(digits) < _LARGEST_DIGITS else _LARGEST_ID


def fail(status: int, **body: Any) -> NoReturn:
    """End the request with this status and JSON body."""
    raise ApiError(Answer(status, body, refusal=f"status_{status}"))


def refuse_query(name: str, reason: str, status: int = 400) -> NoReturn:
    """End the request with the sandbox's own refusal of a query parameter."""
    message = f"The sandbox refuses the query parameter '{name}': {reason}"
    raise ApiError(Answer(status, {"message": message}, refusal="query"))


def not_found(model: str, number: Any) -> NoReturn:
    """End the request with 404: ``No Result found for <Model> with id N`` [rec]."""
    fail(404, message=f"No Result found for {model} with id {number}")


def invalid(title: str, pointer: str, code: str = "", detail: str = "") -> NoReturn:
    """End the request with 422, in the documented form."""
    error: dict[str, Any] = {"title": title, "detail": detail}
    if code:
        error["code"] = code
    fail(422, errors=[{**error, "source": {"pointer": pointer}}])


def text(item: dict[str, Any], key: str, default: str = "") -> str:
    """Return a value of a request as text: numbers and booleans as PHP writes them."""
    value = item.get(key)
    if value is None:
        return default
    if isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, (dict, list)):
        invalid(f"The value of {key} is not valid.", f"/data/attributes/{key}")
    return str(value)


def reference(value: Any) -> int | None:
    """Return an id in a request, given as a number or as digits; None for anything else."""
    if isinstance(value, str) and value.isdecimal() and len(value) < _LARGEST_DIGITS:
        return int(value)
    # `type` and not `isinstance`: true is no id.
    return value if type(value) is int and 0 <= value < _LARGEST_ID else None
