"""Twenty questions about the default document, none of them trained on: how many are answered, with what evidence.

    python benchmarks/questions.py                         # the reader in the box, one pass for all questions
    python benchmarks/questions.py --sift 0                # the same, not sentence by sentence
    memagent eval benchmarks/language-reference.jsonl --model local:smollm2-135m \
      --protocols none --baseline no-context,bm25 -o runs/beside

The document is the one of `make ask`.

Half of the questions are worded so that no sentence of the document has more than one of their content words, and the
sentence that answers none (tests/test_questions.py). An answer is right if it contains an accepted one; evidence is
right if a quote of it contains an accepted answer.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from measuring import plainly
from memagent import Reader
from memagent.models import ModelOptions, open_model
from memagent.reading import Reading, Settings
from memagent.scoring import metric_named
from memagent.tasks import jsonl
from memagent.tasks.problem import Problem

QUESTIONS = Path(__file__).parent / "language-reference.jsonl"


def judged(problem: Problem, reading: Reading) -> tuple[bool, bool]:
    """Whether the answer is right, and whether a quote contains an accepted one."""
    contains = metric_named("contains")
    right = contains(reading.reply, problem.answers) == 1.0
    return right, any(contains(one.quote, problem.answers) == 1.0 for one in reading.evidence)


def row(problem: Problem, reading: Reading) -> str:
    """A line of the table."""
    right, shown = judged(problem, reading)
    marks = "yes" if right else "no", "yes" if shown else "no"
    answer = " ".join(reading.answer.split())[:60]
    return f"| {problem.task} | {problem.question} | {answer} | {marks[0]} | {marks[1]} | {reading.tally.changed} |"


def summary(problems: Sequence[Problem], readings: Sequence[Reading]) -> str:
    """How many are right, by kind."""
    found = [(problem.task, *judged(problem, reading)) for problem, reading in zip(problems, readings, strict=True)]
    parts = []
    for kind in ("plain", "paraphrased"):
        mine = [one for one in found if one[0] == kind]
        right, shown, both = (sum(test) for test in zip(*((r, s, r and s) for _, r, s in mine), strict=True))
        parts.append(
            f"{kind}: {right} of {len(mine)} right, {both} of these with right evidence, {shown} with it in all"
        )
    return "; ".join(parts)


def main() -> None:
    """Read once for all questions."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--adapter", help="default: the one in the box")
    parser.add_argument("--model", default="local")
    parser.add_argument("--gate", type=float)
    parser.add_argument("--sift", type=float)
    asyncio.run(measure(parser.parse_args()))


async def measure(given: argparse.Namespace) -> None:
    """Read and print."""
    problems = jsonl.read(QUESTIONS)
    document = problems[0].document()
    model = await open_model(ModelOptions(model=given.model, adapter=given.adapter))
    reader = Reader(model, Settings(protocol="gated", gate=given.gate, sift=given.sift))
    readings = await reader.read_all(document, [problem.question for problem in problems])
    print("| kind | question | answer | right | evidence | changes |", "|---|---|---|---|---|---|", sep="\n")
    for problem, reading in zip(problems, readings, strict=True):
        print(row(problem, reading))
    print(summary(problems, readings))
    await model.aclose()


if __name__ == "__main__":
    plainly(main)
