"""What is measured of a training run: a record a step, and one a validation. Plain records, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """One step. Means are over the step's rollouts before groups without different rewards were dropped.

    `spread` is the mean over groups of the rewards' standard deviation, `kl` (k3, against the reference), `drift`
    (|log π_learner − log π_sampler|), `clip_fraction` and `loss` are means over the step's updates. `keep_rate` is the
    share of chunks that left the memory alone, `false_changes` those without any part of a fact that changed it, per
    million tokens read (where facts are known). `memory_tokens` is the mean length of final memories. `sampled` counts
    conversations that were sampled, `learnt` those that went into the loss. `sampler_speed` and `learner_speed` are
    tokens a second counted as if nothing were shared. A warm start has no rollouts: reward and what follows from it are
    None.
    """

    step: int
    seconds: float
    loss: float
    lr: float
    grad_norm: float
    skipped: int
    tokens: int
    learner_speed: float
    reward: float | None = None
    spread: float | None = None
    kl: float | None = None
    clip_fraction: float | None = None
    drift: float | None = None
    keep_rate: float | None = None
    false_changes: float | None = None
    memory_tokens: float | None = None
    dropped_groups: int = 0
    sampled: int = 0
    learnt: int = 0
    sampler_speed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationMetrics:
    """Greedy readings of the fixed problems after `step` steps: the mean score with its 95% interval, and all scores by
    problem, in the problems' order, so that two validations can be compared pair by pair."""

    step: int
    seconds: float
    mean: float
    low: float
    high: float
    keep_rate: float
    false_changes: float
    memory_tokens: float
    scores: tuple[float, ...]
