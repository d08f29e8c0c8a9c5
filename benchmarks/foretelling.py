"""What foretells a right answer: false changes and exact copying, within the reader's readings and from 8K to 64K.

It builds a section of docs/results.md from outcomes, and does not know where these come from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from statistics import correlation, mean

from measuring import false_changes, fidelity
from memagent.evaluation.outcome import Outcome
from memagent.evaluation.reporting.sections import Grid, Section, percent
from memagent.evaluation.reporting.table import Table
from memagent.evaluation.statistics import interval

FOUND, COUNTED, PARAGRAPHS = "needles, vt", "cwe, fwe", "ruler-hqa"
NEAR, FAR = "8k", "64k"
KINDS: Mapping[str, Callable[[Outcome], bool]] = {
    "no change": lambda one: one.changes == 0,
    "a false change": lambda one: bool(one.false_changes),
    "a line not copied exactly": lambda one: one.exact < one.quotes,
    "neither": lambda one: True,
}


def score(found: Sequence[Outcome]) -> float:
    """The mean score."""
    return mean(one.score for one in found)


SIGNS: Mapping[str, Callable[[Sequence[Outcome]], float | None]] = {
    f"score at {NEAR}": score,
    "false changes a million tokens": false_changes,
    "copied exactly": fidelity,
}


def foretelling(table: Table) -> Section:
    """Both tables; the first is of the readings of the table's first method."""
    within = (
        "Scores of the reader's readings in percent, by the first of these that is true of their changes of memory."
    )
    across = (
        f"How well what readers were like at {NEAR} foretells their scores at {FAR}: the rank correlation (Spearman's, "
        "-1 to 1) of the two, where a reader that changes its memory at a task is one case."
    )
    return Section(
        "What foretells a right answer",
        (within, _within(table), across, _across(table)),
    )


def _within(table: Table) -> Grid:
    scores: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    labels = [length.label for length in table.lengths if table.at(table.methods[0], length)]
    for one in table.outcomes:
        if one.method == table.methods[0]:
            kind = next(kind for kind, fits in KINDS.items() if fits(one))
            scores[_subject(one.task), kind, one.label].append(one.score)
    rows = (
        (subject, kind, *(_mean(scores.get((subject, kind, label))) for label in labels))
        for subject, kind in product((FOUND, COUNTED, PARAGRAPHS), KINDS)
    )
    return Grid(("tasks", "changes", *labels), tuple(row for row in rows if any(row[2:])))


def _across(table: Table) -> Grid:
    pairs = [
        (near, table.cells[method, FAR, task])
        for (method, label, task), near in table.cells.items()
        if label == NEAR and (method, FAR, task) in table.cells and any(one.changes for one in near)
    ]
    found = [pair for pair in pairs if _subject(pair[0][0].task) == FOUND]
    rows = (("all", *_agreements(pairs)), (FOUND, *_agreements(found)))
    return Grid(("tasks", *SIGNS), rows)


def _agreements(pairs: Sequence[tuple[list[Outcome], list[Outcome]]]) -> Iterator[str]:
    for sign in SIGNS.values():
        known = [(told, score(far)) for near, far in pairs if (told := sign(near)) is not None]
        yield f"{spearman(*zip(*known, strict=True)):+.2f} n={len(known)}" if len(known) > 1 else ""


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where all of one side are equal."""
    if len(set(one)) < 2 or len(set(other)) < 2:
        return 0.0
    return correlation(_ranks(one), _ranks(other))


def _ranks(values: Sequence[float]) -> list[float]:
    """Each value's rank from 0; equal ones share the mean of theirs."""
    below = [sum(other < value for other in values) for value in values]
    return [first + (values.count(value) - 1) / 2 for first, value in zip(below, values, strict=True)]


def _subject(task: str) -> str:
    return {"cwe": COUNTED, "fwe": COUNTED, PARAGRAPHS: PARAGRAPHS}.get(task, FOUND)


def _mean(scores: Sequence[float] | None) -> str:
    return percent(interval(scores)) if scores else ""
