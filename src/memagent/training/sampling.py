"""Rollouts: readings that the one reader makes with the policy's weights, every call of them recorded.

What is learnt from is what was sampled: ids and log-probabilities come from the engine, no text is tokenised again, and
nothing constrains a choice. It does not know losses or optimizers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from memagent.models.base import Completion, Model, Prompt, Request
from memagent.reading import Journal, Reader, Settings
from memagent.reading.result import Turn
from memagent.reading.run import Progress
from memagent.tasks.problem import Problem
from memagent.tokens import Tokenizer
from memagent.training.experience import Conversation, Group, Rollout
from memagent.training.rewards import Read, Reward, false_changes


class Recorder:
    """A model that passes every call on to `model` and keeps what came back, with ids and log-probabilities."""

    def __init__(self, model: Model) -> None:
        self.calls: list[Completion] = []
        self.asked = 0  # those that failed and were asked again among them
        self.name, self.window = model.name, model.window
        self.tokenizer, self.special_tokens = model.tokenizer, model.special_tokens
        self.suggests, self.price = model.suggests, model.price
        self.notes, self.identity = model.notes, model.identity
        self._model = model

    def prompt_tokens(self, prompt: Prompt) -> int:
        """See `Model`."""
        return self._model.prompt_tokens(prompt)

    async def generate(self, request: Request) -> Completion:
        """See `Model`."""
        self.asked += 1
        completion = await self._model.generate(replace(request, logprobs=True))
        self.calls.append(completion)
        return completion

    async def disconnect(self) -> None:
        """The model is another's to let go of."""

    async def aclose(self) -> None:
        """See `disconnect`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One reading to make: a problem, the seed of its sampling (None: greedy), and whether the journal keeps it."""

    problem: Problem
    seed: int | None = None
    kept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A reading that was made, and its calls in the order of its turns, the answer's last."""

    problem: Problem
    read: Read
    calls: tuple[Completion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Makes readings of many problems at once.

    `model` generates; `settings` say how it reads, one chunk at a time (what is tried in vain is no turn); `journal`
    keeps the readings that are asked to be kept, so that people can open them; `taking_part` surrounds each, so that
    batches wait for all (`LockstepEngine.reading`).
    """

    model: Model
    settings: Settings
    journal: Journal | None = None
    taking_part: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext

    async def read(self, asked: Sequence[Asked]) -> list[Made]:
        """A reading for each, in the same order.

        Raises:
            MemagentError: a problem cannot be read at all, or sampling failed.
        """
        places = [contextlib.ExitStack() for _ in asked]
        for place in places:
            place.enter_context(self.taking_part())
        return await asyncio.gather(*(self._one(one, place) for one, place in zip(asked, places, strict=True)))

    async def _one(self, asked: Asked, place: contextlib.ExitStack) -> Made:
        turns: list[Turn] = []

        def note(progress: Progress) -> None:
            turns.extend([progress.turn] if progress.turn else [])

        with place:
            recorder = Recorder(self.model)
            settings = replace(self.settings, seed=asked.seed, read_ahead=1)
            journal = self.journal if asked.kept else None
            reader = Reader(recorder, settings, journal=journal, on_progress=note)
            reading = await reader.read(asked.problem.document(), asked.problem.question)
        calls = tuple(recorder.calls)
        taken = sum(turn.calls for turn in turns) + 1
        if taken != recorder.asked:
            raise RuntimeError(f"{recorder.asked} calls were made and {taken} belong to turns: some would be lost")
        cut_off = any(call.finish == "length" for call in calls)
        return Made(problem=asked.problem, read=Read(reading=reading, turns=turns, cut_off=cut_off), calls=calls)


def seeds(problems: Sequence[Problem], *, size: int, seed: int, first: int = 0, step: int = 1) -> list[Asked]:
    """`size` rollouts of each problem to ask for, the first problem's kept; the same `seed` draws the same.

    The problems have the numbers `first`, `first + step` … of the whole list, so that a part of it is sampled as it
    would be within the whole.
    """
    return [
        Asked(
            problem=problem,
            seed=((seed * 1_000_003 + first + step * at) * 1_009 + index) % 2**62,
            kept=first + step * at == 0,
        )
        for at, problem in enumerate(problems)
        for index in range(size)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Sums over readings: chunks, how many of them left the memory alone, tokens of final memories, and of calls as if
    nothing were shared; over those of problems whose facts are known, chunks that changed the memory without any part
    of a fact in them, and `judged_tokens`, those of the documents."""

    readings: int = 0
    chunks: int = 0
    kept: int = 0
    false_changes: int = 0
    judged_tokens: int = 0
    memory_tokens: int = 0
    call_tokens: int = 0
    conversations: int = 0

    @property
    def false_rate(self) -> float:
        """False changes a million tokens; 0 where no facts are known."""
        return 1e6 * self.false_changes / max(1, self.judged_tokens)

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


def tally(one: Made, tokenizer: Tokenizer) -> Tally:
    """A reading's part of the sums."""
    turns, reading = one.read.turns, one.read.reading
    false = false_changes(one.problem, turns)
    return Tally(
        readings=1,
        chunks=len(turns),
        kept=sum(not turn.changed for turn in turns),
        false_changes=false or 0,
        judged_tokens=0 if false is None else reading.coverage.document_tokens,
        memory_tokens=tokenizer.count(reading.memory),
        call_tokens=sum(call.prompt_tokens + call.completion_tokens for call in one.calls),
        conversations=len(one.calls),
    )


def group(made: Sequence[Made], reward: Reward) -> Group:
    """Readings of one problem as a group; the prompts of a place share what they begin with alike."""
    shared = _shared(made)
    rollouts = []
    for one in made:
        parts = reward(one.problem, one.read)
        pairs = zip(_places(one.calls), one.calls, strict=True)
        rollouts.append(
            Rollout(
                conversations=tuple(_conversation(call, place, shared[place]) for place, call in pairs),
                reward=sum(parts.values()),
                parts=parts,
                answer=one.read.reading.answer,
                reading=one.read.reading.reading_id,
            )
        )
    return Group(problem=made[0].problem.id, task=made[0].problem.task, rollouts=tuple(rollouts))


def _places(calls: Sequence[Completion]) -> list[str]:
    """Names by which the calls of one group's readings correspond."""
    return [*map(str, range(len(calls) - 1)), "answer"]


def _shared(made: Sequence[Made]) -> dict[str, int]:
    """For each place, how many ids all prompts begin with alike; 0 where there is one prompt."""
    prompts: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for one in made:
        for place, call in zip(_places(one.calls), one.calls, strict=True):
            prompts[place].append(call.prompt_ids or ())
    return {place: _alike(found) if len(found) > 1 else 0 for place, found in prompts.items()}


def _alike(prompts: Sequence[tuple[int, ...]]) -> int:
    """At least one id of each prompt is left to its own part."""
    first, last = min(prompts), max(prompts)
    most = min(map(len, prompts)) - 1
    return next((at for at in range(most) if first[at] != last[at]), most)


def _conversation(call: Completion, place: str, shared: int) -> Conversation:
    if call.prompt_ids is None or call.token_ids is None or call.logprobs is None:
        raise ValueError("the model tells no ids and log-probabilities: it cannot be sampled from for training")
    return Conversation(
        prompt=call.prompt_ids,
        completion=call.token_ids,
        logprobs=call.logprobs,
        shared=shared,
        place=place,
        finish=call.finish,
    )
