"""Checks of the whole input, once it was read to its end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign.errors import EmptyInputError
from target_activecampaign.model.names import did_you_mean, nfc

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_activecampaign.config.settings import Settings
    from target_activecampaign.sync.routes import RoutedStream

logger = logging.getLogger("target-activecampaign")


def check_not_empty(streams: Collection[RoutedStream], *, fail: bool) -> None:
    """Check that records came.

    Args:
        streams: The tap's streams that came.
        fail: Whether it is an error if none came.

    Raises:
        EmptyInputError: None came, and that is an error.
    """
    if any(one.progress.records for one in streams):
        return
    if not streams:
        text = (
            "No stream came: the input has no SCHEMA message. Is a stream selected in the tap, "
            "and did the tap end well?"
        )
        if not fail:
            logger.warning("%s Nothing was sent.", text)
    else:
        text = "No record came. See whether the source is meant to be empty."
    if fail:
        raise EmptyInputError(f"{text} ('fail_on_empty' makes this an error.)")


def warn_of_unused_settings(
    settings: Settings, streams: Collection[RoutedStream], names: Collection[str]
) -> None:
    """Name streams that have settings and did not come.

    Args:
        settings: The settings.
        streams: The tap's streams that came.
        names: The names of streams after stream maps.
    """
    if any(one.progress.partial for one in streams):
        return
    came = set(map(nfc, names))
    for name in settings.streams:
        if came and nfc(name) not in came:
            suggestion = did_you_mean(name, names)
            logger.warning("'streams.%s' had no effect: no such stream came.%s", name, suggestion)
