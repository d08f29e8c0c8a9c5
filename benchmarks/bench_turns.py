"""Turns per second of 256 readings at once against an instant endpoint, beside a plain loop with the SDK.

Both make calls of the same size to the same server process; the reader also cuts the documents and keeps the
journal on disk. Both make as many calls at once (--concurrency). Rounds alternate; the ratio is the median of pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memagent import Journal, Reader, Settings, open_document
from memagent.models.openai import OpenAIModel
from memagent.reading.protocols import NO_MEMORY, Gated

ENDPOINT = Path(__file__).parents[1] / "tests" / "fake_endpoint.py"
SETTINGS = Settings(protocol="gated", chunk_tokens=300, memory_tokens=100)


def text(number: int, chunks: int) -> str:
    """A document of about so many chunks, different for each reading."""
    line = "Reading {} goes on with line {} of a text that holds nothing that anyone would want to know.\n"
    return "".join(line.format(number, at) for at in range(chunks * 9))


async def plain(url: str, readings: int, prompts: list[str], concurrency: int) -> float:
    """Turns per second of the plainest loop that makes the same calls."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    places = asyncio.Semaphore(concurrency)

    async def one() -> None:
        for prompt in prompts:
            message = {"role": "user", "content": prompt}
            async with places:
                await client.chat.completions.create(
                    model="fake",
                    messages=[message],  # type: ignore[list-item]
                    max_tokens=100,
                    temperature=0.0,
                )

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(readings)))
    await client.close()
    return readings * len(prompts) / (time.perf_counter() - began)


async def ours(url: str, readings: int, chunks: int, concurrency: int) -> tuple[float, list[str]]:
    """Turns per second of the reader, journal on; and the prompts of one reading."""
    model = OpenAIModel("fake", base_url=url, window=8192, concurrency=concurrency)
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(model, SETTINGS, journal=Journal(Path(folder)))
        documents = [open_document(text=text(number, chunks), name=str(number)) for number in range(readings)]
        began = time.perf_counter()
        done = await asyncio.gather(*(reader.read(document, "What is there?") for document in documents))
        seconds = time.perf_counter() - began
    await model.aclose()
    chunk = text(0, chunks)[: len(text(0, chunks)) // done[0].coverage.chunks]
    prompts = [Gated().update_prompt("What is there?", NO_MEMORY, chunk).text] * done[0].coverage.chunks
    prompts.append(Gated().answer_prompt("What is there?", NO_MEMORY).text)
    return sum(reading.usage.model_calls for reading in done) / seconds, prompts


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=256)
    parser.add_argument("--chunks", type=int, default=24)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    command = [sys.executable, str(ENDPOINT), "--behaviour", "keep"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        ratios = []
        for number in range(given.rounds):
            mine, prompts = asyncio.run(ours(url, given.readings, given.chunks, given.concurrency))
            theirs = asyncio.run(plain(url, given.readings, prompts, given.concurrency))
            ratios.append(mine / theirs)
            print(f"round {number + 1}: reader {mine:,.0f} turns/s, plain SDK loop {theirs:,.0f}: {ratios[-1]:.2f}")
        print(f"turns per second, reader / plain loop, median of {given.rounds}: {statistics.median(ratios):.2f}")
    finally:
        server.kill()
        server.communicate()


if __name__ == "__main__":
    main()
