"""Words and sentences of a text in any script, for comparing texts without a model.

It does not know chunks, memories or evidence.
"""

from __future__ import annotations

import re
import unicodedata

# Characters from which a line that ends in the middle of a sentence is taken to be wrapped.
WRAPPED = 50

_WORD = re.compile(r"\w+")
_BREAK = re.compile(r"(?:[.!?…؟।]+[\"'”’)\]]*(?=\s|$)|[。！？．]+[」』”’）)]*|\n)")
_NEW_ITEM = re.compile(r"\s*(?:$|\n|[-*+•|#<>\d])")
_GLUED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
# English words that every text has; in other languages only short words are passed over.
_FUNCTION_WORD = re.compile(
    r"about|after|all|and|any|are|been|before|being|but|can|could|did|does|for|from|had|has|have|her|him|his|how|"
    r"into|its|may|might|not|our|out|over|own|said|she|should|some|such|than|that|the|their|them|then|there|these|"
    r"they|this|those|under|until|upon|use|used|was|were|what|when|where|which|while|who|whom|whose|why|will|with|"
    r"would|you|your"
)


def words(text: str) -> list[str]:
    """The words of a text, case-folded; scripts without spaces give pairs of characters."""
    found: list[str] = []
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text).casefold()):
        word = match.group()
        if len(word) > 2 and _GLUED.search(word):
            found.extend(word[at : at + 2] for at in range(len(word) - 1))
        else:
            found.append(word)
    return found


def flat(text: str) -> str:
    """The words of a text with single spaces between them."""
    return " ".join(words(text))


def one_line(text: str) -> str:
    """A text with single spaces for all its white space."""
    return " ".join(text.split())


def contains(text: str, part: str) -> bool:
    """Whether the words of `part` stand in `text`, in their order and next to each other."""
    wanted = flat(part)
    return bool(wanted) and f" {wanted} " in f" {flat(text)} "


def stands_in(text: str, part: str) -> bool:
    """Whether `part` stands in `text` to the letter, and begins and ends with whole words."""
    before = r"(?<!\w)" if _joins(part[:1]) else ""
    after = r"(?!\w)" if _joins(part[-1:]) else ""
    return bool(part) and re.search(before + re.escape(part) + after, text) is not None


def _joins(character: str) -> bool:
    """Whether a letter or digit next to it belongs to the same word."""
    return _WORD.fullmatch(character) is not None and not is_glued(character)


def substance(text: str) -> set[str]:
    """The words of a text that mean something by themselves."""
    return {word for word in words(text) if _has_substance(word)}


def _has_substance(word: str) -> bool:
    if _FUNCTION_WORD.fullmatch(word):
        return False
    return len(word) > 2 or word.isdigit() or is_glued(word)


def is_glued(word: str) -> bool:
    """Whether a word is of a script without spaces, where two characters say much."""
    return _GLUED.search(word) is not None


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans [start, end) of the sentences of a text, without outer white space.

    A line's end is a sentence's end, but for long lines that were wrapped in the middle of a sentence.
    """
    spans, start, line = [], 0, 0
    for match in _BREAK.finditer(text):
        if match.group() == "\n":
            wrapped = match.start() - line >= WRAPPED and not _NEW_ITEM.match(text, match.end())
            line = match.end()
            if wrapped:
                continue
        spans.append((start, match.end()))
        start = match.end()
    spans.append((start, len(text)))
    return [span for span in (_stripped(text, *one) for one in spans) if span[0] < span[1]]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    inner = text[start:end]
    return start + len(inner) - len(inner.lstrip()), start + len(inner.rstrip())
