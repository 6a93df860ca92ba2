"""What went wrong, as a sentence for the operator that quotes no value."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from singer_sdk.exceptions import SingerSDKError
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_activecampaign import redaction as privacy
from target_activecampaign.account.account import ListError
from target_activecampaign.account.sandbox_process import SandboxError
from target_activecampaign.accounting.limits import ThresholdError
from target_activecampaign.accounting.state import StateError
from target_activecampaign.client import ActiveCampaignError
from target_activecampaign.client.rate_limit.shared import BudgetUnavailable
from target_activecampaign.config.settings import SettingError
from target_activecampaign.delivery.delivery import DeliveryError
from target_activecampaign.ledger import LedgerError
from target_activecampaign.mapping.catalog import MappingError
from target_activecampaign.run import EmptyInputError, GuardError, StoppedError
from target_activecampaign.singer.batch_files import BatchFileError
from target_activecampaign.storage import private_files
from target_activecampaign.sync.segment import ModeError
from target_activecampaign.sync.setup import MissingListError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("target-activecampaign")

_FORESEEN = (
    ActiveCampaignError,
    BatchFileError,
    BudgetUnavailable,
    DeliveryError,
    EmptyInputError,
    GuardError,
    InvalidInputLine,
    LedgerError,
    ListError,
    MappingError,
    MissingListError,
    ModeError,
    SandboxError,
    SettingError,
    SingerSDKError,
    StateError,
    ThresholdError,
)
"""Errors whose text says what happened, where and what to do, and quotes no value."""


def attempt(action: Callable[[], object]) -> str | None:
    """Do something; what went wrong as a sentence for the operator, None if nothing did."""
    try:
        action()
    except StoppedError:
        return None
    except (*_FORESEEN, OSError) as error:
        return _explained(error)
    except Exception as error:  # noqa: BLE001 - the message may quote a record
        logger.error("%s", privacy.where_it_failed(error))  # noqa: TRY400
        return (
            f"An unforeseen {type(error).__name__} ended the run: please report it with the "
            "lines above, which hold no data."
        )
    return None


def _explained(error: BaseException) -> str:
    if isinstance(error, OSError):
        return private_files.explained(error)
    return str(error)
