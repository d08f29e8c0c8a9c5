"""Calls per second of the evaluation runner against an instant endpoint, beside a plain asyncio loop with the SDK.

Both make calls of the same size to the same server process and as many at once; the runner also makes the
problems, cuts, scores, keeps the journal and the results on disk. Rounds alternate; the ratio is the median of pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_turns import ENDPOINT, plain, text
from memagent.evaluation.folder import ResultFolder
from memagent.evaluation.recipe import Recipe
from memagent.evaluation.runner import evaluate
from memagent.models import ModelOptions
from memagent.reading import Settings
from memagent.reading.protocols import NO_MEMORY, Gated

QUESTION = "What is there?"


def problems(path: Path, count: int, chunks: int) -> None:
    """A file of problems of our own schema."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            record = {"question": QUESTION, "answers": ["Keep"], "context": text(number, chunks)}
            file.write(json.dumps(record) + "\n")


def ours(url: str, count: int, chunks: int, concurrency: int) -> tuple[float, int]:
    """Calls per second of the runner, and calls a problem."""
    with tempfile.TemporaryDirectory() as place:
        suite = Path(place) / "problems.jsonl"
        problems(suite, count, chunks)
        recipe = Recipe(
            suite=str(suite),
            samples=count,
            methods=("gated",),
            models=(ModelOptions(model="fake", base_url=url, window=8192, concurrency=concurrency),),
            reading=Settings(chunk_tokens=300, memory_tokens=100),
            at_once=2 * concurrency,
        )
        with ResultFolder.open(Path(place) / "out", recipe, resume=False) as folder:
            began = time.perf_counter()
            asyncio.run(evaluate(recipe, folder))
            seconds = time.perf_counter() - began
            calls = sum(outcome.model_calls for outcome in folder.outcomes)
    return calls / seconds, calls // count


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=256)
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
            mine, calls = ours(url, given.problems, given.chunks, given.concurrency)
            chunk = text(0, given.chunks)[: len(text(0, given.chunks)) // max(1, calls - 1)]
            prompts = [Gated().update_prompt(QUESTION, NO_MEMORY, chunk).text] * (calls - 1)
            prompts.append(Gated().answer_prompt(QUESTION, NO_MEMORY).text)
            theirs = asyncio.run(plain(url, given.problems, prompts, given.concurrency))
            ratios.append(mine / theirs)
            print(f"round {number + 1}: runner {mine:,.0f} calls/s, plain SDK loop {theirs:,.0f}: {ratios[-1]:.2f}")
        print(f"calls per second, runner / plain loop, median of {given.rounds}: {statistics.median(ratios):.2f}")
    finally:
        server.kill()
        server.communicate()


if __name__ == "__main__":
    main()
