"""Whoever comes back after we unsubscribed them: brought back only if it was us, and only us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.mirrors import (
    CONTACT_LISTS,
    DAY_SECONDS,
    IMPORT,
    UNSUBSCRIBED,
    Mirror,
    address,
    mirrored,
    quick_sandbox,
    records,
    wait_for,
    whole,
)
from tests.support.target_runner import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

SUBSCRIBE = {"method": "POST", "path": CONTACT_LISTS}
RENEWS, KEEPS, CLEARS = "renews sdate", "keeps sdate", "keeps sdate, clears udate"
ACCOUNTS = {
    RENEWS: {"sdate_on_reactivation": "renew", "udate_on_reactivation": "keep"},
    KEEPS: {"sdate_on_reactivation": "keep", "udate_on_reactivation": "keep"},
    CLEARS: {"sdate_on_reactivation": "keep", "udate_on_reactivation": "clear"},
}
"""The dates of a membership that is active again. Accounts may differ in them."""

in_every_account = pytest.mark.parametrize("account", ACCOUNTS, indirect=True)
where_its_end_shows = pytest.mark.parametrize("account", [RENEWS, KEEPS], indirect=True)


@pytest.fixture(scope="module")
def account(request: pytest.FixtureRequest) -> str:
    """The account's way with dates; a test that is not parametrized has the first one."""
    return str(getattr(request, "param", RENEWS))


@pytest.fixture(scope="module")
def shared_sandbox(account: str) -> Iterator[SandboxServer]:
    with quick_sandbox(**ACCOUNTS[account]) as server:
        yield server


@pytest.fixture
def mirror(load: TargetRunner, sandbox: SandboxServer) -> Iterator[Mirror]:
    """A list of ada, which bob has left by our doing."""
    mirror = Mirror(load, sandbox)
    mirror("ada bob")
    mirror.sandbox.advance(DAY_SECONDS)  # so that his opt-in is not of the same second as its end
    mirror("ada")
    assert mirror.members(status=UNSUBSCRIBED) == "bob"
    yield mirror
    mirror.assert_no_address_was_printed()


def resubscribed(mirror: Mirror) -> int:
    """How often the endpoint was asked that undoes an opt-out."""
    return mirror.asked(**SUBSCRIBE)


def back(mirror: Mirror) -> Outcome:
    """A run with bob in the stream again, and a value of his that is new."""
    return mirror.load(whole("ada bob", first_name="Back")).succeeded()


def is_ours(mirror: Mirror, name: str) -> bool:
    """Whether someone leaves when the stream has them no more."""
    mirror("ada")
    return name not in mirror.members().split()


def assert_held_back(mirror: Mirror, outcome: Outcome) -> None:
    """Bob stays off, is listed, and is never asked for: not by this run, nor by later ones."""
    for run in (outcome, back(mirror), mirror.load(whole("ada bob", first_name="Bob"))):
        assert run.code == 0
        assert mirror.members(status=UNSUBSCRIBED) == "bob"
        assert mirror.person("bob")["first_name"] == "Bob"
        (path,) = run.report["reject_files"].values()
        written = (run.folder / path).read_text("utf-8")
        assert written.count('"OPTED_OUT"') == 1
        assert address("bob") in written
        assert run.counts["rejected"] == 1
    assert resubscribed(mirror) == 0


# Back


@in_every_account
def test_contact_back_in_the_stream_is_resubscribed(mirror: Mirror) -> None:
    outcome = back(mirror)
    assert mirror.members() == "ada bob"
    assert mirror.person("bob")["first_name"] == "Back"
    assert outcome.counts == {"read": 2, "changed": 2}
    assert outcome.codes == {}
    assert resubscribed(mirror) == 1
    membership = mirror.sandbox.memberships(address("bob"))["1"]
    assert membership["sourceid"] == "4", "as re-subscribing is to be marked"


def test_unchanged_contact_back_in_the_stream_is_sent(mirror: Mirror) -> None:
    outcome = mirror("ada bob")
    assert mirror.members() == "ada bob"
    assert outcome.counts == {"read": 2, "changed": 1, "unchanged": 1}
    assert mirror("ada bob").counts == {"read": 2, "unchanged": 2}
    assert resubscribed(mirror) == 1


@in_every_account
def test_contact_can_be_removed_and_resubscribed_repeatedly(mirror: Mirror) -> None:
    for _ in range(2):
        mirror("ada bob")
        assert mirror.members() == "ada bob"
        mirror("ada")
        assert mirror.members(status=UNSUBSCRIBED) == "bob"
        mirror.sandbox.advance(DAY_SECONDS)
    assert resubscribed(mirror) == 2


def test_contact_is_resubscribed_days_later(mirror: Mirror) -> None:
    mirror.sandbox.advance(90 * DAY_SECONDS)
    back(mirror)
    assert mirror.members() == "ada bob"
    assert is_ours(mirror, "bob")


def test_contact_is_resubscribed_by_another_stream_of_the_list(mirror: Mirror) -> None:
    outcome = mirror.load([*whole("ada"), *whole("bob", "vip")]).succeeded()
    assert mirror.members() == "ada bob"
    assert outcome.counts == {"read": 2, "unchanged": 1, "added": 1}
    mirror.load([*whole("ada"), *whole("cyd", "vip")]).succeeded()
    assert mirror.members() == "ada cyd", "and leaves with that one"


@pytest.mark.parametrize("stream", ["profiles", "vip"])
def test_contact_removed_from_two_streams_is_resubscribed_by_either(
    mirror: Mirror, stream: str
) -> None:
    mirror.load([*whole("ada cyd"), *whole("cyd dan", "vip")]).succeeded()
    mirror.load([*whole("ada"), *whole("dan", "vip")]).succeeded()
    people = {"profiles": "ada", "vip": "dan"}
    outcome = mirror(f"{people[stream]} cyd", stream)
    assert mirror.members() == "ada cyd dan"
    assert outcome.counts == {"read": 2, "unchanged": 1, "changed": 1}


@pytest.mark.parametrize("mode", ["upsert", "update_only"])
def test_contact_is_resubscribed_in_another_mode(mirror: Mirror, mode: str) -> None:
    mirror("ada bob", sync_mode=mode)
    assert mirror.members() == "ada bob"
    assert resubscribed(mirror) == 1


def test_contact_twice_in_the_stream_is_resubscribed_once(mirror: Mirror) -> None:
    twice = [*records("bob"), *records("ada"), *records("Bob", first_name="Last")]
    outcome = mirror.load([schema(), *twice], complete_stream=True).succeeded()
    assert mirror.members() == "ada bob"
    assert mirror.person("bob")["first_name"] == "Last"
    assert outcome.counts == {"read": 3, "merged": 1, "changed": 1, "unchanged": 1}
    assert resubscribed(mirror) == 1


# What happened meanwhile


@pytest.mark.parametrize(
    "how",
    [{"campaign": 5}, {"reason": "too many mails"}, {"automation": 3}, {"message": 7}],
    ids=lambda how: next(iter(how)),
)
def test_opt_out_after_the_removal_is_kept(mirror: Mirror, how: dict[str, Any]) -> None:
    mirror.sandbox.opt_out(address("bob"), 1, **how)
    assert_held_back(mirror, back(mirror))


@in_every_account
def test_opt_out_is_recognized_by_its_date(mirror: Mirror) -> None:
    mirror.sandbox.advance(DAY_SECONDS)
    mirror.sandbox.opt_out(address("bob"), 1)
    assert_held_back(mirror, back(mirror))


@in_every_account
def test_opt_out_after_a_new_subscription_is_kept(mirror: Mirror) -> None:
    mirror.sandbox.advance(DAY_SECONDS)
    mirror.sandbox.resubscribe(address("bob"), 1)
    mirror.sandbox.advance(DAY_SECONDS)
    mirror.sandbox.opt_out(address("bob"), 1)
    assert_held_back(mirror, back(mirror))


def test_opt_out_while_the_removal_waits_is_kept(mirror: Mirror, load: ForkedTargetRunner) -> None:
    back(mirror)
    mirror.sandbox.fault("queue_slow", seconds=1)
    imports = len(mirror.sandbox.imports())
    run = load.start(whole("ada", first_name="Back"))
    wait_for(lambda: len(mirror.sandbox.imports()) > imports)
    mirror.sandbox.opt_out(address("bob"), 1, campaign=5)
    run.wait().succeeded()
    mirror.sandbox.clear_faults()
    outcome = mirror.load(whole("ada bob", first_name="Again")).succeeded()
    assert outcome.codes == {address("bob"): "OPTED_OUT"}
    assert mirror.members(status=UNSUBSCRIBED) == "bob"
    assert mirror.person("bob")["first_name"] == "Back"
    assert resubscribed(mirror) == 1, "only by the first return"


def test_opt_out_before_a_retried_removal_is_kept(
    start_sandbox: Any, target_for: Callable[[SandboxServer], ForkedTargetRunner]
) -> None:
    sandbox = start_sandbox(latency=0.5)
    load = target_for(sandbox)
    mirror = Mirror(load, sandbox)
    mirror("ada bob")
    sandbox.fault("queue_failed", times=1)
    imports = len(sandbox.imports())
    run = load.start(whole("ada"))
    wait_for(lambda: len(sandbox.imports()) > imports)
    sandbox.opt_out(address("bob"), 1)
    sandbox.advance(DAY_SECONDS)
    assert run.wait().succeeded().report["left"] == 1
    assert mirror("ada bob").codes == {address("bob"): "OPTED_OUT"}
    assert mirror.members(status=UNSUBSCRIBED) == "bob"


def test_opt_out_before_the_removal_is_kept(mirror: Mirror) -> None:
    mirror.sandbox.opt_out(address("ada"), 1, campaign=5)
    mirror("cyd")
    outcome = mirror("ada cyd")
    assert mirror.members() == "cyd"
    assert outcome.codes == {address("ada"): "OPTED_OUT"}
    assert resubscribed(mirror) == 0


def test_opt_out_of_another_list_does_not_prevent_resubscription(mirror: Mirror) -> None:
    mirror("ada bob", list_id=2)
    mirror("ada", list_id=2)
    mirror.sandbox.opt_out(address("bob"), 1, campaign=5)
    mirror.sandbox.opt_out(address("bob"), 3, campaign=5)
    mirror("ada bob", list_id=2)
    assert mirror.members(2) == "ada bob"
    assert (mirror.members(1, UNSUBSCRIBED), mirror.members(3, UNSUBSCRIBED)) == ("bob", "bob")


def test_deleted_contact_is_created_again(mirror: Mirror) -> None:
    mirror.sandbox.delete(address("bob"))
    outcome = back(mirror)
    assert mirror.members() == "ada bob"
    assert outcome.codes == {}
    assert resubscribed(mirror) == 0
    assert is_ours(mirror, "bob")


@in_every_account
@pytest.mark.parametrize("days", [0, 1], ids=["at once", "a day later"])
def test_contact_that_subscribed_again_is_not_managed(mirror: Mirror, days: int) -> None:
    mirror.sandbox.advance(days * DAY_SECONDS)
    mirror.sandbox.resubscribe(address("bob"), 1)
    outcome = back(mirror)
    assert mirror.person("bob")["first_name"] == "Back"
    assert outcome.counts == {"read": 2, "changed": 2}
    assert resubscribed(mirror) == 0
    assert not is_ours(mirror, "bob")


@where_its_end_shows
def test_resubscribed_contact_is_managed(mirror: Mirror) -> None:
    back(mirror)
    assert is_ours(mirror, "bob")


def test_opted_out_contact_does_not_block_its_import(mirror: Mirror) -> None:
    mirror.sandbox.opt_out(address("bob"), 1, campaign=5)
    outcome = mirror("ada bob cyd")
    assert mirror.members() == "ada cyd"
    assert outcome.counts == {"read": 3, "unchanged": 1, "added": 1, "rejected": 1}
    assert mirrored(outcome)["left"] == 0


def test_lost_ledger_resubscribes_no_contact(mirror: Mirror) -> None:
    mirror.lose_ledger()
    assert_held_back(mirror, mirror.load(whole("ada bob", first_name="Back")))


# When the answer is lost


@where_its_end_shows
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "reset", "takes_effect": True},
        {"kind": "reset"},
        {"kind": "cut"},
        {"kind": "server_error", "takes_effect": True},
        {"kind": "server_error"},
    ],
    ids=lambda fault: " ".join(str(one) for one in fault.values()),
)
def test_lost_answer_to_a_resubscription_is_recovered(
    mirror: Mirror, account: str, fault: dict[str, Any]
) -> None:
    mirror.sandbox.fault(**fault, match=SUBSCRIBE, times=1)
    outcome = back(mirror)
    assert mirror.members() == "ada bob"
    assert mirror.person("bob")["first_name"] == "Back"
    assert outcome.counts == {"read": 2, "changed": 2}
    took_effect = fault.get("takes_effect") or fault["kind"] == "cut"
    assert resubscribed(mirror) == (1 if took_effect else 2)
    # Kept dates don't tell if it was our request or bob that subscribed him: in doubt it was bob.
    assert is_ours(mirror, "bob") == (account == RENEWS or not took_effect)


def test_lost_answer_to_a_resubscription_undoes_no_opt_out(
    mirror: Mirror, load: ForkedTargetRunner
) -> None:
    mirror.sandbox.fault("slow", seconds=2, takes_effect=True, match=SUBSCRIBE)
    run = load.start(whole("ada bob", first_name="Back"), request_timeout=1)
    wait_for(lambda: mirror.members() == "ada bob")
    mirror.sandbox.opt_out(address("bob"), 1, campaign=5)
    outcome = run.wait().succeeded()
    wait_for(lambda: resubscribed(mirror) > 0)  # a request is in the log when it is done
    assert mirror.members(status=UNSUBSCRIBED) == "bob"
    assert outcome.codes == {address("bob"): "OPTED_OUT"}
    assert resubscribed(mirror) == 1


def test_failing_resubscription_fails_the_run_and_rejects_no_contact(mirror: Mirror) -> None:
    mirror.sandbox.fault("server_error", match=SUBSCRIBE)
    outcome = mirror.load(whole("ada bob", first_name="Back"))
    assert outcome.code == 1
    assert outcome.rejects == []
    assert mirror.members(status=UNSUBSCRIBED) == "bob"
    mirror.sandbox.clear_faults()
    back(mirror)
    assert mirror.members() == "ada bob"
    assert is_ours(mirror, "bob")


@in_every_account
def test_run_killed_while_resubscribing_is_recovered(
    mirror: Mirror, load: ForkedTargetRunner, account: str
) -> None:
    killed_at_the_request(mirror, load)
    outcome = back(mirror)
    assert mirror.members() == "ada bob"
    assert mirror.person("bob")["first_name"] == "Back"
    assert outcome.codes == {}
    assert resubscribed(mirror) == 1
    # As above, in doubt it was bob who subscribed.
    assert is_ours(mirror, "bob") == (account == RENEWS)


@where_its_end_shows
def test_contact_gone_again_after_a_killed_resubscription_is_removed_if_it_is_ours(
    mirror: Mirror, load: ForkedTargetRunner, account: str
) -> None:
    killed_at_the_request(mirror, load)
    outcome = mirror("ada")
    assert mirror.members() == ("ada" if account == RENEWS else "ada bob")
    assert mirrored(outcome)["not_ours"] == (0 if account == RENEWS else 1)


@in_every_account
def test_run_killed_while_resubscribing_undoes_no_opt_out(
    mirror: Mirror, load: ForkedTargetRunner
) -> None:
    killed_at_the_request(mirror, load)
    mirror.sandbox.advance(DAY_SECONDS)
    mirror.sandbox.opt_out(address("bob"), 1)
    outcome = back(mirror)
    assert outcome.codes == {address("bob"): "OPTED_OUT"}
    assert mirror.members(status=UNSUBSCRIBED) == "bob"
    assert resubscribed(mirror) == 1


@where_its_end_shows
def test_run_killed_while_resubscribing_does_not_manage_a_new_subscription(
    mirror: Mirror, load: ForkedTargetRunner
) -> None:
    killed_at_the_request(mirror, load)
    mirror.sandbox.advance(DAY_SECONDS)
    mirror.sandbox.resubscribe(address("bob"), 1)
    back(mirror)
    assert not is_ours(mirror, "bob")


# When the answer to a removal is lost


# With kept sdate and cleared udate, a membership does not show that it ever ended.
@where_its_end_shows
@pytest.mark.parametrize("names", ["cyd", "ada cyd"], ids=["absent", "back"])
def test_contact_that_subscribed_again_after_a_lost_removal_is_not_managed(
    mirror: Mirror, load: ForkedTargetRunner, names: str
) -> None:
    mirror("ada cyd")
    killed_at_the_removal(mirror, load)
    mirror.sandbox.advance(DAY_SECONDS)
    mirror.sandbox.resubscribe(address("ada"), 1)
    for _ in range(2):
        mirror(names)
        assert mirror.members() == "ada cyd"
    mirror("cyd")
    assert mirror.members() == "ada cyd"
    assert resubscribed(mirror) == 0


@where_its_end_shows
def test_contact_is_resubscribed_after_a_lost_removal(
    mirror: Mirror, load: ForkedTargetRunner
) -> None:
    mirror("ada cyd")
    killed_at_the_removal(mirror, load)
    mirror.sandbox.advance(DAY_SECONDS)
    mirror("ada cyd")
    assert mirror.members() == "ada cyd"
    assert resubscribed(mirror) == 1
    mirror("cyd")
    assert mirror.members() == "cyd"


@where_its_end_shows
@pytest.mark.parametrize("names", ["ada", "ada bob"], ids=["absent", "back"])
def test_lost_removal_without_effect_is_made_up_for(
    mirror: Mirror, load: ForkedTargetRunner, names: str
) -> None:
    mirror("ada bob")
    mirror.sandbox.advance(DAY_SECONDS)
    mirror.sandbox.fault("reset", match={"path": IMPORT})
    imports = mirror.asked("POST", IMPORT)
    run = load.start(whole("ada"))
    wait_for(lambda: mirror.asked("POST", IMPORT) > imports)
    run.kill()
    run.wait()
    mirror.sandbox.clear_faults()
    assert mirror.members() == "ada bob", "with the udate of the first removal, if it is kept"
    mirror(names)
    assert mirror.members() == names
    mirror("ada")
    assert mirror.members() == "ada"


@where_its_end_shows
def test_contact_that_came_back_after_a_lost_import_is_not_managed(
    mirror: Mirror, load: ForkedTargetRunner
) -> None:
    killed_at_the_import(load, mirror, "ada cyd", lambda: "cyd" in mirror.members())
    mirror.sandbox.advance(DAY_SECONDS)
    mirror.sandbox.opt_out(address("cyd"), 1)
    mirror.sandbox.advance(DAY_SECONDS)
    mirror.sandbox.resubscribe(address("cyd"), 1)
    mirror("ada cyd")
    mirror("ada")
    assert mirror.members() == "ada cyd"


def killed_at_the_removal(mirror: Mirror, load: ForkedTargetRunner) -> None:
    """A run that was killed when ada was off the list, before it could know that."""
    killed_at_the_import(load, mirror, "cyd", lambda: mirror.members() == "cyd")


def killed_at_the_import(
    load: ForkedTargetRunner, mirror: Mirror, names: str, took_effect: Callable[[], bool]
) -> None:
    """A run that was killed when its import had taken effect, before it could know that."""
    mirror.sandbox.fault("slow", seconds=0.5, takes_effect=True, match={"path": IMPORT})
    run = load.start(whole(names))
    wait_for(took_effect)
    run.kill()
    run.wait()
    mirror.sandbox.clear_faults()


def killed_at_the_request(mirror: Mirror, load: ForkedTargetRunner) -> None:
    """A run that was killed when bob was on the list again, before it could know that."""
    mirror.sandbox.fault("slow", seconds=0.5, takes_effect=True, match=SUBSCRIBE)
    run = load.start(whole("ada bob", first_name="Back"))
    wait_for(lambda: mirror.members() == "ada bob")
    run.kill()
    run.wait()
    mirror.sandbox.clear_faults()
    wait_for(lambda: resubscribed(mirror) == 1)  # a request is in the log when it is done
