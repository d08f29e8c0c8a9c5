"""An addition as a quote: the section's own words in place of a reply's, so that a slip in copying is mended.

What the section does not say in nearly the same words is no quote and is left out. Of an answer only codes are mended.
It does not know models or protocols.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches

from memagent.reading.words import one_line, sentences, stands_in

ALIKE = 0.8  # the least share of characters that a line and its quote have in common
MOST = 3  # sentences of a quote
NEARLY = 0.9  # the same share of a code

# Identifiers and long numbers, which nobody rounds or rephrases; no dates and times.
_CODE = re.compile(r"\b(?!\d{4}-\d\d-\d\d)(?=[\w-]*\d)\w[\w-]{10,}\w\b")


@dataclass(frozen=True, slots=True)
class Quotes:
    """`text`, a line a quote; the `lines` of the reply, and how many `exact` ones the section says to the letter."""

    text: str = ""
    lines: int = 0
    exact: int = 0


def quoted(section: str, reply: str) -> Quotes:
    """The quotes of `section` that the lines of `reply` mean; `text` is empty where there is none."""
    lines = [line.strip() for line in reply.split("\n") if line.strip()]
    flat = one_line(section)
    said = [stands_in(flat, one_line(line)) for line in lines]
    found = [line if there else _nearest(section, line) for line, there in zip(lines, said, strict=True)]
    return Quotes("\n".join(dict.fromkeys(quote for quote in found if quote)), len(lines), sum(said))


def mended(reply: str, memory: str) -> str:
    """`reply` with codes of `memory` (twelve characters or more, a digit) in place of those nearly the same.

    What is as near to another one is left as it is.
    """
    known = set(_CODE.findall(memory))

    def code(found: re.Match[str]) -> str:
        said = found.group()
        near = get_close_matches(said, known, 2, NEARLY) if said not in known else []
        return near[0] if len(near) == 1 else said

    return _CODE.sub(code, reply)


def _nearest(section: str, line: str) -> str:
    """The stretch of one to three sentences most like `line`, on one line; "" where none is like it."""
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(one_line(line))
    best, best_ratio = "", ALIKE
    for stretch in _stretches(section):
        matcher.set_seq1(stretch)
        # The first two are upper bounds, and cheap.
        if min(matcher.real_quick_ratio(), matcher.quick_ratio()) >= best_ratio and matcher.ratio() >= best_ratio:
            best, best_ratio = stretch, matcher.ratio()
    return best


def _stretches(section: str) -> Iterator[str]:
    spans = sentences(section)
    for first, (start, _) in enumerate(spans):
        for _, end in spans[first : first + MOST]:
            yield one_line(section[start:end])
