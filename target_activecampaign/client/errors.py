"""What can go wrong between the client and ActiveCampaign.

::

    ActiveCampaignError
    ├── RequestRefused              the answer was no: nothing has changed
    │   ├── AuthenticationError     AUTHENTICATION       401, 403, a web page     4 attempts
    │   ├── PermissionDenied        PERMISSION_DENIED    403 "Forbidden"          4 attempts
    │   ├── PaymentRequired         PAYMENT_REQUIRED     402                      raised at once
    │   ├── NotFound                NOT_FOUND            404                      raised at once
    │   ├── InvalidRequest          INVALID_REQUEST      400, 422, other 4xx      raised at once
    │   ├── ImportRefused           IMPORT_REFUSED       400 "failureReasons"     raised at once
    │   ├── Redirected              REDIRECTED           3xx                      raised at once
    │   └── LimitReached            the account's limits: wait and ask again
    │       ├── RateLimited         RATE_LIMITED         429                      retried
    │       └── ImportRateLimited   IMPORT_RATE_LIMITED  400 "Rate limit ..."     retried
    ├── OutcomeUnknown              it may have taken effect: see `effect_unknown`
    │   ├── ServerError             SERVER_ERROR         5xx                      retried
    │   ├── RequestTimeout          REQUEST_TIMEOUT      no answer in time        retried
    │   ├── MalformedAnswer         MALFORMED_ANSWER     not the expected JSON    5 attempts
    │   └── ConnectionFailed        CONNECTION_FAILED    no or lost connection    retried
    │       └── CertificateRejected CERTIFICATE_REJECTED TLS not trusted          raised at once
    └── ClientClosed                CLIENT_CLOSED        close() while waiting    raised at once

"Retried" errors reach the caller only after the client has tried again for `retry_seconds`;
those with a number of attempts, after so many. A retried import may so be accepted twice if
the answer to the first was lost: ActiveCampaign has no idempotency key, and importing the
same values again changes nothing in the contact (its automations may start again).

``str(error)`` says what happened, where (method and path, never a query) and what to do. It
never holds the key, an answer's text or a value of a contact.
"""

from __future__ import annotations

from typing import Any, ClassVar

from target_activecampaign.errors import TargetError


class ActiveCampaignError(TargetError):
    """Anything that went wrong with a request.

    Attributes:
        code: Stable name of the kind of error; empty for kinds that only group others.
        meaning: What happened, as one clause.
        advice: What to do about it, as one sentence.
        retried: Whether the client tries again by itself.
        max_attempts: How often it tries at most, or None for as long as its time allows.
        effect_unknown: Whether the request may have taken effect all the same. True as well
            when it was an earlier attempt of the same call that may have.
        where: Method and path of the request, such as ``GET /lists``.
        status: HTTP status of the answer, None without one.
        retry_after: Seconds the server asked to wait, None when it did not say.
    """

    code: ClassVar[str] = ""
    meaning: ClassVar[str] = "The request to ActiveCampaign failed"
    advice: ClassVar[str] = "Try again."
    retried: ClassVar[bool] = False
    max_attempts: ClassVar[int | None] = None
    effect_unknown: bool = False

    def __init__(
        self,
        where: str = "",
        *,
        detail: str = "",
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(where)
        self.where = where
        self.status = status
        self.retry_after = retry_after
        self._detail = detail

    @property
    def brief(self) -> str:
        """A few words for a log line, such as ``503 server error``."""
        words = self.code.lower().replace("_", " ")
        return f"{self.status} {words}" if self.status else words

    def __str__(self) -> str:
        place = ", ".join(
            part for part in (self.where, f"status {self.status}" if self.status else "") if part
        )
        detail = f": {self._detail}" if self._detail else ""
        return f"{self.meaning}{detail}{f' ({place})' if place else ''}. {self.advice}"


class RequestRefused(ActiveCampaignError):  # noqa: N818 - groups errors
    """The server answered no; nothing has changed in the account."""


class AuthenticationError(RequestRefused):
    """The key is not accepted: 401, 403, or a web page (a log-in) in place of data.

    A wrong key answers 403 [doc], a few clients saw a 2xx with an HTML page instead [rep].
    tap-activecampaign saw a good key get 403 now and then [rep]: hence more than one attempt.
    """

    code = "AUTHENTICATION"
    meaning = "ActiveCampaign did not accept the API key"
    advice = (
        "Check that URL and key are the pair shown under Settings > Developer of the account, "
        "and that the user who owns the key is still active."
    )
    retried = True
    max_attempts = 4


class PermissionDenied(RequestRefused):
    """The key is known but may not do this: 403 that says "Forbidden" [doc]."""

    code = "PERMISSION_DENIED"
    meaning = "The owner of the API key may not do this in ActiveCampaign"
    advice = (
        "Give the user's group access to contacts and lists (Settings > Users and Groups), and "
        "check that the plan includes the feature."
    )
    retried = True
    max_attempts = 4


class PaymentRequired(RequestRefused):
    """The account is blocked for a payment issue: 402 [doc]."""

    code = "PAYMENT_REQUIRED"
    meaning = "ActiveCampaign holds the account back because of a payment issue"
    advice = "Settle it under Settings > Billing, then run again."


class NotFound(RequestRefused):
    """There is no such thing: 404 [rec]."""

    code = "NOT_FOUND"
    meaning = "ActiveCampaign does not have what was asked for"
    advice = "Check the address of the API, and that the thing has not been deleted."


class InvalidRequest(RequestRefused):
    """The request itself is wrong: 422 [doc], and every 4xx without a kind of its own.

    Attributes:
        errors: The answer's error objects or texts as they came. They may repeat values of
            a contact: not for logs.
    """

    code = "INVALID_REQUEST"
    meaning = "ActiveCampaign refused the request as invalid"
    advice = "Sending it again will not help: correct the value or setting that it was made from."

    def __init__(self, where: str = "", *, errors: list[Any] | None = None, **more: Any) -> None:
        super().__init__(where, **more)
        self.errors = errors or []


class ImportRefused(RequestRefused):
    """An import was refused whole, nothing of it was queued: 400 with failure reasons [doc].

    Attributes:
        contacts: Position and reason of each contact named. The documentation does not say
            whether positions start at 0 or 1; a third party saw 1 [rep].
        reasons: Reasons that name no contact.
    """

    code = "IMPORT_REFUSED"
    meaning = "ActiveCampaign refused the whole import"
    advice = "Leave out or correct the contacts at fault and send the others again."

    def __init__(
        self,
        where: str = "",
        *,
        contacts: list[tuple[int, str]] | None = None,
        reasons: list[str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(where, **more)
        self.contacts = contacts or []
        self.reasons = reasons or []


class Redirected(RequestRefused):
    """The answer points to another address: 3xx. It isn't followed, the key would travel."""

    code = "REDIRECTED"
    meaning = "The API address answered with a redirect, which is not followed to protect the key"
    advice = "Use the API URL shown under Settings > Developer, not the address of the web site."


class LimitReached(RequestRefused):
    """The account's limits are used up for now."""

    retried = True


class RateLimited(LimitReached):
    """More than five requests in a second, all users of the account together: 429 [doc]."""

    code = "RATE_LIMITED"
    meaning = "The account's limit of requests a second stayed used up"
    advice = (
        "Run fewer programs on the account at a time, or lower the requests a second of this one."
    )


class ImportRateLimited(LimitReached):
    """More imports in a minute than allowed: a 400 that says "Rate limit exceeded." [doc].

    The limit is 100 a minute for imports of several contacts, 20 for those of one [doc].
    """

    code = "IMPORT_RATE_LIMITED"
    meaning = "The account's limit of imports a minute stayed used up"
    advice = "Run fewer imports on the account at a time, or lower this one's imports a minute."


class OutcomeUnknown(ActiveCampaignError):  # noqa: N818 - groups errors
    """No usable answer came: the request may or may not have taken effect."""

    retried = True
    effect_unknown = True


class ServerError(OutcomeUnknown):
    """ActiveCampaign failed: 5xx. 503 was seen in place of 429 at the rate limit [rep]."""

    code = "SERVER_ERROR"
    meaning = "ActiveCampaign kept answering with a server error"
    advice = "Look at status.activecampaign.com and run again later."


class RequestTimeout(OutcomeUnknown):
    """The connection stood, but no (whole) answer came in time."""

    code = "REQUEST_TIMEOUT"
    meaning = "ActiveCampaign did not answer in time"
    advice = "Run again later, or allow each request more time."


class MalformedAnswer(OutcomeUnknown):
    """The answer isn't what the API documents: empty, cut off, not JSON, or another shape."""

    code = "MALFORMED_ANSWER"
    meaning = "The answer was not one that ActiveCampaign's API gives"
    advice = "Check that the API address is right and that no proxy on the way alters answers."
    max_attempts = 5


class ConnectionFailed(OutcomeUnknown):
    """No connection, or it was lost. `effect_unknown` is False if it never stood."""

    code = "CONNECTION_FAILED"
    meaning = "There was no connection to ActiveCampaign"
    advice = "Check the API address, the network and the proxy settings."


class CertificateRejected(ConnectionFailed):
    """The server could not prove who it is; nothing was sent to it."""

    code = "CERTIFICATE_REJECTED"
    meaning = "The server's certificate is not trusted"
    advice = (
        "Check the API address; if a proxy of your company re-signs traffic, name its "
        "certificates in REQUESTS_CA_BUNDLE."
    )
    retried = False
    effect_unknown = False


class ClientClosed(ActiveCampaignError):  # noqa: N818 - nothing is at fault
    """The client was closed before or while the call waited for its turn."""

    code = "CLIENT_CLOSED"
    meaning = "The client was closed before the request was settled"
    advice = "Run again to go on."
