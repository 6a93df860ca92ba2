"""The command `target-activecampaign`, also `python -m target_activecampaign`."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys

_GC_THRESHOLD = 10_000
"""New objects between two garbage collections: about a few batches of contacts."""


def main() -> None:
    """Run the target with the arguments of the command line, and exit with its code."""
    _fill_standard_files()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until the target handles it: a Ctrl-C at the start would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Imported objects stay until the end, so the garbage collector skips them. With
    # `_GC_THRESHOLD`, this saves a tenth of the time of a long run.
    gc.disable()
    with contextlib.suppress(OSError, AttributeError):  # not a text file
        # Half a surrogate pair, such as in a name, is printed escaped.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    from target_activecampaign.cli.options import build_command  # noqa: PLC0415
    from target_activecampaign.storage.private_files import reason  # noqa: PLC0415

    command = build_command()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    gc.enable()
    try:
        command()
    except OSError as error:  # from standard output; a run handles its own errors
        sys.exit(f"target-activecampaign: Standard output can't be written: {reason(error)}.")


def _fill_standard_files() -> None:
    """Open closed standard files as `/dev/null`, or the ledger would get one of their numbers."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # noqa: PERF203 - only three
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number
    if sys.stderr is None:  # a missing log must not fail the run
        sys.stderr = open(2, "w", errors="backslashreplace", encoding="utf-8")  # noqa: SIM115


if __name__ == "__main__":
    main()
