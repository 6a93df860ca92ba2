"""Every switch of the sandbox once: its default, its choices and what it means.

The command line is made from this class. Where the real API's behaviour is not documented, the
default is the reading that is hardest on a client, and the switch gives the other one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


def _option(default: Any, text: str, *choices: str) -> Any:
    return field(default=default, metadata={"help": text, "choices": choices or None})


@dataclass(frozen=True)
class Options:
    """What one sandbox does; times are in seconds, and a limit of 0 is no limit."""

    api_key: str = _option("sandbox-key", "the key that requests must carry as Api-Token")
    latency: float = _option(7.0, "seconds until an accepted import is applied")
    false_status: float = _option(0.2, "seconds during which an import's status is false")

    requests_per_second: int = _option(5, "requests a second, all keys together")
    multi_imports_per_minute: int = _option(100, "imports of several contacts a minute")
    single_imports_per_minute: int = _option(20, "imports of exactly one contact a minute")
    contacts_per_import: int = _option(250, "contacts an import may hold")
    body_bytes: int = _option(399_999, "bytes an import's body may hold")
    account_limit: int = _option(0, "contacts the account may hold")

    window: float = _option(60.0, "seconds that the import limits count as a minute")
    window_kind: str = _option("sliding", "how limits are counted", "sliding", "fixed")
    count_refused: str = _option("no", "refused requests use up the limit too", "no", "yes")
    imports_in_rate: str = _option("yes", "imports also count as requests", "yes", "no")

    rate_limit_status: str = _option("429", "status beyond requests a second", "429", "503")
    bad_key: str = _option(
        "forbidden", "answer to a wrong key", "forbidden", "unauthorized", "login_page"
    )
    too_many_status: str = _option("400", "status for too many contacts", "400", "413", "422")
    too_large_status: str = _option("400", "status for too large a body", "400", "413")
    bad_email: str = _option(
        "refuse", "a malformed address refuses the import or only its contact", "refuse", "drop"
    )
    apostrophe: str = _option(
        "accept", "an address with an apostrophe is taken or dropped", "accept", "drop"
    )
    failure_reasons: str = _option("all", "bad contacts that a refusal names", "all", "first")
    index_base: str = _option("1", "number of an import's first contact", "1", "0")
    success_key: str = _option("success", "spelling in an import's answer", "success", "Success")
    success_lists: str = _option("created", "contacts that success lists", "created", "all")
    unknown_batch: str = _option(
        "not_found", "answer for an unknown batchId", "not_found", "bad_request", "false"
    )
    opted_out: str = _option(
        "skip", "a contact refused for its opt-out is still updated or not", "skip", "update"
    )
    unsubscribe_stranger: str = _option(
        "record", "unsubscribing someone who never was on the list", "record", "ignore"
    )
    account_limit_as: str = _option(
        "failure", "contacts beyond the account limit", "failure", "failed"
    )
    duplicate_tag: str = _option(
        "existing", "answer when a tag's name exists", "existing", "refuse"
    )
    invalid_email_status: str = _option(
        "422", "status for a malformed address outside of imports", "422", "400"
    )
    page_cap: int = _option(100, "largest page; a higher limit is lowered to it")

    def without_limits(self) -> Options:
        """The same options with every limit off."""
        return replace(
            self,
            requests_per_second=0,
            multi_imports_per_minute=0,
            single_imports_per_minute=0,
            contacts_per_import=0,
            body_bytes=0,
            account_limit=0,
        )
