"""The command `tap-activecampaign-consent`."""

from __future__ import annotations

import sys

from target_activecampaign.cli.options import read_config_option
from target_activecampaign.errors import report_errors
from target_activecampaign.tap.tap import TapActiveCampaignConsent

_HELP = """Read opt-outs, bounces and the exclusion list of an ActiveCampaign account.

The output is Singer messages, for any Singer target. docs/consent-tap.md describes the streams.
"""


def main() -> None:
    """Run the tap with the arguments of the command line, and exit with its code."""
    command = TapActiveCampaignConsent.cli  # this also sets up the log
    command.help = _HELP
    for option in command.params:
        if option.name == "config":
            option.callback = read_config_option
    problem = report_errors(command)
    if problem is not None:
        TapActiveCampaignConsent.logger.error(problem)
        sys.exit(1)
