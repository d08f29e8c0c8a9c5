"""What a report says, as sections of plain parts; `markdown.py` and `page.py` give them their form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memagent.evaluation.outcome import NO_ANSWER, Outcome
from memagent.evaluation.recipe import Recipe
from memagent.evaluation.reporting.costs import MEASURED, slopes
from memagent.evaluation.reporting.table import Fit, Length, Table
from memagent.evaluation.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: its head, its rows, and what it is called where a section has several."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture beside the report: the file's name without its ending, and what it shows."""

    name: str
    shows: str


@dataclass(frozen=True, slots=True)
class Section:
    """A title, and text, grids and pictures in order."""

    title: str
    parts: tuple[str | Grid | Picture, ...]


def sections(table: Table, ran: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    """All sections but the readings themselves. `ran` has the settings that each method ran with."""
    found = [_scores(table)]
    if len(table.tasks) > 1:
        found.append(Section("Scores by task", tuple(grid(table, task, task) for task in table.tasks)))
    if len(table.methods) > 1:
        found.append(_comparisons(table))
    found += [_failures(table), *_changes(table), _costs(table), _metrics(table), _settings(ran)]
    return found


def about(recipe: Recipe, table: Table, missing: int) -> list[str]:
    """What was evaluated, a line each; the first says so where results are still `missing`."""
    models = ", ".join(one.model if one.adapter is None else f"{one.model} with {one.adapter}" for one in recipe.models)
    done = len(table.outcomes)
    lines = [f"unfinished: {done} of {done + missing} results; --resume goes on"] if missing else []
    return [
        *lines,
        f"models: {models}",
        f"tasks: {', '.join(table.tasks)}",
        f"problems: at most {recipe.samples} a task and length, seed {recipe.seed}, {recipe.at_once} at once",
        f"memagent {recipe.version}; all options are in recipe.toml",
    ]


def percent(found: Estimate | None) -> str:
    """A mean in percent with its interval and count; "" for none."""
    if found is None:
        return ""
    return f"{100 * found.mean:.1f} [{100 * found.low:.0f}, {100 * found.high:.0f}] n={found.count}"


def _scores(table: Table) -> Section:
    several = len(table.tasks) > 1
    told = "Mean score in percent [its 95% interval] and the number of problems."
    average = " Every task counts the same, however many problems it has." if several else ""
    interval = (
        " Intervals are Wilson's, with the mean score as the proportion. What overflowed the window, was refused or "
        "could not be read has no answer and counts as wrong."
    )
    picture = Picture("curve", "Score against length")
    return Section("Scores", (grid(table, None), f"{told}{average}{interval}", *_uneven(table), picture))


def grid(table: Table, task: str | None, caption: str = "", metric: str | None = None) -> Grid:
    """Each method's score at each length: of a task or of all, by a metric or by the main one."""
    rows = (
        (method, *(percent(table.score(method, length, task, metric)) for length in table.lengths))
        for method in table.methods
    )
    return Grid(("method", *(length.label for length in table.lengths)), tuple(rows), caption)


def _uneven(table: Table) -> Iterator[str]:
    """Averages over other tasks than all, which cannot be compared with their neighbours."""
    for method in table.methods:
        for length in table.lengths:
            tasks = table.tasks_at(method, length)
            if tasks and len(tasks) < len(table.tasks):
                yield f"{method} at {length.label}: the average of {len(tasks)} of {len(table.tasks)} tasks."


def _comparisons(table: Table) -> Section:
    first = table.methods[0]
    head = ("method", "length", f"difference from {first}", "tasks", "problems", "excludes 0")
    told = (
        "Differences on the problems that both methods met, in percentage points, with Bonett and Price's 95% "
        "interval. In the rows for all lengths a question that is asked at several lengths is one problem; there is "
        "no such row where both methods met other tasks at one length than at another."
    )
    return Section(f"Compared with {first}", (Grid(head, tuple(_compared(table))), told))


def _compared(table: Table) -> Iterator[tuple[str, ...]]:
    first = table.methods[0]
    for method in table.methods[1:]:
        met = {length: tasks for length in table.lengths if (tasks := table.compared_tasks(method, first, length))}
        alike = len(met) > 1 and len(set(map(tuple, met.values()))) == 1
        for length in (*met, *([None] if alike else [])):
            found = table.compare(method, first, length)
            if found is not None:
                count = len(met[length or next(iter(met))])
                shown = f"{_signed(found.mean)} [{_signed(found.low)}, {_signed(found.high)}]"
                where = length.label if length else "all"
                yield method, where, shown, str(count), str(found.count), "yes" if found.excludes_zero else "no"


def _signed(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # + 0.0 makes -0.0 positive


def _failures(table: Table) -> Section:
    kinds: tuple[str, ...] = (*NO_ANSWER, "partial", "not_found")
    counts: Counter[tuple[str, str, str]] = Counter((one.method, one.label, one.status) for one in table.outcomes)
    rows = tuple(
        (method, length.label, *(str(counts[method, length.label, kind]) for kind in kinds))
        for method in table.methods
        for length in table.lengths
        if any(counts[method, length.label, kind] for kind in kinds)
    )
    if not rows:
        return Section("What did not end in an answer", ("Every problem was answered.",))
    told = (
        "overflow: the prompt did not fit the window; failed: the model refused; unread: it refused every part of the "
        "document. These count as wrong. partial: some parts could not be read; not_found: the reading ended without "
        "an answer. These score what their replies score."
    )
    return Section("What did not end in an answer", (Grid(("method", "length", *kinds), rows), told, *_errors(table)))


def _errors(table: Table) -> Iterator[str]:
    """How often each method had no answer, and what was said the first time."""
    first: dict[tuple[str, str], str] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for outcome in table.outcomes:
        if outcome.error:
            first.setdefault((outcome.method, outcome.status), outcome.error)
            counts[outcome.method, outcome.status] += 1
    for (method, status), error in first.items():
        yield f"{method}, {status} ({counts[method, status]}): {error}"


def _changes(table: Table) -> Iterator[Section]:
    """How memories changed; nothing where none did, as with baselines alone."""
    cells = {(method, length.label): table.at(method, length) for method in table.methods for length in table.lengths}
    rows = tuple((*cell, *_changed(found)) for cell, found in cells.items() if any(one.changes for one in found))
    if rows:
        head = (
            "method",
            "length",
            "changes a reading",
            "false changes",
            "a million tokens",
            "copied exactly",
            "held back",
        )
        told = (
            "A change is false if its chunk held no part of a fact that the answer rests on (tasks whose facts are "
            "known). Copied exactly: the share of lines to be added that the chunk says to the letter. Held back: "
            "changes that the gate, quotes or a second look kept out."
        )
        yield Section("How memories changed", (Grid(head, rows), told))


def _changed(found: Sequence[Outcome]) -> Iterator[str]:
    known = [one for one in found if one.false_changes is not None]
    false, tokens = sum(one.false_changes or 0 for one in known), sum(one.document_tokens for one in known)
    quotes, exact = sum(one.quotes for one in found), sum(one.exact for one in found)
    yield f"{sum(one.changes for one in found) / len(found):.2f}"
    yield str(false) if known else ""
    yield _number(1e6 * false / tokens) if tokens else ""
    yield f"{100 * exact / quotes:.1f}% of {quotes}" if quotes else ""
    yield str(sum(one.doubted for one in found))


def _costs(table: Table) -> Section:
    rows = tuple(
        (method, length.label, *_cost(table, method, length))
        for method in table.methods
        for length in table.lengths
        if table.tasks_at(method, length)
    )
    names = [f"{name} (median)" for name in MEASURED]
    told = (
        "Medians over the problems that have an answer. Seconds are wall clock with other problems running beside; "
        "calls and tokens are all that were made, those in vain included. Peak memory is this process's while the "
        "method worked at that length (for an endpoint, the client's)."
    )
    costs = Grid(("method", "length", *names, "peak memory, MB"), rows)
    return Section("Cost", (costs, told, *_growth(table), Picture("cost", "Cost against length")))


def _cost(table: Table, method: str, length: Length) -> Iterator[str]:
    for value in MEASURED.values():
        median = table.median(method, length, value)
        yield "" if median is None else _number(median)
    peak = table.peaks.get((method, length.value))
    memory = "" if peak is None or peak.resident is None else f"{peak.resident / 1e6:,.0f}"
    gpu = "" if peak is None or peak.gpu is None else f" + {peak.gpu / 1e6:,.0f} GPU"
    yield memory + gpu


def _growth(table: Table) -> list[str | Grid]:
    """How each cost grows: the exponent of the length, fitted over the lengths that were measured."""
    costs = slopes(table)
    rows = []
    for method in table.methods:
        fits = [fit.get(method) for fit in costs.values()]
        if any(fits):
            lengths = max(fit.lengths for fit in fits if fit)
            rows.append((method, *("" if fit is None else exponent(fit) for fit in fits), str(lengths)))
    if not rows:
        return ["Measured at one length, a cost has no slope."]
    told = "Cost ∝ length^b with the fitted b: 1 is linear, 0 does not depend on the length."
    return [told, Grid(("method", *costs, "lengths"), tuple(rows))]


def exponent(fit: Fit) -> str:
    """A fitted exponent; two lengths give no second decimal."""
    digits = 2 if fit.lengths > 2 else 1
    return f"{round(fit.exponent, digits) + 0.0:.{digits}f}"  # + 0.0 makes -0.0 positive


def _metrics(table: Table) -> Section:
    rows = tuple(
        (method, length.label, *(percent(table.score(method, length, None, metric)) for metric in table.metrics))
        for method in table.methods
        for length in table.lengths
        if table.tasks_at(method, length)
    )
    main = ", ".join(f"{task}: {metric}" for task, metric in _main_metrics(table.outcomes).items())
    return Section("All metrics", (Grid(("method", "length", *table.metrics), rows), f"Main metrics: {main}."))


def _main_metrics(outcomes: Iterable[Outcome]) -> dict[str, str]:
    found: dict[str, str] = {}
    for outcome in outcomes:
        found.setdefault(outcome.task, outcome.metric)
    return dict(sorted(found.items()))


# What of a method's settings is shown, in this order.
_SHOWN = (
    "model", "weights", "adapter", "rope", "tokenizer", "protocol", "chunk_tokens", "memory_tokens", "read_ahead",
    "answer_tokens", "thinking_tokens", "exit", "gate", "verbatim", "confirm", "sift", "reread", "answer_form",
    "temperature", "top_p", "seed",
)  # fmt: skip


def _settings(ran: Mapping[str, Mapping[str, Any]]) -> Section:
    names = [name for name in _SHOWN if any(settings.get(name) is not None for settings in ran.values())]
    rows = tuple((method, *(_value(settings.get(name)) for name in names)) for method, settings in ran.items())
    told = "Every default filled in, as the first problem ran. An empty cell: the problem says, or there is none."
    return Section("Settings", (Grid(("method", *(name.replace("_", " ") for name in names)), rows), told))


def _value(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
