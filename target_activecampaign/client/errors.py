"""The errors of the client.

::

    ActiveCampaignError
    ├── RequestRefused              refused by the server: nothing changed
    │   ├── AuthenticationError     AUTHENTICATION       401, 403, a web page     4 attempts
    │   ├── PermissionDenied        PERMISSION_DENIED    403 "Forbidden"          4 attempts
    │   ├── PaymentRequired         PAYMENT_REQUIRED     402                      raised at once
    │   ├── NotFound                NOT_FOUND            404                      raised at once
    │   ├── InvalidRequest          INVALID_REQUEST      400, 422, other 4xx      raised at once
    │   ├── AddressTaken            ADDRESS_TAKEN        422 "duplicate"          raised at once
    │   ├── ImportRefused           IMPORT_REFUSED       400 "failureReasons"     raised at once
    │   ├── Redirected              REDIRECTED           3xx                      raised at once
    │   └── LimitReached            a rate limit: wait and try again
    │       ├── RateLimited         RATE_LIMITED         429                      retried
    │       └── ImportRateLimited   IMPORT_RATE_LIMITED  400 "Rate limit ..."     retried
    ├── OutcomeUnknown              may have taken effect: see `effect_unknown`
    │   ├── ServerError             SERVER_ERROR         5xx                      retried
    │   ├── RequestTimeout          REQUEST_TIMEOUT      no answer in time        retried
    │   ├── MalformedAnswer         MALFORMED_ANSWER     not the expected JSON    5 attempts
    │   └── ConnectionFailed        CONNECTION_FAILED    no or lost connection    retried
    │       └── CertificateRejected CERTIFICATE_REJECTED TLS not trusted          raised at once
    └── ClientClosed                CLIENT_CLOSED        close() while waiting    raised at once

"Retried" errors are raised only after the client has retried for `retry_seconds`, or has made the
given number of attempts. An import could be accepted twice if the answer to its first attempt was
lost: ActiveCampaign has no idempotency key. So `Client.import_contacts` asks its caller if the
import has arrived. Importing the same values again changes nothing in the contact, but may start
its automations again.

``str(error)`` says what happened, where (method and path, never the query) and what to do. It
never holds the key, an answer's text or a value of a contact.
"""

from __future__ import annotations

from typing import Any, ClassVar

from target_activecampaign.errors import TargetError


class ActiveCampaignError(TargetError):
    """A request failed.

    Attributes:
        code: Stable name of the kind of error; empty for kinds that only group others.
        meaning: The event, as one clause.
        advice: The remedy, as one sentence.
        retried: True if the client retries by itself.
        max_attempts: Limit of its attempts; None if only its time is limited.
        effect_unknown: True if the request, or an earlier attempt of the same call, may have
            taken effect all the same.
        where: Method and path of the request, such as ``GET /lists``.
        status: HTTP status of the answer, None without one.
        retry_after: Seconds that the server asked to wait; None if it did not.
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
        """A short name for a log line, such as ``503 server error``."""
        words = self.code.lower().replace("_", " ")
        return f"{self.status} {words}" if self.status else words

    def __str__(self) -> str:
        place = ", ".join(
            part for part in (self.where, f"status {self.status}" if self.status else "") if part
        )
        detail = f": {self._detail}" if self._detail else ""
        return f"{self.meaning}{detail}{f' ({place})' if place else ''}. {self.advice}"


class RequestRefused(ActiveCampaignError):  # noqa: N818 - groups errors
    """The server refused the request; nothing has changed in the account."""


class AuthenticationError(RequestRefused):
    """The key is not accepted: 401, 403, or a web page for logging in.

    The answer to a wrong key is 403 [doc]; a few clients saw a 2xx with a web page [rep].
    tap-activecampaign sometimes saw 403 for a valid key [rep], hence several attempts.
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
    meaning = "ActiveCampaign has blocked the account because of a payment issue"
    advice = "Settle it under Settings > Billing, then run again."


class NotFound(RequestRefused):
    """The resource does not exist: 404 [rec]."""

    code = "NOT_FOUND"
    meaning = "ActiveCampaign does not have the requested resource"
    advice = "Check the address of the API, and that nothing has been deleted."


class InvalidRequest(RequestRefused):
    """The request is invalid: 422 [doc], and every 4xx without a kind of its own.

    Attributes:
        errors: The answer's error objects or texts. They may quote values of a contact, so
            never log them.
    """

    code = "INVALID_REQUEST"
    meaning = "ActiveCampaign refused the request as invalid"
    advice = "Sending it again will not help: correct the value or setting that it was made from."

    def __init__(self, where: str = "", *, errors: list[Any] | None = None, **more: Any) -> None:
        super().__init__(where, **more)
        self.errors = errors or []

    def has_code(self, code: str) -> bool:
        """Return whether one of the error objects has this ``code``."""
        return any(isinstance(one, dict) and one.get("code") == code for one in self.errors)


class AddressTaken(RequestRefused):
    """Another contact already has the address that a contact was to get: 422 "duplicate" [doc]."""

    code = "ADDRESS_TAKEN"
    meaning = "Another contact of the account already has this e-mail address"
    advice = "Merge the two contacts in ActiveCampaign, or correct the address in the source."


class ImportRefused(RequestRefused):
    """A whole import was refused, nothing was queued: 400 with failure reasons [doc].

    Attributes:
        contacts: Position and reason of each contact named. It is not documented if positions
            start at 0 or 1; a third party saw 1 [rep].
        reasons: Reasons that name no contact.
    """

    code = "IMPORT_REFUSED"
    meaning = "ActiveCampaign refused the whole import"
    advice = "Remove or correct the contacts at fault and send the others again."

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
    """The answer is a redirect: 3xx. It is not followed, as the key would be sent along."""

    code = "REDIRECTED"
    meaning = "The API address answered with a redirect, which is not followed to protect the key"
    advice = "Use the API URL shown under Settings > Developer, not the address of the web site."


class LimitReached(RequestRefused):
    """A rate limit of the account is exhausted for now."""

    retried = True


class RateLimited(LimitReached):
    """More than five requests per second by all users of the account: 429 [doc]."""

    code = "RATE_LIMITED"
    meaning = "The account's limit of requests per second stayed exhausted"
    advice = (
        "Run fewer programs on the account at a time, or lower the requests per second of this one."
    )


class ImportRateLimited(LimitReached):
    """More imports per minute than allowed: a 400 that says "Rate limit exceeded." [doc].

    The limit is 100 per minute for imports of several contacts, 20 for those of one [doc].
    """

    code = "IMPORT_RATE_LIMITED"
    meaning = "The account's limit of imports per minute stayed exhausted"
    advice = "Run fewer imports on the account at a time, or lower this one's imports per minute."


class OutcomeUnknown(ActiveCampaignError):  # noqa: N818 - groups errors
    """There is no usable answer: the request may or may not have taken effect."""

    retried = True
    effect_unknown = True


class ServerError(OutcomeUnknown):
    """ActiveCampaign failed: 5xx. 503 was seen in place of 429 at the rate limit [rep]."""

    code = "SERVER_ERROR"
    meaning = "ActiveCampaign kept answering with a server error"
    advice = "Look at status.activecampaign.com and run again later."


class RequestTimeout(OutcomeUnknown):
    """There was a connection, but no whole answer in time."""

    code = "REQUEST_TIMEOUT"
    meaning = "ActiveCampaign did not answer in time"
    advice = "Run again later, or allow each request more time."


class MalformedAnswer(OutcomeUnknown):
    """The answer is not a documented one: empty, cut off, not JSON, or of another shape."""

    code = "MALFORMED_ANSWER"
    meaning = "The answer was not a valid answer of ActiveCampaign's API"
    advice = "Check that the API address is right and that no proxy on the way alters answers."
    max_attempts = 5


class ConnectionFailed(OutcomeUnknown):
    """There is no connection, or it was lost. Without one, `effect_unknown` is False."""

    code = "CONNECTION_FAILED"
    meaning = "There was no connection to ActiveCampaign"
    advice = "Check the API address, the network and the proxy settings."


class CertificateRejected(ConnectionFailed):
    """The server could not prove its identity; nothing was sent to it."""

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
    meaning = "The client was closed before the request was answered"
    advice = "Run again to continue."
