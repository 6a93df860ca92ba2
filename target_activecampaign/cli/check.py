"""`target-activecampaign --test`: check that everything is ready for a run. Only reads are sent.

A check runs even if others failed, unless it needs their results. So one call finds all problems.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from target_activecampaign.account.account import Account
from target_activecampaign.cli.output import format_table, printable
from target_activecampaign.client import AuthenticationError, PaymentRequired, PermissionDenied
from target_activecampaign.client.models import FIRST_SIMULATED_ID
from target_activecampaign.config.validation import find_secrets
from target_activecampaign.errors import ListError, SettingError, report_errors
from target_activecampaign.ledger import LedgerError, MissingLedgerError, Store, last_mapping
from target_activecampaign.mapping import history
from target_activecampaign.mapping.catalog import FieldCatalog
from target_activecampaign.mapping.compiler import MappingCompiler
from target_activecampaign.mapping.stream import StreamToMap
from target_activecampaign.mapping.suppression import SuppressionMapping
from target_activecampaign.model.names import did_you_mean, find_misspelt, nfc
from target_activecampaign.redaction import RedactingFilter
from target_activecampaign.singer.json_schema import allows_more
from target_activecampaign.storage import output
from target_activecampaign.sync.membership_field import MembershipFields
from target_activecampaign.sync.property_checks import check_properties
from target_activecampaign.sync.segment import check_mode
from target_activecampaign.sync.setup import (
    MEMBERSHIP,
    find_or_create_list,
    list_of,
    member_of,
    only_if_empty_targets,
)
from target_activecampaign.text import quoted_list

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Collection, Mapping, Sequence

    from target_activecampaign.cli.streams import DiscoveredStream, StreamSource
    from target_activecampaign.client import ActiveCampaignError, Field, User
    from target_activecampaign.config.settings import Settings
    from target_activecampaign.mapping.placement import MappedProperty
    from target_activecampaign.singer.json_schema import Schema
    from target_activecampaign.singer.stream_maps import StreamMaps

OK, FAILED, NOT_CHECKED = "ok", "failed", "not checked"

_RETRY_SECONDS = 10.0
"""Seconds for which a request is retried: someone is waiting."""
_NO_STREAMS = (
    "No SCHEMA message: pipe in the output of a tap, or name its catalog with --catalog, to check "
    "the mapping."
)
_STREAM_NOT_SEEN = (
    "There are settings under 'streams', but no such stream was seen. If the tap announces its "
    "streams one after the other, name its catalog with --catalog. Otherwise, correct the name."
)
_NAMES = (
    "settings", "rate budget", "host", "key", "list", "fields", "ledger", "rejects", "reports",
    "mapping",
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: The name of the check.
        result: `ok`, `failed` or `not checked`.
        found: The finding. For a failure, also what to do; for `not checked`, the reason.
    """

    name: str
    result: str
    found: str


def invalid_settings(problems: Sequence[str]) -> list[Check]:
    """Return the checks for settings that can't be used.

    Args:
        problems: The problems of the settings, one sentence each.
    """
    rest = [Check(name, NOT_CHECKED, "Needs valid settings.") for name in _NAMES[1:]]
    text = " ".join(RedactingFilter().redact(problem) for problem in problems)
    return [Check("settings", FAILED, text), *rest]


def run_checks(
    settings: Settings,
    maps: StreamMaps,
    source: StreamSource | None,
    warnings: Sequence[str],
) -> list[Check]:
    """Run all checks, for settings that are valid.

    Args:
        settings: The settings.
        maps: The stream maps.
        source: The source of the streams whose mapping is checked; None for no streams.
        warnings: Warnings on unknown settings, one sentence each.
    """
    ready = _Readiness(settings, maps)
    checks = _Checks(RedactingFilter(find_secrets(settings)))
    try:
        checks.run("settings", lambda: ready.settings(warnings))
        checks.run("rate budget", ready.rate_budget)
        checks.run("host", ready.host, "rate budget")
        checks.run("key", ready.key, "host")
        checks.run("list", ready.lists, "key")
        checks.run("fields", ready.fields, "key")
        checks.run("ledger", ready.ledger)
        checks.run("rejects", lambda: ready.folder("rejects_path"))
        checks.run("reports", lambda: ready.folder("report_path"))
        _check_mappings(checks, ready, source)
    finally:
        ready.close()
    return checks.done


def _check_mappings(checks: _Checks, ready: _Readiness, source: StreamSource | None) -> None:
    """Add one check per stream."""
    streams: list[DiscoveredStream] = []

    def read() -> str:
        streams.extend(source.read() if source is not None else ())
        return ""

    checks.run("mapping", read, "list", "fields")
    if checks.done[-1].result != OK:
        return
    checks.done.pop()
    if not streams:
        checks.done.append(Check("mapping", NOT_CHECKED, _NO_STREAMS))
        return
    for stream in streams:
        checks.run(f"mapping of {stream.name}", lambda one=stream: ready.mapping(one))  # type: ignore[misc]
    checks.done += ready.unseen_streams()


def show(checks: Sequence[Check], form: str | None) -> int:
    """Print checks, and return the exit code: 1 if one failed.

    Args:
        checks: The checks.
        form: `json`, or None for a table.
    """
    failed = any(one.result == FAILED for one in checks)
    if form == "json":
        content = {"ok": not failed, "checks": [asdict(one) for one in checks]}
        text = json.dumps(content, indent=2, ensure_ascii=False)
    else:
        rows = [(one.name, one.result, one.found) for one in checks]
        text = format_table(("check", "result", "finding"), rows, header_when_piped=False)
    return output.show(text, "target-activecampaign") or int(failed)


def log_for_meltano(checks: Sequence[Check], logger: logging.Logger) -> int:
    """Log checks for `meltano config test`, and return the exit code: 1 if one failed.

    Meltano searches the output for the words "error" and "exception", and shows the last line. So
    if all is well, nothing that comes from the account or the settings is logged.
    """
    failed = [one for one in checks if one.result == FAILED]
    for one in failed:
        logger.error("The check '%s' failed: %s", one.name, printable(one.found))
    if not failed:
        names = ", ".join(one.name for one in checks if one.result == OK)
        logger.info("Meltano's test: ready for a run, and nothing was sent. Checked: %s.", names)
    return 1 if failed else 0


class _Checks:
    """Runs checks, and keeps their results."""

    def __init__(self, redacting: RedactingFilter) -> None:
        self._redacting = redacting
        self.done: list[Check] = []

    def run(self, name: str, check: Callable[[], str], *needs: str) -> None:
        """Run a check, unless a check that it needs is not ok."""
        missing = [one.name for one in self.done if one.name in needs and one.result != OK]
        if missing:
            self.done.append(Check(name, NOT_CHECKED, f"Needs '{missing[0]}' to be ok."))
            return
        found = []
        problem = report_errors(lambda: found.append(check()))
        result, text = (OK, found[0]) if problem is None else (FAILED, problem)
        self.done.append(Check(name, result, self._redacting.redact(text)))


class _Readiness:
    """The checks. Each method returns its finding, or raises the error that a run would raise.

    Args:
        settings: The settings.
        maps: The stream maps.
    """

    def __init__(self, settings: Settings, maps: StreamMaps) -> None:
        self._settings = settings
        self._maps = maps
        self._account = Account(settings, read_only=True)
        self._mappings = MappingCompiler(self._account)
        self._membership_fields = MembershipFields()
        self._store: Store | None = None
        self._user: User | None = None
        self._key_error: ActiveCampaignError | None = None
        self._seen: set[str] = set()

    def close(self) -> None:
        """Close the account and the ledger."""
        self._account.close()
        if self._store is not None:
            self._store.close()

    def settings(self, warnings: Sequence[str]) -> str:
        """Fail for unknown settings: the rest was validated before."""
        if warnings:
            raise SettingError(" ".join([*warnings, "Correct the name, or remove the setting."]))
        if self._settings.sandbox:
            return "Valid; the embedded sandbox needs no consent."
        return "Valid; the consent to send profile data is given."

    def rate_budget(self) -> str:
        """Open the rate budget, which reads and writes a shared one once."""
        self._account.start()
        if self._settings.rate_budget_url:
            return "Shared; its store can be reached."
        return "Not shared with other processes."

    def host(self) -> str:
        """Connect to the host. A response that rejects the key is fine for this check."""
        self._account.connect(_RETRY_SECONDS)
        try:
            with self._account.opening():
                self._user = self._account.client.whoami()
        except (AuthenticationError, PaymentRequired, PermissionDenied) as error:
            self._key_error = error
        address = self._account.address
        if address.startswith("https:"):
            return f"{address} responds, with a trusted certificate."
        return f"{address} responds, on this machine without TLS."

    def key(self) -> str:
        """Return the result for the key, which `host` received."""
        if self._user is None:
            assert self._key_error is not None  # noqa: S101 - `host` sets one of both
            raise self._key_error
        return f"Accepted; it belongs to user {self._user.id} '{self._user.username}'."

    def lists(self) -> str:
        """Find all lists that the settings name, also those of streams."""
        with self._account.opening():
            self._account.lists = self._account.client.lists()
        found, problems = {}, []
        for setting, wanted in self._settings.lists.items():
            try:
                one = find_or_create_list(self._settings, self._account, wanted, setting)
                found[one.id] = one.name
            except ListError as error:  # noqa: PERF203 - only a few
                problems.append(str(error))
        if problems:
            raise ListError(" ".join(problems))
        return ", ".join(f"{_shown(number)} '{name}'" for number, name in found.items()) + "."

    def fields(self) -> str:
        """Read the custom fields."""
        with self._account.opening():
            self._account.fields = self._account.client.fields()
        return f"The account has {len(self._account.fields)} custom fields."

    def ledger(self) -> str:
        """Open the ledger; if there is none, check that it can be created."""
        url = self._settings.ledger_url
        try:
            self._store = Store(url, make=False)
        except MissingLedgerError:
            return _check_new_ledger(url)
        return f"The ledger {self._store.place} can be read and written."

    def folder(self, setting: str) -> str:
        """Check a folder that a run writes to."""
        path = Path(getattr(self._settings, setting))
        if not _is_writable(path):
            raise SettingError(
                f"The setting '{setting}' names {path}, which is not a writable folder: let "
                "this user write to it, or name another."
            )
        return f"{path} is writable." if path.exists() else f"{path} can be created."

    def mapping(self, announced: DiscoveredStream) -> str:
        """Return the mapping of a stream, after stream maps."""
        self._seen.add(announced.name)
        results = self._maps.results(announced.name, announced.schema, announced.keys)
        self._seen.update(results)
        keys = {one.name: one.key_properties for one in self._maps.streams_of(announced.name)}
        texts = [
            self._map(name, announced, properties, keys[name])
            for name, properties in results.items()
        ]
        return " ".join(texts) or "Removed by stream maps."

    def unseen_streams(self) -> list[Check]:
        """Return a check for each stream with settings that was not seen."""
        seen = set(map(nfc, self._seen))
        configured = set(map(nfc, self._settings.streams))
        found = []
        for name in self._settings.streams:
            if nfc(name) in seen:
                continue
            text = f"{_STREAM_NOT_SEEN}{did_you_mean(name, sorted(self._seen))}"
            is_misspelt = (
                name in self._settings.suppression_streams
                and find_misspelt(nfc(name), sorted(seen - configured)) is not None
            )
            # A run fails then: the stream's people would be sent.
            result = FAILED if is_misspelt else NOT_CHECKED
            found.append(Check(f"mapping of {name}", result, text))
        return found

    def _map(
        self,
        name: str,
        announced: DiscoveredStream,
        properties: Mapping[str, Schema],
        keys: Collection[str],
    ) -> str:
        settings = self._settings.for_stream(name)
        tap_properties = announced.schema["properties"]
        if settings.suppresses:
            warnings = check_properties(
                name, settings, properties=properties, tap_properties=tap_properties, keys=keys
            )
            lenient = name != announced.name
            people = SuppressionMapping(name, properties, settings, lenient=lenient)
            text = f"Suppresses people by {quoted_list(people.destinations)}."
            return " ".join([text, *warnings])
        target = list_of(name, settings, self._account)
        warnings = check_mode(name, settings, announced.bookmarks, tap_properties)
        warnings += check_properties(
            name, settings, properties=properties, tap_properties=tap_properties, keys=keys
        )
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
                is_open=allows_more(announced.schema),
            )
        )
        self._membership_fields.take(name, mapping, own)
        only_if_empty_targets(name, settings, catalog, own)
        places = ", ".join(map(_describe, mapping.properties))
        parts = [f"To list {target.id} '{target.name}': {places}."]
        if mapping.consent:
            parts.append(f"Consent: {quoted_list(mapping.consent.names)}.")
        if mapping.ignored:
            parts.append(f"Unmapped: {', '.join(mapping.ignored)}.")
        if settings.on_leave == "field" and member is not None and own is None:
            parts.append(f"The field '{settings.membership_field}' would be created.")
        return " ".join([*parts, *warnings, *mapping.warnings])

    def _history(self, stream: str, list_id: int) -> dict[str, Field]:
        """Return the fields of the stream's last run from the ledger, if any."""
        if self._store is None:
            return {}
        return history.from_json(last_mapping(self._store, self._account.identity, stream, list_id))


def _describe(entry: MappedProperty) -> str:
    if entry.field is not None and entry.field.id < 0:
        return f"{entry.name} -> a new field '{entry.field.title}' of type {entry.field.type}"
    return str(entry)


def _check_new_ledger(url: str) -> str:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return "Does not exist yet. The server can be reached; the first run creates the ledger."
    path = Path(parsed.database or "")
    if not _is_writable(path.parent):
        raise LedgerError(
            f"There is no ledger at {path}, and it can't be created: let this user write to its "
            "folder, or set another location in 'ledger_url'."
        )
    return f"Does not exist yet. The first run creates it at {path}."


def _is_writable(folder: Path) -> bool:
    """Return True if a folder can be written to, or created."""
    whole = folder.absolute()
    # A folder can't be created in place of a broken link.
    there = next(one for one in (whole, *whole.parents) if one.exists() or one.is_symlink())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _shown(list_id: int) -> str:
    return "new:" if list_id >= FIRST_SIMULATED_ID else str(list_id)
