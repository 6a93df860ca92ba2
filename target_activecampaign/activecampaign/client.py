"""The client: asks, waits its turn, tries again, and answers in models.

Every call goes through `Client._call`. It waits on an event rather than with ``backoff``'s
decorators, whose ``time.sleep`` `Client.close` could not wake; the pauses are backoff's.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from urllib3.exceptions import HTTPError

from target_activecampaign.activecampaign import answers, connection, errors
from target_activecampaign.activecampaign.address import parse_api_url
from target_activecampaign.activecampaign.budget import Budget, BudgetClosed
from target_activecampaign.activecampaign.models import (
    Accepted,
    Contact,
    ContactList,
    Field,
    ImportStatus,
    Membership,
    Page,
    User,
    fields_page,
    page_of,
)
from target_activecampaign.activecampaign.retries import Attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from target_activecampaign.activecampaign.budget import Kind, RateBudget

T = TypeVar("T")

logger = logging.getLogger("target_activecampaign.activecampaign")

PAGE_SIZE = 100
"""Items a page, the most there may be; without asking it is 20 [doc]."""

_FIRST_CONTACT_SECONDS = 30.0
"""How long a connection is tried for while none ever stood: a wrong address shows soon."""

_JSON = {"Content-Type": "application/json"}


class Client:
    """A connection to one ActiveCampaign account, for use by any number of threads.

    Args:
        base_url: The account's API address, in any form that `parse_api_url` takes.
        api_key: The key, sent as ``Api-Token`` and shown nowhere.
        budget: The account's limits; ActiveCampaign's own by default. The client closes it
            with itself.
        timeout: Seconds to connect, and seconds of silence until an answer is given up.
        retry_seconds: How long one call is tried again, from its first request on. Time
            spent waiting for the account's limits after a refusal is part of it.
        pool_size: Connections kept open: as many as threads use the client at once.
        user_agent: Value of the header ``User-Agent``.

    Raises:
        ValueError: The address or the key can't be right; the message does not repeat them.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        budget: RateBudget | None = None,
        timeout: float = 30.0,
        retry_seconds: float = 300.0,
        pool_size: int = 8,
        user_agent: str | None = None,
    ) -> None:
        self.base_url = parse_api_url(base_url)
        self._session = connection.open_session(
            self.base_url, api_key, pool_size=pool_size, user_agent=user_agent
        )
        self._budget: RateBudget = Budget() if budget is None else budget
        self._timeout = timeout
        self._retry_seconds = retry_seconds
        self._closed = threading.Event()
        self._connected = False
        self._count_lock = threading.Lock()
        self._request_count = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def request_count(self) -> int:
        """HTTP requests sent so far, repeated ones included."""
        return self._request_count

    def close(self) -> None:
        """Send nothing more: calls that wait raise `ClientClosed`, those under way end."""
        self._closed.set()
        self._budget.close()
        self._session.close()

    def whoami(self) -> User:
        """Tell whose key this is: the cheapest proof that address and key fit."""
        return self._call("GET", "/users/me", User.from_answer)

    def lists(self) -> list[ContactList]:
        """Return all lists of the account."""
        return self._all_pages("/lists", page_of("lists", ContactList.from_item))

    def fields(self) -> list[Field]:
        """Return all custom fields of contacts, each with its options."""
        return self._all_pages("/fields", fields_page)

    def import_contacts(self, body: bytes, count: int) -> Accepted:
        """Put an import of contacts into ActiveCampaign's queue.

        Args:
            body: JSON ``{"contacts": [...]}`` of at most 399,999 bytes [doc].
            count: Contacts in it, 1 to 250 [doc]; imports of one have a limit of their own.

        Returns:
            The id to ask for the import's status with. Nothing is imported yet.

        Raises:
            ImportRefused: At least one contact is at fault; nothing was queued.
        """
        path = "/import/bulk_import"
        return self._call(
            "POST",
            path,
            answers.accepted(f"POST {path}", count),
            kind="single_import" if count == 1 else "import",
            body=body,
        )

    def import_status(self, batch_id: str) -> ImportStatus:
        """Tell how far an import is.

        What the API answers for an id that it doesn't know is not documented.
        """
        return self._call(
            "GET", "/import/info", ImportStatus.from_answer, query={"batchId": batch_id}
        )

    def find_contact(self, email: str) -> Contact | None:
        """Return the contact with this e-mail address, None if there is none.

        The address is compared without case. The answer's is checked, since the filter was
        once seen not to be applied [rep].
        """
        wanted = email.strip().casefold()
        page = self._call(
            "GET", "/contacts", page_of("contacts", Contact.from_item), query={"email": email}
        )
        matches = (one for one in page.items if one.email.strip().casefold() == wanted)
        return next(matches, None)

    def memberships(self, contact_id: int) -> list[Membership]:
        """Return the contact's place on each list it is or was on."""
        return self._all_pages(
            f"/contacts/{contact_id}/contactLists",
            page_of("contactLists", Membership.from_item),
        )

    def _all_pages(self, path: str, decode: Callable[[Any], Page[T]]) -> list[T]:
        """Turn pages until all items are there, or a page brings nothing new."""
        found: dict[T, None] = {}  # in order, and none twice if items move while we read
        offset = 0
        while True:
            page = self._call("GET", path, decode, query={"limit": PAGE_SIZE, "offset": offset})
            known = len(found)
            found.update(dict.fromkeys(page.items))
            offset += len(page.items)
            last = len(page.items) < PAGE_SIZE if page.total is None else offset >= page.total
            if last or len(found) == known:
                return list(found)

    def _call(
        self,
        method: str,
        path: str,
        decode: Callable[[Any], T],
        *,
        kind: Kind = "request",
        query: dict[str, str | int] | None = None,
        body: bytes | None = None,
    ) -> T:
        """Ask until there is an answer, an error that repeating can't mend, or no time left."""
        where = f"{method} {path}"
        attempts = Attempts(kind, self._budget)
        pause = 0.0
        while True:
            try:
                with self._turn(where, kind, pause):
                    attempts.begin()
                    answer = self._exchange(where, query, body)
                return answers.read(where, answer, decode)
            except errors.ActiveCampaignError as error:
                next_pause = attempts.pause_after(error, self._patience(error))
                if next_pause is None:
                    raise
                pause, brief = next_pause, error.brief
            logger.warning(
                "%s: %s, trying again in %.1f s (attempt %d)",
                where,
                brief,
                pause,
                attempts.number + 1,
            )

    @contextmanager
    def _turn(self, where: str, kind: Kind, pause: float) -> Iterator[None]:
        """Wait for the pause and then for a slot, unless the client is closed meanwhile."""
        if self._closed.wait(pause):
            raise errors.ClientClosed(where)
        try:
            with self._budget.slot(kind):
                yield
        except BudgetClosed:
            raise errors.ClientClosed(where) from None

    def _patience(self, error: errors.ActiveCampaignError) -> float:
        """Seconds a call may take in all, should it end in this error."""
        if self._connected or not isinstance(error, errors.ConnectionFailed):
            return self._retry_seconds
        return min(self._retry_seconds, _FIRST_CONTACT_SECONDS)

    def _exchange(
        self, where: str, query: dict[str, str | int] | None, body: bytes | None
    ) -> answers.Answer:
        """Send one request and read its whole answer.

        Raises:
            OutcomeUnknown: There is no whole answer. The error is raised outside of the
                handler and has no cause: the cause's text and request hold URL and key.
        """
        method, path = where.split(" ", 1)
        with self._count_lock:
            self._request_count += 1
        try:
            response = self._session.request(
                method,
                f"{self.base_url}/api/3{path}",
                params=query,
                data=body,
                headers=_JSON if body is not None else None,
                timeout=self._timeout,
                allow_redirects=False,
            )
        except (OSError, HTTPError) as error:
            failure = connection.failure_of(where, error, self._timeout)
        else:
            self._connected = True
            self._budget.learn(response.headers)
            return answers.Answer(response.status_code, response.headers, response.content)
        raise failure
