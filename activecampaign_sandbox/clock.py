"""The account's clock, and times as the API writes them: in its time zone, with the offset."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DEFAULT_ZONE = "America/Chicago"
_OFFSET = re.compile(r"[+-][0-2][0-9]:[0-5][0-9]")
_LATEST = 250_000_000_000  # in the year 9892: a year has four digits


def is_time_zone(name: str) -> bool:
    """Return whether a name or an offset can be an account's time zone."""
    try:
        _zone(name)
    except (ValueError, OSError):  # OSError: a folder of zones
        return False
    return True


def _zone(name: str) -> tzinfo:
    """Return the zone with a name, or with an offset.

    Raises:
        ValueError: There is none.
    """
    if _OFFSET.fullmatch(name):
        offset = datetime.strptime(name, "%z").utcoffset()
        return timezone(offset or timedelta(0))
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        if name == _DEFAULT_ZONE:  # no zone database: the offset of the recordings, all year
            return timezone(timedelta(hours=-5))
        raise ValueError("there is no such time zone") from None


class Clock:
    """A clock that can be moved forward, so that tests need not wait for days.

    All times that the account writes, and the header ``Date``, come from it. The import queue, the
    limits and the log use this machine's time.

    Attributes:
        zone: The account's time zone.
        zone_name: Its name.
    """

    def __init__(self) -> None:
        self._offset = self._ahead = 0.0
        self.set(_DEFAULT_ZONE, 0.0)

    def set(self, zone_name: str, offset: float) -> None:
        """Set the account's time zone, and how many seconds it is ahead of this machine's time."""
        self.zone, self.zone_name = _zone(zone_name), zone_name
        self._offset = offset

    def now(self) -> int:
        """Return whole seconds since the epoch, as the API's times are."""
        return int(time.time() + self._offset + self._ahead)

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Raises:
            ValueError: The time would go back, or beyond the years of four digits.
        """
        if not 0 <= seconds <= _LATEST - self.now():
            raise ValueError("the clock can't be moved like this")
        self._ahead += seconds

    def reset(self) -> None:
        """Go back to the time before the first `advance`."""
        self._ahead = 0.0


# The only clock of the process, which serves one account.
CLOCK = Clock()


@lru_cache(maxsize=4096)
def iso(moment: int) -> str:
    """Return a time, in seconds since the epoch, as ``2021-03-23T06:04:54-05:00``."""
    return datetime.fromtimestamp(moment, CLOCK.zone).isoformat()


@lru_cache(maxsize=4096)
def local(moment: int) -> str:
    """Return a time as ``2021-03-23 06:04:54``, in the account's zone without its offset.

    Keys such as ``created_utc_timestamp`` have this form too, in spite of their name [rec].
    """
    return f"{datetime.fromtimestamp(moment, CLOCK.zone):%Y-%m-%d %H:%M:%S}"


def day(moment: float) -> str:
    """Return the date of a time as ``2021-06-01``, in the account's zone."""
    return f"{datetime.fromtimestamp(moment, CLOCK.zone):%Y-%m-%d}"


def moment_of(value: str) -> float:
    """Return a time that a client wrote, in seconds since the epoch; a date is its first second.

    A time without an offset counts as the account's own (unverified).

    Raises:
        ValueError: It is no time.
    """
    moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=CLOCK.zone)).timestamp()


def to_account_zone(value: str) -> str:
    """Return a datetime field's value as it is saved: converted to the account's zone [doc].

    A value without an offset counts as the account's own time. A value that is not a datetime, or
    that the zone can't represent, is saved unchanged (all unverified).
    """
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=CLOCK.zone)
        return moment.astimezone(CLOCK.zone).isoformat(timespec="seconds")
    except (ValueError, OverflowError):  # the first or last day of the calendar
        return value
