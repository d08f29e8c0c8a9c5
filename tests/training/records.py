"""Records of runs that never were."""

import math
import random

from memagent.evaluation.statistics import interval
from memagent.training.metrics import StepMetrics, ValidationMetrics


def step(number, **changes):
    """A step of reinforcement learning."""
    rng = random.Random(number)
    given = {
        "step": number, "seconds": 20.0, "loss": rng.gauss(0, 0.05), "lr": 1e-6, "grad_norm": 0.5, "skipped": 0,
        "tokens": 9000, "learner_speed": 900.0, "reward": 0.2 + rng.random() / 4, "spread": 0.3, "kl": 0.01 * number,
        "clip_fraction": 0.004, "drift": 0.01, "keep_rate": 0.8, "false_changes": 120.0, "memory_tokens": 41.0,
        "sampled": 100, "learnt": 90, "sampler_speed": 1500.0,
    }  # fmt: skip
    return StepMetrics(**{**given, **changes})


def supervised(number, **changes):
    """A step of a warm start: no rewards and what follows from them."""
    given = {"seconds": 3.0, "loss": 2 * math.exp(-number / 10), "lr": 1e-4, "grad_norm": 1.0, "skipped": 0,
             "tokens": 900, "learner_speed": 1000.0}  # fmt: skip
    return StepMetrics(step=number, **{**given, **changes})


def validation(number, right=3, count=10):
    """`right` of `count` problems."""
    scores = (1.0,) * right + (0.0,) * (count - right)
    found = interval(scores)
    return ValidationMetrics(
        step=number, seconds=9.0, mean=found.mean, low=found.low, high=found.high, keep_rate=0.9, false_changes=80.0,
        memory_tokens=30.0, scores=scores,
    )  # fmt: skip


def run(steps, *, made=step, every=10):
    """Steps with validations at the start, every so often, and at the end."""
    found = [validation(0)]
    for number in range(steps):
        found.append(made(number))
        if (number + 1) % every == 0 or number + 1 == steps:
            found.append(validation(number + 1, right=min(10, 4 + number // every)))
    return found
