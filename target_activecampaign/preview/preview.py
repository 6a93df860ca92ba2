"""A preview: a run that sends nothing, and reports what it would have done.

It processes the whole input, with four differences: the ledger is a copy, the client simulates
writes, no STATE is written, and at the end it compares a sample of contacts with the account.
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
from target_activecampaign.client.rate_limit.limiter import BudgetUnavailable
from target_activecampaign.ledger import snapshot as copying
from target_activecampaign.preview.changes import ChangeFinder, SamplingAccounting
from target_activecampaign.preview.client import PreviewClient
from target_activecampaign.redaction import traceback_without_messages
from target_activecampaign.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from target_activecampaign.account.account import Account
    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.accounting.rejects import RejectFiles
    from target_activecampaign.accounting.samples import Samples
    from target_activecampaign.accounting.state import Checkpoints
    from target_activecampaign.config.settings import Settings
    from target_activecampaign.preview.changes import Change, RefusedContacts
    from target_activecampaign.reporting.report import Report
    from target_activecampaign.sync.segment import Segment
    from target_activecampaign.sync.stop import StopRequest

logger = logging.getLogger("target-activecampaign")

_LOGGED = 3
"""Refused contacts of each reason that the log names."""

_OUTCOMES = ("added", "changed", "unchanged", "skipped", "merged")
"""The outcomes of records that are not rejected."""


@dataclass(frozen=True)
class Calls:
    """Requests that a run would make.

    Attributes:
        imports: Imports of several contacts.
        single_imports: Imports of one contact.
        import_questions: Requests for the status of imports, at least one for each.
        others: Other writes: fields, options, re-subscriptions, removed tags.
        reads: Reads, which a run would repeat.
    """

    imports: int
    single_imports: int
    import_questions: int
    others: int
    reads: int

    @property
    def total(self) -> int:
        """The number of all requests."""
        writes = self.imports + self.single_imports + self.others
        return writes + self.import_questions + self.reads


def seconds_at_limits(calls: Calls, settings: Settings) -> int:
    """Return the seconds that requests take at the account's limits, which apply in parallel.

    Args:
        calls: The requests.
        settings: The settings with the limits; a limit of 0 means none.

    Returns:
        Seconds, rounded up; 0 if there are no limits.
    """
    limits = (
        (calls.total, settings.requests_per_second),
        (calls.imports, settings.imports_per_minute / 60),
        (calls.single_imports, settings.single_imports_per_minute / 60),
    )
    return math.ceil(max(count / rate if rate else 0 for count, rate in limits))


class _PreviewPrefix(logging.Filter):
    """Adds a prefix to log lines, which would otherwise read like those of a real run."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the prefix to a record, and let it pass."""
        record.msg = f"Preview: {record.msg}"
        return True


class Preview:
    """The parts of a run that differ in a preview.

    Args:
        settings: The settings of the run.

    Attributes:
        client_class: The class of the client.
    """

    client_class = PreviewClient

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._prefix = _PreviewPrefix()
        self._accounting: SamplingAccounting | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._figures: dict[str, Any] | None = None
        self._changes: list[Change] = []
        self._new_tags: list[str] = []
        self._own_tags: set[str | None] = set()

    def make_accounting(
        self, checkpoints: Checkpoints, rejects: RejectFiles, samples: Samples
    ) -> RecordAccounting:
        """Return the record accounting of the run, which also keeps a sample of contacts."""
        self._accounting = SamplingAccounting(checkpoints, rejects, samples)
        return self._accounting

    def copy_ledger(self, identity: str, patience: float) -> str:
        """Copy the ledger, and mark all log lines from now on.

        Args:
            identity: The identity of the account, as for `Ledger`.
            patience: Seconds for which a ledger that can't be reached is retried.

        Returns:
            The URL of the copy. It is deleted when the preview or the process ends.

        Raises:
            LedgerError: The ledger can't be copied.
        """
        logger.addFilter(self._prefix)
        self._folder = tempfile.TemporaryDirectory(
            prefix="target-activecampaign-preview-", ignore_cleanup_errors=True
        )
        folder = Path(self._folder.name)
        return copying.copy(self._settings.ledger_url, identity, folder, patience)

    def close(self) -> None:
        """Stop marking log lines, and delete the copy of the ledger."""
        logger.removeFilter(self._prefix)
        if self._folder is not None:
            self._folder.cleanup()

    def collect(
        self,
        account: Account,
        segments: Collection[Segment],
        *,
        compare: bool,
        stop: StopRequest,
        extra_requests: int,
    ) -> None:
        """Collect the requests that a run would send, and the changes for a sample of contacts.

        Args:
            account: The account, still connected.
            segments: The segments that were opened.
            compare: True to compare the sample with the account.
            stop: The comparison ends once it is set.
            extra_requests: The number of requests so far that a run would not make.
        """
        client = account.client
        assert isinstance(client, PreviewClient)  # noqa: S101 - made from `client_class`
        outcomes = [one.outcome for one in segments if one.outcome is not None]
        calls = _calls(client, extra_requests)
        titles = {field.id: field.title for field in account.fields}
        self._figures = {
            "held_back": sum(one.held_back for one in outcomes),
            "brought_back": client.simulated["subscribe"],
            "new_fields": [
                {"title": one.title, "type": one.type} for one in client.new_fields.values()
            ],
            "new_options": {
                titles[number]: len(options) for number, options in client.new_options.items()
            },
            "calls": {**asdict(calls), "total": calls.total},
            "seconds_at_limits": seconds_at_limits(calls, self._settings),
        }
        accounting = self._accounting
        if accounting is None or not compare or stop.is_set:
            return
        streams = {one.number: one.stream for one in segments}
        sampled = [one for sample in accounting.samples.values() for one in sample]
        if sampled:
            contacts = pluralize(len(sampled), "contact")
            logger.info("Reading %s from the account to show changes.", contacts)
        try:
            finder = ChangeFinder(client, account.fields, streams, stop)
            self._changes = finder.find_changes(sampled)
            self._new_tags = [
                tag for tag in accounting.tags if not stop.is_set and client.find_tag(tag) is None
            ]
        except (ActiveCampaignError, BudgetUnavailable) as error:
            logger.warning("The changes to contacts are not in the report: %s", error)
        except Exception as error:  # noqa: BLE001 - the rest of the report is more important
            where = traceback_without_messages(error)
            logger.warning("The changes to contacts are not in the report:\n%s", where)
        self._own_tags = {
            tag for one in segments for tag in (*one.settings.tags, one.membership_tag)
        }

    def add_to_report(self, report: Report) -> None:
        """Add the findings to the report, and log a summary."""
        if self._figures is None:
            return
        counts = {name: report.counts[name] for name in _OUTCOMES}
        more = {name: self._figures.pop(name) for name in ("held_back", "brought_back")}
        report.preview = {
            "counts": {**counts, "refused": report.rejected, "left": report.left, **more},
            **self._figures,
        }
        in_full = self._settings.report_personal_data
        refused = self._accounting.would_refuse if self._accounting else {}
        report.preview["would_refuse"] = {
            stream: {code: one.contacts for code, one in by_code.items()}
            for stream, by_code in refused.items()
        }
        report.samples["would_refuse"] = {
            stream: {code: one.shown(in_full=in_full) for code, one in by_code.items()}
            for stream, by_code in refused.items()
        }
        report.samples["changes"] = [one.as_dict(in_full=in_full) for one in self._changes]
        # Tags from the settings are not personal data; others are values of records.
        report.samples["new_tags"] = [
            tag if in_full or tag in self._own_tags else mask_text(tag) for tag in self._new_tags
        ]
        for name, stream in report.streams.items():
            logger.info("Preview, stream '%s': %s.", name, _summary(stream))
            for code, one in refused.get(name, {}).items():
                logger.info("Preview, stream '%s': %s.", name, _refusal(code, one))
        for name, counts in _destinations(self._changes).items():
            changes = ", ".join(f"{place} ({count:,})" for place, count in counts.items())
            logger.info("Preview, stream '%s': changed values in the sample: %s.", name, changes)


_OTHER_WRITES = ("subscribe", "unsubscribe", "remove_tag", "field_value", "field", "option")


def _calls(client: PreviewClient, extra_requests: int) -> Calls:
    simulated = client.simulated
    return Calls(
        imports=simulated["import"],
        single_imports=simulated["single_import"],
        import_questions=simulated["import_status"],
        # Renames are not among these: each is one of the reads, which looks up its address.
        others=sum(simulated[kind] for kind in _OTHER_WRITES),
        reads=client.request_count - extra_requests,
    )


def _summary(stream: Mapping[str, Any]) -> str:
    """Return the outcomes of a stream in a sentence."""
    counts, mirror = stream.get("counts", {}), stream.get("mirror") or {}
    identity = stream.get("identity") or {}
    outcomes = [f"{counts[name]:,} would be {name}" for name in _OUTCOMES if counts.get(name)]
    others = (
        (counts.get("invalid", 0) + counts.get("rejected", 0), "would be rejected"),
        (identity.get("renamed", 0), "would be renamed"),
        (identity.get("held_back", 0), "would not be renamed because of a guard"),
        (mirror.get("left", 0), "would be removed"),
        (mirror.get("held_back", 0), "would be kept by a guard"),
    )
    outcomes += [f"{count:,} {what}" for count, what in others if count]
    return ", ".join(outcomes) or "nothing to do"


def _refusal(code: str, refused: RefusedContacts) -> str:
    """Return whom ActiveCampaign would refuse for one reason, masked, in a sentence."""
    # Without the @, by which the log's filter would take them for whole addresses.
    shown = [one.replace("@", " at ") for one in refused.shown(in_full=False)[:_LOGGED]]
    rest = ", ..." if refused.contacts > len(shown) else ""
    contacts = pluralize(refused.contacts, "contact")
    return f"ActiveCampaign would refuse {contacts} as {code} ({', '.join(shown)}{rest})"


def _destinations(changes: Iterable[Change]) -> dict[str, Counter[str]]:
    """Return the number of contacts that would change, by stream and destination."""
    found: dict[str, Counter[str]] = {}
    for change in changes:
        counts = found.setdefault(change.stream, Counter())
        counts.update(one.destination for one in change.differences)
    return found
