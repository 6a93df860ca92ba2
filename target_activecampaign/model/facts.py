"""Open facts about ActiveCampaign's API: what this target assumes, and what it does if it differs.

`--verify` settles them by experiment on a real account. For the sources of the assumptions see
docs/verify.md: most of these facts are not documented, or reports contradict each other.
"""

from __future__ import annotations

from typing import NamedTuple

ANY = "any"
"""The assumption about a fact of which every value is fine."""


class Fact(NamedTuple):
    """An open fact.

    Attributes:
        name: Its name, for the ledger, JSON and the sandbox, whose switch has the same name.
        question: The question that the experiment answers.
        assumed: The value that this target assumes; `ANY` if it needs no assumption.
        values: All values that can be seen; empty if it is a number or a text.
        effect: What it means for a run if something else was seen, as a sentence.
        adapts: Whether the target works all the same. If not, a person has to decide.
    """

    name: str
    question: str
    assumed: str
    values: tuple[str, ...]
    effect: str
    adapts: bool = True


FACTS: tuple[Fact, ...] = (
    # Imports that are refused
    Fact(
        "index_base",
        "From which number does failureReasons count contacts?",
        "1",
        ("1", "0"),
        "Runs count from the number that was seen.",
    ),
    Fact(
        "bad_email",
        "Is an import with a malformed address refused, or is only that contact dropped?",
        "refuse",
        ("refuse", "drop"),
        "Runs handle both. Most malformed addresses are rejected before they are sent.",
    ),
    Fact(
        "failure_reasons",
        "Does a refused import name all bad contacts, or only the first?",
        "all",
        ("all", "first"),
        "Runs handle both. With `first`, each bad contact costs one more import.",
    ),
    Fact(
        "too_many",
        "What happens to an import with more than 250 contacts?",
        "refuse",
        ("refuse", "accept", "truncate"),
        "Runs never send more than 250.",
    ),
    Fact(
        "too_large",
        "What happens to an import with more than 399,999 bytes?",
        "refuse",
        ("refuse", "accept"),
        "Runs never send more.",
    ),
    Fact(
        "unknown_batch",
        "What is the answer for an unknown batch id?",
        "bad_request",
        ("bad_request", "empty", "not_found", "false"),
        "Runs handle all of these answers.",
    ),
    # The import queue
    Fact(
        "success_lists",
        "Does an import's result list only new contacts, or all?",
        "created",
        ("created", "all"),
        "Runs handle both.",
    ),
    Fact(
        "queued_contacts",
        "Does queued_contacts leave out contacts that the import will skip?",
        "sent",
        ("sent", "accepted"),
        "Runs don't rely on the number: they look up what is missing.",
    ),
    Fact(
        "same_person_twice",
        "Which of two entries for one person in an import counts?",
        "merged",
        ("merged", "last", "first"),
        "Runs send each person once in an import.",
    ),
    Fact(
        "latency",
        "How many seconds does the queue need for an import (median)?",
        ANY,
        (),
        "Runs wait for as long as it takes.",
    ),
    # Memberships
    Fact(
        "opted_out",
        "What does an import with `subscribe` do to a contact that left the list?",
        "skip",
        ("skip", "update", "subscribe"),
        "Runs handle `skip` and `update`. With `subscribe`, an import undoes an opt-out.",
    ),
    Fact(
        "opted_out_without_list",
        "Does an import without `subscribe` update a contact that left the list?",
        "update",
        ("update", "skip"),
        "`on_opted_out: update` can't work. Leave it at `reject`.",
        adapts=False,
    ),
    Fact(
        "unsubscribe_stranger",
        "Does an import record an opt-out if it unsubscribes a contact that was never on the list?",
        ANY,
        ("record", "ignore"),
        "Runs only unsubscribe members.",
    ),
    Fact(
        "resubscribe_with_sourceid",
        "Does POST /contactLists with sourceid 4 make an opted-out contact active?",
        "yes",
        ("yes", "no"),
        "A mirror can't re-subscribe contacts that it has unsubscribed. They are rejected.",
        adapts=False,
    ),
    Fact(
        "resubscribe_without_sourceid",
        "Does POST /contactLists without sourceid make an opted-out contact active?",
        ANY,
        ("yes", "no"),
        "Runs always send it.",
    ),
    Fact(
        "sdate_on_reactivation",
        "Is a membership's sdate renewed when it becomes active again?",
        ANY,
        ("renew", "keep"),
        "Runs read both dates.",
    ),
    Fact(
        "udate_on_reactivation",
        "Does a membership keep its udate when it becomes active again?",
        "keep",
        ("keep", "clear"),
        "Without that date, a mirror can't see who came back, so it removes fewer contacts.",
    ),
    Fact(
        "membership_updates_contact",
        "Does filters[updated_after] find a contact that has just opted out?",
        "no",
        ("no", "yes"),
        "Runs read only changed contacts for new opt-outs, unless `opt_outs_update_contacts` is"
        " set.",
    ),
    # Values
    Fact(
        "empty_name",
        "Does an empty first name in an import clear the name?",
        "clear",
        ("clear", "keep"),
        "`null_policy: clear` stops the run, as names would stay.",
    ),
    Fact(
        "empty_phone",
        "Does an empty phone number in an import clear the number?",
        "clear",
        ("clear", "keep"),
        "`null_policy: clear` stops the run, as phone numbers would stay.",
    ),
    Fact(
        "empty_field",
        "Does an empty value of a custom field in an import clear the value?",
        "clear",
        ("clear", "keep"),
        "`null_policy: clear` stops the run, as values would stay.",
    ),
    Fact(
        "option_case",
        "Is a value that differs from an option only in case stored as the option?",
        ANY,
        ("exact", "ignore"),
        "Runs send options as the field spells them.",
    ),
    Fact(
        "unknown_option",
        "What happens to a value that is not an option of its field?",
        ANY,
        ("store", "drop", "refuse"),
        "Runs check options before they send.",
    ),
    Fact(
        "emoji",
        "Are emoji kept?",
        "keep",
        ("keep", "replace", "cut"),
        "Values with emoji don't arrive as they are. Remove emoji in the source.",
        adapts=False,
    ),
    Fact(
        "longest_value",
        "To how many characters is a value of 65,000 characters cut? (0: it is not cut)",
        "0",
        (),
        "Longer values are cut. Shorten them in the source.",
        adapts=False,
    ),
    Fact(
        "unrelated_field",
        "What happens to a value of a field that no list shows?",
        "store",
        ("store", "hide", "not_found"),
        "Runs show the fields that they create. Show your own on the list, or on all lists.",
    ),
    Fact(
        "split_tags",
        "Is a tag with a comma several tags?",
        "no",
        ("no", "yes"),
        "Tags with commas arrive as several. Remove commas in the source.",
        adapts=False,
    ),
    Fact(
        "tag_case",
        "Are tags that differ only in case one tag?",
        "ignore",
        ("ignore", "exact"),
        "Spell tags as the account does, or it gets a second tag.",
    ),
    # Addresses
    Fact(
        "rename_contact",
        "Can a contact get another address?",
        "rename",
        ("rename", "refuse"),
        "`person_key` can't follow people to a new address. Their records are rejected.",
        adapts=False,
    ),
    Fact(
        "rename_opted_out",
        "Can a contact that has opted out get another address?",
        "rename",
        ("rename", "refuse"),
        "Runs don't try it: they reject such records at once.",
    ),
    # Reading
    Fact(
        "large_limit",
        "What does a limit of 200 do, above the documented 100?",
        "lower",
        ("lower", "honour", "refuse"),
        "If it is honoured, runs read 200 contacts per page, with half of the requests.",
    ),
    Fact(
        "listid_alone",
        "Which contacts does `listid` select without a status?",
        ANY,
        ("any", "active"),
        "Runs always name the status.",
    ),
    Fact(
        "ids_filter",
        "Does `ids[]` select contacts?",
        "applied",
        ("applied", "ignored"),
        "A contact that subscribes again is rejected until the next full reading of opt-outs.",
    ),
    Fact(
        "include",
        "Does `include=contactLists` add memberships to contacts?",
        ANY,
        ("yes", "no"),
        "The target does not use it.",
    ),
    Fact(
        "exclusions",
        "Can the exclusion list be read?",
        "yes",
        ("yes", "no"),
        "Runs don't know excluded contacts before the import refuses them.",
    ),
    # Clock and limits
    Fact(
        "clock_offset",
        "By how many seconds does the account's clock differ from this machine's?",
        ANY,
        (),
        "Runs use the account's clock.",
    ),
    Fact(
        "time_zone",
        "Which offset from UTC do the account's times have?",
        ANY,
        (),
        "Runs read the offset of each time.",
    ),
    Fact(
        "single_imports_per_minute",
        "How many imports of one contact are accepted per minute? (only with --limits)",
        "20",
        (),
        "Set `single_imports_per_minute` to this number.",
    ),
)
"""All facts, in the order in which they are shown."""

BY_NAME = {one.name: one for one in FACTS}
