"""The codes that a refused or skipped record can have, each with its meaning and what to do.

Codes are stable: they stand in reject files and reports, and other tools may rely on them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A reason for which a record was refused.

    Attributes:
        meaning: What happened.
        advice: What to do about it.
        ours: True for a record that we refused before sending (`invalid`), False for a
            contact that ActiveCampaign refused (`rejected`).
        retried: Whether the run had sent the contact again, several times and then alone,
            before it was refused.
        skips: True for a record that is `skipped`, not refused: it is in no reject file.
    """

    meaning: str
    advice: str
    ours: bool
    retried: bool = False
    skips: bool = False

    @property
    def kind(self) -> str:
        """How records with this code are counted."""
        if self.skips:
            return "skipped"
        return "invalid" if self.ours else "rejected"


CODES: dict[str, Code] = {
    "EMAIL_MISSING": Code(
        "The record has no e-mail address, and a contact can't be without one.",
        "Fill in the address in the source, or leave such profiles out of the segment.",
        ours=True,
    ),
    "EMAIL_INVALID": Code(
        "The e-mail address is not one that can receive mail.",
        "Correct the address in the source.",
        ours=True,
    ),
    "RECORD_INVALID": Code(
        "The record does not fit the schema or the key properties that its stream announced, or "
        "can't be read.",
        "Mend the tap or its catalog. If it only breaks a rule of the schema, you can set "
        "'validate_records' to false.",
        ours=True,
    ),
    "VALUE_INVALID": Code(
        "A value can't be put into the form that its custom field has.",
        "Correct the value in the source, or map the property to a field of another type.",
        ours=True,
    ),
    "FIELD_OPTION_UNKNOWN": Code(
        "A choice is none of the options that its custom field has.",
        "Add the option in ActiveCampaign, correct the value in the source, or see "
        "'on_unknown_option'.",
        ours=True,
    ),
    "CONTACT_TOO_LARGE": Code(
        "The contact alone is larger than ActiveCampaign's import may be (399,999 bytes).",
        "Shorten the long values, or leave them out of the mapping.",
        ours=True,
    ),
    "REFUSED_BY_IMPORT": Code(
        "ActiveCampaign's import refused the contact.",
        "Look the person up in ActiveCampaign; more than 'diagnose_limit' in a run are not asked "
        "about one by one.",
        ours=False,
    ),
    "OPTED_OUT": Code(
        "The person has unsubscribed from the list, and the import does not undo that.",
        "Leave it so. Only the person can subscribe again, through a form of yours.",
        ours=False,
    ),
    "BOUNCED": Code(
        "Mail to the address has bounced, and ActiveCampaign takes it no more.",
        "Find the person's current address, or leave the profile out of the segment.",
        ours=False,
    ),
    "NOT_CREATED": Code(
        "ActiveCampaign did not make a contact of the address, and does not say why.",
        "See whether the address or its domain is on the account's exclusion list.",
        ours=False,
    ),
    "ACCOUNT_LIMIT": Code(
        "ActiveCampaign made none of the import's new contacts: the account seems to be full.",
        "Compare the contacts in the account with its plan, and raise the plan or make room.",
        ours=False,
    ),
    "NOT_IMPORTED": Code(
        "ActiveCampaign's answers do not show that it imported the contact, and it was not found "
        "to be as it was sent.",
        "Look the person up in ActiveCampaign, and pipe the reject file in again. More than "
        "'diagnose_limit' in a run are not looked for.",
        ours=False,
    ),
    "IMPORT_FAILED": Code(
        "ActiveCampaign's import ended without importing the contact, alone and repeatedly.",
        "Pipe the reject file in again later; if it fails again, ask ActiveCampaign's support.",
        ours=False,
        retried=True,
    ),
    "IMPORT_LOST": Code(
        "ActiveCampaign accepted the contact's import and then did not know it, repeatedly.",
        "Pipe the reject file in again later; if it fails again, ask ActiveCampaign's support.",
        ours=False,
        retried=True,
    ),
    "IMPORT_TIMEOUT": Code(
        "ActiveCampaign did not confirm the contact's import in time, repeatedly.",
        "See whether ActiveCampaign's import queue is behind, raise 'import_timeout', and pipe "
        "the reject file in again.",
        ours=False,
        retried=True,
    ),
    "DELETED": Code(
        "The source marks the record as deleted, so it adds and changes nobody.",
        "Nothing, if the source is right. 'deleted_properties' names the markers.",
        ours=True,
        skips=True,
    ),
}


class Refusal(Exception):  # noqa: N818 - it is an outcome of a record, not a fault of the run
    """A record that can't be sent.

    Attributes:
        code: A stable code out of `CODES`.
        reason: A sentence for the reject file. It may name properties, never in a log.
        placed: Whether the reason has to say where the record stands, as it may be hard to find.
    """

    def __init__(self, code: str, reason: str, *, placed: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason
        self.placed = placed

    def at(self, place: str) -> Refusal:
        """The refusal with the place of the record, where that has to be said."""
        return Refusal(self.code, f"{place} {self.reason}") if self.placed else self
