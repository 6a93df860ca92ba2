"""Draws the results: people a second over time, and which part of the target takes the CPU.

python benchmarks/picture.py PATH < results.json
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("agg")
# The same results give the same file.
mpl.rcParams.update({"svg.hashsalt": "performance", "font.size": 9, "font.family": "DejaVu Sans"})

from matplotlib import pyplot as plt  # noqa: E402 - after its settings
from matplotlib.ticker import FuncFormatter  # noqa: E402 - likewise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

_COLOURS = ("#1f5f99", "#d9742b", "#5a8f3c")
_GREY = "#666666"
_MINUTE = 60.0
_LIMIT = 25_000 / 60
"""Contacts a second that ActiveCampaign takes, in the mean of a minute."""


def draw(path: str, results: dict[str, Any]) -> None:
    """Draw results into a file, whose name tells its kind.

    Args:
        path: The file, `.svg` or `.png`.
        results: What `run.py --json` writes.
    """
    lines, stages = results["over_time"], results["stages"]
    if not lines and not stages:
        raise SystemExit("There is nothing to draw: run the parts cost, stages, writer or limits.")
    heights = []  # inches
    if lines:
        heights.append(3.2)
    if stages:
        heights.append(1.4 + 0.34 * max(map(len, stages.values())))
    figure, axes = plt.subplots(
        len(heights), figsize=(7.5, sum(heights)), height_ratios=heights, squeeze=False
    )
    rows = iter(axes[:, 0])
    if lines:
        _over_time(next(rows), lines)
    if stages:
        anchor = [one["value"] for one in results["figures"] if one["beside"] == "the anchor"]
        _stages(next(rows), stages, anchor)
    figure.tight_layout(h_pad=2.5)
    metadata = {"Date": None} if path.endswith(".svg") else None
    figure.savefig(path, dpi=160, facecolor="white", metadata=metadata)


def _over_time(axes: Axes, lines: dict[str, list[tuple[float, int]]]) -> None:
    end = max(line[-1][0] for line in lines.values())
    for (name, line), colour in zip(lines.items(), _COLOURS, strict=False):
        points = list(_rates(line))
        if not points:
            continue
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.8)
        # Behind the end of a short line there is room for its name.
        place = "beside" if points[-1][0] < end / 2 else "above"
        _label(axes, name, points[-1], place, colour)
    axes.axhline(_LIMIT, color=_GREY, linewidth=0.8, linestyle=(0, (5, 4)), zorder=1)
    _label(axes, "ActiveCampaign's limit", (end, _LIMIT), "below", _GREY)
    axes.set_yscale("log")
    axes.set_xlim(0, end)
    axes.margins(y=0.18)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.minorticks_off()
    axes.set_xlabel("seconds from the start")
    _title(axes, "Contacts confirmed a second, in the mean of the last minute")
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)


def _rates(line: list[tuple[float, int]]) -> Iterator[tuple[float, float]]:
    """People a second, in the minute before each look, or in the time from the start."""
    for now, people in line:
        before, known = next(((at, some) for at, some in line if at >= now - _MINUTE), line[0])
        if people > known:
            yield now, (people - known) / (now - before)


def _label(axes: Axes, text: str, end: tuple[float, float], place: str, colour: str) -> None:
    """Write the name of a line at its end."""
    offset, across, up = {
        "beside": ((6, 0), "left", "center"),
        "above": ((0, 5), "right", "bottom"),
        "below": ((0, -5), "right", "top"),
    }[place]
    axes.annotate(
        text,
        end,
        xytext=offset,
        textcoords="offset points",
        ha=across,
        va=up,
        fontsize=8.5,
        color=colour,
    )


def _stages(axes: Axes, stages: dict[str, dict[str, float]], anchor: list[float]) -> None:
    names = list(dict.fromkeys(name for costs in stages.values() for name in costs))
    names.sort(key=lambda name: -max(costs.get(name, 0.0) for costs in stages.values()))
    height = 0.8 / len(stages)
    for number, ((kind, costs), colour) in enumerate(zip(stages.items(), _COLOURS, strict=False)):
        places = [place + number * height for place in range(len(names))]
        values = [costs.get(name, 0.0) for name in names]
        label = f"{kind} profiles, {sum(values):.1f} in all"
        bars = axes.barh(places, values, height, color=colour, label=label)
        texts = [f"{value:.1f}" if value else "" for value in values]
        axes.bar_label(bars, texts, padding=3, fontsize=7.5, color=_GREY)
    for value in anchor:
        label = f"beside them the SDK's empty target, {value:.1f}"
        axes.barh([0], [0], color="none", label=label)
    axes.set_yticks([place + height * (len(stages) - 1) / 2 for place in range(len(names))], names)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.08, y=0.02)
    _title(axes, "CPU of the target, microseconds a record by stage")
    axes.grid(axis="x", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", frameon=False)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=10, fontweight="bold", pad=10)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    draw(sys.argv[1], json.load(sys.stdin))
