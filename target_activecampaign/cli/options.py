"""The command `target-activecampaign`: its options besides those of the SDK.

Modules for one option are imported when it is used, so that a run starts faster.
"""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click
from singer_sdk.exceptions import ConfigValidationError, SingerSDKError

from target_activecampaign.config.files import ConfigFileError, read_config
from target_activecampaign.errors import report_errors
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.email import valid_address
from target_activecampaign.singer.sdk_compat import ConfigInput
from target_activecampaign.sync.limited_run import MOST
from target_activecampaign.target import TargetActiveCampaign

if TYPE_CHECKING:
    import logging

_DIGITS = 10
"""Digits with which a number is surely too large."""


def build_command() -> click.Command:
    """Return the command of the SDK with the additional options."""
    command = TargetActiveCampaign.cli  # this also sets up the log
    command.callback = _invoke
    for option in command.params:
        if option.name == "about_format" and isinstance(option, click.Option):
            option.help = (
                "Output format of --about; json also works with --rejects, --test, --verify and "
                "--facts."
            )
        if option.name == "config":
            option.callback = read_config_option
    command.params += [
        click.Option(
            ["--dry-run"],
            is_flag=True,
            help="Preview a run. Nothing is sent; STATE and the ledger do not change.",
        ),
        click.Option(
            ["--limit"],
            callback=_read_limit,
            metavar="N",
            help="Send the first N contacts that have to be sent, and show whether they arrive as "
            "meant. Nobody is removed or renamed; STATE does not change.",
        ),
        click.Option(
            ["--test"],
            is_flag=True,
            help="Check that everything is ready for a run. Nothing is sent or created.",
        ),
        click.Option(
            ["--catalog"],
            metavar="FILE",
            help="Catalog of the tap. --test then checks the mapping of its streams.",
        ),
        click.Option(
            ["--verify"],
            is_flag=True,
            help="Find out by experiments what the account's API does. Creates contacts, and "
            "deletes them afterwards.",
        ),
        click.Option(
            ["--verify-list"], metavar="LIST", help="The list for --verify: id, name or string id."
        ),
        click.Option(
            ["--create-list"],
            is_flag=True,
            help="Create the list of --verify-list if it is missing, and delete it afterwards.",
        ),
        click.Option(
            ["--verify-domain"],
            metavar="DOMAIN",
            default="example.com",
            show_default=True,
            help="Domain of the e-mail addresses that --verify uses.",
        ),
        click.Option(
            ["--limits"],
            is_flag=True,
            help="With --verify: also find out the limit of imports of one contact.",
        ),
        click.Option(
            ["--record"],
            metavar="DIR",
            help="With --verify: write each request and answer to a folder, without personal data.",
        ),
        click.Option(["--yes"], is_flag=True, help="With --verify: begin without asking."),
        click.Option(
            ["--facts"],
            is_flag=True,
            help="Show what --verify found out about the account. Nothing is sent.",
        ),
        click.Option(
            ["--rejects"],
            multiple=True,
            metavar="FILE...",
            help="Explain why the records in reject files were rejected, and what to do.",
        ),
        # For `--rejects rejects/*.jsonl`, which a shell expands to several files.
        click.Argument(["more_files"], nargs=-1, metavar=""),
    ]
    return command


def _read_limit(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """Return the number of contacts of a limited run, or end the command with a usage error."""
    if text is None:
        return None
    text = text.strip()
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < _DIGITS else 0
    if not 1 <= number <= MOST:
        raise click.BadParameter(
            f"give a whole number of contacts, from 1 to {MOST:,}.", context, option
        )
    return number


def _invoke(**options: Any) -> NoReturn:
    """Run the command, and end the process with its exit code."""
    sys.exit(run(TargetActiveCampaign, **options))


def read_config_option(
    _context: click.Context, _option: click.Parameter, paths: Any
) -> ConfigInput:
    """Read configuration files; later ones override earlier ones. The SDK would open each twice."""
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
    limit: int | None = None,
    test: bool = False,
    catalog: str | None = None,
    rejects: tuple[str, ...] = (),
    more_files: tuple[str, ...] = (),
    facts: bool = False,
    verify: bool = False,
    **experiments: Any,
) -> int:
    """Run the command with the options of the command line.

    Returns:
        The exit code. 0: completed. 1: failed. 128 + n: stopped by signal n, after the records in
        flight were confirmed and their STATE was written.
    """
    if limit is not None and (about or rejects or dry_run or test or facts or verify):
        raise click.UsageError("--limit is for runs that send contacts: use no other option.")
    if about:
        target.print_about(about_format)
        return 0
    if rejects:
        return _show_rejects([*rejects, *more_files], about_format)
    if catalog is not None and not test:
        raise click.UsageError("--catalog can only be used with --test.")
    if not verify and experiments.get("limits"):
        raise click.UsageError("--limits is for --verify. To send the first N contacts: --limit N.")
    if more_files:
        raise click.UsageError("Files can only be given to --rejects and --input.")
    if dry_run + test + facts + verify > 1:
        raise click.UsageError("Only one of --dry-run, --test, --verify and --facts can be given.")
    if test:
        return _test(target, config, about_format, catalog, file_input)
    if facts or verify:
        return _verify(target, config, about_format, facts=facts, **experiments)
    return _load(target, config, file_input, dry_run=dry_run, limit=limit)


def _load(
    target: type[TargetActiveCampaign],
    config: ConfigInput | None,
    file_input: IO[str] | None,
    *,
    dry_run: bool,
    limit: int | None,
) -> int:
    """Load what the input says, or only its first contacts, or preview it."""
    target.print_version(print_fn=target.logger.info)
    try:
        loader = _make_target(target, config, dry_run=dry_run, limit=limit)
    except ConfigValidationError as error:
        # The last line of the SDK's own log would not name the problem.
        for wrong in error.errors:
            target.logger.error(wrong)  # noqa: TRY400 - a traceback does not help
        return 1
    if limit is not None and loader.settings.dry_run:
        target.logger.error(
            "--limit sends contacts, but the setting 'dry_run' says that nothing is sent: leave "
            "out one of the two."
        )
        return 1
    if limit is not None:
        target.logger.info(
            "--limit %d: at the end of the input, the first contacts that have to be sent are "
            "sent and read back. Nobody is removed or renamed, and no STATE is written.",
            limit,
        )
    problem = loader.read(file_input)
    if limit is not None:
        from target_activecampaign.cli import limited  # noqa: PLC0415

        limited.show(loader.run.report)
    code = loader.end(problem)
    if loader.is_meltano_test:
        from target_activecampaign.cli import check  # noqa: PLC0415

        checks = check.run_checks(loader.settings, loader.maps, None, loader.warnings)
        return check.log_for_meltano(checks, target.logger)
    return code


def _verify(
    target: type[TargetActiveCampaign],
    config: ConfigInput | None,
    form: str | None,
    *,
    facts: bool,
    verify_list: str | None,
    create_list: bool,
    verify_domain: str,
    limits: bool,
    record: str | None,
    yes: bool,
) -> int:
    """Verify an account, or show what is known of it."""
    from target_activecampaign.cli import verify  # noqa: PLC0415

    if form not in {None, "json"}:
        raise click.UsageError("--verify and --facts support only --format json.")
    if not (facts or verify_list):
        raise click.UsageError("--verify needs --verify-list: a list for its experiments.")
    try:
        domain = valid_address(f"someone@{verify_domain}").partition("@")[2]
    except Refusal:
        raise click.UsageError("--verify-domain must be a domain, such as example.com.") from None
    # The account alone matters here, so the list of profiles may be missing.
    given = {"list_id": verify_list or "0", **(config.config if config else {})}
    config = ConfigInput(config=given, parse_env=bool(config and config.parse_env))
    try:
        settings = _make_target(target, config).settings
    except ConfigValidationError as error:
        for wrong in error.errors:
            target.logger.error(wrong)  # noqa: TRY400 - a traceback does not help
        return 1
    codes: list[int] = []
    if facts:
        problem = report_errors(lambda: codes.append(verify.show_facts(settings, form)))
        return _end(target, codes, problem)
    request = verify.Request(verify_list or "", create_list, domain, limits, record or "", form)
    if not yes:
        verify.confirm(settings, request)
    problem = report_errors(lambda: codes.append(verify.verify(settings, request)))
    return _end(target, codes, problem)


def _end(target: type[TargetActiveCampaign], codes: list[int], problem: str | None) -> int:
    """Return the exit code of a command that has ended with a code, or with a problem."""
    if problem is not None:
        target.logger.error(problem)
    return codes[0] if codes else 1


def _make_target(
    target: type[TargetActiveCampaign],
    config: ConfigInput | None,
    *,
    dry_run: bool = False,
    limit: int | None = None,
) -> TargetActiveCampaign:
    return target(
        dry_run=dry_run,
        limit=limit,
        config=config.config if config else {},
        parse_env_config=bool(config and config.parse_env),
    )


def _is_not_startup_notice(record: logging.LogRecord) -> bool:
    """Return False for a line that the SDK logs at each start, and that `--test` does not show."""
    return "env var" not in str(record.msg)


def _show_rejects(files: list[str], form: str | None) -> int:
    from target_activecampaign.cli import rejects  # noqa: PLC0415

    if form not in {None, "json"}:
        raise click.UsageError("--rejects supports only --format json.")
    return rejects.show(files, form)


def _test(
    target: type[TargetActiveCampaign],
    config: ConfigInput | None,
    form: str | None,
    catalog: str | None,
    file_input: IO[str] | None,
) -> int:
    """Check whether everything is ready for a run, and print the result."""
    from target_activecampaign.cli import check, streams  # noqa: PLC0415

    if form not in {None, "json"}:
        raise click.UsageError("--test supports only --format json.")
    source = streams.StreamSource(catalog, file_input)
    target.logger.addFilter(_is_not_startup_notice)
    try:
        loader = _make_target(target, config)
    except ConfigValidationError as error:
        checks = check.invalid_settings(error.errors)
    except SingerSDKError as error:
        checks = check.invalid_settings([str(error)])
    else:
        checks = check.run_checks(loader.settings, loader.maps, source, loader.warnings)
    return check.show(checks, form)
