"""Consent: nobody is subscribed, or stays so, whose record says no."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.guide import example
from tests.support.mirrors import (
    ACTIVE,
    NO_GUARDS,
    UNSUBSCRIBED,
    activate,
    address,
    on_list,
    quick_sandbox,
)
from tests.support.target_runner import state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

STREAM = "people"
YES, NO, NULL = True, False, None


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with quick_sandbox(keep_bodies="yes") as server:
        yield server


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    """A sandbox that keeps the bodies of requests."""
    server.reset()
    return server


@pytest.fixture
def people(load: TargetRunner) -> TargetRunner:
    load.config.update(guards={**NO_GUARDS, "max_consent_loss_pct": None})
    return load


def announce(*names: str, **types: Any) -> dict[str, Any]:
    """A SCHEMA message whose properties `names` may hold anything."""
    properties = {
        "email": {"type": ["string", "null"]},
        "first_name": {"type": ["string", "null"]},
        **{name: types.get(name, {}) for name in names},
    }
    return {
        "type": "SCHEMA",
        "stream": STREAM,
        "schema": {"type": "object", "properties": properties},
        "key_properties": [],
    }


def person(name: str, **values: Any) -> dict[str, Any]:
    record = {"email": address(name), "first_name": name.title(), **values}
    return {"type": "RECORD", "stream": STREAM, "record": record}


def consents(by: str = "marketing_consent", /, **people: Any) -> list[dict[str, Any]]:
    """All messages of a run: the value of a property with consent, by name."""
    rows = [person(name, **{by: value}) for name, value in people.items()]
    return [announce(by), *rows, state({STREAM: 1})]


def skipped(outcome: Outcome) -> dict[str, int]:
    return {code: told["records"] for code, told in outcome.report["skipped"].items()}


def test_only_people_who_have_consented_are_subscribed(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    outcome = people(consents(ada=YES, bob=NO, cyd=NULL)).succeeded()

    assert on_list(sandbox) == "ada"
    assert sandbox.contacts().keys() == {address("ada")}
    assert outcome.counts == {"read": 3, "added": 1, "skipped": 2}
    assert skipped(outcome) == {"NO_CONSENT": 1, "CONSENT_UNKNOWN": 1}
    assert "consent is read from 'marketing_consent'" in outcome.log
    assert address("ada") in sandbox.bodies()
    assert address("bob") not in sandbox.bodies()
    again = people(consents(ada=YES, bob=NO, cyd=NULL)).succeeded()
    assert again.counts == {"read": 3, "unchanged": 1, "skipped": 2}
    assert skipped(again) == {"NO_CONSENT": 1, "CONSENT_UNKNOWN": 1}


@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_person_who_withdraws_consent_is_unsubscribed_and_comes_back(
    people: TargetRunner, sandbox: SandboxServer, mode: str
) -> None:
    people.config["sync_mode"] = mode

    def run(**who: Any) -> Outcome:
        messages = consents(**who)
        return people([*messages[:-1], activate(1, STREAM), messages[-1]]).succeeded()

    people.config["complete_stream"] = True
    run(ada=YES, bob=YES)

    outcome = run(ada=YES, bob=NO)

    assert on_list(sandbox) == "ada"
    assert on_list(sandbox, UNSUBSCRIBED) == "bob"
    assert outcome.counts == {"read": 2, "unchanged": 1, "skipped": 1}
    assert outcome.report["left"] == 1
    assert "List 1: unsubscribed 1 contact that" in outcome.log
    again = run(ada=YES, bob=NO)
    assert again.report["left"] == 0
    back = run(ada=YES, bob=YES)
    assert back.counts["unchanged"] == 1
    assert on_list(sandbox) == "ada bob"


def test_person_whom_somebody_else_added_is_unsubscribed(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    sandbox.prepare({"email": address("bob"), "lists": {"1": ACTIVE}})

    people(consents(bob=NO, ada=YES)).succeeded()

    assert on_list(sandbox) == "ada"
    assert on_list(sandbox, UNSUBSCRIBED) == "bob"
    assert address("bob") not in sandbox.bodies()
    people(consents(bob=YES, ada=YES)).succeeded()
    assert on_list(sandbox) == "ada bob"


@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_guard_unsubscribes_nobody_and_the_next_run_goes_on(
    people: TargetRunner, sandbox: SandboxServer, mode: str
) -> None:
    people.config.update(guards={}, sync_mode=mode, complete_stream=True)
    names = [f"p{number}" for number in range(10)]
    people(consents(**dict.fromkeys(names, YES))).succeeded()
    lost = {**dict.fromkeys(names, YES), **dict.fromkeys(names[:3], NULL), "p9": NO}
    people(consents(**lost)).succeeded()
    lost.update(dict.fromkeys(names[:3], NO))

    outcome = people(consents(**lost))

    assert outcome.code == 1
    assert "3 of 9 active contacts would be unsubscribed" in outcome.log.splitlines()[-1]
    assert "guards.max_consent_loss_pct: 20" in outcome.log.splitlines()[-1]
    assert len(on_list(sandbox).split()) == 9
    assert people(consents(**lost)).code == 1
    people(consents(**lost), guards={"override_once": True}).succeeded()
    assert len(on_list(sandbox).split()) == 6
    lost.update(dict.fromkeys(names[3:6], NO))
    left_on = people(consents(**lost), guards={"override_once": True})
    assert left_on.code == 1, "it lets only one run through"
    assert len(on_list(sandbox).split()) == 6


GIVEN: list[Any] = [True, 1, 1.0, "true", "Yes", " y ", "1", "on", "1.0", "subscribed"]
GIVEN += ["OPTED_IN", "Opted in", "opt-in", ["Yes"]]
REFUSED: list[Any] = [False, 0, "false", "No", "0", "off", "unsubscribed", "opted_out", "Opted-Out"]
UNKNOWN: list[Any] = [
    None,
    "",
    "null",
    "NaN",
    "maybe",
    2,
    "-1",
    [],
    {},
    [True, False],
    "10",
    "y e s",
    "not no",
]


def test_words_of_consent(people: TargetRunner, sandbox: SandboxServer) -> None:
    words = {"g": GIVEN, "r": REFUSED, "u": UNKNOWN}
    values = {f"{one}{n}": value for one, some in words.items() for n, value in enumerate(some)}

    outcome = people(consents(**values)).succeeded()

    assert set(on_list(sandbox).split()) == {one for one in values if one[0] == "g"}
    codes = {"NO_CONSENT": len(REFUSED), "CONSENT_UNKNOWN": len(UNKNOWN)}
    assert skipped(outcome) == codes


def test_report_says_what_was_read_and_who_was_unsubscribed(people: TargetRunner) -> None:
    names = ["ada", "bob", "cyd", "dee"]
    people(consents("MarketingConsent", **dict.fromkeys(names, YES))).succeeded()

    outcome = people(consents("MarketingConsent", **dict.fromkeys(names[1:], NO), ada=YES))

    consent = outcome.succeeded().report["streams"][STREAM]["consent"]
    assert consent == example("consent.md", "report")


def test_unknown_words_are_told_once_with_their_number(people: TargetRunner) -> None:
    outcome = people(consents(ada="maybe", bob="ja", cyd=None, dee="")).succeeded()

    (line,) = [one for one in outcome.log.splitlines() if "can't be read as yes or no" in one]
    assert "2 values of 'marketing_consent'" in line
    assert "maybe" not in outcome.log
    assert outcome.report["streams"][STREAM]["consent"]["unknown_words"] == {"marketing_consent": 2}


@pytest.mark.parametrize("unknown", ["hold", "subscribe"])
def test_people_of_whom_it_is_unknown(
    people: TargetRunner, sandbox: SandboxServer, unknown: str
) -> None:
    messages = consents(ada=YES, bob=NULL, cyd="maybe")
    del messages[2]["record"]["marketing_consent"]

    people(messages, consent_unknown=unknown).succeeded()

    assert on_list(sandbox) == ("ada" if unknown == "hold" else "ada bob cyd")


def test_hold_leaves_members_as_they_are(people: TargetRunner, sandbox: SandboxServer) -> None:
    people(consents(ada=YES)).succeeded()

    outcome = people(consents(ada=NULL)).succeeded()

    assert on_list(sandbox) == "ada"
    assert skipped(outcome) == {"CONSENT_UNKNOWN": 1}
    assert people(consents(ada=YES)).counts == {"read": 1, "unchanged": 1}


@pytest.mark.parametrize(
    ("name", "is_refusal"),
    [
        ("MarketingConsent", False),
        ("EMAIL_OPT_IN", False),
        ("Subscribed?", False),
        ("accepts-marketing", False),
        ("unsubscribed", True),
        ("HasOptedOutOfEmail", True),
        ("do_not_email", True),
    ],
)
def test_names_of_properties_with_consent(
    people: TargetRunner, sandbox: SandboxServer, name: str, is_refusal: bool
) -> None:
    people(consents(name, ada=True, bob=False, cyd="opted out", dee="subscribed")).succeeded()

    assert on_list(sandbox) == ("bob dee" if is_refusal else "ada dee")


def test_property_that_the_schema_lacks_counts_too(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    messages = [announce(), *consents(ada=YES, bob=NO)[1:]]

    people(messages).succeeded()

    assert on_list(sandbox) == "ada"


@pytest.mark.parametrize("how", ["ignore", "auto_map", "explicit", "nested", "two", "explicit two"])
def test_what_is_read(people: TargetRunner, sandbox: SandboxServer, how: str) -> None:
    schema = announce("marketing_consent", "subscribed", "ok", "about")
    rows = [
        person("ada", marketing_consent=True, subscribed=True, ok=False, about={"ok": False}),
        person("bob", marketing_consent=True, subscribed=False, ok=True, about={"ok": True}),
        person("cyd", marketing_consent=False, subscribed=True, ok=True, about={"ok": True}),
    ]
    mapping = {
        "ignore": {"marketing_consent": "ignore", "subscribed": "ignore"},
        "explicit": {"ok": "subscription"},
        "nested": {"about.ok": "subscription"},
        "explicit two": {"ok": "subscription", "marketing_consent": "subscription"},
    }
    expected = {
        "ignore": "ada bob cyd",
        "auto_map": "ada bob cyd",
        "explicit": "bob cyd",
        "nested": "bob cyd",
        "two": "ada",
        "explicit two": "bob",
    }
    people.config["field_mapping"] = {"email": "email", **mapping.get(how, {})}

    people([schema, *rows], auto_map=how != "auto_map").succeeded()

    assert on_list(sandbox) == expected[how]


UNREAD = "no consent is read, so everyone may be subscribed"
OBJECT = {"type": ["object", "null"], "properties": {"marketing_consent": {"type": "boolean"}}}


@pytest.mark.parametrize(
    ("name", "settings", "path"),
    [
        ("prefs", {}, "prefs.marketing_consent"),
        ("prefs__marketing_consent", {}, "prefs__marketing_consent"),
        ("prefs.email__OptIn", {}, "prefs.email__OptIn"),
        ("prefs", {"flattening_enabled": True}, "prefs__marketing_consent"),
        ("prefs", {"dry_run": True}, "prefs.marketing_consent"),
        ("prefs", {"field_mapping": {"prefs": "ignore"}}, None),
        ("prefs", {"field_mapping": {"prefs.marketing_consent": "ignore"}}, None),
        ("prefs", {"field_mapping": {"prefs.marketing_consent": "subscription"}}, None),
        ("prefs", {"field_mapping": {"email": "email"}, "auto_map": False}, None),
        ("preferences", {"field_mapping": {"first_name": "subscription"}}, None),
    ],
)
def test_nested_consent_that_is_not_read_is_told_once(
    people: TargetRunner, name: str, settings: dict[str, Any], path: str | None
) -> None:
    types = {name: OBJECT if name.isalpha() else {"type": ["boolean", "null"]}}
    value = {"marketing_consent": False} if name.isalpha() else False
    messages = [announce(name, **types), person("ada", **{name: value})]

    outcome = people(
        [*messages, {**messages[0], "key_properties": ["email"]}, state(1)],
        flattening_max_depth=2,
        **settings,
    ).succeeded()

    found = [one for one in outcome.warnings if UNREAD in one]
    assert len(found) == (path is not None)
    assert all(f"'{path}'" in one and "'subscription'" in one for one in found)


def test_consent_at_the_top_needs_no_nested_one(people: TargetRunner) -> None:
    schema = announce("prefs", "opt_in", prefs=OBJECT)

    outcome = people([schema, person("ada", opt_in=True, prefs={})]).succeeded()

    assert UNREAD not in outcome.log


def test_check_tells_of_nested_consent(people: TargetRunner, tmp_path: Path) -> None:
    properties = {"email": {"type": "string"}, "prefs": OBJECT}
    stream = {
        "tap_stream_id": STREAM,
        "stream": STREAM,
        "schema": {"type": "object", "properties": properties},
        "metadata": [{"breadcrumb": [], "metadata": {"selected": True}}],
    }
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps({"streams": [stream]}))

    done = subprocess.run(
        [*people.command(), "--test", "--format=json", f"--catalog={path}"],
        cwd=people.folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(UNREAD) == 1
    assert "'prefs.marketing_consent'" in done.stdout


@pytest.mark.parametrize("changes", [{}, {"dry_run": True}])
def test_end_of_the_log_names_a_property_with_consent_that_the_stream_lacks(
    people: TargetRunner, sandbox: SandboxServer, changes: dict[str, Any]
) -> None:
    people.config["field_mapping"] = {"ok": "subscription"}
    lacks = "Stream 'people' lacks 'ok', from which 'field_mapping' says to read consent"

    for _ in range(2):  # the second run knows the records by their hashes
        outcome = people(consents("other", ada=YES, bob=NO), **changes).succeeded()
        assert skipped(outcome) == {"CONSENT_UNKNOWN": 2}
        assert lacks in "\n".join(outcome.log.splitlines()[-5:])

    assert on_list(sandbox) == ""
    assert lacks not in people(consents("ok", ada=YES, bob=NULL), **changes).succeeded().log


def test_custom_field_of_the_same_name_gets_the_value_as_well(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    field = {"title": "Marketing Consent", "type": "text", "perstag": "MARKETING_CONSENT"}
    sandbox.post("/api/3/fields", {"field": field})

    people(consents(ada="yes", bob="no")).succeeded()

    assert on_list(sandbox) == "ada"
    assert sandbox.contacts()[address("ada")]["fields"]["MARKETING_CONSENT"] == "yes"


@pytest.mark.parametrize("was", ["member", "other list", "nobody"])
def test_update_changes_values_and_no_list(
    people: TargetRunner, sandbox: SandboxServer, was: str
) -> None:
    people.config["without_consent"] = "update"
    if was == "member":
        people(consents(ada=YES)).succeeded()
    elif was == "other list":
        sandbox.prepare({"email": address("ada"), "lists": {"2": ACTIVE}})
    messages = consents(ada=NO)
    messages[1]["record"]["first_name"] = "Ava"

    outcome = people(messages).succeeded()

    contact = sandbox.contacts().get(address("ada"))
    if was == "nobody":
        assert contact is None
        assert skipped(outcome) == {"NO_CONSENT": 1}
        return
    lists = {"member": {"1": UNSUBSCRIBED}, "other list": {"2": ACTIVE}}[was]
    assert contact is not None
    assert (contact["first_name"], contact["lists"]) == ("Ava", lists)
    people(messages).succeeded()
    again = people(messages).succeeded()
    assert again.counts == {"read": 1, "unchanged": 1}
    messages[1]["record"]["marketing_consent"] = True
    people(messages).succeeded()
    assert on_list(sandbox) == "ada"


def test_bad_value_does_not_hide_a_refusal(people: TargetRunner, sandbox: SandboxServer) -> None:
    people(consents(ada=YES, bob=YES, cyd=YES)).succeeded()
    messages = consents(ada=NO, bob=NO, cyd=YES)
    messages[1]["record"]["first_name"] = 5

    outcome = people(messages).succeeded()

    assert outcome.counts == {"read": 3, "invalid": 1, "skipped": 1, "unchanged": 1}
    assert on_list(sandbox) == "cyd"


@pytest.mark.parametrize("order", [["crm", "shop"], ["shop", "crm"]])
def test_one_refusal_among_the_streams_of_a_list_counts(
    people: TargetRunner, sandbox: SandboxServer, order: list[str]
) -> None:
    def messages(**consent: bool) -> list[dict[str, Any]]:
        of = {name: consents(ada=consent[name], bob=YES)[:-1] for name in order}
        return [{**one, "stream": name} for name in order for one in of[name]]

    people(messages(crm=True, shop=True)).succeeded()
    assert on_list(sandbox) == "ada bob"

    people(messages(crm=True, shop=False)).succeeded()

    assert on_list(sandbox) == "bob"
    outcome = people(messages(crm=True, shop=False)).succeeded()
    assert skipped(outcome) == {"NO_CONSENT": 2}
    assert on_list(sandbox) == "bob"
    people(messages(crm=True, shop=True)).succeeded()
    assert on_list(sandbox) == "ada bob"


@pytest.mark.parametrize("order", ["yes no", "no yes"])
def test_refusal_of_another_stream_counts_although_both_are_read_at_once(
    people: TargetRunner, sandbox: SandboxServer, order: str
) -> None:
    def of(stream: str, message: dict[str, Any]) -> dict[str, Any]:
        return {**message, "stream": stream}

    schema = announce("marketing_consent")
    says = {
        "yes": of("first", person("ada", marketing_consent=YES)),
        "no": of("second", person("ada", marketing_consent=NO)),
    }
    records = [says[word] for word in order.split()]

    outcome = people([of("first", schema), of("second", schema), *records]).succeeded()

    assert sandbox.contacts() == {}
    assert address("ada") not in sandbox.bodies()
    assert skipped(outcome) == {"NO_CONSENT": 2}


@pytest.mark.parametrize("email", ["nonsense", None])
def test_row_that_says_no_without_a_valid_address_is_unsubscribed_once(
    people: TargetRunner, sandbox: SandboxServer, email: str | None
) -> None:
    def row(email: str | None, consent: bool) -> list[dict[str, Any]]:
        values = {"id": 1, "email": email, "marketing_consent": consent}
        record = {"type": "RECORD", "stream": STREAM, "record": values}
        return [announce("id", "marketing_consent"), record]

    people.config.update(person_key=["id"])
    people(row(address("ada"), YES)).succeeded()

    outcome = people(row(email, NO))

    assert on_list(sandbox, UNSUBSCRIBED) == "ada"
    assert outcome.counts == {"read": 1, "invalid": 1}
    assert outcome.report["left"] == 1
    sandbox.resubscribe(address("ada"), 1)
    people(row(email, NO))
    assert on_list(sandbox) == "ada", "this is the newer word"


@pytest.mark.parametrize("order", ["yes no", "no yes"])
@pytest.mark.parametrize("between", [0, 600])
def test_last_record_of_a_run_counts(
    people: TargetRunner, sandbox: SandboxServer, order: str, between: int
) -> None:
    crowd = {f"p{number}": YES for number in range(between)}
    values = [one == "yes" for one in order.split()]
    schema, first, *_ = consents(ada=values[0])
    last = person("ada", marketing_consent=values[1])

    outcome = people([schema, first, *consents(**crowd)[1:-1], last], batch_size_rows=100)

    assert outcome.succeeded().counts["read"] == between + 2
    assert ("ada" in on_list(sandbox).split()) is (order == "no yes")


@pytest.mark.parametrize("mode", ["skip", "update"])
@pytest.mark.parametrize("mark", ["field", "tag"])
def test_mark_of_a_mirror_goes_with_consent_and_comes_back(
    people: TargetRunner, sandbox: SandboxServer, mark: str, mode: str
) -> None:
    how = {"membership_field": "Member"} if mark == "field" else {"membership_tag": "member"}
    people.config.update(sync_mode="mirror", on_leave=mark, without_consent=mode, **how)
    people.config["complete_stream"] = True

    def marked() -> str:
        contacts = sandbox.contacts().items()
        people = [
            who
            for who, one in contacts
            if one["fields"].get("MEMBER") == "true" or "member" in one["tags"]
        ]
        return " ".join(sorted(who.partition("@")[0] for who in people))

    people(consents(ada=YES, bob=YES, cyd=YES)).succeeded()
    assert marked() == "ada bob cyd"
    sandbox.opt_out(address("cyd"), 1)
    sandbox.prepare({"email": address("dee")})

    for _ in range(3):
        people(consents(ada=YES, bob=NO, cyd=NO, dee=NO)).succeeded()
        assert marked() == "ada"
    last = people(consents(ada=YES, bob=NO, cyd=NO, dee=NO)).succeeded()
    assert "changed" not in last.counts
    assert last.report["left"] == 0
    for _ in range(2):  # the first learns that one has opted out
        people(consents(ada=YES, bob=YES, cyd=YES, dee=NO), on_opted_out="update").succeeded()
    assert marked() == "ada bob cyd"
    assert on_list(sandbox) == "ada bob"


def test_mark_stays_that_the_stream_of_another_list_gives(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    mirror = {"sync_mode": "mirror", "on_leave": "tag", "membership_tag": "member"}
    people.config.update(complete_stream=True, list_id=None, **mirror)
    people.config["streams"] = {"first": {"list_id": 1}, "second": {"list_id": 2}}

    def messages(**says: bool) -> list[dict[str, Any]]:
        parts = [consents(ada=value)[:-1] for value in says.values()]
        names = zip(says, parts, strict=True)
        return [{**one, "stream": name} for name, part in names for one in part]

    people(messages(first=YES, second=YES)).succeeded()

    people(messages(first=NO, second=YES)).succeeded()
    assert sandbox.contacts()[address("ada")]["tags"] == ["member"]
    people(messages(first=NO, second=NO)).succeeded()
    assert sandbox.contacts()[address("ada")]["tags"] == []


def test_opt_out_stays_one_although_the_source_says_yes_again(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(consents(ada=YES, bob=YES)).succeeded()
    people(consents(ada=NO, bob=YES)).succeeded()
    sandbox.prepare({"email": address("ada"), "lists": {"1": ACTIVE}})
    sandbox.opt_out(address("ada"), 1, reason="enough")

    outcome = people(consents(ada=YES, bob=YES))

    assert on_list(sandbox) == "bob"
    assert list(outcome.codes.values()) == ["OPTED_OUT"]


def test_consent_follows_the_row(people: TargetRunner, sandbox: SandboxServer) -> None:
    people.config["person_key"] = ["id"]

    def row(name: str, value: bool) -> list[dict[str, Any]]:
        schema, one, *_ = consents(ada=value)
        schema["schema"]["properties"]["id"] = {"type": "integer"}
        one["record"].update(id=1, email=address(name))
        return [schema, one]

    people(row("ada", value=True)).succeeded()

    people(row("ava", value=False)).succeeded()

    assert on_list(sandbox, UNSUBSCRIBED) == "ada"
    assert address("ava") not in sandbox.bodies()
    people(row("ava", value=True)).succeeded()
    assert on_list(sandbox) == "ava"
    assert sandbox.contacts().keys() == {address("ava")}


def test_preview_unsubscribes_nobody_and_says_who_would_be(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(consents(ada=YES, bob=YES)).succeeded()

    outcome = people(consents(ada=NO, bob=YES), dry_run=True).succeeded()

    assert on_list(sandbox) == "ada bob"
    assert outcome.report["left"] == 1
    assert "1 would be removed" in outcome.log
