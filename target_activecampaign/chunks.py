"""Many things, some at a time."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


def chunks(items: Iterable[T], size: int = 1000) -> Iterator[list[T]]:
    """Items in lists of `size`, the last perhaps shorter, read no sooner than needed."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
