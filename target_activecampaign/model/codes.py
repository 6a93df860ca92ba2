"""The codes of rejected and skipped records, each with its meaning and what to do.

Codes are stable: reject files and reports contain them, and other tools may rely on them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A reason for which a record was not delivered.

    Attributes:
        meaning: What happened.
        advice: What to do about it.
        before_sending: True if the target found the record `invalid`; False if ActiveCampaign
            `rejected` the contact.
        resent: Whether the run sent the contact several times, the last time alone.
        retry: Whether the next run tries the record again by itself, as time or a change of the
            account may mend it.
        is_skip: Whether the record is only `skipped`, and so not in a reject file.
    """

    meaning: str
    advice: str
    before_sending: bool
    resent: bool = False
    retry: bool = False
    is_skip: bool = False

    @property
    def kind(self) -> str:
        """The outcome that records with this code count as."""
        if self.is_skip:
            return "skipped"
        return "invalid" if self.before_sending else "rejected"


CODES: dict[str, Code] = {
    "EMAIL_MISSING": Code(
        "The record has no e-mail address, and every contact needs one.",
        "Add the address in the source, or exclude such profiles from the segment.",
        before_sending=True,
    ),
    "EMAIL_INVALID": Code(
        "The e-mail address can't receive mail.",
        "Correct the address in the source.",
        before_sending=True,
    ),
    "RECORD_INVALID": Code(
        "The record can't be read, or does not fit the schema or the key properties of its stream.",
        "Fix the tap or its catalog. If the record only breaks a rule of the schema, you can set "
        "'validate_records' to false.",
        before_sending=True,
    ),
    "VALUE_INVALID": Code(
        "A value can't be converted to the type of its custom field.",
        "Correct the value in the source, or map the property to a field of another type.",
        before_sending=True,
    ),
    "FIELD_OPTION_UNKNOWN": Code(
        "A choice is not among the options of its custom field.",
        "Add the option in ActiveCampaign, correct the value in the source, or see "
        "'on_unknown_option'.",
        before_sending=True,
        retry=True,
    ),
    "CONTACT_TOO_LARGE": Code(
        "The contact alone exceeds ActiveCampaign's limit for an import (399,999 bytes).",
        "Shorten the long values, or do not map them.",
        before_sending=True,
    ),
    "REFUSED_BY_IMPORT": Code(
        "ActiveCampaign's import rejected the contact.",
        "Look the contact up in ActiveCampaign. A run looks up at most 'diagnose_limit' rejected "
        "contacts itself.",
        before_sending=False,
        retry=True,
    ),
    "RENAME_REFUSED": Code(
        "The person has another e-mail address now, and ActiveCampaign refused to change that of "
        "the contact. It is not known whether the contact may be mailed at the new address.",
        "Look the contact up in ActiveCampaign, and change its address there.",
        before_sending=False,
        retry=True,
    ),
    "ADDRESS_CHANGED": Code(
        "The person had another e-mail address before, and 'on_address_change' is 'reject'.",
        "Change the address of the contact in ActiveCampaign, or set 'on_address_change' to "
        "'rename'.",
        before_sending=True,
    ),
    "ADDRESS_IN_DOUBT": Code(
        "The record has the e-mail address of another row's contact, and the latest record of that "
        "row was rejected, with another address or none. So the contact may belong to either "
        "person.",
        "Correct the rejected record of the other row, or delete that row. The next run tries this "
        "record again.",
        before_sending=True,
        retry=True,
    ),
    "OPTED_OUT": Code(
        "The contact has unsubscribed from the list, and an import does not undo that. With "
        "'person_key', this also applies to the person's later addresses.",
        "Nothing. Only the person can subscribe again, through one of your forms.",
        before_sending=False,
    ),
    "BOUNCED": Code(
        "Mail to the address has bounced, and ActiveCampaign no longer accepts it.",
        "Find the current address, or exclude the profile from the segment.",
        before_sending=False,
    ),
    "EXCLUDED": Code(
        "The address is on the account's exclusion list, so ActiveCampaign does not accept it.",
        "Nothing, if the exclusion is right. Otherwise delete the exclusion in ActiveCampaign.",
        before_sending=False,
    ),
    "NOT_CREATED": Code(
        "ActiveCampaign did not create the contact, and gives no reason.",
        "Check whether the address or its domain is on the account's exclusion list by now.",
        before_sending=False,
        retry=True,
    ),
    "ACCOUNT_LIMIT": Code(
        "ActiveCampaign created none of the import's new contacts: the account seems to be full.",
        "Compare the number of contacts with the account's plan. Upgrade it, or delete contacts.",
        before_sending=False,
        retry=True,
    ),
    "NOT_IMPORTED": Code(
        "ActiveCampaign did not confirm that it imported the contact, and a lookup did not find "
        "the contact as it was sent.",
        "Look the contact up in ActiveCampaign. A run looks up at most 'diagnose_limit' contacts "
        "itself, and the next run tries the record again.",
        before_sending=False,
        retry=True,
    ),
    "IMPORT_FAILED": Code(
        "ActiveCampaign's import of the contact failed repeatedly, at last with the contact alone.",
        "The next run tries it again. If it fails each time, ask ActiveCampaign's support.",
        before_sending=False,
        resent=True,
        retry=True,
    ),
    "IMPORT_LOST": Code(
        "ActiveCampaign repeatedly accepted the contact's import and then had no record of it.",
        "The next run tries it again. If it fails each time, ask ActiveCampaign's support.",
        before_sending=False,
        resent=True,
        retry=True,
    ),
    "IMPORT_TIMEOUT": Code(
        "ActiveCampaign repeatedly did not confirm the contact's import in time.",
        "The next run tries it again. Check whether ActiveCampaign's import queue is behind, and "
        "raise 'import_timeout'.",
        before_sending=False,
        resent=True,
        retry=True,
    ),
    "DELETED": Code(
        "The source marks the record as deleted, so it adds and changes no contact.",
        "Nothing, if the source is right. The setting 'deleted_properties' names the markers.",
        before_sending=True,
        is_skip=True,
    ),
    "DELETED_UNKNOWN": Code(
        "The source marks the record as deleted. It has only the key of its row, and the ledger "
        "knows no contact of that row.",
        "Nothing, if the row was never loaded. Else make the source send the whole row of a "
        "deletion, such as with REPLICA IDENTITY FULL in PostgreSQL.",
        before_sending=True,
        is_skip=True,
    ),
    "NO_CONSENT": Code(
        "The record says that its person has not consented, so it subscribes nobody. If the "
        "person's contact was active on the list, it is unsubscribed.",
        "Nothing, if the source is right. The log names the property that was read.",
        before_sending=True,
        is_skip=True,
    ),
    "CONSENT_UNKNOWN": Code(
        "The record has neither a yes nor a no in the stream's property with consent, so it "
        "subscribes nobody.",
        "Correct the values in the source, or set 'consent_unknown' to 'subscribe'.",
        before_sending=True,
        is_skip=True,
    ),
    "SUPPRESSED": Code(
        "The person is suppressed, so nothing of the person is sent.",
        "Nothing. A suppression stream has the person, or someone ran "
        "'target-activecampaign-ledger suppress'.",
        before_sending=True,
        is_skip=True,
    ),
    "OUTDATED": Code(
        "The record is older than one of the same row that was read before it in this run.",
        "Nothing. '_sdc_lsn' or '_sdc_sequence' shows the order.",
        before_sending=True,
        is_skip=True,
    ),
    "LIMITED": Code(
        "The run had '--limit', and the record comes after the contacts that it sent, or would "
        "have renamed one.",
        "Run without '--limit': that run reads the record again.",
        before_sending=True,
        is_skip=True,
    ),
}


class Refusal(Exception):  # noqa: N818 - it is an outcome of a record, not a fault of the run
    """A record that can't be sent.

    Attributes:
        code: One of the keys of `CODES`.
        reason: A sentence for the reject file. It may name properties, so it is never logged.
        needs_place: Whether the reason must name the record's place in the input, as it may be
            hard to find.
    """

    def __init__(self, code: str, reason: str, *, needs_place: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason
        self.needs_place = needs_place

    def at(self, place: str) -> Refusal:
        """Return the refusal with the record's place in its reason, if it needs that."""
        return Refusal(self.code, f"{place} {self.reason}") if self.needs_place else self
