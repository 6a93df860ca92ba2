"""What is told of a run when it is over: its report written and shown, its line, the webhook."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign import report_page, webhook
from target_activecampaign.config import secrets_in

if TYPE_CHECKING:
    from target_activecampaign.report import Report
    from target_activecampaign.settings import Settings

logger = logging.getLogger("target-activecampaign")


def publish(report: Report, settings: Settings) -> None:
    """Tell of a run; a report that can't be written makes it a failed one.

    Args:
        report: The run's report, complete.
        settings: Where to, and what must not be shown.
    """
    hidden = secrets_in(settings)
    try:
        path = report.write(settings.report_path)
    except OSError as error:
        report.outcome = "failed"
        report.problem = report.problem or f"The report can't be written: {error.strerror}."
        logger.info("%s", report.line())
    else:
        page = report_page.write(report.as_dict(), settings.report_path, hidden)
        logger.info("%s Report: %s", report.line(), page or path)
    if settings.on_complete_webhook and not report.dry_run:
        webhook.tell(settings.on_complete_webhook, report, hidden)
