"""Only changes are delivered, and each contact ends with its latest values."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.mirrors import DAY_SECONDS, IMPORT, QUICK, wait_for
from tests.support.target_runner import people, record, schema, state
from tests.support.unforeseen import hide_refusals

if TYPE_CHECKING:
    from tests.support.fork_server import RunningTarget
    from tests.support.sandbox_server import SandboxServer

    Contact = dict[str, Any]
    Message = dict[str, Any]

pytestmark = pytest.mark.quick

QUESTION = "/api/3/import/info"
ADA = "ada@example.com"
MORE_THAN_A_WINDOW = 1_100
SMALL_WINDOWS = replace(QUICK, window_records=4)
"""So small that a few records fill more than one window."""


def sent(sandbox: SandboxServer) -> int:
    """Return the number of contacts that the account has been sent so far."""
    return sum(one["contacts"] for one in sandbox.requests(path=IMPORT, method="POST"))


# Unchanged records


def test_unchanged_records_cost_no_request(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    messages = [schema(), *people(600), state("end")]
    assert load(messages).succeeded().counts == {"read": 600, "added": 600}
    before, asked = sandbox.export(), len(sandbox.requests())
    outcome = load(messages).succeeded()
    assert outcome.counts == {"read": 600, "unchanged": 600}
    assert outcome.states == ["end"]
    paths = [one["path"] for one in sandbox.requests()[asked:]]
    assert paths == ["/api/3/users/me", "/api/3/lists", "/api/3/fields"]
    assert sandbox.export() == before


def ada_and_ben(**of_ada: Any) -> list[Message]:
    values = {"first_name": "A", "tier": "Gold", "labels": "tea"}
    return [
        schema(tier="string", labels="string"),
        record(ADA, **{**values, **of_ada}),
        record("ben@example.com", **values),
    ]


@dataclass(frozen=True)
class Change:
    """A change between two runs, and the values of Ada's contact after it."""

    name: str
    expected: dict[str, Any]
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    of_ada: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


LABELS = {"field_mapping": {"labels": "tags"}}
BY_FIELD = {"sync_mode": "mirror", "on_leave": "field", "membership_field": "Member"}
BY_TAG = {"sync_mode": "mirror", "on_leave": "tag", "membership_tag": "member"}

CHANGES = (
    Change("a value", {"fields": {"TIER": "Silver"}}, of_ada={"tier": "Silver"}),
    Change(
        "a tag of a property",
        {"tags": ["events", "tea"]},
        before=LABELS,
        after=LABELS,
        of_ada={"labels": "tea,events"},
    ),
    Change(
        "where a property goes",
        {"fields": {"TIER": "Gold", "CITY": "Gold"}},
        after={"field_mapping": {"tier": "CITY"}},
    ),
    Change("that a property goes anywhere", {"tags": ["tea"]}, after=LABELS),
    Change("a tag of the settings", {"tags": ["a", "b"]}, {"tags": ["a"]}, {"tags": ["a", "b"]}),
    Change("the list", {"lists": {"1": 1, "2": 1}}, after={"list_id": 2}),
    Change(
        "the mode, with a membership_field",
        {"fields": {"TIER": "Gold", "MEMBER": "true"}},
        after=BY_FIELD,
    ),
    Change(
        "the membership_field",
        {"fields": {"TIER": "Gold", "MEMBER": "true", "GUEST": "true"}},
        before=BY_FIELD,
        after={**BY_FIELD, "membership_field": "Guest"},
    ),
    Change(
        "the membership_tag",
        {"tags": ["guest", "member"]},
        before=BY_TAG,
        after={**BY_TAG, "membership_tag": "guest"},
    ),
)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_change_is_delivered_to_the_contacts_it_affects(
    sandbox: SandboxServer, load: ForkedTargetRunner, change: Change
) -> None:
    load(ada_and_ben(), **change.before).succeeded()
    assert sent(sandbox) == 2
    concerned = 1 if change.of_ada else 2
    load(ada_and_ben(**change.of_ada), **change.after).succeeded()
    assert sent(sandbox) == 2 + concerned
    ada = sandbox.contacts()[ADA]
    for name, values in change.expected.items():
        assert (sorted(ada[name]) if name == "tags" else ada[name]) == values
    load(ada_and_ben(**change.of_ada), **change.after).succeeded()
    assert sent(sandbox) == 2 + concerned


@pytest.mark.parametrize(
    "mapping",
    [{"labels": "NOTES", "groups": "CITY"}, {"labels": "tags", "groups": "tags"}],
    ids=["fields", "tags"],
)
def test_order_of_properties_is_no_change(
    sandbox: SandboxServer, load: ForkedTargetRunner, mapping: dict[str, str]
) -> None:
    values = {"first_name": "A", "labels": "tea", "groups": "vip"}
    names = {"labels": "string", "groups": "string"}
    load([schema(**names), record(ADA, **values)], field_mapping=mapping).succeeded()
    outcome = load(
        [schema(**backwards(names)), record(ADA, **backwards(values))],
        field_mapping=backwards(mapping),
    ).succeeded()
    assert outcome.counts == {"read": 1, "unchanged": 1}
    assert sent(sandbox) == 1


def test_same_record_is_refused_once_it_lacks_a_new_key_property(load: ForkedTargetRunner) -> None:
    announced = schema(customer="string")
    load([announced, record(ADA)]).succeeded()
    outcome = load([{**announced, "key_properties": ["customer"]}, record(ADA)]).succeeded()
    assert outcome.codes == {ADA: "RECORD_INVALID"}


def backwards(values: dict[str, Any]) -> dict[str, Any]:
    return dict(reversed(values.items()))


# Unchanged records that are sent all the same


@pytest.mark.parametrize("setting", [{"skip_unchanged": False}, {"full_resync": True}])
def test_setting_delivers_unchanged_records_again(
    sandbox: SandboxServer, load: ForkedTargetRunner, setting: dict[str, Any]
) -> None:
    messages = [schema(), *people(30)]
    for times in (1, 2, 3):
        load(messages, **setting).succeeded()
        assert {one["times_imported"] for one in sandbox.export()} == {times}
    assert load(messages).succeeded().counts == {"read": 30, "unchanged": 30}


def test_resync_after_days_delivers_old_contacts_again(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    def days_later(days: int, *messages: Message) -> int:
        before = sent(sandbox)
        sandbox.advance(days * DAY_SECONDS)
        load([schema(), *people(3), *messages], resync_after_days=7).succeeded()
        return sent(sandbox) - before

    assert days_later(0) == 3
    assert days_later(4, record(ADA)) == 1
    assert days_later(2, record(ADA)) == 0
    assert days_later(2, record(ADA)) == 3, "Ada's delivery is four days old"
    assert days_later(4, record(ADA)) == 1
    assert days_later(2, record(ADA)) == 0
    load([schema(), *people(3)]).succeeded()
    sandbox.advance(999 * DAY_SECONDS)
    assert load([schema(), *people(3)]).succeeded().counts == {"read": 3, "unchanged": 3}


# The ledger knows only what was confirmed


@pytest.mark.parametrize("obstacle", [{"bounced": True}, {"opt_outs": {"1": {}}}])
def test_rejected_contact_is_rejected_again_in_each_run(
    sandbox: SandboxServer, load: ForkedTargetRunner, obstacle: dict[str, Any]
) -> None:
    sandbox.prepare({"email": "person1@example.com", **obstacle})
    hide_refusals(sandbox)
    messages = [schema(), *people(3)]
    assert load(messages).succeeded().counts == {"read": 3, "added": 2, "rejected": 1}
    for _ in range(2):
        outcome = load(messages).succeeded()
        assert outcome.counts == {"read": 3, "unchanged": 2, "rejected": 1}
        assert sent(sandbox) == 3, "it is known from its first refusal on"


@pytest.mark.parametrize("known", [False, True], ids=["a new person", "a known person"])
def test_contact_dropped_by_the_queue_is_sent_by_the_next_run(
    sandbox: SandboxServer, load: ForkedTargetRunner, known: bool
) -> None:
    if known:
        load([schema(), record(ADA, first_name="Old")]).succeeded()
    messages = [schema(), record(ADA, first_name="New")]
    sandbox.fault("queue_drop", contacts=[ADA], times=1)
    assert load(messages).succeeded().counts == {"read": 1, "rejected": 1}
    outcome = load(messages).succeeded()
    assert outcome.counts == {"read": 1, "changed" if known else "added": 1}
    assert sandbox.contacts()[ADA]["first_name"] == "New"
    assert load(messages).succeeded().counts == {"read": 1, "unchanged": 1}


@pytest.mark.parametrize("known", [False, True], ids=["a new person", "a known person"])
@pytest.mark.parametrize(
    ("kind", "code"),
    [("payment", 1), ("queue_failed", 0), ("queue_interrupted", 0)],
)
def test_failed_import_is_sent_by_the_next_run(
    sandbox: SandboxServer, load: ForkedTargetRunner, kind: str, code: int, known: bool
) -> None:
    if known:
        load([schema(), record(ADA, first_name="Old")]).succeeded()
    messages = [schema(), record(ADA, first_name="New")]
    sandbox.fault(kind, match={"path": IMPORT, "method": "POST"})
    assert load(messages).code == code
    sandbox.clear_faults()
    outcome = load(messages).succeeded()
    assert outcome.counts == {"read": 1, "changed" if known else "added": 1}
    assert sandbox.contacts()[ADA]["first_name"] == "New"


def test_value_that_may_be_overwritten_is_sent_again(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    """The run that has changed it is killed before it learns the outcome of its import."""
    old = [schema(), record(ADA, first_name="Old")]
    load(old).succeeded()
    sandbox.fault(
        "slow", seconds=1, takes_effect=True, match={"path": IMPORT, "method": "POST"}, times=1
    )
    running = load.start([schema(), record(ADA, first_name="New")])
    wait_for(lambda: sandbox.contacts()[ADA]["first_name"] == "New")
    running.kill()
    assert running.wait().code == -signal.SIGKILL
    assert load(old).succeeded().counts == {"read": 1, "changed": 1}
    assert sandbox.contacts()[ADA]["first_name"] == "Old"
    wait_for(lambda: sent(sandbox) == 3)  # the slow request must not end in another test


# The latest value


def confirmed(running: RunningTarget, sandbox: SandboxServer, messages: list[Message]) -> None:
    """Feed a run, and wait until it has learnt the outcome."""
    imports = len(sandbox.imports())
    running.feed(messages)
    wait_for(
        lambda: (
            len(sandbox.imports()) > imports
            and {one["status"] for one in sandbox.imports()} == {"completed"}
        )
    )
    asked = len(sandbox.requests(path=QUESTION))
    end = time.monotonic() + 0.2
    while len(sandbox.requests(path=QUESTION)) <= asked and time.monotonic() < end:
        time.sleep(0.02)


@pytest.mark.parametrize("values", ["XY", "XYX", "XXYYX"])
@pytest.mark.parametrize("between", [0, MORE_THAN_A_WINDOW], ids=["near", "far apart"])
def test_latest_value_stays_in_each_run(
    sandbox: SandboxServer, load: ForkedTargetRunner, values: str, between: int
) -> None:
    messages: list[Message] = [schema()]
    for value in values:
        messages += [record(ADA, first_name=value), *people(between)]
    for run in range(3):
        before = sent(sandbox)
        outcome = load(messages).succeeded()
        assert sandbox.contacts()[ADA]["first_name"] == values[-1], f"run {run}"
        if run and not between:
            assert sent(sandbox) == before
            assert outcome.counts == {
                "read": len(values),
                "merged": len(values) - 1,
                "unchanged": 1,
            }


def test_latest_value_stays_when_the_previous_one_has_arrived(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    for _ in range(3):
        running = load.start(checkpoint_seconds=0.05)
        for value in "XYX":
            messages = [schema(), record(ADA, first_name=value)]
            if sandbox.export() and sandbox.export()[0]["first_name"] == value:
                running.feed(messages)  # nothing to wait for
            else:
                confirmed(running, sandbox, messages)
        running.wait().succeeded()
        assert sandbox.contacts()[ADA]["first_name"] == "X"


def test_latest_value_stays_when_the_previous_one_is_slow_in_the_queue(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.fault("queue_slow", seconds=0.6, times=1)
    far = people(MORE_THAN_A_WINDOW)
    messages = [schema(), record(ADA, first_name="X"), *far, record(ADA, first_name="Y")]
    load(messages).succeeded()
    assert sandbox.contacts()[ADA]["first_name"] == "Y"


def _has_posted(sandbox: SandboxServer, count: int) -> bool:
    return len(sandbox.requests(path=IMPORT, status=200)) == count


def test_value_that_returns_while_another_is_in_flight_stays(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    """The ledger knows the first one as delivered by then."""
    sandbox.fault("queue_slow", seconds=1, times=2)
    running = load.start(checkpoint_seconds=0.05, batch_size_rows=1)
    running.feed([schema(), record("zoe@example.com")])
    for posted, value in ((2, "Old"), (3, "New")):
        running.feed([record(ADA, first_name=value)])
        wait_for(partial(_has_posted, sandbox, posted))
    running.feed([record(ADA, first_name="Old")])
    running.wait().succeeded()
    assert sandbox.contacts()[ADA]["first_name"] == "Old"


def test_latest_value_stays_with_another_stream_between(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    streams = [schema(), schema("vip")]
    vip = record(ADA, "vip", first_name="Z")
    load([*streams, vip, record(ADA, first_name="Y")]).succeeded()
    messages = [record(ADA, first_name="X"), vip, record(ADA, first_name="Y")]
    for _ in range(2):
        load([*streams, *messages]).succeeded()
        assert sandbox.contacts()[ADA]["first_name"] == "Y"


def test_value_that_only_an_earlier_record_has_stays(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    early = record(ADA, first_name="X", tier="Gold")
    late = record(ADA, first_name="Y", tier=None)
    for _ in range(2):
        load([schema(tier="string"), early, *people(MORE_THAN_A_WINDOW), late]).succeeded()
        ada = sandbox.contacts()[ADA]
        assert (ada["first_name"], ada["fields"]["TIER"]) == ("Y", "Gold")


# Two streams


TWO_LISTS = {"streams": {"vip": {"list_id": 2, "tags": ["vip"]}, "news": {"tags": ["news"]}}}


@pytest.mark.parametrize("between", [0, MORE_THAN_A_WINDOW], ids=["near", "far apart"])
def test_person_in_two_streams_is_one_contact_on_both_lists(
    sandbox: SandboxServer, load: ForkedTargetRunner, between: int
) -> None:
    both = [schema("vip"), record(ADA, "vip", first_name="A"), schema("news")]
    messages = [*both, *people(between, "news"), record(ADA.upper(), "news", first_name="A")]
    load(messages, **TWO_LISTS).succeeded()
    ada = sandbox.contacts()[ADA]
    assert len(sandbox.export()) == 1 + between
    assert ada["lists"] == {"1": 1, "2": 1}
    assert sorted(ada["tags"]) == ["news", "vip"]
    before = sent(sandbox)
    outcome = load(messages, **TWO_LISTS).succeeded()
    assert outcome.counts == {"read": 2 + between, "unchanged": 2 + between}
    assert sent(sandbox) == before


@pytest.mark.parametrize("how", ["near", "far apart", "arrived"])
@pytest.mark.parametrize("changed", ["vip", "news"])
def test_latest_change_of_two_streams_stays(
    sandbox: SandboxServer, load: ForkedTargetRunner, how: str, changed: str
) -> None:
    filler = people(MORE_THAN_A_WINDOW, "news") if how == "far apart" else []
    values = {"vip": "vip 1", "news": "news 1"}

    def messages() -> tuple[list[Message], list[Message]]:
        first, second = (
            [schema(stream), record(ADA, stream, first_name=value)]
            for stream, value in values.items()
        )
        return first, [*second[:1], *filler, *second[1:]]

    load([*messages()[0], *messages()[1]], **TWO_LISTS).succeeded()
    assert sandbox.contacts()[ADA]["first_name"] == "news 1"
    values[changed] = "changed"
    first, second = messages()
    if how == "arrived" and changed == "vip":
        running = load.start(checkpoint_seconds=0.05, **TWO_LISTS)
        confirmed(running, sandbox, first)
        running.feed(second)
        running.wait().succeeded()
    else:
        load([*first, *second], **TWO_LISTS).succeeded()
    assert sandbox.contacts()[ADA]["first_name"] == "changed"
    before = sent(sandbox)
    load([*first, *second], **TWO_LISTS).succeeded()
    assert sandbox.contacts()[ADA]["first_name"] == "changed"
    assert sent(sandbox) == before


# Random runs


@pytest.fixture(scope="module")
def small_windows() -> ForkServer:
    return ForkServer(SMALL_WINDOWS)


profiles = st.fixed_dictionaries(
    {
        "email": st.sampled_from(["a@example.com", "A@example.com", "b@example.com", "c@x.org"]),
        "first_name": st.sampled_from([None, "X", "Y"]),
        "city": st.sampled_from([None, "Oslo", "Bergen"]),
        "labels": st.sampled_from([None, "tea", "tea,events"]),
    }
)


class Model:
    """The contacts that the account must have: records are applied in order, null keeps a value."""

    def __init__(self) -> None:
        self.contacts: dict[str, Contact] = {}

    def apply(self, profile: Contact) -> None:
        empty: Contact = {"first_name": "", "city": None, "tags": set()}
        contact = self.contacts.setdefault(profile["email"].lower(), empty)
        for name in ("first_name", "city"):
            if profile[name] is not None:
                contact[name] = profile[name]
        contact["tags"] = {*contact["tags"], *(profile["labels"] or "").split(",")} - {""}

    @staticmethod
    def of(sandbox: SandboxServer) -> dict[str, Contact]:
        return {
            email: {
                "first_name": one["first_name"],
                "city": one["fields"].get("CITY"),
                "tags": set(one["tags"]),
            }
            for email, one in sandbox.contacts().items()
        }


@given(
    runs=st.lists(st.lists(profiles, max_size=14), min_size=1, max_size=3),
    batch_size=st.sampled_from([1, 3, 250]),
)
@settings(
    max_examples=15,
    deadline=None,
    phases=set(Phase) - {Phase.shrink, Phase.explain},  # each try of theirs costs several runs
)
def test_records_are_applied_in_order_in_each_run(
    shared_sandbox: SandboxServer,
    small_windows: ForkServer,
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[list[Contact]],
    batch_size: int,
) -> None:
    shared_sandbox.reset()
    folder = tmp_path_factory.mktemp("run")
    load = ForkedTargetRunner(folder, shared_sandbox.url, shared_sandbox.api_key, small_windows)
    load.config.update(batch_size_rows=batch_size, **LABELS)
    model = Model()
    head = schema(city="string", labels="string")
    for run in runs:
        load([head, *(record(**profile) for profile in run)]).succeeded()
        for profile in run:
            model.apply(profile)
        assert Model.of(shared_sandbox) == model.contacts
    before = sent(shared_sandbox)
    load([head, *(record(**profile) for profile in runs[-1])]).succeeded()
    assert Model.of(shared_sandbox) == model.contacts
    if not _contradict(runs[-1]):
        assert sent(shared_sandbox) == before


def _contradict(run: list[Contact]) -> bool:
    """Tell whether a person comes twice with different values."""
    values: dict[str, Contact] = {}
    return any(values.setdefault(one["email"].lower(), one) != one for one in run)
