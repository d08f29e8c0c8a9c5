"""One supervised step: conversations of oracles, as many that act as the recipe says, learnt token by token.

It does not know where problems come from.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence

from memagent.errors import InputError
from memagent.tasks.problem import Problem
from memagent.training.advantages import Row
from memagent.training.crossing import Label, crossed
from memagent.training.experience import Conversation
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
    sections (`crossing`). Every token weighs the same, or (`settings.balance`) keeping as much as changing.

    Raises:
        InputError: no problem has a trajectory; says why.
    """
    began = time.monotonic()
    found, refused = oracle.trajectories(problems)
    if not found:
        raise InputError(f"none of {len(problems)} problems has a trajectory: {', '.join(refused)}")
    rng = random.Random(f"{seed}/{step}/picked")
    turns = balanced(found, settings.conversations, settings.changes, rng)
    keep = oracle.keep_ids if settings.crossed else ()
    asked = [(one.conversation, one.label) for one in turns]
    asked += [(one, "keep") for one in crossed(turns, found, settings.crossed, keep, rng)]
    learning = time.monotonic()
    rows = _balanced_rows(asked) if settings.balance else _plain_rows(asked)
    mine = learner.processes.mine(rows)
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
        learner_speed=sum(one.length for one, _ in asked) / max(1e-9, now - learning),
        sampled=len(found),
        learnt=len(asked),
    )


def _plain_rows(asked: Sequence[tuple[Conversation, Label]]) -> list[Row]:
    """Every token weighs the same."""
    weight = 1.0 / sum(len(one.completion) for one, _ in asked)
    return [Row(one, 0.0, weight) for one, _ in asked]


def _balanced_rows(asked: Sequence[tuple[Conversation, Label]]) -> list[Row]:
    """Half of the loss is what is said; a quarter is keeping where that is right, and a quarter is changing."""
    counts = Counter(label for _, label in asked)
    said = sum(len(one.completion) - (label != "answer") for one, label in asked)
    first = {label: 0.25 / counts[label] for label in ("keep", "change") if counts[label]}
    return [Row(one, 0.0, 0.5 / max(1, said), first.get(label)) for one, label in asked]
