"""Which problems of a source a run takes: those that fit the shortest of its lengths, so that they are the same
at every length. It does not know what a problem is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from memagent.errors import OptionError


@dataclass(frozen=True, slots=True)
class Chosen:
    """Numbers of problems of the source `name`, in order; how many were passed over as they do not come to `limit`
    or less; and how many were asked for.
    """

    name: str
    indices: tuple[int, ...]
    left_out: int
    asked: int
    limit: str

    def notes(self) -> Iterator[str]:
        """What the user should know: what was left out, and whether there are fewer than asked for."""
        found = len(self.indices)
        if self.left_out:
            seen = found + self.left_out
            yield f"{self.name}: {self.left_out} of the first {seen} left out, as they need more than {self.limit}"
        if found < self.asked:
            yield f"{self.name}: there are {found} of {self.asked} asked for"


def choose(name: str, total: int, count: int, size: Callable[[int], int], most: int, unit: str) -> Chosen:
    """The first `count` of the numbers below `total` whose `size` is at most `most`, in `unit`.

    Raises:
        OptionError: there is none; says how much the smallest needs.
    """
    found: list[int] = []
    smallest = 0
    seen = 0
    while seen < total and len(found) < count:
        needed = size(seen)
        if needed <= most:
            found.append(seen)
        smallest = min(smallest or needed, needed)
        seen += 1
    if not found:
        raise OptionError(f"{name} has no problem of {most} {unit} or fewer: the smallest needs {smallest}")
    return Chosen(name, tuple(found), seen - len(found), count, f"{most} {unit}")
