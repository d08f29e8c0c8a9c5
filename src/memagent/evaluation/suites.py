"""Suites: which tasks at which lengths, and how each problem of them is made, when it is needed.

It does not know who solves the problems.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memagent.errors import InputError, OptionError, SetupError
from memagent.evaluation.recipe import HAYSTACK, Recipe
from memagent.scoring import metric_named
from memagent.tasks.problem import Problem
from memagent.tokens import Tokenizer

if TYPE_CHECKING:
    from memagent.tasks.choosing import Chosen
    from memagent.tasks.qa import Corpus

# Suites of questions among other paragraphs, and the dataset of each.
QUESTIONS = {
    "ruler-hqa": "hotpotqa",
    "ruler-2wiki": "2wiki",
    "ruler-musique": "musique",
    "ruler-squad": "squad",
    "ruler-nq": "nq",
}
OTHERS = ("qmsum", "code", "dialogue")
NAMES = ("ruler", *QUESTIONS, *OTHERS)
DEFAULT_LENGTHS = (8192, 16384, 32768, 65536)
LOOKED_AT = 50_000  # characters of a document by which its tokens are estimated
SPARE = 20  # a twentieth more than an estimate


@dataclass(frozen=True, slots=True)
class Cell:
    """One task at one length: `count` problems, made by `build` from their number.

    `length` is in tokens, or in documents where `label` says so.
    """

    task: str
    length: int
    label: str
    count: int
    build: Callable[[int], Problem]

    @property
    def in_documents(self) -> bool:
        """Whether the length is one in documents."""
        return self.label.endswith(" documents")


@dataclass(frozen=True, slots=True)
class Suite:
    """Cells in the order they run, and what the user should know of them."""

    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()


def size_label(tokens: int) -> str:
    """8192 → 8k, 1048576 → 1m, 5000 → 5000."""
    for unit, name in ((1024**2, "m"), (1024, "k")):
        if tokens % unit == 0:
            return f"{tokens // unit}{name}"
    return str(tokens)


def check_suite(recipe: Recipe) -> None:
    """Raise OptionError for a suite that does not exist or options that it does not have; no model is needed."""
    _opener(recipe)
    if recipe.documents and recipe.suite not in QUESTIONS:
        raise OptionError(f"--documents is for {', '.join(QUESTIONS)}: give --lengths")
    for name, given in _given(recipe).items():
        if given and name not in _options(recipe):
            raise OptionError(f"{recipe.suite} has no use for {name}: leave out {name}")
    known = _datasets(recipe)
    for dataset in recipe.sources:
        if dataset not in known:
            wanted = " or ".join(f"--source {name}=FILE" for name in known) or "none"
            raise OptionError(f"{recipe.suite} has no use for --source {dataset}=FILE: give {wanted}")


def _given(recipe: Recipe) -> dict[str, object]:
    """The options that not every suite has."""
    return {
        "--tasks": recipe.tasks,
        "--lengths": recipe.lengths,
        "--paragraphs": recipe.paragraphs,
        "--split": recipe.split,
        "--haystack": recipe.haystack != HAYSTACK,
    }


def _options(recipe: Recipe) -> tuple[str, ...]:
    """Those that the recipe's suite has; what it has no use for must not be lost in silence."""
    if recipe.suite == "ruler":
        return ("--tasks", "--lengths", "--haystack", *(("--paragraphs", "--split") if recipe.sources else ()))
    if recipe.suite in QUESTIONS:
        return "--lengths", "--paragraphs", "--split"
    return ("--lengths",) if recipe.suite in OTHERS else ()


def _datasets(recipe: Recipe) -> tuple[str, ...]:
    """What the recipe's suite can have a source of."""
    if recipe.suite == "ruler":
        return tuple(_RULER_QA.values())
    if recipe.suite in QUESTIONS:
        return (QUESTIONS[recipe.suite],)
    return (recipe.suite,) if recipe.suite in OTHERS else ()


def open_suite(recipe: Recipe, tokenizer: Tokenizer, *, template_tokens: int = 0) -> Suite:
    """The cells of `recipe`'s suite; data is read, and nothing is generated yet.

    `template_tokens` is what the model's chat template adds to a prompt: problems are made so much shorter, so that
    one of 8k fits a window of 8k, and it counts among their length.

    Raises:
        OptionError: an unknown suite or task, or options that the suite does not have.
        SetupError: the suite's data is not there.
        InputError: the data cannot be used.
    """
    check_suite(recipe)
    if recipe.metric is not None:
        metric_named(recipe.metric)
    suite = _opener(recipe)(recipe, tokenizer, template_tokens)
    if not suite.cells:
        raise InputError(f"{recipe.suite} holds no problem")
    if recipe.metric is None:
        return suite
    scored = tuple(replace(cell, build=partial(_with_metric, cell.build, recipe.metric)) for cell in suite.cells)
    return replace(suite, cells=scored)


def longest_prompt(suite: Suite, tokenizer: Tokenizer) -> int:
    """Tokens that each problem of a suite fits in; of lengths in documents it is an estimate with some to spare."""
    in_documents = [cell for cell in suite.cells if cell.in_documents]
    lengths = [cell.length for cell in suite.cells if not cell.in_documents]
    for cell in in_documents:
        if cell.length == max(other.length for other in in_documents):
            estimates = [_estimated(cell.build(number), tokenizer) for number in range(cell.count)]
            lengths += [estimate + estimate // SPARE for estimate in estimates]
    return max(lengths, default=0)


Opener = Callable[[Recipe, Tokenizer, int], Suite]


def _opener(recipe: Recipe) -> Opener:
    if recipe.suite == "ruler":
        return _ruler
    if recipe.suite in QUESTIONS:
        return _questions
    if recipe.suite in OTHERS:
        return _other
    if Path(recipe.suite).exists():
        return _file
    raise OptionError(f"there is no suite or file {recipe.suite}: take a file of problems or {', '.join(NAMES)}")


def _with_metric(build: Callable[[int], Problem], metric: str, index: int) -> Problem:
    return replace(build(index), metric=metric)


def _needs_exact(tokenizer: Tokenizer) -> None:
    if not tokenizer.exact:
        raise OptionError("lengths are measured in tokens: name the endpoint's --tokenizer (a name, folder or hub id)")


def _templated(build: Callable[[int], Problem], template_tokens: int, index: int) -> Problem:
    """A problem whose length counts the chat template's tokens too."""
    made = build(index)
    length = None if made.length is None else made.length + template_tokens
    return replace(made, length=length, notes={**made.notes, "template_tokens": template_tokens})


def _ruler(recipe: Recipe, tokenizer: Tokenizer, template_tokens: int) -> Suite:
    from memagent.tasks import ruler

    _needs_exact(tokenizer)
    unknown = [task for task in recipe.tasks if task not in ruler.TASKS]
    if unknown:
        raise OptionError(f"there is no RULER task {unknown[0]}: the tasks are {', '.join(ruler.TASKS)}")
    corpora = _corpora(recipe)
    lacking = [task for task in _RULER_QA if task not in corpora]
    tasks = recipe.tasks or tuple(task for task in ruler.TASKS if task not in lacking)
    lengths = recipe.lengths or DEFAULT_LENGTHS
    shortest = min(lengths) - template_tokens
    _check_minimum(tasks, min(lengths), template_tokens, tokenizer)
    chosen = {task: _fitting(corpora[task], task, recipe, shortest, tokenizer) for task in tasks if task in corpora}
    cells = []
    for length in lengths:
        for task in tasks:
            make = partial(_ruler_sample, task, length - template_tokens, tokenizer, recipe, corpora.get(task))
            indices = chosen[task].indices if task in chosen else tuple(range(recipe.samples))
            build = partial(_templated, partial(_numbered, make, indices), template_tokens)
            cells.append(Cell(task, length, size_label(length), len(indices), build))
    notes = [note for found in chosen.values() for note in found.notes()]
    if lacking and not recipe.tasks:
        notes.append(f"{' and '.join(lacking)} left out: they need data (--source squad=FILE --source hotpotqa=FILE)")
    return Suite(tuple(cells), tuple(notes))


def _corpora(recipe: Recipe) -> dict[str, Corpus]:
    """The data of RULER's question tasks, as far as it is given."""
    from memagent.tasks.qa import load, missing

    for task in recipe.tasks:
        dataset = _RULER_QA.get(task, "")
        if dataset and dataset not in recipe.sources:
            raise SetupError(missing(dataset).replace("--source ", f"--source {dataset}="))
    return {
        task: load(dataset, recipe.sources[dataset], paragraphs=recipe.paragraphs, split=recipe.split)
        for task, dataset in _RULER_QA.items()
        if dataset in recipe.sources
    }


def _fitting(corpus: Corpus, task: str, recipe: Recipe, tokens: int, tokenizer: Tokenizer) -> Chosen:
    from memagent.tasks.qa import fitting

    titled = task == "qa_2"
    return fitting(corpus, recipe.samples, tokens=tokens, tokenizer=tokenizer, seed=recipe.seed, titled=titled)


_RULER_QA = {"qa_1": "squad", "qa_2": "hotpotqa"}


def _check_minimum(tasks: tuple[str, ...], length: int, template_tokens: int, tokenizer: Tokenizer) -> None:
    from memagent.tasks import ruler

    for task in tasks:
        if task in ruler.GENERATED and length < (least := ruler.minimum(task, tokenizer) + template_tokens):
            raise OptionError(f"{task} needs at least {least} tokens: {length} are too few")


def _ruler_sample(task: str, length: int, tokenizer: Tokenizer, recipe: Recipe, corpus: object, index: int) -> Problem:
    from memagent.tasks import ruler

    return ruler.sample(
        task,
        length,
        tokenizer=tokenizer,
        seed=recipe.seed,
        index=index,
        haystack=recipe.haystack,
        corpus=corpus,  # type: ignore[arg-type]
    )


def _questions(recipe: Recipe, tokenizer: Tokenizer, template_tokens: int) -> Suite:
    from memagent.tasks.qa import build, fitting, load

    dataset = QUESTIONS[recipe.suite]
    if not recipe.documents:
        _needs_exact(tokenizer)
    corpus = load(dataset, recipe.sources.get(dataset, ""), paragraphs=recipe.paragraphs, split=recipe.split)
    unit = "documents" if recipe.documents else "tokens"
    lengths = recipe.documents or recipe.lengths or DEFAULT_LENGTHS
    given: dict[str, Any] = {"tokenizer": None if recipe.documents else tokenizer, "seed": recipe.seed}
    less = 0 if recipe.documents else template_tokens
    chosen = fitting(corpus, recipe.samples, **{unit: min(lengths) - less, **given})
    cells = []
    for length in lengths:
        label = f"{length} documents" if recipe.documents else size_label(length)
        make = partial(_numbered, partial(build, corpus, **{unit: length - less, **given}), chosen.indices)
        cells.append(Cell(recipe.suite, length, label, len(chosen.indices), partial(_templated, make, less)))
    return Suite(tuple(cells), tuple(chosen.notes()))


def _numbered(build: Callable[[int], Problem], indices: tuple[int, ...], number: int) -> Problem:
    """The problem number `number` of those that a run takes."""
    return build(indices[number])


def _other(recipe: Recipe, tokenizer: Tokenizer, template_tokens: int) -> Suite:
    import importlib

    _needs_exact(tokenizer)
    module = importlib.import_module(f"memagent.tasks.{recipe.suite}")
    given = {"tokenizer": tokenizer, "seed": recipe.seed, "source": recipe.sources.get(recipe.suite)}
    lengths = recipe.lengths or DEFAULT_LENGTHS
    chosen = module.fitting(recipe.samples, tokens=min(lengths) - template_tokens, **given)
    cells = []
    for length in lengths:
        make = partial(_other_sample, partial(module.sample, tokens=length - template_tokens, **given), chosen.indices)
        build = partial(_templated, make, template_tokens)
        cells.append(Cell(recipe.suite, length, size_label(length), len(chosen.indices), build))
    return Suite(tuple(cells), tuple(chosen.notes()))


def _other_sample(sample: Callable[..., Problem], indices: tuple[int, ...], number: int) -> Problem:
    return sample(index=indices[number])


def _file(recipe: Recipe, tokenizer: Tokenizer, template_tokens: int) -> Suite:
    from memagent.tasks.records import read_records

    groups: dict[tuple[int, str, str], list[Problem]] = defaultdict(list)
    for problem in read_records(Path(recipe.suite)):
        length, label = _about(problem, tokenizer)
        groups[length, label, problem.task].append(problem)
    cells = [
        Cell(task, length, label, min(recipe.samples, len(problems)), problems.__getitem__)
        for (length, label, task), problems in sorted(groups.items(), key=lambda group: group[0])
    ]
    return Suite(tuple(cells), tuple(_left_out(recipe, groups.values())))


def _left_out(recipe: Recipe, groups: object) -> Iterator[str]:
    found = [len(problems) for problems in groups]  # type: ignore[attr-defined]
    skipped = sum(max(0, count - recipe.samples) for count in found)
    if skipped:
        yield f"{skipped} of {sum(found)} problems left out: --limit is {recipe.samples} a task and length"


def _about(problem: Problem, tokenizer: Tokenizer) -> tuple[int, str]:
    """The length that the problem was made for, in tokens or in documents, with its label; else the power of two
    at or above its tokens."""
    target, documents = (problem.notes.get(name) for name in ("target", "num_docs"))
    if isinstance(target, int) and target > 0:
        return target, size_label(target)
    if isinstance(documents, int) and documents > 0:
        return documents, f"{documents} documents"
    tokens = problem.length or _estimated(problem, tokenizer)
    rounded = 1 << max(0, tokens - 1).bit_length()
    return rounded, size_label(rounded)


def _estimated(problem: Problem, tokenizer: Tokenizer) -> int:
    """Tokens of the document, by the tokens of its beginning."""
    if not problem.context:
        return problem.document().characters // 4
    start = problem.context[:LOOKED_AT]
    return tokenizer.count(start) * len(problem.context) // len(start)
