"""One supervised step: conversations of oracles, as many that act as the recipe says, learnt token by token.

It does not know where problems come from.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from memagent.errors import InputError
from memagent.tasks.problem import Problem
from memagent.training.advantages import Row
from memagent.training.crossing import crossed
from memagent.training.learner import Learner
from memagent.training.metrics import StepMetrics
from memagent.training.oracle import Oracle, balanced
from memagent.training.recipe import WarmStart


def imitate(
    oracle: Oracle,
    learner: Learner,
    settings: WarmStart,
    problems: Sequence[Problem],
    *,
    step: int,
    seed: int,
) -> StepMetrics:
    """Learn `settings.conversations` turns of the problems' trajectories, and those that other problems make of their
    sections (`crossing`); every token weighs the same.

    A kept turn is one token, so that keeping and changing weigh alike at the token that decides.

    Raises:
        InputError: no problem has a trajectory; says why.
    """
    began = time.monotonic()
    found, refused = oracle.trajectories(problems)
    if not found:
        raise InputError(f"none of {len(problems)} problems has a trajectory: {', '.join(refused)}")
    rng = random.Random(f"{seed}/{step}/picked")
    turns = balanced(found, settings.conversations, settings.changes, rng)
    picked = [one.conversation for one in turns]
    if settings.crossed:
        picked += crossed(turns, found, settings.crossed, oracle.keep_ids, rng)
    learning = time.monotonic()
    weight = 1.0 / sum(len(one.completion) for one in picked)
    mine = [Row(conversation, 0.0, weight) for conversation in learner.processes.mine(picked)]
    update = learner.imitate(learner.prepare(mine))
    now = time.monotonic()
    return StepMetrics(
        step=step,
        seconds=now - began,
        loss=update.loss,
        lr=update.lr,
        grad_norm=update.grad_norm,
        skipped=int(update.skipped),
        tokens=update.tokens,
        learner_speed=sum(one.length for one in picked) / max(1e-9, now - learning),
        sampled=len(found),
        learnt=len(picked),
    )
