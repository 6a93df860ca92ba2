"""The account at the other end: connected once a run, its lists and fields read once."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from target_activecampaign.account.sandbox_process import EmbeddedSandbox
from target_activecampaign.client import (
    ActiveCampaignError,
    Client,
    ConnectionFailed,
    RateLimiter,
    ServerError,
    parse_api_url,
)
from target_activecampaign.client.rate_limit.stores import open_store
from target_activecampaign.errors import ListError, SandboxError, SettingError
from target_activecampaign.model.names import did_you_mean, exact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_activecampaign.client import ContactList, Field
    from target_activecampaign.config.settings import Settings


logger = logging.getLogger("target-activecampaign")

QUESTIONS_AT_ONCE = 4
"""Requests that may be out at once to ask about imports."""

_DIGITS = 19
"""No id has as many."""

RETRY_SECONDS = 300.0
"""How long a request is tried again."""


class Account:
    """An account: `open` it, or take the steps of that one by one.

    Args:
        settings: Which one, and how to talk to it.
        only_asks: Whether nothing is sent to it: then no sandbox's file is made either.
        client_class: What talks to it.

    Attributes:
        address: The API address that was understood.
        identity: What tells the account from others: its address, or the sandbox's own id.
        lists: The account's lists.
        fields: The account's custom fields.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        only_asks: bool = False,
        client_class: type[Client] = Client,
    ) -> None:
        self._settings = settings
        self._client_class = client_class
        self._only_asks = only_asks or settings.dry_run
        self._sandbox: EmbeddedSandbox | None = None
        self._budget: RateLimiter | None = None
        self._client: Client | None = None
        self._opening = False
        self.address = self.identity = ""
        self.lists: Sequence[ContactList] = ()
        self.fields: Sequence[Field] = ()

    def open(self) -> None:
        """Connect, see that the key is good, and read lists and fields.

        Raises:
            SettingError: A setting can't be used.
            SandboxError: The embedded sandbox did not start.
            BudgetUnavailable: The shared rate budget can't be reached.
            ActiveCampaignError: The account did not answer, or not to this key.
        """
        settings = self._settings
        try:
            self.start()
            self.connect()
            with self.opening():
                self.client.whoami()
                self.lists = self.client.lists()
                self.fields = self.client.fields()
        except BaseException:
            self.close()
            raise
        name = f"'{settings.connection_name}' at " if settings.connection_name else ""
        kind = f" (embedded sandbox, {settings.sandbox_path})" if self._sandbox else ""
        logger.info(
            "Connected to %s%s%s: %d lists, %d custom fields.",
            name,
            self.address,
            kind,
            len(self.lists),
            len(self.fields),
        )

    def start(self) -> None:
        """Find out where the account is, starting the sandbox, and open the rate budget.

        Raises:
            SettingError, SandboxError, BudgetUnavailable: As of `open`.
        """
        if self._settings.sandbox:
            path = self._settings.sandbox_path
            if self._only_asks and not Path(path).exists():
                path = ":memory:"  # the sandbox would make its file
            self._sandbox = EmbeddedSandbox(path)
            self.address, self.identity = self._sandbox.url, self._sandbox.identity
        else:
            self.address = self.identity = parse_api_url(self._settings.api_url or "")
        self._budget = _budget(self._settings, self.address)

    def connect(self, retry_seconds: float = RETRY_SECONDS) -> None:
        """Make the client; nothing is asked yet.

        Args:
            retry_seconds: How long a request is tried again.

        Raises:
            SettingError: The key can't be one.
            ActiveCampaignError: The environment's certificates or proxy can't be used.
        """
        settings = self._settings
        key = self._sandbox.api_key if self._sandbox else (settings.api_key or "").strip()
        try:
            self._client = self._client_class(
                self.address,
                key,
                budget=self._budget,
                timeout=settings.request_timeout,
                pool_size=settings.max_in_flight + QUESTIONS_AT_ONCE,
                retry_seconds=retry_seconds,
                max_retry_after=min(settings.max_retry_after, max(retry_seconds, 1.0)),
            )
        except ValueError as error:
            raise SettingError(f"The setting 'api_key' can't be used: {error}") from None
        if self._sandbox is not None:
            self._client.permanent_cause = self._is_hopeless

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Ask the first questions inside: what an embedded sandbox fails at now stays so.

        Raises:
            SandboxError: It does not work.
        """
        self._opening = True
        try:
            yield
        except (ServerError, ConnectionFailed) as error:
            if self._sandbox is None:
                raise
            status = f"it answers with status {error.status}" if error.status else "no answer came"
            place = self._settings.sandbox_path
            raise SandboxError(
                f"The embedded sandbox with its data in {place} does not work "
                f"({self._sandbox.why_gone() or status}); more stands above. See that there is "
                "room on the disk and that the file may be written, or name another in "
                "'sandbox_path'."
            ) from None
        finally:
            self._opening = False

    def _is_hopeless(self, error: ActiveCampaignError) -> str | None:
        """Why it makes no sense to ask the embedded sandbox again; None if it may."""
        if self._sandbox is not None and (gone := self._sandbox.why_gone()):
            return gone
        return "it fails" if self._opening and isinstance(error, ServerError) else None

    @property
    def client(self) -> Client:
        """What talks to the account, once it is connected."""
        assert self._client is not None  # noqa: S101 - nobody asks before
        return self._client

    def find_list(self, wanted: int | str, setting: str = "list_id") -> ContactList:
        """The list of an id, an exact name or a string id.

        Args:
            wanted: What the operator calls it.
            setting: Where.

        Raises:
            ListError: There is none, or more than one of that name.
        """
        text = exact(str(wanted))
        number = int(text) if text.isdecimal() and len(text) < _DIGITS else None
        by_id = [one for one in self.lists if one.id == number]
        by_name = [one for one in self.lists if text in (exact(one.name), exact(one.string_id))]
        found = by_id or by_name
        if len(found) == 1:
            return found[0]
        if found:
            ids = " and ".join(str(one.id) for one in found)
            raise ListError(
                f"'{setting}' is '{text}', which the lists {ids} are called: give the id of one."
            )
        names = [name for one in self.lists for name in (one.name, one.string_id)]
        known = ", ".join(f"{one.id} '{one.name}' ({one.string_id})" for one in self.lists)
        hint = did_you_mean(text, names)
        raise ListError(
            f"'{setting}' is '{text}', but the account has no such list.{hint} "
            f"Its lists are: {known or 'none; make one in ActiveCampaign first'}."
        )

    def close(self) -> None:
        """End the connection, and the embedded sandbox with it."""
        if self._client:
            self._client.close()
        elif self._budget:
            self._budget.close()
        if self._sandbox:
            self._sandbox.close()


def _budget(settings: Settings, url: str) -> RateLimiter:
    """The account's limits, for this process alone or shared with others."""
    try:
        store = open_store(settings.rate_budget_url, url) if settings.rate_budget_url else None
    except ValueError as error:
        raise SettingError(f"The setting 'rate_budget_url' can't be used: {error}") from None
    limiter = RateLimiter(
        settings.requests_per_second,
        settings.imports_per_minute,
        settings.single_imports_per_minute,
        store=store,
        lease=max(120.0, 2 * settings.request_timeout),
        max_retry_after=settings.max_retry_after,
    )
    limiter.check()
    return limiter
