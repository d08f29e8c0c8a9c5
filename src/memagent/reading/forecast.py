"""What a reading would take, before it is made: chunks, calls, tokens and money. It asks no model."""

from __future__ import annotations

from dataclasses import dataclass

from memagent.documents import Document, estimate
from memagent.models.base import Model
from memagent.reading.protocols import NO_MEMORY
from memagent.reading.settings import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Numbers for all problems together. `at_most` figures assume that every reply is as long as allowed.

    They leave out what read-ahead may spend in vain, and the options named by `not_counted`: their calls are made only
    where the memory changes.

    `exact` tells whether the chunks were counted, or estimated from a sample (above 20 MB of text).
    """

    characters: int
    document_tokens: int
    chunks: int
    exact: bool
    model_calls: int
    prompt_tokens_at_most: int
    completion_tokens_at_most: int
    cost_usd_at_most: float | None
    not_counted: str = ""


def forecast(document: Document, model: Model, plan: Plan, problems: list[str]) -> Forecast:
    """Count what reading `document` for `problems` would take."""
    sizes = [plan.chunk_bytes(model, problem) for problem in problems]
    counted = estimate(
        document,
        model.tokenizer,
        tokens=plan.chunk_tokens,
        max_bytes=min((size for size in sizes if size is not None), default=None),
        exact=plan.wording().exact_slices,
    )
    prompt = completion = 0
    for problem in problems:
        frame = model.prompt_tokens(plan.wording().update_prompt(problem, NO_MEMORY, ""))
        answer = model.prompt_tokens(plan.wording().answer_prompt(problem, NO_MEMORY))
        prompt += counted.chunks * (frame + plan.memory_tokens) + counted.tokens + answer + plan.memory_tokens
        reply = plan.memory_tokens + plan.thinking_tokens
        completion += counted.chunks * reply + plan.answer_tokens + plan.thinking_tokens
    return Forecast(
        characters=document.characters,
        document_tokens=counted.tokens,
        chunks=counted.chunks,
        exact=counted.exact and model.tokenizer.exact,
        model_calls=len(problems) * (counted.chunks + 1),
        prompt_tokens_at_most=prompt,
        completion_tokens_at_most=completion,
        cost_usd_at_most=model.price.of(prompt, completion) if model.price else None,
        not_counted=", ".join(f"--{name}" for name in ("confirm", "sift", "reread") if getattr(plan, name)),
    )
