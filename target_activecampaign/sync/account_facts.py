"""The facts that `--verify` has settled, as a run uses them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign.errors import MappingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_activecampaign.config.settings import StreamSettings
    from target_activecampaign.ledger import Ledger

logger = logging.getLogger("target-activecampaign")

_DAY_SECONDS = 86_400
_LARGE_PAGE = 200
"""The size of pages that `--verify` tries."""

_EMPTY_TEXTS = {"first_name": "empty_name", "last_name": "empty_name", "phone": "empty_phone"}
"""The facts about empty texts, by destination; custom fields have one of their own."""


class AccountFacts:
    """The settled facts of an account, read once.

    Args:
        ledger: The ledger of the run.
        max_age_days: Days after which facts count as old.
    """

    def __init__(self, ledger: Ledger, max_age_days: float) -> None:
        self._known = ledger.facts.read()
        oldest = min(self._known.values(), key=lambda one: one.seen, default=None)
        if oldest is not None and ledger.now() - oldest.seen > max_age_days * _DAY_SECONDS:
            logger.warning(
                "What is known of this account was seen on %s, more than %g days ago: run --verify "
                "again.",
                oldest.date,
                max_age_days,
            )

    @property
    def position_base(self) -> int | None:
        """The position of an import's first contact; None if it is unknown."""
        value = self._value("index_base")
        return int(value) if value in ("0", "1") else None

    @property
    def page_size(self) -> int | None:
        """The size of pages above the documented one; None if it is unknown."""
        return _LARGE_PAGE if self._value("large_limit") == "honour" else None

    @property
    def finds_opt_outs(self) -> bool:
        """True if an opt-out is known to count as a change of the contact."""
        return self._value("membership_updates_contact") == "yes"

    @property
    def renames_opted_out(self) -> bool:
        """False if a contact that has opted out is known not to get another address."""
        return self._value("rename_opted_out") != "refuse"

    def check_clearing(
        self, stream: str, settings: StreamSettings, destinations: Iterable[str]
    ) -> None:
        """Refuse `null_policy: clear` where empty texts are known not to clear values.

        Args:
            stream: The stream.
            settings: Its settings.
            destinations: The destinations of its mapping.

        Raises:
            MappingError: Values would stay.
        """
        if settings.null_policy != "clear":
            return
        for destination in destinations:
            name = _EMPTY_TEXTS.get(destination, "empty_field")
            if self._value(name) == "keep":
                raise MappingError(
                    f"Stream '{stream}': 'null_policy' is 'clear', but this account keeps a value "
                    f"of '{destination}' when an empty one is sent, as --verify found on "
                    f"{self._known[name].date}. Set 'null_policy' to 'keep', or run "
                    "--verify again."
                )

    def _value(self, name: str) -> str | None:
        known = self._known.get(name)
        return None if known is None else known.value
