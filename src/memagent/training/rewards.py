"""What a rollout is worth: its answer's score, and optional bonuses for how it was read.

It does not know groups or losses. The reward is one number for all conversations of a rollout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from memagent.errors import OptionError
from memagent.reading import Reading
from memagent.reading.result import Turn
from memagent.scoring import metric_named
from memagent.tasks.facts import Fact, facts_of, needless, within
from memagent.tasks.problem import Problem
from memagent.tokens import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSettings:
    """`metric` names the score of the answer (empty: the problem's own). The others weigh what is added; 0 is nothing.

    `gate` pays for the share of chunks with the right decision: change where a fact that the answer rests on stands in
    the chunk, keep elsewhere (problems whose facts are known). `exit` pays for the share of the document that an early
    end spared, if the answer is right. `brevity` pays for the share of the memory that is free at the end, if
    the answer is right. `overlong` is taken off where a turn was cut off at its limit.
    """

    metric: str = ""
    gate: float = 0.0
    exit: float = 0.0
    brevity: float = 0.0
    overlong: float = 0.0

    def check(self) -> None:
        """Raise OptionError for a metric that does not exist, or a weight below 0."""
        if self.metric:
            metric_named(self.metric)
        for name in ("gate", "exit", "brevity", "overlong"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"[reward] {name} must be 0 or more, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A reading as rewards see it: its turns in order, and whether any of its calls reached its limit."""

    reading: Reading
    turns: Sequence[Turn]
    cut_off: bool


Reward = Callable[[Problem, Read], dict[str, float]]


def reward_of(settings: RewardSettings, *, memory_tokens: int, tokenizer: Tokenizer) -> Reward:
    """A function that gives a reading's reward in its parts, by name; they add up to it. `score` is the answer's."""

    def parts(problem: Problem, read: Read) -> dict[str, float]:
        score = metric_named(settings.metric or problem.metric)(read.reading.reply, problem.answers)
        found = {"score": score}
        if settings.gate:
            found["gate"] = settings.gate * gate_share(problem, read.turns)
        if settings.exit:
            spared = 1 - read.turns[-1].end / max(1, len(problem.context)) if read.turns else 0.0
            found["exit"] = settings.exit * score * max(0.0, spared)
        if settings.brevity:
            used = min(1.0, tokenizer.count(read.reading.memory) / memory_tokens)
            found["brevity"] = settings.brevity * score * (1 - used)
        if settings.overlong:
            found["overlong"] = -settings.overlong if read.cut_off else 0.0
        return found

    return parts


def gate_share(problem: Problem, turns: Sequence[Turn]) -> float:
    """The share of chunks where the gate decided rightly; 1 where no facts are known.

    A chunk that only cuts a fact, or shows no fact that an earlier one did not show, counts neither way.
    """
    facts = facts_of(problem)
    right = list(_decisions(facts, turns)) if facts else []
    return sum(right) / len(right) if right else 1.0


def _decisions(facts: Sequence[Fact], turns: Sequence[Turn]) -> Iterator[bool]:
    """Whether each turn that can be judged was right to change the memory, or to leave it."""
    known: set[str] = set()
    for turn in turns:
        holds, whole = within(facts, turn.start, turn.end)
        new = {fact.text for fact in whole} - known
        known |= new
        if new or holds == "nothing":
            yield turn.changed == bool(new)


def false_changes(problem: Problem, turns: Sequence[Turn]) -> int | None:
    """How many chunks without any part of a fact changed the memory; None where no facts are known."""
    return needless(problem, ((turn.start, turn.end) for turn in turns if turn.changed))
