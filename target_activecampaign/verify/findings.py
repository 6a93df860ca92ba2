"""The findings of a verification, one for each fact."""

from __future__ import annotations

from typing import Any, NamedTuple

from target_activecampaign.model.facts import ANY, FACTS, Fact

AS_ASSUMED, DIFFERS, UNCLEAR = "as assumed", "differs", "could not tell"


class Finding(NamedTuple):
    """A finding about a fact.

    Attributes:
        fact: The fact.
        seen: The value that was seen; None if the experiment could not tell.
        reason: Why it could not tell; else empty.
    """

    fact: Fact
    seen: str | None
    reason: str = ""

    @property
    def result(self) -> str:
        """`as assumed`, `differs` or `could not tell`."""
        if self.seen is None:
            return UNCLEAR
        return AS_ASSUMED if self.fact.assumed in (ANY, self.seen) else DIFFERS

    @property
    def needs_a_person(self) -> bool:
        """True if something differs that the target can't adapt to."""
        if (self.fact.name, self.seen) == ("opted_out", "subscribe"):
            return True
        return self.result == DIFFERS and not self.fact.adapts

    @property
    def effect(self) -> str:
        """The target's behaviour as a consequence, as a sentence."""
        if self.seen is None:
            is_assumed = self.fact.assumed != ANY
            return self.reason + (f" Runs assume '{self.fact.assumed}'." if is_assumed else "")
        return self.fact.effect if self.result == DIFFERS or self.fact.assumed == ANY else ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "name": self.fact.name,
            "question": self.fact.question,
            "assumed": self.fact.assumed,
            "seen": self.seen,
            "result": self.result,
            "needs_a_person": self.needs_a_person,
            "effect": self.effect,
        }


def in_order(found: dict[str, Finding]) -> list[Finding]:
    """Return a finding for each fact, in the order of the facts."""
    return [
        found.get(one.name) or Finding(one, None, "The experiment has not come to an end.")
        for one in FACTS
    ]
