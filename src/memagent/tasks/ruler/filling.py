"""A problem of a length that was asked for: at most so many tokens, and at most 1% fewer.

It knows generators by their number of units alone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import NoReturn

from memagent.errors import OptionError
from memagent.tasks.measure import Measure
from memagent.tasks.problem import Problem
from memagent.tasks.ruler.drawing import Generator, Parts

TOLERANCE = 100  # a hundredth of the target may be left
MOST_TRIES = 16


def fit(generator: Generator, tokens: int, measure: Measure, *, verify: bool) -> Problem:
    """The problem whose prompt and tokens to generate come to at most `tokens`, and to 1% less at the least.

    Where no number of units comes so close, the generator's variants are tried; the best is kept. Without
    `verify` the number of units is what additive counts say.

    Raises:
        OptionError: even the smallest is larger.
    """
    budget = tokens - generator.max_tokens
    enough = budget - tokens // TOLERANCE
    if not verify:
        units = generator.units(budget)
        if units < generator.least:
            _too_few(generator, tokens, measure)
        return _problem(generator, generator.build(units), tokens, None, measure)
    best: _Tried | None = None
    for variant in (generator, *generator.variants()):
        found = _closest(variant, budget, enough, measure)
        if found is not None and (best is None or found.size > best.size):
            best = found
        if best is not None and best.size >= enough:
            break
    if best is None:
        _too_few(generator, tokens, measure)
    return _problem(generator, best.parts, tokens, best.size + generator.max_tokens, measure)


def smallest(generator: Generator, measure: Measure) -> int:
    """The tokens of the smallest problem, prompt and tokens to generate."""
    every = (generator, *generator.variants())
    return min(measure.exact(one.build(one.least).prompt) for one in every) + generator.max_tokens


@dataclass(frozen=True, slots=True)
class _Tried:
    """A prompt that was counted."""

    units: int
    size: int
    parts: Parts


def _closest(generator: Generator, budget: int, enough: int, measure: Measure) -> _Tried | None:
    """The largest found that fits `budget`, by secants within a bracket; one of `enough` tokens ends the search.

    None where even the smallest is too large.
    """
    fits: _Tried | None = None
    low, high = generator.least - 1, sys.maxsize  # the most units known to fit, the fewest known not to
    units = max(generator.least, generator.units(budget))
    last: _Tried | None = None
    for _ in range(MOST_TRIES):
        parts = generator.build(units)
        tried = _Tried(units, measure.exact(parts.prompt), parts)
        if tried.size <= budget:
            fits, low = tried, units
        else:
            high = units
        if (fits is not None and fits.size >= enough) or high - low < 2:
            break
        aim = budget - (budget - enough) // 8
        units = min(max(units + round((aim - tried.size) / _slope(last, tried)), low + 1), high - 1)
        last = tried
    return fits


def _slope(last: _Tried | None, tried: _Tried) -> float:
    """Tokens a unit, between the two last tries if there are two."""
    found = (tried.size - last.size) / (tried.units - last.units) if last else 0.0
    return found if found > 0 else tried.size / tried.units


def _too_few(generator: Generator, tokens: int, measure: Measure) -> NoReturn:
    least = smallest(generator, measure)
    raise OptionError(f"{generator.draws.task} needs at least {least} tokens: {tokens} are too few")


def _problem(generator: Generator, parts: Parts, tokens: int, size: int | None, measure: Measure) -> Problem:
    draws = generator.draws
    return Problem(
        id=f"{draws.task}-{tokens}-{draws.seed}-{draws.index}",
        task=draws.task,
        question=parts.question,
        answers=parts.answers,
        metric="ruler_all",
        context=parts.context,
        head=parts.head,
        tail=parts.tail,
        answer_prefix=parts.answer_prefix,
        max_tokens=generator.max_tokens,
        length=size,
        tokenizer=measure.tokenizer.name,
        facts=parts.facts,
        notes={"seed": draws.seed, "index": draws.index, "target": tokens, **parts.notes},
    )
