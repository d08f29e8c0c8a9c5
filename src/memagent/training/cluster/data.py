"""Problems as verl's RLHFDataset reads them: Parquet, the question as the prompt, the document in a column beside it.

What stands there is what our own trainer would draw, in the order of its steps. It does not know verl.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean, pstdev

from memagent.documents import cut
from memagent.extras import extra
from memagent.reading import Settings
from memagent.reading.protocols import protocol_named
from memagent.reading.words import sentences
from memagent.tasks.facts import facts_of, within
from memagent.tasks.problem import Problem
from memagent.tasks.records import write_train_parquet
from memagent.tokens import Tokenizer
from memagent.training.mixture import Mixture, validation
from memagent.training.recipe import Recipe

SAMPLED = 64  # problems whose conversations are counted to know what a reading comes to


def write_problems(
    recipe: Recipe, tokenizer: Tokenizer, *, train: Path, held_out: Path, report: Callable[[str], None]
) -> Mixture:
    """Write the problems of all steps, and those of the validation if there are any; enough of them there are left.

    What they are drawn from is given back, so that nothing is read twice.

    Raises:
        MemagentError: as `Mixture` and `validation`; or they cannot be written.
    """
    problems = validation(recipe, tokenizer)
    if problems and not held_out.exists():
        held_out.parent.mkdir(parents=True, exist_ok=True)
        write_train_parquet(held_out, problems)
    batch = recipe.rollouts.problems
    mixture = Mixture(
        recipe.data, tokenizer, seed=recipe.seed, curriculum=recipe.curriculum, batch=batch, held_out=problems
    )
    if train.exists() and _rows(train) >= recipe.steps * batch:
        return mixture
    for note in mixture.notes:
        report(f"note: {note}")
    report(f"writing the problems of {recipe.steps} steps to {train}")
    train.parent.mkdir(parents=True, exist_ok=True)
    write_train_parquet(train, _steps(mixture, recipe.steps, batch))
    return mixture


def _rows(path: Path) -> int:
    with extra("eval", "reading Parquet"):
        from pyarrow import parquet
    return int(parquet.read_metadata(path).num_rows)


def _steps(mixture: Mixture, steps: int, batch: int) -> Iterator[Problem]:
    for step in range(steps):
        yield from mixture.draw(step, batch)


def conversations(mixture: Mixture, recipe: Recipe, tokenizer: Tokenizer) -> float:
    """How many conversations a step's readings have on average, the answer's included: hardly ever more.

    It is the mean over the first problems and twice its error in a step, so that a step's last update is rather a
    little lighter than an update more.
    """
    problems = mixture.draw(recipe.curriculum.steps, min(SAMPLED, recipe.rollouts.problems))
    turns = [_turns(problem, recipe.reading, tokenizer) for problem in problems]
    return 1 + fmean(turns) + 2 * pstdev(turns) / math.sqrt(recipe.rollouts.problems)


def _turns(problem: Problem, reading: Settings, tokenizer: Tokenizer) -> int:
    """One a chunk; more for those that hold a fact: a second look, each sentence alone, what is left of the chunk."""
    assert reading.chunk_tokens is not None and reading.protocol is not None  # they are resolved
    exact = protocol_named(reading.protocol).exact_slices
    chunks = list(cut(problem.document(), tokenizer, tokens=reading.chunk_tokens, exact=exact))
    facts = facts_of(problem)
    told = [chunk for chunk in chunks if within(facts, chunk.start, chunk.end)[0] == "facts"]
    sifted = sum(len(sentences(chunk.text)) for chunk in told) if reading.sift else 0
    return len(chunks) + len(told) * (bool(reading.confirm) + bool(reading.reread)) + sifted
