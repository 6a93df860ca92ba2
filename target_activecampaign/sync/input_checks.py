"""Checks of the whole input, once it has been read to its end."""

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
    """Check that the input has records.

    Args:
        streams: The tap's streams in the input.
        fail: Whether an empty input is an error.

    Raises:
        EmptyInputError: The input has no record, and that is an error.
    """
    if any(one.progress.records for one in streams):
        return
    if not streams:
        text = (
            "The input has no stream, as it has no SCHEMA message. Check that a stream is selected "
            "in the tap, and that the tap did not fail."
        )
        if not fail:
            logger.warning("%s Nothing was sent.", text)
    else:
        text = "The input has no record. Check whether the source should be empty."
    if fail:
        raise EmptyInputError(f"{text} ('fail_on_empty' makes this an error.)")


def warn_of_unused_settings(
    settings: Settings, streams: Collection[RoutedStream], names: Collection[str]
) -> None:
    """Warn of streams that have settings but are not in the input.

    Args:
        settings: The settings.
        streams: The tap's streams in the input.
        names: The names of streams after stream maps.
    """
    if any(one.progress.partial for one in streams):
        return
    came = set(map(nfc, names))
    for name in settings.streams:
        if came and nfc(name) not in came:
            suggestion = did_you_mean(name, names)
            logger.warning(
                "'streams.%s' had no effect: the input has no such stream.%s", name, suggestion
            )
