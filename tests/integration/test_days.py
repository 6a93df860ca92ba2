"""Days in the life of a list, by chance: whatever happens, the account ends as it must.

Each world plays its days against a sandbox: people enter and leave a segment, change, opt out,
subscribe, bounce; contacts are edited and deleted; a run comes, is cut off, killed or stopped, or
finds its ledger gone. After each run the rules of `days_rules` must hold.

All chance comes from a seed, so that a red test stays red: DAYS sets how many days there are in
all, DAYS_SEED which (0: others each time, told when they fail). Only the instants of kills are no
part of that.
"""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.days_rules import broken
from tests.support.days_run import Run, must_lose_leavers
from tests.support.days_truth import learn
from tests.support.days_world import Plan, World
from tests.support.fork_server import ForkedTargetRunner, ForkServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.days_world import Person
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome

pytestmark = pytest.mark.quick

DAYS = int(os.environ.get("DAYS", "160"))
SEED = int(os.environ.get("DAYS_SEED", "42")) or random.SystemRandom().randrange(1, 10**9)
DAYS_A_WORLD = 20
MODES = (
    "upsert",
    "mirror unsubscribe",
    "update_only",
    "mirror field",
    "mirror unsubscribe kept",
    "create_only",
    "mirror tag",
    "mirror nothing",
)
WORLDS = range(max(1, DAYS // DAYS_A_WORLD))

DAY_SECONDS = 86_400
LEDGER = ".activecampaign-ledger.db"
KINDS = {
    "ordinary": 55,
    "cut short": 8,
    "empty": 4,
    "halved": 5,
    "one stream only": 7,
    "killed": 14,
    "killed until tomorrow": 4,
    "stopped": 6,
    "without its ledger": 3,
    "with a broken ledger": 2,
}


@pytest.fixture
def account(
    mode: str, sandbox: SandboxServer, sdate_keeping_sandbox: SandboxServer
) -> SandboxServer:
    """The account of a world, by its mode."""
    return sdate_keeping_sandbox if mode.endswith(" kept") else sandbox


@pytest.mark.parametrize(
    ("number", "mode"),
    [(number, MODES[number % len(MODES)]) for number in WORLDS],
    ids=[f"{MODES[number % len(MODES)]} {number}" for number in WORLDS],
)
def test_whatever_happens_the_account_ends_as_it_must(
    account: SandboxServer, fork_server: ForkServer, tmp_path: Path, number: int, mode: str
) -> None:
    chance = random.Random(f"{SEED} {number}")
    world = World(Plan.drawn(chance, *mode.split()), account, chance)
    load = ForkedTargetRunner(tmp_path, account.url, account.api_key, fork_server)
    days = Days(world, load)
    print(f"DAYS_SEED={SEED}, world {number}")
    try:
        for _ in range(DAYS_A_WORLD):
            days.play()
    finally:
        print("\n".join(world.story))


class Days:
    """Plays the days of a world, one after the other.

    Args:
        world: The world.
        load: The target, in a folder of its own.
    """

    def __init__(self, world: World, load: ForkedTargetRunner) -> None:
        self._world = world
        self._load = load
        self._chance = world.chance
        self._seconds = 0.3
        self._settled: Any = None
        self._uneventful = False
        self._resync = self._override = self._cut_off = False

    def play(self) -> None:
        """A day: things happen, time goes by, and the target runs."""
        world, chance = self._world, self._chance
        world.begin_day()
        # A membership's end is a date in whole seconds. Nobody can tell an administrator's doing
        # from ours in the moment of our import, nor while one that was cut off may be applied.
        world.sandbox.advance(chance.randint(900 if self._cut_off else 10, 6 * 3600))
        events = chance.choice((0, 1, 1, 2, 2, 3, 3, 4, 6))
        for _ in range(events):
            world.happen()
        world.sandbox.advance(DAY_SECONDS)
        self._uneventful = not events
        self._resync = chance.random() < 0.07
        self._override = chance.random() < (0.5 if world.ledger.override == "yes" else 0.05)
        kind = chance.choices(list(KINDS), list(KINDS.values()))[0] if events else "ordinary"
        getattr(self, f"_{kind.replace(' ', '_')}")(world.source())

    # Kinds of runs

    def _ordinary(self, source: dict[str, list[Person]]) -> None:
        began = time.monotonic()
        self._run("ordinary", source)
        self._seconds += 0.3 * (time.monotonic() - began - self._seconds)

    def _cut_short(self, source: dict[str, list[Person]]) -> None:
        """The tap dies in one of its streams; those that come after are missing too."""
        sent: dict[str, list[Person]] = {}
        last = self._chance.choice(list(source))
        for stream, people in source.items():
            sent[stream] = people
            if stream == last:
                break
        sent[last] = sent[last][: self._chance.randint(0, len(sent[last]))]
        self._run("cut short", sent, set(sent) - {last})

    def _empty(self, source: dict[str, list[Person]]) -> None:
        """The source has its streams, and no one in them."""
        self._run("empty", {stream: [] for stream in source})

    def _halved(self, source: dict[str, list[Person]]) -> None:
        """The source lacks some or most of its people, and doesn't know it."""
        share = self._chance.uniform(0.1, 0.9)
        chosen = {one.email for one in self._world.people.values() if self._chance.random() < share}
        sent = {s: [one for one in some if one.email in chosen] for s, some in source.items()}
        self._run("halved", sent)

    def _one_stream_only(self, source: dict[str, list[Person]]) -> None:
        """A tap of its own for each stream, and only one of them has run."""
        stream = self._chance.choice(list(source))
        self._run("one stream only", {stream: source[stream]})

    def _killed(self, source: dict[str, list[Person]]) -> None:
        self._run("killed", source, interrupt=signal.SIGKILL)
        self._ordinary(source)

    def _killed_until_tomorrow(self, source: dict[str, list[Person]]) -> None:
        """Killed, and nobody looks after it on this day."""
        self._run("killed until tomorrow", source, interrupt=signal.SIGKILL)

    def _stopped(self, source: dict[str, list[Person]]) -> None:
        self._run("stopped", source, interrupt=signal.SIGTERM)

    def _without_its_ledger(self, source: dict[str, list[Person]]) -> None:
        for path in self._load.folder.glob(f"{LEDGER}*"):
            path.unlink()
        self._world.lose_ledger()
        self._settled = None
        self._ordinary(source)

    def _with_a_broken_ledger(self, source: dict[str, list[Person]]) -> None:
        """The ledger is no database any more: it is set aside, and a new one is begun."""
        (self._load.folder / LEDGER).write_bytes(self._chance.randbytes(5_000))
        self._world.lose_ledger()
        self._settled = None
        self._ordinary(source)

    # Runs

    def _run(
        self,
        kind: str,
        sent: dict[str, list[Person]],
        complete: set[str] | None = None,
        interrupt: signal.Signals | None = None,
    ) -> None:
        """Run the target, see which rules that breaks, and take over what it did.

        Args:
            kind: What to call it in the story.
            sent: The people whom it is given, by stream.
            complete: The streams that are given as complete; all by default.
            interrupt: A signal that it gets at a random instant.
        """
        world = self._world
        complete = set(sent) if complete is None else complete
        settings = world.settings(complete)
        settings["full_resync"] = self._resync
        # Else who subscribes again by a form would be refused until the next full reading.
        settings["opt_out_refresh_days"] = 0
        settings["guards"]["override_once"] = self._override
        messages = world.messages(sent, complete)
        before, imports = world.sandbox.contacts(), len(world.sandbox.imports())
        outcome = self._outcome(messages, settings, interrupt)
        world.sandbox.settle()
        meant = {s: sorted((one.email, one.value) for one in some) for s, some in sent.items()}
        run = Run(
            sync_mode=world.sync_mode,
            sent=sent,
            complete={stream for stream in complete if sent[stream]},
            records=sum(message["type"] == "RECORD" for message in messages),
            before=before,
            outcome=outcome,
            after=world.sandbox.contacts(),
            imported=[one["contacts"] for one in world.sandbox.imports()[imports:]],
            resync=self._resync,
            override=self._override,
            quiet=(
                self._uneventful and not self._resync and self._settled == (world.sync_mode, meant)
            ),
        )
        world.tell(f"a run: {kind}, {run}")
        found = broken(world, run, interrupted=interrupt is not None)
        assert not found, self._told(found)
        settled = outcome.code == 0 and run.complete == set(world.plan.streams)
        if world.sync_mode == "mirror":
            settled = must_lose_leavers(world, run)
        skips = world.plan.skip_unchanged
        self._settled = (world.sync_mode, meant) if settled and skips else None
        learn(world, run)
        self._cut_off = outcome.code != 0

    def _outcome(
        self,
        messages: list[dict[str, Any]],
        settings: dict[str, Any],
        interrupt: signal.Signals | None,
    ) -> Outcome:
        running = self._load.start(messages, **settings)
        if interrupt is not None:
            time.sleep(self._chance.uniform(0.0, 1.2) * self._seconds)
            running.kill(interrupt)
        return running.wait()

    def _told(self, found: list[str]) -> str:
        """What was broken, and the stories of those whom it is about."""
        world = self._world
        text = "\n".join(found)
        people = [one for one in world.people.values() if f"{one.email} " in text]
        stories = [f"{one.email}: {one}" for one in people[:5]]
        return "\n".join([f"DAYS_SEED={SEED}, {world.plan}, day {world.day}", text, *stories])
