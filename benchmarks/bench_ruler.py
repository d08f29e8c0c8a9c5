"""Seconds to make one RULER problem at 64K, 1M and 4M tokens, by additive counts; checked outside the timing.

What a process does once (word lists, haystacks, counts of their sentences) is done before. Memory is the peak of what
Python holds while a problem is made, beside the size of its own text.
"""

from __future__ import annotations

import argparse
import math
import time
import tracemalloc

from memagent.models.tokenizers import load_tokenizer
from memagent.tasks import ruler
from memagent.tasks.problem import Problem
from memagent.tokens import Tokenizer

LENGTHS = (64 * 1024, 1024**2, 4 * 1024**2)


def made(task: str, tokens: int, tokenizer: Tokenizer) -> tuple[Problem, float]:
    """A problem, and its seconds."""
    began = time.perf_counter()
    problem = ruler.sample(task, tokens, tokenizer=tokenizer, index=1, verify=False)
    return problem, time.perf_counter() - began


def held(task: str, tokens: int, tokenizer: Tokenizer) -> float:
    """The peak of Python's memory while a problem is made, in sizes of its text."""
    tracemalloc.start()
    problem, _ = made(task, tokens, tokenizer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / len(problem.context)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", default="smollm2-135m")
    parser.add_argument("--tasks", nargs="+", default=list(ruler.GENERATED))
    given = parser.parse_args()
    tokenizer = load_tokenizer(given.tokenizer)
    for task in given.tasks:
        made(task, LENGTHS[0], tokenizer)
        rows = [made(task, tokens, tokenizer) for tokens in LENGTHS]
        seconds = [took for _, took in rows]
        one = rows[1][0]
        gap = 1 - (tokenizer.count(one.prompt(one.context)) + one.max_tokens) / LENGTHS[1]
        growth = math.log(seconds[2] / seconds[1]) / math.log(LENGTHS[2] / LENGTHS[1])
        times = " · ".join(f"{took:.2f}" for took in seconds)
        sizes = " · ".join(f"{held(task, tokens, tokenizer):.1f}" for tokens in LENGTHS[1:])
        print(
            f"{task}: {times} s at 64k · 1m · 4m, grows with length^{growth:.2f}; 1m is {gap:+.3%} off; "
            f"peak memory {sizes} times its text at 1m · 4m",
            flush=True,
        )


if __name__ == "__main__":
    main()
