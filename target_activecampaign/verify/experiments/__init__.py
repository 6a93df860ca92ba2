"""The experiments of `--verify`.

Each is a generator. It yields where it needs its imports to be applied: all experiments go on
together, so that they wait for the account's queue only a few times in all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from target_activecampaign.verify.experiments import imports, memberships, reading, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_activecampaign.verify.lab import Lab


class Experiment(NamedTuple):
    """An experiment.

    Attributes:
        facts: The names of the facts that it settles.
        steps: Does it, step by step.
    """

    facts: tuple[str, ...]
    steps: Callable[[Lab], Iterator[None]]


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(("index_base", "bad_email", "failure_reasons"), imports.bad_addresses),
    Experiment(("too_many",), imports.too_many),
    Experiment(("too_large",), imports.too_large),
    Experiment(("unknown_batch",), imports.unknown_batch),
    Experiment(("success_lists", "queued_contacts", "opted_out"), imports.results),
    Experiment(("same_person_twice",), imports.same_person_twice),
    Experiment(("opted_out_without_list",), memberships.update_after_opt_out),
    Experiment(("unsubscribe_stranger",), memberships.unsubscribe_stranger),
    Experiment(
        (
            "resubscribe_with_sourceid",
            "resubscribe_without_sourceid",
            "sdate_on_reactivation",
            "udate_on_reactivation",
        ),
        memberships.reactivation,
    ),
    Experiment(("membership_updates_contact",), memberships.opt_out_as_change),
    Experiment(("rename_contact", "rename_opted_out"), memberships.renames),
    Experiment(("empty_name", "empty_phone", "empty_field"), values.empty_values),
    Experiment(("option_case", "unknown_option"), values.options),
    Experiment(("emoji", "longest_value"), values.unusual_values),
    Experiment(("unrelated_field",), values.unrelated_field),
    Experiment(("split_tags", "tag_case"), values.tags),
    Experiment(("listid_alone", "ids_filter", "include"), reading.filters),
    Experiment(("large_limit",), reading.large_limit),
    Experiment(("exclusions",), reading.exclusions),
    Experiment(("clock_offset", "time_zone"), reading.times),
)
"""The experiments that go on together, in the order of their first steps."""

LATENCY = Experiment(("latency",), imports.latency)
"""The experiment that measures time: others would disturb it."""

LIMITS = Experiment(("single_imports_per_minute",), imports.single_imports)
"""The experiment of the limits. It comes last: other imports would count too."""
