"""Reading answers: what a status and a body mean, whatever the content type says.

ActiveCampaign answers an accepted import as ``text/html`` [rec], the import's rate limit as a
400 [doc], and a bad key perhaps as a 200 with a web page [rep]; so only the body tells.
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
from target_activecampaign.client.decoding import as_object, lower_keys, whole_number
from target_activecampaign.client.models import Accepted

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
_LONGEST_BATCH_ID = 200
_LARGEST_FIGURE = 10**9
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_PLAUSIBLE = (946_684_800.0, 4_102_444_800.0)
"""The years 2000 to 2099: a time beyond is a fault, and no database has room for its seconds."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Answer(NamedTuple):
    """What came back over HTTP; header names are looked up as the specifications spell them."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def read(where: str, answer: Answer, decode: Callable[[Any], T]) -> T:
    """Make a model of an answer.

    Args:
        where: Method and path, for the errors.
        answer: The answer.
        decode: Makes the model from the parsed JSON; raises `ShapeError` if it can't, or the
            `ActiveCampaignError` that the answer turns out to be.

    Raises:
        ActiveCampaignError: The answer is a refusal, a failure, or none that the API gives.
    """
    status, body = answer.status, answer.body
    if status not in _OK:
        raise failure(where, answer)
    if _is_page(body):
        raise errors.AuthenticationError(where, status=status, detail="it answered a web page")
    try:
        return decode(None if status == HTTPStatus.NO_CONTENT else _json(body))
    except msgspec.ValidationError as error:
        detail = str(error)
    except ValueError:
        detail = "it was not JSON" if body.strip() else "it was empty"
    raise errors.MalformedAnswer(where, status=status, detail=detail)


def failure(where: str, answer: Answer) -> errors.ActiveCampaignError:
    """Say which error an answer with another status than 2xx is."""
    status = answer.status
    retry_after = seconds_to_wait(answer.headers)
    try:
        values = lower_keys(as_object(_json(answer.body)))
    except ValueError:
        values = {}

    if not _OK.start <= status < _SERVER_ERROR.stop:
        # 100 to 199 are no answers, and 600 and above are none of HTTP's.
        return errors.MalformedAnswer(where, status=status, detail="its status is none of HTTP's")
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
    if _is_about_imports(values):
        return _import_failure(where, status, values, retry_after)
    return _invalid(where, status, values)


def accepted(where: str, count: int) -> Callable[[Any], Accepted]:
    """Make the decoder of the answer to an import of `count` contacts.

    An import counts as accepted if the answer has a batch id: ``Success`` is 1 in the
    recording, but the number of contacts in a documented example.
    """

    def decode(answer: Any) -> Accepted:
        values = lower_keys(as_object(answer))
        batch_id = _batch_id(values.get("batchid"))
        success = values.get("success")
        failed = success is False or whole_number(success) == 0
        if batch_id is None:
            if _is_about_imports(values) or (failed and not values.get("batchid")):
                raise _import_failure(where, None, values, None)
            raise msgspec.ValidationError("no batchId")
        queued, doubts = _queued(values, count)
        if (failed and queued) or values.get("failurereasons"):
            # It says both that the import was queued and that it was not.
            queued = None
            doubts = (*doubts, "has a batchId and says that the import failed")
        return Accepted(batch_id, queued, doubts)

    return decode


def _batch_id(value: Any) -> str | None:
    """Return the batch id that a value is; None if it can't be one."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    text = str(value).strip()
    return text if 0 < len(text) <= _LONGEST_BATCH_ID and text.isprintable() else None


def _queued(values: dict[str, Any], count: int) -> tuple[int | None, tuple[str, ...]]:
    """Return how many contacts were queued, None unless that is certain, and what is odd in it."""
    given = values.get("queued_contacts")
    queued = whole_number(given)
    if given is None:
        return None, ("has no queued_contacts",)
    if queued is None:
        return None, ("has queued_contacts that are no whole number",)
    if not 0 <= queued <= count:
        return None, (f"says that {_figure(queued)} of {count} contacts were queued",)
    return queued, ()


def _figure(number: int) -> str:
    """Return a number for a log line, however long it is."""
    if abs(number) < _LARGEST_FIGURE:
        return f"{number:,}"
    return "far too many" if number > 0 else "far below 0"


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After``, which gives seconds or a date.

    A date is compared with the answer's own ``Date`` if it has one, so that a wrong clock on
    either side does not matter.

    Returns:
        Seconds, at least 0; infinitely many for more digits than a number has. None without the
        header, or if it can't be read: negative, no number, no date. Of several the longest.
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
    """Read ``Date`` in seconds since the epoch; None without the header, or an unreadable one.

    A date before 2000 or after 2099 is taken for an unreadable one.
    """
    moment = _timestamp(headers.get("Date", ""))
    earliest, latest = _PLAUSIBLE
    return None if moment is None or not earliest <= moment < latest else moment


def _timestamp(text: str) -> float | None:
    # Depending on the text and on Python's version, the parser raises any of these.
    with suppress(ValueError, OverflowError, TypeError, IndexError, AttributeError):
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    return None


def _import_failure(
    where: str, status: int | None, values: dict[str, Any], retry_after: float | None
) -> errors.ActiveCampaignError:
    """Tell an import refused for the limit from one refused for its contacts.

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


def _is_about_imports(values: dict[str, Any]) -> bool:
    return "failurereasons" in values or _says_rate_limit(values)


def _failure_reasons(values: dict[str, Any]) -> list[Any]:
    reasons = values.get("failurereasons")
    if isinstance(reasons, dict):
        return list(reasons.values())  # PHP writes an array with gaps that way
    if isinstance(reasons, list):
        return reasons
    return [reasons] if reasons else []


def _says_rate_limit(values: dict[str, Any]) -> bool:
    """Whether a 400 is about imports a minute, by its message or a reason.

    The text for imports of a single contact is not documented: both places are looked at.
    """
    return any(
        "rate limit exceeded" in text.lower() or "imports may be requested per" in text.lower()
        for text in (values.get("message"), *_failure_reasons(values))
        if isinstance(text, str)
    )


def _invalid(where: str, status: int, answer: dict[str, Any]) -> errors.InvalidRequest:
    """Keep the error objects, but put only their code words into the text."""
    found = answer.get("errors")
    items = found if isinstance(found, list) else [found] if found else []
    codes = sorted({code for item in items if (code := _code_word(item))})
    return errors.InvalidRequest(where, status=status, detail=", ".join(codes), errors=items)


def _code_word(item: Any) -> str:
    code = item.get("code") if isinstance(item, dict) else None
    return code if isinstance(code, str) and code.isidentifier() and code.isascii() else ""


def _says_forbidden(answer: dict[str, Any]) -> bool:
    """Whether a 403 is about a permission: ``{"message": "Forbidden"}``, or errors [doc]."""
    return answer.get("message") == "Forbidden" or bool(answer.get("errors"))


def _is_page(body: bytes) -> bool:
    return body.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1] == b"<"


def _json(body: bytes) -> Any:
    """Parse JSON; anything that isn't raises ValueError."""
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        if b"\\ud" in body.lower():
            # A name that was cut through may end in half a surrogate pair, which is no text.
            body = json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace")
        return msgspec.json.decode(body)
    except RecursionError:
        raise ValueError("nested too deep") from None
