"""How many tokens a step takes, worked out from the recipe before anything is loaded. Pure functions.

Replies and memories are taken as long as they may be, so real steps take less. It does not know memory or time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from memagent.evaluation.cost.architecture import NAMED, Architecture, architecture
from memagent.evaluation.progress import DOCUMENT_TOKENS, FRAME_TOKENS
from memagent.models.local import EMBEDDED_READS
from memagent.models.pull import WHEELS
from memagent.models.tokenizers import HUB_ID
from memagent.reading.settings import Plan
from memagent.training.recipe import Recipe, Source

PAPER_FRAME = 200  # of the frame, about what stands before the memory where that is not the last part


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Tokens of the parts of a reading. `memory_last` tells whether rollouts share all that stands before it."""

    chunk: int
    memory: int
    answer: int
    thinking: int
    memory_last: bool

    @property
    def longest(self) -> int:
        """Of one conversation, about: frame and problem, chunk, memory, and a reply that writes the memory anew."""
        return FRAME_TOKENS + self.memory + self.thinking + max(self.chunk + self.memory, self.answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTokens:
    """Tokens that a step's conversations have: `plain` as if nothing were shared, `shared` as they are computed."""

    plain: int
    shared: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """As much of a model as defaults of a reading depend on."""

    window: int
    suggests: Mapping[str, str | float]


def architecture_of(recipe: Recipe) -> Architecture:
    """Of the recipe's base. The published ones are known under their hub ids, too, so that no network is needed.

    Raises:
        OptionError, InputError, SetupError: it cannot be known.
    """
    name = recipe.base.name
    short = name.rpartition("/")[2].lower().removesuffix("-instruct")
    return NAMED[short] if short in NAMED and HUB_ID.fullmatch(name) else architecture(name)


def plan_of(recipe: Recipe, model: Architecture) -> Plan:
    """How the recipe reads, with its defaults filled in for the base.

    Raises:
        OptionError: a size is impossible, or a protocol unknown.
    """
    suggests = EMBEDDED_READS if recipe.base.name in WHEELS else {}
    asked: Any = _Asked(model.window or 2**20, suggests)
    return recipe.reading.resolve(asked)


def sizes_of(recipe: Recipe, model: Architecture) -> Sizes:
    """The reading's sizes; raises as `plan_of`."""
    plan = plan_of(recipe, model)
    return Sizes(
        chunk=plan.chunk_tokens,
        memory=plan.memory_tokens,
        answer=plan.answer_tokens,
        thinking=plan.thinking_tokens,
        memory_last=plan.wording().can_keep,
    )


def step_tokens(recipe: Recipe, sizes: Sizes) -> StepTokens | None:
    """Of a step at full lengths; None where a file alone knows how long its problems are."""
    if recipe.kind == "warm-start":
        supervised = recipe.warm_start.conversations * sizes.longest
        return StepTokens(plain=supervised, shared=supervised)
    chunks = mean_chunks(recipe, sizes)
    if chunks is None:
        return None
    prefix, rest = _turn(sizes)
    rollouts = recipe.rollouts.problems * recipe.rollouts.group
    own = rollouts * (chunks * rest + sizes.memory + sizes.thinking + sizes.answer)
    prefixes = chunks * prefix + FRAME_TOKENS
    groups = recipe.rollouts.problems if recipe.learner.share else rollouts
    return StepTokens(plain=round(own + rollouts * prefixes), shared=round(own + groups * prefixes))


def widest_tree(recipe: Recipe, sizes: Sizes) -> int:
    """Tokens of the widest row of a micro-batch: a group's turns over one chunk, or one turn where none share."""
    if recipe.kind == "warm-start" or not recipe.learner.share:
        return sizes.longest
    prefix, rest = _turn(sizes)
    return max(sizes.longest, min(recipe.learner.most_columns, prefix + recipe.rollouts.group * rest))


def _turn(sizes: Sizes) -> tuple[int, int]:
    """Of a chunk's turn: what all rollouts share, and what each has for itself."""
    prefix, rest = FRAME_TOKENS + sizes.chunk, 2 * sizes.memory + sizes.thinking
    return (prefix, rest) if sizes.memory_last else (PAPER_FRAME, rest + prefix - PAPER_FRAME)


def mean_chunks(recipe: Recipe, sizes: Sizes) -> float | None:
    """Chunks of a document, on average over the mixture; None where a file alone knows."""
    found = [(source.weight, list(_lengths(source))) for source in recipe.data]
    if not all(lengths for _, lengths in found):
        return None
    total = math.fsum(weight for weight, _ in found)
    means = [weight * fmean(math.ceil(length / sizes.chunk) for length in lengths) for weight, lengths in found]
    return math.fsum(means) / total


def _lengths(source: Source) -> Iterator[int]:
    yield from (max(1, tokens - FRAME_TOKENS) for tokens in source.tokens)
    yield from (count * DOCUMENT_TOKENS for count in source.documents)
