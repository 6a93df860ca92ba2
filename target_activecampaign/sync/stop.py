"""The operator's wish that the run ends."""

from __future__ import annotations

from target_activecampaign.errors import StoppedError


class StopRequest:
    """Tells long operations that they are to end. May be set from a signal handler.

    Attributes:
        is_set: Whether the run is to end.
    """

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        """Have the run end."""
        self.is_set = True

    def check(self) -> None:
        """End what is going on, if the run is to end.

        Raises:
            StoppedError: It is.
        """
        if self.is_set:
            raise StoppedError
