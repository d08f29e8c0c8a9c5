"""The policy loss of Multi-Conv DAPO over a flat list of tokens: clipped surrogate, KL, importance weights.

Tensors have shape (T,), one entry for each sampled token of a micro-batch, in nats. It does not know models, groups or
how weights were worked out (`advantages.token_weights`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memagent.errors import OptionError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """How ratios are clipped and what is added.

    `clip_low` and `clip_high` are DAPO's ε (asymmetric by default); `dual_clip` c bounds the loss where the advantage
    is negative (None: it does not). `kl` is β of the k3 penalty against the reference. `importance_cap` multiplies
    each token by π_old / π_sampler, at most so much (truncated importance sampling; None: not at all).
    """

    clip_low: float = 0.20
    clip_high: float = 0.28
    dual_clip: float | None = None
    kl: float = 1e-3
    importance_cap: float | None = None

    def check(self) -> None:
        """Raise OptionError where a value makes no sense."""
        for name, least in (("clip_low", 0), ("clip_high", 0), ("kl", 0), ("dual_clip", 1), ("importance_cap", 0)):
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise OptionError(f"[objective] {name} must be {least} or more, not {value}")
        if self.importance_cap == 0:
            raise OptionError("[objective] importance_cap must be above 0: at 0 nothing is learnt")


# What the published scripts run with: symmetric clip, dual clip, and the mean of each rank's tokens.
PUBLISHED = Objective(clip_low=0.20, clip_high=0.20, dual_clip=3.0)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a micro-batch's loss is made of, summed over tokens with their weights; scalars but for `clipped`.

    `loss` is what is differentiated: −Σ w · (surrogate − β · KL). `clipped` counts tokens whose gradient the clip took.
    """

    loss: torch.Tensor
    surrogate: torch.Tensor
    kl: torch.Tensor
    clipped: torch.Tensor


def surrogate(ratio: torch.Tensor, advantage: torch.Tensor, objective: Objective) -> tuple[torch.Tensor, torch.Tensor]:
    """min(r·Â, clip(r)·Â) for each token, and where the clip decides (there the gradient is 0).

    Eq. 2 of arXiv 2507.02259 with DAPO's bounds (arXiv 2503.14476, Eq. 8). With a dual clip c, max(…, c·Â) where Â < 0.
    """
    import torch

    free = ratio * advantage
    bounded = ratio.clamp(1 - objective.clip_low, 1 + objective.clip_high) * advantage
    least = torch.minimum(free, bounded)
    clipped = bounded < free
    if objective.dual_clip is not None:
        floor = objective.dual_clip * advantage
        clipped = clipped | ((advantage < 0) & (floor > least))
        least = torch.where(advantage < 0, torch.maximum(least, floor), least)
    return least, clipped


def k3(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Schulman's k3 estimate of KL(π ‖ reference) for each token: exp(d) − d − 1 with d = log π_ref − log π."""
    difference = reference - logprobs
    return difference.exp() - difference - 1


def policy_terms(
    logprobs: torch.Tensor,
    old: torch.Tensor,
    advantage: torch.Tensor,
    weight: torch.Tensor,
    objective: Objective,
    *,
    reference: torch.Tensor | None = None,
    sampler: torch.Tensor | None = None,
) -> Terms:
    """The loss of a micro-batch.

    `logprobs` carry the gradient; `old` are the learner's before the first update (or `logprobs` detached, where the
    policy is still the one that sampled), `reference` the reference's (needed if kl > 0), `sampler` those of the
    engine that sampled (needed with an importance cap).

    Raises:
        ValueError: log-probabilities are missing that the objective needs.
    """
    import torch

    ratio = (logprobs - old).exp()
    gain, clipped = surrogate(ratio, advantage, objective)
    if objective.importance_cap is not None:
        if sampler is None:
            raise ValueError("a cap on importance weights needs the sampler's log-probabilities")
        gain = gain * (old - sampler).exp().clamp(max=objective.importance_cap).detach()
    penalty = torch.zeros_like(logprobs)
    if objective.kl > 0:
        if reference is None:
            raise ValueError("a KL penalty needs the reference's log-probabilities")
        penalty = k3(logprobs, reference)
    total_gain, total_kl = (weight * gain).sum(), (weight * penalty).sum()
    return Terms(objective.kl * total_kl - total_gain, total_gain.detach(), total_kl.detach(), clipped.sum())
