"""Runs an evaluation: every method on every problem, many at once, each result on disk when it is there.

It does not know what a reading or a baseline does, nor how results are shown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from memagent import scoring
from memagent.errors import DocumentError, InputError
from memagent.evaluation.data import digests
from memagent.evaluation.folder import ResultFolder
from memagent.evaluation.lineup import Entrant, check_methods, enter, line_up, model_label, scales_as_needed
from memagent.evaluation.memory_use import watching_memory
from memagent.evaluation.methods import Attempt, Method
from memagent.evaluation.outcome import NO_ANSWER, Outcome, Peak
from memagent.evaluation.progress import OnState, State, work
from memagent.evaluation.recipe import Recipe
from memagent.evaluation.suites import Cell, Suite, check_suite, longest_prompt, open_suite
from memagent.models import ModelOptions, open_model
from memagent.models.base import Model, Prompt
from memagent.reading import Journal
from memagent.reading.run import OnProgress, Progress
from memagent.reading.together import together
from memagent.tasks.problem import Problem

__all__ = ["OnState", "State", "evaluate", "score"]

REPLY_ROOM = 1024  # tokens by which a stretched window is larger than the longest prompt


@dataclass(frozen=True)
class _Group:
    """One method at one length: its problems run together, so that memory is its own."""

    entrant: Entrant
    length: int
    work: list[tuple[Cell, int]]


@dataclass(frozen=True)
class _Plan:
    suite: Suite
    entrants: list[Entrant]
    groups: list[_Group]
    window: int  # the first model's


async def evaluate(
    recipe: Recipe,
    folder: ResultFolder,
    *,
    on_state: OnState = lambda state: None,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Do what is left of `recipe`; results go to `folder`. `report` is told in a line what the user should know.

    Raises:
        InputError, SetupError: the recipe, its data or a model cannot be used; nothing was asked.
        StoppedError: stopped half-way; run again to go on.
    """
    recipe.check()
    check_methods(recipe.methods)
    check_suite(recipe)
    async with contextlib.aclosing(_Models(report)) as models:
        plan = await _prepare(recipe, folder.outcomes, models, report)
        folder.begin(await asyncio.to_thread(digests, recipe, plan.suite, folder.path))
        with folder.journal() as journal:
            session = _Session(recipe, plan, models, folder, journal, on_state)
            for group in plan.groups:
                await session.run(group)


async def _prepare(recipe: Recipe, done: Sequence[Outcome], models: _Models, report: Callable[[str], None]) -> _Plan:
    """What is to do, by the first model's tokenizer and window; all that can be wrong from the start shows here."""
    async with models.opened(recipe.models[0]) as first:
        suite = await asyncio.to_thread(_opened_suite, recipe, first)
        for note in suite.notes:
            report(f"note: {note}")
        stretched = scales_as_needed(recipe.methods)
        longest = await asyncio.to_thread(longest_prompt, suite, first.tokenizer) if stretched else 0
        entrants = line_up(recipe, longest + REPLY_ROOM)
        plan = _Plan(suite, entrants, list(_groups(suite, entrants, done)), first.window)
        recipe.reading.resolve(first)
        _try(recipe, plan, recipe.models[0], first)
    for options in dict.fromkeys(group.entrant.options for group in plan.groups):
        if options != recipe.models[0]:
            # One that cannot be used should not show after hours of work with another.
            async with models.opened(options) as model:
                _try(recipe, plan, options, model)
    return plan


def _opened_suite(recipe: Recipe, first: Model) -> Suite:
    """The suite, after a first problem of each task was made: that shows what is missing."""
    template = first.prompt_tokens(Prompt(segments=("x",))) - first.tokenizer.count("x")
    suite = open_suite(recipe, first.tokenizer, template_tokens=template if first.tokenizer.exact else 0)
    if not any(cell.count for cell in suite.cells):
        raise InputError(f"{recipe.suite} holds no problem")
    shortest: dict[str, Cell] = {}
    for cell in suite.cells:
        known = shortest.get(cell.task)
        if cell.count and (known is None or cell.length < known.length):
            shortest[cell.task] = cell
    for cell in shortest.values():
        cell.build(0)
    return suite


def _try(recipe: Recipe, plan: _Plan, options: ModelOptions, model: Model) -> None:
    """Raise OptionError where a method cannot run on its model with these settings."""
    for entrant in dict.fromkeys(group.entrant for group in plan.groups):
        if entrant.options == options:
            enter(entrant, model, recipe, Journal(), lambda progress: None)


class _Models:
    """Opens models; a local one anew for each group, so that memory and cached prompts are the group's own."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._endpoints: dict[ModelOptions, Model] = {}
        self._opened: set[ModelOptions] = set()
        self._noted: set[str] = set()

    @contextlib.asynccontextmanager
    async def opened(self, options: ModelOptions) -> AsyncIterator[Model]:
        """The model; an endpoint's stays open."""
        is_local = options.model.partition(":")[0] == "local"
        if is_local and options not in self._opened:
            self._report(f"opening {_named(options)}")
        model = self._endpoints.get(options) or await open_model(options, report=self._report)
        self._opened.add(options)
        for note in model.notes:
            if note not in self._noted:
                self._noted.add(note)
                self._report(f"note: {note}")
        if not is_local:
            self._endpoints[options] = model
            yield model
        else:
            async with contextlib.aclosing(model):
                yield model

    async def aclose(self) -> None:
        """Let go of the endpoints."""
        for model in self._endpoints.values():
            await model.aclose()


def _named(options: ModelOptions) -> str:
    return model_label(options) + (f" with {options.rope}" if options.rope else "")


def _groups(suite: Suite, entrants: list[Entrant], done: Sequence[Outcome]) -> Iterator[_Group]:
    """What is left to do, method by method, the short lengths first."""
    finished = {(outcome.method, outcome.task, outcome.label, outcome.index) for outcome in done}
    lengths = sorted({cell.length for cell in suite.cells})
    for entrant in entrants:
        for length in lengths:
            cells = [cell for cell in suite.cells if cell.length == length]
            work = [
                (cell, index)
                for index in range(max(cell.count for cell in cells))
                for cell in cells
                if index < cell.count and (entrant.name, cell.task, cell.label, index) not in finished
            ]
            if work:
                yield _Group(entrant, length, work)


def _state(plan: _Plan, outcomes: Sequence[Outcome]) -> State:
    total = len(plan.entrants) * sum(cell.count for cell in plan.suite.cells)
    cells = [(entrant, cell) for entrant in plan.entrants for cell in plan.suite.cells]
    weight = sum(_weight(entrant, cell, plan.window) * cell.count for entrant, cell in cells)
    left = sum(_weight(group.entrant, cell, plan.window) for group in plan.groups for cell, _ in group.work)
    state = State(total=total, weight=weight, weight_done=weight - left, weight_before=weight - left)
    state.outcomes = outcomes
    return state


def _weight(entrant: Entrant, cell: Cell, window: int) -> int:
    return work(entrant.kind, cell.length, window, in_documents=cell.in_documents)


class _Session:
    """Works on groups: at most `at_once` problems are worked on, and only those are in memory."""

    def __init__(
        self,
        recipe: Recipe,
        plan: _Plan,
        models: _Models,
        folder: ResultFolder,
        journal: Journal,
        on_state: OnState,
    ) -> None:
        self._recipe = recipe
        self._window = plan.window
        self._models = models
        self._folder = folder
        self._journal = journal
        self._state = _state(plan, folder.outcomes)
        self._on_state = on_state

    async def run(self, group: _Group) -> None:
        """Work until none of the group is left."""
        self._state.now = f"{group.entrant.name} · {group.work[0][0].label}"
        self._on_state(self._state)
        queue = iter(group.work)
        workers = min(self._recipe.at_once, len(group.work))
        async with self._models.opened(group.entrant.options) as model:
            method = enter(group.entrant, model, self._recipe, self._journal, self._watcher(group))
            # One thread makes problems, so that generators need no locks and the event loop goes on meanwhile.
            with watching_memory() as use, ThreadPoolExecutor(1, thread_name_prefix="problems") as maker:
                await together([self._worker(group, method, queue, maker) for _ in range(workers)])
        peak = Peak(method=group.entrant.name, length=group.length, resident=use.resident, gpu=use.gpu)
        self._folder.add_peak(peak)

    def _watcher(self, group: _Group) -> OnProgress:
        weight = _weight(group.entrant, group.work[0][0], self._window)

        def watch(progress: Progress) -> None:
            run = progress.run
            self._state.reading[run.reading_id] = (weight, run.position / max(1, run.characters))
            self._on_state(self._state)

        return watch

    async def _worker(
        self, group: _Group, method: Method, queue: Iterator[tuple[Cell, int]], maker: ThreadPoolExecutor
    ) -> None:
        loop = asyncio.get_running_loop()
        for cell, index in queue:
            problem = await loop.run_in_executor(maker, cell.build, index)
            attempt = await _attempt(method, problem)
            self._folder.add(score(problem, attempt, cell=cell, index=index, method=group.entrant.name))
            self._state.reading.pop(attempt.reading_id, None)
            self._state.weight_done += _weight(group.entrant, cell, self._window)
            self._on_state(self._state)


async def _attempt(method: Method, problem: Problem) -> Attempt:
    """An attempt; a document that cannot be read is one failed problem."""
    try:
        return await method.attempt(problem)
    except DocumentError as error:
        return Attempt(status="failed", error=str(error))


def score(problem: Problem, attempt: Attempt, *, cell: Cell, index: int, method: str) -> Outcome:
    """An attempt as a line of results. Where there was no answer, every score is 0 whatever a metric says."""
    scores = scoring.scores(attempt.reply, problem.answers, problem.metric)
    if attempt.status in NO_ANSWER:
        scores = dict.fromkeys(scores, 0.0)
    usage = attempt.usage
    return Outcome(
        problem=problem.id,
        index=index,
        task=cell.task,
        metric=problem.metric,
        method=method,
        length=cell.length,
        label=cell.label,
        status=attempt.status,
        question=problem.question,
        references=problem.answers,
        reply=attempt.reply,
        answer=attempt.answer,
        score=scores[problem.metric],
        scores=scores,
        document_tokens=attempt.document_tokens or problem.length or 0,
        seconds=usage.seconds,
        model_calls=usage.model_calls,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        cost_usd=usage.cost_usd,
        reading_id=attempt.reading_id,
        changes=attempt.tally.changed,
        false_changes=attempt.false_changes,
        doubted=attempt.tally.doubted,
        quotes=attempt.tally.quotes,
        exact=attempt.tally.exact,
        error=attempt.error,
        notes=dict(problem.notes),
    )
