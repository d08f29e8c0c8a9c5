"""One step of Multi-Conv DAPO: sample groups, drop those that teach nothing, learn the rest in mini-batches.

It knows neither files nor screens, nor where problems come from.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from memagent.tasks.problem import Problem
from memagent.training.advantages import Advantages, Row, Totals, rows, token_weights
from memagent.training.experience import Group
from memagent.training.learner import Learner, Prepared, Update
from memagent.training.metrics import StepMetrics
from memagent.training.objective import Objective
from memagent.training.recipe import Rollouts
from memagent.training.rewards import Reward
from memagent.training.sampling import Sampler, Tally, group, seeds, tally

# Problems by how many are wanted and how often they were asked for before: the step's own source of them.
Draw = Callable[[int, int], Sequence[Problem]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What a step sampled, the same in every process. `dropped` groups had no two different rewards."""

    groups: tuple[Group, ...]
    everyone: tuple[Group, ...]
    tally: Tally
    seconds: float

    @property
    def dropped(self) -> int:
        """Groups that were sampled and are not learnt from."""
        return len(self.everyone) - len(self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinforcing:
    """All that a step needs, but for its problems. `reference` are the weights that the KL is measured against."""

    rollouts: Rollouts
    advantages: Advantages
    objective: Objective
    sampler: Sampler
    learner: Learner
    reward: Reward
    reference: Mapping[str, torch.Tensor]

    async def sample(self, draw: Draw, *, seed: int) -> Experience:
        """Groups of rollouts; with dynamic sampling those that teach nothing are drawn again, within the bound."""
        began, settings = time.monotonic(), self.rollouts
        every: list[Group] = []
        taught: list[Group] = []
        total = Tally()
        for attempt in range(settings.refills + 1):
            found, counted = await self._groups(draw(settings.problems - len(taught), attempt), seed=seed + attempt)
            every += found
            total += counted
            taught += [one for one in found if one.teaches or not settings.refills]
            if len(taught) >= settings.problems:
                break
        seconds = time.monotonic() - began
        return Experience(groups=tuple(taught), everyone=tuple(every), tally=total, seconds=seconds)

    async def _groups(self, problems: Sequence[Problem], *, seed: int) -> tuple[list[Group], Tally]:
        processes, size = self.learner.processes, self.rollouts.group
        mine = processes.mine(problems)
        asked = seeds(mine, size=size, seed=seed, first=processes.rank, step=processes.count)
        made = await self.sampler.read(asked)
        tokenizer = self.sampler.model.tokenizer
        counted = sum((tally(one, tokenizer) for one in made), Tally())
        found = [group(made[at : at + size], self.reward) for at in range(0, len(made), size)]
        everyone = sum(processes.everyones([counted]), Tally())
        return processes.everyones(found), everyone

    def learn(self, experience: Experience) -> list[Update]:
        """The updates of one epoch; log-probabilities before them are made with the weights that sampled."""
        learnt = [self._learnt(one) for one in experience.groups]
        batch_tokens = sum(one.tokens for one in learnt)
        parts = [self._mini_batch(part, batch_tokens) for part in _split(learnt, self.rollouts.updates)]
        reference = self.reference if self.objective.kl > 0 else None
        for prepared in parts:
            self.learner.score(prepared, reference, old=len(parts) > 1)
        return [self.learner.reinforce(prepared, self.objective) for prepared in parts]

    def _mini_batch(self, groups: Sequence[Group], batch_tokens: int) -> list[Prepared]:
        """This process's part of a mini-batch of a rollout batch with so many sampled tokens."""
        mine = self.learner.processes.mine(groups)
        totals = Totals(
            groups=len(groups),
            tokens=sum(one.tokens for one in groups),
            batch_tokens=batch_tokens,
            updates=self.rollouts.updates,
            ranks=self.learner.processes.count,
        )
        weights = token_weights([one.tokens for one in mine], self.advantages.normalisation, totals)
        return self.learner.prepare(self._rows(mine, weights))

    def plain_tokens(self, experience: Experience) -> int:
        """Ids that one epoch over what is learnt computes if nothing is shared."""
        found = self._rows(experience.groups, [1.0] * len(experience.groups))
        return sum(row.conversation.length for row in found)

    def _rows(self, groups: Sequence[Group], weights: Sequence[float]) -> list[Row]:
        """What the learner computes: without KL an advantage of 0 has no gradient, and needs no pass."""
        found = rows(groups, weights, divide_by_std=self.advantages.divide_by_std)
        return found if self.objective.kl else [row for row in found if row.advantage]

    def _learnt(self, one: Group) -> Group:
        """The group without what is masked: turns that were cut off at their limit, if the recipe says so."""
        if self.rollouts.cut_off == "keep":
            return one
        kept = (
            replace(rollout, conversations=tuple(c for c in rollout.conversations if c.finish == "stop"))
            for rollout in one.rollouts
        )
        return replace(one, rollouts=tuple(kept))


def _split(groups: Sequence[Group], updates: int) -> list[Sequence[Group]]:
    """As many mini-batches of like sizes; fewer where there are fewer groups."""
    count = min(updates, len(groups))
    bounds = [len(groups) * at // count for at in range(count + 1)] if count else [0]
    return [groups[first:last] for first, last in itertools.pairwise(bounds)]


def metrics(
    step: int, experience: Experience, updates: Sequence[Update], *, seconds: float, learning: float, plain_tokens: int
) -> StepMetrics:
    """A step's record; `learning` are the seconds of its updates, `plain_tokens` what they learnt as if nothing were
    shared."""
    every, total = experience.everyone, experience.tally
    learnt = sum(len(rollout.conversations) for one in experience.groups for rollout in one.rollouts)
    return StepMetrics(
        step=step,
        seconds=seconds,
        loss=_mean([one.loss for one in updates]),
        lr=updates[-1].lr if updates else 0.0,
        grad_norm=_mean([one.grad_norm for one in updates]),
        skipped=sum(one.skipped for one in updates),
        tokens=sum(one.tokens for one in updates),
        learner_speed=plain_tokens / learning if learning else 0.0,
        reward=_mean([reward for one in every for reward in one.rewards]),
        spread=_mean([statistics.pstdev(one.rewards) for one in every]),
        kl=_mean([one.kl for one in updates]),
        clip_fraction=_mean([one.clip_fraction for one in updates]),
        drift=_mean([one.drift for one in updates]),
        keep_rate=total.kept / max(1, total.chunks),
        false_changes=total.false_rate,
        memory_tokens=total.memory_tokens / max(1, total.readings),
        dropped_groups=experience.dropped,
        sampled=total.conversations,
        learnt=learnt,
        sampler_speed=total.call_tokens / max(1e-9, experience.seconds),
    )


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0
