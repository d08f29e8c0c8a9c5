"""What a RULER problem is drawn from: one seed for each problem, words, numbers and uuids.

It does not know lengths or prompts.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from memagent.extras import extra


@dataclass(frozen=True, slots=True)
class Draws:
    """What decides a problem but for its length."""

    task: str
    seed: int
    index: int
    haystack: str = "report"
    anywhere: bool = False
    depths: tuple[float, ...] | None = None

    def rng(self, use: str) -> random.Random:
        """A stream of its own for each use, so that needles do not depend on how much hay there is."""
        return random.Random(f"{self.seed}/{self.task}/{self.index}/{use}")


@dataclass(frozen=True, slots=True)
class Parts:
    """A problem's texts: the prompt is `head + context + tail + answer_prefix`."""

    head: str
    context: str
    tail: str
    answer_prefix: str
    question: str
    answers: tuple[str, ...]
    facts: tuple[str, ...]
    notes: dict[str, Any]

    @property
    def prompt(self) -> str:
        """What is counted."""
        return f"{self.head}{self.context}{self.tail}{self.answer_prefix}"


class Generator(Protocol):
    """A task for one draw. Its size is a number of units (lines, words), of which it has at least `least`."""

    draws: Draws
    max_tokens: int
    least: int

    def units(self, budget: int) -> int:
        """How many units come to at most `budget` tokens in the whole prompt, by additive counts."""
        ...

    def build(self, units: int) -> Parts:
        """The problem with so many units."""
        ...

    def variants(self) -> Iterable[Generator]:
        """The same problem in other hay, finer units or fewer words, for lengths that its own units miss."""
        ...


@lru_cache(maxsize=1)
def adjectives_and_nouns() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of the wonderwords library, which RULER draws its keys from, sorted.

    Raises:
        SetupError: it is not installed.
    """
    return _words("adjective"), _words("noun")


@lru_cache(maxsize=1)
def all_words() -> tuple[str, ...]:
    """Its nouns, adjectives and verbs, each once, sorted."""
    return tuple(sorted({*_words("noun"), *_words("adjective"), *_words("verb")}))


@lru_cache(maxsize=4)
def _words(category: str) -> tuple[str, ...]:
    with extra("eval", "drawing words for RULER"):
        from wonderwords import RandomWord
    found = RandomWord().filter(include_categories=[category])
    return tuple(sorted({word for word in found if word.isascii() and word.isalpha()}))


def keys(rng: random.Random) -> Iterator[str]:
    """Distinct keys `adjective-noun`, without end."""
    adjectives, nouns = adjectives_and_nouns()
    yield from _distinct(lambda: f"{rng.choice(adjectives)}-{rng.choice(nouns)}")


def numbers(rng: random.Random) -> Iterator[str]:
    """Distinct numbers of seven digits."""
    yield from _distinct(lambda: str(rng.randint(10**6, 10**7 - 1)))


def uuids(rng: random.Random) -> Iterator[str]:
    """Distinct random uuids (version 4)."""
    yield from _distinct(lambda: str(uuid.UUID(int=rng.getrandbits(128), version=4)))


def _distinct(draw: Any) -> Iterator[str]:
    seen: set[str] = set()
    while True:
        found = draw()
        if found not in seen:
            seen.add(found)
            yield found
