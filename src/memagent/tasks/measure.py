"""Counting tokens by parts: a text's length is nearly the sum of its units' lengths.

For byte-level vocabularies with GPT-2's kind of pre-tokenisation the sum is exact where units begin
with a space or a newline; others differ by a little, which the final count of the whole prompt finds.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import accumulate

from memagent.tokens import Tokenizer

_SENTENCE, _WORD = "x.", "x"  # what stands before a unit: a sentence, or a word before a mark
_PROBES = 64  # numbers of a width that are looked at


class Measure:
    """Counts of one tokenizer; those of units are remembered."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._known: dict[str, int] = {}
        self._anchors = {anchor: tokenizer.count(anchor) for anchor in (_SENTENCE, _WORD)}
        self._widths: dict[tuple[int, str, str], int] = {}
        self._sums: dict[str, list[int]] = {}

    def unit(self, text: str) -> int:
        """Tokens of `text` behind another text."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = self.once(text)
        return found

    def once(self, text: str) -> int:
        """`unit` for a text that will not be seen again."""
        anchor = _SENTENCE if text[:1].isspace() else _WORD
        return self.tokenizer.count(anchor + text) - self._anchors[anchor]

    def sums(self, key: str, units: Iterable[str]) -> list[int]:
        """Running sums over units, remembered under `key`, which names them."""
        if key not in self._sums:
            self._sums[key] = list(accumulate(map(self.once, units)))
        return self._sums[key]

    def number(self, digits: int, before: str = " ", behind: str = "") -> int:
        """The most tokens that a number of so many digits has between two marks, by a sample of them."""
        key = digits, before, behind
        if key not in self._widths:
            rng = random.Random(digits)
            low, high = 10 ** (digits - 1), 10**digits - 1
            drawn = {low, high, *(rng.randint(low, high) for _ in range(_PROBES))}
            self._widths[key] = max(self.once(f"{before}{number}{behind}") for number in drawn)
        return self._widths[key]

    def exact(self, text: str) -> int:
        """Tokens of a whole text."""
        return self.tokenizer.count(text)


_MEASURES: dict[int, Measure] = {}


def measure_of(tokenizer: Tokenizer) -> Measure:
    """The measure of a tokenizer, with what it has counted before."""
    known = _MEASURES.get(id(tokenizer))
    if known is None or known.tokenizer is not tokenizer:
        _MEASURES.clear()
        known = _MEASURES[id(tokenizer)] = Measure(tokenizer)
    return known
