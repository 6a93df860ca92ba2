"""Progress of a run: a live line on a terminal, else a log line every 30 seconds."""

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
    from target_activecampaign.model.timings import Timings
    from target_activecampaign.reporting.live_line import LiveLine
    from target_activecampaign.singer.reader import MessageReader

logger = logging.getLogger("target-activecampaign")

LIVE_SECONDS = 0.25

_RATE_SECONDS = 60.0
"""Rates are averages over this time."""
_ESTIMATE_SECONDS = 300.0
"""The time left is estimated from this time: unchanged records at the start say little."""

_MINUTE, _HOUR = 60, 3600


class DeliveryStatus(Protocol):
    """The figures of the delivery that progress shows."""

    @property
    def in_flight(self) -> int:
        """Contacts handed to the delivery that have no outcome yet."""

    @property
    def recovering(self) -> int:
        """Imports of an earlier run that are being checked."""

    @property
    def unconfirmed(self) -> int:
        """Imports that were accepted but not confirmed yet."""

    @property
    def posting(self) -> int:
        """Imports that are being posted."""


class RemovalStatus(Protocol):
    """The number of contacts that a mirror is going to remove."""

    leavers: int


@dataclass(frozen=True)
class Figures:
    """The progress of a run at one time.

    Attributes:
        counts: Records read, and records by outcome.
        in_flight: Contacts handed to the delivery that have no outcome yet.
        read_per_second: Records read per second in the last minute; None if not known yet.
        contacts_per_minute: Contacts confirmed in the last minute; None if not known yet.
        limit: Contacts per minute that the account allows; None for no limit.
        seconds_left: Estimated time until all records have an outcome; None if not known.
        activity: The current step while no records are read; None while they are, or if not known.
    """

    counts: Counter[str]
    in_flight: int
    read_per_second: float | None
    contacts_per_minute: float | None
    limit: int | None
    seconds_left: float | None
    activity: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for a structured log."""
        return {
            **{name: self.counts[name] for name in ("read", "retried", *OUTCOMES)},
            "in_flight": self.in_flight,
            "read_per_second": _rounded(self.read_per_second),
            "contacts_per_minute": _rounded(self.contacts_per_minute),
            "contacts_per_minute_limit": self.limit,
            "seconds_left": _rounded(self.seconds_left),
            "activity": self.activity,
        }

    def parts(self) -> list[str]:
        """Return the figures as parts of a sentence, which a narrow terminal must not break."""
        reads = self.read_per_second and not self.activity
        rate = f" ({self.read_per_second:,.0f}/s)" if reads else ""
        outcomes = [f"{self.counts[name]:,} {name}" for name in OUTCOMES if self.counts[name]]
        retried = self.counts["retried"]
        again = [f"{retried:,} retried"] if retried else []
        parts = [f"{part}," for part in (f"{self.counts['read']:,} read{rate}", *again, *outcomes)]
        more = []
        if self.in_flight:
            more.append(f"{self.in_flight:,} in flight")
        if self.contacts_per_minute:
            limit = f" (limit {self.limit:,})" if self.limit else ""
            more.append(f"{self.contacts_per_minute:,.0f} contacts per minute{limit}")
        if self.seconds_left is not None:
            more.append(f"about {_duration(self.seconds_left)} left")
        if self.activity:
            more.append(self.activity)
        parts[-1] = parts[-1][:-1] + (";" if more else ".")
        return parts + [f"{part};" for part in more[:-1]] + [f"{part}." for part in more[-1:]]

    def __str__(self) -> str:
        return " ".join(self.parts())


class _Sample(NamedTuple):
    """The counts at one time.

    Attributes:
        time: The time, in seconds of the monotonic clock.
        read: Records read.
        confirmed: Contacts confirmed.
        share: The share of the input that has an outcome, from 0 to 1; None if not known.
    """

    time: float
    read: int
    confirmed: int
    share: float | None


class _Pace:
    """Rates, computed from samples of the last minutes."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self._samples: deque[_Sample] = deque()

    def add(self, sample: _Sample) -> None:
        """Add a sample, and drop old ones."""
        while self._samples and self._samples[0].time < sample.time - _ESTIMATE_SECONDS:
            self._samples.popleft()
        pause = self._timings.progress_sample_seconds
        if not self._samples or sample.time - self._samples[-1].time >= pause:
            self._samples.append(sample)

    def rates(self, now: _Sample) -> tuple[float, float] | None:
        """Return records read per second and contacts confirmed per minute; None if too early."""
        start = self._since(now.time - _RATE_SECONDS)
        seconds = now.time - start.time
        if seconds < self._timings.progress_first_rate_seconds:
            return None
        read, confirmed = now.read - start.read, now.confirmed - start.confirmed
        return read / seconds, confirmed / seconds * _MINUTE

    def seconds_left(self, now: _Sample) -> float | None:
        """Return the seconds until all records have an outcome at the current rate."""
        start = self._samples[0]
        seconds = now.time - start.time
        if now.share is None or start.share is None:
            return None
        if seconds < self._timings.progress_first_rate_seconds:
            return None
        gained = now.share - start.share
        left = 1 - now.share
        return left / gained * seconds if gained > 0 and left > 0 else None

    def is_idle(self, now: _Sample) -> bool:
        """Return True if no record was read for a while."""
        return self._since(now.time - self._timings.progress_idle_seconds).read == now.read

    def _since(self, when: float) -> _Sample:
        """Return the last sample before a time, or the oldest."""
        found = self._samples[0]
        for sample in self._samples:
            if sample.time > when:
                break
            found = sample
        return found


class Progress:
    """Shows the progress of a run from a thread of its own.

    On a terminal, it shows a line below the log until the end. Elsewhere it logs a line every 30
    seconds, so a short run logs none.

    Args:
        reader: The reader of the input, for the share that was read.
        accounting: The counts of records.
        client: The client, for pauses before retries.
        delivery: The delivery, for contacts and imports in flight.
        removals: The removals of mirrors.
        limit: Contacts per minute that the account allows; None for no limit.
        timings: The times of log lines and rates.
    """

    def __init__(
        self,
        reader: MessageReader,
        accounting: RecordAccounting,
        client: Client,
        delivery: DeliveryStatus,
        removals: RemovalStatus,
        *,
        limit: int | None,
        timings: Timings,
    ) -> None:
        self._reader = reader
        self._accounting = accounting
        self._client = client
        self._delivery = delivery
        self._removals = removals
        self._limit = limit
        self._log_seconds = timings.progress_log_seconds
        self._pace = _Pace(timings)
        self._over = threading.Event()
        self._line: LiveLine | None = None
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Start to show progress."""
        self._pace.add(self._sample(self._accounting.total))
        if _can_show_live_line():
            # Imported here, as most runs have no terminal.
            from target_activecampaign.reporting.live_line import LiveLine  # noqa: PLC0415

            self._line = LiveLine()
            self._line.start()
        self._thread.start()

    def end(self) -> None:
        """Stop, and restore the terminal. May be called more than once."""
        self._over.set()
        # With a timeout: a signal handler may have interrupted the code that the thread waits for.
        self._thread.join(timeout=1)
        line, self._line = self._line, None
        if line is not None:
            line.end()

    def _run(self) -> None:
        line = self._line
        while not self._over.wait(self._log_seconds if line is None else LIVE_SECONDS):
            figures = self.figures()
            if line is None:
                logger.info("Progress: %s", figures, extra={"progress": figures.as_dict()})
            else:
                line.show(figures.parts())

    def figures(self) -> Figures:
        """Return the current figures."""
        counts = self._accounting.total
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
            self._activity(idle=self._pace.is_idle(now)),
        )

    def _sample(self, counts: Counter[str]) -> _Sample:
        read, size = counts["read"], self._reader.size
        share = None
        if size and not self._reader.stopped:
            # Reading runs ahead of delivery, most of all at the start.
            done = sum(counts[name] for name in OUTCOMES)
            share = min(1.0, self._reader.bytes_read / size) * (
                min(1.0, done / read) if read else 0
            )
        return _Sample(time.monotonic(), read, self._accounting.confirmed_contacts, share)

    def _activity(self, *, idle: bool) -> str | None:
        """Return the current step of the run, if it is worth showing.

        Args:
            idle: True if no record was read for a while.
        """
        delivery, removals = self._delivery, self._removals
        pause, asked = self._client.retry_wait, self._client.requested_wait
        if asked >= 1:
            wait = f"waiting {asked:,.0f} s as requested by ActiveCampaign"
        else:
            wait = f"retrying in {pause:,.0f} s" if pause >= 1 else ""
        if delivery.recovering:
            imports = pluralize(delivery.recovering, "import")
            activity = f"checking {imports} of an earlier run"
        elif removals.leavers:
            activity = f"removing contacts: {self._accounting.removals:,} of {removals.leavers:,}"
        elif not idle:
            return wait if asked >= 1 else None
        elif self._reader.waiting:
            activity = "waiting for the tap"
        elif delivery.unconfirmed:
            imports = pluralize(delivery.unconfirmed, "import")
            activity = f"waiting for {imports} to be confirmed"
        elif delivery.posting:
            imports = pluralize(delivery.posting, "import")
            activity = f"posting {imports} within the rate limit"
        else:
            activity = ""
        return ", ".join(filter(None, (activity, wait))) or None


def _can_show_live_line() -> bool:
    dumb = os.environ.get("TERM", "").lower() in {"dumb", "unknown"}
    return sys.stderr.isatty() and not dumb


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _duration(seconds: float) -> str:
    """Return a duration in words, such as `38 min`."""
    if seconds < 2 * _MINUTE:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 2 * _HOUR:
        return f"{round(seconds / _MINUTE)} min"
    hours, rest = divmod(round(seconds / _MINUTE), 60)
    return f"{hours:,} h {rest} min"
