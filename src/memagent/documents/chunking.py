"""A document cut into chunks of at most so many tokens; joined, they are the document's text again.

Natural cuts stand at the end of a paragraph, a sentence, a line or a word near the limit; exact ones (see
`slicing.py`) are every so many tokens. It knows neither models nor what chunks are for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from memagent.documents.base import Chunk, Span
from memagent.documents.boundaries import is_safe, last_safe, natural_ends
from memagent.documents.document import Document
from memagent.documents.slicing import Cut, slices
from memagent.documents.window import Window, bytes_limit
from memagent.errors import OptionError
from memagent.tokens import Tokenizer


def cut(
    document: Document,
    tokenizer: Tokenizer,
    *,
    tokens: int,
    max_bytes: int | None = None,
    exact: bool = False,
) -> Iterator[Chunk]:
    """Cut `document` into chunks of at most `tokens` tokens and `max_bytes` bytes of UTF-8, streaming.

    Memory depends on `tokens`, not on the document's length, and time is linear in the length.
    Naturally (`exact` False) each chunk's own text has at most `tokens` tokens, and the cut is at the
    best boundary in the last quarter before the limit: paragraph > sentence > line > word end > between
    two graphemes; white space at a boundary stays before it. With `exact` see `slicing.slices`.
    A chunk has a character at least, whatever the bounds.

    Raises:
        OptionError: `tokens` or `max_bytes` is less than 1.
        DocumentError: a file changed since it was opened, or can no longer be read.
    """
    if tokens < 1 or (max_bytes is not None and max_bytes < 1):
        raise OptionError("a chunk must have room for at least 1 token")
    window = Window(document.pieces())
    if exact:
        whole = document.characters
        cuts = slices(window, tokenizer, tokens=tokens, max_bytes=max_bytes, characters=whole)
    else:
        cuts = _natural(window, tokenizer, tokens, max_bytes)
    return _chunks(window, cuts)


def split(chunk: Chunk, tokenizer: Tokenizer) -> tuple[Chunk, Chunk]:
    """Two halves of `chunk`, cut at the natural boundary nearest its middle; named `N.0` and `N.1`.

    Raises:
        ValueError: it has only one character.
    """
    if len(chunk.text) < 2:
        raise ValueError(f"chunk {chunk.name} is one character and cannot be split")
    at = _middle(chunk.text)
    return _part(chunk, tokenizer, 0, at), _part(chunk, tokenizer, at, len(chunk.text))


def _chunks(window: Window, cuts: Iterable[Cut]) -> Iterator[Chunk]:
    """Take the cuts from the window as they are found; each waits for the next to know if it is the last."""
    waiting: tuple[str, int, int, tuple[Span, ...]] | None = None
    index = 0
    for characters, count in cuts:
        if waiting is not None:
            yield _chunk(index, waiting, is_last=False)
            index += 1
        start = window.start
        text, spans = window.take(characters)
        waiting = text, start, count, spans
    if waiting is not None:
        yield _chunk(index, waiting, is_last=True)


def _chunk(index: int, taken: tuple[str, int, int, tuple[Span, ...]], *, is_last: bool) -> Chunk:
    text, start, count, spans = taken
    return Chunk(
        index=index,
        name=str(index),
        text=text,
        start=start,
        tokens=count,
        spans=spans,
        is_first=index == 0,
        is_last=is_last,
    )


def _natural(window: Window, tokenizer: Tokenizer, tokens: int, max_bytes: int | None) -> Iterator[Cut]:
    """The natural cuts; the caller takes each from the window before asking for the next."""
    per_token = 4.0
    while window.has_more_than(0):
        size = int(tokens * per_token * 1.1) + 16
        text, ends = _enough(window, tokenizer, tokens, max_bytes, size)
        per_token = min(16.0, max(1.0, len(text) / max(1, len(ends))))
        yield _next_cut(text, ends, tokenizer, tokens, max_bytes, more=window.has_more_than(len(text)))


def _enough(
    window: Window, tokenizer: Tokenizer, tokens: int, max_bytes: int | None, size: int
) -> tuple[str, Sequence[int]]:
    """A stretch of more than `tokens` tokens or `max_bytes` bytes (or the rest), and where its tokens end."""
    while True:
        text = window.peek(size if max_bytes is None else min(size, max_bytes + 1))
        ends = tokenizer.ends(text)
        too_long_in_bytes = max_bytes is not None and len(text) > max_bytes
        if len(ends) > tokens or too_long_in_bytes or not window.has_more_than(len(text)):
            return text, ends
        size *= 2


def _next_cut(
    text: str,
    ends: Sequence[int],
    tokenizer: Tokenizer,
    tokens: int,
    max_bytes: int | None,
    *,
    more: bool,
) -> Cut:
    """The longest good cut of `text` that fits; `more` tells whether the document goes on behind it."""
    in_bytes = len(text) if max_bytes is None else bytes_limit(text, max_bytes)
    if not more and len(ends) <= tokens and in_bytes == len(text):
        return len(text), len(ends)
    allowed, step = tokens, 1
    while True:
        high = min(in_bytes, _covered(ends, allowed, len(text)))
        at = _best(text, ends, high) if high > 0 else 1  # a character cannot be divided
        count = tokenizer.count(text[:at])
        if count <= tokens or high <= 1:
            return at, count
        # Cut off from what follows, the text can have more tokens than it had; give some of it back.
        allowed -= max(step, count - tokens)
        step *= 2


def _covered(ends: Sequence[int], count: int, length: int) -> int:
    """The characters, of `length`, that the first `count` tokens cover completely."""
    if count >= len(ends):
        return length
    at = max(count, 0)
    while at > 0 and ends[at - 1] == ends[count]:  # tokens that share a character with one too many
        at -= 1
    return ends[at - 1] if at > 0 else 0


def _best(text: str, ends: Sequence[int], high: int) -> int:
    """The best cut in the last quarter of text[:high], high >= 1; else the last one between graphemes."""
    low = high - high // 4
    for cuts in natural_ends(text, low, high):
        if cuts:
            return cuts[-1]
    last = bisect_right(ends, high)
    at_tokens = last_safe(text, (ends[i] for i in range(last - 1, -1, -1)))
    return at_tokens or last_safe(text, iter(range(high, 0, -1))) or high


def _middle(text: str) -> int:
    """The best boundary in the middle half of `text`, the nearest to its middle; len(text) >= 2."""
    half = len(text) // 2
    for cuts in natural_ends(text, len(text) // 4, len(text) - len(text) // 4):
        inner = [at for at in cuts if at < len(text)]
        if inner:
            return min(inner, key=lambda at: abs(at - half))
    for distance in range(half):
        for at in (half - distance, half + distance):
            if is_safe(text, at):
                return at
    return half


def _part(chunk: Chunk, tokenizer: Tokenizer, start: int, end: int) -> Chunk:
    text = chunk.text[start:end]
    spans = [
        Span(
            max(span.start, start) - start,
            min(span.end, end) - start,
            span.source,
            span.offset + max(0, start - span.start),
            span.page,
        )
        for span in chunk.spans
        if span.start < end and span.end > start
    ]
    is_left = start == 0
    return Chunk(
        index=chunk.index,
        name=f"{chunk.name}.{0 if is_left else 1}",
        text=text,
        start=chunk.start + start,
        tokens=tokenizer.count(text),
        spans=tuple(spans),
        is_first=chunk.is_first and is_left,
        is_last=chunk.is_last and not is_left,
    )
