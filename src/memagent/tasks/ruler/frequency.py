"""Counting words: RULER's cwe (common words in a numbered list) and fwe (frequent words in a coded text).

Prompts and frequencies are NVIDIA/RULER's. It does not know lengths but for the budget it is given.
"""

from __future__ import annotations

import math
import random
import string
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from memagent.tasks.measure import Measure
from memagent.tasks.ruler.drawing import Draws, Generator, Parts, adjectives_and_nouns, all_words

COMMON = 10
SHORT = 4096  # tokens; shorter lists have words less often, as RULER's do


@dataclass(frozen=True, slots=True)
class Times:
    """How often common and other words stand in cwe's list and in the short list with its answer before it."""

    common: int
    other: int
    example_words: int
    example_common: int
    example_other: int


LONG_LIST, SHORT_LIST = Times(30, 3, 40, 10, 3), Times(6, 1, 20, 3, 1)

_CWE_HEAD = (
    "Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that "
    "appear most often.\n"
)
_CWE_QUESTION = "Question: What are the 10 most common words in the above list?"
_CWE_PREFIX = " Answer: The top 10 words that appear most often in the list are:"


class CommonWords:
    """cwe for one draw; units are the words that are not common ones."""

    max_tokens = 120
    least = 10

    def __init__(self, draws: Draws, measure: Measure, times: Times = LONG_LIST) -> None:
        self.draws = draws
        self._measure, self._times = measure, times
        self._example = _cwe_example(draws.rng("example"), times)
        rng = draws.rng("words")
        words = list(all_words())
        rng.shuffle(words)
        self._common, self._listed = words[:COMMON], words[COMMON:]
        self._others = list[str]()
        self._source = self._more(draws.rng("more"))

    def units(self, budget: int) -> int:
        """See `Generator.units`."""
        measure, times = self._measure, self._times
        room = budget - measure.exact(self._parts("").prompt)
        entries = COMMON * times.common
        room -= _numbers_size(0, entries, measure)
        room -= times.common * sum(measure.unit(" " + word) for word in self._common)
        count = 0
        while True:
            self._draw(count + 1)
            room -= _numbers_size(entries, times.other, measure)
            room -= times.other * _word_size(self._others[count], measure)
            if room < 0:
                return count
            count, entries = count + 1, entries + times.other

    def build(self, units: int) -> Parts:
        """See `Generator.build`."""
        self._draw(units)
        words = self._common * self._times.common + self._others[:units] * self._times.other
        self.draws.rng("order").shuffle(words)
        parts = self._parts(_numbered(words))
        parts.notes["words"] = units + COMMON
        parts.notes["times"] = [self._times.common, self._times.other]
        if units > len(self._listed):
            parts.notes["extended"] = "words beyond the word list are pairs adjective-noun"
        return parts

    def variants(self) -> Iterable[Generator]:
        """A list with its words less often, for tokenizers by which the whole one is too long."""
        if self._times != SHORT_LIST:
            yield CommonWords(self.draws, self._measure, SHORT_LIST)

    def _draw(self, count: int) -> None:
        self._others.extend(islice(self._source, max(0, count - len(self._others))))

    def _more(self, rng: random.Random) -> Iterator[str]:
        """The rest of the word list, then pairs of words, each once and none with a common word."""
        yield from self._listed
        adjectives, nouns = adjectives_and_nouns()
        seen: set[str] = set()
        while True:
            pair = rng.choice(adjectives), rng.choice(nouns)
            word = "-".join(pair)
            if word not in seen and not {*pair} & {*self._common}:
                seen.add(word)
                yield word

    def _parts(self, context: str) -> Parts:
        return Parts(
            head=f"{self._example}\n{_CWE_HEAD}",
            context=context,
            tail="\n" + _CWE_QUESTION,
            answer_prefix=_CWE_PREFIX,
            question=_CWE_QUESTION.removeprefix("Question: "),
            answers=tuple(self._common),
            facts=(),
            notes={},
        )


def _word_size(word: str, measure: Measure) -> int:
    """A pair's two words are counted by themselves, as there are millions of pairs."""
    first, hyphen, second = word.partition("-")
    return measure.unit(" " + first) + (measure.unit(hyphen + second) if hyphen else 0)


def _numbers_size(behind: int, count: int, measure: Measure) -> int:
    """Of the next so many numbers of the list."""
    return sum(measure.number(len(str(number)), behind=".") for number in range(behind + 1, behind + count + 1))


def _numbered(words: list[str]) -> str:
    return " ".join(f"{number}. {word}" for number, word in enumerate(words, start=1))


def _cwe_example(rng: random.Random, times: Times) -> str:
    """A short list with its answer: RULER's one-shot example."""
    words = rng.sample(all_words(), times.example_words)
    listed = words[:COMMON] * times.example_common + words[COMMON:] * times.example_other
    rng.shuffle(listed)
    return f"{_CWE_HEAD}{_numbered(listed)}\n{_CWE_QUESTION}{_CWE_PREFIX} {_numbered(words[:COMMON])}"


ALPHA = 2.0
_ZETA = math.pi**2 / 6  # zeta(2)
_FWE_HEAD = (
    "Read the following coded text and track the frequency of each coded word. Find the three most frequently "
    "appeared coded words. "
)
_FWE_QUESTION = (
    "Question: Do not provide any explanation. Please ignore the dots '....'. What are the three most frequently "
    "appeared words in the above coded text?"
)
_FWE_PREFIX = " Answer: According to the coded text above, the three most frequently appeared words are:"
_DOTS = "..."  # stands in the place of the most frequent word


class FrequentWords:
    """fwe for one draw: words of six letters whose counts fall as 1 / rank²; units are words of the text."""

    max_tokens = 50
    least = 200

    def __init__(self, draws: Draws, measure: Measure) -> None:
        self.draws = draws
        self._measure = measure
        self._vocabulary = [_DOTS]
        self._source = _coded(draws.rng("words"))

    def units(self, budget: int) -> int:
        """See `Generator.units`; by bisection, as a text of more words is never shorter."""
        measure = self._measure
        room = budget - measure.exact(self._parts("").prompt)
        low, high = 0, max(1, room)
        while low < high:
            middle = (low + high + 1) // 2
            size = sum(count * measure.unit(" " + word) for word, count in self._counts(middle))
            low, high = (middle, high) if size <= room else (low, middle - 1)
        return low

    def build(self, units: int) -> Parts:
        """See `Generator.build`."""
        words = [word for word, count in self._counts(units) for _ in range(count)]
        self.draws.rng("order").shuffle(words)
        parts = self._parts(" ".join(words))
        parts.notes["counts"] = Counter(words).most_common(5)
        return parts

    def variants(self) -> Iterable[Generator]:
        """None: a word is few tokens."""
        return ()

    def _counts(self, words: int) -> list[tuple[str, int]]:
        """The words that occur at all, with how often."""
        most = math.isqrt(int(words / _ZETA)) + 1
        counts = [int(words / (_ZETA * rank**ALPHA)) for rank in range(1, most + 1)]
        self._vocabulary.extend(islice(self._source, max(0, len(counts) - len(self._vocabulary))))
        return [(word, count) for word, count in zip(self._vocabulary, counts, strict=False) if count]

    def _parts(self, context: str) -> Parts:
        self._vocabulary.extend(islice(self._source, max(0, 4 - len(self._vocabulary))))
        return Parts(
            head=_FWE_HEAD,
            context=context,
            tail="\n" + _FWE_QUESTION,
            answer_prefix=_FWE_PREFIX,
            question=_FWE_QUESTION.removeprefix("Question: "),
            answers=tuple(self._vocabulary[1:4]),
            facts=(),
            notes={},
        )


def _coded(rng: random.Random) -> Iterator[str]:
    seen: set[str] = set()
    while True:
        word = "".join(rng.choices(string.ascii_lowercase, k=6))
        if word not in seen:
            seen.add(word)
            yield word
