"""Words that change with a number, and texts that can't be written."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def several(count: int, what: str) -> str:
    """So many of something, such as `1 record` and `1,200 records`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def is_unicode(text: str) -> bool:
    """Whether a text can be sent: it holds no half of a surrogate pair."""
    return text.isascii() or text == as_unicode(text)


def as_unicode(text: str) -> str:
    """A text with a replacement character for each half of a surrogate pair."""
    return "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in text)


def encodable(text: str) -> str:
    """Escape each half of a surrogate pair, so that a text can be written in UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def how_to_install(extra: str) -> str:
    """Return how an extra is installed with pip and with Meltano, as a sentence."""
    package = f"target-activecampaign[{extra}]"
    return (
        f"Install the extra '{extra}': pip install '{package}'. With Meltano, add [{extra}] to the "
        f"loader's 'pip_url' (such as pip_url: {package}) and run `meltano install`."
    )


T = TypeVar("T")


def chunks(items: Iterable[T], size: int = 1000) -> Iterator[list[T]]:
    """Items in lists of `size`, the last perhaps shorter, read no sooner than needed."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def listed(names: Iterable[str]) -> str:
    """Names as a message quotes them."""
    return ", ".join(f"'{name}'" for name in names) or "no properties"
