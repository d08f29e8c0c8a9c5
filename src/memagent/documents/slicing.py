"""Exact slices: every so many token ids of the document tokenised whole, as published evaluations cut.

It finds cuts; `chunking.py` makes chunks of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memagent.documents.window import Window, bytes_limit
from memagent.tokens import Tokenizer

WHOLE = 1_000_000  # characters up to which a document is tokenised in one go
SECTION = 400_000  # characters of a section of a longer one

Cut = tuple[int, int]  # characters and tokens of the next chunk


def slices(
    window: Window, tokenizer: Tokenizer, *, tokens: int, max_bytes: int | None, characters: int
) -> Iterator[Cut]:
    """The cuts of a document of `characters`; the caller takes each before asking for the next.

    A slice ends behind every `tokens`-th id, or behind the character that this id is a part of. White space
    around the document is not tokenised: the published code strips it. What leads belongs to the first
    slice and what trails to the last, uncounted. A slice longer than `max_bytes` is cut further.

    Documents of up to one million characters are tokenised in one go. Longer ones are tokenised in sections
    that end where byte-level pre-tokenisers (GPT-2's, Llama's, Qwen's) split in any case, between a
    character and a single space before a letter, so that the ids are those of the whole. Where 400,000
    characters have no such place, or the tokenizer is of another kind, a slice may differ by a few tokens.
    """
    for cut in _slices(window, tokenizer, tokens, WHOLE if characters <= WHOLE else SECTION):
        yield from [cut] if max_bytes is None else _bounded(window, tokenizer, cut, max_bytes)


def _slices(window: Window, tokenizer: Tokenizer, tokens: int, size: int) -> Iterator[Cut]:
    open_characters = _leading_space(window, size)
    open_tokens = 0  # of the slice that is not full yet; both lie before the section that comes next
    to_boundary, is_last = tokens, False
    while not is_last:
        section, trailing, is_last = _section(window, open_characters, size)
        ends = tokenizer.ends(section)
        counted, taken = -open_tokens, -open_characters
        for count, at in _every(tokens, ends, first=to_boundary):
            to_boundary = count
            if at >= len(section):  # left open: only white space may follow
                break
            to_boundary += tokens
            if at > taken:  # else all of these ids are parts of one character
                yield at - taken, count - counted
                counted, taken = count, at
        to_boundary -= len(ends)
        open_characters, open_tokens = len(section) - taken, len(ends) - counted
    if open_characters + trailing:
        yield open_characters + trailing, open_tokens


def _every(tokens: int, ends: Sequence[int], *, first: int) -> Iterator[Cut]:
    """Ids of the section before each boundary (less than 1: they lie before it), and where they end."""
    for count in range(first, len(ends) + 1, tokens):
        yield count, ends[count - 1] if count > 0 else 0


def _leading_space(window: Window, size: int) -> int:
    """The length of the white space at the start of the document."""
    while True:
        text = window.peek(size)
        space = len(text) - len(text.lstrip())
        if space < len(text) or not window.has_more_than(size):
            return space
        size *= 2


def _section(window: Window, after: int, size: int) -> tuple[str, int, bool]:
    """The text from `after` on that is tokenised next, not ending in white space.

    With it, the length of the white space behind it, if it is the document's last, and whether it is.
    """
    while True:
        text = window.peek(after + size)[after:]
        kept = text.rstrip()
        if not window.has_more_than(after + size):
            return kept, len(text) - len(kept), True
        if kept:
            return text[: _last_split(text) or len(kept)], 0, False
        size *= 2


def _last_split(text: str) -> int:
    """The last place where a single space stands between another character and a letter; 0 if none does."""
    at = text.rfind(" ", 1, len(text) - 1)
    while at > 0 and (text[at - 1].isspace() or not text[at + 1].isalpha()):
        at = text.rfind(" ", 1, at)
    return max(at, 0)


def _bounded(window: Window, tokenizer: Tokenizer, cut: Cut, max_bytes: int) -> Iterator[Cut]:
    """`cut`, or what is left of it by cutting stretches of `max_bytes` off its front."""
    characters, count = cut
    while (text := window.peek(characters)) and (fits := max(1, bytes_limit(text, max_bytes))) < characters:
        yield fits, tokenizer.count(text[:fits])
        characters -= fits
        count = tokenizer.count(text[fits:])
    yield characters, count
