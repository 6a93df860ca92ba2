"""Retries while a ledger is unreachable: its server restarts, or another program locks its file."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TypeVar

from target_activecampaign.errors import UnreachableLedgerError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

logger = logging.getLogger("target-activecampaign")

_LONGEST_PAUSE = 3.0


def retry(action: Callable[[], T], place: str, reset: Callable[[], None], patience: float) -> T:
    """Retry an action while the ledger is unreachable, and return its result.

    Args:
        action: The action. It must be idempotent, as it may have succeeded with only the response
            lost.
        place: The ledger's place, for messages.
        reset: Called before each further attempt.
        patience: Seconds until it gives up.

    Raises:
        LedgerError: The ledger stays unreachable, or can't be used.
    """
    deadline, pause = time.monotonic() + patience, 0.1
    logged = False
    while True:
        try:
            result = action()
        except UnreachableLedgerError as error:
            if error.retried or time.monotonic() + pause > deadline:
                error.retried = True
                raise
        else:
            if logged:
                logger.warning("The ledger %s is back.", place)
            return result
        if not logged:
            logger.warning(
                "The ledger %s can't be reached, trying again for %.0f s.", place, patience
            )
            logged = True
        reset()
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
