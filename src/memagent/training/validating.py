"""Greedy readings of fixed problems: how good the policy is now. It does not know how it came to be so."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from memagent.evaluation.statistics import interval
from memagent.scoring import metric_named
from memagent.tasks.problem import Problem
from memagent.training.metrics import ValidationMetrics
from memagent.training.processes import Processes
from memagent.training.sampling import Asked, Made, Sampler, Tally, tally

SHOWN = 8  # readings that the journal keeps of each validation


async def validate(
    sampler: Sampler, problems: Sequence[Problem], *, metric: str, step: int, processes: Processes
) -> ValidationMetrics:
    """Read all problems greedily and score the answers by `metric` (empty: each problem's own)."""
    began = time.monotonic()
    greedy = replace(sampler, settings=replace(sampler.settings, temperature=0.0, top_p=1.0))
    asked = [Asked(problem=problem, kept=number < SHOWN) for number, problem in enumerate(problems)]
    made = await greedy.read(processes.mine(asked))
    scores = processes.everyones([_score(one, metric) for one in made])
    mine = sum((tally(one, sampler.model.tokenizer) for one in made), Tally())
    total = sum(processes.everyones([mine]), Tally())
    found = interval(scores)
    return ValidationMetrics(
        step=step,
        seconds=time.monotonic() - began,
        mean=found.mean,
        low=found.low,
        high=found.high,
        keep_rate=total.kept / max(1, total.chunks),
        false_changes=total.false_rate,
        memory_tokens=total.memory_tokens / max(1, total.readings),
        scores=tuple(scores),
    )


def _score(made: Made, metric: str) -> float:
    return metric_named(metric or made.problem.metric)(made.read.reading.reply, made.problem.answers)
