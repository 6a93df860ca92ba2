"""Names compared: exactly, but for case, and but for punctuation and blanks.

Taps, files and people write one name in several ways: composed or decomposed (NFC, NFD), in
another case, with `_` for a blank. A name always stands for the best match. Combining marks are
letters of most of the world's scripts, so they count in each form.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Rank(IntEnum):
    """How well two names match; the lower the better."""

    EXACT = 0
    CASELESS = 1
    SIMILAR = 2


_LETTERS = "LMN"
"""The Unicode categories that a name is told from others by: letters, marks and numbers."""

_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")
"""Soft hyphens, byte order marks and the like: a file's first property may begin with one."""

_SELECTORS = re.compile("[\u034f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Marks that say how a letter is drawn, and are none themselves."""

_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_JOINING_DASH = re.compile(r"(?<=[^\W_])( ?)-\1(?=[^\W_])")


def nfc(text: str) -> str:
    """A text in NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def visible(text: str) -> str:
    """A text without characters that nobody sees."""
    return text if text.isascii() else _INVISIBLE.sub("", text)


def without_marks(text: str) -> str:
    """A text without combining marks, such as the vowels of Thai and Hindi."""
    return "".join(one for one in text if unicodedata.category(one)[0] != "M")


def exact(name: str) -> str:
    """A name in NFC, without outer blanks."""
    return nfc(name.strip())


def caseless(name: str) -> str:
    """Likewise, without case."""
    if name.isascii():
        return name.strip().lower()
    # Unicode's canonical caseless matching (D145), in NFC in the end.
    return nfc(unicodedata.normalize("NFD", name.strip()).casefold())


def normalised(name: str) -> str:
    """Likewise, of letters, marks and numbers alone: `E-Mail Address 1` is `emailaddress1`.

    A name that has none of these stays whole, or `+` would be `-`.
    """
    text = caseless(name)
    kept = (one for one in _SELECTORS.sub("", text) if unicodedata.category(one)[0] in _LETTERS)
    return nfc("".join(kept)) or "".join(text.split())


def rank(name: str, other: str) -> Rank | None:
    """How well two names match; None if they don't."""
    if exact(name) == exact(other):
        return Rank.EXACT
    if caseless(name) == caseless(other):
        return Rank.CASELESS
    if normalised(name) == normalised(other) and not contradict(name, other):
        return Rank.SIMILAR
    return None


def contradict(name: str, other: str) -> bool:
    """Whether two names that differ in punctuation alone mean different things by it.

    So do `Score +` and `Score -`, or prices in two currencies. A symbol that only one of them
    has is no contradiction: `$email` is `email`.
    """
    one, two = symbols(name), symbols(other)
    return one != two and bool(one) and bool(two)


def symbols(name: str) -> str:
    """The symbols of a name, with `#`, `%`, and dashes that don't join two words."""
    text = _JOINING_DASH.sub("", _DASHES.sub("-", " ".join(name.split())))
    return "".join(one for one in text if one in "-#%" or unicodedata.category(one)[0] == "S")


def spelled(name: str, names: Iterable[str]) -> str | None:
    """The one of some names that is the same, or else the only one that is the same in NFC."""
    known = list(names)
    if name in known:
        return name
    wanted = nfc(name)
    found = [one for one in known if nfc(one) == wanted]
    return found[0] if len(found) == 1 else None


class Respelling:
    """Records renamed to what their schema calls their properties, where only NFC and NFD differ.

    Args:
        known: The properties that are known.

    Attributes:
        others: Other spellings of these that records have had, each with the known one.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = set(known)
        self.others: dict[str, str] = {}

    def learn(self, names: Iterable[str]) -> None:
        """Take names that records have."""
        for name in names:
            if not name.isascii() and name not in self._known:
                found = spelled(name, self._known)
                if found is not None:
                    self.others[name] = found

    def rename(self, record: dict[str, Any]) -> None:
        """Rename a record's properties, but for one that it has in both forms."""
        for other in self.others.keys() & record.keys():
            if (known := self.others[other]) not in record:
                record[known] = record.pop(other)


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the candidate nearest to a name, or nothing."""
    by_fold = {caseless(candidate): candidate for candidate in reversed(list(candidates))}
    near = difflib.get_close_matches(caseless(name), by_fold, n=1, cutoff=0.6)
    return f" Did you mean '{by_fold[near[0]]}'?" if near else ""


def named_with_hints(names: Sequence[str], candidates: Sequence[str]) -> str:
    """`'a', 'b'.`, and after it what each may have been meant to be: the end of a sentence."""
    hints = "".join(did_you_mean(name, candidates) for name in names)
    listed = ", ".join(f"'{name}'" for name in names)
    return f"{listed}.{hints}"
