"""A preview: a run that sends nothing, and tells what it would have done.

The run goes its whole way. But its ledger is a copy, its client answers what would write, it keeps
STATE to itself, and at its end it asks what would change for a few people.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_activecampaign.accounting.samples import mask_text
from target_activecampaign.client import ActiveCampaignError
from target_activecampaign.client.rate_limit.shared import BudgetUnavailable
from target_activecampaign.ledger import snapshot as copying
from target_activecampaign.preview.changes import Changes, SampledSettlement
from target_activecampaign.preview.client import PreviewClient
from target_activecampaign.redaction import traceback_without_messages

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from target_activecampaign.account.account import Account
    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.accounting.rejects import RejectFiles
    from target_activecampaign.accounting.samples import Samples
    from target_activecampaign.accounting.state import Checkpoints
    from target_activecampaign.config.settings import Settings
    from target_activecampaign.preview.changes import Change
    from target_activecampaign.reporting.report import Report
    from target_activecampaign.sync.segment import Segment
    from target_activecampaign.sync.stop import StopRequest

logger = logging.getLogger("target-activecampaign")

_SETTLED = ("added", "changed", "unchanged", "skipped", "merged")
"""What records can come to besides being refused."""


@dataclass(frozen=True)
class Calls:
    """Requests that a run would make.

    Attributes:
        imports: Imports of several contacts.
        single_imports: Imports of one contact.
        import_questions: Questions whether an import is done; one for each is the least.
        others: What else would be written: fields, options, subscriptions, tags taken off.
        reads: What was read, and would be read again.
    """

    imports: int
    single_imports: int
    import_questions: int
    others: int
    reads: int

    @property
    def total(self) -> int:
        """All requests."""
        writes = self.imports + self.single_imports + self.others
        return writes + self.import_questions + self.reads


def seconds_at_limits(calls: Calls, settings: Settings) -> int:
    """How long some requests take at the account's limits, which hold side by side.

    Args:
        calls: The requests.
        settings: What the limits are; 0 is none.

    Returns:
        Seconds; 0 where there are no limits.
    """
    taken = (
        (calls.total, settings.requests_per_second),
        (calls.imports, settings.imports_per_minute / 60),
        (calls.single_imports, settings.single_imports_per_minute / 60),
    )
    return math.ceil(max(count / rate if rate else 0 for count, rate in taken))


class _Marker(logging.Filter):
    """Marks lines of the log, which say what is done: in a preview nothing is."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a line pass, marked."""
        record.msg = f"Preview: {record.msg}"
        return True


class Preview:
    """What a run does differently when it is a preview.

    Args:
        settings: What the operator wants.

    Attributes:
        client_class: What talks to the account.
    """

    client_class = PreviewClient

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._marker = _Marker()
        self._settlement: SampledSettlement | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._figures: dict[str, Any] | None = None
        self._changes: list[Change] = []
        self._new_tags: list[str] = []
        self._own_tags: set[str | None] = set()

    def settlement(
        self, checkpoints: Checkpoints, rejects: RejectFiles, samples: Samples
    ) -> RecordAccounting:
        """The settlement of the run, which also keeps people whose changes are shown."""
        self._settlement = SampledSettlement(checkpoints, rejects, samples)
        return self._settlement

    def begin(self, identity: str) -> str:
        """Mark the lines of the log from now on, and copy the ledger.

        Args:
            identity: What tells the account from others, as of `Ledger`.

        Returns:
            The URL of the copy; it is deleted when the preview or the process ends.

        Raises:
            LedgerError: The ledger can't be copied.
        """
        logger.addFilter(self._marker)
        self._folder = tempfile.TemporaryDirectory(
            prefix="target-activecampaign-preview-", ignore_cleanup_errors=True
        )
        return copying.copy(self._settings.ledger_url, identity, Path(self._folder.name))

    def close(self) -> None:
        """Mark no more lines, and delete the copy of the ledger."""
        logger.removeFilter(self._marker)
        if self._folder is not None:
            self._folder.cleanup()

    def look(
        self,
        account: Account,
        segments: Collection[Segment],
        *,
        ask: bool,
        stop: StopRequest,
    ) -> None:
        """See what a run would have sent, and what that would change for a few people.

        Args:
            account: Whom the preview talked to; still connected.
            segments: The streams that it has opened.
            ask: Whether people may still be asked about.
            stop: Tells whether this is to end.
        """
        client = account.client
        assert isinstance(client, PreviewClient)  # noqa: S101 - the account makes it so
        outcomes = [one.outcome for one in segments if one.outcome is not None]
        calls = _calls(client)
        titles = {field.id: field.title for field in account.fields}
        self._figures = {
            "held_back": sum(one.held_back for one in outcomes),
            "brought_back": client.pretended["subscribe"],
            "new_fields": [
                {"title": one.title, "type": one.type} for one in client.new_fields.values()
            ],
            "new_options": {
                titles[number]: len(options) for number, options in client.new_options.items()
            },
            "calls": {**asdict(calls), "total": calls.total},
            "seconds_at_limits": seconds_at_limits(calls, self._settings),
        }
        settlement = self._settlement
        if settlement is None or not ask or stop.is_set:
            return
        streams = {one.number: one.stream for one in segments}
        sampled = [one for some in settlement.samples.values() for one in some]
        if sampled:
            logger.info("Asking what %d people have now, to show changes.", len(sampled))
        try:
            self._changes = Changes(client, account.fields, streams, stop).of(sampled)
            self._new_tags = [
                tag for tag in settlement.tags if not stop.is_set and client.find_tag(tag) is None
            ]
        except (ActiveCampaignError, BudgetUnavailable) as error:
            logger.warning("What would change for people could not be asked: %s", error)
        except Exception as error:  # noqa: BLE001 - the report is worth more than a sample in it
            where = traceback_without_messages(error)
            logger.warning("What would change for people could not be told:\n%s", where)
        self._own_tags = {
            tag for one in segments for tag in (*one.settings.tags, one.membership_tag)
        }

    def tell(self, report: Report) -> None:
        """Put what was seen into the report, and a summary into the log."""
        if self._figures is None:
            return
        counts = {name: report.counts[name] for name in _SETTLED}
        more = {name: self._figures.pop(name) for name in ("held_back", "brought_back")}
        report.preview = {
            "counts": {**counts, "refused": report.refused, "left": report.left, **more},
            **self._figures,
        }
        in_full = self._settings.report_personal_data
        report.samples["changes"] = [one.as_dict(in_full=in_full) for one in self._changes]
        # Tags of the settings are the operator's; others are values of records.
        report.samples["new_tags"] = [
            tag if in_full or tag in self._own_tags else mask_text(tag) for tag in self._new_tags
        ]
        for name, stream in report.streams.items():
            logger.info("Preview, stream '%s': %s.", name, _summary(stream))
        for name, counts in _destinations(self._changes).items():
            several = ", ".join(f"{place} for {count}" for place, count in counts.items())
            logger.info("Preview, what would change of a sample of '%s': %s.", name, several)


def _calls(client: PreviewClient) -> Calls:
    made = client.pretended
    return Calls(
        imports=made["import"],
        single_imports=made["single_import"],
        import_questions=made["import_status"],
        others=made["subscribe"] + made["remove_tag"] + made["field"] + made["option"],
        reads=client.request_count,
    )


def _summary(stream: Mapping[str, Any]) -> str:
    """What would become of a stream's records and people."""
    counts, mirror = stream.get("counts", {}), stream.get("mirror") or {}
    told = [f"{counts[name]:,} would be {name}" for name in _SETTLED if counts.get(name)]
    people = (
        (counts.get("invalid", 0) + counts.get("rejected", 0), "would be refused"),
        (mirror.get("left", 0), "would leave"),
        (mirror.get("held_back", 0), "would be kept from leaving by a guard"),
    )
    told += [f"{count:,} {what}" for count, what in people if count]
    return ", ".join(told) or "nothing would be done"


def _destinations(changes: Iterable[Change]) -> dict[str, Counter[str]]:
    """For how many people something would change, by stream and destination: no values."""
    found: dict[str, Counter[str]] = {}
    for change in changes:
        counts = found.setdefault(change.stream, Counter())
        counts.update(one.destination for one in change.differences)
    return found
