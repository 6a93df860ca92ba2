"""Contacts a minute that the sandbox confirms: of the target at the limits, of a plain writer.

What is counted is who is on the sandbox's list; the target's own figures are not asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from figures import Figure, Goal, Results
from processes import HERE, Target, cost_of, fed, members, sandboxed, stats, watched
from profiles import Profiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LEAST = 24_500
"""Of the 25,000 contacts a minute that ActiveCampaign takes."""
_ENDLESS = Profiles(10**9)


def measure(minutes: float, latency: float, results: Results) -> Iterator[Figure]:
    """Run the target at the limits.

    Args:
        minutes: How long; the minute before, whose imports may all go at once, does not count.
        latency: Seconds that an import takes in the sandbox's queue.
        results: Takes the confirmed people over time.
    """
    warm_up = min(60.0, 60 * minutes) + latency
    with sandboxed("--latency", str(latency), limits=True) as target:
        with _running(target.command, target), watched(target.url, 2.0) as seen:
            time.sleep(warm_up)
            before, began = members(target.url), time.monotonic()
            asked = stats(target.url)["requests"]
            time.sleep(60 * minutes)
            confirmed = members(target.url) - before
            seconds = time.monotonic() - began
            asked = stats(target.url)["requests"] - asked
        refused = sum(stats(target.url)["refusals"].values())
    results.over_time["the target at the limits"] = seen
    yield Figure(
        "confirmed contacts a minute",
        confirmed / seconds * 60,
        "",
        Goal(LEAST, at_least=True),
        f"over {seconds:.0f} s, {asked / seconds:.2f} requests a second, {refused} refused",
    )


def measure_writer(count: int, seconds: float, results: Results) -> Iterator[Figure]:
    """Run a plain writer of one contact after the other.

    Args:
        count: Profiles that it writes without limits.
        seconds: How long it writes at the limits.
        results: Takes the confirmed people over time.
    """
    with sandboxed() as target:
        cost = cost_of(_writer(target), Profiles(count), target.folder)
        yield Figure("no limits: CPU a record", cost.cpu / count * 1e6, "µs")
        yield Figure("no limits: contacts a minute", members(target.url) / cost.wall * 60, "")
    with (
        sandboxed(limits=True) as target,
        _running(_writer(target), target),
        watched(target.url, 0.5) as seen,
    ):
        time.sleep(seconds)
    results.over_time["a plain writer at the limits"] = seen
    first = next((at for at in seen if at[1]), seen[-1])
    (began, some), (ended, all_) = first, seen[-1]
    rate = (all_ - some) / (ended - began) * 60 if ended > began else 0.0
    yield Figure("at the limits: contacts a minute", rate, "", beside=f"over {ended - began:.0f} s")


def _writer(target: Target) -> list[str]:
    config = json.loads(target.config.read_text())
    names = ("api_url", "api_key", "list_id")
    (target.folder / "writer.json").write_text(json.dumps({name: config[name] for name in names}))
    return [sys.executable, str(HERE / "plain_writer.py"), "--config", "writer.json"]


@contextmanager
def _running(command: Sequence[str], target: Target) -> Iterator[None]:
    """Run a command on profiles without end, and kill it.

    Raises:
        SystemExit: It had ended before; the text is the end of its log.
    """
    log = target.folder / "log"
    with fed(_ENDLESS) as stdin, log.open("wb") as stderr:
        process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=stderr, cwd=target.folder
        )
        try:
            yield
        finally:
            early = process.poll()
            # What is counted has been: it need not settle what it still has under way.
            process.kill()
            process.wait()
    if early is not None:
        raise SystemExit(f"{command} ended with {early}:\n{log.read_text()[-2000:]}")
