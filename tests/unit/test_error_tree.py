"""Every error that an operator may see stands in one tree; all others are named here."""

from __future__ import annotations

import importlib
import pkgutil

import target_activecampaign
from target_activecampaign.client import ActiveCampaignError
from target_activecampaign.errors import TargetError, report_errors

INTERNAL = {
    "RateLimiterClosed": "an order to stop, which the client turns into ClientClosed",
    "ConfigFileError": "the command makes a usage error of it",
    "DroppedChoicesError": "an outcome of a value",
    "LabError": "a reason why an experiment could not tell",
    "OutputError": "a clause; who prints makes a sentence of it",
    "Refusal": "an outcome of a record",
    "ShapeError": "becomes a MalformedAnswer",
    "StoppedError": "the run was told to stop, which is no fault",
    "StoreFailure": "becomes a BudgetUnavailable if it lasts",
    "UnfitValueError": "an outcome of a value",
    "UnknownOptionError": "an outcome of a value",
    "UnreadableRecord": "an outcome of a record",
    "UnusableJSONError": "a clause; the reader of a file or variable makes a sentence of it",
    "UnsafeFileError": "told as any other OSError: which file, and why",
    "FormatError": "becomes a BatchFileError",
}


def exceptions() -> dict[str, type[BaseException]]:
    """Every exception class that a module of the package defines."""
    names = [
        one.name
        for one in pkgutil.walk_packages(target_activecampaign.__path__, "target_activecampaign.")
        if not one.name.endswith("__main__")
    ]
    return {
        name: one
        for module in map(importlib.import_module, names)
        for name, one in vars(module).items()
        if isinstance(one, type)
        and issubclass(one, BaseException)
        and one.__module__.startswith("target_activecampaign")
    }


def test_each_error_is_in_the_tree_or_never_reaches_an_operator() -> None:
    found = exceptions()
    assert len(found) > 40
    outside = {
        name
        for name, one in found.items()
        if not issubclass(one, TargetError) and not name.startswith("_")
    }
    assert outside <= INTERNAL.keys()


def test_each_error_of_the_client_is_in_the_tree() -> None:
    assert issubclass(ActiveCampaignError, TargetError)


def test_each_error_of_the_tree_is_told_as_it_is() -> None:
    for name, one in exceptions().items():
        if issubclass(one, TargetError) and not issubclass(one, ActiveCampaignError):
            error = one.__new__(one)
            error.args = (f"What {name} says.",)

            def fail(error: BaseException = error) -> None:
                raise error

            assert report_errors(fail) == f"What {name} says.", name
