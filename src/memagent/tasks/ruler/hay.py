"""What needles are hidden in: lines (noise, or other needles) and the sentences of a text.

Hay is measured in units, lines or words. It does not know prompts or lengths but for the room it is given.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate, islice, repeat
from typing import Protocol

from memagent.tasks.haystacks import Haystack
from memagent.tasks.measure import Measure

NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."


class Hay(Protocol):
    """Pieces of text, as many as are asked for; `joint` stands between two of them."""

    joint: str
    words: bool  # units are words, so the last piece may be cut

    def units(self, room: int, measure: Measure) -> int:
        """How many units come to at most `room` tokens, by additive counts."""
        ...

    def pieces(self, units: int) -> list[str]:
        """So many units of hay."""
        ...


class Lines:
    """One line after another, all of the same number of words; units are lines, or words where `words` is set."""

    joint = "\n"

    def __init__(self, source: Iterator[str], size: Callable[[str], int], *, words: bool = False) -> None:
        """`size` gives the tokens of a line behind a newline."""
        self.words = words
        self._source, self._size = source, size
        self._drawn: list[str] = []

    def units(self, room: int, measure: Measure) -> int:
        """See `Hay.units`."""
        used = count = 0
        while (size := self._size(self._line(count))) <= room - used:
            used, count = used + size, count + 1
        if not self.words:
            return count
        return count * self._words_a_line() + words_within(self._line(count), room - used, "\n", measure)

    def pieces(self, units: int) -> list[str]:
        """See `Hay.pieces`."""
        whole, rest = divmod(units, self._words_a_line()) if self.words else (units, 0)
        self._draw(whole + 1)
        return [*self._drawn[:whole], *([first_words(self._drawn[whole], rest)] if rest else [])]

    def _words_a_line(self) -> int:
        return len(self._line(0).split(" "))

    def _line(self, number: int) -> str:
        self._draw(number + 1)
        return self._drawn[number]

    def _draw(self, count: int) -> None:
        self._drawn.extend(islice(self._source, max(0, count - len(self._drawn))))


def noise(measure: Measure, *, words: bool = False) -> Lines:
    """RULER's noise without end."""
    return Lines(repeat(NOISE), lambda line: measure.unit("\n" + line), words=words)


class Essay:
    """A text, repeated as often as it takes; units are words, so its last sentence may be cut.

    It begins at sentence number `first` and goes on at its start where it ends.
    """

    joint = " "
    words = True

    def __init__(self, text: Haystack, first: int = 0) -> None:
        self.text = text
        self._sentences = text.sentences[first:] + text.sentences[:first]
        self._first = first
        self._ends = list(accumulate(len(sentence.split(" ")) for sentence in self._sentences))

    @property
    def total(self) -> int:
        """Words of the text; beyond, it is repeated."""
        return self._ends[-1]

    def units(self, room: int, measure: Measure) -> int:
        """See `Hay.units`."""
        if room <= 0:
            return 0
        # Sums are of the text as it is, remembered for every place to begin at.
        sums = measure.sums(self.text.fingerprint, (" " + sentence for sentence in self.text.sentences))
        rounds, left = divmod(room, sums[-1])

        def tokens(count: int) -> int:
            """Of the first `count` sentences from `first` on."""
            turns, place = divmod(self._first + count, len(sums))
            before = sums[self._first - 1] if self._first else 0
            return turns * sums[-1] + (sums[place - 1] if place else 0) - before

        whole = bisect_right(range(1, len(sums)), left, key=tokens)
        rest = words_within(self._sentences[whole], left - tokens(whole), " ", measure)
        return rounds * self.total + (self._ends[whole - 1] if whole else 0) + rest

    def pieces(self, units: int) -> list[str]:
        """See `Hay.pieces`."""
        sentences = self._sentences
        rounds, left = divmod(units, self.total)
        whole = bisect_right(self._ends, left)
        rest = left - (self._ends[whole - 1] if whole else 0)
        return [*sentences * rounds, *sentences[:whole], *([first_words(sentences[whole], rest)] if rest else [])]


def first_words(text: str, count: int) -> str:
    """The first words of a text whose words stand one space apart."""
    return " ".join(text.split(" ")[:count])


def words_within(text: str, room: int, joint: str, measure: Measure) -> int:
    """How many of the first words of `text`, behind `joint`, have at most `room` tokens."""
    counts = range(1, len(text.split(" ")) + 1)
    return bisect_right(counts, room, key=lambda count: measure.once(joint + first_words(text, count)))
