"""Needles in a haystack: RULER's eight niah tasks. Prompts, kinds and needles are NVIDIA/RULER's.

Keys and values are drawn before the hay, so they are the same at every length.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from memagent.errors import OptionError
from memagent.tasks.haystacks import Haystack, haystack
from memagent.tasks.measure import Measure
from memagent.tasks.ruler.drawing import Draws, Generator, Parts, keys, numbers, uuids
from memagent.tasks.ruler.hay import Essay, Hay, Lines, noise

DEPTHS = tuple(round(100 * step / 39) for step in range(40))  # percent; RULER's 40 places in an essay
REDRAWS = 15  # of hay that is made of needles

_TEMPLATE = (
    "Some special magic {kind} are hidden within the following text. Make sure to memorize it. I will quiz you "
    "about the {kind} afterwards.\n",
    "What are all the special magic {kind} for {query} mentioned in the provided text?",
    " The special magic {kind} for {query} mentioned in the provided text are",
)
_NEEDLE = "One of the special magic {kind} for {key} is: {value}."


@dataclass(frozen=True, slots=True)
class Kind:
    """One task: what the hay is, what keys and values are, how many there are, and how many are asked for."""

    hay: Literal["noise", "essay", "needle"]
    key: Literal["words", "uuids"] = "words"
    value: Literal["numbers", "uuids"] = "numbers"
    keys: int = 1
    values: int = 1
    queries: int = 1


# scripts/synthetic.yaml of NVIDIA/RULER.
NEEDLES: Mapping[str, Kind] = {
    "niah_single_1": Kind("noise"),
    "niah_single_2": Kind("essay"),
    "niah_single_3": Kind("essay", value="uuids"),
    "niah_multikey_1": Kind("essay", keys=4),
    "niah_multikey_2": Kind("needle"),
    "niah_multikey_3": Kind("needle", key="uuids", value="uuids"),
    "niah_multivalue": Kind("essay", values=4),
    "niah_multiquery": Kind("essay", keys=4, queries=4),
}
_DRAWN: Mapping[str, Callable[[random.Random], Iterator[str]]] = {"words": keys, "numbers": numbers, "uuids": uuids}


class Needles:
    """A niah task for one draw; units are those of its hay: words of an essay, lines else."""

    max_tokens = 128
    least = 1

    def __init__(self, draws: Draws, measure: Measure, *, kind: Kind) -> None:
        self.draws = draws
        self._kind, self._measure = kind, measure
        text = haystack(draws.haystack) if kind.hay == "essay" else None
        rng = draws.rng("needles")
        self._values = _pairs(kind, rng, " ".join(text.sentences) if text else "")
        self._needles = [self._needle(key, value) for key, values in self._values.items() for value in values]
        self._asked = rng.sample(list(self._values), kind.queries)
        rng.shuffle(self._needles)
        self._depths = self._drawn_depths(rng)
        self._hay: Hay = self._essay(text) if text else self._lines(0)
        self._redraw = 0

    def units(self, budget: int) -> int:
        """See `Generator.units`."""
        count = self._measure.once
        fixed = self._measure.exact(self._parts("").prompt)
        fixed += sum(count(self._hay.joint + needle) for needle in self._needles)
        return self._hay.units(budget - fixed, self._measure)

    def build(self, units: int) -> Parts:
        """See `Generator.build`."""
        joint = self._hay.joint
        parts = self._parts(joint.join(self._hidden(self._hay.pieces(units))))
        parts.notes.update(self._notes(units))
        return parts

    def variants(self) -> Iterable[Generator]:
        """Other needles for hay, and lines of which the last is cut at a word; the needles stay."""
        if isinstance(self._hay, Essay):
            return
        for number in range(1, REDRAWS + 1) if self._kind.hay == "needle" else ():
            yield self._with(self._lines(number), number)
        yield self._with(self._lines(0, words=True))

    def _with(self, hay: Hay, redraw: int = 0) -> Needles:
        other = copy(self)
        other._hay, other._redraw = hay, redraw
        return other

    def _essay(self, text: Haystack) -> Essay:
        first = self.draws.rng("hay").randrange(len(text.sentences)) if self.draws.anywhere else 0
        return Essay(text, first)

    def _lines(self, number: int, *, words: bool = False) -> Lines:
        if self._kind.hay == "noise":
            return noise(self._measure, words=words)
        return Lines(self._other_needles(number), _needle_size(self._kind, self._measure), words=words)

    def _hidden(self, hay: list[str]) -> Iterator[str]:
        """The hay with the needles at their places.

        RULER joins the stretches of an essay between needles by spaces even where one is empty, so that there
        two spaces stand between needles, or one before the first.
        """
        empty = [""] if self._kind.hay == "essay" else []
        done = 0
        for depth, needle in zip(self._depths, self._needles, strict=True):
            place = min(len(hay), int(len(hay) * depth / 100))
            yield from hay[done:place] or empty
            yield needle
            done = place
        yield from hay[done:] or empty

    def _notes(self, units: int) -> dict[str, object]:
        notes: dict[str, object] = {"depths": list(self._depths), "hay": self._kind.hay, "units": units}
        if isinstance(self._hay, Essay):
            notes |= {"haystack": self._hay.text.name, "haystack_sha256": self._hay.text.fingerprint}
            if units > self._hay.total:
                notes["extended"] = "the text is repeated from its start"
        elif self._hay.words:
            notes["cut"] = "the last line of hay is cut at a word; units are words"
        if self._redraw:
            notes["redraw"] = self._redraw
        return notes

    def _drawn_depths(self, rng: random.Random) -> list[float]:
        """In percent of the hay, one for each needle; RULER's 40 places in an essay, else anywhere."""
        count, asked = len(self._needles), self.draws.depths
        if asked is not None:
            if len(asked) != count or not all(0 <= depth <= 100 for depth in asked):
                raise OptionError(
                    f"{self.draws.task} takes {count} depth{'s' * (count > 1)} from 0 to 100, not {list(asked)}"
                )
            return sorted(asked)
        if self._kind.hay == "essay":
            return sorted(rng.sample(DEPTHS, count))
        return sorted(rng.uniform(0, 100) for _ in range(count))

    def _needle(self, key: str, value: str) -> str:
        # RULER's templates speak of numbers and uuids as they are called in its configuration.
        return _NEEDLE.format(kind=self._kind.value, key=key, value=value)

    def _parts(self, context: str) -> Parts:
        kind, asked = self._kind, self._asked
        query = ", ".join(asked[:-1]) + ", and " + asked[-1] if len(asked) > 1 else asked[0]
        head, question, prefix = (text.format(kind=kind.value, query=query) for text in _worded(kind))
        return Parts(
            head=head,
            context=context,
            tail="\n" + question,
            answer_prefix=prefix,
            question=question,
            answers=tuple(value for key in asked for value in self._values[key]),
            facts=tuple(self._needle(key, value) for key in asked for value in self._values[key]),
            notes={"keys": list(self._values), "asked": list(asked)},
        )

    def _other_needles(self, number: int) -> Iterator[str]:
        """Needles for hay, of draw `number`: no key of theirs is a part of ours or the other way round."""
        rng, kind = self.draws.rng(f"hay/{number}" if number else "hay"), self._kind
        taken = {value for values in self._values.values() for value in values}
        for key, value in zip(_DRAWN[kind.key](rng), _DRAWN[kind.value](rng), strict=False):
            if value not in taken and not any(own in key or key in own for own in self._values):
                yield self._needle(key, value)


def _pairs(kind: Kind, rng: random.Random, said: str) -> dict[str, list[str]]:
    """The keys with their values: none is in the text `said`, and no key is a part of another."""
    values = (value for value in _DRAWN[kind.value](rng) if value not in said)
    pairs: dict[str, list[str]] = {}
    for key in _DRAWN[kind.key](rng):
        if len(pairs) == kind.keys:
            break
        if key not in said and not any(key in other or other in key for other in pairs):
            pairs[key] = list(islice(values, kind.values))
    return pairs


def _worded(kind: Kind) -> tuple[str, str, str]:
    """The template, in the singular where one value is asked for: RULER's own replacements, to the letter."""
    if kind.queries * kind.values > 1:
        return _TEMPLATE
    joined = "\0".join(_TEMPLATE)
    for plural, singular in (("Some", "A"), ("are all", "is"), ("are", "is"), ("answers", "answer")):
        joined = joined.replace(plural, singular)
    head, question, prefix = joined.replace("{kind}", kind.value[:-1]).split("\0")
    return head, question, prefix


def _needle_size(kind: Kind, measure: Measure) -> Callable[[str], int]:
    """How many tokens a needle of the hay has, behind a newline; words and numbers are counted once for all."""
    head, tail = "\n" + _NEEDLE.split("{key}")[0].format(kind=kind.value), " is:"
    fixed = measure.unit(head.rstrip()) + measure.unit(tail) + measure.unit(".")
    if kind.value == "numbers":
        fixed += measure.number(7)
    start = len(head) - 1

    def size(needle: str) -> int:
        key, _, value = needle[start:-1].partition(" is: ")
        adjective, hyphen, noun = key.partition("-")
        if kind.key == "words":
            return fixed + measure.unit(" " + adjective) + measure.unit(hyphen + noun)
        return fixed + measure.once(" " + key) + measure.once(" " + value)

    return size
