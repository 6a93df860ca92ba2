"""The command `target-activecampaign-ledger`: show what a ledger holds, and forget parts of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from target_activecampaign.cli import suppressions
from target_activecampaign.cli.ledger_output import as_text, audiences_as_text, format_bytes
from target_activecampaign.config.environment import read_environment
from target_activecampaign.config.files import ConfigFileError, read_config
from target_activecampaign.config.settings import Settings
from target_activecampaign.config.validation import convert
from target_activecampaign.errors import EraseError, LedgerError, OutcomesError, SettingError
from target_activecampaign.ledger.erase import Choice, erase, erase_person, hashes_of, select
from target_activecampaign.ledger.overview import (
    files_set_aside,
    read_audiences,
    read_overview,
    size,
)
from target_activecampaign.ledger.store import Store
from target_activecampaign.ledger.suppression_editor import SuppressionEditor
from target_activecampaign.model.contact import Refusal, contact_key, valid_address
from target_activecampaign.model.timings import Timings
from target_activecampaign.outcomes.places import OutcomePlace
from target_activecampaign.storage import output, private_files
from target_activecampaign.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_activecampaign.ledger.erase import Selection

_NAME = "target-activecampaign-ledger"
_PREFIX = "TARGET_ACTIVECAMPAIGN_"
_CONSEQUENCES = """\
Nothing changes in ActiveCampaign. The next run delivers everything once more, and a mirror only
records a baseline, without removals. Contacts that are on the list by then count as not added by
the target: they stay on it when they go missing from the stream, unless 'adopt_members' is set.
Contacts that the mirror has unsubscribed can no longer be re-subscribed. Other mirrors of the same
list no longer keep a contact because a forgotten stream has it."""
_CONSEQUENCES_OF_RENAMES = (
    "A run was interrupted while it renamed contacts. Some may have a temporary address in "
    "ActiveCampaign, such as rename-0123456789abcdef@example.com, and would keep it. Run the "
    "target once before you forget the connection, if you still can."
)
_CONSEQUENCES_OF_SUPPRESSIONS = (
    "No suppression is left. The next run sends the people in its streams, except those in a "
    "suppression stream."
)
_CONSEQUENCES_FOR_PERSON = (
    "If the source still has the person, the next run stores and delivers them again: remove them "
    "from the source first. Nothing changes in ActiveCampaign."
)
_SUPPRESSED = (
    "The person stays suppressed: the ledger keeps a keyed hash of the address, so that no run "
    "sends the person. `unsuppress` deletes the hash too. Nothing changes in ActiveCampaign."
)

_SCHEMA = {
    "properties": {
        name: {"type": "string"} for name in ("ledger_url", "outcomes_url", "outcomes_schema")
    }
}
"""The schema of the only settings that these commands use."""

F = TypeVar("F", bound="Callable[..., Any]")


class _CommandError(Exception):
    """The command can't do its task; the text says why."""


def main(arguments: list[str] | None = None, timings: Timings = Timings()) -> int:
    """Run the command; returns the exit code.

    Args:
        arguments: The arguments; those of the command line by default.
        timings: The times to wait for the ledger.
    """
    with contextlib.suppress(OSError, AttributeError):  # of an output of another kind
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _command.main(arguments, prog_name=_NAME, standalone_mode=False, obj=timings)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except (_CommandError, EraseError, LedgerError, OutcomesError, SettingError) as error:
        click.echo(f"{_NAME}: {error}", err=True)
        return 1
    except output.OutputError as error:
        click.echo(f"{_NAME}: Standard output can't be written: {error}.", err=True)
        return 1
    except OSError as error:  # of click, which prints help
        reason = private_files.reason(error)
        click.echo(f"{_NAME}: Standard output can't be written: {reason}.", err=True)
        return 1
    return code or 0


def _with_ledger(command: F) -> F:
    """Add the options that select the ledger to a command."""
    config = click.option("--config", metavar="FILE", help="Configuration file of the target.")
    url = click.option(
        "--ledger-url",
        metavar="URL",
        help="URL of the ledger. Default: the one in --config, else in the variable "
        f"{_PREFIX}LEDGER_URL, else the target's default. If the URL has a password, use the "
        "variable.",
    )
    return config(url(command))


@click.group(
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="See docs/privacy.md for the personal data in a ledger.",
)
def _command() -> None:
    """Show what the target's ledger holds, and forget parts of it."""


@_command.command("show")
@_with_ledger
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of the output.",
)
@click.option(
    "--audience",
    "shows_audience",
    is_flag=True,
    help="Show the sizes of the segments over the latest runs, and what those of one list share.",
)
def _show(*, config: str | None, ledger_url: str | None, form: str, shows_audience: bool) -> None:
    """Show what the ledger holds, without personal data."""
    width = shutil.get_terminal_size().columns if output.is_terminal() else None
    with _opened(config, ledger_url) as store:
        if shows_audience:
            audiences = read_audiences(store)
            content: object = {"connections": [dataclasses.asdict(one) for one in audiences]}
        else:
            overview = read_overview(store)
            content = dataclasses.asdict(overview)
    if form == "json":
        text = json.dumps(content, indent=2, ensure_ascii=False, default=_iso)
    elif shows_audience:
        text = audiences_as_text(audiences, width)
    else:
        text = as_text(overview, width)
    output.write(f"{text}\n")


@_command.command("forget")
@_with_ledger
@click.option("--connection", metavar="ACCOUNT", help="An account, by its name in `show`.")
@click.option("--list", "list_id", metavar="ID", type=int, help="A list, by its id.")
@click.option("--stream", metavar="NAME", help="A stream, by its name after stream maps.")
@click.option(
    "--person",
    "address",
    metavar="-",
    help="One person. Pass - and give the address on standard input.",
)
@click.option(
    "--outcomes-url",
    metavar="URL",
    help="With --person: the place of the rows of outcomes. Default: the one in --config, else in "
    f"the variable {_PREFIX}OUTCOMES_URL.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def _forget(
    *,
    config: str | None,
    ledger_url: str | None,
    outcomes_url: str | None,
    connection: str | None,
    list_id: int | None,
    stream: str | None,
    address: str | None,
    yes: bool,
) -> None:
    """Forget a connection, a list, a stream or a person.

    Nothing changes in ActiveCampaign.
    """
    if address is None and connection is None and list_id is None and stream is None:
        raise click.UsageError("say what to forget: --connection, --list, --stream or --person.")
    if address is None:
        with _opened(config, ledger_url) as store:
            _forget_choice(store, Choice(connection, list_id, stream), yes=yes)
        return
    if address != "-":
        # Not quoted: most likely it is an address.
        raise click.UsageError(
            "--person only accepts '-': the address is read from standard input."
        )
    if list_id is not None or stream is not None:
        raise click.UsageError("--person can only be combined with --connection.")
    with _opened(config, ledger_url) as store:
        _forget_person(store, connection, _outcome_place(config, outcomes_url))


def _with_people(command: F) -> F:
    """Add the argument and the options of a command for people on standard input."""
    people = click.argument("people", metavar="-")
    account = click.option(
        "--connection", metavar="ACCOUNT", help="The account, if the ledger has several."
    )
    return people(account(_with_ledger(command)))


@_command.command("suppress")
@_with_people
def _suppress(
    *, people: str, connection: str | None, config: str | None, ledger_url: str | None
) -> int:
    """Suppress people: no run sends them, and the next one unsubscribes them.

    Pass - and give e-mail addresses, or their SHA-256 in hex, on standard input, one per line.
    """
    return _change_suppressions(suppressions.suppress, people, connection, config, ledger_url)


@_command.command("unsuppress")
@_with_people
def _unsuppress(
    *, people: str, connection: str | None, config: str | None, ledger_url: str | None
) -> int:
    """Lift the suppression of people.

    Pass - and give e-mail addresses, or their SHA-256 in hex, on standard input, one per line.
    """
    return _change_suppressions(suppressions.lift, people, connection, config, ledger_url)


def _change_suppressions(
    change: Callable[[SuppressionEditor, suppressions.PeopleInput], str],
    people: str,
    connection: str | None,
    config: str | None,
    ledger_url: str | None,
) -> int:
    """Change the suppressed people, and return the exit code: 1 if a line is invalid."""
    if people != "-":
        # Not quoted: most likely it is an address.
        raise click.UsageError(
            "people are read from standard input, so the only argument is '-'. For a file: "
            f"{_NAME} {click.get_current_context().info_name} - < FILE"
        )
    given = suppressions.PeopleInput()
    with _opened(config, ledger_url) as store:
        _print(change(SuppressionEditor(store, connection), given))
    if given.invalid:
        click.echo(f"{_NAME}: {given.describe_invalid()}", err=True)
    return 1 if given.invalid else 0


@_command.command("vacuum")
@_with_ledger
def _vacuum(config: str | None, ledger_url: str | None) -> None:
    """Free the disk space of deleted data."""
    with _opened(config, ledger_url) as store:
        before = size(store)
        store.vacuum()
        _print(f"{format_bytes(before)} before, {format_bytes(size(store))} now.")


@contextlib.contextmanager
def _opened(config: str | None, ledger_url: str | None) -> Iterator[Store]:
    """Open the ledger, which must exist."""
    if config is not None and ledger_url is not None:
        raise click.UsageError("--config and --ledger-url can't be combined.")
    timings: Timings = click.get_current_context().obj
    store = Store(_url(config, ledger_url), make=False, timings=timings)
    try:
        yield store
    finally:
        store.close()


def _url(config: str | None, ledger_url: str | None) -> str:
    """Return the ledger's URL from the options, the variable or the target's default."""
    return ledger_url or _settings(config).ledger_url


def _settings(config: str | None) -> Settings:
    """Return the settings of the configuration, or else of the variables."""
    values = _read_config(config) if config is not None else {}
    return Settings.from_config({**read_environment(_SCHEMA, _PREFIX).values, **_given(values)})


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _outcome_place(config: str | None, outcomes_url: str | None) -> OutcomePlace | None:
    """Return the place of the rows of outcomes; None if none is known."""
    settings = _settings(config)
    url = outcomes_url or settings.outcomes_url
    return None if url is None else OutcomePlace(url, settings.outcomes_schema)


def _read_config(path: str) -> dict[str, Any]:
    try:
        values = read_config(path)
    except ConfigFileError as error:
        raise _CommandError(str(error)) from None
    values, _ = convert(values, _SCHEMA)
    if not isinstance(values.get("ledger_url"), str | None):
        raise _CommandError(f"{path} is not a configuration of the target: see docs/settings.md.")
    return values


def _iso(value: object) -> str:
    assert isinstance(value, datetime)  # noqa: S101 - JSON can encode all else
    return value.isoformat(timespec="seconds")


def _forget_choice(store: Store, choice: Choice, *, yes: bool) -> None:
    selection = select(store, choice)
    _print(f"This forgets {_describe(choice, selection)}.\n{_CONSEQUENCES}")
    if choice.is_whole and selection.suppressed:
        _print(_CONSEQUENCES_OF_SUPPRESSIONS)
    if selection.renames:
        _print(_CONSEQUENCES_OF_RENAMES)
    if not yes and not _is_confirmed():
        raise _CommandError("Nothing was forgotten.")
    _print(f"Forgotten: {_describe(choice, erase(store, choice))}.")
    _vacuum_after_erasure(store)


def _describe(choice: Choice, selection: Selection) -> str:
    segments = [f"{stream} -> list {list_id}" for stream, list_id in selection.segments.values()]
    contacts = pluralize(selection.members, "contact")
    if choice.is_whole:
        return (
            f"all of {selection.connection}: its {pluralize(len(segments), 'segment')} with "
            f"{contacts}, its runs, its imports in flight, the index of its contacts, and "
            f"{selection.suppressed:,} suppressed people"
        )
    return f"{', '.join(segments)}, with {contacts} (of {selection.connection})"


def _is_confirmed() -> bool:
    """Ask the operator to confirm.

    Raises:
        _CommandError: There is no terminal to ask for confirmation.
    """
    if not sys.stdin.isatty():
        raise _CommandError(
            "There is no terminal to ask for confirmation. Use --yes. Nothing was forgotten."
        )
    _print("Continue? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _forget_person(store: Store, connection: str | None, place: OutcomePlace | None) -> None:
    keys = _read_contact_keys()
    hashes = {one.hex() for one in hashes_of(store, keys, connection)}
    erased = erase_person(store, keys, connection)
    places = erased.members + erased.existing + erased.opt_outs + erased.in_flight
    places += erased.rejected
    _print(
        f"Forgotten in {pluralize(places, 'place')} (segments: {erased.members:,}, contact "
        f"indexes: {erased.existing:,}, opt-outs: {erased.opt_outs:,}, "
        f"imports in flight: {erased.in_flight:,}, rejected records: {erased.rejected:,}).\n"
        f"{_SUPPRESSED if erased.suppressions else _CONSEQUENCES_FOR_PERSON}"
    )
    if place is not None:
        count = place.open().forget(hashes, keys)
        _print(f"Deleted {pluralize(count, 'row')} of outcomes.")
    _vacuum_after_erasure(store)
    files = files_set_aside(store)
    if files:
        names = ", ".join(files)
        _print(f"These damaged ledgers may hold the person too, delete them: {names}.")


def _read_contact_keys() -> set[str]:
    """Read an address, and return the contact keys that the ledger may have for it.

    Raises:
        _CommandError: Standard input does not hold one address.
    """
    if sys.stdin.isatty():
        _print("The person's e-mail address:")
        text = sys.stdin.readline()
    else:
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    address = text.strip()
    if "@" not in address or len(address.split()) != 1:
        raise _CommandError("Standard input does not hold one e-mail address. Nothing was done.")
    keys = {contact_key(address)}
    with contextlib.suppress(Refusal):  # the contact index may have addresses that are not valid
        keys.add(contact_key(valid_address(address)))
    return keys


def _vacuum_after_erasure(store: Store) -> None:
    """Overwrite what was erased.

    Raises:
        _CommandError: It is erased, but not overwritten.
    """
    try:
        store.vacuum()
    except LedgerError as error:
        raise _CommandError(
            f"The data is forgotten, but traces may be left. Run `vacuum` later. {error}"
        ) from None


def _print(text: str) -> None:
    with contextlib.suppress(output.OutputError):  # the command does its task all the same
        output.write(f"{text}\n")
