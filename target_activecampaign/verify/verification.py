"""A verification: experiments side by side, and cleaning up before and after them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign.client import ActiveCampaignError, AuthenticationError, ClientClosed
from target_activecampaign.errors import TargetError
from target_activecampaign.verify.cleanup import Cleaner, describe
from target_activecampaign.verify.experiments import EXPERIMENTS, LATENCY, LIMITS, Experiment
from target_activecampaign.verify.findings import in_order
from target_activecampaign.verify.lab import Lab, LabError, explain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_activecampaign.verify.findings import Finding
    from target_activecampaign.verify.lab import LabClient

logger = logging.getLogger("target-activecampaign")

_CLEANINGS = 3
"""Attempts to clean up at the end: a search may show a contact late."""


class LeftoversError(TargetError):
    """Something that the verification made is still in the account."""


def remove_leftovers(client: LabClient) -> None:
    """Remove what an earlier verification has left, as it was killed.

    Raises:
        ActiveCampaignError: The account can't be used.
    """
    removed = Cleaner(client).clean()
    if removed.total():
        logger.info("Removed what an earlier verification had left: %s.", describe(removed))


class Verification:
    """Runs the experiments.

    Args:
        lab: What they work with.
        with_limits: Whether to find out the limit of imports of one contact.
    """

    def __init__(self, lab: Lab, *, with_limits: bool = False) -> None:
        self._lab = lab
        self._with_limits = with_limits
        self._cleaner = Cleaner(lab.client)

    def run(self) -> list[Finding]:
        """Run all experiments, and return a finding for each fact.

        Raises:
            StoppedError: The run was stopped. What it made has been removed.
            ActiveCampaignError: The account can't be used.
            LeftoversError: Not everything could be removed.
        """
        try:
            self._run_together(EXPERIMENTS)
            self._run_together([LATENCY])
            if self._with_limits:
                self._run_together([LIMITS])
            else:
                for fact in LIMITS.facts:
                    self._lab.unclear(fact, "Only --limits asks for it.")
        finally:
            self._clean_up()
        return in_order(self._lab.findings)

    def _run_together(self, experiments: Sequence[Experiment]) -> None:
        """Run experiments side by side: each goes on once all imports are applied."""
        running = [(one, one.steps(self._lab)) for one in experiments]
        while running:
            running = [(one, steps) for one, steps in running if self._go_on(one, steps)]
            self._lab.wait()

    def _go_on(self, experiment: Experiment, steps: Iterator[None]) -> bool:
        """Do the next step of an experiment; return whether there may be more."""
        try:
            next(steps)
        except StopIteration:
            reason = "The account's answers don't show it."
        except (AuthenticationError, ClientClosed):
            raise
        except (ActiveCampaignError, LabError) as error:
            reason = explain(error)
        else:
            return True
        for fact in experiment.facts:
            self._lab.unclear(fact, reason)
        return False

    def _clean_up(self) -> None:
        """Remove everything that was made.

        Raises:
            LeftoversError: Something is still there.
        """
        self._lab.finish()
        removed = self._cleaner.clean()
        for _ in range(_CLEANINGS):
            left = self._cleaner.leftovers()
            if not left.total():
                logger.info("Removed what the verification had made: %s.", describe(removed))
                return
            self._cleaner.clean()
        raise LeftoversError(
            f"The account still has {describe(left)} of the verification: run --verify again, "
            "which removes them first."
        )
