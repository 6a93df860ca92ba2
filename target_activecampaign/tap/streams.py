"""The streams of the tap: opt-outs, bounces and exclusions."""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import typing as th
from singer_sdk.streams import Stream

from target_activecampaign.model.email import contact_key
from target_activecampaign.tap.definitions import SHA256

if TYPE_CHECKING:
    from collections.abc import Iterable

    from singer_sdk.helpers.types import Context
    from singer_sdk.tap_base import Tap

    from target_activecampaign.tap.source import ConsentSource

_OVERLAP = timedelta(days=1)
"""Changes are read from this long before the bookmark: the server's clock and time zone may differ,
and a change may become visible late."""


class Addresses:
    """Addresses as records have them: plain or hashed.

    Args:
        form: `plain` or `sha256`.
    """

    def __init__(self, form: str) -> None:
        self._hashed = form == SHA256

    def name(self, name: str) -> str:
        """Return the name of the property for an address, given its plain name."""
        return f"{name}_sha256" if self._hashed else name

    def value(self, address: str) -> str | None:
        """Return the value for an address; None if the address is empty.

        The hash is made from the form in which the target compares addresses: lower case, no outer
        spaces, and an ASCII domain.
        """
        if not self._hashed or not address:
            return address or None
        return hashlib.sha256(contact_key(address).encode("utf-8", "surrogatepass")).hexdigest()


class ConsentStream(Stream):
    """Base of the streams.

    Args:
        tap: The tap.
        source: The account.

    Attributes:
        changed_at: The property with the time of a change, for incremental reading; None if the
            stream can't be read incrementally.
    """

    changed_at: ClassVar[str | None] = None

    def __init__(self, tap: Tap, source: ConsentSource) -> None:
        self.source = source
        self.addresses = Addresses(tap.config.get("addresses") or "")
        super().__init__(tap=tap, schema=self.properties().to_dict())
        if tap.config.get("changed_contacts_only"):
            self.replication_key = self.changed_at

    @abstractmethod
    def properties(self) -> th.PropertiesList:
        """Return the properties of the records."""

    def changed_after(self, context: Context | None) -> float | None:
        """Return the time from which changes are read; None to read all.

        Returns:
            Seconds since the epoch.
        """
        bookmark = self.get_starting_timestamp(context)
        return None if bookmark is None else (bookmark - _OVERLAP).timestamp()

    def log(self, message: str, *args: Any, level: int = logging.INFO, **kwargs: Any) -> None:
        """Log a message, but no error: the command reports the cause once."""
        if level < logging.ERROR:
            super().log(message, *args, level=level, **kwargs)


class ListOptOuts(ConsentStream):
    """Contacts that are unsubscribed from a list."""

    name = "list_opt_outs"
    primary_keys: ClassVar[tuple[str, ...]] = ("contact_id", "list_id")
    changed_at = "opted_out_at"

    def properties(self) -> th.PropertiesList:
        """Return the properties of the records."""
        return th.PropertiesList(
            th.Property("contact_id", th.IntegerType, required=True),
            th.Property(self.addresses.name("email"), th.StringType),
            th.Property("list_id", th.IntegerType, required=True),
            th.Property("status", th.IntegerType, description="2: unsubscribed."),
            th.Property("opted_out_at", th.DateTimeType),
            th.Property("campaign_id", th.StringType),
            th.Property("message_id", th.StringType),
            th.Property("automation_id", th.StringType),
            th.Property("reason", th.StringType, description="What the person wrote."),
        )

    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        """Yield the records."""
        found = self.source.client.opt_outs(
            self.source.list_ids, updated_after=self.changed_after(context)
        )
        for one in found:
            membership = one.membership
            yield {
                "contact_id": one.contact.id,
                self.addresses.name("email"): self.addresses.value(one.contact.email),
                "list_id": membership.list_id,
                "status": membership.status,
                "opted_out_at": _time(membership.ended_at),
                "campaign_id": membership.campaign or None,
                "message_id": membership.message or None,
                "automation_id": membership.automation or None,
                "reason": membership.reason or None,
            }


class Bounces(ConsentStream):
    """Mails that bounced."""

    name = "bounces"
    primary_keys: ClassVar[tuple[str, ...]] = ("id",)
    changed_at = "bounced_at"

    def properties(self) -> th.PropertiesList:
        """Return the properties of the records."""
        return th.PropertiesList(
            th.Property("id", th.IntegerType, required=True),
            th.Property("contact_id", th.IntegerType),
            th.Property(self.addresses.name("email"), th.StringType),
            th.Property("bounced_at", th.DateTimeType),
            th.Property("code", th.StringType, description="Id of ActiveCampaign's bounce code."),
            th.Property("campaign_id", th.StringType),
            th.Property("message_id", th.StringType),
            th.Property("hard_bounces", th.IntegerType, description="Of the contact."),
            th.Property("soft_bounces", th.IntegerType, description="Of the contact."),
        )

    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        """Yield the records: the bounce logs of all contacts that count a bounce."""
        client = self.source.client
        for contact in client.contacts(updated_after=self.changed_after(context)):
            if not (contact.bounced_hard or contact.bounced_soft):
                continue
            for bounce in client.bounce_logs(contact.id):
                yield {
                    "id": bounce.id,
                    "contact_id": contact.id,
                    self.addresses.name("email"): self.addresses.value(contact.email),
                    "bounced_at": _time(bounce.bounced_at),
                    "code": bounce.code or None,
                    "campaign_id": bounce.campaign or None,
                    "message_id": bounce.message or None,
                    "hard_bounces": contact.bounced_hard,
                    "soft_bounces": contact.bounced_soft,
                }


class Exclusions(ConsentStream):
    """The exclusion list: addresses that ActiveCampaign refuses to import."""

    name = "exclusions"
    primary_keys: ClassVar[tuple[str, ...]] = ("id",)

    def properties(self) -> th.PropertiesList:
        """Return the properties of the records."""
        return th.PropertiesList(
            th.Property("id", th.IntegerType, required=True),
            th.Property(self.addresses.name("match_phrase"), th.StringType),
            th.Property("match_type", th.StringType, description="exact, end or another."),
            th.Property("channel", th.StringType, description="all, allEmail, allSms or several."),
            th.Property(
                "list_ids",
                th.ArrayType(th.IntegerType),
                description="With the channel several; empty for all lists.",
            ),
        )

    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:  # noqa: ARG002
        """Yield the records."""
        for one in self.source.client.exclusions():
            yield {
                "id": one.id,
                self.addresses.name("match_phrase"): self.addresses.value(one.match_phrase),
                "match_type": one.match_type,
                "channel": one.channel,
                "list_ids": list(one.list_ids),
            }


STREAMS: tuple[type[ConsentStream], ...] = (ListOptOuts, Bounces, Exclusions)


def _time(moment: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC, given in seconds since the epoch."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="seconds")
