"""Errors that an operator may see. The text of each says what to do, and quotes no value.

::

    TargetError
    ├── SettingError            a setting can't be used
    ├── ListError               no list of the account can be used
    │   ├── NoSuchListError     the account has no such list
    │   └── MissingListError    no list is set for a stream
    ├── MappingError            a property can't be mapped to its destination
    ├── ModeError               a stream can't be loaded in its sync mode
    ├── BatchFileError          a batch file can't be read
    ├── HeldInputError          messages that wait can't be stored
    ├── EmptyInputError         the input was empty, and the settings forbid that
    ├── SuppressionError        no record of a suppression stream can be read
    ├── SandboxError            the embedded sandbox does not work
    ├── LedgerError             the ledger can't be used
    │   ├── DamagedLedgerError
    │   ├── MissingLedgerError
    │   └── UnreachableLedgerError  may work again after a retry
    ├── OutcomesError           rows of outcomes can't be stored
    ├── DeliveryError           the delivery stopped before every record was accounted for
    ├── ThresholdError          more records were rejected than the settings allow
    ├── GuardError              a guard stopped a mirror from removing contacts
    ├── ReadBackError           ActiveCampaign has other values than a limited run has sent
    ├── StateError              STATE can't be written
    ├── RejectFileError         a file is not a reject file
    ├── EraseError              the selected data can't be erased from a ledger
    └── ActiveCampaignError     see `client.errors`
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from singer_sdk.exceptions import SingerSDKError
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_activecampaign import redaction
from target_activecampaign.storage import private_files

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("target-activecampaign")


class TargetError(Exception):
    """Base of all expected errors. The text is safe to show and says what to do."""


class SettingError(TargetError):
    """A setting can't be used; the text names it and says why."""


class ListError(TargetError):
    """No list of the account can be used; the text names the lists that it has."""


class NoSuchListError(ListError):
    """The account has no such list."""


class MissingListError(ListError):
    """No list is set for a stream."""


class MappingError(TargetError):
    """A property can't be mapped; the text names stream and property, and says what to do."""


class ModeError(TargetError):
    """A stream can't be loaded in its sync mode; the text says why and what to do."""


class BatchFileError(TargetError):
    """A batch file can't be read; the text names it and says what to do."""


class HeldInputError(TargetError):
    """Messages that wait for others can't be stored; the text says why."""


class EmptyInputError(TargetError):
    """The input was empty, and the settings make that an error."""


class SuppressionError(TargetError):
    """No record of a suppression stream can be read; the text says what it must have."""


class SandboxError(TargetError):
    """The embedded sandbox does not work; the text says why and what to do."""


class LedgerError(TargetError):
    """The ledger can't be used; the text says where it is and what to do."""


class DamagedLedgerError(LedgerError):
    """The ledger's file is damaged."""


class MissingLedgerError(LedgerError):
    """There is no ledger, and the command must not create one."""


class UnreachableLedgerError(LedgerError):
    """The ledger can't be reached at the moment.

    Attributes:
        retried: Whether the retries are used up.
    """

    retried = False


class OutcomesError(TargetError):
    """Rows of outcomes can't be stored; the text says where, why and what to do."""


class DeliveryError(TargetError):
    """The delivery stopped before every record was accounted for; `__cause__` is the reason."""


class ThresholdError(TargetError):
    """More records were rejected than the settings allow."""


class GuardError(TargetError):
    """A guard stopped a mirror from removing contacts; everything else is done."""


class ReadBackError(TargetError):
    """ActiveCampaign does not have all values that a limited run has sent."""


class StateError(TargetError):
    """STATE can't be written; the text says why and what that means."""


class RejectFileError(TargetError):
    """A file can't be read as a reject file; the text says why and quotes nothing from it."""


class EraseError(TargetError):
    """The selected data can't be erased from a ledger; the text says why and what to do."""


class StoppedError(Exception):
    """The run was stopped during a long operation. Not a failure, so it is never shown."""


def report_errors(action: Callable[[], object]) -> str | None:
    """Run `action` and return its error as a sentence for the operator; None if it succeeded.

    An unexpected error is logged as a traceback without messages, which may quote a record.
    """
    try:
        action()
    except StoppedError:
        return None
    except (TargetError, SingerSDKError, InvalidInputLine) as error:
        return str(error)
    except OSError as error:
        return private_files.explain(error)
    except Exception as error:  # noqa: BLE001 - the message may quote a record
        logger.error("%s", redaction.traceback_without_messages(error))  # noqa: TRY400
        return (
            f"Internal error: an unexpected {type(error).__name__} ended the run. Please report it "
            "with the lines above, which hold no data."
        )
    return None
