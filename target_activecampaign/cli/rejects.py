"""`target-activecampaign --rejects FILE`: explain why the records in reject files were rejected.

The output has no values of records, so it can be shared. The reasons are the target's own sentences
without values, except for those of `_HIDDEN_REASONS`.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from singer_sdk.singerlib.json import deserialize_json

from target_activecampaign.cli.output import format_table, printable
from target_activecampaign.errors import RejectFileError
from target_activecampaign.model.codes import CODES
from target_activecampaign.redaction import RedactingFilter
from target_activecampaign.singer.parsing import read_record_message
from target_activecampaign.singer.reader import MAX_LINE_BYTES
from target_activecampaign.storage import output
from target_activecampaign.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Sequence


_HIDDEN_REASONS = frozenset({"RECORD_INVALID", "REFUSED_BY_IMPORT"})
"""Codes whose reasons are not shown. The first names keys of the record, which may be anything in
an open schema. The second repeats a text of ActiveCampaign, which may quote a value."""
_MAX_REASONS = 5
"""Reasons shown per stream and code, the most frequent first."""
_MAX_LINE_BYTES = 2 * MAX_LINE_BYTES
"""A line of a reject file is longer than the line of the record was."""
_CODE = re.compile(r"[A-Z][A-Z_]{0,49}")
_UNKNOWN_CODE = "This version of the target does not know the code. A newer version wrote it."


@dataclass
class Rejects:
    """The content of reject files.

    Attributes:
        files: The paths of the files.
        counts: Number of records by stream and code.
        reasons: Number of records by reason, for each stream and code.
    """

    files: Sequence[str]
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    @property
    def codes(self) -> list[str]:
        """The codes in the files, in the order of the documentation."""
        found = {code for _, code in self.counts}
        return [code for code in CODES if code in found] + sorted(found.difference(CODES))

    def as_dict(self) -> dict[str, Any]:
        """Return the content for JSON."""
        return {
            "files": list(self.files),
            "records": self.counts.total(),
            "refused": [
                {
                    "stream": stream,
                    "code": code,
                    "records": count,
                    "reasons": [
                        {"reason": reason, "records": number}
                        for reason, number in self._most_frequent(stream, code)
                    ],
                }
                for (stream, code), count in sorted(self.counts.items())
            ],
            "codes": {
                code: {"meaning": meaning, "do": advice, "resent": resent, "retried": retried}
                for code, (meaning, advice, resent, retried) in zip(
                    self.codes, map(_explain, self.codes), strict=True
                )
            },
        }

    def as_text(self, width: int | None = None) -> str:
        """Return the content as text.

        Args:
            width: The width to which lines are wrapped; None for no limit.
        """
        rows = [
            (stream, code, f"{count:,}", "yes" if _explain(code)[3] else "no")
            for (stream, code), count in sorted(self.counts.items())
        ]
        records = pluralize(self.counts.total(), "rejected record")
        parts = [
            f"{records} in {pluralize(len(self.files), 'file')}.",
            format_table(("stream", "code", "records", "retried"), rows, right=["records"]),
        ]
        parts += [self._describe(code, width) for code in self.codes]
        parts.append(
            "Correct the records, in the file or in a copy, and send them again:\n"
            f"  cat {shlex.join(self.files)} | target-activecampaign --config config.json"
        )
        return "\n\n".join(parts)

    def _describe(self, code: str, width: int | None) -> str:
        meaning, advice, *_ = _explain(code)
        lines = [code, f"  {meaning}", f"  What to do: {advice}"]
        for stream, other in sorted(self.counts):
            if other == code:
                lines += [
                    f"  {stream}, {pluralize(count, 'record')}: {reason}"
                    for reason, count in self._most_frequent(stream, code)
                ]
        if code in _HIDDEN_REASONS:
            lines.append("  The file has the reason for each record, as '_reject_reason'.")
        if width is None:
            return "\n".join(lines)
        return "\n".join(textwrap.fill(line, width, subsequent_indent="    ") for line in lines)

    def _most_frequent(self, stream: str, code: str) -> list[tuple[str, int]]:
        return self.reasons.get((stream, code), Counter()).most_common(_MAX_REASONS)


def show(files: Sequence[str], form: str | None) -> int:
    """Print the content of reject files, and return the exit code.

    Args:
        files: The paths of the files.
        form: `json`, or None for text.
    """
    try:
        rejects = read(files)
    except RejectFileError as error:
        click.echo(f"target-activecampaign: {error}", err=True)
        return 1
    if form == "json":
        text = json.dumps(rejects.as_dict(), indent=2, ensure_ascii=False)
    else:
        text = rejects.as_text(shutil.get_terminal_size().columns if output.is_terminal() else None)
    return output.show(text, "target-activecampaign")


def read(files: Sequence[str]) -> Rejects:
    """Read reject files.

    Raises:
        RejectFileError: A file is missing, or is not a reject file.
    """
    rejects = Rejects(files)
    for path in files:
        before = rejects.counts.total()
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - messages show the name as it was given
                limited = iter(partial(file.readline, _MAX_LINE_BYTES + 1), b"")
                for number, line in enumerate(limited, start=1):
                    if len(line) > _MAX_LINE_BYTES:
                        raise RejectFileError(
                            f"{path} is not a reject file: line {number} is too long."
                        )
                    if line.strip():
                        _add_line(rejects, line, f"{path} is not a reject file: line {number}")
        except OSError as error:
            raise RejectFileError(f"{path} can't be read: {error.strerror}.") from None
        if rejects.counts.total() == before:
            raise RejectFileError(f"{path} is not a reject file: it has no records.")
    return rejects


def _add_line(rejects: Rejects, line: bytes, place: str) -> None:
    try:
        # The SDK's parser reads everything that the target writes.
        message: Any = deserialize_json(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError, ArithmeticError):
        message = read_record_message(line)
        if message is None:
            raise RejectFileError(
                f"{place} is not JSON: it is cut off, or has another format."
            ) from None
    if not isinstance(message, dict) or "type" not in message:
        raise RejectFileError(f"{place} is not a Singer message.")
    if message["type"] != "RECORD":
        return
    record = message.get("record")
    record = record if isinstance(record, dict) else {}
    code = record.get("_reject_code")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise RejectFileError(f"{place} is a record without a valid '_reject_code'.")
    cause = _clean(str(message.get("stream"))), code
    rejects.counts[cause] += 1
    reason = record.get("_reject_reason")
    if reason and code in CODES and code not in _HIDDEN_REASONS:
        rejects.reasons.setdefault(cause, Counter())[_clean(str(reason))] += 1


def _explain(code: str) -> tuple[str, str, bool, bool]:
    """Return a code's meaning and advice, and whether it is resent in a run and retried later."""
    known = CODES.get(code)
    if known is None:
        return _UNKNOWN_CODE, "See docs/errors.md of that version.", False, False
    return known.meaning, known.advice, known.resent, known.retry


def _clean(text: str) -> str:
    """Return a text from a file without addresses and control characters."""
    return RedactingFilter().redact(printable(text))
