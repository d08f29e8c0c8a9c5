"""Which sentences of a section are taken: those that the model would add if it saw each of them by itself.

A small model finds the section that holds a fact far more surely than it copies the right sentence of it
(docs/reader.md). It does not know models, prompts or memories' budgets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from memagent.reading.protocols import NO_MEMORY
from memagent.reading.together import together
from memagent.reading.words import one_line, sentences, words

EVEN = 0.5  # the least probability of a line of the model's own that is asked about with the memory
AS_SURE = 0.99  # of a longer candidate's probability: a part with so much says the same

# The probability with which a text would be added to a memory.
Ask = Callable[[str, str], Awaitable[float]]


class Sieve:
    """The sentences of one `section`, of which those are taken that would be added.

    That takes a probability of `least`. `calls` counts what was asked.
    """

    def __init__(self, section: str, ask: Ask, least: float) -> None:
        self.calls = 0
        self._ask = ask
        self._least = least
        # The probabilities with no memory; None: not asked yet.
        self._alone: dict[str, float | None] = dict.fromkeys(
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
            if lines and not any(line in other for other in lines) and not any(other in line for other in taken):
                sure = await self._asked(line, "\n".join(lines))
                taken |= {line: sure} if sure >= EVEN else {}
        self._said |= {line for line in self._alone if any(part in line or line in part for part in taken)}
        return taken

    async def _look(self, own: Sequence[str]) -> dict[str, float]:
        """The probabilities of all that is left, and of `own` lines, by themselves."""
        self._alone = {**dict.fromkeys(own), **self._alone}
        unknown = [line for line, sure in self._alone.items() if sure is None]
        found = await together([self._asked(line, NO_MEMORY) for line in unknown])
        self._alone |= dict(zip(unknown, found, strict=True))
        return {line: sure for line, sure in self._alone.items() if sure is not None and line not in self._said}

    async def _asked(self, line: str, memory: str) -> float:
        self.calls += 1
        return await self._ask(line, memory)


def _distinct(alone: Mapping[str, float], own: Sequence[str], least: float) -> dict[str, float]:
    """Of those with a probability of `least` all that do not overlap, in their order: of two the surer, or the shorter.

    The shorter is the model's own, if it is as sure as the sentence that it stands in.
    """
    passed = {line: sure for line, sure in alone.items() if sure >= least}
    taken: list[str] = []
    for line in sorted(passed, key=passed.__getitem__, reverse=True):
        shorter = any(part != line and part in line and passed.get(part, 0) >= AS_SURE * passed[line] for part in own)
        if not shorter and not any(line in other or other in line for other in taken):
            taken.append(line)
    return {line: sure for line, sure in passed.items() if line in taken}
