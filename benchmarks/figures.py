"""What was measured: printed line by line beside its goal, and kept for JSON and the picture."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_CPUS = Path("/proc/cpuinfo")
_ROW = "{:46} {:>14}  {:>14}  {:4} {}"


class Goal(NamedTuple):
    """A bound for a figure."""

    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a figure keeps it."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        what: What was measured.
        value: The figure.
        unit: Its unit.
        goal: What it is to be.
        beside: What else there is to say, such as how it stands to an anchor.
    """

    what: str
    value: float
    unit: str
    goal: Goal | None = None
    beside: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        return None if self.goal is None else self.goal.met(self.value)


def _machine() -> dict[str, str]:
    """The machine, as far as it says what it is, and how busy it is."""
    names = [line for line in _CPUS.read_text().splitlines() if line.startswith("model name")]
    return {
        "python": f"Python {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "cores": f"{os.cpu_count()} cores",
        "processor": names[0].partition(": ")[2] if names else platform.machine(),
        "load": f"load {os.getloadavg()[0]:.1f} before",
    }


@dataclass
class Results:
    """All that was measured in a run.

    Attributes:
        figures: By part of the run.
        stages: By kind of profiles: microseconds a record by stage.
        over_time: By run: (second, people confirmed until then).
        left_out: What was not measured, and how it would be.
        machine: Where all was measured.
    """

    figures: dict[str, list[Figure]] = field(default_factory=dict)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    over_time: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=_machine)

    def part(self, title: str, figures: Iterable[Figure]) -> None:
        """Take the figures of a part as they come, and print them."""
        print(f"\n{title}\n" + _ROW.format("", "measured", "goal", "met", "").rstrip(), flush=True)
        taken = self.figures.setdefault(title, [])
        for figure in figures:
            taken.append(figure)
            print(_line(figure), flush=True)

    def leave_out(self, what: str) -> None:
        """Note what is not measured, and how it would be, and print it."""
        self.left_out.append(what)
        print(f"\nLeft out: {what}")

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "machine": self.machine,
            "figures": [
                {
                    "part": part,
                    "what": figure.what,
                    "value": figure.value,
                    "unit": figure.unit,
                    "goal": figure.goal and figure.goal.limit,
                    "met": figure.met,
                    "beside": figure.beside,
                }
                for part, figures in self.figures.items()
                for figure in figures
            ],
            "stages": self.stages,
            "over_time": self.over_time,
            "left_out": self.left_out,
        }


def _line(figure: Figure) -> str:
    goal = met = ""
    if figure.goal is not None:
        sign = ">=" if figure.goal.at_least else "<="
        goal = f"{sign} {_number(figure.goal.limit)} {figure.unit}"
        met = "yes" if figure.met else "no"
    value = f"{_number(figure.value)} {figure.unit}"
    return _ROW.format(figure.what, value, goal, met, figure.beside).rstrip()


def _number(value: float) -> str:
    """A number with no more digits than it can stand for."""
    if isinstance(value, int) or value >= 1000:  # noqa: PLR2004 - past it no fraction counts
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"  # noqa: PLR2004 - likewise
