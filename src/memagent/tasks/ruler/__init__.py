"""RULER's 13 tasks: synthetic problems of any length, with NVIDIA/RULER's prompts.

It does not know who solves them, nor in which format they are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from memagent.errors import OptionError, SetupError
from memagent.tasks.measure import Measure, measure_of
from memagent.tasks.problem import Problem
from memagent.tasks.ruler.drawing import Draws, Generator
from memagent.tasks.ruler.filling import fit, smallest
from memagent.tasks.ruler.frequency import SHORT, SHORT_LIST, CommonWords, FrequentWords
from memagent.tasks.ruler.needles import NEEDLES, Needles
from memagent.tasks.ruler.tracking import Tracking
from memagent.tokens import Tokenizer

if TYPE_CHECKING:
    from memagent.tasks.qa import Corpus

__all__ = ["GENERATED", "TASKS", "minimum", "sample"]

_GENERATORS: Mapping[str, Callable[[Draws, Measure], Generator]] = {
    **{name: partial(Needles, kind=kind) for name, kind in NEEDLES.items()},
    "vt": Tracking,
    "cwe": CommonWords,
    "fwe": FrequentWords,
}
GENERATED = tuple(_GENERATORS)
ESSAYS = tuple(name for name, kind in NEEDLES.items() if kind.hay == "essay")  # hidden in a text
QUESTIONS = {"qa_1": "squad", "qa_2": "hotpotqa"}
TASKS = (*GENERATED, *QUESTIONS)


def sample(
    task: str,
    tokens: int,
    *,
    tokenizer: Tokenizer,
    seed: int = 0,
    index: int = 0,
    haystack: str = "report",
    anywhere: bool = False,
    depths: Sequence[float] | None = None,
    corpus: Corpus | None = None,
    verify: bool = True,
) -> Problem:
    """One problem of `task` whose prompt and tokens to generate come to `tokens`, at most 1% below and never above.

    The same `seed` and `index` give the same needles at every length. `haystack` is `report`, `train` or a
    file, for tasks that hide needles in a text, which begins at its start or, with `anywhere`, at a place that is
    drawn. `depths` puts the needles of a niah task there, in percent of the haystack, one for each. `corpus` is for
    qa_1 and qa_2. With `verify` the whole prompt is counted in the end; without, lengths rest on additive counts and
    `length` is None.

    Raises:
        OptionError: there is no such task, `tokens` are too few for it, or `depths` do not fit it.
        SetupError: a question task without its data, or wonderwords is not installed.
        DocumentError: `haystack` is a file that cannot be read.
    """
    if task not in TASKS:
        raise _unknown(task, TASKS)
    if depths is not None and task not in NEEDLES:
        raise OptionError(f"{task} takes no depths: {', '.join(NEEDLES)} do")
    if task in QUESTIONS:
        return _question(task, tokens, tokenizer, seed, index, corpus)
    draws = Draws(
        task=task,
        seed=seed,
        index=index,
        haystack=haystack,
        anywhere=anywhere,
        depths=None if depths is None else tuple(depths),
    )
    measure = measure_of(tokenizer)
    if task == "cwe" and tokens < SHORT:
        return fit(CommonWords(draws, measure, SHORT_LIST), tokens, measure, verify=verify)
    return fit(_GENERATORS[task](draws, measure), tokens, measure, verify=verify)


def minimum(task: str, tokenizer: Tokenizer) -> int:
    """The fewest tokens a problem of a generated `task` can have, by its first sample.

    Raises:
        OptionError: no task of that name is generated.
    """
    if task not in GENERATED:
        raise _unknown(task, GENERATED)
    measure = measure_of(tokenizer)
    return smallest(_GENERATORS[task](Draws(task=task, seed=0, index=0), measure), measure)


def _unknown(task: str, known: Sequence[str]) -> OptionError:
    return OptionError(f"there is no RULER task {task}: the tasks are {', '.join(known)}")


def _question(task: str, tokens: int, tokenizer: Tokenizer, seed: int, index: int, corpus: Corpus | None) -> Problem:
    from dataclasses import replace

    from memagent.tasks.qa import build, missing

    if corpus is None:
        raise SetupError(missing(QUESTIONS[task]))
    titled = task == "qa_2"
    made = build(corpus, index, tokens=tokens, tokenizer=tokenizer, seed=seed, titled=titled)
    return replace(made, task=task, metric="ruler_part", id=f"{task}-{tokens}-{seed}-{index}")
