"""The laboratory: what experiments may do to an account, within limits.

Everything that is made here bears the marks of `marks`. Only such things are changed or deleted.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from target_activecampaign.client import (
    ActiveCampaignError,
    Client,
    ImportRateLimited,
    LimitReached,
    MalformedAnswer,
    RequestRefused,
)
from target_activecampaign.client.responses import parse_json
from target_activecampaign.model.facts import BY_NAME
from target_activecampaign.verify.findings import Finding
from target_activecampaign.verify.marks import NAME, Marks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from target_activecampaign.client import Contact, Membership
    from target_activecampaign.client.rate_limit.state import Kind
    from target_activecampaign.client.responses import Answer
    from target_activecampaign.sync.stop import StopRequest
    from target_activecampaign.verify.recorder import Recorder

MAX_CONTACTS = 40
"""Contacts that a verification makes at most."""
MAX_IMPORTS = 60
"""Imports that it sends at most, refused ones included."""

_ABOVE_A_SECOND = 1.1

_POLL_SECONDS = (0.25, 0.5, 1.0, 2.0)
"""Pauses between looks at an import; the last one is repeated."""


class Reply(NamedTuple):
    """An answer, of any status but that of a rate limit.

    Attributes:
        status: The status of HTTP.
        content: The JSON; None if it is none.
    """

    status: int
    content: Any

    @property
    def ok(self) -> bool:
        """True for a success."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the statuses of HTTP

    def get(self, name: str) -> Any:
        """Return what is under a name; None if there is nothing."""
        return self.content.get(name) if isinstance(self.content, dict) else None

    def items(self, name: str) -> list[dict[str, Any]]:
        """Return the objects under a name; an empty list if there are none."""
        found = self.get(name)
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def ids(self, name: str) -> list[int]:
        """Return the ids of the objects under a name."""
        return ids_of(self.items(name))

    def made(self, name: str) -> int | None:
        """Return the id of the object that was made; None if it was not made."""
        found = self.get(name)
        ids = ids_of([found]) if self.ok and isinstance(found, dict) else []
        return ids[0] if ids else None

    @property
    def total(self) -> int | None:
        """The number of objects on all pages; None if the answer does not say."""
        meta = self.get("meta")
        total = str(meta.get("total")) if isinstance(meta, dict) else ""
        return int(total) if total.isdecimal() else None


class LabClient(Client):
    """A client that also shows answers as they are, with the arguments and errors of `Client`."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self.recorder: Recorder | None = None
        self._last: Answer | None = None
        self._waits = True

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | Sequence[int]] | None = None,
        body: Any = None,
        kind: Kind = "request",
        waits: bool = True,
    ) -> Reply:
        """Send a request, and return its answer, also if it is a refusal.

        Args:
            method: GET, POST, ...
            path: Path below ``/api/3``.
            query: Parameters of the query.
            body: What is sent as JSON.
            kind: Kind of request in the budget.
            waits: Whether to wait for the account's limit of imports, and to try again.

        Raises:
            ImportRateLimited: The limit is reached, and the request does not wait.
            ActiveCampaignError: There is no answer, or only one of a rate limit.
        """
        self._waits = waits
        content = None if body is None else msgspec.json.encode(body)
        try:
            self._call(method, path, lambda _: None, query=query, body=content, kind=kind)
        except LimitReached:
            raise
        except (RequestRefused, MalformedAnswer):
            pass  # these are answers
        assert self._last is not None  # noqa: S101 - a refusal is an answer
        return Reply(self._last.status, _content_of(self._last))

    def _max_seconds(self, error: ActiveCampaignError) -> float:
        if isinstance(error, MalformedAnswer) or (
            isinstance(error, ImportRateLimited) and not self._waits
        ):
            return -1.0
        return super()._max_seconds(error)

    def _exchange(self, where: str, query: Any, body: bytes | None) -> Answer:
        answer = super()._exchange(where, query, body)
        self._last = answer
        if self.recorder is not None:
            self.recorder.record(where, query, body, answer)
        return answer


@dataclass
class Subject:
    """A contact that an experiment works with.

    Attributes:
        number: Its number.
        email: Its address.
        id: Its id, once it was read.
    """

    number: int
    email: str
    id: int = 0


@dataclass
class Posted:
    """An import that was posted.

    Attributes:
        reply: The answer.
        sent: Number of its entries.
        posted: The moment of posting, by this machine's clock for durations.
        is_done: Whether it was applied, or refused.
        seconds: The time that it took to be applied; None if it was not.
        result: The last answer of `GET /import/info`.
    """

    reply: Reply
    sent: int
    posted: float
    is_done: bool = False
    seconds: float | None = None
    result: Reply | None = None

    @property
    def batch_id(self) -> str:
        """The import's id; empty if it was refused."""
        found = self.reply.get("batchId") if self.reply.ok else None
        return found if isinstance(found, str) else ""

    def result_of(self, name: str) -> list[str]:
        """Return what its result lists under `success` or `failure`, as text."""
        found = self.result.get(name) if self.result else None
        return [str(one) for one in found] if isinstance(found, list) else []


@dataclass
class Lab:
    """The account as experiments may use it.

    Args:
        client: The client.
        list_id: The list for the verification.
        marks: Its marks.
        stop: Asks to end the verification.
        max_seconds: The longest time that an import may take.
    """

    client: LabClient
    list_id: int
    marks: Marks
    stop: StopRequest
    max_seconds: float = 600.0  # an import of a few contacts takes some seconds
    imports: list[Posted] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)
    findings: dict[str, Finding] = field(default_factory=dict)
    is_finishing: bool = False
    _filler: Subject | None = None
    _next_step: float = 0.0

    def found(self, fact: str, value: str) -> None:
        """Note what was seen of a fact."""
        self.findings[fact] = Finding(BY_NAME[fact], value)

    def unclear(self, fact: str, reason: str) -> None:
        """Note why a fact could not be settled, unless it was."""
        self.findings.setdefault(fact, Finding(BY_NAME[fact], None, reason))

    def field(self, text: str, kind: str, *options: str, shown: bool = True) -> int:
        """Make a custom field, and return its id.

        Args:
            text: A word for its title.
            kind: Its type, as the API names it.
            options: Its options.
            shown: Whether the list shows it.
        """
        self.stop.check()
        item = {"title": self.marks.title(text), "type": kind, "visible": 1}
        reply = self.client.send("POST", "/fields", body={"field": item})
        number = reply.made("field")
        if number is None:
            raise LabError(f"The custom field can't be made (status {reply.status}).")
        if shown:
            self.client.show_field(number, self.list_id)
        if options:
            self.client.add_options(number, options)
        return number

    def let_a_second_pass(self) -> None:
        """Let a second pass before the next steps, as the API's times have whole seconds."""
        self._next_step = time.monotonic() + _ABOVE_A_SECOND

    def subject(self) -> Subject:
        """Return a new subject. Its contact is made by the first import that has it."""
        if len(self.subjects) == MAX_CONTACTS:
            raise LabError(f"A verification makes {MAX_CONTACTS} contacts at most.")
        number = len(self.subjects) + 1
        one = Subject(number, self.marks.address(number))
        self.subjects.append(one)
        return one

    def entry(self, subject: Subject, *, subscribe: bool = False, **values: Any) -> dict[str, Any]:
        """Return a contact as an import takes it.

        Args:
            subject: The subject.
            subscribe: Whether it is added to the list.
            values: Its values, as the API names them.
        """
        lists = {"subscribe": [{"listid": self.list_id}]} if subscribe else {}
        return {"email": subject.email, "last_name": NAME, **values, **lists}

    def post(self, *entries: dict[str, Any], alone: bool = False) -> Posted:
        """Post an import. It starts no automation.

        Args:
            entries: Its contacts.
            alone: Whether an import of one contact is sent as such. The account takes few of them
                a minute, so other ones get a second contact.
        """
        self.stop.check()
        if len(entries) == 1 and not alone:
            self._filler = self._filler or self.subject()
            entries = (*entries, self.entry(self._filler))
        if len(self.imports) == MAX_IMPORTS:
            raise LabError(f"A verification sends {MAX_IMPORTS} imports at most.")
        marked = [{**one, "exclude_automations": True} for one in entries]
        # Reserved first: an import whose answer is lost counts too.
        one = Posted(Reply(0, None), len(entries), time.monotonic())
        self.imports.append(one)
        try:
            one.reply = self.client.send(
                "POST",
                "/import/bulk_import",
                body={"contacts": marked, "exclude_automations": True},
                # A single import is sent to find its limit, so it does not wait for a budget.
                kind="request" if alone else "import",
                waits=not alone,
            )
        finally:
            one.is_done = not one.batch_id
        return one

    def wait(self) -> None:
        """Wait until all imports are applied, and the next steps may be taken.

        Raises:
            StoppedError: The verification is to end.
        """
        for one in self.imports:
            self._wait_for(one)
        time.sleep(max(0.0, self._next_step - time.monotonic()))

    def finish(self) -> None:
        """Wait until all imports are applied, also after a request to stop.

        They would make contacts after the cleaning up.
        """
        self.is_finishing = True
        with suppress(ActiveCampaignError):
            self.wait()

    def _wait_for(self, one: Posted) -> None:
        looks = 0
        while not one.is_done:
            if not self.is_finishing:
                self.stop.check()
            one.result = self.client.send("GET", "/import/info", query={"batchId": one.batch_id})
            seconds = time.monotonic() - one.posted
            if _is_applied(one.result):
                one.is_done = True
                one.seconds = seconds
            elif seconds > self.max_seconds:
                one.is_done = True
            else:
                time.sleep(_POLL_SECONDS[min(looks, len(_POLL_SECONDS) - 1)])
                looks += 1

    # Reading back

    def find(self, subject: Subject) -> Contact | None:
        """Return a contact; None if the account does not have it."""
        contact = self.client.find_contact(subject.email)
        if contact is not None:
            subject.id = contact.id
        return contact

    def read(self, subject: Subject) -> Contact:
        """Return a contact.

        Raises:
            LabError: The account does not have it.
        """
        contact = self.find(subject)
        if contact is None:
            raise LabError("The account does not have the contact of the experiment.")
        return contact

    def field_values(self, subject: Subject) -> dict[int, str]:
        """Return a contact's values of custom fields, by field id."""
        found = self.client.contact_field_values(self.id_of(subject))
        return {one.field_id: one.value for one in found}

    def tags(self, subject: Subject) -> set[int]:
        """Return the ids of a contact's tags."""
        return set(self.client.contact_tags(self.id_of(subject)))

    def membership(self, subject: Subject) -> Membership | None:
        """Return a contact's membership of the list; None if it was never on it."""
        found = self.client.memberships(self.id_of(subject))
        return next((one for one in found if one.list_id == self.list_id), None)

    def set_status(self, subject: Subject, status: int, **more: Any) -> Reply:
        """Set the status of a contact on the list by `POST /contactLists`."""
        item = {"list": self.list_id, "contact": self.id_of(subject), "status": status, **more}
        return self.client.send("POST", "/contactLists", body={"contactList": item})

    def id_of(self, subject: Subject) -> int:
        """Return the id of a contact.

        Raises:
            LabError: The account does not have it.
        """
        return subject.id or self.read(subject).id


class LabError(Exception):
    """An experiment can't go on; its text is the reason."""


def unknown_batch_id() -> str:
    """Return a batch id that no import has."""
    return str(uuid.uuid4())


def explain(error: Exception) -> str:
    """Return why an experiment ended early, as a sentence."""
    if isinstance(error, ActiveCampaignError):
        return f"A request failed: {error.brief} ({error.where})."
    return str(error)


def ids_of(objects: Iterable[dict[str, Any]]) -> list[int]:
    """Return the ids of objects; those without a valid one are left out."""
    texts = (str(one.get("id", "")) for one in objects)
    return [int(text) for text in texts if text.isdecimal()]


def _is_applied(reply: Reply) -> bool:
    return reply.ok and reply.get("status") in ("completed", "failed", "interrupted")


def _content_of(answer: Answer) -> Any:
    try:
        return parse_json(answer.body)
    except ValueError:
        return None
