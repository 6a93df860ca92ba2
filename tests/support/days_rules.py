"""What must hold after each run of the random days.

Each rule is a function of the world and a run that yields what broke it, one sentence each. A
rule for runs that came to their end says so by its place in `AT_THE_END`; those in `ALWAYS` hold
for killed runs too.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.support.days_run import barred, may_leave, must_leave, passes_for_delivered, shows
from tests.support.days_world import ACTIVE, FIELD_TAG, OUT, TAG, Contact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.support.days_run import Run
    from tests.support.days_world import Person, World

_INTERRUPTED = (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)
_MIN_SOURCE_PCT = 50  # the guard's default
_SETTLED = ("added", "changed", "unchanged", "skipped", "merged", "invalid", "rejected")


# Never, whatever happened


def nobody_is_resubscribed(world: World, run: Run) -> Iterator[str]:
    for person in world.people.values():
        if person.opted_out and run.now(person) == ACTIVE:
            yield f"{person.email} opted out and is active"
        elif run.was(person) == OUT and run.now(person) == ACTIVE and not person.ended:
            yield f"{person.email} was put back, and no run of ours had taken them off"


def nobody_is_taken_off_who_is_not_ours(world: World, run: Run) -> Iterator[str]:
    for person in world.people.values():
        was, now = run.was(person), run.now(person)
        if person.email in run.before and person.email not in run.after:
            yield f"{person.email} was deleted"
        elif now in (was, ACTIVE):
            continue
        elif was != ACTIVE or now != OUT:
            yield f"{person.email} went from status {was} to {now}"
        elif run.has(person):
            yield f"{person.email} is in the source and was unsubscribed"
        elif world.plan.on_leave != "unsubscribe" or not may_leave(world, run, person):
            yield f"{person.email} was unsubscribed, not having left for sure"
        elif person.ours not in ("yes", "perhaps"):
            yield f"{person.email} is not ours and was unsubscribed"


def nobody_comes_from_nowhere(world: World, run: Run) -> Iterator[str]:
    for email in set(run.after) - set(run.before) - run.everyone:
        yield f"{email} was created, and was not in the source"


def people_not_in_the_source_stay_as_they_are(world: World, run: Run) -> Iterator[str]:
    for person in world.people.values():
        before, after = run.before.get(person.email), run.after.get(person.email)
        if run.has(person) or before is None or after is None:
            continue
        mark = world.plan.on_leave if may_leave(world, run, person) else None
        if _but_for(mark, before) != _but_for(mark, after):
            yield f"{person.email} is not in the source and was changed: {before} to {after}"


def _but_for(mark: str | None, contact: Contact) -> Contact:
    """A contact without what may change when someone leaves."""
    bare = {**contact, "times_imported": 0}
    if mark == "unsubscribe":
        bare["lists"] = None  # another rule's business
    elif mark == "field" and contact["fields"].get(FIELD_TAG) in ("true", "false"):
        bare["fields"] = {k: v for k, v in contact["fields"].items() if k != FIELD_TAG}
    elif mark == "tag":
        bare["tags"] = [tag for tag in contact["tags"] if tag != TAG]
    return bare


def what_the_source_has_not_stays(world: World, run: Run) -> Iterator[str]:
    for email in set(run.before) & set(run.after):
        if run.before[email]["phone"] != run.after[email]["phone"]:
            yield f"{email} lost a value that the source doesn't have"


def values_are_old_or_new(world: World, run: Run) -> Iterator[str]:
    for person in world.people.values():
        before, after = run.before.get(person.email), run.after.get(person.email)
        if after is not None and after["first_name"] != person.value:
            if before is None:
                yield f"{person.email} was made with '{after['first_name']}'"
            elif before["first_name"] != after["first_name"]:
                yield f"{person.email} got '{after['first_name']}', not '{person.value}'"


def the_mode_leaves_the_others_alone(world: World, run: Run) -> Iterator[str]:
    meant = {person.email for person in _meant(world, run)}
    for email in run.everyone - meant:
        before, after = run.before.get(email), run.after.get(email)
        if (before and _but_for(None, before)) != (after and _but_for(None, after)):
            yield f"{email} is not for {run.sync_mode} and was changed: {before} to {after}"


def _meant(world: World, run: Run) -> Iterable[Person]:
    """The people of the source whom the mode means."""
    for email in sorted(run.everyone):
        known = email in run.before
        if run.sync_mode in ("upsert", "mirror") or known is (run.sync_mode == "update_only"):
            yield world.people[email]


# After a run that came to its end


def its_state_is_out(world: World, run: Run) -> Iterator[str]:
    if run.outcome.states[-1:] != [{"day": world.day}]:
        yield f"the run ended with the STATE {run.outcome.states}"


def the_guards_did_their_work(world: World, run: Run) -> Iterator[str]:
    expected = _expected_trip(world, run)
    if expected is not None and run.tripped is not expected:
        yield f"a guard {'should have stopped the run' if expected else 'stopped the run'}"


def _expected_trip(world: World, run: Run) -> bool | None:
    """Whether a guard must stop the run, or must not; None where both readings are fair."""
    ledger = world.ledger
    if run.sync_mode != "mirror" or not ledger.runs:
        return False
    if run.complete != set(world.plan.streams) or not ledger.complete:
        return None
    if run.override and ledger.override != "no":
        return False if ledger.override == "yes" else None
    if len(run.sent) > 1 or world.plan.on_leave == "nothing":
        return None
    least = sum(not barred(run, world.people[email]) for email in run.everyone)
    if all(100 * run.records < _MIN_SOURCE_PCT * size for size in ledger.sizes):
        return True
    if ledger.cut_off:
        return None  # some have left already, and the ledger may know it or not
    source_ok = all(100 * least >= _MIN_SOURCE_PCT * size for size in ledger.sizes)
    known = [person for person in world.people.values() if person.known_in]
    ours = [p for p in known if p.ours == "yes" and run.was(p) == ACTIVE and not p.bounced]
    leavers = [person for person in known if not run.has(person)]
    sure = [person for person in ours if not run.has(person)]
    if 100 * len(sure) > world.plan.max_leave_pct * len(known):
        return True
    members = min(len(ours), *ledger.sizes)
    few = 100 * len(leavers) <= world.plan.max_leave_pct * members
    return False if few and source_ok else None


def the_source_is_on_the_list(world: World, run: Run) -> Iterator[str]:
    for person in _meant(world, run):
        if barred(run, person):
            if run.now(person) != run.was(person):
                yield f"{person.email} is barred and went to status {run.now(person)}"
        elif person.email not in run.after and passes_for_delivered(world, run, person):
            if None not in person.delivered:
                yield f"{person.email} is no contact, and none was deleted"
        elif run.now(person) != ACTIVE:
            yield f"{person.email} is in the source and has status {run.now(person)}"


def the_source_has_its_values(world: World, run: Run) -> Iterator[str]:
    for person in _meant(world, run):
        if barred(run, person) or person.email not in run.after:
            continue
        before = run.before.get(person.email, {}).get("first_name")
        after = run.after[person.email]["first_name"]
        if before is None or not passes_for_delivered(world, run, person):
            if after != person.value:
                yield f"{person.email} has '{after}', not '{person.value}'"
        elif None in person.delivered or len(person.delivered) > 1:
            if after not in (before, person.value):
                yield f"{person.email} has '{after}', not '{person.value}'"
        elif after != before:
            yield f"{person.email} was delivered before, had '{before}' and now has '{after}'"


def the_segment_shows(world: World, run: Run) -> Iterator[str]:
    if run.sync_mode != "mirror" or world.plan.on_leave == "nothing":
        return
    for person in world.people.values():
        contact = run.after.get(person.email)
        if contact is None or barred(run, person):
            continue
        if run.has(person):
            remade = None in person.delivered and passes_for_delivered(world, run, person)
            if not remade and not shows(world, contact):
                yield f"{person.email} is in the source, and the account doesn't show it"
        elif must_leave(world, run, person) and shows(world, contact):
            yield f"{person.email} is ours and has left, and the account doesn't show it"


def refusals_are_listed_with_their_reason(world: World, run: Run) -> Iterator[str]:
    codes = run.rejects()
    for email, found in codes.items():
        person = world.people.get(email)
        if person is None:
            if found != {"EMAIL_INVALID"}:
                yield f"a record without an address was refused as {found}"
        elif not barred(run, person) or found != {"BOUNCED" if person.bounced else "OPTED_OUT"}:
            yield f"{email} was refused as {found}"
    for person in _meant(world, run):
        needs_resubscribe = person.left and not person.known_in
        held_back = needs_resubscribe and person.opted_out and not person.bounced
        if held_back and "OPTED_OUT" not in codes.get(person.email, set()):
            yield f"{person.email} opted out, comes back and is not listed with OPTED_OUT"


def the_report_adds_up(world: World, run: Run) -> Iterator[str]:
    counts = run.report["counts"]
    if counts["read"] != run.records:
        yield f"{run.records} records were sent and {counts['read']} read"
    taken = counts["read"] + counts["retried"]
    if taken != sum(counts.get(name, 0) for name in _SETTLED) or counts["unsettled"]:
        yield f"the report doesn't add up: {counts}"
    strange = set(counts) - {"read", "retried", "unsettled", *_SETTLED}
    if strange:
        yield f"the report counts {strange}"
    gone = sum(
        run.was(person) == ACTIVE and run.now(person) == OUT for person in world.people.values()
    )
    left = run.report["left"]
    if left != gone if world.plan.on_leave == "unsubscribe" else left < gone:
        yield f"{gone} were unsubscribed and the report says that {left} left"


def a_quiet_day_imports_nothing(world: World, run: Run) -> Iterator[str]:
    if run.quiet and run.sync_mode in ("upsert", "mirror"):
        # Those whom the account refused are tried again, also leavers.
        tried = sum(barred(run, person) for people in run.sent.values() for person in people)
        tried += sum(person.bounced and not run.has(person) for person in world.people.values())
        if sum(run.imported) > tried:
            people = [
                email for email in run.after if _times(run.after, email) > _times(run.before, email)
            ]
            yield f"nothing had happened, and there was imported {' '.join(people)} "


def _times(contacts: dict[str, Contact], email: str) -> int:
    return int(contacts[email]["times_imported"]) if email in contacts else 0


ALWAYS = (
    nobody_is_resubscribed,
    nobody_is_taken_off_who_is_not_ours,
    nobody_comes_from_nowhere,
    people_not_in_the_source_stay_as_they_are,
    what_the_source_has_not_stays,
    the_mode_leaves_the_others_alone,
    values_are_old_or_new,
)
AT_THE_END = (
    its_state_is_out,
    the_guards_did_their_work,
    the_source_is_on_the_list,
    the_source_has_its_values,
    the_segment_shows,
    refusals_are_listed_with_their_reason,
    the_report_adds_up,
    a_quiet_day_imports_nothing,
)


def broken(world: World, run: Run, *, interrupted: bool) -> list[str]:
    """The sentences about all rules that a run broke.

    Args:
        world: The world, as it was before `learn`.
        run: The run.
        interrupted: Whether it got a signal, perhaps before its end.
    """
    found = [text for rule in ALWAYS for text in rule(world, run)]
    if run.ended:
        found += [text for rule in AT_THE_END for text in rule(world, run)]
    elif not (interrupted and run.outcome.code in _INTERRUPTED):
        tail = "\n".join(run.outcome.log.splitlines()[-5:])
        found.append(f"the run ended with exit code {run.outcome.code}:\n{tail}")
    return found
