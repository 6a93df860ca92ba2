"""The run's figures: one line for the log, one JSON file for everything else."""

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

_NAME = re.compile(r"run-([0-9]{8}T[0-9]{6}-[0-9a-f]{12})\.(?:json|html)")

if TYPE_CHECKING:
    from collections import Counter
    from datetime import datetime


@dataclass
class Report:
    """What a run did.

    Attributes:
        run_id: What names the run; its files have it in their names.
        started: When it began, with a zone.
        connection: The name of the connection, or else the account's address.
        outcome: `completed`, `stopped` by a signal, or `failed`.
        left: People who have left a mirrored list.
        streams: By stream: its list, its mapping and its counts.
        skipped: Records skipped for a reason of their own, by code.
        rejects: By stream: the file of its refused records.
        confirmed_over_time: Contacts that were confirmed in each so many seconds.
        contradictions: What ActiveCampaign's answers have contradicted, by kind.
        dry_run: Whether it was a preview: then counts and leavers are what would have been.
        preview: What else a preview has found.
        samples: All that is made of records, masked unless the operator wants it in full. It stays
            in the report's own files.
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
    samples: dict[str, Any] = field(default_factory=dict)

    def count(self, total: Counter[str], by_stream: dict[str, Counter[str]]) -> None:
        """Take over what was read and settled."""
        self.counts = {name: total[name] for name in ("read", *OUTCOMES)}
        for stream, counts in by_stream.items():
            mine = self.streams.setdefault(stream, {})
            mine["counts"] = {name: counts[name] for name in ("read", *OUTCOMES)}

    @property
    def unsettled(self) -> int:
        """Records that were read and not settled: 0 unless something went wrong."""
        return self.counts.get("read", 0) - sum(self.counts.get(name, 0) for name in OUTCOMES)

    @property
    def refused(self) -> int:
        """Records refused, by us or by ActiveCampaign."""
        return self.counts.get("invalid", 0) + self.counts.get("rejected", 0)

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return (self.finished - self.started).total_seconds() if self.finished else 0.0

    def line(self) -> str:
        """The run in one line: what was read, and what became of it."""
        counts = {name: self.counts.get(name, 0) for name in OUTCOMES}
        sums = " + ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "0"
        left = f"{self.left:,} left; " if self.left else ""
        missing = f" + {self.unsettled:,} NOT SETTLED" if self.unsettled else ""
        if self.dry_run:
            return self._preview_line(f"{sums}{missing}")
        text = (
            f"Run {self.run_id} {self.outcome}: {self.counts.get('read', 0):,} read = "
            f"{sums}{missing}; {left}{self.imports:,} imports, {self.requests:,} requests, "
            f"{self.seconds:,.1f} s."
        )
        return text + self._causes()

    def _preview_line(self, sums: str) -> str:
        left = f"{self.left:,} would leave; " if self.left else ""
        text = (
            f"Preview {self.run_id} {self.outcome}: {self.counts.get('read', 0):,} read, which "
            f"would be {sums}; {left}"
        )
        if self.preview is not None:
            calls, seconds = self.preview["calls"], self.preview["seconds_at_limits"]
            imports = calls["imports"] + calls["single_imports"]
            time = f", about {seconds:,} s at the account's limits" if seconds else ""
            text += f"{imports:,} imports, about {calls['total']:,} requests{time}. "
        return f"{text}Nothing was sent.{self._causes()}"

    def _causes(self) -> str:
        skipped = f" Skipped: {_counted(self.skipped)}." if self.skipped else ""
        if not self.codes:
            return skipped
        files = ", ".join(self.rejects.values())
        return f"{skipped} Refused: {_counted(self.codes)}; see {files}."

    def as_dict(self) -> dict[str, Any]:
        """The run as JSON takes it."""
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
            "preview": self.preview,
            "samples": self.samples,
        }

    def write(self, folder: str | Path) -> Path:
        """Write the JSON file; returns its path.

        Raises:
            OSError: It can't be written; the error names the file.
        """
        folder = Path(folder)
        private_files.make_folder(folder)
        path = folder / f"run-{self.run_id}.json"
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"
        # Half a surrogate pair is no text in UTF-8; escaped so, it is what JSON writes for it.
        private_files.replace(path, text)
        return path


def prune(folder: str | Path, keep: int, current: str) -> None:
    """Delete the reports of the oldest runs; what has not the name of a report stays.

    A report that can't be deleted stays too: the next run tries again.

    Args:
        folder: Where the reports are.
        keep: How many runs keep theirs; 0 for all.
        current: The id of the run whose report is there by now. It stays, whatever the clock says.
    """
    if not keep:
        return
    runs: dict[str, list[Path]] = {}
    for path in Path(folder).iterdir():
        name = _NAME.fullmatch(path.name)
        if name is not None and name[1] != current:
            runs.setdefault(name[1], []).append(path)
    # An id begins with the time at which its run began.
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
