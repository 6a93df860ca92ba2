"""Classification of answers by status and body; their content type is ignored.

ActiveCampaign answers an accepted import with ``text/html`` [rec], reports the rate limit of
imports with a 400 [doc], and may answer a wrong key with a 200 and a web page [rep].
"""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from datetime import timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from target_activecampaign.client import errors
from target_activecampaign.client.decoding import (
    as_list,
    as_object,
    digits,
    lower_keys,
    whole_number,
)
from target_activecampaign.client.models import AcceptedImport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_OK = range(200, 300)
_REDIRECT = range(300, 400)
_SERVER_ERROR = range(500, 600)
_PLAIN_KINDS: dict[int, type[errors.ActiveCampaignError]] = {
    HTTPStatus.UNAUTHORIZED: errors.AuthenticationError,
    HTTPStatus.PAYMENT_REQUIRED: errors.PaymentRequired,
    HTTPStatus.FORBIDDEN: errors.AuthenticationError,
    HTTPStatus.NOT_FOUND: errors.NotFound,
    HTTPStatus.REQUEST_TIMEOUT: errors.RequestTimeout,
}
_FORBIDDEN = ("Forbidden", "You don't have permission to access this resource")
_MAX_BATCH_ID_LENGTH = 200
_LARGEST_FIGURE = 10**9
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_YEARS_2000_TO_2099 = (946_684_800.0, 4_102_444_800.0)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Answer(NamedTuple):
    """The answer to a request. Header names match in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def read(where: str, answer: Answer, decode: Callable[[Any], T]) -> T:
    """Decode an answer.

    Args:
        where: Method and path, for the errors.
        answer: The answer.
        decode: Converts the parsed JSON, or None for a 204. It may raise
            `msgspec.ValidationError`, or the `ActiveCampaignError` that the answer stands for.

    Raises:
        ActiveCampaignError: The answer is a refusal, a failure, or not one of the API's.
    """
    status, body = answer.status, answer.body
    if status not in _OK:
        raise error_for(where, answer)
    if _is_web_page(body):
        raise errors.AuthenticationError(where, status=status, detail="it answered a web page")
    try:
        return decode(None if status == HTTPStatus.NO_CONTENT else parse_json(body))
    except msgspec.ValidationError as error:
        detail = str(error)
    except ValueError:
        detail = "it was not JSON" if body.strip() else "it was empty"
    raise errors.MalformedAnswer(where, status=status, detail=detail)


def error_for(where: str, answer: Answer) -> errors.ActiveCampaignError:
    """Return the error for an answer whose status is not 2xx."""
    status = answer.status
    retry_after = seconds_to_wait(answer.headers)
    try:
        values = lower_keys(as_object(parse_json(answer.body)))
    except ValueError:
        values = {}

    if not _OK.start <= status < _SERVER_ERROR.stop:
        return errors.MalformedAnswer(where, status=status, detail="its status is not a final one")
    if status in _REDIRECT:
        return errors.Redirected(where, status=status)
    if status in _SERVER_ERROR:
        return errors.ServerError(where, status=status, retry_after=retry_after)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return errors.RateLimited(where, status=status, retry_after=retry_after)
    if status == HTTPStatus.FORBIDDEN and _says_forbidden(values):
        return errors.PermissionDenied(where, status=status)
    if status in _PLAIN_KINDS:
        return _PLAIN_KINDS[status](where, status=status)
    if _is_import_error(values):
        return _import_error(where, status, values, retry_after)
    return _invalid(where, status, values)


def accepted(where: str, count: int) -> Callable[[Any], AcceptedImport]:
    """Return the decoder of the answer to an import of `count` contacts.

    An import is accepted if the answer has a batch id: ``Success`` is 1 in the recording, but
    the number of contacts in a documented example.
    """

    def decode(answer: Any) -> AcceptedImport:
        values = lower_keys(as_object(answer))
        batch_id = _batch_id(values.get("batchid"))
        success = values.get("success")
        failed = success is False or whole_number(success) == 0
        if batch_id is None:
            if _is_import_error(values) or (failed and not values.get("batchid")):
                raise _import_error(where, None, values, None)
            raise msgspec.ValidationError("it has no `batchId`")
        queued, problem = _queued(values.get("queued_contacts"), count)
        contradictions = [problem] if problem else []
        if (failed and queued) or values.get("failurereasons"):
            queued = None  # the answer says both that the import was queued and that it was not
            contradictions.append("has a batchId and says that the import failed")
        return AcceptedImport(batch_id, queued, tuple(contradictions))

    return decode


def _batch_id(value: Any) -> str | None:
    """Return a value as a batch id; None if it can't be one."""
    value = digits(value)
    text = value.strip() if isinstance(value, str) else ""
    return text if 0 < len(text) <= _MAX_BATCH_ID_LENGTH and text.isprintable() else None


def _queued(value: Any, count: int) -> tuple[int | None, str]:
    """Return the number of queued contacts; None and the contradiction if it is not certain."""
    queued = whole_number(value)
    if value is None:
        return None, "has no queued_contacts"
    if queued is None:
        return None, "has queued_contacts that are not a whole number"
    if 0 <= queued <= count:
        return queued, ""
    figure = f"{queued:,}"
    if abs(queued) >= _LARGEST_FIGURE:
        figure = "far too many" if queued > 0 else "far below 0"
    return None, f"says that {figure} of {count} contacts were queued"


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After``, which holds seconds or a date.

    A date is compared with the answer's own ``Date`` if there is one, so that a wrong clock on
    either side does not matter.

    Returns:
        Seconds, at least 0, perhaps infinite; the longest of several. None without the header,
        or if it is neither a positive number nor a date.
    """
    text = headers.get("Retry-After", "").strip()
    numbers = [float(part) for part in map(str.strip, text.split(",")) if _SECONDS.fullmatch(part)]
    if numbers:
        return max(numbers)
    until = _timestamp(text)
    if until is None:
        return None
    now = date_of(headers)
    return max(0.0, until - (time.time() if now is None else now))


def date_of(headers: Mapping[str, str]) -> float | None:
    """Return ``Date`` in seconds since the epoch; None without the header, or an invalid one.

    A year before 2000 or after 2099 is invalid: no database holds the seconds of every year.
    """
    moment = _timestamp(headers.get("Date", ""))
    earliest, latest = _YEARS_2000_TO_2099
    return None if moment is None or not earliest <= moment < latest else moment


def _timestamp(text: str) -> float | None:
    # Depending on the text and on Python's version, the parser raises any of these.
    with suppress(ValueError, OverflowError, TypeError, IndexError, AttributeError):
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    return None


def _import_error(
    where: str, status: int | None, values: dict[str, Any], retry_after: float | None
) -> errors.ActiveCampaignError:
    """Return the error for an import that was refused, for the limit or for its contacts.

    ``failureReasons`` holds objects with a contact's position, or texts [doc].
    """
    if _says_rate_limit(values):
        return errors.ImportRateLimited(where, status=status, retry_after=retry_after)
    contacts: list[tuple[int, str]] = []
    reasons: list[str] = []
    for item in _failure_reasons(values):
        position = whole_number(item.get("contact")) if isinstance(item, dict) else None
        if position is not None:
            contacts.append((position, str(item.get("failureReason", ""))))
        else:
            reasons.append(item if isinstance(item, str) else msgspec.json.encode(item).decode())
    named = f"{len(contacts)} {'contact' if len(contacts) == 1 else 'contacts'} named as at fault"
    return errors.ImportRefused(
        where,
        status=status,
        detail=named if contacts else "the reason names no contact",
        contacts=contacts,
        reasons=reasons,
    )


def _is_import_error(values: dict[str, Any]) -> bool:
    return "failurereasons" in values or _says_rate_limit(values)


def _failure_reasons(values: dict[str, Any]) -> list[Any]:
    reasons = as_list(values.get("failurereasons"))
    if isinstance(reasons, list):
        return reasons
    return [reasons] if reasons else []


def _says_rate_limit(values: dict[str, Any]) -> bool:
    """Return whether the message or a reason is about the limit of imports per minute.

    The text for imports of a single contact is not documented, so either place may hold it.
    """
    return any(
        "rate limit exceeded" in text.lower() or "imports may be requested per" in text.lower()
        for text in (values.get("message"), *_failure_reasons(values))
        if isinstance(text, str)
    )


def _invalid(where: str, status: int, answer: dict[str, Any]) -> errors.InvalidRequest:
    """Return the error with the answer's error objects; its text has only their code words."""
    found = answer.get("errors")
    items = found if isinstance(found, list) else [found] if found else []
    codes = sorted({code for item in items if (code := _code_word(item))})
    return errors.InvalidRequest(where, status=status, detail=", ".join(codes), errors=items)


def _code_word(item: Any) -> str:
    code = item.get("code") if isinstance(item, dict) else None
    return code if isinstance(code, str) and code.isidentifier() and code.isascii() else ""


def _says_forbidden(answer: dict[str, Any]) -> bool:
    """Return whether a 403 is about a permission: one of two texts, or a list of errors [doc]."""
    return answer.get("message") in _FORBIDDEN or bool(answer.get("errors"))


def _is_web_page(body: bytes) -> bool:
    return body.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1] == b"<"


def parse_json(body: bytes) -> Any:
    """Parse JSON; raise ValueError for anything else."""
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        if b"\\ud" in body.lower():
            # A name that was cut may end in half a surrogate pair, which msgspec refuses.
            body = json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace")
        return msgspec.json.decode(body)
    except RecursionError:
        raise ValueError("nested too deep") from None
