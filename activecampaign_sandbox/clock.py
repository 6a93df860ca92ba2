"""The account's clock, and times as the API writes them: in its zone, with the offset."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

ZONE_NAME = "America/Chicago"
_LATEST = 250_000_000_000  # in the year 9892: a year has four digits


def _account_zone() -> tzinfo:
    try:
        return ZoneInfo(ZONE_NAME)
    except ZoneInfoNotFoundError:  # no zone database: the offset of the recordings, all year
        return timezone(timedelta(hours=-5))


ZONE = _account_zone()


class Clock:
    """A clock that can be moved forward, so that days pass in no time.

    What the account writes as a time, and the header ``Date``, come from it. The import queue, the
    limits and the log keep this machine's time.
    """

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> int:
        """Seconds since the epoch, whole as the API's times are."""
        return int(time.time() + self._ahead)

    def advance(self, seconds: float) -> None:
        """Move it forward.

        Raises:
            ValueError: The time would go back, or leave the years of four digits.
        """
        if not 0 <= seconds <= _LATEST - self.now():
            raise ValueError("the clock can't be moved so")
        self._ahead += seconds

    def reset(self) -> None:
        """Go back to this machine's time."""
        self._ahead = 0.0


# One for the process, which serves one account: whoever writes a time reads it here.
CLOCK = Clock()


@lru_cache(maxsize=4096)
def iso(moment: int) -> str:
    """``2021-03-23T06:04:54-05:00`` for seconds since the epoch."""
    return datetime.fromtimestamp(moment, ZONE).isoformat()


@lru_cache(maxsize=4096)
def local(moment: int) -> str:
    """``2021-03-23 06:04:54``, the account's clock without its offset.

    Keys such as ``created_utc_timestamp`` carry this form too, in spite of their name [rec].
    """
    return f"{datetime.fromtimestamp(moment, ZONE):%Y-%m-%d %H:%M:%S}"


def day(moment: float) -> str:
    """``2021-06-01``, the account's date."""
    return f"{datetime.fromtimestamp(moment, ZONE):%Y-%m-%d}"


def to_account_zone(value: str) -> str:
    """A datetime field's value as it is saved: converted to the account's zone [doc].

    A value without an offset is taken as the account's own time, and one that is no datetime, or
    that the zone can't hold, is kept as it is (all unverified).
    """
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZONE)
        return moment.astimezone(ZONE).isoformat(timespec="seconds")
    except (ValueError, OverflowError):  # the first or last day of the calendar
        return value
