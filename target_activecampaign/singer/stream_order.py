"""The order in which messages are processed: suppression streams come first.

A tap may send profiles before them. Then the messages of profiles wait, until the suppression
streams have come or the input ends.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from target_activecampaign.errors import SettingError
from target_activecampaign.model.names import find_misspelt, nfc
from target_activecampaign.singer.flattening import without_booleans
from target_activecampaign.text import quoted_list

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_activecampaign.singer.stream_maps import StreamMaps

logger = logging.getLogger("target-activecampaign")


class Turn(Enum):
    """The time at which a message is processed."""

    NOW = "now"
    """At once."""
    LATER = "later"
    """Once the suppression streams have come."""
    TWICE = "twice"
    """At once for the suppression stream that is made of it, later for its profiles."""
    AFTER_OTHERS = "after others"
    """At once, after all that waits: the suppression streams have come."""


@dataclass
class _Source:
    """A stream of the tap.

    Attributes:
        suppresses: The suppression streams that stream maps make of it.
        sends: Whether they make a stream of profiles of it.
        has_come: Whether it had a record, or a STATE right after its SCHEMA.
    """

    suppresses: set[str]
    sends: bool
    has_come: bool = False


class StreamOrder:
    """Decides when messages are processed.

    A suppression stream has come once it had a record, or a STATE right after its SCHEMA, and then
    another stream comes. Its later records are too late for what was sent by then.

    Args:
        wanted: The suppression streams of the settings, by their names after stream maps.
        configured: All streams that have settings of their own, by the same names.
        maps: The stream maps.
    """

    def __init__(self, wanted: Iterable[str], configured: Iterable[str], maps: StreamMaps) -> None:
        self._wanted = set(map(nfc, wanted))
        self._configured = set(map(nfc, configured))
        self._maps = maps
        self._names: set[str] = set()
        self._sources: dict[str, _Source] = {}
        self._latest = ""
        self._holds = False

    def turn(self, kind: str, stream: str, message: Mapping[str, Any] | None) -> Turn:
        """Return when a message is processed. Call it for each message, in their order.

        Args:
            kind: Its type.
            stream: Its stream; empty if it has none.
            message: The message, if it is a SCHEMA.
        """
        if kind == "STATE":
            if self._latest in self._sources:
                self._sources[self._latest].has_come = True
            return Turn.LATER if self._holds else Turn.NOW
        if kind == "SCHEMA" and message is not None:
            self._announce(stream, message)
        source = self._sources.get(stream)
        if source is None:
            return Turn.NOW  # it is faulty, and ends the run
        turn = self._turn_of(kind, stream, source)
        if kind in ("RECORD", "BATCH"):
            source.has_come = True
        return turn

    def _turn_of(self, kind: str, stream: str, source: _Source) -> Turn:
        if not source.sends:
            return Turn.NOW
        if kind == "ACTIVATE_VERSION":
            return Turn.LATER if self._holds else Turn.NOW
        missing = self._missing(stream)
        if not missing:
            return Turn.AFTER_OTHERS
        if kind == "SCHEMA" and not (self._holds or source.suppresses):
            return Turn.NOW
        if kind != "SCHEMA" and not self._holds:
            logger.info(
                "Stream '%s' comes before the suppression streams %s. So all profiles wait in a "
                "temporary file until those have come or the input ends. To avoid this, have the "
                "tap send the suppression streams first.",
                stream,
                quoted_list(sorted(missing)),
            )
        self._holds = True
        return Turn.TWICE if source.suppresses else Turn.LATER

    def check_names(self) -> None:
        """Check at the end of the input that no suppression stream is misspelt in the settings.

        Otherwise its people would be sent as profiles.

        Raises:
            SettingError: A stream without settings has almost the name of one that did not come.
        """
        others = sorted(self._names - self._configured)
        for wanted in sorted(self._wanted - self._names):
            found = find_misspelt(wanted, others)
            if found is not None:
                raise SettingError(
                    f"'streams.{wanted}' has the role 'suppression', but the input has no such "
                    f"stream. It has stream '{found}', which has no settings. No profile was sent. "
                    f"If '{found}' is the suppression stream, rename 'streams.{wanted}' to "
                    f"'streams.{found}'. If it has profiles, set 'streams.{found}.role' to "
                    "'profiles'."
                )

    def _missing(self, now: str) -> set[str]:
        """Return the suppression streams that have not come before the stream that comes now."""
        come = [one.suppresses for name, one in self._sources.items() if one.has_come]
        if now in self._sources and self._sources[now].has_come:
            come.remove(self._sources[now].suppresses)
        return self._wanted.difference(*come)

    def _announce(self, stream: str, message: Mapping[str, Any]) -> None:
        names = self._names_of(stream, message)
        if names is None:
            self._sources.pop(stream, None)
            return
        self._names |= names
        before = self._sources.get(stream)
        suppresses = names & self._wanted
        sends = bool(names - self._wanted)
        self._sources[stream] = _Source(suppresses, sends, before is not None and before.has_come)
        self._latest = stream

    def _names_of(self, stream: str, message: Mapping[str, Any]) -> set[str] | None:
        """Return the names after stream maps; None if the message is faulty."""
        schema = message.get("schema")
        if not isinstance(schema, Mapping) or not isinstance(schema.get("properties"), dict):
            return None
        properties = without_booleans(schema["properties"])
        schema = copy.deepcopy({**schema, "properties": properties})
        keys = message.get("key_properties") or ()
        try:
            return set(map(nfc, self._maps.results(stream, schema, keys)))
        except Exception:  # noqa: BLE001 - whatever is wrong is reported when it is processed
            return None
