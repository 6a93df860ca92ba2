"""What the tests of mirrors share: a segment as a tap writes it, run after run, and its list.

People go by the first part of their addresses: "ada bob" are ada@example.com and bob@example.com.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from target_activecampaign.model.timings import Timings
from tests.support.sandbox_server import API_KEY, SandboxServer
from tests.support.target_runner import record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.target_runner import Outcome, TargetRunner

QUICK = Timings(
    first_poll_seconds=0.05,
    min_poll_pause_seconds=0.02,
    lost_answer_seconds=0.2,
    lost_answer_patience_seconds=2.0,
)
"""Times for a quick sandbox; those of ActiveCampaign's import queue take seconds."""
NO_GUARDS: dict[str, Any] = {
    "max_leave_pct": None,
    "max_leave": None,
    "max_change_pct": None,
    "min_source_pct": None,
}
IMPORT = "/api/3/import/bulk_import"
CONTACT_LISTS = "/api/3/contactLists"
UNCONFIRMED, ACTIVE, UNSUBSCRIBED = 0, 1, 2
DAY_SECONDS = 86_400
_DOMAIN = "@example.com"
_SECONDS = 20

_versions = itertools.count(1)


def quick_sandbox(**options: Any) -> SandboxServer:
    """A sandbox whose import queue takes no time worth mentioning."""
    return SandboxServer(api_key=API_KEY, latency=0.02, false_status=0, **options)


def address(name: str) -> str:
    """Someone's address."""
    return f"{name}{_DOMAIN}"


def records(
    names: str, stream: str = "profiles", version: int | None = None, **values: Any
) -> list[dict[str, Any]]:
    """Records of people, of a version of their stream if one is given."""
    of = {} if version is None else {"version": version}
    return [
        {**record(address(name), stream, **{"first_name": name.title(), **values}), **of}
        for name in names.split()
    ]


def activate(version: int, stream: str = "profiles") -> dict[str, Any]:
    """The message that a version of a stream is there as a whole."""
    return {"type": "ACTIVATE_VERSION", "stream": stream, "version": version}


def whole(names: str, stream: str = "profiles", **values: Any) -> list[dict[str, Any]]:
    """A stream from its schema to its end, which says that it was complete."""
    version = next(_versions)
    return [
        schema(stream),
        *records(names, stream, version, **values),
        activate(version, stream),
        state({stream: version}),
    ]


def on_list(sandbox: SandboxServer, status: int = ACTIVE, list_id: int = 1) -> str:
    """Who is on a list, in the order of the alphabet."""
    contacts = sandbox.contacts().items()
    people = (who for who, contact in contacts if contact["lists"].get(str(list_id)) == status)
    return " ".join(sorted(who.partition("@")[0] for who in people))


def ids(sandbox: SandboxServer) -> dict[str, str]:
    """The contacts' ids by the first part of their addresses."""
    return {one["email"].partition("@")[0]: one["id"] for one in sandbox.export()}


def mirrored(outcome: Outcome, stream: str = "profiles") -> dict[str, Any]:
    """What a run's report says of a mirror."""
    told: dict[str, Any] = outcome.report["streams"][stream]["mirror"]
    return told


class Mirror:
    """Streams that are mirrored, run after run, with no guards on.

    Args:
        load: What runs the target.
        sandbox: Against what.
    """

    def __init__(self, load: TargetRunner, sandbox: SandboxServer) -> None:
        self.load = load
        self.sandbox = sandbox
        load.config.update(sync_mode="mirror", guards=NO_GUARDS)

    def __call__(self, names: str, stream: str = "profiles", **settings: Any) -> Outcome:
        """Run it on a complete stream of these people; it must end well."""
        return self.load(whole(names, stream), **settings).succeeded()

    def members(self, list_id: int = 1, status: int = ACTIVE) -> str:
        """Who is on a list, in the order of the alphabet."""
        return on_list(self.sandbox, status, list_id)

    def person(self, name: str) -> dict[str, Any]:
        """Someone's contact, without how often it was imported."""
        return {**self.sandbox.contacts()[address(name)], "times_imported": None}

    def asked(self, method: str, path: str) -> int:
        """How many requests were made."""
        return len(self.sandbox.requests(method=method, path=path))

    def assert_no_address_was_printed(self) -> None:
        """See that no run printed one, also not of people who were not in its input."""
        assert not any(_DOMAIN in printed for printed in self.load.printed)

    def lose_ledger(self) -> None:
        """The ledger is gone, as where no disk stays."""
        for path in self.load.folder.glob(".activecampaign-ledger.db*"):
            path.unlink()


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + _SECONDS
    while not true():
        assert time.monotonic() < end, f"not within {_SECONDS} s"
        time.sleep(0.02)
