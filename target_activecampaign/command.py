"""The command `target-activecampaign`: its own options, and what each of them does.

What only one of them needs is imported for that one: a run starts without it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from singer_sdk.exceptions import ConfigValidationError, SingerSDKError

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_sdk.plugin_base import _ConfigInput

    from target_activecampaign.target import TargetActiveCampaign


def with_options(command: click.Command) -> click.Command:
    """The SDK's command of a target with the options that it has besides."""
    for option in command.params:
        if option.name == "about_format" and isinstance(option, click.Option):
            option.help = "Specify output style for --about, or json for --rejects and --test"
        if option.name == "config":
            option.callback = _checked(option.callback)
    command.params += [
        click.Option(
            ["--dry-run"],
            is_flag=True,
            help="See what a run would do; nothing is sent, STATE and ledger stay as they are.",
        ),
        click.Option(
            ["--test"],
            is_flag=True,
            help="See whether everything is ready for a run; nothing is sent or made.",
        ),
        click.Option(
            ["--catalog"],
            metavar="FILE",
            help="The tap's catalog, whose streams --test is to map.",
        ),
        click.Option(
            ["--rejects"],
            multiple=True,
            metavar="FILE...",
            help="Show why the records of reject files were refused, and what to do.",
        ),
        # So that a shell's `--rejects rejects/*.jsonl` works.
        click.Argument(["more_files"], nargs=-1, metavar=""),
    ]
    return command


def _checked(read: Callable[..., Any] | None) -> Callable[..., Any]:
    """The SDK's way to read configuration files, which leaves those alone that it can't read."""

    def checked(context: click.Context, option: click.Parameter, paths: tuple[str, ...]) -> Any:
        for path in paths:
            if path != "ENV":
                _check_file(path)
        return read(context, option, paths) if read else paths

    return checked


def _check_file(path: str) -> None:
    """See whether a configuration file can be read.

    Raises:
        click.ClickException: It can't; the text quotes nothing of it.
    """
    file = f"The configuration file '{path}'"
    try:
        config = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise click.ClickException(f"{file} can't be read: {error.strerror}.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise click.ClickException(f"{file} is no valid JSON: see {where}.") from None
    except UnicodeDecodeError:
        raise click.ClickException(f"{file} is no text in UTF-8.") from None
    if not isinstance(config, dict):
        raise click.ClickException(f"{file} holds no JSON object.")


def run(
    target: type[TargetActiveCampaign],
    *,
    about: bool = False,
    about_format: str | None = None,
    config: _ConfigInput | None = None,
    file_input: IO[str] | None = None,
    dry_run: bool = False,
    test: bool = False,
    catalog: str | None = None,
    rejects: tuple[str, ...] = (),
    more_files: tuple[str, ...] = (),
) -> int:
    """Do what the options of the command line say.

    Returns:
        The exit code. 0: all settled. 1: a failure. 128 + n: stopped by signal n, with what was
        in flight settled and its STATE written.
    """
    if about:
        target.print_about(about_format)
        return 0
    if rejects:
        return _show_rejects([*rejects, *more_files], about_format)
    if catalog is not None and not test:
        raise click.UsageError("--catalog is for --test alone.")
    if more_files:
        raise click.UsageError("Files are taken by --rejects and --input alone.")
    if test and dry_run:
        raise click.UsageError("--test and --dry-run are two things: give one of them.")
    if test:
        return _test(target, config, about_format, catalog, file_input)
    target.print_version(print_fn=target.logger.info)
    return _made(target, config, dry_run=dry_run).load(file_input)


def _made(
    target: type[TargetActiveCampaign], config: _ConfigInput | None, *, dry_run: bool = False
) -> TargetActiveCampaign:
    return target(
        dry_run=dry_run,
        config=config.config if config else {},
        parse_env_config=bool(config and config.parse_env),
    )


def _show_rejects(files: list[str], form: str | None) -> int:
    from target_activecampaign import rejects_command  # noqa: PLC0415

    if form not in {None, "json"}:
        raise click.UsageError("--rejects knows --format json alone.")
    return rejects_command.show(files, form)


def _test(
    target: type[TargetActiveCampaign],
    config: _ConfigInput | None,
    form: str | None,
    catalog: str | None,
    file_input: IO[str] | None,
) -> int:
    """See whether everything is ready for a run, and show it."""
    from target_activecampaign import announced, checks, checks_command  # noqa: PLC0415

    if form not in {None, "json"}:
        raise click.UsageError("--test knows --format json alone.")
    streams = announced.source(catalog, file_input)
    try:
        made = _made(target, config)
    except ConfigValidationError as error:
        found = checks.of_invalid_settings(error.errors)
    except SingerSDKError as error:
        found = checks.of_invalid_settings([str(error)])
    else:
        found = checks.of(made.settings, made.maps, streams, made.warnings)
    return checks_command.show(found, form)
