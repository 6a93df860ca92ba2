"""The command ``activecampaign-sandbox``."""

from __future__ import annotations

import argparse
import dataclasses
import ipaddress
import json
import logging
import os
import sys
from typing import Any

from activecampaign_sandbox.options import Options
from activecampaign_sandbox.store import Store, StoreError

_EPILOG = "The sandbox is ready when it prints a line of JSON with its URL. See docs/sandbox.md."
_KEY_VARIABLE = "ACTIVECAMPAIGN_SANDBOX_API_KEY"
"""Sets a key that no process list shows. Then everything that is served needs the key."""

_INSTALL = (
    "Install the extra 'sandbox': pip install 'target-activecampaign[sandbox]'. With Meltano, add "
    "[sandbox] to the loader's 'pip_url' (such as pip_url: target-activecampaign[sandbox]) and run "
    "`meltano install`."
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="activecampaign-sandbox",
        description="Run a local ActiveCampaign: API v3, limits and import queue, kept in a file.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "--path",
        default=".activecampaign-sandbox.db",
        help="SQLite file, or :memory: (default %(default)s)",
    )
    parser.add_argument(
        "--host",
        type=_loopback,
        default="127.0.0.1",
        help="loopback address to listen on (default %(default)s)",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port to listen on (default 0: any free port)"
    )
    parser.add_argument("--empty", action="store_true", help="start without the sample account")
    parser.add_argument(
        "--exit-with-stdin",
        action="store_true",
        help="exit when stdin closes, as when the parent process ends",
    )
    parser.add_argument("--no-limits", action="store_true", help="switch off all limits")
    for option in dataclasses.fields(Options):
        kind = type(option.default)
        default = option.default
        if option.name == "api_key":
            default = os.environ.get(_KEY_VARIABLE) or default
        parser.add_argument(
            f"--{option.name.replace('_', '-')}",
            type=kind if kind is str else _amount(kind),
            default=default,
            choices=option.metadata["choices"],
            help=f"{option.metadata['help']} (default {option.default})",
        )
    return parser


def _loopback(host: str) -> str:
    """Return a loopback address; no other host may reach the control API, which needs no key."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        if ipaddress.ip_address(address).is_loopback:
            return address
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("must be a loopback address, such as 127.0.0.1")


def _amount(kind: type[Any]) -> Any:
    """Return a parser of numbers that refuses negative ones."""

    def amount(value: str) -> Any:
        number = kind(value)
        if number < 0:
            raise ValueError(value)
        return number

    amount.__name__ = "number"  # argparse names the type in its message
    return amount


def main(arguments: list[str] | None = None) -> int:
    """Run the sandbox until it is stopped; return the exit code."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="activecampaign-sandbox: %(message)s")
    try:
        from activecampaign_sandbox import server  # noqa: PLC0415 - an extra's packages
    except ModuleNotFoundError as error:
        return _give_up(args, f"{error.name} is not installed. {_INSTALL}")
    from activecampaign_sandbox import sample  # noqa: PLC0415 - as above
    from activecampaign_sandbox.account import Account  # noqa: PLC0415

    names = [option.name for option in dataclasses.fields(Options)]
    options = Options(**{name: getattr(args, name) for name in names})
    try:
        sock = server.bind(args.host, args.port)
    except (OSError, OverflowError) as error:
        return _give_up(args, f"can't listen on {args.host}:{args.port}: {error}")
    with sock:
        try:
            store = Store(args.path)
        except StoreError as error:
            return _give_up(args, str(error))
        try:
            account = Account(store, options.without_limits() if args.no_limits else options)
            if store.is_new and not args.empty:
                sample.fill(store)
            server.serve(
                account,
                sock,
                exit_with_stdin=args.exit_with_stdin,
                # A key that is hidden from other processes would be useless beside these pages.
                api_only=bool(os.environ.get(_KEY_VARIABLE)),
            )
        finally:
            store.close()
    return 0


def _give_up(args: argparse.Namespace, reason: str) -> int:
    print(f"activecampaign-sandbox: {reason}", file=sys.stderr)  # noqa: T201 - a command's output
    if args.exit_with_stdin:
        # The parent process waits for a line, and reports the error itself.
        print(json.dumps({"error": reason}), flush=True)  # noqa: T201 - likewise
    return 1
