"""Warnings about a stream's records, each given once."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from target_activecampaign.errors import MappingError
from target_activecampaign.model.names import without_marks
from target_activecampaign.text import quoted_list

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_activecampaign.config.settings import Settings
    from target_activecampaign.sync.changes import ChangeDetector

logger = logging.getLogger("target-activecampaign")

_MAX_NAMES = 1000
"""Limit of undeclared properties that are remembered per stream."""
_MAX_SHOWN = 20
_PLAIN_NAME = re.compile(r"[^\W\d][\w .:/-]{0,63}")


class RecordNotices:
    """Collects warnings about records for the operator.

    Args:
        settings: The settings.
        changes: Has the contacts that wait; they are dropped if the run must fail.
    """

    def __init__(self, settings: Settings, changes: ChangeDetector) -> None:
        self._settings = settings
        self._changes = changes
        self._undeclared: dict[str, dict[str, None]] = {}
        self._warned_of_nul: set[str] = set()

    def nul_removed(self, stream: str) -> None:
        """Warn that U+0000 was removed from a stream's values."""
        if stream not in self._warned_of_nul:
            self._warned_of_nul.add(stream)
            logger.warning("Stream '%s': the character U+0000 was removed from values.", stream)

    def add_undeclared(self, stream: str, names: Collection[str]) -> None:
        """Add unmapped properties of records that the schema lacks.

        Raises:
            MappingError: `unmapped_properties` is `fail`. Waiting contacts are not sent.
        """
        fails = self._settings.for_stream(stream).unmapped_properties == "fail"
        # A rejected record of an earlier run may have properties that the schema had then.
        if fails and not self._changes.rejected.is_retrying:
            self._changes.discard()
            raise MappingError(
                f"Stream '{stream}': records have unmapped properties that its schema lacks: "
                f"{_shown(names)}. Map each in 'field_mapping' to its destination, or to 'ignore'."
            )
        known = self._undeclared.setdefault(stream, {})
        if len(known) < _MAX_NAMES:
            known.update(dict.fromkeys(names))

    def warn_of_undeclared(self) -> None:
        """Warn of the properties that the schemas lack."""
        for stream, names in self._undeclared.items():
            logger.warning(
                "Stream '%s': records have properties that its schema lacks: %s. These are not "
                "sent. Have the tap announce them, or map each in 'field_mapping' to its "
                "destination, or to 'ignore'.",
                stream,
                _shown(names),
            )


def _shown(names: Collection[str]) -> str:
    """Return names for a message. Those that look like data, such as an address, are counted."""
    plain = sorted(name for name in names if _PLAIN_NAME.fullmatch(without_marks(name)))
    plain = plain[:_MAX_SHOWN]
    others = len(names) - len(plain)
    if not plain:
        return f"{others:,}, whose names are not shown, as they look like data"
    return quoted_list(plain) + (f" and {others:,} more" if others else "")
