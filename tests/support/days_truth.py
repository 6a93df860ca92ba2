"""What the world of the random days is after a run: the truth, and what the ledger may know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.days_run import (
    barred,
    must_leave,
    must_lose_leavers,
    passes_for_delivered,
    shows,
)
from tests.support.days_world import ACTIVE, OUT

if TYPE_CHECKING:
    from tests.support.days_run import Run
    from tests.support.days_world import Person, World


def learn(world: World, run: Run) -> None:
    """Take over into the truth what a run did, and what its ledger may know by now."""
    _tell(world, run)
    for person in world.people.values():
        _learn_values(world, run, person)
        _learn_membership(world, run, person)
        _learn_streams(world, run, person)
        if run.outcome.code == 0 and run.complete:
            person.unseen = False
    if run.sync_mode == "mirror":
        _learn_of_ledger(world, run)
    world.ledger.cut_off = not run.ended


def _tell(world: World, run: Run) -> None:
    moves = {(None, ACTIVE): "put on the list", (ACTIVE, OUT): "off", (OUT, ACTIVE): "on again"}
    for (was, now), text in moves.items():
        people = [p for p in world.people.values() if (run.was(p), run.now(p)) == (was, now)]
        if people:
            world.tell(f"the run: {text}", *people)


def _learn_membership(world: World, run: Run, person: Person) -> None:
    was, now = run.was(person), run.now(person)
    if was == ACTIVE and now == OUT:
        person.ended = person.left = True
    elif was != ACTIVE and now == ACTIVE:
        person.ended = person.left = False
        if run.sync_mode != "mirror":
            person.ours = "no"  # other modes don't ask who was on the list before
        else:
            # After "no" it was their contact that had vanished, and it is ours that is there now.
            person.ours = "yes" if person.ours in (None, "yes") else "perhaps"
            if was == OUT and world.plan.keeps_sdate and not run.ended:
                # Without a new `sdate`, the next run can't tell if they subscribed themselves.
                person.ours = "perhaps"
    elif now == ACTIVE and run.has(person) and person.ours in (None, "no"):
        adopted = run.sync_mode == "mirror" and world.plan.adopt_members
        person.ours = "no" if not adopted else "perhaps" if person.ours else "yes"


def _learn_values(world: World, run: Run, person: Person) -> None:
    before, after = run.before.get(person.email), run.after.get(person.email)
    has_value = after is not None and after["first_name"] == person.value
    if not run.has(person):
        if must_leave(world, run, person):
            person.delivered = {None}
        elif run.sync_mode == "mirror" and run.ended:
            person.delivered |= {None}
    elif (run.sync_mode == "update_only" and before is None) or (
        run.sync_mode == "create_only" and before is not None
    ):
        pass
    elif not run.ended:
        person.delivered |= {None, person.value} if has_value else {None}
    elif barred(run, person):
        person.delivered |= {None}
    elif has_value or not passes_for_delivered(world, run, person):
        person.delivered = {person.value}


def _learn_streams(world: World, run: Run, person: Person) -> None:
    contacts = run.before.get(person.email), run.after.get(person.email)
    if [shows(world, contact) for contact in contacts] == [True, False]:
        person.known_in.clear()
    for stream, people in run.sent.items():
        if person in people:
            person.known_in.add(stream)
            person.missed_by.discard(stream)
            continue
        if stream in run.closed:
            person.missed_by.add(stream)
        if must_lose_leavers(world, run):
            person.known_in.discard(stream)


def _learn_of_ledger(world: World, run: Run) -> None:
    ledger = world.ledger
    whole = run.surely_closed == set(world.plan.streams)
    sizes = {
        run.records,
        len(run.everyone),
        sum(not barred(run, world.people[email]) for email in run.everyone),
    }
    ledger.runs += 1
    if run.outcome.code == 0 and whole:
        ledger.complete += 1
        ledger.sizes, ledger.override = sizes, "no"
    elif run.tripped and not run.override:
        ledger.override = "yes"
    else:
        ledger.sizes |= sizes if run.complete else set()
        ledger.override = "perhaps" if ledger.override != "no" else "no"
