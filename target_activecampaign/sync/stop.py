"""The request to stop the run."""

from __future__ import annotations

from target_activecampaign.errors import StoppedError


class StopRequest:
    """Stops long operations. May be set from a signal handler.

    Attributes:
        is_set: Whether the run should stop.
    """

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        """Request the stop."""
        self.is_set = True

    def check(self) -> None:
        """End the current operation if a stop was requested.

        Raises:
            StoppedError: A stop was requested.
        """
        if self.is_set:
            raise StoppedError
