"""The limits of refused records, above which a run fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.errors import ThresholdError

if TYPE_CHECKING:
    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.config.settings import Settings


class Thresholds:
    """Ends a run with more refused records than its settings allow.

    Args:
        settings: The limits.
        accounting: The refused records.
    """

    def __init__(self, settings: Settings, accounting: RecordAccounting) -> None:
        self._settings = settings
        self._accounting = accounting

    def check_count(self) -> None:
        """Compare the refused records with `max_rejects`, which ends the run at once.

        Raises:
            ThresholdError: More records were refused.
        """
        limit = self._settings.max_rejects
        if limit is not None and self._accounting.refusals > limit:
            raise ThresholdError(
                f"More records were refused than 'max_rejects' allows ({limit:,}). See the "
                "reject files, then correct the source or raise the limit."
            )

    def check_share(self) -> None:
        """Compare the refused share with `max_reject_pct`, once all records have an outcome.

        Raises:
            ThresholdError: The share is greater.
        """
        limit, read = self._settings.max_reject_pct, self._accounting.total["read"]
        refused = self._accounting.refusals
        if limit is not None and read and 100 * refused > limit * read:
            raise ThresholdError(
                f"{refused:,} of {read:,} records were refused ({100 * refused / read:.2f} %), "
                f"more than 'max_reject_pct' allows ({limit:g} %). See the reject files, then "
                "correct the source or raise the limit."
            )
