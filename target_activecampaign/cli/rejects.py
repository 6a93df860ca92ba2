"""`target-activecampaign --rejects FILE`: why the records of reject files were refused.

No value of a record is shown, so that the output can be handed on. A reason is the target's own
sentence and quotes none, but for those that `_REASONS_STAY` names.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib.json import deserialize_json

from target_activecampaign.errors import RejectFileError
from target_activecampaign.model.codes import CODES
from target_activecampaign.redaction import RedactingFilter
from target_activecampaign.singer.parsing import read_record_message
from target_activecampaign.singer.reader import MAX_LINE_BYTES
from target_activecampaign.storage import output
from target_activecampaign.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_REASONS_STAY = frozenset({"RECORD_INVALID", "REFUSED_BY_IMPORT"})
"""Codes whose reasons stay in the file: one names keys of the record, which may be anything where a
schema is open; the other repeats what ActiveCampaign says, which may quote a value."""
_REASONS = 5
"""Reasons shown of a stream and code, the most frequent first."""
_LONGEST_LINE = 2 * MAX_LINE_BYTES
"""Bytes of a line, which holds more than the record's own line did."""
_CODE = re.compile(r"[A-Z][A-Z_]{0,49}")
_NEWER = "This version of the target does not know the code: a newer one has written it."


@dataclass
class Rejects:
    """What reject files hold.

    Attributes:
        files: Their paths.
        counts: How many records by stream and code.
        reasons: How many by reason, for each stream and code.
    """

    files: Sequence[str]
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    @property
    def codes(self) -> list[str]:
        """The codes, in the order of the documentation."""
        found = {code for _, code in self.counts}
        return [code for code in CODES if code in found] + sorted(found.difference(CODES))

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        return {
            "files": list(self.files),
            "records": self.counts.total(),
            "refused": [
                {
                    "stream": stream,
                    "code": code,
                    "records": count,
                    "reasons": [
                        {"reason": reason, "records": several}
                        for reason, several in self._most_frequent(stream, code)
                    ],
                }
                for (stream, code), count in sorted(self.counts.items())
            ],
            "codes": {
                code: {"meaning": meaning, "do": advice, "retried": again}
                for code, (meaning, advice, again) in zip(
                    self.codes, map(_explained, self.codes), strict=True
                )
            },
        }

    def as_text(self, width: int | None = None) -> str:
        """All of it for people.

        Args:
            width: Where lines are broken; None leaves them whole.
        """
        rows = [("stream", "code", "records", "retried")]
        for (stream, code), count in sorted(self.counts.items()):
            again = "yes" if _explained(code)[2] else "no"
            rows.append((stream, code, f"{count:,}", again))
        records = pluralize(self.counts.total(), "refused record")
        parts = [f"{records} in {pluralize(len(self.files), 'file')}.", _table(rows)]
        parts += [self._about(code, width) for code in self.codes]
        parts.append(
            "When they are corrected, in the file itself or in a copy, send them again:\n"
            f"  cat {shlex.join(self.files)} | target-activecampaign --config config.json"
        )
        return "\n\n".join(parts)

    def _about(self, code: str, width: int | None) -> str:
        meaning, advice, _ = _explained(code)
        lines = [code, f"  {meaning}", f"  What to do: {advice}"]
        for stream, other in sorted(self.counts):
            if other == code:
                lines += [
                    f"  {stream}, {pluralize(count, 'record')}: {reason}"
                    for reason, count in self._most_frequent(stream, code)
                ]
        if code in _REASONS_STAY:
            lines.append("  Each record's own reason stands in the file, as '_reject_reason'.")
        if width is None:
            return "\n".join(lines)
        return "\n".join(textwrap.fill(line, width, subsequent_indent="    ") for line in lines)

    def _most_frequent(self, stream: str, code: str) -> list[tuple[str, int]]:
        return self.reasons.get((stream, code), Counter()).most_common(_REASONS)


def show(files: Sequence[str], form: str | None) -> int:
    """Print why the records of reject files were refused; returns the exit code.

    Args:
        files: Their paths.
        form: `json`, or None for people.
    """
    try:
        rejects = read(files)
    except RejectFileError as error:
        print(f"target-activecampaign: {error}", file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    if form == "json":
        text = json.dumps(rejects.as_dict(), indent=2, ensure_ascii=False)
    else:
        text = rejects.as_text(shutil.get_terminal_size().columns if output.is_terminal() else None)
    return output.show(text, "target-activecampaign")


def read(files: Sequence[str]) -> Rejects:
    """Read reject files.

    Raises:
        RejectFileError: One is missing or is no reject file.
    """
    rejects = Rejects(files)
    for path in files:
        before = rejects.counts.total()
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - the name is shown as it was given
                limited = iter(partial(file.readline, _LONGEST_LINE + 1), b"")
                for number, line in enumerate(limited, start=1):
                    if len(line) > _LONGEST_LINE:
                        raise RejectFileError(
                            f"{path} is no reject file: line {number} never ends."
                        )
                    if line.strip():
                        _take(rejects, line, f"{path} is no reject file: line {number}")
        except OSError as error:
            raise RejectFileError(f"{path} can't be read: {error.strerror}.") from None
        if rejects.counts.total() == before:
            raise RejectFileError(f"{path} is no reject file: it has no record.")
    return rejects


def _take(rejects: Rejects, line: bytes, place: str) -> None:
    try:
        # The SDK's own JSON takes all that the target could read and has written.
        message: Any = deserialize_json(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError, ArithmeticError):
        message = read_record_message(line)
        if message is None:
            raise RejectFileError(
                f"{place} is no JSON: it is cut off, or of another format."
            ) from None
    if not isinstance(message, dict) or "type" not in message:
        raise RejectFileError(f"{place} is no Singer message.")
    if message["type"] != "RECORD":
        return
    record = message.get("record")
    record = record if isinstance(record, dict) else {}
    code = record.get("_reject_code")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise RejectFileError(f"{place} is a record without a '_reject_code' of the target's.")
    cause = _shown(str(message.get("stream"))), code
    rejects.counts[cause] += 1
    reason = record.get("_reject_reason")
    if reason and code in CODES and code not in _REASONS_STAY:
        rejects.reasons.setdefault(cause, Counter())[_shown(str(reason))] += 1


def _explained(code: str) -> tuple[str, str, bool]:
    """What a code means, what to do, and whether the run had sent the contact more than once."""
    known = CODES.get(code)
    if known is None:
        return _NEWER, "See docs/errors.md of that version.", False
    return known.meaning, known.advice, known.retried


def _shown(text: str) -> str:
    """A text out of a file, without addresses and without what would steer a terminal."""
    printable = "".join(one if one.isprintable() else "?" for one in text)
    return RedactingFilter().redact(printable)


def _table(rows: Iterable[tuple[str, str, str, str]]) -> str:
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    return "\n".join(
        f"{stream:<{widths[0]}}  {code:<{widths[1]}}  {count:>{widths[2]}}  {again}"
        for stream, code, count, again in listed
    )
