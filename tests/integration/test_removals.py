"""Removal of contacts that a mirror no longer has, and the contacts that stay."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.mirrors import (
    IMPORT,
    UNSUBSCRIBED,
    Mirror,
    activate,
    address,
    mirrored,
    records,
    wait_for,
    whole,
)
from tests.support.target_runner import schema, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

CONTACTS = "/api/3/contacts"
FIELD = {"on_leave": "field", "membership_field": "In loyalty segment"}
TAG = {"on_leave": "tag", "membership_tag": "loyal"}


@pytest.fixture
def mirror(load: TargetRunner, sandbox: SandboxServer) -> Iterator[Mirror]:
    mirror = Mirror(load, sandbox)
    yield mirror
    mirror.assert_no_address_was_printed()


def crowd(first: int, last: int) -> str:
    return " ".join(f"p{number}" for number in range(first, last))


# Unsubscribed


def test_contacts_are_unsubscribed_in_imports_of_250(mirror: Mirror) -> None:
    mirror(crowd(0, 610))
    before = len(mirror.sandbox.requests())
    outcome = mirror(crowd(0, 100))
    requests = mirror.sandbox.requests()[before:]
    posts = [one["contacts"] for one in requests if one["method"] == "POST"]
    assert sorted(posts) == [10, 250, 250]
    assert mirror.members().split() == sorted(crowd(0, 100).split())
    assert mirror.members(status=UNSUBSCRIBED).split() == sorted(crowd(100, 610).split())
    assert outcome.report["left"] == 510
    assert len(requests) < 30, "nobody is asked about alone"


def test_removals_exclude_automations_if_set(mirror: Mirror) -> None:
    mirror("ada bob")
    started = mirror.sandbox.stats()["automation_runs"]
    mirror("ada", exclude_automations=True)
    assert mirror.members() == "ada"
    assert mirror.sandbox.stats()["automation_runs"] == started


def test_failed_removal_is_retried_by_the_next_run(mirror: Mirror) -> None:
    mirror("ada bob cyd")
    mirror.sandbox.fault("queue_drop", contacts=[address("bob")], times=1)
    outcome = mirror("ada")
    assert mirror.members() == "ada bob"
    assert mirrored(outcome) | {"left": 1, "not_left": 1} == mirrored(outcome)
    assert "rejected 1 removals" in outcome.log
    outcome = mirror("ada")
    assert mirror.members() == "ada"
    assert mirrored(outcome) | {"left": 1, "not_left": 0} == mirrored(outcome)


# Marked in a field


def test_membership_field_marks_members(mirror: Mirror) -> None:
    mirror.load.config.update(FIELD)
    outcome = mirror("ada bob")
    assert "Created the custom field 'In loyalty segment'" in outcome.log
    outcome = mirror("ada")
    assert outcome.report["left"] == 1
    assert mirror.members() == "ada bob", "no status changes"
    told = {name: mirror.person(name)["fields"] for name in ("ada", "bob")}
    assert told == {"ada": {"IN_LOYALTY_SEGMENT": "true"}, "bob": {"IN_LOYALTY_SEGMENT": "false"}}
    outcome = mirror("ada bob")
    assert mirror.person("bob")["fields"] == {"IN_LOYALTY_SEGMENT": "true"}
    assert outcome.counts == {"read": 2, "unchanged": 1, "changed": 1}
    assert mirror.asked("POST", "/api/3/fields") == 1
    assert mirror.asked("POST", "/api/3/contactLists") == 0


@pytest.mark.parametrize("title", ["Notes", "%CITY%", "Switch", "Choice"])
def test_membership_field_may_exist_already(mirror: Mirror, title: str) -> None:
    for name, kind in (("Switch", "hidden"), ("Choice", "radio")):
        field = {"field": {"title": name, "type": kind, "visible": 1}}
        number = mirror.sandbox.post("/api/3/fields", field)["field"]["id"]
        mirror.sandbox.post("/api/3/fieldRels", {"fieldRel": {"field": number, "relid": 0}})
        if kind == "radio":
            options = [{"field": number, "label": v, "value": v} for v in ("true", "false")]
            mirror.sandbox.post("/api/3/fieldOption/bulk", {"fieldOptions": options})
    made = mirror.asked("POST", "/api/3/fields")
    mirror.load.config.update(FIELD, membership_field=title)
    mirror("ada bob")
    mirror("ada")
    tag = title.strip("%").upper()
    assert mirror.person("ada")["fields"][tag] == "true"
    assert mirror.person("bob")["fields"][tag] == "false"
    assert mirror.asked("POST", "/api/3/fields") == made


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"membership_field": "Birthday"}, "of type 'date'"),
        ({"membership_field": "Loyalty points"}, "of type 'number'"),
        ({"membership_field": "Tier"}, "of type 'dropdown'"),
        ({"membership_field": "Newsletter consent"}, "of type 'checkbox'"),
        ({"membership_field": "%CITY%"}, "'city' is mapped to %CITY%"),
        ({"membership_field": "Notes", "field_mapping": {"city": "Notes"}}, "'city' is mapped"),
        ({}, "'membership_field'"),
        ({"on_leave": "tag", "membership_field": "Notes"}, "'membership_tag'"),
        ({"on_leave": "tag", "tags": ["a", "b"]}, "'membership_tag'"),
    ],
    ids=[
        "a date",
        "a number",
        "a choice of other things",
        "a box of other things",
        "a field that a property fills by its name",
        "a field that a property is mapped to",
        "no field",
        "no tag",
        "two tags",
    ],
)
def test_unusable_membership_field_is_refused_before_the_first_record(
    mirror: Mirror, settings: dict[str, Any], told: str
) -> None:
    settings = {"on_leave": "field", **settings}
    written = [schema(city="string"), *records("ada", version=9), activate(9), state("end")]
    outcome = mirror.load(written, **settings)
    assert outcome.code == 1
    assert outcome.states == []
    assert mirror.sandbox.requests(method="POST") == []
    assert "Stream 'profiles'" in outcome.log.splitlines()[-1]
    assert told in outcome.log.splitlines()[-1]


# Marked by a tag


@pytest.mark.parametrize(
    "settings",
    [
        {"membership_tag": "loyal"},
        {"membership_tag": "loyal", "tags": ["shop", "web"]},
        {"tags": ["loyal"]},
        {"tags": ["shop", "web"], "streams": {"profiles": {"membership_tag": "loyal"}}},
        {"streams": {"profiles": {"tags": ["loyal"]}}},
    ],
)
def test_membership_tag_marks_members(mirror: Mirror, settings: dict[str, Any]) -> None:
    mirror.load.config.update({"on_leave": "tag"}, **settings)
    others = set(settings.get("tags", ())) - {"loyal"}
    mirror.sandbox.prepare({"email": address("bob"), "tags": ["loyal at heart", "reader"]})
    mirror("ada bob")
    assert set(mirror.person("ada")["tags"]) == {"loyal", *others}
    outcome = mirror("ada")
    assert outcome.report["left"] == 1
    assert mirror.members() == "ada bob", "no status changes"
    assert set(mirror.person("ada")["tags"]) == {"loyal", *others}
    assert set(mirror.person("bob")["tags"]) == {"loyal at heart", "reader", *others}
    outcome = mirror("ada bob")
    assert set(mirror.person("bob")["tags"]) == {"loyal", "loyal at heart", "reader", *others}
    assert outcome.counts == {"read": 2, "unchanged": 1, "changed": 1}
    assert mirror.asked("POST", "/api/3/contactLists") == 0


def test_membership_tag_removed_by_hand_is_tolerated(mirror: Mirror) -> None:
    mirror.load.config.update(TAG)
    mirror("ada bob cyd")
    number = mirror.person("bob")["id"]
    (held,) = mirror.sandbox.get(f"{CONTACTS}/{number}/contactTags")["contactTags"]
    mirror.sandbox.call("DELETE", f"/api/3/contactTags/{held['id']}")
    outcome = mirror("ada")
    assert outcome.report["left"] == 2
    assert [mirror.person(name)["tags"] for name in ("ada", "bob", "cyd")] == [["loyal"], [], []]


def test_tag_of_another_mirror_stays(mirror: Mirror) -> None:
    mirror.load.config.update(TAG, streams={"vip": {"list_id": 2}})
    mirror.load([*whole("ada bob"), *whole("bob cyd", "vip")]).succeeded()
    mirror("ada")
    assert mirror.person("bob")["tags"] == ["loyal"]
    mirror("cyd", "vip")
    assert mirror.person("bob")["tags"] == []


def test_opted_out_contact_loses_the_tag(mirror: Mirror) -> None:
    mirror.load.config.update(streams={"loyal": TAG})
    mirror.load([*whole("ada bob"), *whole("ada bob", "loyal")]).succeeded()
    mirror.sandbox.opt_out(address("bob"), 1, campaign=5)
    mirror.load([*whole("ada bob"), *whole("ada", "loyal")]).succeeded()
    assert mirror.person("bob")["tags"] == []


def test_run_stopped_while_removing_tags_is_continued(
    mirror: Mirror, load: ForkedTargetRunner
) -> None:
    mirror.load.config.update(TAG)
    mirror(f"ada {crowd(0, 60)}")
    taking = {"method": "DELETE", "path": "/api/3/contactTags/*"}
    mirror.sandbox.fault("slow", seconds=0.3, match=taking)
    run = load.start(whole("ada"))
    wait_for(lambda: bool(mirror.sandbox.requests(method="DELETE")))
    run.kill(signal.SIGTERM)
    outcome = run.wait()
    assert outcome.code == 128 + signal.SIGTERM
    mirror.sandbox.clear_faults()
    tagged = [who for who, one in mirror.sandbox.contacts().items() if one["tags"]]
    assert 1 < len(tagged) < 61
    outcome = mirror("ada")
    tagged = [who for who, one in mirror.sandbox.contacts().items() if one["tags"]]
    assert tagged == [address("ada")]


# Not touched


def test_on_leave_nothing_removes_nobody(mirror: Mirror) -> None:
    mirror.load.config.update(on_leave="nothing", tags=["loyal"])
    mirror("ada bob")
    bob, posts = mirror.person("bob"), mirror.sandbox.requests(method="POST")
    outcome = mirror("ada")
    assert mirrored(outcome)["kind"] == "left"
    assert mirror.person("bob") == bob
    assert mirror.sandbox.requests(method="POST") == posts
    outcome = mirror("ada bob")
    assert outcome.counts == {"read": 2, "unchanged": 1, "changed": 1}, "back, and sent again"


# Who was on the list before


@pytest.mark.parametrize(
    ("others", "names"),
    [(9, "ada bob"), (700, "ada bob"), (700, f"ada bob {crowd(0, 9)}")],
    ids=["of a short list that is read", "of a long list by questions", "of a long list read"],
)
def test_pre_existing_members_are_not_removed(mirror: Mirror, others: int, names: str) -> None:
    mirror.sandbox.prepare(
        *({"email": f"other{n}@example.com", "lists": {"1": 1}} for n in range(others)),
        {"email": address("bob").title(), "lists": {"1": 1}},
        {"email": address("cyd"), "lists": {"2": 1}},
    )
    mirror(f"{names} cyd")
    asked = [one for one in mirror.sandbox.requests(path=CONTACTS) if "email=" in one["query"]]
    read = [one for one in mirror.sandbox.requests(path=CONTACTS) if "id_greater" in one["query"]]
    read = [one for one in read if "status=1" in one["query"]]
    few = others > 100 * 2 * len(f"{names} cyd".split())
    assert (len(asked) > 0, len(read) > 0) == (few, not few)
    outcome = mirror("zoe")
    assert mirror.members().count("other") == others
    assert mirror.members().split()[0] == "bob", "all but bob were put there by us"
    assert mirror.person("cyd")["lists"] == {"1": 2, "2": 1}
    assert mirrored(outcome)["left"] == len(names.split())
    assert mirrored(outcome)["not_ours"] == 1
    assert "1 contacts are missing from it and stay on list 1" in outcome.log


def test_pre_existing_member_stays_so_when_the_profile_changes(mirror: Mirror) -> None:
    mirror.sandbox.prepare({"email": address("bob"), "lists": {"1": 1}})
    mirror("ada bob")
    mirror.load(whole("ada bob", first_name="New")).succeeded()
    mirror("ada")
    assert mirror.members() == "ada bob"


def test_existing_contact_that_we_added_to_the_list_is_removed(mirror: Mirror) -> None:
    mirror.sandbox.prepare({"email": address("bob"), "first_name": "Bob"})
    mirror("ada bob")
    mirror("ada")
    assert mirror.person("bob")["lists"] == {"1": 2}


def test_contacts_loaded_by_another_mode_are_not_removed(mirror: Mirror) -> None:
    mirror("ada bob", sync_mode="upsert")
    mirror("ada bob cyd")
    outcome = mirror("ada")
    assert mirror.members() == "ada bob"
    assert mirrored(outcome) | {"left": 1, "not_ours": 1} == mirrored(outcome)


@pytest.mark.parametrize("when", ["before they come", "when they leave"])
def test_adopt_existing_makes_members_removable(mirror: Mirror, when: str) -> None:
    mirror("ada bob", sync_mode="upsert")
    mirror.sandbox.prepare(
        {"email": address("cyd"), "lists": {"1": 1}}, {"email": address("dan"), "lists": {"1": 1}}
    )
    mirror("ada bob cyd", adopt_members=when == "before they come")
    outcome = mirror("ada", adopt_members=True)
    assert mirror.members() == "ada dan", "who never was in the stream is nobody's to take off"
    assert mirrored(outcome) | {"left": 2, "not_ours": 0} == mirrored(outcome)


@pytest.mark.parametrize("settings", [FIELD, TAG], ids=["field", "tag"])
def test_membership_field_is_cleared_whoever_changed_the_membership(
    mirror: Mirror, settings: dict[str, Any]
) -> None:
    mirror.load.config.update(settings)
    mirror.sandbox.prepare({"email": address("bob"), "lists": {"1": 1}})
    mirror("ada bob cyd")
    mirror.sandbox.opt_out(address("cyd"), 1, campaign=5)
    outcome = mirror("ada")
    assert (mirror.members(), mirror.members(status=UNSUBSCRIBED)) == ("ada bob", "cyd")
    assert outcome.report["left"] == 2
    for name in ("bob", "cyd"):
        person = mirror.person(name)
        assert person["tags"] == []
        assert person["fields"].get("IN_LOYALTY_SEGMENT") != "true"


# What happened in the account since


def test_contact_that_opted_out_and_returned_is_not_removed(mirror: Mirror) -> None:
    mirror("ada bob")
    mirror.sandbox.opt_out(address("bob"), 1, campaign=5)
    outcome = mirror("ada bob")
    assert "1 contacts unsubscribed since the last run" in outcome.log
    mirror.sandbox.resubscribe(address("bob"), 1)
    mirror("ada bob")
    mirror.load(whole("ada bob", first_name="New")).succeeded()
    assert mirror.person("bob")["first_name"] == "New"
    mirror("ada")
    assert mirror.members() == "ada bob"


def test_opted_out_contact_is_not_unsubscribed_again(mirror: Mirror) -> None:
    mirror("ada bob")
    mirror.sandbox.opt_out(address("bob"), 1, campaign=5)
    before, imports = mirror.sandbox.memberships(address("bob")), len(mirror.sandbox.imports())
    outcome = mirror("ada")
    assert mirror.sandbox.memberships(address("bob")) == before
    assert len(mirror.sandbox.imports()) == imports
    assert outcome.report["left"] == 0


@pytest.mark.parametrize("settings", [{}, FIELD, TAG], ids=["unsubscribe", "field", "tag"])
def test_removal_does_not_recreate_a_deleted_contact(
    mirror: Mirror, settings: dict[str, Any]
) -> None:
    mirror.load.config.update(settings)
    mirror("ada bob cyd")
    mirror.sandbox.delete(address("bob"))
    outcome = mirror("ada")
    assert set(mirror.sandbox.contacts()) == {address("ada"), address("cyd")}
    assert outcome.report["left"] == 1
    mirror("ada bob")
    assert mirror.members().split()[:2] == ["ada", "bob"], "back in the stream, and made anew"


def test_deleted_contact_that_subscribed_again_is_not_removed(mirror: Mirror) -> None:
    mirror("ada bob")
    mirror.sandbox.delete(address("bob"))
    mirror("ada")
    mirror.sandbox.resubscribe(address("bob"), 1)
    mirror("ada")
    assert mirror.members() == "ada bob"


def test_bounced_contact_is_not_unsubscribed(mirror: Mirror) -> None:
    mirror("ada bob")
    mirror.sandbox.prepare({"email": address("bob"), "bounced": True, "lists": {"1": 3}})
    imports = len(mirror.sandbox.imports())
    outcome = mirror("ada")
    assert mirror.members(status=3) == "bob"
    assert len(mirror.sandbox.imports()) == imports
    assert mirrored(outcome) | {"left": 0, "not_left": 0} == mirrored(outcome)


def test_removal_from_a_long_list_does_not_recreate_a_deleted_contact(mirror: Mirror) -> None:
    others = ({"email": f"other{n}@example.com", "lists": {"1": 1}} for n in range(450))
    mirror.sandbox.prepare(*others)
    mirror("ada bob cyd")
    mirror.sandbox.delete(address("bob"))
    mirror("ada")
    assert address("bob") not in mirror.sandbox.contacts()
    assert mirror.person("cyd")["lists"] == {"1": 2}


# Several streams for one list


def test_contact_stays_while_another_mirror_of_the_list_has_it(
    mirror: Mirror,
) -> None:
    mirror.load([*whole("ada bob"), *whole("bob cyd", "vip")]).succeeded()
    mirror.load([*whole("ada"), *whole("bob cyd", "vip")]).succeeded()
    assert mirror.members() == "ada bob cyd"
    outcome = mirror.load([*whole("ada"), *whole("cyd", "vip")]).succeeded()
    assert mirror.members() == "ada cyd"
    assert outcome.report["left"] == 1


@pytest.mark.parametrize("order", [("profiles", "vip"), ("vip", "profiles")])
def test_contact_missing_from_both_mirrors_is_removed_once(
    mirror: Mirror, order: tuple[str, str]
) -> None:
    people = {"profiles": "ada bob", "vip": "bob cyd"}
    mirror.load([one for name in order for one in whole(people[name], name)]).succeeded()
    people = {"profiles": "ada", "vip": "cyd"}
    outcome = mirror.load([one for name in order for one in whole(people[name], name)]).succeeded()
    assert mirror.members() == "ada cyd"
    assert outcome.report["left"] == 1


def test_mirrors_of_one_list_in_separate_runs(mirror: Mirror) -> None:
    mirror("ada bob")
    mirror("bob cyd", "vip")
    mirror("ada")
    assert mirror.members() == "ada bob cyd"
    mirror("cyd", "vip")
    assert mirror.members() == "ada cyd"


@pytest.mark.parametrize(
    "settings",
    [{}, {**TAG, "streams": {"vip": {"list_id": 2}}}],
    ids=["of one list", "of one tag"],
)
def test_returned_contact_stays_while_one_mirror_has_it(
    mirror: Mirror, settings: dict[str, Any]
) -> None:
    mirror.load.config.update(settings)
    for bob in ("bob", "", "bob"):
        written = [*whole(f"ada {bob}"), *whole(f"cyd {bob}", "vip")]
        mirror.load(written).succeeded()
    before = mirror.person("bob")
    outcome = mirror("ada")
    assert mirror.person("bob") == before
    assert outcome.report["left"] == 0


def test_guard_of_one_mirror_keeps_its_members_on_the_list(mirror: Mirror) -> None:
    mirror.load([*whole("ada bob"), *whole("bob cyd", "vip")]).succeeded()
    stopped = {"streams": {"vip": {"guards": {"max_leave": 0}}}}
    assert mirror.load([*whole("ada"), *whole("dan", "vip")], **stopped).code == 1
    assert mirror.members() == "ada bob cyd dan"


@pytest.mark.parametrize("before", ["upsert", "mirror"])
def test_contact_of_an_upsert_stream_of_the_list_stays(mirror: Mirror, before: str) -> None:
    everyone = [*whole("ada bob cyd"), *whole("bob", "vip")]
    for _ in range(2):
        mirror.load(everyone, streams={"vip": {"sync_mode": before}}).succeeded()
    written = [*whole("ada"), *whole("bob", "vip", first_name="New")]
    outcome = mirror.load(written, streams={"vip": {"sync_mode": "upsert"}}).succeeded()
    assert mirror.members() == "ada bob"
    assert mirrored(outcome) | {"left": 1, "not_ours": 0} == mirrored(outcome)


def test_contact_on_two_lists_is_removed_from_both(mirror: Mirror) -> None:
    vip: dict[str, Any] = {"streams": {"vip": {"list_id": 2}}}
    mirror.sandbox.prepare({"email": address("cyd"), "lists": {"2": 1}})
    mirror.load([*whole("ada bob cyd"), *whole("ada bob cyd", "vip")], **vip).succeeded()
    outcome = mirror.load([*whole("ada"), *whole("ada", "vip")], **vip).succeeded()
    assert mirror.members(1) == "ada"
    assert mirror.members(2) == "ada cyd", "of which cyd was there before"
    assert mirrored(outcome)["left"] == 2
    assert mirrored(outcome, "vip") | {"left": 1, "not_ours": 1} == mirrored(outcome, "vip")


def test_stream_of_another_list_does_not_prevent_removal(mirror: Mirror) -> None:
    vip: dict[str, Any] = {"streams": {"vip": {"list_id": 2}}}
    mirror.load([*whole("ada bob"), *whole("bob", "vip")], **vip).succeeded()
    mirror("ada", **vip)
    assert (mirror.members(1), mirror.members(2)) == ("ada", "bob")


# Killed


@pytest.mark.parametrize("told", [True, False], ids=["known by its id", "not known by its id"])
def test_kill_during_removals_is_recovered_by_the_next_run(
    start_sandbox: Any, target_for: Callable[[SandboxServer], ForkedTargetRunner], told: bool
) -> None:
    sandbox = start_sandbox(latency=0.1)
    load = target_for(sandbox)
    mirror = Mirror(load, sandbox)
    mirror("ada bob cyd dan")
    if told:
        sandbox.fault("queue_slow", seconds=1)
    else:
        sandbox.fault("reset", takes_effect=True, match={"path": IMPORT})
    imports = len(sandbox.imports())
    run = load.start(whole("ada bob"), batch_size_rows=1)
    wait_for(lambda: len(sandbox.imports()) >= imports + 2)
    if told:
        wait_for(lambda: len(sandbox.requests(path="/api/3/import/info")) > 1)
    run.kill()
    run.wait()
    sandbox.clear_faults()
    sandbox.settle()
    mirror("ada bob")
    assert mirror.members() == "ada bob"
    assert mirror.members(status=UNSUBSCRIBED) == "cyd dan"
    mirror("ada bob cyd")
    assert mirror.members() == "ada bob cyd", "we had taken them off, and may bring them back"
