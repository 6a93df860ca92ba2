"""The anchor: a target of the SDK as it comes, that does nothing with its records."""

from __future__ import annotations

from typing import Any

from singer_sdk import BatchSink, Target


class EmptySink(BatchSink):
    """Takes batches and forgets them."""

    def process_batch(self, context: dict[str, Any]) -> None:
        """Do nothing."""


class EmptyTarget(Target):
    """A target without a destination."""

    name = "target-empty"
    default_sink_class = EmptySink


if __name__ == "__main__":
    EmptyTarget.cli()
