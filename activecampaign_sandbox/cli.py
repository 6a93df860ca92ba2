"""The command ``activecampaign-sandbox``."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from activecampaign_sandbox.clock import is_time_zone
from activecampaign_sandbox.facts import FactsError, read_facts
from activecampaign_sandbox.options import Options, Switch, switches
from activecampaign_sandbox.store import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_EPILOG = (
    "The sandbox is ready when it prints a line of JSON with its URL. Marks of defaults: [doc]"
    " documented by ActiveCampaign, [rec] recorded with a real account, [rep] reported by others,"
    " [unv] unverified, [own] the sandbox's own. See docs/sandbox-behaviour.md."
)
_KEY_VARIABLE = "ACTIVECAMPAIGN_SANDBOX_API_KEY"
"""Sets a key that no process list shows. Then everything that is served needs the key."""

_INSTALL = (
    "Install the extra 'sandbox': pip install 'target-activecampaign[sandbox]'. With Meltano, add "
    "[sandbox] to the loader's 'pip_url' (such as pip_url: target-activecampaign[sandbox]) and run "
    "`meltano install`."
)


def _check_host(_context: click.Context, _option: click.Parameter, host: str) -> str:
    """Return a loopback address; no other host may reach the control API, which needs no key."""
    address = "127.0.0.1" if host == "localhost" else host
    with suppress(ValueError):
        if ipaddress.ip_address(address).is_loopback:
            return address
    raise click.BadParameter("must be a loopback address, such as 127.0.0.1")


def _check_zone(_context: click.Context, _option: click.Parameter, name: str) -> str:
    """Return the name of a time zone that the machine knows."""
    if not is_time_zone(name):
        raise click.BadParameter("is no time zone, such as Europe/Brussels")
    return name


def _use_facts(context: click.Context, _option: click.Parameter, file: str | None) -> None:
    """Make the switches of a file the defaults, which the command line overrides."""
    if file is not None:
        try:
            context.default_map = {**(context.default_map or {}), **read_facts(file)}
        except FactsError as error:
            raise click.BadParameter(f"{file}: {error}") from None


def _type_of(switch: Switch) -> click.ParamType[Any]:
    """Return the type of a switch's values."""
    if switch.choices:
        return click.Choice(switch.choices)
    if isinstance(switch.default, str):
        return click.STRING
    if isinstance(switch.default, int):
        return click.IntRange(min=0)
    return click.FLOAT if switch.minimum is None else click.FloatRange(min=switch.minimum)


def _api_options() -> Iterator[click.Option]:
    """Yield a command line option for each switch."""
    flag: dict[str, Any] = {"is_flag": False, "flag_value": "yes"}  # alone it means yes
    for switch in switches():
        kind = type(switch.default)
        yield click.Option(
            [switch.option],
            type=_type_of(switch),
            metavar=None if switch.choices else "TEXT" if kind is str else "NUMBER",
            default=switch.default,
            show_default=True,
            **(flag if switch.choices == ("no", "yes") else {}),
            envvar=_KEY_VARIABLE if switch.name == "api_key" else None,
            callback=_check_zone if switch.name == "time_zone" else None,
            help=f"{switch.text} [{switch.mark}]",
        )


@click.command(
    "activecampaign-sandbox",
    help="Run a local ActiveCampaign: API v3, limits and import queue, kept in a file.",
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--path",
    default=".activecampaign-sandbox.db",
    show_default=True,
    help="SQLite file, or :memory:",
)
@click.option(
    "--host",
    callback=_check_host,
    default="127.0.0.1",
    show_default=True,
    help="loopback address to listen on",
)
@click.option(
    "--port",
    type=int,
    default=0,
    show_default=True,
    help="port to listen on; 0: any free one",
)
@click.option("--empty", is_flag=True, help="start without the sample account")
@click.option(
    "--exit-with-stdin", is_flag=True, help="exit when stdin closes, as when the parent ends"
)
@click.option("--no-limits", is_flag=True, help="switch off all limits")
@click.option(
    "--facts",
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_use_facts,
    help="JSON file of switches by name; the command line overrides it",
)
def _command(  # noqa: PLR0917 - click passes them by name
    path: str,
    host: str,
    port: int,
    empty: bool,
    exit_with_stdin: bool,
    no_limits: bool,
    **api_options: Any,
) -> None:
    logging.basicConfig(level=logging.WARNING, format="activecampaign-sandbox: %(message)s")
    options = Options(**api_options)
    try:
        _serve(
            path,
            host,
            port,
            options.without_limits() if no_limits else options,
            fill=not empty,
            exit_with_stdin=exit_with_stdin,
        )
    except _GiveUpError as error:
        click.echo(f"activecampaign-sandbox: {error}", err=True)
        if exit_with_stdin:
            # The parent process waits for a line, and reports the error itself.
            click.echo(json.dumps({"error": str(error)}))
        sys.exit(1)


_command.params += _api_options()


class _GiveUpError(Exception):
    """The sandbox can't run; the text says why, and what to do."""


def _serve(
    path: str, host: str, port: int, options: Options, *, fill: bool, exit_with_stdin: bool
) -> None:
    """Serve the account in a file until the process is stopped.

    Raises:
        _GiveUpError: It can't be served.
    """
    try:
        from activecampaign_sandbox import server  # noqa: PLC0415 - an extra's packages
    except ModuleNotFoundError as error:
        raise _GiveUpError(f"{error.name} is not installed. {_INSTALL}") from None
    from activecampaign_sandbox import sample  # noqa: PLC0415 - as above
    from activecampaign_sandbox.account import Account  # noqa: PLC0415

    try:
        sock = server.bind(host, port)
    except (OSError, OverflowError) as error:
        raise _GiveUpError(f"can't listen on {host}:{port}: {error}") from None
    with sock:
        try:
            store = Store(path)
        except StoreError as error:
            raise _GiveUpError(str(error)) from None
        try:
            account = Account(store, options)
            if fill and store.is_new:
                sample.fill(store)
            server.serve(
                account,
                sock,
                exit_with_stdin=exit_with_stdin,
                # A key that is hidden from other processes would be useless beside these pages.
                api_only=bool(os.environ.get(_KEY_VARIABLE)),
            )
        finally:
            store.close()


def main(arguments: list[str] | None = None) -> None:
    """Run the command, and end the process with its exit code."""
    _command.main(arguments, prog_name="activecampaign-sandbox")
