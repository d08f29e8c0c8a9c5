"""From rewards to what each sampled token is worth: Multi-Conv DAPO's advantages and normalisations. Pure functions.

Everything is worked out per rollout, before anything is expanded to conversations or tokens, so that long documents do
not count more than short ones (arXiv 2507.02259, section 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from memagent.training.experience import Conversation, Group

# Over which tokens the loss is averaged; see `token_weights`.
Normalisation = Literal["group", "batch", "global", "rank"]
NORMALISATIONS: tuple[Normalisation, ...] = ("group", "batch", "global", "rank")
EPSILON = 1e-6  # beside a standard deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class Advantages:
    """`divide_by_std` is GRPO's; `normalisation` says over which tokens the loss is averaged."""

    divide_by_std: bool = False
    normalisation: Normalisation = "group"


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation with its rollout's advantage and the weight of each of its tokens in the loss.

    `first` is the weight of the first token, which decides what a turn does, where it is another.
    """

    conversation: Conversation
    advantage: float
    weight: float
    first: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counts over all ranks: groups and sampled tokens of the mini-batch, sampled tokens of the whole rollout batch,
    and in how many mini-batches that is learnt."""

    groups: int
    tokens: int
    batch_tokens: int
    updates: int = 1
    ranks: int = 1


def group_advantages(rewards: Sequence[float], *, divide_by_std: bool = False) -> list[float]:
    """R − mean(R) for each rollout of a group; divided by the standard deviation (n − 1) if asked.

    The default is MemAgent's (as Dr. GRPO's); GRPO divides.
    """
    mean = math.fsum(rewards) / len(rewards)
    centred = [reward - mean for reward in rewards]
    if not divide_by_std or len(rewards) < 2:
        return centred
    deviation = math.sqrt(math.fsum(one * one for one in centred) / (len(rewards) - 1))
    return [one / (deviation + EPSILON) for one in centred]


def token_weights(tokens: Sequence[int], normalisation: Normalisation, totals: Totals) -> list[float]:
    """The weight of a token in each group of this rank's part of a mini-batch, whose groups have `tokens` sampled ids.

    The loss is the sum of weight · token loss, and gradients are summed over ranks.

    - `group` (Eq. 2): the mean within each group, then the mean over groups;
    - `batch`: the mean over the mini-batch's tokens;
    - `global`: each token of the rollout batch weighs the same, whichever mini-batch it fell into;
    - `rank`: the mean over each rank's tokens, then over ranks, as the published script does.
    """
    if normalisation == "group":
        return [1.0 / (max(1, here) * totals.groups) for here in tokens]
    whole = {
        "batch": float(totals.tokens),
        "global": totals.batch_tokens / totals.updates,
        "rank": float(sum(tokens) * totals.ranks),
    }
    return [1.0 / max(1.0, whole[normalisation])] * len(tokens)


def rows(groups: Sequence[Group], weights: Sequence[float], *, divide_by_std: bool = False) -> list[Row]:
    """Every conversation of a mini-batch, with its rollout's advantage and its group's weight."""
    found = []
    for group, weight in zip(groups, weights, strict=True):
        advantages = group_advantages(group.rewards, divide_by_std=divide_by_std)
        for rollout, advantage in zip(group.rollouts, advantages, strict=True):
            found += [Row(conversation, advantage, weight) for conversation in rollout.conversations]
    return found
