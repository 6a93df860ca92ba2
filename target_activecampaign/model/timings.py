"""Times and sizes that no setting changes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """Times and sizes of a run. The defaults suit a real account; tests use smaller ones."""

    max_retry_pause_seconds: float = 30.0
    """Longest pause before a failed request is sent again, unless the server asks for a longer."""
    ledger_patience_seconds: float = 30.0
    """A ledger that can't be reached is retried for this long."""
    ledger_busy_milliseconds: int = 3000
    """SQLite's own wait for a lock. It is short: it comes on top of the ledger's own retries, and a
    stopped run must end in time."""
    outcomes_patience_seconds: float = 10.0
    """A database of outcomes that can't be reached is retried for this long."""
    options_delay_seconds: float = 2.0
    """Time in which another process that has created a field adds its options."""
    first_poll_seconds: float = 0.5
    """Time from an accepted import to its first poll, until the run has measured imports."""
    min_poll_pause_seconds: float = 0.25
    """Shortest pause between two polls of an import."""
    lost_answer_seconds: float = 10.0
    """An import whose answer was lost counts as not arrived at this time after its posting at the
    earliest: ActiveCampaign's queue was seen to take 7 seconds."""
    lost_answer_patience_seconds: float = 60.0
    """If the queue has work for longer than this, such an import counts as not arrived."""
    lost_answer_lookups: int = 2000
    """Contacts of such imports that a run looks up: as many as eight full imports have."""
    max_silence_seconds: float = 30.0
    """A stopped run ends after this time without an answer."""
    stop_check_seconds: float = 1.0
    """Time between two checks of a stopped run for answers."""
    progress_log_seconds: float = 30.0
    """Time between two progress lines in the log."""
    progress_sample_seconds: float = 1.0
    """Minimum time between two samples of the progress."""
    progress_first_rate_seconds: float = 5.0
    """No rates are shown before this time."""
    progress_idle_seconds: float = 2.0
    """If no record was read for this time, the activity of the run is shown."""
    webhook_timeout_seconds: float = 10.0
    """Time to connect to the webhook, and time without a response after which an attempt ends."""
    webhook_pause_seconds: float = 1.0
    """Pause between two attempts to notify the webhook."""
    webhook_max_wait_seconds: float = 25.0
    """Total time that the run waits for the webhook. Unlike a timeout, this covers a server that
    responds byte by byte, and a slow name lookup."""
    window_records: int = 1000
    """Records that are compared with the ledger at once."""
