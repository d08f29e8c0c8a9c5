"""Where the gate should stand: how sure the model is of changes that are needed, and of those that are not.

    python benchmarks/calibrate.py --haystack novel.md

Reads needles hidden in a text that neither training nor results use, and questions of the training split among
paragraphs of the training side, once, with the gate open, no sieve, and every first token's probability noted. Prints,
for each threshold, at how many of the chunks that hold a part of a fact the model would change the memory, and how
many changes there would be elsewhere. What a memory would have become with another gate is not looked at.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from measuring import plainly
from memagent import Reader
from memagent.cli.options import Tokens
from memagent.errors import OptionError
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


async def changes(model: Model, problem: Problem, settings: Settings) -> tuple[list[Change], int, int]:
    """The changes of one reading, how many of its chunks hold a part of a fact, and its tokens."""
    turns: list[Turn] = []

    def note(progress: Progress) -> None:
        turns.extend([progress.turn] if progress.turn else [])

    reading = await Reader(model, settings, on_progress=note).read(problem.document(), problem.question)
    needed = [not needless(problem, [(turn.start, turn.end)]) for turn in turns]
    pairs = zip(turns, needed, strict=True)
    found = [Change(turn.sure or 0.0, held) for turn, held in pairs if turn.outcome in ("add", "write")]
    return found, sum(needed), reading.coverage.document_tokens


def table(found: Sequence[Change], facts: int, tokens: int) -> Iterator[str]:
    """A line for each threshold."""
    yield "| gate | changes at chunks with a part of a fact | at others | a million tokens |"
    yield "|---|---|---|---|"
    for gate in THRESHOLDS:
        through = [one for one in found if one.sure >= gate]
        false = sum(not one.needed for one in through)
        yield f"| {gate} | {sum(one.needed for one in through)} of {facts} | {false} | {1e6 * false / tokens:,.0f} |"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--adapter", help="default: the one in the box")
    parser.add_argument("--haystack", required=True)
    parser.add_argument("--tokens", default="16k")
    parser.add_argument("--samples", type=int, default=4, help="problems of each of the four tasks")
    parser.add_argument("--chunk-tokens", type=int)
    asyncio.run(measure(parser.parse_args()))


async def measure(given: argparse.Namespace) -> None:
    """Read and print."""
    if given.samples < 1:
        raise OptionError(f"--samples must be at least 1, not {given.samples}")
    asked = list(problems(given.haystack, Tokens().convert(given.tokens, None, None), given.samples))
    model = await open_model(ModelOptions(adapter=given.adapter))
    settings = Settings(gate=OPEN, sift=0.0, chunk_tokens=given.chunk_tokens)
    found: list[Change] = []
    facts = tokens = 0
    for problem in asked:
        more, held, length = await changes(model, problem, settings)
        found, facts, tokens = found + more, facts + held, tokens + length
        false = sum(not one.needed for one in more)
        print(f"{problem.task}: {len(more)} changes, {false} of them needless, in {length} tokens", flush=True)
    print(*table(found, facts, tokens), sep="\n")
    await model.aclose()


if __name__ == "__main__":
    plainly(main)
