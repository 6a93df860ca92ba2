"""How many records may be refused before the run fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.errors import ThresholdError

if TYPE_CHECKING:
    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.config.settings import Settings


class Thresholds:
    """Holds the refused records against what is allowed.

    Args:
        settings: What is allowed.
        settlement: What was refused.
    """

    def __init__(self, settings: Settings, settlement: RecordAccounting) -> None:
        self._settings = settings
        self._settlement = settlement

    def check_count(self) -> None:
        """See whether more were refused than `max_rejects`, which ends the run at once.

        Raises:
            ThresholdError: There were.
        """
        limit = self._settings.max_rejects
        if limit is not None and self._settlement.refusals > limit:
            raise ThresholdError(
                f"More records were refused than 'max_rejects' allows ({limit:,}): look at the "
                "reject files, mend the source, or allow more."
            )

    def check_share(self) -> None:
        """See whether a greater share was refused than `max_reject_pct`, once all is settled.

        Raises:
            ThresholdError: There was.
        """
        limit, read = self._settings.max_reject_pct, self._settlement.total["read"]
        refused = self._settlement.refusals
        if limit is not None and read and 100 * refused > limit * read:
            raise ThresholdError(
                f"{refused:,} of {read:,} records were refused ({100 * refused / read:.2f} %), "
                f"more than 'max_reject_pct' allows ({limit:g} %): look at the reject files, mend "
                "the source, or allow more."
            )
