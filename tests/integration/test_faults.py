"""Every fault that ActiveCampaign or the way to it can have, at the first, a middle and the last
import: in the end the account equals the source, and each refused record has its code.

The matrix is made from the client's error tree and the sandbox's queue faults, so that none
can be forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from activecampaign_sandbox import faults
from target_activecampaign.client import ActiveCampaignError
from target_activecampaign.client import errors as tree
from tests.support.outcome_rows import OutcomePlace, reported
from tests.support.target_runner import lines, people, record, schema, state

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

PEOPLE = 60
OPTED_OUT = "person25@example.com"
SETTINGS = {"batch_size_rows": 10, "checkpoint_seconds": 0.1, "request_timeout": 1}
POST = {"method": "POST", "path": "/api/3/import/bulk_import"}
ASK = {"method": "GET", "path": "/api/3/import/info"}

Fault = dict[str, Any]

BY_ERROR: dict[type[ActiveCampaignError], list[Fault]] = {
    tree.AuthenticationError: [
        {"kind": "forbidden"},
        {"kind": "forbidden_bare"},
        {"kind": "unauthorized"},
        {"kind": "login_page"},
    ],
    tree.PermissionDenied: [{"kind": "permission"}],
    tree.PaymentRequired: [{"kind": "payment"}],
    tree.NotFound: [{"kind": "not_found"}],
    tree.InvalidRequest: [{"kind": "invalid"}, {"kind": "too_large"}],
    # No import gets it; the tests of `rename_contact` have it.
    tree.AddressTaken: [],
    tree.ImportRefused: [{"kind": "import_refused", "reasons": ["Invalid or unparsable json"]}],
    tree.Redirected: [{"kind": "redirect"}],
    tree.RateLimited: [{"kind": "rate_limit", "retry_after": 1}],
    # Its wait of a minute is what the client's own tests are about.
    tree.ImportRateLimited: [],
    tree.ServerError: [
        {"kind": "server_error"},
        {"kind": "bad_gateway"},
        {"kind": "unavailable"},
        {"kind": "gateway_timeout"},
    ],
    tree.RequestTimeout: [
        {"kind": "slow", "seconds": 2, "takes_effect": True},
        {"kind": "slow", "seconds": 2, "takes_effect": False},
    ],
    tree.MalformedAnswer: [{"kind": "malformed"}, {"kind": "empty"}],
    tree.ConnectionFailed: [
        {"kind": "reset", "takes_effect": True},
        {"kind": "reset", "takes_effect": False},
    ],
    # Not to be had from a server on loopback; the client's own tests have them.
    tree.CertificateRejected: [],
    tree.ClientClosed: [],
}
QUEUE: list[Fault] = [
    {"kind": "queue_failed"},
    {"kind": "queue_interrupted"},
    {"kind": "queue_forgotten", "applied": True},
    {"kind": "queue_forgotten", "applied": False},
    {"kind": "queue_stuck"},
    {"kind": "queue_false", "seconds": 1},
    {"kind": "queue_slow", "seconds": 1},
]
ELSEWHERE = {
    "cut", "success_key", "queue_drop", "import_rate_limit", "altered", "import_batch_again",
    "import_refused_all", "queue_partial",
}  # fmt: skip
"""Kinds that other tests are about, or that are others' variants."""

ENDS_THE_RUN = {"payment", "redirect", "not_found"}
"""What trying again can't mend: the run fails, and the next one goes on."""


def leaves(kind: type[ActiveCampaignError] = ActiveCampaignError) -> set[type[ActiveCampaignError]]:
    below = {leaf for child in kind.__subclasses__() for leaf in leaves(child)}
    return below | ({kind} if kind.code else set())


def matrix() -> list[Any]:
    cases = []
    for fault in [one for error in sorted(leaves(), key=str) for one in BY_ERROR[error]]:
        cases += [(fault, match) for match in (POST, ASK) if _makes_sense(fault, match)]
    cases += [(fault, POST) for fault in QUEUE]
    return [
        pytest.param(
            {**fault, "match": match}, place,
            id=f"{fault['kind']}-{match['method']}-{fault.get('takes_effect', '')}-{place}",
        )
        for fault, match in cases
        # Questions follow every import alike; which of them it hits makes no difference.
        for place in ((1, 3, 6) if match is POST else (3,))
    ]  # fmt: skip


def _makes_sense(fault: Fault, match: dict[str, str]) -> bool:
    about_imports = fault["kind"] in {"import_refused", "too_large"}
    without_effect = match is ASK and fault.get("takes_effect") is False
    return not (match is ASK and about_imports) and not without_effect


def test_matrix_covers_every_error_and_fault() -> None:
    assert leaves() == set(BY_ERROR)
    used = {fault["kind"] for some in [*BY_ERROR.values(), QUEUE] for fault in some}
    assert used | ELSEWHERE == set(faults.KINDS)


@pytest.mark.parametrize(("fault", "place"), matrix())
def test_account_equals_source_despite_fault(
    sandbox: SandboxServer, load: TargetRunner, fault: Fault, place: int
) -> None:
    sandbox.prepare({"email": OPTED_OUT, "lists": {"1": 2}})
    sandbox.fault(**fault, first=place, times=1)
    records = people(PEOPLE)
    messages: list[dict[str, Any]] = [schema()]
    for number, one in enumerate(records):
        messages += [one, state({"after": number + 1})]
    messages += [record("nobody"), state({"after": PEOPLE + 1})]
    timeout = 1 if fault["kind"] in {"queue_stuck", "queue_forgotten"} else 60
    stored = OutcomePlace(f"file://{load.folder / 'outcomes'}")
    settings = {**SETTINGS, **stored.settings}
    outcome = load(messages, import_timeout=timeout, **settings)
    if fault["kind"] in ENDS_THE_RUN and outcome.code == 1:
        after = outcome.states[-1]["after"] if outcome.states else 0
        _arrived(sandbox, after)
        rest = [schema(), *messages[1 + 2 * after :]]
        outcome = load(lines(rest), import_timeout=60, **settings)
    outcome.succeeded()
    _arrived(sandbox, PEOPLE)
    assert sum(one["fired"] for one in sandbox.faults()) == 1, "the fault happened"
    assert outcome.codes == {OPTED_OUT: "OPTED_OUT", "nobody": "EMAIL_INVALID"}
    assert outcome.states[-1] == {"after": PEOPLE + 1}
    assert stored.counts() == {"added": PEOPLE - 1, "rejected": 1, "invalid": 1}
    assert len({row["person"] for row in stored.outcomes()}) == PEOPLE + 1, "one row a record"
    assert stored.counts(outcome.report["run_id"]) == reported(outcome.report)


def _arrived(sandbox: SandboxServer, count: int) -> None:
    """The first so many people of the source are in the account, as the source has them."""
    contacts = sandbox.contacts()
    for number in range(count):
        address = f"person{number}@example.com"
        if address == OPTED_OUT:
            assert contacts[address]["lists"] == {"1": 2}, "nobody is subscribed again"
        else:
            assert contacts[address]["first_name"] == f"Person {number}"
            assert contacts[address]["lists"] == {"1": 1}
