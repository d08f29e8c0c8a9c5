"""Outcomes by method, task and length, in the order that every table and figure shows them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memagent.evaluation.outcome import NO_ANSWER, Outcome, Peak
from memagent.evaluation.statistics import Estimate, interval, paired, slope

Cells = dict[tuple[str, str, str], list[Outcome]]  # by method, label of the length, and task


@dataclass(frozen=True, slots=True)
class Length:
    """A column: the length and how it was written."""

    value: int
    label: str


@dataclass(frozen=True, slots=True)
class Fit:
    """A cost that grows like length^`exponent`, fitted to so many `lengths`."""

    exponent: float
    lengths: int


@dataclass(frozen=True)
class Table:
    """All outcomes with the names that occur in them, in order of appearance; tasks by name, lengths ascend."""

    outcomes: tuple[Outcome, ...]
    peaks: dict[tuple[str, int], Peak]
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    lengths: tuple[Length, ...]
    cells: Cells

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], peaks: Sequence[Peak]) -> Table:
        """The table of these outcomes."""
        lengths = {Length(outcome.length, outcome.label) for outcome in outcomes}
        cells: Cells = defaultdict(list)
        for outcome in outcomes:
            cells[outcome.method, outcome.label, outcome.task].append(outcome)
        return cls(
            outcomes=tuple(outcomes),
            peaks={(peak.method, peak.length): peak for peak in peaks},
            methods=tuple(dict.fromkeys(outcome.method for outcome in outcomes)),
            tasks=tuple(sorted({outcome.task for outcome in outcomes})),
            lengths=tuple(sorted(lengths, key=lambda length: (length.value, length.label))),
            cells=dict(cells),
        )

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics that occur."""
        return tuple(dict.fromkeys(name for outcome in self.outcomes for name in outcome.scores))

    def cell(self, method: str, length: Length, task: str) -> list[Outcome]:
        """The outcomes of a method at one length of one task."""
        return self.cells.get((method, length.label, task), [])

    def at(self, method: str, length: Length) -> list[Outcome]:
        """The outcomes of a method at one length, of all tasks."""
        return [outcome for task in self.tasks for outcome in self.cell(method, length, task)]

    def tasks_at(self, method: str, length: Length) -> list[str]:
        """The tasks that a method has results of at a length."""
        return [task for task in self.tasks if self.cell(method, length, task)]

    def score(self, method: str, length: Length, task: str | None = None, metric: str | None = None) -> Estimate | None:
        """The mean score of a task, or the mean of all tasks' means; None where no outcome has it."""
        tasks = self.tasks if task is None else (task,)
        groups = [self._values(method, length, one, metric) for one in tasks]
        known = [group for group in groups if group]
        return interval(*known) if known else None

    def compare(self, first: str, second: str, length: Length | None = None) -> Estimate | None:
        """The paired difference of two methods on the problems that both met, each task counting the same.

        Over all lengths, what asks the same at several lengths is one problem: its differences are averaged.
        """
        lengths = self.lengths if length is None else (length,)
        groups = [self._differences(first, second, lengths, task) for task in self.tasks]
        known = [group for group in groups if group]
        return paired(*known) if known else None

    def compared_tasks(self, first: str, second: str, length: Length) -> list[str]:
        """The tasks with problems at a length that both methods met."""
        return [task for task in self.tasks if self._differences(first, second, (length,), task)]

    def has_answers(self, method: str, length: Length) -> bool:
        """Whether any problem of a length came to an answer: where all overflow, nothing is worked on."""
        return self.median(method, length, lambda outcome: outcome.score) is not None

    def median(self, method: str, length: Length, value: Callable[[Outcome], float]) -> float | None:
        """The median over all tasks; problems without an answer are left out, as they took no work."""
        values = [value(outcome) for outcome in self.at(method, length) if outcome.status not in NO_ANSWER]
        return statistics.median(values) if values else None

    def fit(self, value: Callable[[Length], float | None]) -> Fit | None:
        """How a cost grows with the length; None where fewer than two lengths have one."""
        known = [(length.value, cost) for length in self.lengths if (cost := value(length))]
        exponent = slope([length for length, _ in known], [cost for _, cost in known]) if known else None
        return None if exponent is None else Fit(exponent, len(known))

    def _values(self, method: str, length: Length, task: str, metric: str | None) -> list[float]:
        outcomes = self.cell(method, length, task)
        if metric is None:
            return [outcome.score for outcome in outcomes]
        return [outcome.scores[metric] for outcome in outcomes if metric in outcome.scores]

    def _differences(self, first: str, second: str, lengths: Sequence[Length], task: str) -> list[float]:
        found: dict[tuple[int, str], list[float]] = defaultdict(list)
        for length in lengths:
            others = {outcome.index: outcome.score for outcome in self.cell(second, length, task)}
            for outcome in self.cell(first, length, task):
                if outcome.index in others:
                    found[outcome.index, outcome.question].append(outcome.score - others[outcome.index])
        return [statistics.fmean(differences) for differences in found.values()]
