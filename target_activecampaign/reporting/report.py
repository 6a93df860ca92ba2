"""The report of a run: a summary for the log, and a JSON file."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_activecampaign.accounting.outcomes import OUTCOMES
from target_activecampaign.model.codes import CODES
from target_activecampaign.storage import private_files
from target_activecampaign.text import pluralize

_NAME = re.compile(r"run-([0-9]{8}T[0-9]{6}-[0-9a-f]{12})\.(?:json|html)")

if TYPE_CHECKING:
    from collections import Counter
    from datetime import datetime


@dataclass
class Report:
    """The report of one run.

    Attributes:
        run_id: The id of the run, which is part of the names of its files.
        started: The start of the run, with a time zone.
        connection: The setting `connection_name`, or an empty string.
        address: The API URL of the account.
        outcome: `completed`, `stopped` by a signal, or `failed`.
        problem: The reason of a failure, as a sentence.
        left: Contacts that mirrors removed.
        streams: By stream: its list, mapping and counts.
        counts: Records read, rejected records of earlier runs that were tried again (`retried`),
            and all of these by outcome.
        codes: Rejected records by code.
        skipped: Skipped records by code.
        rejects: By stream: the path of its reject file.
        confirmed_over_time: Contacts confirmed per interval.
        contradictions: Contradictory responses of ActiveCampaign, by kind.
        dry_run: True for a preview, in which all figures are those that a run would have.
        preview: Further findings of a preview.
        limited: The figures of a limited run, whose contacts are among the samples.
        alerts: Figures that differ too much from what is usual (see `find_alerts`).
        audience: The sizes of the run's segments over the latest runs, and their overlaps; None if
            they are not known.
        samples: Values of records, masked unless `report_personal_data` is on. They are in the
            report's own files only.
        outcomes: The number of rows of outcomes that were stored and that are missing, and the
            problem if there was one; None if no rows are written.
    """

    run_id: str
    started: datetime
    connection: str
    address: str
    outcome: str = "completed"
    problem: str | None = None
    finished: datetime | None = None
    imports: int = 0
    requests: int = 0
    left: int = 0
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    rejects: dict[str, str] = field(default_factory=dict)
    confirmed_over_time: dict[str, Any] = field(default_factory=dict)
    contradictions: list[dict[str, Any]] = field(default_factory=list)
    dry_run: bool = False
    preview: dict[str, Any] | None = None
    limited: dict[str, Any] | None = None
    alerts: list[dict[str, Any]] = field(default_factory=list)
    audience: dict[str, Any] | None = None
    samples: dict[str, Any] = field(default_factory=dict)
    outcomes: dict[str, Any] | None = None

    def set_counts(self, total: Counter[str], by_stream: dict[str, Counter[str]]) -> None:
        """Set the counts of the run and of its streams."""
        self.counts = {name: total[name] for name in ("read", "retried", *OUTCOMES)}
        for stream, counts in by_stream.items():
            entry = self.streams.setdefault(stream, {})
            entry["counts"] = {name: counts[name] for name in ("read", "retried", *OUTCOMES)}

    @property
    def unsettled(self) -> int:
        """Records without an outcome: 0 unless the run ended early or something went wrong."""
        taken = self.counts.get("read", 0) + self.counts.get("retried", 0)
        return taken - sum(self.counts.get(name, 0) for name in OUTCOMES)

    @property
    def rejected(self) -> int:
        """Records rejected, by the target or by ActiveCampaign."""
        return self.counts.get("invalid", 0) + self.counts.get("rejected", 0)

    @property
    def seconds(self) -> float:
        """The duration of the run."""
        return (self.finished - self.started).total_seconds() if self.finished else 0.0

    def summary(self) -> str:
        """Return the run in one line: records read, their outcomes, imports and requests."""
        counts = {name: self.counts.get(name, 0) for name in OUTCOMES}
        sums = " + ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "0"
        removed = f"{self.left:,} removed; " if self.left else ""
        missing = f" + {self.unsettled:,} WITHOUT OUTCOME" if self.unsettled else ""
        if self.dry_run:
            return self._preview_summary(f"{sums}{missing}")
        text = (
            f"Run {self.run_id} {self.outcome}: {self._taken()} = "
            f"{sums}{missing}; {removed}{pluralize(self.imports, 'import')}, "
            f"{pluralize(self.requests, 'request')}, {self.seconds:,.1f} s."
        )
        return text + self._causes() + self._missing_rows()

    def _missing_rows(self) -> str:
        problem = self.outcomes and self.outcomes["problem"]
        return f" Rows of outcomes are missing: {problem}" if problem else ""

    def _taken(self) -> str:
        """Return the records read, and rejected ones of earlier runs, as a sum."""
        retried = self.counts.get("retried", 0)
        again = f" + {retried:,} retried" if retried else ""
        return f"{self.counts.get('read', 0):,} read{again}"

    def _preview_summary(self, sums: str) -> str:
        removed = f"{self.left:,} would be removed; " if self.left else ""
        text = f"Preview {self.run_id} {self.outcome}: {self._taken()}, would be {sums}; {removed}"
        if self.preview is not None:
            calls, seconds = self.preview["calls"], self.preview["seconds_at_limits"]
            imports = calls["imports"] + calls["single_imports"]
            time = f", about {seconds:,} s at the account's limits" if seconds else ""
            requests = pluralize(calls["total"], "request")
            text += f"{pluralize(imports, 'import')}, about {requests}{time}. "
        return f"{text}Nothing was sent.{self._causes()}"

    def _causes(self) -> str:
        skipped = f" Skipped: {_counted(self.skipped)}." if self.skipped else ""
        if not self.codes:
            return skipped
        files = ", ".join(self.rejects.values())
        return f"{skipped} Rejected: {_counted(self.codes)}; see {files}."

    def as_dict(self) -> dict[str, Any]:
        """Return the report as in its JSON file."""
        return {
            "run_id": self.run_id,
            "dry_run": self.dry_run,
            "outcome": self.outcome,
            "problem": self.problem,
            "connection": self.connection,
            "address": self.address,
            "started": self.started.isoformat(timespec="milliseconds"),
            "finished": self.finished and self.finished.isoformat(timespec="milliseconds"),
            "duration_seconds": round(self.seconds, 3),
            "counts": {**self.counts, "unsettled": self.unsettled},
            "left": self.left,
            "imports": self.imports,
            "requests": self.requests,
            "confirmed_over_time": self.confirmed_over_time,
            "streams": self.streams,
            "refused": _explained(self.codes),
            "skipped": _explained(self.skipped),
            "reject_files": self.rejects,
            "contradictions": self.contradictions,
            "outcomes": self.outcomes,
            "preview": self.preview,
            "limited": self.limited,
            "alerts": self.alerts,
            "audience": self.audience,
            "samples": self.samples,
        }

    def as_shared(self) -> dict[str, Any]:
        """Return the report as others may see it.

        It has the names of reject files instead of their paths, which may contain a person's name.
        Samples of records are left out, even masked ones.
        """
        content = self.as_dict()
        del content["samples"]
        files = {stream: Path(path).name for stream, path in self.rejects.items()}
        return {**content, "reject_files": files}

    def write(self, folder: str | Path) -> Path:
        """Write the JSON file, and return its path.

        Raises:
            OSError: It can't be written; the error names the file.
        """
        folder = Path(folder)
        private_files.make_folder(folder)
        path = folder / f"run-{self.run_id}.json"
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"
        private_files.replace(path, text)
        return path


def prune(folder: str | Path, keep: int, current: str) -> None:
    """Delete the reports of the oldest runs. Files with other names stay.

    A report that can't be deleted stays until the next run tries again.

    Args:
        folder: The folder of the reports.
        keep: The number of runs whose reports are kept; 0 for all.
        current: The id of this run. Its report is always kept, even if the clock is wrong.
    """
    if not keep:
        return
    runs: dict[str, list[Path]] = {}
    for path in Path(folder).iterdir():
        name = _NAME.fullmatch(path.name)
        if name is not None and name[1] != current:
            runs.setdefault(name[1], []).append(path)
    # Ids start with the start time of the run.
    for run_id in sorted(runs, reverse=True)[keep - 1 :]:
        for path in runs[run_id]:
            with suppress(OSError):
                path.unlink()


def _counted(codes: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {code}" for code, count in sorted(codes.items()))


def _explained(codes: dict[str, int]) -> dict[str, dict[str, Any]]:
    return {
        code: {"records": count, "meaning": CODES[code].meaning, "do": CODES[code].advice}
        for code, count in sorted(codes.items())
    }
