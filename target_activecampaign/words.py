"""Words that change with a number."""

from __future__ import annotations


def several(count: int, what: str) -> str:
    """So many of something, such as `1 record` and `1,200 records`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
