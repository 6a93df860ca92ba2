"""The figures of each stream of a run, which the ledger stores for later runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.ledger import StreamFigures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.sync.segment import Segment


def figures_of(
    segments: Mapping[str, Segment],
    suppressions: Iterable[str],
    accounting: RecordAccounting,
    ledger: Ledger,
) -> list[StreamFigures]:
    """Return the figures of the streams of a run.

    Args:
        segments: The segments of its streams of profiles, by stream.
        suppressions: Its streams of suppressed people.
        accounting: The outcomes of their records.
        ledger: Has the members of the segments.
    """
    streams: dict[str, Segment | None] = {**dict.fromkeys(suppressions), **segments}
    ledger.flush()
    sizes = ledger.history.sizes([one.number for one in segments.values()])
    figures = []
    for name, segment in streams.items():
        counts = accounting.counts_of(name)
        joined, removed, held_back, size = 0, 0, 0, None
        if segment is not None:
            joined = accounting.joined[segment.number]
            removed = accounting.removed[segment.number]
            held_back = segment.consent.held_back
            held_back += segment.outcome.held_back if segment.outcome is not None else 0
            size = sizes.get(segment.number, 0)
        figures.append(
            StreamFigures(
                stream=name,
                segment=None if segment is None else segment.number,
                read=counts["read"],
                refused=counts["invalid"] + counts["rejected"],
                added=joined,
                removed=removed,
                held_back=held_back,
                size=size,
            )
        )
    return figures
