"""Runs the target, and tells which part of it takes the CPU.

    python benchmarks/sampler.py RESULT --config config.json

Every few milliseconds it looks at what each thread is doing, and puts down the CPU that the
thread has used since the last look to the module of the target that it is in: the innermost one,
so that what a library does counts for the module that called it. RESULT becomes JSON, seconds by
stage. It needs Linux, whose clocks tell the CPU of a thread.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections import defaultdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_EVERY = 0.002
_PACKAGE = "target_activecampaign."

_STAGES = {
    "start": "__main__ cli config account sync.setup sync.membership_field mapping.compiler"
    " mapping.resolver mapping.explicit mapping.automatic mapping.catalog mapping.new_fields",
    "read": "target singer sync.window sync.routes",
    "validate": "singer.validation",
    "map": "mapping model singer.stream_maps singer.flattening",
    "compare": "sync",
    "batch": "delivery.batches",
    "ledger": "ledger",
    "HTTP": "client",
    "deliver": "run delivery accounting reporting preview",
}
"""The packages of each stage, and modules of other packages that belong to it."""
_STAGE_OF = {name: stage for stage, names in _STAGES.items() for name in names.split()}
_START, _SAMPLER, _OTHER = "start", "sampler", "other"


class Sampler(threading.Thread):
    """Looks at all other threads until it is stopped.

    Attributes:
        seconds: CPU by stage so far.
    """

    def __init__(self) -> None:
        super().__init__(name=_SAMPLER, daemon=True)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._over = threading.Event()
        self._used: dict[int, float] = {}
        self._last: dict[int, str] = {}
        self._ended = False

    def run(self) -> None:
        """Look every few milliseconds."""
        while not self._over.wait(_EVERY):
            self._look()
        self._look()
        self._ended = True

    def stop(self) -> None:
        """Look once more, and end."""
        self._over.set()
        self.join()
        if not self._ended:
            raise RuntimeError("The sampler has not come to its end.")
        used = time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)
        self.seconds[_OTHER] += used - sum(self.seconds.values())

    def _look(self) -> None:
        # Up to Python 3.11 a frame that is being looked at can be gone when collecting garbage
        # lets another thread go on.
        collects = gc.isenabled()
        gc.disable()
        self._put_down()
        if collects:
            gc.enable()

    def _put_down(self) -> None:
        frames = sys._current_frames()  # noqa: SLF001 - made for this
        for thread in threading.enumerate():
            used = _cpu(thread.native_id)
            number = thread.native_id or 0
            spent = used - self._used.get(number, 0.0)
            if spent <= 0:
                continue
            self._used[number] = used
            stage = _SAMPLER if thread is self else self._stage(thread, frames)
            self.seconds[stage] += spent

    def _stage(self, thread: threading.Thread, frames: dict[int, FrameType]) -> str:
        """The stage that a thread is in; one that is between two tasks is still in the last."""
        number = thread.native_id or 0
        main = thread is threading.main_thread()
        stage = _stage_of(frames.get(thread.ident or 0)) or self._last.get(number)
        self._last[number] = stage or (_START if main else _OTHER)
        return self._last[number]


def _stage_of(frame: FrameType | None) -> str | None:
    """The stage of the innermost frame of the target."""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith(_PACKAGE):
            function = frame.f_code.co_name
            if function == "<module>":  # being imported
                return _START
            module = name.removeprefix(_PACKAGE)
            package = module.partition(".")[0]
            return _STAGE_OF.get(module) or _STAGE_OF.get(package, package)
        frame = frame.f_back
    return None


def _cpu(thread: int | None) -> float:
    """Seconds of CPU that a thread of this process has used; 0 for one that has ended.

    The clock's number is what `pthread_getcpuclockid` gives, which must not be asked about a
    thread that may end meanwhile.
    """
    if thread is None:
        return 0.0
    try:
        return time.clock_gettime((~thread << 3) | 6)
    except OSError:
        return 0.0


def main() -> None:
    """Run the target as its console script does."""
    result = Path(sys.argv.pop(1)).absolute()
    (script,) = entry_points(group="console_scripts", name="target-activecampaign")
    # It has its turn soon, wherever the others are: not only where they let go on their own.
    sys.setswitchinterval(0.0001)
    sampler = Sampler()
    sampler.start()
    try:
        script.load()()
    finally:
        sampler.stop()
        result.write_text(json.dumps(sampler.seconds))


if __name__ == "__main__":
    main()
