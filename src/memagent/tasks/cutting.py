"""A text shortened at a word, so that the prompt it stands in comes to a length.

It does not know what is shortened, nor where it stands.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable

from memagent.tasks.measure import Measure
from memagent.tokens import Tokenizer

TOLERANCE = 100  # a hundredth of a length may be left
CLOSE = 200  # a two-hundredth ends the search
MOST_TRIES = 8
LONG_WORD = 24  # characters; a longer one is cut inside, as scripts without spaces have nothing else
_LOOK = 8  # characters a token, more than any usual text has


def enough(tokens: int) -> int:
    """The fewest tokens that still count as `tokens`: 1% less."""
    return tokens - tokens // TOLERANCE


def fill(
    frame: Callable[[str], str], text: str, budget: int, measure: Measure, *, empty: int | None = None
) -> tuple[str, int]:
    """The longest beginning of `text` with which `frame(beginning)` has at most `budget` tokens, and how many it has.

    It is "" where not a word fits; the tokens are then those of the empty frame, which may be above the budget.
    They are counted unless `empty` tells them.
    """
    if empty is None:
        empty = measure.exact(frame(""))
    best, best_size = "", empty
    low, high, room = 0, sys.maxsize, budget - empty  # tokens of the text by itself: what fits, what does not
    for _ in range(MOST_TRIES):
        part = beginning(text, room, measure.tokenizer) if room > low else ""
        if len(part) <= len(best):
            break
        size = measure.exact(frame(part))
        if size > budget:
            high = room
        else:
            best, best_size, low = part, size, room
            if part == text or budget - size <= budget // CLOSE:
                break
        # Counts do not always add up: as many tokens more, or fewer, as they count for in the prompt.
        room = min(high - 1, low + (budget - best_size) * room // max(1, size - empty))
    return best, best_size


def beginning(text: str, tokens: int, tokenizer: Tokenizer) -> str:
    """The first words of `text` that have at most `tokens` tokens by themselves."""
    looked = max(1, tokens) * _LOOK
    while True:
        ends = tokenizer.ends(text[:looked])
        if len(ends) > tokens:
            whole = bisect_left(ends, ends[tokens])  # tokens may share a character
            return _at_word(text, ends[whole - 1] if whole else 0)
        if looked >= len(text):
            return text
        looked *= 2


def _at_word(text: str, end: int) -> str:
    """`text` up to `end`, or up to the word that `end` would cut."""
    start = end
    while start and end - start <= LONG_WORD and not text[start - 1].isspace() and not text[end : end + 1].isspace():
        start -= 1
    return text[: end if end - start > LONG_WORD else start].rstrip()
