"""Where problems to learn from come from: RULER's generators, the questions of a dataset, or a file of problems.

A supply gives its problems by their number, so that whoever draws keeps no state. Its side says what they serve for:
what serves for training never serves for reporting. It does not know steps or weights.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from memagent.errors import InputError, OptionError
from memagent.scoring import metric_named
from memagent.tasks import prose, ruler
from memagent.tasks.official import from_record, kind_of
from memagent.tasks.problem import Problem
from memagent.tasks.qa import DATASETS, Corpus, Question, build, fitting, load, side
from memagent.tasks.qa.corpus import Side
from memagent.tasks.qa.sources import HUB, records
from memagent.tasks.records import read_records
from memagent.tokens import Tokenizer
from memagent.training.recipe import Source

FILE, PROSE = "file", "prose"
GENERATED = (*ruler.GENERATED, PROSE)
HIDDEN = (*ruler.ESSAYS, PROSE)  # what is hidden in a text
TASKS = (*GENERATED, *DATASETS, FILE)
SAMPLED = 200  # paragraphs whose tokens are counted to know what a document comes to
FRAME = 1000  # bytes, more than a prompt has around its documents and the question

# What tells problems apart: RULER's tasks ask many problems the same question.
Key = tuple[str, tuple[str, ...]]
Item = TypeVar("Item", Problem, Question)


def key_of(problem: Problem | Question) -> Key:
    """Question and answers, by which a problem is known again at any length and in any file."""
    return problem.question, problem.answers


class Supply(Protocol):
    """Problems by number. `size` of them are different (None: all); the numbers beyond are further epochs.

    `lengths` are in tokens, the shortest first (about, where lengths are given in documents); a problem is asked for
    by a place in them. `notes` say what was left out.
    """

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int | None: ...
    @property
    def lengths(self) -> Sequence[float]: ...
    @property
    def notes(self) -> Sequence[str]: ...

    def problem(self, number: int, place: int) -> Problem:
        """Problem `number` from 0, at the length in `place`."""
        ...


def open_supply(
    source: Source, tokenizer: Tokenizer, *, serves: Side, seed: int, without: Collection[Key] = ()
) -> Supply:
    """The supply that a recipe's source names, all of it read and checked; `without` are problems never to give.

    Raises:
        OptionError: no such task or metric, a length that is missing, too short or of no use, or a field of no use.
        DocumentError, InputError, SetupError: data that is not there, cannot be read, or has no problem left.
    """
    check_source(source, serves)
    supply: Supply
    if source.task in GENERATED:
        supply = _Generated(source, tokenizer, serves, seed)
    elif source.task == FILE:
        supply = _Filed(source, seed, without)
    else:
        supply = _Questions(source, tokenizer, serves, seed, without)
    return _Scored(supply, source.metric) if source.metric else supply


def check_source(source: Source, serves: Side) -> None:
    """What can be told without its data and without a model.

    Raises:
        OptionError: no such task or metric, or a field that is missing or of no use.
    """
    task = f"[[data]] {source.task}"
    if source.task not in TASKS:
        raise OptionError(f"[[data]] there is no task {source.task} to learn from: take {', '.join(TASKS)}")
    if source.task in GENERATED and (source.file or source.paragraphs or source.documents):
        raise OptionError(f"{task} is generated: it takes tokens, and no file, paragraphs or documents")
    if source.task not in HIDDEN and (source.haystack or source.anywhere):
        raise OptionError(f"{task} hides nothing in a text: leave out haystack and anywhere")
    if source.task == FILE and (source.tokens or source.documents or source.paragraphs):
        raise OptionError(f"{task}: problems of a file are as they are: leave out tokens, documents and paragraphs")
    if source.task not in GENERATED and not source.file:
        raise OptionError(f"{task}: name its data as file (a path, or {HUB}OWNER/NAME)")
    if source.task != FILE and not (source.tokens or source.documents):
        raise OptionError(f"{task}: say how long its documents are, as tokens = [2048, 4096]")
    if serves == "train" and source.split == "dev":
        raise OptionError(f"{task}: the split dev is for reporting: learn from train or all")
    if source.metric:
        metric_named(source.metric)


class _Scored:
    """Another supply's problems, their answers scored by `metric`."""

    def __init__(self, supply: Supply, metric: str) -> None:
        self.name, self.size, self.lengths, self.notes = supply.name, supply.size, supply.lengths, supply.notes
        self._supply, self._metric = supply, metric

    def problem(self, number: int, place: int) -> Problem:
        """See `Supply.problem`."""
        return replace(self._supply.problem(number, place), metric=self._metric)


class _Generated:
    """One of RULER's tasks, or facts in prose; the haystack is that of the side."""

    size = None
    notes = ()

    def __init__(self, source: Source, tokenizer: Tokenizer, serves: Side, seed: int) -> None:
        self.name = source.task
        self.lengths = sorted(source.tokens)
        self._tokenizer, self._seed = tokenizer, seed
        self._haystack = (source.haystack or serves) if serves == "train" else serves
        self._anywhere = source.anywhere and serves == "train"
        self._sample = prose.sample if self.name == PROSE else partial(ruler.sample, self.name)
        least = prose.LEAST if self.name == PROSE else ruler.minimum(source.task, tokenizer)
        # Needles differ in length by a tenth of that, and the words of fwe by a third (measured).
        needed = round(least * (1.5 if source.task == "fwe" else 1.15))
        if self.lengths[0] < needed:
            raise OptionError(
                f"[[data]] {self.name} needs at least {needed} tokens to be learnt: {self.lengths[0]} are too few"
            )

    def problem(self, number: int, place: int) -> Problem:
        """See `Supply.problem`."""
        return self._sample(
            self.lengths[place],
            tokenizer=self._tokenizer,
            seed=self._seed,
            index=number,
            haystack=self._haystack,
            anywhere=self._anywhere,
        )


class _Questions:
    """The questions of a dataset; each epoch has them in another order and among other distractors."""

    def __init__(self, source: Source, tokenizer: Tokenizer, serves: Side, seed: int, without: Collection[Key]) -> None:
        self.name = source.file
        self._tokenizer, self._seed = tokenizer, seed
        self._unit = "tokens" if source.tokens else "documents"
        self._lengths = sorted(source.tokens or source.documents)
        corpus = _corpus(source, serves)
        fitting_ones = _fitting(corpus, self._given(self._lengths[-1]))
        questions = _left(source.file, fitting_ones, without)
        self._corpus = replace(corpus, questions=tuple(questions))
        self._check_distractors()
        out = len(corpus.questions) - len(fitting_ones)
        longest = f"{self._lengths[-1]} {self._unit}"
        self.notes = (f"{self.name}: {out} questions left out, as they need more than {longest}",) if out else ()
        self.size = len(questions)
        each = 1.0 if source.tokens else _tokens_a_document(self._corpus, tokenizer)
        self.lengths = [length * each for length in self._lengths]

    def problem(self, number: int, place: int) -> Problem:
        """A question whose own paragraphs do not fit the length comes at the next longer one that they fit."""
        epoch, index = divmod(number, self.size)
        seed = seed_of(self._seed, epoch)
        for length in self._lengths[place:-1]:
            try:
                return build(self._corpus, index, seed=seed, **self._given(length))
            except OptionError:
                continue
        return build(self._corpus, index, seed=seed, **self._given(self._lengths[-1]))

    def _given(self, length: int) -> dict[str, Any]:
        return {self._unit: length, "tokenizer": self._tokenizer}

    def _check_distractors(self) -> None:
        most = max(len(question.paragraphs) for question in self._corpus.questions)
        if sum(map(len, self._corpus.distractors)) <= most:
            raise InputError(
                f"{self.name} has too few paragraphs to hide its own among: name a file of them as paragraphs"
            )


def _corpus(source: Source, serves: Side) -> Corpus:
    """The questions that may serve, among distractors of the side.

    To validate, those of the split dev; where a file has none, all of them (the training leaves out what validates).
    """
    read = partial(load, source.task, source.file, paragraphs=source.paragraphs or None)
    if serves == "train":
        found = read(split=source.split)
    else:
        try:
            found = read(split="dev")
        except InputError:
            found = read(split="all")
    groups = (tuple(one for one in group if side(one.title) == serves) for group in found.distractors)
    return replace(found, distractors=tuple(groups))


def _fitting(corpus: Corpus, given: dict[str, Any]) -> list[Question]:
    """The questions that have room in a length, with their own paragraphs.

    Raises:
        OptionError: there is none.
    """
    alone = replace(corpus, distractors=())
    fitting(alone, 1, **given)
    found = []
    for question in corpus.questions:
        with contextlib.suppress(OptionError):
            # No token is shorter than a byte; counting tens of thousands of questions takes minutes.
            if _bytes(question) > given.get("tokens", 0):
                fitting(replace(alone, questions=(question,)), 1, **given)
            found.append(question)
    return found


def _bytes(question: Question) -> int:
    """At least as many as the problem without distractors has."""
    texts = [question.question, *(f"Document 00:\n{one.title}\n{one.text}\n\n" for one in question.paragraphs)]
    return FRAME + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def _tokens_a_document(corpus: Corpus, tokenizer: Tokenizer) -> float:
    paragraphs = [one for question in corpus.questions[:SAMPLED] for one in question.paragraphs][:SAMPLED]
    texts = [f"Document 1:\n{one.title}\n{one.text}\n\n" for one in paragraphs]
    return sum(map(tokenizer.count, texts)) / len(texts)


class _Filed:
    """The problems of a file as they are; each epoch has them in another order."""

    lengths = (0.0,)
    notes = ()

    def __init__(self, source: Source, seed: int, without: Collection[Key]) -> None:
        self.name = source.file
        self._seed = seed
        found = _of_hub(source) if source.file.startswith(HUB) else read_records(Path(source.file))
        for problem in found:
            _check_problem(self.name, problem)
        self._problems = _left(self.name, found, without)
        self.size = len(self._problems)

    def problem(self, number: int, place: int) -> Problem:
        """See `Supply.problem`."""
        epoch, index = divmod(number, self.size)
        return self._problems[_order(self.size, seed_of(self._seed, epoch))[index]]


def _of_hub(source: Source) -> list[Problem]:
    found = []
    for number, (place, record) in enumerate(records(source.file, source.split)):
        kind = kind_of(record)
        if kind is None:
            raise InputError(f"{place} is of no known format: its fields are {', '.join(record)}")
        found.append(from_record(kind, place, record, number))
    return found


def _check_problem(name: str, problem: Problem) -> None:
    if not any(answer.strip() for answer in problem.answers):
        raise InputError(f"{name}: the problem {problem.id} has no answer to learn from")
    if not problem.files and not problem.context.strip():
        raise InputError(f"{name}: the problem {problem.id} has no document")


def _left(name: str, found: Sequence[Item], without: Collection[Key]) -> list[Item]:
    """What is left without problems that serve for something else: at least half of them.

    Raises:
        InputError: it is less.
    """
    left = [one for one in found if key_of(one) not in without]
    if 2 * len(left) < len(found):
        raise InputError(
            f"validation takes {len(found) - len(left)} of the {len(found)} problems of {name}: lower "
            "validation.problems, or name other data in [[validation.data]]"
        )
    return left


def seed_of(*parts: object) -> int:
    """A seed that depends on all parts, and on nothing else; larger than those that people type."""
    return random.Random("/".join(map(str, parts))).getrandbits(48)


@lru_cache(maxsize=16)
def _order(total: int, seed: int) -> tuple[int, ...]:
    order = list(range(total))
    random.Random(seed).shuffle(order)
    return tuple(order)
