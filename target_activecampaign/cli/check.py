"""What `--test` checks: whether all is ready for a run. Nothing is sent that changes anything.

Each stands alone but for what it needs of earlier ones, so that all that is wrong is found at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from target_activecampaign.account.account import Account
from target_activecampaign.client import AuthenticationError, PaymentRequired, PermissionDenied
from target_activecampaign.config.validation import find_secrets
from target_activecampaign.errors import ListError, SettingError, report_errors
from target_activecampaign.ledger import LedgerError, MissingLedgerError, Store, last_mapping
from target_activecampaign.mapping import history
from target_activecampaign.mapping.catalog import FieldCatalog
from target_activecampaign.mapping.compiler import Mappings, StreamToMap
from target_activecampaign.model.names import did_you_mean, nfc
from target_activecampaign.redaction import RedactingFilter
from target_activecampaign.singer.json_schema import says_more
from target_activecampaign.sync.membership_field import MembershipFields
from target_activecampaign.sync.segment import check_mode
from target_activecampaign.sync.setup import MEMBERSHIP, list_of, member_of, only_if_empty_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_activecampaign.cli.streams import DiscoveredStream, Source
    from target_activecampaign.client import ActiveCampaignError, Field, User
    from target_activecampaign.config.settings import Settings
    from target_activecampaign.mapping.placement import MappedProperty
    from target_activecampaign.singer.json_schema import Schema
    from target_activecampaign.singer.stream_maps import StreamMaps

OK, FAILED, NOT_CHECKED = "ok", "failed", "not checked"

_RETRY_SECONDS = 10.0
"""How long a request is tried again: someone is waiting."""
_NO_STREAM = (
    "No SCHEMA came: pipe a tap's output in, or name its catalog with --catalog, to see where "
    "each property would go."
)
_UNSEEN = (
    "It has settings under 'streams', but no such stream was seen: name the catalog of a tap that "
    "announces one stream after the other with --catalog, or mend the name."
)
_NAMES = (
    "settings", "rate budget", "host", "key", "list", "fields", "ledger", "rejects", "reports",
    "mapping",
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: What was checked.
        result: `ok`, `failed` or `not checked`.
        found: What was found; of a failure also what to do, else why it was not checked.
    """

    name: str
    result: str
    found: str


def of_invalid_settings(problems: Sequence[str]) -> list[Check]:
    """The checks when the settings can't be used.

    Args:
        problems: What is wrong with them, one sentence each.
    """
    rest = [Check(name, NOT_CHECKED, "It needs valid settings.") for name in _NAMES[1:]]
    text = " ".join(RedactingFilter().redacted(problem) for problem in problems)
    return [Check("settings", FAILED, text), *rest]


def of(
    settings: Settings,
    maps: StreamMaps,
    streams: Source,
    warnings: Sequence[str],
) -> list[Check]:
    """Check everything, with settings that are valid by themselves.

    Args:
        settings: What the operator wants.
        maps: What stream maps do.
        streams: Reads the streams that are to be mapped.
        warnings: Settings that are not known, one sentence each.
    """
    ready = _Readiness(settings, maps)
    checks = _Checks(RedactingFilter(find_secrets(settings)))
    try:
        checks.take("settings", lambda: ready.settings(warnings))
        checks.take("rate budget", ready.rate_budget)
        checks.take("host", ready.host, "rate budget")
        checks.take("key", ready.key, "host")
        checks.take("list", ready.lists, "key")
        checks.take("fields", ready.fields, "key")
        checks.take("ledger", ready.ledger)
        checks.take("rejects", lambda: ready.folder("rejects_path"))
        checks.take("reports", lambda: ready.folder("report_path"))
        _take_mappings(checks, ready, streams)
    finally:
        ready.close()
    return checks.taken


def _take_mappings(checks: _Checks, ready: _Readiness, streams: Source) -> None:
    """One check a stream: the mapping of one says nothing of another's."""
    announced: list[DiscoveredStream] = []

    def read() -> str:
        announced.extend(streams())
        return ""

    checks.take("mapping", read, "list", "fields")
    if checks.taken[-1].result != OK:
        return
    checks.taken.pop()
    if not announced:
        checks.taken.append(Check("mapping", NOT_CHECKED, _NO_STREAM))
    for one in announced:
        checks.take(f"mapping of {one.name}", lambda one=one: ready.mapping(one))  # type: ignore[misc]
    for name, hint in ready.unseen_streams() if announced else ():
        checks.taken.append(Check(f"mapping of {name}", NOT_CHECKED, f"{_UNSEEN}{hint}"))


class _Checks:
    """Takes checks, and keeps what was found."""

    def __init__(self, redacting: RedactingFilter) -> None:
        self._redacting = redacting
        self.taken: list[Check] = []

    def take(self, name: str, look: Callable[[], str], *needs: str) -> None:
        """Take a check, unless one that it needs is not ok."""
        lacking = [one.name for one in self.taken if one.name in needs and one.result != OK]
        if lacking:
            self.taken.append(Check(name, NOT_CHECKED, f"It needs '{lacking[0]}' to be ok."))
            return
        found = []
        problem = report_errors(lambda: found.append(look()))
        result, text = (OK, found[0]) if problem is None else (FAILED, problem)
        self.taken.append(Check(name, result, self._redacting.redacted(text)))


class _Readiness:
    """Looks whether a run could begin. Each method tells what it found, or raises what a run would.

    Args:
        settings: What the operator wants.
        maps: What stream maps do.
    """

    def __init__(self, settings: Settings, maps: StreamMaps) -> None:
        self._settings = settings
        self._maps = maps
        self._account = Account(settings, only_asks=True)
        self._mappings = Mappings(self._account)
        self._membership_fields = MembershipFields()
        self._store: Store | None = None
        self._user: User | None = None
        self._refusal: ActiveCampaignError | None = None
        self._seen: set[str] = set()

    def close(self) -> None:
        """Let go of the account and the ledger."""
        self._account.close()
        if self._store is not None:
            self._store.close()

    def settings(self, warnings: Sequence[str]) -> str:
        """They are valid, or nobody would ask; one that is not known may be a slip of the pen."""
        if warnings:
            raise SettingError(" ".join([*warnings, "Correct the name, or remove the setting."]))
        if self._settings.sandbox:
            return "Valid; the embedded sandbox needs no consent."
        return "Valid; the consent to the transfer of profiles is given."

    def rate_budget(self) -> str:
        """Opening one that is shared reads and writes in its place once."""
        self._account.start()
        if self._settings.rate_budget_url:
            return "Shared; its place can be reached."
        return "Kept by each process on its own."

    def host(self) -> str:
        """Whoever says no to the key is there all the same."""
        self._account.connect(_RETRY_SECONDS)
        try:
            with self._account.opening():
                self._user = self._account.client.whoami()
        except (AuthenticationError, PaymentRequired, PermissionDenied) as error:
            self._refusal = error
        address = self._account.address
        if address.startswith("https:"):
            return f"{address} answers, and its certificate is trusted."
        return f"{address} answers, on this machine and so without TLS."

    def key(self) -> str:
        """The answer to the host's question."""
        if self._user is None:
            assert self._refusal is not None  # noqa: S101 - one of both came
            raise self._refusal
        return f"Accepted; it is that of user {self._user.id} '{self._user.username}'."

    def lists(self) -> str:
        """Also those of streams that have their own."""
        with self._account.opening():
            self._account.lists = self._account.client.lists()
        found, problems = {}, []
        for setting, wanted in self._settings.lists.items():
            try:
                one = self._account.find_list(wanted, setting)
                found[one.id] = one.name
            except ListError as error:  # noqa: PERF203 - of a handful
                problems.append(str(error))
        if problems:
            raise ListError(" ".join(problems))
        return ", ".join(f"{number} '{name}'" for number, name in found.items()) + "."

    def fields(self) -> str:
        """Read them for the mapping."""
        with self._account.opening():
            self._account.fields = self._account.client.fields()
        return f"The account has {len(self._account.fields)} custom fields."

    def ledger(self) -> str:
        """One that is there is opened; where there is none, its place is looked at."""
        url = self._settings.ledger_url
        try:
            self._store = Store(url, make=False)
        except MissingLedgerError:
            return _place_of_new_ledger(url)
        return f"The ledger {self._store.place} can be read and written."

    def folder(self, setting: str) -> str:
        """One of the folders that a run writes to."""
        path = Path(getattr(self._settings, setting))
        if not _could_be_written(path):
            raise SettingError(
                f"The setting '{setting}' names {path}, which is no folder to write in: let this "
                "user write there, or name another."
            )
        return f"{path} can be written." if path.exists() else f"{path} can be made by a run."

    def mapping(self, announced: DiscoveredStream) -> str:
        """Where the properties of a tap's stream would go, after stream maps."""
        self._seen.add(announced.name)
        results = self._maps.results(announced.name, announced.schema, announced.keys)
        self._seen.update(results)
        told = [self._mapped(name, announced, properties) for name, properties in results.items()]
        return " ".join(told) or "Removed by stream maps."

    def unseen_streams(self) -> list[tuple[str, str]]:
        """Streams with settings of their own that were not seen, and a hint at what each means."""
        seen = set(map(nfc, self._seen))
        unseen = (name for name in self._settings.streams if nfc(name) not in seen)
        return [(name, did_you_mean(name, sorted(self._seen))) for name in unseen]

    def _mapped(
        self, name: str, announced: DiscoveredStream, properties: Mapping[str, Schema]
    ) -> str:
        settings = self._settings.for_stream(name)
        target = list_of(name, settings, self._account)
        warnings = check_mode(name, settings, announced.bookmarks, announced.schema["properties"])
        catalog = FieldCatalog(self._account.fields)
        last = self._history(name, target.id)
        member = member_of(name, settings, catalog, last.get(MEMBERSHIP))
        own = member.field if member else None
        lenient = name != announced.name
        mapping = self._mappings.preview(
            StreamToMap(
                name,
                properties,
                settings,
                target.id,
                last,
                lenient,
                member,
                is_open=says_more(announced.schema),
            )
        )
        self._membership_fields.take(name, mapping, own)
        only_if_empty_targets(name, settings, catalog, own)
        places = ", ".join(map(_place_of, mapping.properties))
        parts = [f"To list {target.id} '{target.name}': {places}."]
        if mapping.ignored:
            parts.append(f"No place for: {', '.join(mapping.ignored)}.")
        if settings.on_leave == "field" and member is not None and own is None:
            parts.append(f"The field '{settings.membership_field}' would be made.")
        return " ".join([*parts, *warnings, *mapping.warnings])

    def _history(self, stream: str, list_id: int) -> dict[str, Field]:
        """The fields of the stream's last run, if the ledger knows any."""
        if self._store is None:
            return {}
        return history.loaded(last_mapping(self._store, self._account.identity, stream, list_id))


def _place_of(entry: MappedProperty) -> str:
    if entry.field is not None and entry.field.id < 0:
        return f"{entry.name} -> a new field '{entry.field.title}' of type {entry.field.type}"
    return str(entry)


def _place_of_new_ledger(url: str) -> str:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return "There is none yet; its server can be reached, and the first run makes it."
    path = Path(parsed.database or "")
    if not _could_be_written(path.parent):
        raise LedgerError(
            f"There is no ledger at {path}, and none can be made there: let this user write in "
            "its folder, or name another place in 'ledger_url'."
        )
    return f"There is none yet; the first run makes it at {path}."


def _could_be_written(folder: Path) -> bool:
    """Whether a folder can be written to, or made."""
    whole = folder.absolute()
    # A link to nothing is in the way of a folder.
    there = next(one for one in (whole, *whole.parents) if one.exists() or one.is_symlink())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
