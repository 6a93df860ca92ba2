"""What consent costs: profiles with a property that is read, or ignored, and some that say no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures import Figure
from processes import Target, accepted
from profiles import Profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

_IGNORED = {"field_mapping": {"marketing_consent": "ignore"}}
_ROUNDS = 3
_NOBODY = 10**9


def measure(count: int) -> Iterator[Figure]:
    """Load profiles whose consent is read, and in turn the same ones whose consent is ignored.

    Args:
        count: Profiles.
    """
    consenting = Profiles(count, refusing=_NOBODY)
    with accepted(**_IGNORED) as ignoring, accepted() as reading:
        yield from _fresh("ignored", ignoring, consenting)
        yield from _fresh("read", reading, consenting)
        best = {"ignored": float("inf"), "read": float("inf")}
        for _ in range(_ROUNDS):
            for name, target in (("ignored", ignoring), ("read", reading)):
                best[name] = min(best[name], _each(target, consenting))
        for name, each in best.items():
            yield Figure(f"consent {name}, unchanged, best of {_ROUNDS}", each, "µs")
    refusing = Profiles(count, refusing=3)
    with accepted() as target:
        yield from _fresh("read, every third says no", target, refusing)
        each = min(_each(target, refusing) for _ in range(_ROUNDS))
        yield Figure(f"read, every third says no, unchanged, best of {_ROUNDS}", each, "µs")
        yield Figure("the same, the ledger", target.ledger_bytes / 1e6, "MB")


def _fresh(what: str, target: Target, profiles: Profiles) -> Iterator[Figure]:
    yield Figure(f"consent {what}, fresh", _each(target, profiles), "µs")


def _each(target: Target, profiles: Profiles) -> float:
    return target.load(profiles).cpu / profiles.count * 1e6
