"""The switches of the sandbox: name, choices, default, and what is known of the real API.

The command line, its help, the table in docs/sandbox-behaviour.md and `--facts` are made from this
class.
If the real API's behaviour is not documented, the default is what was recorded or reported, else
the variant that is hardest for a client; the other choices select other behaviours.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

Mark = Literal["doc", "rec", "rep", "unv", "own"]
"""The source of a default: documented, recorded, reported, unverified, or the sandbox's own."""


class Switch(NamedTuple):
    """The definition of a switch.

    Attributes:
        name: Its name in `Options`, and with underscores in a file of facts.
        default: Its default; the type says whether it is a text or a number.
        choices: All its values, the default first; empty if it takes any text or number.
        mark: The source of the default.
        text: A description, as a noun clause.
        minimum: The least number; None for any, also below zero.
    """

    name: str
    default: str | int | float
    choices: tuple[str, ...]
    mark: Mark
    text: str
    minimum: float | None = 0

    @property
    def option(self) -> str:
        """The switch as it is written on the command line."""
        return f"--{self.name.replace('_', '-')}"


def _choice(text: str, mark: Mark, default: str, *others: str) -> Any:
    """Define a switch with choices."""
    return field(default=default, metadata={"text": text, "mark": mark, "choices": others})


def _value(text: str, mark: Mark, default: float | str, minimum: float | None = 0) -> Any:
    """Define a switch that takes any number, or any text if its default is one."""
    return field(default=default, metadata={"text": text, "mark": mark, "minimum": minimum})


@dataclass(frozen=True)
class Options:
    """The switches of a sandbox; times are in seconds, and a limit of 0 is no limit."""

    # The account
    api_key: str = _value("key that requests must send as Api-Token", "own", "sandbox-key")
    shapes: str = _choice("year of the recorded key sets that answers have", "rec", "2026", "2021")
    time_zone: str = _value(
        "the account's time zone, by its name or as an offset such as +02:00",
        "rec",
        "America/Chicago",
    )
    clock_offset: float = _value(
        "seconds that the account's clock is ahead of this machine's; negative: behind",
        "unv",
        0.0,
        None,
    )
    strict_queries: str = _choice(
        "whether a query parameter that the sandbox does not know is refused; if not, it is"
        " logged once",
        "own",
        *("no", "yes"),
    )
    keep_bodies: str = _choice(
        "whether the bodies of requests are kept, for `GET /_sandbox/bodies`",
        "own",
        *("no", "yes"),
    )

    # Keys and limits
    bad_key: str = _choice(
        "answer to a wrong key: 403, 401, or 200 with a login page",
        "doc",
        *("forbidden", "unauthorized", "login_page"),
    )
    requests_per_second: int = _value("limit of requests per second, for all keys", "doc", 5)
    rate_limit_status: str = _choice(
        "status of a request above the limit per second; 503 was reported", "doc", "429", "503"
    )
    imports_in_rate: str = _choice("whether imports also count as requests", "unv", "yes", "no")
    multi_imports_per_minute: int = _value(
        "limit of imports with several contacts per minute", "doc", 100
    )
    single_imports_per_minute: int = _value(
        "limit of imports with exactly one contact per minute", "doc", 20
    )
    window: float = _value("seconds that count as a minute for the import limits", "unv", 60.0)
    window_kind: str = _choice(
        "kind of window in which limits are counted", "unv", "sliding", "fixed"
    )
    count_refused: str = _choice(
        "whether requests that a limit refuses count toward it", "unv", "no", "yes"
    )

    # Imports: what is refused at once
    contacts_per_import: int = _value("limit of contacts per import", "doc", 250)
    too_many: str = _choice(
        "result of an import with too many contacts: refused, taken as a whole, or cut to the"
        " limit",
        "unv",
        *("refuse", "accept", "truncate"),
    )
    too_many_status: str = _choice(
        "status of an import that is refused for too many contacts", "unv", "400", "413", "422"
    )
    body_bytes: int = _value("limit of bytes per import", "doc", 399_999)
    too_large: str = _choice("result of an import with too many bytes", "unv", "refuse", "accept")
    too_large_status: str = _choice(
        "status of an import that is refused for too many bytes", "unv", "400", "413"
    )
    bad_email: str = _choice(
        "whether a malformed address refuses the import, or is dropped into `failure`",
        "unv",
        *("refuse", "drop"),
    )
    apostrophe: str = _choice(
        "whether an address with an apostrophe is accepted, or dropped into `failure`",
        "unv",
        *("accept", "drop"),
    )
    index_base: str = _choice(
        "number of an import's first contact in `failureReasons`; alternating: 1 and 0 in turn",
        "rep",
        *("1", "0", "alternating"),
    )
    failure_reasons: str = _choice(
        "bad contacts that a refused import names", "unv", "all", "first"
    )
    success_key: str = _choice(
        "spelling of `success` in an import's answer; Success is documented",
        "rec",
        *("success", "Success"),
    )
    queued_contacts: str = _choice(
        "count in `queued_contacts`: without excluded contacts, all that were sent, or without"
        " the contacts that the queue will refuse",
        "doc",
        *("without_excluded", "sent", "accepted"),
    )
    exclude_automations: str = _choice(
        "place where `exclude_automations` has an effect", "unv", "anywhere", "top", "contact"
    )

    # Imports: the queue
    latency: float = _value("seconds until an accepted import is applied", "rec", 7.0)
    false_status: float = _value("seconds for which a new import's status is false", "doc", 0.2)
    unknown_batch: str = _choice(
        "answer to an unknown batchId: 400 as for a missing one, 200 with an empty body, 404, or"
        " status false for ever",
        "rep",
        *("bad_request", "empty", "not_found", "false"),
    )
    success_lists: str = _choice(
        "contacts that are listed under `success`: new ones, or all; all was reported",
        "doc",
        *("created", "all"),
    )
    account_limit: int = _value("limit of contacts in the account", "doc", 0)
    account_limit_as: str = _choice(
        "result for contacts beyond the account limit: in `failure`, or the import's status is"
        " failed",
        "unv",
        *("failure", "failed"),
    )
    deleted_list: str = _choice(
        "result of a queued import that names a deleted list: the list is ignored, or the"
        " import's status is failed",
        "unv",
        *("ignore", "fail"),
    )
    same_person_twice: str = _choice(
        "entries of an import with the same address that count: all, one after the other; the"
        " last; the first",
        "unv",
        *("merged", "last", "first"),
    )

    # Memberships
    opted_out: str = _choice(
        "result for a contact that an import would add to a list that it has left: skipped, or"
        " updated without the list (in `failure` either way), or subscribed again",
        "doc",
        *("skip", "update", "subscribe"),
    )
    opted_out_without_list: str = _choice(
        "whether an import without `subscribe` updates a contact that has left a list, or skips"
        " it into `failure`",
        "doc",
        *("update", "skip"),
    )
    unsubscribe_stranger: str = _choice(
        "whether it is recorded as an opt-out if an import unsubscribes a contact from a list it"
        " was never on",
        "unv",
        *("record", "ignore"),
    )
    resubscribe_with_sourceid: str = _choice(
        "whether `POST contactLists` with sourceid 4 makes an opted-out contact active; if not,"
        " nothing changes",
        "doc",
        *("yes", "no"),
    )
    resubscribe_without_sourceid: str = _choice(
        "the same without that sourceid", "rep", *("yes", "no")
    )
    sdate_on_reactivation: str = _choice(
        "whether a re-activation renews `sdate`; reports contradict each other",
        "rep",
        *("renew", "keep"),
    )
    udate_on_reactivation: str = _choice(
        "whether a re-activation keeps `udate`, the date of the opt-out", "rep", "keep", "clear"
    )
    membership_updates_contact: str = _choice(
        "whether a changed membership also counts as a change of the contact, for its udate and"
        " `filters[updated_after]`",
        "unv",
        *("no", "yes"),
    )

    # Values
    empty_name: str = _choice(
        "whether an import's empty first or last name clears the name", "unv", "clear", "keep"
    )
    empty_phone: str = _choice(
        "whether an import's empty phone number clears the number", "unv", "clear", "keep"
    )
    empty_field: str = _choice(
        "whether an import's empty value of a field clears the value", "unv", "clear", "keep"
    )
    option_case: str = _choice(
        "whether a value must have the case of its field's option, or is saved as the option that"
        " it equals without case",
        "unv",
        *("exact", "ignore"),
    )
    unknown_option: str = _choice(
        "result of a value that is none of its field's options: stored as it is, dropped, or the"
        " contact is refused (in `failure`; 422 outside of imports)",
        "rep",
        *("store", "drop", "refuse"),
    )
    emoji: str = _choice(
        "emoji in names, phone numbers and values: kept, each replaced by ?, or the text ends"
        " before the first",
        "unv",
        *("keep", "replace", "cut"),
    )
    longest_value: int = _value("characters to which a field's value is cut", "unv", 0)
    unrelated_field: str = _choice(
        "value of a field without a fieldRel: stored and shown, stored but not shown, or the field"
        " does not exist (404; ignored in imports)",
        "unv",
        *("store", "hide", "not_found"),
    )
    split_tags: str = _choice(
        "whether an import's tag with commas is several tags", "unv", "no", "yes"
    )
    tag_case: str = _choice(
        "whether tags that differ only in case are one tag", "doc", "ignore", "exact"
    )
    duplicate_tag: str = _choice(
        "answer to the creation of an existing tag: 200 with it, or 422; both were reported",
        "rep",
        *("existing", "refuse"),
    )
    invalid_email_status: str = _choice(
        "status for a malformed address outside of imports", "rep", "422", "400"
    )
    rename_contact: str = _choice(
        "whether `PUT contacts/:id` may change the address", "rec", "rename", "refuse"
    )
    rename_opted_out: str = _choice(
        "the same for a contact that has opted out of a list", "unv", "rename", "refuse"
    )

    # Queries
    exclusions: str = _choice(
        "whether `lists/exclusions` can be read; if not, it is a 403", "doc", "yes", "no"
    )
    page_cap: int = _value("largest page", "doc", 100)
    large_limit: str = _choice(
        "effect of a `limit` above that: lowered to it, honoured, or refused with 400",
        "unv",
        *("lower", "honour", "refuse"),
    )
    listid_alone: str = _choice(
        "contacts that `listid` selects without a status: with any status, or active ones",
        "unv",
        *("any", "active"),
    )
    ids_filter: str = _choice(
        "whether `ids[]` of `GET contacts` has an effect", "doc", "applied", "ignored"
    )
    include: str = _choice(
        "whether `GET contacts` serves `include`; if not, it has no effect", "doc", "yes", "no"
    )

    def without_limits(self) -> Options:
        """Return the same options without limits."""
        return replace(
            self,
            requests_per_second=0,
            multi_imports_per_minute=0,
            single_imports_per_minute=0,
            contacts_per_import=0,
            body_bytes=0,
            account_limit=0,
        )


def switches() -> tuple[Switch, ...]:
    """Return the definitions of all switches, in their order."""
    defined = []
    for one in fields(Options):
        default: Any = one.default
        others = one.metadata.get("choices")
        defined.append(
            Switch(
                one.name,
                default,
                () if others is None else (default, *others),
                one.metadata["mark"],
                one.metadata["text"],
                one.metadata.get("minimum"),
            )
        )
    return tuple(defined)
