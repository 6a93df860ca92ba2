"""The ActiveCampaign account of a run, or the embedded sandbox in its place."""

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
    ContactList,
    PermissionDenied,
    RateLimiter,
    RequestRefused,
    ServerError,
    parse_api_url,
)
from target_activecampaign.client.models import FIRST_SIMULATED_ID
from target_activecampaign.client.rate_limit.stores import open_store
from target_activecampaign.errors import ListError, NoSuchListError, SandboxError, SettingError
from target_activecampaign.model.names import did_you_mean, exact
from target_activecampaign.model.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_activecampaign.client import Field
    from target_activecampaign.config.settings import Settings


logger = logging.getLogger("target-activecampaign")

QUESTIONS_AT_ONCE = 4
"""Reads that may be in progress at the same time, such as requests for the status of imports."""

_MAX_ID_DIGITS = 18
"""Ids are 64-bit integers at most."""

_REMINDER = "You receive this e-mail because you are one of our contacts."
"""Tells the recipients of a new list's campaigns why they get them, until somebody changes it."""

RETRY_SECONDS = 300.0
"""Seconds for which a request is retried."""


class Account:
    """An account. `open` it, or call the steps of `open` one by one.

    Args:
        settings: The settings of the run.
        read_only: True if nothing is written. Then no file is created for a sandbox either.
        client_class: The class of the client.
        max_retry_pause: Longest pause before a retry, in seconds, as for `Client`.

    Attributes:
        address: The API URL.
        identity: The identity of the account: its URL, or the id of the sandbox.
        lists: The lists of the account.
        fields: The custom fields of the account.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        read_only: bool = False,
        client_class: type[Client] = Client,
        max_retry_pause: float = Timings.max_retry_pause_seconds,
    ) -> None:
        self._settings = settings
        self._max_retry_pause = max_retry_pause
        self._client_class = client_class
        self._read_only = read_only or settings.dry_run
        self._sandbox: EmbeddedSandbox | None = None
        self._budget: RateLimiter | None = None
        self._client: Client | None = None
        self._opening = False
        self.address = self.identity = ""
        self.lists: Sequence[ContactList] = ()
        self.fields: Sequence[Field] = ()

    def open(self) -> None:
        """Connect, check the key, and read lists and fields.

        Raises:
            SettingError: A setting can't be used.
            SandboxError: The embedded sandbox did not start.
            BudgetUnavailable: The shared rate budget can't be reached.
            ActiveCampaignError: The account did not respond, or rejected the key.
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
        """Start the sandbox if it is used, and open the rate budget.

        Raises:
            SettingError, SandboxError, BudgetUnavailable: As in `open`.
        """
        if self._settings.sandbox:
            path = self._settings.sandbox_path
            if self._read_only and not Path(path).exists():
                path = ":memory:"  # the sandbox would create the file
            self._sandbox = EmbeddedSandbox(path)
            self.address, self.identity = self._sandbox.url, self._sandbox.identity
        else:
            self.address = self.identity = parse_api_url(self._settings.api_url or "")
        self._budget = _budget(self._settings, self.address)

    def connect(self, retry_seconds: float = RETRY_SECONDS) -> None:
        """Create the client. Nothing is sent yet.

        Args:
            retry_seconds: Seconds for which a request is retried.

        Raises:
            SettingError: The key is not valid.
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
                max_retry_pause=self._max_retry_pause,
            )
        except ValueError as error:
            raise SettingError(f"The setting 'api_key' can't be used: {error}") from None
        if self._sandbox is not None:
            self._client.permanent_cause = self._is_hopeless

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Mark the first requests: if an embedded sandbox fails now, retries do not help.

        Raises:
            SandboxError: The embedded sandbox does not work.
        """
        self._opening = True
        try:
            yield
        except (ServerError, ConnectionFailed) as error:
            if self._sandbox is None:
                raise
            status = f"status {error.status}" if error.status else "no response"
            path = self._settings.sandbox_path
            raise SandboxError(
                f"The embedded sandbox with its data in {path} does not work "
                f"({self._sandbox.why_gone() or status}); see the lines above. Check that the disk "
                "has space and that the file is writable, or set another file in 'sandbox_path'."
            ) from None
        finally:
            self._opening = False

    def _is_hopeless(self, error: ActiveCampaignError) -> str | None:
        """Return why a retry with the embedded sandbox does not help; None if it may."""
        if self._sandbox is not None and (gone := self._sandbox.why_gone()):
            return gone
        return "it fails" if self._opening and isinstance(error, ServerError) else None

    @property
    def client(self) -> Client:
        """The client, once the account is connected."""
        assert self._client is not None  # noqa: S101 - not used before `connect`
        return self._client

    def find_list(self, wanted: int | str, setting: str = "list_id") -> ContactList:
        """Return the list with an id, an exact name or a string id.

        Args:
            wanted: The value of the setting.
            setting: The setting, for messages.

        Raises:
            NoSuchListError: There is no such list.
            ListError: There is more than one of that name.
        """
        text = exact(str(wanted))
        number = int(text) if text.isdecimal() and len(text) <= _MAX_ID_DIGITS else None
        by_id = [one for one in self.lists if one.id == number]
        by_name = [one for one in self.lists if text in (exact(one.name), exact(one.string_id))]
        found = by_id or by_name
        if len(found) == 1:
            return found[0]
        if found:
            ids = " and ".join(str(one.id) for one in found)
            raise ListError(
                f"'{setting}' is '{text}', which is the name of lists {ids}: give the id of one."
            )
        names = [name for one in self.lists for name in (one.name, one.string_id)]
        known = ", ".join(f"{one.id} '{one.name}' ({one.string_id})" for one in self.lists)
        suggestion = did_you_mean(text, names)
        raise NoSuchListError(
            f"'{setting}' is '{text}', but the account has no such list.{suggestion} "
            f"Its lists are: {known or 'none; create one in ActiveCampaign first'}."
        )

    def create_list(self, name: str) -> ContactList:
        """Create a list, and show it to the users who are in the group of the key's owner.

        If nothing may be written, the list is only added to `lists`, with a simulated id.

        Raises:
            ListError: The key's owner must not create lists.
            ActiveCampaignError: The list could not be created.
        """
        if self._read_only:
            number = FIRST_SIMULATED_ID + len(self.lists)
            made = ContactList(number, exact(name))
            self.lists = [*self.lists, made]
            logger.warning("The list '%s' is missing; a run would create it.", made.name)
            return made
        try:
            made = self.client.create_list(exact(name), self.address, _REMINDER)
        except PermissionDenied as error:
            raise ListError(
                f"The list '{name}' is missing, and the key's user must not create lists "
                f"({error}). Create it in ActiveCampaign, or let the user do so."
            ) from None
        logger.warning(
            "Created list %d '%s'. Its sender URL and reminder are placeholders: set yours in "
            "ActiveCampaign before you send a campaign to it.",
            made.id,
            made.name,
        )
        self._show_list(made)
        self.lists = [*self.lists, made]
        return made

    def _show_list(self, made: ContactList) -> None:
        """Show a new list to the group of the key's user, without which nobody sees it [doc]."""
        try:
            group = self.client.group_of(self.client.whoami().id)
            if group is not None:
                self.client.show_list(made.id, group)
                return
            problem = "ActiveCampaign does not tell the user's group"
        except RequestRefused as error:
            problem = error.brief
        logger.warning(
            "The list could not be shown to the key's user (%s). If it is not on the page of "
            "lists, give the user's group access to it in ActiveCampaign.",
            problem,
        )

    def close(self) -> None:
        """Close the connection, and end the embedded sandbox."""
        if self._client:
            self._client.close()
        elif self._budget:
            self._budget.close()
        if self._sandbox:
            self._sandbox.close()


def _budget(settings: Settings, url: str) -> RateLimiter:
    """Return the rate limiter, for this process alone or shared with others."""
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
