"""The rows of outcomes as an outsider reads them: tables, or files loaded by their keys."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa

RUNS, OUTCOMES, LATEST = "activecampaign_runs", "activecampaign_outcomes", "activecampaign_latest"
REPORTED = ("added", "changed", "unchanged", "skipped", "merged", "invalid", "rejected")


class OutcomePlace:
    """A place for rows of outcomes.

    Args:
        url: The setting `outcomes_url`.
        schema: The setting `outcomes_schema`.
    """

    def __init__(self, url: str, schema: str | None = None) -> None:
        self.url = url
        self.schema = schema
        self.settings = {"outcomes_url": url, "outcomes_schema": schema}

    @property
    def is_folder(self) -> bool:
        return self.url.startswith("file://")

    @property
    def files(self) -> list[Path]:
        """The files of a folder, in the order of their runs."""
        return sorted(Path(self.url.removeprefix("file://")).glob("*.jsonl"))

    def read(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table, in the order of its key."""
        if self.is_folder:
            return self._loaded(table)
        engine = sa.create_engine(self.url)
        try:
            with engine.connect() as db:
                order: sa.ColumnClause[str] = sa.column("run" if table == RUNS else "id")
                of = sa.table(table, schema=self.schema)
                rows = db.execute(sa.select(sa.text("*")).select_from(of).order_by(order))
                return [dict(row._mapping) for row in rows]
        finally:
            engine.dispose()

    def _loaded(self, table: str) -> list[dict[str, Any]]:
        """The rows as a target has them that loads the files one after the other."""
        keys: list[str] = []
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for path in self.files:
            assert path.stat().st_mode & 0o777 == 0o600
            for line in path.read_text().splitlines():
                message = json.loads(line)
                if message["stream"] != table:
                    continue
                if message["type"] == "SCHEMA":
                    keys = message["key_properties"]
                    columns = set(message["schema"]["properties"])
                else:
                    record = message["record"]
                    assert record.keys() <= columns
                    rows[tuple(record[key] for key in keys)] = record
        return [rows[key] for key in sorted(rows)]

    def outcomes(self) -> list[dict[str, Any]]:
        return self.read(OUTCOMES)

    def runs(self) -> list[dict[str, Any]]:
        return self.read(RUNS)

    def latest(self) -> dict[str, dict[str, Any]]:
        """The latest rows by their key."""
        return {row["key"]: row for row in self.read(LATEST)}

    def counts(self, run: str | None = None) -> dict[str, int]:
        """The rows by outcome, of one run or of all."""
        rows = [row for row in self.outcomes() if run in (None, row["run"])]
        return dict(Counter(row["outcome"] for row in rows))


def reported(report: dict[str, Any], *, unchanged: bool = False) -> dict[str, int]:
    """The counts of a report that have rows."""
    wanted = REPORTED if unchanged else [one for one in REPORTED if one != "unchanged"]
    return {one: report["counts"][one] for one in wanted if report["counts"][one]}
