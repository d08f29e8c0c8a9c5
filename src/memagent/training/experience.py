"""What is learnt from: conversations, the rollouts they belong to, and groups of rollouts. Plain records.

Ids are those that were sampled, never those of a text that was tokenised again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One turn as a training sequence: the ids of `prompt` with the chat template, then those of `completion`.

    The first `shared` ids of the prompt stand in other conversations too (problem and chunk before the memory).
    `logprobs` are the sampler's, in nats, one for each id of the completion, under the sampling temperature. `place`
    is the chunk's name, or `answer`.
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    logprobs: tuple[float, ...]
    shared: int = 0
    place: str = "answer"
    finish: Literal["stop", "length"] = "stop"

    def __post_init__(self) -> None:
        if len(self.completion) != len(self.logprobs) or not self.completion:
            raise ValueError("a conversation has one log-probability for each of its sampled ids, and at least one id")
        if not 0 <= self.shared < len(self.prompt):
            raise ValueError("a prompt has at least one id of its own behind those it shares")

    @property
    def length(self) -> int:
        """Ids of prompt and completion."""
        return len(self.prompt) + len(self.completion)

    @property
    def prefix(self) -> tuple[int, ...]:
        """The ids that others may share."""
        return self.prompt[: self.shared]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A sampled reading: its conversations in order, the answer last, and one reward for all of them.

    `parts` are the reward's summands by name; `reading` the id of the reading in the run's journal.
    """

    conversations: tuple[Conversation, ...]
    reward: float
    answer: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)
    reading: str = ""

    @property
    def tokens(self) -> int:
        """Sampled ids of all conversations."""
        return sum(len(conversation.completion) for conversation in self.conversations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The rollouts of one problem."""

    problem: str
    task: str
    rollouts: tuple[Rollout, ...]

    @property
    def rewards(self) -> tuple[float, ...]:
        """One for each rollout."""
        return tuple(rollout.reward for rollout in self.rollouts)

    @property
    def tokens(self) -> int:
        """Sampled ids of all rollouts."""
        return sum(rollout.tokens for rollout in self.rollouts)

    @property
    def teaches(self) -> bool:
        """Whether its rewards differ: where they are equal, every advantage is 0."""
        return len(set(self.rewards)) > 1
