"""Errors that an operator may see. The text of each says what to do, and quotes no value.

::

    TargetError
    ├── SettingError            a setting can't be used
    ├── ListError               the account has no such list
    │   └── MissingListError    a stream for which no list is set
    ├── MappingError            a property can't go where it is mapped
    ├── ModeError               a stream can't have the mode that is set for it
    ├── BatchFileError          a batch file can't be read
    ├── EmptyInputError         nothing came, which the settings say is an error
    ├── SandboxError            the embedded sandbox does not work
    ├── LedgerError             the ledger can't be used
    │   ├── DamagedLedgerError
    │   ├── MissingLedgerError
    │   └── AwayLedgerError     it may be back in a while
    ├── DeliveryError           the delivery ended before everything was settled
    ├── ThresholdError          more records were refused than the settings allow
    ├── GuardError              a guard has kept a mirror from removing contacts
    ├── StateError              STATE can't be written
    ├── RejectFileError         a file is no reject file
    ├── ChoiceError             what was chosen can't be erased from a ledger
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
    """Anything that was foreseen: its text is safe to show, and says what to do."""


class SettingError(TargetError):
    """A setting that can't be used; the text names it and says why."""


class ListError(TargetError):
    """A list that the account does not have; the text names those that it has."""


class MissingListError(ListError):
    """A stream for which no list is set."""


class MappingError(TargetError):
    """A mapping that can't be: the text says which stream, which property, and what to do."""


class ModeError(TargetError):
    """A mode that a stream can't have; the text says which, why, and what to do."""


class BatchFileError(TargetError):
    """A batch file that can't be read; the text names it and what to do."""


class EmptyInputError(TargetError):
    """Nothing came, which the settings say is an error."""


class SandboxError(TargetError):
    """The embedded sandbox does not work; the text says why and what to do."""


class LedgerError(TargetError):
    """The ledger can't be used; the text says where it is and what to do."""


class DamagedLedgerError(LedgerError):
    """The ledger's file is damaged."""


class MissingLedgerError(LedgerError):
    """There is no ledger, and none was to be made."""


class AwayLedgerError(LedgerError):
    """The ledger can't be reached now; it may be in a while.

    Attributes:
        given_up: Whether it was waited for already.
    """

    given_up = False


class DeliveryError(TargetError):
    """The delivery ended before everything was settled. Its cause is the reason."""


class ThresholdError(TargetError):
    """More records were refused than the settings allow."""


class GuardError(TargetError):
    """A guard has kept a mirror from removing contacts; everything else is done."""


class StateError(TargetError):
    """STATE can't be written; the text says why and what that means."""


class RejectFileError(TargetError):
    """A file that can't be read as a reject file; the text says why and quotes nothing of it."""


class ChoiceError(TargetError):
    """What was chosen can't be erased from a ledger; the text says why, and what to do."""


class StoppedError(Exception):
    """The run is to end in the middle of something that takes long: no fault, so never shown."""


def report_errors(action: Callable[[], object]) -> str | None:
    """Run `action` and return what went wrong as a sentence for the operator; None if nothing did.

    An error that was not foreseen is logged as the places that it came through, without messages:
    they may quote a record.
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
            f"An unforeseen {type(error).__name__} ended the run: please report it with the "
            "lines above, which hold no data."
        )
    return None
