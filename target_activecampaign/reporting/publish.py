"""What is told of a run when it is over: its report written and shown, its line, the webhook."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from target_activecampaign.config.validation import find_secrets
from target_activecampaign.reporting import page, webhook
from target_activecampaign.reporting.report import prune
from target_activecampaign.storage import private_files

if TYPE_CHECKING:
    from target_activecampaign.config.settings import Settings
    from target_activecampaign.reporting.report import Report

logger = logging.getLogger("target-activecampaign")


def publish(report: Report, settings: Settings) -> None:
    """Tell of a run; a report that can't be written makes it a failed one.

    Args:
        report: The run's report, complete.
        settings: Where to, and what must not be shown.
    """
    hidden = find_secrets(settings)
    try:
        path = report.write(settings.report_path)
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        report.outcome = "failed"
        why = private_files.explained(error) if isinstance(error, OSError) else type(error).__name__
        report.problem = report.problem or f"The report can't be written: {why}"
        logger.info("%s", report.line())
    else:
        with suppress(OSError):
            prune(settings.report_path, settings.keep_reports, report.run_id)
        shown = page.write(report.as_dict(), settings.report_path, hidden)
        logger.info("%s Report: %s", report.line(), shown or path)
    if settings.on_complete_webhook and not report.dry_run:
        webhook.tell(settings.on_complete_webhook, report, hidden)
