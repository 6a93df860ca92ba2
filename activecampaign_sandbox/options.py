"""The options of the sandbox: default, choices and help text of each.

The command line is generated from this class. If the real API's behaviour is not documented, the
default is the variant that is hardest for a client, and the option selects another.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


def _option(default: Any, text: str, *choices: str) -> Any:
    return field(default=default, metadata={"help": text, "choices": choices or None})


@dataclass(frozen=True)
class Options:
    """The options of a sandbox; times are in seconds, and a limit of 0 is no limit."""

    api_key: str = _option("sandbox-key", "key that requests must send as Api-Token")
    latency: float = _option(7.0, "seconds until an accepted import is applied")
    false_status: float = _option(0.2, "seconds for which a new import's status is false")

    requests_per_second: int = _option(5, "limit of requests per second, for all keys together")
    multi_imports_per_minute: int = _option(
        100, "limit of imports with several contacts per minute"
    )
    single_imports_per_minute: int = _option(
        20, "limit of imports with exactly one contact per minute"
    )
    contacts_per_import: int = _option(250, "limit of contacts per import")
    body_bytes: int = _option(399_999, "limit of bytes per import")
    account_limit: int = _option(0, "limit of contacts in the account; 0 is none")

    window: float = _option(60.0, "seconds that count as a minute for the import limits")
    window_kind: str = _option(
        "sliding", "kind of window in which limits are counted", "sliding", "fixed"
    )
    count_refused: str = _option(
        "no", "whether refused requests count toward the limits", "no", "yes"
    )
    imports_in_rate: str = _option("yes", "whether imports also count as requests", "yes", "no")

    rate_limit_status: str = _option(
        "429", "status of a request above the limit per second", "429", "503"
    )
    bad_key: str = _option(
        "forbidden", "answer to a wrong key", "forbidden", "unauthorized", "login_page"
    )
    too_many_status: str = _option(
        "400", "status of an import with too many contacts", "400", "413", "422"
    )
    too_large_status: str = _option("400", "status of an import with too many bytes", "400", "413")
    bad_email: str = _option(
        "refuse", "refuse an import with a malformed address, or drop the contact", "refuse", "drop"
    )
    apostrophe: str = _option(
        "accept", "accept or drop an address with an apostrophe", "accept", "drop"
    )
    failure_reasons: str = _option(
        "all", "bad contacts that a refused import names", "all", "first"
    )
    index_base: str = _option(
        "1", "number of an import's first contact in failureReasons", "1", "0"
    )
    success_key: str = _option(
        "success", "spelling of the key success in an import's answer", "success", "Success"
    )
    success_lists: str = _option(
        "created", "contacts that are listed under success", "created", "all"
    )
    unknown_batch: str = _option(
        "not_found", "answer to an unknown batchId", "not_found", "bad_request", "false"
    )
    opted_out: str = _option(
        "skip", "skip or update a contact that is rejected as opted out", "skip", "update"
    )
    rename_opted_out: str = _option(
        "rename",
        "rename a contact that has opted out of a list, or refuse its new address",
        "rename",
        "refuse",
    )
    unsubscribe_stranger: str = _option(
        "record",
        "record or ignore that a contact unsubscribes from a list it was never on",
        "record",
        "ignore",
    )
    membership_updates_contact: str = _option(
        "no",
        "whether a changed membership also counts as a change of the contact, for its udate and"
        " filters[updated_after]",
        "no",
        "yes",
    )
    account_limit_as: str = _option(
        "failure", "result for contacts beyond the account limit", "failure", "failed"
    )
    duplicate_tag: str = _option(
        "existing", "answer to the creation of an existing tag", "existing", "refuse"
    )
    invalid_email_status: str = _option(
        "422", "status for a malformed address outside of imports", "422", "400"
    )
    page_cap: int = _option(100, "largest page; a higher limit is lowered to it")

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
