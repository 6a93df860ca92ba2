"""The command `target-activecampaign`: its own options, and what each of them does.

What only one of them needs is imported for that one: a run starts without it.
"""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click
from singer_sdk.exceptions import ConfigValidationError, SingerSDKError

from target_activecampaign.config.files import ConfigFileError, read_config
from target_activecampaign.singer.sdk_compat import ConfigInput
from target_activecampaign.target import TargetActiveCampaign

if TYPE_CHECKING:
    import logging


def build_command() -> click.Command:
    """Return the SDK's command of the target with the options that it has besides."""
    command = TargetActiveCampaign.cli  # which also sets up the log
    command.callback = _invoke
    for option in command.params:
        if option.name == "about_format" and isinstance(option, click.Option):
            option.help = "Specify output style for --about, or json for --rejects and --test"
        if option.name == "config":
            option.callback = _read_config
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


def _invoke(**options: Any) -> NoReturn:
    """Do what the options say; ends the process with the exit code."""
    sys.exit(run(TargetActiveCampaign, **options))


def _read_config(_context: click.Context, _option: click.Parameter, paths: Any) -> ConfigInput:
    """Read configuration files, of which the later win; the SDK's own way opens each twice."""
    config: dict[str, Any] = {}
    try:
        for path in paths:
            if path != "ENV":
                config.update(read_config(path))
    except ConfigFileError as error:
        raise click.ClickException(str(error)) from None
    return ConfigInput(config=config, parse_env="ENV" in paths)


def run(
    target: type[TargetActiveCampaign],
    *,
    about: bool = False,
    about_format: str | None = None,
    config: ConfigInput | None = None,
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
    try:
        made = _made(target, config, dry_run=dry_run)
    except ConfigValidationError as error:
        # Not left to the SDK, whose last line says only that something is wrong.
        for problem in error.errors:
            target.logger.error(problem)  # noqa: TRY400 - a traceback tells nothing more
        return 1
    code = made.load(file_input)
    if made.is_meltano_test:
        from target_activecampaign.cli import check, check_output  # noqa: PLC0415

        found = check.of(made.settings, made.maps, list, made.warnings)
        return check_output.tell_meltano(found, target.logger)
    return code


def _made(
    target: type[TargetActiveCampaign], config: ConfigInput | None, *, dry_run: bool = False
) -> TargetActiveCampaign:
    return target(
        dry_run=dry_run,
        config=config.config if config else {},
        parse_env_config=bool(config and config.parse_env),
    )


def _is_no_parsing(record: logging.LogRecord) -> bool:
    """Keep out what the SDK logs of each start, which is no part of what `--test` shows."""
    return "env var" not in str(record.msg)


def _show_rejects(files: list[str], form: str | None) -> int:
    from target_activecampaign.cli import rejects  # noqa: PLC0415

    if form not in {None, "json"}:
        raise click.UsageError("--rejects knows --format json alone.")
    return rejects.show(files, form)


def _test(
    target: type[TargetActiveCampaign],
    config: ConfigInput | None,
    form: str | None,
    catalog: str | None,
    file_input: IO[str] | None,
) -> int:
    """See whether everything is ready for a run, and show it."""
    from target_activecampaign.cli import check, check_output, streams  # noqa: PLC0415

    if form not in {None, "json"}:
        raise click.UsageError("--test knows --format json alone.")
    source = streams.source(catalog, file_input)
    target.logger.addFilter(_is_no_parsing)
    try:
        made = _made(target, config)
    except ConfigValidationError as error:
        found = check.of_invalid_settings(error.errors)
    except SingerSDKError as error:
        found = check.of_invalid_settings([str(error)])
    else:
        found = check.of(made.settings, made.maps, source, made.warnings)
    return check_output.show(found, form)
