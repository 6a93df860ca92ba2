"""Progress: how far a run has come, live on a terminal, or as a line of the log now and then."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from target_activecampaign.accounting.outcomes import OUTCOMES
from target_activecampaign.text import pluralize

if TYPE_CHECKING:
    from collections import Counter

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.client import Client
    from target_activecampaign.reporting.live_line import LiveLine
    from target_activecampaign.singer.reader import MessageReader

logger = logging.getLogger("target-activecampaign")

LOG_SECONDS = 30.0
LIVE_SECONDS = 0.25

_RATE_SECONDS = 60.0
"""Rates are those of the last minute."""
_ESTIMATE_SECONDS = 300.0
"""Time left goes by the last minutes: people who are unchanged at the start say little."""
_SAMPLE_SECONDS = 1.0
"""No more is kept than that needs."""
_FIRST_SECONDS = 5.0
"""Before that nothing is said of rates."""
_STILL_SECONDS = 2.0
"""When no record was read for so long, it is said what the run does."""

_MINUTE, _HOUR = 60, 3600


class DeliveryStatus(Protocol):
    """What is asked of the delivery."""

    @property
    def in_flight(self) -> int:
        """Contacts that were handed over and are not settled."""

    @property
    def recovering(self) -> int:
        """Imports of an earlier run that are asked about."""

    @property
    def unconfirmed(self) -> int:
        """Imports that were accepted and are not confirmed."""

    @property
    def posting(self) -> int:
        """Imports that are being posted."""


class RemovalStatus(Protocol):
    """What is asked of a mirror's removals: how many contacts are to be removed."""

    leavers: int


@dataclass(frozen=True)
class Figures:
    """How far a run has come.

    Attributes:
        counts: Records read, and settled by kind.
        in_flight: Contacts that were handed to the delivery and are not settled.
        read_per_second: Records read, of late; None as long as nobody can tell.
        contacts_per_minute: Contacts confirmed, of late; likewise.
        limit: Contacts a minute that the account allows; None if it has no limit.
        seconds_left: Until all is settled; None where nobody knows.
        activity: What the run does while it reads no records; None while it does, or if that
            is not known.
    """

    counts: Counter[str]
    in_flight: int
    read_per_second: float | None
    contacts_per_minute: float | None
    limit: int | None
    seconds_left: float | None
    activity: str | None

    def as_dict(self) -> dict[str, Any]:
        """The figures for a structured log."""
        return {
            **{name: self.counts[name] for name in ("read", *OUTCOMES)},
            "in_flight": self.in_flight,
            "read_per_second": _rounded(self.read_per_second),
            "contacts_per_minute": _rounded(self.contacts_per_minute),
            "contacts_per_minute_limit": self.limit,
            "seconds_left": _rounded(self.seconds_left),
            "activity": self.activity,
        }

    def parts(self) -> list[str]:
        """The figures as a sentence's parts, each of which belongs on one line."""
        reads = self.read_per_second and not self.activity
        rate = f" ({self.read_per_second:,.0f}/s)" if reads else ""
        settled = [f"{self.counts[name]:,} {name}" for name in OUTCOMES if self.counts[name]]
        parts = [f"{part}," for part in (f"{self.counts['read']:,} read{rate}", *settled)]
        more = []
        if self.in_flight:
            more.append(f"{self.in_flight:,} in flight")
        if self.contacts_per_minute:
            limit = f" of {self.limit:,}" if self.limit else ""
            more.append(f"{self.contacts_per_minute:,.0f} contacts a minute{limit}")
        if self.seconds_left is not None:
            more.append(f"about {_duration(self.seconds_left)} left")
        if self.activity:
            more.append(self.activity)
        parts[-1] = parts[-1][:-1] + (";" if more else ".")
        return parts + [f"{part};" for part in more[:-1]] + [f"{part}." for part in more[-1:]]

    def __str__(self) -> str:
        return " ".join(self.parts())


class _Sample(NamedTuple):
    """What was counted at one time.

    Attributes:
        time: When.
        read: Records read.
        confirmed: Contacts confirmed.
        share: How much of all that there is to do is settled, 1 at most; None where nobody knows.
    """

    time: float
    read: int
    confirmed: int
    share: float | None


class _Pace:
    """How fast things go, by what was counted in the last minutes."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()

    def add(self, sample: _Sample) -> None:
        """Take in what was counted now."""
        while self._samples and self._samples[0].time < sample.time - _ESTIMATE_SECONDS:
            self._samples.popleft()
        if not self._samples or sample.time - self._samples[-1].time >= _SAMPLE_SECONDS:
            self._samples.append(sample)

    def rates(self, now: _Sample) -> tuple[float, float] | None:
        """Records read a second, and contacts confirmed a minute."""
        start = self._since(now.time - _RATE_SECONDS)
        seconds = now.time - start.time
        if seconds < _FIRST_SECONDS:
            return None
        read, confirmed = now.read - start.read, now.confirmed - start.confirmed
        return read / seconds, confirmed / seconds * _MINUTE

    def seconds_left(self, now: _Sample) -> float | None:
        """Seconds until all is settled, if it goes on so."""
        start = self._samples[0]
        seconds = now.time - start.time
        if now.share is None or start.share is None or seconds < _FIRST_SECONDS:
            return None
        gained = now.share - start.share
        left = 1 - now.share
        return left / gained * seconds if gained > 0 and left > 0 else None

    def still(self, now: _Sample) -> bool:
        """Whether no record was read for a while."""
        return self._since(now.time - _STILL_SECONDS).read == now.read

    def _since(self, when: float) -> _Sample:
        """The last sample that is as old as that, or the oldest."""
        found = self._samples[0]
        for sample in self._samples:
            if sample.time > when:
                break
            found = sample
        return found


class Progress:
    """Shows how far a run has come, from a thread of its own: the run does nothing for it.

    On a terminal that is a line which stands below the log until the end; elsewhere the log gets
    a line each half minute, so that a short run has none.

    Args:
        reader: How much of the input is read.
        settlement: What was read and settled.
        client: Whether it waits before it tries again.
        delivery: What is in flight.
        leaving: How many are to leave.
        limit: Contacts a minute that the account allows; None if it has no limit.
    """

    def __init__(
        self,
        reader: MessageReader,
        settlement: RecordAccounting,
        client: Client,
        delivery: DeliveryStatus,
        leaving: RemovalStatus,
        *,
        limit: int | None,
    ) -> None:
        self._reader = reader
        self._settlement = settlement
        self._client = client
        self._delivery = delivery
        self._leaving = leaving
        self._limit = limit
        self._pace = _Pace()
        self._over = threading.Event()
        self._line: LiveLine | None = None
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Begin to show it."""
        self._pace.add(self._sample(self._settlement.total))
        if _can_show_a_line():
            # Not imported elsewhere: most runs have no terminal.
            from target_activecampaign.reporting.live_line import LiveLine  # noqa: PLC0415

            self._line = LiveLine()
            self._line.start()
        self._thread.start()

    def end(self) -> None:
        """Show it no more, and leave the terminal as it was. May be called again."""
        self._over.set()
        # A signal handler may have interrupted what the thread waits for: so not for ever.
        self._thread.join(timeout=1)
        line, self._line = self._line, None
        if line is not None:
            line.end()

    def _run(self) -> None:
        line = self._line
        while not self._over.wait(LOG_SECONDS if line is None else LIVE_SECONDS):
            figures = self.figures()
            if line is None:
                logger.info("Progress: %s", figures, extra={"progress": figures.as_dict()})
            else:
                line.show(figures.parts())

    def figures(self) -> Figures:
        """How far the run has come by now."""
        counts = self._settlement.total
        now = self._sample(counts)
        self._pace.add(now)
        read, confirmed = self._pace.rates(now) or (None, None)
        return Figures(
            counts,
            self._delivery.in_flight,
            read,
            confirmed,
            self._limit,
            self._pace.seconds_left(now),
            self._activity(still=self._pace.still(now)),
        )

    def _sample(self, counts: Counter[str]) -> _Sample:
        read, size = counts["read"], self._reader.size
        share = None
        if size and not self._reader.stopped:
            # What is read runs ahead of what is settled, and does so most at the start.
            settled = sum(counts[name] for name in OUTCOMES)
            share = min(1.0, self._reader.bytes_read / size) * (settled / read if read else 0)
        return _Sample(time.monotonic(), read, self._settlement.confirmed_contacts, share)

    def _activity(self, *, still: bool) -> str | None:
        """What the run does.

        Args:
            still: Whether no record was read for a while.
        """
        delivery, leaving = self._delivery, self._leaving
        pause, asked = self._client.retry_wait, self._client.requested_wait
        if asked >= 1:
            again = f"waiting {asked:,.0f} s: ActiveCampaign asked for it"
        else:
            again = f"trying again in {pause:,.0f} s" if pause >= 1 else ""
        if delivery.recovering:
            imports = pluralize(delivery.recovering, "import")
            activity = f"asking what became of {imports} of an earlier run"
        elif leaving.leavers:
            activity = f"letting people leave: {self._settlement.removals:,} of {leaving.leavers:,}"
        elif not still:
            return again if asked >= 1 else None
        elif self._reader.waiting:
            activity = "waiting for the tap"
        elif delivery.unconfirmed:
            imports = pluralize(delivery.unconfirmed, "import")
            activity = f"waiting for {imports} to be confirmed"
        elif delivery.posting:
            imports = pluralize(delivery.posting, "import")
            activity = f"posting {imports} as the limit allows"
        else:
            activity = ""
        return ", ".join(filter(None, (activity, again))) or None


def _can_show_a_line() -> bool:
    dumb = os.environ.get("TERM", "").lower() in {"dumb", "unknown"}
    return sys.stderr.isatty() and not dumb


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _duration(seconds: float) -> str:
    """A time as one would say it."""
    if seconds < 2 * _MINUTE:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 2 * _HOUR:
        return f"{round(seconds / _MINUTE)} min"
    hours, rest = divmod(round(seconds / _MINUTE), 60)
    return f"{hours:,} h {rest} min"
