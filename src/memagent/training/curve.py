"""A run as a picture, and what validation came to in a line. It does not know how records were made."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memagent.evaluation.reporting.figures import COLOURS
from memagent.evaluation.statistics import paired
from memagent.extras import extra
from memagent.training.log import Record, place
from memagent.training.metrics import StepMetrics, ValidationMetrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, PURPLE = COLOURS[:4]
FEW = 12  # points of a line that are marked
MANY = 60  # points of a line from which on its running mean is drawn over it
SPAN = 20  # running means are over this part of a line


@dataclass(frozen=True, slots=True)
class _Line:
    """A field of the steps, times `factor`; on the `right` axis if it has another unit."""

    name: str
    label: str
    colour: str
    right: bool = False
    factor: float = 1.0
    dashes: str = "-"


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    lines: tuple[_Line, ...] = ()
    validation: bool = False


_REINFORCED = (
    _Panel(
        "reward and validation score",
        (_Line("reward", "reward", BLUE), _Line("spread", "spread of rewards in a group", BLUE, dashes=":")),
        validation=True,
    ),
    _Panel(
        "drift from the start, and clipping",
        (
            _Line("kl", "KL to the reference, nats a token", GREEN),
            _Line("clip_fraction", "clipped tokens, %", ORANGE, right=True, factor=100),
        ),
    ),
    _Panel(
        "the gate",
        (
            _Line("keep_rate", "chunks that keep the memory, %", BLUE, factor=100),
            _Line("false_changes", "false changes a million tokens", ORANGE, right=True),
        ),
    ),
    _Panel("the memory at the end", (_Line("memory_tokens", "tokens", PURPLE),)),
)
_SUPERVISED = (
    _Panel("loss", (_Line("loss", "loss", BLUE),)),
    _Panel("validation score", validation=True),
)


def draw_run(records: Sequence[Record], path: Path) -> None:
    """Write the picture: what there are records of, against steps done. A run without a record has none.

    Raises:
        SetupError: matplotlib is not installed.
    """
    with extra("eval", "drawing the curve"):
        from matplotlib.figure import Figure
    steps = [one for one in records if isinstance(one, StepMetrics)]
    validations = [one for one in records if isinstance(one, ValidationMetrics)]
    panels = [panel for panel in _kind(steps) if _drawn(panel, steps) or (panel.validation and validations)]
    if not panels:
        return
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5.6 * columns, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    last = max(1, *map(place, records))
    for panel, axis in zip_longest(panels, axes):
        if panel is None:
            axis.set_axis_off()
        else:
            _draw(axis, panel, steps, validations if panel.validation else [], last)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def paired_line(first: ValidationMetrics, last: ValidationMetrics) -> str:
    """How far the score has come on the same problems, with its 95% interval.

    Raises:
        ValueError: the two are of different problems, or of none.
    """
    differences = list(map(operator.sub, last.scores, first.scores))
    if len(first.scores) != len(last.scores):
        raise ValueError("two validations of different problems cannot be compared")
    found = paired(differences)
    verb = ("rose" if found.mean > 0 else "fell") if found.excludes_zero else "changed"
    points = f"{100 * found.mean:+.1f} points [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return f"validation {verb} by {points} on {found.count} problems (95%, paired)"


def _kind(steps: Sequence[StepMetrics]) -> tuple[_Panel, ...]:
    supervised = bool(steps) and all(one.reward is None for one in steps)
    return _SUPERVISED if supervised else _REINFORCED


def _drawn(panel: _Panel, steps: Sequence[StepMetrics]) -> list[_Line]:
    return [line for line in panel.lines if any(getattr(one, line.name) is not None for one in steps)]


def _draw(
    axis: Axes, panel: _Panel, steps: Sequence[StepMetrics], validations: Sequence[ValidationMetrics], last: int
) -> None:
    from matplotlib.ticker import MaxNLocator

    lines = _drawn(panel, steps)
    two_units = len({line.right for line in lines}) > 1
    apart = axis.twinx() if two_units else axis
    for line in lines:
        _line(apart if line.right else axis, line, steps)
    if validations:
        _validation(axis, validations)
    for side in {axis, apart}:
        if side.dataLim.y0 >= 0:
            side.set_ylim(bottom=0)
    axis.set_xlim(-0.02 * last, 1.02 * last)
    axis.set_title(panel.title, fontsize=11)
    axis.set_xlabel("steps")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.25)
    _name(axis, apart, lines)


def _name(axis: Axes, apart: Axes, lines: Sequence[_Line]) -> None:
    """An axis with one line is called as the line and in its colour; otherwise there is a legend."""
    handles, labels = axis.get_legend_handles_labels()
    if len(handles) > 1 or not lines:
        axis.legend(handles, labels, fontsize=8, framealpha=0.7)
        return
    for line in lines:
        side = apart if line.right else axis
        side.set_ylabel(line.label, color=line.colour, fontsize=9)
        side.tick_params(axis="y", labelcolor=line.colour)


def _line(axis: Axes, line: _Line, steps: Sequence[StepMetrics]) -> None:
    known = [(place(one), line.factor * value) for one in steps if (value := getattr(one, line.name)) is not None]
    xs, ys = [x for x, _ in known], [y for _, y in known]
    look: dict[str, Any] = {"color": line.colour, "linestyle": line.dashes}
    if len(ys) < MANY:
        axis.plot(xs, ys, label=line.label, linewidth=1.6, marker="o" if len(ys) <= FEW else None, markersize=4, **look)
        return
    axis.plot(xs, ys, linewidth=0.7, alpha=0.3, color=line.colour)
    axis.plot(xs, _running_means(ys, len(ys) // SPAN), label=line.label, linewidth=1.8, **look)


def _running_means(values: Sequence[float], width: int) -> list[float]:
    """The mean of each value and up to `width` on either side; what is no number is left out."""
    near = (values[max(0, at - width) : at + width + 1] for at in range(len(values)))
    finite = ([value for value in part if math.isfinite(value)] for part in near)
    return [math.fsum(part) / len(part) if part else math.nan for part in finite]


def _validation(axis: Axes, validations: Sequence[ValidationMetrics]) -> None:
    xs = [one.step for one in validations]
    lows, highs = [one.low for one in validations], [one.high for one in validations]
    look: dict[str, Any] = {
        "color": ORANGE,
        "linewidth": 1.8,
        "marker": "s",
        "markersize": 4,
        "label": "validation score, 95% band",
    }
    axis.fill_between(xs, lows, highs, color=ORANGE, alpha=0.18, linewidth=0)
    axis.plot(xs, [one.mean for one in validations], **look)
    axis.axhline(validations[0].mean, color=ORANGE, linestyle="--", linewidth=1.0, label="its value at the start")
