"""Retries: at the end of the input, rejected records of earlier runs are tried again.

They go the same way as all records, but only those whose person or row had no record in this run.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from target_activecampaign.errors import StoppedError
from target_activecampaign.ledger import source_of
from target_activecampaign.singer.messages import EARLIER_RUN
from target_activecampaign.sync.completeness import StreamProgress
from target_activecampaign.sync.routes import RoutedStream
from target_activecampaign.text import pluralize

if TYPE_CHECKING:
    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.sync.rejected import RejectedRecords, RetryCounts
    from target_activecampaign.sync.routes import Route
    from target_activecampaign.sync.stop import StopRequest
    from target_activecampaign.sync.window import RecordWindow

logger = logging.getLogger("target-activecampaign")

_DAY = 86_400


class RecordRetries:
    """Tries rejected records of earlier runs again.

    Args:
        ledger: Has the records.
        accounting: Counts them.
        rejected: Stores those that are rejected once more.
        window: Processes them.
        stop: Ends the retries early.
        max_days: The days for which a record is tried again.
    """

    def __init__(
        self,
        ledger: Ledger,
        accounting: RecordAccounting,
        rejected: RejectedRecords,
        window: RecordWindow,
        stop: StopRequest,
        *,
        max_days: float,
    ) -> None:
        self._ledger = ledger
        self._accounting = accounting
        self._rejected = rejected
        self._window = window
        self._stop = stop
        self._max_days = max_days
        self._routes: dict[tuple[str, str], Route] = {}
        self._is_done = False

    def add_route(self, route: Route) -> None:
        """Add a route of the run."""
        self._routes[route.source.name, route.name] = route
        self._rejected.add_stream(route.source.name, route.name, route.segment)

    def process(self) -> bool:
        """Pass the records of all streams of the run to the window.

        Call it once the input has ended and all its records have an outcome, except those that
        wait because of their address.

        Returns:
            Whether there were any.

        Raises:
            DeliveryError, LedgerError, ActiveCampaignError: The delivery can't continue.
        """
        self._ledger.rejected.flush()
        self._expire()
        self._rejected.is_retrying = True
        count = 0
        try:
            for route in self._routes.values():
                # What they say of their stream does not count: it says nothing of this source.
                before = route.segment.has_contacts, route.segment.has_deletions
                count += self._process(route)
                route.segment.has_contacts, route.segment.has_deletions = before
            self._is_done = True
        except StoppedError:
            logger.warning("Stopped before all rejected records were tried again.")
        self._window.flush()
        return count > 0

    def _expire(self) -> None:
        """Give up records that were first rejected too long ago."""
        before = self._ledger.now() - self._max_days * _DAY
        expired = self._ledger.rejected.expire(before)
        names = {route.segment.number: route.name for route in self._routes.values()}
        others = 0
        for (segment, code), count in expired.items():
            if segment in names:
                self._rejected.counts[names[segment]].given_up[code] += count
            else:
                others += count
        if others:
            logger.warning(
                "%s of streams that did not come are not tried again: 'retry_max_days' is over. "
                "They are in the reject files.",
                pluralize(others, "rejected contact"),
            )

    def _process(self, route: Route) -> int:
        """Pass the records of a route to the window. Return their number."""
        segment, source = route.segment, source_of(route.source.name)
        if not self._ledger.rejected.any(segment.number):
            return 0
        if segment.complete or not segment.settings.retry_rejected:
            # The source has none of them any more, or they are not wanted.
            gone = self._ledger.rejected.discard_untried(segment.number, source)
            if gone:
                logger.info(
                    "Stream '%s': %s of earlier runs left the stream, or 'retry_rejected' is off: "
                    "not tried again.",
                    route.name,
                    pluralize(gone, "rejected contact"),
                )
            return 0
        stream = RoutedStream(route.source, progress=StreamProgress(), routes=[route])
        count = 0
        for page in self._ledger.rejected.pages(segment.number, source):
            self._stop.check()
            if not count:
                logger.info("Stream '%s': trying rejected records again.", route.name)
            lines = [line for one in page for line in one.messages]
            attempts = [one.attempts + 1 for one in page for _ in one.messages]
            count += len(lines)
            self._window.take(
                stream,
                None,
                [msgspec.Raw()] * len(lines),
                lines,
                [EARLIER_RUN] * len(lines),
                attempts=attempts,
            )
        self._window.flush()
        return count

    def finish(self, problems: int) -> None:
        """Delete the records that were tried and have another outcome, and tell of the others.

        Args:
            problems: The number of records without an outcome. If there are any, all stay.
        """
        if not self._is_done or problems:
            return
        self._ledger.rejected.flush()
        for route in self._routes.values():
            if self._ledger.rejected.any(route.segment.number):
                source = source_of(route.source.name)
                self._ledger.rejected.discard_untried(route.segment.number, source)

    def as_dicts(self) -> dict[str, dict[str, Any]]:
        """Return what the report shows, by stream, and log it.

        Raises:
            LedgerError: The ledger can't be used.
        """
        self._ledger.rejected.flush()
        segments = {route.name: route.segment.number for route in self._routes.values()}
        shown: dict[str, dict[str, Any]] = {}
        for name, counts in self._rejected.counts.items():
            counts.retried = self._accounting.counts.get(name, Counter())["retried"]
            if self._ledger.rejected.any(segments[name]):
                counts.waiting = self._ledger.rejected.count(segments[name])
            if counts.retried or counts.given_up or counts.waiting:
                shown[name] = counts.as_dict()
                _log(name, counts)
        return shown


def _log(stream: str, counts: RetryCounts) -> None:
    if counts.waiting:
        logger.info(
            "Stream '%s': the next run tries %s again.",
            stream,
            pluralize(counts.waiting, "rejected contact"),
        )
    if counts.given_up:
        logger.warning(
            "Stream '%s': %s of earlier runs are not tried again (%s). Correct them, and replay "
            "their reject files.",
            stream,
            pluralize(counts.given_up.total(), "rejected record"),
            _listed(counts.given_up),
        )


def _listed(codes: Counter[str]) -> str:
    return ", ".join(f"{count:,} {code}" for code, count in sorted(codes.items()))
