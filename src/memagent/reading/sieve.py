"""Which sentences of a section are taken: those that the model would add if it saw each of them by itself.

A small model finds the section that holds a fact far more surely than it copies the right sentence of it
(docs/reader.md). It does not know models, prompts or memories' budgets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from memagent.reading.asking import ATTEMPTS
from memagent.reading.protocols import NO_MEMORY
from memagent.reading.together import together
from memagent.reading.words import one_line, sentences, stands_in, words

EVEN = 0.5  # the least probability of a line of the model's own that is asked about with the memory
AS_SURE = 0.99  # of a longer candidate's probability: a part with so much says the same
FEWEST = 3  # words of a part that takes its sentence's place

# The probability with which a text would be added to a memory, asked so many times before; None: refused.
Ask = Callable[[str, str, int], Awaitable[float | None]]


class Sieve:
    """The sentences of one `section`, of which those are taken that would be added.

    That takes a probability of `least`. `calls` counts what was asked, `refused` the sentences that the
    model would not look at: they are not taken. Where money is short all is asked `one_by_one`.
    """

    def __init__(self, section: str, ask: Ask, least: float, *, one_by_one: bool = False) -> None:
        self.calls = self.refused = 0
        self._ask = ask
        self._least = least
        self._one_by_one = one_by_one
        self._answers: dict[tuple[str, str], float] = {}  # by line and memory
        # Its sentences, and in front of them what the model made of it.
        self._lines = dict.fromkeys(
            line for start, end in sentences(section) if words(line := one_line(section[start:end]))
        )
        self._said: set[str] = set()  # what was taken, and what it says

    async def take(self, added: Sequence[str], memory: str) -> dict[str, float]:
        """What of the section goes into `memory`, each with its probability, when the model's own words were `added`.

        All are asked about with no memory: with one the model keeps what is like a line of it. But what speaks of the
        memory says nothing by itself (a variable that has another's value), so that `added` lines are asked about with
        it, too, one after the other.
        """
        own = [line for line in map(one_line, added) if words(line)]
        known = [] if memory == NO_MEMORY else memory.split("\n")
        alone = await self._look(own)
        taken = _distinct({line: sure for line, sure in alone.items() if line not in known}, own, self._least)
        for line in own:
            lines = [*known, *taken]
            if lines and not any(stands_in(other, line) for other in lines) and not _overlaps(line, taken):
                sure = await self._asked(line, "\n".join(lines))
                taken |= {line: sure} if sure >= EVEN else {}
        self._said |= {line for line in self._lines if _overlaps(line, taken)}
        return taken

    async def _look(self, own: Sequence[str]) -> dict[str, float]:
        """The probabilities of all that is left, and of `own` lines, by themselves."""
        self._lines = {**dict.fromkeys(own), **self._lines}
        if self._one_by_one:
            found = [await self._asked(line, NO_MEMORY) for line in self._lines]
        else:
            found = await together([self._asked(line, NO_MEMORY) for line in self._lines])
        return {line: sure for line, sure in zip(self._lines, found, strict=True) if line not in self._said}

    async def _asked(self, line: str, memory: str) -> float:
        if (line, memory) not in self._answers:
            self._answers[line, memory] = await self._answer(line, memory)
        return self._answers[line, memory]

    async def _answer(self, line: str, memory: str) -> float:
        for attempt in range(ATTEMPTS):
            self.calls += 1
            sure = await self._ask(line, memory, attempt)
            if sure is not None:
                return sure
        self.refused += 1
        return 0.0


def _distinct(alone: Mapping[str, float], own: Sequence[str], least: float) -> dict[str, float]:
    """Of those with a probability of `least` all that do not overlap, in their order: of two the surer.

    But a part of a sentence, which is the model's `own`, takes its place only where it can stand for it.
    """
    passed = {line: sure for line, sure in alone.items() if sure >= least}
    wholes = {part: [line for line in passed if line != part and stands_in(line, part)] for part in own}
    out = {_left_out(part, wholes[part], passed) for part in own if part in passed and wholes[part]}
    taken: list[str] = []
    for line in sorted(passed, key=passed.__getitem__, reverse=True):
        if line not in out and not _overlaps(line, taken):
            taken.append(line)
    return {line: sure for line, sure in passed.items() if line in taken}


def _left_out(part: str, wholes: Sequence[str], sure: Mapping[str, float]) -> str:
    """The sentence that `part` stands for: as sure, the end of it, and a part of no other; else `part`.

    What goes wrong in copying is mostly the end: a beginning alone is as sure, and may lack what matters.
    """
    whole = wholes[0]
    stands = len(wholes) == 1 and whole.endswith(part) and len(words(part)) >= FEWEST
    return whole if stands and sure[part] >= AS_SURE * sure[whole] else part


def _overlaps(line: str, taken: Iterable[str]) -> bool:
    """Whether it is a part of one of those, or has one for a part."""
    return any(stands_in(other, line) or stands_in(line, other) for other in taken)
