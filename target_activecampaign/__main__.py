"""The command `target-activecampaign`, also to be had as `python -m target_activecampaign`."""

from __future__ import annotations

import gc

_YOUNG = 10_000
"""Objects after which garbage is looked for: a few batches of contacts, which end together."""


def main() -> None:
    """Run the target with the arguments of the command line; ends with its exit code."""
    # What is imported stays: garbage is not looked for among it, neither while it comes, nor in
    # the run, nor at its end. With `_YOUNG`, this saves a tenth of a long run.
    gc.disable()
    from target_activecampaign.target import TargetActiveCampaign  # noqa: PLC0415

    gc.freeze()
    gc.set_threshold(_YOUNG)
    gc.enable()
    TargetActiveCampaign.cli()


if __name__ == "__main__":
    main()
