"""The command `target-activecampaign`, also to be had as `python -m target_activecampaign`."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys

_YOUNG = 10_000
"""Objects after which garbage is looked for: a few batches of contacts, which end together."""


def main() -> None:
    """Run the target with the arguments of the command line; ends with its exit code."""
    _fill_standard_files()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until the target hears it: else a Ctrl-C at the start would show a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What is imported stays: garbage is not looked for among it, neither while it comes, nor in
    # the run, nor at its end. With `_YOUNG`, this saves a tenth of a long run.
    gc.disable()
    with contextlib.suppress(OSError, AttributeError):  # of an output of another kind
        # What can't be written, such as half a surrogate pair in a name, is shown escaped.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    from target_activecampaign.cli.options import build_command  # noqa: PLC0415
    from target_activecampaign.storage.private_files import reason  # noqa: PLC0415

    command = build_command()
    gc.freeze()
    gc.set_threshold(_YOUNG)
    gc.enable()
    try:
        command()
    except OSError as error:  # of standard output: a run tells by itself what it can't write
        sys.exit(f"target-activecampaign: Standard output can't be written: {reason(error)}.")


def _fill_standard_files() -> None:
    """Give closed standard files to `/dev/null`: else the ledger would be opened as one of them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # noqa: PERF203 - of three
            os.open(os.devnull, os.O_RDWR)  # it takes the lowest number that is free
    if sys.stderr is None:  # a log that nobody reads is no reason to fail
        sys.stderr = open(2, "w", errors="backslashreplace", encoding="utf-8")  # noqa: SIM115


if __name__ == "__main__":
    main()
