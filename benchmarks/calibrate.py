"""Where the gate should stand: how sure the model is of changes that are needed, and of those that are not.

    python benchmarks/calibrate.py --haystack novel.md

Reads needles hidden in a text that neither training nor results use, and questions of the training split among
paragraphs of the training side, with the gate open and every first token's probability noted. Prints, for each
threshold, how many needed changes it lets through and how many needless ones a million tokens.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from memagent import Reader
from memagent.cli.options import Tokens
from memagent.models import ModelOptions, open_model
from memagent.models.base import Model
from memagent.models.tokenizers import load_tokenizer
from memagent.reading import Settings
from memagent.reading.result import Turn
from memagent.reading.run import Progress
from memagent.tasks import ruler
from memagent.tasks.facts import needless
from memagent.tasks.problem import Problem
from memagent.tasks.qa import build, load

THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
OPEN = 1e-9  # a gate that lets everything through, and asks for probabilities


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the memory: the probability of its first token, and whether its chunk held a part of a fact."""

    sure: float
    needed: bool


def problems(haystack: str, tokens: int, samples: int) -> Iterator[Problem]:
    """Needles in the haystack, and questions if their data is there."""
    tokenizer = load_tokenizer("smollm2-135m")
    for task in ("niah_multikey_1", "niah_multivalue", "vt"):
        given = {"haystack": haystack, "anywhere": True} if task in ruler.ESSAYS else {}
        for index in range(samples):
            yield ruler.sample(task, tokens, tokenizer=tokenizer, seed=77, index=index, **given)  # type: ignore[arg-type]
    corpus = load("hotpotqa", "data/hotpotqa.jsonl.gz", paragraphs="data/wikipedia_paragraphs.jsonl.gz", split="train")
    for index in range(samples):
        yield build(corpus, 700 + index, tokens=tokens, tokenizer=tokenizer, seed=77)


async def changes(model: Model, problem: Problem, settings: Settings) -> tuple[list[Change], int]:
    """The changes of one reading, and its tokens."""
    turns: list[Turn] = []

    def note(progress: Progress) -> None:
        turns.extend([progress.turn] if progress.turn else [])

    reading = await Reader(model, settings, on_progress=note).read(problem.document(), problem.question)
    found = [
        Change(turn.sure or 0.0, not needless(problem, [(turn.start, turn.end)]))
        for turn in turns
        if turn.outcome in ("add", "write")
    ]
    return found, reading.coverage.document_tokens


def table(found: Sequence[Change], tokens: int) -> Iterator[str]:
    """A line for each threshold."""
    needed = sum(one.needed for one in found)
    yield "| gate | needed changes let through | needless ones | a million tokens |"
    yield "|---|---|---|---|"
    for gate in THRESHOLDS:
        through = [one for one in found if one.sure >= gate]
        false = sum(not one.needed for one in through)
        yield f"| {gate} | {sum(one.needed for one in through)} of {needed} | {false} | {1e6 * false / tokens:,.0f} |"


async def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--adapter", help="default: the one in the box")
    parser.add_argument("--haystack", required=True)
    parser.add_argument("--tokens", default="16k")
    parser.add_argument("--samples", type=int, default=4, help="problems of each of the four tasks")
    parser.add_argument("--chunk-tokens", type=int)
    given = parser.parse_args()
    model = await open_model(ModelOptions(adapter=given.adapter))
    settings = replace(Settings(gate=OPEN), chunk_tokens=given.chunk_tokens)
    found: list[Change] = []
    tokens = 0
    for problem in problems(given.haystack, Tokens().convert(given.tokens, None, None), given.samples):
        more, length = await changes(model, problem, settings)
        found, tokens = found + more, tokens + length
        false = sum(not one.needed for one in more)
        print(f"{problem.task}: {len(more)} changes, {false} of them needless, in {length} tokens", flush=True)
    print(*table(found, tokens), sep="\n")
    await model.aclose()


if __name__ == "__main__":
    asyncio.run(main())
