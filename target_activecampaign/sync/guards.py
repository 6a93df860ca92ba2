"""Guards: checks that stop a mirror's removals if its source looks broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_activecampaign.sync.segment import Segment

_RENAMES_ALWAYS_ALLOWED = 20
"""Renames that no percentage stops: 5 % of a short list would be nobody."""


def guard_trips(segment: Segment, people: int | None, leavers: int, changed: int) -> str | None:
    """Return the text of the first guard that trips; None if none does.

    Percentages refer to the contacts of the last complete sync or, if deleted records make
    contacts leave, to the members at the start of the run.

    Args:
        segment: The mirror.
        people: The number of contacts in the sync; None if the stream was not complete.
        leavers: The number of contacts that would be removed.
        changed: The number of profiles that changed since the last complete sync.
    """
    guards = segment.settings.guards
    known = segment.members_known if segment.leaves_when_deleted else segment.state.size or 0
    if people is not None and (text := source_shrank(segment, people)) is not None:
        what = text
    elif guards.max_leave is not None and leavers > guards.max_leave:
        what = f"{leavers:,} contacts would be removed (guards.max_leave: {guards.max_leave:,})"
    elif guards.max_leave_pct is not None and 100 * leavers > guards.max_leave_pct * known:
        what = (
            f"{leavers:,} of {known:,} contacts would be removed "
            f"(guards.max_leave_pct: {guards.max_leave_pct:g})"
        )
    elif guards.max_change_pct is not None and 100 * changed > guards.max_change_pct * known:
        what = (
            f"{changed:,} of {known:,} profiles have changed "
            f"(guards.max_change_pct: {guards.max_change_pct:g})"
        )
    else:
        return None
    return f"{describe_segment(segment)}: {what}."


def rename_guard_trips(segment: Segment, renames: int) -> str | None:
    """Return the text of the guard if too many people have another address; None if not.

    The percentage refers to the source rows that were known at the start of the run.

    Args:
        segment: The segment.
        renames: The number of people who would be renamed.
    """
    guards, known = segment.settings.guards, segment.rows_known
    if guards.max_renames is not None and renames > guards.max_renames:
        what = f"{renames:,} people would be renamed (guards.max_renames: {guards.max_renames:,})"
    elif (
        guards.max_rename_pct is not None
        and renames > _RENAMES_ALWAYS_ALLOWED
        and 100 * renames > guards.max_rename_pct * known
    ):
        what = (
            f"{renames:,} of {known:,} people would be renamed "
            f"(guards.max_rename_pct: {guards.max_rename_pct:g})"
        )
    else:
        return None
    return f"{describe_segment(segment)}: {what}."


def consent_guard_trips(segment: Segment, count: int, active: int | None) -> str | None:
    """Return the text of the guard if too many contacts would be unsubscribed; None if not.

    Args:
        segment: A segment of the list.
        count: The number of active contacts whose person has not consented or is suppressed.
        active: The number of all active contacts of the list; None if it is not known.
    """
    most = segment.settings.guards.max_consent_loss_pct
    if most is None or 100 * count <= most * (active or 0):
        return None
    return (
        f"{describe_segment(segment)}: {count:,} of {active or 0:,} active contacts would be "
        "unsubscribed, as they have not consented or are suppressed "
        f"(guards.max_consent_loss_pct: {most:g})."
    )


def stops(segment: Segment) -> bool:
    """Return whether a guard that trips stops the segment, and store that it did.

    `override_once` lets a run through that follows one that was stopped without it. Left in the
    configuration, it lets no run through, as nobody may have checked the source.
    """
    if not segment.settings.guards.override_once:
        segment.ledger.segments.trip_guard(segment.number)
        segment.has_tripped = True
        return True
    return not segment.state.tripped


def source_shrank(segment: Segment, people: int) -> str | None:
    """Return the text of the guard `min_source_pct`; None if it does not trip.

    Args:
        segment: The mirror.
        people: The number of contacts in the sync.
    """
    least, last = segment.settings.guards.min_source_pct, segment.state.size or 0
    if least is None or 100 * people >= least * last:
        return None
    return (
        f"the source has shrunk from {last:,} contacts to {people:,} "
        f"(guards.min_source_pct: {least:g})"
    )


def describe_segment(segment: Segment) -> str:
    """Return the stream and the list of a segment, for messages."""
    return f"Stream '{segment.stream}', list {segment.target.id}"


def how_to_go_on(segments: Iterable[Segment], *, dry_run: bool) -> str:
    """Return what to do after a guard has tripped.

    Args:
        segments: All segments of the run.
        dry_run: Whether it was a preview.
    """
    if dry_run:
        return (
            "A run would deliver everything else, and end with this error. Check the source. If it "
            "is right, run once, then once more with 'guards.override_once' set to true."
        )
    once_more = "run once more with 'guards.override_once' set to true."
    if any(one.settings.guards.override_once for one in segments):
        once_more = (
            "run once with 'guards.override_once' set to false, then once more with it set to "
            "true. It only lets a run through if the run before was stopped without it."
        )
    right = "Check the source. If it is right,"
    return f"Everything else was delivered. {right} {once_more}"
