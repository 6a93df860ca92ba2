"""`target-activecampaign --verify` and `--facts`: settle facts about an account, and show them."""

from __future__ import annotations

import json
import logging
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from target_activecampaign.account.account import Account
from target_activecampaign.cli.output import format_table
from target_activecampaign.client.models import ContactList
from target_activecampaign.config.validation import ensure_writable_folder, find_secrets
from target_activecampaign.errors import ListError, NoSuchListError, StoppedError, TargetError
from target_activecampaign.ledger import facts_of, read_facts
from target_activecampaign.model.facts import BY_NAME
from target_activecampaign.storage import output, private_files
from target_activecampaign.sync.stop import StopRequest
from target_activecampaign.verify import report
from target_activecampaign.verify.lab import MAX_CONTACTS, MAX_IMPORTS, Lab, LabClient
from target_activecampaign.verify.marks import Marks
from target_activecampaign.verify.recorder import Recorder
from target_activecampaign.verify.verification import Verification, remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_activecampaign.config.settings import Settings
    from target_activecampaign.ledger import KnownFact

logger = logging.getLogger("target-activecampaign")

_PLAN = """\
This finds out what the API of {address} does, by experiments on list {wanted}.
It creates up to {contacts} contacts at {domain} in up to {imports} imports, a few custom fields and
tags, and deletes them afterwards. Its imports start no automation. It changes nothing else.
Read docs/verify.md before you run it on an account in use."""


class Request(NamedTuple):
    """The options of `--verify`.

    Attributes:
        wanted: The list for the experiments: id, name or string id.
        create_list: Whether to make it if it is missing.
        domain: The domain of the contacts' addresses.
        with_limits: Whether to find out limits.
        record: The folder for recordings; empty for none.
        form: `json`, or None for a table.
    """

    wanted: str
    create_list: bool
    domain: str
    with_limits: bool
    record: str
    form: str | None


def confirm(settings: Settings, request: Request) -> None:
    """Ask whether to begin.

    Raises:
        click.Abort: The answer is no.
        click.UsageError: Nobody can be asked.
    """
    address = "the embedded sandbox" if settings.sandbox else settings.api_url
    plan = _PLAN.format(
        address=address,
        wanted=f"'{request.wanted}'",
        contacts=MAX_CONTACTS,
        imports=MAX_IMPORTS,
        domain=request.domain,
    )
    if not sys.stdin.isatty():
        raise click.UsageError("--verify asks before it begins: add --yes where nobody can answer.")
    click.echo(plan, err=True)
    click.confirm("Begin?", abort=True, err=True)


def verify(settings: Settings, request: Request) -> int:
    """Run the experiments, save and show what was seen.

    Returns:
        The exit code. 0: the target works with the account. 1: something differs that it can't
        adapt to, or the verification failed. 128 + n: stopped by signal n.

    Raises:
        TargetError: The verification failed.
    """
    ensure_writable_folder("report_path", settings.report_path)
    account = Account(settings, client_class=LabClient)
    recorder = Recorder(request.record) if request.record else None
    stop = StopRequest()
    try:
        account.open()
        with facts_of(settings.ledger_url, account.identity):
            pass  # what can't be saved need not be found out
        client = account.client
        assert isinstance(client, LabClient)  # noqa: S101 - as given
        client.recorder = recorder
        with _stopping(stop) as stopped_by:
            lab, list_name = _prepare(account, client, request, stop)
            try:
                findings = Verification(lab, with_limits=request.with_limits).run()
            except StoppedError:
                logger.warning("Stopped. What the verification had made was removed.")
                return 128 + (stopped_by[0] if stopped_by else signal.SIGINT)
        moment = client.server_time()
        identity, address = account.identity, account.address
    finally:
        account.close()
    result = report.as_dict(findings, address=address, list_name=list_name, moment=moment)
    with facts_of(settings.ledger_url, identity) as facts:
        facts.save({one.fact.name: one.seen for one in findings if one.seen is not None}, moment)
    try:
        page = report.write(result, settings.report_path, find_secrets(settings))
    except OSError as error:
        raise TargetError(
            f"The result can't be written to {settings.report_path}: {private_files.explain(error)}"
        ) from None
    if request.form == "json":
        text = json.dumps(result, indent=2, ensure_ascii=False)
    else:
        header = ("fact", "seen", "result", "what the target does")
        text = format_table(header, report.rows(findings))
    code = output.show(text, "target-activecampaign")
    logger.info("%s Report: %s", report.summary(result), page)
    if not result["ok"]:
        names = ", ".join(one.fact.name for one in findings if one.needs_a_person)
        logger.error("The target can't adapt to this account in: %s. See the table.", names)
    return code or int(not result["ok"])


def show_facts(settings: Settings, form: str | None) -> int:
    """Show what is known of the account, without asking it."""
    account = Account(settings, read_only=True)
    try:
        account.start()
        known = read_facts(settings.ledger_url, account.identity)
    finally:
        account.close()
    if form == "json":
        text = json.dumps(_as_dict(known), indent=2)
    elif not known:
        text = "Nothing is known of this account: run --verify."
    else:
        rows = [
            (name, fact.value, BY_NAME[name].assumed, fact.date, BY_NAME[name].question)
            for name, fact in known.items()
            if name in BY_NAME
        ]
        text = format_table(("fact", "seen", "assumed", "on", "question"), rows)
    return output.show(text, "target-activecampaign")


def _prepare(
    account: Account, client: LabClient, request: Request, stop: StopRequest
) -> tuple[Lab, str]:
    marks = Marks.make(request.domain)
    # First: a list that it made would be taken for the one to use, or the new one for its own.
    remove_leftovers(client)
    account.lists = client.lists()
    chosen = _find_list(account, client, request, marks)
    lab = Lab(client, chosen.id, marks, stop)
    return lab, f"{chosen.id} '{chosen.name}'"


def _find_list(account: Account, client: LabClient, request: Request, marks: Marks) -> ContactList:
    try:
        return account.find_list(request.wanted, "--verify-list")
    except NoSuchListError:
        if not request.create_list or request.wanted.isdecimal():
            raise
    item = {
        "name": request.wanted,
        "stringid": marks.string_id,
        "sender_url": "https://example.com",
        "sender_reminder": "This list was made for target-activecampaign --verify.",
    }
    reply = client.send("POST", "/lists", body={"list": item})
    number = reply.made("list")
    if number is None:
        raise ListError(
            f"'--create-list' can't make a list (status {reply.status}): the key's user may lack "
            "the permission. Make a list in ActiveCampaign, and name it in '--verify-list'."
        )
    return ContactList(number, request.wanted, marks.string_id)


@contextmanager
def _stopping(stop: StopRequest) -> Iterator[list[int]]:
    """Let signals stop the verification; yield the numbers of those that came."""
    came: list[int] = []

    def ask(number: int, _frame: Any) -> None:
        came.append(number)
        stop.set()
        if len(came) == 1:
            logger.warning("Stopping. What the verification has made is removed first.")

    before = {one: signal.signal(one, ask) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _as_dict(known: Mapping[str, KnownFact]) -> dict[str, Any]:
    return {name: {"seen": one.value, "on": one.date} for name, one in known.items()}
