"""Which problems each step learns from: sources by their weights, lengths by a curriculum, nothing that is remembered.

A draw depends on the run's seed, the step and the attempt alone, so that a run that is resumed, and every process of
it, draws the same. It does not know how problems are made or solved.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import get_args

from memagent.errors import InputError, OptionError
from memagent.tasks.problem import Problem
from memagent.tasks.qa.corpus import Side
from memagent.tasks.qa.sources import HUB
from memagent.tokens import Tokenizer
from memagent.training.recipe import Curriculum, Recipe, Source
from memagent.training.supplies import Supply, check_source, key_of, open_supply, seed_of


class Shares:
    """A fixed, endless order of sources in which each has its share of every stretch, to within one or two places.

    It is Sainte-Laguë's: the k-th place of a source with share w stands at (k + 1/2) / w.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        exact = [Fraction(weight) for weight in weights]
        self._shares = [weight / sum(exact) for weight in exact]

    def before(self, place: int) -> list[int]:
        """How often each source stands before `place`; exact, without walking there."""
        near, half = place - len(self._shares), Fraction(1, 2)
        counts = [max(0, math.ceil(near * share - half)) for share in self._shares]
        while sum(counts) < place:
            following = [(count + half) / share for count, share in zip(counts, self._shares, strict=True)]
            counts[following.index(min(following))] += 1
        return counts


class Mixture:
    """Problems to learn from, `batch` a step; groups that teach nothing can be drawn again `refills` times a step.

    A problem of a file or a dataset comes at most once in an epoch over it, and the epochs' order is drawn anew. An
    epoch counts what a step could draw, its refills included, whether they were drawn or not.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        tokenizer: Tokenizer,
        *,
        seed: int,
        curriculum: Curriculum,
        batch: int,
        refills: int = 0,
        held_out: Iterable[Problem] = (),
    ) -> None:
        """Read and check all sources; `held_out` are problems that are never drawn, those of the validation.

        Raises:
            OptionError: a source or the curriculum makes no sense, or a length is too short for its task.
            InputError: data cannot be read, a problem has no answer, or too few are left.
            SetupError: a dataset of the hub, or a package, is not there.
        """
        without = frozenset(map(key_of, held_out))
        self._supplies: list[Supply] = [
            open_supply(source, tokenizer, serves="train", seed=seed_of(seed, "train", number), without=without)
            for number, source in enumerate(sources)
        ]
        self._shares = Shares([source.weight for source in sources])
        self._seed, self._batch, self._refills = seed, batch, refills
        self._curriculum = curriculum
        self._longest = max(length for supply in self._supplies for length in supply.lengths)
        if curriculum.first < 0 or curriculum.steps < 0 or (curriculum.steps and not curriculum.first):
            raise OptionError("[curriculum] first is the longest length at the start, in tokens; steps are 0 or more")

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the data, a line each."""
        return tuple(note for supply in self._supplies for note in supply.notes)

    def draw(self, step: int, count: int, attempt: int = 0) -> list[Problem]:
        """`count` problems, at most a batch, of attempt number `attempt` at step `step`, both counted from 0.

        A whole batch has all sources' shares; of a part of one, a refill, the sources are drawn at random.
        """
        if not 0 <= count <= self._batch or not 0 <= attempt <= self._refills:
            raise ValueError(f"a step has {self._batch} problems and {self._refills} refills: no {count}, no {attempt}")
        before, behind = (self._shares.before(one * self._batch) for one in (step, step + 1))
        places = []
        for supply, start, end in zip(self._supplies, before, behind, strict=True):
            # All attempts of a step stand next to each other in the supply's own order.
            first = start * (1 + self._refills) + attempt * (end - start)
            places += [(supply, first + at, start + at + attempt) for at in range(end - start)]
        random.Random(f"{self._seed}/{step}/{attempt}").shuffle(places)
        bound = self.bound(step)
        return [supply.problem(number, _length(supply, turn, bound)) for supply, number, turn in places[:count]]

    def bound(self, step: int) -> float:
        """The longest length in tokens at `step`; a source whose lengths are all longer gives its shortest."""
        first, steps = self._curriculum.first, self._curriculum.steps
        if step >= steps or first >= self._longest:
            return self._longest
        return float(first * (self._longest / first) ** (step / steps))


def _length(supply: Supply, turn: int, bound: float) -> int:
    """One of the supply's lengths up to a bound, each in its turn; its shortest where all are longer."""
    short = [place for place, length in enumerate(supply.lengths) if length <= bound]
    return short[turn % len(short)] if short else 0


def check_data(recipe: Recipe) -> list[str]:
    """What can be told of a recipe's data before anything is loaded: the files it names that are not there.

    Raises:
        OptionError: a source makes no sense.
    """
    validating = recipe.validation.data if recipe.validation.problems else ()
    for source in recipe.data:
        check_source(source, "train")
    for source in validating:
        check_source(source, "report")
    named = dict.fromkeys(
        name for one in (*recipe.data, *validating) for name in (one.file, one.paragraphs, one.haystack)
    )
    elsewhere = ("", *get_args(Side))  # nothing is named, or a text that comes with Python
    return [name for name in named if name not in elsewhere and not name.startswith(HUB) and not Path(name).exists()]


def validation(recipe: Recipe, tokenizer: Tokenizer) -> list[Problem]:
    """The recipe's fixed problems to validate with, all sources by their shares and all lengths alike.

    They are the same for every seed of the run, so that runs can be compared. Needles and haystacks are others than in
    training, and questions of the split dev. A file that says no split, or has no questions of dev, gives problems that
    the training must leave out (`Mixture`'s `held_out`).

    Raises:
        MemagentError: as `Mixture`; or there are too few problems.
    """
    count, sources = recipe.validation.problems, recipe.validation.data or recipe.data
    shares = Shares([source.weight for source in sources]).before(count)
    found: list[Problem] = []
    for number, (source, share) in enumerate(zip(sources, shares, strict=True) if count else ()):
        supply = open_supply(source, tokenizer, serves="report", seed=seed_of("validation", number))
        if supply.size is not None and share > supply.size:
            raise InputError(
                f"validation takes {share} problems of {supply.name}, which has {supply.size}: lower "
                "validation.problems, or name other data in [[validation.data]]"
            )
        found += [supply.problem(at, at % len(supply.lengths)) for at in range(share)]
    return found
