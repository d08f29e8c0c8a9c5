"""Variable tracking: RULER's vt. A chain of assignments among noise; which variables have the value?

Prompt, noise and the worked example before it are NVIDIA/RULER's.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterable
from copy import copy

from memagent.tasks.measure import Measure
from memagent.tasks.ruler.drawing import Draws, Generator, Parts
from memagent.tasks.ruler.hay import NOISE, noise

HOPS = 4
_HEAD = "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n"
_QUESTION = "Question: Find all variables that are assigned the value {value} in the text above."
_PREFIX = (
    " Answer: According to the chain(s) of variable assignment in the text above, {count} variables are assigned "
    "the value {value}, they are: "
)
EXAMPLE_TOKENS = 500  # of the worked example at most, but for its answer
EXAMPLE_LEAST = HOPS + 1  # lines of noise in it at least


class Tracking:
    """vt for one draw; units are lines of noise."""

    max_tokens = 30

    def __init__(self, draws: Draws, measure: Measure) -> None:
        self.draws = draws
        self._measure = measure
        rng = draws.rng("chain")
        self._value = _value(rng)
        self._names = _names(rng, letters=5)
        self._chain = _chain(self._names, self._value)
        self._places = [rng.random() for _ in self._chain]
        self._example = _example(draws.rng("example"), self._value, measure)
        self._hay = noise(measure)
        self.least = HOPS + 1

    def units(self, budget: int) -> int:
        """See `Generator.units`."""
        fixed = self._measure.exact(self._parts("").prompt)
        fixed += sum(self._measure.once("\n" + line) for line in self._chain)
        return self._hay.units(budget - fixed, self._measure)

    def build(self, units: int) -> Parts:
        """See `Generator.build`."""
        lines = self._hay.pieces(units)
        places = _apart(self._places, len(lines))
        parts = self._parts("\n".join(_hidden(self._chain, lines, places)))
        parts.notes["depths"] = [round(100 * place / len(lines), 1) for place in places]
        parts.notes["units"] = units
        if self._hay.words:
            parts.notes["cut"] = "the last line of noise is cut at a word; units are words"
        return parts

    def variants(self) -> Iterable[Generator]:
        """Noise whose last line is cut at a word."""
        other = copy(self)
        other._hay = noise(self._measure, words=True)
        other.least = self.least * len(NOISE.split())
        yield other

    def _parts(self, context: str) -> Parts:
        question = _QUESTION.format(value=self._value)
        return Parts(
            head=f"{self._example}\n\n{_HEAD}",
            context=context,
            tail="\n" + question,
            answer_prefix=_PREFIX.format(count=len(self._names), value=self._value),
            question=question.removeprefix("Question: "),
            answers=tuple(self._names),
            facts=tuple(line.rstrip() for line in self._chain),
            notes={"value": self._value},
        )


def _value(rng: random.Random) -> str:
    return str(rng.randint(10_000, 99_999))


def _names(rng: random.Random, letters: int) -> list[str]:
    """Distinct names; VAR, which every assignment begins with, is none."""
    names: dict[str, None] = {}
    while len(names) <= HOPS:
        if (name := "".join(rng.choices(string.ascii_uppercase, k=letters))) != "VAR":
            names[name] = None
    return list(names)


def _chain(names: list[str], value: str) -> list[str]:
    """One assignment a line; those of a variable to a variable end in a space, as RULER's do."""
    first, *others = names
    return [f"VAR {first} = {value}", *(f"VAR {name} = VAR {names[i]} " for i, name in enumerate(others))]


def _apart(places: list[float], count: int) -> list[int]:
    """Places from 0 to 1 as distinct numbers of lines below `count`, in order."""
    spare = count - len(places) + 1
    return [int(place * spare) + number for number, place in enumerate(sorted(places))]


def _hidden(chain: list[str], lines: list[str], places: list[int]) -> list[str]:
    hidden = list(lines)
    for place, line in reversed(list(zip(places, chain, strict=True))):
        hidden.insert(place, line)
    return hidden


def _example(rng: random.Random, taken: str, measure: Measure) -> str:
    """One chain with its answer, in names of three letters: RULER's one-shot example.

    It has as many lines of noise as `EXAMPLE_TOKENS` hold, and another value than `taken`.
    """
    value = next(drawn for drawn in iter(lambda: _value(rng), "") if drawn != taken)
    names, places = _names(rng, letters=3), [rng.random() for _ in range(HOPS + 1)]

    def asked(count: int) -> str:
        lines = _hidden(_chain(names, value), [NOISE] * count, _apart(places, count))
        question = _QUESTION.format(value=value) + _PREFIX.format(count=len(names), value=value)
        return f"{_HEAD}{chr(10).join(lines)}\n{question}"

    count = EXAMPLE_LEAST
    while measure.exact(asked(count + 1)) <= EXAMPLE_TOKENS:
        count += 1
    # The prefix ends in a space already; RULER puts another before the names.
    return f"{asked(count)} {' '.join(names)}"
