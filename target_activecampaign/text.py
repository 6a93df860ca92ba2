"""Texts: counts, quoted lists, and texts that UTF-8 or a database can't hold."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


def pluralize(count: int, noun: str) -> str:
    """Return a count with its noun, such as `1 record` or `1,200 records`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def quoted_list(names: Iterable[str]) -> str:
    """Return names in quotes, separated by commas; `no properties` if there is none."""
    return ", ".join(f"'{name}'" for name in names) or "no properties"


def is_encodable(text: str) -> bool:
    """Return whether UTF-8 can encode a text: it has no lone surrogate."""
    return text.isascii() or text == replace_surrogates(text)


def replace_surrogates(text: str) -> str:
    """Return a text with U+FFFD in place of each lone surrogate."""
    return "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in text)


def encodable(text: str) -> str:
    r"""Return a text that UTF-8 can encode: lone surrogates become escapes such as `\udc41`."""
    return text.encode("utf-8", "backslashreplace").decode()


def storable(text: str) -> str:
    r"""Return a text that any database can store: as `encodable`, and U+0000 becomes `\x00`."""
    return encodable(text).replace("\0", "\\x00")


def install_hint(extra: str) -> str:
    """Return sentences that say how to install an extra, with pip and with Meltano."""
    package = f"target-activecampaign[{extra}]"
    return (
        f"Install the extra '{extra}': pip install '{package}'. With Meltano, add [{extra}] to the "
        f"loader's 'pip_url' (such as pip_url: {package}) and run `meltano install`."
    )


def chunks(items: Iterable[T], size: int = 1000) -> Iterator[list[T]]:
    """Yield lists of `size` items; the last may be shorter. Items are read as they are needed."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
