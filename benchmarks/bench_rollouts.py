"""Rollout tokens a second on this machine, counted as if nothing were shared, beside transformers' `generate`.

Both sample completions of the same length from the same weights in bf16 for the same prompts, as many at once: groups
of G conversations of one chunk, each with a memory of its own. The sampler computes what a group shares once. Rounds
alternate, each with new prompts; the ratio is the median of pairs.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from typing import Any

import torch
from transformers import GenerationConfig

from memagent.models.base import Sampling
from memagent.models.engines.base import Job, Output
from memagent.models.engines.torch import TorchBackend, load_model
from memagent.models.pull import pull, with_safetensors

Prompts = list[list[int]]


def prompts(rng: random.Random, given: argparse.Namespace) -> Prompts:
    """Random ids; those of a group begin alike."""

    def ids(count: int) -> list[int]:
        return [rng.randrange(100, 40_000) for _ in range(count)]

    found = []
    for _ in range(given.rows // given.group):
        prefix = ids(given.chunk + 110)
        found += [prefix + ids(given.memory + 12) for _ in range(given.group)]
    return found


def ours(model: Any, asked: Prompts, given: argparse.Namespace) -> float:
    """Seconds of this project's sampler; no id ends a completion."""
    began = time.perf_counter()
    backend = TorchBackend(model, end_ids=(), rows=given.rows)
    for key, prompt in enumerate(asked):
        job = Job(
            prompt=tuple(prompt),
            max_tokens=given.completion,
            sampling=Sampling(temperature=1.0, top_p=1.0, seed=key),
            shared=given.chunk + 110,
            logprobs=True,
        )
        backend.add(key, job)
    made = 0
    while backend.busy():
        made += sum(len(output.token_ids) for _, output in backend.step() if isinstance(output, Output))
    assert made == len(asked) * given.completion
    return time.perf_counter() - began


def generate(model: Any, asked: Prompts, given: argparse.Namespace) -> float:
    """Seconds of `generate`, with the log-probabilities that training needs."""
    ids = torch.tensor(asked)
    settings = GenerationConfig(
        do_sample=True, temperature=1.0, top_p=1.0, top_k=0, min_new_tokens=given.completion,
        max_new_tokens=given.completion, eos_token_id=2, pad_token_id=2, output_logits=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    began = time.perf_counter()
    with torch.inference_mode():
        found = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        logits = torch.stack(found.logits, dim=1).float().log_softmax(-1)
        logits.gather(-1, found.sequences[:, ids.shape[1] :, None])
    assert found.sequences.shape[1] == ids.shape[1] + given.completion
    return time.perf_counter() - began


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=32, help="completions at once")
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--chunk", type=int, default=1024, help="tokens")
    parser.add_argument("--memory", type=int, default=64, help="tokens")
    parser.add_argument("--completion", type=int, default=48, help="tokens")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    model = load_model(with_safetensors(pull()), precision="auto")
    rng, ratios = random.Random(0), []
    for number in range(given.rounds + 1):
        asked = prompts(rng, given)
        tokens = sum(len(prompt) + given.completion for prompt in asked)
        mine, theirs = ours(model, asked, given), generate(model, asked, given)
        if number:  # the first round compiles
            ratios.append(theirs / mine)
            print(f"round {number}: sampler {tokens / mine:,.0f} tokens/s, generate {tokens / theirs:,.0f}")
    print(f"rollout tokens a second, sampler / generate: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
