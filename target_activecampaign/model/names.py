"""Comparison of names: exact, without case, and without punctuation and spaces.

Taps, files and people spell the same name in several ways: composed or decomposed (NFC, NFD), in
another case, with `_` for a space. A name means its best match. Combining marks count in each
comparison, as they carry vowels in many scripts.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from target_activecampaign.text import quoted_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Rank(IntEnum):
    """The quality of a match between two names; lower is better."""

    EXACT = 0
    CASELESS = 1
    SIMILAR = 2


_MISSPELT = 0.8
"""Similarity from which two names are taken for one."""

_LETTERS = "LMN"
"""Unicode categories that distinguish names: letters, marks and numbers."""

_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")
"""Soft hyphens, byte order marks and the like; the first column of a file may begin with one."""

_SELECTORS = re.compile("[\u034f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Marks that only select how a letter is drawn."""

_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_JOINING_DASH = re.compile(r"(?<=[^\W_])( ?)-\1(?=[^\W_])")


def nfc(text: str) -> str:
    """Return a text in NFC, the composed Unicode form."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def visible(text: str) -> str:
    """Return a text without invisible characters."""
    return text if text.isascii() else _INVISIBLE.sub("", text)


def without_marks(text: str) -> str:
    """Return a text without combining marks, such as the vowels of Thai and Hindi."""
    return "".join(one for one in text if unicodedata.category(one)[0] != "M")


def exact(name: str) -> str:
    """Return a name in NFC, without outer spaces."""
    return nfc(name.strip())


def caseless(name: str) -> str:
    """Return a name in NFC and lower case (case-folded beyond ASCII), without outer spaces."""
    if name.isascii():
        return name.strip().lower()
    # Unicode's canonical caseless matching (D145), then NFC.
    return nfc(unicodedata.normalize("NFD", name.strip()).casefold())


def normalised(name: str) -> str:
    """Return the letters, marks and numbers of `caseless`: `E-Mail Address 1` is `emailaddress1`.

    A name without any of these keeps its punctuation, or `+` would equal `-`.
    """
    text = caseless(name)
    letters = (one for one in _SELECTORS.sub("", text) if unicodedata.category(one)[0] in _LETTERS)
    return nfc("".join(letters)) or "".join(text.split())


def rank(name: str, other: str) -> Rank | None:
    """Return the rank of the match of two names; None if they don't match."""
    if exact(name) == exact(other):
        return Rank.EXACT
    if caseless(name) == caseless(other):
        return Rank.CASELESS
    if normalised(name) == normalised(other) and not contradict(name, other):
        return Rank.SIMILAR
    return None


def contradict(name: str, other: str) -> bool:
    """Return whether the symbols of two otherwise equal names contradict each other.

    Those of `Score +` and `Score -` do, and of prices in two currencies. A symbol that only one
    name has does not: `$email` matches `email`.
    """
    one, two = symbols(name), symbols(other)
    return one != two and bool(one) and bool(two)


def symbols(name: str) -> str:
    """Return the symbols of a name: `#`, `%`, Unicode symbols, and dashes not between words."""
    text = _JOINING_DASH.sub("", _DASHES.sub("-", " ".join(name.split())))
    return "".join(one for one in text if one in "-#%" or unicodedata.category(one)[0] == "S")


def find_spelling(name: str, names: Iterable[str]) -> str | None:
    """Return the name among `names` that equals `name`, or else the only one equal in NFC."""
    known = list(names)
    if name in known:
        return name
    wanted = nfc(name)
    found = [one for one in known if nfc(one) == wanted]
    return found[0] if len(found) == 1 else None


class Respelling:
    """Renames properties of records to their schema's spelling where only NFC and NFD differ.

    Args:
        known: The properties as the schema spells them.

    Attributes:
        others: The other spellings found in records, each with the schema's.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = set(known)
        self.others: dict[str, str] = {}

    def learn(self, names: Iterable[str]) -> None:
        """Look for other spellings among the property names of records."""
        for name in names:
            if not name.isascii() and name not in self._known:
                found = find_spelling(name, self._known)
                if found is not None:
                    self.others[name] = found

    def rename(self, record: dict[str, Any]) -> None:
        """Rename a record's properties in place, except one that it has in both spellings."""
        for other in self.others.keys() & record.keys():
            if (known := self.others[other]) not in record:
                record[known] = record.pop(other)


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the candidate nearest to a name, or an empty text."""
    by_fold = {caseless(candidate): candidate for candidate in reversed(list(candidates))}
    near = difflib.get_close_matches(caseless(name), by_fold, n=1, cutoff=0.6)
    return f" Did you mean '{by_fold[near[0]]}'?" if near else ""


def find_misspelt(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that a name is most likely meant for; None if there is none.

    This is stricter than `did_you_mean`: the names differ in a few letters, in punctuation, or in
    what stands before one of them, such as a schema's name.
    """
    word = normalised(name)
    for candidate in candidates:
        other = normalised(candidate)
        is_near = difflib.SequenceMatcher(None, word, other).ratio() >= _MISSPELT
        if is_near or (word and other and (word.endswith(other) or other.endswith(word))):
            return candidate
    return None


def named_with_hints(names: Sequence[str], candidates: Sequence[str]) -> str:
    """Return the end of a sentence: the names in quotes, a full stop, and a hint for each name."""
    hints = "".join(did_you_mean(name, candidates) for name in names)
    return f"{quoted_list(names)}.{hints}"
