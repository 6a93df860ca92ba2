"""Publish the report of a run: files, a log line, the webhook."""

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
    from target_activecampaign.model.timings import Timings
    from target_activecampaign.reporting.report import Report

logger = logging.getLogger("target-activecampaign")


def publish(report: Report, settings: Settings, timings: Timings) -> None:
    """Write the report, log its summary and notify the webhook.

    If the report can't be written, its outcome becomes `failed`.

    Args:
        report: The complete report of the run.
        settings: The settings of the run.
        timings: The times of the webhook.
    """
    secrets = find_secrets(settings)
    try:
        path = report.write(settings.report_path)
    except (OSError, ValueError) as error:  # ValueError: U+0000 in the path
        report.outcome = "failed"
        why = private_files.explain(error) if isinstance(error, OSError) else type(error).__name__
        report.problem = report.problem or f"The report can't be written: {why}"
        logger.info("%s", report.summary())
    else:
        with suppress(OSError):
            prune(settings.report_path, settings.keep_reports, report.run_id)
        html = page.write_page(report.as_dict(), settings.report_path, secrets)
        logger.info("%s Report: %s", report.summary(), html or path)
    if settings.on_complete_webhook and not report.dry_run:
        webhook.notify(settings.on_complete_webhook, report, secrets, timings)
