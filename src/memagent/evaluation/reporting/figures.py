"""The two pictures: score against length, and cost against length; a line a method."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memagent.evaluation.reporting.costs import Curve, curves, slopes
from memagent.evaluation.reporting.sections import exponent
from memagent.evaluation.reporting.table import Fit, Length, Table
from memagent.evaluation.statistics import Estimate
from memagent.extras import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Okabe and Ito's colours, which colour-blind people tell apart, and markers for those who print in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933", "#882255")
MARKERS = "osD^vPX*<>hdp"  # more than colours, so that the tenth line has a look of its own
COLUMNS = 4  # of panels, where there are several tasks
SPREAD = 0.03  # of a factor of two, by which methods stand beside each other, and
SHARE = 0.3  # of the way to the next length, which all of them take together at most
LONGEST, SHORT = 100, 34  # characters of a name at the most, and in a small panel
TICKS = 9  # labels on an axis of lengths, at most
TITLES = {
    "seconds": "seconds a problem",
    "tokens": "model tokens a problem",
    "peak memory": "peak memory of the process, MB",
    "GPU memory": "peak GPU memory, MB",
}


def draw_curve(table: Table, path: Path) -> None:
    """Score in percent against length, with 95% intervals: the average, and a small panel for each of several tasks.

    An average of some of the tasks alone is a hollow point beside the line.
    """
    rows = math.ceil(len(table.tasks) / COLUMNS) if len(table.tasks) > 1 else 0
    with _figure(path, table.methods, 11.0, 4.6 + 2.5 * rows) as figure:
        if rows:
            top, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(4.6, 2.5 * rows)).flat
            _curve(top.subplots(), table, None)
            _small_panels(below, table, rows)
        else:
            _curve(figure.subplots(), table, None)


def draw_cost(table: Table, path: Path) -> None:
    """Median seconds and tokens of a problem, and peak memory, against length; both axes logarithmic."""
    fits, drawn = slopes(table), curves(table)
    with _figure(path, table.methods, 14.0, 4.4) as figure:
        for axis, (name, curve) in zip(figure.subplots(1, len(drawn)), drawn.items(), strict=True):
            _cost(axis, table, curve, fits[name])
            _plain_ticks(axis, _short if name == "tokens" else "{:,g}".format)
            axis.set_title(TITLES[name] + (", ∝ length^b" if fits[name] else ""), fontsize=11)


@contextlib.contextmanager
def _figure(path: Path, methods: tuple[str, ...], width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches with a legend below it, written to `path` at the end. Names are no formulas."""
    with extra("eval", "drawing figures"):
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    columns = max(1, min(len(methods), 130 // (max(map(len, methods)) + 8)))
    size = (width, height + 0.25 * math.ceil(len(methods) / columns))
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font lacks
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
        yield figure
        _legend(figure, methods, columns)
        figure.savefig(path, dpi=130, metadata={"Software": None})


def _small_panels(figure: SubFigure, table: Table, rows: int) -> None:
    grid = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True)
    for number, axis in enumerate(grid.flat):
        if number < len(table.tasks):
            _curve(axis, table, table.tasks[number], small=True)
            axis.set_ylabel("score, %" if number % COLUMNS == 0 else "", fontsize=8)
        else:
            axis.set_axis_off()


def _curve(axis: Axes, table: Table, task: str | None, *, small: bool = False) -> None:
    counts: set[int] = set()
    step, hollow = _step(table), False
    for number, method in enumerate(table.methods):
        shift = 2 ** (step * (number - (len(table.methods) - 1) / 2))
        points = [(length, table.score(method, length, task)) for length in table.lengths]
        known = [(length, found) for length, found in points if found is not None]
        counts |= {found.count for _, found in known}
        whole = [task is not None or len(table.tasks_at(method, length)) == len(table.tasks) for length, _ in known]
        for is_whole in (True, False):
            drawn = [point for point, alike in zip(known, whole, strict=True) if alike == is_whole]
            xs = [length.value * shift for length, _ in drawn]
            if drawn:
                _line(axis, number, xs, [found for _, found in drawn], small=small, hollow=not is_whole)
        hollow |= not all(whole)
    title = _name(_title(table, task) + ("; hollow: of some of them" if hollow else ""), SHORT if small else LONGEST)
    axis.set_title(f"{title} ({_range(counts)})", fontsize=8 if small else 11)
    axis.set_ylim(-4, 104)
    axis.set_ylabel("score, %")
    _lengths(axis, table, small=small)


def _step(table: Table) -> float:
    """How far apart two methods stand, in factors of two."""
    values = sorted({length.value for length in table.lengths})
    gaps = [math.log2(above / below) for below, above in pairwise(values)]
    return min(SPREAD, SHARE * min(gaps, default=1.0) / len(table.methods))


def _title(table: Table, task: str | None) -> str:
    if task is None and len(table.tasks) > 1:
        return f"average of {len(table.tasks)} tasks"
    return task or table.tasks[0]


def _name(text: str, longest: int) -> str:
    """A name as a font can draw it, on one line."""
    flat = " ".join(text.encode("utf-8", "replace").decode().split())
    return flat if len(flat) <= longest else f"{flat[:longest]}…"


def _range(counts: set[int]) -> str:
    return f"n = {min(counts)}" if len(counts) == 1 else f"n = {min(counts)} to {max(counts)}"


def _line(axis: Axes, number: int, xs: list[float], found: list[Estimate], *, small: bool, hollow: bool) -> None:
    ys = [100 * one.mean for one in found]
    errors = [[100 * (one.mean - one.low) for one in found], [100 * (one.high - one.mean) for one in found]]
    look = _style(number, small=small) | ({"linestyle": "", "markerfacecolor": "white"} if hollow else {})
    _, caps, bars = axis.errorbar(xs, ys, yerr=errors, capsize=0 if small else 2.5, elinewidth=0.9, **look)
    for artist in (*caps, *bars):
        artist.set_alpha(0.45)


def _cost(axis: Axes, table: Table, curve: Curve, fits: dict[str, Fit]) -> None:
    ends: list[tuple[int, float, str]] = []
    for number, method in enumerate(table.methods):
        known = [(length.value, y) for length in table.lengths if (y := curve(method, length))]
        if known:
            axis.plot([x for x, _ in known], [y for _, y in known], **_style(number))
        if known and method in fits:
            ends.append((number, known[-1][1], f"b = {exponent(fits[method])}"))
    axis.set_yscale("log")
    _widen(axis)
    _lengths(axis, table)
    _at_the_right(axis, ends)


def _widen(axis: Axes) -> None:
    """An axis of values spans a factor of three at least, so that small differences look small."""
    low, high = axis.get_ylim()
    if high < 3 * low:
        middle = math.sqrt(low * high)
        axis.set_ylim(middle / 1.8, middle * 1.8)


def _plain_ticks(axis: Axes, shown: Callable[[float], str]) -> None:
    """Values of a logarithmic axis written out, also where it spans less than a factor of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_ylim()
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 300 else (1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    axis.yaxis.set_minor_locator(NullLocator())


def _short(value: float) -> str:
    """A number in at most a few characters: 0.05, 20, 5k, 2m."""
    for size, unit in ((1e9, "g"), (1e6, "m"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _at_the_right(axis: Axes, ends: list[tuple[int, float, str]]) -> None:
    """A note beside the end of each line, in its colour."""
    low, high = (math.log(value) for value in axis.get_ylim())
    ends = sorted(ends, key=lambda end: end[1])
    places = _apart([(math.log(value) - low) / (high - low) for _, value, _ in ends])
    for place, (number, _, note) in zip(places, ends, strict=True):
        colour = _style(number)["color"]
        axis.annotate(note, (1.01, place), xycoords="axes fraction", va="center", fontsize=8, color=colour)


def _apart(places: list[float]) -> list[float]:
    """Ascending places from 0 to 1, moved so that notes do not overlap."""
    gap = min(0.055, 1 / max(1, len(places)))
    moved = list(accumulate(places, lambda below, place: max(below + gap, place)))
    downwards = accumulate(reversed(moved), lambda above, place: min(above - gap, place), initial=1.0 + gap)
    return list(downwards)[:0:-1]


def _lengths(axis: Axes, table: Table, *, small: bool = False) -> None:
    values = sorted({length.value for length in table.lengths})
    axis.set_xscale("log", base=2)
    ticks = _spaced(values, 5 if small else TICKS)
    axis.set_xticks(ticks, [_label(table.lengths, value) for value in ticks])
    axis.minorticks_off()
    axis.set_xlim(values[0] / 1.4, values[-1] * 1.4)
    axis.tick_params(labelsize=7 if small else 9)
    if not small:
        axis.set_xlabel("documents" if _in_documents(table) else "length, tokens")
    axis.grid(alpha=0.25)


def _spaced(values: list[int], most: int) -> list[int]:
    """Those values that stand far enough apart on a logarithmic axis, `most` at the most."""
    least = math.log(values[-1] / values[0]) / most
    chosen = values[:1]
    for value in values[1:]:
        if math.log(value / chosen[-1]) >= least:
            chosen.append(value)
    return chosen


def _label(lengths: tuple[Length, ...], value: int) -> str:
    return next(length.label for length in lengths if length.value == value).removesuffix(" documents")


def _in_documents(table: Table) -> bool:
    return any(length.label.endswith(" documents") for length in table.lengths)


def _style(number: int, *, small: bool = False) -> dict[str, Any]:
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 3 if small else 5,
        "linewidth": 1.1 if small else 1.6,
        "linestyle": ("-", "--", ":")[number // len(COLOURS) % 3],
    }


def _legend(figure: Figure, methods: tuple[str, ...], columns: int) -> None:
    """Every method, also one without a point."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=_name(name, LONGEST), **_style(number)) for number, name in enumerate(methods)]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
