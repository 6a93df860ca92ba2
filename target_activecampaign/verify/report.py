"""The result of a verification: JSON, a page, a table."""

from __future__ import annotations

import json
import logging
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_activecampaign.reporting.page import write_verification
from target_activecampaign.storage import private_files
from target_activecampaign.verify.findings import AS_ASSUMED, DIFFERS, UNCLEAR, Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

logger = logging.getLogger("target-activecampaign")


def as_dict(
    findings: Sequence[Finding], *, address: str, list_name: str, moment: float
) -> dict[str, Any]:
    """Return the result for JSON.

    Args:
        findings: The findings, one per fact.
        address: The account's API address.
        list_name: The list that was used.
        moment: The time of the verification, in seconds since the epoch.
    """
    return {
        "ok": not any(one.needs_a_person for one in findings),
        "address": address,
        "list": list_name,
        "time": datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="seconds"),
        "facts": [one.as_dict() for one in findings],
    }


def write(result: dict[str, Any], folder: str, secrets: Collection[str]) -> Path:
    """Write the JSON and the page.

    Args:
        result: The result, from `as_dict`.
        folder: The folder of the reports.
        secrets: Texts that must not be shown.

    Returns:
        The path of the page.

    Raises:
        OSError: They can't be written.
    """
    stamp = datetime.fromisoformat(result["time"]).strftime("%Y%m%dT%H%M%S")
    place = Path(folder)
    private_files.make_folder(place)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    private_files.replace(place / f"verify-{stamp}.json", text + "\n")
    page = place / f"verify-{stamp}.html"
    write_verification({**result, "summary": summary(result)}, page, secrets)
    return page


def rows(findings: Sequence[Finding]) -> list[tuple[str, str, str, str]]:
    """Return the rows of a table: fact, value, result, and what the target does about it."""
    return [(one.fact.name, one.seen or "-", one.result, one.effect) for one in findings]


def summary(result: dict[str, Any]) -> str:
    """Return the result in one sentence."""
    counts = Counter(one["result"] for one in result["facts"])
    words = {AS_ASSUMED: "are as assumed", DIFFERS: "differ", UNCLEAR: "could not be told"}
    parts = [f"{counts[kind]} {text}" for kind, text in words.items() if counts[kind]]
    return f"{len(result['facts'])} facts: {', '.join(parts)}."
