"""Best-of-N: which questions a model answers with no context at all, in any of N samples. They teach no reading.

MemAgent kept 32,768 of 80,000 questions of HotpotQA in this way, by 2 samples each of a base and an instruct
model (arXiv 2507.02259). A sample is the baseline `no-context` with a seed of its own; all of them are kept in a
journal, so that resuming is asking again from the start. It does not know files of problems, nor what is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from memagent.errors import OptionError
from memagent.evaluation.baselines import no_context
from memagent.evaluation.consulting import Baseline
from memagent.evaluation.lineup import model_label
from memagent.evaluation.methods import Attempt, Method
from memagent.evaluation.outcome import NO_ANSWER
from memagent.evaluation.progress import OnState, State
from memagent.models import ModelOptions, open_model
from memagent.models.base import Model
from memagent.reading import Journal, Settings
from memagent.reading.together import together
from memagent.scoring import metric_named
from memagent.tasks.problem import Problem

AT_ONCE = 64  # questions, where a model does not take more calls than that; it bounds its calls itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Each model in turn is asked up to `samples` times, until a reply scores `at_least`.

    `settings` hold the sampling; their seed is what the seeds of all samples follow from.
    """

    models: tuple[ModelOptions, ...] = (ModelOptions(),)
    samples: int = 2
    at_least: float = 1.0
    settings: Settings = field(default_factory=lambda: Settings(temperature=1.0))

    def check(self) -> None:
        """Raise OptionError where samples could not differ, replies have no room, or two models the same name."""
        for name, least in (("answer_tokens", 1), ("thinking_tokens", 0)):
            given = getattr(self.settings, name)
            if given is not None and given < least:
                raise OptionError(f"--{name.replace('_', '-')} must be at least {least}, not {given}")
        if self.samples > 1 and self.settings.temperature == 0:
            raise OptionError("at temperature 0 all samples are the same: give --temperature, or --samples 1")
        if len(set(map(model_label, self.models))) < len(self.models):
            raise OptionError("two of the models have the same name and adapter")

    def seed(self, sample: int) -> int:
        """The seed of a sample, counted from 1."""
        return 1000 * (self.settings.seed or 0) + sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """What one sample of one model made of a question; `error` says why there is no reply."""

    model: str
    sample: int
    reply: str
    score: float
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class Question:
    """A question with its answers, asked once for all problems that ask it.

    `problem` has no document; `numbers` (from 0) and `ids` are those of the problems. `hit` is the try that
    answered it.
    """

    problem: Problem
    numbers: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    tries: list[Try] = field(default_factory=list)
    hit: Try | None = None

    @property
    def failure(self) -> Try | None:
        """The first call that gave no reply, where the question is kept nevertheless."""
        return None if self.hit else next((one for one in self.tries if one.error is not None), None)


@dataclass(slots=True, kw_only=True)
class Tally:
    """How one sample of one model fared: `asked` questions, of which so many were hit, and so many failed.

    Nobody is asked what is hit already, so later samples have the harder questions.
    """

    model: str
    sample: int
    seed: int
    asked: int = 0
    hits: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


def distinct(problems: Iterable[Problem], metric: str | None = None) -> list[Question]:
    """The questions of problems, each once, in order; with another main `metric` if there is one.

    Raises:
        OptionError: there is no such metric.
    """
    if metric is not None:
        metric_named(metric)
    found: dict[str, Question] = {}
    for number, problem in enumerate(problems):
        name = _digest(problem)
        if name not in found:
            found[name] = Question(problem=_alone(problem, name, metric or problem.metric))
        found[name].numbers.append(number)
        found[name].ids.append(problem.id)
    return list(found.values())


class BestOfN:
    """Asks questions; what came of it stands in them, and in sums in `tallies`."""

    def __init__(self, questions: Sequence[Question], plan: Plan, journal: Journal) -> None:
        """Nothing is asked yet.

        Raises:
            OptionError: the plan makes no sense.
        """
        plan.check()
        self.questions = questions
        self.plan = plan
        self.state = State(total=len(questions), weight=len(questions) * len(plan.models))
        self.tallies = [
            Tally(model=model_label(options), sample=sample, seed=plan.seed(sample))
            for options in plan.models
            for sample in range(1, plan.samples + 1)
        ]
        self._journal = journal

    @property
    def dropped(self) -> list[Question]:
        """The questions that were answered."""
        return [question for question in self.questions if question.hit]

    @property
    def failed(self) -> list[Question]:
        """The questions that are kept, though not all of their samples gave a reply."""
        return [question for question in self.questions if question.failure]

    def kept(self) -> set[int]:
        """The numbers of the problems that no sample answered."""
        return {number for question in self.questions if not question.hit for number in question.numbers}

    async def run(
        self, *, on_state: OnState = lambda state: None, report: Callable[[str], None] = lambda line: None
    ) -> None:
        """Ask until each question is hit or all samples are drawn. `report` is told what the user should know.

        Raises:
            SetupError: a model cannot be used.
            StoppedError: stopped half-way; run again with the same journal to go on.
        """
        for number, options in enumerate(self.plan.models):
            left = [question for question in self.questions if not question.hit]
            if not left:
                return
            self.state.now = model_label(options)
            async with contextlib.aclosing(await open_model(options, report=report)) as model:
                on_state(self.state)
                first = number * self.plan.samples
                tallies = self.tallies[first : first + self.plan.samples]
                samples = [(self._method(model, tally), tally) for tally in tallies]
                queue, models_left = iter(left), len(self.plan.models) - number
                at_once = min(len(left), max(AT_ONCE, options.concurrency or 0))
                await together([self._worker(queue, samples, models_left, on_state) for _ in range(at_once)])
                for note in model.notes:
                    report(f"note: {note}")

    def _method(self, model: Model, tally: Tally) -> Method:
        settings = replace(self.plan.settings, seed=tally.seed)
        return Baseline("no-context", no_context, model, settings, self._journal)

    async def _worker(
        self,
        queue: Iterator[Question],
        samples: Sequence[tuple[Method, Tally]],
        models_left: int,
        on_state: OnState,
    ) -> None:
        for question in queue:
            known = True
            for method, tally in samples:
                known &= await self._ask(question, method, tally)
                if question.hit:
                    break
            done = models_left if question.hit else 1
            self.state.weight_done += done
            self.state.weight_before += done if known else 0
            on_state(self.state)
            await asyncio.sleep(0)  # a long replay must not be deaf to Ctrl-C

    async def _ask(self, question: Question, method: Method, tally: Tally) -> bool:
        """One sample; whether its reply was known from an earlier session."""
        began = time.monotonic()
        attempt = await method.attempt(question.problem)
        known = time.monotonic() - began < attempt.usage.seconds  # what is asked now takes what it says it took
        one = self._try(question.problem, attempt, tally)
        question.tries.append(one)
        question.hit = one if one.error is None and one.score >= self.plan.at_least else None
        _count(tally, one, attempt, is_hit=question.hit is not None)
        return known

    def _try(self, problem: Problem, attempt: Attempt, tally: Tally) -> Try:
        has_reply = attempt.status not in NO_ANSWER
        score = metric_named(problem.metric)(attempt.reply, problem.answers) if has_reply else 0.0
        return Try(
            model=tally.model,
            sample=tally.sample,
            reply=attempt.reply,
            score=score,
            error=None if has_reply else attempt.error or attempt.status,
        )

    def as_json(self) -> dict[str, Any]:
        """The report, in plain values: how many were read, kept and dropped, and which reply dropped which."""
        numbers = [len(question.numbers) for question in self.questions]
        gone = [len(question.numbers) for question in self.dropped]
        return {
            "problems": {"read": sum(numbers), "kept": sum(numbers) - sum(gone), "dropped": sum(gone)},
            "questions": {
                "read": len(numbers),
                "kept": len(numbers) - len(gone),
                "dropped": len(gone),
                "failed": len(self.failed),
            },
            "at_least": self.plan.at_least,
            "sampling": {name: getattr(self.plan.settings, name) for name in _SAMPLING},
            "samples": [asdict(tally) for tally in self.tallies],
            "dropped": [_told(question, question.hit) for question in self.questions if question.hit],
            "failed": [_told(question, question.failure) for question in self.questions if question.failure],
        }


_SAMPLING = ("temperature", "top_p", "seed", "answer_tokens", "thinking_tokens")


def _digest(problem: Problem) -> str:
    """Names what is asked and how it is judged: problems that share it are one question."""
    parts = [problem.question, problem.answers, problem.metric]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def _alone(problem: Problem, name: str, metric: str) -> Problem:
    """The question without its document. Its name stands in for that one, so that the journal tells questions apart."""
    return Problem(
        id=name, task=problem.task, question=problem.question, answers=problem.answers, metric=metric, context=name
    )


def _count(tally: Tally, one: Try, attempt: Attempt, *, is_hit: bool) -> None:
    tally.asked += 1
    tally.hits += is_hit
    tally.failed += one.error is not None
    tally.prompt_tokens += attempt.usage.prompt_tokens
    tally.completion_tokens += attempt.usage.completion_tokens
    tally.cost_usd += attempt.usage.cost_usd


def _told(question: Question, one: Try) -> dict[str, Any]:
    problem = question.problem
    about = {"question": problem.question, "answers": list(problem.answers), "metric": problem.metric}
    return {"problems": question.ids, **about, **asdict(one)}
