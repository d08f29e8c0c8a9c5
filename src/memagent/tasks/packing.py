"""One text among others, as many as come to a length: whole ones, and of the next one as much as fits.

It does not know what the texts are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from memagent.errors import OptionError
from memagent.tasks.cutting import fill
from memagent.tasks.measure import Measure

Prompt = Callable[[list[str], int], str]


@dataclass(frozen=True, slots=True)
class Packed:
    """The texts in their order, the place of the own one from 0, and the tokens of the prompt.

    `shortened` says which text, counted from 1, was cut to how many of its words; None where none was.
    """

    texts: list[str]
    own: int
    size: int
    shortened: str | None


def pack(own: str, others: Iterator[str], *, share: float, prompt: Prompt, budget: int, measure: Measure) -> Packed:
    """As much of `others`, which come without end, as `prompt(texts, place of own)` holds in `budget` tokens.

    `own` is never cut; it stands behind the `share` (from 0 to 1) of the others.

    Raises:
        OptionError: `own` alone has more tokens.
    """

    def placed(found: list[str], part: str = "") -> tuple[list[str], int]:
        texts = [*found, *([part] if part else [])]
        place = int(share * (len(texts) + 1))
        return [*texts[:place], own, *texts[place:]], place

    least = measure.exact(prompt(*placed([])))
    if least > budget:
        raise OptionError(f"its own text needs {least} tokens of {budget}")
    whole, last = _whole(others, budget - least, measure)
    while (size := measure.exact(prompt(*placed(whole))) if whole else least) > budget:
        last = whole.pop()
    part, size = fill(lambda text: prompt(*placed(whole, text)), last, budget, measure, empty=size)
    texts, place = placed(whole, part)
    number = len(whole) + (1 if place > len(whole) else 2)
    cut = f"number {number} ends after {len(part.split())} of its {len(last.split())} words"
    return Packed(texts, place, size, cut if part and part != last else None)


def _whole(others: Iterator[str], room: int, measure: Measure) -> tuple[list[str], str]:
    """Those that fit `room` by additive counts, and the one that comes next."""
    found: list[str] = []
    for text in others:
        room -= measure.unit(f"\n\n{text}")
        if room < 0:
            return found, text
        found.append(text)
    raise OptionError("there is nothing to make the document longer with")
