"""Seconds for 128K tokens: `gated` with read-ahead beside `paper` one by one, embedded model, on the CPU.

Same model, document, chunk and memory sizes, at the paper's sizes (5,000/1,024) and at small ones (1,024/64). The
gate is fixed by a seeded schedule that changes the memory at 2% of chunks, because the embedded model is not
trained for reading yet; `paper` writes its memory anew at each chunk, and the untrained model fills it. What is
read is real, what is remembered means nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import time

from memagent import Document, Progress, Reader, Settings, open_document
from memagent.models import Model
from memagent.models.local import LocalModel
from memagent.models.scheduled import ScheduledGate
from memagent.tasks.haystacks import language_reference

SIZES = {"paper's sizes": (5000, 1024), "small sizes": (1024, 64)}
RATE = 0.02


def document_of(model: LocalModel, tokens: int) -> Document:
    """The language reference, from its start again where it ends, as long as asked for."""
    whole = language_reference()
    text = whole * (1 + tokens // model.tokenizer.count(whole))
    return open_document(text=text[: model.tokenizer.ends(text)[tokens - 1]], name="language reference")


async def seconds(model: Model, document: Document, settings: Settings) -> float:
    """How long one reading takes; says on the way how far it is."""
    began = time.perf_counter()

    def tell(progress: Progress) -> None:
        if progress.run.coverage.chunks % 10 == 0 and progress.turn:
            share = progress.run.position / document.characters
            print(f"  {share:.0%}, {time.perf_counter() - began:.0f} s", flush=True)

    reading = await Reader(model, settings, on_progress=tell).read(document, "What is the with statement used for?")
    taken = time.perf_counter() - began
    tally, usage = reading.tally, reading.usage
    print(
        f"  {settings.protocol}: {taken:.0f} s, {reading.coverage.chunks} chunks, {tally.keep} kept, "
        f"{tally.write} written, {tally.vain} calls in vain, {usage.prompt_tokens:,} tokens in, "
        f"{usage.completion_tokens:,} out",
        flush=True,
    )
    return taken


async def measure(given: argparse.Namespace) -> None:
    """Both protocols at each size, and the ratios."""
    model = LocalModel.open("smollm2-135m", engine="openvino", concurrency=8)
    document = document_of(model, given.tokens)
    for name, (chunk, memory) in SIZES.items():
        if given.only and given.only not in name:
            continue
        print(f"{name}: {given.tokens:,} tokens, chunks of {chunk:,}, memory of {memory:,}", flush=True)
        one_by_one = Settings(protocol="paper", chunk_tokens=chunk, memory_tokens=memory, answer_tokens=64)
        gated = dataclasses.replace(one_by_one, protocol="gated", read_ahead=given.read_ahead)
        ahead = await seconds(ScheduledGate(model, rate=RATE, seed=1), document, gated)
        paper = await seconds(model, document, one_by_one)
        print(f"{name}: seconds, paper one by one / gated with read-ahead (changes at {RATE:.0%}): {paper / ahead:.2f}")
    await model.aclose()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=128 * 1024)
    parser.add_argument("--read-ahead", type=int, default=8)
    parser.add_argument("--only", help="a part of the name of the sizes to measure")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
