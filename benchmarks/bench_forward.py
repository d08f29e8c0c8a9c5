"""Tokens per second of reading with the embedded model, beside bare forward passes of the same prompts.

The gate is fixed by a seeded schedule and keeps at every chunk, so that each turn is one token: what is measured
is how much the reader, the tokenizer, the batching and the sampling cost on top of the forward passes. Bare
passes compute the last position's logits only: by OpenVINO (the reader's own engine, without its prefix cache)
and by transformers in bf16. Rounds alternate; ratios are medians of pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable

from memagent import Reader, Settings, open_document
from memagent.documents import cut
from memagent.models.local import LocalModel
from memagent.models.pull import GGUF_NAME, pull, with_safetensors
from memagent.models.scheduled import ScheduledGate
from memagent.models.tokenizers import load_tokenizer
from memagent.reading.protocols import NO_MEMORY, Gated
from memagent.tasks.haystacks import language_reference

PROBLEM = "What is the with statement used for?"
Forward = Callable[[list[tuple[int, ...]]], None]


def text(part: int, characters: int) -> str:
    """One part of the language reference; each round reads another, so that no state is left from the last."""
    whole = language_reference()
    return whole[part * characters : (part + 1) * characters]


async def reading(model: LocalModel, document_text: str, tokens: int) -> float:
    """Tokens per second of one reading in which every chunk is kept."""
    settings = Settings(protocol="gated", chunk_tokens=tokens, memory_tokens=64, answer_tokens=1, read_ahead=8)
    began = time.perf_counter()
    done = await Reader(ScheduledGate(model, rate=0.0), settings).read(open_document(text=document_text), PROBLEM)
    seconds = time.perf_counter() - began
    assert done.tally.keep == done.coverage.chunks
    return done.usage.prompt_tokens / seconds


def prompts(document_text: str, tokens: int) -> list[tuple[int, ...]]:
    """The ids of the same prompts."""
    tokenizer = load_tokenizer("smollm2-135m")
    chunks = cut(open_document(text=document_text), tokenizer, tokens=tokens)
    asked = [Gated().update_prompt(PROBLEM, NO_MEMORY, chunk.text) for chunk in chunks]
    return [tuple(tokenizer.chat(prompt)) for prompt in asked]


def openvino_forward() -> Forward:
    """One pass after the other through the engine's own pipeline, one token each."""
    import numpy as np
    import openvino as ov
    import openvino_genai as genai

    scheduler = genai.SchedulerConfig()
    scheduler.cache_size, scheduler.enable_prefix_caching = 1, False
    pipeline = genai.ContinuousBatchingPipeline(str(pull() / GGUF_NAME), scheduler, "CPU", {})
    config = genai.GenerationConfig()
    config.max_new_tokens, config.apply_chat_template = 1, False

    def forward(batch: list[tuple[int, ...]]) -> None:
        for ids in batch:
            pipeline.generate([ov.Tensor(np.array([ids], dtype=np.int64))], [config])

    return forward


def torch_forward() -> Forward:
    """One pass after the other through transformers in bf16, last logits only, at the bucketed shape."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(with_safetensors(pull()), dtype=torch.bfloat16).eval()

    def forward(batch: list[tuple[int, ...]]) -> None:
        width = -(-max(map(len, batch)) // 64) * 64
        with torch.inference_mode():
            for ids in batch:
                padded = torch.tensor([[*ids, *[0] * (width - len(ids))]])
                model(padded, logits_to_keep=1, use_cache=False)

    return forward


def speed(forward: Forward, batch: list[tuple[int, ...]]) -> float:
    """Tokens per second of bare passes."""
    began = time.perf_counter()
    forward(batch)
    return sum(map(len, batch)) / (time.perf_counter() - began)


async def measure(given: argparse.Namespace) -> None:
    """Alternate the three and print."""
    model = LocalModel.open("smollm2-135m", engine="openvino", concurrency=8)
    bare = {"OpenVINO": openvino_forward(), "transformers bf16": torch_forward()}
    ratios: dict[str, list[float]] = {name: [] for name in bare}
    for part in range(given.rounds + 1):
        document_text = text(part, given.chunks * given.chunk_tokens * 4)
        mine = await reading(model, document_text, given.chunk_tokens)
        batch = prompts(document_text, given.chunk_tokens)
        theirs = {name: speed(forward, batch) for name, forward in bare.items()}
        if part == 0:
            continue  # the first round warms all of them up
        for name, value in theirs.items():
            ratios[name].append(mine / value)
        rest = ", ".join(f"bare {name} {value:,.0f}" for name, value in theirs.items())
        print(f"round {part}: reading {mine:,.0f} tokens/s, {rest}")
    for name, values in ratios.items():
        print(f"tokens per second, reading / bare {name}, median of {given.rounds}: {statistics.median(values):.2f}")
    await model.aclose()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=12)
    parser.add_argument("--chunk-tokens", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
