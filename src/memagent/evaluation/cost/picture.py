"""The comparison as a picture: operations, seconds, memory and money against length, a line a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memagent.evaluation.cost.comparison import Row, Setting, crossings
from memagent.evaluation.cost.methods import METHODS
from memagent.evaluation.reporting.figures import COLOURS
from memagent.evaluation.suites import size_label
from memagent.extras import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEPS = 4  # points a factor of two


def draw(setting: Setting, lengths: Sequence[int], path: Path) -> None:
    """Write the picture; lines run from the shortest to the longest of `lengths`.

    Raises:
        SetupError: matplotlib is not installed.
    """
    with extra("eval", "drawing the picture"):
        from matplotlib.figure import Figure
    panels: list[tuple[str, str, Callable[[Row], float | None]]] = [
        ("flops", "FLOPs", lambda row: row.flops),
        ("seconds", f"seconds on one {setting.device.name}", lambda row: row.seconds),
        ("memory", "memory, GB (weights and state)", lambda row: row.memory / 1e9),
        ("usd", "US dollars", lambda row: row.usd),
    ]
    if setting.price is None and setting.usd_per_hour is None:
        panels.pop()
    figure = Figure(figsize=(4.6 * len(panels), 4.4), layout="constrained")
    points = _points(min(lengths), max(lengths))
    crossing = crossings(setting)
    for axis, (name, title, value) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        _panel(axis, setting, points, value)
        _mark(axis, {method: found[name] for method, found in crossing.items()}, points)
        axis.set_title(title, fontsize=10)
        shown = _thinned(sorted(set(lengths)))
        axis.set_xticks(shown, [size_label(length) for length in shown])
        axis.minorticks_off()
    limit = setting.device.memory / 1e9
    figure.axes[2].axhline(limit, color="grey", linewidth=0.8, linestyle=":")
    figure.axes[2].annotate(
        f" {setting.device.name}: {limit:.0f} GB",
        (0, limit),
        xycoords=("axes fraction", "data"),
        va="bottom",
        fontsize=8,
    )
    figure.suptitle(f"{setting.model.name}: a document at once, and read with a memory", fontsize=11)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(METHODS), frameon=False, fontsize=9)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _points(first: int, last: int) -> list[int]:
    points, length = [first], float(first)
    while (length := length * 2 ** (1 / STEPS)) < last:
        points.append(round(length))
    return [*points, last] if last > first else points


def _panel(axis: Axes, setting: Setting, points: list[int], value: Callable[[Row], float | None]) -> None:
    for number, method in enumerate(METHODS):
        found = [(length, value(setting.row(method, length))) for length in points]
        xs, ys = [x for x, y in found if y], [y for _, y in found if y]
        axis.plot(xs, ys, label=method, color=COLOURS[number], linewidth=1.7, marker="o" if len(xs) == 1 else None)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("tokens of the document")
    axis.grid(alpha=0.25)


def _mark(axis: Axes, found: dict[str, int | None], points: list[int]) -> None:
    """A thin line where a method becomes cheaper than everything at once."""
    for number, method in enumerate(METHODS):
        length = found.get(method)
        if length is not None and points[0] <= length <= points[-1]:
            axis.axvline(length, color=COLOURS[number], linewidth=0.8, linestyle="--")


def _thinned(lengths: list[int]) -> list[int]:
    """At most eight ticks."""
    step = -(-len(lengths) // 8)
    return lengths[::step]
