"""The command ``target-activecampaign-ledger``: see what a ledger holds, and forget parts of it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from target_activecampaign.cli.ledger_output import in_bytes, in_words
from target_activecampaign.config.environment import read_environment
from target_activecampaign.config.files import ConfigFileError, read_config
from target_activecampaign.config.settings import Settings
from target_activecampaign.config.validation import convert
from target_activecampaign.errors import ChoiceError, LedgerError, SettingError
from target_activecampaign.ledger.erase import Choice, choose, forget, forget_person
from target_activecampaign.ledger.overview import overview, set_aside, size
from target_activecampaign.ledger.store import Store
from target_activecampaign.model.contact import Refusal, person_key, valid_address
from target_activecampaign.storage import output

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.ledger.erase import Chosen

_NAME = "target-activecampaign-ledger"
_PREFIX = "TARGET_ACTIVECAMPAIGN_"
_MEANING = """\
Nothing changes in ActiveCampaign. With the next run everything is delivered once more, and a
mirror only takes stock: nobody leaves it. Whoever is on the list then counts as found there,
and stays on it after leaving the stream unless 'adopt_members' is set. Those whom we have
unsubscribed can't be brought back any more. Other mirrors of the same list no longer spare
people for being in what is forgotten."""
_MEANING_OF_A_PERSON = (
    "If the source still has the person, the next run enters and delivers them again: take them "
    "out there first. Nothing changes in ActiveCampaign."
)


_SCHEMA = {"properties": {"ledger_url": {"type": "string"}}}
"""The one setting that matters here."""


class _CommandError(Exception):
    """The command can't do what was asked; the text says why."""


def _parser() -> argparse.ArgumentParser:
    where = argparse.ArgumentParser(add_help=False)
    place = where.add_mutually_exclusive_group()
    place.add_argument("--config", metavar="FILE", help="the target's configuration")
    place.add_argument(
        "--ledger-url",
        metavar="URL",
        help=f"where the ledger is (default: what --config says, or {_PREFIX}LEDGER_URL, or else "
        "the target's default); keep one with a password in the variable",
    )
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description="See what a target's ledger holds, and forget parts of it.",
        epilog="See docs/privacy.md for what it holds of people.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    show = commands.add_parser("show", parents=[where], help="what it holds, without people")
    show.add_argument("--format", choices=["text", "json"], default="text")
    show.set_defaults(action=_show)

    forgets = commands.add_parser(
        "forget",
        parents=[where],
        help="forget a connection, a list, a stream or a person",
        description="Forget what the ledger knows of a connection, of a list or stream of it, "
        "or of a person. Nothing changes in ActiveCampaign.",
    )
    forgets.add_argument("--connection", metavar="ACCOUNT", help="as `show` names it")
    forgets.add_argument("--list", metavar="ID", type=int, help="a list, by its id")
    forgets.add_argument("--stream", metavar="NAME", help="a stream, by its name after stream maps")
    forgets.add_argument(
        "--person", metavar="-", help="one person, whose address is read from standard input"
    )
    forgets.add_argument("--yes", action="store_true", help="don't ask whether to go on")
    forgets.set_defaults(action=_forget)

    vacuum = commands.add_parser(
        "vacuum", parents=[where], help="give back the room of what was deleted"
    )
    vacuum.set_defaults(action=_vacuum)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments ask for; returns the exit code."""
    with contextlib.suppress(OSError, AttributeError):  # of an output of another kind
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.command == "forget":
        _check_choice(parser, args)
    try:
        store = Store(_url(args), make=False)
        try:
            action: Callable[[Store, argparse.Namespace], None] = args.action
            action(store, args)
        finally:
            store.close()
    except (_CommandError, ChoiceError, LedgerError, SettingError) as error:
        print(f"{_NAME}: {error}", file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    except output.OutputError as error:
        print(  # noqa: T201 - likewise
            f"{_NAME}: Standard output can't be written: {error}.", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _check_choice(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.person is not None:
        if args.person != "-":
            # Not quoted: what stands there is an address, most likely.
            parser.error("--person takes '-' only: the address is read from standard input")
        if args.list is not None or args.stream is not None:
            parser.error("--person goes with --connection only")
    elif args.connection is None and args.list is None and args.stream is None:
        parser.error("say what to forget: --connection, --list, --stream or --person")


def _url(args: argparse.Namespace) -> str:
    """Where the ledger is."""
    if args.ledger_url is not None:
        return str(args.ledger_url)
    config = _config(args.config) if args.config is not None else {}
    if config.get("ledger_url") is None:
        config = read_environment(_SCHEMA, _PREFIX).values
    return Settings.from_config(config).ledger_url


def _config(path: str) -> dict[str, Any]:
    try:
        config = read_config(path)
    except ConfigFileError as error:
        raise _CommandError(str(error)) from None
    config, _ = convert(config, _SCHEMA)
    if not isinstance(config.get("ledger_url"), str | None):
        raise _CommandError(
            f"The configuration {path} is not one of the target's: see docs/settings.md."
        )
    return config


def _show(store: Store, args: argparse.Namespace) -> None:
    found = overview(store)
    if args.format == "json":
        text = json.dumps(dataclasses.asdict(found), indent=2, ensure_ascii=False, default=_iso)
    else:
        text = in_words(found)
    output.write(f"{text}\n")


def _iso(value: object) -> str:
    assert isinstance(value, datetime)  # noqa: S101 - JSON knows all else
    return value.isoformat(timespec="seconds")


def _forget(store: Store, args: argparse.Namespace) -> None:
    if args.person is not None:
        _forget_person(store, args)
        return
    choice = Choice(args.connection, args.list, args.stream)
    chosen = choose(store, choice)
    _tell(f"This forgets {_words(choice, chosen)}.\n{_MEANING}")
    if not args.yes and not _agreed():
        raise _CommandError("Nothing was forgotten.")
    done = forget(store, choice)
    _tell(f"Forgotten: {_words(choice, done)}.")
    _clean(store)


def _words(choice: Choice, chosen: Chosen) -> str:
    """What a choice comes to."""
    segments = [f"{stream} -> list {list_id}" for stream, list_id in chosen.segments.values()]
    people = f"{chosen.people:,} entries of people"
    if choice.whole:
        return (
            f"all of {chosen.connection}: its {len(segments)} segments with {people}, its runs, "
            "what is in flight, and the index of its contacts"
        )
    return f"of {chosen.connection}: {', '.join(segments)}, with {people}"


def _agreed() -> bool:
    """Whether the operator wants to go on."""
    if not sys.stdin.isatty():
        raise _CommandError("There is no terminal to ask on: say --yes. Nothing was forgotten.")
    _tell("Go on? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _forget_person(store: Store, args: argparse.Namespace) -> None:
    rows = forget_person(store, _keys(), args.connection)
    _tell(
        f"Forgotten in {sum(rows)} places: {rows.members} segments, {rows.existing} indexes of "
        f"contacts, {rows.in_flight} imports in flight.\n{_MEANING_OF_A_PERSON}"
    )
    _clean(store)
    files = set_aside(store)
    if files:
        _tell(f"These damaged ledgers may hold the person too, delete them: {', '.join(files)}.")


def _keys() -> set[str]:
    """The spellings under which the ledger may have the person whose address is given."""
    if sys.stdin.isatty():
        _tell("The person's e-mail address:")
        text = sys.stdin.readline()
    else:
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    address = text.strip()
    if "@" not in address or len(address.split()) != 1:
        raise _CommandError("Standard input does not hold one e-mail address. Nothing was done.")
    keys = {person_key(address)}
    with contextlib.suppress(Refusal):  # the index of contacts has whatever the account has
        keys.add(person_key(valid_address(address)))
    return keys


def _clean(store: Store) -> None:
    """See that nothing of what was deleted stays in the file."""
    try:
        store.vacuum()
    except LedgerError as error:
        raise _CommandError(
            f"It is forgotten, but traces may be left in the file: run `vacuum` later. {error}"
        ) from None


def _vacuum(store: Store, _: argparse.Namespace) -> None:
    before = size(store)
    store.vacuum()
    _tell(f"{in_bytes(before)} before, {in_bytes(size(store))} now.")


def _tell(text: str) -> None:
    with contextlib.suppress(output.OutputError):  # what it tells of is done all the same
        output.write(f"{text}\n")
